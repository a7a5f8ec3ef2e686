//! What the operator has written into the cluster, in every state that it was in: followed from the
//! beginning, since most objects of the rows are gone when leaks are looked for.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use apikey_operator::api::{ApiKey, ClusterDeployServer, DeployServer, ServiceAccount};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta};
use kube::runtime::watcher::{self, watcher};
use kube::{Client, Resource};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What people write with `kubectl apply` is no word of ours.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What was written, as JSON, one state a line.
type Text = Arc<Mutex<Vec<u8>>>;

/// Followers of all kinds that the operator writes. Dropping it ends them.
pub(crate) struct Heard {
    objects: Text,
    events: Text,
    _followers: JoinSet<()>,
}

impl Heard {
    /// Follows from now on.
    pub(crate) fn begin(client: &Client) -> Self {
        let (objects, events) = (Text::default(), Text::default());
        let mut followers = JoinSet::new();
        for resource in [
            ApiResource::erase::<ApiKey>(&()),
            ApiResource::erase::<ServiceAccount>(&()),
            ApiResource::erase::<DeployServer>(&()),
            ApiResource::erase::<ClusterDeployServer>(&()),
            ApiResource::erase::<Secret>(&()),
        ] {
            let all = Api::all_with(client.clone(), &resource);
            followers.spawn(follow(all, Arc::clone(&objects), essence));
        }
        let all = Api::<Event>::all(client.clone());
        followers.spawn(follow(all, Arc::clone(&events), |event| json!(event)));
        Self {
            objects,
            events,
            _followers: followers,
        }
    }

    /// What the operator's and its Secrets' metadata have said, and every status.
    pub(crate) fn objects(&self) -> Vec<u8> {
        copy(&self.objects)
    }

    /// All Events.
    pub(crate) fn events(&self) -> Vec<u8> {
        copy(&self.events)
    }
}

fn copy(text: &Text) -> Vec<u8> {
    text.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Writes down every state of all objects of a kind.
async fn follow<K>(all: Api<K>, text: Text, tell: fn(&K) -> Value)
where
    K: Resource + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let states = watcher(all, watcher::Config::default());
    let mut states = std::pin::pin!(states);
    while let Some(state) = states.next().await {
        let (watcher::Event::Apply(object)
        | watcher::Event::InitApply(object)
        | watcher::Event::Delete(object)) = &(match state {
            Ok(state) => state,
            // It begins anew by itself.
            Err(_) => continue,
        })
        else {
            continue;
        };
        let line = format!("{}\n", tell(object));
        text.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(line.as_bytes());
    }
}

/// What of an object may be the operator's: all but what people ask for, and the values of a Secret.
fn essence(object: &DynamicObject) -> Value {
    let ObjectMeta {
        name,
        namespace,
        labels,
        annotations,
        finalizers,
        ..
    } = object.metadata.clone();
    let mut annotations = annotations.unwrap_or_default();
    annotations.remove(APPLIED);
    json!([
        name,
        namespace,
        labels,
        annotations,
        finalizers,
        object.data["status"]
    ])
}
