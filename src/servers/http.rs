//! What every server's client shares: from a call to one HTTP request, and from its answer to what
//! it holds or to a [`Fault`].
//!
//! Requests go to fixed paths under the connection's own URL; no link and no redirect of a server is
//! followed, so a credential never leaves its origin. A request is sent once. What a server says of
//! a failure is believed only in the form that this kind of server uses, and passes `plain`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};

use super::budget::{Budget, LONGEST_PAUSE, SHORTEST_PAUSE};
use super::plain::plain;
use super::transport::{Cut, REQUEST, Transport};
use super::{Connection, Unusable};
use crate::clock::Clock;
use crate::plan::port::Fault;
use crate::secret::KeyMaterial;

/// The greatest number of characters of an id that is put into a path.
const LONGEST_ID: usize = 128;

/// The greatest length of the body of an error that is read, in bytes.
const LONGEST_COMPLAINT: usize = 64 * 1024;

/// The greatest length of a thing that is read to be sent back, in bytes: as free JSON it takes many
/// times that.
const LONGEST_WHOLE: usize = 1024 * 1024;

/// How long a call may take that needs more than one request.
pub(super) const CALL: Duration = Duration::from_secs(60);

/// Bounds a call as a whole.
pub(super) async fn within<T>(
    bound: Duration,
    call: impl Future<Output = Result<T, Fault>> + Send,
) -> Result<T, Fault> {
    let late = || Fault::Uncertain("it took too long".to_owned());
    timeout(bound, call).await.unwrap_or_else(|_| Err(late()))
}

/// What failed on the way to a request that was never sent: nothing can have happened.
pub(super) fn on_the_way(fault: Fault) -> Fault {
    match fault {
        Fault::Uncertain(why) => Fault::Unreachable(why),
        // Nor is what was asked for gone, because the way to it is.
        Fault::NotFound => Fault::Protocol("a sign-in that is not there".to_owned()),
        fault => fault,
    }
}

/// Whether a text can be an id: what may stand in a path without changing its meaning.
pub(super) fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// What we refuse ourselves, before anything is sent. It says nothing of the server, which must not
/// be suspected for it.
pub(super) fn unsent(why: &str) -> Fault {
    Fault::Rejected(format!("nothing was sent, because {why}"))
}

/// The URL of a server: scheme, host, port and a path that stands before every other.
#[derive(Debug, Clone)]
struct Base(Url);

impl Base {
    /// Reads a URL; `None` when it is not plain HTTP(S) with a host and at most a path.
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then_some(Self(url))
    }

    fn at(&self, path: &str, query: &[(&str, String)]) -> Result<Uri, Fault> {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url.as_str()
            .parse()
            .map_err(|_| unsent("the URL is not one of HTTP"))
    }

    /// Where a redirect leads, in a form that may be shown.
    fn target(&self, location: Option<&str>) -> String {
        match location.and_then(|location| self.0.join(location).ok()) {
            Some(url) if url.origin() == self.0.origin() => "another path of its own".to_owned(),
            Some(url) => plain(&url.origin().ascii_serialization(), &[]),
            None => "somewhere that it does not name".to_owned(),
        }
    }
}

/// A path under a server's URL, made from a template and ids.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The template, which names no one: for logs.
    template: &'static str,
    path: String,
}

impl Route {
    /// Puts `ids` into the `{}` of the template. `Rejected` when one of them is no id.
    pub(super) fn new(template: &'static str, ids: &[&str]) -> Result<Self, Fault> {
        let mut pieces = template.split("{}");
        let mut path = pieces.next().unwrap_or_default().to_owned();
        for (piece, id) in pieces.zip(ids) {
            if !is_id(id) {
                return Err(unsent("an id holds what no id should hold"));
            }
            path.push_str(id);
            path.push_str(piece);
        }
        Ok(Self { template, path })
    }

