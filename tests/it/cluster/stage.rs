//! Where cases play: the operator's own process on a real control plane, started with the arguments
//! and under the rights that the chart renders, and no others.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use testbed::control_plane::{Binaries, ControlPlane};
use testbed::elasticsearch::{self, Elasticsearch};
use testbed::process::{Process, Program, free_port, run};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::{interval, timeout};

use super::heard::Heard;
use super::tapped::Canaries;
use crate::ladder::{Failure, Ground};

/// The release's name, its namespace, and the operator's account.
pub(crate) const OPERATOR: &str = "apikey-operator";
/// Who the operator is to the API server.
pub(crate) const USER: &str = "system:serviceaccount:apikey-operator:apikey-operator";

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the operator says when it begins to work.
const WORKS: &str = "passes begin";

/// Whose control plane it is.
pub(crate) enum Plane {
    /// That of the whole run.
    Shared(Arc<Ground>),
    /// One for this stage alone.
    Own(Box<ControlPlane>),
}

impl Plane {
    /// One for one stage alone.
    pub(crate) async fn own(ground: &Ground) -> Result<Self> {
        // What is missing on this machine is missing here too.
        ground.control_plane().await?;
        let binaries = Binaries::obtain().await?;
        Ok(Self::Own(Box::new(ControlPlane::start(&binaries).await?)))
    }

    async fn get(&self) -> Result<&ControlPlane> {
        match self {
            Self::Shared(ground) => ground.control_plane().await,
            Self::Own(control_plane) => Ok(control_plane),
        }
    }
}

/// A control plane, and the operator at work on it.
pub(crate) struct Stage {
    // Ended before the control plane.
    operator: Mutex<Option<Process>>,
    plane: Plane,
    elasticsearch: OnceCell<Result<Elasticsearch, Failure>>,
    /// Somebody who may do everything.
    pub(crate) client: Client,
    /// What must not be seen anywhere.
    pub(crate) canaries: Canaries,
    /// What the operator writes into the cluster.
    pub(crate) heard: Heard,
    /// Where the operator answers for its health and its metrics.
    pub(crate) listen: String,
    log: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    kubeconfig: PathBuf,
}

impl Stage {
    /// Installs what the chart renders and starts the operator; returns when it works.
    pub(crate) async fn set(plane: Plane) -> Result<Self> {
        let control_plane = plane.get().await?;
        install(control_plane).await?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let client = client(control_plane).await?;
        let container = container(control_plane).await?;
        let stage = Self {
            heard: Heard::begin(&client),
            client,
            canaries: Canaries::default(),
            args: arguments(&container, &listen)?,
            env: environment(&container),
            listen,
            operator: Mutex::default(),
            elasticsearch: OnceCell::new(),
            log: control_plane.folder().join("operator.log"),
            kubeconfig: control_plane.kubeconfig_for(OPERATOR, OPERATOR).await?,
            plane,
        };
        stage.start().await?;
        Ok(stage)
    }

    /// The control plane.
    pub(crate) async fn control_plane(&self) -> Result<&ControlPlane> {
        self.plane.get().await
    }

    /// The real Elasticsearch of this stage, started when the first row asks for it. Rows share it, and
    /// tell their users apart by their namespaces.
    ///
    /// # Errors
    /// [`crate::ladder::Missing`] without Java or Maven.
    pub(crate) async fn elasticsearch(&self) -> Result<&Elasticsearch> {
        let start = async || {
            let started = Elasticsearch::start(&elasticsearch::Options::default()).await;
            started.map_err(|fault| anyhow::Error::from(fault).into())
        };
        let started = self.elasticsearch.get_or_init(start).await;
        started.as_ref().map_err(|failure| failure.clone().into())
    }

    /// Starts the operator, and returns when it works.
    pub(crate) async fn start(&self) -> Result<()> {
        self.start_with(&self.args).await
    }

    /// The same without an election: nobody waits for the lease of one who was killed.
    pub(crate) async fn start_unelected(&self) -> Result<()> {
        let off = "--leader-election=off".to_owned();
        let args: Vec<_> = self.args.iter().cloned().chain([off]).collect();
        self.start_with(&args).await
    }

