//! What people write: the custom resources of group `apikeys.dev`, their schema and rules, and the
//! words of conditions.
//!
//! Wire types alone: no clock, no client, no decision. What the schema and the rules accept parses
//! here, and what the operator writes is accepted there; `tests/it/crds.rs` holds both against a
//! real API server.

mod api_key;
mod columns;
pub mod conditions;
mod definitions;
mod period;
mod rules;
mod server;
mod service_account;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub use api_key::{
    ApiKey, ApiKeySpec, ApiKeyStatus, CurrentKey, ElasticsearchKey, KeyDeletionPolicy, LastFailure,
    NotARenewBefore, RenewBefore, Restarted, RetiringKey, Rotation, RotationMode, SecretSpec,
    StackStormKey, Window, Workload, WorkloadKind,
};
pub use definitions::{
    FilesError, MadeFile, Paths, all_crds, check_files, crds_yaml, made_files, write_files,
};
pub use period::{NotAPeriod, Period};
pub use server::{
    Auth, BasicSecret, CaKind, CaRef, ClusterDeployServer, ClusterDeployServerSpec, Connection,
    ConnectionStatus, DeployServer, DeployServerSpec, Grant, GrantedNamespaces, Identity,
    KeyExpiryStatus, KeyPolicy, Limits, NamespacesFrom, PasswordRef, SecretEntryRef, SecretValue,
    ServerType, Tls, WorkloadIdentity,
};
pub use service_account::{
    AccountDeletionPolicy, AccountOrigin, ElasticsearchAccount, ExternalLogin, ForeignKeys,
    JoinedTeam, KeyClass, Management, OctopusAccount, OidcIdentity, OidcIdentityStatus, ServerKind,
    ServerRef, ServiceAccount, ServiceAccountSpec, ServiceAccountStatus, Team, UnknownKey,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The API group of all kinds.
pub const GROUP: &str = "apikeys.dev";
/// The version of all kinds.
pub const VERSION: &str = "v1alpha1";
/// The name under which the operator's writes appear in `managedFields`.
pub const FIELD_MANAGER: &str = "apikey-operator";
/// The category of all kinds: `kubectl get apikey-operator`.
pub const CATEGORY: &str = "apikey-operator";

/// The finalizers. The names are given once and never change.
pub mod finalizer {
    /// On an ApiKey: its keys on the server are not all revoked yet.
    pub const REVOKE: &str = "apikeys.dev/revoke";
    /// On a ServiceAccount: its account on the server is not settled yet.
    pub const ACCOUNT: &str = "apikeys.dev/account";
    /// On a DeployServer or ClusterDeployServer: accounts or keys depend on it.
    pub const CONNECTION: &str = "apikeys.dev/connection";
    /// On the Secret with a connection's credential: accounts or keys depend on it.
    pub const CREDENTIAL_IN_USE: &str = "apikeys.dev/credential-in-use";
}

/// The labels. The names are given once and never change.
pub mod label {
    /// On a Secret, with the value [`OFFERED`]: a DeployServer of this namespace may send it to its
    /// server.
    pub const CREDENTIAL: &str = "apikeys.dev/credential";
    /// The value of [`CREDENTIAL`] that offers.
    pub const OFFERED: &str = "true";
    /// On the Secrets that hold a key of ours, with the value [`KEPT`]: by it they are watched.
    pub const SECRET: &str = "apikeys.dev/secret";
    /// The value of [`SECRET`].
    pub const KEPT: &str = "true";
    /// On the Secrets that we make, with the value [`OPERATOR`]: for people, and other tools.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The value of [`MANAGED_BY`].
    pub const OPERATOR: &str = "apikey-operator";
}

/// The annotations. The names are given once and never change.
pub mod annotation {
    /// On an ApiKey, set by people: any new text rotates once.
    pub const ROTATE: &str = "apikeys.dev/rotate";
    /// On an ApiKey, stamped by admission: who asked for it. Believed only when the operator is
    /// told that the admission policy is installed.
    pub const REQUESTED_BY: &str = "apikeys.dev/requested-by";

    /// On an ApiKey: the attempt, `<uid>.<serial>.<nonce>.<openedAt>[.<endsAt>]`.
    pub const INTENT: &str = "apikeys.dev/intent";

    /// On a Secret: whose it is, `<namespace>/<name>/<uid>` of the ApiKey.
    pub const API_KEY: &str = "apikeys.dev/api-key";
    /// On a Secret: the server's id of the key in it.
    pub const KEY_ID: &str = "apikeys.dev/key-id";
    /// On a Secret: the serial of the key in it.
    pub const SERIAL: &str = "apikeys.dev/serial";
    /// On a Secret: the nonce of the attempt that made the key in it.
    pub const NONCE: &str = "apikeys.dev/nonce";
    /// On a Secret: the fingerprint of the value in it.
    pub const FINGERPRINT: &str = "apikeys.dev/fingerprint";
    /// On a Secret: when the server made the key in it.
    pub const CREATED_AT: &str = "apikeys.dev/created-at";
    /// On a Secret: when the key in it ends.
    pub const EXPIRES_AT: &str = "apikeys.dev/expires-at";
    /// On a Secret: a digest of the templates that its entries were rendered from.
    pub const SHAPE: &str = "apikeys.dev/shape";
    /// On a Secret: the names of the entries that we wrote.
    pub const ENTRIES: &str = "apikeys.dev/entries";
    /// On a Secret: a digest of the entries that we wrote, but for those of [`PREVIOUS`].
    pub const DIGEST: &str = "apikeys.dev/digest";
    /// On a Secret: the id of the replaced key that is kept in it, and the names of the entries that
    /// hold it.
    pub const PREVIOUS: &str = "apikeys.dev/previous";
    /// On a Secret, set by people: the name of the ApiKey that may take it over.
    pub const ADOPT_BY: &str = "apikeys.dev/adopt-by";
    /// On a Secret: that it was taken over, and stays when its ApiKey goes.
    pub const ADOPTED: &str = "apikeys.dev/adopted";
    /// On a Secret: id, serial and revokeAt of each replaced key.
    pub const RETIRING: &str = "apikeys.dev/retiring";
    /// On a Secret: the text of [`ROTATE`] that led to the key in it.
    pub const ROTATE_HANDLED: &str = "apikeys.dev/rotate-handled";

    /// On a Secret and on a ServiceAccount: the server's id of the account.
    pub const ACCOUNT_ID: &str = "apikeys.dev/account-id";
    /// On a Secret, a ServiceAccount and a connection: which server it is.
    pub const SERVER_IDENTITY: &str = "apikeys.dev/server-identity";
    /// On a Secret and on a ServiceAccount: the installation that wrote it.
    pub const INSTALLATION: &str = "apikeys.dev/installation";

    /// On a connection: the account behind its own credential, at its first success.
    pub const OWN_ACCOUNT: &str = "apikeys.dev/own-account";

    /// On a ServiceAccount: that its name was free on the server, and when that was seen.
    pub const ACCOUNT_INTENT: &str = "apikeys.dev/account-intent";
    /// On a ServiceAccount: that we made the account.
    pub const CREATED: &str = "apikeys.dev/created";
    /// On a ServiceAccount: the teams and logins that we added.
    pub const ADDED: &str = "apikeys.dev/added";
    /// On a ServiceAccount: keys that outlive their ApiKey on purpose.
    pub const RETAINED: &str = "apikeys.dev/retained";
    /// On a ServiceAccount with `foreignKeys: Revoke`: keys of no operator, and since when each has
    /// been seen, `<id>:<firstSeen>`.
    pub const FOREIGN: &str = "apikeys.dev/foreign";
    /// On a ServiceAccount: the installation under whose name another cluster makes keys as well.
    /// Taken off by people.
    pub const IDENTITY_SHARED: &str = "apikeys.dev/identity-shared";
}

/// Another object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How many keys of each kind an account, or all accounts of a connection, have on the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyCounts {
    /// Keys in use.
    pub managed: u32,
    /// Replaced keys that live through their overlap.
    pub retiring: u32,
    /// Keys of a living ApiKey that nothing records; they are retired by themselves.
    pub stray: u32,
    /// Keys of ApiKeys that are gone; they are revoked by themselves, or retained.
    pub orphan: u32,
    /// Keys of another installation of the operator; never touched.
    pub other: u32,
    /// Keys that no operator made.
    pub foreign: u32,
}

/// An object without a fixed shape, kept as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FreeForm(pub serde_json::Map<String, serde_json::Value>);

impl JsonSchema for FreeForm {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FreeForm".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

impl FreeForm {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// As JSON, on one line, its names in order.
impl std::fmt::Display for FreeForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        serde_json::to_string(&self.0).map_or(Err(std::fmt::Error), |text| f.write_str(&text))
    }
}

/// The schema of a text of at most so many characters.
fn text(most: u32) -> serde_json::Value {
    serde_json::json!({ "type": "string", "maxLength": most })
}

/// The schema of a label's value.
fn label_value() -> serde_json::Value {
    serde_json::json!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": rules::label_value(),
    })
}

/// A time as Kubernetes writes it: cut to whole seconds, so that what was written compares equal to
/// what is read back.
pub fn time(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
