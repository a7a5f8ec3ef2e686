//! Users: a record each, made on the way, and who one is.
//!
//! The server has no API for users (`/v1/users` is a 404). A record is made by the first token or
//! the first key for its name, and no API ends one.

use jiff::Timestamp;
use serde_json::json;

use super::StackStorm;
use super::answer::{Answer, Reply};
use super::auth::Via;
use super::call::Call;

/// The record of a user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) created: Timestamp,
    /// Whether it may ask for tokens of others. No API changes it.
    pub(super) is_service: bool,
}

/// `GET /v1`.
pub(super) fn root(st2: &mut StackStorm, _: &Call) -> Reply {
    let version = &st2.version;
    let docs = if version.contains("dev") {
        "latest".to_owned()
    } else {
        let numbers: Vec<&str> = version.split('.').take(2).collect();
        numbers.join(".")
    };
    Ok(Answer::ok(json!({
        "version": version,
        "docs_url": format!("http://docs.stackstorm.com/{docs}"),
    })))
}

/// `GET /v1/user`.
pub(super) fn whoami(st2: &mut StackStorm, call: &Call) -> Reply {
    let caller = call.caller()?;
    let location = caller.location.name();
    let authentication = match caller.via {
        Via::Key(_) => json!({ "method": "API key", "location": location }),
        Via::Token(expires) => json!({
            "method": "authentication token",
            "location": location,
            "token_expire": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }),
    };
    let roles: Vec<&str> = if st2.rbac {
        st2.roles_of(&caller.user)
            .map(|role| role.name.as_str())
            .collect()
    } else {
        Vec::new()
    };
    Ok(Answer::ok(json!({
        "username": caller.user,
        "authentication": authentication,
        "rbac": {
            "enabled": st2.rbac,
            "roles": roles,
            "is_admin": st2.is_admin(&caller.user),
        },
    })))
}

impl StackStorm {
    /// Makes the record of a user, unless there is one.
    pub(super) fn register(&mut self, now: Timestamp, name: &str) {
        if !self.knows(name) {
            self.users.push(User {
                name: name.to_owned(),
                created: now,
                is_service: false,
            });
        }
    }

    /// Whether there is a record of this user.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.users.iter().any(|user| user.name == name)
    }

    /// Lets a user ask for tokens of others.
    pub(super) fn serve(&mut self, name: &str) {
        let mut users = self.users.iter_mut();
        if let Some(user) = users.find(|user| user.name == name) {
            user.is_service = true;
        }
    }

    pub(super) fn is_service(&self, name: &str) -> bool {
        let mut users = self.users.iter();
        users.any(|user| user.name == name && user.is_service)
    }
}
