//! Who may do what, and how one proves who one is.

use http::Method;
use jiff::SignedDuration;
use serde_json::json;

use super::{Change, Desk, said, text, words};

#[test]
fn every_way_to_hand_in_a_key() {
    let mut desk = Desk::new();
    let key = desk.start().operator.key;
    let as_header = [("X-Octopus-ApiKey", key.as_str())];
    let as_nuget = [("x-nuget-apikey", key.as_str())];
    let table: [(&[(&str, &str)], String); 4] = [
        (&as_header, "/api/users/me".into()),
        (&as_nuget, "/api/users/me".into()),
        (&[], format!("/api/users/me?ApiKey={key}")),
        (&[], format!("/api/users/me?api-key={key}")),
    ];
    for (headers, path) in table {
        let (status, me) = desk.with(headers).get(&path);
        assert_eq!(
            (status, text(&me, "/Username").as_str()),
            (200, "apikey-operator"),
            "{path}"
        );
    }
}

#[test]
fn no_credential_and_a_bad_one_have_their_own_words() {
    let mut desk = Desk::new();
    let (status, body) = desk.with(&[]).get("/api/users/me");
    assert_eq!(
        (status, words(&body).starts_with("You must be logged in")),
        (401, true)
    );
    let (status, body) = desk.with_key("API-NOBODYS").get("/api/users/me");
    assert_eq!(
        (
            status,
            words(&body).starts_with("The API key you provided was not")
        ),
        (401, true)
    );
    let (status, _) = desk
        .with(&[("Authorization", "Bearer made.up.token")])
        .get("/api/users/me");
    assert_eq!(status, 401);
}

#[test]
fn three_ranks() {
    let mut desk = Desk::new();
    let start = desk.start();
    let service = desk.service("somebody");
    // request, status for administrator, for the operator, for the bystander
    let user = format!("/api/users/{service}");
    let keys = format!("{user}/apikeys");
    let admin_user = format!("/api/users/{}", start.admin.user);
    let roles = "/api/userroles".to_owned();
    let events = "/api/events".to_owned();
    let table = [
        (Method::GET, "/api/users".to_owned(), [200, 200, 403]),
        (Method::GET, user.clone(), [200, 200, 403]),
        (Method::GET, keys.clone(), [200, 200, 403]),
        (Method::POST, keys, [200, 200, 403]),
        (Method::GET, "/api/teams/all".to_owned(), [200, 200, 403]),
        (Method::GET, "/api/spaces".to_owned(), [200, 200, 200]),
        (Method::GET, "/api/users/me".to_owned(), [200, 200, 200]),
        (Method::GET, roles, [200, 403, 403]),
        (Method::GET, events, [200, 403, 403]),
        (
            Method::POST,
            format!("{admin_user}/apikeys"),
            [200, 403, 403],
        ),
        (Method::DELETE, admin_user, [400, 403, 403]),
    ];
    for (method, path, expected) in table {
        let keys = [&start.admin.key, &start.operator.key, &start.bystander.key];
        for (key, status) in keys.into_iter().zip(expected) {
            let (got, body) = said(&desk.with_key(key).send(method.clone(), &path, "{}"));
            assert_eq!(got, status, "{method} {path}: {body}");
            if got == 403 {
                assert!(
                    words(&body).starts_with("You do not have permission"),
                    "{body}"
                );
            }
        }
    }
}

#[test]
fn a_session_needs_its_anti_forgery_header_and_ends() {
    let mut desk = Desk::new();
    let body = json!({ "Username": "admin", "Password": desk.start().admin_password() });
    let answer = desk
        .with(&[])
        .send(Method::POST, "/api/users/login", body.to_string());
    assert_eq!(answer.status(), 200);
    let cookies: Vec<&str> = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|c| c.to_str().unwrap())
        .collect();
    let value = |prefix: &str| {
        let cookie = cookies
            .iter()
            .find(|cookie| cookie.starts_with(prefix))
            .unwrap();
        cookie.split_once(';').unwrap().0.to_owned()
    };
    let identity = value("OctopusIdentificationToken_");
    let csrf = value("Octopus-Csrf-Token_")
        .split_once('=')
        .unwrap()
        .1
        .to_owned();

    assert_eq!(
        desk.with(&[("Cookie", &identity)]).get("/api/users/me").0,
        401
    );
    let whole = [
        ("Cookie", identity.as_str()),
        ("X-Octopus-Csrf-Token", csrf.as_str()),
    ];
    assert_eq!(desk.with(&whole).get("/api/users/me").0, 200);
    desk.later(SignedDuration::from_mins(15));
    assert_eq!(
        desk.get("/api/users/me").0,
        200,
        "use keeps a session alive"
    );
    desk.later(SignedDuration::from_mins(21));
    assert_eq!(
        desk.get("/api/users/me").0,
        401,
        "twenty minutes without use end it"
    );
}

#[test]
fn wrong_passwords_are_refused_and_then_banned() {
    let mut desk = Desk::new();
    let login = |desk: &mut Desk, password: &str| {
        let body = json!({ "Username": "ADMIN", "Password": password });
        desk.with(&[]).post("/api/users/login", &body)
    };
    for _ in 0..10 {
        let (status, body) = login(&mut desk, "wrong");
        assert_eq!(
            (status, words(&body).as_str()),
            (400, "Invalid username or password.")
        );
    }
    let right = desk.start().admin_password();
    assert_eq!(login(&mut desk, right).0, 400, "too many tries");
    desk.later(SignedDuration::from_mins(11));
    assert_eq!(login(&mut desk, right).0, 200);
}

#[test]
fn rate_limits_when_switched_on() {
    let mut desk = Desk::new();
    let policies = desk.get("/api/ratelimitingpolicies").1;
    assert_eq!(policies["TotalResults"], 3);
    let on = json!({ "IsEnabled": true, "RequestsPerMinute": 60, "BurstLimit": 2 });
    assert_eq!(
        desk.put("/api/ratelimitingpolicies/RateLimitingPolicies-2", &on)
            .0,
        200
    );
    let statuses: Vec<u16> = (0..3).map(|_| desk.get("/api/users/me").0).collect();
    assert_eq!(statuses, [200, 200, 429]);
    let refused = desk.send(Method::GET, "/api/users/me", "");
    assert_eq!(refused.headers()["retry-after"], "1");
    desk.later(SignedDuration::from_secs(1));
    assert_eq!(desk.get("/api/users/me").0, 200);
}

#[test]
fn maintenance_stops_writes_but_not_those_of_administrators() {
    let mut desk = Desk::new();
    let start = desk.start();
    desk.change(Change::BeginMaintenance);
    let body = json!({ "Username": "a", "DisplayName": "a" });
    assert_eq!(
        desk.with_key(&start.operator.key)
            .post("/api/users", &body)
            .0,
        503
    );
    assert_eq!(desk.get("/api/users").0, 200);
    assert_eq!(
        desk.with_key(&start.admin.key).post("/api/users", &body).0,
        201
    );
}
