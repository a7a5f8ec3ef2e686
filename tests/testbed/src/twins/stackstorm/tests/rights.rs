//! Rights (RBAC).

use http::Method;
use serde_json::{Value, json};

use super::{Change, Config, Desk, Grant, Permission, Role, account, fault, said, text};

const PATH: &str = "/api/v1/apikeys";

fn lacks(user: &str, permission: &str) -> String {
    format!("User \"{user}\" doesn't have required permission \"{permission}\"")
}

/// A server with a role that may only make keys, and one that may do all to some key.
fn desk() -> Desk {
    let role = |name: &str, grant: Grant| Role {
        name: name.to_owned(),
        description: format!("Who is a {name}"),
        grants: vec![grant],
    };
    let makes = Grant {
        resource_uid: None,
        permissions: vec![Permission::Create],
    };
    let keeps = Grant {
        resource_uid: Some("api_key:abc".to_owned()),
        permissions: vec![Permission::All],
    };
    Desk::of(&Config {
        rbac: true,
        users: vec![
            account("alice", &["maker"]),
            account("olga", &["observer"]),
            account("kim", &["keeper"]),
        ],
        roles: vec![role("maker", makes), role("keeper", keeps)],
        ..Config::default()
    })
}

/// Signs somebody in from now on.
fn sign_in<'a>(desk: &'a mut Desk, user: &str) -> &'a mut Desk {
    let token = desk.token(user, &format!("{user}'s password"));
    desk.with(&[("X-Auth-Token", &token)])
}

#[test]
fn who_one_is() {
    let mut desk = Desk::strict();
    let start = desk.start();
    for (credential, roles, is_admin) in [
        (&start.admin, json!(["system_admin"]), true),
        (&start.operator, json!(["admin"]), true),
        (&start.bystander, json!([]), false),
    ] {
        let me = desk.with_key(&credential.key).get("/api/v1/user").1;
        let rbac = json!({ "enabled": true, "roles": roles, "is_admin": is_admin });
        assert_eq!(me["rbac"], rbac);
    }
}

#[test]
fn without_a_role_nothing_goes() {
    let mut desk = Desk::strict();
    let start = desk.start();
    let (_, made) = desk.post(PATH, &json!({ "user": "svc", "key_hash": "abc" }));
    let one = format!("{PATH}/{}", text(&made, "/id"));
    desk.with_key(&start.bystander.key);
    let refused = |permission: &str| fault(403, lacks("bystander", permission));
    let on_key = |permission: &str| {
        let text = lacks("bystander", permission);
        fault(403, format!("{text} on resource \"api_key:abc\""))
    };
    assert_eq!(desk.get(PATH), refused("api_key_list"));
    assert_eq!(desk.post(PATH, &json!({})), refused("api_key_create"));
    assert_eq!(desk.get(&one), on_key("api_key_view"));
    assert_eq!(
        desk.put(&one, &json!({ "user": "x" })),
        on_key("api_key_modify")
    );
    assert_eq!(desk.delete(&one), on_key("api_key_delete"));
    let none = format!("{PATH}/nothing");
    assert_eq!(desk.delete(&none).0, 404, "looked for before rights are");
    let (user, role) = ("bystander".to_owned(), "admin".to_owned());
    desk.change(Change::GiveRole {
        user: user.clone(),
        role: role.clone(),
    });
    assert_eq!(desk.get(PATH).0, 200);
    desk.change(Change::TakeRole { user, role });
    assert_eq!(desk.get(PATH).0, 403);
    desk.change(Change::EndRbac);
    assert_eq!(desk.get(PATH).0, 200);
    desk.change(Change::BeginRbac);
    assert_eq!(desk.get(PATH).0, 403);
}

#[test]
fn who_may_make_keys_may_become_anybody_and_not_clean_up() {
    let mut desk = desk();
    sign_in(&mut desk, "alice");
    let (id, key) = desk.key(&json!({ "user": "st2admin" }));
    assert_eq!(desk.who(&key), (200, "st2admin".to_owned()));
    let uid = format!("api_key:{}", desk.st2.whose(&key).unwrap().key_hash);
    let refused = |permission: &str| {
        let text = lacks("alice", permission);
        fault(403, format!("{text} on resource \"{uid}\""))
    };
    let one = format!("{PATH}/{id}");
    assert_eq!(desk.get(&one), refused("api_key_view"));
    assert_eq!(
        desk.put(&one, &json!({ "user": "alice" })),
        refused("api_key_modify")
    );
    assert_eq!(desk.delete(&one), refused("api_key_delete"));
    assert_eq!(desk.get(PATH).0, 403);
    let (own, _) = desk.key(&json!({}));
    assert_eq!(
        desk.delete(&format!("{PATH}/{own}")).0,
        403,
        "not even its own"
    );
    assert_eq!(desk.with_key(&key).delete(&one).0, 204);
}

