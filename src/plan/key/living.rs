//! A key that is wanted.

use jiff::{SignedDuration, Timestamp};

use super::{
    Amendment, Attempt, Dress, Errand, Finalizer, Freshness, IntentSeen, Publication, Published,
    Secret, Seen, Setback, Stage, Step, Why, status,
};
use crate::api::conditions::Reason;
use crate::api::{ApiKeySpec, RenewBefore, RotationMode};
use crate::plan::fault::Retry;
use crate::plan::marker::{self, Marker, NamespaceHash, Words};
use crate::plan::port::{Expiry, KeyId, NewKey, Order, RemoteKey};
use crate::plan::record::{Intent, Retiring, Serial};
use crate::plan::rotation::{self, Occasion, after};
use crate::plan::{LANDS_WITHIN, PUBLISH_WITHIN, REVOKE_AFTER, SEND_WITHIN, STRAY_AFTER, Stop};

/// How many replaced keys rotation leaves alive; the next rotation waits for one to go.
const MOST_RETIRING: usize = 3;
/// The server's creation date of a key and the beginning of a list come from two clocks.
const CLOCKS: SignedDuration = SignedDuration::from_secs(60);

/// The next step for an ApiKey that is wanted.
pub(super) fn step(seen: &Seen) -> Step {
    if let Some(attempt) = &seen.pass.attempt {
        return go_on(seen, attempt);
    }
    if seen.pass.setback.is_none() {
        let next = guard(seen)
            .or_else(|| mirror(seen))
            .or_else(|| retire(seen))
            .or_else(|| make(seen).unwrap_or_default())
            .or_else(|| dress(seen))
            .or_else(|| look(seen))
            .or_else(|| sweep(seen));
        if let Some(step) = next {
            return step;
        }
    }
    status::record(seen).unwrap_or(Step::Idle)
}

/// The next step of an attempt of this pass.
fn go_on(seen: &Seen, attempt: &Attempt) -> Step {
    let Attempt { intent, stage } = attempt;
    let revoke = |id: &KeyId| match seen.freshness {
        Freshness::Cached => Step::Refresh,
        Freshness::Live => Step::Revoke {
            id: id.clone(),
            why: Why::Unwanted,
        },
    };
    match stage {
        Stage::Opened => Step::Rehearse,
        Stage::Rehearsed(_) if seen.now > after(intent.opened_at, SEND_WITHIN) => open(seen),
        Stage::Rehearsed(errand) => Step::Mint(errand.order.clone()),
        Stage::Minted(_) => Step::Prove,
        Stage::Proven(key) if seen.now <= after(intent.opened_at, PUBLISH_WITHIN) => {
            Step::Publish(publication(seen, intent, key))
        }
        Stage::Proven(key) => revoke(&key.id),
        Stage::Unwanted(id, _) => revoke(id),
    }
}

/// Puts back what `kubectl replace` drops, and keeps the end of a `Never` key.
fn guard(seen: &Seen) -> Option<Step> {
    let intent = seen.object.intent.ours();
    let has_had = intent.is_some() || has_had_key(seen);
    let moved_end = intent.and_then(|intent| {
        let ends_at = never_ends_at(seen)?;
        let moved = intent.ends_at != Some(ends_at);
        moved.then(|| Intent {
            ends_at: Some(ends_at),
            ..intent.clone()
        })
    });
    let missing = seen.object.finalizer == Finalizer::Missing && has_had;
    (missing || moved_end.is_some()).then_some(Step::Guard { intent: moved_end })
}

/// The end that a living key gives an ApiKey with `rotation.mode: Never`.
fn never_ends_at(seen: &Seen) -> Option<Timestamp> {
    let spec = &seen.object.spec;
    let key = current(seen)?;
    let lifetime = spec.lifetime.as_ref()?.duration();
    if spec.rotation.mode != RotationMode::Never {
        return None;
    }
    match seen.object.intent.ours()?.ends_at {
        // Neither a replacement nor an edit extends the end; a shorter lifetime brings it nearer.
        Some(end) => Some(end.min(after(key.created_at, lifetime))),
        None => Some(after(key.created_at, lifetime)),
    }
}

