//! Grants: what the namespaces of the cluster may ask of a ClusterDeployServer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{ForeignKeys, Management, Period, definitions, rules};

/// What some namespaces may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::grant()))]
pub struct Grant {
    /// Which namespaces.
    pub namespaces: GrantedNamespaces,

    /// The kinds of management that their ServiceAccounts may use.
    #[serde(default = "managed_alone")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub management: Vec<Management>,

    /// Patterns of the user names that they may use: `*` stands for any text, `{namespace}` for the
    /// asking namespace.
    #[serde(default = "own_usernames")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = rules::username_patterns()))]
    pub usernames: Vec<String>,

    /// Whether they may take over accounts that exist already.
    #[serde(default)]
    pub adopt: bool,

    /// The teams that their accounts may join: ids, names (`Deployers`), or for the team of a space
    /// `space/name`, as the ServiceAccount names the space; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 401)), extend("x-kubernetes-list-type" = "set"))]
    pub teams: Vec<String>,

    /// Names of the roles that their accounts may have; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 507)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<String>,

    /// Whether they may give accounts external logins and OIDC identities.
    #[serde(default)]
    pub logins: bool,

    /// What they may choose for keys that no operator made.
    #[serde(default = "report_alone")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub foreign_keys: Vec<ForeignKeys>,

    /// Whether they may leave keys and accounts behind (deletionPolicy `Retain`).
    #[serde(default = "yes")]
    pub retain: bool,

    /// The longest lifetime that their ApiKeys may ask for. Default: that of the key policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Period>,
}

fn managed_alone() -> Vec<Management> {
    vec![Management::Managed]
}

fn own_usernames() -> Vec<String> {
    vec!["{namespace}.*".to_owned()]
}

fn report_alone() -> Vec<ForeignKeys> {
    vec![ForeignKeys::Report]
}

fn yes() -> bool {
    true
}

/// Which namespaces a grant is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::granted_namespaces()))]
pub struct GrantedNamespaces {
    /// How they are chosen.
    pub from: NamespacesFrom,

    /// Their names; with `from: Names`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 200), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<String>,

    /// Their labels; with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How the namespaces of a grant are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum NamespacesFrom {
    /// All namespaces.
    All,
    /// Those that are named.
    Names,
    /// Those with the labels.
    Selector,
}
