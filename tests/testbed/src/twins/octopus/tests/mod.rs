//! The twin against what is known of the real server, by subject.

mod access;
mod accounts;
mod keys;
mod manners;
mod tokens;

use std::fmt::Write as _;

use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Change, Config, Octopus, Start};
use crate::twins::Twin as _;

/// A server and somebody who asks it things.
pub(super) struct Desk {
    pub(super) octopus: Octopus,
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

    pub(super) fn of(config: &Config) -> Self {
        let octopus = Octopus::new(config);
        let key = octopus.start().admin.key.clone();
        let mut desk = Self {
            octopus,
            now: "2026-11-22T02:00:00Z".parse().unwrap(),
            headers: vec![],
        };
        desk.with_key(&key);
        desk
    }

    pub(super) fn start(&self) -> Start {
        self.octopus.start().clone()
    }

    /// Asks with this key from now on.
    pub(super) fn with_key(&mut self, key: &str) -> &mut Self {
        self.with(&[("X-Octopus-ApiKey", key)])
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
        self.octopus.change(self.now, change).unwrap();
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
        self.octopus
            .handle(self.now, &request.body(body.into()).unwrap())
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

    /// Makes a service account and gives its id.
    pub(super) fn service(&mut self, name: &str) -> String {
        let (status, user) = self.post(
            "/api/users",
            &json!({ "Username": name, "DisplayName": name, "IsService": true, "IsActive": true }),
        );
        assert_eq!(status, 201, "{user}");
        text(&user, "/Id")
    }

    /// Makes a person with a password and gives its id.
    pub(super) fn human(&mut self, name: &str) -> String {
        let (status, user) = self.post(
            "/api/users",
            &json!({ "Username": name, "DisplayName": name, "Password": "Correct-horse-9" }),
        );
        assert_eq!(status, 201, "{user}");
        text(&user, "/Id")
    }

    /// Makes a key and gives its id and text.
    pub(super) fn key(&mut self, user: &str, body: &Value) -> (String, String) {
        let (status, key) = self.post(&format!("/api/users/{user}/apikeys"), body);
        assert_eq!(status, 200, "{key}");
        (text(&key, "/Id"), text(&key, "/ApiKey"))
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

/// `ErrorMessage` and `Errors` in one line.
pub(super) fn words(json: &Value) -> String {
    let mut words = text(json, "/ErrorMessage");
    for error in json["Errors"].as_array().into_iter().flatten() {
        write!(words, " {}", error.as_str().unwrap()).unwrap();
    }
    words
}