/// After a crash, what the Secret says is recorded before anything rests on it.
fn mirror(seen: &Seen) -> Option<Step> {
    let published = seen.secret.published()?;
    let status = seen.object.status.current.as_ref();
    let known = status.is_some_and(|key| key.nonce == published.nonce.as_str());
    if known { None } else { status::record(seen) }
}

/// Revokes one replaced key whose time has come.
///
/// It must have been listed with our marker, beside the living key that the Secret holds, so that
/// neither a forged status nor forged annotations can end a key that consumers use.
fn retire(seen: &Seen) -> Option<Step> {
    let current = current(seen)?;
    let due = retiring(seen)
        .into_iter()
        .find(|key| key.revoke_at <= seen.now && key.id != current.id)?;
    seen.base.server.as_ref().ok()?;
    if !listed(seen, current.id.as_str()) || !listed(seen, due.id.as_str()) {
        return None;
    }
    Some(match seen.freshness {
        Freshness::Cached => Step::Refresh,
        Freshness::Live => Step::Revoke {
            id: due.id,
            why: Why::Retired,
        },
    })
}

/// Why another key is wanted than the one that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// There never was one.
    First,
    /// There is none that works: the Secret or the key is gone, or the key has expired.
    Lost,
    /// The one that there is works, but is to be replaced.
    Renewal,
}

/// Why another key is wanted, if one is.
pub(super) fn need(seen: &Seen) -> Option<Need> {
    let Some(key) = current(seen) else {
        return Some(if has_had_key(seen) {
            Need::Lost
        } else {
            Need::First
        });
    };
    let spec = &seen.object.spec;
    let handled = seen
        .secret
        .ours()
        .and_then(|held| held.rotate_handled.as_ref());
    let requested = seen.object.rotate.is_some() && seen.object.rotate.as_ref() != handled;
    let reshaped = key.shape != seen.object.shape;
    let renewal =
        requested || reshaped || lives_too_long(seen, key) || seen.now >= rotate_at(seen, key);
    // A key that would end no later than the present one is not worth a rotation.
    let gains = requested
        || reshaped
        || wanted_end(seen, Occasion::Replacement, seen.now).is_ok_and(|end| {
            rotation::clearly_later(end.at, key.expires_at) || lives_too_long(seen, key)
        });
    let ends = spec.rotation.mode == RotationMode::Never
        && seen
            .object
            .intent
            .ours()
            .and_then(|intent| intent.ends_at)
            .is_some_and(|end| !rotation::clearly_later(end, key.expires_at));
    (renewal && gains && !(ends && !requested && !reshaped)).then_some(Need::Renewal)
}

/// Whether a key lives longer than its manifest, as it is now, allows.
fn lives_too_long(seen: &Seen, key: &Published) -> bool {
    seen.object.spec.lifetime.as_ref().is_some_and(|lifetime| {
        rotation::clearly_later(key.expires_at, after(key.created_at, lifetime.duration()))
    })
}

/// How long before its end the manifest wants a key replaced.
fn before(seen: &Seen) -> Option<rotation::Before> {
    seen.object
        .spec
        .rotation
        .renew_before
        .as_ref()
        .map(|before| match before {
            RenewBefore::Period(period) => rotation::Before::Period(period.duration()),
            RenewBefore::Percent(percent) => rotation::Before::Percent(*percent),
        })
}

/// The sentence for a Secret that is not ours.
pub(super) fn secret_conflict(seen: &Seen, why: &str) -> Stop {
    let name = seen.object.secret_name();
    Stop::new(
        Reason::SecretConflict,
        format!(
            "Secret {name} is not this ApiKey's: {why}. Delete that Secret, or name another one in a new ApiKey."
        ),
    )
}

/// When the living key is due for replacement.
pub(super) fn rotate_at(seen: &Seen, key: &Published) -> Timestamp {
    rotation::due(key.created_at, key.expires_at, before(seen))
}

/// The key that the Secret holds, as long as nothing speaks against it.
pub(super) fn current(seen: &Seen) -> Option<&Published> {
    let key = seen.secret.published()?;
    let elsewhere = seen
        .base
        .account
        .as_ref()
        .is_some_and(|account| *account != key.account)
        || seen
            .base
            .server
            .as_ref()
            .is_ok_and(|server| server.identity != key.server);
    let expired = key.expires_at <= seen.now;
    let gone = seen.list.as_ref().is_some_and(|list| {
        list.began > after(key.created_at, CLOCKS) && !listed(seen, key.id.as_str())
    });
    let revoked = seen.pass.revoked.contains(&key.id);
    (!elsewhere && !expired && !gone && !revoked).then_some(key)
}

