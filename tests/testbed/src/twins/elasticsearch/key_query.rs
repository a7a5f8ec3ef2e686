//! `_query/api_key`: keys found by a query, sorted, page by page.
//!
//! Who may only manage his own keys finds only those; a key finds itself.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Cause, Problem, Reply};
use super::call::Call;
use super::json::{Object, bad, wrong};
use super::keys::Key;
use super::privileges::Action;
use super::query::{Query, field};

/// The last place that can be asked for.
const WINDOW: i64 = 10_000;

/// What is asked for.
struct Search {
    query: Option<Query>,
    from: usize,
    size: usize,
    sort: Vec<Sort>,
    after: Option<Vec<Value>>,
}

/// One thing to sort by.
struct Sort {
    field: String,
    descending: bool,
    /// Whether a date is to be shown as a text.
    as_text: bool,
}

const PARSER: &str = "query_api_key_request_payload";

/// `GET` or `POST /_security/_query/api_key`.
pub(super) fn search(server: &mut Elasticsearch, call: &Call) -> Reply {
    let with_limited_by = call.flag("with_limited_by")?;
    call.flag("with_profile_uid")?;
    call.flag("typed_keys")?;
    let sent = read(call)?;
    check_page(&sent)?;
    let subject = &call.caller()?.subject;
    let all = server.may(subject, Action::GetKeys);
    if subject.key.is_some() && with_limited_by && !all {
        server.authorize(call, Action::GetKeys)?;
    }
    server.authorize(call, Action::QueryKeys)?;
    let search = Search::read(&sent, call.now)?;
    let owner = server.owner(subject);
    let own = |key: &Key| match &subject.key {
        Some(id) => key.id == *id,
        None => owner.1.is_some_and(|realm| key.is_of(&owner.0, realm)),
    };
    let found: Vec<&Key> = server
        .keys
        .iter()
        .filter(|key| all || own(key))
        .filter(|key| search.query.as_ref().is_none_or(|query| query.fits(key)))
        .collect();
    let total = found.len();
    let page: Vec<Value> = search
        .page(found)
        .into_iter()
        .map(|key| {
            let mut json = key.json(with_limited_by);
            if !search.sort.is_empty() {
                json["_sort"] = search.place(key).into();
            }
            json
        })
        .collect();
    Ok(Answer::ok(
        json!({ "total": total, "count": page.len(), "api_keys": page }),
    ))
}

fn read(call: &Call) -> Result<Object, Problem> {
    const KNOWN: [&str; 6] = ["query", "from", "size", "sort", "search_after", "aggs"];
    if call.body.is_empty() {
        return Object::of(PARSER, json!({}), &KNOWN).map_err(|cause| bad(&cause));
    }
    let sent = Object::read(PARSER, &call.body, &KNOWN)?;
    if let Some(sort) = sent.raw("sort").filter(|sort| !sort.is_array()) {
        return Err(bad(&sent.other_type("sort", sort)));
    }
    if sent.raw("aggs").is_some() {
        return Err(Problem::illegal("the twin does not know aggregations"));
    }
    Ok(sent)
}

fn check_page(sent: &Object) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    for name in ["from", "size"] {
        let number = sent.number(name).map_err(|cause| bad(&cause))?;
        if let Some(number) = number.filter(|number| *number < 0) {
            wrong.push(format!(
                "[{name}] parameter cannot be negative but was [{number}]"
            ));
        }
    }
    let from = sent.number("from").map_err(|cause| bad(&cause))?;
    if sent.raw("search_after").is_some() && from.is_some_and(|from| from > 0) {
        let reason = "[from] parameter must be set to 0 when [search_after] is used";
        wrong.push(reason.to_owned());
    }
    Problem::invalid(&wrong)
}

impl Search {
    fn read(sent: &Object, now: Timestamp) -> Result<Self, Problem> {
        let query = sent.raw("query").map(|query| Query::read(query, now));
        let query = query.transpose().map_err(|fault| fault.problem(sent))?;
        let number = |name: &str, default: i64| {
            let number = sent.number(name).map_err(|cause| bad(&cause));
            number.map(|number| number.unwrap_or(default))
        };
        let (from, size) = (number("from", 0)?, number("size", 10)?);
        let sort = sent.raw("sort").and_then(Value::as_array);
        let sort = sort
            .into_iter()
            .flatten()
            .map(|item| Sort::read(item, sent));
        let sort: Vec<Sort> = sort.collect::<Result<_, _>>()?;
        let after = sent.raw("search_after").and_then(Value::as_array).cloned();
        if from.saturating_add(size) > WINDOW {
            return Err(shards_failed(format!(
                "Result window is too large, from + size must be less than or equal to: [{WINDOW}] \
                 but was [{}]. See the scroll api for a more efficient way to request large data \
                 sets. This limit can be set by changing the [index.max_result_window] index level \
                 setting.",
                from.saturating_add(size)
            )));
        }
        if after.is_some() && sort.is_empty() {
            return Err(shards_failed(
                "Sort must contain at least one field.".to_owned(),
            ));
        }
        if after
            .as_ref()
            .is_some_and(|after| after.len() != sort.len())
        {
            return Err(shards_failed(format!(
                "search_after has {} value(s) but sort has {}.",
                after.map_or(0, |after| after.len()),
                sort.len()
            )));
        }
        Ok(Self {
            query,
            from: usize::try_from(from).unwrap_or_default(),
            size: usize::try_from(size).unwrap_or_default(),
            sort,
            after,
        })
    }

