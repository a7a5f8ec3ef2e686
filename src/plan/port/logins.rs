//! Ways to sign in as an account without a key: logins of external providers, and OIDC identities.

use std::collections::BTreeMap;

/// A login of an external provider. An account has one of each provider at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The provider's name.
    pub provider: String,
    /// The claims by which the provider knows the account, by name.
    pub claims: BTreeMap<String, String>,
}

impl Login {
    /// Whether a login is as this one says; what the provider has added to it does not matter.
    pub fn is_met_by(&self, login: &Self) -> bool {
        let mut claims = self.claims.iter();
        self.provider == login.provider
            && claims.all(|(name, value)| login.claims.get(name) == Some(value))
    }
}

/// Whose tokens open an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// A name, by which it is known again.
    pub name: String,
    /// The issuer of the tokens.
    pub issuer: String,
    /// The subject that they carry.
    pub subject: String,
    /// The audience that they carry; `None` for the account's external id.
    pub audience: Option<String>,
}

/// What of OIDC an account has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    /// The id by which the account is known to the exchange of tokens.
    pub external_id: String,
    /// Whose tokens open it, each with the server's id of that.
    pub trusts: Vec<(String, Trust)>,
}
