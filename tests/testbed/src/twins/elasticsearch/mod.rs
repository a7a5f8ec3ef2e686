//! A twin of Elasticsearch and its security feature, as one pure state machine:
//! [`Elasticsearch::handle`].
//!
//! It is written from what a real server answers (8.19.21 with a basic licence, see
//! [`crate::elasticsearch`]), and is held to it: one table of requests is played to both
//! (`tests/elasticsearch_twin`). What the table does not cover is from the API specification of
//! `elastic/elasticsearch-specification` (August 2026) and the server's own REST tests.
//!
//! # What is covered, and where
//!
//! | what the server has | here |
//! | --- | --- |
//! | `GET /`, `/_license`, `_authenticate` | `root.rs` |
//! | error bodies, `root_cause`, 401 with two ways in, 405 and 406 with a text; the product header | `answer.rs` |
//! | media types and their versions; unknown parameters; a path that a proxy puts in front | `call.rs` |
//! | bodies without duplicate, unknown or mistyped fields | `json.rs` |
//! | every route, its parameters, what it does | `routes.rs` |
//! | passwords, keys, acting as somebody else | `auth.rs` |
//! | what grants an action; `_has_privileges` | `privileges.rs`, `has_privileges.rs`, `privilege_names.rs` |
//! | users of the native realm, reserved ones | `users.rs` |
//! | roles; descriptors in one form | `roles.rs` |
//! | keys made for oneself and granted to others; names, metadata, ends; keys made by keys | `keys.rs`, `durations.rs` |
//! | keys listed and ended; retention | `key_list.rs` |
//! | keys found by a query, sorted, page by page | `key_query.rs`, `query.rs` |
//! | keys updated, one or many | `key_update.rs` |
//!
//! # Not covered
//!
//! | what the server has | in the twin |
//! | --- | --- |
//! | where in a body an error is | always `[1:1]`; duplicate fields and broken JSON in other words |
//! | access tokens, service accounts, role mappings, user profiles | tokens: 403; the rest: no handler |
//! | cross-cluster keys, cloned keys, `_clear_cache` | no handler |
//! | the built-in roles, but for `superuser` | count as not found |
//! | index and application privileges that imply others | `all` and `write` only; an application's: with `all` only |
//! | queries: `simple_query_string`, aggregations; `_query/user` | 400; no handler |
//! | YAML, CBOR, SMILE; `filter_path`, `human`, `error_trace` | JSON alone, whole |
//! | the index of the security feature: refresh, being unavailable, conflicts of versions | every write is seen at once |
//! | a key's end beyond some five thousand years | cut |
//! | realms but `default_native` and `reserved`; caches of credentials | every look is fresh |
//! | indices, search, and all else | no handler |
#![allow(
    clippy::unnecessary_wraps,
    reason = "the rows of the route table share one shape"
)]

mod answer;
mod auth;
mod call;
mod config;
mod durations;
mod has_privileges;
mod json;
mod key_list;
mod key_query;
mod key_update;
mod keys;
mod outside;
mod privilege_names;
mod privileges;
mod query;
mod roles;
mod root;
mod routes;
mod start;
#[cfg(test)]
mod tests;
mod users;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;

use super::{Effect, Sort, Twin, Unknown, chance};
use answer::{Cause, Problem, Reply};
use call::Call;
use chance::Chance;
use routes::{Body, Found};

pub use config::{Config, License, Version};
pub use outside::{AccountView, Change, KeyView, Life, View};
pub use start::{Credential, Start};

/// The server.
#[derive(Debug, Clone)]
pub struct Elasticsearch {
    version: Version,
    prefix: String,
    license: License,
    installed: Timestamp,
    /// The id that tells this cluster from every other.
    cluster: String,
    chance: Chance,
    users: Vec<users::User>,
    roles: BTreeMap<String, roles::Descriptor>,
    /// In the order of their documents: what is written anew stands last.
    keys: Vec<keys::Key>,
    /// When old keys were forgotten last.
    forgot: Option<Timestamp>,
    start: Start,
}

impl Elasticsearch {
    /// Installs a new server with the accounts of [`Start`].
    pub fn new(config: &Config) -> Self {
        start::install(config)
    }

    /// The accounts that are there from the start, with their passwords.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The id that tells this installation from every other.
    pub fn installation(&self) -> &str {
        &self.cluster
    }

