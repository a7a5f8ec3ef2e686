//! The manifests that people apply, and where objects are.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::servers::{ELASTICSEARCH, OCTOPUS, STACKSTORM};

/// The operator's own namespace.
pub const OWN: &str = "apikey-operator";
/// The namespace of a team.
pub const TEAM: &str = "team-a";
/// The entries of a Secret that hold a key, of each kind of server.
const ENTRIES: [&str; 3] = ["OCTOPUS_API_KEY", "ST2_API_KEY", "ELASTICSEARCH_API_KEY"];

/// What is shown of the store when something is wrong.
pub const SHOWN: [&str; 5] = [
    "secrets",
    "apikeys.apikeys.dev",
    "serviceaccounts.apikeys.dev",
    "deployservers.apikeys.dev",
    "clusterdeployservers.apikeys.dev",
];

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    kind: &'static Served,
    /// Its namespace; empty for a kind of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A kind of objects, as URLs name it.
#[derive(Debug, PartialEq, Eq)]
struct Served {
    kind: &'static str,
    root: &'static str,
    plural: &'static str,
    resource: &'static str,
}

const OURS: &str = "/apis/apikeys.dev/v1alpha1";
const SERVED: [Served; 8] = [
    Served {
        kind: "Namespace",
        root: "/api/v1",
        plural: "namespaces",
        resource: "namespaces",
    },
    Served {
        kind: "Secret",
        root: "/api/v1",
        plural: "secrets",
        resource: SHOWN[0],
    },
    Served {
        kind: "ApiKey",
        root: OURS,
        plural: "apikeys",
        resource: SHOWN[1],
    },
    Served {
        kind: "ServiceAccount",
        root: OURS,
        plural: "serviceaccounts",
        resource: SHOWN[2],
    },
    Served {
        kind: "DeployServer",
        root: OURS,
        plural: "deployservers",
        resource: SHOWN[3],
    },
    Served {
        kind: "ClusterDeployServer",
        root: OURS,
        plural: "clusterdeployservers",
        resource: SHOWN[4],
    },
    Served {
        kind: "Deployment",
        root: "/apis/apps/v1",
        plural: "deployments",
        resource: "deployments.apps",
    },
    Served {
        kind: "ServiceAccount",
        root: "/api/v1",
        plural: "serviceaccounts",
        resource: "serviceaccounts",
    },
];

impl Address {
    /// Where a manifest's object is.
    ///
    /// # Errors
    /// When it is of a kind that no test applies.
    pub fn of(manifest: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        Ok(Self {
            kind: SERVED
                .iter()
                .find(|served| served.kind == kind && served.root.ends_with(&version))
                .with_context(|| format!("no kind {kind}"))?,
            namespace: text(&manifest["metadata"]["namespace"]),
            name: text(&manifest["metadata"]["name"]),
        })
    }

    fn new(kind: usize, namespace: &str, name: &str) -> Self {
        Self {
            kind: &SERVED[kind],
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// A namespace.
    pub fn namespace(name: &str) -> Self {
        Self::new(0, "", name)
    }

    /// A Deployment of the team.
    pub fn deployment(name: &str) -> Self {
        Self::new(6, TEAM, name)
    }

    /// A Secret.
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self::new(1, namespace, name)
    }

    /// An ApiKey of the team.
    pub fn key(name: &str) -> Self {
        Self::new(2, TEAM, name)
    }

    /// A ServiceAccount of the team.
    pub fn account(name: &str) -> Self {
        Self::new(3, TEAM, name)
    }

    /// A DeployServer of the team.
    pub fn server(name: &str) -> Self {
        Self::new(4, TEAM, name)
    }

    /// Its URL.
    pub fn path(&self) -> String {
        let Served { root, plural, .. } = self.kind;
        if self.namespace.is_empty() {
            format!("{root}/{plural}/{}", self.name)
        } else {
            format!(
                "{root}/namespaces/{}/{plural}/{}",
                self.namespace, self.name
            )
        }
    }

    /// `plural.group`, as the store names its kind.
    pub fn resource(&self) -> &'static str {
        self.kind.resource
    }
}

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// The Secret with a connection's credential, offered.
pub fn credential(key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "octopus-credential", "namespace": TEAM,
            "labels": {"apikeys.dev/credential": "true"},
        },
        "data": {"key": encoded(key)},
    })
}

