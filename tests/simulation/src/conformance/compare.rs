//! Holds an answer against the table.

use std::fmt;

use serde_json::Value;

use super::Answer;
use super::table::Step;

/// An answer that is not the table's.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The case.
    pub case: String,
    /// The request.
    pub step: String,
    /// What differs, and how.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.case, self.step, self.what)
    }
}

pub(super) fn compare(case: &str, step: &Step, answer: &Answer) -> Vec<Difference> {
    let mut found = Vec::new();
    let body = &answer.body;
    if let Some(code) = step.code.filter(|code| answer.code != *code) {
        found.push(format!(
            "code {} instead of {code}: {body}",
            answer.code.as_u16()
        ));
    } else {
        found.extend(refusal(step, body));
        found.extend(shape(step, body));
        found.extend(lists(step, answer));
    }
    let sent = step
        .send
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    found
        .into_iter()
        .map(|what| Difference {
            case: case.to_owned(),
            step: format!("{} {sent}", step.act),
            what,
        })
        .collect()
}

fn refusal(step: &Step, body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(reason) = &step.reason
        && body["reason"] != reason.as_str()
    {
        found.push(format!(
            "reason {} instead of {reason}: {body}",
            body["reason"]
        ));
    }
    if let Some(causes) = &step.causes {
        let list = body["details"]["causes"].as_array();
        let mut named: Vec<&str> = list
            .into_iter()
            .flatten()
            .filter_map(|cause| cause["field"].as_str())
            .collect();
        // "<nil>" tells that rules were not asked. A real server checks metadata twice.
        named.retain(|field| *field != "<nil>");
        named.dedup();
        if named != *causes {
            found.push(format!("causes {named:?} instead of {causes:?}: {body}"));
        }
    }
    found
}

fn shape(step: &Step, body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(has) = &step.has {
        missing(has, body, "", &mut found);
    }
    for pointer in &step.lacks {
        if let Some(value) = body.pointer(pointer) {
            found.push(format!("{pointer} should not be there: {value}"));
        }
    }
    found
}

fn lists(step: &Step, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(names) = &step.names {
        let list = answer.body["items"].as_array();
        let shown: Vec<&str> = list
            .into_iter()
            .flatten()
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect();
        if shown != *names {
            found.push(format!("items {shown:?} instead of {names:?}"));
        }
    }
    if let Some(events) = &step.events {
        let mut shown: Vec<String> = answer.events.iter().map(told).collect();
        // A real server may say twice where a watch stands.
        shown.dedup_by(|next, last| next.starts_with("BOOKMARK") && next == last);
        if shown != *events {
            found.push(format!("events {shown:?} instead of {events:?}"));
        }
    }
    found
}

fn told(event: &Value) -> String {
    let object = &event["object"];
    let word = event["type"].as_str().unwrap_or_default();
    match object["metadata"]["name"].as_str() {
        Some(name) => format!("{word} {name}"),
        None if word == "BOOKMARK" => format!("{word} {}", object["kind"].as_str().unwrap_or("?")),
        None => format!(
            "{word} {} {}",
            object["code"],
            object["reason"].as_str().unwrap_or("?")
        ),
    }
}

/// What a body lacks of a subset. `"*"` stands for any value.
fn missing(wanted: &Value, body: &Value, path: &str, found: &mut Vec<String>) {
    match (wanted, body) {
        (Value::Object(wanted), Value::Object(body)) => {
            for (name, value) in wanted {
                let path = format!("{path}/{name}");
                match body.get(name) {
                    Some(given) => missing(value, given, &path, found),
                    None => found.push(format!("{path} is missing")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(body)) => {
            for (index, value) in wanted.iter().enumerate() {
                let path = format!("{path}/{index}");
                match body.get(index) {
                    Some(given) => missing(value, given, &path, found),
                    None => found.push(format!("{path} is missing")),
                }
            }
        }
        (Value::String(any), _) if any == "*" => {}
        _ if wanted == body => {}
        _ => found.push(format!("{path} is {body} instead of {wanted}")),
    }
}