    /// Puts `names` into the `{}` of the template, whatever they are. `Rejected` for one that would
    /// change the path.
    pub(super) fn named(template: &'static str, names: &[&str]) -> Result<Self, Fault> {
        let mut pieces = template.split("{}");
        let mut path = pieces.next().unwrap_or_default().to_owned();
        for (piece, name) in pieces.zip(names) {
            if name.is_empty() || name.chars().all(|c| c == '.') {
                return Err(unsent("a name is empty or a path of its own"));
            }
            for byte in name.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                    path.push(char::from(byte));
                } else {
                    let _ = write!(path, "%{byte:02X}");
                }
            }
            path.push_str(piece);
        }
        Ok(Self { template, path })
    }

    /// A path without ids.
    pub(super) fn fixed(path: &'static str) -> Self {
        Self {
            template: path,
            path: path.to_owned(),
        }
    }
}

/// Secrets, and the headers that show them to the server.
#[derive(Debug, Clone)]
pub(super) struct Badge {
    headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<KeyMaterial>,
}

impl Badge {
    /// The badge of somebody whom nobody knows.
    pub(super) fn nobodys() -> Self {
        Self {
            headers: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// A badge that shows nothing: the secret goes where no badge can be, and is hidden all the same.
    pub(super) fn unseen(secret: &KeyMaterial) -> Self {
        Self {
            headers: Vec::new(),
            secrets: vec![secret.clone()],
        }
    }

    /// A badge of one header; `None` when no header can carry the secret.
    pub(super) fn new(name: HeaderName, secret: &KeyMaterial) -> Option<Self> {
        Self::unseen(secret).with(name, secret.expose())
    }

    /// `Authorization` with a scheme before the secret.
    pub(super) fn authorization(scheme: &str, secret: &KeyMaterial) -> Option<Self> {
        Self::unseen(secret).with(AUTHORIZATION, &format!("{scheme} {}", secret.expose()))
    }

    /// A user name and a password, as RFC 7617 has them; `None` for a name that cannot be sent.
    pub(super) fn basic(username: &str, password: &KeyMaterial) -> Option<Self> {
        if username.is_empty() || username.contains(':') {
            return None;
        }
        let both = format!("{username}:{}", password.expose());
        let badge = Self::authorization("Basic", &KeyMaterial::new(BASE64.encode(both)))?;
        Some(badge.hiding(password))
    }

    /// The same with one more secret.
    pub(super) fn hiding(mut self, secret: &KeyMaterial) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// The same with one more header.
    pub(super) fn with(mut self, name: HeaderName, text: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(text).ok()?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Some(self)
    }

    /// `text`, made fit to be shown, without the secrets.
    fn plain(&self, text: &str) -> String {
        plain(text, &self.secrets.iter().collect::<Vec<_>>())
    }
}

/// One request. Not to be printed: what it sends along may be a secret.
pub(super) struct Ask<'a> {
    /// What to do.
    pub(super) method: Method,
    /// With what.
    pub(super) route: Route,
    /// Which part of it.
    pub(super) query: Vec<(&'static str, String)>,
    /// What to send along.
    pub(super) body: Option<Value>,
    /// As whom.
    pub(super) badge: &'a Badge,
    /// Not to be sent any later, where that matters.
    pub(super) by: Option<Timestamp>,
}

impl<'a> Ask<'a> {
    /// A request without more.
    pub(super) fn new(method: Method, route: Route, badge: &'a Badge) -> Self {
        Self {
            method,
            route,
            query: Vec::new(),
            body: None,
            badge,
            by: None,
        }
    }

    fn request(&self, base: &Base) -> Result<Request<Bytes>, Fault> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = base.at(&self.route.path, &self.query)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &self.badge.headers {
            headers.insert(name.clone(), value.clone());
        }
        Ok(request)
    }

    /// The server is in no state to answer. What should have changed something may have done so.
    fn unanswered(&self, why: String) -> Fault {
        if self.method == Method::GET {
            Fault::Unreachable(why)
        } else {
            Fault::Uncertain(why)
        }
    }
}

/// An answer of success. Not to be printed: it may hold a key.
pub(super) struct Answer {
    /// When the request was about to be sent.
    pub(super) sent_at: Timestamp,
    /// The server's clock less ours.
    pub(super) skew: SignedDuration,
    /// As whom it was asked.
    badge: Badge,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// What the answer holds. The error tells where it makes no sense, and never quotes it.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        if self.is_empty() {
            return Err(Fault::Protocol("an empty answer".to_owned()));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let what = match error.classify() {
                serde_json::error::Category::Data => "JSON of another shape",
                serde_json::error::Category::Eof => "JSON that breaks off",
                serde_json::error::Category::Io | serde_json::error::Category::Syntax => "not JSON",
            };
            let (line, column) = (error.line(), error.column());
            Fault::Protocol(format!("{what}, seen at line {line}, column {column}"))
        })
    }

    /// What a header of the answer says, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What all headers of this name say, as far as they are text.
    pub(super) fn headers(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        let headers = self.headers.get_all(name).iter();
        headers.filter_map(|value| value.to_str().ok())
    }

    /// A text of the answer, made fit to be shown, without what we have shown.
    pub(super) fn plain(&self, text: &str) -> String {
        self.badge.plain(text)
    }

    /// All that the answer holds, to be sent back with a change. `Protocol` where it is no object, or
    /// too long for one thing of a server.
    pub(super) fn whole(&self) -> Result<Map<String, Value>, Fault> {
        if self.len() > LONGEST_WHOLE {
            return Err(Fault::Protocol(format!(
                "one thing of more than {LONGEST_WHOLE} bytes"
            )));
        }
        self.read()
    }

    /// How long it is, in bytes.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.body.trim_ascii().is_empty()
    }
}

