//! The account's keys, from one list: what there is, and what must go.

use std::collections::BTreeSet;

use super::{Census, Object, Records, Route, Seen, Step, foreign, shared, unshared};
use crate::api::{KeyClass, KeyCounts, UnknownKey, time};
use crate::plan::STRAY_AFTER;
use crate::plan::grant::Retain;
use crate::plan::key::Freshness;
use crate::plan::port::{Expiry, KeyId, List, RemoteKey};
use crate::plan::rotation::after;
use crate::plan::sweep::Origin;

/// How many keys status names that are neither in use nor retiring.
const MOST_UNKNOWN: usize = 20;
/// How much of the text of a key status shows.
const PURPOSE_CHARS: usize = 120;

/// What a key on the account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Managed,
    Retiring,
    Unknown(KeyClass),
}

/// The next effect of the sweep: a list when the last is old, then one orphan after the other.
pub(super) fn step(seen: &Seen) -> Option<Step> {
    let route = seen.connection.as_ref().ok()?;
    let newer_than = after(seen.now, -route.resync);
    // An ApiKey's list serves as well, but has not been counted.
    if seen.counted.is_none_or(|counted| counted <= newer_than) {
        return Some(Step::Look { newer_than });
    }
    if seen.rival.is_some() {
        return None;
    }
    let ending = || match unshared(&seen.object, &seen.claim.installation) {
        Ok(()) => shared::step(seen)
            .or_else(|| orphan(seen))
            .or_else(|| foreign::revoke(seen)),
        Err(_) => None,
    };
    ending().or_else(|| foreign::note(seen))
}

/// Revokes one key of ours whose ApiKey is gone for sure.
fn orphan(seen: &Seen) -> Option<Step> {
    let (list, account) = (seen.list.as_ref()?, seen.object.pins.account.as_ref()?);
    let key = list
        .keys
        .iter()
        .find(|key| is_due_orphan(seen, list, key))?;
    Some(match (seen.census.freshness, seen.freshness) {
        (Freshness::Cached, _) => Step::Census,
        (Freshness::Live, Freshness::Cached) => Step::Refresh,
        (Freshness::Live, Freshness::Live) => Step::Revoke(account.clone(), key.id.clone()),
    })
}

/// An orphan that is old enough, not retained, and not older than the ServiceAccount, which may
/// have been made again after a restore, or have adopted the account.
fn is_due_orphan(seen: &Seen, list: &List, key: &RemoteKey) -> bool {
    let Ok(route) = &seen.connection else {
        return false;
    };
    let created_at = after(key.created_at, -route.reach.skew);
    class(seen, key) == Class::Unknown(KeyClass::Orphan)
        && list.began >= after(created_at, STRAY_AFTER)
        && created_at >= seen.object.created_at
        && (!is_retained(seen, &key.id) || is_over(route, key, seen))
        && !seen.pass.revoked.contains(&key.id)
}

/// Whether a key's time is over on a server that would let it live on.
fn is_over(route: &Route, key: &RemoteKey, seen: &Seen) -> bool {
    route.reach.ability.expiry == Expiry::None && key.expires_at.is_some_and(|end| end <= seen.now)
}

/// The keys on the account that are of our installation and that nobody has decided to keep.
pub(super) fn left(seen: &Seen) -> impl Iterator<Item = &RemoteKey> {
    seen.list
        .iter()
        .flat_map(|list| list.keys.iter())
        .filter(|key| {
            let ours = match seen.claim.origin(key) {
                Origin::Ours(marker) => !seen.census.keys.contains_key(&marker.uid),
                Origin::Others | Origin::Foreign => false,
            };
            ours && !seen.pass.revoked.contains(&key.id) && !is_retained(seen, &key.id)
        })
}

