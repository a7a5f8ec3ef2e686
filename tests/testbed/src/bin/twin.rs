//! Runs one twin alone: `cargo twin octopus`, `cargo twin stackstorm`, …

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Parser, Subcommand};
use testbed::twins::elasticsearch::{self, Elasticsearch};
use testbed::twins::octopus::{self, Octopus};
use testbed::twins::stackstorm::{self, StackStorm};
use testbed::twins::tls::Tls;
use testbed::twins::{Door, Twin, control, tcp};

/// Runs a twin of a deploy server on this machine, for trying things out.
///
/// A twin answers like the real server, keeps everything in memory, and forgets it when it ends.
/// It listens on 127.0.0.1 only. A second port, the control door, makes things go wrong on
/// purpose: outages, lost answers, keys revoked behind one's back.
#[derive(Parser)]
#[command(name = "cargo twin", bin_name = "cargo twin")]
struct Command {
    #[command(subcommand)]
    server: Server,
}

#[derive(Subcommand)]
enum Server {
    /// Octopus Deploy.
    Octopus(OctopusArgs),
    /// Elasticsearch: its users, roles and API keys.
    Elasticsearch(ElasticsearchArgs),
    /// StackStorm: both its services behind one front, `/api` and `/auth`.
    #[command(name = "stackstorm")]
    StackStorm(StackStormArgs),
}

