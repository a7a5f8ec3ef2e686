//! Connections: their credential, their certificates, their address.

use std::sync::Arc;

use anyhow::{Result, ensure};
use apikey_operator::api::conditions::Reason;
use serde_json::json;
use testbed::twins::Effect;
use testbed::twins::octopus::Change;
use testbed::twins::tls::Tls;

use super::case::{Account, Case, Key, Sealed, Server};
use super::{Row, rows};

pub(super) fn rows() -> Vec<Row> {
    rows![
        credential_wrong,
        credential_revoked,
        credential_without_rights,
        credential_loses_its_rights,
        credential_missing,
        credential_entry_missing,
        credential_not_offered,
        offer_withdrawn,
        credential_of_somebody_else,
        credential_is_a_password,
        another_server_answers,
        certificate_not_trusted,
        authorities_in_a_config_map,
        server_not_allowed,
        clock_of_the_server,
    ]
}

async fn credential_wrong(case: Arc<Case>) -> Result<()> {
    let [right, server, account, key] = case.whole();
    let wrong = case.offered("API-WRONG");
    let words = "Put a valid credential into the Secret that spec.auth names";
    case.apply(&[wrong.clone(), server, account, key]).await?;
    case.says(Server("octopus"), Reason::CredentialRejected, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "CredentialRejected")
        .await?;
    case.unasked()?;
    case.apply(std::slice::from_ref(&right)).await?;
    case.healed(1).await?;
    case.apply(&[wrong]).await?;
    case.says(Server("octopus"), Reason::CredentialRejected, words)
        .await?;
    // What lives goes on living.
    case.ready(Key("ci")).await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(
        Key("second"),
        Reason::WaitingForAccount,
        "CredentialRejected",
    )
    .await?;
    ensure!(case.minted() == 1);
    case.apply(&[right]).await?;
    case.works_at("second").await?;
    case.works_at("ci").await?;
    case.healed_of(2)
}

async fn credential_revoked(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    case.apply(&[credential, server, account]).await?;
    case.ready(Account("ci")).await?;
    case.change(Change::RevokeKey {
        key: case.key_of(&case.start.operator.key)?,
    })?;
    case.says(
        Server("octopus"),
        Reason::CredentialRejected,
        "does not take the credential",
    )
    .await?;
    case.apply(&[case.key("")]).await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "CredentialRejected")
        .await?;
    case.unasked()?;
    // Another key of the same account.
    let another = case.key_of(&case.start.bystander.key)?;
    case.change(Change::GiveKey {
        key: another,
        user: case.start.operator.user.clone(),
    })?;
    case.apply(&[case.offered(&case.start.bystander.key)])
        .await?;
    case.healed(1).await
}

async fn credential_without_rights(case: Arc<Case>) -> Result<()> {
    let [_, server, account, key] = case.whole();
    case.apply(&[
        case.offered(&case.start.bystander.key),
        server,
        account,
        key,
    ])
    .await?;
    case.says(
        Account("ci"),
        Reason::Forbidden,
        "Give that account the permission",
    )
    .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "Forbidden")
        .await?;
    case.unasked()?;
    let team = "API key operators".to_owned();
    case.change(Change::Join {
        user: case.start.bystander.user.clone(),
        team,
    })?;
    case.healed(1).await
}

/// Between the account and its key.
async fn credential_loses_its_rights(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    case.apply(&[credential, server, account]).await?;
    case.ready(Account("ci")).await?;
    let (user, team) = (
        case.start.operator.user.clone(),
        "API key operators".to_owned(),
    );
    case.change(Change::Leave {
        user: user.clone(),
        team: team.clone(),
    })?;
    case.apply(&[key]).await?;
    case.says_either(
        Key("ci"),
        &[Reason::Forbidden, Reason::WaitingForAccount],
        "Forbidden",
    )
    .await?;
    ensure!(case.minted() == 0);
    case.change(Change::Join { user, team })?;
    case.healed(1).await
}

