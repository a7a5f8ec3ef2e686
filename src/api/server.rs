//! [`DeployServer`] and [`ClusterDeployServer`]: one connection to one deploy server, for one
//! namespace or for the cluster.
//!
//! Both are a [`Connection`]; only the second has grants, and may sign in without a stored secret.

mod grant;
mod status;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Period, definitions, rules};
pub use grant::{Grant, GrantedNamespaces, NamespacesFrom};
pub use status::{ConnectionStatus, Identity, KeyExpiryStatus};

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
    category = "apikey-operator"
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
    category = "apikey-operator"
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
    /// The external id of the server's service account that the operator shall be: the audience of the
    /// token that is asked from Kubernetes, and of the exchange. The account has an OIDC identity with
    /// the cluster's issuer, the operator's ServiceAccount as subject, and no audience of its own. Never
    /// an audience of the API server.
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
