//! A fleet: many keys on many accounts for many days, rotating all the time, while everything that can
//! go wrong does, drawn from one seed. The witness holds every effect to the invariants, and whoever
//! reads each Secret once per overlap is never refused.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use testbed::twins::{Effect, Rule as Wrong};
use tokio::time::{Instant, sleep};

use crate::consumer::use_it;
use crate::effect::Process;
use crate::manifests::{self, Address, TEAM, key_of};
use crate::scene::{OPERATOR, Scene, play};
use crate::schedule::{Counts, Deed, act, fault};
use crate::script::Rule;
use crate::witness::Death;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a replaced key works.
const OVERLAP: Duration = DAY;
/// A replaced key is dead after this: the overlap, 10 minutes, two resyncs.
const RETIRING: SignedDuration = SignedDuration::from_mins(24 * 60 + 10 + 2 * 60);
/// After the last trouble all is well within this time: what nothing records retires with the
/// overlap, and what was lost last is paced.
const SWEPT: Duration = Duration::from_secs(2 * 24 * 3600);

/// How large a fleet is, and for how long it is at sea.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// What everything is drawn from.
    pub seed: u64,
    /// ApiKeys.
    pub keys: usize,
    /// ServiceAccounts.
    pub accounts: usize,
    /// Days.
    pub days: u32,
    /// Troubles in a day, about.
    pub troubles: u32,
}

/// What has happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbers {
    /// Effects, crashes, keys.
    pub told: Counts,
    /// Keys that were revoked.
    pub revokes: usize,
    /// Troubles.
    pub troubles: usize,
    /// ApiKeys that were deleted and made anew.
    pub renewed: usize,
    /// Keys that were alive, recorded by nobody, and are gone.
    pub strays: usize,
    /// Uses of keys.
    pub uses: usize,
    /// Of these, refused.
    pub refused: usize,
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            effects,
            crashes,
            keys,
        } = self.told;
        write!(
            f,
            "{effects} effects, {keys} keys made, {} revoked, {} strays swept, {} troubles, {crashes} crashes, {} ApiKeys made anew, {} uses of keys, {} refused",
            self.revokes, self.strays, self.troubles, self.renewed, self.uses, self.refused
        )
    }
}

impl Fleet {
    /// The whole: 90 days of 200 keys.
    pub fn whole(seed: u64) -> Self {
        Self {
            seed,
            keys: 200,
            accounts: 20,
            days: 90,
            troubles: 12,
        }
    }

    /// A part of it, for every day.
    pub fn small(seed: u64) -> Self {
        Self {
            keys: 12,
            accounts: 3,
            days: 12,
            ..Self::whole(seed)
        }
    }

