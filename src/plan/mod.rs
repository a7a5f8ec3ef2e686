//! What should happen: pure and total functions from facts to one step.
//!
//! No clock, no client, no `async`, no chance: time and random bytes come in as facts. A planner
//! answers one question again and again, "given all this, what is the one next effect?", and its
//! `fold` takes the answer of that effect back into the facts, so that the shell can go on within
//! a pass without reading everything anew.

pub mod account;
pub mod backoff;
pub mod connection;
pub mod fault;
pub mod grant;
mod kept;
pub mod key;
pub mod marker;
pub mod pattern;
pub mod port;
pub mod record;
pub mod rotation;
pub mod sweep;
pub mod window;

use jiff::SignedDuration;

use crate::api::conditions::Reason;

/// Why something is not done now, in words for the person who waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The word for it.
    pub reason: Reason,
    /// One sentence that names the fix.
    pub message: String,
}

impl Stop {
    /// A stop for this reason, with this sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// A stop whose sentences are those of the reason itself.
    pub fn plain(reason: Reason) -> Self {
        Self::new(reason, format!("{} {}", reason.meaning(), reason.fix()))
    }

    /// What a stop of this connection is to those that rest on it.
    #[must_use]
    pub fn of_connection(&self, name: &str) -> Self {
        let Self { reason, message } = self;
        let reason = reason.as_str();
        Self::new(
            Reason::WaitingForServer,
            format!("Connection {name} is not ready ({reason}): {message}"),
        )
    }
}

/// How a stop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// By itself: the object is reconciling.
    Waits,
    /// When a person acts: the object is stalled.
    NeedsPerson,
}

/// How a stop for this reason ends, for an object that has nothing to show yet.
pub fn outlook(reason: Reason) -> Outlook {
    match reason {
        Reason::Ready
        | Reason::WaitingForAccount
        | Reason::WaitingForServer
        | Reason::Minting
        | Reason::ServerUnreachable
        | Reason::Throttled
        | Reason::LifetimeClipped
        | Reason::ProofFailed
        | Reason::InUse
        | Reason::ClockSkew
        | Reason::Revoking => Outlook::Waits,
        Reason::CertificateNotTrusted
        | Reason::RedirectRefused
        | Reason::ProtocolError
        | Reason::CredentialMissing
        | Reason::CredentialNotOffered
        | Reason::CredentialRejected
        | Reason::TokenRefused
        | Reason::Forbidden
        | Reason::Rejected
        | Reason::NotGranted
        | Reason::ServerNotAllowed
        | Reason::PolicyViolation
        | Reason::AccountExists
        | Reason::AccountConflict
        | Reason::AccountNotFound
        | Reason::AccountDisabled
        | Reason::TeamNotFound
        | Reason::SecretConflict
        | Reason::SecretRefused
        | Reason::TemplateFailed
        | Reason::IdentityChanged
        | Reason::IdentityShared
        | Reason::Suspended
        | Reason::Expired
        | Reason::Revoked
        | Reason::Invalid => Outlook::NeedsPerson,
    }
}

/// A late effect of a request that was given up lands within this time of the attempt's
/// `openedAt`: sent within [`SEND_WITHIN`], given up after 30 s, and 15 s to spare.
pub const LANDS_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// A mint is sent within this time of its `openedAt`, or not at all.
pub const SEND_WITHIN: SignedDuration = SignedDuration::from_secs(15);
/// A Publish is sent within this time of its attempt's `openedAt`, or not at all.
pub const PUBLISH_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// No key is revoked in ordinary life before this time after the `openedAt` of the attempt that
/// replaced it: a Publish may still be on its way.
pub const REVOKE_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// A key of ours that nothing records is left alone until it is this old.
pub const STRAY_AFTER: SignedDuration = SignedDuration::from_mins(10);
