//! `GET` and `DELETE /_security/api_key`: keys found by id, name, owner; shown, or ended for good.
//!
//! What has ended stays listed. Ended or expired keys are forgotten a week later, and only when
//! a key is ended, at most once a day. (A real server was seen to begin its cleaning then, and at no
//! other time; ours for tests lacks the part that would delete.)

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Cause, Problem, Reply};
use super::auth::{Realm, Subject};
use super::call::Call;
use super::json::{Object, bad, fits};
use super::keys::Key;
use super::privileges::Action;

/// How long what has ended stays listed.
const RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often the server forgets at most.
const INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Which keys are meant.
#[derive(Debug, Default)]
struct Filter {
    ids: Vec<String>,
    name: Option<String>,
    username: Option<String>,
    realm: Option<String>,
    owner: bool,
}

/// The words in which the two requests complain.
struct Words {
    by_id: &'static str,
    one_of: &'static str,
    owned: &'static str,
}

const GET: Words = Words {
    by_id: "username or realm name must not be specified when the api key id or api key name is \
            specified",
    one_of: "only one of [api key id, api key name] can be specified",
    owned: "neither username nor realm-name may be specified when retrieving owned API keys",
};

const DELETE: Words = Words {
    by_id: "username or realm name must not be specified when the api key id(s) or api key name \
            are specified",
    one_of: "only one of [api key id(s), api key name] can be specified",
    owned: "neither username nor realm-name may be specified when invalidating owned API keys",
};

impl Filter {
    fn check(&self, words: &Words) -> Vec<String> {
        let by_key = !self.ids.is_empty() || self.name.is_some();
        let by_owner = self.username.is_some() || self.realm.is_some();
        let rules = [
            (by_key && by_owner, words.by_id),
            (self.owner && by_owner, words.owned),
            (!self.ids.is_empty() && self.name.is_some(), words.one_of),
        ];
        let broken = rules.into_iter().filter(|(broken, _)| *broken);
        broken.map(|(_, words)| words.to_owned()).collect()
    }

    /// Whether only the caller's own keys can be meant, as far as the request tells.
    fn is_own(&self, subject: &Subject) -> bool {
        if let Some(id) = &subject.key {
            // A key's own keys: itself alone.
            return self.ids == [id.as_str()];
        }
        let realm = subject.realm.map(Realm::name);
        let himself =
            self.username.as_ref() == Some(&subject.name) && self.realm.as_deref() == realm;
        self.owner || himself
    }

    fn has(&self, key: &Key, owner: &(String, Option<Realm>)) -> bool {
        (self.ids.is_empty() || self.ids.contains(&key.id))
            && self
                .name
                .as_ref()
                .is_none_or(|name| match name.strip_suffix('*') {
                    Some(prefix) => key.name.starts_with(prefix),
                    None => key.name == *name,
                })
            && self.username.as_ref().is_none_or(|name| key.user == *name)
            && self
                .realm
                .as_ref()
                .is_none_or(|name| fits(name, key.realm.name()))
            && (!self.owner || owner.1.is_some_and(|realm| key.is_of(&owner.0, realm)))
    }
}

/// `GET /_security/api_key`.
pub(super) fn get(server: &mut Elasticsearch, call: &Call) -> Reply {
    let text = |name: &str| call.query(name).map(str::to_owned);
    let filter = Filter {
        ids: text("id").into_iter().collect(),
        name: text("name"),
        username: text("username"),
        realm: text("realm_name"),
        owner: call.flag("owner")?,
    };
    let active_only = call.flag("active_only")?;
    let with_limited_by = call.flag("with_limited_by")?;
    call.flag("with_profile_uid")?;
    Problem::invalid(&filter.check(&GET))?;
    let subject = &call.caller()?.subject;
    // A key may not see what it is limited by.
    let peeks = subject.key.is_some() && with_limited_by;
    let action = if filter.is_own(subject) && !peeks {
        Action::GetOwnKeys
    } else {
        Action::GetKeys
    };
    server.authorize(call, action)?;
    let owner = server.owner(subject);
    let active = |key: &Key| key.invalidated.is_none() && !key.is_expired(call.now);
    let found: Vec<Value> = server
        .keys
        .iter()
        .filter(|key| filter.has(key, &owner) && (!active_only || active(key)))
        .map(|key| key.json(with_limited_by))
        .collect();
    let missing = found.is_empty() && !filter.ids.is_empty();
    let body = json!({ "api_keys": found });
    Ok(if missing {
        Answer::absent(body)
    } else {
        Answer::ok(body)
    })
}

