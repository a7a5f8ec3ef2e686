//! A twin of Octopus Deploy, as one pure state machine: [`Octopus::handle`].
//!
//! TABLE
#![allow(
    clippy::unnecessary_wraps,
    reason = "the rows of the route table share one shape"
)]

mod answer;
mod api_keys;
mod auth;
mod authentication;
mod call;
mod chance;
mod config;
mod events;
mod limits;
mod oidc;
mod outside;
mod paging;
mod permissions;
mod roles;
mod root;
mod routes;
mod sessions;
mod spaces;
mod start;
mod store;
mod team_roles;
mod teams;
#[cfg(test)]
mod tests;
mod users;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;

use super::{Effect, Sort, Twin, Unknown};
use answer::{Problem, Reply};
use call::Call;
use chance::Chance;
use routes::{Access, Found};
use store::Store;

pub use config::{Config, Version};
pub use outside::{AccountView, Change, KeyView, Life, TeamView, View};
pub use permissions::Permission;
pub use start::{Credential, Start};

/// The server.
#[derive(Debug, Clone)]
pub struct Octopus {
    version: Version,
    prefix: String,
    installation: String,
    chance: Chance,
    users: Store<users::User>,
    keys: Store<api_keys::ApiKey>,
    identities: Store<oidc::Identity>,
    teams: Store<teams::Team>,
    roles: Store<roles::Role>,
    team_roles: Store<team_roles::TeamRole>,
    spaces: Store<spaces::Space>,
    events: Store<events::Event>,
    sessions: Vec<sessions::Session>,
    tokens: Vec<sessions::Token>,
    failed_logins: Vec<sessions::FailedLogin>,
    settings: authentication::Settings,
    limits: Store<limits::Policy>,
    buckets: Vec<limits::Bucket>,
    issuers: Vec<String>,
    /// When maintenance mode began.
    maintenance: Option<Timestamp>,
    start: Start,
}

impl Octopus {
    /// Installs a new server: a default space, the built-in teams and roles, and the accounts of
    /// [`Start`].
    pub fn new(config: &Config) -> Self {
        start::install(config)
    }

    /// The accounts that are there from the start, with their keys.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The id that tells this installation from every other.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Answers one request at the given time.
    pub fn handle(&mut self, now: Timestamp, request: &Request<Bytes>) -> Response<Bytes> {
        let now = whole_millis(now);
        let Some(mut call) = Call::read(now, request, &self.prefix) else {
            return self.respond(Err(Problem::no_route()), now);
        };
        let reply = self.reply(&mut call);
        let mut response = self.respond(reply, now);
        if let Some(caller) = call.caller {
            response.extensions_mut().insert(caller.for_the_journal());
        }
        response
    }

    fn respond(&self, reply: Reply, now: Timestamp) -> Response<Bytes> {
        let mut response = answer::response(reply, now, &self.prefix);
        let node = format!("name=twin; version={}", self.version);
        if let Ok(node) = HeaderValue::from_str(&node) {
            response.headers_mut().insert("octopus-node", node);
        }
        response
    }

    fn reply(&mut self, call: &mut Call) -> Reply {
        let route = match routes::find(&call.method, &call.path) {
            Found::Route(route, places) => {
                call.places = places;
                route
            }
            Found::OtherMethod => return Err(Problem::bad_method()),
            Found::Nothing => return Err(Problem::no_route()),
        };
        match (route.access, self.identify(call)) {
            (Access::Anyone, who) => call.caller = who.ok().flatten(),
            (_, who) => call.caller = Some(who?.ok_or_else(Problem::not_signed_in)?),
        }
        self.spend(call)?;
        if let Access::May(permission) = route.access {
            self.require(call, permission)?;
        }
        self.refuse_writes_under_maintenance(call)?;
        if let Some(space) = &call.space {
            self.space(space)?;
        }
        (route.run)(self, call)
    }

    /// Reads work under maintenance; writes fail but for administrators. Status and text are not
    /// documented.
    fn refuse_writes_under_maintenance(&self, call: &Call) -> Result<(), Problem> {
        let exempt = call
            .caller
            .as_ref()
            .is_some_and(|caller| self.may(&caller.user, Permission::AdministerSystem));
        if self.maintenance.is_none() || call.method == Method::GET || exempt {
            return Ok(());
        }
        let text = "Octopus Server is in maintenance mode.";
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, text))
    }
}

impl Twin for Octopus {
    type Change = Change;
    type View = View;

    const NAME: &'static str = "octopus";

    fn handle(&mut self, now: Timestamp, request: Request<Bytes>) -> Response<Bytes> {
        Self::handle(self, now, &request)
    }

    fn sort(&self, request: &Request<Bytes>) -> Sort {
        let method = call::method(request);
        let path = call::place(request.uri().path(), &self.prefix).map(|(_, path)| path);
        match path.map(|path| routes::find(&method, &path)) {
            Some(Found::Route(route, places)) => {
                let of_account = ["/api/users/{id}", "/api/serviceaccounts/{id}"]
                    .iter()
                    .any(|stem| route.template.starts_with(stem));
                Sort {
                    method,
                    template: route.template,
                    effect: route.effect,
                    account: places.into_iter().next().filter(|_| of_account),
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

    fn refusal(&self, now: Timestamp, status: StatusCode) -> Response<Bytes> {
        let text = match status {
            StatusCode::TOO_MANY_REQUESTS => limits::TOO_MANY,
            StatusCode::SERVICE_UNAVAILABLE => "Octopus Server is starting. Please try again.",
            _ => "An unexpected error occurred.",
        };
        self.respond(Err(Problem::new(status, text)), now)
    }
}

/// The server keeps no more than milliseconds.
fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
