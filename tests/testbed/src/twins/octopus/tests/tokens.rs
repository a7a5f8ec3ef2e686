//! Service account identities and the token exchange.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Desk, said, text};

fn jwt(claims: &Value) -> String {
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn exchange(desk: &mut Desk, audience: &str, claims: &Value) -> (u16, Value) {
    desk.with(&[]).post(
        "/token/v1",
        &json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": jwt(claims),
        }),
    )
}

/// A service account with one identity; gives its user id and its GUID.
fn account(desk: &mut Desk, identity: &Value) -> (String, String) {
    let id = desk.service("svc");
    let path = format!("/api/serviceaccounts/{id}/oidcidentities");
    let (status, made) = desk.post(&format!("{path}/create/v1"), identity);
    assert_eq!(status, 201, "{made}");
    let list = desk.get(&format!("{path}/v1?skip=0&take=30")).1;
    assert_eq!(
        (&list["Count"], &list["OidcIdentities"][0]["Id"]),
        (&json!(1), &made["Id"])
    );
    (id, text(&list, "/ExternalId"))
}

#[test]
fn the_life_of_an_identity() {
    let mut desk = Desk::new();
    let wish = json!({ "Name": "n", "Issuer": "https://issuer.test", "Subject": "s" });
    let (id, _) = account(&mut desk, &wish);
    let path = format!("/api/serviceaccounts/{id}/oidcidentities");
    let one = format!("{path}/ServiceAccountOidcIdentitys-1/v1");
    assert!(desk.get(&one).1.get("Audience").is_none());
    let changed =
        json!({ "Name": "m", "Issuer": "https://issuer.test", "Subject": "s", "Audience": "a" });
    assert_eq!(desk.put(&one, &changed), (200, json!({})));
    assert_eq!(desk.get(&one).1["Audience"], "a");
    assert_eq!(
        desk.get(&format!("{path}/v1")).0,
        400,
        "skip and take are required"
    );
    let long = json!({ "Name": "x".repeat(201), "Issuer": "i", "Subject": "s" });
    assert_eq!(desk.post(&format!("{path}/create/v1"), &long).0, 400);
    assert_eq!(
        desk.get("/api/serviceaccounts/Users-1/oidcidentities/v1?skip=0&take=1")
            .0,
        400
    );
    assert_eq!(desk.delete(&one), (200, json!({})));
    assert_eq!(desk.get(&one).0, 404);
}

#[test]
fn which_tokens_are_exchanged() {
    let identity =
        json!({ "Name": "n", "Issuer": "https://issuer.test", "Subject": "repo:a/*:ref:?" });
    let good = |guid: &str| json!({ "iss": "https://issuer.test", "sub": "repo:a/b:ref:1", "aud": guid, "exp": 4_000_000_000_i64 });
    let with = |claims: Value, name: &str, value: Value| {
        let mut claims = claims;
        claims[name] = value;
        claims
    };
    let mut desk = Desk::new();
    let (_, guid) = account(&mut desk, &identity);
    let table = [
        ("as it should be", good(&guid), 200),
        (
            "one of several audiences",
            with(good(&guid), "aud", json!(["x", guid])),
            200,
        ),
        (
            "issuer",
            with(good(&guid), "iss", json!("https://issuer.test/")),
            400,
        ),
        (
            "subject",
            with(good(&guid), "sub", json!("repo:A/b:ref:1")),
            400,
        ),
        (
            "wildcard of one",
            with(good(&guid), "sub", json!("repo:a/b:ref:12")),
            400,
        ),
        ("audience", with(good(&guid), "aud", json!("x")), 400),
        ("too old", with(good(&guid), "exp", json!(1)), 400),
    ];
    for (what, claims, status) in table {
        let (got, said) = exchange(&mut desk, &guid, &claims);
        assert_eq!(got, status, "{what}: {said}");
        if status == 400 {
            assert_eq!(said["error"], "invalid_request");
        }
    }
    assert_eq!(exchange(&mut desk, "no-such-account", &good(&guid)).0, 400);
}

#[test]
fn a_token_opens_the_door_for_an_hour_and_dies_with_its_account() {
    let mut desk = Desk::new();
    let identity =
        json!({ "Name": "n", "Issuer": "https://issuer.test", "Subject": "s", "Audience": "own" });
    let (id, guid) = account(&mut desk, &identity);
    let claims =
        json!({ "iss": "https://issuer.test", "sub": "s", "aud": "own", "exp": 4_000_000_000_i64 });
    let (_, said_in) = exchange(&mut desk, &guid, &claims);
    assert_eq!(said_in["expires_in"], 3600);
    let bearer = format!("Bearer {}", text(&said_in, "/access_token"));
    desk.with(&[("Authorization", &bearer)]);
    assert_eq!(desk.get("/api/users/me").1["Id"], id.as_str());
    let own = format!("/api/users/{id}/apikeys");
    assert_eq!(
        desk.post(&own, &json!({})).0,
        200,
        "a token may make keys for its own account"
    );
    desk.later(SignedDuration::from_hours(1));
    assert_eq!(desk.get("/api/users/me").0, 401);
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&audience={guid}&\
         subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&subject_token={}",
        jwt(&claims)
    );
    desk.with(&[("Content-Type", "application/x-www-form-urlencoded")]);
    let answer = said(&desk.send(Method::POST, "/api/token/v1", form));
    assert_eq!(answer.0, 200, "{}", answer.1);
    let admin = desk.start().admin.key;
    desk.with_key(&admin).delete(&format!("/api/users/{id}"));
    let bearer = format!("Bearer {}", text(&answer.1, "/access_token"));
    assert_eq!(
        desk.with(&[("Authorization", &bearer)])
            .get("/api/users/me")
            .0,
        401
    );
}

#[test]
fn an_access_token_of_ones_own() {
    let mut desk = Desk::new();
    let (status, made) = desk.post("/api/users/access-token", &json!({}));
    assert_eq!(status, 200);
    let bearer = format!("Bearer {}", text(&made, "/AccessToken"));
    assert_eq!(
        desk.with(&[("Authorization", &bearer)])
            .get("/api/users/me")
            .1["Username"],
        "admin"
    );
}
