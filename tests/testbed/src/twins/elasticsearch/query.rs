//! The queries by which keys can be found: `match_all`, `bool`, `term`, `terms`, `match`, `ids`,
//! `prefix`, `wildcard`, `exists`, `range`.
//!
//! Fields are `name`, `creation`, `expiration`, `invalidated`, `invalidation`, `username`, `type`,
//! and metadata: all of it, or one leaf by its path. Every leaf of metadata is a text. `id`, `realm`
//! and `realm_type` cannot be asked for (8.19.21).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::answer::{Cause, Problem};
use super::json::{Object, bad, fits};
use super::keys::Key;

/// A question to a key.
#[derive(Debug)]
pub(super) enum Query {
    All,
    Ids(Vec<String>),
    /// A field has one of these texts.
    Terms(String, Vec<String>),
    /// A field's text fits, `*` standing for any.
    Fits(String, String),
    Exists(String),
    Range(String, Vec<(Bound, i64)>),
    Bool {
        all: Vec<Query>,
        none: Vec<Query>,
        some: Vec<Query>,
        /// How many of `some`.
        at_least: usize,
    },
}

/// A side of a range.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    From,
    Above,
    To,
    Below,
}

/// What is wrong with a query.
#[derive(Debug)]
pub(super) enum Fault {
    /// It can be read, and may not be asked.
    Illegal(String),
    /// It cannot be read.
    Unreadable(Cause),
}

impl Fault {
    pub(super) fn problem(self, body: &Object) -> Problem {
        match self {
            Self::Illegal(reason) => Problem::illegal(reason),
            Self::Unreadable(cause) => bad(&body.inside("query", cause)),
        }
    }
}

/// Query kinds that the server has, and does not allow here.
const ELSEWHERE: [&str; 12] = [
    "fuzzy",
    "regexp",
    "match_phrase",
    "match_phrase_prefix",
    "multi_match",
    "query_string",
    "nested",
    "script",
    "constant_score",
    "dis_max",
    "boosting",
    "geo_distance",
];

const FIELDS: [&str; 8] = [
    "name",
    "creation",
    "expiration",
    "invalidated",
    "invalidation",
    "username",
    "type",
    "metadata",
];

/// A field that may be asked for.
pub(super) fn field(name: &str) -> Result<String, Fault> {
    if FIELDS.contains(&name) || name.starts_with("metadata.") {
        return Ok(name.to_owned());
    }
    let reason = format!("Field [{name}] is not allowed for querying or aggregation");
    Err(Fault::Illegal(reason))
}

impl Query {
    pub(super) fn read(sent: &Value, now: Timestamp) -> Result<Self, Fault> {
        let fields = sent.as_object();
        let Some((kind, inside)) = fields.and_then(|fields| fields.iter().next()) else {
            return Err(malformed("query malformed, empty clause found at [1:1]"));
        };
        match kind.as_str() {
            "match_all" => Ok(Self::All),
            "ids" => Ok(Self::Ids(texts(&inside["values"]))),
            "exists" => Ok(Self::Exists(field(&text(&inside["field"]))?)),
            "bool" => Self::read_bool(inside, now),
            "terms" => {
                let (name, value) = single(kind, inside)?;
                Ok(Self::Terms(field(name)?, texts(value)))
            }
            "term" | "match" => {
                let (name, value) = single(kind, inside)?;
                let key = if kind == "term" { "value" } else { "query" };
                Ok(Self::Terms(
                    field(name)?,
                    vec![text(value.get(key).unwrap_or(value))],
                ))
            }
            "prefix" => {
                let (name, value) = single(kind, inside)?;
                let prefix = text(value.get("value").unwrap_or(value));
                Ok(Self::Fits(field(name)?, format!("{prefix}*")))
            }
            "wildcard" => {
                let (name, value) = single(kind, inside)?;
                let pattern = value.get("value").or_else(|| value.get("wildcard"));
                Ok(Self::Fits(field(name)?, text(pattern.unwrap_or(value))))
            }
            "range" => {
                let (name, value) = single(kind, inside)?;
                Ok(Self::Range(field(name)?, bounds(value, now)?))
            }
            kind if ELSEWHERE.contains(&kind) => Err(Fault::Illegal(format!(
                "Query type [{kind}] is not currently supported in this context"
            ))),
            kind => {
                let inner = format!("[1:1] unknown field [{kind}]");
                let inner = Cause::new("named_object_not_found_exception", inner);
                Err(Fault::Unreadable(
                    parsing(&format!("unknown query [{kind}]")).by(inner),
                ))
            }
        }
    }

    fn read_bool(inside: &Value, now: Timestamp) -> Result<Self, Fault> {
        let clauses = |name: &str| -> Result<Vec<Self>, Fault> {
            match &inside[name] {
                Value::Null => Ok(Vec::new()),
                Value::Array(items) => items.iter().map(|item| Self::read(item, now)).collect(),
                one => Ok(vec![Self::read(one, now)?]),
            }
        };
        let mut all = clauses("must")?;
        all.extend(clauses("filter")?);
        let some = clauses("should")?;
        let default = usize::from(all.is_empty() && !some.is_empty());
        let wished = inside["minimum_should_match"].as_u64();
        let at_least = wished
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(default);
        Ok(Self::Bool {
            all,
            none: clauses("must_not")?,
            some,
            at_least,
        })
    }

