//! Structural schemas (`openAPIV3Schema`): what is cut off, what is filled in, what is refused.
//!
//! Rules in CEL are judged in `rules`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use regex::Regex;
use serde_json::{Map, Value};

use super::refusal::{Cause, Fault};
use super::rules::Rules;

/// The schema of one kind.
#[derive(Debug, Clone)]
pub struct Schema {
    root: Arc<Value>,
    patterns: Arc<BTreeMap<String, Regex>>,
    rules: Rules,
}

impl Schema {
    /// Takes an `openAPIV3Schema`.
    ///
    /// # Errors
    /// When a pattern is no regular expression, or a rule no CEL.
    pub fn new(root: Value) -> Result<Self> {
        let mut patterns = BTreeMap::new();
        gather(&root, &mut patterns)?;
        let rules = Rules::of(&root)?;
        Ok(Self {
            root: Arc::new(root),
            patterns: Arc::new(patterns),
            rules,
        })
    }

    /// The schema as it was given.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Takes away what the schema does not know. Metadata is not looked at.
    pub fn prune(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        let kept: Vec<(String, Value)> = ["apiVersion", "kind", "metadata"]
            .iter()
            .filter_map(|name| {
                fields
                    .remove(*name)
                    .map(|value| ((*name).to_owned(), value))
            })
            .collect();
        prune(&self.root, object);
        if let Some(fields) = object.as_object_mut() {
            fields.extend(kept);
        }
    }

    /// Fills in defaults, and drops nulls where null is not a value.
    pub fn default(&self, object: &mut Value) {
        default(&self.root, object);
    }

