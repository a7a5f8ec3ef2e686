//! The table of routes: every request that the server knows, who may make it, what it does.
//!
//! The first row whose template fits the path decides, so a fixed word stands before a place.
//! Templates are those of the Octopus REST API reference (2026.3); `{space}` fits ids of spaces
//! only. Fixed words are compared without regard to case.

use http::Method;

use super::answer::Reply;
use super::call::Call;
use super::{
    Octopus, Permission as P, api_keys, authentication, events, limits, oidc, roles, root,
    sessions, spaces, team_roles, teams, users,
};
use crate::twins::Effect;

/// Who may make a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    /// Everybody, also without a credential.
    Anyone,
    /// Whoever is signed in; the route itself may want more.
    SignedIn,
    /// Whoever has this permission.
    May(P),
}

/// One row.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) template: &'static str,
    pub(super) access: Access,
    pub(super) effect: Effect,
    pub(super) run: fn(&mut Octopus, &Call) -> Reply,
}

/// What a path leads to.
pub(super) enum Found {
    Route(&'static Route, Vec<String>),
    /// The path is known, but not with this method.
    OtherMethod,
    Nothing,
}

/// Finds the route of a request.
pub(super) fn find(method: &Method, path: &[String]) -> Found {
    let mut known = false;
    for route in ROUTES {
        if let Some(places) = fit(route.template, path) {
            if route.method == *method {
                return Found::Route(route, places);
            }
            known = true;
        }
    }
    if known {
        Found::OtherMethod
    } else {
        Found::Nothing
    }
}

fn fit(template: &str, path: &[String]) -> Option<Vec<String>> {
    let mut places = Vec::new();
    let mut path = path.iter();
    for wanted in template.split('/').skip(1) {
        let segment = path.next()?;
        if wanted == "{space}" && !segment.starts_with("Spaces-") {
            return None;
        }
        if wanted.starts_with('{') {
            places.push(segment.clone());
        } else if !wanted.eq_ignore_ascii_case(segment) {
            return None;
        }
    }
    path.next().is_none().then_some(places)
}

macro_rules! routes {
    ($($method:ident $template:literal $access:expr, $effect:ident => $run:path;)*) => {
        &[$(Route {
            method: Method::$method,
            template: $template,
            access: $access,
            effect: Effect::$effect,
            run: $run,
        }),*]
    };
}

use Access::{Anyone, May, SignedIn};

static ROUTES: &[Route] = routes! {
    // The server itself.
    GET "/api" Anyone, Look => root::home;
    GET "/api/{space}" SignedIn, Look => root::space_home;
    GET "/api/serverstatus" SignedIn, Look => root::status;
    GET "/api/serverstatus/health" Anyone, Look => root::health;
    GET "/api/octopusservernodes/ping" Anyone, Look => root::health;
    GET "/api/maintenanceconfiguration" SignedIn, Look => root::maintenance;
    GET "/api/permissions/all" SignedIn, Look => roles::permissions;
    GET "/api/ratelimitingpolicies" May(P::AdministerSystem), Look => limits::list;
    GET "/api/ratelimitingpolicies/{id}" May(P::AdministerSystem), Look => limits::get;
    PUT "/api/ratelimitingpolicies/{id}" May(P::AdministerSystem), Write => limits::update;

    // Ways in.
    GET "/api/authentication" Anyone, Look => authentication::document;
    GET "/api/configuration/authentication/values" May(P::ConfigureServer), Look => authentication::values;
    PUT "/api/configuration/authentication/values" May(P::ConfigureServer), Write => authentication::set_values;
    POST "/api/users/login" Anyone, SignIn => sessions::login;
    POST "/api/users/logout" Anyone, Write => sessions::logout;
    POST "/api/users/access-token" SignedIn, SignIn => sessions::access_token;
    PUT "/api/users/{id}/revoke-sessions" SignedIn, Write => sessions::revoke;
    GET "/.well-known/openid-configuration" Anyone, Look => oidc::discovery;
    GET "/api/.well-known/openid-configuration" Anyone, Look => oidc::discovery;
    GET "/api/.well-known/jwks" Anyone, Look => oidc::jwks;
    POST "/token/v1" Anyone, SignIn => oidc::exchange;
    POST "/api/token/v1" Anyone, SignIn => oidc::exchange;

    // Users.
    GET "/api/users" May(P::UserView), Look => users::list;
    POST "/api/users" May(P::UserEdit), MakeAccount => users::create;
    GET "/api/users/all" May(P::UserView), Look => users::all;
    GET "/api/users/me" SignedIn, Look => users::me;
    GET "/api/users/authentication" SignedIn, Look => authentication::of_user;
    GET "/api/users/authentication/{id}" SignedIn, Look => authentication::of_user;
    GET "/api/users/identity-metadata" SignedIn, Look => authentication::identity_metadata;
    GET "/api/users/external-search" SignedIn, Look => authentication::external_search;
    GET "/api/users/{id}" SignedIn, Look => users::get;
    PUT "/api/users/{id}" SignedIn, ChangeAccount => users::update;
    DELETE "/api/users/{id}" May(P::UserEdit), EndAccount => users::delete;
    GET "/api/users/{id}/permissions" SignedIn, Look => users::permissions;
    GET "/api/users/{id}/permissions/configuration" SignedIn, Look => users::permissions;
    GET "/api/users/{id}/teams" SignedIn, Look => users::teams;
    GET "/api/users/{id}/spaces" SignedIn, Look => users::spaces;

    // API keys.
    GET "/api/users/{id}/apikeys" SignedIn, ListKeys => api_keys::list;
    GET "/api/users/{id}/apikeys/v1" SignedIn, ListKeys => api_keys::list_v1;
    POST "/api/users/{id}/apikeys" SignedIn, Mint => api_keys::create;
    GET "/api/users/{id}/apikeys/{key}" SignedIn, Look => api_keys::get;
    DELETE "/api/users/{id}/apikeys/{key}" SignedIn, Revoke => api_keys::delete;

    // Service accounts.
    GET "/api/serviceaccounts/{id}/oidcidentities/v1" May(P::UserView), Look => oidc::list;
    POST "/api/serviceaccounts/{id}/oidcidentities/create/v1" May(P::UserEdit), ChangeAccount => oidc::create;
    GET "/api/serviceaccounts/{id}/oidcidentities/{identity}/v1" May(P::UserView), Look => oidc::get;
    PUT "/api/serviceaccounts/{id}/oidcidentities/{identity}/v1" May(P::UserEdit), ChangeAccount => oidc::update;
    DELETE "/api/serviceaccounts/{id}/oidcidentities/{identity}/v1" May(P::UserEdit), ChangeAccount => oidc::delete;

    // Teams.
    GET "/api/teams" May(P::TeamView), Look => teams::list;
    POST "/api/teams" May(P::TeamCreate), Write => teams::create;
    GET "/api/teams/all" May(P::TeamView), Look => teams::all;
    GET "/api/teams/{id}" May(P::TeamView), Look => teams::get;
    PUT "/api/teams/{id}" May(P::TeamEdit), Write => teams::update;
    DELETE "/api/teams/{id}" May(P::TeamDelete), Write => teams::delete;
    GET "/api/teams/{id}/scopeduserroles" May(P::TeamView), Look => team_roles::of_team;
    GET "/api/teammembership" SignedIn, Look => teams::membership;

    // Roles.
    GET "/api/scopeduserroles" May(P::TeamView), Look => team_roles::list;
    POST "/api/scopeduserroles" May(P::TeamEdit), Write => team_roles::create;
    GET "/api/scopeduserroles/{id}" May(P::TeamView), Look => team_roles::get;
    PUT "/api/scopeduserroles/{id}" May(P::TeamEdit), Write => team_roles::update;
    DELETE "/api/scopeduserroles/{id}" May(P::TeamEdit), Write => team_roles::delete;
    GET "/api/userroles" May(P::UserRoleView), Look => roles::list;
    POST "/api/userroles" May(P::UserRoleEdit), Write => roles::create;
    GET "/api/userroles/all" May(P::UserRoleView), Look => roles::all;
    GET "/api/userroles/{id}" May(P::UserRoleView), Look => roles::get;
    PUT "/api/userroles/{id}" May(P::UserRoleEdit), Write => roles::update;
    DELETE "/api/userroles/{id}" May(P::UserRoleEdit), Write => roles::delete;

    // Spaces.
    GET "/api/spaces" SignedIn, Look => spaces::list;
    POST "/api/spaces" May(P::SpaceCreate), Write => spaces::create;
    GET "/api/spaces/all" SignedIn, Look => spaces::all;
    GET "/api/spaces/{id}" SignedIn, Look => spaces::get;
    PUT "/api/spaces/{id}" May(P::SpaceEdit), Write => spaces::update;
    DELETE "/api/spaces/{id}" May(P::SpaceDelete), Write => spaces::delete;

    // Audit.
    GET "/api/events" May(P::EventView), Look => events::list;
    GET "/api/events/agents" SignedIn, Look => events::agents;
    GET "/api/events/categories" SignedIn, Look => events::categories;
    GET "/api/events/documenttypes" SignedIn, Look => events::document_types;
    GET "/api/events/groups" SignedIn, Look => events::groups;
    GET "/api/events/{id}" May(P::EventView), Look => events::get;
};
