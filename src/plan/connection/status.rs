//! What people are told of a connection.

use jiff::SignedDuration;

use super::{Seen, Step, User, ends, is_held, ready};
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::api::{ConnectionStatus, Identity, KeyExpiryStatus, time};
use crate::plan::port::Probe;
use crate::plan::{Outlook, Stop, outlook};

/// A server's clock may differ from ours by less than this before people hear of it.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// The status to write, if it says something else than the last one.
pub(super) fn record(seen: &Seen, found: Option<&Result<Probe, Stop>>) -> Option<Step> {
    let before = &seen.status;
    let probe = seen.look.as_ref().and_then(|look| look.found.as_ref().ok());
    let wanted = ConnectionStatus {
        observed_generation: seen.generation,
        conditions: conditions::merge(&before.conditions, &findings(seen, found)?, seen.now),
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

/// `None` while there is nothing to tell.
fn findings(seen: &Seen, found: Option<&Result<Probe, Stop>>) -> Option<Vec<Finding>> {
    let hinders = found.is_none() || ends(seen) || (seen.accounts > 0 && ready(seen).is_err());
    if let Some(stop) = seen.refused.as_ref().filter(|_| hinders) {
        return Some(stopped(seen, stop));
    }
    if seen.deleting {
        return going(seen).map(|stop| {
            vec![
                finding(seen, Type::Ready, Status::False, &stop),
                finding(seen, Type::Reconciling, Status::True, &stop),
            ]
        });
    }
    Some(match found? {
        Ok(probe) => answers(seen, probe),
        Err(stop) => stopped(seen, stop),
    })
}

fn answers(seen: &Seen, probe: &Probe) -> Vec<Finding> {
    let answers = format!("The server answers, as {}.", probe.own.username);
    let cautions = [seen.caution, probe.caution.as_deref()]
        .into_iter()
        .flatten();
    let said: Vec<&str> = std::iter::once(answers.as_str()).chain(cautions).collect();
    let ready = Stop::new(Reason::Ready, said.join(" "));
    let mut findings = vec![finding(seen, Type::Ready, Status::True, &ready)];
    let skewed = probe.skew.abs() >= MOST_SKEW;
    let flaw = seen
        .refused
        .clone()
        .or_else(|| skewed.then(|| Stop::plain(Reason::ClockSkew)));
    findings.extend(flaw.map(|flaw| finding(seen, Type::UpToDate, Status::False, &flaw)));
    findings
}

fn stopped(seen: &Seen, stop: &Stop) -> Vec<Finding> {
    let more = match outlook(stop.reason) {
        Outlook::Waits => Type::Reconciling,
        Outlook::NeedsPerson => Type::Stalled,
    };
    vec![
        finding(seen, Type::Ready, Status::False, stop),
        finding(seen, more, Status::True, stop),
    ]
}

/// What a connection that is being deleted waits for; `None` when for nothing.
fn going(seen: &Seen) -> Option<Stop> {
    let message = if !ends(seen) {
        format!(
            "{} ServiceAccounts still use this connection. Delete them, or leave it; it goes when they are gone.",
            seen.bound
        )
    } else if seen
        .hold
        .as_ref()
        .is_some_and(|hold| is_held(hold) && hold.others.contains(&User::Unknown))
    {
        "A connection that does not parse may use the same credential. Correct or delete it; this one goes then.".to_owned()
    } else {
        return None;
    };
    Some(Stop::new(Reason::InUse, message))
}

fn finding(seen: &Seen, type_: Type, status: Status, stop: &Stop) -> Finding {
    Finding {
        type_,
        status,
        reason: stop.reason,
        message: stop.message.clone(),
        observed_generation: seen.generation,
    }
}
