//! What goes wrong, drawn from dice, and how it strikes.

use std::time::Duration;

use jiff::SignedDuration;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::json;
use testbed::twins::{Fault, Rule as Wrong};
use tokio::time::sleep;

use super::deed::{DEEDS, Deed};
use super::{KEYS, LEADERS, manifest};
use crate::effect::Process;
use crate::kubernetes::{Denied, Verb, Write};
use crate::manifests::Address;
use crate::scene::Scene;
use crate::script::{Act, Moment, Rule};

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
pub(super) const WATCHED: [&str; 4] = [
    "secrets",
    "apikeys.apikeys.dev",
    "serviceaccounts.apikeys.dev",
    "deployservers.apikeys.dev",
];

/// Draws one.
pub(super) fn trouble(dice: &mut StdRng) -> Trouble {
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

impl Trouble {
    /// Strikes.
    pub(super) async fn strike(&self, scene: &Scene) {
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
pub(super) const QUOTA: &str = "quota";

fn no_secret(write: &mut Write<'_>) -> Result<(), Denied> {
    match (write.resource.as_str(), write.verb) {
        ("secrets", Verb::Create | Verb::Replace | Verb::Patch) => {
            Err(Denied("exceeded quota: secrets".into()))
        }
        _ => Ok(()),
    }
}
