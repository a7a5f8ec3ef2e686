//! One ApiKey: from everything that one pass knows about it ([`Seen`]) to the one step that comes
//! next ([`Step`]).
//!
//! | file | what is in it |
//! | --- | --- |
//! | `facts` | what a pass knows |
//! | `adjusting` | what a key has on its server besides its value |
//! | `pass` | what it has done, and what one effect answered |
//! | `keys` | what the facts say of the keys: current, replaced, stray |
//! | `living` | a key that is wanted: the order of things |
//! | `making` | whether another key is wanted, and what stands against it |
//! | `timing` | when the living key is replaced |
//! | `minting` | what is asked of the server, and what goes into the Secret |
//! | `restarting` | the workloads that read the key when they start |
//! | `retiring` | the end of replaced keys and strays |
//! | `ending` | a key that is not: expired, revoked, deleted, retained |
//! | `status` | the mirror for people |
//! | `fold` | what an answer changes in the facts |
//!
//! Invariants kept here: nothing is minted before an intent is recorded and the Secret rehearsed;
//! nothing is revoked that a list did not show with our marker and this ApiKey's uid, nor the key
//! that the Secret holds, nor before its time; a decision to revoke, unpublish or close is taken on
//! facts read live, never on cached ones; nothing safe rests on status; what a copy of this cluster
//! may have made is left alone.

mod adjusting;
mod ending;
mod facts;
mod fold;
mod keys;
mod living;
mod making;
mod minting;
mod pass;
mod restarting;
mod retiring;
mod status;
#[cfg(test)]
mod tests;
mod timing;

use jiff::Timestamp;

pub use facts::*;
pub use pass::*;

use super::port::{Change, KeyId, Order};
use super::record::{Intent, Retiring};
use crate::api::{ApiKeyStatus, Workload};

/// One remote effect, or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is to be done until `wake`.
    Idle,
    /// Read the ApiKey and the Secret live.
    Refresh,
    /// List the account's keys; one begun after `newer_than` will do.
    Look {
        /// The list must have begun strictly later.
        newer_than: Timestamp,
    },
    /// Read the Secret's values live, and compare them with what we wrote.
    Compare,
    /// Put the finalizer back, and write the intent anew where its end has changed.
    Guard {
        /// The intent as it shall be, when it is to be written.
        intent: Option<Intent>,
    },
    /// Record the finalizer and this intent, in one write that must win.
    Open(Intent),
    /// Try the Secret's write without effect, with an invented key, and read the ServiceAccount and the
    /// ApiKey live.
    Rehearse(Box<Publication>),
    /// Have the server make a key.
    Mint(Order),
    /// Sign in with the new key.
    Prove,
    /// Write the new key into the Secret.
    Publish(Publication),
    /// Write the status.
    Record(Box<ApiKeyStatus>),
    /// Revoke one key.
    Revoke {
        /// Which.
        id: KeyId,
        /// Why.
        why: Why,
    },
    /// Change what one living key has on the server.
    Adjust {
        /// Which.
        id: KeyId,
        /// What it shall have.
        change: Box<Change>,
    },
    /// Take the Secret away, or our entries out of one that was adopted.
    Unpublish,
    /// Change what the Secret says of itself, never its current value.
    Amend(Amendment),
    /// Restart one workload, unless that has been done since.
    Restart {
        /// Which.
        workload: Workload,
        /// A restart from then on, whoever asked for it, has read the Secret as it is.
        since: Timestamp,
    },
    /// Note on the ServiceAccount which keys stay.
    Retain(Vec<KeyId>),
    /// Delete the ApiKey, long after it has ended.
    Remove,
    /// Take the finalizer off.
    Close,
}

/// Why a key is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was made in this pass and will not be published.
    Unwanted,
    /// Its overlap is over.
    Retired,
    /// Its ApiKey has ended, or is going.
    Ended,
}

/// What is written to the Secret beside the new key's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The key.
    pub published: Published,
    /// The replaced keys that still live.
    pub retiring: Vec<Retiring>,
    /// The rotation request that this key answers.
    pub rotate_handled: Option<String>,
    /// The replaced key whose value is kept beside the new one.
    pub previous: Option<KeyId>,
}

/// What is changed on a Secret whose value stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amendment {
    /// Labels and annotations as the manifest has them.
    Dress,
    /// The Secret outlives its ApiKey: nobody owns it any more, and one that was adopted tells nothing
    /// of us any more.
    Release,
    /// No value of the replaced key any more.
    Previous,
}

/// The answer of the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do now.
    pub step: Step,
    /// When to look again, if nothing happens before.
    pub wake: Timestamp,
}

/// The one next step for this ApiKey.
pub fn plan(seen: &Seen) -> Plan {
    let step = if seen.pass.unrecorded {
        Step::Idle
    } else if let Some(cause) = ending::cause(seen) {
        ending::step(seen, cause)
    } else {
        living::step(seen)
    };
    Plan {
        step,
        wake: status::wake(seen),
    }
}

pub use fold::fold;

/// The keys that stay on the server when this ApiKey closes, by its own wish.
pub fn stays(seen: &Seen) -> Vec<KeyId> {
    match ending::cause(seen) {
        Some(cause) if ending::retained(seen, cause) => ending::remaining(seen),
        Some(_) | None => Vec::new(),
    }
}
