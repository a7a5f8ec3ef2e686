//! What happens to objects: ApiKeys come and go, conditions flip, and what is not ours stays as it
//! is.

use apikey_operator::api::Period;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{End, Look, Memory, Wanted};
use crate::effect::Door;
use crate::kubernetes::{Change, Durability};
use crate::scene::PERSON;

impl Memory {
    pub(super) fn objects(&mut self, look: &mut Look<'_>) {
        for change in look.changes.clone() {
            transitions(look, &change);
            unmeant(look, &change);
            match change.key.resource.as_str() {
                "apikeys.apikeys.dev" => self.wanted(look, &change),
                "serviceaccounts.apikeys.dev" => self.account(&change),
                _ => {}
            }
        }
    }

    fn wanted(&mut self, look: &mut Look<'_>, change: &Change) {
        let Some(object) = change.new.as_deref().or(change.old.as_deref()) else {
            return;
        };
        let uid = text(&object["metadata"]["uid"]);
        let spec = &object["spec"];
        let ends = object["metadata"]["deletionTimestamp"].is_string() || spec["revoked"] == true;
        let end = match (&change.new, ends) {
            (None, _) => End::Gone,
            (Some(_), true) => End::Ends,
            (Some(_), false) => End::Lives,
        };
        let retained = spec["deletionPolicy"] == "Retain";
        if end == End::Gone && !retained && !self.overtaken.contains(&uid) {
            let left: Vec<&str> = self
                .ours
                .iter()
                .filter(|(_, key)| key.marker.uid.as_str() == uid && key.gone.is_none())
                .map(|(id, _)| id.as_str())
                .collect();
            if !left.is_empty() {
                let left = left.join(", ");
                look.wrong(format!(
                    "ApiKey {} is gone, and left {left}",
                    change.key.name
                ));
            }
        }
        let secret = spec["secret"]["name"].as_str().unwrap_or(&change.key.name);
        let overlap = spec["rotation"]["overlap"].as_str().unwrap_or_default();
        let renewed = |wanted: &Wanted| wanted.renews;
        let renews = self.wanted.get(&uid).is_none_or(renewed)
            && spec["rotation"]["mode"] != "Never"
            && spec["suspend"] != true;
        let wanted = Wanted {
            renews,
            namespace: change.key.namespace.clone(),
            secret: secret.to_owned(),
            overlap: overlap
                .parse::<Period>()
                .map_or(SignedDuration::ZERO, |overlap| overlap.duration()),
            end,
        };
        self.wanted.insert(uid, wanted);
    }
}

impl Memory {
    /// Takes note of a write of an operator that has changed nothing.
    pub(super) fn idle(&mut self, look: &Look<'_>) {
        let Some(effect) = look.effect else { return };
        let done = effect.status.is_some_and(|status| status.is_success());
        let lasting = effect.call.durability == Durability::Lasting;
        let operators = effect.call.process.name.as_ref() != PERSON;
        let Some(target) = effect.call.target() else {
            return;
        };
        let same = |change: &Change| {
            target.resource() == change.key.resource
                && target
                    .name
                    .as_ref()
                    .is_none_or(|name| *name == change.key.name)
        };
        if done && lasting && operators && !look.changes.iter().any(same) {
            self.idle.push(effect.clone());
        }
    }
}

/// Transition times move when a condition flips, and at no other time.
fn transitions(look: &mut Look<'_>, change: &Change) {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return;
    };
    let conditions = |object: &Value| {
        let conditions = object.pointer("/status/conditions");
        conditions
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let before = conditions(old);
    for condition in conditions(new) {
        let same = |old: &&Value| old["type"] == condition["type"];
        let Some(was) = before.iter().find(same) else {
            continue;
        };
        let flipped = was["status"] != condition["status"];
        let moved = was["lastTransitionTime"] != condition["lastTransitionTime"];
        if moved && !flipped {
            look.wrong(format!(
                "the transition time of {} of {} moved without a flip",
                condition["type"], change.key.name
            ));
        }
    }
}

/// Nobody can have meant an object that was made after he had sent his request.
fn unmeant(look: &mut Look<'_>, change: &Change) {
    let (Some(effect), Some(old)) = (look.effect, &change.old) else {
        return;
    };
    let target = effect.call.target();
    let named = target.is_some_and(|target| target.name.as_ref() == Some(&change.key.name));
    let made = old["metadata"]["creationTimestamp"].as_str();
    let made = made.and_then(|made| made.parse::<Timestamp>().ok());
    if named && is_operators(look, change) && made.is_some_and(|made| made > effect.sent) {
        look.wrong(format!(
            "{} {} was changed by a request that is older than it",
            change.key.resource, change.key.name
        ));
    }
}

/// Whether the operator itself has made this change.
pub(super) fn is_operators(look: &Look<'_>, change: &Change) -> bool {
    let Some(effect) = look.effect else {
        return false;
    };
    let call = &effect.call;
    call.door == Door::Kubernetes
        && call.process.name.as_ref() != PERSON
        && call.target().is_some_and(|target| {
            target.resource() == change.key.resource
                && target.namespace.unwrap_or_default() == change.key.namespace
        })
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