    /// Goes to sea, and comes back.
    ///
    /// # Errors
    /// What went wrong that must not.
    pub fn sail(self) -> Result<Numbers> {
        let numbers = Mutex::new(Numbers::default());
        play(|| async {
            let scene = Scene::new().await?;
            let log = Log::default();
            let outcome = self.voyage(&scene, &log).await;
            let mut told = log.read();
            told.told = Counts::of(&scene, &[OPERATOR]);
            told.revokes = scene.twin.done(Effect::Revoke);
            told.strays = scene.witness.unpublished();
            *numbers.lock().unwrap_or_else(PoisonError::into_inner) = told;
            // The report of a fleet is too long to be read.
            outcome.and_then(|()| scene.verdict())
        })?;
        Ok(numbers.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn voyage(self, scene: &Scene, log: &Log) -> Result<()> {
        scene.start(OPERATOR);
        let mut server = manifests::server();
        server["spec"]["resync"] = json!("1h");
        server["spec"]["limits"] = json!({"requestsPerMinute": 3000, "burst": 500});
        scene
            .apply(&manifests::credential(&scene.credential()))
            .await?;
        scene.apply(&server).await?;
        for number in 0..self.accounts {
            let mut manifest = manifests::account(json!({}));
            manifest["metadata"]["name"] = json!(format!("ci-{number}"));
            scene.apply(&manifest).await?;
        }
        for number in 0..self.keys {
            scene.apply(&self.manifest(number)).await?;
            let (scene, log) = (scene.clone(), log.clone());
            tokio::spawn(async move { once_per_overlap(&scene, &name(number), &log).await });
        }
        let mut dice = StdRng::seed_from_u64(self.seed);
        let end = Instant::now() + DAY * self.days;
        while Instant::now() < end {
            let most = 2 * DAY.as_secs() / u64::from(self.troubles);
            scene
                .run(Duration::from_secs(dice.random_range(1..most)))
                .await;
            self.strike(scene, log, &mut dice).await;
        }
        scene.run(HOUR).await;
        self.settle(scene).await
    }

    /// The ApiKey of this number: it rotates every few days.
    fn manifest(self, number: usize) -> Value {
        let lifetime = 4 + number % 5;
        let mut manifest = manifests::key(
            &name(number),
            json!({"lifetime": format!("{lifetime}d"), "rotation": {"overlap": "1d"}}),
        );
        let account = format!("ci-{}", number % self.accounts);
        manifest["spec"]["serviceAccountRef"]["name"] = json!(account);
        manifest
    }

    /// One thing goes wrong, or somebody does something.
    async fn strike(self, scene: &Scene, log: &Log, dice: &mut StdRng) {
        log.count(|log| &log.troubles);
        spare(scene);
        let number = dice.random_range(0..self.keys);
        let key = Address::key(&name(number));
        match dice.random_range(0..12) {
            0..5 => {
                let rule = Rule::effect(act(dice), &Process::new(OPERATOR), 0);
                scene
                    .world
                    .recorder
                    .script(rule.after(dice.random_range(0..12)));
            }
            5 | 6 => {
                scene.twin.fault(Wrong::new(fault(dice)));
                scene
                    .run(Duration::from_secs(dice.random_range(1..900)))
                    .await;
                scene.twin.clear_faults();
            }
            7 => {
                scene.pause(OPERATOR);
                scene
                    .run(Duration::from_secs(dice.random_range(1..600)))
                    .await;
                scene.wake(OPERATOR);
            }
            8 => scene.compact(),
            9 => {
                let (scene, fleet, log) = (scene.clone(), self, log.clone());
                tokio::spawn(async move { fleet.renew(&scene, number, &log).await });
            }
            10 => {
                // It may be gone, or going.
                let wiped = json!({"status": null});
                drop(scene.patch_status(&key, wiped).await);
            }
            _ => self.deed(scene, number, dice).await,
        }
    }

    /// What somebody does with a key; what would end it is taken back within hours.
    async fn deed(self, scene: &Scene, number: usize, dice: &mut StdRng) {
        const DEEDS: [(Deed, Option<Deed>); 7] = [
            (Deed::DeleteSecret, None),
            (Deed::EndKey, None),
            (Deed::Rotate, None),
            (Deed::Replace, None),
            (Deed::Reshape, Some(Deed::Apply)),
            (Deed::Keep, Some(Deed::Drop)),
            (Deed::Revoke, Some(Deed::TakeBack)),
        ];
        let (deed, back) = DEEDS.choose(dice).copied().unwrap_or(DEEDS[0]);
        let (name, manifest) = (name(number), self.manifest(number));
        // It may be gone, or going.
        drop(deed.perform(scene, &name, &manifest).await);
        if let Some(back) = back {
            let (scene, hours) = (scene.clone(), dice.random_range(1..6));
            tokio::spawn(async move {
                sleep(HOUR * hours).await;
                drop(back.perform(&scene, &name, &manifest).await);
            });
        }
    }

    /// The ApiKey is deleted, and made anew when it is gone.
    async fn renew(self, scene: &Scene, number: usize, log: &Log) {
        let key = Address::key(&name(number));
        // Somebody else may have done so.
        drop(scene.delete(&key).await);
        let gone = scene.until_gone(&key, HOUR * 6).await;
        match gone {
            Ok(_) => {
                log.count(|log| &log.renewed);
                drop(scene.apply(&self.manifest(number)).await);
            }
            Err(error) => scene.complain(format!("{error:#}")),
        }
    }

    /// Nothing goes wrong any more: every ApiKey has its key, and but for what retires nothing else
    /// lives.
    async fn settle(self, scene: &Scene) -> Result<()> {
        scene.run(HOUR * 6).await;
        for number in 0..self.keys {
            scene
                .until_ready(&Address::key(&name(number)), HOUR * 2)
                .await?;
        }
        scene.run(SWEPT).await;
        for number in 0..self.keys {
            let name = name(number);
            let held = scene.published(TEAM, &name);
            held.with_context(|| format!("Secret {name} holds no living key"))?;
        }
        let left = scene.witness.left_over(RETIRING);
        ensure!(left.is_empty(), "nobody wants {left:?}, and they live");
        Ok(())
    }
}

fn name(number: usize) -> String {
    format!("key-{number}")
}

/// What was cut off lives for a while beside what is in use.
fn spare(scene: &Scene) {
    scene.witness.spare(1);
    let scene = scene.clone();
    tokio::spawn(async move {
        sleep(DAY + HOUR * 3).await;
        scene.witness.spare_no_more(1);
    });
}

/// Reads a Secret once per overlap, and uses what it has read until it reads again.
async fn once_per_overlap(scene: &Scene, secret: &str, log: &Log) {
    const USES: u32 = 4;
    let address = Address::secret(TEAM, secret);
    loop {
        let Some(value) = scene.get(&address).as_ref().and_then(key_of) else {
            sleep(MINUTE * 10).await;
            continue;
        };
        for _ in 1..USES {
            let answer = use_it(scene, &value).await;
            log.count(|log| &log.uses);
            if answer == Some(StatusCode::UNAUTHORIZED) {
                // Some keys were ended by hand, or with their ApiKey.
                if scene.witness.excuse(&value) == Some(Death::Ended) {
                    break;
                }
                log.count(|log| &log.refused);
                scene.complain(format!("whoever reads Secret {secret} is refused"));
            }
            sleep(OVERLAP / USES).await;
        }
        sleep(MINUTE).await;
    }
}

/// What is counted on the way.
#[derive(Clone, Default)]
struct Log(Arc<Counters>);

#[derive(Default)]
struct Counters {
    troubles: AtomicUsize,
    renewed: AtomicUsize,
    uses: AtomicUsize,
    refused: AtomicUsize,
}

impl Log {
    fn count(&self, of: impl Fn(&Counters) -> &AtomicUsize) {
        of(&self.0).fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Numbers {
        let read = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        Numbers {
            troubles: read(&self.0.troubles),
            renewed: read(&self.0.renewed),
            uses: read(&self.0.uses),
            refused: read(&self.0.refused),
            ..Numbers::default()
        }
    }
}
