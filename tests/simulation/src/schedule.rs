//! Schedules: an hour in which much goes wrong, drawn from a seed, and what must come of it.
//!
//! Two operators are at work at once. While troubles last, the witness holds every effect to the
//! invariants; when they are over, every ApiKey that is wanted has its one living key, and of those
//! that went nothing is left.

mod deed;
mod trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

pub use self::deed::Deed;
pub use self::trouble::Trouble;
use self::trouble::{QUOTA, WATCHED, trouble};
pub(crate) use self::trouble::{act, fault};
use crate::consumer::Habit;
use crate::manifests::{self, Address, TEAM};
use crate::scene::{Scene, play};

/// The operators.
const LEADERS: [&str; 2] = ["a", "b"];
/// The ApiKeys.
const KEYS: [&str; 3] = ["one", "two", "three"];
/// Troubles come within this time.
const HOUR: u64 = 60 * 60;
/// After the last trouble everything is well again within this time: the longest patience, what an
/// attempt may take, and a resync.
const MENDED: Duration = Duration::from_secs(20 * 60);
/// What nothing records is dead after this: 10 minutes, the overlap, two resyncs, and a little.
const SWEPT: Duration = Duration::from_secs(60 * (10 + 20 + 2 * 5 + 5));

/// Troubles, each at its time after the beginning.
#[derive(Debug, Clone)]
pub struct Schedule {
    troubles: Vec<(Duration, Trouble)>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, trouble) in &self.troubles {
            writeln!(f, "  {:>5} s  {trouble:?}", at.as_secs())?;
        }
        Ok(())
    }
}

impl Schedule {
    /// The troubles that this seed draws.
    pub fn draw(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut troubles: Vec<_> = (0..dice.random_range(2..16))
            .map(|_| {
                // Much happens while the first keys are made.
                let latest = *[5, 90, HOUR].choose(&mut dice).unwrap_or(&HOUR);
                let at = Duration::from_millis(dice.random_range(0..latest * 1000));
                (at, trouble(&mut dice))
            })
            .collect();
        troubles.sort_by_key(|(at, _)| *at);
        Self { troubles }
    }

    /// How many troubles there are.
    pub fn len(&self) -> usize {
        self.troubles.len()
    }

    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.troubles.is_empty()
    }

    /// Plays it in a world of its own, and counts what was done in it.
    ///
    /// # Errors
    /// What went wrong that must not.
    pub fn play(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        play(|| async {
            let scene = Scene::new().await?;
            scene.act(self.story(&scene)).await?;
            counts = Counts::of(&scene, &LEADERS);
            Ok(())
        })?;
        Ok(counts)
    }

    /// The shortest schedule with fewer of its troubles that still goes wrong when it is played so, and
    /// how.
    pub fn shrink(&self, play: impl Fn(&Self) -> Result<Counts>) -> (Self, Option<anyhow::Error>) {
        let mut shortest = self.clone();
        let mut how = None;
        let mut from = 0;
        while from < shortest.troubles.len() {
            let mut shorter = shortest.clone();
            shorter.troubles.remove(from);
            match play(&shorter) {
                Ok(_) => from += 1,
                Err(error) => (shortest, how) = (shorter, Some(error)),
            }
        }
        (shortest, how)
    }

    async fn story(&self, scene: &Scene) -> Result<()> {
        // Each trouble may cut an attempt off, and what it leaves lives for a while.
        scene.witness.spare(self.troubles.len());
        for leader in LEADERS {
            scene.start(leader);
        }
        let began = Instant::now();
        let mut server = manifests::server();
        server["spec"]["resync"] = json!("5m");
        scene
            .apply(&manifests::credential(&scene.credential()))
            .await?;
        scene.apply(&server).await?;
        scene.apply(&manifests::account(json!({}))).await?;
        scene.apply(&observer()).await?;
        for name in KEYS {
            scene.apply(&manifest(name)).await?;
            for habit in [Habit::Once, Habit::Again, Habit::Slots] {
                scene.consume(TEAM, name, habit, Duration::from_secs(30));
            }
        }
        for (at, trouble) in &self.troubles {
            sleep_until(began + *at).await;
            trouble.strike(scene).await;
        }
        scene.run(Duration::from_secs(HOUR)).await;
        mend(scene).await?;
        settle(scene).await?;
        leave(scene).await
    }
}

