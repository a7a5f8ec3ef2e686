//! When to try again. Reckoned from the count of failures in status, which is kept for patience
//! only: nothing unsafe follows from a wrong count.

use jiff::SignedDuration;

use super::marker::digest;

/// The longest wait between two tries, where the server may come back at any time.
pub const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// From so many failures on the wait grows no longer.
const MOST_FAILURES: u32 = 12;

/// The wait after the n-th failure in a row: 1 s · 2ⁿ⁻¹, at most `longest`, and up to a quarter
/// more, spread by `seed` (a uid), so that a fleet that failed together does not come back together.
pub fn wait(failures: u32, longest: SignedDuration, seed: &str) -> SignedDuration {
    let doubled = 1_i64 << failures.clamp(1, MOST_FAILURES).saturating_sub(1);
    let plain = SignedDuration::from_secs(doubled).min(longest);
    plain + spread(plain / 4, seed)
}

/// A part of `width` that depends on `seed` alone.
pub fn spread(width: SignedDuration, seed: &str) -> SignedDuration {
    let hash = u32::from_str_radix(&digest(&[seed])[..6], 16).unwrap_or_default();
    let millis = width.as_millis().max(0) * i128::from(hash) / i128::from(0x00ff_ffff_u32);
    SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut last = SignedDuration::ZERO;
        for failures in 1..40 {
            let wait = wait(failures, LONGEST, "seed");
            assert!(wait >= last, "after {failures} failures");
            assert!(wait <= LONGEST * 5 / 4);
            last = wait;
        }
        assert!(wait(1, LONGEST, "seed") < SignedDuration::from_millis(1251));
        assert!(last >= LONGEST);
    }

    #[test]
    fn a_fleet_is_spread() {
        let waits: std::collections::BTreeSet<_> = (0..100)
            .map(|n| wait(9, LONGEST, &n.to_string()).as_millis())
            .collect();
        assert!(waits.len() > 90, "{} different waits", waits.len());
    }

    #[test]
    fn any_count_is_taken() {
        assert!(wait(0, LONGEST, "") > SignedDuration::ZERO);
        assert!(wait(u32::MAX, LONGEST, "") >= LONGEST);
    }
}
