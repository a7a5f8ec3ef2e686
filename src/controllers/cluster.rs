//! Every write to Kubernetes, and every live read: guarded, with a time limit, and with an answer
//! that tells apart what was refused and what may have happened.
//!
//! No decision is taken here, nothing is tried twice, and no value of a Secret is in any error.

mod tokens;
mod workloads;

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, PartialObjectMeta,
    Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{DeserializeGuard, Status};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::standing::News;
use crate::api::FIELD_MANAGER;
use crate::api::conditions::{self, Finding};

/// No call to the API server takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many calls are under way at the same time; more wait for their turn.
const CALLS: usize = 64;
/// So many objects are read in one call.
const PAGE: u32 = 500;

/// Why a call to the API server did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lapse {
    /// The object is not the one that we knew: it was changed, or made, by somebody else.
    #[error("the object was changed by somebody else")]
    Conflict,
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The API server, or an admission policy, refuses the call.
    #[error("{0}")]
    Refused(String),
    /// No answer came, or none that tells what happened: the write may have been done, or may yet.
    #[error("the API server gave no answer: {0}")]
    NoAnswer(String),
}

impl Lapse {
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                409 => Self::Conflict,
                // A proxy without a server behind it says 404 too, and so does an API server of a
                // kind that it does not serve just now: neither may make an object gone.
                404 if names_an_object(status) => Self::NotFound,
                404 => Self::NoAnswer("a 404 that names no object".to_owned()),
                429 | 500.. => Self::NoAnswer(format!("{} {}", status.code, status.reason)),
                _ => Self::Refused(status.message.clone()),
            },
            // Nothing of the body: it may be a Secret's.
            kube::Error::SerdeError(_) => Self::NoAnswer("the answer does not parse".to_owned()),
            other => Self::NoAnswer(other.to_string()),
        }
    }
}

fn names_an_object(status: &Status) -> bool {
    let details = status.details.as_ref();
    status.reason == "NotFound" && details.is_some_and(|details| !details.name.is_empty())
}

/// What a call answers.
pub(crate) type Answer<T> = Result<T, Lapse>;

/// Whether a write is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is.
    Real,
    /// It is only tried (`dryRun=All`).
    Rehearsed,
}

/// The API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    calls: Arc<Semaphore>,
}

