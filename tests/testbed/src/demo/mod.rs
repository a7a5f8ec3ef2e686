//! The demo: the operator at work on a control plane and deploy servers of its own, all on
//! 127.0.0.1, shown step by step.
//!
//! It is a library so that tests can disturb it between its steps; [`Outcome::code`] is what the
//! program ends with. It knows the operator as its users do: by its program, its chart, its kinds.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `step.rs` | the steps, what can be wrong, how it can end |
//! | `page.rs` | what people see |
//! | `operator.rs` | the operator: built, installed, started |
//! | `server.rs` | the deploy servers, and what is asked of them |
//! | `samples.rs` | the manifests |
//! | `story.rs` | what a team does: applies, takes, deletes |
//! | `part.rs` | what happens with one server's keys on the way |
//!
//! Invariants: the user's own kubeconfig is neither read nor touched; nothing secret is shown; when
//! it ends, however it ends, nothing is left running.

mod operator;
mod page;
mod part;
mod samples;
mod server;
mod step;
mod story;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::timeout;

pub use self::operator::Operator;
pub use self::page::Page;
pub use self::server::{Kind, Server};
pub use self::step::{Outcome, Step, Trouble};
use crate::control_plane::{Binaries, Binary, ControlPlane};
use crate::{elasticsearch, process};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace of the samples.
const NAMESPACE: &str = "team-a";

/// The folder of `kubectl`, in the demo's folder: a link, its own path is long.
const TOOLS: &str = "bin";

/// What a demo does once everything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Shows how a key comes, and stays until it is interrupted.
    Stay,
    /// Shows how a key comes and goes, checks that it is true, and ends.
    Check,
}

/// The programs of a demo.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Those of Kubernetes.
    pub kubernetes: Binaries,
    /// The operator.
    pub operator: PathBuf,
}

impl Programs {
    /// Finds the programs, and builds what is missing.
    ///
    /// # Errors
    /// One sentence that names what is missing and the fix.
    pub async fn obtain(servers: &[Kind], page: &mut Page) -> Result<Self, Trouble> {
        let elasticsearch = async {
            elasticsearch::obtain().await?;
            Ok(((), "Elasticsearch is there".to_owned()))
        };
        let kubernetes = async {
            let binaries = Binaries::obtain().await?;
            Ok((binaries, "the programs of Kubernetes are there".to_owned()))
        };
        let operator = async {
            let program = operator::build(&root()).await?;
            Ok((program, "the operator is built".to_owned()))
        };
        page.heading("What it stands on");
        if servers.contains(&Kind::Elasticsearch) {
            page.step(Step::Elasticsearch, elasticsearch).await?;
        }
        Ok(Self {
            kubernetes: page.step(Step::Programs, kubernetes).await?,
            operator: page.step(Step::Operator, operator).await?,
        })
    }
}

/// A demo under way. Dropping it ends everything that it has started.
pub struct Demo {
    // In the order of ending.
    operator: Operator,
    servers: Vec<Server>,
    control_plane: ControlPlane,
}

impl Demo {
    /// Starts Kubernetes, the deploy servers and the operator.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn raise(
        programs: &Programs,
        servers: &[Kind],
        page: &mut Page,
    ) -> Result<Self, Trouble> {
        let control_plane = page.step(Step::ControlPlane, kubernetes(programs)).await?;
        let servers = servers.iter().copied().map(deploy_server);
        let servers = page.each(Step::Server, servers).await?;
        let install = async {
            operator::install(&control_plane, &root()).await?;
            Ok((
                (),
                "the kinds and rights that the chart renders are there".to_owned(),
            ))
        };
        page.step(Step::Install, install).await?;
        let operator = async {
            let operator = Operator::start(&control_plane, &programs.operator).await?;
            Ok((
                operator,
                "the operator runs, with those rights and no others".to_owned(),
            ))
        };
        let operator = page.step(Step::Start, operator).await?;
        let demo = Self {
            operator,
            servers,
            control_plane,
        };
        Ok(demo)
    }

    /// The operator.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The deploy servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Shows everything, and ends it in order. When `interrupt` is done it ends at once.
    pub async fn perform(
        self,
        act: Act,
        page: &mut Page,
        interrupt: impl Future<Output = ()>,
    ) -> Outcome {
        let mut interrupt = pin!(interrupt);
        let outcome = tokio::select! {
            result = Box::pin(story::tell(&self, act, page)) => Outcome::from(result),
            () = &mut interrupt => Outcome::Interrupted,
        };
        if let Outcome::Wrong(_) = outcome {
            page.heading("The operator's last words");
            page.note(&self.operator.last_words());
        }
        let ended = page.step(Step::End, self.end()).await;
        if act == Act::Check && !matches!(outcome, Outcome::Interrupted) {
            page.table();
        }
        match (outcome, ended) {
            (Outcome::Well, Err(trouble)) => Outcome::Wrong(trouble),
            // It stayed until it was told to go.
            (Outcome::Interrupted, ended) if act == Act::Stay => ended.into(),
            (outcome, _) => outcome,
        }
    }

    /// Ends everything, in order.
    async fn end(self) -> Result<((), String)> {
        let operator = self.operator.stop().await;
        drop(self.servers);
        self.control_plane.stop().await?;
        operator?;
        Ok((
            (),
            "everything has ended, nothing is left running".to_owned(),
        ))
    }

    /// `kubectl` in the demo's folder; returns what it prints.
    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut kubectl = self.control_plane.kubectl();
        kubectl.args(args).current_dir(self.control_plane.folder());
        Box::pin(process::run(kubectl, "")).await
    }

    /// The result of `work`, unless the operator ends first or it takes too long.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            ended = self.operator.end() => Err(ended),
            result = timeout(PATIENCE, work) => {
                result.with_context(|| format!("no end within {} s", PATIENCE.as_secs()))?
            }
        }
    }
}

async fn kubernetes(programs: &Programs) -> Result<(ControlPlane, String)> {
    let control_plane = ControlPlane::start(&programs.kubernetes).await?;
    let mut ask = control_plane.kubectl();
    ask.args(["get", "--raw", "/version"]);
    let version: serde_json::Value = serde_json::from_str(&process::run(ask, "").await?)?;
    // So that people need not name the namespace of the samples in every command.
    let mut settle = control_plane.kubectl();
    settle.args([
        "config",
        "set-context",
        "--current",
        "--namespace",
        NAMESPACE,
    ]);
    process::run(settle, "").await?;
    let kubectl = programs.kubernetes.path(Binary::Kubectl);
    let tools = kubectl.parent().context("kubectl is in no folder")?;
    symlink(tools, control_plane.folder().join(TOOLS))?;
    let version = version["gitVersion"].as_str().unwrap_or_default();
    let text = format!("Kubernetes {version}, {}", control_plane.server());
    Ok((control_plane, text))
}

async fn deploy_server(kind: Kind) -> Result<(Server, String)> {
    let server = Server::start(kind).await?;
    let text = format!("{}, {}", server.name(), server.url());
    Ok((server, text))
}

/// The root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}
