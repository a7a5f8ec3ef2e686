//! Paths, methods, pages, links, errors, the audit.

use http::Method;
use serde_json::{Value, json};

use super::super::{Config, Version};
use super::{Desk, said, text, words};

#[test]
fn paths_and_methods() {
    let mut desk = Desk::new();
    let table = [
        (Method::GET, "/api", 200),
        (Method::GET, "/api/", 200),
        (Method::GET, "/API/Users/me/", 200),
        (Method::GET, "/api/nothing", 404),
        (Method::GET, "/", 404),
        (Method::PUT, "/api/users", 405),
        (Method::PATCH, "/api/users/Users-1", 405),
        (Method::GET, "/api/users/Users-999", 404),
        (Method::GET, "/api/Spaces-1", 200),
        (Method::GET, "/api/Spaces-9", 404),
        (Method::GET, "/api/Spaces-9/teams", 404),
        (Method::GET, "/api/serverstatus", 200),
        (Method::GET, "/api/serverstatus/health", 200),
        (Method::GET, "/.well-known/openid-configuration", 200),
        (Method::POST, "/api/users", 400),
    ];
    for (method, path, status) in table {
        let answer = desk.send(method.clone(), path, "");
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(
            answer.headers()["content-type"],
            "application/json; charset=utf-8"
        );
        let (_, body) = said(&answer);
        if status >= 400 {
            assert!(!words(&body).is_empty(), "{method} {path}");
            assert_ne!(
                body["Errors"],
                json!([]),
                "an empty list reads as an error in Go"
            );
        }
    }
}

#[test]
fn put_and_delete_can_come_as_post() {
    let mut desk = Desk::new();
    let id = desk.service("svc");
    let admin = desk.start().admin.key;
    desk.with(&[
        ("X-Octopus-ApiKey", &admin),
        ("X-HTTP-Method-Override", "PUT"),
    ]);
    let off = json!({ "Username": "svc", "DisplayName": "off", "IsActive": true });
    let path = format!("/api/users/{id}");
    assert_eq!(desk.post(&path, &off).1["DisplayName"], "off");
    desk.with(&[
        ("X-Octopus-ApiKey", &admin),
        ("X-HTTP-Method-Override", "DELETE"),
    ]);
    assert_eq!(desk.post(&path, &Value::Null).0, 200);
    assert_eq!(desk.with_key(&admin).get(&path).0, 404);
}

#[test]
fn pages_lead_to_the_next_and_carry_the_filter() {
    let mut desk = Desk::new();
    for number in 0..65 {
        desk.service(&format!("page-{number:02}"));
    }
    desk.service("other");
    let mut path = "/api/users?filter=page-".to_owned();
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = desk.get(&path).1;
        pages += 1;
        assert_eq!(
            (&page["ItemType"], &page["TotalResults"]),
            (&json!("User"), &json!(65))
        );
        assert_eq!(
            (&page["NumberOfPages"], &page["LastPageNumber"]),
            (&json!(3), &json!(2))
        );
        assert_eq!(page["ItemsPerPage"], 30);
        seen.extend(
            page["Items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|user| text(user, "/Username")),
        );
        match page["Links"]["Page.Next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..65).map(|number| format!("page-{number:02}")).collect();
    assert_eq!((pages, seen), (3, expected));
    let admin = desk.start().admin.key;
    let page = desk.get(&format!("/api/users?ApiKey={admin}")).1;
    assert!(!page.to_string().contains(&admin), "links repeat no key");
    let none = desk.get("/api/users?filter=nobody").1;
    assert_eq!(
        (&none["NumberOfPages"], &none["LastPageNumber"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        desk.get("/api/users?take=9999").1["Items"]
            .as_array()
            .unwrap()
            .len(),
        69
    );
}

#[test]
fn a_virtual_directory_is_in_every_link() {
    let mut desk = Desk::of(&Config {
        prefix: "/octopus".into(),
        ..Config::default()
    });
    assert_eq!(desk.get("/api").0, 404);
    assert_eq!(desk.get("/octopussy/api").0, 404);
    assert_eq!(
        desk.get("/octopus/api").1["Links"]["Users"],
        "/octopus/api/users{/id}{?skip,take,ids,filter}"
    );
    let page = desk.get("/octopus/api/users?take=1").1;
    let next = text(&page, "/Links/Page.Next");
    assert!(next.starts_with("/octopus/api/users?"), "{next}");
    assert_eq!(desk.get(&next).0, 200);
    let me = desk.get("/octopus/api/users/me").1;
    assert!(text(&me, "/Links/Self").starts_with("/octopus/api/"));
    assert!(text(&me, "/Links/Avatar").starts_with("https://"));
    let oidc = desk.get("/octopus/.well-known/openid-configuration").1;
    assert_eq!(oidc["token_endpoint"], "http://localhost/octopus/token/v1");
}

#[test]
fn older_servers_know_less() {
    // version, request, status
    let table = [
        ("2023.4.100", "/.well-known/openid-configuration", 404),
        ("2023.4.8077", "/.well-known/openid-configuration", 200),
        ("2026.2.1", "/api/ratelimitingpolicies", 404),
        ("2026.3.1", "/api/ratelimitingpolicies", 200),
    ];
    for (version, path, status) in table {
        let version: Version = version.parse().unwrap();
        let mut desk = Desk::of(&Config {
            version,
            ..Config::default()
        });
        assert_eq!(desk.get(path).0, status, "{version} {path}");
    }
    let version = Version::new(2025, 3, 1);
    let mut desk = Desk::of(&Config {
        version,
        ..Config::default()
    });
    assert!(
        desk.get("/api/authentication")
            .1
            .get("ApiKeyMaxExpiryDays")
            .is_none()
    );
    assert_eq!(desk.get("/api").1["Version"], "2025.3.1");
}

#[test]
fn dates_and_headers() {
    let mut desk = Desk::new();
    let answer = desk.send(Method::GET, "/api/users/me", "");
    assert_eq!(answer.headers()["date"], "Sun, 22 Nov 2026 02:00:00 GMT");
    assert_eq!(said(&answer).1["Created"], "2026-01-01T00:00:00.000+00:00");
}

#[test]
fn the_audit_names_the_account_and_the_key() {
    let mut desk = Desk::new();
    let start = desk.start();
    let id = desk.service("svc");
    desk.with_key(&start.operator.key);
    let (key, text_of_key) = desk.key(&id, &json!({ "Purpose": "p" }));
    let page = desk
        .with_key(&start.admin.key)
        .get(&format!("/api/events?regarding={key}"))
        .1;
    let event = &page["Items"][0];
    assert_eq!(
        (&event["Category"], &event["Username"]),
        (&json!("Created"), &json!("apikey-operator"))
    );
    assert_eq!(event["IsService"], true);
    assert!(text(event, "/ApiKeyId").starts_with("apikeys-"));
    assert!(!page.to_string().contains(&text_of_key));
    let created = desk.get("/api/events?eventCategories=Created").1;
    assert_eq!(created["TotalResults"], 2);
}
