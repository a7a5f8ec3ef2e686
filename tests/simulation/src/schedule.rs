//! Schedules: an hour in which much goes wrong, drawn from a seed, and what must come of it.
//!
//! Two operators are at work at once. While troubles last, the witness holds every effect to the
//! invariants; when they are over, every ApiKey that is wanted has its one living key, and of those
//! that went nothing is left.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use testbed::twins::octopus::Change;
use testbed::twins::{Fault, Rule as Wrong};
use tokio::time::{Instant, sleep, sleep_until};

use crate::consumer::Habit;
use crate::effect::Process;
use crate::kubernetes::{Denied, Verb, Write};
use crate::manifests::{self, Address, TEAM};
use crate::scene::{Scene, play};
use crate::script::{Act, Moment, Rule};

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

/// Something that goes wrong, or that somebody does.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// With the next effect but so many of this operator.
    Effect(&'static str, usize, Act),
    /// An operator stands still for so many seconds.
    Pause(&'static str, u64),
    /// The server answers like this for so many seconds.
    Server(Fault, u64),
    /// The API server forgets its history: watches begin anew.
    Compact,
    /// Somebody does something with an ApiKey or its Secret.
    Deed(Deed, &'static str),
    /// The status of the account is wiped.
    WipeAccount,
    /// An operator's watches show nothing new of this resource for so many seconds.
    Blind(&'static str, &'static str, u64),
    /// An operator's watch of this resource misses what changes next.
    Lose(&'static str, &'static str),
    /// The clock of an operator's machine is set so many seconds ahead, or back.
    Jump(&'static str, i64),
    /// No Secret can be written for so many seconds.
    Quota(u64),
}

/// What the operators watch.
const WATCHED: [&str; 4] = [
    "secrets",
    "apikeys.apikeys.dev",
    "serviceaccounts.apikeys.dev",
    "deployservers.apikeys.dev",
];

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Apply it, also again.
    Apply,
    /// Delete it.
    Delete,
    /// Delete its Secret.
    DeleteSecret,
    /// Ask for a rotation.
    Rotate,
    /// Set `revoked`.
    Revoke,
    /// Take `revoked` back.
    TakeBack,
    /// Put the bare manifest back: annotations and finalizers go.
    Replace,
    /// Wipe its status.
    Wipe,
    /// End its key on the server.
    EndKey,
    /// Suspend it.
    Suspend,
    /// Let it go on.
    Resume,
    /// Ask for a shorter life.
    Shorten,
    /// Ask for another entry in its Secret.
    Reshape,
    /// Ask for the previous key to be kept in the Secret.
    Keep,
    /// Ask for it no more.
    Drop,
}

const DEEDS: [Deed; 15] = [
    Deed::Apply,
    Deed::Delete,
    Deed::DeleteSecret,
    Deed::Rotate,
    Deed::Revoke,
    Deed::TakeBack,
    Deed::Replace,
    Deed::Wipe,
    Deed::EndKey,
    Deed::Suspend,
    Deed::Resume,
    Deed::Shorten,
    Deed::Reshape,
    Deed::Keep,
    Deed::Drop,
];

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

fn trouble(dice: &mut StdRng) -> Trouble {
    let leader = LEADERS.choose(dice).copied().unwrap_or(LEADERS[0]);
    let key = KEYS.choose(dice).copied().unwrap_or(KEYS[0]);
    let seconds = |dice: &mut StdRng, most: u64| dice.random_range(1..most);
    match dice.random_range(0..12) {
        0..4 => Trouble::Effect(leader, dice.random_range(0..12), act(dice)),
        4 => Trouble::Pause(leader, seconds(dice, 300)),
        5 => {
            let fault = fault(dice);
            Trouble::Server(fault, seconds(dice, 200))
        }
        6 => {
            let resource = WATCHED.choose(dice).copied().unwrap_or(WATCHED[0]);
            Trouble::Blind(leader, resource, seconds(dice, 300))
        }
        7 if dice.random_bool(0.2) => {
            let resource = WATCHED.choose(dice).copied().unwrap_or(WATCHED[0]);
            Trouble::Lose(leader, resource)
        }
        7 if dice.random_bool(0.3) => Trouble::Compact,
        7 if dice.random_bool(0.4) => Trouble::WipeAccount,
        7 if dice.random_bool(0.5) => Trouble::Jump(leader, dice.random_range(-55..55)),
        7 => Trouble::Quota(seconds(dice, 300)),
        _ => {
            let deed = DEEDS.choose(dice).copied().unwrap_or(Deed::Apply);
            Trouble::Deed(deed, key)
        }
    }
}

/// How the server fails.
pub(crate) fn fault(dice: &mut StdRng) -> Fault {
    let faults = [
        Fault::Outage,
        Fault::Refused { status: 503 },
        Fault::Throttled { retry_after: None },
        Fault::CutAfter,
        Fault::CutBefore,
        Fault::Slow { millis: 20_000 },
        Fault::HalfJson,
        Fault::Html,
    ];
    faults.choose(dice).cloned().unwrap_or(Fault::Outage)
}

/// What happens to one request.
pub(crate) fn act(dice: &mut StdRng) -> Act {
    let seconds = Duration::from_secs(dice.random_range(1..58));
    match dice.random_range(0..7) {
        0 => Act::Crash(Moment::Before),
        1 | 2 => Act::Crash(Moment::After),
        3 => Act::Lose,
        4 => Act::Refuse,
        5 => Act::Late(seconds),
        _ => Act::Slow(seconds),
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

impl Trouble {
    async fn strike(&self, scene: &Scene) {
        match self {
            Self::Effect(who, skip, act) => {
                let rule = Rule::effect(act.clone(), &Process::new(who), *skip);
                scene.world.recorder.script(rule);
            }
            Self::Pause(who, seconds) => {
                scene.pause(who);
                let (scene, who, seconds) = (scene.clone(), *who, *seconds);
                tokio::spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    scene.wake(who);
                });
            }
            Self::Server(fault, seconds) => {
                scene.twin.fault(Wrong::new(fault.clone()));
                let (scene, seconds) = (scene.clone(), *seconds);
                tokio::spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    scene.twin.clear_faults();
                });
            }
            Self::Compact => scene.compact(),
            Self::WipeAccount => {
                let wiped = json!({"status": null});
                // It may not be there.
                drop(scene.patch_status(&Address::account("ci"), wiped).await);
            }
            Self::Blind(who, resource, seconds) => {
                let api = scene.world.api.clone();
                api.hold(who, resource);
                let (who, resource, seconds) = (*who, *resource, *seconds);
                tokio::spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    api.release(who, resource);
                });
            }
            Self::Lose(who, resource) => {
                let version = scene.world.api.store(|store| store.version());
                for missed in 1..4 {
                    scene.world.api.lose(who, resource, version + missed);
                }
            }
            Self::Jump(who, seconds) => scene.jump(who, SignedDuration::from_secs(*seconds)),
            Self::Quota(seconds) => {
                let api = scene.world.api.clone();
                api.store(|store| store.admit(QUOTA, no_secret));
                let seconds = *seconds;
                tokio::spawn(async move {
                    sleep(Duration::from_secs(seconds)).await;
                    api.store(|store| store.lift(QUOTA));
                });
            }
            // Whatever is done to something that is gone, or refused, is simply not done.
            Self::Deed(deed, name) => {
                drop(deed.perform(scene, name, &manifest(name)).await);
            }
        }
    }
}

