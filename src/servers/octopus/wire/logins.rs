//! Logins of external providers and OIDC identities, as Octopus Deploy shows them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ENTRIES;
use crate::plan::port::{Login, Trust};
use crate::servers::bounded::{id, name, some_name, some_text, up_to};

/// The greatest number of a user's logins, of login providers, and of the claims of one.
pub(super) const LOGINS: usize = 100;

/// A login of an external provider. What makes no sense of it is passed over: every user shows its logins,
/// and most are nobody's business.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShownLogin {
    #[serde(default, deserialize_with = "some_name")]
    identity_provider_name: Option<String>,
    #[serde(default)]
    claims: Option<BTreeMap<String, Option<Claim>>>,
}

/// What a provider knows a user by.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Claim {
    #[serde(default, deserialize_with = "some_text")]
    value: Option<String>,
}

impl ShownLogin {
    /// The login, if it tells its provider.
    pub(super) fn login(self) -> Option<Login> {
        let claims = self.claims.unwrap_or_default().into_iter();
        Some(Login {
            provider: self.identity_provider_name?,
            claims: claims
                .filter_map(|(name, claim)| Some((name, claim?.value?)))
                .collect(),
        })
    }
}

/// The login providers of a server: `GET /api/users/identity-metadata`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct Providers {
    #[serde(deserialize_with = "up_to::<LOGINS, _, _>")]
    pub(in super::super) providers: Vec<Provider>,
}

/// A login provider.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct Provider {
    #[serde(rename = "IdentityProviderName", deserialize_with = "name")]
    pub(in super::super) name: String,
    #[serde(
        rename = "ClaimDescriptors",
        deserialize_with = "up_to::<LOGINS, _, _>"
    )]
    pub(in super::super) claims: Vec<Descriptor>,
}

/// A claim that a provider knows users by, or tells of them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct Descriptor {
    #[serde(rename = "Type", deserialize_with = "name")]
    pub(in super::super) type_: String,
    #[serde(default)]
    pub(in super::super) is_identifying_claim: bool,
}

/// A part of the OIDC identities of an account: a list of a shape of its own.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct Trusts {
    #[serde(deserialize_with = "id")]
    pub(in super::super) external_id: String,
    #[serde(deserialize_with = "up_to::<ENTRIES, _, _>")]
    pub(in super::super) oidc_identities: Vec<Trusted>,
    /// How many there are in all.
    pub(in super::super) count: u64,
}

/// An OIDC identity.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct Trusted {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(deserialize_with = "name")]
    name: String,
    #[serde(deserialize_with = "name")]
    issuer: String,
    #[serde(deserialize_with = "name")]
    subject: String,
    #[serde(default, deserialize_with = "some_text")]
    audience: Option<String>,
}

impl Trusted {
    /// The server's id of it, and what it says.
    pub(in super::super) fn split(self) -> (String, Trust) {
        let trust = Trust {
            name: self.name,
            issuer: self.issuer,
            subject: self.subject,
            audience: self.audience.filter(|audience| !audience.is_empty()),
        };
        (self.id, trust)
    }
}
