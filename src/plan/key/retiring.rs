//! The end of replaced keys and of strays, and the look at the server that it takes.

use super::keys::{self, SHOWN_WITHIN, current, list, list_knows, made_at, shows};
use super::{Amendment, Freshness, Seen, Step, Why};
use crate::plan::REVOKE_AFTER;
use crate::plan::port::{Expiry, KeyId, RemoteKey};
use crate::plan::record::Retiring;
use crate::plan::rotation::after;

/// The step that revokes a key, on facts read live; never the key that the Secret holds.
pub(super) fn revoke(seen: &Seen, id: &KeyId, why: Why) -> Option<Step> {
    if seen.secret.published().is_some_and(|key| key.id == *id) {
        return None;
    }
    Some(match seen.freshness {
        Freshness::Cached => Step::Refresh,
        Freshness::Live => Step::Revoke {
            id: id.clone(),
            why,
        },
    })
}

/// Revokes one replaced key whose time has come.
///
/// A list must show it with our marker, old enough that no Publish of it can be on its way, and
/// beside it the living key that the Secret holds. So neither a forged status nor forged
/// annotations can end a key that consumers use, or one that is not ours.
pub(super) fn retire(seen: &Seen) -> Option<Step> {
    seen.base.server.as_ref().ok()?;
    seen.base.revoke.as_ref().ok()?;
    current(seen).filter(|key| shows(seen, key))?;
    let due = due(seen).filter(|key| settled(seen, &key.id)).collect();
    let due = keys::in_turn(seen, due)?;
    let revoke = revoke(seen, &due.id, Why::Retired)?;
    // Nobody shall find a dead key in the slot of the previous one.
    let kept = seen.secret.ours()?.previous.as_ref() == Some(&due.id);
    Some(match revoke {
        Step::Revoke { .. } if kept => Step::Amend(Amendment::Previous),
        step => step,
    })
}

/// Ends a key whose time is over on a server that lets it live on: what the Secret holds is taken out of
/// it first. A list must show it with our marker and with that end.
pub(super) fn overdue(seen: &Seen) -> Option<Step> {
    let server = seen.base.server.as_ref().ok()?;
    if server.ability.expiry == Expiry::Native {
        return None;
    }
    let over = |key: &RemoteKey| key.expires_at.is_some_and(|end| end <= seen.now);
    let over = keys::own(seen).filter(|(key, _)| over(key));
    let over = over.map(|(key, _)| key.id.clone()).collect();
    let id = keys::in_turn(seen, over)?;
    let published = seen.secret.published().is_some_and(|key| key.id == id);
    match seen.freshness {
        Freshness::Live if published => Some(Step::Unpublish),
        Freshness::Cached if published => Some(Step::Refresh),
        Freshness::Live | Freshness::Cached => revoke(seen, &id, Why::Retired),
    }
}

/// Takes the value of a replaced key out of the Secret once that key has ended.
pub(super) fn forget(seen: &Seen) -> Option<Step> {
    let held = seen.secret.ours().filter(|held| !held.deleting)?;
    let previous = held.previous.as_ref()?;
    let lives = |key: &Retiring| key.id == *previous && key.revoke_at > seen.now;
    let lives = keys::retiring(seen).iter().any(lives);
    (!lives).then_some(Step::Amend(Amendment::Previous))
}

/// The replaced keys whose time has come.
fn due(seen: &Seen) -> impl Iterator<Item = Retiring> {
    let now = seen.now;
    keys::retiring(seen)
        .into_iter()
        .filter(move |key| key.revoke_at <= now)
}

/// Whether the list shows this key, as one that no Publish on its way can be about.
pub(super) fn settled(seen: &Seen, id: &KeyId) -> bool {
    keys::own(seen)
        .any(|(key, _)| key.id == *id && after(made_at(seen, key), REVOKE_AFTER) <= seen.now)
}

/// Asks for a list when the last is older than the resync allows, or cannot tell whether a key
/// that is due is still there.
pub(super) fn look(seen: &Seen) -> Option<Step> {
    seen.base.server.as_ref().ok()?;
    seen.base.account.as_ref()?;
    if seen.pass.blind {
        return None;
    }
    let key = current(seen)?;
    let knowing = after(key.created_at, SHOWN_WITHIN);
    if due(seen).next().is_some() && !list_knows(seen, key.created_at) && seen.now > knowing {
        return Some(Step::Look {
            newer_than: knowing,
        });
    }
    let newer_than = after(seen.now, -seen.base.resync);
    let last = list(seen).map_or(key.created_at, |list| list.began.max(key.created_at));
    (last <= newer_than).then_some(Step::Look { newer_than })
}

/// Reads the objects after the list before a stray is called one.
pub(super) fn sweep(seen: &Seen) -> Option<Step> {
    (seen.freshness == Freshness::Cached && !keys::strays(seen).is_empty()).then_some(Step::Refresh)
}
