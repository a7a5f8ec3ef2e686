//! A key that is wanted: the order in which things are done for it.

use jiff::Timestamp;

use super::{
    Amendment, Attempt, Dress, Finalizer, Handling, Seen, Stage, Step, Values, Why, adjusting,
    keys, making, minting, restarting, retiring, status,
};
use crate::api::{Period, RotationMode};
use crate::plan::record::Intent;
use crate::plan::rotation::{after, clearly_later};
use crate::plan::{PUBLISH_WITHIN, SEND_WITHIN};

/// The next step for an ApiKey that is wanted.
pub(super) fn step(seen: &Seen) -> Step {
    let next = if let Some(attempt) = &seen.pass.attempt {
        go_on(seen, attempt)
    } else if seen.pass.setback.is_some() {
        None
    } else if keys::behind(seen) {
        Some(Step::Refresh)
    } else {
        let patient = |_: &Step| status::patience(seen).is_none();
        mirror(seen)
            .or_else(|| guard(seen))
            .or_else(|| effect(seen).filter(patient))
    };
    next.or_else(|| status::record(seen)).unwrap_or(Step::Idle)
}

/// The next step of an attempt of this pass; `None` when it must be given up.
fn go_on(seen: &Seen, attempt: &Attempt) -> Option<Step> {
    let Attempt { intent, stage } = attempt;
    let in_time = |limit| seen.now <= after(intent.opened_at, limit);
    match stage {
        Stage::Opened => Some(minting::rehearsal(seen, intent)),
        Stage::Rehearsed(errand) => in_time(SEND_WITHIN).then(|| Step::Mint(errand.order.clone())),
        Stage::Minted(_) => Some(Step::Prove),
        Stage::Proven(key) if in_time(PUBLISH_WITHIN) => {
            Some(Step::Publish(minting::publication(seen, intent, key)))
        }
        Stage::Proven(key) => retiring::revoke(seen, &key.id, Why::Unwanted),
        Stage::Unwanted(id, _) => retiring::revoke(seen, id, Why::Unwanted),
    }
}

/// After a crash, what the Secret says is recorded before anything rests on it.
fn mirror(seen: &Seen) -> Option<Step> {
    let published = seen.secret.published()?;
    let mirrored = seen.object.status.current.as_ref();
    let known = mirrored.is_some_and(|key| key.nonce == published.nonce.as_str());
    if known { None } else { status::record(seen) }
}

/// What is to be done beyond the mirror, patience aside.
pub(super) fn effect(seen: &Seen) -> Option<Step> {
    guard(seen)
        .or_else(|| compare(seen))
        .or_else(|| make_or_retire(seen))
        .or_else(|| retiring::forget(seen))
        .or_else(|| retiring::overdue(seen))
        .or_else(|| restarting::restart(seen))
        .or_else(|| dress(seen))
        .or_else(|| adjusting::adjust(seen))
        .or_else(|| retiring::look(seen))
        .or_else(|| retiring::sweep(seen))
}

/// A key that cannot be revoked must not keep the next one from being made, nor the other way round:
/// after a failure each has its turn.
fn make_or_retire(seen: &Seen) -> Option<Step> {
    let make = || making::make(seen).unwrap_or_default();
    let retire = || retiring::retire(seen);
    if seen.object.status.failures.is_multiple_of(2) {
        make().or_else(retire)
    } else {
        retire().or_else(make)
    }
}

/// Puts back what `kubectl replace` drops, and keeps the end of a `Never` key.
fn guard(seen: &Seen) -> Option<Step> {
    let intent = with_its_end(seen);
    (bare(seen) || intent.is_some()).then_some(Step::Guard { intent })
}

/// Whether the finalizer is missing although there may be keys.
pub(super) fn bare(seen: &Seen) -> bool {
    let begun = seen.object.intent.ours().is_some() || keys::had_attempt(seen);
    seen.object.finalizer == Finalizer::Missing && begun
}

/// The intent with the end of a `Never` key, when that is not on record.
///
/// An intent that was dropped is made up for by the next one, as if an attempt were open: nobody
/// can tell any more whether one was.
fn with_its_end(seen: &Seen) -> Option<Intent> {
    let spec = &seen.object.spec;
    let key = seen
        .secret
        .published()
        .filter(|_| spec.rotation.mode == RotationMode::Never)?;
    let lifetime = spec.lifetime.as_ref().map(Period::duration);
    let asked = lifetime.map_or(Timestamp::MAX, |lifetime| after(key.created_at, lifetime));
    let intent = seen.object.intent.ours();
    let ends_at = match intent.and_then(|intent| intent.ends_at) {
        // Neither a replacement nor an edit extends the end; a shorter lifetime brings it nearer.
        Some(end) if !clearly_later(end, asked) => return None,
        Some(_) => asked,
        None => asked.min(key.expires_at),
    };
    let intent = intent
        .cloned()
        .unwrap_or_else(|| making::next_attempt(seen));
    Some(Intent {
        ends_at: Some(ends_at),
        ..intent
    })
}

/// Compares the Secret's values with what we wrote, once another field manager has written some.
fn compare(seen: &Seen) -> Option<Step> {
    let held = seen.secret.ours()?;
    (held.values == Values::Touched && !seen.object.spec.suspend).then_some(Step::Compare)
}

/// Puts labels and annotations right.
fn dress(seen: &Seen) -> Option<Step> {
    let held = seen.secret.ours()?;
    // Once in a pass: whoever undoes it at once would never be done with.
    let untidy = held.dress == Dress::Untidy && !held.deleting;
    let untidy = untidy && seen.pass.secret != Handling::Dressed;
    let untidy = untidy && !seen.object.spec.suspend;
    untidy.then_some(Step::Amend(Amendment::Dress))
}
