//! A key that is not wanted any more: expired for good, revoked on command, deleted, or retained.
//!
//! The order is always the same: the Secret goes before the key in it, every key that a fresh list
//! shows with our marker goes, and only when a list that must know of every attempt shows none is
//! the ApiKey over.

use jiff::{SignedDuration, Timestamp};

use super::{
    Amendment, Finalizer, Freshness, Handling, Ledger, Owner, Secret, Seen, Step, Why, keys,
    living, retiring, status, timing,
};
use crate::api::conditions::Reason;
use crate::api::{KeyDeletionPolicy, time};
use crate::plan::port::KeyId;
use crate::plan::record::Retiring;
use crate::plan::rotation::after;
use crate::plan::{LANDS_WITHIN, Stop};

/// Why an ApiKey ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is being deleted, since then.
    Deleted(Timestamp),
    /// `spec.revoked` says so.
    Revoked,
    /// Its one key has reached its end.
    Expired,
}

/// Why this ApiKey ends, if it does.
pub(super) fn cause(seen: &Seen) -> Option<Cause> {
    if let Some(since) = seen.object.deleting {
        Some(Cause::Deleted(since))
    } else if seen.object.spec.revoked {
        Some(Cause::Revoked)
    } else {
        let ends_at = timing::never_ends(seen)?;
        (ends_at <= seen.now).then_some(Cause::Expired)
    }
}

/// The next step for an ApiKey that ends.
pub(super) fn step(seen: &Seen, cause: Cause) -> Step {
    let effect = if seen.pass.setback.is_some() || status::patience(seen).is_some() {
        None
    } else if retained(seen, cause) {
        retain(seen)
    } else if finished(seen, cause) {
        rest(seen)
    } else {
        guard(seen, cause).or_else(|| on_live_facts(seen, cause))
    };
    effect
        .or_else(|| status::record(seen))
        .unwrap_or(Step::Idle)
}

/// Until it is over, an ApiKey that is not going keeps its finalizer.
fn guard(seen: &Seen, cause: Cause) -> Option<Step> {
    let going = matches!(cause, Cause::Deleted(_));
    (!going && living::bare(seen)).then_some(Step::Guard { intent: None })
}

/// The next effect towards the end. Only a list is asked for on facts that may be old.
fn on_live_facts(seen: &Seen, cause: Cause) -> Option<Step> {
    match (next(seen, cause), seen.freshness) {
        (Err(_), _) => None,
        (Ok(Some(look @ Step::Look { .. })), _) if seen.pass.refreshed_at.is_some() => Some(look),
        (Ok(_), Freshness::Cached) => Some(Step::Refresh),
        (Ok(Some(step)), Freshness::Live) => Some(step),
        (Ok(None), Freshness::Live) => close(seen, cause),
    }
}

/// The next effect towards the end, or what it waits for; nothing when no key is left.
pub(super) fn next(seen: &Seen, cause: Cause) -> Result<Option<Step>, Stop> {
    match &seen.secret {
        Secret::Ours(held) if held.deleting => {
            return Err(revoking(
                "The Secret is being deleted, and somebody's finalizer holds it; the key in it is revoked when it is gone. Remove that finalizer.",
            ));
        }
        Secret::Ours(_) if seen.pass.secret != Handling::Immovable => {
            return Ok(Some(Step::Unpublish));
        }
        Secret::Ours(_) | Secret::Absent | Secret::Offered | Secret::Foreign(_) => {}
    }
    if keys::never_began(seen) {
        return Ok(None);
    }
    if let Err(stop) = &seen.base.server {
        return Err(without_server(seen, cause, &stop.message));
    }
    if seen.base.account.is_none() {
        return Err(without_server(
            seen,
            cause,
            "The account whose keys are to be revoked is not known: apply its ServiceAccount again.",
        ));
    }
    let began = keys::list(seen).map(|list| list.began);
    let fresh = seen.pass.refreshed_at.map_or(seen.now, just_before);
    if began.is_none_or(|began| began <= fresh) {
        return Ok(Some(Step::Look { newer_than: fresh }));
    }
    let (others, mine): (Vec<_>, Vec<_>) =
        keys::own(seen).partition(|(key, marker)| keys::is_anothers(seen, key, marker));
    if mine.is_empty() && !others.is_empty() {
        return Err(revoking(SHARED));
    }
    if !mine.is_empty() {
        let ids = mine.iter().map(|(key, _)| &key.id);
        let may_go = ids.filter(|id| cause != Cause::Expired || released(seen, id));
        let id = keys::in_turn(seen, may_go.collect());
        let id = id.ok_or_else(|| revoking(lingers(seen)))?;
        return Ok(Some(Step::Revoke {
            id: id.clone(),
            why: Why::Ended,
        }));
    }
    let newer_than = lands(seen, cause).max(fresh);
    if began.is_some_and(|began| began > newer_than) {
        Ok(None)
    } else if seen.now > newer_than {
        Ok(Some(Step::Look { newer_than }))
    } else {
        Err(revoking(
            "An attempt that got no answer may still land on the server; it is waited for. Nothing is to be done.",
        ))
    }
}

/// Why keys stay that may be those of a copy of this cluster.
const SHARED: &str = "There are keys of this ApiKey that it has not made: a copy of this cluster may have (see IdentityShared, and the ServiceAccount). Once they are known to be nobody's, revoke them on the server; or set spec.deletionPolicy to Retain.";

fn revoking(why: &str) -> Stop {
    Stop::new(Reason::Revoking, why)
}