    /// Answers one request at the given time.
    pub fn handle(&mut self, now: Timestamp, request: &Request<Bytes>) -> Response<Bytes> {
        let mut call = Call::read(whole_millis(now), request, &self.prefix);
        let plain = || "application/json".to_owned();
        let (reply, media) = match self.identify(&call) {
            Err(problem) => (Err(problem), plain()),
            Ok(caller) => {
                call.caller = Some(caller);
                match call::media(&call.headers, self.version.major()) {
                    Err(problem) => (Err(problem), plain()),
                    Ok(media) => (self.reply(&mut call), media),
                }
            }
        };
        let mut response = answer::response(reply, &media, call.pretty());
        if call.method == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        if call.method == Method::OPTIONS && response.headers().contains_key(ALLOW) {
            *response.status_mut() = StatusCode::OK;
            *response.body_mut() = Bytes::new();
            let text = HeaderValue::from_static("text/plain; charset=UTF-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
        }
        if let Some(caller) = call.caller {
            response.extensions_mut().insert(caller.for_the_journal());
        }
        response
    }

    fn reply(&mut self, call: &mut Call) -> Reply {
        let route = match routes::find(&call.method, &call.path) {
            Found::Route(route, places) => {
                call.places = places;
                route
            }
            Found::OtherMethod(allowed) => {
                return Err(Problem::bad_method(&call.uri, &call.method, &allowed));
            }
            Found::Nothing => return Err(Problem::no_route(&call.uri, &call.method)),
        };
        if !call.body.is_empty() {
            let kind = call.header(CONTENT_TYPE.as_str()).unwrap_or_default();
            let known = [
                "application/json",
                "application/vnd.elasticsearch+json",
                "application/x-ndjson",
            ];
            if !known.iter().any(|known| kind.starts_with(known)) {
                return Err(Problem::bad_content(kind));
            }
            if route.body == Body::Without {
                return Err(Problem::illegal(format!(
                    "request [{} {}] does not support having a body",
                    call.method, call.path
                )));
            }
        }
        call.only(route.parameters)?;
        (route.run)(self, call)
    }
}

impl Twin for Elasticsearch {
    type Change = Change;
    type View = View;

    const NAME: &'static str = "elasticsearch";
    const CHANGES: &'static str = outside::CHANGES;

    fn handle(&mut self, now: Timestamp, request: Request<Bytes>) -> Response<Bytes> {
        Self::handle(self, now, &request)
    }

    fn sort(&self, request: &Request<Bytes>) -> Sort {
        let method = request.method().clone();
        let path = call::place(request.uri().path(), &self.prefix);
        match routes::find(&method, &path) {
            Found::Route(route, places) => {
                let of_user = route.template.starts_with("/_security/user/{name}");
                let account = places.into_iter().next().filter(|_| of_user);
                let is_there = account
                    .as_ref()
                    .is_some_and(|name| self.user(name).is_some());
                let effect = match route.effect {
                    Effect::MakeAccount if is_there => Effect::ChangeAccount,
                    effect => effect,
                };
                Sort {
                    method,
                    template: route.template,
                    effect,
                    account,
                }
            }
            _ => Sort {
                method,
                template: "?",
                effect: Effect::Nothing,
                account: None,
            },
        }
    }

    fn change(&mut self, now: Timestamp, change: Change) -> Result<(), Unknown> {
        self.apply(whole_millis(now), change)
    }

    fn view(&self, now: Timestamp) -> View {
        self.everything(now)
    }

    fn restore(&mut self, older: Self) {
        let drawn = std::mem::replace(self, older).chance;
        self.chance.outrun(&drawn);
    }

    fn refusal(&self, _: Timestamp, status: StatusCode) -> Response<Bytes> {
        let (kind, reason) = match status {
            StatusCode::TOO_MANY_REQUESTS => (
                "circuit_breaking_exception",
                "[parent] Data too large, data for [<http_request>] would be larger than the limit",
            ),
            StatusCode::SERVICE_UNAVAILABLE => (
                "unavailable_shards_exception",
                "at least one primary shard for the index [.security-7] is unavailable",
            ),
            _ => ("illegal_state_exception", "something went wrong"),
        };
        let problem = Problem::new(status, &Cause::new(kind, reason));
        answer::response(Err(problem), "application/json", false)
    }
}

/// The server keeps no more than milliseconds.
fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
