//! The demo says 0 when all is well, and 1 when it is not: it is disturbed between its steps.

use std::future::pending;
use std::io;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use testbed::control_plane::Binaries;
use testbed::demo::{Act, Demo, Kind, Outcome, Page, Programs, Step};
use testbed::twins::{Effect, Fault, Rule};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::ladder::{Ground, Rung};

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
    async fn raise(kubernetes: Binaries) -> Result<Self> {
        let programs = Programs {
            kubernetes,
            operator: env!("CARGO_BIN_EXE_apikey-operator").into(),
        };
        let sheet = Sheet(watch::Sender::new(String::new()));
        let mut page = Page::log(sheet.clone());
        let demo = Box::pin(Demo::raise(&programs, Kind::Octopus, &mut page)).await?;
        Ok(Self { demo, page, sheet })
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

/// All is well: it says 0, tells no secret, and leaves nothing behind.
async fn it_says_0_when_all_is_well(binaries: Binaries) -> Result<()> {
    let stage = Stage::raise(binaries).await?;
    let server = stage.demo.server().url().replace("http://", "");
    let log = stage.demo.operator().log().to_owned();
    let (outcome, text) = stage.check().await;
    ensure!(outcome.code() == 0, "{outcome:?}\n{text}");
    for part in [
        "READY",
        "OCTOPUS_API_KEY",
        "Secret deploy was deleted, and is back with a key that works",
        "Secret release-1042 has another key, which works",
        "the server takes none of its 5 keys any more",
        "How long",
    ] {
        ensure!(text.contains(part), "no {part}:\n{text}");
    }
    // All keys of the server begin so.
    ensure!(!text.contains("API-"), "a key is shown:\n{text}");
    ensure!(!log.exists());
    ensure!(TcpStream::connect(server).await.is_err());
    Ok(())
}

/// Without the operator nothing becomes ready, and nobody waits for it.
async fn it_says_1_when_the_operator_is_dead(binaries: Binaries) -> Result<()> {
    let stage = Stage::raise(binaries).await?;
    stage.demo.operator().kill().await?;
    let (outcome, _) = stage.check().await;
    wrong(&outcome, Step::Apply, "the operator has ended (signal: 9")
}

/// The server makes no keys: the sentence is the one that the `ApiKey` says.
async fn it_says_1_when_the_server_refuses(binaries: Binaries) -> Result<()> {
    let stage = Stage::raise(binaries).await?;
    let door = stage.demo.server().door().clone();
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
    let stage = Stage::raise(binaries).await?;
    let door = stage.demo.server().door().clone();
    door.fault(Rule::new(Fault::Feigned).on("DELETE", "/api/users/*/apikeys/*"));
    let (outcome, _) = stage.check().await;
    ensure!(door.sent(Effect::Revoke) > 0);
    wrong(
        &outcome,
        Step::Dead,
        "the server still takes its key, as team-a.ci",
    )
}

/// It stays until it is interrupted, and then ends in order.
async fn it_stays_until_it_is_interrupted(binaries: Binaries) -> Result<()> {
    let mut stage = Stage::raise(binaries).await?;
    let mut seen = stage.sheet.0.subscribe();
    let interrupt = async {
        // The page lives as long as the demo, so this waits for the words alone.
        let _ = seen.wait_for(|text| text.contains("Ctrl-C ends")).await;
    };
    let door = stage.demo.server().door().clone();
    let outcome = stage.demo.perform(Act::Stay, &mut stage.page, interrupt);
    let outcome = Box::pin(outcome).await;
    let text = stage.sheet.0.borrow().clone();
    ensure!(outcome.code() == 0, "{outcome:?}\n{text}");
    ensure!(text.contains("everything has ended"), "{text}");
    ensure!(door.done(Effect::Mint) == 2 && door.sent(Effect::Revoke) == 0);
    Ok(())
}
