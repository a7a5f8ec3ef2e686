//! Programs that die with us.
//!
//! Every program that the testbed starts (the control plane, the operator, a twin of its own)
//! starts here. The invariant: when the process that holds a [`Process`] is gone, however it
//! went, `kill -9` included, the program and all that it started is gone a moment later.
//!
//! How: the program runs in a process group of its own (so that Ctrl-C in the terminal reaches
//! us alone, and leads to an orderly end), next to a small shell that reads a pipe of which only
//! we hold the other end. At end-of-file the shell kills the whole group, itself included. As
//! long as that shell lives its group keeps the number of the program's process from being used
//! again, so a signal never hits a stranger.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

/// The shell's part: watch the pipe in the background, become the program in the foreground.
const LEASH: &str = r#"
exec 3<&0
{ while read -r _ <&3; do :; done; kill -KILL 0; } >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// A program to be started: what [`Command`] is to an ordinary one.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    command: Command,
}

impl Program {
    /// The program at `path`, without arguments, in our environment.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", LEASH, "sh"]).arg(&path);
        Self { path, command }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts from an empty environment; what was set before is forgotten too.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// The folder to run in.
    #[must_use]
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Starts it; what it prints, on either stream, is added to the file `log`.
    pub fn start(mut self, log: impl AsRef<Path>) -> Result<Process> {
        let name = self
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let log = log.as_ref().to_owned();
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let lifeline = child.stdin.take();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{name} has no process id"))?;
        let (ended, end) = watch::channel(None);
        let reaper = std::thread::Builder::new()
            .name(format!("reaper of {name}"))
            .spawn(move || match child.wait() {
                Ok(status) => {
                    ended.send_replace(Some(status));
                }
                // Nobody can have waited before us. Dropping `ended` tells the rest.
                Err(_) => drop(ended),
            })?;
        Ok(Process {
            name,
            log,
            pid,
            lifeline,
            end,
            reaper: Some(reaper),
        })
    }
}

/// A running program. Dropping it kills it, all that it started, and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: Pid,
    /// The write end of the pipe; closed, the program's group dies.
    lifeline: Option<ChildStdin>,
    end: watch::Receiver<Option<ExitStatus>>,
    reaper: Option<JoinHandle<()>>,
}

impl Process {
    /// The program's file name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's own process id (not the shell's).
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// The file that has what the program printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        *self.end.borrow()
    }

    /// Waits until the program ends.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let mut end = self.end.clone();
        let status = *end.wait_for(Option::is_some).await?;
        status.with_context(|| format!("{} ended without a status", self.name))
    }

    /// Sends a signal to the program alone, e.g. `Signal::STOP` to make it a pause of minutes.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(status) = self.ended() {
            bail!("{} has ended already ({status})", self.name);
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Asks it to end (SIGTERM), kills it when it has not ended within `patience`, and says how
    /// it ended.
    pub async fn stop(self, patience: Duration) -> Result<ExitStatus> {
        if self.ended().is_none() {
            self.signal(Signal::TERM)?;
            if tokio::time::timeout(patience, self.wait()).await.is_err() {
                self.signal(Signal::KILL)?;
            }
        }
        self.wait().await
    }

    /// The last lines that the program printed, for error messages.
    pub fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The shell kills the group when the lifeline closes. The signal is for the day when
        // somebody has killed that shell; that it finds nobody is the ordinary case.
        let _ = self.signal(Signal::KILL);
        drop(self.lifeline.take());
        if let Some(reaper) = self.reaper.take() {
            let _ = reaper.join();
        }
    }
}

/// Runs a short command to its end with `input` on its standard input, and returns what it
/// printed on standard output.
///
/// # Errors
/// When it does not start, or does not end with 0: then the error is what it printed on
/// standard error.
pub async fn run(mut command: tokio::process::Command, input: &str) -> Result<String> {
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that ends without reading its input says why by its exit code.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.with_context(|| format!("cannot wait for {name}"))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} did not print text"))
}

/// A port on 127.0.0.1 that nobody listened on a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that runs `script`, with its log.
    fn shell(script: &str) -> (Process, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let process = Program::new("/bin/sh")
            .args(["-c", script])
            .start(folder.path().join("log"))
            .unwrap();
        (process, folder)
    }

    /// Waits until the program has printed one whole line, and returns it.
    async fn first_line(process: &Process) -> String {
        let line = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                let log = std::fs::read_to_string(process.log()).unwrap();
                if let Some((line, _)) = log.split_once('\n') {
                    return line.to_owned();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), line)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn both_streams_and_the_status_are_kept() {
        let (process, _folder) = shell("echo out; echo err >&2; cat; exit 3");
        assert_eq!(process.wait().await.unwrap().code(), Some(3));
        assert_eq!(process.last_words(), "out\nerr");
        assert!(process.signal(Signal::KILL).is_err());
    }

    #[tokio::test]
    async fn the_id_is_the_programs_own() {
        let (process, _folder) = shell("echo $$; exec sleep 60");
        assert_eq!(first_line(&process).await, process.id().to_string());
    }

    #[tokio::test]
    async fn asked_to_end_it_may_say_how() {
        let (process, _folder) = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
        first_line(&process).await;
        let status = process.stop(Duration::from_secs(60)).await.unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[tokio::test]
    async fn deaf_or_paused_it_is_killed() {
        let (process, _folder) = shell("trap '' TERM; echo up; while :; do sleep 0.01; done");
        first_line(&process).await;
        process.signal(Signal::STOP).unwrap();
        let status = process.stop(Duration::from_millis(1)).await.unwrap();
        assert!(!status.success());
    }

    #[tokio::test]
    async fn dropped_it_takes_all_that_it_started_along() {
        let (process, folder) = shell("sleep 60 & echo $!; wait");
        let child: i32 = first_line(&process).await.parse().unwrap();
        drop(process);
        let gone = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            // A zombie that nobody has collected is gone too.
            while state(child).is_some_and(|state| !state.starts_with('Z')) {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone)
            .await
            .unwrap();
        drop(folder);
    }

    fn state(process: i32) -> Option<String> {
        let ps = Command::new("ps")
            .args(["-o", "stat=", "-p", &process.to_string()])
            .output();
        let state = String::from_utf8(ps.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned();
        (!state.is_empty()).then_some(state)
    }

    #[tokio::test]
    async fn a_short_command_answers_or_says_why_not() {
        let shell = |script: &str| {
            let mut shell = tokio::process::Command::new("/bin/sh");
            shell.args(["-c", script]);
            shell
        };
        assert_eq!(run(shell("cat"), "hello").await.unwrap(), "hello");
        let error = run(shell("echo no >&2; exit 1"), "").await.unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
