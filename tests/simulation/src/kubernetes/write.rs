//! Create, replace, patch and delete: in which order a real server looks at a write, and what it
//! keeps of it.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::kind::{Kind, Origin, Scope, StatusDoor};
use super::manage;
use super::meta;
use super::refusal::{Cause, Fault, Refusal};
use super::request::{Dialect, Durability, Part, Verb};
use super::store::{Asked, Key, Store};
use super::{builtin, patch};

/// What a generated name ends in.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Who is noted as the manager of what a write changed.
pub(super) enum Tracking {
    /// The writer, of what it changed.
    Written,
    /// As an apply has reckoned.
    Applied(Value),
}

impl Store {
    pub(super) fn create(&mut self, asked: &Asked, object: Value) -> Result<Value, Refusal> {
        self.create_applied(asked, object, |made| manage::update(asked, None, made))
    }

    /// Creates, and notes the managers as told.
    pub(super) fn create_applied(
        &mut self,
        asked: &Asked,
        mut object: Value,
        note: impl FnOnce(&mut Value),
    ) -> Result<Value, Refusal> {
        asked.identify(&mut object)?;
        self.name(asked, &mut object);
        let name = meta::text(&object, "name").to_owned();
        self.admit_namespace(asked, &name)?;
        if !meta::text(&object, "resourceVersion").is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "", message));
        }
        self.stamp(asked, &mut object);
        asked.read(None, &mut object)?;
        if asked.kind.status == StatusDoor::Subresource && asked.kind.origin != Origin::Plain {
            object.as_object_mut().map(|fields| fields.remove("status"));
        }
        let bare = object.clone();
        asked.kind.schema.default(&mut object);
        let completed = bare != object;
        if asked.kind.origin != Origin::Plain {
            object["metadata"]["generation"] = 1.into();
        }
        note(&mut object);
        self.judge(asked, Verb::Create, None, &mut object)?;
        asked.validate(None, &object)?;
        let key = Key {
            name: name.clone(),
            ..asked.key()
        };
        if self.objects.contains_key(&key) {
            return Err(Refusal::exists(&asked.kind, &name));
        }
        if asked.options.durability == Durability::Rehearsed {
            return Ok(object);
        }
        self.define(&asked.kind, &object)?;
        if completed {
            self.incomplete.insert(key.clone());
        }
        Ok(self.store(key, Some(object)).as_ref().clone())
    }

    pub(super) fn replace(
        &mut self,
        asked: &Asked,
        mut new: Value,
    ) -> Result<(StatusCode, Value), Refusal> {
        asked.identify(&mut new)?;
        let name = asked.key().name;
        let given = meta::text(&new, "name");
        if given != name {
            return Err(misnamed(given, &name));
        }
        let Some(old) = self.objects.get(&asked.key()).cloned() else {
            if asked.kind.creates_on_update() {
                meta::forget(&mut new, "resourceVersion");
                return Ok((StatusCode::CREATED, self.create(asked, new)?));
            }
            return Err(Refusal::not_found(&asked.kind, &name));
        };
        let (given, uid) = (meta::text(&new, "uid"), meta::text(&old, "uid"));
        if !given.is_empty() && given != uid {
            let why = format!(
                "Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"
            );
            return Err(Refusal::conflict(&asked.kind, &name, why));
        }
        Ok((
            StatusCode::OK,
            self.update(asked, &old, new, (Verb::Replace, Tracking::Written))?,
        ))
    }

    pub(super) fn patch(
        &mut self,
        asked: &Asked,
        dialect: Dialect,
        body: &Bytes,
    ) -> Result<(StatusCode, Value), Refusal> {
        if dialect == Dialect::Apply {
            return self.apply(asked, body);
        }
        let old = self.present(asked)?;
        let new = match dialect {
            Dialect::Merge => patch::merge(&old, body)?,
            Dialect::Json | Dialect::Apply => patch::operate(&old, body)?,
        };
        Ok((
            StatusCode::OK,
            self.update(asked, &old, new, (Verb::Patch, Tracking::Written))?,
        ))
    }

    /// Writes `new` over `old`, as far as the path's part and the rules allow.
    pub(super) fn update(
        &mut self,
        asked: &Asked,
        old: &Arc<Value>,
        mut new: Value,
        (verb, tracking): (Verb, Tracking),
    ) -> Result<Value, Refusal> {
        let kind = &asked.kind;
        let name = asked.key().name;
        asked.identify(&mut new)?;
        let given = meta::text(&new, "name");
        if given != name {
            return Err(misnamed(given, &name));
        }
        let version = meta::text(old, "resourceVersion");
        match meta::text(&new, "resourceVersion") {
            "" if kind.overwrites() => new["metadata"]["resourceVersion"] = version.into(),
            "" => {
                let cause = Cause::new(
                    "metadata.resourceVersion",
                    Fault::Invalid,
                    "0: must be specified for an update",
                );
                return Err(Refusal::invalid(kind, &name, &[cause]));
            }
            given if given != version => return Err(Refusal::stale(kind, &name)),
            _ => {}
        }
        asked.read(Some(old), &mut new)?;
        asked.part(old, &mut new);
        asked.count(old, &mut new);
        match tracking {
            Tracking::Written => manage::update(asked, Some(old), &mut new),
            Tracking::Applied(managers) => new["metadata"]["managedFields"] = managers,
        }
        self.judge(asked, verb, Some(old), &mut new)?;
        asked.validate(Some(old), &new)?;
        if manage::same(old, &new) && !self.incomplete.contains(&asked.key()) {
            return Ok(old.as_ref().clone());
        }
        if asked.options.durability == Durability::Rehearsed {
            return Ok(new);
        }
        if is_finished(&new) && meta::is_going(old) {
            // The last finalizer is gone: the answer shows the object as it would have been.
            let last = self.commit(asked.key(), None);
            meta::keep(&mut new, &last, "resourceVersion");
            return Ok(new);
        }
        self.define(kind, &new)?;
        Ok(self.commit(asked.key(), Some(new)).as_ref().clone())
    }

    /// A definition that is written is served at once.
    fn define(&mut self, kind: &Kind, object: &Value) -> Result<(), Refusal> {
        if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
            let defined = Kind::custom(object)
                .map_err(|error| Refusal::bad(format!("not a definition: {error:#}")))?;
            self.serve(defined);
        }
        Ok(())
    }

    fn name(&mut self, asked: &Asked, object: &mut Value) {
        let base = meta::text(object, "generateName").to_owned();
        if let Some(name) = &asked.target.name {
            object["metadata"]["name"] = name.clone().into();
        } else if meta::text(object, "name").is_empty() && !base.is_empty() {
            self.made += 1;
            let mut rest = self.made.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut name: String = base.chars().take(58).collect();
            for _ in 0..5 {
                let letters = LETTERS.len() as u64;
                let place = usize::try_from(rest % letters).unwrap_or_default();
                name.push(char::from(LETTERS[place]));
                rest /= letters;
            }
            object["metadata"]["name"] = name.into();
        }
    }

    fn admit_namespace(&self, asked: &Asked, name: &str) -> Result<(), Refusal> {
        let Some(namespace) = &asked.target.namespace else {
            return Ok(());
        };
        match self.get("namespaces", "", namespace) {
            None => Err(Refusal::absent_namespace(namespace)),
            Some(found) if meta::is_going(found) => {
                Err(Refusal::terminating(&asked.kind, name, namespace))
            }
            Some(_) => Ok(()),
        }
    }

    /// What the server alone may say of a new object.
    fn stamp(&mut self, asked: &Asked, object: &mut Value) {
        let server_made = [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "managedFields",
            "resourceVersion",
        ];
        for field in server_made {
            meta::forget(object, field);
        }
        self.made += 1;
        let uid = format!(
            "{:08x}-5a1e-4000-8000-{:012x}",
            asked.now.as_second(),
            self.made
        );
        object["metadata"]["uid"] = uid.into();
        object["metadata"]["creationTimestamp"] = meta::time(asked.now);
    }
}

