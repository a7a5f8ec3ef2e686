//! Deletion: preconditions, finalizers, and what the cluster's own controllers end in the
//! background.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::kind::Scope;
use super::meta;
use super::refusal::Refusal;
use super::request::{Durability, Options, Part, Target, Verb};
use super::selector::Selector;
use super::store::{Asked, Key, Store};
use super::write::is_finished;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

impl Store {
    pub(super) fn delete(&mut self, asked: &Asked, body: &Bytes) -> Result<Value, Refusal> {
        let options = if body.is_empty() {
            json!({})
        } else {
            super::patch::decode(body)?
        };
        let old = self.present(asked)?;
        asked.hold(&old, &options["preconditions"])?;
        let mut new = old.as_ref().clone();
        asked.mark(&mut new, options["propagationPolicy"].as_str());
        self.judge(asked, Verb::Delete, Some(&old), &mut Value::Null)?;
        let lasting = asked.options.durability == Durability::Lasting
            && options["dryRun"].as_array().is_none_or(Vec::is_empty);
        if !is_finished(&new) {
            let unchanged = new == *old;
            return Ok(if lasting && !unchanged {
                self.commit(asked.key(), Some(new)).as_ref().clone()
            } else {
                new
            });
        }
        if lasting {
            self.commit(asked.key(), None);
        }
        let key = asked.key();
        let mut details = json!({
            "name": key.name, "kind": asked.kind.plural, "uid": meta::text(&old, "uid"),
        });
        if !asked.kind.group.is_empty() {
            details["group"] = asked.kind.group.clone().into();
        }
        Ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": details,
        }))
    }

    /// Removes an object whatever finalizers it has by now, as the real API server does with one that
    /// gets its first while a deletion is on its way that has seen none (kubernetes/kubernetes#77988).
    pub fn overtake(&mut self, resource: &str, namespace: &str, name: &str) {
        let key = Key {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.commit(key, None);
    }

    /// Deletes all that a path and its selectors name.
    pub(super) fn clear(&mut self, asked: &Asked, body: &Bytes) -> Result<Value, Refusal> {
        let options = &asked.options;
        let selector = Selector::parse(&asked.kind, &options.labels, &options.fields)?;
        let mut items = Vec::new();
        for (key, object) in self.at(asked, self.version) {
            if selector.fits(&object) {
                self.delete(&asked.one(&key), body)?;
                items.push(object.as_ref().clone());
            }
        }
        Ok(json!({
            "apiVersion": asked.kind.api_version(), "kind": format!("{}List", asked.kind.kind),
            "metadata": {"resourceVersion": self.version.to_string()}, "items": items,
        }))
    }

    /// One round of the namespace controller and the garbage collector. Says whether anything was
    /// left to do: call it again until it says no.
    pub fn collect(&mut self, now: Timestamp) -> bool {
        let before = self.version;
        for key in self.doomed() {
            self.end(now, &key);
        }
        for (key, object) in self.half_orphaned() {
            self.commit(key, Some(object));
        }
        for (key, policy) in self.waiting() {
            self.settle(&key, policy);
        }
        self.close_namespaces();
        self.version != before
    }

    /// What lies in a namespace that is going, or has lost the last of its owners.
    fn doomed(&self) -> Vec<Key> {
        let going: BTreeSet<&str> = self
            .all("namespaces")
            .filter(|namespace| meta::is_going(namespace))
            .map(|namespace| meta::text(namespace, "name"))
            .collect();
        self.objects
            .iter()
            .filter(|(_, object)| !meta::is_going(object))
            .filter(|(key, object)| {
                going.contains(key.namespace.as_str()) || self.is_orphaned(key, object)
            })
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// What has lost some of its owners but not all, without its references to the lost ones.
    fn half_orphaned(&self) -> Vec<(Key, Value)> {
        let mut found = Vec::new();
        for (key, object) in &self.objects {
            let Some(owners) = object["metadata"]["ownerReferences"].as_array() else {
                continue;
            };
            let is_there = |owner: &Value| {
                self.owner(key, owner)
                    .is_some_and(|found| !holds(found, FOREGROUND))
            };
            let left: Vec<Value> = owners
                .iter()
                .filter(|owner| is_there(owner))
                .cloned()
                .collect();
            if !left.is_empty() && left.len() < owners.len() {
                let mut object = object.as_ref().clone();
                object["metadata"]["ownerReferences"] = left.into();
                found.push((key.clone(), object));
            }
        }
        found
    }

    fn is_orphaned(&self, key: &Key, object: &Value) -> bool {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| {
            !owners.is_empty()
                && owners.iter().all(|owner| {
                    self.owner(key, owner)
                        .is_none_or(|found| holds(found, FOREGROUND))
                })
        })
    }

    /// The living object that an owner reference names.
    fn owner(&self, dependent: &Key, reference: &Value) -> Option<&Value> {
        let kind = self.kinds.iter().find(|kind| {
            reference["kind"] == kind.kind.as_str()
                && reference["apiVersion"] == kind.api_version().as_str()
        })?;
        let namespace = match kind.scope {
            Scope::Namespaced => dependent.namespace.as_str(),
            Scope::Cluster => "",
        };
        self.get(&kind.resource(), namespace, reference["name"].as_str()?)
            .filter(|found| found["metadata"]["uid"] == reference["uid"])
    }

    /// The objects that wait for their dependents, each with the finalizer that says so.
    fn waiting(&self) -> Vec<(Key, &'static str)> {
        self.objects
            .iter()
            .filter(|(_, object)| meta::is_going(object))
            .flat_map(|(key, object)| {
                [FOREGROUND, ORPHAN]
                    .into_iter()
                    .filter(|policy| holds(object, policy))
                    .map(|policy| (key.clone(), policy))
            })
            .collect()
    }

    fn settle(&mut self, key: &Key, policy: &str) {
        let Some(owner) = self.objects.get(key).cloned() else {
            return;
        };
        let uid = &owner["metadata"]["uid"];
        let dependents: Vec<(Key, Arc<Value>)> = self
            .objects
            .iter()
            .filter(|(_, object)| {
                let list = object["metadata"]["ownerReferences"].as_array();
                list.into_iter()
                    .flatten()
                    .any(|reference| reference["uid"] == *uid)
            })
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        if policy == FOREGROUND && !dependents.is_empty() {
            return;
        }
        for (key, object) in dependents {
            let mut free = object.as_ref().clone();
            if let Some(list) = free["metadata"]["ownerReferences"].as_array_mut() {
                list.retain(|reference| reference["uid"] != *uid);
                if list.is_empty() {
                    meta::forget(&mut free, "ownerReferences");
                }
            }
            self.commit(key, Some(free));
        }
        let mut done = owner.as_ref().clone();
        if let Some(list) = done["metadata"]["finalizers"].as_array_mut() {
            list.retain(|finalizer| finalizer != policy);
        }
        let finished = is_finished(&done);
        self.commit(key.clone(), (!finished).then_some(done));
    }

    fn close_namespaces(&mut self) {
        let empty: Vec<Key> = self
            .objects
            .iter()
            .filter(|(key, object)| key.resource == "namespaces" && meta::is_going(object))
            .map(|(key, _)| key.clone())
            .filter(|key| self.objects.keys().all(|inner| inner.namespace != key.name))
            .collect();
        for key in empty {
            let Some(namespace) = self.objects.get(&key) else {
                continue;
            };
            let mut done = namespace.as_ref().clone();
            done["spec"] = json!({});
            let finished = is_finished(&done);
            if finished || done["spec"] != namespace["spec"] {
                self.commit(key, (!finished).then_some(done));
            }
        }
    }

    fn end(&mut self, now: Timestamp, key: &Key) {
        let Some(kind) = self
            .kinds
            .iter()
            .find(|kind| kind.resource() == key.resource)
        else {
            return;
        };
        let asked = Asked {
            now,
            kind: kind.clone(),
            target: Target {
                group: kind.group.clone(),
                version: kind.version.clone(),
                namespace: Some(key.namespace.clone()).filter(|name| !name.is_empty()),
                plural: kind.plural.clone(),
                name: Some(key.name.clone()),
                part: Part::Whole,
            },
            options: Options::default(),
            user: "system:controller".to_owned(),
            horizon: None,
        };
        // Admission may refuse; the next round tries again.
        drop(self.delete(&asked, &Bytes::new()));
    }
}

