//! How keys and accounts end: deletion, revocation, expiry, retention; and that what shall live lives.

use std::sync::Arc;

use anyhow::{Result, ensure};
use apikey_operator::api::conditions::Reason;
use serde_json::json;
use testbed::twins::octopus::Change;
use testbed::twins::{Effect, Fault, Rule};

use super::case::{Account, Case, Home, Key, Sealed, Server};
use super::{Row, rows};

/// Those that rest on the minute within which a mint may land.
pub(super) fn long() -> Vec<Row> {
    rows![late_mint_and_delete, revoked_on_the_server,]
}

pub(super) fn rows() -> Vec<Row> {
    rows![
        whole_namespace,
        whole_namespace_before_anything_worked,
        while_the_server_is_down,
        retained_on_the_way_out,
        account_waits_for_its_keys,
        connection_waits_for_its_accounts,
        credential_replaced,
        revoked_and_back,
        suspended,
        rotated,
        secret_deleted_by_hand,
        another_finalizer_on_the_secret,
    ]
}

/// `kubectl delete ns`, with the connection and its credential in it.
async fn whole_namespace(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.apply(&[
        case.key_named("second", ""),
        case.account_named("other", ""),
    ])
    .await?;
    case.ready(Account("other")).await?;
    case.ready(Key("ci")).await?;
    case.ready(Key("second")).await?;
    case.healed_of(2)?;
    case.kubectl(
        &["delete", "--wait=false", "namespace", &case.namespace],
        "",
    )
    .await?;
    case.gone(Home).await?;
    ensure!(
        case.living().is_empty(),
        "keys are left: {:?}",
        case.living()
    );
    let view = case.twin.view();
    let left: Vec<_> = view
        .accounts
        .iter()
        .filter(|account| account.username.starts_with(&case.namespace))
        .collect();
    ensure!(left.is_empty(), "accounts are left: {left:?}");
    Ok(())
}

/// The same, where nothing could be made: nothing is stuck.
async fn whole_namespace_before_anything_worked(case: Arc<Case>) -> Result<()> {
    case.breaks(Fault::Outage);
    case.apply(&case.whole()).await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "ServerUnreachable")
        .await?;
    case.kubectl(
        &["delete", "--wait=false", "namespace", &case.namespace],
        "",
    )
    .await?;
    case.gone(Home).await?;
    ensure!(case.twin.sent(Effect::MakeAccount) == 0);
    Ok(())
}

async fn while_the_server_is_down(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.breaks(Fault::Outage);
    case.delete(Key("ci")).await?;
    case.delete(Account("ci")).await?;
    case.says(Key("ci"), Reason::Revoking, "Check that the server is up")
        .await?;
    case.says(
        Account("ci"),
        Reason::InUse,
        "ApiKeys still use this account",
    )
    .await?;
    ensure!(case.living().len() == 1, "it is not revoked yet");
    ensure!(
        case.entries("ci").await?.is_none(),
        "the Secret goes at once"
    );
    case.mended();
    case.gone(Key("ci")).await?;
    case.gone(Account("ci")).await?;
    ensure!(case.living().is_empty());
    ensure!(
        case.twin
            .view()
            .account(&format!("{}.ci", case.namespace))
            .is_none()
    );
    Ok(())
}

/// Said on the terminating object, when the server does not come back.
async fn retained_on_the_way_out(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let id = case.living()[0].id.clone();
    case.breaks(Fault::Outage);
    case.delete(Key("ci")).await?;
    case.delete(Account("ci")).await?;
    case.says(
        Key("ci"),
        Reason::Revoking,
        "set spec.deletionPolicy to Retain",
    )
    .await?;
    case.patch(Key("ci"), json!({"spec": {"deletionPolicy": "Retain"}}))
        .await?;
    case.gone(Key("ci")).await?;
    case.told(Key("ci"), "Retained", &id).await?;
    case.says_any(Account("ci"), "set spec.deletionPolicy to Retain")
        .await?;
    case.patch(Account("ci"), json!({"spec": {"deletionPolicy": "Retain"}}))
        .await?;
    case.gone(Account("ci")).await?;
    case.told(Account("ci"), "Retained", "stays on the server")
        .await?;
    case.mended();
    ensure!(case.living().len() == 1 && case.living()[0].id == id);
    case.change(Change::RevokeKey { key: id })
}

async fn account_waits_for_its_keys(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.delete(Account("ci")).await?;
    let words = format!("ApiKeys still use this account: {}/ci", case.namespace);
    case.says(Account("ci"), Reason::InUse, &words).await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(Key("second"), Reason::WaitingForAccount, "being deleted")
        .await?;
    ensure!(case.minted() == 1 && case.living().len() == 1);
    case.delete(Key("second")).await?;
    case.delete(Key("ci")).await?;
    case.gone(Account("ci")).await?;
    ensure!(case.living().is_empty());
    Ok(())
}

