//! Making a key: whether one is wanted, what stands against it, the attempt, and what is asked of
//! the server.

use jiff::{SignedDuration, Timestamp};

use super::keys::{CLOCKS, complete, current, had_attempt, had_key, landed, list};
use super::{IntentSeen, Published, Secret, Seen, Step, adjusting, keys, minting, timing};
use crate::api::conditions::Reason;
use crate::api::{Period, RotationMode, annotation};
use crate::plan::Stop;
use crate::plan::marker;
use crate::plan::record::{Intent, Retiring, Serial};
use crate::plan::rotation::{self, Occasion, after};

/// How many replaced keys rotation leaves alive; the next rotation waits for one to go.
const MOST_RETIRING: usize = 3;

/// How much longer each further loss of a key waits.
const LOSS: SignedDuration = SignedDuration::from_mins(5);
/// The longest wait: whoever leaves keys on the server that look like ours shall not stop us.
const LONGEST_LOSS: SignedDuration = SignedDuration::from_hours(2);

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
        return Some(if had_key(seen) {
            Need::Lost
        } else {
            Need::First
        });
    };
    (asked_for(seen, key) || timing::worn(seen, key)).then_some(Need::Renewal)
}

/// Whether somebody asks for another key: by the annotation, or by what the Secret shall hold.
fn asked_for(seen: &Seen, key: &Published) -> bool {
    let asked = seen.object.rotate.as_ref();
    let handled = seen
        .secret
        .ours()
        .and_then(|held| held.rotate_handled.as_ref());
    asked.is_some() && asked != handled || key.shape != seen.object.shape
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
    // What was refused before is tried without an attempt first, so that trying again writes
    // nothing on the ApiKey.
    let refused = [Reason::SecretRefused, Reason::SecretConflict].map(Reason::as_str);
    let failure = seen.object.status.last_failure.as_ref();
    let refused_before = failure.is_some_and(|failure| refused.contains(&failure.reason.as_str()));
    if refused_before && !seen.pass.rehearsed {
        return Ok(Some(minting::rehearsal(seen, &next_attempt(seen))));
    }
    Ok(Some(open(seen)))
}

/// What stands against a new key, in the order in which people should hear of it.
fn permitted(seen: &Seen, need: Need) -> Result<(), Stop> {
    let Seen { object, base, .. } = seen;
    if object.spec.suspend {
        return Err(Stop::plain(Reason::Suspended));
    }
    sensible(seen)?;
    if need == Need::First {
        timing::windows(seen)?;
    }
    secret_is_free(seen)?;
    if let Err(why) = &object.templates {
        let message = format!("{why}. Correct spec.secret.data.");
        return Err(Stop::new(Reason::TemplateFailed, message));
    }
    may_be_made(seen, need)?;
    base.server.as_ref().map_err(Clone::clone)?;
    if base.account.is_none() {
        return Err(Stop::plain(Reason::WaitingForAccount));
    }
    let occasion = match need {
        Need::First => Occasion::First,
        Need::Lost | Need::Renewal => Occasion::Replacement,
    };
    let end = wanted_end(seen, occasion, seen.now)?;
    if end.at <= seen.now {
        let clipped = end.clipped;
        return Err(clipped.unwrap_or_else(|| Stop::plain(Reason::LifetimeClipped)));
    }
    if let Some(until) = paced(seen, need).filter(|until| seen.now < *until) {
        let (what, fix) = if adrift(seen) > 0 {
            (
                "Keys were made again and again of which no usable answer came, and they still live",
                "Look what stands between the operator and the server.",
            )
        } else {
            (
                "The key was lost again and again, and the lost ones still live through their overlap",
                "Find out who deletes the Secret; setting spec.revoked to true and back to false ends them all and makes a new one at once.",
            )
        };
        let until = crate::api::time(until).0;
        let why = format!("{what}: the next is made at {until}. {fix}");
        return Err(Stop::new(Reason::Minting, why));
    }
    let waiting = keys::in_secret(seen);
    let lives = |key: &&Retiring| !keys::has_expired(seen, &key.id);
    let waiting = waiting.iter().filter(lives).count();
    if need == Need::Renewal && waiting >= MOST_RETIRING {
        return Err(Stop::new(
            Reason::Minting,
            format!(
                "{waiting} replaced keys still live through their overlap; the rotation waits for one of them to end."
            ),
        ));
    }
    Ok(())
}

/// When the next key may be made where many live already that serve nobody: whoever takes the Secret
/// away again and again, or lets no answer through, shall not fill the server with keys. From the third
/// one on each waits longer.
pub(super) fn paced(seen: &Seen, need: Need) -> Option<Timestamp> {
    let opened_at = keys::attempt(seen)?.opened_at;
    let replaced = keys::retiring(seen);
    let lost = replaced.iter().filter(|key| key.revoke_at > seen.now);
    let lost = lost.filter(|_| need != Need::Renewal).count();
    let beyond = (lost + adrift(seen)).checked_sub(MOST_RETIRING - 1);
    let beyond = i32::try_from(beyond.filter(|n| *n > 0)?).unwrap_or(i32::MAX);
    let wait = LOSS.saturating_mul(beyond).min(LONGEST_LOSS);
    Some(after(opened_at, wait))
}

