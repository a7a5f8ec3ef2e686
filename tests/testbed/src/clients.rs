//! Official clients, driven against a twin: whoever believes a twin believes it because they do.
//!
//! The small programs that drive them lie in `clients/`. They are installed once, as their lock
//! files say, into a cache outside the repository: a folder named after the hash of their files,
//! filled under a lock and renamed into place when it is whole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

/// The server that a client is driven against.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The server's base URL.
    pub url: &'a str,
    /// An administrator's name.
    pub username: &'a str,
    /// Its password.
    pub password: &'a str,
    /// A key of it.
    pub key: &'a str,
    /// The URL of the twin's control door.
    pub control: &'a str,
}

/// Why there is no good result.
#[derive(Debug)]
pub enum Fault {
    /// A program that is needed is not on this machine; the text names it and what to install.
    Missing(String),
    /// The client could not be installed, or was not content with the server; the text says why.
    Failed(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

/// Drives `@octopusdeploy/api-client` from npm. Gives one line for each thing that worked.
///
/// # Errors
/// [`Fault::Missing`] without npm; [`Fault::Failed`] at the first thing that did not work.
pub async fn octopus_npm(target: Target<'_>) -> Result<String, Fault> {
    NPM.drive(target).await
}

/// Drives `github.com/OctopusDeploy/go-octopusdeploy/v2`. Gives one line for each thing that
/// worked.
///
/// # Errors
/// [`Fault::Missing`] without Go; [`Fault::Failed`] at the first thing that did not work.
pub async fn octopus_go(target: Target<'_>) -> Result<String, Fault> {
    GO.drive(target).await
}

/// Drives `st2client`, the Python library, and its program `st2`. Gives one line for each thing
/// that worked.
///
/// # Errors
/// [`Fault::Missing`] without Python or its modules for virtual environments; [`Fault::Failed`]
/// at the first thing that did not work.
pub async fn stackstorm_python(target: Target<'_>) -> Result<String, Fault> {
    PYTHON.drive(target).await
}

/// A program, and how it is made ready. Each command is run in the program's folder; its first
/// word lies there too when it has a slash.
struct Program {
    files: &'static [(&'static str, &'static str)],
    /// Fails when a part of the tool is not on this machine, with the name of that part.
    part: Option<(&'static [&'static str], &'static str)>,
    /// What makes it ready, one after the other.
    steps: &'static [&'static [&'static str]],
    /// What runs it.
    run: &'static [&'static str],
    /// What to install when the tool is missing.
    remedy: &'static str,
}

macro_rules! files {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../clients/", $folder, "/", $name)))),*]
    };
}

static NPM: Program = Program {
    files: files!("octopus-npm": ".npmrc" "package.json" "package-lock.json" "main.mjs"),
    part: None,
    steps: &[&["npm", "ci", "--ignore-scripts"]],
    run: &["node", "main.mjs"],
    remedy: "install Node.js 20 or newer",
};

static GO: Program = Program {
    files: files!("octopus-go": "go.mod" "go.sum" "main.go"),
    part: None,
    steps: &[&[
        "go",
        "build",
        "-trimpath",
        "-mod=readonly",
        "-o",
        "client",
        ".",
    ]],
    run: &["./client"],
    remedy: "install Go 1.26 or newer",
};

static PYTHON: Program = Program {
    files: files!("stackstorm-python": "build.txt" "requirements.txt" "main.py"),
    part: Some((
        &["python3", "-c", "import ensurepip, venv"],
        "the module venv of python3",
    )),
    steps: &[
        &["python3", "-m", "venv", "venv"],
        &pip("build.txt"),
        &pip("requirements.txt"),
    ],
    run: &["venv/bin/python", "main.py"],
    remedy: "install Python 3.9 to 3.13 with venv (on Debian, python3-venv)",
};

/// Installs what a file lists, and nothing that it does not list.
const fn pip(list: &'static str) -> [&'static str; 9] {
    [
        "venv/bin/python",
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--no-deps",
        "--no-build-isolation",
        "--requirement",
        list,
    ]
}

/// How long an installation may take, downloads included.
const INSTALL: Duration = Duration::from_secs(600);
/// How long a client may talk to a server on this machine.
const TALK: Duration = Duration::from_secs(60);

impl Program {
    async fn drive(&'static self, target: Target<'_>) -> Result<String, Fault> {
        let folder = self.install().await?;
        let mut command = command(self.run, &folder);
        command
            .env("TWIN_URL", target.url)
            .env("TWIN_USERNAME", target.username)
            .env("TWIN_PASSWORD", target.password)
            .env("TWIN_API_KEY", target.key)
            .env("TWIN_CONTROL_URL", target.control)
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        output(&mut command, TALK, self.remedy).await
    }

