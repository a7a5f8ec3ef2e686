//! A key that is not wanted any more: expired for good, revoked on command, deleted, or retained.
//!
//! The order is always the same: the Secret goes before the key in it, every key that a fresh list
//! shows with our marker goes, and only when a list that must know of every attempt shows none is
//! the ApiKey over.

use jiff::{SignedDuration, Timestamp};

use super::{
    Amendment, Finalizer, Freshness, IntentSeen, Ledger, Owner, Secret, Seen, Step, Why, living,
    status,
};
use crate::api::conditions::Reason;
use crate::api::{KeyDeletionPolicy, RotationMode};
use crate::plan::port::KeyId;
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
    let object = &seen.object;
    let ends_at = object.intent.ours().and_then(|intent| intent.ends_at);
    if let Some(since) = object.deleting {
        Some(Cause::Deleted(since))
    } else if object.spec.revoked {
        Some(Cause::Revoked)
    } else if object.spec.rotation.mode == RotationMode::Never
        && ends_at.is_some_and(|end| end <= seen.now)
    {
        Some(Cause::Expired)
    } else {
        None
    }
}

/// The next step for an ApiKey that ends.
pub(super) fn step(seen: &Seen, cause: Cause) -> Step {
    let written = || status::record(seen).unwrap_or(Step::Idle);
    if seen.pass.setback.is_some()
        || status::not_before(seen).is_some_and(|(until, _)| seen.now < until)
    {
        return written();
    }
    if retained(seen, cause) {
        return retain(seen);
    }
    if over(seen, cause) {
        return remove(seen).unwrap_or_else(written);
    }
    match next(seen, cause) {
        Ok(step) => step,
        Err(_) => written(),
    }
}

/// The next effect towards the end, or what it waits for.
pub(super) fn next(seen: &Seen, cause: Cause) -> Result<Step, Stop> {
    if seen.freshness == Freshness::Cached {
        return Ok(Step::Refresh);
    }
    match &seen.secret {
        Secret::Ours(held) if held.deleting => {
            return Err(Stop::new(
                Reason::Revoking,
                "The Secret is being deleted, and somebody's finalizer holds it; the key in it is revoked when it is gone. Remove that finalizer.",
            ));
        }
        Secret::Ours(_) => return Ok(Step::Unpublish),
        Secret::Absent | Secret::Foreign(_) => {}
    }
    if never_began(seen) {
        return Ok(finish(seen, cause));
    }
    seen.base
        .server
        .as_ref()
        .map_err(|stop| revoking(&stop.message))?;
    if seen.base.account.is_none() {
        return Err(revoking(
            "The account whose keys are to be revoked is not known: apply its ServiceAccount again.",
        ));
    }
    let newer_than = look_after(seen, cause);
    if seen
        .list
        .as_ref()
        .is_none_or(|list| list.began <= newer_than)
    {
        if seen.now <= newer_than {
            return Err(revoking(
                "An attempt that got no answer may still land on the server; it is waited for.",
            ));
        }
        return Ok(Step::Look { newer_than });
    }
    if let Some((key, _)) = living::own(seen).next() {
        return Ok(Step::Revoke {
            id: key.id.clone(),
            why: Why::Ended,
        });
    }
    Ok(finish(seen, cause))
}

fn revoking(why: &str) -> Stop {
    Stop::new(
        Reason::Revoking,
        format!("{why} If the server is gone for ever, set spec.deletionPolicy to Retain."),
    )
}

/// What is left to do when no key of this ApiKey is left.
fn finish(seen: &Seen, cause: Cause) -> Step {
    match cause {
        Cause::Deleted(_) if seen.object.finalizer == Finalizer::Present => Step::Close,
        Cause::Deleted(_) | Cause::Revoked | Cause::Expired => {
            status::record(seen).unwrap_or(Step::Idle)
        }
    }
}

/// Whether no attempt was ever opened, as far as anything tells.
fn never_began(seen: &Seen) -> bool {
    let status = &seen.object.status;
    seen.object.intent == IntentSeen::Missing
        && seen.object.finalizer == Finalizer::Missing
        && status.serial.is_none()
        && status.current.is_none()
}

/// A list must have begun strictly after this to be believed when it shows no key.
fn look_after(seen: &Seen, cause: Cause) -> Timestamp {
    let refreshed = seen.pass.refreshed_at.map_or(seen.now, just_before);
    let lands = match (&seen.object.intent, cause) {
        (IntentSeen::Ours(intent), _) if living::complete(seen, intent) => refreshed,
        (IntentSeen::Ours(intent), _) => after(intent.opened_at, LANDS_WITHIN),
        (IntentSeen::Missing | IntentSeen::Void, Cause::Deleted(since)) => {
            after(since, LANDS_WITHIN)
        }
        (IntentSeen::Missing | IntentSeen::Void, Cause::Revoked | Cause::Expired) => refreshed,
    };
    lands.max(refreshed)
}

/// The facts were read at this very moment, and a list that begins with it knows them.
fn just_before(at: Timestamp) -> Timestamp {
    after(at, SignedDuration::from_millis(-1))
}

/// Whether a revoked or expired ApiKey has nothing left to do.
pub(super) fn over(seen: &Seen, cause: Cause) -> bool {
    let clean = seen.object.status.finished_at.is_some()
        && seen.secret.ours().is_none()
        && living::own(seen).next().is_none();
    let fresh = seen
        .list
        .as_ref()
        .is_some_and(|list| list.began > after(seen.now, -seen.base.resync));
    match cause {
        Cause::Deleted(_) => false,
        Cause::Revoked | Cause::Expired => clean && (fresh || seen.base.server.is_err()),
    }
}

/// Deletes an ApiKey that has ended long enough ago.
fn remove(seen: &Seen) -> Option<Step> {
    (removal(seen)? <= seen.now).then_some(match seen.freshness {
        Freshness::Cached => Step::Refresh,
        Freshness::Live => Step::Remove,
    })
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

/// Lets go of keys and Secret, and notes what stays.
fn retain(seen: &Seen) -> Step {
    if seen.freshness == Freshness::Cached {
        return Step::Refresh;
    }
    let mut stay = remaining(seen);
    if let Ledger::Present(noted) = &seen.base.ledger {
        if stay.iter().any(|id| !noted.contains(id)) {
            stay.extend(noted.iter().cloned());
            stay.sort();
            stay.dedup();
            return Step::Retain(stay);
        }
    }
    if let Secret::Ours(held) = &seen.secret {
        if held.owner == Owner::ApiKey && !held.deleting {
            return Step::Amend(Amendment::Release);
        }
    }
    match seen.object.finalizer {
        Finalizer::Present => Step::Close,
        Finalizer::Missing => Step::Idle,
    }
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
    let retiring = living::retiring(seen).into_iter().map(|key| key.id);
    let listed = living::own(seen).map(|(key, _)| key.id.clone());
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
