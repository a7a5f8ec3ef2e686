//! What the server says of itself, and of who asks.

use serde_json::{Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Reply};
use super::auth::Realm;
use super::call::Call;
use super::config::License;
use super::privileges::Action;

/// `GET /`.
pub(super) fn main(server: &mut Elasticsearch, call: &Call) -> Reply {
    server.authorize(call, Action::Main)?;
    Ok(Answer::ok(json!({
        "name": "twin",
        "cluster_name": "twin",
        "cluster_uuid": server.cluster,
        "version": {
            "number": server.version.to_string(),
            "build_flavor": "default",
            "build_type": "docker",
            "build_hash": "0000000000000000000000000000000000000000",
            "build_date": "2026-08-26T22:10:47.574903747Z",
            "build_snapshot": false,
            "lucene_version": "9.12.2",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    })))
}

/// `GET /_license`.
pub(super) fn license(server: &mut Elasticsearch, call: &Call) -> Reply {
    server.authorize(call, Action::License)?;
    let kind = match server.license {
        License::Basic => "basic",
        License::Trial => "trial",
    };
    let issued = server.installed;
    Ok(Answer::ok(json!({
        "license": {
            "status": "active",
            "uid": "00000000-0000-4000-8000-000000000000",
            "type": kind,
            "issue_date": issued.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            "issue_date_in_millis": issued.as_millisecond(),
            "max_nodes": 1000,
            "max_resource_units": null,
            "issued_to": "twin",
            "issuer": "elasticsearch",
            "start_date_in_millis": -1,
        },
    })))
}

/// `GET /_security/_authenticate`.
pub(super) fn authenticate(server: &mut Elasticsearch, call: &Call) -> Reply {
    server.authorize(call, Action::Authenticate)?;
    let caller = call.caller()?;
    let (subject, real) = (&caller.subject, caller.real.as_ref());
    let realm = |realm: Option<Realm>| {
        let realm = realm.unwrap_or(Realm::Native);
        json!({ "name": realm.name(), "type": realm.kind() })
    };
    let user = server.user(&subject.name).filter(|_| subject.key.is_none());
    let by = real.unwrap_or(subject);
    let mut body = json!({
        "username": subject.name,
        "roles": user.map(|user| user.roles.clone()).unwrap_or_default(),
        "full_name": user.and_then(|user| user.full_name.clone()),
        "email": user.and_then(|user| user.email.clone()),
        "metadata": user.map(|user| user.metadata.clone()).unwrap_or_default(),
        "enabled": true,
        "authentication_realm": realm(by.realm),
        "lookup_realm": realm(subject.realm),
        "authentication_type": if by.key.is_some() { "api_key" } else { "realm" },
    });
    let key = subject.key.as_ref();
    if let Some(key) = key.and_then(|id| server.keys.iter().find(|key| key.id == *id)) {
        body["api_key"] = json!({ "name": key.name, "id": key.id });
    }
    Ok(Answer::ok(body))
}

/// What would give a token.
pub(super) fn token(server: &mut Elasticsearch, _: &Call) -> Reply {
    let feature = "security tokens";
    let reason = match server.license {
        License::Basic => format!("current license is non-compliant for [{feature}]"),
        License::Trial => "the twin does not know tokens".to_owned(),
    };
    let cause = super::answer::Cause::new("security_exception", reason)
        .with("license.expired.feature", Value::from(feature));
    Err(super::answer::Problem::forbidden(&cause))
}