/// How many keys of this ApiKey live that neither its Secret nor its status knows.
fn adrift(seen: &Seen) -> usize {
    let recorded = keys::retiring(seen);
    let current = seen.secret.published();
    keys::own(seen)
        .filter(|(key, _)| current.is_none_or(|current| current.id != key.id))
        .filter(|(key, _)| recorded.iter().all(|known| known.id != key.id))
        .filter(|(key, _)| key.expires_at.is_none_or(|end| end > seen.now))
        .count()
}

/// Whether the account allows it: what it falls short of keeps a first key from being made, and stops
/// no replacement.
pub(super) fn may_be_made(seen: &Seen, need: Need) -> Result<(), Stop> {
    match need {
        Need::First => seen.base.mint.clone(),
        Need::Lost | Need::Renewal => seen.base.replace.clone(),
    }
}

/// What contradicts itself, or cannot be served, in the manifest and beside it.
fn sensible(seen: &Seen) -> Result<(), Stop> {
    let spec = &seen.object.spec;
    if let Ok(server) = &seen.base.server {
        adjusting::unfit(spec, &server.ability)?;
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
    if keys::last_serial(seen) == Some(Serial::LAST) {
        return Err(Stop::new(
            Reason::Invalid,
            "The serial in the annotation apikeys.dev/intent, in the Secret or in status is absurd. Take the annotation out and delete the Secret, or make a new ApiKey.",
        ));
    }
    Ok(())
}

/// Whether the Secret can be written.
pub(super) fn secret_is_free(seen: &Seen) -> Result<(), Stop> {
    let name = seen.object.secret_name();
    let message = match &seen.secret {
        // No watch sees one that is to be taken over; made, it would be ours, and go with the ApiKey.
        Secret::Absent if seen.object.spec.secret.adopt && seen.pass.rehearsed => format!(
            "There is no Secret {name} to be taken over. Apply it with the annotation {}: {}, or leave out spec.secret.adopt.",
            annotation::ADOPT_BY,
            seen.object.name
        ),
        Secret::Absent | Secret::Offered => return Ok(()),
        Secret::Ours(held) if !held.deleting => return Ok(()),
        Secret::Ours(_) => format!(
            "Secret {name} is being deleted, and somebody's finalizer holds it. Remove that finalizer."
        ),
        Secret::Foreign(why) if seen.object.spec.secret.adopt => format!(
            "Secret {name} is not this ApiKey's: {why}. Have it taken over by the annotation {}: {} on the Secret, or name another one in a new ApiKey.",
            annotation::ADOPT_BY,
            seen.object.name
        ),
        Secret::Foreign(why) => format!(
            "Secret {name} is not this ApiKey's: {why}. Delete that Secret, or name another one in a new ApiKey."
        ),
    };
    Err(Stop::new(Reason::SecretConflict, message))
}

/// The end that a key made then would have.
pub(super) fn wanted_end(
    seen: &Seen,
    occasion: Occasion,
    from: Timestamp,
) -> Result<rotation::End, Stop> {
    let wish = seen.object.spec.lifetime.as_ref().map(Period::duration);
    rotation::end(
        wish,
        timing::never_ends(seen),
        &seen.base.bounds,
        occasion,
        from,
    )
}

/// What an earlier attempt still demands before the next may be opened.
fn earlier_attempt(seen: &Seen) -> Result<Option<Step>, Stop> {
    let newer_than = match keys::attempt(seen) {
        Some(intent) if complete(seen, intent) => return Ok(None),
        Some(intent) => landed(intent),
        // No intent, or a void one, on an object that has had a key: only a list tells which
        // serials were used.
        None if seen.object.intent != IntentSeen::Missing || had_attempt(seen) => {
            after(seen.pass.began, -CLOCKS)
        }
        None => return Ok(None),
    };
    if seen.now <= newer_than {
        return Err(Stop::new(
            Reason::Minting,
            "An earlier attempt got no answer and may still land on the server; the next one starts within a minute. Nothing is to be done.",
        ));
    }
    let knows = list(seen).is_some_and(|list| list.began > newer_than);
    Ok((!knows).then_some(Step::Look { newer_than }))
}

/// The step that opens the next attempt.
fn open(seen: &Seen) -> Step {
    let never = seen.object.spec.rotation.mode == RotationMode::Never;
    let end =
        || wanted_end(seen, Occasion::Replacement, seen.now).map_or(Timestamp::MAX, |end| end.at);
    Step::Open(Intent {
        ends_at: never.then(|| timing::never_ends(seen).unwrap_or_else(end)),
        ..next_attempt(seen)
    })
}

/// The attempt after all others.
pub(super) fn next_attempt(seen: &Seen) -> Intent {
    Intent {
        uid: seen.object.uid.clone(),
        serial: keys::last_serial(seen).map_or(Serial::FIRST, Serial::next),
        nonce: seen.nonce.clone(),
        opened_at: seen.now,
        ends_at: None,
    }
}