/// Whether the list at hand shows this key as ours.
pub(super) fn listed(seen: &Seen, id: &str) -> bool {
    own(seen).any(|(key, _)| key.id.as_str() == id)
}

/// This ApiKey's keys in the list at hand, but for those that this pass has revoked.
pub(super) fn own(seen: &Seen) -> impl Iterator<Item = (&RemoteKey, Marker)> {
    seen.list
        .iter()
        .flat_map(|list| &list.keys)
        .filter_map(|key| {
            let marker = seen.claim.marker_of(key, &seen.object.uid)?;
            (!seen.pass.revoked.contains(&key.id)).then_some((key, marker))
        })
}

/// Whether this ApiKey has had a key before, as far as anything tells.
fn has_had_key(seen: &Seen) -> bool {
    let status = &seen.object.status;
    seen.secret.ours().is_some() || status.serial.is_some() || status.current.is_some()
}

/// Opens an attempt when a key is wanted and nothing stands against it. `Err` says what does.
pub(super) fn make(seen: &Seen) -> Result<Option<Step>, Stop> {
    let Some(need) = need(seen) else {
        return Ok(None);
    };
    permitted(seen, need)?;
    if let Some(step) = earlier_attempt(seen)? {
        return Ok(Some(step));
    }
    let refused_before = seen
        .object
        .status
        .last_failure
        .as_ref()
        .is_some_and(|failure| {
            [Reason::SecretRefused, Reason::SecretConflict]
                .iter()
                .any(|reason| reason.as_str() == failure.reason)
        });
    // What was refused before is tried without an attempt first, so that trying again writes nothing.
    if refused_before && !seen.pass.rehearsed {
        return Ok(Some(Step::Rehearse));
    }
    Ok(Some(open(seen)))
}

/// What stands against a new key, in the order in which people should hear of it.
fn permitted(seen: &Seen, need: Need) -> Result<(), Stop> {
    let Seen { object, base, .. } = seen;
    let spec = &object.spec;
    if spec.suspend {
        return Err(Stop::plain(Reason::Suspended));
    }
    if let Some(what) = not_supported_yet(spec) {
        return Err(Stop::new(
            Reason::NotSupportedYet,
            format!(
                "This version does not serve {what} yet. Leave it out, or update the operator."
            ),
        ));
    }
    if [&spec.purpose, &spec.on_behalf_of]
        .into_iter()
        .flatten()
        .any(|text| marker::looks_like_token(text))
    {
        return Err(Stop::new(
            Reason::Invalid,
            "spec.purpose and spec.onBehalfOf may not contain `ako1.`, which marks the operator's own tokens. Take it out.",
        ));
    }
    match &seen.secret {
        Secret::Foreign(why) => return Err(secret_conflict(seen, why)),
        Secret::Ours(held) if held.deleting => {
            return Err(Stop::new(
                Reason::SecretConflict,
                format!(
                    "Secret {} is being deleted, and somebody's finalizer holds it. Remove that finalizer.",
                    object.secret_name()
                ),
            ));
        }
        Secret::Ours(_) | Secret::Absent => {}
    }
    if let Err(why) = &object.templates {
        return Err(Stop::new(
            Reason::TemplateFailed,
            format!("{why}. Correct spec.secret.data."),
        ));
    }
    base.mint.clone()?;
    base.server.as_ref().map_err(Clone::clone)?;
    if base.account.is_none() {
        return Err(Stop::plain(Reason::WaitingForAccount));
    }
    let occasion = if need == Need::First {
        Occasion::First
    } else {
        Occasion::Replacement
    };
    let end = wanted_end(seen, occasion, seen.now)?;
    if end.at <= seen.now {
        return Err(end
            .clipped
            .unwrap_or_else(|| Stop::plain(Reason::LifetimeClipped)));
    }
    let waiting = retiring(seen).len();
    if need == Need::Renewal && waiting >= MOST_RETIRING {
        return Err(Stop::new(
            Reason::Minting,
            format!(
                "{waiting} replaced keys still live through their overlap; the rotation waits for one of them to end."
            ),
        ));
    }
    patience(seen)
}