async fn credential_missing(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    case.apply(&[server, account, key]).await?;
    let words = "There is no Secret octopus with the credential";
    case.says(Server("octopus"), Reason::CredentialMissing, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, words)
        .await?;
    case.unheard()?;
    case.apply(&[credential]).await?;
    case.healed(1).await
}

async fn credential_entry_missing(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    let other = credential.replace("api-key:", "apikey:");
    case.apply(&[other, server, account, key]).await?;
    let words = "Secret octopus has no entry api-key with a credential";
    case.says(Server("octopus"), Reason::CredentialMissing, words)
        .await?;
    case.unheard()?;
    case.apply(&[credential]).await?;
    case.healed(1).await
}

async fn credential_not_offered(case: Arc<Case>) -> Result<()> {
    let [_, server, account, key] = case.whole();
    let credential = case.secret("octopus", "{}", &case.start.operator.key);
    case.apply(&[credential, server, account, key]).await?;
    let words = "Put the label `apikeys.dev/credential: \"true\"` on the Secret";
    case.says(Server("octopus"), Reason::CredentialNotOffered, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "is not offered")
        .await?;
    case.unheard()?;
    let offer = json!({"metadata": {"labels": {"apikeys.dev/credential": "true"}}});
    case.patch(Sealed("octopus"), offer).await?;
    case.healed(1).await
}

async fn offer_withdrawn(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let label =
        |value: Option<&str>| json!({"metadata": {"labels": {"apikeys.dev/credential": value}}});
    case.patch(Sealed("octopus"), label(None)).await?;
    case.says(
        Server("octopus"),
        Reason::CredentialNotOffered,
        "is not offered",
    )
    .await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(Key("second"), Reason::WaitingForAccount, "is not offered")
        .await?;
    case.patch(Sealed("octopus"), label(Some("true"))).await?;
    case.ready(Key("second")).await?;
    ensure!(case.minted() == 2 && case.living().len() == 2);
    Ok(())
}

async fn credential_of_somebody_else(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let ours = case.key_of(&case.start.operator.key)?;
    let give = |user: &str| Change::GiveKey {
        key: ours.clone(),
        user: user.to_owned(),
    };
    case.change(give(&case.start.admin.user))?;
    let words = format!(
        "The credential is now account {} (admin)",
        case.start.admin.user
    );
    case.says(Server("octopus"), Reason::IdentityChanged, &words)
        .await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(Key("second"), Reason::WaitingForAccount, "IdentityChanged")
        .await?;
    // Nothing is taken back with a credential that is not ours.
    case.delete(Key("ci")).await?;
    case.says(Key("ci"), Reason::Revoking, "IdentityChanged")
        .await?;
    ensure!(case.minted() == 1 && case.living().len() == 1);
    case.change(give(&case.start.operator.user))?;
    case.gone(Key("ci")).await?;
    case.works_at("second").await?;
    ensure!(case.minted() == 2 && case.living().len() == 1);
    Ok(())
}

/// A wrong password is tried once; with the right one, one session serves the connection and ends with it.
async fn credential_is_a_password(case: Arc<Case>) -> Result<()> {
    let server = case.server_by_password();
    let right = case.offered_password(case.start.admin_password());
    let wrong = case.offered_password("another password");
    let words = "Put a valid credential into the Secret that spec.auth names";
    case.apply(&[wrong, server, case.account(""), case.key("")])
        .await?;
    case.says(Server("octopus"), Reason::CredentialRejected, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "CredentialRejected")
        .await?;
    case.looked_at(Account("ci")).await?;
    case.unasked()?;
    let tried = case.twin.sent(Effect::SignIn);
    ensure!(tried == 1, "the password was tried {tried} times");
    case.apply(&[right]).await?;
    case.healed(1).await?;
    let open = |case: &Case| {
        case.twin
            .view()
            .account("admin")
            .map(|admin| admin.sessions)
    };
    ensure!(
        open(&case) == Some(1),
        "{:?} sessions are open",
        open(&case)
    );
    for object in [Key("ci"), Account("ci"), Server("octopus")] {
        case.delete(object).await?;
        case.gone(object).await?;
    }
    case.shown("that the session is over", |case| {
        (open(case) == Some(0)).then_some(())
    })
    .await
}

