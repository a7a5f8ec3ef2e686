//! Operators that are killed while keys are made and deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::plan::record::parse_retiring;
use jiff::SignedDuration;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use testbed::twins::octopus::{Change, KeyView};
use testbed::twins::{Fault, Rule};

use super::case::{Account, Case, Key, Sealed};
use super::stage::Stage;

/// How often the operator is killed.
const KILLS: usize = 8;
/// The moments at which it is killed are drawn from it, unless `SEED` in the environment names another.
const SEED: u64 = 3;

/// What was replaced goes as soon as it may.
const NO_OVERLAP: &str = "rotation: {overlap: 0s}";
/// So old is a key that the sweep takes, and older than any attempt.
const OLD: SignedDuration = SignedDuration::from_mins(15);

pub(super) fn seed() -> u64 {
    let named = std::env::var_os("SEED").and_then(|seed| seed.to_str()?.parse().ok());
    named.unwrap_or(SEED)
}

/// `kill -9` while keys are made and deleted: afterwards each Secret holds a living key, what a killed
/// operator had made and not published goes the sweep's way, and nothing else lives.
pub(super) async fn kills(stage: &Arc<Stage>, seed: u64) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    stage.stop().await?;
    stage.start_unelected().await?;
    let case = Case::open(stage, "kills").await?;
    case.apply(&case.ground()).await?;
    case.apply(&[case.account("")]).await?;
    case.ready(Account("ci")).await?;
    let mut wanted = BTreeSet::new();
    let mut chance = Chance::default();
    die_with_a_key_in_hand(&case).await?;
    wanted.insert("first".to_owned());
    chance.unpublished.extend(unpublished(&case).await?);
    ensure!(chance.unpublished.len() == 1, "no key was left");
    for round in 0..KILLS {
        let born: BTreeSet<String> = (0..4).map(|key| format!("r{round}k{key}")).collect();
        let manifests: Vec<_> = born
            .iter()
            .map(|name| case.key_named(name, NO_OVERLAP))
            .collect();
        let moment = Moment::draw(&case, &mut dice).await?;
        case.apply(&manifests).await?;
        wanted.extend(born.clone());
        // Some of them while they are made.
        let go: Vec<String> = wanted
            .iter()
            .filter(|_| dice.random_bool(0.25))
            .cloned()
            .collect();
        for name in go {
            case.delete(Key(&name)).await?;
            wanted.remove(&name);
            if born.contains(&name) {
                chance.hasty.insert(format!("{}/{name}", case.namespace));
            }
        }
        moment.comes(&case).await?;
        stage.kill().await?;
        stage.start_unelected().await?;
        chance.unpublished.extend(unpublished(&case).await?);
    }
    accounted_for(&case, &chance).await?;
    case.end().await
}

/// The operator is killed between a mint and its answer.
async fn die_with_a_key_in_hand(case: &Case) -> Result<()> {
    let slow = Rule::new(Fault::Slow { millis: 60_000 });
    let slow = slow.on("POST", "/api/users/*/apikeys").next(1);
    case.twin.fault(slow);
    case.apply(&[case.key_named("first", NO_OVERLAP)]).await?;
    let made = |case: &Case| (!case.living().is_empty()).then_some(());
    case.shown("the key", made).await?;
    case.stage.kill().await?;
    case.mended();
    case.stage.start_unelected().await
}

/// What may be left when operators are killed.
#[derive(Default)]
struct Chance {
    /// Keys that a killed operator had made and not published.
    unpublished: BTreeSet<String>,
    /// ApiKeys that were deleted at once. Kubernetes may let one go while its finalizer is written
    /// (kubernetes#77988); the orphan sweep ends the key that is made then.
    hasty: BTreeSet<String>,
}

/// The living keys of ours that no Secret holds.
async fn unpublished(case: &Case) -> Result<Vec<String>> {
    let secrets = case.list(Sealed("")).await?;
    let published: BTreeSet<String> = secrets
        .iter()
        .filter_map(|secret| secret.annotations().get("apikeys.dev/key-id").cloned())
        .collect();
    let living = case.living().into_iter().map(|key| key.id);
    Ok(living.filter(|id| !published.contains(id)).collect())
}

