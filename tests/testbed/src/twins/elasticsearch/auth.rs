//! Who is asking: a user with a password, or an API key; and as whom.
//!
//! A key is known by its document alone: it outlives its owner, deleted or disabled. Seen on a real
//! server (8.19.21).

use http::header::AUTHORIZATION;
use serde_json::json;

use super::answer::{Cause, Problem, WAYS_IN, WAYS_IN_BASIC, show};
use super::call::{Call, unbase64};
use super::config::License;
use super::json::fits;
use super::privileges::Action;
use super::roles::Descriptor;
use super::users::User;
use super::{Elasticsearch, chance};

/// Where an account is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Realm {
    /// Accounts that are made through the API.
    Native,
    /// Accounts that every server has.
    Reserved,
    /// What a key makes belongs to the key's user, but in this realm.
    ApiKey,
}

impl Realm {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Native => "default_native",
            Self::Reserved => "reserved",
            Self::ApiKey => "_es_api_key",
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Reserved => "reserved",
            Self::ApiKey => "_es_api_key",
        }
    }
}

/// Somebody who can be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) name: String,
    /// None for a user whom there is not.
    pub(super) realm: Option<Realm>,
    /// The id of the key in use.
    pub(super) key: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// As whom.
    pub(super) subject: Subject,
    /// Whose credential it was, when that is somebody else.
    pub(super) real: Option<Subject>,
}

impl Caller {
    pub(super) fn for_the_journal(&self) -> crate::twins::Caller {
        let real = self.real.as_ref().unwrap_or(&self.subject);
        crate::twins::Caller {
            user: self.subject.name.clone(),
            key: real.key.clone(),
        }
    }
}

const WITH_CREDENTIALS: &str = "unable to authenticate with provided credentials and anonymous \
                                access is not allowed for this request";

impl Elasticsearch {
    /// Who asks; 401 when that is nobody.
    pub(super) fn identify(&self, call: &Call) -> Result<Caller, Problem> {
        let what = format!("REST request [{}]", call.uri);
        let credential = call.header(AUTHORIZATION.as_str()).unwrap_or_default();
        let (scheme, value) = credential.split_once(' ').unwrap_or_default();
        let subject = if scheme.eq_ignore_ascii_case("basic") {
            let plain = unbase64(value);
            let pair = plain.as_deref().and_then(|plain| plain.split_once(':'));
            let Some((name, password)) = pair else {
                return Err(self.stranger("invalid basic authentication header value"));
            };
            let user = self.by_password(name, password);
            user.ok_or_else(|| {
                self.stranger(&format!("unable to authenticate user [{name}] for {what}"))
            })?
        } else if scheme.eq_ignore_ascii_case("apikey") {
            self.by_key(call, value)
                .map_err(|why| self.refused(&format!("API key: {why}")))?
        } else if scheme.eq_ignore_ascii_case("bearer") {
            return Err(self.refused("oauth2 token: invalid token"));
        } else {
            return Err(self.stranger(&format!("missing authentication credentials for {what}")));
        };
        match call.header("es-security-runas-user") {
            None => Ok(Caller {
                subject,
                real: None,
            }),
            Some(target) => self.run_as(subject, target).map_err(|name| {
                self.stranger(&format!("unable to authenticate user [{name}] for {what}"))
            }),
        }
    }

    /// The subject as somebody else. The name to complain of when that one cannot be.
    pub(super) fn run_as(&self, subject: Subject, target: &str) -> Result<Caller, String> {
        let user = self.user(target);
        if target.is_empty() || user.is_some_and(|user| !user.enabled) {
            return Err(subject.name);
        }
        Ok(Caller {
            subject: Subject {
                name: target.to_owned(),
                realm: user.map(|user| user.realm),
                key: None,
            },
            real: Some(subject),
        })
    }

    pub(super) fn by_password(&self, name: &str, password: &str) -> Option<Subject> {
        let user = self.user(name)?;
        let fits = user.password == Some(chance::hash(password)) && user.enabled;
        fits.then(|| Subject {
            name: name.to_owned(),
            realm: Some(user.realm),
            key: None,
        })
    }

