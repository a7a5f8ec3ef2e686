//! The first accounts, and what each may do.

use http::Method;
use serde_json::json;

use super::{Desk, basic};

#[test]
fn what_the_first_accounts_may_do() {
    let mut desk = Desk::new();
    let start = desk.start();
    let ask = json!({ "cluster": ["manage_security", "manage_api_key", "grant_api_key", "manage_own_api_key", "monitor"] });
    for (who, held) in [
        (&start.admin, [true, true, true, true, true]),
        (&start.operator, [true, true, true, true, true]),
        (&start.holder, [false, false, false, true, true]),
        (&start.bystander, [false, false, false, false, false]),
    ] {
        let (status, said) = desk
            .as_user(who)
            .post("/_security/user/_has_privileges", &ask);
        assert_eq!(status, 200, "{who:?}");
        let names = ask["cluster"].as_array().unwrap();
        for (name, held) in names.iter().zip(held) {
            assert_eq!(
                said["cluster"][name.as_str().unwrap()],
                held,
                "{who:?} {name}"
            );
        }
    }
}

#[test]
fn the_operator_makes_accounts_and_keys_for_them_without_their_passwords() {
    let mut desk = Desk::new();
    let operator = desk.start().operator;
    desk.as_user(&operator);
    let user =
        json!({ "roles": ["no such role"], "password": "a-long-one", "metadata": { "by": "us" } });
    assert_eq!(
        desk.put("/_security/user/svc", &user),
        (200, json!({ "created": true }))
    );
    let grant = json!({
        "grant_type": "password",
        "username": operator.username,
        "password": operator.password,
        "run_as": "svc",
        "api_key": { "name": "granted" },
    });
    let (status, made) = desk.post("/_security/api_key/grant", &grant);
    assert_eq!(status, 200, "{made}");
    let as_svc = [
        (
            "authorization",
            basic(&operator.username, &operator.password),
        ),
        ("es-security-runas-user", "svc".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = as_svc.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let id = made["id"].as_str().unwrap();
    let (_, updated) = desk.with(&headers).put(
        &format!("/_security/api_key/{id}"),
        &json!({ "metadata": { "a": "b" } }),
    );
    assert_eq!(
        updated["error"]["type"], "security_exception",
        "its own right it has not"
    );
    let (_, me) = desk.get("/_security/_authenticate");
    assert_eq!(me["username"], "svc");
}

#[test]
fn a_new_password_holds_at_once() {
    let mut desk = Desk::new();
    let holder = desk.start().holder;
    let said = desk.put(
        "/_security/user/holder/_password",
        &json!({ "password": "another-one" }),
    );
    assert_eq!(said, (200, json!({})));
    assert_eq!(desk.as_user(&holder).get("/_security/_authenticate").0, 401);
    desk.with(&[("authorization", &basic("holder", "another-one"))]);
    assert_eq!(desk.get("/_security/_authenticate").0, 200);
}

#[test]
fn who_has_no_password_cannot_sign_in() {
    let mut desk = Desk::new();
    desk.with(&[("authorization", &basic("kibana_system", ""))]);
    assert_eq!(desk.get("/").0, 401);
}

#[test]
fn an_account_made_again_has_its_old_keys() {
    let mut desk = Desk::new();
    let holder = desk.start().holder;
    let key = desk.as_user(&holder).mint(&json!({ "name": "k" }));
    desk.as_admin();
    assert_eq!(
        desk.send(Method::DELETE, "/_security/user/holder", "")
            .status(),
        200
    );
    assert_eq!(desk.opens(&key), 200, "it outlives its owner");
    let user = json!({ "password": holder.password, "roles": ["own_keys"] });
    desk.put("/_security/user/holder", &user);
    let (_, own) = desk.as_user(&holder).get("/_security/api_key?owner=true");
    assert_eq!(own["api_keys"][0]["id"], key.id.as_str());
}