/// The living keys of ours that no Secret speaks of, neither as its own nor as one that it replaced.
pub(super) async fn unrecorded(case: &Case) -> Result<BTreeSet<String>> {
    let secrets = case.list(Sealed("")).await?;
    let noted = |name: &str| {
        let notes = secrets
            .iter()
            .filter_map(|secret| secret.annotations().get(name));
        notes.cloned().collect::<Vec<_>>()
    };
    let current = noted("apikeys.dev/key-id");
    let retiring = noted("apikeys.dev/retiring");
    let retiring: BTreeSet<String> = retiring
        .iter()
        .flat_map(|note| parse_retiring(note))
        .map(|key| key.id.to_string())
        .collect();
    let living = case.living().into_iter().map(|key| key.id);
    Ok(living
        .filter(|id| !current.contains(id) && !retiring.contains(id))
        .collect())
}

/// Has a key be so old that the sweep takes it.
pub(super) fn grow_old(case: &Case, id: &str) -> Result<()> {
    let keys = case.twin.view().keys;
    let key = keys.into_iter().find(|key| key.id == id);
    let key = key.with_context(|| format!("there is no key {id}"))?;
    case.change(Change::BackdateKey {
        at: key.created - OLD,
        key: key.id,
    })
}

/// When the operator is killed.
pub(super) enum Moment {
    /// When the server has been asked so often.
    Asked(usize),
    /// When the API server has written so much about what it was asked.
    Logged(u64),
}

impl Moment {
    pub(super) async fn draw(case: &Case, dice: &mut StdRng) -> Result<Self> {
        Ok(if dice.random_bool(0.5) {
            Self::Asked(case.twin.journal().len() + dice.random_range(1..5))
        } else {
            Self::Logged(logged(case).await? + dice.random_range(5_000..40_000))
        })
    }

    pub(super) async fn comes(&self, case: &Case) -> Result<()> {
        match self {
            Self::Asked(times) => {
                let asked = |case: &Case| (case.twin.journal().len() >= *times).then_some(());
                case.shown("the moment", asked).await
            }
            Self::Logged(bytes) => {
                case.shown_by("the moment", async || Ok(logged(case).await? >= *bytes))
                    .await
            }
        }
    }
}

async fn logged(case: &Case) -> Result<u64> {
    let log = case.stage.control_plane().await?.audit_log();
    Ok(std::fs::metadata(log)?.len())
}

/// Every ApiKey that is wanted has its living key, and every living key its ApiKey, but for what
/// chance may have left.
async fn accounted_for(case: &Case, chance: &Chance) -> Result<()> {
    let keys = case.list(Key("")).await?;
    let going = |key: &DynamicObject| key.metadata.deletion_timestamp.is_some();
    let mut published = BTreeSet::new();
    for key in &keys {
        let name = key.name_any();
        if going(key) {
            case.gone(Key(&name)).await?;
        } else {
            case.ready(Key(&name)).await?;
            let key = case.works(&case.value(&name).await?);
            let key = key.with_context(|| format!("the key of {name} does not work"))?;
            published.insert(key.id);
        }
    }
    let uids: BTreeSet<String> = keys
        .iter()
        .filter(|key| !going(key))
        .filter_map(kube::ResourceExt::uid)
        .collect();
    let living = case.living();
    let held = living.iter().filter(|key| published.contains(&key.id));
    let held = held.count();
    ensure!(
        held == uids.len(),
        "{held} of {} keys are published",
        uids.len()
    );
    for key in living.iter().filter(|key| !published.contains(&key.id)) {
        is_chance(key, &uids, chance)?;
        let stray = uids.contains(uid(key));
        let at = key.created - OLD;
        let key = key.id.clone();
        case.change(if stray {
            Change::BackdateKey { key, at }
        } else {
            // Backdated it would be older than its ServiceAccount, and so only be reported.
            Change::RevokeKey { key }
        })?;
    }
    let rest = |case: &Case| (case.living().len() == held).then_some(());
    case.shown("the end of what killed operators left", rest)
        .await?;
    ensure!(case.living().iter().all(|key| published.contains(&key.id)));
    Ok(())
}

/// Whether chance may have left this key.
fn is_chance(key: &KeyView, uids: &BTreeSet<String>, chance: &Chance) -> Result<()> {
    let is_hasty = |name: &String| key.purpose.contains(&format!(" {name} "));
    if uids.contains(uid(key)) {
        ensure!(
            chance.unpublished.contains(&key.id),
            "a key that no killed operator left lives beside the one in the Secret: {key:?}"
        );
    } else {
        ensure!(
            chance.hasty.iter().any(is_hasty),
            "a key of an ApiKey that is gone lives: {key:?}"
        );
    }
    Ok(())
}

/// The uid of the ApiKey that a key was made for.
fn uid(key: &KeyView) -> &str {
    let token = key.purpose.rsplit(' ').next().unwrap_or_default();
    token.split('.').nth(3).unwrap_or_default()
}
