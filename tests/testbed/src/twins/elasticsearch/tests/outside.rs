//! What happens from outside, and what an oracle sees.

use jiff::SignedDuration;
use serde_json::json;

use super::super::Life;
use super::{Change, Desk};
use crate::twins::{Twin as _, Unknown};

#[test]
fn keys_end_move_and_are_forgotten() {
    let mut desk = Desk::new();
    let holder = desk.start().holder;
    let key = desk
        .as_user(&holder)
        .mint(&json!({ "name": "k", "metadata": { "by": "us" } }));
    desk.as_admin();
    let id = key.id.clone();
    let seen = |desk: &Desk| desk.view().keys[0].clone();
    assert_eq!(seen(&desk).life, Life::Alive);
    assert_eq!(seen(&desk).owner, "holder");
    assert_eq!(seen(&desk).realm, "default_native");
    assert_eq!(seen(&desk).metadata["by"], "us");
    assert_eq!(desk.server.whose(desk.now, &key.encoded), Some(seen(&desk)));

    let at = desk.now + SignedDuration::from_hours(1);
    desk.change(Change::ExpireKey {
        key: id.clone(),
        at,
    });
    assert_eq!(desk.opens(&key), 200);
    desk.later(SignedDuration::from_hours(1));
    assert_eq!(desk.opens(&key), 401);
    assert_eq!(seen(&desk).life, Life::Expired);

    desk.change(Change::RevokeKey { key: id.clone() });
    assert_eq!(seen(&desk).life, Life::Invalidated);
    assert_eq!(seen(&desk).invalidated, Some(desk.now));
    let (status, listed) = desk.get(&format!("/_security/api_key?id={id}"));
    assert_eq!(
        (status, &listed["api_keys"][0]["invalidated"]),
        (200, &json!(true))
    );

    desk.change(Change::ForgetKey { key: id.clone() });
    assert_eq!(desk.get(&format!("/_security/api_key?id={id}")).0, 404);
    let gone = desk
        .server
        .change(desk.now, Change::RevokeKey { key: id.clone() });
    assert_eq!(gone, Err(Unknown(format!("key {id}"))));
}

#[test]
fn a_key_changes_hands() {
    let mut desk = Desk::new();
    let key = desk.mint(&json!({ "name": "k" }));
    desk.change(Change::GiveKey {
        key: key.id.clone(),
        user: "holder".into(),
    });
    let (_, me) = desk.as_key(&key).get("/_security/_authenticate");
    assert_eq!(me["username"], "holder");
    let at = desk.now - SignedDuration::from_hours(48);
    desk.change(Change::BackdateKey { key: key.id, at });
    assert_eq!(desk.view().keys[0].created, at);
    assert_eq!(desk.view().keys_of("holder").count(), 1);
}

#[test]
fn accounts_stop_and_go_and_their_keys_stay() {
    let mut desk = Desk::new();
    let holder = desk.start().holder;
    let key = desk.as_user(&holder).mint(&json!({ "name": "k" }));
    let user = || "holder".to_owned();
    desk.change(Change::Disable { user: user() });
    assert_eq!(desk.get("/_security/_authenticate").0, 401);
    assert_eq!(desk.opens(&key), 200, "a key does not ask for its owner");
    assert!(!desk.view().account("holder").unwrap().is_active);
    desk.change(Change::Enable { user: user() });
    assert_eq!(desk.get("/_security/_authenticate").0, 200);
    desk.change(Change::Roles {
        user: user(),
        roles: vec!["superuser".into()],
    });
    assert_eq!(desk.get("/_security/user").0, 200);
    desk.change(Change::Password {
        user: user(),
        password: "another-one".into(),
    });
    assert_eq!(desk.get("/_security/_authenticate").0, 401);
    desk.change(Change::Delete { user: user() });
    assert!(desk.view().account("holder").is_none());
    assert_eq!(desk.opens(&key), 200);
    let gone = desk
        .server
        .change(desk.now, Change::Enable { user: user() });
    assert_eq!(gone, Err(Unknown("user holder".into())));
}

#[test]
fn another_cluster_has_another_id() {
    let mut desk = Desk::new();
    let before = desk.get("/").1["cluster_uuid"].clone();
    assert_eq!(before, desk.view().installation.as_str());
    desk.change(Change::Reinstall);
    assert_ne!(desk.get("/").1["cluster_uuid"], before);
}

#[test]
fn a_change_reads_well_as_json_and_tells_no_password() {
    let change: Change =
        serde_json::from_str(r#"{"change":"password","user":"u","password":"a-canary"}"#).unwrap();
    assert!(!format!("{change:?}").contains("a-canary"));
    let change: Change = serde_json::from_str(r#"{"change":"revokeKey","key":"k"}"#).unwrap();
    assert_eq!(change, Change::RevokeKey { key: "k".into() });
}