    pub(super) fn fits(&self, key: &Key) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.contains(&key.id),
            Self::Terms(field, wanted) => values(key, field)
                .iter()
                .any(|value| wanted.contains(value)),
            Self::Fits(field, pattern) => {
                values(key, field).iter().any(|value| fits(pattern, value))
            }
            Self::Exists(field) => !values(key, field).is_empty(),
            Self::Range(field, bounds) => values(key, field).iter().any(|value| {
                value.parse::<i64>().is_ok_and(|value| {
                    bounds.iter().all(|(bound, limit)| match bound {
                        Bound::From => value >= *limit,
                        Bound::Above => value > *limit,
                        Bound::To => value <= *limit,
                        Bound::Below => value < *limit,
                    })
                })
            }),
            Self::Bool {
                all,
                none,
                some,
                at_least,
            } => {
                all.iter().all(|query| query.fits(key))
                    && !none.iter().any(|query| query.fits(key))
                    && some.iter().filter(|query| query.fits(key)).count() >= *at_least
            }
        }
    }
}

/// The texts that a key has in a field.
fn values(key: &Key, field: &str) -> Vec<String> {
    let millis = |time: Option<Timestamp>| {
        let time = time.map(|time| time.as_millisecond().to_string());
        time.into_iter().collect()
    };
    match field {
        "name" => vec![key.name.clone()],
        "username" => vec![key.user.clone()],
        "type" => vec!["rest".to_owned()],
        "invalidated" => vec![key.invalidated.is_some().to_string()],
        "creation" => millis(Some(key.created)),
        "expiration" => millis(key.expires),
        "invalidation" => millis(key.invalidated),
        field => {
            let wanted = field.strip_prefix("metadata.");
            let leaves = leaves(&key.metadata).into_iter();
            leaves
                .filter(|(path, _)| wanted.is_none_or(|wanted| path == wanted))
                .map(|(_, value)| value)
                .collect()
        }
    }
}

/// One leaf of metadata, by its path.
pub(super) fn leaf(metadata: &Map<String, Value>, path: &str) -> Option<String> {
    let mut leaves = leaves(metadata).into_iter();
    leaves.find(|(at, _)| at == path).map(|(_, value)| value)
}

/// Every leaf with its path. A list has one for each item; nothing is no leaf.
pub(super) fn leaves(metadata: &Map<String, Value>) -> Vec<(String, String)> {
    fn walk(path: &str, value: &Value, leaves: &mut Vec<(String, String)>) {
        match value {
            Value::Null => {}
            Value::Array(items) => items.iter().for_each(|item| walk(path, item, leaves)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    walk(&format!("{path}.{name}"), value, leaves);
                }
            }
            other => leaves.push((path.to_owned(), text(other))),
        }
    }
    let mut leaves = Vec::new();
    for (name, value) in metadata {
        walk(name, value, &mut leaves);
    }
    leaves
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice);
    items.unwrap_or_default().iter().map(text).collect()
}

/// The one field that a query is about.
fn single<'a>(kind: &str, inside: &'a Value) -> Result<(&'a str, &'a Value), Fault> {
    let fields = inside.as_object();
    let mut fields = fields.into_iter().flatten();
    match (fields.next(), fields.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        (Some((one, _)), Some((other, _))) => Err(Fault::Unreadable(parsing(&format!(
            "[{kind}] query doesn't support multiple fields, found [{one}] and [{other}]"
        )))),
        (None, _) => Err(malformed("field name is null or empty")),
    }
}

fn bounds(sent: &Value, now: Timestamp) -> Result<Vec<(Bound, i64)>, Fault> {
    let sent = sent.as_object().into_iter().flatten();
    let mut bounds = Vec::new();
    for (name, value) in sent {
        let bound = match name.as_str() {
            "gte" | "from" => Bound::From,
            "gt" => Bound::Above,
            "lte" | "to" => Bound::To,
            "lt" => Bound::Below,
            _ => continue,
        };
        let limit = value.as_i64().or_else(|| moment(&text(value), now));
        let limit = limit.ok_or_else(|| {
            Fault::Illegal(format!("failed to parse date field [{}]", text(value)))
        })?;
        bounds.push((bound, limit));
    }
    Ok(bounds)
}

/// A time: `now`, `now-1h`, `now+7d`, milliseconds, or a date.
fn moment(text: &str, now: Timestamp) -> Option<i64> {
    if let Some(rest) = text.strip_prefix("now") {
        let shift = match (rest.strip_prefix('-'), rest.strip_prefix('+')) {
            (Some(back), _) => -super::durations::expiration(back).ok()?,
            (_, Some(ahead)) => super::durations::expiration(ahead).ok()?,
            _ if rest.is_empty() => SignedDuration::ZERO,
            _ => return None,
        };
        return now.checked_add(shift).ok().map(Timestamp::as_millisecond);
    }
    let parsed = text
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond);
    text.parse().ok().or(parsed)
}

fn parsing(reason: &str) -> Cause {
    let cause = Cause::new("parsing_exception", reason);
    cause.with("line", 1.into()).with("col", 1.into())
}

fn malformed(reason: &str) -> Fault {
    Fault::Unreadable(Cause::new("illegal_argument_exception", reason))
}
