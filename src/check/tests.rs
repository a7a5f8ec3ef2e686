//! A cluster that lacks something.

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;

/// A cluster that serves one kind of ours, and lets us do what `allows` says.
fn cluster(allows: fn(&Value) -> bool) -> Client {
    let version = json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    });
    let resource = json!({
        "name": "apikeys", "singularName": "apikey", "namespaced": true, "kind": "ApiKey",
        "verbs": ["get"],
    });
    let served = json!({
        "kind": "APIResourceList", "groupVersion": "apikeys.dev/v1alpha1",
        "resources": [resource],
    });
    let answer = async move |Json(mut review): Json<Value>| {
        let allowed = allows(&review["spec"]["resourceAttributes"]);
        review["status"] = json!({ "allowed": allowed });
        (StatusCode::CREATED, Json(review))
    };
    let who = async |Json(mut review): Json<Value>| {
        review["status"] = json!({ "userInfo": { "username": "jane" } });
        (StatusCode::CREATED, Json(review))
    };
    let router = Router::new()
        .route("/version", get(Json(version)))
        .route("/apis/apikeys.dev/v1alpha1", get(Json(served)))
        .route(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            post(answer),
        )
        .route(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            post(who),
        );
    Client::new(router, "default")
}

#[tokio::test]
async fn each_thing_that_is_missing_has_a_line_with_its_fix() {
    let mut out = Vec::new();
    let allows = |of: &Value| {
        of["resource"] != "secrets" && of["subresource"] != "status" && of["name"] != "own"
    };
    let lease = LeasePlace {
        namespace: "home".to_owned(),
        name: "own".to_owned(),
    };
    let verdict = check(&cluster(allows), Some(&lease), &mut out)
        .await
        .unwrap();
    assert_eq!(verdict, Verdict::Lacking);
    let said = String::from_utf8(out).unwrap();
    for line in [
        "ok       Kubernetes v1.36.3 answers",
        "ok       signed in as jane; the rights below are this user's",
        "ok       apikeys.apikeys.dev is served in v1alpha1",
        "ok       may get configmaps",
        "ok       may create leases.coordination.k8s.io",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}\n{said}");
    }
    for start in [
        "missing  serviceaccounts.apikeys.dev is not served in v1alpha1: install",
        "missing  may not get, list, watch, create, patch, delete secrets in all namespaces: \
         bind",
        "missing  may not update apikeys/status.apikeys.dev in all namespaces: bind",
        "missing  may not get, update leases.coordination.k8s.io named own in namespace home: bind",
    ] {
        assert!(
            said.lines().any(|found| found.starts_with(start)),
            "{start}\n{said}"
        );
    }
}
