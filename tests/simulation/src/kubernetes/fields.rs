//! The fields of an object as managers own them: leaves, by the schema's idea of what is one.
//!
//! Lists are one leaf unless they are sets or maps, objects unless they are atomic.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::kind::{Kind, StatusDoor};
use super::schema::{field_schema, item_key};

/// A field: `f:name` in an object, `k:{…}` in a map list, `v:…` in a set.
pub(super) type Path = Vec<String>;

/// The schema of an object with its metadata.
pub(super) fn whole_schema(kind: &Kind) -> Value {
    let mut schema = kind.schema.root().clone();
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    schema["properties"]["metadata"] = json!({"type": "object", "properties": {
        "labels": texts,
        "annotations": texts,
        "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {}},
        "ownerReferences": {
            "type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    }});
    if kind.status == StatusDoor::Subresource && schema["properties"]["status"].is_null() {
        schema["properties"]["status"] = json!({});
    }
    schema
}

/// The leaves of an object, without what identifies it.
pub(super) fn fields(schema: &Value, object: &Value) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        if name != "apiVersion" && name != "kind" {
            let inner = field_schema(schema, name).unwrap_or(&Value::Null);
            leaves(inner, value, &mut vec![format!("f:{name}")], &mut found);
        }
    }
    let known = |path: &Path| {
        path[0] != "f:metadata"
            || path.get(1).is_some_and(|step| {
                [
                    "f:labels",
                    "f:annotations",
                    "f:finalizers",
                    "f:ownerReferences",
                ]
                .contains(&step.as_str())
            })
    };
    found.retain(|path, _| known(path));
    found
}

fn leaves(schema: &Value, value: &Value, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
    match value {
        Value::Object(inner)
            if !inner.is_empty() && schema["x-kubernetes-map-type"] != "atomic" =>
        {
            for (name, value) in inner {
                path.push(format!("f:{name}"));
                leaves(
                    field_schema(schema, name).unwrap_or(&Value::Null),
                    value,
                    path,
                    found,
                );
                path.pop();
            }
        }
        Value::Array(items) if listed(schema) => {
            for item in items {
                path.push(step(schema, item));
                if item.is_object() {
                    leaves(&schema["items"], item, path, found);
                } else {
                    found.insert(path.clone(), item.clone());
                }
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone(), value.clone());
        }
    }
}

fn listed(schema: &Value) -> bool {
    matches!(
        schema["x-kubernetes-list-type"].as_str(),
        Some("set" | "map")
    )
}

fn step(schema: &Value, item: &Value) -> String {
    let sort = if schema["x-kubernetes-list-type"] == "map" {
        "k"
    } else {
        "v"
    };
    format!("{sort}:{}", item_key(schema, item))
}

pub(super) fn merge(schema: &Value, live: &mut Value, config: &Value) {
    match (live, config) {
        (Value::Object(live), Value::Object(config))
            if schema["x-kubernetes-map-type"] != "atomic" =>
        {
            for (name, value) in config {
                let inner = field_schema(schema, name).unwrap_or(&Value::Null);
                merge(
                    inner,
                    live.entry(name.clone()).or_insert(Value::Null),
                    value,
                );
            }
        }
        (Value::Array(live), Value::Array(config)) if listed(schema) => {
            for item in config {
                let key = item_key(schema, item);
                match live.iter_mut().find(|one| item_key(schema, one) == key) {
                    Some(found) => merge(&schema["items"], found, item),
                    None => live.push(item.clone()),
                }
            }
        }
        (live, config) => *live = config.clone(),
    }
}

/// Takes a leaf out, and the item of a map list whose key it was.
pub(super) fn remove(schema: &Value, value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match (first.split_once(':'), value) {
        (Some(("f", name)), Value::Object(inner)) => {
            let deeper = field_schema(schema, name).unwrap_or(&Value::Null);
            if rest.is_empty() {
                inner.remove(name);
            } else if let Some(value) = inner.get_mut(name) {
                remove(deeper, value, rest);
                if is_hollow(value) {
                    inner.remove(name);
                }
            }
        }
        (Some(_), Value::Array(items)) => {
            if let Some(at) = items.iter().position(|item| step(schema, item) == *first) {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                let is_key = rest.len() == 1
                    && keys.into_iter().flatten().any(|key| {
                        key.as_str()
                            .is_some_and(|key| rest[0] == format!("f:{key}"))
                    });
                if rest.is_empty() || is_key {
                    items.remove(at);
                } else {
                    remove(&schema["items"], &mut items[at], rest);
                }
            }
        }
        _ => {}
    }
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}
