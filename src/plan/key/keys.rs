//! What the facts say of this ApiKey's keys: which one is current, which are replaced and still
//! live, which nobody records, and how far its attempts have come.

use jiff::{SignedDuration, Timestamp};

use super::{Finalizer, Freshness, IntentSeen, Published, Seen, Values};
use crate::plan::marker::{self, Marker};
use crate::plan::port::{KeyId, List, RemoteKey};
use crate::plan::record::{Intent, Nonce, Retiring, Serial};
use crate::plan::rotation::after;
use crate::plan::sweep::Attempts;
use crate::plan::{LANDS_WITHIN, STRAY_AFTER};

/// The creation date of a key, the beginning of a list and the times of another leader come from
/// several clocks.
pub(super) const CLOCKS: SignedDuration = SignedDuration::from_secs(60);

/// A server of several nodes lists a key that it has made within this time, reckoned by the clocks of
/// the operators that made and that look.
pub(super) const SHOWN_WITHIN: SignedDuration = SignedDuration::from_secs(20);

/// No operator opens so many attempts without a trace in intent or Secret.
const FARTHEST: u64 = 1_000_000;

/// The list at hand. One that began in the future tells nothing: the clock was set back.
pub(super) fn list(seen: &Seen) -> Option<&List> {
    seen.list.as_ref().filter(|list| list.began <= seen.now)
}

/// Whether the list at hand began late enough to show a key that was made then. Should it be wrong, a
/// key is made that nobody needed, and the other one retires: nobody is cut off.
pub(super) fn list_knows(seen: &Seen, created_at: Timestamp) -> bool {
    list(seen).is_some_and(|list| list.began > after(created_at, SHOWN_WITHIN))
}

/// This ApiKey's keys in the list at hand, but for those that this pass has revoked.
pub(super) fn own(seen: &Seen) -> impl Iterator<Item = (&RemoteKey, Marker)> {
    list(seen)
        .into_iter()
        .flat_map(|list| list.keys.iter())
        .filter_map(|key| {
            let marker = seen.claim.marker_of(key, &seen.object.uid)?;
            (!seen.pass.revoked.contains(&key.id)).then_some((key, marker))
        })
}

/// Whether the list at hand shows this key as ours.
pub(super) fn listed(seen: &Seen, id: &KeyId) -> bool {
    own(seen).any(|(key, _)| key.id == *id)
}

/// Whether the list at hand shows this key as one that has expired.
pub(super) fn has_expired(seen: &Seen, id: &KeyId) -> bool {
    own(seen).any(|(key, _)| key.id == *id && key.expires_at.is_some_and(|end| end <= seen.now))
}

/// Whether the list at hand shows the key that the Secret speaks of: the id and the nonce must
/// both be right, so that an annotation that names another key is not believed.
pub(super) fn shows(seen: &Seen, published: &Published) -> bool {
    let is_it = |key: &RemoteKey| {
        key.id == published.id
            && marker::parse(&key.text).is_some_and(|marker| {
                marker.uid == seen.object.uid && marker.nonce == published.nonce
            })
    };
    list(seen).is_some_and(|list| list.keys.iter().any(is_it))
        && !seen.pass.revoked.contains(&published.id)
}

/// The key that the Secret holds, as long as nothing speaks against it.
pub(super) fn current(seen: &Seen) -> Option<&Published> {
    let held = seen.secret.ours()?;
    held.published.as_ref().filter(|key| {
        held.values != Values::Spoilt && stands(seen, key) && ends_at(seen, key) > seen.now
    })
}

/// When a published key ends: as its Secret says, or sooner when a list shows that somebody has
/// brought its end nearer.
pub(super) fn ends_at(seen: &Seen, key: &Published) -> Timestamp {
    let listed = list(seen).and_then(|list| list.keys.iter().find(|listed| listed.id == key.id));
    let end = listed.and_then(|listed| listed.expires_at);
    end.map_or(key.expires_at, |end| end.min(key.expires_at))
}

