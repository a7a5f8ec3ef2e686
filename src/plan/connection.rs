//! One connection: may it be used, does the server answer, is it still the same server and the same
//! account as at first, and may it go?
//!
//! Invariant: a connection whose server identity or own account is not the pinned one is not used,
//! nor one that could go unnoticed; neither the connection nor its credential goes while an account
//! depends on it.

mod status;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::fault::Retry;
use super::port::{AccountId, Fault, Probe, ServerIdentity};
use super::record::Uid;
use super::rotation::after;
use super::{Stop, backoff};
use crate::api::conditions::Reason;
use crate::api::{ConnectionStatus, KeyCounts};

/// A credential's Secret that is being deleted is given up only after this time: who deletes a
/// folder of manifests deletes the Secret a moment before its connection.
pub const REPLACED_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// A server's clock is known to within this; a finer measure would be news at every look.
const SKEW_GRAIN: SignedDuration = SignedDuration::from_secs(10);
/// How often something is tried or asked again that nobody may tell us of.
const AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// Everything that one pass knows about one connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The present.
    pub now: Timestamp,
    /// The uid of the object.
    pub uid: Uid,
    /// The generation of its spec.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it carries our finalizer.
    pub finalizer: Mark,
    /// What was pinned at its first success.
    pub pin: Option<Pin>,
    /// What we said last.
    pub status: ConnectionStatus,
    /// Whether it may be used at all as it is written.
    pub usable: Result<(), Stop>,
    /// What people should know of it although it may be used.
    pub caution: Option<&'static str>,
    /// Whether its credential can be had, or why not.
    pub credential: Result<(), Stop>,
    /// The credential's Secret; `None` when there is none, or none is needed.
    pub hold: Option<Hold>,
    /// How many Secrets carry our finalizer that no connection uses any more.
    pub leftovers: usize,
    /// How many ServiceAccounts refer to it; one that does not parse and may refer to it does.
    pub accounts: u32,
    /// How many of these carry our finalizer: no other has anything on the server.
    pub bound: u32,
    /// Whether these two were counted live in this pass.
    pub counted_live: bool,
    /// The keys of all its accounts, at their last resync.
    pub keys: Option<KeyCounts>,
    /// How often it is looked at.
    pub resync: SignedDuration,
    /// The last look at the server, made with the present spec and credential.
    pub look: Option<Look>,
    /// A write that the API server refused in this pass, in words for people.
    pub refused: Option<Stop>,
}

/// Whether a finalizer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is.
    Present,
    /// It is not.
    Missing,
}

/// The Secret with the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Whether it carries our finalizer.
    pub finalizer: Mark,
    /// Since when it is being deleted.
    pub deleted_at: Option<Timestamp>,
    /// Whether all of its namespace is being deleted.
    pub namespace_going: bool,
    /// The other connections that use it.
    pub others: Vec<User>,
}

/// Another connection that uses the same Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// One of which more is known.
    Known {
        /// Whether it is being deleted.
        deleting: bool,
        /// How many ServiceAccounts with our finalizer depend on it.
        bound: u32,
    },
    /// One that does not parse: it may use the Secret.
    Unknown,
}

/// Which server, and which account of ours, the connection had at its first success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The server.
    pub identity: ServerIdentity,
    /// Our own account there.
    pub own: AccountId,
}

/// One look at the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// What it found.
    pub found: Result<Probe, Fault>,
    /// How many looks in a row have failed, this one included.
    pub failures: u32,
}

impl Look {
    /// What was found at `at`, after the look `before`.
    pub fn new(at: Timestamp, found: Result<Probe, Fault>, before: Option<&Self>) -> Self {
        let failures = match &found {
            Ok(_) => 0,
            Err(_) => before.map_or(0, |look| look.failures).saturating_add(1),
        };
        let known = before
            .and_then(|look| look.found.as_ref().ok())
            .map_or(SignedDuration::ZERO, |probe| probe.skew);
        Self {
            at,
            found: found.map(|probe| Probe {
                skew: coarse(probe.skew, known),
                ..probe
            }),
            failures,
        }
    }
}

