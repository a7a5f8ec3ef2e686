//! The table of routes: every request that the server knows, what it takes, what it does.
//!
//! The first row whose template fits the path decides, so a fixed word stands before a place. Who
//! may do it the route itself finds out, since much is refused before.

use http::Method;

use super::answer::Reply;
use super::call::{Call, decoded};
use super::{
    Elasticsearch, has_privileges, key_list, key_query, key_update, keys, roles, root, users,
};
use crate::twins::Effect;

/// One row.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) template: &'static str,
    pub(super) effect: Effect,
    /// Whether there may be a body.
    pub(super) body: Body,
    pub(super) parameters: &'static [&'static str],
    pub(super) run: fn(&mut Elasticsearch, &Call) -> Reply,
}

/// Whether a request may have a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    With,
    Without,
}

/// What a path leads to.
pub(super) enum Found {
    Route(&'static Route, Vec<String>),
    /// The path is known, but only with these methods.
    OtherMethod(Vec<&'static str>),
    Nothing,
}

/// The order in which the server names methods.
const ORDER: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "HEAD"];

/// Finds the route of a request.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let mut known = Vec::new();
    for route in ROUTES {
        if let Some(places) = fit(route.template, path) {
            if route.method == *method {
                return Found::Route(route, places);
            }
            known.push(route.method.as_str());
        }
    }
    if path == "/" {
        // To end every index there is a route too.
        known.push("DELETE");
    }
    if known.is_empty() {
        return Found::Nothing;
    }
    let allowed = ORDER.into_iter().filter(|name| known.contains(name));
    Found::OtherMethod(allowed.collect())
}

fn fit(template: &str, path: &str) -> Option<Vec<String>> {
    let mut places = Vec::new();
    let path = path
        .strip_suffix('/')
        .filter(|_| path != "/")
        .unwrap_or(path);
    let mut path = path.split('/');
    for wanted in template.split('/') {
        let segment = path.next()?;
        if wanted.starts_with('{') && !segment.is_empty() {
            places.push(decoded(segment));
        } else if wanted != segment {
            return None;
        }
    }
    path.next().is_none().then_some(places)
}

macro_rules! routes {
    ($($method:ident $template:literal $body:ident [$($parameter:literal)*] $effect:ident => $run:path;)*) => {
        &[$(Route {
            method: Method::$method,
            template: $template,
            body: Body::$body,
            parameters: &[$($parameter),*],
            effect: Effect::$effect,
            run: $run,
        }),*]
    };
}

static ROUTES: &[Route] = routes! {
    // The server itself, and who asks.
    GET "/" Without [] Look => root::main;
    HEAD "/" Without [] Look => root::main;
    GET "/_license" Without ["local" "accept_enterprise"] Look => root::license;
    GET "/_security/_authenticate" Without [] Look => root::authenticate;
    GET "/_security/user/_has_privileges" With [] Look => has_privileges::has;
    POST "/_security/user/_has_privileges" With [] Look => has_privileges::has;
    GET "/_security/user/{name}/_has_privileges" With [] Look => has_privileges::has;
    POST "/_security/user/{name}/_has_privileges" With [] Look => has_privileges::has;
    POST "/_security/oauth2/token" With [] SignIn => root::token;

    // API keys.
    PUT "/_security/api_key" With ["refresh"] Mint => keys::create;
    POST "/_security/api_key" With ["refresh"] Mint => keys::create;
    GET "/_security/api_key" Without ["id" "name" "username" "realm_name" "owner" "active_only" "with_limited_by" "with_profile_uid"] ListKeys => key_list::get;
    DELETE "/_security/api_key" With [] Revoke => key_list::invalidate;
    PUT "/_security/api_key/grant" With ["refresh"] Mint => keys::grant;
    POST "/_security/api_key/grant" With ["refresh"] Mint => keys::grant;
    POST "/_security/api_key/_bulk_update" With [] Write => key_update::many;
    PUT "/_security/api_key/{id}" With [] Write => key_update::one;
    GET "/_security/_query/api_key" With ["with_limited_by" "with_profile_uid" "typed_keys"] ListKeys => key_query::search;
    POST "/_security/_query/api_key" With ["with_limited_by" "with_profile_uid" "typed_keys"] ListKeys => key_query::search;

    // Users. Whether a `PUT` makes one or changes one, the twin itself knows.
    GET "/_security/user" Without ["with_profile_uid"] Look => users::get;
    PUT "/_security/user/_password" With ["refresh"] ChangeAccount => users::password;
    POST "/_security/user/_password" With ["refresh"] ChangeAccount => users::password;
    GET "/_security/user/{name}" Without ["with_profile_uid"] Look => users::get;
    PUT "/_security/user/{name}" With ["refresh"] MakeAccount => users::put;
    POST "/_security/user/{name}" With ["refresh"] MakeAccount => users::put;
    DELETE "/_security/user/{name}" Without ["refresh"] EndAccount => users::delete;
    PUT "/_security/user/{name}/_password" With ["refresh"] ChangeAccount => users::password;
    POST "/_security/user/{name}/_password" With ["refresh"] ChangeAccount => users::password;
    PUT "/_security/user/{name}/_enable" Without [] ChangeAccount => users::enable;
    POST "/_security/user/{name}/_enable" Without [] ChangeAccount => users::enable;
    PUT "/_security/user/{name}/_disable" Without [] ChangeAccount => users::disable;
    POST "/_security/user/{name}/_disable" Without [] ChangeAccount => users::disable;

    // Roles.
    GET "/_security/role" Without [] Look => roles::get;
    GET "/_security/role/{name}" Without [] Look => roles::get;
    PUT "/_security/role/{name}" With ["refresh"] Write => roles::put;
    POST "/_security/role/{name}" With ["refresh"] Write => roles::put;
    DELETE "/_security/role/{name}" Without ["refresh"] Write => roles::delete;
};
