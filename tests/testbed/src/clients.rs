//! Official clients, driven against a twin: whoever believes a twin believes it because they do.
//!
//! The small programs that drive them lie in `clients/`. They are installed once, as their lock
//! files say, into a cache outside the repository ([`crate::install`]).

use std::time::Duration;

pub use crate::install::Fault;
use crate::install::{Recipe, command, files, install, output};

/// The server that a client is driven against.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The server's base URL.
    pub url: &'a str,
    /// An administrator's name.
    pub username: &'a str,
    /// Its password.
    pub password: &'a str,
    /// A key of it; empty when there is none.
    pub key: &'a str,
    /// The URL of the twin's control door; empty for a server that has none.
    pub control: &'a str,
}

/// Drives `@octopusdeploy/api-client` from npm. Gives one line for each thing that worked.
///
/// # Errors
/// [`Fault::Missing`] without npm; [`Fault::Failed`] at the first thing that did not work.
pub async fn octopus_npm(target: Target<'_>) -> Result<String, Fault> {
    OCTOPUS_NPM.drive(target).await
}

/// Drives `github.com/OctopusDeploy/go-octopusdeploy/v2`. Gives one line for each thing that
/// worked.
///
/// # Errors
/// [`Fault::Missing`] without Go; [`Fault::Failed`] at the first thing that did not work.
pub async fn octopus_go(target: Target<'_>) -> Result<String, Fault> {
    OCTOPUS_GO.drive(target).await
}

/// Drives `st2client`, the Python library, and its program `st2`. Gives one line for each thing
/// that worked.
///
/// # Errors
/// [`Fault::Missing`] without Python or its modules for virtual environments; [`Fault::Failed`]
/// at the first thing that did not work.
pub async fn stackstorm_python(target: Target<'_>) -> Result<String, Fault> {
    STACKSTORM_PYTHON.drive(target).await
}

/// Drives `@elastic/elasticsearch` from npm. Gives one line for each thing that worked.
///
/// # Errors
/// [`Fault::Missing`] without npm; [`Fault::Failed`] at the first thing that did not work.
pub async fn elasticsearch_npm(target: Target<'_>) -> Result<String, Fault> {
    ELASTICSEARCH_NPM.drive(target).await
}

/// A program that drives a client.
struct Program {
    recipe: Recipe,
    /// What runs it.
    run: &'static [&'static str],
}

static OCTOPUS_NPM: Program = Program {
    recipe: npm(
        files!("clients/octopus-npm": ".npmrc" "package.json" "package-lock.json" "main.mjs"),
    ),
    run: &["node", "main.mjs"],
};

static ELASTICSEARCH_NPM: Program = Program {
    recipe: npm(
        files!("clients/elasticsearch-npm": ".npmrc" "package.json" "package-lock.json" "main.mjs"),
    ),
    run: &["node", "main.mjs"],
};

static OCTOPUS_GO: Program = Program {
    recipe: Recipe {
        kind: "clients",
        files: files!("clients/octopus-go": "go.mod" "go.sum" "main.go"),
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
        remedy: "install Go 1.26 or newer",
    },
    run: &["./client"],
};

static STACKSTORM_PYTHON: Program = Program {
    recipe: Recipe {
        kind: "clients",
        files: files!("clients/stackstorm-python": "build.txt" "requirements.txt" "main.py"),
        part: Some((
            &["python3", "-c", "import ensurepip, venv"],
            "the module venv of python3",
        )),
        steps: &[
            &["python3", "-m", "venv", "venv"],
            &pip("build.txt"),
            &pip("requirements.txt"),
        ],
        remedy: "install Python 3.9 to 3.13 with venv (on Debian, python3-venv)",
    },
    run: &["venv/bin/python", "main.py"],
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

const fn npm(files: &'static [(&'static str, &'static str)]) -> Recipe {
    Recipe {
        kind: "clients",
        files,
        part: None,
        steps: &[&["npm", "ci", "--ignore-scripts"]],
        remedy: "install Node.js 20 or newer",
    }
}

/// How long a client may talk to a server on this machine: long enough for a loaded one.
const TALK: Duration = Duration::from_secs(300);

impl Program {
    async fn drive(&'static self, target: Target<'_>) -> Result<String, Fault> {
        let folder = install(&self.recipe).await?;
        let mut command = command(self.run, &folder);
        command
            .env("TWIN_URL", target.url)
            .env("TWIN_USERNAME", target.username)
            .env("TWIN_PASSWORD", target.password)
            .env("TWIN_API_KEY", target.key)
            .env("TWIN_CONTROL_URL", target.control)
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        output(&mut command, TALK, self.recipe.remedy).await
    }
}