/// What a manifest asks for that this version does not serve yet.
fn not_supported_yet(spec: &ApiKeySpec) -> Option<&'static str> {
    [
        (!spec.rotation.windows.is_empty(), "spec.rotation.windows"),
        (spec.secret.keep_previous, "spec.secret.keepPrevious"),
        (spec.secret.adopt, "spec.secret.adopt"),
        (!spec.restart.is_empty(), "spec.restart"),
        (spec.stack_storm.is_some(), "spec.stackStorm"),
        (spec.elasticsearch.is_some(), "spec.elasticsearch"),
    ]
    .into_iter()
    .find_map(|(asked, what)| asked.then_some(what))
}

/// The end that a key made now would have.
pub(super) fn wanted_end(
    seen: &Seen,
    occasion: Occasion,
    from: Timestamp,
) -> Result<rotation::End, Stop> {
    let spec = &seen.object.spec;
    let never = spec.rotation.mode == RotationMode::Never;
    let limit = seen
        .object
        .intent
        .ours()
        .and_then(|intent| intent.ends_at)
        .filter(|_| never);
    let wish = spec.lifetime.as_ref().map(crate::api::Period::duration);
    rotation::end(wish, limit, &seen.base.bounds, occasion, from)
}

/// After a failure, the time that must pass first; a changed spec does not wait.
fn patience(seen: &Seen) -> Result<(), Stop> {
    match status::not_before(seen) {
        Some((until, stop)) if seen.now < until => Err(stop),
        Some(_) | None => Ok(()),
    }
}

/// What an earlier attempt still demands before the next may be opened.
fn earlier_attempt(seen: &Seen) -> Result<Option<Step>, Stop> {
    let Some(intent) = seen.object.intent.ours() else {
        // No intent, or a void one, on an object that has had a key: only a list tells which
        // serials were used.
        let recent = after(seen.pass.began, -CLOCKS);
        let unknown = has_had_key(seen) || seen.object.intent == IntentSeen::Void;
        let stale = seen.list.as_ref().is_none_or(|list| list.began <= recent);
        return Ok((unknown && stale).then_some(Step::Look { newer_than: recent }));
    };
    if complete(seen, intent) {
        return Ok(None);
    }
    let landed = after(intent.opened_at, LANDS_WITHIN);
    if seen.now <= landed {
        return Err(Stop::new(
            Reason::Minting,
            "An earlier attempt got no answer and may still land on the server; the next one starts within a minute.",
        ));
    }
    let knows = seen.list.as_ref().is_some_and(|list| list.began > landed);
    Ok((!knows).then_some(Step::Look { newer_than: landed }))
}

/// Whether nothing of this attempt can happen any more.
pub(super) fn complete(seen: &Seen, intent: &Intent) -> bool {
    let published = seen
        .secret
        .published()
        .is_some_and(|key| key.serial >= intent.serial);
    let recorded = seen
        .object
        .status
        .current
        .as_ref()
        .is_some_and(|key| key.nonce == intent.nonce.as_str());
    published || recorded || seen.settled.as_ref() == Some(&intent.nonce)
}

/// The step that opens the next attempt.
fn open(seen: &Seen) -> Step {
    let spec = &seen.object.spec;
    let before = seen.object.intent.ours().and_then(|intent| intent.ends_at);
    let ends_at = (spec.rotation.mode == RotationMode::Never).then(|| {
        before.unwrap_or_else(|| {
            wanted_end(seen, Occasion::Replacement, seen.now).map_or(Timestamp::MAX, |end| end.at)
        })
    });
    Step::Open(Intent {
        uid: seen.object.uid.clone(),
        serial: last_serial(seen).map_or(Serial::FIRST, Serial::next),
        nonce: seen.nonce.clone(),
        opened_at: seen.now,
        ends_at,
    })
}

