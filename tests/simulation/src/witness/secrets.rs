//! Which key each ApiKey's Secret held, from when until when; and that foreign Secrets stay as they
//! are.

use serde_json::Value;
use testbed::twins::octopus::KeyView;

use super::objects::{is_operators, text};
use super::{End, Held, Look, Memory, token};
use crate::kubernetes::Change;
use crate::manifests::{key_of, previous_of};

impl Memory {
    pub(super) fn secrets(&mut self, look: &mut Look<'_>, whose: impl Fn(&str) -> Option<KeyView>) {
        for change in look.changes.clone() {
            if change.key.resource == "secrets" {
                self.secret(look, &change, &whose);
            }
        }
    }

    fn secret(
        &mut self,
        look: &mut Look<'_>,
        change: &Change,
        whose: &impl Fn(&str) -> Option<KeyView>,
    ) {
        let either = [&change.new, &change.old];
        let uid = either
            .into_iter()
            .flatten()
            .find_map(|secret| self.owner(change, secret));
        if is_operators(look, change) && uid.is_none() {
            untouched(look, change);
        }
        let Some(uid) = uid else { return };
        let value = change.new.as_deref().and_then(key_of);
        let last = self.held.iter_mut().rev().find(|held| held.uid == uid);
        if let Some(last) = last.filter(|last| last.until.is_none()) {
            if value.as_ref() == Some(&last.value) {
                return;
            }
            last.until = Some(look.now);
        }
        if let Some(value) = value {
            self.publish(look, uid, value, change, whose);
        }
    }

    /// Notes the replaced keys that Secrets keep beside the current one.
    pub(super) fn slots(&mut self, look: &Look<'_>) {
        for change in look
            .changes
            .iter()
            .filter(|change| change.key.resource == "secrets")
        {
            let name = format!("{}/{}", change.key.namespace, change.key.name);
            match change.new.as_deref().and_then(previous_of) {
                Some(value) => self.slots.insert(name, value),
                None => self.slots.remove(&name),
            };
        }
    }

    fn publish(
        &mut self,
        look: &mut Look<'_>,
        uid: String,
        value: String,
        change: &Change,
        whose: &impl Fn(&str) -> Option<KeyView>,
    ) {
        let Some(key) = whose(&value) else {
            // Whatever somebody else writes into it is mended later.
            if !is_operators(look, change) {
                return;
            }
            // One that is revoked, or going, has none that works: the Secret goes again.
            if self
                .wanted
                .get(&uid)
                .is_some_and(|wanted| wanted.end != End::Lives)
            {
                return;
            }
            let known = self.held.iter().find(|held| held.value == value);
            let known = known.map_or("that was never seen", |held| held.key.as_str());
            look.wrong(format!("the Secret of {uid} is given a dead key {known}"));
            return;
        };
        let Some(marker) = token(&key) else {
            look.wrong(format!(
                "the Secret of {uid} is given the foreign key {}",
                key.id
            ));
            return;
        };
        if marker.uid.as_str() != uid {
            look.wrong(format!(
                "the Secret of {uid} is given a key of {}",
                marker.uid
            ));
        }
        let serial = marker.serial.number();
        // A Secret that somebody has deleted may be made again by a write that is on its way.
        let changed = change.old.is_some();
        let mut earlier = self.held.iter().filter(|held| changed && held.uid == uid);
        if let Some(other) = earlier.find(|held| held.key != key.id && held.serial >= serial) {
            look.wrong(format!(
                "key {} of serial {serial} is published after {} of serial {}",
                key.id, other.key, other.serial
            ));
        }
        self.held.push(Held {
            uid,
            key: key.id,
            serial,
            value,
            from: look.now,
            until: None,
        });
    }

    /// The ApiKey whose Secret this is.
    fn owner(&self, change: &Change, secret: &Value) -> Option<String> {
        let owners = secret["metadata"]["ownerReferences"].as_array();
        let named = &secret["metadata"]["annotations"]["apikeys.dev/api-key"];
        let candidates = owners
            .into_iter()
            .flatten()
            .map(|owner| text(&owner["uid"]))
            .chain(
                named
                    .as_str()
                    .and_then(|home| home.rsplit('/').next())
                    .map(str::to_owned),
            );
        candidates.into_iter().find(|uid| {
            self.wanted.get(uid).is_some_and(|wanted| {
                wanted.namespace == change.key.namespace && wanted.secret == change.key.name
            })
        })
    }
}

/// Of a Secret that is not ours, nothing but a finalizer is changed.
fn untouched(look: &mut Look<'_>, change: &Change) {
    let plain = |object: Option<&Value>| {
        let mut object = object.cloned().unwrap_or_default();
        for field in ["finalizers", "resourceVersion", "managedFields"] {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove(field);
            }
        }
        object
    };
    let leaves = change.new.is_none()
        && change
            .old
            .as_deref()
            .is_some_and(|old| old["metadata"]["deletionTimestamp"].is_string());
    if !leaves && plain(change.old.as_deref()) != plain(change.new.as_deref()) {
        look.wrong(format!(
            "the foreign Secret {} was changed",
            change.key.name
        ));
    }
}
