//! The ways in which an API server says no: a `Status` with a code, a reason and, where it knows
//! them, the fields at fault.

use http::StatusCode;
use serde_json::{Value, json};

use super::kind::Kind;

/// One field at fault, as `Status.details.causes` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The field's path, `spec.lifetime` or `spec.list[0].name`.
    pub field: String,
    /// The machine's word.
    pub reason: Fault,
    /// The sentence for people, without the field.
    pub message: String,
}

/// What may be wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is missing.
    Required,
    /// Its value is not allowed.
    Invalid,
    /// Its value is not one of the listed ones.
    NotSupported,
    /// Its value is of another type.
    Type,
    /// It appears twice in a list that is a set or a map.
    Duplicate,
    /// It may not be set, or not be changed in this way.
    Forbidden,
    /// It has too many entries, or is too large in bytes.
    TooMany,
    /// It is too long.
    TooLong,
}

impl Fault {
    /// Whether rules are not asked about an object with such a fault.
    pub(super) fn blocks(self) -> bool {
        match self {
            Self::Required | Self::NotSupported | Self::Type | Self::TooMany | Self::TooLong => {
                true
            }
            Self::Invalid | Self::Duplicate | Self::Forbidden => false,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Type => "FieldValueTypeInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooMany => "FieldValueTooMany",
            Self::TooLong => "FieldValueTooLong",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::Type => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooMany => "Too many",
            Self::TooLong => "Too long",
        }
    }
}

impl Cause {
    /// A field without a value that can be shown.
    pub fn new(field: impl Into<String>, reason: Fault, message: impl std::fmt::Display) -> Self {
        let message = match message.to_string() {
            text if text.is_empty() => reason.words().to_owned(),
            text => format!("{}: {text}", reason.words()),
        };
        Self {
            field: field.into(),
            reason,
            message,
        }
    }

    /// A field whose value is shown.
    pub fn of(
        field: impl Into<String>,
        reason: Fault,
        value: &Value,
        message: impl std::fmt::Display,
    ) -> Self {
        Self::new(field, reason, format!("{value}: {message}"))
    }
}

/// An answer that refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub code: StatusCode,
    body: Value,
}

impl Refusal {
    /// A refusal in the words of `Status`.
    pub fn new(code: StatusCode, reason: &str, message: impl Into<String>) -> Self {
        Self::detailed(code, reason, message, json!({}))
    }

    fn detailed(
        code: StatusCode,
        reason: &str,
        message: impl Into<String>,
        details: Value,
    ) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message.into(), "code": code.as_u16(),
        });
        if !reason.is_empty() {
            body["reason"] = reason.into();
        }
        if details.as_object().is_some_and(|fields| !fields.is_empty()) {
            body["details"] = details;
        }
        Self { code, body }
    }

    /// The `Status` object.
    pub fn status(&self) -> &Value {
        &self.body
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// 404: no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.resource());
        Self::detailed(
            StatusCode::NOT_FOUND,
            "NotFound",
            message,
            details(kind, name),
        )
    }

    /// 404: no such namespace.
    pub fn absent_namespace(name: &str) -> Self {
        let message = format!("namespaces {name:?} not found");
        let details = json!({"name": name, "kind": "namespaces"});
        Self::detailed(StatusCode::NOT_FOUND, "NotFound", message, details)
    }

    /// 404: no such path on this server.
    pub fn unknown_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 409: an object of this name exists.
    pub fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.resource());
        Self::detailed(
            StatusCode::CONFLICT,
            "AlreadyExists",
            message,
            details(kind, name),
        )
    }

    /// 409: the object is not the one the writer thought of.
    pub fn conflict(kind: &Kind, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.resource()
        );
        Self::detailed(
            StatusCode::CONFLICT,
            "Conflict",
            message,
            details(kind, name),
        )
    }

    /// 409: the writer's version is not the newest.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    /// 409: another manager owns fields that an apply would change.
    pub fn owned(message: impl Into<String>, causes: &[(String, String)]) -> Self {
        let causes: Vec<Value> = causes
            .iter()
            .map(|(field, message)| {
                json!({"reason": "FieldManagerConflict", "message": message, "field": field})
            })
            .collect();
        Self::detailed(
            StatusCode::CONFLICT,
            "Conflict",
            message,
            json!({"causes": causes}),
        )
    }

    /// 422: fields are at fault.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let mut said: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        said.dedup();
        let said = if said.len() == 1 {
            said.swap_remove(0)
        } else {
            format!("[{}]", said.join(", "))
        };
        let subject = if kind.group.is_empty() {
            kind.kind.clone()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let message = format!("{subject} {name:?} is invalid: {said}");
        let mut details = details(kind, name);
        details["kind"] = kind.kind.clone().into();
        details["causes"] = causes
            .iter()
            .map(|cause| {
                json!({
                    "reason": cause.reason.reason(), "message": cause.message, "field": cause.field,
                })
            })
            .collect();
        Self::detailed(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid",
            message,
            details,
        )
    }

    /// 403: admission says no.
    pub fn forbidden(kind: &Kind, name: &str, why: impl std::fmt::Display) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.resource());
        Self::detailed(
            StatusCode::FORBIDDEN,
            "Forbidden",
            message,
            details(kind, name),
        )
    }

    /// 403: the namespace is going.
    pub fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let mut refusal = Self::forbidden(
            kind,
            name,
            format_args!(
                "unable to create new content in namespace {namespace} because it is being \
                 terminated"
            ),
        );
        refusal.body["details"]["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        refusal
    }

    /// 400: the request makes no sense.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 405: not on this path.
    pub fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 410: the version asked for is forgotten.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(
            StatusCode::GONE,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    /// 415: a patch of a kind that is not spoken here.
    pub fn media(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        )
    }
}

fn details(kind: &Kind, name: &str) -> Value {
    let mut details = json!({"name": name, "kind": kind.plural});
    if !kind.group.is_empty() {
        details["group"] = kind.group.clone().into();
    }
    details
}
