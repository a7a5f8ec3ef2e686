//! The mirror for people: status, its conditions, and when to look again.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Freshness, Seen, Setback, Step, ending, keys, living, making, restarting, timing};
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::api::{ApiKeyStatus, CurrentKey, LastFailure, RetiringKey, RotationMode, time};
use crate::plan::port::{Expiry, RemoteKey};
use crate::plan::record::{Retiring, Serial};
use crate::plan::rotation::{self, after};
use crate::plan::{LANDS_WITHIN, Outlook, Stop, backoff, outlook};

/// How long a server is left alone that asks for patience and does not say how long.
const SOON: SignedDuration = SignedDuration::from_secs(10);

/// A key that is not ended this long after its time is said to be overdue.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_mins(2);

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
pub(super) fn wanted(seen: &Seen) -> ApiKeyStatus {
    let before = &seen.object.status;
    let face = face(seen);
    let ended = matches!(face, Face::Ended(_));
    let living = ending::cause(seen).is_none();
    let (failures, last_failure) = failures(seen);
    let mut retiring = keys::retiring(seen);
    if living && seen.freshness == Freshness::Live {
        retiring.extend(keys::strays(seen));
        retiring.sort();
    }
    let current = current(seen).filter(|_| !ended);
    let retiring: Vec<RetiringKey> = retiring
        .iter()
        .filter(|_| !ended)
        .map(|key| mirror(seen, key))
        .collect();
    let mut findings = findings(seen, &face);
    findings.extend(overdue(seen, current.as_ref(), &retiring));
    ApiKeyStatus {
        observed_generation: seen.object.generation,
        conditions: conditions::merge(&before.conditions, &findings, seen.now),
        serial: keys::last_serial(seen)
            .map(Serial::number)
            .or(before.serial),
        secret_name: (!ended).then(|| seen.object.secret_name().to_owned()),
        requested_by: seen.object.requested_by.clone(),
        current,
        retiring,
        rotate_at: keys::current(seen)
            .filter(|_| living && !ends_with(seen))
            .map(|key| time(timing::rotate_at(seen, key))),
        last_handled_rotate: seen
            .secret
            .ours()
            .and_then(|held| held.rotate_handled.clone()),
        finished_at: ended.then(|| finished_at(seen)),
        failures,
        last_failure,
        restarted: restarting::restarted(seen),
    }
}

/// That a key's time is over, where the server lets it live until we revoke it.
fn overdue(seen: &Seen, current: Option<&CurrentKey>, retiring: &[RetiringKey]) -> Option<Finding> {
    if seen.base.expiry != Some(Expiry::None) {
        return None;
    }
    let ends = |id: &str, end: Option<&Time>| Some((end?.0, id.to_owned()));
    let current = current.and_then(|key| ends(&key.id, key.expires_at.as_ref()));
    let retiring = retiring
        .iter()
        .filter_map(|key| ends(&key.id, key.expires_at.as_ref()));
    let (end, id) = current
        .into_iter()
        .chain(retiring)
        .filter(|(end, _)| after(*end, OVERDUE_AFTER) <= seen.now)
        .min()?;
    let stop = seen.base.server.as_ref().err().cloned();
    let stop = stop.unwrap_or_else(|| Stop::plain(Reason::Revoking));
    Some(Finding {
        type_: Type::Overdue,
        status: Status::True,
        reason: stop.reason,
        message: format!(
            "The time of key {id} was over at {end}, and the server takes it until it is revoked. {}",
            stop.message
        ),
        observed_generation: seen.object.generation,
    })
}

/// Since when it has ended.
fn finished_at(seen: &Seen) -> Time {
    let before = seen.object.status.finished_at.clone();
    before
        .filter(|_| ending::cause(seen).is_some_and(|cause| ending::finished(seen, cause)))
        .unwrap_or_else(|| time(seen.now))
}

