//! When a key ends, and when the next one is due. Arithmetic only.

use jiff::{SignedDuration, Timestamp};

use super::port::KeyExpiry;
use super::{Stop, backoff};
use crate::api::conditions::Reason;

/// How long a key lives when neither its manifest nor the connection says.
pub const DEFAULT_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Two ends of a key that are nearer than this are the same: servers round, clocks differ.
pub const SAME: SignedDuration = SignedDuration::from_mins(2);

/// What bounds the life of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// What a key gets that asks for nothing (the connection's `keyPolicy`).
    pub default_lifetime: Option<SignedDuration>,
    /// The longest life that the connection's policy and the grant allow.
    pub max_lifetime: Option<SignedDuration>,
    /// What the server allows.
    pub server: KeyExpiry,
    /// When the connection's own credential ends, which no key made with it outlives (Octopus
    /// documentation, "How to create an API key").
    pub credential_expires_at: Option<Timestamp>,
}

/// Whether a policy may stop a key, or only shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// There is no key yet: what asks for too much is refused.
    First,
    /// A key is to be replaced: a rule must not become an outage.
    Replacement,
}

/// The end of a key, and why it is not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When the key ends.
    pub at: Timestamp,
    /// What shortened it, if anything did.
    pub clipped: Option<Stop>,
}

/// When a key that is made at `from` shall end, having asked for `wish`, and not after `limit`.
///
/// # Errors
/// `PolicyViolation` when a first key asks for more than policy, grant or server allow.
pub fn end(
    wish: Option<SignedDuration>,
    limit: Option<Timestamp>,
    bounds: &Bounds,
    occasion: Occasion,
    from: Timestamp,
) -> Result<End, Stop> {
    let server_max = bounds.server.max_days.map(|days| {
        SignedDuration::from_hours(24).saturating_mul(i32::try_from(days).unwrap_or(i32::MAX))
    });
    let rules = [
        (bounds.max_lifetime, "the connection's key policy or grant"),
        (server_max, "the server"),
    ];
    let lifetime = wish.or(bounds.default_lifetime).unwrap_or(DEFAULT_LIFETIME);
    let mut end = End {
        at: after(from, lifetime),
        clipped: None,
    };
    for (max, who) in rules {
        let Some(max) = max.filter(|max| *max < lifetime) else {
            continue;
        };
        if wish.is_some() && occasion == Occasion::First {
            return Err(Stop::new(
                Reason::PolicyViolation,
                format!(
                    "The lifetime of {} is longer than the {} that {who} allows. Set spec.lifetime to {} or less.",
                    days(lifetime),
                    days(max),
                    days(max)
                ),
            ));
        }
        end.shorten(after(from, max), wish.is_some(), who);
    }
    if let Some(credential) = bounds.credential_expires_at {
        end.shorten(
            credential,
            true,
            "the end of the connection's own credential",
        );
    }
    if let Some(limit) = limit.filter(|limit| *limit < end.at) {
        end.at = limit;
    }
    Ok(end)
}

impl End {
    fn shorten(&mut self, at: Timestamp, warn: bool, who: &str) {
        if at >= self.at {
            return;
        }
        self.at = at;
        if warn {
            self.clipped = Some(Stop::new(
                Reason::LifetimeClipped,
                format!(
                    "The key ends sooner than asked, because {who} does not allow more. Shorten spec.lifetime, or have that limit raised."
                ),
            ));
        }
    }
}

/// When a key is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// From then on, in a window if there are windows.
    pub from: Timestamp,
    /// From then on whatever the windows say: they are a preference, and no reason to let a key expire.
    pub at_last: Timestamp,
}

/// When a key that lives from `created_at` to `expires_at` is replaced: `before` its end, by default
/// a third of its life, never more than half of it nor less than a twentieth, and earlier by up to a
/// tenth of that, spread by `seed` (a uid): a fleet that was made in one minute is not replaced in one.
/// For the last quarter of that time windows are not waited for.
pub fn due(
    created_at: Timestamp,
    expires_at: Timestamp,
    before: Option<Before>,
    seed: &str,
) -> Due {
    let life = expires_at
        .duration_since(created_at)
        .max(SignedDuration::ZERO);
    let before = match before {
        None => life / 3,
        Some(Before::Period(period)) => period,
        Some(Before::Percent(percent)) => life.saturating_mul(i32::from(percent.min(100))) / 100,
    };
    let before = before.clamp(life / 20, life / 2);
    let sooner = before + backoff::spread(before / 10, seed);
    Due {
        from: after(expires_at, -sooner),
        at_last: after(expires_at, -before / 4),
    }
}