fn without_server(seen: &Seen, cause: Cause, why: &str) -> Stop {
    let retain = seen.object.spec.deletion_policy == KeyDeletionPolicy::Retain;
    let way_out = match (cause, &seen.base.retain) {
        (Cause::Revoked | Cause::Expired, _) => "",
        (Cause::Deleted(_), Err(stop)) if retain => &stop.message,
        (Cause::Deleted(_), _) => {
            "If the server is gone for ever, set spec.deletionPolicy to Retain."
        }
    };
    revoking(format!("{why} {way_out}").trim_end())
}

/// Why keys of an ApiKey that has reached its end are still there.
fn lingers(seen: &Seen) -> &'static str {
    if keys::retiring(seen)
        .iter()
        .any(|key| key.revoke_at > seen.now)
    {
        "A replaced key still lives through its overlap; it is waited for. Nothing is to be done."
    } else {
        "The key was made a moment ago; it is revoked once no write of it can be on its way any more, within three minutes."
    }
}

/// Whether a key may go although nobody has asked for haste: its overlap is over, and no Publish of
/// it can be on its way.
fn released(seen: &Seen, id: &KeyId) -> bool {
    let kept = |key: &Retiring| key.id == *id && key.revoke_at > seen.now;
    retiring::settled(seen, id) && !keys::retiring(seen).iter().any(kept)
}

/// A list must have begun strictly after this to be believed when it shows no key.
fn lands(seen: &Seen, cause: Cause) -> Timestamp {
    match (keys::attempt(seen), cause) {
        (Some(intent), _) if keys::complete(seen, intent) => Timestamp::MIN,
        (Some(intent), _) => keys::landed(intent),
        // The intent is missing or void: nobody can tell whether an attempt was open.
        (None, Cause::Deleted(since)) => after(since, LANDS_WITHIN),
        (None, Cause::Revoked | Cause::Expired) => Timestamp::MIN,
    }
}

/// The facts were read at this very moment, and a list that begins with it knows them.
fn just_before(at: Timestamp) -> Timestamp {
    after(at, SignedDuration::from_nanos(-1))
}

/// What is left to do when no key is left.
fn close(seen: &Seen, cause: Cause) -> Option<Step> {
    let going = matches!(cause, Cause::Deleted(_));
    (going && seen.object.finalizer == Finalizer::Present).then_some(Step::Close)
}

/// Whether a revoked or expired ApiKey was found to have nothing left, and nothing since speaks
/// against it.
pub(super) fn finished(seen: &Seen, cause: Cause) -> bool {
    let Some(at) = seen.object.status.finished_at.as_ref().map(|time| time.0) else {
        return false;
    };
    // Status has whole seconds.
    let opened_since = keys::attempt(seen).is_some_and(|intent| time(intent.opened_at).0 > at);
    let going = matches!(cause, Cause::Deleted(_));
    !going && !opened_since && seen.secret.ours().is_none() && keys::own(seen).next().is_none()
}

/// What is done for an ApiKey that has ended: at every resync a look for a key that came late, and
/// at last its own deletion.
fn rest(seen: &Seen) -> Option<Step> {
    if removal(seen).is_some_and(|at| at <= seen.now) {
        return Some(match seen.freshness {
            Freshness::Cached => Step::Refresh,
            Freshness::Live => Step::Remove,
        });
    }
    let newer_than = after(seen.now, -seen.base.resync);
    let askable = seen.base.server.is_ok()
        && seen.base.account.is_some()
        && !seen.pass.blind
        && !keys::never_began(seen);
    let due = keys::list(seen).is_none_or(|list| list.began <= newer_than);
    (askable && due).then_some(Step::Look { newer_than })
}

/// When an ApiKey that has ended is deleted.
pub(super) fn removal(seen: &Seen) -> Option<Timestamp> {
    let ttl = seen.object.spec.ttl_after_finished.as_ref()?.duration();
    let finished = seen.object.status.finished_at.as_ref()?.0;
    Some(after(finished, ttl))
}

/// Whether the keys stay although the ApiKey goes.
pub(super) fn retained(seen: &Seen, cause: Cause) -> bool {
    matches!(cause, Cause::Deleted(_))
        && seen.object.spec.deletion_policy == KeyDeletionPolicy::Retain
        && seen.base.retain.is_ok()
}

/// Notes what stays, and lets go of Secret and ApiKey.
fn retain(seen: &Seen) -> Option<Step> {
    if seen.freshness == Freshness::Cached {
        return Some(Step::Refresh);
    }
    let mut stay = remaining(seen);
    if let Ledger::Present(noted) = &seen.base.ledger
        && stay.iter().any(|id| !noted.contains(id))
    {
        stay.extend(noted.iter().cloned());
        stay.sort();
        stay.dedup();
        return Some(Step::Retain(stay));
    }
    if let Secret::Ours(held) = &seen.secret
        && held.owner != Owner::Nobody
        && !held.deleting
    {
        return Some(Step::Amend(Amendment::Release));
    }
    (seen.object.finalizer == Finalizer::Present).then_some(Step::Close)
}

/// The keys that stay when this ApiKey is let go, as far as they are known.
pub(super) fn remaining(seen: &Seen) -> Vec<KeyId> {
    let published = seen.secret.published().map(|key| key.id.clone());
    let mirrored = seen
        .object
        .status
        .current
        .as_ref()
        .map(|key| KeyId::new(&key.id));
    let retiring = keys::retiring(seen).into_iter().map(|key| key.id);
    let listed = keys::own(seen).map(|(key, _)| key.id.clone());
    let mut ids: Vec<_> = published
        .into_iter()
        .chain(mirrored)
        .chain(retiring)
        .chain(listed)
        .collect();
    ids.sort();
    ids.dedup();
    ids
}
