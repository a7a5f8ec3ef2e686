//! What every server's client shares: from a call to one HTTP request, and from its answer to what
//! it holds or to a [`Fault`].
//!
//! Requests go to fixed paths under the connection's own URL; no link and no redirect of a server is
//! followed, so a credential never leaves its origin. A request is sent once. What a server says of
//! a failure is believed only in the form that this kind of server uses, and passes `plain`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;
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
    fn target(&self, location: Option<&HeaderValue>) -> String {
        let location = location.and_then(|location| location.to_str().ok());
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

    /// A path without ids.
    pub(super) fn fixed(path: &'static str) -> Self {
        Self {
            template: path,
            path: path.to_owned(),
        }
    }
}

/// A secret, and the header that shows it to the server.
#[derive(Debug, Clone)]
pub(super) struct Badge {
    name: HeaderName,
    value: HeaderValue,
    secret: KeyMaterial,
}

impl Badge {
    /// A badge; `None` when no header can carry the secret.
    pub(super) fn new(name: HeaderName, secret: &KeyMaterial) -> Option<Self> {
        let mut value = HeaderValue::from_str(secret.expose()).ok()?;
        value.set_sensitive(true);
        Some(Self {
            name,
            value,
            secret: secret.clone(),
        })
    }

    /// The secret itself.
    pub(super) fn secret(&self) -> &KeyMaterial {
        &self.secret
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

impl Ask<'_> {
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
        headers.insert(self.badge.name.clone(), self.badge.value.clone());
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

    /// All that the answer holds, to be sent back with a change. `Protocol` where it is too long for
    /// one thing of a server.
    pub(super) fn whole(&self) -> Result<Value, Fault> {
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
        Ok(Self {
            base: Base::parse(&connection.url).ok_or(Unusable::Url)?,
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
                body,
            });
        }
        Err(self.fault(ask, head.status, &head.headers, &body))
    }

    fn fault(&self, ask: &Ask<'_>, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
        let words = (body.len() <= LONGEST_COMPLAINT)
            .then(|| (self.complaint)(body))
            .flatten()
            .map(|words| plain(&words, &[&ask.badge.secret]));
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
                Fault::Redirected(self.base.target(headers.get(LOCATION)))
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

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|date| date.timestamp())
}

#[cfg(test)]
mod tests;
