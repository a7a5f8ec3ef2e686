//! What follows from a fault: the word people see, whether the effect may have happened, and when
//! to try again. One exhaustive match each; no planner looks into a fault otherwise.

use std::time::Duration;

use super::Stop;
use super::port::Fault;
use crate::api::conditions::Reason;

/// When a step that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// When the server has said, or soon; the whole server waits.
    After(Option<Duration>),
    /// With patience that grows ([`super::backoff`]).
    Backoff,
    /// When something that it rests on changes, or at the next resync.
    OnChange,
}

impl Fault {
    /// The word that people see.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unreachable(_) | Self::Uncertain(_) => Reason::ServerUnreachable,
            Self::Throttled { .. } => Reason::Throttled,
            Self::Unauthorized => Reason::CredentialRejected,
            Self::Forbidden(_) => Reason::Forbidden,
            Self::NotFound => Reason::AccountNotFound,
            Self::Conflict(_) | Self::Rejected(_) => Reason::Rejected,
            Self::Untrusted(_) => Reason::CertificateNotTrusted,
            Self::Redirected(_) => Reason::RedirectRefused,
            Self::Protocol(_) => Reason::ProtocolError,
            Self::NoToken(_) => Reason::TokenRefused,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Throttled { after } => Retry::After(*after),
            Self::Unreachable(_) | Self::Uncertain(_) | Self::Protocol(_) | Self::NoToken(_) => {
                Retry::Backoff
            }
            Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound
            | Self::Conflict(_)
            | Self::Rejected(_)
            | Self::Untrusted(_)
            | Self::Redirected(_) => Retry::OnChange,
        }
    }

    /// The stop that it makes, the fix included.
    pub fn stop(&self) -> Stop {
        let mut said = self.to_string();
        if let Some(first) = said.get(..1) {
            said.replace_range(..1, &first.to_uppercase());
        }
        let reason = self.reason();
        Stop::new(
            reason,
            format!("{}. {}", said.trim_end_matches('.'), reason.fix()),
        )
    }
}
