//! The composition root.

use std::net::SocketAddr;

use kube::Client;

use crate::plan::marker::Installation;

/// What the operator is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Patterns of the hosts that connections may lead to; none given: any that is not refused
    /// anyway.
    pub allowed_servers: Vec<String>,
    /// What this installation calls itself on servers, where it is not to be derived.
    pub installation: Option<Installation>,
    /// Where the Secrets of a ClusterDeployServer are, where it is not the client's own namespace.
    pub operator_namespace: Option<String>,
    /// The name of this release.
    pub release: String,
    /// Whether the stamp of who asked for a key is believed.
    pub stamp: Stamp,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
}

/// Whether `apikeys.dev/requested-by` is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// An admission policy sets it; nobody else can.
    Trusted,
    /// Anybody may have set it.
    Ignored,
}

/// Runs the operator until it is told to end.
///
/// # Errors
/// When it cannot start, or cannot go on.
#[expect(clippy::unused_async, reason = "it is not written yet")]
pub async fn run(_settings: Settings, _client: Client) -> anyhow::Result<()> {
    Ok(())
}
