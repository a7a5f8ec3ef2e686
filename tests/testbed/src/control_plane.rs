//! A real Kubernetes control plane, no containers: etcd, the API server and the controllers that
//! the operator's life depends on. There is no node: pods are accepted and never run.
//!
//! Invariants: everything listens on 127.0.0.1 alone, on ports found free; all files are in one
//! temporary folder that nobody else can enter; the user's own kubeconfig and Helm settings are
//! neither read nor touched; nothing is left running however we end ([`crate::process`]).

mod access;
mod audit;
mod binaries;
mod build;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use self::access::{write_kubeconfig, write_signing_key, write_tokens};
pub use self::audit::{AuditEvent, Verb};
pub use self::binaries::{Binaries, Binary};
use crate::process::{self, Process, Program, free_port};
use crate::run_folder::RunFolder;

/// Long enough for a loaded machine, short enough to notice.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that changes nothing and is found again in the audit log.
const AUDIT_MARK: &str = "/version?mark=";

/// What a test may need; starting fewer controllers is quicker. No node: nothing of workloads.
/// `clusterrole-aggregation` fills the roles `admin`, `edit` and `view`.
const CONTROLLERS: &str = "--controllers=garbage-collector-controller,namespace-controller,\
    serviceaccount-controller,resourcequota-controller,clusterrole-aggregation-controller";

/// A running control plane. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order of ending: who depends on another goes first, the folder last.
    controller_manager: Process,
    apiserver: Process,
    etcd: Process,
    binaries: Binaries,
    server: String,
    audits: AtomicU64,
    folder: RunFolder,
}

impl ControlPlane {
    /// Starts a control plane, and returns when it is ready: the API answers, and the
    /// controllers work.
    ///
    /// # Errors
    /// When a program ends or is not ready in a minute; then with its last words.
    pub async fn start(binaries: &Binaries) -> Result<Self> {
        for _ in 0..2 {
            match Self::try_start(binaries).await {
                // Somebody took a port between our finding it and the program's listening on it.
                Err(error) if error.to_string().contains("address already in use") => {}
                result => return result,
            }
        }
        Self::try_start(binaries).await
    }

    async fn try_start(binaries: &Binaries) -> Result<Self> {
        let folder = RunFolder::create()?;
        let path = folder.path();
        std::fs::create_dir(path.join("home"))?;
        let (etcd, store) = start_etcd(binaries, path).await?;

        let port = free_port()?;
        let server = format!("https://127.0.0.1:{port}");
        let [admin, controllers] = write_tokens(&path.join("tokens"))?;
        let ca = path.join("certificates/apiserver.crt");
        write_kubeconfig(&path.join("kubeconfig"), &server, &ca, &admin)?;
        write_kubeconfig(
            &path.join("kubeconfig-controllers"),
            &server,
            &ca,
            &controllers,
        )?;

        let apiserver = start_apiserver(binaries, path, port, &store)?;
        ready(&apiserver, async || {
            succeeds(kubectl(binaries, path), &["get", "--raw", "/readyz"]).await
        })
        .await?;
        let controller_manager = start_controller_manager(binaries, path)?;
        // The first thing that a controller makes.
        let made = ["get", "serviceaccount", "default", "--namespace=default"];
        ready(&controller_manager, async || {
            succeeds(kubectl(binaries, path), &made).await
        })
        .await?;

        let binaries = binaries.clone();
        let audits = AtomicU64::new(0);
        Ok(Self {
            controller_manager,
            apiserver,
            etcd,
            binaries,
            server,
            audits,
            folder,
        })
    }

    /// Ends everything and removes the folder.
    ///
    /// # Errors
    /// When one of the programs had ended before by itself, or the folder cannot be removed.
    pub async fn stop(self) -> Result<()> {
        let died: Vec<_> = self
            .processes()
            .iter()
            .filter_map(|process| last_words(process))
            .collect();
        let Self {
            controller_manager,
            apiserver,
            etcd,
            folder,
            ..
        } = self;
        tokio::task::spawn_blocking(move || {
            drop((controller_manager, apiserver, etcd));
            folder.remove()
        })
        .await?
        .context("cannot remove the control plane's folder")?;
        if died.is_empty() {
            Ok(())
        } else {
            bail!(died.join("\n"))
        }
    }

    /// The API's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The programs that it runs on.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The folder of this run: data, certificates, logs. Room for files of the same life.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The programs, each with its log.
    pub fn processes(&self) -> [&Process; 3] {
        [&self.controller_manager, &self.apiserver, &self.etcd]
    }

    /// The kubeconfig file of somebody who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Writes a kubeconfig file for a ServiceAccount that exists: its holder has that account's
    /// rights and no others, for 30 days.
    pub async fn kubeconfig_for(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        let mut create = self.kubectl();
        create.args([
            "create",
            "token",
            service_account,
            "--duration=720h",
            "--namespace",
            namespace,
        ]);
        let token = process::run(create, "").await?;
        let file = self
            .folder()
            .join(format!("kubeconfig-{namespace}-{service_account}"));
        let ca = self.folder().join("certificates/apiserver.crt");
        write_kubeconfig(&file, &self.server, &ca, token.trim())?;
        Ok(file)
    }

