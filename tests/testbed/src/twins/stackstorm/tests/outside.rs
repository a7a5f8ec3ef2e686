//! What happens from outside, and what oracles see of it.

use serde_json::{Value, json};

use super::super::Life;
use super::{Change, Desk, text};
use crate::twins::Twin as _;

#[test]
fn keys_change_behind_ones_back() {
    let mut desk = Desk::new();
    let (id, text) = desk.key(&json!({ "user": "svc", "metadata": { "a": 1 } }));
    let key = id.clone();
    let seen = |desk: &Desk| desk.st2.everything().key(&id).unwrap().clone();
    let made = seen(&desk);
    assert_eq!((made.owner.as_str(), made.life), ("svc", Life::Alive));
    assert_eq!((made.created, made.enabled), (desk.now, true));
    assert_eq!(desk.st2.whose(&text).as_ref(), Some(&made));
    desk.change(Change::DisableKey { key: key.clone() });
    assert_eq!(seen(&desk).life, Life::Disabled);
    desk.change(Change::EnableKey { key: key.clone() });
    desk.change(Change::GiveKey {
        key: key.clone(),
        user: "new".into(),
    });
    assert_eq!(desk.who(&text), (200, "new".to_owned()));
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    desk.change(Change::BackdateKey {
        key: key.clone(),
        at,
    });
    assert_eq!(seen(&desk).created, at);
    desk.change(Change::Annotate {
        key: key.clone(),
        metadata: json!({ "b": 2 }).as_object().unwrap().clone(),
    });
    let shown = desk.get(&format!("/api/v1/apikeys/{id}")).1;
    assert_eq!(shown["metadata"], json!({ "b": 2 }));
    desk.change(Change::ForgetUser { user: "new".into() });
    assert_eq!(seen(&desk).life, Life::OwnerUnknown);
    desk.change(Change::OverwriteKey { key: key.clone() });
    let after = seen(&desk);
    assert_ne!(
        after.key_hash, made.key_hash,
        "the id stays, the hash does not"
    );
    assert!(after.metadata.is_empty());
    assert_eq!(desk.who(&text).0, 401);
    desk.change(Change::RevokeKey { key });
    assert!(desk.st2.everything().key(&id).is_none());
}

#[test]
fn users_as_oracles_see_them() {
    let mut desk = Desk::strict();
    let seen = |desk: &Desk| desk.st2.view(desk.now).account("svc").cloned();
    assert_eq!(seen(&desk), None);
    desk.change(Change::SetPassword {
        user: "svc".into(),
        password: "x".into(),
    });
    desk.change(Change::GiveRole {
        user: "svc".into(),
        role: "observer".into(),
    });
    let svc = seen(&desk).unwrap();
    assert_eq!(
        (svc.created, svc.has_password, svc.is_service),
        (None, true, false)
    );
    assert_eq!(svc.roles, ["observer"]);
    desk.token("svc", "x");
    desk.change(Change::MakeService { user: "svc".into() });
    let svc = seen(&desk).unwrap();
    assert_eq!(
        (svc.created, svc.is_service),
        (Some(super::super::whole_micros(desk.now)), true)
    );
    let view = serde_json::to_value(desk.st2.view(desk.now)).unwrap();
    assert_eq!(
        (&view["rbac"], &view["keys"][0]["life"]),
        (&json!(true), &json!("alive"))
    );
    let start = desk.start();
    let secrets = [start.admin.key, start.admin.password, start.operator.key];
    for secret in secrets {
        assert!(
            !view.to_string().contains(&secret) && !format!("{:?}", desk.start()).contains(&secret)
        );
    }
}

#[test]
fn changes_are_read_from_json_and_name_what_is_there() {
    let mut desk = Desk::new();
    let mut change = |json: Value| {
        let change: Change = serde_json::from_value(json).unwrap();
        desk.st2
            .change(desk.now, change)
            .map_err(|unknown| unknown.0)
    };
    assert_eq!(change(json!({ "change": "beginRbac" })), Ok(()));
    let none = serde_json::from_value::<Change>(json!({ "change": "none" })).unwrap_err();
    let known = none.to_string().matches('`').count() / 2 - 1;
    let (_, named) = super::super::outside::CHANGES
        .split_once("changes: ")
        .unwrap();
    assert_eq!(named.split_whitespace().count(), known, "{none}");
    for (json, unknown) in [
        (json!({ "change": "revokeKey", "key": "k" }), "key k"),
        (json!({ "change": "overwriteKey", "key": "k" }), "key k"),
        (
            json!({ "change": "giveKey", "key": "k", "user": "u" }),
            "key k",
        ),
        (json!({ "change": "forgetUser", "user": "u" }), "user u"),
        (json!({ "change": "makeService", "user": "u" }), "user u"),
        (json!({ "change": "endTokens", "user": "u" }), "user u"),
        (
            json!({ "change": "giveRole", "user": "u", "role": "r" }),
            "role r",
        ),
        (
            json!({ "change": "takeRole", "user": "st2admin", "role": "admin" }),
            "role admin of st2admin",
        ),
    ] {
        assert_eq!(change(json), Err(unknown.to_owned()));
    }
}

#[test]
fn a_restored_backup_repeats_no_key() {
    let mut desk = Desk::new();
    let backup = desk.st2.clone();
    let first = desk.key(&json!({ "user": "svc" }));
    desk.st2.restore(backup);
    assert!(
        desk.st2.whose(&first.1).is_none(),
        "the backup does not know the key"
    );
    let gone = desk.get(&format!("/api/v1/apikeys/{}", first.0));
    assert_eq!(gone.0, 404, "{}", text(&gone.1, "/faultstring"));
    let second = desk.key(&json!({ "user": "svc" }));
    assert!(first.0 != second.0 && first.1 != second.1);
}
