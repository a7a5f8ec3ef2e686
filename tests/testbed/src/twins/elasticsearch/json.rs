//! Bodies, as strictly as the server reads them: no field twice, no unknown field, no field of
//! another type. What comes after the first value is not looked at.
//!
//! Where in the body an error is, the twin does not know: it says `[1:1]`.

use bytes::Bytes;
use http::StatusCode;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::answer::{Cause, Problem};

/// A JSON object that one of the server's parsers reads.
#[derive(Debug)]
pub(super) struct Object {
    parser: &'static str,
    fields: Map<String, Value>,
}

impl Object {
    /// Reads a body that must be there.
    pub(super) fn read(
        parser: &'static str,
        body: &Bytes,
        known: &[&str],
    ) -> Result<Self, Problem> {
        if body.is_empty() {
            return Err(Problem::unreadable("request body is required"));
        }
        Self::of(parser, strict(body)?, known).map_err(|cause| bad(&cause))
    }

    /// Reads an object within a body.
    pub(super) fn of(parser: &'static str, value: Value, known: &[&str]) -> Result<Self, Cause> {
        let Value::Object(fields) = value else {
            let found = kind(&value);
            let reason = format!("[1:1] [{parser}] Expected START_OBJECT but was: {found}");
            return Err(wrong(reason));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let guess = suggestion(name, known).map_or_else(String::new, |g| format!(" {g}"));
                let reason = format!("[1:1] [{parser}] unknown field [{name}]{guess}");
                Err(wrong(reason))
            }
            None => Ok(Self { parser, fields }),
        }
    }

    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Cause> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.other_type(name, other)),
        }
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Map<String, Value>>, Cause> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object.clone())),
            Some(other) => Err(self.other_type(name, other)),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Cause> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if text == "true" || text == "false" => {
                Ok(Some(text == "true"))
            }
            Some(other) => Err(self.other_type(name, other)),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Cause> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.other_type(name, value)),
            },
        }
    }

    /// A list of texts; one text counts as a list of one.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Cause> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text.clone()])),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    let text = item.as_str().map(str::to_owned);
                    text.ok_or_else(|| self.other_type(name, item))
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(self.other_type(name, other)),
        }
    }

    /// The error for a field that is of another type.
    pub(super) fn other_type(&self, name: &str, value: &Value) -> Cause {
        wrong(format!(
            "[1:1] [{}] {name} doesn't support values of type: {}",
            self.parser,
            kind(value)
        ))
    }

    /// The error for a field whose inside could not be read.
    pub(super) fn inside(&self, name: &str, cause: Cause) -> Cause {
        let parser = self.parser;
        wrong(format!("[1:1] [{parser}] failed to parse field [{name}]")).by(cause)
    }

    /// The error for a whole that could not be made of its fields.
    pub(super) fn whole(&self, cause: Cause) -> Cause {
        let parser = self.parser;
        let reason = format!("Failed to build [{parser}] after last required field arrived");
        wrong(reason).by(cause)
    }
}

/// 400 for a body that cannot be read.
pub(super) fn bad(cause: &Cause) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, cause)
}

pub(super) fn wrong(reason: String) -> Cause {
    Cause::new("x_content_parse_exception", reason)
}

/// What the server calls the first token of a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "VALUE_NULL",
        Value::Bool(_) => "VALUE_BOOLEAN",
        Value::Number(_) => "VALUE_NUMBER",
        Value::String(_) => "VALUE_STRING",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

/// Reads the first JSON value, in which no field may stand twice.
pub(super) fn strict(body: &Bytes) -> Result<Value, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    reader
        .deserialize_any(Strict)
        .map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> Problem {
    let cause = if error.is_eof() {
        let inner = Cause::new("json_e_o_f_exception", error.to_string());
        Cause::new("x_content_e_o_f_exception", "[1:1] Unexpected end of file").by(inner)
    } else {
        let inner = Cause::new("json_parse_exception", error.to_string());
        wrong(format!("[1:1] {error}")).by(inner)
    };
    bad(&cause)
}

struct Strict;

struct Item(Value);

impl<'de> serde::Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(Strict).map(Item)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Item(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let Item(value) = entries.next_value()?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("Duplicate field '{name}'")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// What somebody may have meant: whatever is more alike than not, most alike first.
pub(super) fn suggestion(said: &str, known: &[&str]) -> Option<String> {
    let mut alike: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (distance(said, name), *name))
        .filter(|(far, name)| far * 2 < said.chars().count().max(name.chars().count()))
        .collect();
    alike.sort_unstable();
    match alike[..] {
        [] => None,
        [(_, one)] => Some(format!("did you mean [{one}]?")),
        _ => {
            let names: Vec<_> = alike.iter().map(|(_, name)| *name).collect();
            Some(format!("did you mean any of [{}]?", names.join(", ")))
        }
    }
}

/// How many letters have to be put in, taken out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

/// A name to search for: `*` stands for any text.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
