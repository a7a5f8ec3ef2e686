//! The exchange of a token, as a prepared server answers.

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::*;
use crate::servers::script::Script;
use crate::servers::transport::Cut;
use crate::servers::{Credential, Server, connect};

/// What Kubernetes would say.
const VOUCHER: &str = "CANARY.voucher.token";
const GIVEN: &str = "CANARY.given.token";
const ENDPOINT: &str = "https://octopus.example/prefix/token/v1";

#[derive(Debug)]
struct Somebody(Result<&'static str, &'static str>);

#[async_trait]
impl Voucher for Somebody {
    fn audience(&self) -> &'static str {
        "a-guid"
    }

    async fn token(&self) -> Result<KeyMaterial, Fault> {
        let none = |why: &str| Fault::NoToken(why.to_owned());
        self.0.map(KeyMaterial::new).map_err(none)
    }
}

fn vouched(script: &Arc<Script>, who: Somebody) -> Arc<dyn Server> {
    let credential = Credential::Vouched(Arc::new(who));
    let connection = Connection {
        credential,
        ..script.connection()
    };
    connect(connection).unwrap()
}

fn client(script: &Arc<Script>) -> Arc<dyn Server> {
    vouched(script, Somebody(Ok(VOUCHER)))
}

fn found(endpoint: &str) -> Arc<Script> {
    Script::new().json(&json!({ "issuer": "https://any.example", "token_endpoint": endpoint }))
}

