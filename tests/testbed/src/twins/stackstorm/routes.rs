//! The table of routes: every request that the two services know, who may make it, what it does.
//!
//! Paths are compared letter by letter, after `/v1` was taken away: both services route with and
//! without it.

use http::Method;

use super::answer::Reply;
use super::call::{Call, Service};
use super::{StackStorm, api_keys, rbac, tokens, users};
use crate::twins::Effect;

/// Who may make a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, also without a credential.
    Anyone,
    /// Whoever has a token or a key; the route itself may want more.
    SignedIn,
}

/// One row.
pub(super) struct Route {
    service: Service,
    method: Method,
    pub(super) template: &'static str,
    pub(super) access: Access,
    pub(super) effect: Effect,
    pub(super) run: fn(&mut StackStorm, &Call) -> Reply,
}

/// The route of a request, and what stands at the place in its template.
pub(super) fn find(
    service: Service,
    method: &Method,
    path: &[String],
) -> Option<(&'static Route, String)> {
    ROUTES
        .iter()
        .filter(|route| route.service == service && route.method == *method)
        .find_map(|route| fit(route.template, path).map(|place| (route, place)))
}

fn fit(template: &str, path: &[String]) -> Option<String> {
    let mut place = String::new();
    let mut path = path.iter();
    // Empty, `api` or `auth`, `v1`.
    for wanted in template.split('/').skip(3) {
        let segment = path.next()?;
        if wanted.starts_with('{') && !segment.is_empty() {
            place.clone_from(segment);
        } else if wanted != segment {
            return None;
        }
    }
    path.next().is_none().then_some(place)
}

macro_rules! routes {
    ($($service:ident $method:ident $template:literal $access:ident, $effect:ident => $run:path;)*) => {
        &[$(Route {
            service: Service::$service,
            method: Method::$method,
            template: $template,
            access: Access::$access,
            effect: Effect::$effect,
            run: $run,
        }),*]
    };
}

static ROUTES: &[Route] = routes! {
    Api GET "/api/v1" SignedIn, Look => users::root;
    Api GET "/api/v1/user" SignedIn, Look => users::whoami;

    Api GET "/api/v1/apikeys" SignedIn, ListKeys => api_keys::list;
    Api POST "/api/v1/apikeys" SignedIn, Mint => api_keys::create;
    Api GET "/api/v1/apikeys/{id}" SignedIn, Look => api_keys::get;
    Api PUT "/api/v1/apikeys/{id}" SignedIn, Write => api_keys::update;
    Api DELETE "/api/v1/apikeys/{id}" SignedIn, Revoke => api_keys::delete;

    Api GET "/api/v1/rbac/roles" SignedIn, Look => rbac::roles;
    Api GET "/api/v1/rbac/roles/{id}" SignedIn, Look => rbac::role;
    Api GET "/api/v1/rbac/role_assignments" SignedIn, Look => rbac::assignments;
    Api GET "/api/v1/rbac/role_assignments/{id}" SignedIn, Look => rbac::assignment;
    Api GET "/api/v1/rbac/permission_types" SignedIn, Look => rbac::permission_types;
    Api GET "/api/v1/rbac/permission_types/{type}" SignedIn, Look => rbac::permission_types_of;

    Auth POST "/auth/v1/tokens" Anyone, SignIn => tokens::create;
    Auth POST "/auth/v1/tokens/validate" SignedIn, Look => tokens::validate;
};