/// Whether a key was left on purpose, where that is granted: the note of it is an annotation, which
/// anybody may write who may write the ServiceAccount.
fn is_retained(seen: &Seen, id: &KeyId) -> bool {
    let refused = matches!(&seen.grant, Ok(grant) if grant.retain == Retain::Refused);
    let Object { pins, .. } = &seen.object;
    let mirrored = || {
        mirrored(&seen.object)
            .iter()
            .any(|known| known == id.as_str())
    };
    !refused && (pins.retained.contains(id) || mirrored())
}

/// The keys that were left on purpose.
pub(super) fn retained(object: &Object) -> BTreeSet<KeyId> {
    let mirrored = mirrored(object).iter().map(KeyId::new);
    object
        .pins
        .retained
        .iter()
        .cloned()
        .chain(mirrored)
        .collect()
}

/// What status tells of them: `kubectl replace` drops the note of them with the account's pin.
fn mirrored(object: &Object) -> &[String] {
    match object.pins.account {
        Some(_) => &[],
        None => &object.status.retained,
    }
}

/// The retained keys that still live.
pub(super) fn kept(seen: &Seen) -> impl Iterator<Item = &RemoteKey> {
    let alive = |key: &&RemoteKey| key.expires_at.is_none_or(|end| end > seen.now);
    let retained = |key: &&RemoteKey| is_retained(seen, &key.id);
    seen.list
        .iter()
        .flat_map(|list| list.keys.iter())
        .filter(retained)
        .filter(alive)
}

fn class(seen: &Seen, key: &RemoteKey) -> Class {
    let marker = match seen.claim.origin(key) {
        Origin::Foreign => return Class::Unknown(KeyClass::Foreign),
        Origin::Others => return Class::Unknown(KeyClass::Other),
        Origin::Ours(marker) => marker,
    };
    let Census { keys, .. } = &seen.census;
    match keys.get(&marker.uid).map(|resident| &resident.records) {
        None => Class::Unknown(KeyClass::Orphan),
        Some(Records::Everything) => Class::Managed,
        Some(Records::Keys { current, .. }) if current.contains(&key.id) => Class::Managed,
        Some(Records::Keys { retiring, .. }) if retiring.contains(&key.id) => Class::Retiring,
        // An attempt that is under way is nobody's stray yet.
        Some(Records::Keys { .. }) => {
            let young = seen
                .list
                .as_ref()
                .is_some_and(|list| list.began < after(key.created_at, STRAY_AFTER));
            if young {
                Class::Managed
            } else {
                Class::Unknown(KeyClass::Stray)
            }
        }
    }
}

/// How many keys of each kind there are, and the first of those that are nobody's.
pub(super) fn count(seen: &Seen) -> Option<(KeyCounts, Vec<UnknownKey>)> {
    let list = seen.list.as_ref()?;
    let mut counts = KeyCounts::default();
    let mut unknown = Vec::new();
    for key in list
        .keys
        .iter()
        .filter(|key| !seen.pass.revoked.contains(&key.id))
    {
        let count = match class(seen, key) {
            Class::Managed => &mut counts.managed,
            Class::Retiring => &mut counts.retiring,
            Class::Unknown(class) => {
                if unknown.len() < MOST_UNKNOWN {
                    unknown.push(name(key, class));
                }
                match class {
                    KeyClass::Stray => &mut counts.stray,
                    KeyClass::Orphan => &mut counts.orphan,
                    KeyClass::Other => &mut counts.other,
                    KeyClass::Foreign => &mut counts.foreign,
                }
            }
        };
        *count += 1;
    }
    Some((counts, unknown))
}

fn name(key: &RemoteKey, class: KeyClass) -> UnknownKey {
    let purpose: String = key
        .text
        .chars()
        .filter(|c| !c.is_control())
        .take(PURPOSE_CHARS)
        .collect();
    UnknownKey {
        id: key.id.to_string(),
        class,
        purpose: (!purpose.is_empty()).then_some(purpose),
        created_at: time(key.created_at),
        expires_at: key.expires_at.map(time),
    }
}
