//! API keys: what one is, and how one is made, for oneself or for others.
//!
//! A name may be used any number of times. A key's text is shown once. Its rights are those that it
//! was given, as far as its owner had them when it was made or last updated. Who signs in with a key
//! can make only keys that may do nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Cause, Problem, Reply};
use super::auth::{Caller, Realm, Subject};
use super::call::Call;
use super::json::{Object, bad};
use super::privileges::Action;
use super::roles::{Descriptor, Of};
use super::{Elasticsearch, chance, durations};

/// Descriptors by name.
pub(super) type Roles = BTreeMap<String, Descriptor>;

/// A key. Of its text only a hash is kept.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hash: [u8; 32],
    pub(super) user: String,
    pub(super) realm: Realm,
    pub(super) created: Timestamp,
    pub(super) expires: Option<Timestamp>,
    pub(super) invalidated: Option<Timestamp>,
    pub(super) metadata: Map<String, Value>,
    pub(super) roles: Roles,
    pub(super) limited_by: Roles,
}

impl Key {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    pub(super) fn is_of(&self, user: &str, realm: Realm) -> bool {
        self.user == user && self.realm == realm
    }

    /// As it is shown.
    pub(super) fn json(&self, with_limited_by: bool) -> Value {
        let mut json = json!({
            "id": self.id,
            "name": self.name,
            "type": "rest",
            "creation": self.created.as_millisecond(),
            "invalidated": self.invalidated.is_some(),
            "username": self.user,
            "realm": self.realm.name(),
            "realm_type": self.realm.kind(),
            "metadata": self.metadata,
            "role_descriptors": shown(&self.roles),
        });
        if let Some(end) = self.expires {
            json["expiration"] = json!(end.as_millisecond());
        }
        if let Some(end) = self.invalidated {
            json["invalidation"] = json!(end.as_millisecond());
        }
        if with_limited_by {
            json["limited_by"] = json!([shown(&self.limited_by)]);
        }
        json
    }
}

fn shown(roles: &Roles) -> Value {
    let roles = roles.iter().map(|(name, role)| (name.clone(), role.json()));
    Value::Object(roles.collect())
}

/// What somebody wants a key to be, or to become.
#[derive(Debug, Clone, Default)]
pub(super) struct Wish {
    pub(super) lasts: Option<SignedDuration>,
    pub(super) roles: Option<Roles>,
    pub(super) metadata: Option<Map<String, Value>>,
}

impl Wish {
    pub(super) fn read(sent: &Object) -> Result<Self, Cause> {
        let roles = match sent.raw("role_descriptors") {
            None => None,
            Some(Value::Object(roles)) => Some(read_roles(sent, roles)?),
            Some(Value::Array(_)) => {
                let reason = "[role_descriptors] doesn't support arrays. Use a single object with \
                              multiple fields.";
                let cause = Cause::new("illegal_argument_exception", reason);
                return Err(sent.inside("role_descriptors", cause));
            }
            Some(other) => return Err(sent.other_type("role_descriptors", other)),
        };
        let metadata = sent.object("metadata")?;
        let lasts = sent.text("expiration")?;
        let lasts = lasts.as_deref().map(durations::expiration).transpose();
        Ok(Self {
            lasts: lasts.map_err(|cause| sent.whole(cause))?,
            roles,
            metadata,
        })
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let metadata = self.metadata.iter().flat_map(Map::keys);
        if metadata.into_iter().any(|key| key.starts_with('_')) {
            wrong.push("API key metadata keys may not start with [_]".to_owned());
        }
        wrong.extend(
            self.roles
                .iter()
                .flat_map(BTreeMap::values)
                .flat_map(Descriptor::check),
        );
        wrong
    }

    /// 400 when a value is too long to be found again.
    pub(super) fn fits_the_index(&self) -> Result<(), Problem> {
        let Some((key, bytes)) = self.metadata.iter().find_map(immense) else {
            return Ok(());
        };
        let inner = format!(
            "Flattened field [metadata_flattened] contains one immense field whose keyed encoding \
             is longer than the allowed max length of 32766 bytes. Key length: {}, value length: \
             {bytes} for key starting with [{}]",
            key.len(),
            key.chars().take(50).collect::<String>(),
        );
        let cause = Cause::new(
            "document_parsing_exception",
            "[1:1] failed to parse field [metadata_flattened] of type [flattened]",
        );
        Err(bad(
            &cause.by(Cause::new("illegal_argument_exception", inner))
        ))
    }