/// The skew in whole grains: the one that was known, as long as the measured one is near it.
fn coarse(measured: SignedDuration, known: SignedDuration) -> SignedDuration {
    if measured.saturating_sub(known).abs() < SKEW_GRAIN {
        return known;
    }
    let grain = SKEW_GRAIN.as_secs();
    SignedDuration::from_secs(measured.as_secs() / grain * grain)
}

/// One remote effect, or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is to be done until `wake`.
    Idle,
    /// Look at the server.
    Probe,
    /// Write down which server and account it is.
    Pin(Pin),
    /// Put the finalizer on the connection.
    Guard,
    /// Put the finalizer on the credential's Secret.
    Hold,
    /// Take the finalizer off the credential's Secret.
    GiveUp,
    /// Take the finalizer off the Secrets that no connection uses any more.
    Release,
    /// Count the ServiceAccounts live.
    Count,
    /// Write the status.
    Record(Box<ConnectionStatus>),
    /// Take the finalizer off the connection.
    Close,
}

/// The answer of the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do now.
    pub step: Step,
    /// When to look again, if nothing happens before.
    pub wake: Timestamp,
    /// Whether accounts and keys may use the connection, or why not; `None` until that is known.
    pub standing: Option<Result<Probe, Stop>>,
}

/// The one next step for this connection.
pub fn plan(seen: &Seen) -> Plan {
    let found = found(seen);
    let step = guarding(seen)
        .or_else(|| looking(seen))
        .or_else(|| releasing(seen))
        .or_else(|| status::record(seen, found.as_ref()))
        .unwrap_or(Step::Idle);
    Plan {
        step,
        wake: wake(seen),
        standing: found.map(|found| found.and_then(|probe| ready(seen).map(|()| probe))),
    }
}

/// What keeps the connection and its credential as long as they are needed, and lets them go then.
fn guarding(seen: &Seen) -> Option<Step> {
    if seen.refused.is_some() {
        return None;
    }
    if ends(seen) {
        return releasing(seen).or_else(|| ending(seen));
    }
    if given_up_at(seen).is_some_and(|at| at <= seen.now) {
        return Some(Step::GiveUp);
    }
    if seen.accounts > 0 && seen.finalizer == Mark::Missing && !seen.deleting {
        return Some(Step::Guard);
    }
    // Kubernetes takes no new finalizer on an object that is being deleted.
    let unheld = seen
        .hold
        .as_ref()
        .is_some_and(|hold| hold.finalizer == Mark::Missing && hold.deleted_at.is_none());
    (seen.accounts > 0 && unheld && unusable(seen).is_none()).then_some(Step::Hold)
}

/// Whether it is being deleted and nothing on the server needs it. An account without our finalizer
/// does not count: anybody could keep a connection of the cluster from going by naming it.
fn ends(seen: &Seen) -> bool {
    seen.deleting && seen.bound == 0
}

fn ending(seen: &Seen) -> Option<Step> {
    if !seen.counted_live {
        return Some(Step::Count);
    }
    match &seen.hold {
        // Nobody would be left to give it up later.
        Some(hold) if is_held(hold) && hold.others.contains(&User::Unknown) => return None,
        Some(hold) if is_held(hold) && !hold.others.iter().any(|user| user.keeps()) => {
            return Some(Step::GiveUp);
        }
        Some(_) | None => {}
    }
    (seen.finalizer == Mark::Present).then_some(Step::Close)
}

fn releasing(seen: &Seen) -> Option<Step> {
    (seen.leftovers > 0 && seen.refused.is_none()).then_some(Step::Release)
}

fn is_held(hold: &Hold) -> bool {
    hold.finalizer == Mark::Present
}

impl User {
    /// Whether it goes on using the Secret for now.
    fn keeps(self) -> bool {
        match self {
            Self::Known { deleting, bound } => !deleting || bound > 0,
            Self::Unknown => true,
        }
    }

    /// Whether it needs the Secret to come to its end: no other credential will follow.
    fn needs_to_end(self, namespace_going: bool) -> bool {
        match self {
            Self::Known { deleting, bound } => bound > 0 && (deleting || namespace_going),
            Self::Unknown => true,
        }
    }
}