/// The greatest serial that anything speaks of.
pub(super) fn last_serial(seen: &Seen) -> Option<Serial> {
    let intent = seen.object.intent.ours().map(|intent| intent.serial);
    let secret = seen.secret.published().map(|key| key.serial);
    let status = seen.object.status.serial.and_then(Serial::from_number);
    let listed = own(seen).map(|(_, marker)| marker.serial).max();
    [intent, secret, status, listed].into_iter().flatten().max()
}

/// The key that this attempt asks for, and from which server.
pub(super) fn errand(seen: &Seen, intent: &Intent) -> Result<Errand, Stop> {
    let (object, base) = (&seen.object, &seen.base);
    let server = base.server.as_ref().map_err(Clone::clone)?;
    let account = base
        .account
        .clone()
        .ok_or_else(|| Stop::plain(Reason::WaitingForAccount))?;
    let end = wanted_end(seen, Occasion::Replacement, intent.opened_at)?;
    let words = Words {
        purpose: object.spec.purpose.as_deref(),
        on_behalf_of: object.spec.on_behalf_of.as_deref(),
        requested_by: object.requested_by.as_deref(),
        home: &format!("{}/{}", object.namespace, object.name),
    };
    let text = marker::text(words, &mark(seen, intent), server.ability.marker_chars);
    let send_by = after(intent.opened_at, SEND_WITHIN);
    let order = Order {
        account,
        text,
        expires_at: end.at,
        send_by,
    };
    Ok(Errand {
        order,
        server: server.identity.clone(),
    })
}

/// The marker of this attempt.
pub(super) fn mark(seen: &Seen, intent: &Intent) -> Marker {
    Marker {
        installation: seen.claim.installation.clone(),
        namespace: NamespaceHash::of(&seen.object.namespace),
        uid: seen.object.uid.clone(),
        serial: intent.serial,
        nonce: intent.nonce.clone(),
    }
}

/// Why a key that the server has just made is not to be published, if it is not.
pub(super) fn unwanted(
    seen: &Seen,
    intent: &Intent,
    errand: &Errand,
    key: &NewKey,
) -> Option<Setback> {
    let refuse = |message: &str| {
        let message = format!(
            "{message} The key was revoked. {}",
            Reason::ProtocolError.fix()
        );
        Some(Setback::refused(
            Stop::new(Reason::ProtocolError, message),
            Retry::Backoff,
        ))
    };
    if marker::parse(&key.text).as_ref() != Some(&mark(seen, intent)) {
        return refuse("The server made a key whose text is not the one that was asked for.");
    }
    let ordered = errand.order.expires_at;
    match key.expires_at {
        Some(stored) if !rotation::clearly_later(stored, ordered) && stored > seen.now => None,
        Some(_) => {
            refuse("The server made a key with another end than the one that was asked for.")
        }
        None => match seen
            .base
            .server
            .as_ref()
            .map(|server| server.ability.expiry)
        {
            Ok(Expiry::Native) => refuse("The server made a key that never ends."),
            Ok(Expiry::None) | Err(_) => None,
        },
    }
}

/// What is written to the Secret for this key.
fn publication(seen: &Seen, intent: &Intent, key: &Published) -> Publication {
    let earliest = after(intent.opened_at, REVOKE_AFTER);
    let overlap = seen.object.spec.rotation.overlap.duration();
    let mut replaced = retiring(seen);
    let predecessor = current(seen)
        .filter(|old| old.installation == seen.claim.installation)
        .map(|old| (old.serial, old.id.clone(), old.expires_at));
    if let Some((serial, id, expires_at)) = predecessor.or_else(|| mirrored_predecessor(seen))
        && replaced.iter().all(|key| key.id != id)
    {
        let revoke_at = after(seen.now, overlap).min(expires_at).max(earliest);
        replaced.push(Retiring {
            serial,
            id,
            revoke_at,
        });
    }
    Publication {
        published: key.clone(),
        retiring: replaced,
        rotate_handled: seen.object.rotate.clone(),
    }
}

/// The key that status remembers, when the Secret that held it is gone.
fn mirrored_predecessor(seen: &Seen) -> Option<(Serial, KeyId, Timestamp)> {
    if seen.secret.published().is_some() {
        return None;
    }
    let old = seen.object.status.current.as_ref()?;
    let serial = Serial::from_number(old.serial)?;
    let expires_at = old
        .expires_at
        .as_ref()
        .map_or(Timestamp::MAX, |time| time.0);
    Some((serial, KeyId::new(&old.id), expires_at))
}

