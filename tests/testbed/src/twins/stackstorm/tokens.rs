//! Tokens of `st2auth`, in its standalone mode with a password file.
//!
//! No API ends a token, and none makes, changes or ends a user or a password. An expired token
//! stays in the database and is told apart from an unknown one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Problem, Reply, date};
use super::call::Call;
use super::{StackStorm, chance, schema};

/// A token. Of its text only a hash is kept.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) user: String,
    pub(super) hash: [u8; 32],
    pub(super) expires: Timestamp,
}

pub(super) fn create(st2: &mut StackStorm, call: &Call) -> Reply {
    let wish = schema::object(call.body()?)?;
    let ttl = ttl(&wish)?;
    let login = call.header(AUTHORIZATION.as_str()).and_then(basic);
    let user = login
        .filter(|(user, password)| st2.passwords.get(user) == Some(&chance::hash(password)))
        .map(|(user, _)| user)
        .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "Invalid or missing credentials"))?;
    let user = st2.impersonated(user, &wish)?;
    let longest = i64::from(st2.token_ttl);
    let ttl = ttl.unwrap_or(longest);
    if ttl > longest {
        return Err(Problem::bad(format!(
            "TTL specified {ttl} is greater than max allowed {longest}."
        )));
    }
    st2.register(call.now, &user);
    let text = st2.chance.token();
    let expires = call.now + SignedDuration::from_secs(ttl);
    st2.tokens.push(Token {
        user: user.clone(),
        hash: chance::hash(&text),
        expires,
    });
    let json = json!({
        "id": st2.chance.object_id(call.now),
        "user": user,
        "token": text,
        "expiry": date(expires),
        "metadata": {},
        "service": false,
    });
    Ok(Answer::created(json).with("x-api-url", format!("{}/api", call.base)))
}

pub(super) fn validate(st2: &mut StackStorm, call: &Call) -> Reply {
    let fields = schema::object(call.body()?)?;
    let text = match fields.get("token") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(other) => return Err(schema::wrong_type(other, &["string", "null"])),
    };
    if text.is_empty() {
        return Err(Problem::bad("Token is not provided."));
    }
    let hash = chance::hash(text);
    let valid = st2
        .tokens
        .iter()
        .any(|token| token.hash == hash && call.now < token.expires);
    Ok(Answer::ok(json!({ "valid": valid })))
}

impl StackStorm {
    /// Whom the token is for: who asks or, when that is a service, whom it names.
    fn impersonated(&self, user: String, wish: &Map<String, Value>) -> Result<String, Problem> {
        let named = |name: &str| wish.get(name).filter(|value| !value.is_null());
        let (name, nickname) = match (named("user"), named("impersonate_user")) {
            (Some(name), _) => (name, false),
            (None, Some(name)) => (name, true),
            (None, None) => return Ok(user),
        };
        let name = name.as_str().unwrap_or_default();
        if !self.is_service(&user) {
            return Err(Problem::bad(
                "Current user is not a service and cannot request impersonated tokens",
            ));
        }
        if !nickname {
            return Ok(name.to_owned());
        }
        Err(Problem::bad(
            match named("nickname_origin").and_then(Value::as_str) {
                None | Some("") => {
                    format!("Nickname origin is not provided for nickname '{name}'")
                }
                Some(origin) => format!("Could not locate user {name}@{origin}"),
            },
        ))
    }
}

/// The lifetime that the caller wants, in seconds.
fn ttl(wish: &Map<String, Value>) -> Result<Option<i64>, Problem> {
    let Some(value) = wish.get("ttl").filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    if !(value.is_i64() || value.is_u64()) {
        return Err(schema::wrong_type(value, &["integer", "null"]));
    }
    match value.as_i64().unwrap_or(i64::MAX) {
        ttl @ ..1 => Err(Problem::bad(format!("{ttl} is less than the minimum of 1"))),
        ttl => Ok(Some(ttl)),
    }
}

/// The name and password of a Basic header.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, value) = header.split_once(' ')?;
    let value = STANDARD.decode(value).ok()?;
    let text = String::from_utf8(value).ok()?;
    let (user, password) = text.split_once(':')?;
    scheme
        .eq_ignore_ascii_case("basic")
        .then(|| (user.to_owned(), password.to_owned()))
}
