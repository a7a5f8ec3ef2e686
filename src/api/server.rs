//! [`DeployServer`] and [`ClusterDeployServer`]: one connection to one deploy server, for one
//! namespace or for the cluster.
//!
//! Both are a [`Connection`]; only the second has grants, and may sign in without a stored secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{ForeignKeys, KeyCounts, Management, Period, definitions, rules};

/// A connection to a deploy server, for the ServiceAccounts and ApiKeys of its own namespace.
#[derive(CustomResource, JsonSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "apikeys.dev",
    version = "v1alpha1",
    kind = "DeployServer",
    plural = "deployservers",
    namespaced,
    status = "ConnectionStatus",
    derive = "PartialEq",
    shortname = "dsrv",
    category = "apikey-operator",
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.type",
        description = "What kind of server it is"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".spec.url",
        description = "Where the server answers"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the server can be used"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "The server's version"
    ),
    printcolumn(
        name = "Keys",
        type_ = "integer",
        json_path = ".status.keys.managed",
        description = "How many keys are in use"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How old the connection is"
    )
)]
#[schemars(extend("x-kubernetes-validations" = rules::deploy_server()))]
pub struct DeployServerSpec {
    /// The connection.
    #[serde(flatten)]
    #[schemars(schema_with = "namespaced_connection")]
    pub connection: Connection,
}

/// A connection to a deploy server, for the namespaces that it grants something to.
#[derive(CustomResource, JsonSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "apikeys.dev",
    version = "v1alpha1",
    kind = "ClusterDeployServer",
    plural = "clusterdeployservers",
    status = "ConnectionStatus",
    derive = "PartialEq",
    shortname = "cdsrv",
    category = "apikey-operator",
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".spec.type",
        description = "What kind of server it is"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".spec.url",
        description = "Where the server answers"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the server can be used"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "The server's version"
    ),
    printcolumn(
        name = "Keys",
        type_ = "integer",
        json_path = ".status.keys.managed",
        description = "How many keys are in use"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How old the connection is"
    )
)]
#[schemars(extend("x-kubernetes-validations" = rules::cluster_deploy_server()))]
pub struct ClusterDeployServerSpec {
    /// The connection.
    #[serde(flatten)]
    pub connection: Connection,

    /// Who may ask for what. What no grant covers is not done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub grants: Vec<Grant>,
}

/// How to reach and use one deploy server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// What kind of server it is. Immutable.
    #[serde(rename = "type")]
    pub type_: ServerType,

    /// Where the server answers; a path prefix is allowed. Scheme, host and port are immutable.
    /// Example: `https://octopus.example.org`.
    #[schemars(length(min = 8, max = 500), extend("x-kubernetes-validations" = rules::address()))]
    pub url: String,

    /// Where st2auth answers, when that is not `{url}/auth`. Only StackStorm. Scheme, host and port
    /// are immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 500), extend("x-kubernetes-validations" = rules::address()))]
    pub auth_url: Option<String>,

    /// How the operator signs in: exactly one way.
    pub auth: Auth,

    /// Which certificates to trust. Default: the authorities that the operator's image trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// How much the operator may ask of the server.
    #[serde(default)]
    pub limits: Limits,

    /// How long keys may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_policy: Option<KeyPolicy>,

    /// How often the server is looked at even if nothing has changed here.
    #[serde(default = "ten_minutes")]
    pub resync: Period,
}

fn ten_minutes() -> Period {
    Period::minutes(10)
}

/// The schema of a connection without what only a [`ClusterDeployServer`] has.
fn namespaced_connection(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Connection::json_schema(generator);
    if let Some(auth) = schema
        .pointer_mut("/properties/auth/oneOf")
        .and_then(|v| v.as_array_mut())
    {
        auth.retain(|way| way.pointer("/properties/workloadIdentity").is_none());
    }
    schema
}

/// The kinds of deploy servers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(transform = definitions::meanings)]
pub enum ServerType {
    /// Octopus Deploy.
    Octopus,
    /// StackStorm.
    StackStorm,
    /// Elasticsearch, with its security feature.
    Elasticsearch,
}

