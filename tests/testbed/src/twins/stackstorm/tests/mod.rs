//! The twin against what is known of the real server, by subject.

mod access;
mod keys;
mod manners;
mod outside;
mod rights;
mod tokens;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Account, Change, Config, Grant, Permission, Role, StackStorm, Start};
use crate::twins::Twin as _;

/// A server and somebody who asks it things.
pub(super) struct Desk {
    pub(super) st2: StackStorm,
    pub(super) now: Timestamp,
    headers: Vec<(String, String)>,
}

/// A status and a JSON body; `Null` for an empty one.
pub(super) type Said = (u16, Value);

impl Desk {
    /// A fresh server, asked with the administrator's key.
    pub(super) fn new() -> Self {
        Self::of(&Config::default())
    }

    /// A fresh server that looks at rights.
    pub(super) fn strict() -> Self {
        Self::of(&Config {
            rbac: true,
            ..Config::default()
        })
    }

    pub(super) fn of(config: &Config) -> Self {
        let st2 = StackStorm::new(config);
        let key = st2.start().admin.key.clone();
        let mut desk = Self {
            st2,
            now: "2026-11-22T02:00:00.123456Z".parse().unwrap(),
            headers: vec![],
        };
        desk.with_key(&key);
        desk
    }

    pub(super) fn start(&self) -> Start {
        self.st2.start().clone()
    }

    /// Asks with this key from now on.
    pub(super) fn with_key(&mut self, key: &str) -> &mut Self {
        self.with(&[("St2-Api-Key", key)])
    }

    /// Asks with these headers from now on.
    pub(super) fn with(&mut self, headers: &[(&str, &str)]) -> &mut Self {
        self.headers = headers
            .iter()
            .map(|(n, v)| ((*n).into(), (*v).into()))
            .collect();
        self
    }

    /// Asks with a name and a password from now on.
    pub(super) fn with_login(&mut self, user: &str, password: &str) -> &mut Self {
        let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        self.with(&[("Authorization", &basic)])
    }

    pub(super) fn later(&mut self, by: SignedDuration) {
        self.now += by;
    }

    pub(super) fn change(&mut self, change: Change) {
        self.st2.change(self.now, change).unwrap();
    }

    pub(super) fn send(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(body.into()).unwrap();
        self.st2.handle(self.now, &request)
    }

    pub(super) fn get(&mut self, path: &str) -> Said {
        said(&self.send(Method::GET, path, ""))
    }

    pub(super) fn post(&mut self, path: &str, body: &Value) -> Said {
        said(&self.send(Method::POST, path, body.to_string()))
    }

    pub(super) fn put(&mut self, path: &str, body: &Value) -> Said {
        said(&self.send(Method::PUT, path, body.to_string()))
    }

    pub(super) fn delete(&mut self, path: &str) -> Said {
        said(&self.send(Method::DELETE, path, ""))
    }

    /// Makes a key and gives its id and text.
    pub(super) fn key(&mut self, body: &Value) -> (String, String) {
        let (status, key) = self.post("/api/v1/apikeys", body);
        assert_eq!(status, 201, "{key}");
        (text(&key, "/id"), text(&key, "/key"))
    }

    /// A token for the user who asks by a name and a password.
    pub(super) fn token(&mut self, user: &str, password: &str) -> String {
        let (status, token) = self
            .with_login(user, password)
            .post("/auth/v1/tokens", &json!({}));
        assert_eq!(status, 201, "{token}");
        text(&token, "/token")
    }

    /// What `GET /v1/user` says to the holder of this key: the status, and the name or the reason.
    pub(super) fn who(&mut self, key: &str) -> (u16, String) {
        let before = std::mem::take(&mut self.headers);
        let (status, body) = self.with_key(key).get("/api/v1/user");
        self.headers = before;
        let said = if status == 200 {
            "/username"
        } else {
            "/faultstring"
        };
        (status, text(&body, said))
    }
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

/// An error as the server words it.
pub(super) fn fault(status: u16, words: impl Into<String>) -> Said {
    (status, json!({ "faultstring": words.into() }))
}

/// A user with a password.
pub(super) fn account(name: &str, roles: &[&str]) -> Account {
    Account {
        name: name.to_owned(),
        password: Some(format!("{name}'s password")),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        is_service: false,
    }
}
