//! Answers and errors, in the server's own shape.
//!
//! Every error has a JSON body: `ErrorMessage`, and `Errors` only where there are any, because the
//! official Go client takes an empty list for a list of errors (go-octopusdeploy v2.115.0,
//! `pkg/core/api_error.go`).

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Permission;

/// What a route makes of a call.
pub(super) type Reply = Result<Answer, Problem>;

/// A success.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// No body at all when absent.
    pub(super) body: Option<Value>,
    pub(super) cookies: Vec<String>,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
            cookies: Vec::new(),
        }
    }

    pub(super) fn created(body: Value) -> Self {
        Self {
            status: StatusCode::CREATED,
            ..Self::ok(body)
        }
    }

    /// 200 without a body.
    pub(super) fn empty() -> Self {
        Self {
            status: StatusCode::OK,
            body: None,
            cookies: Vec::new(),
        }
    }
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// Seconds to wait.
    pub(super) retry_after: Option<u64>,
}

/// Octopus REST API errors; the first two texts are quoted by Octopus's own client tests.
const NOT_SIGNED_IN: &str = "You must be logged in to perform this action. Please provide a valid \
                             API key or log in again.";
const BAD_KEY: &str = "The API key you provided was not valid. Please double-check your API key \
                       and try again. For instructions on finding your API key, please visit: \
                       https://oc.to/ApiKey";
const MISSING_PERMISSION: &str = "You do not have permission to perform this action. Please \
                                  contact your Octopus administrator.";

impl Problem {
    pub(super) fn new(status: StatusCode, message: &str) -> Self {
        Self {
            status,
            body: json!({ "ErrorMessage": message }),
            retry_after: None,
        }
    }

    /// 400 with one reason.
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::invalid(&[error.into()])
    }

    /// 400 with reasons.
    pub(super) fn invalid(errors: &[String]) -> Self {
        let body =
            json!({ "ErrorMessage": "There was a problem with your request.", "Errors": errors });
        Self {
            status: StatusCode::BAD_REQUEST,
            body,
            retry_after: None,
        }
    }

    pub(super) fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, NOT_SIGNED_IN)
    }

    pub(super) fn bad_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, BAD_KEY)
    }

    /// 403 for a missing permission.
    pub(super) fn missing(permission: Permission) -> Self {
        let message = format!(
            "{MISSING_PERMISSION} Missing permission: {}",
            permission.name()
        );
        Self::new(StatusCode::FORBIDDEN, &message)
    }

    /// 403 for what no permission allows.
    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, MISSING_PERMISSION)
    }

    pub(super) fn not_found(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            &format!("The resource '{id}' was not found."),
        )
    }

    pub(super) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "The resource you requested was not found.",
        )
    }

    pub(super) fn bad_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "The requested resource does not support this http method.",
        )
    }
}

/// Puts a reply on the wire. Links get the virtual directory in front.
pub(super) fn response(reply: Reply, now: Timestamp, prefix: &str) -> Response<Bytes> {
    let (status, body, cookies, retry_after) = match reply {
        Ok(Answer {
            status,
            body,
            cookies,
        }) => (status, body, cookies, None),
        Err(Problem {
            status,
            body,
            retry_after,
        }) => (status, Some(body), Vec::new(), retry_after),
    };
    let body = body.map_or_else(Bytes::new, |mut body| {
        if !prefix.is_empty() {
            prefix_links(&mut body, prefix);
        }
        Bytes::from(body.to_string())
    });
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        headers.insert(DATE, date);
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
    response
}

/// Under a virtual directory every link of a response carries it (Octopus issue 65).
fn prefix_links(value: &mut Value, prefix: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| prefix_links(item, prefix)),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Object(links) if name == "Links" => {
                        for link in links.values_mut() {
                            if let Some(path) = link.as_str().filter(|link| link.starts_with('/')) {
                                *link = Value::String(format!("{prefix}{path}"));
                            }
                        }
                    }
                    other => prefix_links(other, prefix),
                }
            }
        }
        _ => {}
    }
}

/// A date as the server writes it: milliseconds and an offset.
pub(super) fn date(time: Timestamp) -> Value {
    Value::String(time.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string())
}
