//! What a manifest may ask for beyond the plain: lifetimes, rotations, ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use jiff::{SignedDuration, Timestamp};
use testbed::twins::{Effect, Fault, Rule};

use super::case::{Account, Case, Key, Sealed, Server, condition};
use super::{Row, rows};

/// Those that wait for the end of the shortest life that a key may have.
pub(super) fn long() -> Vec<Row> {
    rows![one_key_and_no_other]
}

pub(super) fn rows() -> Vec<Row> {
    rows![
        lifetime_by_default,
        renewed_before_the_end,
        account_disabled_in_the_end,
        key_that_does_not_sign_in,
    ]
}

/// Servers round, clocks differ.
const ABOUT: SignedDuration = SignedDuration::from_mins(1);

fn is_about(found: SignedDuration, wanted: SignedDuration) -> bool {
    (found - wanted).abs() < ABOUT
}

/// Up to a tenth sooner, so that a fleet is spread.
fn is_due(found: SignedDuration, wanted: SignedDuration) -> bool {
    found > wanted - ABOUT && found < wanted + wanted / 10 + ABOUT
}

/// How long the only key lives on the server.
fn life(case: &Case) -> Result<SignedDuration> {
    let living = case.living();
    let key = living.first().context("no key lives")?;
    let end = key.expires.context("it never ends")?;
    Ok(end.duration_since(key.created))
}

/// A key that asks for nothing lives as long as the connection's key policy says.
async fn lifetime_by_default(case: Arc<Case>) -> Result<()> {
    let [credential, _, account, key] = case.whole();
    let policy = "resync: 10s, keyPolicy: {defaultLifetime: 2d, maxLifetime: 5d}";
    case.apply(&[credential, case.server(policy), account, key])
        .await?;
    case.healed(1).await?;
    let life = life(&case)?;
    ensure!(is_about(life, SignedDuration::from_hours(48)), "{life:#}");
    Ok(())
}

/// How long before its end a key is due.
async fn due_before(case: &Case, key: &str) -> Result<SignedDuration> {
    case.ready(Key(key)).await?;
    let status = case.get(Key(key)).await?.data["status"].clone();
    let date = |path: &str| -> Result<Timestamp> {
        let text = status.pointer(path).and_then(|date| date.as_str());
        Ok(text.with_context(|| format!("no {path}"))?.parse()?)
    };
    Ok(date("/current/expiresAt")?.duration_since(date("/rotateAt")?))
}

/// A period, a part of the lifetime, and a third of it when nothing is said.
async fn renewed_before_the_end(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    let wishes = [
        (
            "period",
            "lifetime: 10d, rotation: {renewBefore: 1d12h}",
            36,
        ),
        ("percent", "lifetime: 10d, rotation: {renewBefore: 25%}", 60),
        ("nothing", "lifetime: 9d", 72),
    ];
    case.apply(&[credential, server, account]).await?;
    for (name, wish, _) in wishes {
        case.apply(&[case.key_named(name, wish)]).await?;
    }
    for (name, _, hours) in wishes {
        let before = due_before(&case, name).await?;
        let wanted = SignedDuration::from_hours(hours);
        ensure!(is_due(before, wanted), "{name}: {before:#}");
    }
    // Another wish is heeded without another key.
    case.apply(&[case.key_named("period", "lifetime: 10d, rotation: {renewBefore: 2d}")])
        .await?;
    case.looked_at(Key("period")).await?;
    let before = due_before(&case, "period").await?;
    ensure!(is_due(before, SignedDuration::from_hours(48)), "{before:#}");
    case.healed_of(3)
}

async fn account_disabled_in_the_end(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let account = case.account("deletionPolicy: Disable");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    case.end().await?;
    let view = case.twin.view();
    let left = view
        .account(&format!("{}.ci", case.namespace))
        .context("the account is gone")?;
    ensure!(!left.is_active, "{left:?}");
    ensure!(case.twin.sent(Effect::EndAccount) == 0);
    Ok(())
}

/// With rotation.mode Never there is one key: at its end the Secret goes, and after a while the
/// ApiKey itself.
async fn one_key_and_no_other(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    let key = case.key("lifetime: 1m, rotation: {mode: Never}, ttlAfterFinished: 10s");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    ensure!(is_about(life(&case)?, SignedDuration::from_mins(1)));
    case.gone(Sealed("ci")).await?;
    // No key is revoked in ordinary life within three minutes of its birth, not even a dead one.
    let patience = Duration::from_secs(180);
    case.until_within(patience, Key("ci"), "is Expired", |found| {
        let ready = condition(found?, "Ready")?;
        let fits = ready.status == "False" && ready.reason == Reason::Expired.as_str();
        fits.then_some(())
    })
    .await?;
    case.says(Key("ci"), Reason::Expired, "has reached its end")
        .await?;
    case.gone(Key("ci")).await?;
    ensure!(case.living().is_empty() && case.minted() == 1);
    Ok(())
}

/// A key that the server made and does not take is revoked; the next try is another key.
async fn key_that_does_not_sign_in(case: Arc<Case>) -> Result<()> {
    let [credential, _, account, key] = case.whole();
    case.apply(&[credential, case.server("resync: 1h"), account])
        .await?;
    case.ready(Account("ci")).await?;
    case.ready(Server("octopus")).await?;
    let refused = Rule::new(Fault::Refused { status: 401 });
    case.twin.fault(refused.on("GET", "/api/users/me"));
    case.apply(&[key]).await?;
    let words = "did not sign in as the declared account; it was revoked";
    case.says(Key("ci"), Reason::ProofFailed, words).await?;
    case.shown("that the key is revoked", |case| {
        (case.twin.done(Effect::Revoke) >= 1 && case.living().is_empty()).then_some(())
    })
    .await?;
    ensure!(case.entries("ci").await?.is_none(), "it was published");
    case.mended();
    case.ready(Key("ci")).await?;
    case.works(&case.value("ci").await?)
        .context("the Secret's key does not work")?;
    let (minted, living) = (case.minted(), case.living().len());
    ensure!(
        minted >= 2 && living == 1,
        "{minted} keys were made, {living} live"
    );
    Ok(())
}
