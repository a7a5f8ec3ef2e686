//! What a caller wants a user to be, and why the server may refuse it.
//!
//! Reasons from swagger written by a 2020.5 server; their texts are not known.

use serde_json::Value;

use super::Octopus;
use super::answer::Problem;
use super::call::Body;
use super::store::same;

/// What a caller wants a user to be.
pub(super) struct Wish {
    pub(super) username: String,
    pub(super) display_name: String,
    pub(super) email: Option<String>,
    pub(super) password: Option<String>,
    /// External logins, as they were sent.
    pub(super) logins: Vec<Value>,
}

impl Wish {
    /// Reads and checks a body. `id` is the user's own, when it exists already.
    pub(super) fn read(
        octopus: &Octopus,
        body: &Body,
        id: Option<&str>,
        is_service: bool,
    ) -> Result<Self, Problem> {
        let username = body.said("Username").unwrap_or_default();
        let display_name = body.said("DisplayName").unwrap_or_default();
        let email = body.said("EmailAddress");
        let password = body.said("Password");
        let logins = body.values("Identities").unwrap_or_default();
        let others = || {
            octopus
                .users
                .iter()
                .filter(|user| Some(user.id.as_str()) != id)
        };
        let taken = others().any(|user| same(&user.username, &username));
        let mine: Vec<_> = logins.iter().flat_map(marks).collect();
        let login_taken = others().any(|user| {
            user.logins
                .iter()
                .flat_map(marks)
                .any(|mark| mine.contains(&mark))
        });
        let weak = password
            .as_deref()
            .is_some_and(|text| !is_service && strength(text) < 4);

        let rules = [
            (username.is_empty(), "Username is required."),
            (
                username.chars().count() > 64,
                "Username must not be longer than 64 characters.",
            ),
            (display_name.is_empty(), "DisplayName is required."),
            (
                display_name.chars().count() > 64,
                "DisplayName must not exceed 64 characters.",
            ),
            (
                email.as_deref().is_some_and(|text| !is_email(text)),
                "EmailAddress is not valid.",
            ),
            (
                taken,
                "This username is already taken. Please choose another one.",
            ),
            (
                is_service && password.is_some(),
                "Passwords cannot be set on service accounts.",
            ),
            (weak, "The password is not strong enough."),
            (
                twice(&logins),
                "A user can have one login for each identity provider.",
            ),
            (
                login_taken,
                "This external login is already used by another user.",
            ),
        ];
        let errors: Vec<String> = rules
            .iter()
            .filter(|(broken, _)| *broken)
            .map(|(_, text)| (*text).into())
            .collect();
        if errors.is_empty() {
            Ok(Self {
                username,
                display_name,
                email,
                password,
                logins,
            })
        } else {
            Err(Problem::invalid(&errors))
        }
    }
}

fn is_email(text: &str) -> bool {
    text.chars().count() <= 256
        && text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

/// The score of a password: one point for each of eight virtues
/// (`Octopus.Client`, `Validation/PasswordComplexityAttribute.cs`).
fn strength(password: &str) -> usize {
    let length = password.chars().count();
    if length < 7 {
        return 0;
    }
    let has = |test: fn(char) -> bool| password.chars().any(test);
    [
        length >= 8,
        length >= 12,
        length >= 16,
        has(|c| c.is_ascii_digit()),
        has(char::is_whitespace),
        has(char::is_lowercase),
        has(char::is_uppercase),
        has(|c| c.is_ascii_punctuation()),
    ]
    .into_iter()
    .filter(|virtue| *virtue)
    .count()
}

fn provider(login: &Value) -> Option<&str> {
    login.get("IdentityProviderName")?.as_str()
}

fn twice(logins: &[Value]) -> bool {
    logins
        .iter()
        .enumerate()
        .any(|(at, login)| logins[..at].iter().any(|l| provider(l) == provider(login)))
}

/// The claims by which a provider knows a user again.
fn marks(login: &Value) -> Vec<(String, String, String)> {
    let claims = login
        .get("Claims")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let identifying = claims.filter(|(_, claim)| {
        claim
            .get("IsIdentifyingClaim")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    });
    identifying
        .filter_map(|(name, claim)| {
            let value = claim.get("Value")?.as_str()?;
            Some((
                provider(login)?.to_owned(),
                name.clone(),
                value.to_lowercase(),
            ))
        })
        .collect()
}