/// What every twin can be told.
#[derive(Args)]
struct Common {
    /// The port of the server; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port of the control door; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Ids and keys are drawn from it: the same seed gives the same ones again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A virtual directory, such as /deploy.
    #[arg(long, value_name = "PATH", default_value = "")]
    prefix: String,
    /// Speak HTTPS, and write the certificate to trust into this folder, as ca.pem.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

#[derive(Args)]
struct OctopusArgs {
    #[command(flatten)]
    common: Common,
    /// The administrator's key: `API-` and capital letters and digits. Drawn from the seed if
    /// left out.
    #[arg(long, value_name = "API-...", value_parser = api_key)]
    admin_key: Option<String>,
    /// The version that the server says it has; older ones behave as older servers did.
    #[arg(long, value_name = "VERSION", default_value_t = octopus::Config::default().version)]
    server_version: octopus::Version,
}

#[derive(Args)]
struct ElasticsearchArgs {
    #[command(flatten)]
    common: Common,
    /// The version that the server says it has.
    #[arg(long, value_name = "VERSION", default_value_t = elasticsearch::Config::default().version)]
    server_version: elasticsearch::Version,
    /// Say that the licence is a trial, not the free basic one.
    #[arg(long)]
    trial: bool,
}

#[derive(Args)]
struct StackStormArgs {
    #[command(flatten)]
    common: Common,
    /// The administrator's key. Drawn from the seed if left out.
    #[arg(long, value_name = "KEY")]
    admin_key: Option<String>,
    /// The version that the server says it has.
    #[arg(long, value_name = "VERSION", default_value_t = stackstorm::Config::default().version)]
    server_version: String,
    /// Look at rights (RBAC). Without it everybody may do everything, as on a new server.
    #[arg(long)]
    rbac: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let run = match Command::parse().server {
        Server::Octopus(args) => octopus(args).await,
        Server::Elasticsearch(args) => elasticsearch(args).await,
        Server::StackStorm(args) => stackstorm(args).await,
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn octopus(args: OctopusArgs) -> anyhow::Result<()> {
    let config = octopus::Config {
        seed: args.common.seed,
        version: args.server_version,
        prefix: args.common.prefix(),
        admin_key: args.admin_key,
        ..octopus::Config::default()
    };
    let twin = Octopus::new(&config);
    let start = twin.start().clone();
    let account = |who: &octopus::Credential, rights| Account {
        name: who.username.clone(),
        secrets: vec![who.key.clone()],
        rights,
    };
    let greeting = Greeting {
        name: format!("Octopus Deploy {}", config.version),
        services: vec![("server", "")],
        accounts: vec![
            account(&start.admin, "may do everything"),
            account(
                &start.operator,
                "a service account that edits users, their keys and teams",
            ),
            account(&start.bystander, "a service account without any right"),
        ],
        ask: (
            format!("X-Octopus-ApiKey: {}", start.admin.key),
            "/api/users/me",
        ),
        change: format!(
            r#"{{"change":"disable","user":"{}"}}"#,
            start.operator.username
        ),
    };
    run(twin, &args.common, &greeting).await
}

async fn stackstorm(args: StackStormArgs) -> anyhow::Result<()> {
    let config = stackstorm::Config {
        seed: args.common.seed,
        version: args.server_version,
        prefix: args.common.prefix(),
        admin_key: args.admin_key,
        rbac: args.rbac,
        ..stackstorm::Config::default()
    };
    let twin = StackStorm::new(&config);
    let start = twin.start().clone();
    let account = |who: &stackstorm::Credential, rights| Account {
        name: who.username.clone(),
        secrets: vec![who.password.clone(), who.key.clone()],
        rights,
    };
    let greeting = Greeting {
        name: format!("StackStorm {}", config.version),
        services: vec![("server", ""), ("api", "/api/v1"), ("auth", "/auth")],
        accounts: vec![
            account(&start.admin, "role system_admin (a password, then a key)"),
            account(&start.operator, "role admin"),
            account(&start.bystander, "no role"),
        ],
        ask: (format!("St2-Api-Key: {}", start.admin.key), "/api/v1/user"),
        change: format!(
            r#"{{"change":"forgetUser","user":"{}"}}"#,
            start.operator.username
        ),
    };
    run(twin, &args.common, &greeting).await
}

async fn elasticsearch(args: ElasticsearchArgs) -> anyhow::Result<()> {
    let license = if args.trial {
        elasticsearch::License::Trial
    } else {
        elasticsearch::License::Basic
    };
    let config = elasticsearch::Config {
        seed: args.common.seed,
        version: args.server_version,
        prefix: args.common.prefix(),
        license,
        ..elasticsearch::Config::default()
    };
    let twin = Elasticsearch::new(&config);
    let start = twin.start().clone();
    let account = |who: &elasticsearch::Credential, rights| Account {
        name: who.username.clone(),
        secrets: vec![who.password.clone()],
        rights,
    };
    let admin = &start.admin;
    let basic = STANDARD.encode(format!("{}:{}", admin.username, admin.password));
    let greeting = Greeting {
        name: format!("Elasticsearch {}", config.version),
        services: vec![("server", "")],
        accounts: vec![
            account(admin, "may do everything"),
            account(&start.operator, "manages users and keys, acts as anybody"),
            account(&start.holder, "manages keys of its own"),
            account(&start.bystander, "no role"),
        ],
        ask: (
            format!("Authorization: Basic {basic}"),
            "/_security/_authenticate",
        ),
        change: format!(
            r#"{{"change":"disable","user":"{}"}}"#,
            start.operator.username
        ),
    };
    run(twin, &args.common, &greeting).await
}

impl Common {
    fn prefix(&self) -> String {
        self.prefix.trim_end_matches('/').to_owned()
    }
}

/// What to tell people about a server.
struct Greeting {
    /// Its name and version.
    name: String,
    /// What there is, and where below the server's address.
    services: Vec<(&'static str, &'static str)>,
    accounts: Vec<Account>,
    /// A header and a path to ask it something with.
    ask: (String, &'static str),
    /// Something that may happen from outside, as JSON.
    change: String,
}

/// An account to try things out with.
struct Account {
    name: String,
    secrets: Vec<String>,
    rights: &'static str,
}

/// Runs a twin until somebody ends it.
async fn run<T: Twin>(twin: T, common: &Common, greeting: &Greeting) -> anyhow::Result<()> {
    let door = Door::live(twin);
    let ca = common.tls.as_ref().map(|folder| folder.join("ca.pem"));
    let tls = ca.as_ref().map(certificate).transpose()?;
    let server = tcp::serve(&door, common.port, tls.as_ref())?;
    let control = control::serve(&door, common.control_port).await?;

    let url = format!("{}{}", server.url(), common.prefix());
    let ca = ca.map(|path| path.display().to_string());
    greet(greeting, &url, &control.url(), ca.as_deref())?;
    ended().await.context("cannot wait for Ctrl-C")
}

/// Makes the certificates and writes down the one to trust.
fn certificate(ca: &PathBuf) -> anyhow::Result<Tls> {
    let tls = Tls::new()?;
    if let Some(folder) = ca.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    std::fs::write(ca, tls.ca_pem()).with_context(|| format!("cannot write {}", ca.display()))?;
    Ok(tls)
}

fn greet(greeting: &Greeting, url: &str, control: &str, ca: Option<&str>) -> std::io::Result<()> {
    let (bold, faint, plain) = if std::io::stdout().is_terminal() {
        ("\x1b[1m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let trust = ca
        .map(|path| format!(" --cacert {path}"))
        .unwrap_or_default();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{bold}A twin of {}{plain}\n", greeting.name)?;
    for (service, path) in &greeting.services {
        writeln!(out, "  {bold}{service:<10}{plain} {url}{path}")?;
    }
    if let Some(path) = ca {
        writeln!(out, "  {bold}trust{plain}      {path}")?;
    }
    writeln!(out, "  {bold}control{plain}    {control}\n")?;
    for account in &greeting.accounts {
        let (name, rights) = (&account.name, account.rights);
        let secrets = account.secrets.join(&format!("\n{:19}", ""));
        writeln!(
            out,
            "  {bold}{name:<16}{plain} {secrets}  {faint}{rights}{plain}"
        )?;
    }
    let (header, path) = &greeting.ask;
    writeln!(out, "\n{bold}Ask it something{plain}")?;
    writeln!(out, "  curl -s{trust} -H '{header}' {url}{path}\n")?;
    writeln!(
        out,
        "{bold}Make things go wrong{plain}  {faint}(all of it: curl {control}){plain}"
    )?;
    writeln!(
        out,
        "  curl -d '{{\"fault\":\"throttled\",\"retryAfter\":5,\"times\":{{\"next\":3}}}}' {control}/faults"
    )?;
    writeln!(out, "  curl -d '{}' {control}/changes", greeting.change)?;
    writeln!(out, "  curl {control}/journal\n")?;
    writeln!(out, "Ctrl-C ends it.")?;
    out.flush()
}

/// Waits until somebody wants it to end.
async fn ended() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    }
}

/// Official clients refuse any other form before they send it.
fn api_key(text: &str) -> Result<String, String> {
    let letters = text.strip_prefix("API-").unwrap_or_default();
    let fits = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    if !letters.is_empty() && letters.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("it must be `API-` and capital letters and digits".to_owned())
    }
}
