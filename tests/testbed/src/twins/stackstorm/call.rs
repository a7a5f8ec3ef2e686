//! A request, taken apart: what the routes see of it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, Method, Request};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::Problem;
use super::auth::Caller;

/// The two services behind the one front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// `st2api`, behind `/api`.
    Api,
    /// `st2auth`, behind `/auth`.
    Auth,
}

/// A request on its way to a route.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) now: Timestamp,
    pub(super) service: Service,
    pub(super) method: Method,
    /// The path behind the service's own, without `/v1`.
    pub(super) path: Vec<String>,
    /// What stands at the place in the route's template.
    pub(super) place: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// The scheme and host that the caller used, and the virtual directory.
    pub(super) base: String,
    body: Bytes,
    pub(super) caller: Option<Caller>,
}

impl Call {
    /// Takes a request apart. `None` when its path leads to neither service.
    pub(super) fn read(now: Timestamp, request: &Request<Bytes>, prefix: &str) -> Option<Self> {
        let (service, path) = place(request.uri().path(), prefix)?;
        let query = request.uri().query().unwrap_or_default();
        Some(Self {
            now,
            service,
            method: request.method().clone(),
            path,
            place: String::new(),
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: request.headers().clone(),
            base: format!("{}{prefix}", origin(request)),
            body: request.body().clone(),
            caller: None,
        })
    }

    /// Who asks; 401 when nobody does.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(Problem::no_credential)
    }

    /// A query value; of several with this name the last one counts.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let mut values = self.query.iter().rev();
        let found = values.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A query value that is a whole number.
    pub(super) fn number(&self, name: &str) -> Result<Option<i128>, Problem> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let text = format!("Parameter \"{name}\" is not of type integer");
            return Err(Problem::bad(text));
        }
        Ok(Some(text.parse().unwrap_or(i128::MAX)))
    }

    /// A query value that says yes or no.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        match text.to_lowercase().as_str() {
            "true" | "1" | "yes" | "y" => Ok(Some(true)),
            "false" | "0" | "no" | "n" => Ok(Some(false)),
            _ => {
                let text = format!("Parameter \"{name}\" is not of type boolean");
                Err(Problem::bad(text))
            }
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The body as JSON. None at all counts as `{}`.
    pub(super) fn body(&self) -> Result<Value, Problem> {
        let kind = self.header(CONTENT_TYPE.as_str());
        let kind = kind.unwrap_or("application/json").split(';').next();
        match kind.unwrap_or_default().trim() {
            // The built-in server says `text/plain` when the caller says nothing.
            "application/json" | "text/plain" | "" if self.body.is_empty() => Ok(json!({})),
            "application/json" | "text/plain" | "" => serde_json::from_slice(&self.body)
                .map_err(|cause| Problem::bad(format!("Failed to parse request body: {cause}"))),
            // Read, but every field is a list, and so no schema fits.
            "application/x-www-form-urlencoded" | "multipart/form-data" => Ok(self.form()),
            other => Err(Problem::bad(format!(
                "Failed to parse request body: Unsupported Content-Type: \"{other}\""
            ))),
        }
    }

    fn form(&self) -> Value {
        let fields = form_urlencoded::parse(&self.body);
        let lists = fields.map(|(name, value)| (name.into_owned(), json!([value])));
        Value::Object(lists.collect())
    }
}

/// Splits a path into the service that it leads to and the rest.
pub(super) fn place(path: &str, prefix: &str) -> Option<(Service, Vec<String>)> {
    let path = unquoted(path.strip_prefix(prefix)?);
    let under = |stem: &str| {
        path.strip_prefix(stem)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let (service, rest) = under("/api")
        .map(|rest| (Service::Api, rest))
        .or_else(|| under("/auth").map(|rest| (Service::Auth, rest)))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let rest = match rest.strip_prefix("/v1") {
        Some(versioned) if versioned.is_empty() || versioned.starts_with('/') => versioned,
        _ => rest,
    };
    let segments = rest.split('/').skip(1).map(str::to_owned);
    Some((service, segments.collect()))
}

/// Takes the percent signs out of a path; what is no text then stays as it is.
fn unquoted(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match byte {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &others[2..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| path.to_owned())
}

fn origin(request: &Request<Bytes>) -> String {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let scheme = header("x-forwarded-proto")
        .or(request.uri().scheme_str())
        .unwrap_or("http");
    let host = request.uri().authority().map(http::uri::Authority::as_str);
    let host = host
        .or_else(|| header(HOST.as_str()))
        .unwrap_or("localhost");
    format!("{scheme}://{host}")
}
