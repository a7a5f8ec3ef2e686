//! Signing in with a name and a password, sessions, access tokens.
//!
//! Cookie names end in the installation id. A session cookie counts only with the anti-forgery
//! header (Octopus product documentation, "CSRF and Octopus Deploy"). That a bad password answers
//! 400, and what a missing anti-forgery header answers, is not documented.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::Call;
use super::config::since;
use super::events::Category;
use super::store::same;
use super::users::{Kind, User};
use super::{Octopus, Permission, chance, users};

/// Somebody signed in with a browser.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) hash: [u8; 32],
    pub(super) csrf: String,
    pub(super) user: String,
    pub(super) expires: Timestamp,
}

/// A short-lived bearer token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) hash: [u8; 32],
    pub(super) user: String,
    pub(super) expires: Timestamp,
}

/// A wrong password, remembered for a while.
#[derive(Debug, Clone)]
pub(super) struct FailedLogin {
    username: String,
    at: Timestamp,
}

/// How many wrong passwords within [`BAN`] close the door.
const TRIES: usize = 10;
const BAN: SignedDuration = SignedDuration::from_mins(10);
/// How long an access token lasts.
pub(super) const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

pub(super) fn login(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let (Some(name), Some(password)) = (body.said("Username"), body.said("Password")) else {
        return Err(Problem::bad("Username and Password are required."));
    };
    octopus
        .failed_logins
        .retain(|failed| call.now.duration_since(failed.at) < BAN);
    let failed = octopus
        .failed_logins
        .iter()
        .filter(|failed| same(&failed.username, &name))
        .count();
    if failed >= TRIES {
        return Err(refused(
            "You have had too many failed login attempts. Please try again later.",
        ));
    }
    let Some(user) = right(octopus, &name, &password) else {
        octopus.failed_logins.push(FailedLogin {
            username: name,
            at: call.now,
        });
        return Err(refused("Invalid username or password."));
    };
    if !user.active {
        return Err(refused("The user account has been disabled."));
    }
    let lasts = match body.flag("RememberMe") {
        Some(true) => octopus.settings.remembered(),
        _ => octopus.settings.session(),
    };
    let (cookie, csrf) = (octopus.chance.secret(), octopus.chance.secret());
    let session = Session {
        hash: chance::hash(&cookie),
        csrf: csrf.clone(),
        user: user.id.clone(),
        expires: call.now + lasts,
    };
    octopus.sessions.push(session);
    octopus.audit(
        call,
        Category::LoginSucceeded,
        "User",
        &user.id,
        &user.username,
    );
    let mut answer = Answer::ok(users::resource(octopus, call, &user));
    answer.body = answer.body.map(|mut body| {
        body["IsRequestor"] = Value::Bool(true);
        body
    });
    let installation = &octopus.installation;
    answer.cookies = vec![
        format!(
            "OctopusIdentificationToken_{installation}={cookie}; Path=/; HttpOnly; SameSite=Lax"
        ),
        format!("Octopus-Csrf-Token_{installation}={csrf}; Path=/; SameSite=Lax"),
    ];
    Ok(answer)
}

/// The user with this name, or else the only one with this e-mail address, if the password is
/// right.
fn right(octopus: &Octopus, name: &str, password: &str) -> Option<User> {
    let by_name = || octopus.users.iter().find(|user| same(&user.username, name));
    let by_email = || {
        let mut found = octopus
            .users
            .iter()
            .filter(|user| user.email.as_deref().is_some_and(|email| same(email, name)));
        found.next().filter(|_| found.next().is_none())
    };
    let user = by_name().or_else(by_email)?;
    let hash = chance::hash(password);
    match &user.kind {
        Kind::Human {
            password: Some(right),
        } if *right == hash => Some(user.clone()),
        _ => None,
    }
}

fn refused(text: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, text)
}

pub(super) fn logout(octopus: &mut Octopus, call: &Call) -> Reply {
    if let Some(cookie) = call.cookie("OctopusIdentificationToken") {
        let hash = chance::hash(cookie);
        octopus.sessions.retain(|session| session.hash != hash);
    }
    Ok(Answer::empty())
}

pub(super) fn revoke(octopus: &mut Octopus, call: &Call) -> Reply {
    if octopus.version < since::REVOKE_SESSIONS {
        return Err(Problem::no_route());
    }
    octopus.require_for(call, call.at(0), Permission::UserEdit)?;
    let user = octopus.users.get(call.at(0))?.id.clone();
    octopus.sessions.retain(|session| session.user != user);
    Ok(Answer::ok(json!({})))
}

/// A bearer token for the caller.
pub(super) fn access_token(octopus: &mut Octopus, call: &Call) -> Reply {
    if octopus.version < since::ACCESS_TOKEN {
        return Err(Problem::no_route());
    }
    let user = call.caller()?.user.clone();
    let token = octopus.issue(call, &user);
    Ok(Answer::ok(json!({ "AccessToken": token })))
}

impl Octopus {
    /// Makes a token. It has the form of a JWT; nobody but the twin can tell that its signature
    /// is none.
    pub(super) fn issue(&mut self, call: &Call, user: &str) -> String {
        let expires = call.now + TOKEN_LIFE;
        let header = json!({ "alg": "PS256", "typ": "JWT", "kid": super::oidc::KEY_ID });
        let claims = json!({
            "iss": self.issuer(call),
            "sub": user,
            "iat": call.now.as_second(),
            "exp": expires.as_second(),
            "jti": self.chance.guid(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signature = URL_SAFE_NO_PAD.encode(self.chance.secret());
        let token = format!("{}.{}.{signature}", part(&header), part(&claims));
        self.tokens.retain(|token| token.expires > call.now);
        self.tokens.push(Token {
            hash: chance::hash(&token),
            user: user.to_owned(),
            expires,
        });
        token
    }

    /// The server's own address, or what stands for it in tokens.
    pub(super) fn issuer(&self, call: &Call) -> String {
        let own = || format!("{}{}", call.origin, self.prefix);
        self.settings.issuer.clone().unwrap_or_else(own)
    }
}