fn misnamed(given: &str, name: &str) -> Refusal {
    Refusal::bad(match given {
        "" => "name must be provided".to_owned(),
        _ => {
            format!("the name of the object ({given}) does not match the name on the URL ({name})")
        }
    })
}

/// Whether nothing holds an object any longer.
pub(super) fn is_finished(object: &Value) -> bool {
    let held = object["spec"]["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    let namespace = object["kind"] == "Namespace" && object["apiVersion"] == "v1";
    meta::finalizers(object).is_empty() && !(namespace && held)
}

impl Asked {
    /// Holds an object's own words about itself against the path.
    fn identify(&self, object: &mut Value) -> Result<(), Refusal> {
        let api = self.kind.api_version();
        if object["apiVersion"].as_str().is_none_or(str::is_empty) {
            object["apiVersion"] = api.clone().into();
        }
        if object["kind"].as_str().is_none_or(str::is_empty) {
            object["kind"] = self.kind.kind.clone().into();
        }
        let wrong = |field: &str, words: &str, expected: &str| {
            Refusal::bad(format!(
                "the {words} in the data ({}) does not match the expected {words} ({expected})",
                object[field]
            ))
        };
        if object["apiVersion"] != api.as_str() {
            return Err(wrong("apiVersion", "API version", &api));
        }
        if object["kind"] != self.kind.kind.as_str() {
            let message = format_args!("must be {}", self.kind.kind);
            let cause = Cause::of("kind", Fault::Invalid, &object["kind"], message);
            return Err(match self.kind.origin {
                Origin::Custom => Refusal::invalid(&self.kind, &self.key().name, &[cause]),
                _ => wrong("kind", "kind", &self.kind.kind),
            });
        }
        meta::tidy(&self.kind, object)?;
        let expected = self.target.namespace.as_deref().unwrap_or_default();
        let given = meta::text(object, "namespace");
        if self.kind.scope == Scope::Namespaced && given.is_empty() {
            object["metadata"]["namespace"] = expected.into();
        } else if given != expected {
            return Err(Refusal::bad(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        Ok(())
    }

    /// Reads a body as the kind's type: unknown fields go, defaults come.
    fn read(&self, old: Option<&Value>, object: &mut Value) -> Result<(), Refusal> {
        self.kind.schema.prune(object);
        self.kind.schema.default(object);
        builtin::decode(&self.kind, object)?;
        builtin::prepare(&self.kind, old, object);
        Ok(())
    }

    /// Keeps all but the part that the path names, and what the server alone may say.
    fn part(&self, old: &Value, new: &mut Value) {
        match (self.target.part, self.kind.status) {
            (Part::Whole, StatusDoor::Subresource) => take(new, old, "status"),
            (Part::Whole, StatusDoor::Plain) => {}
            (Part::Status | Part::Finalize, _) => {
                let field = if self.target.part == Part::Status {
                    "status"
                } else {
                    "spec"
                };
                let mut whole = old.clone();
                take(&mut whole, new, field);
                *new = whole;
            }
        }
        if meta::text(new, "uid").is_empty() {
            meta::keep(new, old, "uid");
        }
        for field in ["creationTimestamp", "generation", "managedFields"] {
            meta::keep(new, old, field);
        }
        if meta::is_going(old) {
            meta::keep(new, old, "deletionTimestamp");
            meta::keep(new, old, "deletionGracePeriodSeconds");
        }
    }

    /// Counts generations: metadata and a separate status are no change of one.
    fn count(&self, old: &Value, new: &mut Value) {
        let changed = match self.kind.origin {
            Origin::Plain => false,
            Origin::Workload => old["spec"] != new["spec"],
            Origin::Custom if self.target.part == Part::Status => {
                rest(old, &["metadata", "status"]) != rest(new, &["metadata", "status"])
            }
            Origin::Custom => rest(old, &["metadata"]) != rest(new, &["metadata"]),
        };
        if changed {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            new["metadata"]["generation"] = (generation + 1).into();
        }
    }

    /// Refuses what the rules do not allow, all at once.
    fn validate(&self, old: Option<&Value>, new: &Value) -> Result<(), Refusal> {
        let mut causes = meta::validate(&self.kind, new);
        if let Some(old) = old {
            causes.extend(meta::validate_change(old, new));
        }
        causes.extend(builtin::validate(&self.kind, old, new));
        if self.kind.origin == Origin::Custom {
            causes.extend(self.kind.schema.validate(new, old));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(Refusal::invalid(
            &self.kind,
            meta::text(new, "name"),
            &causes,
        ))
    }
}

/// An object without some of its fields.
fn rest<'object>(object: &'object Value, apart: &[&str]) -> Vec<(&'object String, &'object Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !apart.contains(&name.as_str()))
        .collect()
}

/// Takes a field over from another object, absence included.
fn take(object: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => object[field] = value.clone(),
        None => {
            object.as_object_mut().map(|fields| fields.remove(field));
        }
    }
}