    /// `kubectl` as somebody who may do everything. Its environment has nothing of the user's.
    pub fn kubectl(&self) -> Command {
        kubectl(&self.binaries, self.folder())
    }

    /// `helm` as somebody who may do everything. Its environment has nothing of the user's.
    pub fn helm(&self) -> Command {
        client(self.binaries.path(Binary::Helm), self.folder())
    }

    /// `kubectl apply` of these manifests (YAML); returns what kubectl printed.
    ///
    /// # Errors
    /// When something was refused; then with what kubectl printed.
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        let mut apply = self.kubectl();
        apply.args(["apply", "--filename=-"]);
        process::run(apply, manifests).await
    }

    /// All requests that were answered before this call, oldest first. Later calls return more:
    /// to count what happens in between, skip what the first call returned.
    pub async fn audit(&self) -> Result<Vec<AuditEvent>> {
        // An event may be written a moment after its answer is out. Our own comes last.
        let mark = format!(
            "{AUDIT_MARK}{}",
            self.audits.fetch_add(1, Ordering::Relaxed)
        );
        let mut ask = self.kubectl();
        ask.args(["get", "--raw", &mark]);
        process::run(ask, "").await?;
        let log = self.audit_log();
        let written = async {
            let mut tick = interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                if let Some(events) = audit::read(&log, &mark)? {
                    return Ok::<_, anyhow::Error>(events);
                }
            }
        };
        let mut events = timeout(PATIENCE, written)
            .await
            .context("the API server writes no audit log")??;
        events.retain(|event| !event.request_uri.starts_with(AUDIT_MARK));
        Ok(events)
    }

    /// The audit log as the API server writes it: one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.folder().join("audit.log")
    }
}

async fn start_etcd(binaries: &Binaries, folder: &Path) -> Result<(Process, String)> {
    let [client, peer] = [free_port()?, free_port()?];
    let [url, peer_url] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
    let etcd = Program::new(binaries.path(Binary::Etcd))
        .args([
            "--name=testbed",
            "--unsafe-no-fsync",
            "--log-level=warn",
            &format!("--data-dir={}", folder.join("etcd").display()),
            &format!("--listen-client-urls={url}"),
            &format!("--advertise-client-urls={url}"),
            &format!("--listen-peer-urls={peer_url}"),
            &format!("--initial-advertise-peer-urls={peer_url}"),
            &format!("--initial-cluster=testbed={peer_url}"),
        ])
        .start(folder.join("etcd.log"))?;
    ready(&etcd, async || {
        TcpStream::connect(("127.0.0.1", client)).await.is_ok()
    })
    .await?;
    Ok((etcd, url))
}

fn start_apiserver(binaries: &Binaries, folder: &Path, port: u16, store: &str) -> Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("audit-policy.yaml"), audit::POLICY)?;
    write_signing_key(&folder.join("signing.key"), &folder.join("signing.pub"))?;
    Program::new(binaries.path(Binary::KubeApiserver))
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            // Without nodes it would only stand in the way of pods.
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--audit-log-maxsize=10000",
            &format!("--secure-port={port}"),
            &format!("--etcd-servers={store}"),
            &format!("--cert-dir={}", file("certificates")),
            &format!("--token-auth-file={}", file("tokens")),
            &format!("--service-account-signing-key-file={}", file("signing.key")),
            &format!("--service-account-key-file={}", file("signing.pub")),
            &format!("--audit-policy-file={}", file("audit-policy.yaml")),
            &format!("--audit-log-path={}", file("audit.log")),
        ])
        .start(folder.join("kube-apiserver.log"))
}

fn start_controller_manager(binaries: &Binaries, folder: &Path) -> Result<Process> {
    Program::new(binaries.path(Binary::KubeControllerManager))
        .args([
            CONTROLLERS,
            "--leader-elect=false",
            // It listens nowhere.
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            &format!(
                "--kubeconfig={}",
                folder.join("kubeconfig-controllers").display()
            ),
        ])
        .start(folder.join("kube-controller-manager.log"))
}

/// Waits until `probe` says yes.
async fn ready(process: &Process, probe: impl AsyncFn() -> bool) -> Result<()> {
    let answers = async {
        let mut tick = interval(Duration::from_millis(100));
        while !probe().await {
            tick.tick().await;
        }
    };
    tokio::select! {
        () = answers => Ok(()),
        _ = process.wait() => bail!(last_words(process).unwrap_or_default()),
        () = tokio::time::sleep(PATIENCE) => {
            bail!("{} is not ready after a minute:\n{}", process.name(), process.last_words())
        }
    }
}

fn last_words(process: &Process) -> Option<String> {
    let status = process.ended()?;
    Some(format!(
        "{} ended by itself ({status}):\n{}",
        process.name(),
        process.last_words()
    ))
}

async fn succeeds(mut command: Command, args: &[&str]) -> bool {
    command.args(args);
    process::run(command, "").await.is_ok()
}

fn kubectl(binaries: &Binaries, folder: &Path) -> Command {
    client(binaries.path(Binary::Kubectl), folder)
}

/// A command line program that sees the run's folder and nothing of the user's: its home, with
/// all caches, settings and plugins, is ours, and so is the cluster it talks to.
fn client(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH"))
        .env("HOME", folder.join("home"))
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .arg("--kubeconfig")
        .arg(folder.join("kubeconfig"));
    command
}
