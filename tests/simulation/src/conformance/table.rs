//! The table, as it is written in `table.yaml`.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kept;

const TABLE: &str = include_str!("table.yaml");

/// Requests that belong together, in a namespace of their own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(rename = "case")]
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One request and the answer that a server must give.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Step {
    /// Verb and place.
    #[serde(rename = "do")]
    pub(super) act: String,
    /// The body.
    pub(super) send: Option<Value>,
    /// How the body is to be read.
    #[serde(rename = "as")]
    pub(super) dialect: Dialect,
    /// How much is asked for.
    pub(super) view: View,
    /// The status.
    pub(super) code: Option<u16>,
    /// The reason of a refusal.
    pub(super) reason: Option<String>,
    /// The fields that a refusal names.
    pub(super) causes: Option<Vec<String>>,
    /// What the body must hold.
    pub(super) has: Option<Value>,
    /// What it must not hold, as pointers.
    pub(super) lacks: Vec<String>,
    /// The names of a list's items.
    pub(super) names: Option<Vec<String>>,
    /// The events of a watch.
    pub(super) events: Option<Vec<String>>,
    /// What later steps want to know.
    pub(super) keep: BTreeMap<String, String>,
}

/// How a body is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dialect {
    #[default]
    Whole,
    Merge,
    Json,
    Strategic,
    Apply,
}

/// How much of an object is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum View {
    #[default]
    Full,
    Metadata,
}

pub(super) fn cases() -> Result<Vec<Case>> {
    Ok(serde_saphyr::from_str(TABLE)?)
}

/// The kinds that the table speaks of in short.
fn kind(plural: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match plural {
        "gadgets" => ("/apis", "conformance.apikeys.dev/v1", "Gadget"),
        "secrets" => ("/api", "v1", "Secret"),
        "serviceaccounts" => ("/api", "v1", "ServiceAccount"),
        "configmaps" => ("/api", "v1", "ConfigMap"),
        "leases" => ("/apis", "coordination.k8s.io/v1", "Lease"),
        "events" => ("/apis", "events.k8s.io/v1", "Event"),
        _ => return None,
    })
}

fn plural(place: &str) -> &str {
    place.split(['/', '?']).next().unwrap_or_default()
}

/// The whole path of a place.
pub(super) fn path(place: &str, namespace: &str) -> String {
    match kind(plural(place)) {
        Some((root, version, _)) => format!("{root}/{version}/namespaces/{namespace}/{place}"),
        None => place.to_owned(),
    }
}

/// A body with the words that every whole object needs: kind, version, and for an apply its name.
pub(super) fn named(body: &Value, step: &Step, place: &str) -> Value {
    let mut body = body.clone();
    let Some((_, version, kind)) = kind(plural(place)) else {
        if let Some(fields) = body.as_object_mut()
            && place.ends_with("/secrets")
        {
            fields.entry("apiVersion").or_insert_with(|| json!("v1"));
            fields.entry("kind").or_insert_with(|| json!("Secret"));
        }
        return body;
    };
    if step.act.starts_with("DELETE") || !matches!(step.dialect, Dialect::Whole | Dialect::Apply) {
        return body;
    }
    if let Some(fields) = body.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| json!(version));
        fields.entry("kind").or_insert_with(|| json!(kind));
        if step.dialect == Dialect::Apply {
            let name = place.split(['/', '?']).nth(1).unwrap_or_default();
            fields.entry("metadata").or_insert_with(|| json!({}))["name"] = json!(name);
        }
    }
    body
}

impl Step {
    /// The step with the kept values in place of their names.
    pub(super) fn filled(&self, kept: &Kept) -> Result<Self> {
        let mut step = self.clone();
        step.act = fill(&self.act, kept);
        for value in [&mut step.send, &mut step.has].into_iter().flatten() {
            let text = fill(&value.to_string(), kept);
            *value = serde_json::from_str(&text)?;
        }
        Ok(step)
    }
}

/// Longer names first, so that `$rv2` is not taken for `$rv`.
fn fill(text: &str, kept: &Kept) -> String {
    kept.iter()
        .rev()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${name}"), value)
        })
}
