//! A request, taken apart: what the routes see of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Cause, Problem};
use super::auth::Caller;
use super::json::{self, suggestion};

/// A request on its way to a route.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) now: Timestamp,
    pub(super) method: Method,
    /// The path as it was sent, without the prefix.
    pub(super) path: String,
    /// The path and the query, as errors name them.
    pub(super) uri: String,
    /// What stands at the places in the route's template.
    pub(super) places: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) caller: Option<Caller>,
}

/// The parameters that every route knows.
const COMMON: [&str; 5] = ["pretty", "human", "error_trace", "filter_path", "format"];

impl Call {
    /// Takes a request apart.
    pub(super) fn read(now: Timestamp, request: &Request<Bytes>, prefix: &str) -> Self {
        let path = place(request.uri().path(), prefix);
        let query = request.uri().query().unwrap_or_default();
        let uri = if query.is_empty() {
            path.clone()
        } else {
            format!("{path}?{query}")
        };
        let query = form_urlencoded::parse(query.as_bytes());
        Self {
            now,
            method: request.method().clone(),
            path,
            uri,
            places: Vec::new(),
            query: query.into_owned().collect(),
            headers: request.headers().clone(),
            body: request.body().clone(),
            caller: None,
        }
    }

    /// What stands at the n-th place of the route's template.
    pub(super) fn at(&self, place: usize) -> &str {
        self.places.get(place).map_or("", String::as_str)
    }

    /// Who asks. Every route is behind the door.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(|| {
            let cause = Cause::new("security_exception", "nobody has signed in");
            Problem::new(StatusCode::UNAUTHORIZED, &cause)
        })
    }

    /// A parameter; the last one counts, and an empty one is absent.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let mut values = self.query.iter().rev().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// A parameter that is true or false; true when it has no value.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let mut values = self.query.iter().rev().filter(|(key, _)| key == name);
        match values.next().map(|(_, value)| value.as_str()) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(Problem::illegal(format!(
                "Failed to parse value [{other}] as only [true] or [false] are allowed."
            ))),
        }
    }

    /// Whether the answer shall be easy to read.
    pub(super) fn pretty(&self) -> bool {
        self.flag("pretty").unwrap_or_default()
    }

    /// 400 for parameters that the route does not know.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let mut unknown: Vec<&str> = self
            .query
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !known.contains(name) && !COMMON.contains(name))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        let named: Vec<String> = unknown
            .iter()
            .map(|name| match suggestion(name, known) {
                Some(guess) => format!("[{name}] -> {guess}"),
                None => format!("[{name}]"),
            })
            .collect();
        if named.is_empty() {
            return Ok(());
        }
        Err(Problem::illegal(format!(
            "request [{}] contains unrecognized parameter{}: {}",
            self.path,
            if named.len() == 1 { "" } else { "s" },
            named.join(", "),
        )))
    }

    /// When the write shall be seen: 400 for a wish that there is not.
    pub(super) fn refresh(&self) -> Result<(), Problem> {
        match self.query("refresh") {
            None | Some("true" | "false" | "wait_for") => Ok(()),
            Some(other) => Err(Problem::illegal(format!(
                "Unknown value for refresh: [{other}]."
            ))),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as an object of fields that are read by hand, with the server's oldest errors.
    pub(super) fn fields(
        &self,
        what: &str,
        known: &[&str],
    ) -> Result<serde_json::Map<String, Value>, Problem> {
        if self.body.is_empty() {
            return Err(Problem::unreadable("request body is required"));
        }
        let Value::Object(fields) = json::strict(&self.body)? else {
            return Err(Problem::unreadable(format!(
                "failed to parse {what}. expected an object but found something else instead"
            )));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Problem::unreadable(format!(
                "failed to parse {what}. unexpected field [{name}]"
            ))),
            None => Ok(fields),
        }
    }
}

/// The path without the prefix. Outside of it nothing is found.
pub(super) fn place(path: &str, prefix: &str) -> String {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .map_or_else(
            || "/outside".to_owned(),
            |rest| if rest.is_empty() { "/" } else { rest }.to_owned(),
        )
}

/// A segment of a path, decoded.
pub(super) fn decoded(segment: &str) -> String {
    // `+` is itself in a path; the form decoder takes it for a space.
    let form = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(form.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// The text behind Base64, if it is one.
pub(super) fn unbase64(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()
}

/// Which form of JSON an answer shall have.
///
/// # Errors
/// 400 when a version is asked for that the server cannot speak.
pub(super) fn media(headers: &HeaderMap, major: u32) -> Result<String, Problem> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let accept = header("accept").and_then(compatible);
    let content = header("content-type").and_then(compatible);
    let refused = |reason: String| {
        let reason_of_all = "Invalid media-type value on headers [Accept, Content-Type]";
        let cause = Cause::new("media_type_header_exception", reason_of_all)
            .by(Cause::new("status_exception", reason));
        Err(Problem::new(StatusCode::BAD_REQUEST, &cause))
    };
    for (name, version) in [("Accept", accept), ("Content-Type", content)] {
        if let Some(version) = version.filter(|v| *v != major && *v + 1 != major) {
            let said = header(&name.to_lowercase()).unwrap_or_default();
            return refused(format!(
                "{name} version must be either version {major} or {}, but found {version}. \
                 {name}={said}",
                major - 1
            ));
        }
    }
    match (accept, content) {
        (None, Some(_)) => refused(format!(
            "A compatible version is required on both Content-Type and Accept headers if either \
             one has requested a compatible version. Accept={}, Content-Type={}",
            // Whatever else stands there is not read.
            "null",
            header("content-type").unwrap_or("null"),
        )),
        (Some(version), _) => Ok(format!(
            "application/vnd.elasticsearch+json;compatible-with={version}"
        )),
        (None, None) => Ok("application/json".to_owned()),
    }
}

/// The version in a media type such as `application/vnd.elasticsearch+json; compatible-with=8`.
fn compatible(media: &str) -> Option<u32> {
    let rest = media.strip_prefix("application/vnd.elasticsearch+json")?;
    let (_, version) = rest.split_once("compatible-with=")?;
    version.trim().parse().ok()
}
