//! Tokens.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Account, Change, Config, Desk, account, fault, said, text};

const PATH: &str = "/auth/v1/tokens";

#[test]
fn a_token_for_a_password() {
    let mut desk = Desk::of(&Config {
        users: vec![account("alice", &[])],
        ..Config::default()
    });
    desk.with_login("alice", "alice's password");
    assert!(
        desk.st2
            .everything()
            .account("alice")
            .unwrap()
            .created
            .is_none()
    );
    let response = desk.send(http::Method::POST, PATH, "");
    assert_eq!(response.headers()["x-api-url"], "http://localhost/api");
    let (status, made) = said(&response);
    assert_eq!(status, 201);
    let token = text(&made, "/token");
    assert!(token.len() == 32 && token.bytes().all(|b| b"0123456789abcdef".contains(&b)));
    assert_eq!(text(&made, "/id").len(), 24);
    assert_eq!(made["expiry"], "2026-11-23T02:00:00.123456Z", "a day");
    let rest = json!({ "user": "alice", "metadata": {}, "service": false });
    for (name, value) in rest.as_object().unwrap() {
        assert_eq!(made[name], *value);
    }
    assert!(
        desk.st2
            .everything()
            .account("alice")
            .unwrap()
            .created
            .is_some()
    );
    let mut valid = |token: &str, by: SignedDuration| {
        desk.later(by);
        let key = desk.start().bystander.key;
        let body = json!({ "token": token });
        desk.with_key(&key).post("/auth/v1/tokens/validate", &body)
    };
    let yes = |valid: bool| (200, json!({ "valid": valid }));
    assert_eq!(valid("0123", SignedDuration::ZERO), yes(false));
    assert_eq!(valid(&token, SignedDuration::ZERO), yes(true));
    assert_eq!(valid(&token, SignedDuration::from_hours(24)), yes(false));
    let missing = fault(400, "Token is not provided.");
    for body in [json!({}), json!({ "token": null }), json!({ "token": "" })] {
        assert_eq!(desk.post("/auth/v1/tokens/validate", &body), missing);
    }
    let wrong = fault(400, "5 is not of type 'string', 'null'");
    assert_eq!(
        desk.post("/auth/tokens/validate", &json!({ "token": 5 })),
        wrong
    );
    assert_eq!(
        desk.with(&[]).post("/auth/tokens/validate", &json!({})).0,
        401
    );
}

#[test]
fn how_long_a_token_may_last() {
    let mut desk = Desk::of(&Config {
        token_ttl: 3600,
        ..Config::default()
    });
    let admin = desk.start().admin;
    desk.with_login(&admin.username, &admin.password);
    let mut ttl = |ttl: Value| desk.post(PATH, &json!({ "ttl": ttl }));
    for (wish, end) in [
        (json!(60), "02:01:00"),
        (json!(3600), "03:00:00"),
        (json!(null), "03:00:00"),
    ] {
        let (status, made) = ttl(wish);
        assert_eq!(status, 201);
        assert_eq!(made["expiry"], format!("2026-11-22T{end}.123456Z"));
    }
    for (wish, words) in [
        (
            json!(3601),
            "TTL specified 3601 is greater than max allowed 3600.",
        ),
        (json!(0), "0 is less than the minimum of 1"),
        (json!(-5), "-5 is less than the minimum of 1"),
        (json!("a"), "'a' is not of type 'integer', 'null'"),
        (json!(true), "True is not of type 'integer', 'null'"),
        (json!(1.5), "1.5 is not of type 'integer', 'null'"),
    ] {
        assert_eq!(ttl(wish), fault(400, words));
    }
}

#[test]
fn bad_credentials_are_all_alike() {
    let mut desk = Desk::new();
    let admin = desk.start().admin;
    let bad = fault(401, "Invalid or missing credentials");
    for header in [
        "Basic",
        "Basic !",
        "Basic bm9ib2R5",
        "Bearer c3QyYWRtaW46eA==",
        "",
    ] {
        assert_eq!(
            desk.with(&[("Authorization", header)])
                .post(PATH, &json!({})),
            bad
        );
    }
    assert_eq!(desk.with(&[]).post(PATH, &json!({})), bad);
    assert_eq!(
        desk.with_key(&admin.key).post(PATH, &json!({})),
        bad,
        "a key is none"
    );
    assert_eq!(desk.with_login("nobody", "x").post(PATH, &json!({})), bad);
    let wrong = desk.with_login(&admin.username, "x").post(PATH, &json!({}));
    assert_eq!(wrong, bad);
    desk.change(Change::SetPassword {
        user: admin.username.clone(),
        password: "x:y".to_owned(),
    });
    desk.token(&admin.username, "x:y");
    desk.with_login(&admin.username, &admin.password);
    assert_eq!(desk.post(PATH, &json!({})), bad);
}

#[test]
fn a_service_asks_for_others() {
    let mut desk = Desk::of(&Config {
        users: vec![
            Account {
                is_service: true,
                ..account("bot", &[])
            },
            account("alice", &[]),
        ],
        ..Config::default()
    });
    let bob = json!({ "user": "bob" });
    desk.with_login("bot", "bot's password");
    let (status, made) = desk.post(PATH, &bob);
    assert_eq!(
        (status, &made["user"]),
        (201, &json!("bob")),
        "made on the fly"
    );
    assert!(
        desk.st2
            .everything()
            .account("bob")
            .unwrap()
            .created
            .is_some()
    );
    let (_, own) = desk.post(PATH, &json!({ "user": null }));
    assert_eq!(own["user"], "bot");
    let nickname = json!({ "impersonate_user": "bobby" });
    let words = "Nickname origin is not provided for nickname 'bobby'";
    assert_eq!(desk.post(PATH, &nickname), fault(400, words));
    let nickname = json!({ "impersonate_user": "bobby", "nickname_origin": "slack" });
    let words = "Could not locate user bobby@slack";
    assert_eq!(desk.post(PATH, &nickname), fault(400, words));
    desk.with_login("alice", "alice's password");
    let words = "Current user is not a service and cannot request impersonated tokens";
    assert_eq!(desk.post(PATH, &bob), fault(400, words));
    assert_eq!(desk.post(PATH, &nickname), fault(400, words));
}

#[test]
fn tokens_do_not_outlive_their_end() {
    let mut desk = Desk::new();
    let admin = desk.start().admin;
    let token = desk.token(&admin.username, &admin.password);
    desk.with(&[("X-Auth-Token", &token)]);
    assert_eq!(desk.get("/api/v1").0, 200);
    desk.change(Change::EndTokens {
        user: admin.username.clone(),
    });
    let over = fault(401, "Unauthorized - Token has expired.");
    assert_eq!(desk.get("/api/v1"), over);
    desk.token(&admin.username, &admin.password);
}