/// What was done in a world.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Requests that may have changed something.
    pub effects: usize,
    /// Lives of operators that were ended.
    pub crashes: u32,
    /// Keys that were made.
    pub keys: usize,
}

impl Counts {
    pub(crate) fn of(scene: &Scene, operators: &[&str]) -> Self {
        Self {
            effects: scene.world.recorder.effects().len(),
            crashes: operators
                .iter()
                .map(|operator| scene.life(operator).life)
                .sum(),
            keys: scene.twin.done(testbed::twins::Effect::Mint),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            effects: self.effects + other.effects,
            crashes: self.crashes + other.crashes,
            keys: self.keys + other.keys,
        }
    }
}

/// One of the ApiKeys uses the account through a ServiceAccount that only observes it.
fn manifest(name: &str) -> Value {
    let mut key = manifests::key(name, json!({"rotation": {"overlap": "20m"}}));
    if name == KEYS[2] {
        key["spec"]["serviceAccountRef"]["name"] = json!("observer");
    }
    key
}

/// Another ServiceAccount on the same account.
fn observer() -> Value {
    let mut account =
        manifests::account(json!({"management": "Observed", "username": "team-a.ci"}));
    account["metadata"]["name"] = json!("observer");
    account
}

/// Nothing goes wrong any more, and every ApiKey that is there is wanted.
async fn mend(scene: &Scene) -> Result<()> {
    scene.twin.clear_faults();
    scene.world.api.store(|store| store.lift(QUOTA));
    // Whoever has missed something reads it all anew.
    scene.compact();
    for leader in LEADERS {
        scene.wake(leader);
        for resource in WATCHED {
            scene.world.api.release(leader, resource);
        }
    }
    for name in KEYS {
        // One that is going is gone before it is applied again.
        let key = Address::key(name);
        let going = |scene: &Scene| {
            let object = scene.get(&key).unwrap_or_default();
            !object["metadata"]["deletionTimestamp"].is_null()
        };
        if going(scene) {
            scene.until_gone(&key, MENDED).await?;
        }
        if scene.get(&key).is_some() {
            let patch = json!({"spec": {"revoked": false, "suspend": false}});
            scene.patch(&key, patch).await?;
        }
    }
    Ok(())
}

/// Every ApiKey has its one living key, in its Secret, and nothing else lives.
async fn settle(scene: &Scene) -> Result<()> {
    let there = |name: &&&str| scene.get(&Address::key(name)).is_some();
    let wanted: Vec<_> = KEYS.iter().filter(there).collect();
    for name in &wanted {
        scene.until_ready(&Address::key(name), MENDED).await?;
    }
    scene.run(SWEPT).await;
    let mut published = BTreeMap::new();
    for name in wanted {
        ensure!(
            scene.says(&Address::key(name), "Ready", "True"),
            "{name} is not Ready any more"
        );
        let held = scene.published(TEAM, name);
        let held = held.with_context(|| format!("Secret {name} holds no living key"))?;
        published.insert(held.id, *name);
    }
    for key in scene.living() {
        ensure!(
            published.remove(&key.id).is_some(),
            "nobody wants {} ({}), and it lives",
            key.id,
            key.purpose
        );
    }
    ensure!(published.is_empty(), "these do not live: {published:?}");
    Ok(())
}

/// Everything is deleted at once, and nothing is left.
async fn leave(scene: &Scene) -> Result<()> {
    let keys = KEYS.map(Address::key);
    let others = [
        Address::account("ci"),
        Address::account("observer"),
        Address::server("octopus"),
    ];
    let all: Vec<_> = keys.iter().chain(&others).collect();
    for address in &all {
        if scene.get(address).is_some() {
            scene.delete(address).await?;
        }
    }
    for address in all {
        scene.until_gone(address, MENDED).await?;
    }
    scene.run(Duration::from_secs(60)).await;
    ensure!(scene.living().is_empty(), "a key is left");
    let view = scene.twin.view();
    ensure!(view.account("team-a.ci").is_none(), "the account is left");
    Ok(())
}
