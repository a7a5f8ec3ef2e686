//! The twin where the table that it shares with a real server does not reach: time, what happens
//! from outside, backups, the journal; and what it is to be its client, by subject.

mod accounts;
mod keys;
mod manners;
mod outside;
mod query;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Change, Config, Credential, Elasticsearch, Start, View};
use crate::twins::Twin as _;

/// A server and somebody who asks it things.
pub(super) struct Desk {
    pub(super) server: Elasticsearch,
    pub(super) now: Timestamp,
    headers: Vec<(String, String)>,
}

/// A status and a JSON body; `Null` for an empty one.
pub(super) type Said = (u16, Value);

impl Desk {
    /// A fresh server, asked by `elastic`.
    pub(super) fn new() -> Self {
        Self::of(&Config::default())
    }

    pub(super) fn of(config: &Config) -> Self {
        let server = Elasticsearch::new(config);
        let admin = server.start().admin.clone();
        let mut desk = Self {
            server,
            now: "2026-11-22T02:00:00Z".parse().unwrap(),
            headers: vec![],
        };
        desk.as_user(&admin);
        desk
    }

    pub(super) fn start(&self) -> Start {
        self.server.start().clone()
    }

    /// Asks as this user from now on.
    pub(super) fn as_user(&mut self, who: &Credential) -> &mut Self {
        self.with(&[("authorization", &basic(&who.username, &who.password))])
    }

    /// Asks as `elastic` from now on.
    pub(super) fn as_admin(&mut self) -> &mut Self {
        let admin = self.start().admin;
        self.as_user(&admin)
    }

    /// Asks with this key from now on.
    pub(super) fn as_key(&mut self, key: &Minted) -> &mut Self {
        self.with(&[("authorization", &format!("ApiKey {}", key.encoded))])
    }

    /// Asks with these headers from now on.
    pub(super) fn with(&mut self, headers: &[(&str, &str)]) -> &mut Self {
        self.headers = headers
            .iter()
            .map(|(n, v)| ((*n).into(), (*v).into()))
            .collect();
        self
    }

    pub(super) fn later(&mut self, by: SignedDuration) {
        self.now += by;
    }

    pub(super) fn change(&mut self, change: Change) {
        self.server.change(self.now, change).unwrap();
    }

    pub(super) fn view(&self) -> View {
        self.server.view(self.now)
    }

    pub(super) fn request(&self, method: Method, path: &str, body: &str) -> Request<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        request.body(Bytes::from(body.to_owned())).unwrap()
    }

    pub(super) fn send(&mut self, method: Method, path: &str, body: &str) -> Response<Bytes> {
        let request = self.request(method, path, body);
        self.server.handle(self.now, &request)
    }

    pub(super) fn get(&mut self, path: &str) -> Said {
        said(&self.send(Method::GET, path, ""))
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Said {
        said(&self.send(Method::POST, path, &body.to_string()))
    }

    pub(super) fn put(&mut self, path: &str, body: &Value) -> Said {
        said(&self.send(Method::PUT, path, &body.to_string()))
    }

    pub(super) fn delete(&mut self, path: &str, body: &Value) -> Said {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        said(&self.send(Method::DELETE, path, &body))
    }

    /// Makes a key for who asks.
    pub(super) fn mint(&mut self, wish: &Value) -> Minted {
        let (status, made) = self.post("/_security/api_key", wish);
        assert_eq!(status, 200, "{made}");
        Minted {
            id: text(&made, "/id"),
            secret: text(&made, "/api_key"),
            encoded: text(&made, "/encoded"),
        }
    }

    /// What a key opens: the status of asking who one is with it.
    pub(super) fn opens(&mut self, key: &Minted) -> u16 {
        let before = std::mem::take(&mut self.headers);
        let (status, _) = self.as_key(key).get("/_security/_authenticate");
        self.headers = before;
        status
    }

    /// Ends a key as an administrator would.
    pub(super) fn end(&mut self, key: &Minted) -> Value {
        let (status, ended) = self.delete("/_security/api_key", &json!({ "ids": [key.id] }));
        assert_eq!(status, 200, "{ended}");
        ended["invalidated_api_keys"].clone()
    }
}

/// A key that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Minted {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) encoded: String,
}

pub(super) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

pub(super) fn said(response: &Response<Bytes>) -> Said {
    let body = response.body();
    let json = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body).unwrap()
    };
    (response.status().as_u16(), json)
}

pub(super) fn text(json: &Value, pointer: &str) -> String {
    json.pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {json}"))
        .to_owned()
}

/// The reason of an error.
pub(super) fn reason(json: &Value) -> String {
    text(json, "/error/reason")
}
