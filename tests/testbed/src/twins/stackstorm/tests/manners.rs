//! Paths, methods, headers, errors; and what the journal sees.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{Config, Desk, StackStorm, fault, said, text};
use crate::twins::{Caller, Door, Effect, Fault, Rule, Twin as _};

#[test]
fn paths_and_methods() {
    let mut desk = Desk::new();
    let admin = desk.start().admin;
    let no_route = || fault(404, "The resource could not be found.");
    for (method, path, status) in [
        (Method::GET, "/api/v1", 200),
        (Method::GET, "/api/v1/", 200),
        (Method::GET, "/api", 200),
        (Method::GET, "/api/", 200),
        (Method::GET, "/api/v1/apikeys", 200),
        (Method::GET, "/api/v1/apikeys/", 200),
        (Method::GET, "/api/apikeys", 200),
        (Method::GET, "/api/v1/%61pikeys", 200),
        (Method::GET, "/api/v1/apikeys//", 404),
        (Method::GET, "/api/v1//apikeys", 404),
        (Method::GET, "/api/v2/apikeys", 404),
        (Method::GET, "/api/v1/APIKEYS", 404),
        (Method::PATCH, "/api/v1/apikeys", 404),
        (Method::PUT, "/api/v1/apikeys", 404),
        (Method::GET, "/api/v1/tokens", 404),
        (Method::GET, "/auth/v1/tokens", 404),
        (Method::GET, "/auth/v1/apikeys", 404),
        (Method::POST, "/auth/v1/tokens", 401),
        (Method::POST, "/auth/tokens", 401),
        (Method::POST, "/auth/tokens/", 401),
        (Method::POST, "/auth/tokens/validate", 400),
    ] {
        let answer = desk.send(method.clone(), path, "");
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let (_, body) = said(&answer);
        assert_eq!(status >= 400, body.get("faultstring").is_some(), "{body}");
    }
    let nowhere = desk.with(&[]).get("/api/v1/nowhere");
    assert_eq!(nowhere, no_route(), "also without a credential");
    let front = desk
        .with_key(&admin.key)
        .send(Method::GET, "/v1/apikeys", "");
    assert_eq!(front.status(), 404);
    assert_eq!(front.headers()["content-type"], "text/html");
    let head = desk.send(Method::HEAD, "/api/v1", "");
    assert_eq!(head.status(), 500, "the built-in server stumbles");
    assert!(
        head.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    let mut desk = Desk::of(&Config {
        prefix: "/st2/".to_owned(),
        version: "3.10dev".to_owned(),
        ..Config::default()
    });
    let (status, root) = desk.get("/st2/api/v1");
    assert_eq!(status, 200);
    let latest = json!({ "version": "3.10dev", "docs_url": "http://docs.stackstorm.com/latest" });
    assert_eq!(root, latest);
    assert_eq!(desk.send(Method::GET, "/api/v1", "").status(), 404);
    let known = json!({ "version": "3.9.0", "docs_url": "http://docs.stackstorm.com/3.9" });
    assert_eq!(Desk::new().get("/api/v1").1, known);
}

#[test]
fn headers_of_every_answer() {
    let mut desk = Desk::new();
    for (method, path) in [
        (Method::GET, "/api/v1"),
        (Method::OPTIONS, "/api/v1/apikeys"),
        (Method::GET, "/api/v1/nothing"),
        (Method::POST, "/auth/tokens"),
    ] {
        desk.with(&[
            ("X-Request-ID", "mine"),
            ("Origin", "http://localhost:8080"),
        ]);
        let answer = desk.send(method, path, "");
        let headers = answer.headers();
        assert_eq!(headers["x-request-id"], "mine");
        assert_eq!(
            headers["access-control-allow-origin"],
            "http://localhost:8080"
        );
        let methods = "GET,POST,PUT,DELETE,OPTIONS";
        assert_eq!(headers["access-control-allow-methods"], methods);
        assert_eq!(headers["access-control-allow-credentials"], "true");
        let exposed = "Content-Type,X-Limit,X-Total-Count,X-Request-ID";
        assert_eq!(headers["access-control-expose-headers"], exposed);
        desk.with(&[("Origin", "https://elsewhere.test")]);
        let answer = desk.send(Method::GET, path, "");
        let headers = answer.headers();
        assert_eq!(headers["x-request-id"].len(), 36);
        assert_eq!(
            headers["access-control-allow-origin"],
            "http://127.0.0.1:3000"
        );
    }
}

#[test]
fn bodies_of_every_kind() {
    let mut desk = Desk::new();
    let key = desk.start().admin.key;
    let mut post = |kind: &str, body: &str| {
        desk.with(&[("St2-Api-Key", &key), ("Content-Type", kind)]);
        said(&desk.send(Method::POST, "/api/v1/apikeys", body.to_owned()))
    };
    assert_eq!(post("application/json; charset=utf-8", "").0, 201);
    assert_eq!(post("text/plain", r#"{"user":"svc"}"#).0, 201);
    let (status, body) = post("application/json", "{");
    assert_eq!(status, 400);
    assert!(text(&body, "/faultstring").starts_with("Failed to parse request body: "));
    let form = fault(400, "['svc'] is not of type 'string'");
    assert_eq!(post("application/x-www-form-urlencoded", "user=svc"), form);
    let other = "Failed to parse request body: Unsupported Content-Type: \"text/xml\"";
    assert_eq!(post("text/xml", "<user/>"), fault(400, other));
    let list = fault(
        400,
        "[1, None, True, 'it\\'s', {'a': 2.5}] is not of type 'object'",
    );
    assert_eq!(
        post("application/json", r#"[1,null,true,"it's",{"a":2.5}]"#),
        list
    );
}

#[test]
fn refusals_in_the_servers_own_words() {
    let desk = Desk::new();
    let refused = |status| desk.st2.refusal(desk.now, status);
    let unreachable = "Nginx is unable to reach st2api. Make sure service is running.";
    for (status, words) in [
        (StatusCode::UNAUTHORIZED, "Unauthorized"),
        (StatusCode::FORBIDDEN, "Administrator access required"),
        (StatusCode::NOT_FOUND, "The resource could not be found."),
        (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        (StatusCode::SERVICE_UNAVAILABLE, unreachable),
    ] {
        assert_eq!(said(&refused(status)), fault(status.as_u16(), words));
    }
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::GATEWAY_TIMEOUT] {
        let page = refused(status);
        assert_eq!(page.status(), status);
        assert_eq!(page.headers()["content-type"], "text/html");
    }
}

#[test]
fn what_a_request_is_about() {
    let mut desk = Desk::new();
    let (id, key) = desk.key(&json!({ "user": "svc" }));
    let one = "/api/v1/apikeys/{id}";
    let svc = Some("svc".to_owned());
    let sort = |method: Method, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        let sort = desk.st2.sort(&request);
        (sort.template, sort.effect, sort.account)
    };
    let by_id = format!("/api/apikeys/{id}");
    let by_key = format!("/api/v1/apikeys/{key}/");
    let list = "/api/v1/apikeys";
    let table = [
        (sort(Method::GET, list, ""), (list, Effect::ListKeys, None)),
        (
            sort(Method::POST, list, r#"{"user":"svc"}"#),
            (list, Effect::Mint, svc.clone()),
        ),
        (sort(Method::POST, list, ""), (list, Effect::Mint, None)),
        (
            sort(Method::GET, &by_id, ""),
            (one, Effect::Look, svc.clone()),
        ),
        (
            sort(Method::PUT, &by_key, ""),
            (one, Effect::Write, svc.clone()),
        ),
        (
            sort(Method::DELETE, &by_key, ""),
            (one, Effect::Revoke, svc),
        ),
        (
            sort(Method::POST, "/auth/tokens", ""),
            ("/auth/v1/tokens", Effect::SignIn, None),
        ),
        (sort(Method::PATCH, list, ""), ("?", Effect::Nothing, None)),
        (sort(Method::GET, "/else", ""), ("?", Effect::Nothing, None)),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected);
    }
}

#[test]
fn the_journal_learns_who_asked() {
    let mut desk = Desk::new();
    let (id, key) = desk.key(&json!({ "user": "svc" }));
    let caller = |desk: &mut Desk| {
        let response = desk.send(Method::GET, "/api/v1/user", "");
        response.extensions().get::<Caller>().cloned()
    };
    let by_key = Caller {
        user: "svc".to_owned(),
        key: Some(id),
    };
    assert_eq!(caller(desk.with_key(&key)), Some(by_key));
    let start = desk.start();
    let token = desk.token(&start.admin.username, &start.admin.password);
    let by_token = Caller {
        user: "st2admin".to_owned(),
        key: None,
    };
    assert_eq!(
        caller(desk.with(&[("X-Auth-Token", &token)])),
        Some(by_token)
    );
    assert_eq!(caller(desk.with(&[])), None);
}

#[tokio::test]
async fn nothing_secret_is_in_the_journal() {
    let twin = StackStorm::new(&Config::default());
    let start = twin.start().clone();
    let (key, password) = (start.admin.key.as_str(), start.admin.password.as_str());
    let door = Door::new(twin, || "2026-11-22T02:00:00Z".parse().unwrap());
    let send = async |method: Method, path: String, header: &str, body: String| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("Authorization", header);
        door.send(request.body(Bytes::from(body)).unwrap())
            .await
            .unwrap()
    };
    let login = STANDARD.encode(format!("st2admin:{password}"));
    let basic = format!("Basic {login}");
    let made = send(
        Method::POST,
        "/auth/tokens".to_owned(),
        &basic,
        String::new(),
    )
    .await;
    let token = text(&said(&made).1, "/token");
    let path = format!("/api/v1/apikeys/{key}?st2-api-key={key}");
    let wish = json!({ "user": "st2admin", "metadata": { "secret": "hidden" } }).to_string();
    assert_eq!(
        send(Method::PUT, path.clone(), "", wish).await.status(),
        200
    );
    door.fault(
        Rule::new(Fault::Throttled {
            retry_after: Some(7),
        })
        .next(1),
    );
    let throttled = send(Method::DELETE, path.clone(), "", String::new()).await;
    assert_eq!(
        (
            throttled.status().as_u16(),
            &throttled.headers()["retry-after"]
        ),
        (429, &"7".parse().unwrap())
    );
    let path = format!("{path}&x-auth-token={token}");
    assert_eq!(
        send(Method::DELETE, path, "", String::new()).await.status(),
        204
    );
    assert_eq!(
        (door.done(Effect::Revoke), door.sent(Effect::Revoke)),
        (1, 2)
    );
    let journal = serde_json::to_string(&door.journal()).unwrap();
    assert!(journal.contains("\"account\":\"st2admin\""), "{journal}");
    for secret in [key, password, &login, &token, "hidden"] {
        assert!(!journal.contains(secret), "{journal}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed: u64| {
        let mut desk = Desk::of(&Config {
            seed,
            ..Config::default()
        });
        let start = desk.start();
        (
            desk.key(&json!({})),
            start.operator.key,
            start.operator.password,
        )
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
    let admin_key = Some("known".to_owned());
    let config = Config {
        admin_key,
        ..Config::default()
    };
    assert_eq!(Desk::of(&config).who("known"), (200, "st2admin".to_owned()));
    assert_eq!(StackStorm::NAME, "stackstorm");
    assert_eq!(
        Desk::new().delete("/api/v1/apikeys/none").1["conflict-id"],
        Value::Null
    );
}
