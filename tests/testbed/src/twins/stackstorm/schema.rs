//! How the server checks a body: JSON schema, and its words as Python writes them.

use serde_json::{Map, Value};

use super::answer::Problem;

/// What a field must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A date in ISO 8601 and UTC.
    Date,
    Object,
    Flag,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Date => value.is_string(),
            Self::Object => value.is_object(),
            Self::Flag => value.is_boolean(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Date => "string",
            Self::Object => "object",
            Self::Flag => "boolean",
        }
    }
}

/// The body as an object.
pub(super) fn object(body: Value) -> Result<Map<String, Value>, Problem> {
    match body {
        Value::Object(fields) => Ok(fields),
        other => Err(wrong_type(&other, &["object"])),
    }
}

/// Holds fields against the ones that are known, and nothing else beside them.
pub(super) fn check(fields: &Map<String, Value>, known: &[(&str, Kind)]) -> Result<(), Problem> {
    for (name, kind) in known {
        let Some(value) = fields.get(*name) else {
            continue;
        };
        if !kind.fits(value) {
            return Err(wrong_type(value, &[kind.name()]));
        }
        if *kind == Kind::Date && !value.as_str().is_some_and(is_date) {
            let (value, date) = (python(value), quoted(DATE));
            return Err(Problem::bad(format!("{value} does not match {date}")));
        }
    }
    let others: Vec<String> = fields
        .keys()
        .filter(|name| !known.iter().any(|(known, _)| known == name))
        .map(|name| quoted(name))
        .collect();
    match others.as_slice() {
        [] => Ok(()),
        [one] => Err(unexpected(&format!("{one} was"))),
        many => Err(unexpected(&format!("{} were", many.join(", ")))),
    }
}

fn unexpected(what: &str) -> Problem {
    Problem::bad(format!(
        "Additional properties are not allowed ({what} unexpected)"
    ))
}

/// 400 for a value that has none of these types.
pub(super) fn wrong_type(value: &Value, types: &[&str]) -> Problem {
    let types: Vec<String> = types.iter().map(|name| quoted(name)).collect();
    Problem::bad(format!(
        "{} is not of type {}",
        python(value),
        types.join(", ")
    ))
}

/// Whether an object has a key that starts with `$`, at any depth of objects.
pub(super) fn has_dollar_key(fields: &Map<String, Value>) -> bool {
    fields
        .iter()
        .any(|(name, value)| name.starts_with('$') || value.as_object().is_some_and(has_dollar_key))
}

const DATE: &str =
    r"^\d{4}\-\d{2}\-\d{2}(\s|T)\d{2}:\d{2}:\d{2}(\.\d{3,6})?(Z|\+00|\+0000|\+00:00)$";

fn is_date(text: &str) -> bool {
    let Some((start, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let shape: String = start
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let fraction = &rest[..rest.len() - zone.len()];
    let digits = fraction.strip_prefix('.').unwrap_or_default();
    ["0000-00-00T00:00:00", "0000-00-00 00:00:00"].contains(&shape.as_str())
        && (fraction.is_empty() || ((3..=6).contains(&digits.len()) && !digits.contains('.')))
        && ["Z", "+00", "+0000", "+00:00"].contains(&zone)
}

/// A value as Python prints it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}: {}", quoted(name), python(value)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
