//! Keys in the course of time.

use jiff::SignedDuration;
use serde_json::json;

use super::{Desk, reason, text};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

#[test]
fn a_key_works_until_the_moment_of_its_end() {
    let mut desk = Desk::new();
    let key = desk.mint(&json!({ "name": "k", "expiration": "1h" }));
    desk.later(HOUR - SignedDuration::from_millis(1));
    assert_eq!(desk.opens(&key), 200);
    desk.later(SignedDuration::from_millis(1));
    assert_eq!(desk.opens(&key), 401);
    let (_, listed) = desk.get(&format!("/_security/api_key?id={}", key.id));
    assert_eq!(listed["api_keys"][0]["invalidated"], false, "only expired");
    assert_eq!(
        desk.end(&key),
        json!([key.id]),
        "what is expired can be ended"
    );
}

#[test]
fn ends_in_every_unit() {
    for (text, millis) in [
        ("1d", 86_400_000),
        ("2h", 7_200_000),
        ("3m", 180_000),
        ("4s", 4_000),
        ("5ms", 5),
        ("6000micros", 6),
        ("7000000nanos", 7),
        ("1 H", 3_600_000),
        ("0", 0),
        ("-1", -1),
    ] {
        let mut desk = Desk::new();
        let wish = json!({ "name": "k", "expiration": text });
        let (_, made) = desk.post("/_security/api_key", &wish);
        let end = made["expiration"].as_i64().unwrap();
        assert_eq!(end - desk.now.as_millisecond(), millis, "{text}");
    }
}

#[test]
fn an_update_counts_its_end_from_now_and_cannot_take_it_away() {
    let mut desk = Desk::new();
    let key = desk.mint(&json!({ "name": "k", "expiration": "1h" }));
    desk.later(HOUR / 2);
    let path = format!("/_security/api_key/{}", key.id);
    assert_eq!(
        desk.put(&path, &json!({ "expiration": "1h" })).1["updated"],
        true
    );
    desk.later(HOUR * 3 / 4);
    assert_eq!(desk.opens(&key), 200);
    assert_eq!(desk.put(&path, &json!({ "expiration": null })).0, 400);
    desk.later(HOUR);
    assert_eq!(desk.put(&path, &json!({})).0, 400, "it is over");
}

#[test]
fn what_has_ended_is_listed_for_a_week_and_forgotten_when_something_ends() {
    let mut desk = Desk::new();
    let ended = desk.mint(&json!({ "name": "ended" }));
    let over = desk.mint(&json!({ "name": "over", "expiration": "1h" }));
    assert_eq!(desk.end(&ended), json!([ended.id]));
    assert_eq!(desk.end(&ended), json!([]), "once is enough");
    let listed = |desk: &mut Desk| {
        let (_, found) = desk.get("/_security/api_key");
        found["api_keys"].as_array().unwrap().len()
    };
    desk.later(DAY * 7 + HOUR);
    assert_eq!(listed(&mut desk), 2, "nobody has ended anything since");
    let other = desk.mint(&json!({ "name": "other" }));
    desk.end(&other);
    assert_eq!(listed(&mut desk), 1, "the one that has just ended");
    for key in [&ended, &over] {
        let path = format!("/_security/api_key?id={}", key.id);
        assert_eq!(desk.get(&path), (404, json!({ "api_keys": [] })));
    }
    let (_, refused) = desk.as_key(&ended).get("/_security/_authenticate");
    let why = text(&refused, "/error/additional_unsuccessful_credentials");
    assert!(why.contains("unable to find apikey"), "{why}");
}

#[test]
fn old_keys_are_forgotten_once_a_day_at_most() {
    let mut desk = Desk::new();
    let (one, other) = (
        desk.mint(&json!({ "name": "a" })),
        desk.mint(&json!({ "name": "b" })),
    );
    desk.end(&one);
    desk.later(DAY * 7 - HOUR);
    desk.end(&other);
    assert_eq!(desk.view().keys.len(), 2);
    desk.later(HOUR * 2);
    let third = desk.mint(&json!({ "name": "c" }));
    desk.end(&third);
    assert_eq!(desk.view().keys.len(), 3, "it was done an hour ago");
}

#[test]
fn a_key_keeps_the_rights_that_its_owner_had() {
    let mut desk = Desk::new();
    let holder = desk.start().holder;
    let key = desk.as_user(&holder).mint(&json!({ "name": "k" }));
    assert_eq!(desk.as_key(&key).get("/").0, 200);
    desk.as_admin();
    desk.put(
        "/_security/role/own_keys",
        &json!({ "cluster": ["manage_own_api_key"] }),
    );
    assert_eq!(desk.as_key(&key).get("/").0, 200, "as before");
    let path = format!("/_security/api_key/{}", key.id);
    assert_eq!(
        desk.as_user(&holder).put(&path, &json!({})).1["updated"],
        true
    );
    assert_eq!(desk.as_key(&key).get("/").0, 403, "as the owner now");
}

#[test]
fn a_restored_backup_repeats_no_key() {
    use crate::twins::Twin as _;
    let mut desk = Desk::new();
    let backup = desk.server.clone();
    let first = desk.mint(&json!({ "name": "k" }));
    desk.server.restore(backup);
    assert!(desk.server.whose(desk.now, &first.encoded).is_none());
    let second = desk.mint(&json!({ "name": "k" }));
    assert_ne!((&first.id, &first.secret), (&second.id, &second.secret));
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed: u64| {
        let mut desk = Desk::of(&super::Config {
            seed,
            ..super::Config::default()
        });
        let key = desk.mint(&json!({ "name": "k" }));
        (key, desk.server.installation().to_owned())
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

#[test]
fn nobody_but_the_owner_updates_not_even_by_the_same_name() {
    let mut desk = Desk::new();
    let holder = desk.start().holder;
    let key = desk.as_user(&holder).mint(&json!({ "name": "k" }));
    let path = format!("/_security/api_key/{}", key.id);
    let (status, refused) = desk
        .as_admin()
        .put(&path, &json!({ "metadata": { "a": 1 } }));
    assert_eq!(status, 404);
    assert!(reason(&refused).starts_with("no API key owned by requesting user"));
}