    /// The same without one of its options.
    pub(crate) async fn start_without(&self, option: &str) -> Result<()> {
        let is_it = |arg: &&String| arg.split('=').next() == Some(option);
        let (without, with): (Vec<_>, Vec<_>) = self.args.iter().partition(|arg| !is_it(arg));
        ensure!(!with.is_empty(), "it is not started with {option}");
        self.start_with(&without).await
    }

    async fn start_with(&self, args: &[impl AsRef<OsStr>]) -> Result<()> {
        let before = self.log()?.len();
        let operator = self.program().args(args).start(&self.log)?;
        let works = async {
            let mut tick = interval(Duration::from_millis(20));
            while !self.log_after(before)?.contains(WORKS) {
                tick.tick().await;
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::select! {
            works = timeout(PATIENCE, works) => works.with_context(|| {
                format!("the operator does not begin to work:\n{}", operator.last_words())
            })??,
            status = operator.wait() => bail!("the operator ended ({}):\n{}", status?, operator.last_words()),
        }
        *self.operator.lock().await = Some(operator);
        Ok(())
    }

    /// The operator's program in the container's environment.
    fn program(&self) -> Program {
        let program = Program::new(env!("CARGO_BIN_EXE_apikey-operator"))
            .env_clear()
            .env("KUBECONFIG", &self.kubeconfig)
            .env("POD_NAMESPACE", OPERATOR);
        let env = self.env.iter();
        env.fold(program, |program, (name, value)| program.env(name, value))
    }

    /// Starts one more operator of the release, with a log of its own.
    pub(crate) fn replica(&self, pod: &str, times: &[&str]) -> Result<Replica> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let others = |arg: &&String| !arg.starts_with("--lease-") && !arg.starts_with("--listen=");
        let process = self
            .program()
            .env("POD_NAME", pod)
            .args(self.args.iter().filter(others))
            .args(times)
            .args([format!("--listen={listen}")])
            .start(self.log.with_file_name(format!("{pod}.log")))?;
        Ok(Replica { process, listen })
    }

    /// Kills the operator as `kill -9` does.
    pub(crate) async fn kill(&self) -> Result<()> {
        let operator = self
            .operator
            .lock()
            .await
            .take()
            .context("there is no operator")?;
        operator.signal(testbed::process::Signal::KILL)?;
        operator.wait().await?;
        Ok(())
    }

    /// Asks the operator to end, and waits until it has.
    pub(crate) async fn stop(&self) -> Result<()> {
        let operator = self
            .operator
            .lock()
            .await
            .take()
            .context("there is no operator")?;
        let status = operator.stop(PATIENCE).await?;
        ensure!(
            status.success(),
            "asked to end, the operator ended with {status}"
        );
        Ok(())
    }

    /// What the operator's metrics say.
    pub(crate) async fn metrics(&self) -> Result<String> {
        page(&self.listen, "metrics").await
    }

    /// How many passes over objects of this kind the running operator has made.
    pub(crate) async fn passes(&self, kind: &str) -> Result<u64> {
        let stem = format!("apikey_operator_pass_duration_seconds_count{{kind=\"{kind}\"");
        let metrics = self.metrics().await?;
        let counts = metrics.lines().filter(|line| line.starts_with(&stem));
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(counts.sum())
    }

    /// Everything that the operator did was granted to it.
    pub(crate) async fn no_right_was_missing(&self) -> Result<()> {
        let control_plane = self.control_plane().await?;
        // Until all that was answered before is written down.
        control_plane.audit().await?;
        let log = std::fs::read_to_string(control_plane.audit_log())?;
        let forbidden: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(USER))
            .filter(|line| line.contains("\"authorization.k8s.io/decision\":\"forbid\""))
            .collect();
        ensure!(
            forbidden.is_empty(),
            "not granted:\n{}",
            forbidden.join("\n")
        );
        let own = log.lines().filter(|line| line.contains(USER)).count();
        ensure!(own > 100, "the operator asked {own} times only");
        Ok(())
    }