    /// When a key that is made or updated now ends.
    pub(super) fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        let end = |lasts| now.checked_add(lasts).unwrap_or(Timestamp::MAX);
        self.lasts
            .map(|lasts: SignedDuration| super::whole_millis(end(lasts)))
    }
}

/// A leaf that is too long to be found again: its path, and how long it is.
fn immense(metadata: &Map<String, Value>) -> Option<(String, usize)> {
    const LONGEST: usize = 32_765;
    let leaves = super::query::leaves(metadata).into_iter();
    leaves
        .map(|(key, value)| (key, value.len()))
        .find(|(key, bytes)| key.len() + bytes > LONGEST)
}

fn read_roles(sent: &Object, roles: &Map<String, Value>) -> Result<Roles, Cause> {
    let read = |(name, value): (&String, &Value)| match Descriptor::read(name, value, Of::Key) {
        Ok(role) => Ok((name.clone(), role)),
        Err(cause) => {
            let reason = format!("[1:1] [role_descriptors] failed to parse field [{name}]");
            let cause = Cause::new("x_content_parse_exception", reason).by(cause);
            Err(sent.inside("role_descriptors", cause))
        }
    };
    roles.iter().map(read).collect()
}

const FIELDS: [&str; 4] = ["name", "expiration", "role_descriptors", "metadata"];

/// A wish with a name.
struct NamedWish {
    name: String,
    wish: Wish,
}

impl NamedWish {
    fn read(sent: &Object) -> Result<Self, Cause> {
        let wish = Wish::read(sent)?;
        let name = sent.text("name")?;
        let name = name.ok_or_else(|| Cause::new("illegal_argument_exception", "Required [name]"));
        Ok(Self { name: name?, wish })
    }

    fn check(&self) -> Vec<String> {
        let mut wrong = bad_name(&self.name);
        wrong.extend(self.wish.check());
        wrong
    }
}

fn bad_name(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.is_empty() {
        wrong.push("api key name is required");
    } else {
        if name.encode_utf16().count() > 256 {
            wrong.push("api key name may not be more than 256 characters long");
        }
        if name.trim_matches(|c| c <= ' ') != name {
            wrong.push("api key name may not begin or end with whitespace");
        }
        if name.starts_with('_') {
            wrong.push("api key name may not begin with an underscore");
        }
    }
    wrong.into_iter().map(str::to_owned).collect()
}

/// `POST` or `PUT /_security/api_key`.
pub(super) fn create(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    let sent = Object::read("api_key_request", &call.body, &FIELDS)?;
    let wish = NamedWish::read(&sent).map_err(|cause| bad(&cause))?;
    Problem::invalid(&wish.check())?;
    server.authorize(call, Action::CreateKey)?;
    let subject = call.caller()?.subject.clone();
    server.mint(call.now, &subject, wish)
}

/// `POST` or `PUT /_security/api_key/grant`.
pub(super) fn grant(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    let grant = Grant::read(call)?;
    Problem::invalid(&grant.check())?;
    server.authorize(call, Action::GrantKey)?;
    let subject = grant.subject(server)?;
    let Some(wish) = grant.api_key else {
        return Err(Problem::illegal("Required [name]"));
    };
    server.mint(call.now, &subject, wish)
}

/// A key for somebody else, and what shows that one may.
struct Grant {
    kind: Option<String>,
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    run_as: Option<String>,
    api_key: Option<NamedWish>,
}

impl Grant {
    fn read(call: &Call) -> Result<Self, Problem> {
        const KNOWN: [&str; 7] = [
            "grant_type",
            "username",
            "password",
            "access_token",
            "client_authentication",
            "run_as",
            "api_key",
        ];
        let sent = Object::read("grant_api_key_request", &call.body, &KNOWN)?;
        let text = |name: &str| sent.text(name).map_err(|cause| bad(&cause));
        let api_key = sent.raw("api_key").map(|wish| {
            let wish = Object::of("api_key_request", wish.clone(), &FIELDS);
            wish.and_then(|wish| NamedWish::read(&wish))
                .map_err(|cause| bad(&sent.inside("api_key", cause)))
        });
        Ok(Self {
            kind: text("grant_type")?,
            username: text("username")?,
            password: text("password")?,
            token: text("access_token")?,
            run_as: text("run_as")?,
            api_key: api_key.transpose()?,
        })
    }

