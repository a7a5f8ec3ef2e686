//! The operator of a demo: built, given the rights that its chart renders, and started, all as
//! people would do it. Nothing is known of it but its command line, its chart and its answers.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::time::{interval, timeout};

use super::PATIENCE;
use crate::control_plane::ControlPlane;
use crate::process::{self, Process, Program, Signal};
use crate::progress::Progress;

/// The release, its namespace, and the name of its `ServiceAccount`: the chart makes them the same.
pub(super) const NAME: &str = "apikey-operator";

/// What the operator's rights and kinds are made of. The rest of the chart runs it in a pod.
const KINDS: [&str; 6] = [
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Builds the operator as `cargo build` does, and returns where it is.
///
/// # Errors
/// What the compiler says.
pub(super) async fn build(root: &Path) -> Result<PathBuf> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let cargo = Program::new(PathBuf::from(cargo))
        .args(["build", "--locked", "--package", NAME, "--bin", NAME])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .start(folder.path().join("cargo.log"))?;
    let mut progress = Progress::new();
    let mut tick = interval(Duration::from_millis(200));
    let status = loop {
        tokio::select! {
            status = cargo.wait() => break status?,
            _ = tick.tick() => {
                let words = words(cargo.log())?;
                progress.show("building the operator", words.last().map_or("", |line| line.trim()));
            }
        }
    };
    if !status.success() {
        let words = words(cargo.log())?;
        let error = words.iter().position(|line| line.starts_with("error"));
        let words = &words[error.unwrap_or_default()..];
        bail!("{}", words[..words.len().min(12)].join("\n"));
    }
    let log = std::fs::read_to_string(cargo.log())?;
    let program = log.lines().rev().find_map(executable);
    program.context("cargo does not say where the operator is")
}

/// What cargo says to people; the rest are messages for programs.
fn words(log: &Path) -> io::Result<Vec<String>> {
    let log = std::fs::read_to_string(log)?;
    let words = log.lines().filter(|line| !line.starts_with('{'));
    Ok(words.map(str::to_owned).collect())
}

/// The program that one of cargo's messages tells of.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    (message["target"]["name"] == NAME)
        .then(|| message["executable"].as_str().map(PathBuf::from))
        .flatten()
}

/// Applies the kinds and rights that the chart renders, and nothing else of it.
pub(super) async fn install(control_plane: &ControlPlane, root: &Path) -> Result<()> {
    let mut helm = control_plane.helm();
    helm.args(["template", NAME, "--namespace", NAME, "--include-crds"])
        .args(["--set", "restartWorkloads=true"])
        .arg(root.join("charts").join(NAME));
    let chart = process::run(helm, "").await?;
    let documents: Vec<_> = chart
        .split("\n---\n")
        .filter(|document| kind(document).is_some_and(|kind| KINDS.contains(&kind)))
        .collect();
    kubectl(control_plane, &["create", "namespace", NAME], "").await?;
    let apply = ["apply", "--server-side", "--filename=-"];
    kubectl(control_plane, &apply, &documents.join("\n---\n")).await?;
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    kubectl(control_plane, &wait, "").await?;
    Ok(())
}

fn kind(document: &str) -> Option<&str> {
    document
        .lines()
        .find_map(|line| line.strip_prefix("kind: "))
}

async fn kubectl(control_plane: &ControlPlane, args: &[&str], input: &str) -> Result<String> {
    let mut kubectl = control_plane.kubectl();
    kubectl.args(args);
    process::run(kubectl, input).await
}

/// The running operator.
pub struct Operator {
    process: Process,
    address: SocketAddr,
}

impl Operator {
    /// Starts the program with the rights of its `ServiceAccount`, and returns when it is ready.
    pub(super) async fn start(control_plane: &ControlPlane, program: &Path) -> Result<Self> {
        let kubeconfig = control_plane.kubeconfig_for(NAME, NAME).await?;
        let process = Program::new(program)
            // Nothing of ours shall make it another operator than everybody's.
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .args(["run", "--listen=127.0.0.1:0", "--release", NAME])
            .args(["--operator-namespace", NAME])
            .start(control_plane.folder().join("operator.log"))?;
        let ready = async {
            let address = address(&process).await?;
            ready(address).await.map(|()| address)
        };
        let address = tokio::select! {
            address = timeout(PATIENCE, ready) => {
                address.with_context(|| not_ready(&process))??
            }
            status = process.wait() => bail!(ended(status?, &process)),
        };
        Ok(Self { process, address })
    }

    /// Where it answers for its health.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has logged.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The last lines that it has logged.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Kills it, as a machine that fails would.
    ///
    /// # Errors
    /// When it has ended before.
    pub async fn kill(&self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.wait().await.map(drop)
    }

    /// Waits until it ends, and says so: as long as it is needed that is trouble.
    pub(super) async fn end(&self) -> anyhow::Error {
        match self.process.wait().await {
            Ok(status) => anyhow::anyhow!(ended(status, &self.process)),
            Err(error) => error,
        }
    }

    /// Asks it to end.
    pub(super) async fn stop(self) -> Result<()> {
        let status = self.process.stop(PATIENCE).await?;
        if status.success() {
            Ok(())
        } else {
            bail!("the operator ended badly ({status})")
        }
    }
}

fn ended(status: ExitStatus, process: &Process) -> String {
    // Killed, it could not say why.
    let words = status
        .code()
        .and(process.last_words().lines().next_back().map(str::to_owned));
    match words {
        Some(words) => format!("the operator has ended ({status}), its last words: {words}"),
        None => format!("the operator has ended ({status})"),
    }
}

fn not_ready(process: &Process) -> String {
    format!(
        "the operator is not ready after {} s, its last words: {}",
        PATIENCE.as_secs(),
        process.last_words()
    )
}

/// The address that the operator says it listens on.
async fn address(process: &Process) -> Result<SocketAddr> {
    let mut tick = interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        let log = std::fs::read_to_string(process.log())?;
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let said = whole.split_once("address=").map(|(_, rest)| rest);
        if let Some(address) = said.and_then(|rest| rest.split_whitespace().next()) {
            return address
                .parse()
                .with_context(|| format!("{address} is no address"));
        }
    }
}

/// Waits until it says that it is ready.
async fn ready(address: SocketAddr) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{address}/readyz");
    let mut tick = interval(Duration::from_millis(50));
    loop {
        tick.tick().await;
        if let Ok(answer) = client.get(&url).send().await
            && answer.status().is_success()
        {
            return Ok(());
        }
    }
}