fn given() -> Value {
    json!({ "access_token": GIVEN, "token_type": "Bearer", "expires_in": 3600,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" })
}

fn me() -> Value {
    json!({ "Id": "Users-1", "Username": "operator", "DisplayName": "Operator", "IsActive": true,
        "IsService": true })
}

/// A cheap call.
async fn ask(client: &Arc<dyn Server>) -> Result<(), Fault> {
    let account = crate::plan::port::AccountId::new("Users-1");
    client.account(&account).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_exchanged_for_one_that_opens_the_door() {
    let script = found(ENDPOINT).json(&given()).json(&me()).json(&me());
    let client = client(&script);
    ask(&client).await.unwrap();
    ask(&client).await.unwrap();
    client.leave().await;
    let user = "GET /prefix/api/users/Users-1";
    let discovery = "GET /prefix/.well-known/openid-configuration";
    let heard = script.heard();
    assert_eq!(heard, [discovery, "POST /prefix/token/v1", user, user]);
    let requests = script.requests();
    assert!(requests[0].headers().get(AUTHORIZATION).is_none());
    assert!(requests[1].headers().get(AUTHORIZATION).is_none());
    let asked = json!({ "grant_type": EXCHANGE, "audience": "a-guid",
        "subject_token_type": JWT, "subject_token": VOUCHER });
    assert_eq!(script.sent(1), asked);
    let shown = &requests[2].headers()[AUTHORIZATION];
    assert_eq!(shown, &format!("Bearer {GIVEN}"));
    assert!(shown.is_sensitive());
}

#[tokio::test(start_paused = true)]
async fn one_is_had_anew_early_and_once_it_is_refused() {
    let exchange = |script: Arc<Script>| {
        script
            .json(&json!({ "token_endpoint": ENDPOINT }))
            .json(&given())
    };
    let script = exchange(Script::new()).json(&me());
    let client = client(&script);
    ask(&client).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(3_299)).await;
    script.json(&me());
    ask(&client).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    exchange(script.clone()).json(&me());
    ask(&client).await.unwrap();
    exchange(script.error(401, "no").error(401, "no")).json(&me());
    ask(&client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_nowhere_but_to_the_pinned_place() {
    let table = [
        (
            "https://evil.example/prefix/token/v1",
            "https://evil.example",
        ),
        (
            "http://octopus.example/prefix/token/v1",
            "http://octopus.example",
        ),
        (
            "https://octopus.example:8443/prefix/token/v1",
            "https://octopus.example:8443",
        ),
        (
            "https://octopus.example.evil/prefix/token",
            "https://octopus.example.evil",
        ),
        (
            "https://octopus.example@evil.example/prefix/token",
            "https://evil.example",
        ),
        (
            "https://octopus.example\\@evil.example/prefix/t",
            "another path of its own",
        ),
        (
            "https://x:y@octopus.example/prefix/token",
            "another path of its own",
        ),
        (
            "https://octopus.example/token/v1",
            "another path of its own",
        ),
        (
            "https://octopus.example/prefixed/token",
            "another path of its own",
        ),
        (
            "https://octopus.example/prefix/../token",
            "another path of its own",
        ),
        (
            "https://octopus.example/prefix/%2e%2e/token",
            "another path of its own",
        ),
        ("https://octopus.example/prefix", "another path of its own"),
        (
            "https://octopus.example/prefix/token?to=evil",
            "another path of its own",
        ),
        (
            "https://octopus.example/prefix/token#evil",
            "another path of its own",
        ),
        ("//evil.example/prefix/token", "https://evil.example"),
        ("/prefix/token/v1", "another path of its own"),
        ("javascript:alert(1)", "null"),
        ("", "another path of its own"),
    ];
    for (endpoint, told) in table {
        let script = found(endpoint);
        let fault = ask(&client(&script)).await.unwrap_err();
        assert_eq!(fault, Fault::Redirected(told.to_owned()), "{endpoint}");
        assert_eq!(script.requests().len(), 1, "{endpoint}");
    }
    // Nor does it follow a redirect of the right place, or of the document.
    let mut redirect = crate::servers::script::answer(307, "");
    let there = "https://evil.example/token".parse().unwrap();
    redirect.headers_mut().insert("location", there);
    for (script, requests) in [(Script::new(), 1), (found(ENDPOINT), 2)] {
        let script = script.then(Ok(redirect.clone()));
        let fault = ask(&client(&script)).await.unwrap_err();
        let there = Fault::Redirected("https://evil.example".to_owned());
        assert_eq!(fault, there);
        assert_eq!(script.requests().len(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_why_and_nothing_secret() {
    let words = format!("Could not find matching identity. You sent {VOUCHER}.");
    let of_2026 = json!({ "error": "invalid_request", "error_description": words });
    let older = json!({ "ErrorMessage": words, "Errors": [] });
    for body in [of_2026, older] {
        for status in [400, 403] {
            let script = found(ENDPOINT).says(status, &body.to_string());
            let fault = ask(&client(&script)).await.unwrap_err();
            assert_eq!(fault.label(), "no_token");
            let told = fault.to_string();
            assert!(told.contains("Could not find matching identity"), "{told}");
            assert!(!told.contains("CANARY"), "{told}");
        }
    }
    let script = found(ENDPOINT).says(401, "");
    assert_eq!(ask(&client(&script)).await.unwrap_err().label(), "no_token");
    // A server that is too old for it.
    let script = Script::new().error(404, "no such thing");
    let fault = ask(&client(&script)).await.unwrap_err();
    assert!(fault.to_string().contains("since 2023.4"), "{fault}");
    // Nobody vouches for us: nothing is exchanged.
    let script = found(ENDPOINT);
    let fault = ask(&vouched(&script, Somebody(Err("no right")))).await;
    assert_eq!(fault, Err(Fault::NoToken("no right".to_owned())));
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_token_opens_nothing() {
    let with = |name: &str, value: Value| {
        let mut given = given();
        given[name] = value;
        given
    };
    let table = [
        with("access_token", json!("")),
        with("access_token", json!("CANARY token")),
        with("access_token", json!("CANARY\ntoken")),
        with("access_token", json!("CANARY".repeat(3_000))),
        with("access_token", json!(7)),
        with("token_type", json!("mac")),
        with("expires_in", json!(0)),
        with("expires_in", json!(-1)),
        with("expires_in", json!("3600")),
        with("expires_in", json!(86_401)),
        json!({}),
        json!([]),
    ];
    for body in table {
        let script = found(ENDPOINT).json(&body);
        let fault = ask(&client(&script)).await.unwrap_err();
        assert_eq!(fault.label(), "protocol", "{body}");
        assert!(!fault.to_string().contains("CANARY"), "{fault}");
    }
    // A sign-in that nobody answers has done nothing.
    let script = found(ENDPOINT).then(Err(Cut::NoAnswer("cut".to_owned())));
    let fault = ask(&client(&script)).await.unwrap_err();
    assert_eq!(fault.label(), "unreachable");
}
