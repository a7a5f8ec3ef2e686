//! The mirror for people: status, its conditions, and when to look again.

use jiff::{SignedDuration, Timestamp};

use super::{Seen, Step, ending, living};
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::api::{ApiKeyStatus, CurrentKey, LastFailure, RetiringKey, time};
use crate::plan::port::RemoteKey;
use crate::plan::record::Retiring;
use crate::plan::rotation::{self, after};
use crate::plan::{LANDS_WITHIN, Outlook, Stop, backoff, outlook};

/// How things stand with an ApiKey.
enum Face {
    /// The Secret holds a key that works; and what keeps a wanted one from being made.
    Works(Option<Stop>),
    /// There is no key that works, for this reason.
    Waits(Stop),
    /// It has ended.
    Ended(Stop),
}

/// The step that writes the status, when it is to be written.
pub(super) fn record(seen: &Seen) -> Option<Step> {
    let wanted = wanted(seen);
    (wanted != seen.object.status).then(|| Step::Record(Box::new(wanted)))
}

/// The status as it should be.
fn wanted(seen: &Seen) -> ApiKeyStatus {
    let before = &seen.object.status;
    let face = face(seen);
    let ended = matches!(face, Face::Ended(_));
    let living = ending::cause(seen).is_none();
    let (failures, last_failure) = failures(seen);
    let mut retiring: Vec<RetiringKey> = living::retiring(seen)
        .iter()
        .map(|key| mirror(seen, key))
        .collect();
    if living {
        retiring.extend(living::strays(seen).iter().map(|key| mirror(seen, key)));
    }
    ApiKeyStatus {
        observed_generation: seen.object.generation,
        conditions: conditions::merge(&before.conditions, &findings(seen, &face), seen.now),
        serial: living::last_serial(seen)
            .map(|serial| serial.number())
            .or(before.serial),
        secret_name: (!ended).then(|| seen.object.secret_name().to_owned()),
        requested_by: seen.object.requested_by.clone(),
        current: current(seen).filter(|_| !ended),
        retiring: if ended { Vec::new() } else { retiring },
        rotate_at: living::current(seen)
            .filter(|_| living && !ends_with(seen))
            .map(|key| time(living::rotate_at(seen, key))),
        last_handled_rotate: seen
            .secret
            .ours()
            .and_then(|held| held.rotate_handled.clone()),
        finished_at: ended.then(|| before.finished_at.clone().unwrap_or_else(|| time(seen.now))),
        failures,
        last_failure,
        restarted: before.restarted.clone(),
    }
}

/// Whether the living key is the last one.
fn ends_with(seen: &Seen) -> bool {
    seen.object.spec.rotation.mode == crate::api::RotationMode::Never
}

/// The key that the Secret holds, or, as long as the Secret is gone, the one that it held.
fn current(seen: &Seen) -> Option<CurrentKey> {
    let before = seen.object.status.current.as_ref();
    let Some(key) = seen.secret.published() else {
        return before.cloned();
    };
    let same = before.filter(|mirror| mirror.nonce == key.nonce.as_str());
    Some(CurrentKey {
        id: key.id.to_string(),
        serial: key.serial.number(),
        nonce: key.nonce.to_string(),
        hint: same.and_then(|mirror| mirror.hint.clone()),
        created_at: time(key.created_at),
        expires_at: Some(time(key.expires_at)),
        proven_at: same
            .and_then(|mirror| mirror.proven_at.clone())
            .or_else(|| seen.pass.proven_at.map(time)),
    })
}

