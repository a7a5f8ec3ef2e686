//! Users: those of the native realm, and the reserved ones that every server has.
//!
//! A `PUT` makes a user or replaces all of it but its password. Roles need not exist.

use serde_json::{Map, Value, json};

use super::answer::{Answer, Problem, Reply};
use super::auth::Realm;
use super::call::Call;
use super::json::kind;
use super::privileges::Action;
use super::{Elasticsearch, chance, roles};

/// A user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) realm: Realm,
    /// Only a hash; nobody signs in without one.
    pub(super) password: Option<[u8; 32]>,
    pub(super) roles: Vec<String>,
    pub(super) full_name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) metadata: Map<String, Value>,
    pub(super) enabled: bool,
}

impl User {
    pub(super) fn new(name: &str, realm: Realm, password: Option<&str>, roles: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            realm,
            password: password.map(chance::hash),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            full_name: None,
            email: None,
            metadata: Map::new(),
            enabled: true,
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "username": self.name,
            "roles": self.roles,
            "full_name": self.full_name,
            "email": self.email,
            "metadata": self.metadata,
            "enabled": self.enabled,
        })
    }
}

const SHORT: &str = "passwords must be at least [6] characters long";
const BAD_NAME: &str = "User names must be at least 1 and no more than 507 characters. They can \
                        contain alphanumeric characters (a-z, A-Z, 0-9), spaces, punctuation, and \
                        printable symbols in the Basic Latin (ASCII) block. Leading or trailing \
                        whitespace is not allowed.";

/// Whether a name may be given to a user or a role.
pub(super) fn plain(name: &str) -> bool {
    (1..=507).contains(&name.len())
        && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && name.trim() == name
}

impl Elasticsearch {
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(super) fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.name == name)
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.user(name)
            .is_some_and(|user| user.realm == Realm::Reserved)
    }
}

const FIELDS: [&str; 8] = [
    "username",
    "password",
    "password_hash",
    "roles",
    "full_name",
    "email",
    "metadata",
    "enabled",
];

/// What somebody wants a user to be.
struct Wish {
    password: Option<String>,
    roles: Option<Vec<String>>,
    full_name: Option<String>,
    email: Option<String>,
    metadata: Map<String, Value>,
    enabled: bool,
}

impl Wish {
    fn read(call: &Call, name: &str) -> Result<Self, Problem> {
        let fields = call.fields("add user request", &FIELDS)?;
        if fields.get("username").is_some_and(|sent| sent != name) {
            return Err(Problem::illegal(format!(
                "[username] in source does not match the username provided [{name}]"
            )));
        }
        let other = |field: &str, wanted: &str, found: &Value| {
            Problem::unreadable(format!(
                "expected field [{field}] to be of type {wanted}, but found [{}] instead",
                kind(found)
            ))
        };
        let text = |field: &str| match fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(found) => Err(other(field, "string", found)),
        };
        let password = text("password")?;
        if password
            .as_ref()
            .is_some_and(|password| password.chars().count() < 6)
        {
            return Err(Problem::validation(SHORT));
        }
        Ok(Self {
            password,
            roles: role_names(fields.get("roles"))?,
            full_name: text("full_name")?,
            email: text("email")?,
            metadata: match fields.get("metadata") {
                None => Map::new(),
                Some(Value::Object(metadata)) => metadata.clone(),
                Some(found) => return Err(other("metadata", "object", found)),
            },
            enabled: match fields.get("enabled") {
                None => true,
                Some(Value::Bool(enabled)) => *enabled,
                Some(found) => return Err(other("enabled", "boolean", found)),
            },
        })
    }

    fn check(&self) -> Result<(), Problem> {
        let mut wrong = Vec::new();
        if self.roles.is_none() {
            wrong.push("roles are missing".to_owned());
        }
        if self.metadata.keys().any(|key| key.starts_with('_')) {
            wrong.push("metadata keys may not start with [_]".to_owned());
        }
        Problem::invalid(&wrong)
    }
}

/// Roles: a list, or a text with commas.
fn role_names(sent: Option<&Value>) -> Result<Option<Vec<String>>, Problem> {
    let expected = |found: &str| {
        Problem::unreadable(format!(
            "could not parse [roles] field. expected a string array but found {found} value instead"
        ))
    };
    match sent {
        None => Ok(None),
        Some(Value::Null) => Err(expected("null")),
        Some(Value::String(text)) => Ok(Some(text.split(',').map(str::to_owned).collect())),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                let text = item.as_str().map(str::to_owned);
                text.ok_or_else(|| expected(&format!("[{}]", kind(item))))
            })
            .collect::<Result<_, _>>()
            .map(Some),
        Some(other) => Err(expected(&format!("[{}]", kind(other)))),
    }
}

