//! The ladder: rungs of tests, the ground they stand on, and the run over all of them.
//!
//! Invariants: the control plane is started once, when the first test asks for it, and has ended
//! before the run has; no test hangs; with `CI=true` no test is ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::pin::Pin;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use testbed::control_plane::{Binaries, ControlPlane};
use testbed::elasticsearch::Fault;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

/// So many tests go on at a time, unless somebody says how many.
const THREADS: usize = 4;
/// No test takes longer; one that does hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What all tests stand on.
#[derive(Default)]
pub(crate) struct Ground {
    control_plane: OnceCell<Result<ControlPlane, Failure>>,
}

/// Why something failed that is tried once, for it takes long: told to everybody who comes for it.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Missing(Missing),
    Broken(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let broken = || Self::Broken(format!("{error:#}"));
        Missing::of(&error).map_or_else(broken, Self::Missing)
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Missing(missing) => missing.into(),
            Failure::Broken(why) => anyhow!(why),
        }
    }
}

impl Ground {
    /// The one control plane of this run, started when it is first asked for. Tests share it: each
    /// works in namespaces, and with cluster-wide names, of its own.
    ///
    /// # Errors
    /// [`Missing`] when it cannot be built on this machine; else why it does not start.
    pub(crate) async fn control_plane(&self) -> Result<&ControlPlane> {
        let started = self.control_plane.get_or_init(start).await;
        started.as_ref().map_err(|failure| failure.clone().into())
    }
}

async fn start() -> Result<ControlPlane, Failure> {
    let binaries = match Binaries::obtain().await {
        Err(error) if !runs("go", "version") => {
            return Err(Failure::Missing(Missing(format!("{error:#}"))));
        }
        result => result?,
    };
    Ok(ControlPlane::start(&binaries).await?)
}

fn runs(program: &str, arg: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg(arg)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// This machine lacks what a test needs: the test is ignored, for this reason.
#[derive(Debug, Clone)]
pub(crate) struct Missing(pub(crate) String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

impl Missing {
    /// What is missing, if that is what an error says.
    pub(crate) fn of(error: &anyhow::Error) -> Option<Self> {
        match error.downcast_ref() {
            Some(Fault::Missing(what)) => Some(Self(what.clone())),
            _ => error.downcast_ref::<Self>().cloned(),
        }
    }
}

type Body = Box<dyn FnOnce(Arc<Ground>) -> Pin<Box<dyn Future<Output = Result<()>>>> + Send>;

/// Tests that belong together.
pub(crate) struct Rung {
    name: &'static str,
    tests: Vec<(String, Body)>,
}

impl Rung {
    /// A rung without tests.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            tests: Vec::new(),
        }
    }

    /// Adds a test that may use the ground.
    pub(crate) fn test<F: Future<Output = Result<()>> + 'static>(
        mut self,
        name: impl Into<String>,
        body: impl FnOnce(Arc<Ground>) -> F + Send + 'static,
    ) -> Self {
        self.tests
            .push((name.into(), Box::new(|ground| Box::pin(body(ground)))));
        self
    }

    /// Adds a test that brings a runtime of its own, in a time of its own.
    pub(crate) fn apart(
        self,
        name: impl Into<String>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        self.test(name, async |_| {
            let (tell, told) = tokio::sync::oneshot::channel();
            // Nobody waits for one that hangs.
            std::thread::spawn(move || drop(tell.send(body())));
            told.await.context("it panicked")?
        })
    }

    /// Adds a test that needs nothing but itself.
    pub(crate) fn plain(
        self,
        name: impl Into<String>,
        body: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        self.apart(name, body)
    }
}

/// Runs the tests that the command line asks for, and says how long each rung took.
pub(crate) fn climb(rungs: impl IntoIterator<Item = Rung>) -> ExitCode {
    match try_climb(rungs) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_climb(rungs: impl IntoIterator<Item = Rung>) -> Result<ExitCode> {
    let runtime = Runtime::new()?;
    let ground = Arc::new(Ground::default());
    let times = Arc::new(Times::default());
    let mut trials = Vec::new();
    for Rung { name: rung, tests } in rungs {
        for (name, body) in tests {
            let (handle, ground, times) = (runtime.handle().clone(), ground.clone(), times.clone());
            trials.push(Trial::ignorable_test(
                format!("{rung}::{name}"),
                move || times.measure(rung, || judge(perform(&handle, body(ground)))),
            ));
        }
    }
    let mut arguments = Arguments::from_args();
    // Many a test waits for most of its time.
    arguments.test_threads.get_or_insert(THREADS);
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ground = Arc::into_inner(ground).context("a test goes on after its end")?;
    if let Some(Ok(control_plane)) = ground.control_plane.into_inner() {
        runtime.block_on(control_plane.stop())?;
    }
    if !arguments.list {
        writeln!(std::io::stdout(), "{times}")?;
    }
    Ok(conclusion.exit_code())
}

fn perform(handle: &Handle, body: impl Future<Output = Result<()>>) -> Result<()> {
    let in_time = handle.block_on(async { timeout(PATIENCE, body).await });
    in_time.with_context(|| format!("it hangs: no end within {} s", PATIENCE.as_secs()))?
}

fn judge(result: Result<()>) -> Result<Completion, Failed> {
    let Err(error) = result else {
        return Ok(Completion::Completed);
    };
    match Missing::of(&error) {
        Some(missing) if !in_ci() => Ok(Completion::ignored_with(missing)),
        Some(missing) => Err(format!("{missing} (with CI=true nothing is ignored)").into()),
        None => Err(format!("{error:#}").into()),
    }
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// How long the tests of each rung took, one after the other.
#[derive(Default)]
struct Times(Mutex<BTreeMap<&'static str, Duration>>);

impl Times {
    fn measure<T>(&self, rung: &'static str, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = work();
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *times.entry(rung).or_default() += began.elapsed();
        result
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (rung, time) in &*times {
            writeln!(f, "{rung:>12} {:>8.1} s", time.as_secs_f64())?;
        }
        Ok(())
    }
}