/// A replaced key, with what status or a list knows of it.
fn mirror(seen: &Seen, key: &Retiring) -> RetiringKey {
    let known = seen
        .object
        .status
        .retiring
        .iter()
        .find(|known| known.id == key.id.as_str());
    let was_current = seen
        .object
        .status
        .current
        .as_ref()
        .filter(|known| known.id == key.id.as_str());
    let listed: Option<&RemoteKey> = living::own(seen)
        .map(|(key, _)| key)
        .find(|listed| listed.id == key.id);
    RetiringKey {
        id: key.id.to_string(),
        serial: key.serial.number(),
        created_at: known
            .and_then(|known| known.created_at.clone())
            .or_else(|| was_current.map(|known| known.created_at.clone()))
            .or_else(|| listed.map(|listed| time(listed.created_at))),
        expires_at: known
            .and_then(|known| known.expires_at.clone())
            .or_else(|| was_current.and_then(|known| known.expires_at.clone()))
            .or_else(|| listed.and_then(|listed| listed.expires_at.map(time))),
        // Status has whole seconds: later rather than earlier.
        revoke_at: time(after(key.revoke_at, SignedDuration::from_millis(999))),
    }
}

fn failures(seen: &Seen) -> (u32, Option<LastFailure>) {
    let before = &seen.object.status;
    if let (Some((count, at)), Some(setback)) = (seen.pass.failure, &seen.pass.setback) {
        let failure = LastFailure {
            reason: setback.stop.reason.as_str().to_owned(),
            message: conditions::one_line(&setback.stop.message),
            at: time(at),
        };
        return (count, Some(failure));
    }
    let pending = match ending::cause(seen) {
        Some(cause) => !ending::over(seen, cause),
        None => living::need(seen).is_some() || !living::retiring(seen).is_empty(),
    };
    if pending && seen.pass.proven_at.is_none() && seen.pass.revoked.is_empty() {
        (before.failures, before.last_failure.clone())
    } else {
        (0, None)
    }
}

/// After a failure: when the next try may start, and what people read until then.
pub(super) fn not_before(seen: &Seen) -> Option<(Timestamp, Stop)> {
    let status = &seen.object.status;
    let failure = status.last_failure.as_ref()?;
    if status.observed_generation != seen.object.generation {
        return None;
    }
    let reason = Reason::all()
        .iter()
        .copied()
        .find(|reason| reason.as_str() == failure.reason)?;
    let longest = match outlook(reason) {
        Outlook::Waits => backoff::LONGEST,
        Outlook::NeedsPerson => backoff::LONGEST.max(seen.base.resync),
    };
    let wait = backoff::wait(status.failures, longest, seen.object.uid.as_str());
    Some((
        after(failure.at.0, wait),
        Stop::new(reason, failure.message.clone()),
    ))
}

fn face(seen: &Seen) -> Face {
    let trouble = seen
        .pass
        .setback
        .as_ref()
        .map(|setback| setback.stop.clone());
    if let Some(cause) = ending::cause(seen) {
        return match ending::next(seen, cause) {
            _ if ending::over(seen, cause) || ended(seen, cause) => Face::Ended(end_of(cause)),
            Err(stop) => Face::Waits(trouble.unwrap_or(stop)),
            Ok(_) => Face::Waits(
                trouble
                    .or_else(|| not_before(seen).map(|(_, stop)| stop))
                    .map_or_else(
                        || Stop::plain(Reason::Revoking),
                        |stop| Stop::new(Reason::Revoking, stop.message),
                    ),
            ),
        };
    }
    let block = trouble.or_else(|| living::make(seen).err());
    match (living::current(seen), &seen.base.works) {
        (Some(_), Ok(())) => Face::Works(block.or_else(|| shortfall(seen))),
        (Some(_), Err(stop)) => Face::Waits(stop.clone()),
        (None, _) => Face::Waits(block.unwrap_or_else(|| Stop::plain(Reason::Minting))),
    }
}

/// Whether, in this very pass, nothing was found to be left.
fn ended(seen: &Seen, cause: ending::Cause) -> bool {
    !matches!(cause, ending::Cause::Deleted(_))
        && matches!(ending::next(seen, cause), Ok(Step::Record(_) | Step::Idle))
}

