//! What we have added to an account, and its annotation: one word each.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use crate::plan::port::TeamId;

/// One thing that we have added to an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Added {
    /// A membership in this team.
    Team(TeamId),
    /// The login of this external provider.
    Login(String),
    /// The OIDC identity of this name.
    Oidc(String),
}

impl Added {
    /// The team, if it is one.
    pub(super) fn team(&self) -> Option<&TeamId> {
        match self {
            Self::Team(id) => Some(id),
            Self::Login(_) | Self::Oidc(_) => None,
        }
    }
}

/// What stands before the name of a login's provider. No id of a team has a colon.
const LOGIN: &str = "login:";

/// What stands before the name of an OIDC identity.
const OIDC: &str = "oidc:";

impl fmt::Display for Added {
    /// `Teams-21`, `login:Azure%20AD`, `oidc:shop`: a word without a blank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(id) => f.write_str(id.as_str()),
            Self::Login(provider) => write!(f, "{LOGIN}{}", word(provider)),
            Self::Oidc(name) => write!(f, "{OIDC}{}", word(name)),
        }
    }
}

/// The word means nothing that we have added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a word of ours")]
pub struct NotOurs;

impl FromStr for Added {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        if let Some(rest) = text.strip_prefix(LOGIN) {
            name(rest).map(Self::Login).ok_or(NotOurs)
        } else if let Some(rest) = text.strip_prefix(OIDC) {
            name(rest).map(Self::Oidc).ok_or(NotOurs)
        } else {
            Ok(Self::Team(TeamId::new(text)))
        }
    }
}

/// A name as a word: what could end it stands there as `%` and two digits.
fn word(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/@".contains(&byte) {
            word.push(char::from(byte));
        } else {
            let _ = write!(word, "%{byte:02X}");
        }
    }
    word
}

/// The name that a word stands for; `None` for one that makes no sense.
fn name(word: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_comes_back_as_written() {
        for (added, text) in [
            (Added::Team(TeamId::new("Teams-21")), "Teams-21"),
            (Added::Login("Azure AD".to_owned()), "login:Azure%20AD"),
            (Added::Oidc("a:b%ü".to_owned()), "oidc:a%3Ab%25%C3%BC"),
        ] {
            assert_eq!(added.to_string(), text);
            assert_eq!(text.parse(), Ok(added));
        }
        for nonsense in ["login:%", "oidc:%4", "oidc:%zz", "login:%FF"] {
            assert_eq!(nonsense.parse::<Added>(), Err(NotOurs), "{nonsense}");
        }
    }
}
