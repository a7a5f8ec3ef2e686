//! Rate limits (2026.3 and later): token buckets, one for each user, one for everybody unknown.
//!
//! Off by default, as on a server that was upgraded. The body of the real 429 is not known.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::Call;
use super::config::since;
use super::store::Document;
use super::{Octopus, paging};

pub(super) const TOO_MANY: &str = "Too many requests. Please try again later.";

/// How fast somebody may ask.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    id: String,
    name: &'static str,
    scope: Scope,
    enabled: bool,
    per_minute: u32,
    burst: u32,
    audit_only: bool,
}

/// Whom a policy is for. Names as the Go client v2.115.0 has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Unauthenticated,
    AuthenticatedHuman,
    AuthenticatedAgent,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "Unauthenticated",
            Self::AuthenticatedHuman => "AuthenticatedHuman",
            Self::AuthenticatedAgent => "AuthenticatedAgent",
        }
    }
}

/// What is left to one caller, in thousandths of a request.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    whose: Option<String>,
    left: u64,
    filled: Timestamp,
}

impl Document for Policy {
    const PREFIX: &'static str = "RateLimitingPolicies-";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Octopus {
    pub(super) fn add_policies(&mut self) {
        for (name, scope) in [
            ("Unauthenticated", Scope::Unauthenticated),
            ("Authenticated", Scope::AuthenticatedHuman),
            ("AI agent", Scope::AuthenticatedAgent),
        ] {
            let id = self.limits.next_id();
            let policy = Policy {
                id,
                name,
                scope,
                enabled: false,
                per_minute: 600,
                burst: 200,
                audit_only: false,
            };
            self.limits.add(policy);
        }
    }

    /// Takes one request out of the caller's bucket; 429 when it is empty.
    pub(super) fn spend(&mut self, call: &Call) -> Result<(), Problem> {
        let whose = call.caller.as_ref().map(|caller| caller.user.clone());
        let scope = if whose.is_some() {
            Scope::AuthenticatedHuman
        } else {
            Scope::Unauthenticated
        };
        let policy = self
            .limits
            .iter()
            .find(|policy| policy.scope == scope && policy.enabled);
        let Some(policy) = policy.filter(|policy| !policy.audit_only) else {
            return Ok(());
        };
        let (full, rate) = (
            u64::from(policy.burst) * 1000,
            u64::from(policy.per_minute.max(1)),
        );

        let at = self
            .buckets
            .iter()
            .position(|bucket| bucket.whose == whose)
            .unwrap_or_else(|| {
                self.buckets.push(Bucket {
                    whose,
                    left: full,
                    filled: call.now,
                });
                self.buckets.len() - 1
            });
        let bucket = &mut self.buckets[at];
        let passed = call.now.duration_since(bucket.filled).as_millis();
        let gained = u64::try_from(passed).unwrap_or(0) * rate / 60;
        bucket.left = (bucket.left + gained).min(full);
        bucket.filled = call.now;
        if bucket.left >= 1000 {
            bucket.left -= 1000;
            return Ok(());
        }
        let wait = ((1000 - bucket.left) * 60).div_ceil(rate * 1000).max(1);
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
        problem.retry_after = Some(wait);
        Err(problem)
    }
}

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    known(octopus)?;
    let items = octopus.limits.iter().map(resource).collect();
    paging::page(
        call,
        "RateLimitingPolicy",
        "/api/ratelimitingpolicies{/id}{?skip,take}",
        items,
    )
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    known(octopus)?;
    Ok(Answer::ok(resource(octopus.limits.get(call.at(0))?)))
}

pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    known(octopus)?;
    let body = call.body()?;
    let policy = octopus.limits.get_mut(call.at(0))?;
    if body.said("Name").is_some_and(|name| name != policy.name) {
        let text = "The name of a built-in rate limiting policy cannot be changed.";
        return Err(Problem::bad(text));
    }
    policy.enabled = body.flag("IsEnabled").unwrap_or(false);
    policy.audit_only = body.flag("AuditMode").unwrap_or(false);
    policy.per_minute = body
        .number("RequestsPerMinute")
        .unwrap_or(policy.per_minute);
    policy.burst = body.number("BurstLimit").unwrap_or(policy.burst);
    let json = resource(policy);
    octopus.buckets.clear();
    Ok(Answer::ok(json))
}

fn known(octopus: &Octopus) -> Result<(), Problem> {
    if octopus.version >= since::RATE_LIMITS {
        Ok(())
    } else {
        Err(Problem::no_route())
    }
}

fn resource(policy: &Policy) -> Value {
    json!({
        "Id": policy.id,
        "Name": policy.name,
        "IsBuiltIn": true,
        "IsEnabled": policy.enabled,
        "ScopeType": policy.scope.name(),
        "RequestsPerMinute": policy.per_minute,
        "BurstLimit": policy.burst,
        "AuditMode": policy.audit_only,
        "Links": { "Self": format!("/api/ratelimitingpolicies/{}", policy.id) },
    })
}
