//! The operator's program: parse, install the crypto provider, run, exit code.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;

use anyhow::bail;
use apikey_operator::app::{self, Ending, Settings, Signals, Stamp};
use apikey_operator::check::{self, LeasePlace, Verdict};
use apikey_operator::cli::{CheckArgs, Cli, Command, Election, RunArgs, Trust};
use apikey_operator::telemetry;
use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    // It fails when there is one already, and then that one serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    perform(Cli::parse().command).await.unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn perform(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => return run(*args).await,
        Command::Crds(args) => args.perform(&mut stdout().lock())?,
        Command::Check(args) => match check(args).await? {
            Verdict::Complete => {}
            Verdict::Lacking => return Ok(ExitCode::FAILURE),
        },
    }
    Ok(ExitCode::SUCCESS)
}

async fn check(args: CheckArgs) -> anyhow::Result<Verdict> {
    let CheckArgs {
        operator_namespace,
        lease,
    } = args;
    let config = check::config().await?;
    let place = LeasePlace {
        namespace: operator_namespace.unwrap_or_else(|| config.default_namespace.clone()),
        name: lease.lease_name,
    };
    let place = match lease.leader_election {
        Election::Off => None,
        Election::On => Some(&place),
    };
    check::check(&check::connect(config)?, place, &mut stdout()).await
}

async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    // Taken apart, so that a flag which nobody uses does not compile without a warning.
    let RunArgs {
        allowed_servers,
        installation,
        operator_namespace,
        release,
        trust_requested_by,
        election,
        listen,
        log,
        log_format,
    } = args;
    telemetry::init(&log, log_format)?;
    let stamp = match trust_requested_by {
        Trust::Off => Stamp::Ignored,
        Trust::On => Stamp::Believed,
    };
    let config = check::config().await?;
    let settings = Settings {
        allowed_servers,
        installation,
        operator_namespace,
        release,
        stamp,
        lease: election.terms()?,
        listen,
    };
    let Signals { stop, abort } = Signals::listen()?;
    tokio::select! {
        ended = app::run(settings, config, stop) => Ok(match ended? {
            Ending::Asked => ExitCode::SUCCESS,
            Ending::Deposed => ExitCode::FAILURE,
        }),
        () = abort.cancelled() => bail!("asked twice to end: what was under way is given up"),
    }
}