/// `PUT /_security/user/{name}`.
pub(super) fn put(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    let name = call.at(0);
    let wish = Wish::read(call, name)?;
    wish.check()?;
    server.authorize(call, Action::PutUser)?;
    let roles = wish.roles.unwrap_or_default();
    let mut wrong = Vec::new();
    if !plain(name) {
        wrong.push(BAD_NAME.to_owned());
    }
    if server.is_reserved(name) {
        wrong.push(format!(
            "user [{name}] is reserved and only the password can be changed"
        ));
    }
    wrong.extend(roles.iter().filter_map(|role| roles::bad_name(role)));
    Problem::invalid(&wrong)?;
    let before = server.user(name);
    let created = before.is_none();
    let kept = before.and_then(|user| user.password);
    let password = wish.password.as_deref().map(chance::hash).or(kept);
    if password.is_none() {
        let reason = "password must be specified unless you are updating an existing user";
        return Err(Problem::validation(reason));
    }
    let user = User {
        name: name.to_owned(),
        realm: Realm::Native,
        password,
        roles,
        full_name: wish.full_name,
        email: wish.email,
        metadata: wish.metadata,
        enabled: wish.enabled,
    };
    match server.user_mut(name) {
        Some(place) => *place = user,
        None => server.users.push(user),
    }
    Ok(Answer::ok(json!({ "created": created })))
}

/// `GET /_security/user` and `/_security/user/{names}`.
pub(super) fn get(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.flag("with_profile_uid")?;
    server.authorize(call, Action::GetUsers)?;
    let names: Vec<&str> = call.at(0).split(',').collect();
    let found: Map<String, Value> = server
        .users
        .iter()
        .filter(|user| call.places.is_empty() || names.contains(&user.name.as_str()))
        .map(|user| (user.name.clone(), user.json()))
        .collect();
    if found.is_empty() {
        return Ok(Answer::absent(json!({})));
    }
    Ok(Answer::ok(Value::Object(found)))
}

/// `DELETE /_security/user/{name}`. Its keys stay.
pub(super) fn delete(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    server.authorize(call, Action::DeleteUser)?;
    let name = call.at(0);
    if server.is_reserved(name) {
        let reason = format!("user [{name}] is reserved and cannot be deleted");
        return Err(Problem::illegal(reason));
    }
    let before = server.users.len();
    server.users.retain(|user| user.name != name);
    let found = server.users.len() < before;
    let body = json!({ "found": found });
    Ok(if found {
        Answer::ok(body)
    } else {
        Answer::absent(body)
    })
}

/// `_password`, of oneself or of the user whom the path names.
pub(super) fn password(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    let subject = call.caller()?.subject.clone();
    let name = if call.places.is_empty() {
        subject.name.clone()
    } else {
        call.at(0).to_owned()
    };
    let fields = call.fields("change password request", &["password", "password_hash"])?;
    let password = fields.get("password").and_then(Value::as_str);
    if password.is_some_and(|password| password.chars().count() < 6) {
        return Err(Problem::validation(SHORT));
    }
    let Some(password) = password else {
        Problem::invalid(&["password is missing".to_owned()])?;
        return Ok(Answer::ok(json!({})));
    };
    let own = name == subject.name && subject.key.is_none();
    if !own || call.caller()?.real.is_some() {
        server.authorize(call, Action::ChangePassword)?;
    }
    let hash = chance::hash(password);
    let Some(user) = server.user_mut(&name) else {
        let reason = "user must exist in order to change password";
        return Err(Problem::validation(reason));
    };
    user.password = Some(hash);
    Ok(Answer::ok(json!({})))
}

/// `_enable`.
pub(super) fn enable(server: &mut Elasticsearch, call: &Call) -> Reply {
    set_enabled(server, call, "enabled")
}

/// `_disable`.
pub(super) fn disable(server: &mut Elasticsearch, call: &Call) -> Reply {
    set_enabled(server, call, "disabled")
}

fn set_enabled(server: &mut Elasticsearch, call: &Call, word: &str) -> Reply {
    server.authorize(call, Action::SetEnabled)?;
    if call.at(0) == call.caller()?.subject.name {
        let reason = "users may not update the enabled status of their own account";
        return Err(Problem::illegal(reason));
    }
    match server.user_mut(call.at(0)) {
        Some(user) => {
            user.enabled = word == "enabled";
            Ok(Answer::ok(json!({})))
        }
        None => Err(Problem::validation(&format!(
            "only existing users can be {word}"
        ))),
    }
}