/// The key that the next one replaces: also one that has expired, which is then cleared away.
pub(super) fn predecessor(seen: &Seen) -> Option<&Published> {
    seen.secret
        .published()
        .filter(|key| stands(seen, key) && key.installation == seen.claim.installation)
}

/// Whether a key is, as far as is known, where it should be.
fn stands(seen: &Seen, key: &Published) -> bool {
    let base = &seen.base;
    let moved = base.account.as_ref().is_some_and(|id| *id != key.account)
        || matches!(&base.server, Ok(server) if server.identity != key.server);
    let gone = list_knows(seen, key.created_at) && !shows(seen, key);
    !moved && !gone && !seen.pass.revoked.contains(&key.id)
}

/// Whether the Secret at hand is older than what status says of it: a watch lags behind, or
/// somebody took the Secret away or an older one was brought back. Only a live read can tell.
pub(super) fn behind(seen: &Seen) -> bool {
    let mirrored = seen.object.status.current.as_ref().map(|key| key.serial);
    let held = seen.secret.published().map(|key| key.serial.number());
    seen.freshness == Freshness::Cached && mirrored > held
}

/// Whether this ApiKey has ever had a key, as far as anything tells.
pub(super) fn had_key(seen: &Seen) -> bool {
    seen.secret.ours().is_some() || seen.object.status.current.is_some()
}

/// Whether an attempt was ever opened, as far as anything but the intent tells.
pub(super) fn had_attempt(seen: &Seen) -> bool {
    had_key(seen) || seen.object.status.serial.is_some()
}

/// Whether nothing was ever begun, so that nothing can be left.
pub(super) fn never_began(seen: &Seen) -> bool {
    let Seen { object, .. } = seen;
    object.intent == IntentSeen::Missing
        && object.finalizer == Finalizer::Missing
        && !had_attempt(seen)
}

/// The greatest serial that anything speaks of.
///
/// Whoever holds a key of the account can leave any marker on the server, and status can be edited:
/// a serial far beyond those of intent and Secret is no attempt's.
pub(super) fn last_serial(seen: &Seen) -> Option<Serial> {
    let intent = seen.object.intent.ours().map(|intent| intent.serial);
    let secret = seen.secret.published().map(|key| key.serial);
    let durable = intent.max(secret);
    let status = seen.object.status.serial.and_then(Serial::from_number);
    let listed = own(seen).map(|(_, marker)| marker.serial);
    let near = |told: &Serial| {
        let last = durable.map_or(0, Serial::number);
        told.number().saturating_sub(last) <= FARTHEST
    };
    let told = status.into_iter().chain(listed).filter(near).max();
    durable.max(told)
}

/// The attempt that the ApiKey tells of, when its date can be believed: one from the future was
/// written by a clock that was wrong, or by hand, and would be waited for in vain.
pub(super) fn attempt(seen: &Seen) -> Option<&Intent> {
    let intent = seen.object.intent.ours()?;
    (intent.opened_at <= after(seen.now, CLOCKS)).then_some(intent)
}

/// When the last effect of an attempt can land on the server.
pub(super) fn landed(intent: &Intent) -> Timestamp {
    after(intent.opened_at, LANDS_WITHIN)
}

/// Whether nothing of this attempt can reach the server any more.
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

/// The one whose turn it is, so that one that cannot be revoked shields no other: after every other
/// failure the next, as between two of them something else may be tried.
pub(super) fn in_turn<T>(seen: &Seen, mut keys: Vec<T>) -> Option<T> {
    let turn = usize::try_from(seen.object.status.failures / 2).unwrap_or_default();
    let turn = turn.checked_rem(keys.len())?;
    Some(keys.swap_remove(turn))
}

