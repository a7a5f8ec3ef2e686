//! API keys.

use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::{Desk, fault, said, text};

const PATH: &str = "/api/v1/apikeys";

fn of(id: &str) -> String {
    format!("{PATH}/{id}")
}

/// The hash of a key, as anybody can make it who knows the server.
fn hash(key: &str) -> String {
    let digest = Sha512::digest(format!("saltnpepper{key}"));
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

#[test]
fn made_shown_once_listed_and_deleted() {
    let mut desk = Desk::new();
    let wish = json!({ "user": "svc", "metadata": { "a.b": { "c": [1, null] } } });
    let (status, made) = desk.post(PATH, &wish);
    assert_eq!(status, 201);
    let (id, key) = (text(&made, "/id"), text(&made, "/key"));
    assert_eq!((id.len(), key.len()), (24, 86));
    let shown = json!({
        "id": id,
        "uid": format!("api_key:{}", hash(&key)),
        "user": "svc",
        "metadata": wish["metadata"],
        "created_at": "2026-11-22T02:00:00.123456Z",
        "enabled": true,
        "key": key,
    });
    assert_eq!(made, shown, "the uid in clear, no key_hash");
    let mut masked = shown.clone();
    masked.as_object_mut().unwrap().remove("key");
    let mut clear = masked.clone();
    masked["uid"] = json!("********");
    masked["key_hash"] = json!("********");
    clear["key_hash"] = json!(hash(&key));
    for place in [&id, &key, &id.to_uppercase()] {
        assert_eq!(desk.get(&of(place)), (200, masked.clone()));
        let path = of(place) + "?show_secrets=1";
        assert_eq!(desk.get(&path), (200, clear.clone()));
    }
    assert_eq!(desk.get(PATH).1[3], masked);
    assert_eq!(desk.with_key(&key).get("/api/v1/user").1["username"], "svc");
    assert_eq!(desk.delete(&of(&key)), (204, Value::Null), "it ends itself");
    let admin = desk.start().admin.key;
    desk.with_key(&admin);
    let gone = format!("ApiKey with key or id={id} not found.");
    assert_eq!(desk.delete(&of(&id)), fault(404, &gone));
    assert_eq!(
        desk.put(&of(&id), &json!({ "user": "svc" })),
        fault(404, &gone)
    );
    let gone = format!("ApiKey matching {id} for reference and id not found.");
    assert_eq!(desk.get(&of(&id)), fault(404, gone));
}

#[test]
fn each_post_makes_another_and_users_on_the_way() {
    let mut desk = Desk::new();
    let bystander = desk.start().bystander;
    desk.with_key(&bystander.key);
    for wish in [json!({}), json!({ "user": "" })] {
        assert_eq!(
            desk.post(PATH, &wish).1["user"],
            "bystander",
            "the caller's own"
        );
    }
    let (first, second) = (desk.key(&json!({})), desk.key(&json!({})));
    assert!(first.0 != second.0 && first.1 != second.1);
    let (_, key) = desk.key(&json!({ "user": "a b/ü" }));
    assert_eq!(
        desk.who(&key),
        (200, "a b/ü".to_owned()),
        "any name will do"
    );
    let (_, made) = desk.post(PATH, &json!({ "enabled": false }));
    assert_eq!(made["enabled"], false);
    assert_eq!(desk.who(&text(&made, "/key")).0, 401);
}

#[test]
fn what_is_no_key() {
    let mut desk = Desk::new();
    let date = "created_at";
    let pattern = r"^\\d{4}\\-\\d{2}\\-\\d{2}(\\s|T)\\d{2}:\\d{2}:\\d{2}(\\.\\d{3,6})?(Z|\\+00|\\+0000|\\+00:00)$";
    let unexpected = "Additional properties are not allowed";
    for (body, words) in [
        (
            json!({ "user": null }),
            "None is not of type 'string'".to_owned(),
        ),
        (json!({ "user": 5 }), "5 is not of type 'string'".to_owned()),
        (
            json!({ "metadata": [] }),
            "[] is not of type 'object'".to_owned(),
        ),
        (
            json!({ "enabled": "no" }),
            "'no' is not of type 'boolean'".to_owned(),
        ),
        (
            json!({ "key": "x" }),
            format!("{unexpected} ('key' was unexpected)"),
        ),
        (
            json!({ "expires": 1, "name": "n" }),
            format!("{unexpected} ('expires', 'name' were unexpected)"),
        ),
        (
            json!({ date: "soon" }),
            format!("'soon' does not match '{pattern}'"),
        ),
        (
            json!({ "id": "x" }),
            "ValidationError (ApiKeyDB:x) (Invalid ObjectID: ['id'])".to_owned(),
        ),
    ] {
        assert_eq!(desk.post(PATH, &body), fault(400, words), "{body}");
    }
    for (at, status) in [
        ("2026-11-22T02:00:00Z", 201),
        ("2026-11-22 02:00:00.123+00:00", 201),
        ("2026-11-22T02:00:00.12Z", 400),
        ("2026-11-22T02:00:00", 400),
        ("2026-11-22T02:00:00+01:00", 400),
    ] {
        assert_eq!(desk.post(PATH, &json!({ date: at })).0, status, "{at}");
    }
    for metadata in [json!({ "$a": 1 }), json!({ "a": { "$b": 1 } })] {
        let (status, body) = desk.post(PATH, &json!({ "user": "new", "metadata": metadata }));
        assert_eq!(status, 400);
        assert!(
            text(&body, "/faultstring").ends_with("['metadata'])"),
            "{body}"
        );
    }
    let view = desk.st2.everything();
    assert!(
        view.account("new").is_some(),
        "registered by the mere attempt"
    );
    assert_eq!(view.keys_of("new").count(), 0);
}

#[test]
fn a_hash_of_ones_own() {
    let mut desk = Desk::new();
    let wish = json!({ "user": "svc", "key_hash": hash("mine"), "enabled": true });
    let (status, made) = desk.post(PATH, &wish);
    assert_eq!((status, &made["key"]), (201, &Value::Null));
    assert_eq!(desk.who("mine"), (200, "svc".to_owned()));
    let (status, body) = desk.post(PATH, &wish);
    assert_eq!((status, &body["conflict-id"]), (409, &Value::Null));
    let words = "Tried to save duplicate unique keys (E11000 ";
    assert!(text(&body, "/faultstring").starts_with(words), "{body}");
    assert_eq!(desk.st2.everything().keys_of("svc").count(), 1);
    let (_, made) = desk.post(PATH, &json!({ "key_hash": "" }));
    assert_eq!(text(&made, "/key").len(), 86, "an empty one counts as none");
}

#[test]
fn an_id_of_ones_own_overwrites() {
    let mut desk = Desk::new();
    let (id, old) = desk.key(&json!({ "user": "svc", "metadata": { "a": 1 } }));
    desk.later(SignedDuration::from_secs(9));
    let (status, made) = desk.post(PATH, &json!({ "id": id, "user": "other" }));
    assert_eq!((status, &made["metadata"]), (201, &json!({})));
    assert_eq!(made["created_at"], "2026-11-22T02:00:09.123456Z");
    assert_eq!(made["id"], id.as_str());
    assert_eq!(desk.who(&old).0, 401, "the old key stops");
    assert_eq!(desk.who(&text(&made, "/key")), (200, "other".to_owned()));
    assert_eq!(desk.get(PATH).1.as_array().unwrap().len(), 4);
    let id = "0123456789abcdef01234567";
    let loaded = json!({ "id": id, "user": "svc", "key_hash": hash("loaded") });
    assert_eq!(
        desk.post(PATH, &loaded).1["id"],
        id,
        "as `st2 apikey load` does"
    );
    assert_eq!(desk.post(PATH, &loaded).0, 201, "and again");
    assert_eq!(desk.get(PATH).1[4]["id"], id, "in order of making");
}

#[test]
fn pages() {
    let mut desk = Desk::new();
    for number in 0..117 {
        desk.key(&json!({ "user": format!("svc-{number}") }));
    }
    let mut page = |query: &str| {
        let response = desk.send(Method::GET, &format!("{PATH}?{query}"), "");
        let header = |name: &str| {
            let value = response.headers().get(name);
            value.map(|value| value.to_str().unwrap().parse::<usize>().unwrap())
        };
        let (total, limit) = (header("x-total-count"), header("x-limit"));
        let (status, body) = said(&response);
        let count = body.as_array().map(Vec::len);
        let last = count.and_then(|count| body[count.checked_sub(1)?]["user"].as_str());
        let last = last.map(str::to_owned);
        let words = body["faultstring"].as_str().map(str::to_owned);
        (status, count, limit, total, last, words)
    };
    let last = |user: &str| Some(user.to_owned());
    let all = Some(120);
    for (query, count, limit, user) in [
        ("", 50, Some(50), last("svc-46")),
        ("limit=2&offset=3", 2, Some(2), last("svc-1")),
        (
            "user=svc-1&limit=1&sort=-user",
            1,
            Some(1),
            last("st2admin"),
        ),
        ("offset=50", 50, Some(50), last("svc-96")),
        ("offset=100", 20, Some(50), last("svc-116")),
        ("offset=120", 0, Some(50), None),
        ("limit=-1", 120, None, last("svc-116")),
        ("limit=1000", 120, Some(1000), last("svc-116")),
        ("limit=3&limit=4", 4, Some(4), last("svc-0")),
    ] {
        assert_eq!(
            page(query),
            (200, Some(count), limit, all, user, None),
            "{query}"
        );
    }
    let no_number = "Parameter \"limit\" is not of type integer";
    for (query, status, words) in [
        (
            "limit=0",
            400,
            "Limit, \"0\" specified, must be a positive number or -1 for full result set.",
        ),
        (
            "limit=-2",
            400,
            "Limit, \"-2\" specified, must be a positive number.",
        ),
        ("limit=ten", 400, no_number),
        ("limit=", 400, no_number),
        ("offset=-1", 500, "Internal Server Error"),
        (
            "offset=4294967296",
            400,
            "Offset \"4294967296\" specified is more than 32 bit int",
        ),
        (
            "show_secrets=maybe",
            400,
            "Parameter \"show_secrets\" is not of type boolean",
        ),
    ] {
        let wanted = (status, None, None, None, None, Some(words.to_owned()));
        assert_eq!(page(query), wanted, "{query}");
    }
}

#[test]
fn put_replaces_it_whole() {
    let mut desk = Desk::new();
    let (id, key) = desk.key(&json!({ "user": "svc", "metadata": { "a": 1 }, "enabled": false }));
    desk.later(SignedDuration::from_secs(60));
    let (status, put) = desk.put(&of(&id), &json!({ "user": "other" }));
    assert_eq!(status, 200);
    let wanted = json!({
        "id": id,
        "uid": "api_key:",
        "user": "other",
        "key_hash": hash(&key),
        "metadata": {},
        "created_at": "2026-11-22T02:01:00.123456Z",
        "enabled": true,
    });
    assert_eq!(
        put, wanted,
        "defaults, young again, a mangled uid, the hash in clear"
    );
    assert_eq!(desk.who(&key), (200, "other".to_owned()));
    let shown = desk.get(&(of(&id) + "?show_secrets=true")).1;
    assert_eq!(text(&shown, "/uid"), format!("api_key:{}", hash(&key)));
    let mut whole = desk.get(&of(&key)).1;
    whole["id"] = json!("ffffffffffffffffffffffff");
    whole["metadata"] = json!({ "b": { "c": 2 } });
    let (status, put) = desk.put(&of(&id), &whole);
    assert_eq!((status, &put["uid"]), (200, &json!("api_key:********")));
    assert_eq!(put["id"], id.as_str(), "the path decides");
    assert_eq!(put["metadata"], whole["metadata"]);
    for (sent, status) in [(hash(&key), 200), (String::new(), 200), (hash("x"), 400)] {
        let answer = desk.put(&of(&id), &json!({ "user": "third", "key_hash": sent }));
        assert_eq!(answer.0, status);
        if status == 400 {
            assert_eq!(answer, fault(400, "Update of key_hash is not allowed."));
        }
    }
    let required = format!("ValidationError (ApiKeyDB:{id}) (Field is required: ['user'])");
    for body in [json!({}), json!({ "user": "" })] {
        assert_eq!(desk.put(&of(&id), &body), fault(400, &required));
    }
    assert_eq!(desk.put(&of(&id), &json!({ "user": "u", "ttl": 1 })).0, 400);
    let bad = json!({ "user": "u", "metadata": { "$x": 1 } });
    assert_eq!(desk.put(&of(&id), &bad).0, 400);
    assert_eq!(desk.who(&key), (200, "third".to_owned()));
}
