//! A real Elasticsearch with its security feature, no container: jars that the machine's Maven
//! fetches, and a launcher of our own (`elasticsearch/`). What the twin says is held to what this
//! server says.
//!
//! Invariants: its licence is its makers', so nothing of it is in the repository; it listens on
//! 127.0.0.1 alone, on ports that it finds free; all its files are in one temporary folder that
//! nobody else can enter; it does not outlive us ([`crate::process`]).
//!
//! It is not a whole distribution: no scripts (so keys cannot be found by `type`), no SAML, no
//! deletion by query (so old keys are never forgotten), nothing but what keys and users need. TLS is
//! off.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use reqwest::Client;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{interval, timeout};

pub use crate::install::Fault;
use crate::install::{Recipe, files, install, output};
use crate::process::{Process, Program};
use crate::run_folder::RunFolder;

/// The version that `elasticsearch/pom.xml` pins.
pub const VERSION: &str = "8.19.21";

static MAVEN: Recipe = Recipe {
    kind: "elasticsearch",
    files: files!("elasticsearch":
        "pom.xml"
        "src/main/java/org/elasticsearch/node/ClassPathNode.java"
        "src/main/java/org/elasticsearch/plugins/ClassPathPlugins.java"
        "src/main/java/org/elasticsearch/xpack/security/SecurityWithoutSaml.java"
        "src/main/java/testbed/Launcher.java"
        "src/main/java/testbed/RootDocument.java"
        "src/main/java/testbed/UserTextAnalysis.java"
    ),
    part: Some((&["javac", "-version"], "a Java compiler")),
    steps: &[&[
        "mvn",
        "--quiet",
        "--batch-mode",
        "package",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        "-DoutputDirectory=target/jars",
    ]],
    remedy: "install Maven 3.8 and a Java development kit 17, or newer ones",
};

/// Long enough for a loaded machine, short enough to notice.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the server may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum License {
    /// What everybody has: users, roles, API keys.
    #[default]
    Basic,
    /// Everything for a month, tokens among it.
    Trial,
}

impl License {
    fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Trial => "trial",
        }
    }
}

/// How to start a server.
#[derive(Clone)]
pub struct Options {
    /// What it may do.
    pub license: License,
    /// The password of `elastic`.
    pub password: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            license: License::Basic,
            password: "Elasticsearch-Real-2026!".to_owned(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Options({:?})", self.license)
    }
}

/// A running server. Dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Elasticsearch {
    // In the order of ending.
    process: Process,
    options: Options,
    url: String,
    client: Client,
    _folder: RunFolder,
}

impl Elasticsearch {
    /// Builds the launcher unless it is built, starts a server with nobody but `elastic`, and
    /// returns when it tells who `elastic` is and what it may do.
    ///
    /// # Errors
    /// [`Fault::Missing`] without Maven or Java; [`Fault::Failed`] when it cannot be built or does
    /// not answer, with its last words.
    pub async fn start(options: &Options) -> Result<Self, Fault> {
        let built = obtain().await?;
        let folder = RunFolder::create().map_err(failed)?;
        let process = launch(&built, folder.path(), options).map_err(failed)?;
        let client = Client::builder().no_proxy().build().map_err(failed)?;
        let url = ready(&client, &process, folder.path(), options).await?;
        Ok(Self {
            process,
            options: options.clone(),
            url,
            client,
            _folder: folder,
        })
    }

    /// The base URL of its API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The password of `elastic`.
    pub fn password(&self) -> &str {
        &self.options.password
    }

    /// Asks it for something as `elastic`, who may do everything.
    ///
    /// # Errors
    /// When the answer is not a good one, with its words.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let ask = self.client.request(method, format!("{}{path}", self.url));
        let mut ask = ask.timeout(PATIENCE);
        ask = ask.basic_auth("elastic", Some(self.password()));
        if let Some(body) = body {
            ask = ask
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = ask.send().await.context("Elasticsearch does not answer")?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        let words = || String::from_utf8_lossy(&body).into_owned();
        ensure!(status.is_success(), "{path}: {status}: {}", words());
        Ok(serde_json::from_slice(&body)?)
    }

    /// The program, with its log.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Looks for Java and builds the launcher unless it is built; returns where it is.
///
/// # Errors
/// As [`Elasticsearch::start`].
pub async fn obtain() -> Result<PathBuf, Fault> {
    let java = &mut Command::new("java");
    output(java.arg("-version"), PATIENCE, MAVEN.remedy).await?;
    install(&MAVEN).await
}

fn failed(cause: impl std::fmt::Display) -> Fault {
    Fault::Failed(format!("{cause:#}"))
}

fn launch(built: &Path, folder: &Path, options: &Options) -> anyhow::Result<Process> {
    let jars = format!(
        "{jar}:{jars}/*",
        jar = built.join("target/elasticsearch-launcher-1.jar").display(),
        jars = built.join("target/jars").display(),
    );
    let node = folder.join("node");
    let license = options.license.name();
    let mut program = Program::new("java")
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-cp", &jars, "testbed.Launcher", &node.to_string_lossy()])
        .args([&format!("xpack.license.self_generated.type={license}")])
        .env("ELASTIC_PASSWORD", &options.password);
    if options.license == License::Trial {
        program = program.args(["xpack.security.authc.token.enabled=true"]);
    }
    program.start(folder.join("elasticsearch.log"))
}

/// Waits until it answers, and gives its URL.
async fn ready(
    client: &Client,
    process: &Process,
    folder: &Path,
    options: &Options,
) -> Result<String, Fault> {
    let ports = folder.join("node/logs/http.ports");
    let answers = async {
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let Some(url) = address(&ports) else {
                continue;
            };
            let sent = async |ask: reqwest::RequestBuilder| {
                let ask = ask.basic_auth("elastic", Some(&options.password));
                let said = ask.send().await?.error_for_status()?;
                said.text().await
            };
            let said = async |path: &str| sent(client.get(format!("{url}{path}"))).await;
            // The index of users comes about with the first of them.
            let one = format!("{url}/_security/user/first?refresh=true");
            let made = async || {
                let user = r#"{"password": "first-of-all", "roles": []}"#;
                let made = client.put(&one).header("content-type", "application/json");
                sent(made.body(user)).await.is_ok() && sent(client.delete(&one)).await.is_ok()
            };
            // The licence comes a moment after the rest.
            let license = format!("\"{}\"", options.license.name());
            if said("/_security/_authenticate").await.is_ok()
                && said("/_license")
                    .await
                    .is_ok_and(|text| text.contains(&license))
                && made().await
            {
                return url;
            }
        }
    };
    let last_words = |what: &str| {
        let words = process.last_words();
        Fault::Failed(format!("Elasticsearch {what}:\n{words}"))
    };
    tokio::select! {
        url = timeout(PATIENCE, answers) => {
            url.map_err(|_| last_words("does not answer"))
        }
        _ = process.wait() => Err(last_words("ended by itself")),
    }
}

/// The address that the server has written down, as soon as it has.
fn address(ports: &Path) -> Option<String> {
    let text = std::fs::read_to_string(ports).ok()?;
    let line = text.lines().find(|line| line.starts_with("127.0.0.1:"))?;
    Some(format!("http://{line}"))
}
