//! Shows the product working: `cargo demo`.

use clap::{Parser, ValueEnum};
use testbed::demo::{Act, Demo, Kind, Outcome, Page, Programs, Trouble};
use tokio::signal::unix::{SignalKind, signal};

/// Shows apikey-operator at work, on this machine alone.
///
/// Starts a real Kubernetes API server, a deploy server and the operator, applies
/// the sample manifests, and shows the keys that come of them. Then it stays, for
/// you to try things, until Ctrl-C ends everything.
///
/// It listens on 127.0.0.1 only, and neither reads nor touches your kubeconfig.
///
/// The first time it builds Kubernetes from its sources, which takes minutes and
/// needs Go 1.26 or newer. Elasticsearch is put together by Maven 3.8 or newer and
/// needs Java 17 or newer. All programs are kept in ~/.cache/apikey-operator.
#[derive(Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo", verbatim_doc_comment)]
struct Args {
    /// Do not stay: delete the manifests again, check that the keys are dead and
    /// that the server has nothing left of them, and say how long it all took.
    /// Exits with 0 if all was right, else with 1 and one sentence.
    #[arg(long, verbatim_doc_comment)]
    check: bool,
    /// The deploy server.
    #[arg(long, value_enum, default_value = "octopus")]
    server: Choice,
}

/// Which deploy servers a demo is with.
#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// A simulated Octopus Deploy.
    Octopus,
    /// A simulated StackStorm.
    #[value(name = "stackstorm")]
    StackStorm,
    /// A real Elasticsearch.
    Elasticsearch,
    /// All three, side by side.
    All,
}

impl Choice {
    fn servers(self) -> &'static [Kind] {
        match self {
            Self::Octopus => &[Kind::Octopus],
            Self::StackStorm => &[Kind::StackStorm],
            Self::Elasticsearch => &[Kind::Elasticsearch],
            Self::All => &Kind::ALL,
        }
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let args = Args::parse();
    let act = if args.check { Act::Check } else { Act::Stay };
    let mut page = Page::stdout();
    let mut interrupt = Box::pin(interrupted());
    let demo = tokio::select! {
        biased;
        () = &mut interrupt => return Outcome::Interrupted,
        demo = Box::pin(raise(args.server.servers(), &mut page)) => demo,
    };
    match demo {
        Ok(demo) => Box::pin(demo.perform(act, &mut page, interrupt)).await,
        Err(trouble) => Outcome::Wrong(trouble),
    }
}

async fn raise(servers: &[Kind], page: &mut Page) -> Result<Demo, Trouble> {
    let programs = Programs::obtain(servers, page).await?;
    Demo::raise(&programs, servers, page).await
}

/// Waits until somebody wants it to end.
async fn interrupted() {
    let kinds = [
        SignalKind::interrupt,
        SignalKind::terminate,
        SignalKind::hangup,
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(|kind| signal(kind()))
    else {
        // Then a signal ends us at once, and all that we have started with us.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
