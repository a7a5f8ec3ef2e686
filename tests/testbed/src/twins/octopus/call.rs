//! A request, taken apart: what the routes see of it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Method, Request};
use jiff::Timestamp;
use serde_json::Value;

use super::answer::Problem;
use super::auth::Caller;

/// A request on its way to a route.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) now: Timestamp,
    /// The method, after `X-HTTP-Method-Override`.
    pub(super) method: Method,
    /// The path without the virtual directory and without the space.
    pub(super) path: Vec<String>,
    /// The space that the path names, by id or slug.
    pub(super) space: Option<String>,
    /// What stands at the places in the route's template.
    pub(super) places: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// The scheme and host that the caller used.
    pub(super) origin: String,
    pub(super) body: Bytes,
    pub(super) caller: Option<Caller>,
}

impl Call {
    /// Takes a request apart. `None` when its path lies outside the virtual directory.
    pub(super) fn read(now: Timestamp, request: &Request<Bytes>, prefix: &str) -> Option<Self> {
        let (space, path) = place(request.uri().path(), prefix)?;
        let query = request.uri().query().unwrap_or_default();
        Some(Self {
            now,
            method: method(request),
            path,
            space,
            places: Vec::new(),
            query: form(query.as_bytes()),
            headers: request.headers().clone(),
            origin: origin(request),
            body: request.body().clone(),
            caller: None,
        })
    }

    /// What stands at the n-th place of the route's template.
    pub(super) fn at(&self, place: usize) -> &str {
        self.places.get(place).map_or("", String::as_str)
    }

    /// Who asks; 401 when nobody does.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(Problem::not_signed_in)
    }

    /// A query value, whatever the case of its name. An empty one counts as absent.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// A query value that lists things with commas between.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&str>> {
        self.query(name)
            .map(|text| text.split(',').map(str::trim).collect())
    }

    /// Whether a text has the fragment that this query value gives, ignoring case.
    pub(super) fn fragment(&self, name: &str, texts: &[&str]) -> bool {
        self.query(name).is_none_or(|fragment| {
            let fragment = fragment.to_lowercase();
            texts
                .iter()
                .any(|text| text.to_lowercase().contains(&fragment))
        })
    }

    /// Whether the query value, if there is one, says this.
    pub(super) fn says(&self, name: &str, value: &str) -> bool {
        self.query(name)
            .is_none_or(|text| text.eq_ignore_ascii_case(value))
    }

    /// Whether a document is among the `ids` asked for.
    pub(super) fn asks_for(&self, id: &str) -> bool {
        self.list("ids").is_none_or(|ids| ids.contains(&id))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn user_agent(&self) -> &str {
        self.header(USER_AGENT.as_str()).unwrap_or_default()
    }

    pub(super) fn cookie(&self, prefix: &str) -> Option<&str> {
        self.headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(name, _)| name.starts_with(prefix))
            .map(|(_, value)| value)
    }

    /// The body as a JSON object.
    pub(super) fn body(&self) -> Result<Body, Problem> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(fields)) => Ok(Body(Value::Object(fields))),
            Ok(_) => Err(Problem::bad("The request body must be a JSON object.")),
            Err(_) if self.body.is_empty() => Err(Problem::bad("The request has no body.")),
            Err(_) => Err(Problem::bad("The request body is not valid JSON.")),
        }
    }

    /// The body as a JSON object or a web form.
    pub(super) fn form_or_body(&self) -> Result<Body, Problem> {
        let form_sent = self
            .header(CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if !form_sent {
            return self.body();
        }
        let fields = form(&self.body)
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)));
        Ok(Body(Value::Object(fields.collect())))
    }
}

/// A JSON object that somebody sent. Names are looked up whatever their case, unknown fields are
/// not looked at, and an explicit `null` counts as absent, as clients send them freely.
#[derive(Debug)]
pub(super) struct Body(Value);

impl Body {
    /// A field, and `Null` when it is there and null.
    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.0
            .as_object()?
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.raw(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.field(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// Text that is there and has more than blanks.
    pub(super) fn said(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.field(name).and_then(Value::as_bool)
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.field(name)
            .and_then(Value::as_u64)
            .and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.field(name)?.as_array()?;
        Some(
            items
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(super) fn values(&self, name: &str) -> Option<Vec<Value>> {
        self.field(name)?.as_array().cloned()
    }
}

/// Splits a path into the space it is in and the rest.
pub(super) fn place(path: &str, prefix: &str) -> Option<(Option<String>, Vec<String>)> {
    let path = path
        .strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let mut path: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect();
    let is = |at: usize, name: &str| path.get(at).is_some_and(|s| s.eq_ignore_ascii_case(name));
    let space = if is(0, "api") && path.len() > 2 && path[1].starts_with("Spaces-") {
        path.drain(1..2).next()
    } else if is(0, "api") && is(1, "spaces") && path.len() > 3 {
        path.drain(1..3).nth(1)
    } else {
        None
    };
    Some((space, path))
}

/// The method that is meant. The C# client and the portal send PUT and DELETE as POST.
pub(super) fn method(request: &Request<Bytes>) -> Method {
    let meant = request
        .headers()
        .get("x-http-method-override")
        .and_then(|value| value.to_str().ok())
        .filter(|_| request.method() == Method::POST);
    match meant {
        Some(meant) if meant.eq_ignore_ascii_case("PUT") => Method::PUT,
        Some(meant) if meant.eq_ignore_ascii_case("DELETE") => Method::DELETE,
        _ => request.method().clone(),
    }
}

pub(super) fn form(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
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
