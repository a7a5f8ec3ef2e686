//! What is to be seen in a scene, and waits for it.

use std::time::Duration;

use anyhow::{Result, bail};
use apikey_operator::clock::Clock as _;
use jiff::Timestamp;
use serde_json::Value;
use testbed::twins::octopus;
use tokio::time::{Instant, sleep};

use super::{INSTALLATION, Scene};
use crate::effect::Effect;
use crate::manifests::{self, Address};
use crate::recorder::Heard;

/// How often something that is waited for is looked at: at first, and after a while.
const GLANCE: Duration = Duration::from_millis(50);
const LATER_GLANCE: Duration = Duration::from_secs(1);
const A_WHILE: Duration = Duration::from_secs(5);

impl Scene {
    /// An object as it is in the store.
    pub fn get(&self, address: &Address) -> Option<Value> {
        self.world.api.store(|store| {
            store
                .get(address.resource(), &address.namespace, &address.name)
                .cloned()
        })
    }

    /// Whether an object has a condition with this status.
    pub fn says(&self, address: &Address, type_: &str, status: &str) -> bool {
        self.condition(address, type_)
            .is_some_and(|condition| condition["status"] == status)
    }

    /// A condition of an object.
    pub fn condition(&self, address: &Address, type_: &str) -> Option<Value> {
        let object = self.get(address)?;
        let conditions = object.pointer("/status/conditions")?.as_array()?.clone();
        conditions
            .into_iter()
            .find(|condition| condition["type"] == type_)
    }

    /// The reason of an object's `Ready`, or nothing.
    pub fn reason(&self, address: &Address) -> String {
        let ready = self.condition(address, "Ready").unwrap_or_default();
        ready["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The keys on the server that carry a token of this installation and live.
    pub fn living(&self) -> Vec<octopus::KeyView> {
        let ours = format!("ako1.{INSTALLATION}.");
        let mut keys = self.servers.keys();
        keys.retain(|key| key.purpose.contains(&ours) && key.life == octopus::Life::Alive);
        keys
    }

    /// The key that a Secret holds, if the server knows it.
    pub fn published(&self, namespace: &str, secret: &str) -> Option<octopus::KeyView> {
        let secret = self.get(&Address::secret(namespace, secret))?;
        let value = manifests::key_of(&secret)?;
        self.servers.whose(&value)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Lets so much time pass.
    pub async fn run(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until something is so, and says how long that took.
    ///
    /// # Errors
    /// When it is not so within `limit`.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        so: impl Fn(&Self) -> bool,
    ) -> Result<Duration> {
        let began = Instant::now();
        while !so(self) {
            if began.elapsed() >= limit {
                bail!("not so within {limit:?}: {what}");
            }
            let glance = if began.elapsed() < A_WHILE {
                GLANCE
            } else {
                LATER_GLANCE
            };
            sleep(glance).await;
        }
        Ok(began.elapsed())
    }

    /// Waits until an object's `Ready` is `True` for its present generation.
    ///
    /// # Errors
    /// When it is not within `limit`.
    pub async fn until_ready(&self, address: &Address, limit: Duration) -> Result<Duration> {
        let so = |scene: &Self| {
            let Some(object) = scene.get(address) else {
                return false;
            };
            object["metadata"]["generation"] == object["status"]["observedGeneration"]
                && scene.says(address, "Ready", "True")
        };
        self.until(&format!("{} is Ready", address.path()), limit, so)
            .await
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it is not within `limit`.
    pub async fn until_gone(&self, address: &Address, limit: Duration) -> Result<Duration> {
        let what = format!("{} is gone", address.path());
        self.until(&what, limit, |scene| scene.get(address).is_none())
            .await
    }

    /// What a program has sent, but for the first `skip` requests of everybody.
    pub fn calls(&self, program: &str, skip: usize) -> Vec<Heard> {
        let mut calls = self.world.recorder.calls(skip);
        calls.retain(|heard| heard.call.process.name.as_ref() == program);
        calls
    }

    /// How many requests everybody has sent so far.
    pub fn mark(&self) -> usize {
        self.world.recorder.calls(0).len()
    }

    /// What a program has changed, in all its lives.
    pub fn effects(&self, program: &str) -> Vec<Effect> {
        let mut effects = self.world.recorder.effects();
        effects.retain(|effect| effect.call.process.name.as_ref() == program);
        effects
    }
}