/// The replaced keys that still live, as Secret and status remember them.
pub(super) fn retiring(seen: &Seen) -> Vec<Retiring> {
    let from_secret = in_secret(seen).into_iter();
    let from_status = seen.object.status.retiring.iter().filter_map(|key| {
        Some(Retiring {
            serial: Serial::from_number(key.serial)?,
            id: KeyId::new(&key.id),
            revoke_at: key.revoke_at.0,
        })
    });
    let mut keys: Vec<Retiring> = Vec::new();
    for key in from_secret.chain(from_status) {
        let is_current = seen
            .secret
            .published()
            .is_some_and(|held| held.id == key.id);
        let known = keys.iter().any(|other| other.id == key.id);
        if !is_current && !known && !seen.pass.revoked.contains(&key.id) && !gone(seen, &key.id) {
            keys.push(key);
        }
    }
    keys.sort();
    keys
}

/// The replaced keys that still live, of those that the Secret speaks of.
///
/// The Secret is not written again when one of them is revoked. So once status has taken the
/// Secret's key over, one that status no longer names is revoked, unless a list still shows it.
pub(super) fn in_secret(seen: &Seen) -> Vec<Retiring> {
    let Some(held) = seen.secret.ours() else {
        return Vec::new();
    };
    let status = &seen.object.status;
    let mirrored = held.published.as_ref().is_some_and(|key| {
        let current = status.current.as_ref();
        current.is_some_and(|mirror| mirror.nonce == key.nonce.as_str())
    });
    let named = |id: &KeyId| status.retiring.iter().any(|key| key.id == id.as_str());
    held.retiring
        .iter()
        .filter(|key| !mirrored || named(&key.id) || listed(seen, &key.id))
        .cloned()
        .collect()
}

/// Whether a list that must know this replaced key does not show it.
fn gone(seen: &Seen, id: &KeyId) -> bool {
    let successor = seen.secret.published();
    successor.is_some_and(|key| list_knows(seen, key.created_at)) && !listed(seen, id)
}

/// How many strays are recorded at a time: the record has to fit into annotations.
const MOST_STRAYS: usize = 50;

/// Our keys that nothing records, old enough to be retired, and only while the Secret holds
/// another one that the list shows. To be believed only when the Secret was read after the list.
pub(super) fn strays(seen: &Seen) -> Vec<Retiring> {
    let (Some(list), Some(current)) = (list(seen), current(seen)) else {
        return Vec::new();
    };
    if !shows(seen, current) || seen.base.revoke.is_err() {
        return Vec::new();
    }
    let recorded = retiring(seen);
    let overlap = seen.object.spec.rotation.overlap.duration();
    own(seen)
        .filter(|(key, _)| key.id != current.id && recorded.iter().all(|known| known.id != key.id))
        .filter(|(key, marker)| !is_anothers(seen, key, marker))
        .filter(|(key, _)| list.began >= after(made_at(seen, key), STRAY_AFTER))
        .map(|(key, marker)| {
            let revoke_at = after(seen.now, overlap);
            Retiring {
                serial: marker.serial,
                id: key.id.clone(),
                revoke_at: key.expires_at.map_or(revoke_at, |end| end.min(revoke_at)),
            }
        })
        .take(MOST_STRAYS.saturating_sub(recorded.len()))
        .collect()
}

/// Whether a key may be that of a copy of this cluster: one that is not recorded and that no attempt
/// opened here can have made; and, where such a copy is known of, every one but the last that was made
/// here.
pub(super) fn is_anothers(seen: &Seen, key: &RemoteKey, marker: &Marker) -> bool {
    let published = seen.secret.published();
    let mirrored = seen.object.status.current.as_ref();
    let attempts = Attempts::of(
        seen.object.intent.ours(),
        published.map(|key| (key.serial, &key.nonce, key.created_at)),
        mirrored.and_then(|key| Nonce::parse(&key.nonce)),
    );
    match seen.base.revoke {
        Ok(()) => {
            let recorded = || retiring(seen).iter().any(|known| known.id == key.id);
            attempts.exclude(marker, made_at(seen, key)) && !recorded()
        }
        Err(_) => !attempts.made(marker),
    }
}

/// When a listed key was made, on our clock.
pub(super) fn made_at(seen: &Seen, key: &RemoteKey) -> Timestamp {
    let skew = seen.base.server.as_ref().map(|server| server.skew);
    after(key.created_at, -skew.unwrap_or_default())
}
