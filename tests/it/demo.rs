//! The demo says 0 when all is well, and 1 when it is not: it is disturbed between its steps.

use std::future::pending;
use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use testbed::control_plane::Binaries;
use testbed::demo::{Act, Demo, Kind, Outcome, Page, Programs, Server, Step};
use testbed::elasticsearch;
use testbed::twins::octopus::Octopus;
use testbed::twins::{Door, Effect, Fault, Rule};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::ladder::{Ground, Missing, Rung};

/// What is on a page, for who writes it and who reads it.
#[derive(Clone)]
struct Sheet(watch::Sender<String>);

impl io::Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.send_modify(|all| all.push_str(&text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Each raises a demo of its own, from the programs of the ground.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        Rung::new("demo")$(.test(stringify!($test), async |ground: Arc<Ground>| {
            $test(ground.control_plane().await?.binaries().clone()).await
        }))*
    };
}

/// All tests of the demo.
pub(crate) fn rung() -> Rung {
    suite!(
        it_says_0_when_all_is_well,
        it_says_1_when_the_operator_is_dead,
        it_says_1_when_the_server_refuses,
        it_says_1_when_a_key_outlives_its_manifest,
        it_stays_until_it_is_interrupted,
    )
}

/// A demo that has been raised, and its page.
struct Stage {
    demo: Demo,
    page: Page,
    sheet: Sheet,
}

impl Stage {
    async fn raise(kubernetes: Binaries, servers: &[Kind]) -> Result<Self> {
        let programs = Programs {
            kubernetes,
            operator: env!("CARGO_BIN_EXE_apikey-operator").into(),
        };
        let sheet = Sheet(watch::Sender::new(String::new()));
        let mut page = Page::log(sheet.clone());
        let demo = Box::pin(Demo::raise(&programs, servers, &mut page)).await?;
        Ok(Self { demo, page, sheet })
    }

    /// One with Octopus Deploy alone, and the way to all that can happen to that.
    async fn with_octopus(kubernetes: Binaries) -> Result<(Self, Door<Octopus>)> {
        let stage = Self::raise(kubernetes, &[Kind::Octopus]).await?;
        let octopus = stage.demo.servers().iter().find_map(Server::octopus);
        let door = octopus.context("there is no Octopus Deploy")?.clone();
        Ok((stage, door))
    }

    /// As `cargo demo --check`; also what is on the page.
    async fn check(mut self) -> (Outcome, String) {
        let outcome = self.demo.perform(Act::Check, &mut self.page, pending());
        let outcome = Box::pin(outcome).await;
        let text = self.sheet.0.borrow().clone();
        (outcome, text)
    }
}

/// It ended with 1, at this step, with these words in its sentence.
fn wrong(outcome: &Outcome, at: Step, words: &str) -> Result<()> {
    let Outcome::Wrong(trouble) = outcome else {
        bail!("{outcome:?}");
    };
    ensure!(outcome.code() == 1);
    ensure!(trouble.at == at, "{trouble}");
    ensure!(trouble.to_string().contains(words), "{trouble}");
    Ok(())
}

/// With every server that this machine can have.
async fn it_says_0_when_all_is_well(binaries: Binaries) -> Result<()> {
    match elasticsearch::obtain().await {
        Ok(_) => all_is_well(binaries, &Kind::ALL).await,
        Err(elasticsearch::Fault::Missing(what)) => {
            all_is_well(binaries, &[Kind::Octopus, Kind::StackStorm]).await?;
            bail!(Missing(what))
        }
        Err(elasticsearch::Fault::Failed(why)) => bail!(why),
    }
}

/// It says 0, tells no secret, and leaves nothing behind.
async fn all_is_well(binaries: Binaries, servers: &[Kind]) -> Result<()> {
    let stage = Stage::raise(binaries, servers).await?;
    let urls: Vec<_> = stage.demo.servers().iter().map(Server::url).collect();
    let log = stage.demo.operator().log().to_owned();
    let (outcome, text) = stage.check().await;
    ensure!(outcome.code() == 0, "{outcome:?}\n{text}");
    for server in servers {
        for part in story(*server) {
            ensure!(text.contains(part), "no {part}:\n{text}");
        }
    }
    for part in ["READY", "How long"] {
        ensure!(text.contains(part), "no {part}:\n{text}");
    }
    // All keys of Octopus Deploy begin so; those of the others have no blanks, and are long.
    ensure!(!text.contains("API-"), "a key is shown:\n{text}");
    let may_be_a_key = |word: &&str| word.len() >= 40 && !word.contains(['/', ':']);
    let shown: Vec<_> = text.split_whitespace().filter(may_be_a_key).collect();
    ensure!(shown.is_empty(), "a key is shown, {shown:?}:\n{text}");
    ensure!(!log.exists());
    for url in urls {
        let closed = TcpStream::connect(url.replace("http://", "")).await;
        ensure!(closed.is_err(), "{url}");
    }
    Ok(())
}

