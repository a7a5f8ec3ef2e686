//! One case: a namespace of the cluster and a twin of its own, and the few words in which rows are
//! written: apply, wait for a reason and its sentence, read the Secret, ask the twin.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `manifests` | manifests of each kind |
//! | `people` | what people do: apply, patch, delete |
//! | `sight` | what people see, and waits for it |
//! | `server` | what the server knows, and what befalls it |
//! | `ending` | how a row must end |

mod ending;
mod manifests;
mod people;
mod server;
mod sight;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use anyhow::Result;
use apikey_operator::api::{ApiKey, ClusterDeployServer, DeployServer, ServiceAccount};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ApiResource, PostParams};
use serde_json::json;
use testbed::twins::Door;
use testbed::twins::octopus::{Config, Octopus, Start};
use testbed::twins::tcp::{Listening, serve};
use testbed::twins::tls::Tls;

pub(crate) use self::sight::condition;
use super::stage::Stage;
use super::tapped::Tapped;

/// An object of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'a> {
    /// An ApiKey.
    Key(&'a str),
    /// A ServiceAccount.
    Account(&'a str),
    /// A DeployServer.
    Server(&'a str),
    /// A ClusterDeployServer.
    Cluster(&'a str),
    /// A Secret.
    Secret(&'a str),
    /// The case's namespace.
    Home,
}

pub(crate) use Object::{Account, Cluster, Home, Key, Secret as Sealed, Server};

impl<'a> Object<'a> {
    fn name(self, home: &'a str) -> &'a str {
        match self {
            Key(name) | Account(name) | Server(name) | Cluster(name) | Sealed(name) => name,
            Home => home,
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Key(_) => ApiResource::erase::<ApiKey>(&()),
            Account(_) => ApiResource::erase::<ServiceAccount>(&()),
            Server(_) => ApiResource::erase::<DeployServer>(&()),
            Cluster(_) => ApiResource::erase::<ClusterDeployServer>(&()),
            Sealed(_) => ApiResource::erase::<Secret>(&()),
            Home => ApiResource::erase::<Namespace>(&()),
        }
    }
}

/// Where one row plays.
pub(crate) struct Case {
    pub(crate) stage: Arc<Stage>,
    /// The namespace, and the name of what has none.
    pub(crate) namespace: String,
    pub(crate) twin: Door<Tapped>,
    /// The accounts that the twin starts with.
    pub(crate) start: Start,
    listening: Listening,
    /// Changes of specs that meant nothing.
    changes: AtomicU32,
}

impl Case {
    /// Makes the namespace and starts the twin.
    pub(crate) async fn open(stage: &Arc<Stage>, name: &str) -> Result<Self> {
        Self::open_with(stage, name, Config::default()).await
    }

    /// The same, with another server.
    pub(crate) async fn open_with(stage: &Arc<Stage>, name: &str, config: Config) -> Result<Self> {
        // Two servers with the same seed would be one and the same.
        let mut seed = DefaultHasher::new();
        name.hash(&mut seed);
        let octopus = Octopus::new(&Config {
            seed: seed.finish(),
            ..config
        });
        let tapped = Tapped::new(octopus, &stage.canaries);
        let start = tapped.start().clone();
        let twin = Door::live(tapped);
        let case = Self {
            stage: Arc::clone(stage),
            namespace: name.replace('_', "-"),
            listening: serve(&twin, 0, None)?,
            changes: AtomicU32::new(0),
            twin,
            start,
        };
        let home =
            json!({"metadata": {"name": case.namespace, "labels": {"case": case.namespace}}});
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let home = serde_json::from_value(home)?;
        namespaces.create(&PostParams::default(), &home).await?;
        Ok(case)
    }

    /// The twin's address.
    pub(crate) fn url(&self) -> String {
        self.listening.url()
    }

    /// The twin at another address, over TLS.
    pub(crate) fn tls(&self, tls: &Tls) -> Result<Listening> {
        serve(&self.twin, 0, Some(tls))
    }
}