    /// All that operators of this stage have printed.
    pub(crate) fn log(&self) -> Result<String> {
        self.log_after(0)
    }

    /// What they have printed after so many bytes.
    fn log_after(&self, from: usize) -> Result<String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut log| {
            log.seek(SeekFrom::Start(from as u64))?;
            log.read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).context("the operator's log cannot be read"),
        }
    }

    /// How the operator ended, if it did, in its last words.
    pub(crate) fn ended(&self) -> Option<String> {
        let operator = self.operator.try_lock().ok()?;
        let operator = operator.as_ref()?;
        let status = operator.ended()?;
        Some(format!("it ended ({status}):\n{}", operator.last_words()))
    }

    /// The last lines of the log that speak of this namespace.
    pub(crate) fn log_of(&self, namespace: &str) -> Vec<String> {
        let log = self.log().unwrap_or_default();
        let mut lines: Vec<String> = log
            .lines()
            .filter(|line| line.contains(namespace))
            .map(ToOwned::to_owned)
            .collect();
        lines.drain(..lines.len().saturating_sub(15));
        lines
    }
}

/// One of several operators.
pub(crate) struct Replica {
    pub(crate) process: Process,
    listen: String,
}

impl Replica {
    /// What it answers to a probe, or as its metrics.
    pub(crate) async fn page(&self, name: &str) -> Result<String> {
        page(&self.listen, name).await
    }

    /// All that it has printed.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.process.log())?)
    }
}

async fn page(listen: &str, name: &str) -> Result<String> {
    let url = format!("http://{listen}/{name}");
    let answer = reqwest::get(url).await?.error_for_status()?;
    Ok(answer.text().await?)
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/apikey-operator")
}

/// What the chart renders with the values of these tests.
async fn render(control_plane: &ControlPlane, more: &[&str]) -> Result<String> {
    let mut helm = control_plane.helm();
    helm.args(["template", OPERATOR])
        .arg(chart())
        .args(["--namespace", OPERATOR])
        .args(["--set", "allowedServers={127.0.0.1}"])
        .args(["--set", "log.filter=trace"])
        .args(["--set", "log.format=text"])
        .args(["--set", "restartWorkloads=true"])
        .args(["--set", "workloadIdentity=true"])
        .args(more);
    run(helm, "").await
}

/// Definitions, account, rights.
async fn install(control_plane: &ControlPlane) -> Result<()> {
    let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {OPERATOR}}}}}");
    let chart = render(control_plane, &["--include-crds"]).await?;
    let mut apply = control_plane.kubectl();
    apply.args(["apply", "--server-side", "--filename=-"]);
    run(apply, &format!("{namespace}\n---\n{chart}")).await?;
    let mut wait = control_plane.kubectl();
    wait.args([
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ]);
    run(wait, "").await?;
    Ok(())
}

/// The operator's container.
async fn container(control_plane: &ControlPlane) -> Result<Value> {
    let deployment = render(control_plane, &["--show-only", "templates/deployment.yaml"]).await?;
    let deployment: Value = serde_saphyr::from_str(&deployment)?;
    Ok(deployment["spec"]["template"]["spec"]["containers"][0].clone())
}

/// What the container's environment says by itself.
fn environment(container: &Value) -> Vec<(String, String)> {
    let entries = container["env"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    entries
        .filter_map(|entry| Some((text(&entry["name"])?, text(&entry["value"])?)))
        .collect()
}

/// The arguments of the container, but for the address.
fn arguments(container: &Value, listen: &str) -> Result<Vec<String>> {
    let args: Vec<String> = serde_json::from_value(container["args"].clone())?;
    Ok(args
        .into_iter()
        .filter(|arg| !arg.starts_with("--listen="))
        .chain([format!("--listen={listen}")])
        .collect())
}

/// Somebody who may do everything.
pub(crate) async fn client(control_plane: &ControlPlane) -> Result<Client> {
    // It fails when there is one already, and then that one serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