async fn another_server_answers(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let before = case.twin.backup();
    case.change(Change::Reinstall)?;
    case.says(
        Server("octopus"),
        Reason::IdentityChanged,
        "Another server answers than at first",
    )
    .await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(Key("second"), Reason::WaitingForAccount, "IdentityChanged")
        .await?;
    ensure!(case.minted() == 1);
    case.twin.restore(before);
    case.ready(Key("second")).await?;
    ensure!(case.minted() == 2 && case.living().len() == 2);
    Ok(())
}

async fn certificate_not_trusted(case: Arc<Case>) -> Result<()> {
    let (tls, other) = (Tls::new()?, Tls::new()?);
    let listening = case.tls(&tls)?;
    let [credential, _, account, key] = case.whole();
    let server = |ca: Option<&Tls>| {
        let bundle = ca
            .map(|tls| serde_json::to_string(tls.ca_pem()))
            .transpose()?;
        let tls = bundle.map(|pem| format!("tls: {{caBundle: {pem}}}"));
        anyhow::Ok(case.server_at(&listening.url(), &tls.unwrap_or_default()))
    };
    case.apply(&[credential, server(None)?, account, key])
        .await?;
    let words = "Give the right authority in spec.tls.caBundle";
    case.says(Server("octopus"), Reason::CertificateNotTrusted, words)
        .await?;
    case.apply(&[server(Some(&other))?]).await?;
    case.says(Server("octopus"), Reason::CertificateNotTrusted, words)
        .await?;
    case.says(
        Key("ci"),
        Reason::WaitingForAccount,
        "CertificateNotTrusted",
    )
    .await?;
    case.unheard()?;
    case.apply(&[server(Some(&tls))?]).await?;
    case.healed(1).await?;
    case.end().await
}

async fn authorities_in_a_config_map(case: Arc<Case>) -> Result<()> {
    let tls = Tls::new()?;
    let listening = case.tls(&tls)?;
    let [credential, _, account, key] = case.whole();
    let more = "resync: 10s, tls: {caRef: {kind: ConfigMap, name: authorities, key: ca.crt}}";
    let server = case.server_at(&listening.url(), more);
    case.apply(&[credential, server, account, key]).await?;
    let words = "There is no entry ca.crt in ConfigMap authorities";
    case.says(Server("octopus"), Reason::CertificateNotTrusted, words)
        .await?;
    case.unheard()?;
    let pem = serde_json::to_string(tls.ca_pem())?;
    case.apply(&[format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: authorities, namespace: {}}}, \
         data: {{ca.crt: {pem}}}}}",
        case.namespace
    )])
    .await?;
    case.healed(1).await?;
    case.end().await
}

/// The operator was told of 127.0.0.1 alone.
async fn server_not_allowed(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    let elsewhere = case.server_at(&case.url().replace("127.0.0.1", "localhost"), "");
    case.apply(&[&credential, &elsewhere, &account, &key])
        .await?;
    let words = "localhost is not among the operator's allowed servers";
    case.says(Server("octopus"), Reason::ServerNotAllowed, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, words)
        .await?;
    case.unheard()?;
    // An address is for life.
    case.end().await?;
    case.apply(&[server, account, key]).await?;
    case.healed(1).await
}

async fn clock_of_the_server(case: Arc<Case>) -> Result<()> {
    case.twin.move_clock(jiff::SignedDuration::from_mins(5));
    case.apply(&case.whole()).await?;
    case.warns(
        Server("octopus"),
        Reason::ClockSkew,
        "more than a minute from ours",
    )
    .await?;
    case.healed(1).await?;
    case.twin.move_clock(jiff::SignedDuration::from_mins(-5));
    case.ready(Server("octopus")).await?;
    case.healed(1).await
}