/// How long before its end a key is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// So long.
    Period(SignedDuration),
    /// So many hundredths of its life.
    Percent(u8),
}

/// Whether `late` is later than `early` by more than rounding and clocks explain.
pub fn clearly_later(late: Timestamp, early: Timestamp) -> bool {
    late.duration_since(early) > SAME
}

/// `from` and so long; the end of time when there is no such date.
pub fn after(from: Timestamp, length: SignedDuration) -> Timestamp {
    from.saturating_add(length).unwrap_or(Timestamp::MAX)
}

/// A length in words for people.
fn days(length: SignedDuration) -> String {
    let hours = length.as_hours();
    match (hours / 24, hours % 24) {
        (0, 0) => format!("{}m", length.as_mins()),
        (0, hours) => format!("{hours}h"),
        (days, 0) => format!("{days}d"),
        (days, hours) => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    #[test]
    fn the_connections_own_credential_only_shortens() {
        let made = Timestamp::UNIX_EPOCH;
        let bounds = |ends: Option<SignedDuration>| Bounds {
            credential_expires_at: ends.map(|ends| made + ends),
            ..Bounds::default()
        };
        for occasion in [Occasion::First, Occasion::Replacement] {
            let of = |ends, wish| end(wish, None, &bounds(ends), occasion, made).unwrap();
            let cut = of(Some(DAY * 10), Some(DAY * 30));
            assert_eq!(cut.at, made + DAY * 10, "{occasion:?}");
            let why = cut.clipped.unwrap();
            assert_eq!(why.reason, Reason::LifetimeClipped, "{occasion:?}");
            assert!(why.message.contains("own credential"), "{}", why.message);
            let unasked = of(Some(DAY * 10), None);
            assert_eq!(unasked.at, made + DAY * 10, "{occasion:?}");
            for ends in [None, Some(DAY * 30), Some(DAY * 90)] {
                let whole = of(ends, Some(DAY * 30));
                assert_eq!(whole.at, made + DAY * 30, "{occasion:?}, {ends:?}");
                assert_eq!(whole.clipped, None, "{occasion:?}, {ends:?}");
            }
        }
    }

    #[test]
    fn a_fleet_that_was_made_in_one_minute_is_not_replaced_in_one() {
        let made = Timestamp::UNIX_EPOCH;
        let dues: std::collections::BTreeSet<_> = (0..200)
            .map(|uid| due(made, made + DAY * 30, None, &format!("uid-{uid}")).from)
            .collect();
        assert!(dues.len() > 190, "{} dates", dues.len());
        let (first, last) = (dues.first().unwrap(), dues.last().unwrap());
        assert!(
            *first >= made + DAY * 19 && *last <= made + DAY * 20,
            "{first} to {last}"
        );
        assert!(
            last.duration_since(*first) > DAY * 9 / 10,
            "{first} to {last}"
        );
    }

    #[test]
    fn a_key_is_replaced_before_it_ends_whatever_is_asked() {
        let made = Timestamp::UNIX_EPOCH;
        for before in [Before::Period(SignedDuration::ZERO), Before::Percent(0)] {
            let due = due(made, made + DAY * 20, Some(before), "uid");
            assert!(due.from <= made + DAY * 19, "{due:?}");
            assert!(due.at_last < made + DAY * 20, "{due:?}");
        }
    }

    #[test]
    fn a_key_is_never_replaced_in_the_first_part_of_its_life() {
        let made = Timestamp::UNIX_EPOCH;
        for before in [
            Before::Period(DAY * 400),
            Before::Percent(99),
            Before::Percent(255),
        ] {
            let due = due(made, made + DAY * 10, Some(before), "uid");
            assert!(due.from >= made + DAY * 9 / 2, "{due:?}");
            assert!(
                due.from < due.at_last && due.at_last < made + DAY * 10,
                "{due:?}"
            );
        }
        let ends_before_it_begins = due(made + DAY, made, None, "uid");
        assert_eq!(ends_before_it_begins.from, made);
    }
}
