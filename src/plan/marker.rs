//! The text that we leave on a key on the server, so that a key can always be led back to the
//! attempt that made it: `… · <namespace>/<name> · ako1.<installation>.<ns>.<uid>.<serial>.<nonce>`.
//!
//! `parse ∘ format` is the identity; only the last word of a text is parsed, and what a person
//! writes may not contain the form of a token ([`looks_like_token`]).

use std::fmt;

use sha2::{Digest, Sha256};

use super::record::{Nonce, Serial, Uid};

/// The first part of every token: our name, and the version of the form.
const FORM: &str = "ako1.";
/// Between the parts of a text.
const DOT: &str = " · ";

/// Which installation of the operator made a key: a short hash, or what its owner has set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Installation(String);

impl Installation {
    /// Takes a name of 1 to 32 lower-case letters, digits and dashes; anything else is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ((1..=32).contains(&text.len()) && text.chars().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The installation that these facts of a cluster and of a release make up.
    pub fn derive(cluster: &str, authority: &str, release: &str) -> Self {
        Self(digest(&[cluster, authority, release]))
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A short hash of a namespace's name, as tokens carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceHash(String);

impl NamespaceHash {
    /// The hash of this name.
    pub fn of(namespace: &str) -> Self {
        Self(digest(&[namespace]))
    }
}

/// What a token says: who made the key, for which ApiKey, in which attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The installation that made the key.
    pub installation: Installation,
    /// The namespace of the ApiKey.
    pub namespace: NamespaceHash,
    /// The ApiKey.
    pub uid: Uid,
    /// The serial of the attempt.
    pub serial: Serial,
    /// The nonce of the attempt.
    pub nonce: Nonce,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            installation,
            namespace,
            uid,
            serial,
            nonce,
        } = self;
        write!(
            f,
            "{FORM}{installation}.{}.{uid}.{serial}.{nonce}",
            namespace.0
        )
    }
}

/// The marker in the text of a key, if its last word is one.
pub fn parse(text: &str) -> Option<Marker> {
    let (lead, token) = text.rsplit_once(FORM)?;
    if !(lead.is_empty() || lead.ends_with(char::is_whitespace)) {
        return None;
    }
    let mut parts = token.split('.');
    let marker = Marker {
        installation: Installation::parse(parts.next()?)?,
        namespace: parts
            .next()
            .filter(|hash| hash.len() == 12 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
            .map(|hash| NamespaceHash(hash.to_owned()))?,
        uid: Uid::parse(parts.next()?)?,
        serial: Serial::parse(parts.next()?)?,
        nonce: Nonce::parse(parts.next()?)?,
    };
    parts.next().is_none().then_some(marker)
}

/// Whether a text of a person could be taken for a token.
pub fn looks_like_token(text: &str) -> bool {
    text.contains(FORM)
}

/// What people have to say about a key, for the text on the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Words<'a> {
    /// What the key is for.
    pub purpose: Option<&'a str>,
    /// For whom, as the manifest claims.
    pub on_behalf_of: Option<&'a str>,
    /// Who asked, as admission has stamped it.
    pub requested_by: Option<&'a str>,
    /// Where the manifest is: `<namespace>/<name>`.
    pub home: &'a str,
}

/// The whole text of a key, cut from the left to `limit` characters. The token is never cut: a
/// limit shorter than the token gives the token alone.
pub fn text(words: Words<'_>, marker: &Marker, limit: usize) -> String {
    let clean = |text: &str| {
        text.split(|c: char| c.is_whitespace() || c.is_control())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let parts = [
        words.purpose.map(clean),
        words.on_behalf_of.map(|who| format!("for {}", clean(who))),
        words.requested_by.map(|who| format!("by {}", clean(who))),
        Some(words.home.to_owned()),
    ];
    let lead = parts
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>();
    let (lead, token) = (lead.join(DOT), marker.to_string());
    let room = limit.saturating_sub(token.chars().count() + DOT.chars().count());
    let skip = lead.chars().count().saturating_sub(room);
    let lead: String = lead.chars().skip(skip).collect();
    if lead.is_empty() {
        token
    } else {
        format!("{lead}{DOT}{token}")
    }
}

/// Twelve hexadecimal digits of the SHA-256 of some texts, no two splits of which are alike.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes
        .first_chunk()
        .map(|head| format!("{:012x}", u64::from_be_bytes(*head) >> 16))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            installation: Installation::derive("uid", "ca", "default/apikey-operator"),
            namespace: NamespaceHash::of("team-a"),
            uid: Uid::new("6b8d3c9e-0a51-4f0e-9f6c-1c2d3e4f5a6b"),
            serial: Serial::FIRST,
            nonce: Nonce::from_bytes([7; 16]),
        }
    }

    #[test]
    fn what_is_formatted_is_parsed() {
        let words = Words {
            purpose: Some("deploys"),
            home: "team-a/ci",
            ..Words::default()
        };
        assert_eq!(parse(&text(words, &marker(), 200)), Some(marker()));
        assert_eq!(parse(&marker().to_string()), Some(marker()));
    }

    #[test]
    fn a_text_is_cut_from_the_left_and_keeps_its_token() {
        let purpose = "ä".repeat(300);
        let words = Words {
            purpose: Some(&purpose),
            home: "team-a/ci",
            ..Words::default()
        };
        for limit in [0, 1, 90, 100, 120, 200] {
            let text = text(words, &marker(), limit);
            assert!(text.chars().count() <= limit.max(marker().to_string().chars().count()));
            assert_eq!(parse(&text), Some(marker()), "limit {limit}");
        }
    }

    #[test]
    fn people_appear_in_the_text() {
        let words = Words {
            purpose: Some("nightly\nbuild"),
            on_behalf_of: Some("Jane Doe"),
            requested_by: Some("system:serviceaccount:ci:runner"),
            home: "team-a/ci",
        };
        assert_eq!(
            text(words, &marker(), 400),
            format!(
                "nightly build · for Jane Doe · by system:serviceaccount:ci:runner · team-a/ci · {}",
                marker()
            )
        );
    }

    #[test]
    fn only_a_whole_last_word_is_a_token() {
        let token = marker().to_string();
        for text in [
            String::new(),
            "ako1.".to_owned(),
            format!("{token} and more"),
            format!("{token}.x"),
            format!("x{token}"),
            token.replace("ako1", "ako2"),
            token.replace(".1.", ".0."),
            token.replace(".1.", ".-1."),
            token.to_uppercase(),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
        assert!(looks_like_token(&format!("my {token}")));
    }
}
