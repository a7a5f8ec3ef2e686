//! Keys on the server: how many of an ApiKey live, whether the published one does, and whether one
//! that has gone was allowed to.

use std::collections::{BTreeMap, HashSet};

use apikey_operator::plan::record::Uid;
use jiff::{SignedDuration, Timestamp};
use testbed::twins::octopus::{KeyView, Life};

use super::{ATTEMPT, Death, End, Held, Look, Memory, ORDINARY, Ours, SLACK, token};

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
                        death: None,
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
            let death = self.may_die(&id, look.now);
            if let Err(why) = &death {
                look.wrong(format!("key {id} was revoked {why}"));
            }
            if let Some(key) = self.ours.get_mut(&id) {
                (key.gone, key.death) = (Some(look.now), death.ok());
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
        self.living(look, view);
    }

    /// Of each ApiKey live its key and those that retire; and what was cut off.
    fn living(&self, look: &mut Look<'_>, view: &[KeyView]) {
        let held: HashSet<&str> = self.held.iter().map(|held| held.key.as_str()).collect();
        let mut retiring = BTreeMap::<&str, usize>::new();
        let mut cut_off = Vec::new();
        for key in view.iter().filter(|key| key.life == Life::Alive) {
            let Some(ours) = self.ours.get(&key.id) else {
                continue;
            };
            if held.contains(key.id.as_str()) {
                *retiring.entry(ours.marker.uid.as_str()).or_default() += 1;
            } else if key.created + ATTEMPT < look.now && self.is_wanted(&ours.marker.uid) {
                cut_off.push(key.id.as_str());
            }
        }
        for (uid, count) in retiring {
            if count > ORDINARY {
                look.wrong(format!(
                    "{count} keys of {uid} live that its Secret has held"
                ));
            }
        }
        if cut_off.len() > self.spare {
            look.wrong(format!(
                "no Secret has ever held {}, and they live",
                cut_off.join(", ")
            ));
        }
    }

    /// Whether an ApiKey lives and wants its key.
    fn is_wanted(&self, uid: &Uid) -> bool {
        let wanted = self.wanted.get(uid.as_str());
        wanted.is_some_and(|wanted| wanted.end == End::Lives)
    }

    /// No Secret of a living ApiKey holds a key that was revoked.
    pub(super) fn published(&mut self, look: &mut Look<'_>) {
        for held in self.held.iter().filter(|held| held.until.is_none()) {
            let wanted = self.wanted.get(&held.uid);
            let Some(wanted) = wanted.filter(|wanted| wanted.end == End::Lives) else {
                continue;
            };
            let Some(key) = self.ours.get(&held.key) else {
                continue;
            };
            let dead = key.gone.is_some() || wanted.renews && key.has_expired(look.now);
            let excused = self.outside.contains(&held.key) || self.is_pardoned(&held.uid, look.now);
            if dead && !excused {
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

    /// Why a key may die now, or why not.
    fn may_die(&self, id: &str, now: Timestamp) -> Result<Death, String> {
        let Some(key) = self.ours.get(id) else {
            return Ok(Death::Ended);
        };
        let uid = key.marker.uid.as_str();
        let Some(wanted) = self
            .wanted
            .get(uid)
            .filter(|wanted| wanted.end == End::Lives)
        else {
            return Ok(Death::Ended);
        };
        if key.has_expired(now) || self.outside.contains(id) || self.is_pardoned(uid, now) {
            return Ok(Death::Ended);
        }
        let mut held = self.held.iter().filter(|held| held.uid == uid);
        let Some(last) = held.clone().rev().find(|held| held.key == id) else {
            return Ok(Death::Ended);
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
        Ok(Death::Replaced)
    }

    /// Why a consumer who has read what a Secret held may be refused now: it ended as it might, or has
    /// expired after it was replaced in time.
    pub(super) fn excuse(&self, held: &Held, now: Timestamp) -> Option<Death> {
        let Some(key) = self.ours.get(&held.key) else {
            return Some(Death::Ended);
        };
        if key.gone.is_some() {
            return key.death;
        }
        let wanted = self.wanted.get(&held.uid);
        let renews = wanted.is_some_and(|wanted| wanted.end == End::Lives && wanted.renews);
        let excused = self.outside.contains(&held.key) || self.is_pardoned(&held.uid, now);
        match key.view.expires.filter(|end| *end <= now) {
            Some(end) if renews && !excused => held
                .until
                .is_some_and(|until| until < end)
                .then_some(Death::Replaced),
            Some(_) => Some(Death::Ended),
            None => self.may_die(&held.key, now).ok(),
        }
    }

    pub(super) fn is_pardoned(&self, uid: &str, now: Timestamp) -> bool {
        self.pardoned.get(uid).is_some_and(|until| now < *until)
    }
}

impl Ours {
    fn has_expired(&self, now: Timestamp) -> bool {
        self.view.expires.is_some_and(|end| end <= now)
    }
}
