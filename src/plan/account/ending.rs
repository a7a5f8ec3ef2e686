//! An account whose ServiceAccount is being deleted.

use jiff::Timestamp;

use super::{
    Added, Demise, Remote, Route, Seen, Step, identity, logins, status, sweep, teams, unshared,
};
use crate::api::conditions::Reason;
use crate::api::{AccountDeletionPolicy, Management};
use crate::plan::grant::{Allowance, Retain};
use crate::plan::key::{Finalizer, Freshness};
use crate::plan::port::{
    AccountDraft, AccountId, Accounts, Activity, Afterlife, List, RemoteAccount,
};
use crate::plan::rotation::after;
use crate::plan::{LANDS_WITHIN, Stop};

/// The next step for an account that goes.
pub(super) fn step(seen: &Seen) -> Step {
    let written = || status::record(seen).unwrap_or(Step::Idle);
    if seen.pass.setback.is_some() && !matches!(next(seen), Ok(Step::Close)) {
        return written();
    }
    next(seen).unwrap_or_else(|_| written())
}

/// The next effect towards the end, or what it waits for.
pub(super) fn next(seen: &Seen) -> Result<Step, Stop> {
    if seen.freshness == Freshness::Cached {
        return Ok(Step::Refresh);
    }
    if seen.object.finalizer == Finalizer::Missing {
        return Ok(Step::Idle);
    }
    if seen.census.freshness == Freshness::Cached {
        return Ok(Step::Census);
    }
    let needed: Vec<&str> = seen
        .census
        .keys
        .values()
        .filter(|key| key.here)
        .map(|key| key.home.as_str())
        .collect();
    if !needed.is_empty() {
        // Their keys can be revoked only once the server has shown whose they are.
        return match (&seen.connection, &seen.object.pins.account, &seen.remote) {
            (Ok(route), Some(_), Remote::Unknown) if is_pinned(seen, route) => {
                Ok(Step::Find(identity::lookup(seen, route)))
            }
            (Ok(route), Some(_), Remote::Found(account)) => {
                identity::pinned(seen, route, account).and(Err(in_use(&needed)))
            }
            _ => Err(in_use(&needed)),
        };
    }
    match fate(seen) {
        Fate::Stays => Ok(last_look(seen).unwrap_or(Step::Close)),
        Fate::Goes(policy) => goes(seen, policy),
    }
}

/// Whether the server is the one that the account was found on.
fn is_pinned(seen: &Seen, route: &Route) -> bool {
    seen.object.pins.server.as_ref() == Some(&route.reach.identity)
}

fn in_use(homes: &[&str]) -> Stop {
    let named = homes.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = homes.len().saturating_sub(3);
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    Stop::new(
        Reason::InUse,
        format!(
            "ApiKeys still use this account: {named}{more}. Delete them, or leave it; it goes when they are gone."
        ),
    )
}

/// What is still done about an account that stays: keys of ours that belong to no ApiKey go. Where that
/// cannot be done, it is let go all the same: that it stays is the way out.
fn last_look(seen: &Seen) -> Option<Step> {
    let route = seen.connection.as_ref().ok()?;
    if seen.pass.setback.is_some() || seen.object.pins.account.is_none() || !is_pinned(seen, route)
    {
        return None;
    }
    unshared(&seen.object, &seen.claim.installation).ok()?;
    match &seen.remote {
        Remote::Unknown => Some(Step::Find(identity::lookup(seen, route))),
        Remote::Absent => None,
        Remote::Found(account) => {
            identity::pinned(seen, route, account).ok()?;
            look(seen).or_else(|| leftover(seen, account))
        }
    }
}

/// Asks for a list of this pass.
fn look(seen: &Seen) -> Option<Step> {
    let newer_than = seen.pass.began;
    let fresh = |list: &List| list.began >= newer_than;
    let newer_than = just_before(newer_than);
    (!seen.list.as_ref().is_some_and(fresh)).then_some(Step::Look { newer_than })
}

/// Revokes a key of ours that is still there and belongs to no ApiKey any more.
fn leftover(seen: &Seen, account: &RemoteAccount) -> Option<Step> {
    let key = sweep::left(seen).next()?;
    Some(Step::Revoke(account.id.clone(), key.id.clone()))
}

/// What becomes of the account.
enum Fate {
    /// It stays as it is.
    Stays,
    /// It goes, or is disabled.
    Goes(AccountDeletionPolicy),
}

fn fate(seen: &Seen) -> Fate {
    let pins = &seen.object.pins;
    let ours = pins.installation.as_ref() == Some(&seen.claim.installation);
    let pending = pins.account.is_some() || pins.free_at.is_some();
    let told = identity::is_told_ours(pins);
    let (made, manageable) = match &seen.remote {
        Remote::Found(account) => (
            told && !identity::is_anothers(seen, account),
            identity::may_be_managed(seen, account),
        ),
        Remote::Absent | Remote::Unknown => (told, told || identity::may_adopt(seen)),
    };
    // Without a grant nothing is done, not even taking away: who made it is only an annotation.
    let granted = !matches!(&seen.grant, Err(stop) if stop.reason == Reason::NotGranted);
    if seen.object.spec.management != Management::Managed
        || !granted
        || !ours
        || !pending
        || !manageable
        || seen.rival.is_some()
    {
        return Fate::Stays;
    }
    let default = if made {
        AccountDeletionPolicy::Delete
    } else {
        AccountDeletionPolicy::Retain
    };
    let may_retain = !matches!(
        seen.grant,
        Ok(Allowance {
            retain: Retain::Refused,
            ..
        })
    );
    match seen.object.spec.deletion_policy.unwrap_or(default) {
        // What we only took over is never deleted; what we added to it is taken back.
        AccountDeletionPolicy::Delete if !made => Fate::Goes(AccountDeletionPolicy::Retain),
        AccountDeletionPolicy::Retain
            if seen.object.spec.deletion_policy.is_some() && may_retain =>
        {
            Fate::Stays
        }
        AccountDeletionPolicy::Retain if made => Fate::Goes(AccountDeletionPolicy::Delete),
        policy => Fate::Goes(policy),
    }
}

