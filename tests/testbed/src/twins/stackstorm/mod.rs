//! A twin of StackStorm, as one pure state machine: [`StackStorm::handle`].
//!
//! It is written from a sheet of facts, not from what our own client happens to call. Most were
//! seen on a running server (`st2api` and `st2auth` 3.9.0, rights off and on, plain HTTP and the
//! official `st2`); texts that the sheet does not quote are those of the server's sources
//! (repositories `StackStorm/st2` and `StackStorm/st2-rbac-backend`, July 2026).
//!
//! The two services stand behind one front, as usual: `/api/v1/…` or `/api/…`, and `/auth/v1/…` or
//! `/auth/…`.
//!
//! # What is covered, and where
//!
//! | what the server has | here |
//! | --- | --- |
//! | both services, with and without `/v1`, a slash at the end, escaped paths, a virtual directory | `call.rs` |
//! | every route; 404 for unknown routes and methods alike | `routes.rs` |
//! | `faultstring`, `conflict-id`; CORS headers, `X-Request-ID`; `OPTIONS`, `HEAD`; the front's own pages | `answer.rs` |
//! | header, query and cookie, in order; disabled, unknown, expired; the cookie that a token sets; users without a record | `auth.rs` |
//! | bodies: defaults, wrong types, unknown fields, dates, broken JSON, forms, in Python's words | `schema.rs`, `call.rs` |
//! | `GET /v1`, `GET /v1/user`; users that are registered on the way | `users.rs` |
//! | tokens: Basic, lifetime, impersonation by services, expiry, `validate` | `tokens.rs` |
//! | API keys: created, with a hash or an id of the caller's; listed by pages; shown with and without hashes; replaced; deleted; by id or by the key itself | `api_keys.rs` |
//! | rights, roles, assignments, permission types of API keys | `rbac.rs` |
//! | what only a hand in the database or on the disk can do | `outside.rs` |
//!
//! # Not covered
//!
//! | what the server has | in the twin |
//! | --- | --- |
//! | `auth.enable = False`, `mode = proxy`, LDAP, PAM, Keystone, SSO | a password file, always |
//! | nicknames | nobody has one: `impersonate_user` finds nobody |
//! | roles of remote groups | no assignment is remote |
//! | permissions of other things than API keys | not listed, not granted |
//! | `api.mask_secrets = False` | hashes are masked |
//! | the garbage collector, `st2-purge-tokens` | expired tokens stay |
//! | the longest metadata, names and documents | anything goes |
//! | the order of query filters, `include_attributes` and the like on lists of roles | all, by name |
//! | `Warning: 199 OpenAPI` headers | none |
//! | web UI, stream, actions, rules, packs and all else | 404 |
#![allow(
    clippy::unnecessary_wraps,
    reason = "the rows of the route table share one shape"
)]

mod answer;
mod api_keys;
mod auth;
mod call;
mod chance;
mod config;
mod outside;
mod rbac;
mod routes;
mod schema;
mod start;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::{Effect, Sort, Twin, Unknown};
use answer::{Problem, Reply};
use call::Call;
use chance::Chance;
use routes::Access;

pub use config::{Account, Config, Grant, Permission, Role};
pub use outside::{AccountView, Change, KeyView, Life, View};
pub use start::{Credential, Start};

/// The server.
#[derive(Debug, Clone)]
pub struct StackStorm {
    version: String,
    prefix: String,
    chance: Chance,
    /// Whether rights are looked at.
    rbac: bool,
    token_ttl: u32,
    max_page_size: u32,
    /// The password file: a hash for each name.
    passwords: BTreeMap<String, [u8; 32]>,
    users: Vec<users::User>,
    keys: Vec<api_keys::ApiKey>,
    tokens: Vec<tokens::Token>,
    roles: Vec<rbac::Role>,
    assignments: Vec<rbac::Assignment>,
    start: Start,
}

