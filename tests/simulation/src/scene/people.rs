//! What people do in a scene.

use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context as _, Result};
use apikey_operator::api::all_crds;
use apikey_operator::clock::Clock as _;
use http::Method;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::{Scene, kinds};
use crate::consumer::{self, Habit};
use crate::kubernetes::Kind;
use crate::manifests::Address;

/// The media types of writes.
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

impl Scene {
    /// Has a workload use the key of a Secret for ever.
    pub fn consume(&self, namespace: &str, secret: &str, habit: Habit, every: Duration) {
        let scene = self.clone();
        let (namespace, secret) = (namespace.to_owned(), secret.to_owned());
        tokio::spawn(async move {
            consumer::consume(&scene, &namespace, &secret, habit, every).await;
        });
    }

    /// Somebody has something to complain of.
    pub fn complain(&self, mut what: String) {
        what.insert_str(0, &format!("{} ", self.world.clock.now()));
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Applies a manifest, as a person does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, manifest: &Value) -> Result<Value> {
        let path = Address::of(manifest)?.path();
        let path = format!("{path}?fieldManager=person&force=true");
        self.ask(Method::PATCH, &path, APPLY, manifest).await
    }

    /// Applies a manifest while its kind has no rules for `spec`, as an older definition had none.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_unchecked(&self, manifest: &Value) -> Result<Value> {
        let of_kind = |crd: &CustomResourceDefinition| manifest["kind"] == crd.spec.names.kind;
        let definition = all_crds().into_iter().find(of_kind);
        let definition = definition.context("not one of our kinds")?;
        let plural = &definition.spec.names.plural;
        let mut kinds = kinds()?.into_iter();
        let strict = kinds.find(|kind| kind.plural == *plural);
        let strict = strict.context("a kind that is not served")?;
        let mut loose = serde_json::to_value(&definition)?;
        for version in loose["spec"]["versions"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            version["schema"]["openAPIV3Schema"]["properties"]["spec"] =
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        }
        let loose = Kind::custom(&loose)?;
        self.world.api.store(|store| store.serve(loose));
        let applied = self.apply(manifest).await;
        self.world.api.store(|store| store.serve(strict));
        applied
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn patch(&self, address: &Address, patch: Value) -> Result<Value> {
        self.ask(Method::PATCH, &address.path(), MERGE, &patch)
            .await
    }

    /// Wipes or changes the status of an object.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn patch_status(&self, address: &Address, patch: Value) -> Result<Value> {
        let status = format!("{}/status", address.path());
        self.ask(Method::PATCH, &status, MERGE, &patch).await
    }

    /// Puts an object back as a manifest has it: annotations and finalizers of others go.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn replace(&self, manifest: &Value) -> Result<Value> {
        let address = Address::of(manifest)?;
        let live = self.get(&address).context("nothing to replace")?;
        let mut wanted = manifest.clone();
        wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        self.ask(Method::PUT, &address.path(), JSON, &wanted).await
    }

    /// Deletes an object; it may take its time to go.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete(&self, address: &Address) -> Result<()> {
        self.ask(Method::DELETE, &address.path(), JSON, &json!({}))
            .await?;
        Ok(())
    }

    /// A deletion that has seen no finalizer lands after the first one was put on: the object is gone.
    pub fn overtake(&self, address: &Address) {
        let object = self.get(address).unwrap_or_default();
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        self.witness.overtaken(uid);
        let Address {
            namespace, name, ..
        } = address;
        self.world
            .api
            .store(|store| store.overtake(address.resource(), namespace, name));
    }

    async fn ask(&self, method: Method, path: &str, form: &str, body: &Value) -> Result<Value> {
        let request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::CONTENT_TYPE, form)
            .body(body.to_string().into_bytes())?;
        let answer = self.person.request::<Value>(request).await;
        answer.with_context(|| format!("{method} {path}"))
    }
}
