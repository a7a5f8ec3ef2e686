//! Workloads that use keys: one reads its Secret once, when it appears, and one reads it again when
//! its key is refused. What they have to complain of, the scene hears.

use std::time::Duration;

use apikey_operator::servers::transport::Transport as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use crate::effect::Process;
use crate::manifests::{Address, key_of, previous_of};
use crate::scene::Scene;
use crate::servers::proof;

/// The name of every workload, as the doors see it.
pub const CONSUMER: &str = "consumer";

/// When a workload reads its Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// When it appears; and anew only after a key that was bound to end.
    Once,
    /// Whenever its key is refused.
    Again,
    /// At every use, and tries the key of each slot.
    Slots,
}

/// Uses the key of a Secret for ever.
pub(crate) async fn consume(
    scene: &Scene,
    namespace: &str,
    secret: &str,
    habit: Habit,
    every: Duration,
) {
    let mut value: Option<String> = None;
    loop {
        sleep(every).await;
        if habit == Habit::Slots {
            slots(scene, namespace, secret).await;
            continue;
        }
        let read = || {
            scene
                .get(&Address::secret(namespace, secret))
                .as_ref()
                .and_then(key_of)
        };
        let Some(key) = value.clone().or_else(read) else {
            continue;
        };
        value = Some(key.clone());
        if use_it(scene, &key).await != Some(StatusCode::UNAUTHORIZED) {
            continue;
        }
        value = None;
        let excused = scene.witness.excuse(&key).is_some();
        match habit {
            Habit::Once if !excused => scene.complain(format!(
                "a consumer who read Secret {secret} once is refused"
            )),
            Habit::Again => again(scene, namespace, secret, read()).await,
            Habit::Once | Habit::Slots => {}
        }
    }
}

/// The key of each slot must work.
async fn slots(scene: &Scene, namespace: &str, secret: &str) {
    let Some(read) = scene.get(&Address::secret(namespace, secret)) else {
        return;
    };
    for key in [previous_of(&read), key_of(&read)].into_iter().flatten() {
        if use_it(scene, &key).await == Some(StatusCode::UNAUTHORIZED)
            && scene.witness.excuse(&key).is_none()
        {
            scene.complain(format!(
                "a slot of Secret {secret} holds a key that is refused"
            ));
        }
    }
}

/// What the Secret holds now must work.
async fn again(scene: &Scene, namespace: &str, secret: &str, value: Option<String>) {
    let Some(key) = value else { return };
    let refused = use_it(scene, &key).await == Some(StatusCode::UNAUTHORIZED);
    if refused && scene.witness.excuse(&key).is_none() && wanted(scene, namespace, secret) {
        scene.complain(format!(
            "a consumer who reads Secret {secret} again is refused again"
        ));
    }
}

/// Whether an ApiKey of this Secret's name lives.
fn wanted(scene: &Scene, namespace: &str, secret: &str) -> bool {
    scene.world.api.store(|store| {
        let mut keys = store.all("apikeys.apikeys.dev");
        keys.any(|key| {
            let name = key.pointer("/spec/secret/name").and_then(Value::as_str);
            let name = name.or(key["metadata"]["name"].as_str());
            key["metadata"]["namespace"] == namespace
                && name == Some(secret)
                && key["metadata"]["deletionTimestamp"].is_null()
        })
    })
}

/// What the server says to this key; `None` when it says nothing.
pub(crate) async fn use_it(scene: &Scene, key: &str) -> Option<StatusCode> {
    let (host, path, header) = proof(key);
    let (name, value) = header.split_once(": ")?;
    let request = Request::get(format!("https://{host}{path}"));
    let request = request.header(name, value).body(Bytes::new()).ok()?;
    let wires = scene.wires(&Process::new(CONSUMER));
    wires.send(request).await.ok().map(|answer| answer.status())
}