    /// Makes a program ready, unless it is, and gives its folder.
    async fn install(&'static self) -> Result<PathBuf, Fault> {
        let failed = |cause: io::Error| Fault::Failed(format!("cannot fill the cache: {cause}"));
        let cache = cache()?;
        std::fs::create_dir_all(&cache).map_err(failed)?;
        let folder = cache.join(format!("clients-{}", fingerprint(self)));
        let lock = cache.join(format!("clients-{}.lock", fingerprint(self)));
        let lock = tokio::task::spawn_blocking(move || locked(&lock))
            .await
            .map_err(|cause| Fault::Failed(cause.to_string()))?
            .map_err(failed)?;
        if !folder.exists() {
            let staging = tempfile::tempdir_in(&cache).map_err(failed)?;
            for (name, text) in self.files {
                std::fs::write(staging.path().join(name), text).map_err(failed)?;
            }
            self.make(staging.path()).await?;
            std::fs::rename(staging.path(), &folder).map_err(failed)?;
        }
        drop(lock);
        Ok(folder)
    }

    async fn make(&self, folder: &Path) -> Result<(), Fault> {
        if let Some((words, part)) = self.part
            && let Err(fault) = output(&mut command(words, folder), TALK, self.remedy).await
        {
            return Err(match fault {
                Fault::Failed(_) => missing(part, self.remedy),
                Fault::Missing(_) => fault,
            });
        }
        for words in self.steps {
            let mut command = command(words, folder);
            command.env("GOWORK", "off").env("CGO_ENABLED", "0");
            output(&mut command, INSTALL, self.remedy).await?;
        }
        Ok(())
    }
}

fn command(words: &[&str], folder: &Path) -> Command {
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    let mut command = if program.contains('/') {
        Command::new(folder.join(program))
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir(folder);
    command
}

fn missing(what: &str, remedy: &str) -> Fault {
    Fault::Missing(format!("{what} is not on this machine: {remedy}"))
}

/// Runs a program to its end and gives what it printed; it ends with us.
async fn output(command: &mut Command, patience: Duration, remedy: &str) -> Result<String, Fault> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let run = command
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output();
    let output = match tokio::time::timeout(patience, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(missing(&program, remedy));
        }
        Ok(Err(cause)) => return Err(Fault::Failed(format!("cannot run {program}: {cause}"))),
        Err(_) => {
            return Err(Fault::Failed(format!(
                "{program} did not end in {patience:?}"
            )));
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let said = text(&output.stdout) + &text(&output.stderr);
        Err(Fault::Failed(format!("{program} failed:\n{said}")))
    }
}

fn locked(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    file.lock()?;
    Ok(file)
}

fn fingerprint(program: &Program) -> String {
    let mut hash = Sha256::new();
    for (name, text) in program.files {
        hash.update(name.as_bytes());
        hash.update(text.len().to_be_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn cache() -> Result<PathBuf, Fault> {
    let of = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    of("XDG_CACHE_HOME")
        .or_else(|| of("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("apikey-operator"))
        .ok_or_else(|| Fault::Missing("neither XDG_CACHE_HOME nor HOME is set".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_named_with_what_to_install() {
        for program in [&NPM, &GO, &PYTHON] {
            let mut absent = Command::new("no-such-program");
            let fault = output(&mut absent, TALK, program.remedy).await.unwrap_err();
            let Fault::Missing(text) = fault else {
                panic!("{fault}")
            };
            let wanted = format!("no-such-program is not on this machine: {}", program.remedy);
            assert_eq!(text, wanted);
        }
    }

    #[tokio::test]
    async fn a_missing_part_of_a_tool_is_named_too() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program {
            files: &[],
            part: Some((&["false"], "the module venv of python3")),
            steps: &[],
            run: &[],
            remedy: PYTHON.remedy,
        };
        let fault = program.make(folder.path()).await.unwrap_err();
        let Fault::Missing(text) = fault else {
            panic!("{fault}")
        };
        let wanted = "the module venv of python3 is not on this machine: ";
        assert!(text.starts_with(wanted), "{text}");
    }
}
