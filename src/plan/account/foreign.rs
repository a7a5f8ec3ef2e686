//! `foreignKeys: Revoke`: keys that no operator made go once they have been seen for a day with the
//! setting on.
//!
//! Since when, is noted on the ServiceAccount: one write when such a key shows up, one when it is
//! gone. What the note says is believed only as far as it can be true; whoever may write it may as
//! well have asked for the setting.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::identity::may_be_managed;
use super::living::on_the_present;
use super::{Pins, Remote, Seen, Step};
use crate::api::{ForeignKeys, Management};
use crate::plan::grant::Foreign;
use crate::plan::port::{KeyId, List, RemoteKey};
use crate::plan::rotation::after;
use crate::plan::sweep::Origin;

/// So long a key is seen before it goes.
const SEEN_FOR: SignedDuration = SignedDuration::from_hours(24);
/// So many keys are noted at a time; the others have their turn when these are gone.
const MOST_NOTED: usize = 50;
/// No pass revokes more.
const MOST_AT_ONCE: usize = 20;
/// The creation date of a key and the beginning of a list come from two clocks.
const CLOCKS: SignedDuration = SignedDuration::from_secs(60);

/// Revokes one key whose day is over.
pub(super) fn revoke(seen: &Seen) -> Option<Step> {
    let (list, account) = (seen.list.as_ref()?, seen.object.pins.account.as_ref()?);
    if !is_on(seen) || seen.pass.revoked.len() >= MOST_AT_ONCE {
        return None;
    }
    let key = listed(seen, list).find(|key| is_due(seen, list, key))?;
    let revoke = Step::Revoke(account.clone(), key.id.clone());
    Some(on_the_present(seen, revoke))
}

/// Takes the notes away when nobody asks for them any more: a day begins anew.
pub(super) fn forget(seen: &Seen) -> Option<Step> {
    let asked = seen.object.spec.foreign_keys == ForeignKeys::Revoke;
    (!asked && !seen.object.pins.foreign.is_empty()).then(|| noting(seen, BTreeMap::new()))
}

fn noting(seen: &Seen, foreign: BTreeMap<KeyId, Timestamp>) -> Step {
    let pins = seen.object.pins.clone();
    Step::Pin(Pins { foreign, ..pins })
}

/// Writes down since when keys have been seen, where that is not written yet.
pub(super) fn note(seen: &Seen) -> Option<Step> {
    let wanted = if is_on(seen) {
        remembered(seen, seen.list.as_ref()?)
    } else {
        BTreeMap::new()
    };
    (wanted != seen.object.pins.foreign).then(|| noting(seen, wanted))
}

/// Whether such keys are to go: asked for, granted, and on an account that is nobody's credential.
fn is_on(seen: &Seen) -> bool {
    let spec = &seen.object.spec;
    let granted = matches!(&seen.grant, Ok(grant) if grant.foreign == Foreign::Revoked);
    let account = match &seen.remote {
        Remote::Found(account) if may_be_managed(seen, account) => Some(&account.id),
        Remote::Found(_) | Remote::Absent | Remote::Unknown => None,
    };
    let asked = spec.management == Management::Managed && spec.foreign_keys == ForeignKeys::Revoke;
    asked && granted && account.is_some_and(|account| !seen.identities.contains(account))
}

/// The keys of a list that no operator made.
fn listed<'a>(seen: &'a Seen, list: &'a List) -> impl Iterator<Item = &'a RemoteKey> {
    list.keys.iter().filter(|key| {
        seen.claim.origin(key) == Origin::Foreign && !seen.pass.revoked.contains(&key.id)
    })
}

/// Whether the list at hand shows this key as one that no operator made.
pub(super) fn is_foreign(seen: &Seen, id: &KeyId) -> bool {
    let mut lists = seen.list.iter();
    lists.any(|list| listed(seen, list).any(|key| key.id == *id))
}

fn is_due(seen: &Seen, list: &List, key: &RemoteKey) -> bool {
    believed(seen, key).is_some_and(|first| list.began >= after(first, SEEN_FOR))
}

/// Since when a key has been seen, as far as that can be true: not before it was made, and not in
/// the future.
fn believed(seen: &Seen, key: &RemoteKey) -> Option<Timestamp> {
    let first = *seen.object.pins.foreign.get(&key.id)?;
    let possible = after(first, CLOCKS) >= made_at(seen, key) && first <= after(seen.now, CLOCKS);
    possible.then_some(first)
}

/// What is to be noted: what is there already comes first, and goes with its key.
fn remembered(seen: &Seen, list: &List) -> BTreeMap<KeyId, Timestamp> {
    let noted = &seen.object.pins.foreign;
    let known = listed(seen, list).filter_map(|key| Some((key.id.clone(), believed(seen, key)?)));
    // A list that is older than the note, as another process has it, knows nothing of the key.
    let newer = noted.iter().filter(|(id, first)| {
        let future = **first > after(seen.now, CLOCKS);
        **first > list.began && !future && !seen.pass.revoked.contains(id)
    });
    let mut keys: BTreeMap<KeyId, Timestamp> = newer
        .map(|(id, first)| (id.clone(), *first))
        .chain(known)
        .collect();
    let fresh = listed(seen, list).filter(|key| made_at(seen, key) <= after(seen.now, CLOCKS));
    // The oldest first: whoever makes many keeps no other from its turn.
    let mut fresh: Vec<_> = fresh.collect();
    fresh.sort_by_key(|key| key.created_at);
    for key in fresh {
        if keys.len() >= MOST_NOTED {
            break;
        }
        let first = whole(list.began.max(made_at(seen, key)));
        keys.entry(key.id.clone()).or_insert(first);
    }
    keys
}

/// When a key was made, on our clock.
fn made_at(seen: &Seen, key: &RemoteKey) -> Timestamp {
    let skew = seen.connection.as_ref().map(|route| route.reach.skew);
    after(key.created_at, -skew.unwrap_or_default())
}

/// A time as the note has it.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
