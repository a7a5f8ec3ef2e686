//! When to try again. Reckoned from the count of failures in status, which is kept for patience
//! only: nothing unsafe follows from a wrong count.

use jiff::{SignedDuration, Timestamp};

use super::marker::short_hash;

/// The longest wait between two tries.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// The count at which [`LONGEST`] is reached; counting on would only cost writes.
pub const MOST_FAILURES: i32 = 10;

/// The wait after the n-th failure in a row: 1 s · 2ⁿ⁻¹, at most five minutes, and up to a quarter
/// more, spread by `seed` (a uid), so that a fleet that failed together does not come back together.
pub fn wait(failures: i32, seed: &str) -> SignedDuration {
    let doubled = 1_i64 << failures.clamp(1, MOST_FAILURES).saturating_sub(1);
    let plain = SignedDuration::from_secs(doubled).min(LONGEST);
    plain + spread(plain / 4, seed)
}

/// A part of `width` that depends on `seed` alone.
pub fn spread(width: SignedDuration, seed: &str) -> SignedDuration {
    let hash = u32::from_str_radix(&short_hash(&[seed])[..6], 16).unwrap_or_default();
    let millis = width.as_millis().max(0) * i128::from(hash) / i128::from(0x00ff_ffff_u32);
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// When the next try may start, given when the last one failed.
pub fn not_before(failures: i32, last_failure: Timestamp, seed: &str) -> Timestamp {
    last_failure
        .saturating_add(wait(failures, seed))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut last = SignedDuration::ZERO;
        for failures in 1..40 {
            let wait = wait(failures, "seed");
            assert!(wait >= last, "after {failures} failures");
            assert!(wait <= LONGEST * 5 / 4);
            last = wait;
        }
        assert!(wait(1, "seed") < SignedDuration::from_millis(1251));
        assert!(last >= LONGEST);
    }

    #[test]
    fn a_fleet_is_spread() {
        let waits: std::collections::BTreeSet<_> = (0..100)
            .map(|n| wait(9, &n.to_string()).as_millis())
            .collect();
        assert!(waits.len() > 90, "{} different waits", waits.len());
    }

    #[test]
    fn any_count_is_taken() {
        assert!(wait(i32::MIN, "") > SignedDuration::ZERO);
        assert!(wait(i32::MAX, "") >= LONGEST);
    }
}