/// What an error of one kind of server says; `None` when it is not an error of its making.
pub(super) type Complaint = fn(&[u8]) -> Option<String>;

/// The way to one server.
pub(super) struct Http {
    base: Base,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    budget: Arc<Budget>,
    complaint: Complaint,
}

impl Http {
    /// The way that a connection describes.
    pub(super) fn new(connection: &Connection, complaint: Complaint) -> Result<Self, Unusable> {
        Self::to(&connection.url, connection, complaint)
    }

    /// The way to another place of the same connection.
    pub(super) fn to(
        url: &str,
        connection: &Connection,
        complaint: Complaint,
    ) -> Result<Self, Unusable> {
        Ok(Self {
            base: Base::parse(url).ok_or(Unusable::Url)?,
            transport: connection.transport.clone(),
            clock: connection.clock.clone(),
            budget: connection.budget.clone(),
            complaint,
        })
    }

    /// The server's scheme, host and port.
    pub(super) fn origin(&self) -> String {
        self.base.0.origin().ascii_serialization()
    }

    /// The way to an address of its own that the server names: its origin, and under this connection's
    /// own path. `Redirected` for any other. `template` is for logs.
    pub(super) fn named(&self, template: &'static str, address: &str) -> Result<Route, Fault> {
        let elsewhere = || Fault::Redirected(self.base.target(Some(address)));
        let Base(named) = Base::parse(address).ok_or_else(elsewhere)?;
        let own = self.base.0.path().trim_end_matches('/');
        named
            .path()
            .strip_prefix(own)
            .filter(|path| path.starts_with('/') && named.origin() == self.base.0.origin())
            .map(|path| Route {
                template,
                path: path.to_owned(),
            })
            .ok_or_else(elsewhere)
    }

    /// The present, on our clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends one request, once, and sorts what comes back. At most a few seconds are spent waiting
    /// for the budget, and at most 30 on the request.
    pub(super) async fn call(&self, ask: Ask<'_>) -> Result<Answer, Fault> {
        let request = ask.request(&self.base)?;
        let slot = self.budget.enter().await?;
        let sent_at = self.clock.now();
        if ask.by.is_some_and(|by| sent_at > by) {
            return Err(Fault::Throttled { after: None });
        }
        let start = Instant::now();
        let response = timeout(REQUEST, self.transport.send(request)).await;
        drop(slot);
        let outcome = match response {
            Ok(Ok(response)) => self.sort(&ask, response, sent_at),
            Ok(Err(cut)) => Err(sort_cut(cut)),
            Err(_) => Err(Fault::Uncertain("it took too long".to_owned())),
        };
        tracing::debug!(
            http.method = %ask.method,
            http.route = ask.route.template,
            http.outcome = outcome.as_ref().map_or_else(Fault::label, |_| "ok"),
            http.millis = start.elapsed().as_millis(),
            "asked a deploy server"
        );
        outcome
    }

