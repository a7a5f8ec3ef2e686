//! API keys.
//!
//! Facts from the Octopus REST API reference (2026.3, "API keys") and the product documentation
//! ("How to create an API key"):
//! a key's text is shown once, by the `POST` that makes it, which answers 200; there is no update;
//! an expired key stays listed; nobody, not even an administrator, makes or ends the key of
//! another person (Octopus issues 5920 and 5987).
//!
//! Not known, and chosen here: an end that was not asked for is clipped to the calling key's own;
//! an access token or a session bounds nothing; the permission for another account's keys is
//! `UserEdit`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply, date};
use super::auth::Via;
use super::call::{Body, Call};
use super::config::since;
use super::events::Category;
use super::store::Document;
use super::{Octopus, Permission, chance, paging, users::User, whole_millis};

/// A key. Of its text only a hash and a hint are kept.
#[derive(Debug, Clone)]
pub(super) struct ApiKey {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) purpose: String,
    pub(super) hash: [u8; 32],
    pub(super) hint: String,
    pub(super) created: Timestamp,
    pub(super) expires: Option<Timestamp>,
    pub(super) last_used: Option<Timestamp>,
    pub(super) actor: String,
}

impl Document for ApiKey {
    const PREFIX: &'static str = "apikeys-";

    fn id(&self) -> &str {
        &self.id
    }
}

impl ApiKey {
    pub(super) fn new(
        chance: &mut chance::Chance,
        user: &str,
        text: &str,
        created: Timestamp,
    ) -> Self {
        Self {
            id: chance.key_id(),
            user: user.to_owned(),
            purpose: String::new(),
            hash: chance::hash(text),
            hint: format!("{}...", text.chars().take(7).collect::<String>()),
            created,
            expires: None,
            last_used: None,
            actor: "User".to_owned(),
        }
    }
}

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(page(octopus, call)?))
}

pub(super) fn list_v1(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(json!({ "ApiKeys": page(octopus, call)? })))
}

/// Newest first.
fn page(octopus: &Octopus, call: &Call) -> Result<Value, Problem> {
    octopus.require_for(call, call.at(0), Permission::UserView)?;
    let user = octopus.users.get(call.at(0))?;
    let keys = octopus
        .keys
        .iter()
        .rev()
        .filter(|key| key.user == user.id)
        .filter(|key| call.fragment("partialPurpose", &[&key.purpose]))
        .filter(|key| call.fragment("partialKeyword", &[&key.purpose, &key.hint]))
        .map(|key| resource(octopus, key))
        .collect();
    let template = format!("/api/users/{}/apikeys{{/id}}{{?skip,take}}", user.id);
    Ok(paging::envelope(call, "ApiKey", &template, keys))
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    octopus.require_for(call, call.at(0), Permission::UserView)?;
    let key = own(octopus, call)?;
    Ok(Answer::ok(resource(octopus, key)))
}

pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let owner = octopus.users.get(call.at(0))?.clone();
    octopus.require_keys_of(call, &owner)?;
    if !owner.is_service() && octopus.forbids_keys_of_people() {
        return Err(Problem::bad(
            "API keys for user accounts are disabled on this server.",
        ));
    }
    let body = call.body()?;
    let expires = end(octopus, call, &body)?;
    let text = octopus.chance.key();
    let mut key = ApiKey::new(&mut octopus.chance, &owner.id, &text, call.now);
    key.purpose = body.text("Purpose").unwrap_or_default();
    key.expires = expires;
    key.actor = body.said("ActorType").unwrap_or(key.actor);
    octopus.audit(call, Category::Created, "API key", &key.id, &key.purpose);
    let mut json = resource(octopus, &key);
    json["ApiKey"] = json!(text);
    octopus.keys.add(key);
    Ok(Answer::ok(json))
}

pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let owner = octopus.users.get(call.at(0))?.clone();
    octopus.require_keys_of(call, &owner)?;
    let key = own(octopus, call)?.clone();
    octopus.keys.remove(&key.id);
    octopus.audit(call, Category::Deleted, "API key", &key.id, &key.purpose);
    Ok(Answer::ok(json!({})))
}

