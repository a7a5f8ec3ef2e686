//! Keys on the server: how many of an ApiKey live, whether the published one does, and whether one
//! that has gone was allowed to.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use testbed::twins::octopus::{KeyView, Life};

use super::{End, Look, Memory, ORDINARY, Ours, SLACK, token};

impl Memory {
    /// Takes note of keys that were not there before.
    pub(super) fn meet(&mut self, view: &[KeyView]) {
        for key in view {
            if self.ours.contains_key(&key.id) || self.others.contains_key(&key.id) {
                continue;
            }
            match token(key) {
                Some(marker) => {
                    let ours = Ours {
                        marker,
                        view: key.clone(),
                        gone: None,
                    };
                    self.ours.entry(key.id.clone()).or_insert(ours);
                }
                None => {
                    self.others
                        .entry(key.id.clone())
                        .or_insert_with(|| key.clone());
                }
            }
        }
    }

    pub(super) fn keys(&mut self, look: &mut Look<'_>, view: &[KeyView]) {
        let ids: HashSet<&str> = view.iter().map(|key| key.id.as_str()).collect();
        let there = |id: &str| ids.contains(id);
        let newly: Vec<String> = self
            .ours
            .iter()
            .filter(|(id, key)| key.gone.is_none() && !there(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in newly {
            if let Err(why) = self.may_die(&id, look.now) {
                look.wrong(format!("key {id} was revoked {why}"));
            }
            if let Some(key) = self.ours.get_mut(&id) {
                key.gone = Some(look.now);
            }
        }
        self.others.retain(|id, key| {
            let ends = there(id) || self.outside.contains(id);
            if !ends {
                look.wrong(format!(
                    "the foreign key {id} ({}) was revoked",
                    key.purpose
                ));
            }
            there(id)
        });
        let mut living = BTreeMap::<&str, usize>::new();
        for key in view.iter().filter(|key| key.life == Life::Alive) {
            if let Some(ours) = self.ours.get(&key.id) {
                *living.entry(ours.marker.uid.as_str()).or_default() += 1;
            }
        }
        for (uid, count) in living {
            if count > ORDINARY + self.spare {
                look.wrong(format!("{count} keys of {uid} live"));
            }
        }
    }

    /// No Secret of a living ApiKey holds a key that was revoked.
    pub(super) fn published(&mut self, look: &mut Look<'_>) {
        for held in self.held.iter().filter(|held| held.until.is_none()) {
            let lives = self
                .wanted
                .get(&held.uid)
                .is_some_and(|wanted| wanted.end == End::Lives);
            let dead = self
                .ours
                .get(&held.key)
                .is_some_and(|key| key.gone.is_some());
            let excused = self.outside.contains(&held.key) || self.pardoned.contains(&held.uid);
            if lives && dead && !excused {
                look.wrong(format!(
                    "the Secret of {} holds the dead key {}",
                    held.uid, held.key
                ));
            }
        }
    }

    /// No Secret keeps, in the slot of the previous key, one that was revoked.
    pub(super) fn kept(&self, look: &mut Look<'_>) {
        for (secret, value) in &self.slots {
            let held = self.held.iter().find(|held| held.value == *value);
            let dead = held
                .and_then(|held| self.ours.get(&held.key))
                .is_some_and(|key| key.gone.is_some() && !self.outside.contains(&key.view.id));
            let lives = held.and_then(|held| self.wanted.get(&held.uid));
            if dead && lives.is_some_and(|wanted| wanted.end == End::Lives) {
                look.wrong(format!(
                    "Secret {secret} keeps a dead key in its second slot"
                ));
            }
        }
    }

    /// Whether a key may die now, and why not.
    pub(super) fn may_die(&self, id: &str, now: Timestamp) -> Result<(), String> {
        let Some(key) = self.ours.get(id) else {
            return Ok(());
        };
        let uid = key.marker.uid.as_str();
        let Some(wanted) = self
            .wanted
            .get(uid)
            .filter(|wanted| wanted.end == End::Lives)
        else {
            return Ok(());
        };
        let expired = key.view.expires.is_some_and(|end| end <= now);
        if expired || self.outside.contains(id) || self.pardoned.contains(uid) {
            return Ok(());
        }
        let mut held = self.held.iter().filter(|held| held.uid == uid);
        let Some(last) = held.clone().rev().find(|held| held.key == id) else {
            return Ok(());
        };
        let Some(until) = last.until else {
            return Err("though the Secret holds it".to_owned());
        };
        let successor = held.find(|held| held.from >= until && held.key != id);
        let Some(successor) = successor else {
            return Err("though nothing replaces it".to_owned());
        };
        let promised = successor.from + wanted.overlap.max(SignedDuration::ZERO);
        if now + SLACK < promised {
            return Err(format!("before {promised}, when its overlap ends"));
        }
        Ok(())
    }
}
