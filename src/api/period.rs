//! [`Period`]: a length of time as people write it, `30d` or `1d12h`.
//!
//! Invariant: what the schema's pattern accepts parses, and nothing else does; the text is kept as
//! it was written; the greatest period is about 390 years, so that adding one to any date of our
//! age cannot overflow.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the schema accepts: days, hours, minutes, seconds, in this order, at least one of them.
/// An empty text matches too; [`MIN_CHARS`] refuses it.
pub(super) const PATTERN: &str = "^([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";
/// What the schema accepts for a period or a percentage.
pub(super) fn or_percent() -> String {
    format!("^[1-9][0-9]?%$|{PATTERN}")
}

/// The shortest period is one digit and one unit.
pub(super) const MIN_CHARS: usize = 2;
/// The longest is all four parts with all their digits.
pub(super) const MAX_CHARS: usize = 27;

/// The units in the order in which they must stand: letter, seconds, greatest number of digits.
const UNITS: [(char, i64, usize); 4] =
    [('d', 86_400, 5), ('h', 3_600, 6), ('m', 60, 6), ('s', 1, 6)];

/// A length of time, kept as it was written. A day is 24 hours.
///
/// Two periods of the same length are equal only when they are written alike; compare
/// [`Period::duration`] where the length matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    text: String,
    seconds: i64,
}

/// A text that is no [`Period`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a period such as 30d, 12h or 1d12h: {0:?}")]
pub struct NotAPeriod(String);

impl Period {
    /// So many days of 24 hours.
    pub fn days(count: u16) -> Self {
        Self {
            text: format!("{count}d"),
            seconds: i64::from(count) * 86_400,
        }
    }

    /// So many hours.
    pub fn hours(count: u16) -> Self {
        Self {
            text: format!("{count}h"),
            seconds: i64::from(count) * 3_600,
        }
    }

    /// So many minutes.
    pub fn minutes(count: u16) -> Self {
        Self {
            text: format!("{count}m"),
            seconds: i64::from(count) * 60,
        }
    }

    /// Its length, from zero to about 390 years.
    pub fn duration(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Period {
    type Err = NotAPeriod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotAPeriod(text.chars().take(MAX_CHARS).collect());
        if text.is_empty() {
            return Err(refused());
        }
        let mut rest = text;
        let mut seconds = 0;
        for (unit, length, most) in UNITS {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let Some(after) = rest[digits..].strip_prefix(unit) else {
                continue;
            };
            if digits == 0 || digits > most {
                return Err(refused());
            }
            let count: i64 = rest[..digits].parse().map_err(|_| refused())?;
            seconds += count * length;
            rest = after;
        }
        if rest.is_empty() {
            Ok(Self {
                text: text.to_owned(),
                seconds,
            })
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A length of time in days (24 hours), hours, minutes and seconds, such as 30d, 12h or 1d12h.",
            "type": "string",
            "pattern": PATTERN,
            "minLength": MIN_CHARS,
            "maxLength": MAX_CHARS,
            "x-kubernetes-validations": super::rules::period(),
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::{MAX_CHARS, Period};

    fn seconds(text: &str) -> Option<i64> {
        text.parse::<Period>()
            .ok()
            .map(|period| period.duration().as_secs())
    }

    #[test]
    fn what_people_write_is_understood() {
        for (text, expected) in [
            ("30d", 30 * 86_400),
            ("12h", 12 * 3_600),
            ("1d12h", 36 * 3_600),
            ("90m", 90 * 60),
            ("45s", 45),
            ("1d2h3m4s", 86_400 + 7_200 + 180 + 4),
            ("1d4s", 86_404),
            ("0s", 0),
            ("007h", 7 * 3_600),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "", "d", "30", "30 d", " 30d", "30d ", "-1d", "+1d", "1.5h", "12h1d", "1d1d", "1w",
            "1y", "100000d", "1000000h", "30D", "P30D", "1d\n", "٣d", "1dh",
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_longest_is_far_from_overflow() {
        let longest = "99999d999999h999999m999999s";
        assert_eq!(longest.len(), MAX_CHARS);
        let length = seconds(longest).unwrap();
        let ages = SignedDuration::from_hours(24 * 366 * 1_000);
        assert!(SignedDuration::from_secs(length) < ages);
    }

    #[test]
    fn the_text_is_kept() {
        let json = "\"1d12h\"";
        let period: Period = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&period).unwrap(), json);
        assert_eq!(period.to_string(), "1d12h");
        assert_eq!(Period::days(2), "2d".parse().unwrap());
        assert_eq!(Period::hours(24), "24h".parse().unwrap());
        assert_eq!(Period::minutes(10), "10m".parse().unwrap());
    }
}
