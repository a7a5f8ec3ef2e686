//! An account that is wanted.

use super::claim::{claim, draft, lost, manageable};
use super::identity::{identify, lookup, pinned};
use super::logins::{logins, oidc};
use super::teams::teams;
use super::{Remote, Route, Seen, Step, foreign, status, sweep};
use crate::api::conditions::Reason;
use crate::api::{Management, ServiceAccountSpec};
use crate::plan::Stop;
use crate::plan::kept::{bounded, unreserved};
use crate::plan::key::{Finalizer, Freshness};
use crate::plan::port::{Ability, Accounts, Activity, Afterlife, RemoteAccount, Wish};

/// The next step for an account that is wanted.
pub(super) fn step(seen: &Seen) -> Step {
    if let Some(pins) = &seen.pass.forget {
        return Step::Pin(pins.clone());
    }
    if let Some(step) = foreign::forget(seen) {
        return step;
    }
    if seen.pass.setback.is_none() {
        // Keys that nobody has go whatever else stands against the account.
        let next = keep(seen).unwrap_or_default();
        let sweep = || sweep::step(seen).filter(|_| is_swept(seen));
        if let Some(step) = next.or_else(sweep) {
            return step;
        }
    }
    status::record(seen).unwrap_or(Step::Idle)
}

/// Whether the keys of this account are looked after, even if something stands against the account.
fn is_swept(seen: &Seen) -> bool {
    let (Ok(route), Remote::Found(account)) = (&seen.connection, &seen.remote) else {
        return false;
    };
    let here = seen.object.pins.server.as_ref() == Some(&route.reach.identity);
    here && seen.object.pins.account.is_some() && pinned(seen, route, account).is_ok()
}

/// The next effect that makes the account what is declared, or what stands against it.
pub(super) fn keep(seen: &Seen) -> Result<Option<Step>, Stop> {
    let route = seen.connection.as_ref().map_err(Clone::clone)?;
    if let Some(step) = identify(seen, route) {
        return Ok(Some(step));
    }
    permitted(seen, route)?;
    unfit(&seen.object.spec, &route.reach.ability)?;
    if seen.object.pins.account.is_some() && seen.object.finalizer == Finalizer::Missing {
        // `kubectl replace` drops it.
        return Ok(Some(Step::Pin(seen.object.pins.clone())));
    }
    unrivalled(seen)?;
    if seen.object.pins.account.is_none() {
        return claim(seen, route).map(Some);
    }
    match &seen.remote {
        Remote::Unknown => Ok(Some(Step::Find(lookup(seen, route)))),
        Remote::Absent => lost(seen, route),
        Remote::Found(account) => {
            pinned(seen, route, account)?;
            match seen.object.spec.management {
                Management::Managed => managed(seen, route, account),
                Management::Observed | Management::Own => works(account).map(|()| None),
            }
        }
    }
}

/// That no other ServiceAccount managed the account first.
fn unrivalled(seen: &Seen) -> Result<(), Stop> {
    let Some(rival) = &seen.rival else {
        return Ok(());
    };
    Err(Stop::new(
        Reason::AccountConflict,
        format!(
            "ServiceAccount {rival} manages this account already. {}",
            Reason::AccountConflict.fix()
        ),
    ))
}

/// What stands against this account whatever the server says.
fn permitted(seen: &Seen, route: &Route) -> Result<(), Stop> {
    seen.grant.as_ref().map_err(Clone::clone)?;
    let pins = &seen.object.pins;
    if pins
        .server
        .as_ref()
        .is_some_and(|server| *server != route.reach.identity)
    {
        return Err(Stop::plain(Reason::IdentityChanged));
    }
    Ok(())
}

