//! Runs one twin alone: `cargo twin octopus`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use testbed::twins::octopus::{Config, Octopus, Start, Version};
use testbed::twins::tls::Tls;
use testbed::twins::{Door, control, tcp};

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
}

#[derive(Args)]
struct OctopusArgs {
    /// The port of the server; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The port of the control door; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Ids and keys are drawn from it: the same seed gives the same ones again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The administrator's key: `API-` and capital letters and digits. Drawn from the seed if
    /// left out.
    #[arg(long, value_name = "API-...", value_parser = api_key)]
    admin_key: Option<String>,
    /// The version that the server says it has; older ones behave as older servers did.
    #[arg(long, value_name = "VERSION", default_value_t = Config::default().version)]
    server_version: Version,
    /// A virtual directory, such as /octopus.
    #[arg(long, value_name = "PATH", default_value = "")]
    prefix: String,
    /// Speak HTTPS, and write the certificate to trust into this folder, as ca.pem.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command {
        server: Server::Octopus(args),
    } = Command::parse();
    match octopus(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn octopus(args: OctopusArgs) -> anyhow::Result<()> {
    let config = Config {
        seed: args.seed,
        version: args.server_version,
        prefix: args.prefix.trim_end_matches('/').to_owned(),
        admin_key: args.admin_key,
        ..Config::default()
    };
    let twin = Octopus::new(&config);
    let start = twin.start().clone();
    let door = Door::live(twin);
    let ca = args.tls.as_ref().map(|folder| folder.join("ca.pem"));
    let tls = ca.as_ref().map(certificate).transpose()?;
    let server = tcp::serve(&door, args.port, tls.as_ref())?;
    let control = control::serve(&door, args.control_port).await?;

    let url = format!("{}{}", server.url(), config.prefix);
    let ca = ca.map(|path| path.display().to_string());
    greet(&config, &start, &url, &control.url(), ca.as_deref())?;
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

fn greet(
    config: &Config,
    start: &Start,
    url: &str,
    control: &str,
    ca: Option<&str>,
) -> std::io::Result<()> {
    let (bold, faint, plain) = if std::io::stdout().is_terminal() {
        ("\x1b[1m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    let trust = ca
        .map(|path| format!(" --cacert {path}"))
        .unwrap_or_default();
    let version = config.version;
    let (admin, operator, bystander) = (&start.admin, &start.operator, &start.bystander);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{bold}A twin of Octopus Deploy {version}{plain}\n")?;
    writeln!(out, "  {bold}server{plain}     {url}")?;
    if let Some(path) = ca {
        writeln!(out, "  {bold}trust{plain}      {path}")?;
    }
    writeln!(out, "  {bold}control{plain}    {control}\n")?;
    for (account, rights) in [
        (admin, "may do everything"),
        (
            operator,
            "a service account that edits users, their keys and teams",
        ),
        (bystander, "a service account without any right"),
    ] {
        writeln!(
            out,
            "  {bold}{:<16}{plain} {}  {faint}{rights}{plain}",
            account.username, account.key
        )?;
    }
    writeln!(out, "\n{bold}Ask it something{plain}")?;
    writeln!(
        out,
        "  curl -s{trust} -H 'X-Octopus-ApiKey: {}' {url}/api/users/me\n",
        admin.key
    )?;
    writeln!(
        out,
        "{bold}Make things go wrong{plain}  {faint}(all of it: curl {control}){plain}"
    )?;
    writeln!(
        out,
        "  curl -d '{{\"fault\":\"throttled\",\"retryAfter\":5,\"times\":{{\"next\":3}}}}' {control}/faults"
    )?;
    writeln!(
        out,
        "  curl -d '{{\"change\":\"disable\",\"user\":\"{}\"}}' {control}/changes",
        operator.username
    )?;
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
