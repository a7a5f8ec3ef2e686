//! A sign-in by user name and password: one session for all that is asked, had anew once it is refused,
//! and ended when it is not needed any more.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use apikey_operator::plan::port::Fault;
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::{Credential, Server};
use http::Method;
use serde_json::json;
use testbed::twins::octopus::{Change, Octopus};
use testbed::twins::{Effect, Fault as Wrong, Rule};

use super::super::{Stage, every_call, label, minted, order, suite};
use crate::ladder::Rung;

/// A server to which the administrator signs in by password: no service account has one.
pub(in super::super) fn by_password() -> anyhow::Result<Stage<Octopus>> {
    let mut stage = super::stage()?;
    let (username, password) = stage.door.look(|octopus, _| {
        let start = octopus.start();
        (start.admin.username.clone(), start.admin_password())
    });
    let basic = |password: &str| Credential::Basic {
        username: username.clone(),
        password: KeyMaterial::new(password),
    };
    stage.site.credential = basic(password);
    stage.site.nobodys = basic(stage.site.stray.expose());
    Ok(stage)
}

/// What is peculiar to it.
pub(super) fn own(rung: Rung) -> Rung {
    suite!(rung, "octopus_by_password", by_password:
        one_session_serves_all_that_is_asked,
        a_session_that_was_revoked_is_had_anew_once,
        a_wrong_password_is_tried_once,
        a_disabled_person_opens_nothing,
        a_new_key_signs_in_by_itself,
        whoever_leaves_signs_out,
        whoever_leaves_is_not_held_up,
    )
}

/// How many sessions of the administrator are open.
fn open(stage: &Stage<Octopus>) -> usize {
    let view = stage.door.view();
    view.account("admin").map_or(0, |admin| admin.sessions)
}

/// Somebody ends all sessions of the administrator.
async fn revoke_sessions(stage: &Stage<Octopus>) -> anyhow::Result<()> {
    let view = stage.door.view();
    let id = &view.account("admin").context("the administrator")?.id;
    let path = format!("/api/users/{id}/revoke-sessions");
    super::admin(stage, Method::PUT, &path, json!({})).await?;
    ensure!(open(stage) == 0);
    Ok(())
}

async fn one_session_serves_all_that_is_asked(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (probe, minted, witness) = tokio::join!(
        client.probe(),
        minted(&*client, "team-a.ci"),
        client.witness()
    );
    let (probe, (account, minted)) = (probe?, minted?);
    assert_eq!(probe.own.username, "admin");
    assert_eq!(
        probe.credential_expires_at, None,
        "a session has no key's end"
    );
    assert_eq!(witness?.identity, probe.identity);
    client.keys(&account.id).await?;
    client.revoke(&account.id, &minted.key.id).await?;
    assert_eq!((stage.sent(Effect::SignIn), open(&stage)), (1, 1));
    Ok(())
}

async fn a_session_that_was_revoked_is_had_anew_once(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, _) = minted(&*client, "team-a.ci").await?;
    revoke_sessions(&stage).await?;
    let asked = [order(&account.id), order(&account.id), order(&account.id)];
    let [a, b, c] = asked.each_ref().map(|order| client.mint(order));
    let (a, b, c) = tokio::join!(a, b, c);
    for minted in [a?, b?, c?] {
        client.prove(&account.id, &minted.value).await?;
    }
    assert_eq!(stage.done(Effect::Mint), 4, "a refused mint makes no key");
    assert_eq!((stage.sent(Effect::SignIn), open(&stage)), (2, 1));
    Ok(())
}

async fn a_wrong_password_is_tried_once(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    let before = stage.sent(Effect::SignIn);
    let stranger = stage.site.client_with(&stage.site.nobodys)?;
    for _ in 0..20 {
        for (call, outcome) in every_call(&stage.site, &*stranger, &account.id, &minted).await {
            ensure!(
                call == "prove" || outcome == Err(Fault::Unauthorized),
                "{call}"
            );
        }
    }
    assert_eq!(stage.sent(Effect::SignIn), before + 1);
    // Who guesses often is shut out, and we with him.
    let probe = stage.client()?.probe().await;
    assert_eq!(label(&probe), "ok", "{probe:?}");
    Ok(())
}

async fn a_disabled_person_opens_nothing(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, _) = minted(&*client, "team-a.ci").await?;
    let user = "admin".to_owned();
    stage.door.change(Change::Disable { user: user.clone() })?;
    assert_eq!(label(&client.keys(&account.id).await), "unauthorized");
    assert_eq!(label(&stage.client()?.probe().await), "unauthorized");
    stage.door.change(Change::Enable { user })?;
    assert_eq!(label(&stage.client()?.probe().await), "ok");
    Ok(())
}

async fn a_new_key_signs_in_by_itself(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    stage.door.forget();
    assert_eq!(client.prove(&account.id, &minted.value).await?, account.id);
    let journal = stage.door.journal();
    let [proof] = &journal[..] else {
        anyhow::bail!("{journal:?}")
    };
    assert_eq!(proof.key.as_deref(), Some(minted.key.id.as_str()));
    // The session would have opened the door.
    stage.door.change(Change::RevokeKey {
        key: minted.key.id.to_string(),
    })?;
    let proof = client.prove(&account.id, &minted.value).await;
    assert_eq!(proof, Err(Fault::Unauthorized));
    assert_eq!(stage.sent(Effect::SignIn), 0, "nor is it had anew for that");
    Ok(())
}

/// A client with an open session.
async fn signed_in(stage: &Stage<Octopus>) -> anyhow::Result<Arc<dyn Server>> {
    let client = stage.client()?;
    client.probe().await?;
    ensure!(open(stage) == 1);
    Ok(client)
}

async fn whoever_leaves_signs_out(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = signed_in(&stage).await?;
    client.leave().await;
    ensure!(open(&stage) == 0, "the session is still open");
    let before = stage.door.journal().len();
    client.leave().await;
    stage.client()?.leave().await;
    assert_eq!(
        stage.door.journal().len(),
        before,
        "there was nothing to end"
    );
    client.probe().await?;
    assert_eq!((stage.sent(Effect::SignIn), open(&stage)), (2, 1));
    Ok(())
}

async fn whoever_leaves_is_not_held_up(stage: Stage<Octopus>) -> anyhow::Result<()> {
    for wrong in [
        Wrong::Slow { millis: 60_000 },
        Wrong::CutBefore,
        Wrong::Refused { status: 500 },
        Wrong::Outage,
    ] {
        stage.door.clear_faults();
        let client = stage.client()?;
        client.probe().await?;
        stage
            .door
            .fault(Rule::new(wrong.clone()).on("POST", "/api/users/logout"));
        let left = tokio::time::timeout(std::time::Duration::from_secs(10), client.leave());
        left.await.with_context(|| format!("{wrong:?}"))?;
    }
    Ok(())
}