/// The replaced keys that still live, as Secret and status remember them.
pub(super) fn retiring(seen: &Seen) -> Vec<Retiring> {
    let held = seen.secret.ours();
    let published = held.and_then(|held| held.published.as_ref());
    let status = &seen.object.status;
    // Once status has taken the Secret's key over, a replaced key that it no longer names is
    // revoked; only a list that still shows it says otherwise.
    let mirrored = published.is_some_and(|key| {
        status
            .current
            .as_ref()
            .is_some_and(|mirror| mirror.nonce == key.nonce.as_str())
    });
    let from_secret = held
        .into_iter()
        .flat_map(|held| &held.retiring)
        .filter(|key| !mirrored || listed(seen, key.id.as_str()))
        .cloned();
    let from_status = status.retiring.iter().filter_map(|key| {
        Some(Retiring {
            serial: Serial::from_number(key.serial)?,
            id: KeyId::new(&key.id),
            revoke_at: key.revoke_at.0,
        })
    });
    let mut keys: Vec<Retiring> = Vec::new();
    for key in from_secret.chain(from_status) {
        let is_current = published.is_some_and(|current| current.id == key.id);
        let known = keys.iter().any(|other| other.id == key.id);
        if !is_current && !known && !seen.pass.revoked.contains(&key.id) && !gone(seen, &key) {
            keys.push(key);
        }
    }
    keys.sort();
    keys
}

/// Whether a list that must know this replaced key does not show it.
fn gone(seen: &Seen, key: &Retiring) -> bool {
    let successor = seen.secret.published().map(|key| key.created_at);
    let knows = successor
        .zip(seen.list.as_ref())
        .is_some_and(|(successor, list)| list.began > after(successor, CLOCKS));
    knows && !listed(seen, key.id.as_str())
}

/// Our keys that nothing records, old enough to be retired.
pub(super) fn strays(seen: &Seen) -> Vec<Retiring> {
    let (Some(list), Some(current), Ok(server)) = (&seen.list, current(seen), &seen.base.server)
    else {
        return Vec::new();
    };
    if !listed(seen, current.id.as_str()) {
        return Vec::new();
    }
    let recorded = retiring(seen);
    let overlap = seen.object.spec.rotation.overlap.duration();
    own(seen)
        .filter(|(key, _)| key.id != current.id && recorded.iter().all(|known| known.id != key.id))
        .filter(|(key, _)| list.began >= after(after(key.created_at, -server.skew), STRAY_AFTER))
        .map(|(key, marker)| Retiring {
            serial: marker.serial,
            id: key.id.clone(),
            revoke_at: after(seen.now, overlap),
        })
        .collect()
}

/// Reads the objects after the list before a stray is called one.
fn sweep(seen: &Seen) -> Option<Step> {
    (!strays(seen).is_empty() && seen.freshness == Freshness::Cached).then_some(Step::Refresh)
}

/// Puts labels and annotations right.
fn dress(seen: &Seen) -> Option<Step> {
    let held = seen.secret.ours()?;
    let untidy = held.dress == Dress::Untidy && !held.deleting && !seen.object.spec.suspend;
    untidy.then_some(Step::Amend(Amendment::Dress))
}

/// Asks for a list when the last is older than the resync allows.
fn look(seen: &Seen) -> Option<Step> {
    seen.base.server.as_ref().ok()?;
    seen.base.account.as_ref()?;
    let key = current(seen)?;
    let newer_than = after(seen.now, -seen.base.resync);
    let last = seen
        .list
        .as_ref()
        .map_or(key.created_at, |list| list.began.max(key.created_at));
    let due = retiring(seen)
        .iter()
        .any(|key| key.revoke_at <= seen.now && !listed(seen, key.id.as_str()));
    let unlisted = due
        && seen
            .list
            .as_ref()
            .is_none_or(|list| list.began <= after(key.created_at, CLOCKS));
    if unlisted && seen.now > after(key.created_at, CLOCKS) {
        return Some(Step::Look {
            newer_than: after(key.created_at, CLOCKS),
        });
    }
    (last <= newer_than).then_some(Step::Look { newer_than })
}
