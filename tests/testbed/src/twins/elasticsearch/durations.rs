//! Durations as requests write them: `30m`, `12h`, `7d`; not years, not fractions.

use jiff::SignedDuration;

use super::answer::Cause;

/// The units, the longer names first where one ends like another.
const UNITS: [(&str, i64); 7] = [
    ("nanos", 1),
    ("micros", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// The longest one: what is longer the twin cuts to it.
const LONGEST_DAYS: i64 = 2_000_000;

/// Reads the field `expiration`. `-1` and `0` are over at once.
pub(super) fn expiration(text: &str) -> Result<SignedDuration, Cause> {
    let normal = text.trim().to_lowercase();
    match normal.as_str() {
        "-1" => return Ok(SignedDuration::from_millis(-1)),
        "0" => return Ok(SignedDuration::ZERO),
        _ => {}
    }
    let unit = UNITS.iter().find_map(|(unit, nanos)| {
        let number = normal.strip_suffix(unit)?;
        Some((number.trim(), *nanos))
    });
    let Some((number, nanos)) = unit else {
        return Err(unfit(text, "unit is missing or unrecognized"));
    };
    match number.parse::<i64>() {
        Ok(count) if count < 0 => Err(unfit(text, "negative durations are not supported")),
        Ok(count) => Ok(whole(count, nanos)),
        Err(_) if number.parse::<f64>().is_ok() => Err(Cause::new(
            "illegal_argument_exception",
            format!("failed to parse [{text}], fractional time values are not supported"),
        )
        .by(not_a_number(number))),
        Err(_) => Err(Cause::new(
            "illegal_argument_exception",
            format!("failed to parse [{text}]"),
        )
        .by(not_a_number(number))),
    }
}

fn whole(count: i64, nanos: i64) -> SignedDuration {
    let longest = SignedDuration::from_hours(24 * LONGEST_DAYS);
    let seconds = i128::from(count) * i128::from(nanos) / 1_000_000_000;
    let rest = i128::from(count) * i128::from(nanos) % 1_000_000_000;
    match (i64::try_from(seconds), i32::try_from(rest)) {
        (Ok(seconds), Ok(rest)) => SignedDuration::new(seconds, rest).min(longest),
        _ => longest,
    }
}

fn unfit(text: &str, why: &str) -> Cause {
    let reason =
        format!("failed to parse setting [expiration] with value [{text}] as a time value");
    Cause::new("illegal_argument_exception", format!("{reason}: {why}"))
}

fn not_a_number(text: &str) -> Cause {
    let reason = format!("For input string: \"{text}\"");
    Cause::new("number_format_exception", reason)
}
