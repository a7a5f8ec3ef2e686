//! Label and field selectors.

use serde_json::Value;

use super::kind::Kind;
use super::meta::{is_label_value, is_qualified};
use super::refusal::Refusal;

/// Which objects a list or a watch shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    place: Place,
    test: Test,
}

#[derive(Debug, Clone)]
enum Place {
    Label(String),
    Pointer(String),
}

#[derive(Debug, Clone)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Present,
    Absent,
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 for a selector that cannot be read, or a field that cannot be selected by.
    pub(super) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let mut terms = Vec::new();
        for part in split(labels) {
            terms.push(
                label_term(part)
                    .ok_or_else(|| Refusal::bad(format!("unable to parse requirement: {part}")))?,
            );
        }
        for part in split(fields) {
            terms.push(field_term(kind, part)?);
        }
        Ok(Self { terms })
    }

    /// Whether an object is shown.
    pub(super) fn fits(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let value = match &term.place {
                Place::Label(key) => object["metadata"]["labels"][key].as_str(),
                Place::Pointer(pointer) => Some(
                    object
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default(),
                ),
            };
            match &term.test {
                Test::In(wanted) => {
                    value.is_some_and(|value| wanted.iter().any(|one| one == value))
                }
                Test::NotIn(banned) => {
                    value.is_none_or(|value| banned.iter().all(|one| one != value))
                }
                Test::Present => value.is_some(),
                Test::Absent => value.is_none(),
            }
        })
    }

    /// Whether everything is shown.
    pub(super) fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// Splits at the commas that are not inside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

fn label_term(part: &str) -> Option<Term> {
    let label = |key: &str| Place::Label(key.trim().to_owned());
    let one = |value: &str| vec![value.trim().to_owned()];
    let list = |text: &str| {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(
            inner
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect(),
        )
    };
    let (place, test) = if let Some((key, values)) = part.split_once(" notin ") {
        (label(key), Test::NotIn(list(values)?))
    } else if let Some((key, values)) = part.split_once(" in ") {
        (label(key), Test::In(list(values)?))
    } else if let Some((key, value)) = part.split_once("!=") {
        (label(key), Test::NotIn(one(value)))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (label(key), Test::In(one(value)))
    } else if let Some(key) = part.strip_prefix('!') {
        (label(key), Test::Absent)
    } else {
        (label(part), Test::Present)
    };
    let sound = |term: &Term| {
        let key = matches!(&term.place, Place::Label(key) if is_qualified(key));
        let values = match &term.test {
            Test::In(values) | Test::NotIn(values) => values.as_slice(),
            Test::Present | Test::Absent => &[],
        };
        key && values.iter().all(|value| is_label_value(value))
    };
    Some(Term { place, test }).filter(sound)
}

fn field_term(kind: &Kind, part: &str) -> Result<Term, Refusal> {
    let (key, test) = if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(vec![value.to_owned()]))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(vec![value.to_owned()]))
    } else {
        return Err(Refusal::bad(format!(
            "invalid selector: {part:?}; can't understand {part:?}"
        )));
    };
    let known = match key {
        "metadata.name" | "metadata.namespace" => true,
        "type" => kind.is("", "secrets"),
        "regarding.name" | "regarding.uid" | "reason" => kind.is("events.k8s.io", "events"),
        _ => false,
    };
    if !known {
        return Err(Refusal::bad(format!("field label not supported: {key}")));
    }
    Ok(Term {
        place: Place::Pointer(format!("/{}", key.replace('.', "/"))),
        test,
    })
}
