//! The mirror for people: status, its conditions, and when to look again.

use jiff::{SignedDuration, Timestamp};

use super::{Maker, Remote, Seen, Step, ending, living, logins, sweep, unshared};
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::api::{AccountOrigin, JoinedTeam, OidcIdentityStatus, ServiceAccountStatus};
use crate::plan::fault::Retry;
use crate::plan::rotation::after;
use crate::plan::{LANDS_WITHIN, Outlook, Stop, backoff, outlook};

/// The step that writes the status, when it is to be written.
pub(super) fn record(seen: &Seen) -> Option<Step> {
    let wanted = wanted(seen);
    (wanted != seen.object.status).then(|| Step::Record(Box::new(wanted)))
}

fn wanted(seen: &Seen) -> ServiceAccountStatus {
    let before = &seen.object.status;
    // Counts are those of a list that was counted in this pass, else they stay.
    let counts = sweep::count(seen).filter(|_| seen.pass.counted);
    let (keys, unknown) = match counts {
        Some((keys, unknown)) => (Some(keys), unknown),
        None => (before.keys, before.unknown.clone()),
    };
    let pinned = seen.object.pins.account.as_ref();
    let username = match &seen.remote {
        Remote::Found(account) => Some(account.username.clone()),
        Remote::Unknown | Remote::Absent => before.username.clone(),
    };
    ServiceAccountStatus {
        observed_generation: seen.object.generation,
        conditions: conditions::merge(&before.conditions, &findings(seen), seen.now),
        id: pinned.map(ToString::to_string),
        origin: pinned.map(|_| match seen.object.pins.maker {
            Maker::Us => AccountOrigin::Created,
            Maker::Somebody => AccountOrigin::Existing,
        }),
        username: username.filter(|_| pinned.is_some()),
        external_id: external_id(seen),
        teams: teams(seen),
        oidc_identities: oidc_identities(seen),
        keys,
        retained: sweep::retained(&seen.object)
            .iter()
            .map(ToString::to_string)
            .collect(),
        unknown,
    }
}

/// The declared teams that the account is in; what was not looked up stays as it was.
fn teams(seen: &Seen) -> Vec<JoinedTeam> {
    let Remote::Found(account) = &seen.remote else {
        return seen.object.status.teams.clone();
    };
    let found = seen.teams.iter().filter_map(|(_, team)| team.as_ref());
    found
        .filter(|team| team.members.contains(&account.id))
        .map(|team| JoinedTeam {
            id: team.id.to_string(),
            name: team.name.clone(),
        })
        .collect()
}

/// Shown where OIDC identities are declared, and so are looked up; what was not stays as it was.
fn external_id(seen: &Seen) -> Option<String> {
    let octopus = seen.object.spec.octopus.as_ref();
    octopus.filter(|octopus| !octopus.oidc_identities.is_empty())?;
    match &seen.oidc {
        Some(oidc) => Some(oidc.external_id.clone()),
        None => seen.object.status.external_id.clone(),
    }
}

/// The declared OIDC identities that the account has; what was not looked up stays as it was.
fn oidc_identities(seen: &Seen) -> Vec<OidcIdentityStatus> {
    let Some(present) = logins::present(seen) else {
        return seen.object.status.oidc_identities.clone();
    };
    let present = present.into_iter();
    present
        .map(|(name, id)| OidcIdentityStatus {
            name: name.to_owned(),
            id: id.to_owned(),
        })
        .collect()
}

fn findings(seen: &Seen) -> Vec<Finding> {
    let finding = |type_, status, stop: &Stop| Finding {
        type_,
        status,
        reason: stop.reason,
        message: stop.message.clone(),
        observed_generation: seen.object.generation,
    };
    match face(seen) {
        Ok(()) => {
            let ready = Stop::new(Reason::Ready, "The account is as declared.");
            vec![finding(Type::Ready, Status::True, &ready)]
        }
        Err(stop) => {
            let more = match outlook(stop.reason) {
                Outlook::Waits => Type::Reconciling,
                Outlook::NeedsPerson => Type::Stalled,
            };
            vec![
                finding(Type::Ready, Status::False, &stop),
                finding(more, Status::True, &stop),
            ]
        }
    }
}

/// How things stand with the account.
fn face(seen: &Seen) -> Result<(), Stop> {
    if let Some(setback) = &seen.pass.setback {
        return Err(setback.stop.clone());
    }
    if seen.object.deleting.is_some() {
        return match ending::next(seen) {
            Err(stop) => Err(stop),
            Ok(_) => Err(Stop::plain(Reason::Revoking)),
        };
    }
    match living::keep(seen)? {
        None => unshared(&seen.object, &seen.claim.installation),
        Some(_) => Err(Stop::new(
            Reason::WaitingForAccount,
            "The account is being made, or brought to what is declared.",
        )),
    }
}

/// When to look again if nothing happens before.
pub(super) fn wake(seen: &Seen) -> Timestamp {
    let retry = seen.pass.setback.as_ref().map(|setback| {
        let wait = match setback.retry {
            Retry::After(wait) => wait
                .and_then(|wait| SignedDuration::try_from(wait).ok())
                .unwrap_or(SignedDuration::from_secs(10)),
            Retry::Backoff => backoff::wait(
                seen.pass.failures,
                backoff::LONGEST,
                seen.object.uid.as_str(),
            ),
            Retry::OnChange => {
                backoff::wait(seen.pass.failures, resync(seen), seen.object.uid.as_str())
            }
        };
        after(seen.now, wait)
    });
    let landed = seen.object.pins.free_at.map(|at| after(at, LANDS_WITHIN));
    let recount = seen.counted.map(|began| after(began, resync(seen)));
    let soonest = [retry, landed, recount]
        .into_iter()
        .flatten()
        .filter(|at| *at > seen.now)
        .min();
    let latest = after(seen.now, resync(seen));
    after(
        soonest.map_or(latest, |at| at.min(latest)),
        SignedDuration::from_millis(1),
    )
}

fn resync(seen: &Seen) -> SignedDuration {
    seen.connection
        .as_ref()
        .map_or(backoff::LONGEST, |route| route.resync)
}