/// The name of the rule that lets no Secret be written.
const QUOTA: &str = "quota";

fn no_secret(write: &mut Write<'_>) -> Result<(), Denied> {
    match (write.resource.as_str(), write.verb) {
        ("secrets", Verb::Create | Verb::Replace | Verb::Patch) => {
            Err(Denied("exceeded quota: secrets".into()))
        }
        _ => Ok(()),
    }
}

impl Deed {
    /// Does it with the ApiKey of this name, whose manifest this is.
    pub(crate) async fn perform(self, scene: &Scene, name: &str, manifest: &Value) -> Result<()> {
        let key = Address::key(name);
        let edit = async |spec: Value| {
            let patch = json!({"spec": spec});
            scene.patch(&key, patch).await.map(drop)
        };
        let uid = |scene: &Scene| {
            let object = scene.get(&key)?;
            Some(object["metadata"]["uid"].as_str()?.to_owned())
        };
        match self {
            Self::Apply => scene.apply(manifest).await.map(drop),
            Self::Delete => scene.delete(&key).await,
            Self::DeleteSecret => scene.delete(&Address::secret(TEAM, name)).await,
            Self::Rotate => {
                let request = scene.now().to_string();
                let annotations = json!({"apikeys.dev/rotate": request});
                let patch = json!({"metadata": {"annotations": annotations}});
                scene.patch(&key, patch).await.map(drop)
            }
            Self::Revoke | Self::TakeBack => {
                // Taken back within minutes, it may leave a dead key in the Secret for a moment.
                if let Some(uid) = uid(scene) {
                    scene.witness.pardon(&uid);
                }
                edit(json!({"revoked": self == Self::Revoke})).await
            }
            Self::Replace => scene.replace(manifest).await.map(drop),
            Self::Wipe => scene
                .patch_status(&key, json!({"status": null}))
                .await
                .map(drop),
            Self::EndKey => {
                let held = scene.published(TEAM, name).context("no key")?;
                scene.witness.outside(&held.id);
                Ok(scene.twin.change(Change::RevokeKey { key: held.id })?)
            }
            Self::Suspend | Self::Resume => edit(json!({"suspend": self == Self::Suspend})).await,
            Self::Shorten => edit(json!({"lifetime": "5d"})).await,
            Self::Reshape => {
                let data = json!({"OCTOPUS_API_KEY": "{{ key }}", "NOTE": "two entries"});
                edit(json!({"secret": {"data": data}})).await
            }
            Self::Keep | Self::Drop => {
                edit(json!({"secret": {"keepPrevious": self == Self::Keep}})).await
            }
        }
    }
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