    /// What is wrong with an object: everything, in the order of the schema, but for what was so before
    /// and has not changed (validation ratcheting).
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = Vec::new();
        self.check(&self.root, (object, old), &Path::Root, &mut causes);
        let said = self.rules.judge(object, old, &causes);
        causes.extend(said);
        causes
    }

    fn check(
        &self,
        schema: &Value,
        (value, old): (&Value, Option<&Value>),
        path: &Path<'_>,
        causes: &mut Vec<Cause>,
    ) {
        if old == Some(value) || (value.is_null() && schema["nullable"] == true) {
            return;
        }
        if let Some(refused) = wrong_type(schema, value) {
            causes.push(Cause::of(
                path.to_string(),
                Fault::Type,
                &Value::from(refused),
                format_args!(
                    "{path} in body must be of type {}: {:?}",
                    schema["type"].as_str().unwrap_or("integer or string"),
                    refused
                ),
            ));
            return;
        }
        if let Some(listed) = schema["enum"].as_array()
            && !listed.contains(value)
        {
            let words: Vec<String> = listed.iter().map(Value::to_string).collect();
            let message = format!("supported values: {}", words.join(", "));
            causes.push(Cause::of(
                path.to_string(),
                Fault::NotSupported,
                value,
                message,
            ));
        }
        match value {
            Value::String(text) => self.check_text(schema, text, path, causes),
            Value::Number(number) => check_number(schema, number, path, causes),
            Value::Array(items) => self.check_items(schema, (items, old), path, causes),
            Value::Object(fields) => self.check_fields(schema, (fields, old), path, causes),
            Value::Null | Value::Bool(_) => {}
        }
        self.check_junctors(schema, value, path, causes);
    }

    fn check_text(&self, schema: &Value, text: &str, path: &Path<'_>, causes: &mut Vec<Cause>) {
        let length = text.chars().count() as u64;
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            // The only one that does not repeat the text.
            let message = format!("may not be more than {most} bytes");
            causes.push(Cause::new(path.to_string(), Fault::TooLong, message));
        }
        let mut refuse = |message: String| {
            let field = path.to_string();
            causes.push(Cause::of(field, Fault::Invalid, &text.into(), message));
        };
        if let Some(pattern) = schema["pattern"].as_str()
            && !self
                .patterns
                .get(pattern)
                .is_some_and(|regex| regex.is_match(text))
        {
            refuse(format!("{path} in body should match '{pattern}'"));
        }
        if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
            refuse(format!(
                "{path} in body should be at least {least} chars long"
            ));
        }
        if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
            refuse(format!(
                "{path} in body must be of type date-time: {text:?}"
            ));
        }
    }

    fn check_items(
        &self,
        schema: &Value,
        (items, old): (&[Value], Option<&Value>),
        path: &Path<'_>,
        causes: &mut Vec<Cause>,
    ) {
        let count = items.len() as u64;
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| count > *most) {
            let message = format!("{count}: must have at most {most} items");
            causes.push(Cause::new(path.to_string(), Fault::TooMany, message));
        }
        if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
            let message = format!("{path} in body should have at least {least} items");
            causes.push(Cause::of(
                path.to_string(),
                Fault::Invalid,
                &count.into(),
                message,
            ));
        }
        let keys: Vec<Value> = items.iter().map(|item| item_key(schema, item)).collect();
        let old = old.and_then(Value::as_array);
        let old = old.filter(|_| schema["x-kubernetes-list-type"] == "map");
        for (index, (item, key)) in items.iter().zip(&keys).enumerate() {
            let mut before = old.into_iter().flatten();
            let before = before.find(|old| item_key(schema, old) == *key);
            let path = Path::Item(path, index);
            self.check(&schema["items"], (item, before), &path, causes);
        }
        let set = matches!(
            schema["x-kubernetes-list-type"].as_str(),
            Some("set" | "map")
        );
        for (index, key) in keys.iter().enumerate() {
            if set && keys[..index].contains(key) {
                let field = Path::Item(path, index).to_string();
                causes.push(Cause::new(field, Fault::Duplicate, key));
            }
        }
    }

    fn check_fields(
        &self,
        schema: &Value,
        (fields, old): (&Map<String, Value>, Option<&Value>),
        path: &Path<'_>,
        causes: &mut Vec<Cause>,
    ) {
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !fields.contains_key(name) {
                causes.push(Cause::new(
                    Path::Field(path, name).to_string(),
                    Fault::Required,
                    "",
                ));
            }
        }
        let count = fields.len() as u64;
        if let Some(most) = schema["maxProperties"]
            .as_u64()
            .filter(|most| count > *most)
        {
            let message = format!("{count}: must have at most {most} items");
            causes.push(Cause::new(path.to_string(), Fault::TooMany, message));
        }
        if let Some(least) = schema["minProperties"]
            .as_u64()
            .filter(|least| count < *least)
        {
            let message = format!("{path} in body should have at least {least} properties");
            causes.push(Cause::of(
                path.to_string(),
                Fault::Invalid,
                &count.into(),
                message,
            ));
        }
        for (name, value) in fields {
            if let Some(inner) = field_schema(schema, name) {
                let before = old.and_then(|old| old.get(name));
                self.check(inner, (value, before), &Path::Field(path, name), causes);
            }
        }
    }

    fn check_junctors(
        &self,
        schema: &Value,
        value: &Value,
        path: &Path<'_>,
        causes: &mut Vec<Cause>,
    ) {
        let fits = |inner: &Value| {
            let mut found = Vec::new();
            self.check(inner, (value, None), path, &mut found);
            found.is_empty()
        };
        let mut refuse = |words: &str| {
            let message = format!("{path} in body {words}");
            causes.push(Cause::of(path.to_string(), Fault::Invalid, value, message));
        };
        if let Some(all) = schema["allOf"].as_array()
            && !all.iter().all(fits)
        {
            refuse("must validate all the schemas (allOf)");
        }
        if let Some(any) = schema["anyOf"].as_array()
            && !any.iter().any(fits)
        {
            refuse("must validate at least one schema (anyOf)");
        }
        if let Some(one) = schema["oneOf"].as_array()
            && one.iter().filter(|inner| fits(inner)).count() != 1
        {
            refuse("must validate one and only one schema (oneOf)");
        }
        if schema.get("not").is_some_and(fits) {
            refuse("must not validate the schema (not)");
        }
    }
}