async fn connection_waits_for_its_accounts(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.delete(Server("octopus")).await?;
    let words = "1 ServiceAccounts still use this connection";
    case.says(Server("octopus"), Reason::InUse, words).await?;
    case.ready(Key("ci")).await?;
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    case.delete(Account("ci")).await?;
    case.gone(Server("octopus")).await?;
    case.delete(Sealed("octopus")).await?;
    case.gone(Sealed("octopus")).await?;
    ensure!(case.living().is_empty());
    Ok(())
}

async fn credential_replaced(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.delete(Sealed("octopus")).await?;
    case.gone(Sealed("octopus")).await?;
    case.says(
        Server("octopus"),
        Reason::CredentialMissing,
        "There is no Secret octopus",
    )
    .await?;
    case.ready(Key("ci")).await?;
    case.apply(&[case.offered(&case.start.operator.key)])
        .await?;
    case.ready(Server("octopus")).await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.ready(Key("second")).await?;
    case.healed_of(2)
}

async fn revoked_and_back(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let first = case.value("ci").await?;
    case.apply(&[case.key("revoked: true")]).await?;
    case.says(
        Key("ci"),
        Reason::Revoked,
        "Set spec.revoked to false for a new key",
    )
    .await?;
    ensure!(case.living().is_empty() && case.entries("ci").await?.is_none());
    case.apply(&[case.key("")]).await?;
    case.healed(2).await?;
    ensure!(case.works(&first).is_none());
    Ok(())
}

async fn suspended(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    case.apply(&[credential, server, account, case.key("suspend: true")])
        .await?;
    case.says(Key("ci"), Reason::Suspended, "Set spec.suspend to false")
        .await?;
    case.unasked()?;
    case.apply(&[case.key("")]).await?;
    case.healed(1).await?;
    case.apply(&[case.key("suspend: true")]).await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("now"))])
        .await?;
    case.warns(Key("ci"), Reason::Suspended, "spec.suspend is true")
        .await?;
    ensure!(case.minted() == 1);
    // Deletion goes on.
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    ensure!(case.living().is_empty());
    Ok(())
}

/// By hand; the replaced key works on.
async fn rotated(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let first = case.value("ci").await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("once"))])
        .await?;
    case.has_serial(Key("ci"), 2).await?;
    case.ready(Key("ci")).await?;
    let second = case.value("ci").await?;
    ensure!(first != second && case.works(&first).is_some() && case.works(&second).is_some());
    case.healed_of(2)?;
    let key = case.get(Key("ci")).await?;
    ensure!(key.data["status"]["lastHandledRotate"] == "once");
    let retiring = key.data["status"]["retiring"].as_array().map(Vec::len);
    ensure!(retiring == Some(1), "{}", key.data["status"]);
    Ok(())
}

/// What somebody revoked on the server is replaced at the first resync a minute after it was made:
/// the operator allows for so much between two clocks.
async fn revoked_on_the_server(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let id = case.living()[0].id.clone();
    case.change(Change::RevokeKey { key: id })?;
    case.has_serial(Key("ci"), 2).await?;
    case.healed(2).await
}

async fn secret_deleted_by_hand(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let first = case.value("ci").await?;
    case.delete(Sealed("ci")).await?;
    case.until(Sealed("ci"), "is there again", |found| {
        found?.metadata.deletion_timestamp.is_none().then_some(())
    })
    .await?;
    case.ready(Key("ci")).await?;
    let second = case.value("ci").await?;
    // The first may be in use somewhere: it lives through its overlap.
    ensure!(first != second && case.works(&first).is_some() && case.works(&second).is_some());
    case.healed_of(2)
}

/// The key in a Secret that cannot go is revoked only when the Secret is gone.
async fn another_finalizer_on_the_secret(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let held = |finalizers: &[&str]| json!({"metadata": {"finalizers": finalizers}});
    case.patch(Sealed("ci"), held(&["example.org/held"]))
        .await?;
    case.delete(Key("ci")).await?;
    case.says(Key("ci"), Reason::Revoking, "somebody's finalizer holds it")
        .await?;
    ensure!(case.living().len() == 1);
    case.patch(Sealed("ci"), held(&[])).await?;
    case.gone(Key("ci")).await?;
    ensure!(case.living().is_empty());
    Ok(())
}

/// A mint whose connection is cut, and which lands 20 s later, is waited for.
async fn late_mint_and_delete(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    case.apply(&[credential, server, account]).await?;
    case.ready(Account("ci")).await?;
    let late = Rule::new(Fault::Late { seconds: 20 });
    case.twin
        .fault(late.on("POST", "/api/users/*/apikeys").next(1));
    case.apply(&[key]).await?;
    case.shown("the mint", |case| {
        (case.twin.sent(Effect::Mint) == 1).then_some(())
    })
    .await?;
    case.delete(Key("ci")).await?;
    case.delete(Account("ci")).await?;
    case.says(Key("ci"), Reason::Revoking, "may still land on the server")
        .await?;
    case.shown("that it landed", |case| (case.minted() == 1).then_some(()))
        .await?;
    case.gone(Key("ci")).await?;
    case.gone(Account("ci")).await?;
    ensure!(case.living().is_empty() && case.minted() == 1);
    ensure!(
        case.twin
            .view()
            .account(&format!("{}.ci", case.namespace))
            .is_none()
    );
    Ok(())
}
