//! Official clients, driven against a twin: whoever believes a twin believes it because they do.
//!
//! The small programs that drive them lie in `clients/`. They are installed once, as their lock
//! files say, into a cache outside the repository ([`crate::install`]).

use std::time::Duration;

use tokio::process::Command;

pub use crate::install::Fault;
use crate::install::{Recipe, files, install, output};

/// The server that a client is driven against.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The server's base URL.
    pub url: &'a str,
    /// An administrator's key.
    pub key: &'a str,
    /// The URL of the twin's control door.
    pub control: &'a str,
}

/// Drives `@octopusdeploy/api-client` from npm. Gives one line for each thing that worked.
///
/// # Errors
/// [`Fault::Missing`] without npm; [`Fault::Failed`] at the first thing that did not work.
pub async fn octopus_npm(target: Target<'_>) -> Result<String, Fault> {
    let folder = install(&NPM).await?;
    let mut node = Command::new("node");
    node.arg("main.mjs").current_dir(folder);
    drive(&mut node, &NPM, target).await
}

/// Drives `github.com/OctopusDeploy/go-octopusdeploy/v2`. Gives one line for each thing that
/// worked.
///
/// # Errors
/// [`Fault::Missing`] without Go; [`Fault::Failed`] at the first thing that did not work.
pub async fn octopus_go(target: Target<'_>) -> Result<String, Fault> {
    let folder = install(&GO).await?;
    drive(&mut Command::new(folder.join("client")), &GO, target).await
}

const NPM: Recipe = Recipe {
    kind: "clients",
    files: files!("clients/octopus-npm": ".npmrc" "package.json" "package-lock.json" "main.mjs"),
    tool: "npm",
    arguments: &["ci", "--ignore-scripts"],
    remedy: "install Node.js 20 or newer",
};

const GO: Recipe = Recipe {
    kind: "clients",
    files: files!("clients/octopus-go": "go.mod" "go.sum" "main.go"),
    tool: "go",
    arguments: &["build", "-trimpath", "-mod=readonly", "-o", "client", "."],
    remedy: "install Go 1.26 or newer",
};

/// How long a client may talk to a server on this machine.
const TALK: Duration = Duration::from_secs(60);

async fn drive(
    command: &mut Command,
    program: &Recipe,
    target: Target<'_>,
) -> Result<String, Fault> {
    command
        .env("OCTOPUS_URL", target.url)
        .env("OCTOPUS_API_KEY", target.key)
        .env("TWIN_CONTROL_URL", target.control)
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
    output(command, TALK, program.remedy).await
}
