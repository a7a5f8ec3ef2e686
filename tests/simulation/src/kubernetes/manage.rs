//! Field managers: who wrote which field last (`metadata.managedFields`), and server-side apply.
//!
//! What a real server notes beyond leaves (`.` for a map itself) is not noted here.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::fields::{Path, fields, merge, remove, whole_schema};
use super::meta;
use super::refusal::Refusal;
use super::request::{Ownership, Part, Verb};
use super::store::{Asked, Store};
use super::write::Tracking;

/// What one manager has written in one way.
struct Entry {
    manager: String,
    operation: String,
    subresource: String,
    version: String,
    time: Value,
    fields: BTreeSet<Path>,
}

impl Entry {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let mut fields = BTreeSet::new();
        unfold(&value["fieldsV1"], &mut Vec::new(), &mut fields);
        Self {
            manager: text("manager"),
            operation: text("operation"),
            subresource: text("subresource"),
            version: text("apiVersion"),
            time: value["time"].clone(),
            fields,
        }
    }

    fn of(asked: &Asked, operation: &str) -> Self {
        let subresource = match asked.target.part {
            Part::Whole => "",
            Part::Status => "status",
            Part::Finalize => "finalize",
        };
        Self {
            manager: asked.options.manager().to_owned(),
            operation: operation.to_owned(),
            subresource: subresource.to_owned(),
            version: asked.kind.api_version(),
            time: meta::time(asked.now),
            fields: BTreeSet::new(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && self.version == other.version
    }

    fn write(&self) -> Value {
        let mut fields = json!({});
        for path in &self.fields {
            path.iter().fold(&mut fields, |place, step| {
                let place = &mut place[step];
                if place.is_null() {
                    *place = json!({});
                }
                place
            });
        }
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.version,
            "time": self.time, "fieldsType": "FieldsV1", "fieldsV1": fields,
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.clone().into();
        }
        entry
    }
}

fn unfold(fields: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    let Some(inner) = fields.as_object() else {
        return;
    };
    if inner.is_empty() && !path.is_empty() {
        found.insert(path.clone());
    }
    for (step, deeper) in inner {
        path.push(step.clone());
        unfold(deeper, path, found);
        path.pop();
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Entry::read)
        .collect()
}

/// Whether two objects differ in nothing but the times at which managers wrote.
pub(super) fn same(old: &Value, new: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(list) = object["metadata"]["managedFields"].as_array_mut() {
            for entry in list {
                entry["time"] = Value::Null;
            }
        }
        object
    };
    timeless(old) == timeless(new)
}

/// Notes the writer as the manager of what it changed.
pub(super) fn update(asked: &Asked, old: Option<&Value>, new: &mut Value) {
    let schema = whole_schema(&asked.kind);
    let before = old.map(|old| fields(&schema, old)).unwrap_or_default();
    let after = fields(&schema, new);
    let changed: BTreeSet<Path> = after
        .iter()
        .filter(|(path, value)| before.get(*path) != Some(value))
        .map(|(path, _)| path.clone())
        .collect();
    if changed.is_empty() && before.len() == after.len() {
        return;
    }
    let mut mine = Entry::of(asked, "Update");
    let mut list = old.map(entries).unwrap_or_default();
    for entry in &mut list {
        entry.fields.retain(|path| after.contains_key(path));
        if entry.is(&mine) {
            mine.fields.append(&mut entry.fields);
        } else {
            entry.fields.retain(|path| !changed.contains(path));
        }
    }
    mine.fields.extend(changed);
    list.retain(|entry| !entry.fields.is_empty());
    list.push(mine);
    note(new, &list);
}

fn note(object: &mut Value, list: &[Entry]) {
    let list: Vec<Value> = list
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(Entry::write)
        .collect();
    object["metadata"]["managedFields"] = list.into();
}

impl Store {
    /// Server-side apply.
    pub(super) fn apply(
        &mut self,
        asked: &Asked,
        body: &Bytes,
    ) -> Result<(StatusCode, Value), Refusal> {
        let config = super::patch::decode(body)?;
        if asked.options.manager.is_none() {
            return Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid",
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is \
                 required for apply patch",
            ));
        }
        if !config["metadata"]["managedFields"].is_null() {
            return Err(Refusal::bad("metadata.managedFields must be nil"));
        }
        let schema = whole_schema(&asked.kind);
        let mut mine = Entry::of(asked, "Apply");
        let wanted = fields(&schema, &config);
        mine.fields = wanted.keys().cloned().collect();
        let Some(old) = self.objects.get(&asked.key()).cloned() else {
            return self.apply_new(asked, config, mine);
        };
        let mut list = entries(&old);
        let held = list
            .iter()
            .find(|entry| entry.is(&mine))
            .map(|entry| entry.fields.clone());
        list.retain(|entry| !entry.is(&mine));
        let current = fields(&schema, &old);
        contest(asked, &mut list, |path| {
            wanted
                .get(path)
                .is_some_and(|value| current.get(path) != Some(value))
        })?;
        let mut new = old.as_ref().clone();
        merge(&schema, &mut new, &config);
        for path in held.unwrap_or_default() {
            // An empty map is a leaf until something is put into it.
            let has = |entry: &Entry| entry.fields.iter().any(|field| field.starts_with(&path));
            if !has(&mine) && !list.iter().any(has) {
                remove(&schema, &mut new, &path);
            }
        }
        list.push(mine);
        note(&mut new, &list);
        let managers = new["metadata"]["managedFields"].clone();
        let tracking = Tracking::Applied(managers);
        Ok((
            StatusCode::OK,
            self.update(asked, &old, new, (Verb::Patch, tracking))?,
        ))
    }

    fn apply_new(
        &mut self,
        asked: &Asked,
        config: Value,
        mine: Entry,
    ) -> Result<(StatusCode, Value), Refusal> {
        let name = asked.key().name;
        if asked.target.part != Part::Whole {
            return Err(Refusal::not_found(&asked.kind, &name));
        }
        if !meta::text(&config, "uid").is_empty() {
            let uid = meta::text(&config, "uid");
            return Err(Refusal::conflict(
                &asked.kind,
                &name,
                format_args!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing \
                     object was found"
                ),
            ));
        }
        let made = self.create_applied(asked, config, |object| note(object, &[mine]))?;
        Ok((StatusCode::CREATED, made))
    }
}

/// Refuses to change what others manage, or takes it from them.
fn contest(
    asked: &Asked,
    list: &mut [Entry],
    changes: impl Fn(&Path) -> bool,
) -> Result<(), Refusal> {
    let mut causes = Vec::new();
    for entry in list {
        let contested: Vec<Path> = entry
            .fields
            .iter()
            .filter(|path| changes(path))
            .cloned()
            .collect();
        for path in contested {
            match asked.options.ownership {
                Ownership::Taken => {
                    entry.fields.remove(&path);
                }
                Ownership::Respected => causes.push((
                    dotted(&path),
                    format!("conflict with {:?} using {}", entry.manager, entry.version),
                )),
            }
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let said: Vec<String> = causes
        .iter()
        .map(|(field, message)| format!("{message}: {field}"))
        .collect();
    let count = match causes.len() {
        1 => "1 conflict".to_owned(),
        many => format!("{many} conflicts"),
    };
    Err(Refusal::owned(
        format!("Apply failed with {count}: {}", said.join(", ")),
        &causes,
    ))
}

fn dotted(path: &Path) -> String {
    path.iter()
        .fold(String::new(), |said, step| match step.split_once(':') {
            Some(("f", name)) => format!("{said}.{name}"),
            Some((_, inner)) => format!("{said}[{inner}]"),
            None => said,
        })
}