/// Whether the living key is the last one.
fn ends_with(seen: &Seen) -> bool {
    seen.object.spec.rotation.mode == RotationMode::Never
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
        expires_at: Some(time(keys::ends_at(seen, key))),
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
    let listed: Option<&RemoteKey> = keys::own(seen)
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

/// The count of failures in a row. It stays until what failed is done, is not to be done any more,
/// or the spec changes.
fn failures(seen: &Seen) -> (u32, Option<LastFailure>) {
    let before = &seen.object.status;
    if let (Some((count, at)), Some(setback)) = (seen.pass.failure, setback(seen)) {
        let failure = LastFailure {
            reason: setback.stop.reason.as_str().to_owned(),
            message: conditions::one_line(&setback.stop.message),
            at: time(at),
        };
        return (count, Some(failure));
    }
    if before.last_failure.is_some() && spec_is_known(seen) && outstanding(seen) {
        (before.failures, before.last_failure.clone())
    } else {
        (0, None)
    }
}

/// Whether something is still to be done, or stands against it.
fn outstanding(seen: &Seen) -> bool {
    match ending::cause(seen) {
        Some(cause) => !ended(seen, cause),
        None => living::effect(seen).is_some() || making::make(seen).is_err(),
    }
}

/// What went wrong with something that is still to be done. What another leader has done meanwhile is
/// not told as a failure of ours: two would contradict each other without end.
fn setback(seen: &Seen) -> Option<&Setback> {
    seen.pass.setback.as_ref().filter(|_| outstanding(seen))
}

/// Whether the status speaks of the spec as it is.
pub(super) fn spec_is_known(seen: &Seen) -> bool {
    seen.object.status.observed_generation == seen.object.generation
}

/// When the next try may start after a failure, and what people read until then. A failure of the
/// future is not believed: the clock was set back.
fn not_before(seen: &Seen) -> Option<(Timestamp, Stop)> {
    let status = &seen.object.status;
    let failure = status
        .last_failure
        .as_ref()
        .filter(|failure| failure.at.0 <= seen.now && spec_is_known(seen))?;
    let reason = Reason::all()
        .iter()
        .copied()
        .find(|reason| reason.as_str() == failure.reason)?;
    let until = after(failure.at.0, wait(seen, reason, status.failures));
    Some((until, Stop::new(reason, failure.message.clone())))
}

/// What people read while a failure is waited out.
pub(super) fn patience(seen: &Seen) -> Option<Stop> {
    let (until, stop) = not_before(seen)?;
    (seen.now < until).then_some(stop)
}

/// How long to wait after so many failures, the last of which had this reason.
fn wait(seen: &Seen, reason: Reason, failures: u32) -> SignedDuration {
    let longest = match outlook(reason) {
        Outlook::Waits => backoff::LONGEST,
        Outlook::NeedsPerson => backoff::LONGEST.max(seen.base.resync),
    };
    backoff::wait(failures, longest, seen.object.uid.as_str())
}

fn face(seen: &Seen) -> Face {
    let setback = setback(seen).map(|setback| setback.stop.clone());
    if let Some(cause) = ending::cause(seen) {
        if ended(seen, cause) {
            return Face::Ended(end_of(cause));
        }
        let stop = setback
            .or_else(|| ending::next(seen, cause).err())
            .or_else(|| patience(seen))
            .unwrap_or_else(|| Stop::plain(Reason::Revoking));
        return Face::Waits(Stop::new(Reason::Revoking, stop.message));
    }
    let block = setback
        .or_else(|| making::make(seen).err())
        .or_else(|| patience(seen).filter(|_| living::effect(seen).is_some()));
    match (keys::current(seen), &seen.base.works) {
        (Some(_), Ok(())) => Face::Works(block.or_else(|| shortfall(seen))),
        (Some(_), Err(stop)) => Face::Waits(stop.clone()),
        (None, _) => Face::Waits(block.unwrap_or_else(|| Stop::plain(Reason::Minting))),
    }
}

/// Whether nothing is left, as was found before or is found now.
fn ended(seen: &Seen, cause: ending::Cause) -> bool {
    let found = seen.freshness == Freshness::Live && ending::next(seen, cause) == Ok(None);
    ending::finished(seen, cause) || (found && !matches!(cause, ending::Cause::Deleted(_)))
}

fn end_of(cause: ending::Cause) -> Stop {
    match cause {
        ending::Cause::Expired => Stop::plain(Reason::Expired),
        ending::Cause::Revoked | ending::Cause::Deleted(_) => Stop::plain(Reason::Revoked),
    }
}

/// What the living key lacks, although nothing can be made better now.
fn shortfall(seen: &Seen) -> Option<Stop> {
    let key = keys::current(seen)?;
    let spec = &seen.object.spec;
    if spec.suspend {
        return Some(Stop::plain(Reason::Suspended));
    }
    if let Err(stop) = timing::windows(seen) {
        return Some(stop);
    }
    if let Some(stop) = restarting::refused(seen) {
        return Some(stop.clone());
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

/// When to look whether the Secret that is to be adopted is offered meanwhile: no watch shows it.
fn offer(seen: &Seen) -> Option<Timestamp> {
    let waits = seen.object.spec.secret.adopt && seen.secret.ours().is_none();
    waits.then(|| after(seen.now, backoff::LONGEST))
}

/// When to look again if nothing happens before: at the next date that changes something, and at
/// the latest after a resync.
pub(super) fn wake(seen: &Seen) -> Timestamp {
    let intent = seen.object.intent.ours();
    let key = keys::current(seen);
    let setback = setback(seen);
    let asked = setback.and_then(Setback::asked_wait).map(|wait| {
        let wait = wait.and_then(|wait| SignedDuration::try_from(wait).ok());
        after(seen.now, wait.unwrap_or(SOON))
    });
    let failed = setback
        .zip(seen.pass.failure)
        .map(|(setback, (count, at))| after(at, wait(seen, setback.stop.reason, count)));
    let dates = [
        asked
            .filter(|_| failed.is_none())
            .or(failed)
            .map(|at| at.max(seen.now)),
        seen.pass.blind.then(|| after(seen.now, backoff::LONGEST)),
        not_before(seen).map(|(until, _)| until),
        key.map(|key| timing::wakes_at(seen, key))
            .filter(|at| *at > seen.now),
        key.map(|key| keys::ends_at(seen, key)),
        timing::never_ends(seen),
        intent.map(keys::landed),
        making::need(seen).and_then(|need| making::paced(seen, need)),
        restarting::due(seen),
        offer(seen),
        seen.object.deleting.map(|since| after(since, LANDS_WITHIN)),
        keys::list(seen).map(|list| after(list.began, seen.base.resync)),
        ending::removal(seen),
    ];
    let retiring = keys::retiring(seen).into_iter().map(|key| key.revoke_at);
    let soonest = dates
        .into_iter()
        .flatten()
        .chain(retiring)
        .filter(|at| *at >= seen.now)
        .min();
    let resync = after(seen.now, seen.base.resync);
    // One moment later, so that "strictly after" holds.
    after(
        soonest.map_or(resync, |at| at.min(resync)),
        SignedDuration::from_millis(1),
    )
}
