//! Answers and errors, in the server's own shape.
//!
//! Every error of the two services is `{ "faultstring": … }`. What lies in front of them, nginx,
//! has pages of its own: 429 is nobody else's, and a service that is not there is a 503 in the
//! words of the configuration file that comes with the server (`conf/nginx/st2.conf`).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, DATE, HeaderName,
    ORIGIN,
};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::call::Call;

/// What a route makes of a call.
pub(super) type Reply = Result<Answer, Problem>;

/// A success.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    /// No body at all when absent.
    body: Option<Value>,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
            headers: Vec::new(),
        }
    }

    pub(super) fn created(body: Value) -> Self {
        Self {
            status: StatusCode::CREATED,
            ..Self::ok(body)
        }
    }

    /// 204.
    pub(super) fn empty() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: None,
            headers: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    body: Value,
}

impl Problem {
    pub(super) fn new(status: StatusCode, text: &str) -> Self {
        let body = json!({ "faultstring": text });
        Self { status, body }
    }

    pub(super) fn bad(text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text.as_ref())
    }

    /// 401; a token that is not known has no reason.
    pub(super) fn unauthorized(reason: Option<&str>) -> Self {
        let text = reason.map(|reason| format!("Unauthorized - {reason}"));
        let text = text.as_deref().unwrap_or("Unauthorized");
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    pub(super) fn no_credential() -> Self {
        Self::unauthorized(Some("One of Token or API key required."))
    }

    pub(super) fn forbidden(text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text.as_ref())
    }

    pub(super) fn not_found(text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text.as_ref())
    }

    /// No such route, or not with this method: the server does not tell them apart.
    pub(super) fn no_route() -> Self {
        Self::not_found("The resource could not be found.")
    }

    pub(super) fn conflict(text: &str) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            body: json!({ "conflict-id": null, "faultstring": text }),
        }
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }
}

/// Puts a reply on the wire.
pub(super) fn response(reply: Reply) -> Response<Bytes> {
    let (status, body, headers) = match reply {
        Ok(answer) => (answer.status, answer.body, answer.headers),
        Err(problem) => (problem.status, Some(problem.body), Vec::new()),
    };
    let mut response = match body {
        Some(body) => typed("application/json", body.to_string()),
        None => Response::new(Bytes::new()),
    };
    *response.status_mut() = status;
    for (name, value) in headers {
        set(&mut response, HeaderName::from_static(name), &value);
    }
    response
}

/// The answer to every `OPTIONS`: its headers say it all.
pub(super) fn options() -> Response<Bytes> {
    typed("text/html; charset=UTF-8", String::new())
}

/// The answer to every `HEAD`: the built-in server stumbles.
pub(super) fn head() -> Response<Bytes> {
    let mut response = typed("text/plain; charset=UTF-8", String::new());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// A page of the front's own.
pub(super) fn page(status: StatusCode) -> Response<Bytes> {
    let title = format!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    );
    let text = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
         <center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = typed("text/html", text);
    *response.status_mut() = status;
    response
}

/// What the front says when it does not reach a service.
pub(super) const UNREACHABLE: &str =
    "Nginx is unable to reach st2api. Make sure service is running.";

/// Puts the headers on a response that every answer of the two services carries.
pub(super) fn dress(response: &mut Response<Bytes>, call: &Call, request_id: &str) {
    /// `api.allow_origin` as it comes, and what the server adds.
    const ORIGINS: [&str; 3] = [
        "http://127.0.0.1:3000",
        "http://localhost:8080",
        "http://127.0.0.1:8080",
    ];
    let asked = call.header(ORIGIN.as_str());
    let known = ORIGINS.iter().find(|origin| Some(**origin) == asked);
    let origin = known.unwrap_or(&ORIGINS[0]);
    let date = call.now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [
        (DATE, date.as_str()),
        (ACCESS_CONTROL_ALLOW_ORIGIN, *origin),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET,POST,PUT,DELETE,OPTIONS"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "Content-Type,Authorization,X-Auth-Token,St2-Api-Key,X-Request-ID",
        ),
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Type,X-Limit,X-Total-Count,X-Request-ID",
        ),
        (HeaderName::from_static("x-request-id"), request_id),
    ] {
        set(response, name, value);
    }
}

pub(super) fn set(response: &mut Response<Bytes>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn typed(kind: &'static str, text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A date as the server writes it: microseconds and `Z`.
pub(super) fn date(time: Timestamp) -> Value {
    Value::String(time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}