/// The key that the path names; 400 when it is another user's.
fn own<'a>(octopus: &'a Octopus, call: &Call) -> Result<&'a ApiKey, Problem> {
    octopus.users.get(call.at(0))?;
    let key = octopus.keys.get(call.at(1))?;
    if key.user == call.at(0) {
        Ok(key)
    } else {
        Err(Problem::bad("The API key belongs to another user."))
    }
}

impl Octopus {
    /// Own keys: everybody. A service account's: with `UserEdit`. Another person's: nobody.
    fn require_keys_of(&self, call: &Call, owner: &User) -> Result<(), Problem> {
        if call.caller()?.user == owner.id {
            Ok(())
        } else if owner.is_service() {
            self.require(call, Permission::UserEdit)?;
            self.require_rank_of(call, &owner.id)
        } else {
            Err(Problem::forbidden())
        }
    }

    fn forbids_keys_of_people(&self) -> bool {
        self.version >= since::USER_API_KEYS && !self.settings.user_api_keys
    }
}

/// When the new key ends, by the rules of the server's version.
fn end(octopus: &Octopus, call: &Call, body: &Body) -> Result<Option<Timestamp>, Problem> {
    if octopus.version < since::EXPIRES {
        return Ok(None);
    }
    let days = |days: u32| call.now + SignedDuration::from_hours(24 * i64::from(days));
    let bounded = octopus.version >= since::MAX_EXPIRY;
    let longest = bounded.then(|| days(octopus.settings.max_expiry_days));
    let callers = match &call.caller()?.via {
        Via::Key(id) => octopus.keys.find(id).and_then(|key| key.expires),
        Via::Token | Via::Session => None,
    };
    let clipped = |end: Option<Timestamp>| [end, longest, callers].into_iter().flatten().min();
    match body.raw("Expires") {
        None if octopus.version < since::DEFAULT_EXPIRY => Ok(clipped(None)),
        None => Ok(clipped(Some(days(octopus.settings.default_expiry_days)))),
        Some(Value::Null) => Ok(clipped(None)),
        Some(wish) => {
            let wish = wish
                .as_str()
                .and_then(moment)
                .ok_or_else(|| Problem::bad("Expires is not a date and time."))?;
            if wish <= call.now {
                Err(Problem::bad(
                    "The expiry date of an API key must be in the future.",
                ))
            } else if longest.is_some_and(|longest| wish > longest) {
                let days = octopus.settings.max_expiry_days;
                Err(Problem::bad(format!(
                    "An API key may last for {days} days at the longest."
                )))
            } else if callers.is_some_and(|callers| wish > callers) {
                Err(Problem::bad(
                    "The expiry date must not be later than that of the API key used to create it.",
                ))
            } else {
                Ok(Some(wish))
            }
        }
    }
}

/// A date with an offset, or without one, which is then UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let utc = || {
        text.parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    };
    let time = text
        .parse()
        .ok()
        .or_else(|| utc().map(|zoned| zoned.timestamp()))?;
    Some(whole_millis(time))
}

/// A key as `GET` shows it.
fn resource(octopus: &Octopus, key: &ApiKey) -> Value {
    let shown = if octopus.version >= since::EXPIRES {
        json!({ "HasValue": true, "Hint": key.hint, "NewValue": null })
    } else {
        Value::Null
    };
    let mut json = json!({
        "Id": key.id,
        "Purpose": key.purpose,
        "UserId": key.user,
        "ApiKey": shown,
        "Created": date(key.created),
        "Expires": key.expires.map(date),
        "Links": { "Self": format!("/api/users/{}/apikeys/{}", key.user, key.id) },
    });
    if octopus.version >= since::LAST_USED {
        json["AccessLevel"] = json!("FullAccess");
        json["ActorType"] = json!(key.actor);
        json["IsLastUsedTimestampKnown"] = json!(true);
        json["LastUsedTimeStamp"] = json!(key.last_used.map(date));
    }
    json
}