fn goes(seen: &Seen, policy: AccountDeletionPolicy) -> Result<Step, Stop> {
    let route = seen.connection.as_ref().map_err(|stop| {
        Stop::new(
            stop.reason,
            format!(
                "{} If the server is gone for ever, set spec.deletionPolicy to Retain.",
                stop.message
            ),
        )
    })?;
    if !is_pinned(seen, route) {
        return Err(Stop::plain(Reason::IdentityChanged));
    }
    if is_deleted(seen) {
        return Ok(empty(seen, route, policy).unwrap_or(Step::Close));
    }
    let account = match &seen.remote {
        Remote::Unknown => return Ok(Step::Find(identity::lookup(seen, route))),
        Remote::Absent => {
            let step = absent(seen)?;
            return Ok(empty(seen, route, policy).unwrap_or(step));
        }
        Remote::Found(account) => account,
    };
    identity::pinned(seen, route, account)?;
    alone(seen)?;
    if let Some(step) = look(seen).or_else(|| leftover(seen, account)) {
        return Ok(step);
    }
    if let Some(team) = seen.object.pins.added.iter().find_map(Added::team) {
        return Ok(teams::leave(seen, team, account));
    }
    if let Some(step) = logins::undo(seen, account, |_| true) {
        return Ok(step);
    }
    let disposed = match route.reach.ability.accounts {
        Accounts::Kept => dispose(seen, policy, account),
        Accounts::NamesOnly => Step::Close,
    };
    let emptied = || empty(seen, route, policy);
    Ok(match disposed {
        Step::Delete(_) => emptied().unwrap_or(disposed),
        _ => disposed,
    })
}

/// Revokes every key of an account that is deleted, where they would outlive it: before, so that nobody
/// takes over a key of an account that is gone, and after, when nobody can make one any more.
fn empty(seen: &Seen, route: &Route, policy: AccountDeletionPolicy) -> Option<Step> {
    let account = seen.object.pins.account.as_ref()?;
    let Afterlife::KeysLive { home } = route.reach.ability.afterlife else {
        return None;
    };
    // The note of the account is an annotation, which may have been written by anybody.
    let name = account.as_str().strip_prefix(home)?;
    let due = matches!(seen.pass.demise, Demise::Not | Demise::Deleted)
        && policy == AccountDeletionPolicy::Delete
        && name == identity::username(seen, route);
    if !due {
        return None;
    }
    // What was left on purpose is seen in a list.
    look(seen).or_else(|| {
        let left = sweep::kept(seen).next().is_some();
        (!left).then(|| Step::Empty(account.clone()))
    })
}

/// That no other cluster may live off the account.
fn alone(seen: &Seen) -> Result<(), Stop> {
    unshared(&seen.object, &seen.claim.installation).map_err(|stop| {
        let way_out = "Or set spec.deletionPolicy to Retain, to leave the account.";
        Stop::new(stop.reason, format!("{} {way_out}", stop.message))
    })
}

fn just_before(at: Timestamp) -> Timestamp {
    after(at, jiff::SignedDuration::from_millis(-1))
}

fn dispose(seen: &Seen, policy: AccountDeletionPolicy, account: &RemoteAccount) -> Step {
    let disabled = account.activity == Activity::Disabled;
    match policy {
        // Keys that stay on purpose need their account.
        AccountDeletionPolicy::Delete if sweep::kept(seen).next().is_some() => Step::Close,
        AccountDeletionPolicy::Delete => Step::Delete(account.id.clone()),
        AccountDeletionPolicy::Disable if !disabled => {
            Step::Update(account.id.clone(), disable(seen, account))
        }
        AccountDeletionPolicy::Disable | AccountDeletionPolicy::Retain => Step::Close,
    }
}

/// The account as it is, but disabled.
fn disable(seen: &Seen, account: &RemoteAccount) -> AccountDraft {
    AccountDraft {
        username: account.username.clone(),
        display_name: account.display_name.clone(),
        email: account.email.clone(),
        activity: Activity::Disabled,
        roles: account.roles.clone(),
        metadata: account.metadata.clone(),
        stamp: seen.object.uid.to_string(),
    }
}

/// There is no such account. A creation that got no answer may still land.
fn absent(seen: &Seen) -> Result<Step, Stop> {
    let pins = &seen.object.pins;
    let landed = pins
        .free_at
        .filter(|_| pins.account.is_none())
        .map(|at| after(at, LANDS_WITHIN));
    match landed {
        Some(landed) if seen.pass.found_at.is_none_or(|at| at <= landed) => Err(Stop::new(
            Reason::WaitingForAccount,
            "The creation of the account got no answer and may still land on the server; it is waited for. Nothing is to be done.",
        )),
        Some(_) | None => Ok(Step::Close),
    }
}

/// Whether this pass has deleted the account.
fn is_deleted(seen: &Seen) -> bool {
    matches!(seen.pass.demise, Demise::Deleted | Demise::Over)
}

/// The account that is left on the server when this ServiceAccount is gone, for the Event.
pub fn stays(seen: &Seen) -> Option<&AccountId> {
    (!is_deleted(seen) && seen.object.spec.management == Management::Managed)
        .then_some(seen.object.pins.account.as_ref())
        .flatten()
}
