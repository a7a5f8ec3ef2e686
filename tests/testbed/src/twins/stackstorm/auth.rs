//! Who asks: tokens and API keys, in the server's order.
//!
//! The first place that holds something decides; when that is bad, no other is tried.

use jiff::Timestamp;

use super::answer::Problem;
use super::call::Call;
use super::{StackStorm, chance};

/// Who asks, and with what.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user: String,
    pub(super) via: Via,
    pub(super) location: Location,
}

/// Where a credential stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    Header,
    Query,
    Cookie,
}

impl Location {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Query => "query",
            Self::Cookie => "cookie",
        }
    }
}

/// The credential in use.
#[derive(Debug, Clone)]
pub(super) enum Via {
    /// The key with this id.
    Key(String),
    /// A token, and when it ends.
    Token(Timestamp),
}

impl Caller {
    pub(super) fn for_the_journal(self) -> crate::twins::Caller {
        let key = match self.via {
            Via::Key(id) => Some(id),
            Via::Token(_) => None,
        };
        crate::twins::Caller {
            user: self.user,
            key,
        }
    }
}

impl StackStorm {
    /// Who asks; 401 when nobody does, or with something bad; 404 when the user's record is gone.
    pub(super) fn identify(&self, call: &Call) -> Result<Caller, Problem> {
        use Location::{Cookie, Header, Query};
        let places = [
            (Self::by_token as Check, call.header("x-auth-token"), Header),
            (Self::by_key, call.header("st2-api-key"), Header),
            (Self::by_token, call.query("x-auth-token"), Query),
            (Self::by_key, call.query("st2-api-key"), Query),
            (Self::by_token, call.cookie("auth-token"), Cookie),
        ];
        let mut filled = places.into_iter().filter_map(|(check, text, location)| {
            let text = text.filter(|text| !text.is_empty())?;
            Some((check, text, location))
        });
        let (check, text, location) = filled.next().ok_or_else(Problem::no_credential)?;
        let (user, via) = check(self, call.now, text)?;
        if !self.knows(&user) {
            return Err(Problem::not_found(format!(
                "Unable to find the UserDB instance. {{'name': '{user}'}}"
            )));
        }
        Ok(Caller {
            user,
            via,
            location,
        })
    }

    fn by_key(&self, _: Timestamp, text: &str) -> Result<(String, Via), Problem> {
        let hash = chance::key_hash(text);
        let key = self.keys.iter().find(|key| key.hash == hash);
        let key = key.ok_or_else(|| {
            Problem::unauthorized(Some(&format!("ApiKey with key_hash={hash} not found.")))
        })?;
        if !key.enabled {
            return Err(Problem::unauthorized(Some("API key is disabled.")));
        }
        Ok((key.user.clone(), Via::Key(key.id.clone())))
    }

    fn by_token(&self, now: Timestamp, text: &str) -> Result<(String, Via), Problem> {
        let hash = chance::hash(text);
        let token = self.tokens.iter().find(|token| token.hash == hash);
        let token = token.ok_or_else(|| Problem::unauthorized(None))?;
        if token.expires <= now {
            return Err(Problem::unauthorized(Some("Token has expired.")));
        }
        Ok((token.user.clone(), Via::Token(token.expires)))
    }
}

/// Looks a credential up.
type Check = fn(&StackStorm, Timestamp, &str) -> Result<(String, Via), Problem>;

/// The cookie that an answer sets when a token stood in a header or the query.
pub(super) fn cookie(call: &Call) -> Option<String> {
    let caller = call.caller.as_ref()?;
    let Via::Token(expires) = caller.via else {
        return None;
    };
    let text = match caller.location {
        Location::Header => call.header("x-auth-token"),
        Location::Query => call.query("x-auth-token"),
        Location::Cookie => None,
    }?;
    let left = expires.duration_since(call.now).as_secs();
    Some(format!(
        "auth-token={text}; Max-Age={left}; Path=/; secure; HttpOnly; SameSite=lax"
    ))
}
