//! Servers that are away, slow, or answer what no server should.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use jiff::SignedDuration;
use testbed::twins::octopus::{Config, Octopus};
use testbed::twins::tcp::serve;
use testbed::twins::{Door, Effect, Fault, Rule};

use super::case::{Account, Case, Key, Server};
use super::{Row, rows};

/// Where keys are made.
const KEYS: &str = "/api/users/*/apikeys";

/// Those that rest on the minute within which a mint may land.
pub(super) fn long() -> Vec<Row> {
    rows![
        half_an_answer_to_a_mint,
        a_flood_for_a_key,
        a_key_that_comes_too_late,
        html_for_a_key,
        an_error_for_a_key,
        a_redirect_for_a_key,
    ]
}

pub(super) fn rows() -> Vec<Row> {
    rows![
        too_slow,
        down,
        down_when_a_key_is_due,
        slow,
        html,
        half_a_json,
        a_flood,
        errors,
        throttled,
        throttled_without_a_word,
        throttled_at_the_mint,
        redirected,
        cut_before_the_account,
    ]
}

/// From the first apply: the connection says it, the key waits, nothing is asked for.
async fn from_the_start(case: &Case, fault: Fault, reason: Reason, words: &str) -> Result<()> {
    case.breaks(fault);
    case.apply(&case.whole()).await?;
    case.says(Server("octopus"), reason, words).await?;
    case.says(Key("ci"), Reason::WaitingForAccount, reason.as_str())
        .await?;
    case.unasked()?;
    case.mended();
    case.healed(1).await?;
    let asked = case.twin.sent(Effect::Mint);
    ensure!(asked == 1, "{asked} keys were asked for");
    Ok(())
}

/// How far apart what the server was asked was asked.
fn waits(case: &Case) -> Vec<SignedDuration> {
    let journal = case.twin.journal();
    let pairs = journal.windows(2);
    pairs
        .map(|pair| pair[1].at.duration_since(pair[0].at))
        .collect()
}

async fn down(case: Arc<Case>) -> Result<()> {
    let words = "Check that the server is up";
    from_the_start(&case, Fault::Outage, Reason::ServerUnreachable, words).await
}

/// A living key stays Ready, a new one waits.
async fn down_when_a_key_is_due(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.breaks(Fault::Outage);
    case.apply(&[case.key_named("second", "")]).await?;
    case.says_either(
        Key("second"),
        &[
            Reason::ServerUnreachable,
            Reason::WaitingForAccount,
            Reason::WaitingForServer,
        ],
        "Check that the server is up",
    )
    .await?;
    case.says(
        Server("octopus"),
        Reason::ServerUnreachable,
        "Check that the server is up",
    )
    .await?;
    case.ready(Key("ci")).await?;
    case.mended();
    case.works_at("second").await?;
    case.healed_of(2)?;
    Ok(())
}

async fn slow(case: Arc<Case>) -> Result<()> {
    case.breaks(Fault::Slow { millis: 1500 });
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.mended();
    Ok(())
}

/// Slower than the operator's patience.
async fn too_slow(case: Arc<Case>) -> Result<()> {
    let fault = Fault::Slow { millis: 120_000 };
    from_the_start(&case, fault, Reason::ServerUnreachable, "gave no answer").await
}

async fn html(case: Arc<Case>) -> Result<()> {
    let words = "often a proxy, a login page or another service answers there";
    from_the_start(&case, Fault::Html, Reason::ProtocolError, words).await
}

async fn half_a_json(case: Arc<Case>) -> Result<()> {
    from_the_start(
        &case,
        Fault::HalfJson,
        Reason::ProtocolError,
        "JSON that breaks off",
    )
    .await
}

async fn a_flood(case: Arc<Case>) -> Result<()> {
    let fault = Fault::Flood { mebibytes: 100 };
    from_the_start(
        &case,
        fault,
        Reason::ProtocolError,
        "the answer is longer than 4194304 bytes",
    )
    .await
}

async fn errors(case: Arc<Case>) -> Result<()> {
    let fault = Fault::Refused { status: 500 };
    from_the_start(&case, fault, Reason::ServerUnreachable, "500").await
}

async fn throttled(case: Arc<Case>) -> Result<()> {
    let fault = Fault::Throttled {
        retry_after: Some(20),
    };
    case.twin.fault(Rule::new(fault).next(1));
    case.apply(&case.whole()).await?;
    case.says(Server("octopus"), Reason::Throttled, "asks us to wait")
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "Throttled")
        .await?;
    case.unasked()?;
    case.healed(1).await?;
    let waits = waits(&case);
    ensure!(waits[0] >= SignedDuration::from_secs(20), "{waits:?}");
    Ok(())
}