    fn sort(
        &self,
        ask: &Ask<'_>,
        response: Response<Bytes>,
        sent_at: Timestamp,
    ) -> Result<Answer, Fault> {
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            let skew = skew(&head.headers, sent_at, self.clock.now());
            return Ok(Answer {
                sent_at,
                skew,
                badge: ask.badge.clone(),
                headers: head.headers,
                body,
            });
        }
        Err(self.fault(ask, head.status, &head.headers, &body))
    }

    fn fault(&self, ask: &Ask<'_>, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        let words = (body.len() <= LONGEST_COMPLAINT)
            .then(|| (self.complaint)(body))
            .flatten()
            .map(|words| ask.badge.plain(&words));
        let reason = || {
            words
                .clone()
                .unwrap_or_else(|| format!("{status}, without a reason"))
        };
        let trouble = || {
            words
                .as_ref()
                .map_or_else(reason, |words| format!("{status}: {words}"))
        };
        match status {
            StatusCode::UNAUTHORIZED => Fault::Unauthorized,
            StatusCode::FORBIDDEN => Fault::Forbidden(reason()),
            // A proxy without a server behind it says 404 too, and must not make a key "gone".
            StatusCode::NOT_FOUND if words.is_some() => Fault::NotFound,
            StatusCode::NOT_FOUND => Fault::Protocol("a 404 that is not the server's".to_owned()),
            StatusCode::CONFLICT => Fault::Conflict(reason()),
            StatusCode::TOO_MANY_REQUESTS => {
                let after = retry_after(headers, self.clock.now());
                self.budget.pause(after);
                Fault::Throttled { after }
            }
            StatusCode::REQUEST_TIMEOUT => ask.unanswered(trouble()),
            _ if status.is_client_error() => Fault::Rejected(reason()),
            _ if status.is_server_error() => ask.unanswered(trouble()),
            _ if status.is_redirection() => {
                let location = headers.get(LOCATION);
                let location = location.and_then(|location| location.to_str().ok());
                Fault::Redirected(self.base.target(location))
            }
            _ => Fault::Protocol(format!("the status {status}")),
        }
    }
}

fn sort_cut(cut: Cut) -> Fault {
    match cut {
        Cut::NotSent(why) => Fault::Unreachable(why),
        Cut::Untrusted(why) => Fault::Untrusted(why),
        Cut::NoAnswer(why) => Fault::Uncertain(why),
        Cut::TooLong(_) => Fault::Protocol(cut.to_string()),
    }
}

/// How long the server wants to be left alone: seconds, or a date of its clock.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date(text)?
            .duration_since(now)
            .max(SignedDuration::ZERO)
            .unsigned_abs(),
    };
    Some(wait.clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
}

/// The server's clock less ours, by the `Date` of an answer to a request that was under way from
/// `sent_at` to `received_at`. A `Date` has whole seconds: half of one is reckoned on.
fn skew(headers: &HeaderMap, sent_at: Timestamp, received_at: Timestamp) -> SignedDuration {
    let said = headers
        .get(DATE)
        .and_then(|said| said.to_str().ok())
        .and_then(date);
    said.map_or(SignedDuration::ZERO, |said| {
        let halfway = received_at.duration_since(sent_at) / 2;
        said.duration_since(sent_at) - halfway + SignedDuration::from_millis(500)
    })
}

/// A date as HTTP writes it.
pub(super) fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|date| date.timestamp())
}

#[cfg(test)]
mod tests;