fn holds(object: &Value, finalizer: &str) -> bool {
    meta::finalizers(object).contains(&finalizer)
}

impl Asked {
    /// The same request, for one of the objects that it names.
    fn one(&self, key: &Key) -> Self {
        let mut target = self.target.clone();
        target.name = Some(key.name.clone());
        target.namespace = Some(key.namespace.clone()).filter(|name| !name.is_empty());
        Self {
            now: self.now,
            kind: self.kind.clone(),
            target,
            options: self.options.clone(),
            user: self.user.clone(),
            horizon: self.horizon,
        }
    }

    /// Holds the preconditions of a delete against the object.
    fn hold(&self, object: &Value, preconditions: &Value) -> Result<(), Refusal> {
        let named = [
            ("uid", "UID", "deleted and then recreated"),
            ("resourceVersion", "ResourceVersion", "modified"),
        ];
        for (field, words, happened) in named {
            let Some(given) = preconditions[field].as_str() else {
                continue;
            };
            let found = meta::text(object, field);
            if given != found {
                return Err(Refusal::conflict(
                    &self.kind,
                    meta::text(object, "name"),
                    format_args!(
                        "the {words} in the precondition ({given}) does not match the {words} in \
                         record ({found}). The object might have been {happened}"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Puts an object on its way out, as far as that shows in it.
    fn mark(&self, object: &mut Value, policy: Option<&str>) {
        let mut held: Vec<String> = meta::finalizers(object)
            .into_iter()
            .map(str::to_owned)
            .collect();
        if policy.is_some() {
            held.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
        }
        match policy {
            Some("Foreground") => held.push(FOREGROUND.to_owned()),
            Some("Orphan") => held.push(ORPHAN.to_owned()),
            _ => {}
        }
        if held.is_empty() {
            meta::forget(object, "finalizers");
        } else {
            object["metadata"]["finalizers"] = held.into();
        }
        if meta::is_going(object) {
            return;
        }
        object["metadata"]["deletionTimestamp"] = meta::time(self.now);
        if self.kind.is("", "namespaces") {
            object["status"]["phase"] = "Terminating".into();
            return;
        }
        object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        if let Some(generation) = object["metadata"]["generation"].as_i64() {
            object["metadata"]["generation"] = (generation + 1).into();
        }
    }
}