/// What is on the page when all is well with a server.
fn story(server: Kind) -> [&'static str; 5] {
    match server {
        Kind::Octopus => [
            "Secret deploy has OCTOPUS_API_KEY and OCTOPUS_URL",
            "Secret deploy was deleted, and is back with a key that works",
            "Secret release-1042 has another key, which works",
            "Octopus Deploy takes none of the 5 keys any more",
            "1 account and 5 keys made on Octopus Deploy, none of them is left",
        ],
        Kind::StackStorm => [
            "Secret alerts has ST2_API_KEY, ST2_API_URL and ST2_AUTH_URL",
            "Secret alerts was deleted, and is back with a key that works",
            "Secret drill-12 has another key, which works",
            "StackStorm takes none of the 5 keys any more",
            "5 keys made on StackStorm, none of them is left",
        ],
        Kind::Elasticsearch => [
            "Secret ingest has ELASTICSEARCH_API_KEY, ELASTICSEARCH_API_KEY_ID and ELASTICSEARCH_URL",
            "Secret ingest was deleted, and is back with a key that works",
            "Secret import-88 has another key, which works",
            "Elasticsearch takes none of the 5 keys any more",
            "5 keys made on Elasticsearch, none of them is left",
        ],
    }
}

/// Without the operator nothing becomes ready, and nobody waits for it.
async fn it_says_1_when_the_operator_is_dead(binaries: Binaries) -> Result<()> {
    let (stage, _) = Stage::with_octopus(binaries).await?;
    stage.demo.operator().kill().await?;
    let (outcome, _) = stage.check().await;
    wrong(&outcome, Step::Apply, "the operator has ended (signal: 9")
}

/// The server makes no keys: the sentence is the one that the `ApiKey` says.
async fn it_says_1_when_the_server_refuses(binaries: Binaries) -> Result<()> {
    let (stage, door) = Stage::with_octopus(binaries).await?;
    door.fault(Rule::new(Fault::Refused { status: 403 }).on("POST", "/api/users/*/apikeys"));
    let (outcome, _) = stage.check().await;
    ensure!(door.sent(Effect::Mint) > 0 && door.done(Effect::Mint) == 0);
    wrong(
        &outcome,
        Step::Ready,
        "ApiKey deploy: The server does not permit this",
    )
}

/// The server says that it has revoked the key, and has not.
async fn it_says_1_when_a_key_outlives_its_manifest(binaries: Binaries) -> Result<()> {
    let (stage, door) = Stage::with_octopus(binaries).await?;
    door.fault(Rule::new(Fault::Feigned).on("DELETE", "/api/users/*/apikeys/*"));
    let (outcome, _) = stage.check().await;
    ensure!(door.sent(Effect::Revoke) > 0);
    wrong(
        &outcome,
        Step::Dead,
        "Octopus Deploy still takes a key of them, as team-a.ci",
    )
}

/// It stays until it is interrupted, and then ends in order.
async fn it_stays_until_it_is_interrupted(binaries: Binaries) -> Result<()> {
    let (mut stage, door) = Stage::with_octopus(binaries).await?;
    let mut seen = stage.sheet.0.subscribe();
    let interrupt = async {
        // The page lives as long as the demo, so this waits for the words alone.
        let _ = seen.wait_for(|text| text.contains("Ctrl-C ends")).await;
    };
    let outcome = stage.demo.perform(Act::Stay, &mut stage.page, interrupt);
    let outcome = Box::pin(outcome).await;
    let text = stage.sheet.0.borrow().clone();
    ensure!(outcome.code() == 0, "{outcome:?}\n{text}");
    ensure!(text.contains("everything has ended"), "{text}");
    ensure!(door.done(Effect::Mint) == 2 && door.sent(Effect::Revoke) == 0);
    Ok(())
}
