//! What is durable, and how it is written down: the intent on the ApiKey and the annotations of
//! the published key on the Secret. Decisions rest on these; status is a mirror for people.
//!
//! `parse ∘ format` is the identity for every form. What does not parse counts as absent or void,
//! never as an error: somebody committed it to Git, or copied the object.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;

use super::port::KeyId;

/// The uid of a Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(String);

impl Uid {
    /// Takes the uid of an object as Kubernetes gave it.
    pub fn new(uid: impl Into<String>) -> Self {
        Self(uid.into())
    }

    /// Reads a uid out of a text: letters, digits and dashes.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ((1..=64).contains(&text.len()) && text.chars().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The n-th attempt of one ApiKey; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(u32);

impl Serial {
    /// The serial of the first attempt.
    pub const FIRST: Self = Self(1);
    /// The last that there can be. No working operator comes near it: only a forged one is so great.
    pub const LAST: Self = Self(u32::MAX - 1);

    /// Reads a serial out of a text: decimal, without sign or leading zero.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.parse().ok().filter(|n| *n > 0 && *n <= Self::LAST.0)?;
        (!text.starts_with(['0', '+'])).then_some(Self(number))
    }

    /// The serial of this number; `None` for what cannot be a serial.
    pub fn from_number(number: u64) -> Option<Self> {
        u32::try_from(number)
            .ok()
            .filter(|n| *n > 0 && *n <= Self::LAST.0)
            .map(Self)
    }

    /// The number.
    pub fn number(self) -> u64 {
        u64::from(self.0)
    }

    /// The next one; there is none after the last.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1).min(Self::LAST.0))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random part of one attempt: sixteen hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(String);

impl Nonce {
    /// The nonce that these random bytes make (the first eight of them).
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(format!("{:016x}", u128::from_be_bytes(bytes) >> 64))
    }

    /// Reads a nonce out of a text.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        (text.len() == 16 && text.chars().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The durable note that an attempt was opened: the annotation `apikeys.dev/intent`,
/// `<uid>.<serial>.<nonce>.<openedAt>[.<endsAt>]`, times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The ApiKey that it belongs to: an intent with another uid is void.
    pub uid: Uid,
    /// Which attempt.
    pub serial: Serial,
    /// Its random part.
    pub nonce: Nonce,
    /// Taken before the write that opened the attempt.
    pub opened_at: Timestamp,
    /// When an ApiKey with `rotation.mode: Never` ends for good.
    pub ends_at: Option<Timestamp>,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uid,
            serial,
            nonce,
            opened_at,
            ends_at,
        } = self;
        write!(f, "{uid}.{serial}.{nonce}.{}", opened_at.as_millisecond())?;
        ends_at.map_or(Ok(()), |end| write!(f, ".{}", end.as_millisecond()))
    }
}

impl Intent {
    /// Reads the annotation.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let intent = Self {
            uid: Uid::parse(parts.next()?)?,
            serial: Serial::parse(parts.next()?)?,
            nonce: Nonce::parse(parts.next()?)?,
            opened_at: millis(parts.next()?)?,
            ends_at: match parts.next() {
                Some(end) => Some(millis(end)?),
                None => None,
            },
        };
        parts.next().is_none().then_some(intent)
    }
}

/// A replaced key that lives through its overlap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retiring {
    /// Which attempt made it.
    pub serial: Serial,
    /// Its id on the server.
    pub id: KeyId,
    /// When it is to be revoked.
    pub revoke_at: Timestamp,
}

/// The annotation `apikeys.dev/retiring`: `<serial>:<id>:<revokeAt>` for each key, apart by blanks.
pub fn format_retiring(keys: &[Retiring]) -> String {
    let word = |key: &Retiring| {
        format!(
            "{}:{}:{}",
            key.serial,
            key.id,
            key.revoke_at.as_millisecond()
        )
    };
    keys.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Reads the annotation `apikeys.dev/retiring`; words that make no sense are passed over.
pub fn parse_retiring(text: &str) -> Vec<Retiring> {
    let word = |word: &str| {
        let (serial, rest) = word.split_once(':')?;
        let (id, revoke_at) = rest.rsplit_once(':')?;
        Some(Retiring {
            serial: Serial::parse(serial)?,
            id: KeyId::new(id),
            revoke_at: millis(revoke_at)?,
        })
    };
    text.split_whitespace().filter_map(word).collect()
}

/// The annotation `apikeys.dev/foreign`: `<id>:<firstSeen>` for each key, apart by blanks.
pub fn format_foreign(keys: &BTreeMap<KeyId, Timestamp>) -> String {
    let words = keys
        .iter()
        .map(|(id, seen)| format!("{id}:{}", seen.as_millisecond()));
    words.collect::<Vec<_>>().join(" ")
}

/// Reads the annotation `apikeys.dev/foreign`; words that make no sense are passed over.
pub fn parse_foreign(text: &str) -> BTreeMap<KeyId, Timestamp> {
    let word = |word: &str| {
        let (id, seen) = word.rsplit_once(':')?;
        Some((KeyId::new(id), millis(seen)?))
    };
    text.split_whitespace().filter_map(word).collect()
}

/// Reads a time in milliseconds since 1970.
fn millis(text: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(text.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(ends_at: Option<Timestamp>) -> Intent {
        Intent {
            uid: Uid::new("6b8d3c9e-0a51-4f0e-9f6c-1c2d3e4f5a6b"),
            serial: Serial::FIRST.next(),
            nonce: Nonce::from_bytes([0xab; 16]),
            opened_at: Timestamp::UNIX_EPOCH,
            ends_at,
        }
    }

    #[test]
    fn intents_come_back_as_written() {
        for intent in [
            intent(None),
            intent(Some(
                Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(9),
            )),
        ] {
            let read = Intent::parse(&intent.to_string()).expect("parses");
            assert_eq!(read.to_string(), intent.to_string());
            assert_eq!(read.nonce, intent.nonce);
        }
    }

    #[test]
    fn nonsense_is_void() {
        let whole = intent(None).to_string();
        for text in [
            "",
            "a",
            ".....",
            &format!("{whole}."),
            &format!("{whole}.1.2"),
            &whole[1..40],
        ] {
            assert_eq!(Intent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn retiring_keys_come_back_as_written() {
        let keys = vec![
            Retiring {
                serial: Serial::FIRST,
                id: KeyId::new("apikeys-a:b"),
                revoke_at: Timestamp::UNIX_EPOCH,
            },
            Retiring {
                serial: Serial::FIRST.next(),
                id: KeyId::new("apikeys-c"),
                revoke_at: Timestamp::UNIX_EPOCH,
            },
        ];
        assert_eq!(parse_retiring(&format_retiring(&keys)), keys);
        assert_eq!(parse_retiring("x 1:a 1:a:b :::"), vec![]);
    }

    #[test]
    fn foreign_keys_come_back_as_written() {
        let keys = BTreeMap::from([
            (KeyId::new("apikeys-a:b"), Timestamp::UNIX_EPOCH),
            (KeyId::new("apikeys-c"), Timestamp::UNIX_EPOCH),
        ]);
        assert_eq!(parse_foreign(&format_foreign(&keys)), keys);
        assert_eq!(parse_foreign("x a: a:b :"), BTreeMap::new());
    }
}