    fn by_key(&self, call: &Call, encoded: &str) -> Result<Subject, String> {
        let plain = unbase64(encoded);
        let (id, secret) = plain
            .as_deref()
            .and_then(|plain| plain.split_once(':'))
            .ok_or("invalid ApiKey value")?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| format!("unable to find apikey with id {id}"))?;
        if key.invalidated.is_some() {
            return Err(format!("api key [{id}] has been invalidated"));
        }
        if key.hash != chance::hash(secret) {
            return Err(format!("invalid credentials for API key [{id}]"));
        }
        if key.is_expired(call.now) {
            return Err("api key is expired".to_owned());
        }
        Ok(Subject {
            name: key.user.clone(),
            realm: Some(Realm::ApiKey),
            key: Some(id.to_owned()),
        })
    }

    /// The ways to sign in.
    fn ways_in(&self) -> &'static [&'static str] {
        match self.license {
            License::Basic => &WAYS_IN_BASIC,
            License::Trial => &WAYS_IN,
        }
    }

    fn stranger(&self, reason: &str) -> Problem {
        Problem::stranger(&Cause::new("security_exception", reason), self.ways_in())
    }

    fn refused(&self, why: &str) -> Problem {
        let cause = Cause::new("security_exception", WITH_CREDENTIALS);
        let cause = cause.with("additional_unsuccessful_credentials", json!(why));
        Problem::stranger(&cause, self.ways_in())
    }

    /// 403 for a grant whose inner credential does not fit.
    pub(super) fn failed_grant(&self, user: &str, more: Option<&str>) -> Problem {
        let action = Action::GrantKey.name();
        let reason = format!("unable to authenticate user [{user}] for action [{action}]");
        let mut inner = Cause::new("security_exception", reason);
        if let Some(more) = more {
            inner = inner.with("additional_unsuccessful_credentials", json!(more));
        }
        let cause = Cause::new("security_exception", "Failed to authenticate api key grant");
        Problem::forbidden(&cause.by(show(&inner, self.ways_in())))
    }

    /// What somebody may do: every layer must grant it.
    pub(super) fn layers(&self, subject: &Subject) -> Vec<Vec<&Descriptor>> {
        let key = subject.key.as_ref();
        let key = key.and_then(|id| self.keys.iter().find(|key| key.id == *id));
        if let Some(key) = key {
            let mut layers = vec![key.limited_by.values().collect()];
            if !key.roles.is_empty() {
                layers.push(key.roles.values().collect());
            }
            return layers;
        }
        let user = self.user(&subject.name);
        let roles = user.map(|user| user.roles.as_slice()).unwrap_or_default();
        vec![
            roles
                .iter()
                .filter_map(|role| self.roles.get(role))
                .collect(),
        ]
    }

    /// Whether somebody may do something.
    pub(super) fn may(&self, subject: &Subject, action: Action) -> bool {
        action == Action::Authenticate
            || self
                .layers(subject)
                .iter()
                .all(|layer| action.is_granted(layer))
    }

    /// 403 unless the caller may do it, and may be who he says.
    pub(super) fn authorize(&self, call: &Call, action: Action) -> Result<(), Problem> {
        self.authorize_caller(call.caller()?, action)
    }

    pub(super) fn authorize_caller(&self, caller: &Caller, action: Action) -> Result<(), Problem> {
        let name = action.name();
        if let Some(real) = &caller.real {
            let target = &caller.subject.name;
            let may_run_as = self.layers(real).iter().all(|layer| {
                let mut names = layer.iter().flat_map(|role| &role.run_as);
                names.any(|pattern| fits(pattern, target))
            });
            if !may_run_as || caller.subject.realm.is_none() {
                let who = self.described(real);
                return Err(forbidden(&format!(
                    "action [{name}] is unauthorized for {who}, because user [{}] is unauthorized \
                     to run as [{target}]",
                    real.name
                )));
            }
        }
        if self.may(&caller.subject, action) {
            return Ok(());
        }
        let who = match &caller.real {
            Some(real) => {
                let described = self.described(&caller.subject);
                let as_whom = described.trim_start_matches("user ");
                format!("user [{}] run as {as_whom}", real.name)
            }
            None => self.described(&caller.subject),
        };
        let privileges = action.granted_by().join(",");
        Err(forbidden(&format!(
            "action [{name}] is unauthorized for {who}, this action is granted by the cluster \
             privileges [{privileges}]"
        )))
    }

    /// Somebody, as the server describes him when it refuses him.
    fn described(&self, subject: &Subject) -> String {
        let name = &subject.name;
        if let Some(key) = &subject.key {
            return format!("API key id [{key}] of user [{name}]");
        }
        let user: Option<&User> = self.user(name);
        let mut roles = user.map(|user| user.roles.clone()).unwrap_or_default();
        roles.sort_unstable();
        roles.dedup();
        let (found, missing): (Vec<_>, Vec<_>) = roles
            .into_iter()
            .partition(|role| self.roles.contains_key(role));
        let missing = if missing.is_empty() {
            String::new()
        } else {
            format!(" (assigned roles [{}] were not found)", missing.join(","))
        };
        let found = found.join(",");
        format!("user [{name}] with effective roles [{found}]{missing}")
    }
}

fn forbidden(reason: &str) -> Problem {
    Problem::forbidden(&Cause::new("security_exception", reason))
}