    fn page<'a>(&self, mut found: Vec<&'a Key>) -> Vec<&'a Key> {
        // What is equal stays in the order of its documents.
        found.sort_by(|a, b| self.order(&self.place(a), &self.place(b)));
        let behind = |key: &&Key| {
            let after = self.after.as_deref();
            after.is_none_or(|after| self.order(&self.place(key), after) == Ordering::Greater)
        };
        found
            .into_iter()
            .filter(behind)
            .skip(self.from)
            .take(self.size)
            .collect()
    }

    /// What a key is sorted by.
    fn place(&self, key: &Key) -> Vec<Value> {
        self.sort.iter().map(|sort| sort.value(key)).collect()
    }

    fn order(&self, one: &[Value], other: &[Value]) -> Ordering {
        let pairs = self.sort.iter().zip(one.iter().zip(other));
        let mut orders = pairs.map(|(sort, (a, b))| {
            let order = compare(a, b);
            if sort.descending {
                order.reverse()
            } else {
                order
            }
        });
        orders
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl Sort {
    fn read(sent: &Value, body: &Object) -> Result<Self, Problem> {
        let fields = sent.as_object().filter(|fields| fields.len() == 1);
        let single = fields.and_then(|fields| fields.iter().next());
        let (name, options) = match (sent.as_str(), single) {
            (Some(name), _) => (name, &Value::Null),
            (None, Some((name, options))) if options.is_object() => (name.as_str(), options),
            (None, Some((_, other))) => {
                let found = super::json::kind(other);
                let reason = format!("[1:1] [field_sort] Expected START_OBJECT but was: {found}");
                return Err(bad(&body.inside("sort", wrong(reason))));
            }
            _ => return Err(bad(&body.other_type("sort", sent))),
        };
        if name != "_doc" {
            field(name).map_err(|fault| fault.problem(body))?;
        }
        Ok(Self {
            field: name.to_owned(),
            descending: options["order"] == "desc",
            as_text: options["format"] == "epoch_millis",
        })
    }

    fn value(&self, key: &Key) -> Value {
        let millis = |time: Option<Timestamp>| {
            let ends = if self.descending { i64::MIN } else { i64::MAX };
            let number = time.map_or(ends, Timestamp::as_millisecond);
            if self.as_text {
                json!(number.to_string())
            } else {
                json!(number)
            }
        };
        match self.field.as_str() {
            "creation" => millis(Some(key.created)),
            "expiration" => millis(key.expires),
            "invalidation" => millis(key.invalidated),
            "invalidated" => json!(key.invalidated.is_some()),
            "name" => json!(key.name),
            "username" => json!(key.user),
            "type" => json!("rest"),
            other => {
                let path = other.strip_prefix("metadata.").unwrap_or_default();
                super::query::leaf(&key.metadata, path).map_or(Value::Null, Value::String)
            }
        }
    }
}

/// The order of two values of one field. Missing texts come last.
fn compare(one: &Value, other: &Value) -> Ordering {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    match (one, other) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        _ => match (number(one), number(other)) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => text(one).cmp(&text(other)),
        },
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// 400 for what only the index finds out.
fn shards_failed(reason: String) -> Problem {
    let kind = "illegal_argument_exception";
    let inner = Cause::new(kind, reason);
    let mut body = Cause::new("search_phase_execution_exception", "all shards failed")
        .with("phase", json!("query"))
        .with("grouped", json!(true))
        .with(
            "failed_shards",
            json!([{ "shard": 0, "index": ".security-7", "node": "twin", "reason": inner.json() }]),
        )
        .by(inner.clone().by(inner.clone()))
        .json();
    body.insert("root_cause".to_owned(), json!([inner.json()]));
    Problem::said(
        http::StatusCode::BAD_REQUEST,
        json!({ "error": body, "status": 400 }),
    )
}