/// When the credential's Secret, which alone is being deleted, to be replaced, is given up.
fn given_up_at(seen: &Seen) -> Option<Timestamp> {
    let hold = seen.hold.as_ref().filter(|hold| is_held(hold))?;
    let deleted_at = hold.deleted_at?;
    let this = User::Known {
        deleting: seen.deleting,
        bound: seen.bound,
    };
    let needed = hold
        .others
        .iter()
        .chain([&this])
        .any(|user| user.needs_to_end(hold.namespace_going));
    (!needed).then(|| after(deleted_at, REPLACED_AFTER))
}

/// What is to be learnt from the server, and kept.
fn looking(seen: &Seen) -> Option<Step> {
    if ends(seen) {
        return None;
    }
    if probe_due(seen) {
        return Some(Step::Probe);
    }
    first_pin(seen).map(Step::Pin)
}

/// Why the server is not even looked at.
fn unusable(seen: &Seen) -> Option<&Stop> {
    seen.usable
        .as_ref()
        .err()
        .or(seen.credential.as_ref().err())
}

fn probe_due(seen: &Seen) -> bool {
    unusable(seen).is_none()
        && seen
            .look
            .as_ref()
            .is_none_or(|look| next_look(seen, look) <= seen.now)
}

fn next_look(seen: &Seen, look: &Look) -> Timestamp {
    match &look.found {
        Ok(_) => after(look.at, seen.resync),
        Err(fault) => {
            let patience = backoff::wait(look.failures, backoff::LONGEST, seen.uid.as_str());
            let told = match fault.retry() {
                Retry::After(Some(told)) => SignedDuration::try_from(told).unwrap_or(seen.resync),
                Retry::After(None) | Retry::Backoff | Retry::OnChange => SignedDuration::ZERO,
            };
            after(look.at, patience.max(told))
        }
    }
}

fn first_pin(seen: &Seen) -> Option<Pin> {
    if seen.pin.is_some() || seen.refused.is_some() {
        return None;
    }
    let probe = seen.look.as_ref()?.found.as_ref().ok()?;
    Some(Pin {
        identity: probe.identity.clone(),
        own: probe.own.id.clone(),
    })
}

/// What the last look is worth; `None` until that is known.
fn found(seen: &Seen) -> Option<Result<Probe, Stop>> {
    if let Some(stop) = unusable(seen) {
        return Some(Err(stop.clone()));
    }
    let probe = match &seen.look.as_ref()?.found {
        Ok(probe) => probe,
        Err(fault) => return Some(Err(fault.stop())),
    };
    let pin = seen.pin.as_ref()?;
    let changed = if pin.identity != probe.identity {
        Some(format!(
            "Another server answers than at first: {} instead of {}.",
            probe.identity, pin.identity
        ))
    } else if pin.own != probe.own.id {
        Some(format!(
            "The credential is now account {} ({}) instead of {}.",
            probe.own.id, probe.own.username, pin.own
        ))
    } else {
        None
    };
    if let Some(what) = changed {
        return Some(Err(Stop::new(
            Reason::IdentityChanged,
            format!("{what} {}", Reason::IdentityChanged.fix()),
        )));
    }
    Some(Ok(probe.clone()))
}

/// Whether the connection can go unnoticed no more: before that, no account may rest on it.
fn ready(seen: &Seen) -> Result<(), Stop> {
    if ends(seen) {
        return Err(Stop::new(
            Reason::WaitingForServer,
            "The connection is being deleted.",
        ));
    }
    // On a connection that is being deleted, accounts come to their end with what there is.
    let held = seen.deleting || seen.hold.as_ref().is_none_or(is_held);
    if seen.finalizer == Mark::Present && held {
        Ok(())
    } else {
        Err(Stop::new(
            Reason::WaitingForServer,
            "The connection is being made safe for use.",
        ))
    }
}

fn wake(seen: &Seen) -> Timestamp {
    let look = seen.look.as_ref().map(|look| next_look(seen, look));
    let again = seen.deleting || seen.refused.is_some();
    [
        look,
        given_up_at(seen),
        again.then(|| after(seen.now, AGAIN)),
    ]
    .into_iter()
    .flatten()
    .filter(|at| *at > seen.now)
    .min()
    .unwrap_or_else(|| after(seen.now, seen.resync))
}