/// `DELETE /_security/api_key`.
pub(super) fn invalidate(server: &mut Elasticsearch, call: &Call) -> Reply {
    let filter = read(call)?;
    let mut wrong = Vec::new();
    let nothing = filter.ids.is_empty()
        && filter.name.is_none()
        && filter.username.is_none()
        && filter.realm.is_none();
    if nothing && !filter.owner {
        wrong.push(
            "One of [api key id(s), api key name, username, realm name] must be specified if \
             [owner] flag is false"
                .to_owned(),
        );
    }
    wrong.extend(filter.check(&DELETE));
    Problem::invalid(&wrong)?;
    let subject = &call.caller()?.subject;
    let action = if filter.is_own(subject) {
        Action::InvalidateOwnKeys
    } else {
        Action::InvalidateKeys
    };
    server.authorize(call, action)?;
    let owner = server.owner(subject);
    let meant = |key: &Key| key.invalidated.is_none() && filter.has(key, &owner);
    let ended: Vec<String> = server
        .keys
        .iter()
        .filter(|key| meant(key))
        .map(|key| key.id.clone())
        .collect();
    for id in &ended {
        server.end_key(id, call.now);
    }
    if !ended.is_empty() {
        server.forget_keys(call.now);
    }
    Ok(Answer::ok(json!({
        "invalidated_api_keys": ended,
        "previously_invalidated_api_keys": [],
        "error_count": 0,
    })))
}

fn read(call: &Call) -> Result<Filter, Problem> {
    const KNOWN: [&str; 5] = ["ids", "name", "realm_name", "username", "owner"];
    let sent = Object::read("invalidate_api_key", &call.body, &KNOWN)?;
    let text = |name: &str| {
        let text = sent.text(name).map_err(|cause| bad(&cause));
        text.map(|text| text.filter(|text| !text.is_empty()))
    };
    let filter = Filter {
        ids: sent
            .texts("ids")
            .map_err(|cause| bad(&cause))?
            .unwrap_or_default(),
        name: text("name")?,
        username: text("username")?,
        realm: text("realm_name")?,
        owner: sent
            .flag("owner")
            .map_err(|cause| bad(&cause))?
            .unwrap_or_default(),
    };
    let blank = filter.ids.iter().position(|id| id.trim().is_empty());
    let wrong = if sent.raw("ids").is_some() && filter.ids.is_empty() {
        "Field [ids] cannot be an empty array".to_owned()
    } else if let Some(at) = blank {
        format!("Field [ids] must not contain blank id, but got blank id at index position: [{at}]")
    } else {
        return Ok(filter);
    };
    let reason = super::answer::failed(&[wrong]);
    let cause = Cause::new("action_request_validation_exception", reason);
    Err(bad(&sent.whole(cause)))
}

impl Elasticsearch {
    /// Ends a key; its document is written anew, behind the others.
    pub(super) fn end_key(&mut self, id: &str, now: Timestamp) {
        self.rewrite(id, |key| key.invalidated = Some(now));
    }

    /// Changes a key's document, which then stands behind the others.
    pub(super) fn rewrite(&mut self, id: &str, change: impl FnOnce(&mut Key)) {
        if let Some(at) = self.keys.iter().position(|key| key.id == id) {
            let mut key = self.keys.remove(at);
            change(&mut key);
            self.keys.push(key);
        }
    }

    /// Forgets what has ended long ago, unless that was done today.
    fn forget_keys(&mut self, now: Timestamp) {
        let done = self
            .forgot
            .is_some_and(|last| now.duration_since(last) < INTERVAL);
        if done {
            return;
        }
        self.forgot = Some(now);
        let long_ago =
            |end: Option<Timestamp>| end.is_some_and(|end| now.duration_since(end) >= RETENTION);
        self.keys
            .retain(|key| !long_ago(key.invalidated) && !long_ago(key.expires));
    }
}
