//! The command line: what people can ask the program for. The only reader of the environment.
//!
//! Every flag can also be set in the environment, so that a pod and a shell can both say it.

mod election;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::election::{Election, ElectionArgs, LeaseArgs};
use crate::api::{check_files, crds_yaml, write_files};
use crate::plan::marker::Installation;
use crate::telemetry::Format;

/// Turns API keys of deploy servers into Kubernetes objects.
#[derive(Debug, Parser)]
#[command(name = "apikey-operator", version)]
pub struct Cli {
    /// What is asked for.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(Box<RunArgs>),
    /// Write, check or print the definitions of the kinds.
    Crds(CrdsArgs),
    /// Say whether the cluster has what the operator needs.
    Check(CheckArgs),
}

/// How the operator shall run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Hosts that connections may lead to: names, or patterns such as `*.example.org`. Left out:
    /// any but link-local addresses and the API server itself.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_ALLOWED_SERVERS",
        value_name = "HOST,…",
        value_delimiter = ','
    )]
    pub allowed_servers: Vec<String>,

    /// What this installation calls itself on the servers, 1 to 32 of a-z, 0-9 and -. Left out:
    /// derived from the cluster and the release. Another one makes the keys of before another
    /// installation's, which are never touched.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_INSTALLATION",
        value_name = "ID",
        value_parser = installation
    )]
    pub installation: Option<Installation>,

    /// Where the Secrets of a `ClusterDeployServer` are. Left out: the operator's own namespace.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// The name of this release; two releases in one cluster must have different ones.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_RELEASE",
        value_name = "NAME",
        default_value = "apikey-operator"
    )]
    pub release: String,

    /// Whether to believe who a manifest says has asked for a key: only where the admission policy
    /// that stamps it is installed.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_TRUST_REQUESTED_BY",
        value_name = "TRUST",
        default_value = "off"
    )]
    pub trust_requested_by: Trust,

    /// By which Lease one of several operators leads.
    #[command(flatten)]
    pub election: ElectionArgs,

    /// Where to serve /livez, /readyz and /metrics; port 0 takes a free one and logs it.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080"
    )]
    pub listen: SocketAddr,

    /// What to log, such as `info`, `debug` or `info,apikey_operator=trace`.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// How to log.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub log_format: Format,
}

/// What a cluster is held against.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The operator's own namespace, where its Lease is. Left out: that of the cluster's
    /// configuration.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// Its Lease.
    #[command(flatten)]
    pub lease: LeaseArgs,
}

/// Whether the stamp of who asked for a key is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trust {
    /// It is not: anybody may have written it.
    Off,
    /// It is: an admission policy writes it.
    On,
}

/// What to do with the definitions, and what else is made from the types.
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// What to do.
    #[arg(
        long,
        env = "APIKEY_OPERATOR_CRDS_MODE",
        value_name = "MODE",
        default_value = "write"
    )]
    pub mode: CrdsMode,

    /// The root of the repository.
    #[arg(
        long,
        env = "CARGO_MANIFEST_DIR",
        value_name = "DIR",
        default_value = "."
    )]
    pub root: PathBuf,
}

/// What to do with the definitions, and what else is made from the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CrdsMode {
    /// Write the files in the repository, and say which have changed.
    Write,
    /// Fail when a file in the repository is not what it should be.
    Check,
    /// Print them all, for `kubectl apply --server-side --filename=-`.
    Print,
}

impl CrdsArgs {
    /// Does what is asked for, and writes what there is to say to `out`.
    ///
    /// # Errors
    /// When a file is not what it should be (in mode `check`) or cannot be written.
    pub fn perform(self, out: &mut impl Write) -> anyhow::Result<()> {
        let Self { mode, root } = self;
        match mode {
            CrdsMode::Check => check_files(&root)?,
            CrdsMode::Write => {
                for path in write_files(&root)? {
                    writeln!(out, "{}", path.display())?;
                }
            }
            CrdsMode::Print => {
                for (_, text) in crds_yaml()? {
                    writeln!(out, "---\n{}", text.trim_end())?;
                }
            }
        }
        Ok(())
    }
}

fn installation(text: &str) -> Result<Installation, &'static str> {
    Installation::parse(text).ok_or("it must be 1 to 32 of a-z, 0-9 and -")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::lease::Times;

    fn run_args(args: &[&str]) -> Result<RunArgs, clap::Error> {
        let args = ["apikey-operator", "run"].iter().chain(args);
        match Cli::try_parse_from(args)?.command {
            Command::Run(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_can_be_set_in_the_environment() {
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments() {
                assert!(flag.get_env().is_some(), "{} {flag}", command.get_name());
            }
        }
    }

    #[test]
    fn definitions_are_written_checked_and_printed() {
        let root = tempfile::tempdir().unwrap();
        let perform = |mode| {
            let mut out = Vec::new();
            let root = root.path().to_owned();
            CrdsArgs { mode, root }
                .perform(&mut out)
                .map(|()| String::from_utf8(out).unwrap())
        };
        assert!(
            perform(CrdsMode::Check)
                .unwrap_err()
                .to_string()
                .contains("cargo crds")
        );
        let written = perform(CrdsMode::Write).unwrap();
        assert!(
            written.contains("charts/apikey-operator/crds/apikeys.yaml\n"),
            "{written}"
        );
        assert_eq!(perform(CrdsMode::Write).unwrap(), "");
        assert_eq!(perform(CrdsMode::Check).unwrap(), "");
        let printed = perform(CrdsMode::Print).unwrap();
        assert_eq!(printed.lines().filter(|line| *line == "---").count(), 4);
    }

    #[test]
    fn hosts_may_be_listed_and_repeated() {
        let args = run_args(&[
            "--allowed-servers=a.example,b.example",
            "--allowed-servers=c",
        ]);
        assert_eq!(
            args.unwrap().allowed_servers,
            ["a.example", "b.example", "c"]
        );
        assert!(run_args(&[]).unwrap().allowed_servers.is_empty());
    }

    #[test]
    fn a_lease_has_the_times_that_are_usual_and_others_must_be_in_order() {
        let terms = |args: &[&str]| run_args(args).unwrap().election.terms();
        let usual = terms(&[]).unwrap().unwrap();
        assert_eq!(usual.times, Times::default());
        assert!(terms(&["--leader-election=off"]).unwrap().is_none());
        for wrong in [
            "--lease-duration=10s",
            "--lease-renew-deadline=2s",
            "--lease-retry-period=0s",
        ] {
            assert!(terms(&[wrong]).is_err(), "{wrong}");
        }
        assert!(terms(&["--lease-duration=1m", "--lease-renew-deadline=40s"]).is_ok());
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_form_it_should_have() {
        let refusal = |arg: &str| run_args(&[arg]).unwrap_err().to_string();
        for text in ["", "Prod", "a.b", &"x".repeat(33)] {
            let refusal = refusal(&format!("--installation={text}"));
            assert!(refusal.contains("1 to 32 of a-z"), "{refusal}");
        }
        assert!(refusal("--trust-requested-by=maybe").contains("[possible values: off, on]"));
        assert!(refusal("--lease-duration=soon").contains("not a period such as 30d"));
        assert!(refusal("--listen=8080").contains("invalid socket address"));
        assert!(
            run_args(&["--installation=prod-1"])
                .unwrap()
                .installation
                .is_some()
        );
    }
}