/// The schema of one field: a named property, else that of any other.
pub(super) fn field_schema<'schema>(schema: &'schema Value, name: &str) -> Option<&'schema Value> {
    schema["properties"].get(name).or_else(|| {
        schema
            .get("additionalProperties")
            .filter(|inner| inner.is_object())
    })
}

/// What tells an item of a list from the others: its keys in a map, itself else.
pub(super) fn item_key(schema: &Value, item: &Value) -> Value {
    if schema["x-kubernetes-list-type"] != "map" {
        return item.clone();
    }
    schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|key| (key.to_owned(), item[key].clone()))
        .collect::<Map<String, Value>>()
        .into()
}

fn gather(schema: &Value, patterns: &mut BTreeMap<String, Regex>) -> Result<()> {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern") {
                let regex = Regex::new(pattern).with_context(|| format!("pattern {pattern}"))?;
                patterns.insert(pattern.clone(), regex);
            }
            fields
                .values()
                .try_for_each(|inner| gather(inner, patterns))
        }
        Value::Array(items) => items.iter().try_for_each(|inner| gather(inner, patterns)),
        _ => Ok(()),
    }
}

fn prune(schema: &Value, value: &mut Value) {
    let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
    match value {
        Value::Object(fields) => {
            if !keeps {
                fields.retain(|name, _| {
                    field_schema(schema, name).is_some()
                        || schema["additionalProperties"] == true
                        || (schema["x-kubernetes-embedded-resource"] == true
                            && matches!(name.as_str(), "apiVersion" | "kind" | "metadata"))
                });
            }
            for (name, inner) in fields {
                if let Some(known) = field_schema(schema, name) {
                    prune(known, inner);
                }
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            for item in items {
                prune(&schema["items"], item);
            }
        }
        _ => {}
    }
}

fn default(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema["properties"].as_object();
            fields.retain(|name, inner| {
                !inner.is_null()
                    || field_schema(schema, name).is_none_or(|known| known["nullable"] == true)
            });
            for (name, known) in properties.into_iter().flatten() {
                if let Some(preset) = known.get("default")
                    && !fields.contains_key(name)
                {
                    fields.insert(name.clone(), preset.clone());
                }
            }
            for (name, inner) in fields {
                if let Some(known) = field_schema(schema, name) {
                    default(known, inner);
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| default(&schema["items"], item)),
        _ => {}
    }
}

/// The value's type, where it is not the schema's.
fn wrong_type(schema: &Value, value: &Value) -> Option<&'static str> {
    let given = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = if schema["x-kubernetes-int-or-string"] == true {
        matches!(given, "integer" | "string")
    } else {
        match schema["type"].as_str() {
            None => true,
            Some("number") => matches!(given, "number" | "integer"),
            Some(wanted) => wanted == given,
        }
    };
    (!fits).then_some(given)
}

fn check_number(
    schema: &Value,
    number: &serde_json::Number,
    path: &Path<'_>,
    causes: &mut Vec<Cause>,
) {
    let value = number.as_f64().unwrap_or_default();
    let mut refuse = |message: String| {
        let shown = Value::Number(number.clone());
        causes.push(Cause::of(path.to_string(), Fault::Invalid, &shown, message));
    };
    if let Some(least) = schema["minimum"].as_f64() {
        if schema["exclusiveMinimum"] == true && value <= least {
            refuse(format!("{path} in body should be greater than {least}"));
        } else if value < least {
            refuse(format!(
                "{path} in body should be greater than or equal to {least}"
            ));
        }
    }
    if let Some(most) = schema["maximum"].as_f64() {
        if schema["exclusiveMaximum"] == true && value >= most {
            refuse(format!("{path} in body should be less than {most}"));
        } else if value > most {
            refuse(format!(
                "{path} in body should be less than or equal to {most}"
            ));
        }
    }
}

enum Path<'parent> {
    Root,
    Field(&'parent Path<'parent>, &'parent str),
    Item(&'parent Path<'parent>, usize),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => write!(out, "{name}"),
            Self::Field(parent, name) => write!(out, "{parent}.{name}"),
            Self::Item(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}
