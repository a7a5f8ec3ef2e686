//! The control door.

use http::StatusCode;
use jiff::SignedDuration;
use testbed::twins::{Fault, Rule, control, tcp};

use super::{Method, Value, caller, live};

#[tokio::test]
async fn the_control_door_has_the_same_powers() {
    let (door, start) = live();
    let server = tcp::serve(&door, 0, None).unwrap();
    let control = control::serve(&door, 0).await.unwrap();
    let client = caller(None);
    let call = async |method: Method, path: &str, body: &str| {
        let url = format!("{}{path}", control.url());
        let answer = client
            .request(method, url)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let me = async || {
        let url = format!("{}/api/users/me", server.url());
        let request = client
            .get(url)
            .header("X-Octopus-ApiKey", &start.operator.key);
        request.send().await.unwrap().status()
    };
    assert!(
        call(Method::GET, "/", "")
            .await
            .1
            .contains("POST   /faults")
    );
    assert_eq!(call(Method::POST, "/backups/early", "").await.0, 204);
    assert_eq!(me().await, StatusCode::OK);
    let change = r#"{"change":"disable","user":"apikey-operator"}"#;
    assert_eq!(call(Method::POST, "/changes", change).await.0, 204);
    assert_eq!(me().await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        call(Method::POST, "/backups/early/restore", "").await.0,
        204
    );
    assert_eq!(me().await, StatusCode::OK);
    let fault = r#"{"fault":"refused","status":503}"#;
    assert_eq!(call(Method::POST, "/faults", fault).await.0, 204);
    assert!(call(Method::GET, "/faults", "").await.1.contains("503"));
    assert_eq!(me().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(Method::DELETE, "/faults", "").await.0, 204);
    assert_eq!(me().await, StatusCode::OK);
    let before = door.now();
    assert_eq!(call(Method::POST, "/clock", r#"{"by":"36h"}"#).await.0, 204);
    assert!(door.now().duration_since(before) >= SignedDuration::from_hours(36));
    let (_, journal) = call(Method::GET, "/journal", "").await;
    assert_eq!(
        serde_json::from_str::<Value>(&journal)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(call(Method::DELETE, "/journal", "").await.0, 204);
    assert_eq!(door.journal().len(), 0);
    let (_, view) = call(Method::GET, "/view", "").await;
    assert!(view.contains("apikey-operator") && !view.contains(&start.operator.key));
    for (path, body, status) in [
        ("/changes", r#"{"change":"disable","user":"nobody"}"#, 404),
        ("/changes", r#"{"change":"explode"}"#, 400),
        ("/faults", "no json", 400),
        ("/backups/none/restore", "", 404),
    ] {
        let (got, said) = call(Method::POST, path, body).await;
        assert_eq!(
            (got, said.contains("error")),
            (status, true),
            "{path} {body}: {said}"
        );
    }
}

/// The guide of the control door names each fault, and the door takes each as it is named there.
#[tokio::test]
async fn the_control_door_takes_each_fault() {
    let (door, _) = live();
    let control = control::serve(&door, 0).await.unwrap();
    let client = caller(None);
    let guide = client.get(control.url()).send().await.unwrap();
    let guide = guide.text().await.unwrap();
    let faults = [
        Fault::Outage,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Late { seconds: 20 },
        Fault::Slow { millis: 5 },
        Fault::Throttled {
            retry_after: Some(5),
        },
        Fault::Refused { status: 503 },
        Fault::Feigned,
        Fault::Html,
        Fault::HalfJson,
        Fault::Flood { mebibytes: 5 },
        Fault::Redirect {
            location: "https://elsewhere.test".to_owned(),
        },
    ];
    let (_, named) = guide.split_once("faults: ").unwrap();
    let (named, _) = named.split_once("DELETE").unwrap();
    assert_eq!(named.split_whitespace().count(), faults.len(), "{named}");
    for fault in faults {
        let rule = serde_json::to_value(Rule::new(fault.clone())).unwrap();
        let name = rule["fault"].as_str().unwrap();
        let asked: Vec<&str> = named
            .split_whitespace()
            .filter(|word| word.split('{').next() == Some(name))
            .collect();
        let fields = rule.as_object().unwrap().keys();
        let own: Vec<_> = fields
            .filter(|field| !["fault", "method", "path", "times"].contains(&field.as_str()))
            .collect();
        assert!(
            own.iter().all(|field| asked[0].contains(field.as_str())),
            "{name}"
        );
        let request = client.post(format!("{}/faults", control.url()));
        let answer = request.body(rule.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{name}");
        assert_eq!(door.faults().last(), Some(&Rule::new(fault)));
    }
}
