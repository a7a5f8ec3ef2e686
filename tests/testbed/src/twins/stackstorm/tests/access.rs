//! Who asks, and what the server says of it.

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Change, Desk, fault, said, text};

/// Headers, a query, and what `GET /v1/user` says to them.
type Row<'a> = (&'a [(&'a str, &'a str)], String, (u16, Value));

#[test]
fn the_first_place_that_holds_something_decides() {
    let mut desk = Desk::new();
    let start = desk.start();
    let (admin, key) = (&start.admin, start.bystander.key.as_str());
    let token = desk.token(&admin.username, &admin.password);
    let (good, bad) = (token.as_str(), "0123456789abcdef0123456789abcdef");
    let cookie = format!("other=1; auth-token={token}");
    let bad_cookie = format!("auth-token={bad}");
    let nobody = fault(401, "Unauthorized");
    let user = |name: &str, method: &str, location: &str| {
        let mut json = json!({
            "username": name,
            "authentication": { "method": method, "location": location },
            "rbac": { "enabled": false, "roles": [], "is_admin": true },
        });
        if method == "authentication token" {
            json["authentication"]["token_expire"] = json!("2026-11-23T02:00:00Z");
        }
        (200, json)
    };
    let by_token = |location: &str| user("st2admin", "authentication token", location);
    let by_key = |location: &str| user("bystander", "API key", location);
    let table: [Row; 11] = [
        (&[("X-Auth-Token", good)], String::new(), by_token("header")),
        (&[("St2-Api-Key", key)], String::new(), by_key("header")),
        (&[], format!("?x-auth-token={good}"), by_token("query")),
        (&[], format!("?st2-api-key={key}"), by_key("query")),
        (&[("Cookie", &cookie)], String::new(), by_token("cookie")),
        (
            &[("X-Auth-Token", good), ("St2-Api-Key", key)],
            String::new(),
            by_token("header"),
        ),
        (
            &[("X-Auth-Token", bad), ("St2-Api-Key", key)],
            String::new(),
            nobody.clone(),
        ),
        (
            &[("St2-Api-Key", key)],
            format!("?x-auth-token={bad}"),
            by_key("header"),
        ),
        (
            &[("Cookie", &cookie)],
            format!("?x-auth-token={bad}&st2-api-key={key}"),
            nobody.clone(),
        ),
        (
            &[("Cookie", &bad_cookie), ("X-Auth-Token", "")],
            format!("?st2-api-key={key}"),
            by_key("query"),
        ),
        (&[("Cookie", &bad_cookie)], String::new(), nobody),
    ];
    for (headers, query, expected) in table {
        let path = format!("/api/v1/user{query}");
        assert_eq!(
            desk.with(headers).get(&path),
            expected,
            "{headers:?} {query}"
        );
    }
}

#[test]
fn why_somebody_is_refused() {
    let mut desk = Desk::new();
    let (id, key) = desk.key(&json!({ "user": "svc" }));
    assert_eq!(desk.who(&key), (200, "svc".to_owned()));
    desk.change(Change::DisableKey { key: id.clone() });
    let disabled = "Unauthorized - API key is disabled.".to_owned();
    assert_eq!(desk.who(&key), (401, disabled));
    desk.change(Change::EnableKey { key: id.clone() });
    assert_eq!(
        desk.who(&key),
        (200, "svc".to_owned()),
        "the same key again"
    );
    desk.change(Change::ForgetUser { user: "svc".into() });
    let gone = "Unable to find the UserDB instance. {'name': 'svc'}".to_owned();
    assert_eq!(desk.who(&key), (404, gone));
    desk.change(Change::RegisterUser { user: "svc".into() });
    let hash = desk.st2.whose(&key).unwrap().key_hash;
    desk.change(Change::RevokeKey { key: id });
    let unknown = format!("Unauthorized - ApiKey with key_hash={hash} not found.");
    assert_eq!(desk.who(&key), (401, unknown), "it echoes the hash");
    let none = "Unauthorized - One of Token or API key required.";
    let response = desk.with(&[]).send(Method::GET, "/api/v1/apikeys", "");
    assert_eq!(said(&response), fault(401, none));
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[test]
fn a_token_ends_and_sets_a_cookie_until_then() {
    let mut desk = Desk::new();
    let admin = desk.start().admin;
    let token = desk.token(&admin.username, &admin.password);
    desk.later(SignedDuration::from_hours(23));
    let paths = [
        "/api/v1/user".to_owned(),
        format!("/api/v1?x-auth-token={token}"),
    ];
    for (headers, path) in [vec![("X-Auth-Token", token.as_str())], vec![]]
        .iter()
        .zip(&paths)
    {
        let response = desk.with(headers).send(Method::GET, path, "");
        let wanted =
            format!("auth-token={token}; Max-Age=3600; Path=/; secure; HttpOnly; SameSite=lax");
        assert_eq!(response.headers()["set-cookie"], wanted.as_str());
    }
    let cookie = format!("auth-token={token}");
    let response = desk
        .with(&[("Cookie", &cookie)])
        .send(Method::GET, "/api/v1/user", "");
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("set-cookie"));
    let response = desk.with_key(&admin.key).send(Method::GET, "/api/v1", "");
    assert!(!response.headers().contains_key("set-cookie"));
    desk.later(SignedDuration::from_hours(1));
    let over = fault(401, "Unauthorized - Token has expired.");
    let response = desk
        .with(&[("X-Auth-Token", &token)])
        .send(Method::GET, "/api/v1/user", "");
    assert_eq!(said(&response), over);
    assert!(!response.headers().contains_key("set-cookie"));
}

#[test]
fn while_nobody_looks_at_rights_any_key_does_anything() {
    let mut desk = Desk::new();
    let start = desk.start();
    desk.with_key(&start.bystander.key);
    let (id, key) = desk.key(&json!({ "user": start.admin.username }));
    assert_eq!(desk.who(&key), (200, "st2admin".to_owned()));
    let keys = desk.get("/api/v1/apikeys?limit=-1&show_secrets=true").1;
    assert_eq!(keys.as_array().unwrap().len(), 4);
    assert_eq!(text(&keys[3], "/key_hash").len(), 128);
    assert_eq!(
        desk.delete(&format!("/api/v1/apikeys/{id}")),
        (204, Value::Null)
    );
    assert_eq!(desk.with_key(&start.admin.key).get("/api/v1/users").0, 404);
}
