//! One connection: may it be used, does the server answer, is it still the same server and the same
//! account as at first, and may it go?
//!
//! Invariant: a connection whose server identity or own account is not the pinned one is not used;
//! neither the connection nor its credential goes while an account depends on it.

use jiff::{SignedDuration, Timestamp};

use super::port::{AccountId, Fault, Probe, ServerIdentity};
use super::record::Uid;
use super::rotation::after;
use super::{Outlook, Stop, backoff, outlook};
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::api::{ConnectionStatus, Identity, KeyCounts, KeyExpiryStatus, time};

/// A server's clock may differ from ours by so much before people hear of it.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(60);

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
    /// Its credential, or why it cannot be had.
    pub credential: Result<Hold, Stop>,
    /// A credential Secret with our finalizer that is being deleted, or that no connection needs.
    pub giving_up: bool,
    /// How many ServiceAccounts depend on it.
    pub accounts: u32,
    /// Whether that count was read live in this pass.
    pub counted_live: bool,
    /// The keys of all its accounts, at their last resync.
    pub keys: Option<KeyCounts>,
    /// How often it is looked at.
    pub resync: SignedDuration,
    /// The last look at the server, made with the present spec and credential.
    pub look: Option<Look>,
}

/// Whether a finalizer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is.
    Present,
    /// It is not.
    Missing,
}

/// The credential's Secret; `None` of them where a connection needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Whether it carries our finalizer.
    pub finalizer: Mark,
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
    let standing = standing(seen);
    let step = guarding(seen).unwrap_or_else(|| {
        if probe_due(seen) {
            return Step::Probe;
        }
        if let Some(pin) = first_pin(seen) {
            return Step::Pin(pin);
        }
        match &standing {
            Some(standing) => record(seen, standing).unwrap_or(Step::Idle),
            None => Step::Idle,
        }
    });
    Plan {
        step,
        wake: wake(seen),
        standing,
    }
}

/// What keeps the connection and its credential as long as they are needed, and lets them go then.
fn guarding(seen: &Seen) -> Option<Step> {
    let held = seen
        .credential
        .as_ref()
        .is_ok_and(|hold| hold.finalizer == Mark::Present);
    if seen.deleting && seen.accounts == 0 {
        return Some(match () {
            () if !seen.counted_live => Step::Count,
            () if held => Step::GiveUp,
            () if seen.finalizer == Mark::Present => Step::Close,
            () => Step::Idle,
        });
    }
    if seen.giving_up {
        return Some(Step::GiveUp);
    }
    if seen.accounts > 0 && seen.finalizer == Mark::Missing && !seen.deleting {
        return Some(Step::Guard);
    }
    let unheld = seen
        .credential
        .as_ref()
        .is_ok_and(|hold| hold.finalizer == Mark::Missing);
    (seen.accounts > 0 && unheld && seen.usable.is_ok()).then_some(Step::Hold)
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
        Err(Fault::Throttled { after: Some(wait) }) => after(
            look.at,
            SignedDuration::try_from(*wait).unwrap_or(seen.resync),
        ),
        Err(_) => after(
            look.at,
            backoff::wait(look.failures, backoff::LONGEST, seen.uid.as_str()),
        ),
    }
}

fn first_pin(seen: &Seen) -> Option<Pin> {
    let probe = seen.look.as_ref()?.found.as_ref().ok()?;
    let pin = Pin {
        identity: probe.identity.clone(),
        own: probe.own.id.clone(),
    };
    (seen.pin.is_none() && !seen.deleting).then_some(pin)
}

/// Whether accounts and keys may use the connection; `None` until that is known.
fn standing(seen: &Seen) -> Option<Result<Probe, Stop>> {
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

fn record(seen: &Seen, standing: &Result<Probe, Stop>) -> Option<Step> {
    let before = &seen.status;
    let probe = seen.look.as_ref().and_then(|look| look.found.as_ref().ok());
    let wanted = ConnectionStatus {
        observed_generation: seen.generation,
        conditions: conditions::merge(&before.conditions, &findings(seen, standing), seen.now),
        version: probe
            .map(|probe| probe.version.clone())
            .or_else(|| before.version.clone()),
        identity: probe
            .map(|probe| Identity {
                id: probe.own.id.to_string(),
                username: probe.own.username.clone(),
            })
            .or_else(|| before.identity.clone()),
        key_expiry: probe
            .map(|probe| KeyExpiryStatus {
                default_days: probe.key_expiry.default_days,
                max_days: probe.key_expiry.max_days,
            })
            .filter(|expiry| *expiry != KeyExpiryStatus::default())
            .or_else(|| before.key_expiry.filter(|_| probe.is_none())),
        credential_expires_at: match probe {
            Some(probe) => probe.credential_expires_at.map(time),
            None => before.credential_expires_at.clone(),
        },
        accounts: Some(seen.accounts),
        keys: seen.keys.or(before.keys),
    };
    (wanted != *before).then(|| Step::Record(Box::new(wanted)))
}

fn findings(seen: &Seen, standing: &Result<Probe, Stop>) -> Vec<Finding> {
    let finding = |type_, status, stop: &Stop| Finding {
        type_,
        status,
        reason: stop.reason,
        message: stop.message.clone(),
        observed_generation: seen.generation,
    };
    if seen.deleting {
        let stop = Stop::new(
            Reason::InUse,
            format!(
                "{} ServiceAccounts still use this connection. Delete them, or leave it; it goes when they are gone.",
                seen.accounts
            ),
        );
        return vec![
            finding(Type::Ready, Status::False, &stop),
            finding(Type::Reconciling, Status::True, &stop),
        ];
    }
    match standing {
        Ok(probe) => {
            let ready = Stop::new(
                Reason::Ready,
                format!("The server answers, as {}.", probe.own.username),
            );
            let mut findings = vec![finding(Type::Ready, Status::True, &ready)];
            if probe.skew.abs() > MOST_SKEW {
                findings.push(finding(
                    Type::UpToDate,
                    Status::False,
                    &Stop::plain(Reason::ClockSkew),
                ));
            }
            findings
        }
        Err(stop) => {
            let more = match outlook(stop.reason) {
                Outlook::Waits => Type::Reconciling,
                Outlook::NeedsPerson => Type::Stalled,
            };
            vec![
                finding(Type::Ready, Status::False, stop),
                finding(more, Status::True, stop),
            ]
        }
    }
}

fn wake(seen: &Seen) -> Timestamp {
    let look = seen
        .look
        .as_ref()
        .map(|look| next_look(seen, look))
        .filter(|at| *at > seen.now);
    look.unwrap_or_else(|| after(seen.now, seen.resync))
}