impl StackStorm {
    /// Installs a new server: the roles of the system, and the users of [`Start`].
    pub fn new(config: &Config) -> Self {
        start::install(config)
    }

    /// The users that are there from the start, with their keys.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Answers one request at the given time.
    pub fn handle(&mut self, now: Timestamp, request: &Request<Bytes>) -> Response<Bytes> {
        let Some(mut call) = Call::read(whole_micros(now), request, &self.prefix) else {
            return answer::page(StatusCode::NOT_FOUND);
        };
        if call.method == Method::HEAD {
            return answer::head();
        }
        let mut response = if call.method == Method::OPTIONS {
            answer::options()
        } else {
            answer::response(self.reply(&mut call))
        };
        let id = call.header("x-request-id").map(str::to_owned);
        let id = id.unwrap_or_else(|| self.chance.uuid());
        answer::dress(&mut response, &call, &id);
        if response.status().is_success()
            && let Some(cookie) = auth::cookie(&call)
        {
            answer::set(&mut response, SET_COOKIE, &cookie);
        }
        if let Some(caller) = call.caller {
            response.extensions_mut().insert(caller.for_the_journal());
        }
        response
    }

    fn reply(&mut self, call: &mut Call) -> Reply {
        let (route, place) =
            routes::find(call.service, &call.method, &call.path).ok_or_else(Problem::no_route)?;
        call.place = place;
        if route.access == Access::SignedIn {
            call.caller = Some(self.identify(call)?);
        }
        (route.run)(self, call)
    }

    /// Whom a request is about: whose key the path names, or for whom one is made.
    fn subject(&self, effect: Effect, place: &str, body: &Bytes) -> Option<String> {
        if effect == Effect::Mint {
            let body: Value = serde_json::from_slice(body).ok()?;
            let user = body.get("user").and_then(Value::as_str);
            return user.filter(|user| !user.is_empty()).map(str::to_owned);
        }
        self.find_key(place).map(|key| key.user.clone())
    }
}

impl Twin for StackStorm {
    type Change = Change;
    type View = View;

    const NAME: &'static str = "stackstorm";
    const CHANGES: &'static str = outside::CHANGES;

    fn handle(&mut self, now: Timestamp, request: Request<Bytes>) -> Response<Bytes> {
        Self::handle(self, now, &request)
    }

    fn sort(&self, request: &Request<Bytes>) -> Sort {
        let method = request.method().clone();
        let found = call::place(request.uri().path(), &self.prefix)
            .and_then(|(service, path)| routes::find(service, &method, &path));
        match found {
            Some((route, place)) => Sort {
                method,
                template: route.template,
                effect: route.effect,
                account: self.subject(route.effect, &place, request.body()),
            },
            None => Sort {
                method,
                template: "?",
                effect: Effect::Nothing,
                account: None,
            },
        }
    }

    fn change(&mut self, now: Timestamp, change: Change) -> Result<(), Unknown> {
        self.apply(whole_micros(now), change)
    }

    fn view(&self, _: Timestamp) -> View {
        self.everything()
    }

    fn restore(&mut self, older: Self) {
        let drawn = std::mem::replace(self, older).chance;
        self.chance.outrun(&drawn);
    }

    fn refusal(&self, _: Timestamp, status: StatusCode) -> Response<Bytes> {
        let problem = match status {
            StatusCode::UNAUTHORIZED => Problem::unauthorized(None),
            StatusCode::FORBIDDEN => Problem::forbidden("Administrator access required"),
            StatusCode::NOT_FOUND => Problem::no_route(),
            StatusCode::INTERNAL_SERVER_ERROR => Problem::internal(),
            StatusCode::SERVICE_UNAVAILABLE => Problem::new(status, answer::UNREACHABLE),
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => {
                Problem::new(status, status.canonical_reason().unwrap_or_default())
            }
            // The server itself counts no requests and has no gateways.
            _ => return answer::page(status),
        };
        answer::response(Err(problem))
    }
}

/// The server keeps no more than microseconds.
fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
