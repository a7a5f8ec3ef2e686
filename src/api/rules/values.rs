//! The rules of single values: texts, names, periods, addresses.

use super::{Rules, is_period, rule};
use crate::api::period;

/// Rules of a period. The pattern in the schema says the same, but not in words.
pub(in crate::api) fn period() -> Rules {
    vec![rule(
        is_period("self"),
        "must be a period in days, hours, minutes and seconds, such as 30d, 12h or 1d12h",
    )]
}

/// Rules of a period or a percentage.
pub(in crate::api) fn renew_before() -> Rules {
    vec![rule(
        format!("self.matches('{}')", period::or_percent()),
        "must be a period, such as 10d, or a percentage from 1% to 99%",
    )]
}

/// Rules of the schedule of a window.
pub(in crate::api) fn schedule() -> Rules {
    vec![rule(
        "self.matches('^[0-9A-Za-z*,/#?-]+( [0-9A-Za-z*,/#?-]+){4}$')",
        "must be five cron fields with one blank between them, such as 0 2 * * 1-5",
    )]
}

/// Rules of the name of a time zone.
pub(in crate::api) fn time_zone() -> Rules {
    vec![rule(
        "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')",
        "must be the name of a time zone, such as Europe/Oslo",
    )]
}

/// Rules of a workload's name.
pub(in crate::api) fn workload_name() -> Rules {
    vec![rule(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "must be a name that a workload can have: lower-case letters, digits, '-' and '.'",
    )]
}

/// Rules of a Secret's name.
pub(in crate::api) fn secret_name() -> Rules {
    vec![rule(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "must be a name that a Secret can have: lower-case letters, digits, '-' and '.'",
    )]
}

/// Rules of a label's value.
pub(in crate::api) fn label_value() -> Rules {
    vec![rule(
        "self.matches('^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$')",
        "must be a value that a label can have: letters, digits, '-', '_' and '.', a letter or digit at both ends",
    )]
}

/// Rules of a text that is shown on the server beside a key.
pub(in crate::api) fn shown_text() -> Rules {
    vec![
        rule(
            r"!self.matches(r'[\p{Cc}\p{Zl}\p{Zp}\x{202a}-\x{202e}\x{2066}-\x{2069}]')",
            "must not contain line breaks, control characters or marks that change the direction of text",
        ),
        rule(
            "!self.contains('ako1.') && !self.contains('·')",
            "must contain neither 'ako1.' nor '·': the operator parts and marks the text on the server with them",
        ),
    ]
}

/// Rules of a user name.
pub(in crate::api) fn username() -> Rules {
    vec![rule(
        r"self.matches(r'^[^\p{Cc}\p{Zl}\p{Zp}]+$') && self == self.trim()",
        "must be one line without control characters, and neither begin nor end with a blank",
    )]
}

/// Rules of the name of a realm.
pub(in crate::api) fn realm() -> Rules {
    vec![rule(
        r"!self.matches(r'[\p{Cc}\p{Zl}\p{Zp}/]')",
        "must be one line without control characters and without a slash",
    )]
}

/// Rules of a name that people read.
pub(in crate::api) fn one_line() -> Rules {
    vec![rule(
        r"!self.matches(r'[\p{Cc}\p{Zl}\p{Zp}]')",
        "must be one line without control characters",
    )]
}

/// Rules of an e-mail address.
pub(in crate::api) fn email() -> Rules {
    vec![rule(
        r"self.matches(r'^[^@\s]+@[^@\s]+$')",
        "must be an e-mail address",
    )]
}

/// Rules of an OIDC issuer.
pub(in crate::api) fn issuer() -> Rules {
    vec![rule(
        r"self.matches(r'^https://[^\s/?#@]+(/[^\s?#]*)?$')",
        "must be an https address without user, query and fragment",
    )]
}

/// Rules of an address.
pub(in crate::api) fn address() -> Rules {
    vec![rule(
        r"self.matches(r'^https?://[^\s/?#@]+(/[^\s?#]*)?$') && isURL(self)",
        "must be an address like https://server.example.org or https://example.org/prefix, without user, query and fragment",
    )]
}

/// Rules of the patterns of user names.
pub(in crate::api) fn username_patterns() -> Rules {
    vec![rule(
        r"self.all(pattern, pattern.matches(r'^([^{}\p{Cc}]|[{]namespace[}])+$'))",
        "a pattern may hold '*' and {namespace}, and no other braces",
    )]
}