fn end_of(cause: ending::Cause) -> Stop {
    match cause {
        ending::Cause::Expired => Stop::plain(Reason::Expired),
        ending::Cause::Revoked | ending::Cause::Deleted(_) => Stop::plain(Reason::Revoked),
    }
}

/// What the living key lacks, although nothing can be made better now.
fn shortfall(seen: &Seen) -> Option<Stop> {
    let key = living::current(seen)?;
    let spec = &seen.object.spec;
    if spec.suspend {
        return Some(Stop::plain(Reason::Suspended));
    }
    let asked = after(key.created_at, spec.lifetime.as_ref()?.duration());
    let clipped = rotation::clearly_later(asked, key.expires_at) && !ends_with(seen);
    clipped.then(|| Stop::plain(Reason::LifetimeClipped))
}

fn findings(seen: &Seen, face: &Face) -> Vec<Finding> {
    let finding = |type_, status, stop: &Stop| Finding {
        type_,
        status,
        reason: stop.reason,
        message: stop.message.clone(),
        observed_generation: seen.object.generation,
    };
    match face {
        Face::Works(trouble) => {
            let secret = seen.object.secret_name();
            let ready = Stop::new(
                Reason::Ready,
                format!("Secret {secret} holds a key that works."),
            );
            let up_to_date = trouble.as_ref().map_or_else(
                || {
                    finding(
                        Type::UpToDate,
                        Status::True,
                        &Stop::new(Reason::Ready, "The key is the one that is wanted."),
                    )
                },
                |stop| finding(Type::UpToDate, Status::False, stop),
            );
            vec![finding(Type::Ready, Status::True, &ready), up_to_date]
        }
        Face::Waits(stop) => {
            let more = match outlook(stop.reason) {
                Outlook::Waits => Type::Reconciling,
                Outlook::NeedsPerson => Type::Stalled,
            };
            vec![
                finding(Type::Ready, Status::False, stop),
                finding(more, Status::True, stop),
            ]
        }
        Face::Ended(stop) => vec![
            finding(Type::Ready, Status::False, stop),
            finding(Type::Stalled, Status::True, stop),
        ],
    }
}

/// When to look again if nothing happens before: at the next date that changes something, and at
/// the latest after a resync.
pub(super) fn wake(seen: &Seen) -> Timestamp {
    let intent = seen.object.intent.ours();
    let key = living::current(seen);
    let asked = seen
        .pass
        .setback
        .as_ref()
        .and_then(super::Setback::asked_wait)
        .map(|wait| {
            let wait = wait.and_then(|wait| SignedDuration::try_from(wait).ok());
            after(seen.now, wait.unwrap_or(SignedDuration::from_secs(10)))
        });
    let failure = seen.pass.failure.map(|(count, at)| {
        after(
            at,
            backoff::wait(count, backoff::LONGEST, seen.object.uid.as_str()),
        )
    });
    let dates = [
        asked,
        failure,
        not_before(seen).map(|(until, _)| until),
        key.map(|key| living::rotate_at(seen, key)),
        key.map(|key| key.expires_at),
        intent.and_then(|intent| intent.ends_at),
        intent.map(|intent| after(intent.opened_at, LANDS_WITHIN)),
        seen.object.deleting.map(|since| after(since, LANDS_WITHIN)),
        seen.list
            .as_ref()
            .map(|list| after(list.began, seen.base.resync)),
        ending::removal(seen),
    ];
    let retiring = living::retiring(seen).into_iter().map(|key| key.revoke_at);
    let soonest = dates
        .into_iter()
        .flatten()
        .chain(retiring)
        .filter(|at| *at > seen.now)
        .min();
    let resync = after(seen.now, seen.base.resync);
    // One moment later, so that "strictly after" holds.
    after(
        soonest.map_or(resync, |at| at.min(resync)),
        SignedDuration::from_millis(1),
    )
}
