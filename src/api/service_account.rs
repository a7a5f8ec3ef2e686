//! [`ServiceAccount`]: one account on one deploy server.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FreeForm, KeyCounts, definitions, rules, text};

/// An account on a deploy server, for which ApiKeys of the same namespace can be made.
#[derive(CustomResource, JsonSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "apikeys.dev",
    version = "v1alpha1",
    kind = "ServiceAccount",
    plural = "serviceaccounts",
    namespaced,
    status = "ServiceAccountStatus",
    derive = "PartialEq",
    shortname = "dsa",
    category = "apikey-operator"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::service_account()))]
pub struct ServiceAccountSpec {
    /// The connection to the server that has the account. Immutable.
    pub server_ref: ServerRef,

    /// Who looks after the account. To or from `Self` cannot be changed later.
    #[serde(default)]
    pub management: Management,

    /// Manage an account of this name even if it was there before. Only with management `Managed`;
    /// never a person's account.
    #[serde(default)]
    pub adopt: bool,

    /// The account's user name. Immutable; not with management `Self`. Default:
    /// `<namespace>.<name>`, cut, with a hash at its end, where the server allows no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-validations" = rules::username()))]
    pub username: Option<String>,

    /// The realm in which to look for the account. Only Elasticsearch, and only with management
    /// `Observed`. Example: `native1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-validations" = rules::realm()))]
    pub realm: Option<String>,

    /// The account's name for people. Default: the user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), extend("x-kubernetes-validations" = rules::one_line()))]
    pub display_name: Option<String>,

    /// The account's e-mail address. Default: whatever the server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254), extend("x-kubernetes-validations" = rules::email()))]
    pub email: Option<String>,

    /// `true` disables the account on the server: none of its keys works, but on Elasticsearch, where
    /// keys go on (it ends the password alone).
    #[serde(default)]
    pub disabled: bool,

    /// What becomes of the account when this object is deleted. Only with management `Managed`.
    /// Default: `Delete`, or `Retain` when the account was adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<AccountDeletionPolicy>,

    /// What becomes of keys on the account that no operator made.
    #[serde(default)]
    pub foreign_keys: ForeignKeys,

    /// What only Octopus Deploy's accounts have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octopus: Option<OctopusAccount>,

    /// What only Elasticsearch's accounts have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchAccount>,
}

/// A connection to a deploy server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerRef {
    /// Its kind: a DeployServer of the same namespace, or a ClusterDeployServer.
    pub kind: ServerKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The kind of a connection.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(transform = definitions::meanings)]
pub enum ServerKind {
    /// A connection of one namespace.
    DeployServer,
    /// A connection of the whole cluster.
    ClusterDeployServer,
}

/// Who looks after an account.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[schemars(transform = definitions::meanings)]
pub enum Management {
    /// The operator: created when absent, kept as declared, deleted in the end.
    #[default]
    Managed,
    /// Somebody else: it must exist, and is never changed or deleted.
    Observed,
    /// Somebody else: it is the account behind the connection's own credential.
    #[serde(rename = "Self")]
    Own,
}

/// What becomes of an account when its ServiceAccount is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum AccountDeletionPolicy {
    /// It is deleted, if the operator created it.
    Delete,
    /// It is disabled.
    Disable,
    /// It stays.
    Retain,
}

/// What becomes of keys that no operator made.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[schemars(transform = definitions::meanings)]
pub enum ForeignKeys {
    /// They are counted.
    #[default]
    Report,
    /// They are revoked once they have been seen for a day.
    Revoke,
}

/// What only Octopus Deploy's accounts have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OctopusAccount {
    /// Teams that the account joins. Others that it is in are left alone, and only what we added is
    /// taken away again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub teams: Vec<Team>,

    /// Logins of external authentication providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["provider"]))]
    pub external_logins: Vec<ExternalLogin>,

    /// Identities with which a workload signs in as the account by an OIDC token, without a key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub oidc_identities: Vec<OidcIdentity>,
}

/// A team, by its name or by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::team()))]
pub struct Team {
    /// The team's exact name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), extend("x-kubernetes-validations" = rules::one_line()))]
    pub name: Option<String>,

    /// The team's id. Example: `Teams-21`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), extend("x-kubernetes-validations" = rules::one_line()))]
    pub id: Option<String>,

    /// The name or id of the space whose team it is. Default: a team of the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), extend("x-kubernetes-validations" = rules::one_line()))]
    pub space: Option<String>,
}

/// A login of an external authentication provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalLogin {
    /// The provider's name on the server. Example: `Active Directory`.
    #[schemars(length(min = 1, max = 200))]
    pub provider: String,
    /// The claims by which the provider knows the account, by name. Example: `email: ci@example.org`.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = text(500)))]
    pub claims: BTreeMap<String, String>,
}

/// An identity with which a workload signs in by an OIDC token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcIdentity {
    /// A name, unique within the account.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The issuer of the tokens. Example: `https://token.actions.githubusercontent.com`.
    #[schemars(length(min = 9, max = 200), extend("x-kubernetes-validations" = rules::issuer()))]
    pub issuer: String,
    /// The subject that the tokens carry. Example: `repo:acme/shop:ref:refs/heads/main`.
    #[schemars(length(min = 1, max = 200))]
    pub subject: String,
    /// The audience that the tokens carry. Default: the account's external id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500))]
    pub audience: Option<String>,
}

/// What only Elasticsearch's accounts have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticsearchAccount {
    /// The roles of the account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 507)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<String>,

    /// Metadata of the account.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub metadata: FreeForm,
}

/// What was found and done last: a mirror for people, never the ground of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccountStatus {
    /// The generation of the spec that this status speaks of; -1 until somebody has looked.
    pub observed_generation: i64,

    /// How things stand: Ready, Reconciling, Stalled, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The server's id of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,

    /// Who made the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<AccountOrigin>,

    /// The account's user name, as the server spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,

    /// The id by which the account is known to OIDC token exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,

    /// The declared teams that the account is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<JoinedTeam>,

    /// The declared OIDC identities that the account has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub oidc_identities: Vec<OidcIdentityStatus>,

    /// How many keys the account has on the server, at the last resync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyCounts>,

    /// The ids of keys that outlive their ApiKey on purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retained: Vec<String>,

    /// The first 20 keys of the account that are neither in use nor retiring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownKey>,
}

/// Who made an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum AccountOrigin {
    /// The operator, for this ServiceAccount.
    Created,
    /// Somebody else: it was there before.
    Existing,
}

impl Default for ServiceAccountStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            id: None,
            origin: None,
            username: None,
            external_id: None,
            teams: Vec::new(),
            oidc_identities: Vec::new(),
            keys: None,
            retained: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

/// A team that the account is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinedTeam {
    /// The team's id.
    pub id: String,
    /// The team's name.
    pub name: String,
}

/// An OIDC identity that the account has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OidcIdentityStatus {
    /// Its declared name.
    pub name: String,
    /// The server's id of it.
    pub id: String,
}

/// A key of the account that is neither in use nor retiring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnknownKey {
    /// The server's id of the key.
    pub id: String,
    /// Whose it is.
    pub class: KeyClass,
    /// The text that it carries on the server, cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When the server made it.
    pub created_at: Time,
    /// When it ends; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// Whose a key is that is neither in use nor retiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum KeyClass {
    /// A living ApiKey's, that nothing records.
    Stray,
    /// An ApiKey's that is gone.
    Orphan,
    /// Another installation's.
    Other,
    /// No operator's.
    Foreign,
}
