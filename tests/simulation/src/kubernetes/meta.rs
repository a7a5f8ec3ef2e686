//! `metadata`: what is read of it, what the server alone may say, and what is refused.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::refusal::{Cause, Fault, Refusal};

/// The most bytes that all annotations of an object may have together.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The fields of metadata and the JSON type of each.
const FIELDS: [(&str, &str); 14] = [
    ("name", "string"),
    ("generateName", "string"),
    ("namespace", "string"),
    ("uid", "string"),
    ("resourceVersion", "string"),
    ("generation", "integer"),
    ("creationTimestamp", "string"),
    ("deletionTimestamp", "string"),
    ("deletionGracePeriodSeconds", "integer"),
    ("labels", "object"),
    ("annotations", "object"),
    ("ownerReferences", "array"),
    ("finalizers", "array"),
    ("managedFields", "array"),
];

/// A point of time as objects say it: whole seconds.
pub(super) fn time(now: Timestamp) -> Value {
    Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string()
        .into()
}

/// A text of metadata, empty when absent.
pub(super) fn text<'object>(object: &'object Value, field: &str) -> &'object str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The finalizers of an object.
pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Whether an object is on its way out.
pub(super) fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Takes a field of metadata over from another object, absence included.
pub(super) fn keep(object: &mut Value, from: &Value, field: &str) {
    match from["metadata"].get(field) {
        Some(value) => object["metadata"][field] = value.clone(),
        None => forget(object, field),
    }
}

/// Takes a field of metadata away.
pub(super) fn forget(object: &mut Value, field: &str) {
    if let Some(fields) = object["metadata"].as_object_mut() {
        fields.remove(field);
    }
}

/// Reads metadata as the server does: unknown fields, nulls and empty collections go.
///
/// # Errors
/// 400 for a field of another type.
pub(super) fn tidy(kind: &Kind, object: &mut Value) -> Result<(), Refusal> {
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    let wrong = |field: &str| {
        Refusal::bad(format!(
            "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal \
             metadata{field} into the type that it should have",
            kind.kind, kind.version, kind.kind
        ))
    };
    let Some(fields) = object["metadata"].as_object_mut() else {
        return Err(wrong(""));
    };
    fields.retain(|name, value| {
        FIELDS.iter().any(|(known, _)| known == name)
            && !value.is_null()
            && *value != json!({})
            && *value != json!([])
            && *value != json!("")
    });
    for (name, expected) in FIELDS {
        let fits = fields.get(name).is_none_or(|value| match expected {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "object" => value.as_object().is_some_and(texts),
            _ => value.is_array(),
        });
        if !fits {
            return Err(wrong(&format!(".{name}")));
        }
    }
    Ok(())
}

fn texts(fields: &Map<String, Value>) -> bool {
    fields.values().all(Value::is_string)
}

/// What is wrong with the metadata of an object that is made or changed.
pub(super) fn validate(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object, "name");
    let label_only = kind.is("", "namespaces");
    if name.is_empty() {
        let message = "name or generateName is required";
        causes.push(Cause::new("metadata.name", Fault::Required, message));
    } else if label_only && !(is_label(name)) {
        causes.push(Cause::of(
            "metadata.name",
            Fault::Invalid,
            &name.into(),
            LABEL_RULE,
        ));
    } else if !label_only && !is_subdomain(name) {
        causes.push(Cause::of(
            "metadata.name",
            Fault::Invalid,
            &name.into(),
            SUBDOMAIN_RULE,
        ));
    }
    for (key, value) in object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let value = value.as_str().unwrap_or_default();
        if !is_qualified(key) {
            let message = "name part must consist of alphanumeric characters, '-', '_' or '.'";
            causes.push(Cause::of(
                "metadata.labels",
                Fault::Invalid,
                &json!(key),
                message,
            ));
        }
        if !is_label_value(value) {
            let message = "a valid label must be an empty string or consist of alphanumeric \
                           characters, '-', '_' or '.', and at most 63 of them";
            causes.push(Cause::of(
                "metadata.labels",
                Fault::Invalid,
                &json!(value),
                message,
            ));
        }
    }
    let mut bytes = 0;
    for (key, value) in object["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
    {
        bytes += key.len() + value.as_str().map_or(0, str::len);
        if !is_qualified(&key.to_lowercase()) {
            let message = "name part must consist of alphanumeric characters, '-', '_' or '.'";
            causes.push(Cause::of(
                "metadata.annotations",
                Fault::Invalid,
                &json!(key),
                message,
            ));
        }
    }
    if bytes > ANNOTATIONS_LIMIT {
        let message = format!("may not be more than {ANNOTATIONS_LIMIT} bytes");
        causes.push(Cause::new("metadata.annotations", Fault::TooLong, message));
    }
    causes.extend(owners(object));
    for (index, finalizer) in finalizers(object).into_iter().enumerate() {
        if !is_qualified(finalizer) || (kind.group.is_empty() && !is_finalizer(finalizer)) {
            let message = "name is neither a standard finalizer name nor is it fully qualified";
            let field = format!("metadata.finalizers[{index}]");
            causes.push(Cause::of(field, Fault::Invalid, &finalizer.into(), message));
        }
    }
    causes
}

/// What may not change in metadata.
pub(super) fn validate_change(old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let held = finalizers(old);
    let added: Vec<&str> = finalizers(new)
        .into_iter()
        .filter(|finalizer| !held.contains(finalizer))
        .collect();
    if is_going(old) && !added.is_empty() {
        let message = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            added
                .iter()
                .map(|one| format!("{one:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        causes.push(Cause::new("metadata.finalizers", Fault::Forbidden, message));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (was, is) = (&old["metadata"][field], &new["metadata"][field]);
        if was != is {
            let path = format!("metadata.{field}");
            causes.push(Cause::of(path, Fault::Invalid, is, "field is immutable"));
        }
    }
    causes
}

fn owners(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let list = object["metadata"]["ownerReferences"].as_array();
    let mut controllers = 0;
    for owner in list.into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            let value = owner[field].as_str().unwrap_or_default();
            if value.is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::of(
                    path,
                    Fault::Invalid,
                    &json!(""),
                    "must not be empty",
                ));
            }
        }
        controllers += usize::from(owner["controller"] == true);
    }
    if controllers > 1 {
        let message = "Only one reference can have Controller set to true";
        causes.push(Cause::new(
            "metadata.ownerReferences",
            Fault::Invalid,
            message,
        ));
    }
    causes
}

const LABEL_RULE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
                          characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
                              alphanumeric characters, '-' or '.', and must start and end with an \
                              alphanumeric character";

fn is_label(text: &str) -> bool {
    let inner = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().copied().is_some_and(inner)
        && bytes.last().copied().is_some_and(inner)
        && bytes.iter().all(|letter| inner(*letter) || *letter == b'-')
}

fn is_subdomain(text: &str) -> bool {
    let long = |part: &str| part.split('-').all(|one| one.is_empty() || is_label(one));
    text.len() <= 253
        && text.split('.').all(|part| {
            !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && long(part)
        })
}

pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name_part(text)
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|letter| letter.is_ascii_alphanumeric() || b"-_.".contains(letter))
}

pub(super) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(text),
    }
}

fn is_finalizer(text: &str) -> bool {
    text.contains('/') || matches!(text, "orphan" | "foregroundDeletion" | "kubernetes")
}
