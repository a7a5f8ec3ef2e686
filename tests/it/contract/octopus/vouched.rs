//! A sign-in without a credential: a token of somebody else's is exchanged for one of the server, and had
//! anew once that is refused.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use apikey_operator::plan::port::Fault;
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::{Credential, Voucher};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use testbed::twins::Effect;
use testbed::twins::octopus::{Change, Config, Octopus, Version};

use super::super::{Stage, label, minted, suite};
use crate::ladder::Rung;

const ISSUER: &str = "https://issuer.test";

/// An issuer's tokens for one subject.
#[derive(Debug)]
struct Issuer {
    audience: String,
    subject: &'static str,
}

#[async_trait]
impl Voucher for Issuer {
    fn audience(&self) -> &str {
        &self.audience
    }

    async fn token(&self) -> Result<KeyMaterial, Fault> {
        let claims = json!({ "iss": ISSUER, "sub": self.subject, "aud": [self.audience],
            "exp": 4_000_000_000_i64 });
        let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
        Ok(KeyMaterial::new(format!("e30.{claims}.c2ln")))
    }
}

/// Who vouches for the operator's account of a stage.
fn vouched(stage: &Stage<Octopus>, subject: &'static str) -> anyhow::Result<Credential> {
    let name = stage
        .door
        .look(|octopus, _| octopus.start().operator.username.clone());
    let view = stage.door.view();
    let guid = view.account(&name).and_then(|own| own.external_id.clone());
    let audience = guid.context("an external id")?;
    Ok(Credential::Vouched(Arc::new(Issuer { audience, subject })))
}

/// A stage whose operator has an OIDC identity, and nothing else to show.
fn believing(mut stage: Stage<Octopus>) -> anyhow::Result<Stage<Octopus>> {
    let (id, admin) = stage.door.look(|octopus, _| {
        let start = octopus.start();
        (start.operator.user.clone(), start.admin.key.clone())
    });
    stage.door.change(Change::Trust {
        issuer: ISSUER.to_owned(),
    })?;
    let identity = json!({ "Name": "operator", "Issuer": ISSUER, "Subject": "operator" });
    let path = format!(
        "{}/api/serviceaccounts/{id}/oidcidentities/create/v1",
        stage.prefix
    );
    let request = http::Request::post(path)
        .header("X-Octopus-ApiKey", admin)
        .body(identity.to_string().into())?;
    let made = futures::executor::block_on(stage.door.send(request))?;
    ensure!(made.status() == 201, "{made:?}");
    stage.door.forget();
    stage.site.credential = vouched(&stage, "operator")?;
    Ok(stage)
}

pub(in super::super) fn stage() -> anyhow::Result<Stage<Octopus>> {
    believing(super::stage()?)
}

fn under_a_directory() -> anyhow::Result<Stage<Octopus>> {
    believing(super::under_a_directory()?)
}

/// What is peculiar to it.
pub(super) fn own(rung: Rung) -> Rung {
    let rung = suite!(rung, "octopus_vouched_for", stage:
        one_token_serves_all_that_is_asked,
        whoever_is_not_believed_is_told_why,
        an_account_that_is_disabled_opens_nothing,
    );
    let rung = suite!(rung, "octopus_vouched_for_in_a_directory", under_a_directory:
        one_token_serves_all_that_is_asked,
    );
    suite!(rung, "octopus", super::stage: an_old_server_exchanges_nothing)
}

async fn one_token_serves_all_that_is_asked(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (probe, minted, witness) = tokio::join!(
        client.probe(),
        minted(&*client, "team-a.ci"),
        client.witness()
    );
    let (probe, (account, minted)) = (probe?, minted?);
    let own = stage
        .door
        .look(|octopus, _| octopus.start().operator.user.clone());
    assert_eq!(probe.own.id.as_str(), own);
    assert_eq!(
        probe.credential_expires_at, None,
        "a token has no key's end"
    );
    assert_eq!(witness?.identity, probe.identity);
    client.keys(&account.id).await?;
    client.revoke(&account.id, &minted.key.id).await?;
    client.leave().await;
    assert_eq!(stage.sent(Effect::SignIn), 1);
    Ok(())
}

async fn whoever_is_not_believed_is_told_why(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let stranger = stage.site.client_with(&vouched(&stage, "somebody")?)?;
    let outcome = stranger.probe().await;
    assert_eq!(label(&outcome), "no_token");
    let told = format!("{outcome:?}");
    for part in ["Could not find matching identity", ISSUER, "somebody"] {
        ensure!(told.contains(part), "{told}");
    }
    Ok(())
}

async fn an_account_that_is_disabled_opens_nothing(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    client.probe().await?;
    let user = stage
        .door
        .look(|octopus, _| octopus.start().operator.user.clone());
    stage.door.change(Change::Disable { user: user.clone() })?;
    assert_eq!(label(&client.probe().await), "no_token");
    stage.door.change(Change::Enable { user })?;
    assert_eq!(label(&client.probe().await), "ok");
    Ok(())
}

async fn an_old_server_exchanges_nothing(_: Stage<Octopus>) -> anyhow::Result<()> {
    let old = Config {
        version: Version::new(2023, 4, 100),
        ..Config::default()
    };
    let stage = super::build(&old, "")?;
    let client = stage.site.client_with(&vouched(&stage, "operator")?)?;
    let outcome = client.probe().await;
    assert_eq!(label(&outcome), "no_token");
    let told = format!("{outcome:?}");
    ensure!(told.contains("since 2023.4"), "{told}");
    Ok(())
}