async fn throttled_without_a_word(case: Arc<Case>) -> Result<()> {
    case.breaks(Fault::Throttled { retry_after: None });
    case.apply(&case.whole()).await?;
    case.says(Server("octopus"), Reason::Throttled, "asks us to wait")
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "Throttled")
        .await?;
    let thrice = |case: &Case| (case.twin.journal().len() >= 3).then(|| waits(case));
    let waits = case.shown("three requests", thrice).await?;
    let patient = |wait: &SignedDuration| *wait >= SignedDuration::from_secs(4);
    ensure!(waits.iter().all(patient), "{waits:?}");
    case.unasked()?;
    case.mended();
    case.healed(1).await
}

async fn throttled_at_the_mint(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    case.apply(&[credential, server, account]).await?;
    case.ready(Account("ci")).await?;
    let throttled = Fault::Throttled {
        retry_after: Some(2),
    };
    case.twin
        .fault(Rule::new(throttled).on("POST", KEYS).next(1));
    case.apply(&[key]).await?;
    case.says(Key("ci"), Reason::Throttled, "asks us to wait")
        .await?;
    case.healed(1).await?;
    ensure!(case.twin.sent(Effect::Mint) == 2);
    Ok(())
}

/// The credential goes nowhere else.
async fn redirected(case: Arc<Case>) -> Result<()> {
    let elsewhere = Door::live(Octopus::new(&Config::default()));
    let listening = serve(&elsewhere, 0, None)?;
    let location = format!("{}/api", listening.url());
    case.breaks(Fault::Redirect { location });
    case.apply(&case.whole()).await?;
    let words = format!("redirects to {}", listening.url());
    case.says(Server("octopus"), Reason::RedirectRefused, &words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "RedirectRefused")
        .await?;
    case.unasked()?;
    case.mended();
    case.healed(1).await?;
    ensure!(elsewhere.journal().is_empty(), "{:?}", elsewhere.journal());
    Ok(())
}

/// An account whose creation got no answer is ours all the same.
async fn cut_before_the_account(case: Arc<Case>) -> Result<()> {
    let rule = Rule::new(Fault::CutAfter).on("POST", "/api/users").next(1);
    case.twin.fault(rule);
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let made = case.twin.done(Effect::MakeAccount);
    ensure!(made == 1, "{made} accounts were made");
    case.end().await?;
    let name = format!("{}.ci", case.namespace);
    ensure!(
        case.twin.view().account(&name).is_none(),
        "the account is left"
    );
    Ok(())
}

/// A mint that goes wrong once. What may have been made is not asked for again before it is known;
/// then it is left to the sweep.
async fn at_the_mint(case: &Case, fault: Fault, said: (Reason, &str), made: usize) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    case.apply(&[credential, server, account]).await?;
    case.ready(Account("ci")).await?;
    case.twin.fault(Rule::new(fault).on("POST", KEYS).next(1));
    case.apply(&[key]).await?;
    case.says(Key("ci"), said.0, said.1).await?;
    case.ready(Key("ci")).await?;
    let published = case
        .works(&case.value("ci").await?)
        .context("it does not work")?;
    let asked = case.twin.sent(Effect::Mint);
    ensure!(asked == 2, "{asked} keys were asked for");
    ensure!(case.minted() == made && case.living().len() == made);
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    ensure!(case.living().is_empty(), "{published:?}");
    Ok(())
}

async fn half_an_answer_to_a_mint(case: Arc<Case>) -> Result<()> {
    let said = (Reason::ProtocolError, "JSON that breaks off");
    at_the_mint(&case, Fault::HalfJson, said, 2).await
}

async fn a_flood_for_a_key(case: Arc<Case>) -> Result<()> {
    let said = (Reason::ProtocolError, "the answer is longer than");
    at_the_mint(&case, Fault::Flood { mebibytes: 100 }, said, 2).await
}

async fn a_key_that_comes_too_late(case: Arc<Case>) -> Result<()> {
    let fault = Fault::Slow { millis: 120_000 };
    let said = (Reason::ServerUnreachable, "gave no answer");
    at_the_mint(&case, fault, said, 2).await
}

async fn html_for_a_key(case: Arc<Case>) -> Result<()> {
    let said = (Reason::ProtocolError, "not JSON");
    at_the_mint(&case, Fault::Html, said, 1).await
}

async fn an_error_for_a_key(case: Arc<Case>) -> Result<()> {
    let fault = Fault::Refused { status: 503 };
    let said = (Reason::ServerUnreachable, "503");
    at_the_mint(&case, fault, said, 1).await
}

/// Neither the credential nor the order goes anywhere else.
async fn a_redirect_for_a_key(case: Arc<Case>) -> Result<()> {
    let elsewhere = Door::live(Octopus::new(&Config::default()));
    let listening = serve(&elsewhere, 0, None)?;
    let location = format!("{}/api", listening.url());
    let words = format!("redirects to {}", listening.url());
    let said = (Reason::RedirectRefused, words.as_str());
    at_the_mint(&case, Fault::Redirect { location }, said, 1).await?;
    ensure!(elsewhere.journal().is_empty(), "{:?}", elsewhere.journal());
    Ok(())
}
