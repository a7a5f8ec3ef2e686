//! Changes to keys that there are: only their owner may, signed in with a password.
//!
//! What is given replaces what was; the rest stays. Every update takes the owner's rights of the
//! moment, and an end counts from now. An end can be moved, not taken away.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Cause, Problem, Reply};
use super::call::Call;
use super::json::{Object, bad};
use super::keys::Wish;
use super::privileges::Action;

/// What became of one key.
enum Outcome {
    Changed,
    Same,
    Refused(StatusCode, Cause),
}

/// `PUT /_security/api_key/{id}`.
pub(super) fn one(server: &mut Elasticsearch, call: &Call) -> Reply {
    const KNOWN: [&str; 3] = ["role_descriptors", "metadata", "expiration"];
    let wish = if call.body.is_empty() {
        Wish::default()
    } else {
        let sent = Object::read("update_api_key_request_payload", &call.body, &KNOWN)?;
        Wish::read(&sent).map_err(|cause| bad(&cause))?
    };
    Problem::invalid(&wish.check())?;
    server.authorize(call, Action::UpdateKey)?;
    refuse_keys(call)?;
    wish.fits_the_index()?;
    match server.update(call, call.at(0), &wish)? {
        Outcome::Changed => Ok(Answer::ok(json!({ "updated": true }))),
        Outcome::Same => Ok(Answer::ok(json!({ "updated": false }))),
        Outcome::Refused(status, cause) => Err(Problem::new(status, &cause)),
    }
}

/// `POST /_security/api_key/_bulk_update`. What fails for one key does not fail the others.
pub(super) fn many(server: &mut Elasticsearch, call: &Call) -> Reply {
    const KNOWN: [&str; 4] = ["ids", "role_descriptors", "metadata", "expiration"];
    let sent = Object::read("bulk_update_api_key_request", &call.body, &KNOWN)?;
    let wish = Wish::read(&sent).map_err(|cause| bad(&cause))?;
    let ids = sent.texts("ids").map_err(|cause| bad(&cause))?;
    let mut ids = ids.ok_or_else(|| Problem::illegal("Required [ids]"))?;
    let mut wrong = wish.check();
    if ids.is_empty() {
        wrong.insert(0, "Field [ids] cannot be empty".to_owned());
    }
    Problem::invalid(&wrong)?;
    server.authorize(call, Action::UpdateKeys)?;
    refuse_keys(call)?;
    wish.fits_the_index()?;
    let mut seen = Vec::new();
    ids.retain(|id| {
        !seen.contains(id) && {
            seen.push(id.clone());
            true
        }
    });
    let (mut updated, mut same, mut errors) = (Vec::new(), Vec::new(), Map::new());
    for id in ids {
        match server.update(call, &id, &wish)? {
            Outcome::Changed => updated.push(id),
            Outcome::Same => same.push(id),
            Outcome::Refused(_, cause) => {
                errors.insert(id, Value::Object(cause.json()));
            }
        }
    }
    let mut body = json!({ "updated": updated, "noops": same });
    if !errors.is_empty() {
        body["errors"] = json!({ "count": errors.len(), "details": errors });
    }
    Ok(Answer::ok(body))
}

fn refuse_keys(call: &Call) -> Result<(), Problem> {
    if call.caller()?.subject.key.is_none() {
        return Ok(());
    }
    Err(Problem::illegal(
        "authentication via API key not supported: only the owner user can update an API key",
    ))
}

impl Elasticsearch {
    fn update(&mut self, call: &Call, id: &str, wish: &Wish) -> Result<Outcome, Problem> {
        let subject = &call.caller()?.subject;
        let own = self.keys.iter().find(|key| {
            key.id == id
                && subject
                    .realm
                    .is_some_and(|realm| key.is_of(&subject.name, realm))
        });
        let illegal = |reason: String| {
            let cause = Cause::new("illegal_argument_exception", reason);
            Ok(Outcome::Refused(StatusCode::BAD_REQUEST, cause))
        };
        let Some(key) = own else {
            let reason = format!("no API key owned by requesting user found for ID [{id}]");
            let cause = Cause::new("resource_not_found_exception", reason);
            return Ok(Outcome::Refused(StatusCode::NOT_FOUND, cause));
        };
        if key.invalidated.is_some() {
            return illegal(format!("cannot update invalidated API key [{id}]"));
        }
        if key.is_expired(call.now) {
            return illegal(format!("cannot update expired API key [{id}]"));
        }
        let mut next = key.clone();
        next.limited_by = self.roles_of(subject);
        if let Some(roles) = &wish.roles {
            next.roles.clone_from(roles);
        }
        if let Some(metadata) = &wish.metadata {
            next.metadata.clone_from(metadata);
        }
        let end = wish.expires(call.now);
        next.expires = end.or(next.expires);
        let same = end.is_none()
            && next.limited_by == key.limited_by
            && next.roles == key.roles
            && next.metadata == key.metadata;
        if same {
            return Ok(Outcome::Same);
        }
        self.rewrite(id, |key| *key = next);
        Ok(Outcome::Changed)
    }
}
