//! Answers and errors, in the server's own shape.
//!
//! An error has a body with `root_cause`, `type`, `reason`, and `status`; some have a text in place
//! of an object. Every answer to somebody who was let in names the product; 401 and 403 do not.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};

/// What a route makes of a call.
pub(super) type Reply = Result<Answer, Problem>;

/// A body with a status, `200` as a rule.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body,
        }
    }

    /// The body that a success would have, with a 404.
    pub(super) fn absent(body: Value) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            body,
        }
    }
}

/// Why something was refused, and why that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    kind: &'static str,
    reason: String,
    more: Map<String, Value>,
    caused_by: Option<Box<Cause>>,
}

impl Cause {
    pub(super) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            more: Map::new(),
            caused_by: None,
        }
    }

    pub(super) fn by(mut self, cause: Self) -> Self {
        self.caused_by = Some(Box::new(cause));
        self
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Without what caused it.
    fn alone(&self) -> Map<String, Value> {
        let mut json = self.more.clone();
        json.insert("type".to_owned(), json!(self.kind));
        json.insert("reason".to_owned(), json!(self.reason));
        json
    }

    pub(super) fn json(&self) -> Map<String, Value> {
        let mut json = self.alone();
        if let Some(cause) = &self.caused_by {
            json.insert("caused_by".to_owned(), Value::Object(cause.json()));
        }
        json
    }

    /// The deepest one that the server's own code has raised.
    fn root(&self) -> &Self {
        const OWN: [&str; 4] = [
            "security_exception",
            "parse_exception",
            "parsing_exception",
            "x_content_parse_exception",
        ];
        match &self.caused_by {
            Some(cause) if OWN.contains(&cause.kind) => cause.root(),
            _ => self,
        }
    }
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    body: Value,
    /// The ways to sign in, for who is not.
    ways_in: &'static [&'static str],
    allow: Option<String>,
}

/// What one may sign in with.
pub(super) const WAYS_IN: [&str; 3] = [
    "Basic realm=\"security\", charset=\"UTF-8\"",
    "Bearer realm=\"security\"",
    "ApiKey",
];
/// The same without tokens.
pub(super) const WAYS_IN_BASIC: [&str; 2] = [WAYS_IN[0], WAYS_IN[2]];

impl Problem {
    pub(super) fn new(status: StatusCode, cause: &Cause) -> Self {
        let mut error = cause.json();
        let root = cause.root().alone();
        error.insert("root_cause".to_owned(), json!([root]));
        Self::said(status, json!({ "error": error, "status": status.as_u16() }))
    }

    /// An error whose body is not of the ordinary shape.
    pub(super) fn said(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            ways_in: &[],
            allow: None,
        }
    }

    /// 400: the request was read, and may not be.
    pub(super) fn illegal(reason: impl Into<String>) -> Self {
        let cause = Cause::new("illegal_argument_exception", reason);
        Self::new(StatusCode::BAD_REQUEST, &cause)
    }

    /// 400: the request could not be read.
    pub(super) fn unreadable(reason: impl Into<String>) -> Self {
        let cause = Cause::new("parse_exception", reason);
        Self::new(StatusCode::BAD_REQUEST, &cause)
    }

    /// 400 with what is wrong with the request, if anything is.
    pub(super) fn invalid(wrong: &[String]) -> Result<(), Self> {
        if wrong.is_empty() {
            return Ok(());
        }
        let cause = Cause::new("action_request_validation_exception", failed(wrong));
        Err(Self::new(StatusCode::BAD_REQUEST, &cause))
    }

    /// 400: what the request is about does not allow it.
    pub(super) fn validation(wrong: &str) -> Self {
        let cause = Cause::new("validation_exception", failed(&[wrong.to_owned()]));
        Self::new(StatusCode::BAD_REQUEST, &cause)
    }

    pub(super) fn forbidden(cause: &Cause) -> Self {
        Self::new(StatusCode::FORBIDDEN, cause)
    }

    /// 401 with the ways to sign in.
    pub(super) fn stranger(cause: &Cause, ways_in: &'static [&'static str]) -> Self {
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, &show(cause, ways_in));
        problem.ways_in = ways_in;
        problem
    }

    /// 405 with the methods that there are.
    pub(super) fn bad_method(uri: &str, method: &http::Method, allowed: &[&str]) -> Self {
        let list = allowed.join(", ");
        let error = format!(
            "Incorrect HTTP method for uri [{uri}] and method [{method}], allowed: [{list}]"
        );
        let mut problem = Self::said(
            StatusCode::METHOD_NOT_ALLOWED,
            json!({ "error": error, "status": 405 }),
        );
        problem.allow = Some(allowed.join(","));
        problem
    }

    /// 400 for a path that leads nowhere.
    pub(super) fn no_route(uri: &str, method: &http::Method) -> Self {
        let error = format!("no handler found for uri [{uri}] and method [{method}]");
        Self::said(StatusCode::BAD_REQUEST, json!({ "error": error }))
    }

    /// 406 for a body in another language.
    pub(super) fn bad_content(kind: &str) -> Self {
        let error = format!("Content-Type header [{kind}] is not supported");
        Self::said(
            StatusCode::NOT_ACCEPTABLE,
            json!({ "error": error, "status": 406 }),
        )
    }
}

/// The ways to sign in, as an error's body shows them.
pub(super) fn show(cause: &Cause, ways_in: &[&str]) -> Cause {
    let header = json!({ "WWW-Authenticate": ways_in });
    cause.clone().with("header", header)
}

/// What is wrong, counted.
pub(super) fn failed(wrong: &[String]) -> String {
    let list = wrong.iter().enumerate();
    list.fold("Validation Failed: ".to_owned(), |text, (at, wrong)| {
        format!("{text}{}: {wrong};", at + 1)
    })
}

/// Puts a reply on the wire, in the form that was asked for.
pub(super) fn response(reply: Reply, media: &str, pretty: bool) -> Response<Bytes> {
    let (status, body, ways_in, allow) = match reply {
        Ok(Answer { status, body }) => (status, body, &[][..], None),
        Err(problem) => (problem.status, problem.body, problem.ways_in, problem.allow),
    };
    let text = if pretty {
        format!("{body:#}\n")
    } else {
        body.to_string()
    };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for way in ways_in {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(way));
    }
    if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
        headers.insert(ALLOW, allow);
    }
    if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
        headers.insert(
            "x-elastic-product",
            HeaderValue::from_static("Elasticsearch"),
        );
    }
    if let Ok(media) = HeaderValue::from_str(media) {
        headers.insert(CONTENT_TYPE, media);
    }
    response
}
