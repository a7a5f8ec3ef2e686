//! How one can sign in, and the settings of it: among them the lifetime of keys.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::Call;
use super::config::{Config, since};
use super::{Octopus, Permission};

/// The settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) default_expiry_days: u32,
    pub(super) max_expiry_days: u32,
    /// Whether people may make keys for themselves (2023.2 and later).
    pub(super) user_api_keys: bool,
    remember_me: bool,
    session_seconds: u32,
    longest_session_seconds: u32,
    /// The issuer of access tokens, when it is not the server's own address.
    pub(super) issuer: Option<String>,
}

impl Settings {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            default_expiry_days: config.default_expiry_days,
            max_expiry_days: config.max_expiry_days,
            user_api_keys: true,
            remember_me: true,
            session_seconds: 20 * 60,
            longest_session_seconds: 20 * 24 * 60 * 60,
            issuer: None,
        }
    }

    /// How long a session lasts after its last use.
    pub(super) fn session(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.session_seconds))
    }

    /// How long a session that is to be remembered lasts.
    pub(super) fn remembered(&self) -> SignedDuration {
        let seconds = if self.remember_me {
            self.longest_session_seconds
        } else {
            self.session_seconds
        };
        SignedDuration::from_secs(i64::from(seconds))
    }
}

/// The longest maximum that the server takes, in days.
const HIGHEST_MAXIMUM: u32 = 1096;

/// What a caller can know before it signs in.
pub(super) fn document(octopus: &mut Octopus, _: &Call) -> Reply {
    let settings = &octopus.settings;
    let mut json = json!({
        "Id": "authentication",
        "AnyAuthenticationProvidersSupportPasswordManagement": true,
        "AutoLoginEnabled": false,
        "RememberMeEnabled": settings.remember_me,
        "OctopusIdDynamicRegistrationPending": false,
        "AuthenticationProviders": providers(),
        "Links": { "Self": "/api/authentication" },
    });
    key_settings(octopus, &mut json);
    Ok(Answer::ok(json))
}

pub(super) fn values(octopus: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(value_document(octopus)))
}

pub(super) fn set_values(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let settings = &mut octopus.settings;
    let longest = body
        .number("ApiKeyMaxExpiryDays")
        .unwrap_or(settings.max_expiry_days);
    let default = body
        .number("ApiKeyDefaultExpiryDays")
        .unwrap_or(settings.default_expiry_days);
    if !(1..=HIGHEST_MAXIMUM).contains(&longest) || !(1..=longest).contains(&default) {
        return Err(Problem::bad(format!(
            "Expiry days must be at least 1, the default not above the maximum, and the maximum \
             not above {HIGHEST_MAXIMUM}."
        )));
    }
    settings.max_expiry_days = longest;
    settings.default_expiry_days = default;
    settings.user_api_keys = body
        .flag("UserApiKeysEnabled")
        .unwrap_or(settings.user_api_keys);
    settings.remember_me = body
        .flag("RememberMeEnabled")
        .unwrap_or(settings.remember_me);
    settings.session_seconds = body
        .number("SessionTimeoutInSeconds")
        .unwrap_or(settings.session_seconds);
    settings.longest_session_seconds = body
        .number("MaximumSessionDurationInSeconds")
        .unwrap_or(settings.longest_session_seconds);
    if let Some(oidc) = body.field("OidcConfigurationSettings") {
        let issuer = oidc.get("OidcIssuerUrl").and_then(Value::as_str);
        settings.issuer = issuer.filter(|url| !url.is_empty()).map(str::to_owned);
    }
    Ok(Answer::ok(value_document(octopus)))
}

fn value_document(octopus: &Octopus) -> Value {
    let settings = &octopus.settings;
    let mut json = json!({
        "Id": "authentication",
        "SessionTimeoutInSeconds": settings.session_seconds,
        "MaximumSessionDurationInSeconds": settings.longest_session_seconds,
        "RememberMeEnabled": settings.remember_me,
        "OidcConfigurationSettings": { "OidcIssuerUrl": settings.issuer },
        "Links": { "Self": "/api/configuration/authentication/values" },
    });
    key_settings(octopus, &mut json);
    json
}

/// The settings of keys, as far as the server's version has them.
fn key_settings(octopus: &Octopus, json: &mut Value) {
    if octopus.version >= since::USER_API_KEYS {
        json["UserApiKeysEnabled"] = json!(octopus.settings.user_api_keys);
    }
    if octopus.version >= since::MAX_EXPIRY {
        json["ApiKeyDefaultExpiryDays"] = json!(octopus.settings.default_expiry_days);
        json["ApiKeyMaxExpiryDays"] = json!(octopus.settings.max_expiry_days);
    }
}

fn providers() -> Value {
    json!([{
        "Name": "Octopus",
        "DisplayName": "Username / Password",
        "IdentityType": "UsernamePassword",
        "FormsLoginEnabled": true,
        "Links": {},
        "JavascriptLinks": [],
        "CSSLinks": [],
    }])
}

/// The ways in of one user, or of the caller.
pub(super) fn of_user(octopus: &mut Octopus, call: &Call) -> Reply {
    let caller = &call.caller()?.user;
    if !call.at(0).is_empty() {
        octopus.require_for(call, call.at(0), Permission::UserView)?;
        octopus.users.get(call.at(0))?;
    }
    let can_edit = octopus.may(caller, Permission::UserEdit);
    Ok(Answer::ok(json!({
        "AuthenticationProviders": providers(),
        "CanCurrentUserEditIdentitiesForUser": can_edit,
        "Links": { "Self": format!("/{}", call.path.join("/")) },
    })))
}

/// What an external login is made of, for each provider.
pub(super) fn identity_metadata(_: &mut Octopus, _: &Call) -> Reply {
    let claim = |kind: &str, label: &str, identifying: bool| {
        json!({
            "Type": kind,
            "Label": label,
            "Description": label,
            "IsIdentifyingClaim": identifying,
        })
    };
    let provider = |name: &str| {
        json!({
            "IdentityProviderName": name,
            "ClaimDescriptors": [
                claim("email", "Email address", true),
                claim("dn", "Display name", false),
            ],
            "ScimEnabled": false,
            "Links": {},
        })
    };
    Ok(Answer::ok(json!({
        "Providers": [provider("Azure AD"), provider("Okta"), provider("Google Apps")],
        "Links": { "Self": "/api/users/identity-metadata" },
    })))
}

/// The twin is connected to no directory, so nobody is found in one.
pub(super) fn external_search(_: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(
        json!({ "Results": [], "Links": { "Self": "/api/users/external-search" } }),
    ))
}