    fn check(&self) -> Vec<String> {
        let mut wrong = match &self.api_key {
            Some(wish) => wish.check(),
            None => bad_name(""),
        };
        let mut needed = |name: &str, value: Option<&String>, kind: &str| {
            if value.is_none() {
                wrong.push(format!("[{name}] is required for grant_type [{kind}]"));
            }
        };
        match self.kind.as_deref() {
            Some(kind @ "password") => {
                needed("username", self.username.as_ref(), kind);
                needed("password", self.password.as_ref(), kind);
            }
            Some(kind @ "access_token") => needed("access_token", self.token.as_ref(), kind),
            Some(other) => wrong.push(format!("grant_type [{other}] is not supported")),
            None => wrong.push("[grant_type] is required".to_owned()),
        }
        wrong
    }

    /// Whose the key will be. The twin knows no tokens.
    fn subject(&self, server: &Elasticsearch) -> Result<Subject, Problem> {
        let (Some(name), Some(password)) = (&self.username, &self.password) else {
            let why = "oauth2 token: invalid token";
            return Err(server.failed_grant("_bearer_token", Some(why)));
        };
        let failed = |name: &str| server.failed_grant(name, None);
        let subject = server
            .by_password(name, password)
            .ok_or_else(|| failed(name))?;
        let Some(target) = &self.run_as else {
            return Ok(subject);
        };
        let caller: Caller = server
            .run_as(subject, target)
            .map_err(|name| failed(&name))?;
        server.authorize_caller(&caller, Action::Authenticate)?;
        Ok(caller.subject)
    }
}

impl Elasticsearch {
    fn mint(&mut self, now: Timestamp, subject: &Subject, wish: NamedWish) -> Reply {
        let NamedWish { name, wish } = wish;
        let roles = wish.roles.clone().unwrap_or_default();
        let limited_by = if subject.key.is_some() {
            if roles.is_empty() || !roles.values().all(Descriptor::is_empty) {
                return Err(Problem::illegal(
                    "creating derived api keys requires an explicit role descriptor that is empty \
                     (has no privileges)",
                ));
            }
            Roles::new()
        } else {
            self.roles_of(subject)
        };
        wish.fits_the_index()?;
        let id = URL_SAFE_NO_PAD.encode(&self.chance.bytes()[..15]);
        let secret = URL_SAFE_NO_PAD.encode(&self.chance.bytes()[..16]);
        let key = Key {
            id: id.clone(),
            name: name.clone(),
            hash: chance::hash(&secret),
            user: subject.name.clone(),
            realm: subject.realm.unwrap_or(Realm::Native),
            created: now,
            expires: wish.expires(now),
            invalidated: None,
            metadata: wish.metadata.unwrap_or_default(),
            roles,
            limited_by,
        };
        let mut body = json!({
            "id": id,
            "name": name,
            "api_key": secret,
            "encoded": STANDARD.encode(format!("{id}:{secret}")),
        });
        if let Some(end) = key.expires {
            body["expiration"] = json!(end.as_millisecond());
        }
        self.keys.push(key);
        Ok(Answer::ok(body))
    }

    /// The roles of a user, as a key of his remembers them.
    pub(super) fn roles_of(&self, subject: &Subject) -> Roles {
        let user = self.user(&subject.name);
        let names = user.map(|user| user.roles.as_slice()).unwrap_or_default();
        names
            .iter()
            .filter_map(|name| self.roles.get_key_value(name))
            .map(|(name, role)| (name.clone(), role.clone()))
            .collect()
    }

    /// Whose keys are the caller's own: with a key, those of the key's owner.
    pub(super) fn owner(&self, subject: &Subject) -> (String, Option<Realm>) {
        let key = subject.key.as_ref();
        match key.and_then(|id| self.keys.iter().find(|key| key.id == *id)) {
            Some(key) => (key.user.clone(), Some(key.realm)),
            None => (subject.name.clone(), subject.realm),
        }
    }
}
