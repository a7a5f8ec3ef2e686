//! API keys.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::{Config, Version};
use super::{Change, Desk, text, words};

#[test]
fn made_shown_once_listed_and_deleted() {
    let mut desk = Desk::new();
    let id = desk.service("svc");
    let path = format!("/api/users/{id}/apikeys");
    let (status, made) = desk.post(&path, &json!({ "Purpose": "first", "UserId": id }));
    assert_eq!(status, 200, "200, not 201");
    let key = text(&made, "/ApiKey");
    assert!(
        key.strip_prefix("API-")
            .unwrap()
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    );
    let one = desk.get(&text(&made, "/Links/Self")).1;
    assert_eq!(one["ApiKey"]["HasValue"], true);
    assert_eq!(one["ApiKey"]["NewValue"], Value::Null);
    assert!(!one.to_string().contains(&key), "never shown again");
    desk.later(SignedDuration::from_secs(1));
    desk.key(&id, &json!({ "Purpose": "second" }));
    let purposes = |page: &Value| -> Vec<String> {
        page["Items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| text(key, "/Purpose"))
            .collect()
    };
    assert_eq!(
        purposes(&desk.get(&path).1),
        ["second", "first"],
        "newest first"
    );
    assert_eq!(
        purposes(&desk.get(&format!("{path}?partialPurpose=FIR")).1),
        ["first"]
    );
    assert_eq!(desk.get(&format!("{path}/v1")).1["ApiKeys"], {
        let mut page = desk.get(&path).1;
        page["Links"] = desk.get(&format!("{path}/v1")).1["ApiKeys"]["Links"].clone();
        page
    });
    assert_eq!(
        desk.with_key(&key).get("/api/users/me").1["Id"],
        id.as_str()
    );
    let admin = desk.start().admin.key;
    let this = text(&made, "/Links/Self");
    assert_eq!(desk.with_key(&admin).delete(&this), (200, json!({})));
    assert_eq!(desk.delete(&this).0, 404);
    assert_eq!(desk.with_key(&key).get("/api/users/me").0, 401);
}

#[test]
fn whose_keys_one_may_touch() {
    let mut desk = Desk::new();
    let start = desk.start();
    let (human, service) = (desk.human("human"), desk.service("service"));
    let (key, _) = desk.key(&service, &json!({}));
    let (status, refused) = desk.post(&format!("/api/users/{human}/apikeys"), &json!({}));
    assert_eq!(status, 403, "not even an administrator");
    assert!(words(&refused).starts_with("You do not have permission to perform this action."));
    let (status, _) = desk.get(&format!("/api/users/{human}/apikeys/{key}"));
    assert_eq!(status, 400, "a key of another user");
    desk.with_key(&start.bystander.key);
    assert_eq!(
        desk.delete(&format!("/api/users/{service}/apikeys/{key}"))
            .0,
        403
    );
    let own = format!("/api/users/{}/apikeys", start.bystander.user);
    assert_eq!(
        desk.post(&own, &json!({})).0,
        200,
        "one's own, without any right"
    );
    let own = format!("/api/users/{}/apikeys", start.admin.user);
    desk.change(Change::ForbidUserKeys);
    assert_eq!(
        desk.with_key(&start.admin.key).post(&own, &json!({})).0,
        400
    );
    assert_eq!(
        desk.post(&format!("/api/users/{service}/apikeys"), &json!({}))
            .0,
        200
    );
    assert_eq!(
        desk.get("/api/authentication").1["UserApiKeysEnabled"],
        false
    );
}

/// What one asks for, and after how many days the key ends: `None` for never.
type Row = (Value, Result<Option<i64>, &'static str>);

fn in_days(days: i64) -> Value {
    json!({ "Expires": (now() + SignedDuration::from_hours(24 * days)).to_string() })
}

fn now() -> Timestamp {
    "2026-11-22T02:00:00Z".parse().unwrap()
}

fn ends(config: &Config, rows: &[Row]) {
    for (body, expected) in rows {
        let mut desk = Desk::of(config);
        let operator = desk.start().operator;
        desk.with_key(&operator.key);
        let path = format!("/api/users/{}/apikeys", operator.user);
        let (status, said) = desk.post(&path, body);
        match expected {
            Ok(days) => {
                assert_eq!(status, 200, "{body}: {said}");
                let end = said["Expires"]
                    .as_str()
                    .map(|end| end.parse::<Timestamp>().unwrap());
                let wanted = days.map(|days| now() + SignedDuration::from_hours(24 * days));
                assert_eq!(end, wanted, "{body}");
            }
            Err(reason) => {
                assert_eq!(status, 400, "{body}: {said}");
                assert!(words(&said).contains(reason), "{said}");
            }
        }
    }
}

#[test]
fn when_a_key_ends() {
    let null = || json!({ "Expires": null });
    ends(
        &Config::default(),
        &[
            (json!({}), Ok(Some(180))),
            (null(), Ok(Some(366))),
            (in_days(10), Ok(Some(10))),
            (in_days(366), Ok(Some(366))),
            (in_days(367), Err("366 days")),
            (in_days(-1), Err("in the future")),
            (json!({ "Expires": "soon" }), Err("not a date")),
            (
                json!({ "Expires": "2026-12-02T02:00:00.000+00:00" }),
                Ok(Some(10)),
            ),
            (
                json!({ "Expires": "2026-12-02T04:00:00.000+02:00" }),
                Ok(Some(10)),
            ),
            (json!({ "Expires": "2026-12-02T02:00:00" }), Ok(Some(10))),
        ],
    );
    let until = now() + SignedDuration::from_hours(24 * 30);
    ends(
        &Config {
            operator_key_expires: Some(until),
            ..Config::default()
        },
        &[
            (json!({}), Ok(Some(30))),
            (null(), Ok(Some(30))),
            (in_days(30), Ok(Some(30))),
            (in_days(31), Err("used to create it")),
        ],
    );
    ends(
        &Config {
            version: Version::new(2025, 3, 1),
            ..Config::default()
        },
        &[
            (json!({}), Ok(Some(180))),
            (null(), Ok(None)),
            (in_days(4000), Ok(Some(4000))),
        ],
    );
    ends(
        &Config {
            version: Version::new(2020, 6, 1),
            ..Config::default()
        },
        &[
            (json!({}), Ok(None)),
            (null(), Ok(None)),
            (in_days(-1), Err("in the future")),
        ],
    );
}

#[test]
fn an_expired_key_stays_listed_and_opens_nothing() {
    let mut desk = Desk::new();
    let id = desk.service("svc");
    let (_, key) = desk.key(&id, &in_days(1));
    desk.later(SignedDuration::from_hours(24));
    assert_eq!(
        desk.get(&format!("/api/users/{id}/apikeys")).1["TotalResults"],
        1
    );
    assert_eq!(desk.with_key(&key).get("/api/users/me").0, 401);
}

#[test]
fn things_that_happen_from_outside() {
    let mut desk = Desk::new();
    let start = desk.start();
    let id = desk.service("svc");
    let (key_id, key) = desk.key(&id, &json!({}));
    let admin = start.admin.key;
    let me = |desk: &mut Desk| {
        let said = desk.with_key(&key).get("/api/users/me");
        desk.with_key(&admin);
        (said.0, said.1["Id"].as_str().map(str::to_owned))
    };
    assert_eq!(me(&mut desk), (200, Some(id.clone())));
    desk.change(Change::Disable { user: "svc".into() });
    assert_eq!(me(&mut desk).0, 401);
    desk.change(Change::Enable { user: "svc".into() });
    desk.change(Change::GiveKey {
        key: key_id.clone(),
        user: "bystander".into(),
    });
    assert_eq!(me(&mut desk), (200, Some(start.bystander.user)));
    desk.change(Change::ExpireKey {
        key: key_id.clone(),
        at: desk.now,
    });
    assert_eq!(me(&mut desk).0, 401);
    desk.change(Change::RevokeKey {
        key: key_id.clone(),
    });
    assert!(desk.octopus.whose(desk.now, &key).is_none());
    let before = desk.get("/api").1["InstallationId"].clone();
    desk.change(Change::Reinstall);
    assert_ne!(desk.get("/api").1["InstallationId"], before);
}

#[test]
fn a_restored_backup_repeats_no_key() {
    use crate::twins::Twin as _;
    let mut desk = Desk::new();
    let id = desk.service("svc");
    let backup = desk.octopus.clone();
    let (first_id, first) = desk.key(&id, &json!({}));
    desk.octopus.restore(backup);
    assert!(
        desk.octopus.whose(desk.now, &first).is_none(),
        "the backup does not know the key"
    );
    let (second_id, second) = desk.key(&id, &json!({}));
    assert_ne!((first_id, first), (second_id, second));
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed: u64| {
        let mut desk = Desk::of(&Config {
            seed,
            ..Config::default()
        });
        let id = desk.service("svc");
        (
            desk.key(&id, &json!({})),
            desk.octopus.installation().to_owned(),
        )
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}
