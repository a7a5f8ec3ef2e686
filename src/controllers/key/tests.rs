use serde_json::{Value, json};

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// How urgent an ApiKey with this beyond its name is.
fn urgent(spec: &Value, metadata: &Value, status: &Value) -> Urgency {
    let mut object = json!({
        "apiVersion": "apikeys.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": "deploys", "namespace": "team-a"},
        "spec": {"serviceAccountRef": {"name": "ci"}},
        "status": status,
    });
    for (part, more) in [("spec", spec), ("metadata", metadata)] {
        for (name, value) in more.as_object().into_iter().flatten() {
            object[part][name] = value.clone();
        }
    }
    let object = serde_json::from_value(object).unwrap();
    urgency(&object, at("2026-11-22T12:00:00Z"))
}

#[test]
fn a_first_key_is_more_urgent_than_a_rotation_and_that_than_a_comparison() {
    let none = json!({});
    let settled = |rotate_at: &str| {
        json!({
            "current": {
                "id": "k1", "serial": 1, "nonce": "n1", "createdAt": "2026-11-01T00:00:00Z",
            },
            "rotateAt": rotate_at,
        })
    };
    let (later, due) = (
        settled("2026-11-23T00:00:00Z"),
        settled("2026-11-22T12:00:00Z"),
    );
    let revoked = json!({"revoked": true});
    let mut over = later.clone();
    over["finishedAt"] = json!("2026-11-22T11:00:00Z");
    let asked = json!({"annotations": {"apikeys.dev/rotate": "once"}});
    let mut handled = later.clone();
    handled["lastHandledRotate"] = json!("once");
    let going = json!({"deletionTimestamp": "2026-11-22T11:59:59Z"});
    for (situation, urgency, wanted) in [
        (
            "never had a key",
            urgent(&none, &none, &none),
            Urgency::Awaited,
        ),
        ("deleted", urgent(&none, &going, &later), Urgency::Awaited),
        ("revoked", urgent(&revoked, &none, &later), Urgency::Awaited),
        (
            "revoked long ago",
            urgent(&revoked, &none, &over),
            Urgency::Drift,
        ),
        ("due", urgent(&none, &none, &due), Urgency::Rotation),
        (
            "asked for",
            urgent(&none, &asked, &later),
            Urgency::Rotation,
        ),
        (
            "asked for, and done",
            urgent(&none, &asked, &handled),
            Urgency::Drift,
        ),
        ("settled", urgent(&none, &none, &later), Urgency::Drift),
    ] {
        assert_eq!(urgency, wanted, "{situation}");
    }
    assert!(Urgency::Awaited > Urgency::Rotation && Urgency::Rotation > Urgency::Drift);
}