impl Cluster {
    /// Speaks through this client, whose own retries must be off.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    /// Reads an object live.
    pub(crate) async fn get<K: Kind>(
        &self,
        namespace: Option<&str>,
        name: &str,
    ) -> Answer<Option<K>> {
        match self.answer(self.api::<K>(namespace).get(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(Lapse::NotFound) => Ok(None),
            Err(lapse) => Err(lapse),
        }
    }

    /// Reads an object live that we have seen before: none when there is another of its name.
    ///
    /// One that has vanished, though it was not being deleted and had this finalizer of ours, is
    /// taken for one that is being deleted, so that what was made for it goes: Kubernetes removes an
    /// object for good that gets its first finalizer while a deletion of it is on its way
    /// (kubernetes/kubernetes#77988). It has no resource version any more.
    pub(crate) async fn live<K: Kind>(
        &self,
        object: &K,
        finalizer: &str,
        now: Timestamp,
    ) -> Answer<Option<K>> {
        let meta = object.meta();
        if meta.resource_version.is_none() {
            return Ok(Some(object.clone()));
        }
        let found: Option<K> = self
            .get(meta.namespace.as_deref(), &object.name_any())
            .await?;
        if let Some(found) = found {
            return Ok((found.meta().uid == meta.uid).then_some(found));
        }
        let guarded = meta
            .finalizers
            .iter()
            .flatten()
            .any(|name| name == finalizer);
        if !guarded || meta.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let mut vanished = object.clone();
        vanished.meta_mut().resource_version = None;
        vanished.meta_mut().deletion_timestamp = Some(crate::api::time(now));
        Ok(Some(vanished))
    }

    /// Reads all objects of a kind live and consistently, those that do not parse as errors with
    /// their metadata.
    pub(crate) async fn all<K: Kind>(&self) -> Answer<Vec<DeserializeGuard<K>>> {
        let all: Api<DeserializeGuard<K>> = Api::all(self.client.clone());
        let mut page = ListParams::default().limit(PAGE);
        let mut items = Vec::new();
        loop {
            let answered = self.answer(all.list(&page)).await?;
            items.extend(answered.items);
            match answered
                .metadata
                .continue_
                .filter(|token| !token.is_empty())
            {
                // Every page shows the same moment; one that is not known any more is refused (410).
                Some(token) => page = page.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    /// Reads the metadata of a Secret live: never its values.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Answer<Option<PartialObjectMeta<Secret>>> {
        self.answer(self.api::<Secret>(Some(namespace)).get_metadata_opt(name))
            .await
    }

    /// Reads a Secret live, by name, with its values: the credential of a connection, or a Secret of
    /// ours whose values are kept or compared.
    pub(crate) async fn values(&self, namespace: &str, name: &str) -> Answer<Option<Secret>> {
        self.get(Some(namespace), name).await
    }

    /// Reads one entry of a ConfigMap, by name.
    pub(crate) async fn config_entry(
        &self,
        namespace: &str,
        name: &str,
        entry: &str,
    ) -> Answer<Option<String>> {
        let map: Option<ConfigMap> = self.get(Some(namespace), name).await?;
        Ok(map
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove(entry)))
    }

    /// Whether a namespace is being deleted, or is gone.
    pub(crate) async fn is_terminating(&self, namespace: &str) -> Answer<bool> {
        let namespace: Option<Namespace> = self.get(None, namespace).await?;
        Ok(namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
    }

    /// Changes finalizers and annotations of an object in one write, which fails with
    /// [`Lapse::Conflict`] when the object is not the one that we know.
    pub(crate) async fn mark<K: Kind>(&self, object: &K, marks: &Marks) -> Answer<K> {
        let api = self.api::<K>(object.meta().namespace.as_deref());
        let patch = Patch::Merge(marks.patch(object.meta()));
        self.answer(api.patch(&object.name_any(), &patching(Effect::Real), &patch))
            .await
    }

    /// As [`Cluster::mark`], for the metadata of a Secret.
    pub(crate) async fn mark_secret(
        &self,
        secret: &PartialObjectMeta<Secret>,
        marks: &Marks,
    ) -> Answer<PartialObjectMeta<Secret>> {
        let api = self.api::<Secret>(secret.metadata.namespace.as_deref());
        let patch = Patch::Merge(marks.patch(&secret.metadata));
        self.answer(api.patch_metadata(&secret.name_any(), &patching(Effect::Real), &patch))
            .await
    }

    /// Writes the status of an object whole, guarded by the resource version that it carries.
    pub(crate) async fn record<K: Kind + Serialize>(&self, object: &K) -> Answer<K> {
        let api = self.api::<K>(object.meta().namespace.as_deref());
        self.answer(api.replace_status(&object.name_any(), &posting(Effect::Real), object))
            .await
    }

    /// Writes the conditions of an object that does not parse, if they say something else; tells
    /// whether they did.
    pub(crate) async fn condemn<K: Kind>(
        &self,
        meta: &ObjectMeta,
        findings: &[Finding],
        now: Timestamp,
    ) -> Answer<News> {
        let resource = ApiResource::erase::<K>(&());
        let client = self.client.clone();
        let api: Api<DynamicObject> = match &meta.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let name = meta.name.as_deref().unwrap_or_default();
        let Some(mut object) = self.answer(api.get_opt(name)).await? else {
            return Ok(News::Same);
        };
        let before: Vec<Condition> = object
            .data
            .pointer("/status/conditions")
            .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
            .unwrap_or_default();
        let after = conditions::merge(&before, findings, now);
        if after == before {
            return Ok(News::Same);
        }
        // What else the status says is kept: it may be all that is known of a living key.
        if !object.data["status"].is_object() {
            object.data["status"] = json!({});
        }
        object.data["status"]["conditions"] = json!(after);
        object.data["status"]["observedGeneration"] = json!(object.metadata.generation);
        object.metadata.managed_fields = None;
        self.answer(api.replace_status(name, &posting(Effect::Real), &object))
            .await
            .map(|_| News::Changed)
    }

    /// Creates a Secret, for real or as a rehearsal. [`Lapse::Conflict`] when there is one.
    pub(crate) async fn create_secret(
        &self,
        secret: &Secret,
        effect: Effect,
    ) -> Answer<PartialObjectMeta<Secret>> {
        let api = self.api::<Secret>(secret.metadata.namespace.as_deref());
        let made = self.answer(api.create(&posting(effect), secret)).await?;
        Ok(PartialObjectMeta {
            types: None,
            metadata: made.metadata,
            _phantom: PhantomData,
        })
    }

    /// Changes a Secret by a merge patch that carries its uid and resource version, for real or as
    /// a rehearsal.
    pub(crate) async fn patch_secret(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
        effect: Effect,
    ) -> Answer<PartialObjectMeta<Secret>> {
        let api = self.api::<Secret>(Some(namespace));
        self.answer(api.patch_metadata(name, &patching(effect), &Patch::Merge(patch)))
            .await
    }

    /// Deletes an object that is still the one that we know. Done, too, when it is gone already.
    pub(crate) async fn delete<K: Kind>(&self, meta: &ObjectMeta) -> Answer<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let api = self.api::<K>(meta.namespace.as_deref());
        match self
            .answer(api.delete(meta.name.as_deref().unwrap_or_default(), &params))
            .await
        {
            Ok(_) | Err(Lapse::NotFound) => Ok(()),
            Err(lapse) => Err(lapse),
        }
    }

    /// Waits for an answer, but not for ever.
    async fn answer<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Answer<T> {
        // The wait for a turn counts: what is sent late can land when nobody expects it any more.
        let in_turn = async {
            let _turn = self.calls.acquire().await;
            call.await
        };
        match tokio::time::timeout(PATIENCE, in_turn).await {
            Ok(answered) => answered.map_err(|error| Lapse::of(&error)),
            Err(_) => Err(Lapse::NoAnswer(format!(
                "none within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    fn api<K: Kind>(&self, namespace: Option<&str>) -> Api<K> {
        K::Scope::place(self.client.clone(), namespace)
    }
}

fn posting(effect: Effect) -> PostParams {
    PostParams {
        dry_run: effect == Effect::Rehearsed,
        field_manager: Some(FIELD_MANAGER.to_owned()),
    }
}

fn patching(effect: Effect) -> PatchParams {
    PatchParams {
        dry_run: effect == Effect::Rehearsed,
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// A change of finalizers and annotations.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The finalizer to put on.
    pub add: Option<&'static str>,
    /// The finalizer to take off.
    pub remove: Option<&'static str>,
    /// Annotations to set, or to take away.
    pub annotations: Vec<(&'static str, Option<String>)>,
}

impl Marks {
    fn patch(&self, meta: &ObjectMeta) -> Value {
        let before = meta.finalizers.clone().unwrap_or_default();
        let stays = |name: &&String| self.remove != Some(name.as_str());
        let mut finalizers: Vec<String> = before.iter().filter(stays).cloned().collect();
        if let Some(add) = self
            .add
            .filter(|add| !finalizers.iter().any(|name| name == add))
        {
            finalizers.push(add.to_owned());
        }
        let mut metadata = json!({ "uid": meta.uid, "resourceVersion": meta.resource_version });
        if finalizers != before {
            metadata["finalizers"] = json!(finalizers);
        }
        for (name, value) in &self.annotations {
            metadata["annotations"][name] = json!(value);
        }
        json!({ "metadata": metadata })
    }
}

/// A kind of objects that we read and write.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope: Place<Self>> + Clone + Debug + DeserializeOwned
{
}

impl<K: Resource<DynamicType = (), Scope: Place<K>> + Clone + Debug + DeserializeOwned> Kind for K {}

/// Where the objects of a scope are.
pub(crate) trait Place<K> {
    /// The API of objects at this place.
    fn place(client: Client, namespace: Option<&str>) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = Self>> Place<K> for NamespaceResourceScope {
    fn place(client: Client, namespace: Option<&str>) -> Api<K> {
        Api::namespaced(client, namespace.unwrap_or_default())
    }
}

impl<K: Resource<DynamicType = (), Scope = Self>> Place<K> for ClusterResourceScope {
    fn place(client: Client, _: Option<&str>) -> Api<K> {
        Api::all(client)
    }
}

#[cfg(test)]
mod tests;
