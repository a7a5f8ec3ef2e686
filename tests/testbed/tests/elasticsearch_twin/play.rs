//! Plays the table to a server.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::table::{Precision, Step, steps};

/// A server that the table is played to.
pub(crate) struct Server {
    pub(crate) url: String,
    /// The password of `elastic`.
    pub(crate) password: String,
}

/// What a server answered, with placeholders for what no two servers have in common.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) step: String,
    status: u16,
    headers: Vec<String>,
    body: Value,
}

/// The texts that the table has given names to.
type Kept = BTreeMap<String, String>;

/// Texts that are too long to be written in the table.
fn texts() -> Kept {
    let text = |name: &str, text: String| (name.to_owned(), text);
    Kept::from([
        text("longest", "a".repeat(256)),
        text("wide", "é".repeat(256)),
        text("pairs", "😀".repeat(128)),
        text("immense", "x".repeat(32_764)),
    ])
}

/// Plays the table: all answers, and where they are not what the table says.
pub(crate) async fn play(server: &Server) -> reqwest::Result<(Vec<Answer>, Vec<String>)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (mut answers, mut wrong, mut kept) = (Vec::new(), Vec::new(), texts());
    for step in steps() {
        let said = ask(&client, server, &step, &kept).await?;
        let status = said.status().as_u16();
        let headers = headers(&said);
        let text = said.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status != step.status {
            wrong.push(format!(
                "{step}\n    {status} instead of {}: {body}",
                step.status
            ));
        }
        if let Err(why) = holds(&step.has, &body, &mut kept) {
            wrong.push(format!("{step}\n    {why}: {body}"));
        }
        answers.push(Answer {
            step: step.to_string(),
            status,
            headers,
            body: common(&step, body, &kept),
        });
    }
    Ok((answers, wrong))
}

async fn ask(
    client: &reqwest::Client,
    server: &Server,
    step: &Step,
    kept: &Kept,
) -> reqwest::Result<reqwest::Response> {
    let method = step.method.parse().unwrap_or_default();
    let url = format!("{}{}", server.url, filled(&step.path, kept));
    let mut request = client.request(method, url);
    let given = |name: &str| step.headers.iter().any(|(header, _)| header == name);
    if let Some(name) = step.who.strip_prefix("key:") {
        let key = kept
            .get(&format!("{name}.key"))
            .cloned()
            .unwrap_or_default();
        request = request.header("authorization", format!("ApiKey {key}"));
    } else if step.who != "-" {
        let (name, password) = match step.who.split_once('@') {
            Some((name, password)) => (name, password.to_owned()),
            None if step.who == "elastic" => ("elastic", server.password.clone()),
            None => (step.who.as_str(), format!("pass-{}", step.who)),
        };
        let basic = STANDARD.encode(format!("{name}:{password}"));
        request = request.header("authorization", format!("Basic {basic}"));
    }
    if !step.body.is_empty() {
        if !given("content-type") {
            request = request.header("content-type", "application/json");
        }
        request = request.body(filled(&step.body, kept));
    }
    for (name, value) in &step.headers {
        request = request.header(name, value);
    }
    request.send().await
}

/// A text with the kept ones in the place of their names, the longest names first.
fn filled(text: &str, kept: &Kept) -> String {
    let mut names: Vec<_> = kept.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${name}"), value)
        })
}

/// The headers that a client may look at.
fn headers(said: &reqwest::Response) -> Vec<String> {
    let names = [
        "content-type",
        "x-elastic-product",
        "www-authenticate",
        "allow",
    ];
    let all = names.into_iter().flat_map(|name| {
        let values = said.headers().get_all(name).iter();
        values.map(move |value| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
    });
    all.collect()
}

/// Whether a body holds what it must; keeps what is named for the first time.
fn holds(wanted: &Value, body: &Value, kept: &mut Kept) -> Result<(), String> {
    match (wanted, body) {
        (Value::String(any), _) if any == "*" => Ok(()),
        (Value::String(name), Value::String(text)) if name.starts_with('$') => {
            let name = name.trim_start_matches('$').to_owned();
            let same = kept.entry(name.clone()).or_insert_with(|| text.clone()) == text;
            if same {
                Ok(())
            } else {
                Err(format!("not {name}"))
            }
        }
        (Value::Object(wanted), Value::Object(body)) => {
            wanted.iter().try_for_each(|(name, value)| {
                let found = body.get(name).ok_or_else(|| format!("no {name}"))?;
                holds(value, found, kept)
            })
        }
        (Value::Array(wanted), Value::Array(body)) if wanted.len() == body.len() => {
            let pairs = wanted.iter().zip(body);
            pairs
                .into_iter()
                .try_for_each(|(wanted, found)| holds(wanted, found, kept))
        }
        _ if wanted == body => Ok(()),
        _ if *wanted == Value::Object(Map::new()) => Ok(()),
        _ => Err(format!("not {wanted}")),
    }
}

/// What two servers must have in common.
fn common(step: &Step, body: Value, kept: &Kept) -> Value {
    match step.precision {
        Precision::StatusAndType => body["error"]["type"].clone(),
        Precision::Whole => {
            let body = placeholders("", body, kept);
            ordered(body)
        }
    }
}

fn placeholders(name: &str, value: Value, kept: &Kept) -> Value {
    let hidden = [
        "api_key",
        "encoded",
        "creation",
        "expiration",
        "invalidation",
        "node",
    ];
    let number_to_sort_by = name == "_sort" && value.is_number();
    match value {
        Value::String(_) | Value::Number(_) if hidden.contains(&name) || number_to_sort_by => {
            Value::from(format!("({name})"))
        }
        Value::String(text) => {
            let mut known: Vec<_> = kept.iter().collect();
            known.sort_by_key(|(name, _)| name.len());
            let text = known.into_iter().fold(text, |text, (name, id)| {
                text.replace(id.as_str(), &format!("({name})"))
            });
            if name == "id" && !text.starts_with('(') {
                return Value::from("(id)");
            }
            Value::from(anywhere(&text))
        }
        Value::Array(items) => {
            let items = items.into_iter();
            items.map(|item| placeholders(name, item, kept)).collect()
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = placeholders(&name, value, kept);
                let known = kept.iter().find(|(_, id)| **id == name);
                (known.map_or(name, |(known, _)| format!("({known})")), value)
            });
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// A text without the places that it names in a body, such as `[1:12]`.
fn anywhere(text: &str) -> String {
    let mut parts = text.split("[1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{text}[1:_{rest}")
    })
}

/// Lists whose order no server promises, in one order.
fn ordered(mut body: Value) -> Value {
    let sorted = body["api_keys"][0].get("_sort").is_some();
    for list in ["api_keys", "invalidated_api_keys"] {
        if let Some(items) = body.get_mut(list).and_then(Value::as_array_mut) {
            let ids = items
                .iter_mut()
                .filter(|item| item.as_str().is_some_and(|id| !id.starts_with('(')));
            ids.for_each(|id| *id = Value::from("(id)"));
            if !sorted {
                items.sort_by_key(ToString::to_string);
            }
        }
    }
    body
}
