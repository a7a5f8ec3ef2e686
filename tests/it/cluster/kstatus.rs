//! What kstatus makes of an object, on which Flux, Argo CD and Helm rest when they wait; and what it
//! should make of one that is not Ready, reason by reason.

use apikey_operator::api::conditions::Reason;
use kube::api::DynamicObject;
use serde_json::Value;

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on by itself.
    InProgress,
    /// It is as it should be.
    Current,
    /// It will not get there without a person.
    Failed,
}

/// As kstatus reckons it for kinds that it does not know, in its own order. (That an object is being
/// deleted comes before all that; here it is left out.)
pub(crate) fn verdict(object: &DynamicObject) -> Verdict {
    let status = &object.data["status"];
    let observed = status["observedGeneration"].as_i64();
    let of = |type_: &str| {
        let mut all = status["conditions"].as_array().into_iter().flatten();
        let found = all.find(|condition| condition["type"] == type_);
        found.and_then(|condition| condition["status"].as_str())
    };
    let outdated = observed.is_some() && observed != object.metadata.generation;
    if outdated || of("Reconciling") == Some("True") {
        Verdict::InProgress
    } else if of("Stalled") == Some("True") {
        Verdict::Failed
    } else if of("Ready").is_none_or(|ready| ready == "True") {
        Verdict::Current
    } else {
        Verdict::InProgress
    }
}

/// What it should be for an object that is not Ready for this reason: `InProgress` where waiting
/// helps, `Failed` where a person must act or where nothing more is to come.
pub(crate) fn of_reason(reason: Reason) -> Verdict {
    match reason {
        Reason::WaitingForAccount
        | Reason::WaitingForServer
        | Reason::Minting
        | Reason::ServerUnreachable
        | Reason::Throttled
        | Reason::ProofFailed
        | Reason::InUse
        | Reason::Revoking => Verdict::InProgress,
        // Of these no object is not Ready.
        Reason::Ready | Reason::LifetimeClipped | Reason::ClockSkew => Verdict::Current,
        Reason::CertificateNotTrusted
        | Reason::RedirectRefused
        | Reason::ProtocolError
        | Reason::CredentialMissing
        | Reason::CredentialNotOffered
        | Reason::CredentialRejected
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
        | Reason::Invalid
        | Reason::TokenRefused => Verdict::Failed,
    }
}

/// How the conditions and the generation that was seen read in a line.
pub(crate) fn told(object: &DynamicObject) -> String {
    let status = &object.data["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let told = conditions.map(|one| format!("{}={}", text(&one["type"]), text(&one["status"])));
    format!(
        "generation {:?}, seen {}, {}",
        object.metadata.generation,
        status["observedGeneration"],
        told.collect::<Vec<_>>().join(" ")
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
