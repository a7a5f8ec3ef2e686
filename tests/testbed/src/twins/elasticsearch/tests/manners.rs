//! Headers, prefixes, versions, licences; and what the journal says.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Config, Desk, Elasticsearch, said};
use crate::elasticsearch::License;
use crate::twins::elasticsearch::Version;
use crate::twins::{Effect, Twin};

#[test]
fn a_prefix_is_where_the_server_is() {
    let mut desk = Desk::of(&Config {
        prefix: "/search/".to_owned(),
        ..Config::default()
    });
    assert_eq!(desk.get("/search").0, 200);
    assert_eq!(desk.get("/search/_security/_authenticate").0, 200);
    assert_eq!(desk.get("/_security/_authenticate").0, 400);
    assert_eq!(desk.get("/searching/_security/_authenticate").0, 400);
}

#[test]
fn a_newer_server_speaks_to_newer_clients() {
    let mut desk = Desk::of(&Config {
        version: Version::new(9, 1, 0),
        ..Config::default()
    });
    let password = desk.start().admin.password;
    let accept =
        |version: u32| format!("application/vnd.elasticsearch+json; compatible-with={version}");
    for (version, status) in [(7, 400), (8, 200), (9, 200), (10, 400)] {
        let (auth, accept) = (super::basic("elastic", &password), accept(version));
        desk.with(&[("authorization", &auth), ("accept", &accept)]);
        assert_eq!(desk.get("/").0, status, "{version}");
    }
}

#[test]
fn with_a_trial_there_is_a_third_way_in() {
    let mut desk = Desk::of(&Config {
        license: License::Trial,
        ..Config::default()
    });
    assert_eq!(desk.get("/_license").1["license"]["type"], "trial");
    let refused = desk.with(&[]).send(Method::GET, "/", "");
    assert_eq!(
        refused.headers().get_all("www-authenticate").iter().count(),
        3
    );
}

#[test]
fn only_who_was_let_in_hears_the_product() {
    let mut desk = Desk::new();
    for (path, product) in [
        ("/", true),
        ("/_security/user/nobody", true),
        ("/a/b", true),
    ] {
        let answer = desk.send(Method::GET, path, "");
        assert_eq!(
            answer.headers().contains_key("x-elastic-product"),
            product,
            "{path}"
        );
    }
    let bystander = desk.start().bystander;
    let refused = desk.as_user(&bystander).send(Method::GET, "/", "");
    assert_eq!(refused.status(), 403);
    assert!(!refused.headers().contains_key("x-elastic-product"));
    let refused = desk.with(&[]).send(Method::GET, "/", "");
    assert!(!refused.headers().contains_key("x-elastic-product"));
}

#[test]
fn head_and_options() {
    let mut desk = Desk::new();
    let head = desk.send(Method::HEAD, "/", "");
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    let head = desk.send(Method::HEAD, "/_security/_authenticate", "");
    assert_eq!(head.status(), 405);
    let options = desk.send(Method::OPTIONS, "/_security/api_key", "");
    assert_eq!(options.status(), 200);
    assert_eq!(options.headers()["allow"], "GET,POST,PUT,DELETE");
}

#[test]
fn what_the_server_itself_would_say() {
    let server = Elasticsearch::new(&Config::default());
    let now = "2026-11-22T02:00:00Z".parse().unwrap();
    for (status, kind) in [
        (StatusCode::TOO_MANY_REQUESTS, "circuit_breaking_exception"),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable_shards_exception",
        ),
        (StatusCode::INTERNAL_SERVER_ERROR, "illegal_state_exception"),
    ] {
        let (code, body) = said(&server.refusal(now, status));
        assert_eq!(
            (code, &body["error"]["type"]),
            (status.as_u16(), &json!(kind))
        );
        assert_eq!(body["status"], status.as_u16());
    }
}

#[test]
fn what_requests_are() {
    let desk = Desk::new();
    let sort = |method: Method, path: &str| {
        let sort = Twin::sort(&desk.server, &desk.request(method, path, ""));
        (sort.template, sort.effect, sort.account)
    };
    let holder = Some("holder".to_owned());
    let user = "/_security/user/{name}";
    for (method, path, wanted) in [
        (
            Method::POST,
            "/_security/api_key",
            ("/_security/api_key", Effect::Mint, None),
        ),
        (
            Method::PUT,
            "/_security/api_key",
            ("/_security/api_key", Effect::Mint, None),
        ),
        (
            Method::POST,
            "/_security/api_key/grant",
            ("/_security/api_key/grant", Effect::Mint, None),
        ),
        (
            Method::PUT,
            "/_security/api_key/abc",
            ("/_security/api_key/{id}", Effect::Write, None),
        ),
        (
            Method::GET,
            "/_security/api_key?id=a",
            ("/_security/api_key", Effect::ListKeys, None),
        ),
        (
            Method::POST,
            "/_security/_query/api_key",
            ("/_security/_query/api_key", Effect::ListKeys, None),
        ),
        (
            Method::DELETE,
            "/_security/api_key",
            ("/_security/api_key", Effect::Revoke, None),
        ),
        (
            Method::PUT,
            "/_security/user/new",
            (user, Effect::MakeAccount, Some("new".to_owned())),
        ),
        (
            Method::PUT,
            "/_security/user/holder",
            (user, Effect::ChangeAccount, holder.clone()),
        ),
        (
            Method::DELETE,
            "/_security/user/holder",
            (user, Effect::EndAccount, holder),
        ),
        (
            Method::GET,
            "/_security/user/_has_privileges",
            ("/_security/user/_has_privileges", Effect::Look, None),
        ),
        (Method::GET, "/_nowhere", ("?", Effect::Nothing, None)),
    ] {
        assert_eq!(sort(method, path), wanted, "{path}");
    }
}

#[tokio::test]
async fn nothing_secret_is_in_the_journal() {
    use crate::twins::Door;
    let mut desk = Desk::new();
    let admin = desk.start().admin.password;
    let key = desk.mint(&json!({ "name": "k" }));
    let door = Door::live(desk.server.clone());
    let user = json!({ "password": "a-canary-password", "roles": [] }).to_string();
    let put = desk.request(Method::PUT, "/_security/user/new", &user);
    assert_eq!(door.send(put).await.unwrap().status(), 200);
    let grant = json!({ "grant_type": "password", "username": "new", "password": "a-canary-password", "api_key": { "name": "g" } });
    let grant = desk.request(Method::POST, "/_security/api_key/grant", &grant.to_string());
    let granted = said(&door.send(grant).await.unwrap()).1;
    desk.as_key(&key);
    let me = desk.request(Method::GET, "/_security/_authenticate", "");
    assert_eq!(door.send(me).await.unwrap().status(), 200);
    let journal = serde_json::to_string(&door.journal()).unwrap();
    let told = format!("{journal} {:?}", door.backup());
    let secret = granted["api_key"].as_str().unwrap();
    for secret in [
        secret,
        "a-canary-password",
        &admin,
        &key.secret,
        &key.encoded,
    ] {
        assert!(!told.contains(secret), "{secret}");
    }
    assert_eq!(
        (door.done(Effect::Mint), door.done(Effect::MakeAccount)),
        (1, 1)
    );
    assert_eq!(
        door.journal().last().unwrap().key.as_deref(),
        Some(key.id.as_str())
    );
}