/// What the manifest asks for that no server of this kind can do.
fn unfit(spec: &ServiceAccountSpec, ability: &Ability) -> Result<(), Stop> {
    let named = spec.display_name.is_some() || spec.email.is_some();
    let octopus = spec.octopus.clone().unwrap_or_default();
    if let Some(user) = &spec.elasticsearch {
        bounded(
            user.metadata.to_string().len(),
            "spec.elasticsearch.metadata",
        )?;
        unreserved(&user.metadata, '_')?;
    }
    ability.refuse([
        (named, Wish::Profile, "spec.displayName or spec.email"),
        (spec.disabled, Wish::Profile, "spec.disabled"),
        (!octopus.teams.is_empty(), Wish::Teams, "spec.octopus.teams"),
        (
            !octopus.external_logins.is_empty(),
            Wish::Logins,
            "spec.octopus.externalLogins",
        ),
        (
            !octopus.oidc_identities.is_empty(),
            Wish::Logins,
            "spec.octopus.oidcIdentities",
        ),
        (
            spec.elasticsearch.is_some(),
            Wish::Roles,
            "spec.elasticsearch",
        ),
        (spec.realm.is_some(), Wish::Realm, "spec.realm"),
    ])
}

/// Keeps a managed account as declared.
fn managed(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<Option<Step>, Stop> {
    if route.reach.ability.accounts == Accounts::NamesOnly {
        return Ok(None);
    }
    manageable(seen, route, account)?;
    let wanted = draft(seen, account.username.clone());
    if !wanted.is_met_by(account) {
        return Ok(Some(on_the_present(
            seen,
            Step::Update(account.id.clone(), wanted),
        )));
    }
    for declared in [teams, logins, oidc] {
        if let Some(step) = declared(seen, account)? {
            return Ok(Some(step));
        }
    }
    works(account).map(|()| None)
}

/// A step that could undo what somebody has just declared: the ServiceAccount is read live before.
pub(super) fn on_the_present(seen: &Seen, step: Step) -> Step {
    match seen.freshness {
        Freshness::Cached => Step::Refresh,
        Freshness::Live => step,
    }
}

/// Whether the account's keys work.
fn works(account: &RemoteAccount) -> Result<(), Stop> {
    match account.activity {
        Activity::Enabled => Ok(()),
        Activity::Disabled => Err(Stop::plain(Reason::AccountDisabled)),
    }
}

/// Why no first key may be made for this account now, if that is so.
pub fn mint_stop(seen: &Seen) -> Option<Stop> {
    let setback = || seen.pass.setback.as_ref().map(|why| why.stop.clone());
    going(seen).or_else(|| Some(not_ready(seen, setback().or_else(|| keep(seen).err())?)))
}

/// Why not even a key that is in use may be replaced now. What else the account falls short of, a team
/// that is not there or a change that is refused, must not become an outage.
pub fn replace_stop(seen: &Seen) -> Option<Stop> {
    going(seen).or_else(|| Some(not_ready(seen, stands(seen).err()?)))
}

fn going(seen: &Seen) -> Option<Stop> {
    seen.object.deleting.map(|_| {
        Stop::new(
            Reason::WaitingForAccount,
            "The ServiceAccount is being deleted. Make another one.",
        )
    })
}

/// Whether the account is the declared one, and may be used.
fn stands(seen: &Seen) -> Result<(), Stop> {
    let route = seen.connection.as_ref().map_err(Clone::clone)?;
    permitted(seen, route)?;
    unrivalled(seen)?;
    let Remote::Found(account) = &seen.remote else {
        return mint_stop(seen).map_or(Ok(()), Err);
    };
    pinned(seen, route, account)?;
    if seen.object.spec.management == Management::Managed {
        manageable(seen, route, account)?;
    }
    works(account)
}

/// What stands against the account, as its ApiKeys say it.
fn not_ready(seen: &Seen, stop: Stop) -> Stop {
    // A disabled account is the account's own affair; all else is what the account waits for.
    match stop.reason {
        Reason::AccountDisabled | Reason::NotGranted | Reason::WaitingForAccount => stop,
        _ => Stop::new(
            Reason::WaitingForAccount,
            format!(
                "ServiceAccount {} is not ready ({}): {}",
                seen.object.name,
                stop.reason.as_str(),
                stop.message
            ),
        ),
    }
}

/// Why the account's keys do not work now, if that is known. Where keys outlive their account, they do not
/// mind that it is disabled either (Elasticsearch 8.19.21).
pub fn works_stop(seen: &Seen) -> Option<Stop> {
    let route = seen.connection.as_ref().ok();
    let minds = route.is_none_or(|route| route.reach.ability.afterlife == Afterlife::KeysDie);
    match &seen.remote {
        Remote::Found(account) if minds => works(account).err(),
        Remote::Found(_) | Remote::Absent | Remote::Unknown => None,
    }
}