#[test]
fn observers_see_masked_keys_and_short_pages() {
    let mut desk = desk();
    let (id, _) = desk.key(&json!({ "user": "svc" }));
    sign_in(&mut desk, "olga");
    let keys = desk.get(&format!("{PATH}?show_secrets=true")).1;
    assert_eq!(text(&keys[3], "/key_hash"), "********", "and no error");
    let one = format!("{PATH}/{id}");
    assert_eq!(
        desk.get(&(one.clone() + "?show_secrets=true")).1["uid"],
        "********"
    );
    assert_eq!(desk.delete(&one).0, 403);
    assert_eq!(desk.get(&format!("{PATH}?limit=100")).0, 200);
    let most = "Limit \"1000\" specified, maximum value is \"100\"";
    assert_eq!(desk.get(&format!("{PATH}?limit=1000")), fault(403, most));
    let (status, body) = desk.get(&format!("{PATH}?limit=-1"));
    assert_eq!(status, 403);
    assert!(text(&body, "/faultstring").starts_with("Administrator access required to"));
}

#[test]
fn a_grant_on_one_key() {
    let mut desk = desk();
    let (_, made) = desk.post(PATH, &json!({ "user": "svc", "key_hash": "abc" }));
    let one = format!("{PATH}/{}", text(&made, "/id"));
    sign_in(&mut desk, "kim");
    assert_eq!(desk.get(&one).0, 200);
    assert_eq!(desk.put(&one, &json!({ "user": "kim" })).0, 200);
    assert_eq!(desk.get(PATH).0, 403);
    assert_eq!(desk.post(PATH, &json!({})).0, 403);
    assert_eq!(desk.delete(&one).0, 204);
}

#[test]
fn roles_can_be_read() {
    let mut desk = desk();
    let response = desk.send(Method::GET, "/api/v1/rbac/roles", "");
    assert_eq!(response.headers()["x-total-count"], "5");
    let (_, roles) = said(&response);
    let names: Vec<&str> = roles
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|role| role["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["admin", "keeper", "maker", "observer", "system_admin"]
    );
    let (system, keeper) = (&roles[0], &roles[1]);
    assert_eq!(
        (&system["system"], &keeper["system"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(system["permission_grants"], json!([]));
    let grant = &keeper["permission_grant_objects"][0];
    assert_eq!(keeper["permission_grant_ids"], json!([grant["id"]]));
    assert_eq!(keeper["permission_grants"], keeper["permission_grant_ids"]);
    assert_eq!(grant["resource_uid"], "api_key:abc");
    assert_eq!(grant["resource_type"], "api_key");
    assert_eq!(grant["permission_types"], json!(["api_key_all"]));
    let maker = &roles[2]["permission_grant_objects"][0];
    assert!(maker.get("resource_uid").is_none());
    for place in ["keeper".to_owned(), text(keeper, "/id")] {
        let path = format!("/api/v1/rbac/roles/{place}");
        assert_eq!(desk.get(&path), (200, keeper.clone()));
    }
    assert_eq!(desk.get("/api/v1/rbac/roles/none").0, 404);
    let kinds = desk.get("/api/v1/rbac/permission_types").1;
    assert_eq!(
        kinds["api_key"]["api_key_create"],
        "Ability to create a new API Key."
    );
    let (_, keys) = desk.get("/api/v1/rbac/permission_types/api_key");
    assert_eq!(keys, kinds["api_key"]);
    assert_eq!(keys.as_object().unwrap().len(), 6);
    let none = desk.get("/api/v1/rbac/permission_types/none");
    assert_eq!(none, fault(404, "Invalid resource type: none"));
    assert_eq!(
        desk.post("/api/v1/rbac/roles", &json!({ "name": "x" })).0,
        404
    );
    sign_in(&mut desk, "alice");
    for path in [
        "roles",
        "roles/maker",
        "permission_types",
        "permission_types/api_key",
    ] {
        let refused = desk.get(&format!("/api/v1/rbac/{path}"));
        assert_eq!(refused, fault(403, "Administrator access required"));
    }
}

#[test]
fn assignments_can_be_read_ones_own_too() {
    let mut desk = desk();
    let path = "/api/v1/rbac/role_assignments";
    let all = desk.get(path).1;
    assert_eq!(all.as_array().unwrap().len(), 5);
    let alice = json!({
        "id": all[2]["id"],
        "user": "alice",
        "role": "maker",
        "description": "",
        "is_remote": false,
        "source": "assignments/alice.yaml",
    });
    for query in [
        "user=alice",
        "role=maker",
        "source=assignments/alice.yaml",
        "role=maker&remote=0",
    ] {
        assert_eq!(
            desk.get(&format!("{path}?{query}")).1,
            json!([alice]),
            "{query}"
        );
    }
    assert_eq!(desk.get(&format!("{path}?remote=true")).1, json!([]));
    assert_eq!(desk.post(path, &json!({})).0, 404);
    let of = |assignment: &Value| format!("{path}/{}", text(assignment, "/id"));
    sign_in(&mut desk, "alice");
    assert_eq!(
        desk.get(&format!("{path}?user=alice")),
        (200, json!([alice]))
    );
    assert_eq!(desk.get(&of(&alice)), (200, alice));
    let refused = fault(403, "Administrator or self access required");
    assert_eq!(desk.get(path), refused);
    assert_eq!(desk.get(&format!("{path}?user=olga")), refused);
    assert_eq!(desk.get(&of(&all[3])), refused);
    assert_eq!(desk.get(&format!("{path}/none")).0, 404);
}
