//! Who is asking: API keys, access tokens, session cookies.
//!
//! A key is taken from the header `X-Octopus-ApiKey`, from `X-NuGet-ApiKey`, or from the query
//! (`ApiKey`, `api-key`); a token from `Authorization: Bearer`; a session from its cookie, and
//! then only together with the anti-forgery header.

use super::answer::Problem;
use super::call::Call;
use super::{Octopus, chance};

/// Who asks, and with what.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user: String,
    pub(super) via: Via,
}

/// The credential in use.
#[derive(Debug, Clone)]
pub(super) enum Via {
    /// The key with this id.
    Key(String),
    /// An access token.
    Token,
    /// A session.
    Session,
}

impl Caller {
    pub(super) fn for_the_journal(self) -> crate::twins::Caller {
        let key = if let Via::Key(key) = self.via {
            Some(key)
        } else {
            None
        };
        crate::twins::Caller {
            user: self.user,
            key,
        }
    }
}

impl Octopus {
    /// Who asks; nobody when there is no credential, 401 when there is a bad one.
    pub(super) fn identify(&mut self, call: &Call) -> Result<Option<Caller>, Problem> {
        let key = call
            .header("x-octopus-apikey")
            .or_else(|| call.header("x-nuget-apikey"))
            .or_else(|| call.query("apikey"))
            .or_else(|| call.query("api-key"));
        let caller = if let Some(key) = key {
            self.by_key(call, key)?
        } else if let Some(token) = call.header("authorization").and_then(bearer) {
            self.by_token(call, token)?
        } else if let Some(cookie) = call.cookie("OctopusIdentificationToken") {
            self.by_session(call, cookie)?
        } else {
            return Ok(None);
        };
        match self.users.find(&caller.user) {
            // Keys of a disabled user stop at once (2019.5, Octopus issue 4779).
            Some(user) if user.active => Ok(Some(caller)),
            _ => Err(Problem::bad_key()),
        }
    }

    fn by_key(&mut self, call: &Call, text: &str) -> Result<Caller, Problem> {
        let hash = chance::hash(text);
        let key = self
            .keys
            .iter_mut()
            .find(|key| key.hash == hash && key.expires.is_none_or(|end| call.now < end))
            .ok_or_else(Problem::bad_key)?;
        key.last_used = Some(call.now);
        Ok(Caller {
            user: key.user.clone(),
            via: Via::Key(key.id.clone()),
        })
    }

    fn by_token(&self, call: &Call, text: &str) -> Result<Caller, Problem> {
        let hash = chance::hash(text);
        self.tokens
            .iter()
            .find(|token| token.hash == hash && call.now < token.expires)
            .map(|token| Caller {
                user: token.user.clone(),
                via: Via::Token,
            })
            .ok_or_else(Problem::not_signed_in)
    }

    fn by_session(&mut self, call: &Call, cookie: &str) -> Result<Caller, Problem> {
        let hash = chance::hash(cookie);
        let lasts = self.settings.session();
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.hash == hash && call.now < session.expires)
            .ok_or_else(Problem::not_signed_in)?;
        if call.header("x-octopus-csrf-token") != Some(session.csrf.as_str()) {
            return Err(Problem::new(
                http::StatusCode::UNAUTHORIZED,
                "A required anti-forgery token was not supplied or was invalid.",
            ));
        }
        session.expires = session.expires.max(call.now + lasts);
        Ok(Caller {
            user: session.user.clone(),
            via: Via::Session,
        })
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}