/// The team's connection.
pub fn server() -> Value {
    json!({
        "apiVersion": "apikeys.dev/v1alpha1", "kind": "DeployServer",
        "metadata": {"name": "octopus", "namespace": TEAM},
        "spec": {
            "type": "Octopus",
            "url": format!("https://{OCTOPUS}"),
            "auth": {"apiKey": {"secretRef": {"name": "octopus-credential", "key": "key"}}},
        },
    })
}

/// The Secret with a user name and a password for another kind of server, offered.
pub fn password(server: &str, username: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": format!("{server}-credential"), "namespace": TEAM,
            "labels": {"apikeys.dev/credential": "true"},
        },
        "data": {"username": encoded(username), "password": encoded(password)},
    })
}

/// The team's connection to StackStorm.
pub fn stackstorm() -> Value {
    by_password("stackstorm", "StackStorm", STACKSTORM)
}

/// The team's connection to Elasticsearch.
pub fn elasticsearch() -> Value {
    by_password("elasticsearch", "Elasticsearch", ELASTICSEARCH)
}

fn by_password(name: &str, type_: &str, host: &str) -> Value {
    json!({
        "apiVersion": "apikeys.dev/v1alpha1", "kind": "DeployServer",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {
            "type": type_,
            "url": format!("https://{host}"),
            "auth": {"basic": {"secretRef": {"name": format!("{name}-credential")}}},
        },
    })
}

/// The Secret with the credential of a connection of the whole cluster.
pub fn cluster_credential(key: &str) -> Value {
    let mut credential = credential(key);
    credential["metadata"]["namespace"] = json!(OWN);
    credential
}

/// A connection of the whole cluster, with the default grant to the team.
pub fn cluster_server() -> Value {
    let mut server = server();
    server["kind"] = json!("ClusterDeployServer");
    server["metadata"] = json!({"name": "shared"});
    server["spec"]["grants"] = json!([{"namespaces": {"from": "Names", "names": [TEAM]}}]);
    server
}

/// A ServiceAccount of Kubernetes for a program in the operator's own namespace.
pub fn own_account(program: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": program, "namespace": OWN},
    })
}

/// A connection of the whole cluster, without a stored credential, to the account with this external id.
pub fn vouched_server(audience: &str) -> Value {
    let mut server = cluster_server();
    server["spec"]["auth"] = json!({"workloadIdentity": {"audience": audience}});
    server
}

/// An account of the team by the connection of the whole cluster.
pub fn granted_account(name: &str, more: Value) -> Value {
    let mut account = account(more);
    account["metadata"]["name"] = json!(name);
    account["spec"]["serverRef"] = json!({"kind": "ClusterDeployServer", "name": "shared"});
    account
}

/// The team's account, with more in its spec.
#[expect(
    clippy::needless_pass_by_value,
    reason = "manifests are written in place"
)]
pub fn account(more: Value) -> Value {
    let mut spec = json!({"serverRef": {"kind": "DeployServer", "name": "octopus"}});
    merge(&mut spec, &more);
    json!({
        "apiVersion": "apikeys.dev/v1alpha1", "kind": "ServiceAccount",
        "metadata": {"name": "ci", "namespace": TEAM},
        "spec": spec,
    })
}

/// A key of the team's account, with more in its spec.
#[expect(
    clippy::needless_pass_by_value,
    reason = "manifests are written in place"
)]
pub fn key(name: &str, more: Value) -> Value {
    let mut spec = json!({"serviceAccountRef": {"name": "ci"}});
    merge(&mut spec, &more);
    json!({
        "apiVersion": "apikeys.dev/v1alpha1", "kind": "ApiKey",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": spec,
    })
}

/// A workload of the team.
pub fn deployment(name: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": name}]},
            },
        },
    })
}

/// The value of the key that a Secret holds.
pub fn key_of(secret: &Value) -> Option<String> {
    entry(secret, ENTRIES.into_iter().map(str::to_owned))
}

/// The value of the replaced key that a Secret keeps.
pub fn previous_of(secret: &Value) -> Option<String> {
    let names = ENTRIES.into_iter().map(|name| format!("PREVIOUS_{name}"));
    entry(secret, names)
}

/// The first of these entries that a Secret has.
fn entry(secret: &Value, mut names: impl Iterator<Item = String>) -> Option<String> {
    let value = names.find_map(|name| secret["data"][name].as_str())?;
    String::from_utf8(STANDARD.decode(value).ok()?).ok()
}

/// A text as a Secret's data has it.
pub fn encoded(text: &str) -> String {
    STANDARD.encode(text)
}

fn merge(into: &mut Value, more: &Value) {
    json_patch::merge(into, more);
}
