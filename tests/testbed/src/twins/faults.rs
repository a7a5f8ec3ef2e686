//! The fault plan: rules that say which requests go wrong, how, and how often.
//!
//! The first rule that fits a request and is not used up decides. A rule is plain data, so it can
//! be written in Rust and sent to the control port as JSON alike.

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "fault",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Fault {
    /// Nobody is there. Over TCP a rule for every path and method that lasts until it is cleared
    /// closes the port; any other drops the connection.
    Outage,
    /// The connection breaks and the server never saw the request. The caller cannot know.
    CutBefore,
    /// The server acts, then the connection breaks.
    CutAfter,
    /// The connection breaks at once; the server acts this much later.
    Late {
        /// How much later, in whole seconds.
        seconds: u64,
    },
    /// The server acts at once; its answer comes this much later.
    Slow {
        /// How much later, in milliseconds.
        millis: u64,
    },
    /// 429, and the server does not act.
    Throttled {
        /// The `Retry-After` header, in seconds.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// An error of the server's own, and it does not act.
    Refused {
        /// The HTTP status, such as 500 or 503.
        status: u16,
    },
    /// The server answers as if it had acted, and does not: a write that a broken node lost.
    Feigned,
    /// A page of HTML with status 200, as from a proxy; the server does not act.
    Html,
    /// The server acts; half of its answer arrives.
    HalfJson,
    /// The server acts; so many mebibytes arrive in place of its answer.
    Flood {
        /// How many mebibytes.
        mebibytes: usize,
    },
    /// 307 to another place; the server does not act.
    Redirect {
        /// The `Location` header.
        location: String,
    },
}

/// How often a rule strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Times {
    /// This many more times.
    Next(u32),
    /// Until somebody clears it.
    #[default]
    UntilCleared,
}

/// Which requests go wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Only this method; every method when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only this path: `*` or `{anything}` stands for one segment, a last `**` for any rest.
    /// Every path when absent. It is compared with the path that was sent, prefix included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How often it strikes.
    #[serde(default)]
    pub times: Times,
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
}

impl Rule {
    /// This fault for every request, until it is cleared.
    pub fn new(fault: Fault) -> Self {
        Self {
            method: None,
            path: None,
            times: Times::UntilCleared,
            fault,
        }
    }

    /// Only requests of this method and path.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path = Some(path.to_owned());
        self
    }

    /// Only the next so many of them.
    #[must_use]
    pub fn next(mut self, count: u32) -> Self {
        self.times = Times::Next(count);
        self
    }

    /// Whether nobody can reach the server at all until this rule is cleared.
    pub(super) fn is_total_outage(&self) -> bool {
        self.fault == Fault::Outage
            && self.method.is_none()
            && self.path.is_none()
            && self.times == Times::UntilCleared
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        self.times != Times::Next(0)
            && self
                .method
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self
                .path
                .as_deref()
                .is_none_or(|pattern| path_fits(pattern, path))
    }
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    rules: Vec<Rule>,
}

impl Plan {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What strikes this request. Uses up one of the rule's times.
    pub(super) fn strike(&mut self, method: &str, path: &str) -> Option<Fault> {
        let rule = self.rules.iter_mut().find(|rule| rule.fits(method, path))?;
        let fault = rule.fault.clone();
        if let Times::Next(left) = &mut rule.times {
            *left -= 1;
        }
        self.rules.retain(|rule| rule.times != Times::Next(0));
        Some(fault)
    }
}

fn path_fits(pattern: &str, path: &str) -> bool {
    let mut path = path.trim_matches('/').split('/');
    for wanted in pattern.trim_matches('/').split('/') {
        if wanted == "**" {
            return true;
        }
        let Some(segment) = path.next() else {
            return false;
        };
        let any = wanted == "*" || (wanted.starts_with('{') && wanted.ends_with('}'));
        if !any && !wanted.eq_ignore_ascii_case(segment) {
            return false;
        }
    }
    path.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("/api/users", "/api/users", true),
            ("/api/users", "/api/users/", true),
            ("/api/users", "/api/users/Users-1", false),
            ("/api/users/*/apikeys", "/api/users/Users-1/apikeys", true),
            (
                "/api/users/{id}/apikeys",
                "/api/users/Users-1/apikeys",
                true,
            ),
            ("/api/users/{id}/apikeys", "/api/users/Users-1/teams", false),
            ("/api/**", "/api/users/Users-1/teams", true),
            ("/api/**", "/token/v1", false),
            ("/api/users/*", "/api/users", false),
        ];
        for (pattern, path, fits) in table {
            assert_eq!(path_fits(pattern, path), fits, "{pattern} against {path}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_strikes_as_often_as_it_may() {
        let mut plan = Plan::default();
        plan.add(Rule::new(Fault::CutAfter).on("POST", "/api/users").next(2));
        plan.add(Rule::new(Fault::Html));
        assert_eq!(plan.strike("GET", "/api/users"), Some(Fault::Html));
        assert_eq!(plan.strike("POST", "/api/users"), Some(Fault::CutAfter));
        assert_eq!(plan.strike("POST", "/api/users"), Some(Fault::CutAfter));
        assert_eq!(plan.strike("POST", "/api/users"), Some(Fault::Html));
        plan.clear();
        assert_eq!(plan.strike("POST", "/api/users"), None);
    }

    #[test]
    fn a_rule_reads_well_as_json() {
        let rule: Rule = serde_json::from_str(
            r#"{"method":"POST","path":"/api/users/*/apikeys","times":{"next":1},"fault":"late","seconds":20}"#,
        )
        .unwrap();
        let same = Rule::new(Fault::Late { seconds: 20 })
            .on("POST", "/api/users/*/apikeys")
            .next(1);
        assert_eq!(rule, same);
        let plain: Rule = serde_json::from_str(r#"{"fault":"outage"}"#).unwrap();
        assert!(plain.is_total_outage());
    }
}