/// How the operator signs in: exactly one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Auth {
    /// An API key of the server.
    ApiKey(SecretValue),
    /// A user name and a password: Octopus Deploy opens a session with it, StackStorm a token,
    /// Elasticsearch takes it with each request.
    Basic(BasicSecret),
    /// A bearer token. Only Elasticsearch.
    Bearer(SecretValue),
    /// No stored secret: a token of the operator's own Kubernetes account is exchanged for a short
    /// access token. Only in a ClusterDeployServer, and only Octopus Deploy.
    WorkloadIdentity(WorkloadIdentity),
}

/// A credential that is one entry of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretValue {
    /// The entry that holds it. The Secret is in the DeployServer's own namespace and carries the
    /// label `apikeys.dev/credential: "true"`; that of a ClusterDeployServer is in the operator's
    /// namespace.
    pub secret_ref: SecretEntryRef,
}

/// One entry of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretEntryRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The entry's name.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A user name and a password in one Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicSecret {
    /// The entries that hold them. The Secret is in the DeployServer's own namespace and carries
    /// the label `apikeys.dev/credential: "true"`; that of a ClusterDeployServer is in the
    /// operator's namespace.
    pub secret_ref: PasswordRef,
}

/// The entries of a Secret with a user name and a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The name of the entry with the user name.
    #[serde(default = "username_key")]
    #[schemars(length(min = 1, max = 253))]
    pub username_key: String,
    /// The name of the entry with the password.
    #[serde(default = "password_key")]
    #[schemars(length(min = 1, max = 253))]
    pub password_key: String,
}

fn username_key() -> String {
    "username".to_owned()
}

fn password_key() -> String {
    "password".to_owned()
}

/// Signing in without a stored secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// The audience of the token that is asked from Kubernetes: the external id of the server's
    /// service account, or what its OIDC identity names. Never an audience of the API server.
    #[schemars(length(min = 1, max = 500))]
    pub audience: String,
}

/// Which certificates to trust, instead of those that the operator's image trusts: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::tls()))]
pub enum Tls {
    /// Certificates of authorities, in PEM.
    CaBundle(#[schemars(length(max = 65_536))] String),
    /// An entry of a ConfigMap or Secret with certificates of authorities, in PEM; in the
    /// DeployServer's own namespace, or, for a ClusterDeployServer, in the operator's.
    CaRef(CaRef),
}

/// An entry of a ConfigMap or Secret with certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// The kind of the object.
    pub kind: CaKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The entry's name. Example: `ca.crt`.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What kind of object holds certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum CaKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// How much the operator may ask of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// How many requests a minute, in the long run.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_per_minute: u32,
    /// How many requests at once after a quiet time.
    #[schemars(range(min = 1, max = 10_000))]
    pub burst: u32,
    /// How many requests at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub concurrency: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: 300,
            burst: 50,
            concurrency: 8,
        }
    }
}

/// How long keys may live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::key_policy()))]
pub struct KeyPolicy {
    /// The longest lifetime that an ApiKey may ask for. Default: what the server allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Period>,

    /// The lifetime of keys whose ApiKey names none. Default: `30d`, or maxLifetime when that is
    /// shorter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_lifetime: Option<Period>,
}

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

    /// Names or ids of the teams that their accounts may join; `*` for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 200)), extend("x-kubernetes-list-type" = "set"))]
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

/// What was found and done last: a mirror for people, never the ground of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionStatus {
    /// The generation of the spec that this status speaks of; -1 until somebody has looked.
    pub observed_generation: i64,

    /// How things stand: Ready, Reconciling, Stalled, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The server's version, as it says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The account behind the connection's own credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,

    /// The server's own rules for the expiry of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<KeyExpiryStatus>,

    /// When the connection's own credential ends, where that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Time>,

    /// How many ServiceAccounts use the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<u32>,

    /// How many keys their accounts have on the server, at the last resync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyCounts>,
}

impl Default for ConnectionStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            version: None,
            identity: None,
            key_expiry: None,
            credential_expires_at: None,
            accounts: None,
            keys: None,
        }
    }
}

/// An account on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its id.
    pub id: String,
    /// Its user name.
    pub username: String,
}

/// A server's own rules for the expiry of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyExpiryStatus {
    /// How many days a key lives that asks for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_days: Option<u32>,
    /// How many days a key may live at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_days: Option<u32>,
}
