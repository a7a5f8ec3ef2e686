//! What an answer changes in the facts.

use super::{Added, Demise, Done, Lookup, Pins, Remote, Seen, Step, foreign, identity, sweep};
use crate::plan::key::{Freshness, Setback};
use crate::plan::port::Effect;

/// The facts after `step` was answered with `done`.
#[must_use]
pub fn fold(mut seen: Seen, step: &Step, done: Done) -> Seen {
    match done {
        Done::Refreshed(object) => {
            seen.object = *object;
            seen.freshness = Freshness::Live;
        }
        Done::Found(Remote::Absent)
            if matches!(step, Step::Find(Lookup::Id(_))) && !identity::is_known_by_id(&seen) =>
        {
            // Nobody's id says nothing of the account that the manifest names.
            seen.pass.missed = true;
        }
        Done::Found(remote) => {
            seen.remote = remote;
            seen.pass.found_at = Some(seen.now);
        }
        Done::Team(team, found) => seen.teams.push((team, found)),
        Done::Written(object) => {
            let moved = object.pins.account != seen.object.pins.account;
            seen.object = *object;
            if let Step::Pin(pins) = step {
                seen.freshness = Freshness::Cached;
                seen.pass.forget = None;
                seen.pass.claimed = pins.free_at;
            }
            // Another account is meant now than the one that was looked up.
            if moved
                && !matches!(&seen.remote, Remote::Found(found) if seen.object.pins.account.as_ref() == Some(&found.id))
            {
                seen.remote = Remote::Unknown;
            }
            if moved {
                seen.oidc = None;
            }
        }
        Done::Account(account) => seen.remote = Remote::Found(account),
        Done::TeamChanged(team) => {
            for (_, known) in &mut seen.teams {
                if known.as_ref().is_some_and(|known| known.id == team.id) {
                    *known = Some(team.clone());
                }
            }
        }
        Done::Oidc(oidc) => seen.oidc = Some(oidc),
        Done::Looked(list) => {
            seen.counted = Some(list.began);
            seen.pass.counted = true;
            seen.list = Some(list);
            // Whoever made a key in between is not in the census yet.
            if seen.object.deleting.is_some() && sweep::left(&seen).next().is_some() {
                seen.census.freshness = Freshness::Cached;
            }
        }
        Done::Counted(census) => seen.census = census,
        Done::Inspected(uid, resident) => {
            match resident {
                Some(resident) => seen.census.keys.insert(uid.clone(), *resident),
                None => seen.census.keys.remove(&uid),
            };
            seen.pass.inspected.insert(uid);
        }
        Done::Revoked(id) => {
            // A uid that is gone stays gone: neither the census nor the ServiceAccount is read again.
            // But `foreignKeys` may be taken back at any time.
            if foreign::is_foreign(&seen, &id) {
                seen.freshness = Freshness::Cached;
            }
            seen.pass.revoked.push(id);
        }
        Done::Emptied => {
            seen.pass.demise = match seen.pass.demise {
                Demise::Not | Demise::Emptied => Demise::Emptied,
                Demise::Deleted | Demise::Over => Demise::Over,
            };
        }
        // Whoever was signed in as it may have made one more key meanwhile.
        Done::Deleted => seen.pass.demise = Demise::Deleted,
        Done::Over => {}
        Done::Failed(setback) => failed(&mut seen, step, setback),
    }
    seen
}

fn failed(seen: &mut Seen, step: &Step, setback: Setback) {
    // The server refused to create the account: that its name was free says nothing any more, or
    // else somebody's account of this name would be taken for ours.
    if matches!(step, Step::Create(_)) && setback.effect == Effect::None {
        seen.pass.forget = Some(Pins {
            free_at: None,
            ..seen.object.pins.clone()
        });
    }
    // Nor is what was refused ours: somebody else may add it, and it must stay then.
    let refused = match step {
        Step::Join(team, _) => Some(Added::Team(team.clone())),
        Step::GiveLogin(_, login) => Some(Added::Login(login.provider.clone())),
        Step::GiveTrust(_, trust) => Some(Added::Oidc(trust.name.clone())),
        _ => None,
    };
    if let Some(refused) = refused.filter(|_| setback.effect == Effect::None) {
        let mut pins = seen.object.pins.clone();
        if pins.added.remove(&refused) {
            seen.pass.forget = Some(pins);
        }
    }
    seen.pass.failures = seen.pass.failures.saturating_add(1);
    seen.pass.setback = Some(setback);
}
