//! What only Elasticsearch has: realms, privileges, keys that outlive their users, what keys may do; and
//! a real one, which shows all that its twin shows.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use apikey_operator::api::{FreeForm, ServerType};
use apikey_operator::plan::port::{
    AccountId, AccountName, Activity, Change, Extras, Fault, KeyId, Nature, Order, Origin,
};
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::{Credential, Server};
use serde_json::json;
use testbed::elasticsearch as real;
use testbed::twins::elasticsearch::{self, Config, Elasticsearch};
use testbed::twins::tcp::serve;
use testbed::twins::{Door, Effect};

use super::{Dates, Site, Stage, draft, keys, label, minted, order, suite};
use crate::ladder::Rung;

pub(super) fn stage() -> anyhow::Result<Stage<Elasticsearch>> {
    let twin = Elasticsearch::new(&Config::default());
    let operator = twin.start().operator.clone();
    let door = Door::live(twin);
    let listening = serve(&door, 0, None)?;
    Ok(Stage {
        site: site(listening.url(), operator.username, operator.password, 450),
        door,
        listening,
        prefix: "",
    })
}

fn site(url: String, username: String, password: String, many: usize) -> Site {
    let nobody = "nobodys-password";
    Site {
        kind: ServerType::Elasticsearch,
        url,
        credential: Credential::Basic {
            username: username.clone(),
            password: KeyMaterial::new(password),
        },
        nobodys: Credential::Basic {
            username,
            password: KeyMaterial::new(nobody),
        },
        // base64("nobodys-id:nobodys-secret")
        stray: KeyMaterial::new("bm9ib2R5cy1pZDpub2JvZHlzLXNlY3JldA=="),
        absent: (
            AccountId::new("default_native/absent"),
            KeyId::new("absent"),
        ),
        dates: Dates::Untold,
        many,
        turns: Arc::default(),
    }
}

/// What only Elasticsearch has, played to the twin; and, to a real one, all that holds in good weather.
pub(super) fn own(rung: Rung) -> Rung {
    let rung = suite!(rung, "elasticsearch", stage:
        whoever_lacks_a_privilege_is_told_which,
        the_least_privilege_is_enough_for_oneself,
        an_api_key_makes_no_keys,
        another_credential_is_another_witness,
    );
    rung.test("elasticsearch::a_user_is_kept_as_declared", async |_| {
        a_user_is_kept_as_declared(&stage()?.site).await
    })
    .test("elasticsearch::a_key_is_changed_by_its_owner", async |_| {
        a_key_is_changed_by_its_owner(&stage()?.site).await
    })
    .test("elasticsearch::a_real_one_is_like_its_twin", async |_| {
        a_real_one_is_like_its_twin().await
    })
}

/// All that needs no control door, one after the other, each on a server of its own.
async fn a_real_one_is_like_its_twin() -> anyhow::Result<()> {
    let fresh = async || -> anyhow::Result<(real::Elasticsearch, Site)> {
        let server = real::Elasticsearch::start(&real::Options::default()).await?;
        let password = server.password().to_owned();
        let site = site(server.url().to_owned(), "elastic".to_owned(), password, 12);
        Ok((server, site))
    };
    macro_rules! play {
        ($($test:path),* $(,)?) => {$(
            let (server, site) = fresh().await?;
            $test(&site).await.context(stringify!($test))?;
            drop(server);
        )*};
    }
    play!(
        keys::a_new_key_is_listed_and_works,
        keys::a_revoked_key_is_gone_and_nothing_else_is,
        keys::every_key_is_listed,
        keys::an_account_is_found_by_its_name,
        keys::an_account_ends,
        a_user_is_kept_as_declared,
        a_key_is_changed_by_its_owner,
    );
    Ok(())
}

fn form(json: serde_json::Value) -> anyhow::Result<FreeForm> {
    Ok(FreeForm(serde_json::from_value(json)?))
}

async fn a_user_is_kept_as_declared(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let mut wanted = draft("team-a.ci");
    wanted.roles = ["viewer".to_owned()].into();
    wanted.metadata = form(json!({ "team": "a" }))?;
    let made = client.create_account(&wanted).await?;
    ensure!(wanted.is_met_by(&made), "{made:?}");
    assert_eq!(made.origin, Origin::StampedFor("uid-1".to_owned()));
    wanted.activity = Activity::Disabled;
    wanted.roles = ["editor".to_owned()].into();
    wanted.metadata = form(json!({ "cost": 7 }))?;
    let changed = client.update_account(&made.id, &wanted).await?;
    ensure!(wanted.is_met_by(&changed), "{changed:?}");
    assert_eq!(
        changed.metadata.0["team"], "a",
        "what is not declared stays"
    );
    // The server's own users are nobody's.
    let reserved = client.find_account(&AccountName::own("elastic")).await?;
    let reserved = reserved.context("elastic")?;
    assert_eq!(reserved.nature, Nature::Human);
    assert_eq!(reserved.origin, Origin::Unstamped);
    assert_eq!(
        label(&client.delete_account(&reserved.id).await),
        "rejected"
    );
    assert_eq!(
        label(&client.update_account(&reserved.id, &wanted).await),
        "rejected"
    );
    // One of another realm is believed to be there.
    let elsewhere = AccountName {
        username: "jane".to_owned(),
        realm: Some("ldap1".to_owned()),
    };
    let jane = client.find_account(&elsewhere).await?.context("jane")?;
    assert_eq!(jane.id, AccountId::new("ldap1/jane"));
    assert_eq!(label(&client.delete_account(&jane.id).await), "rejected");
    Ok(())
}

async fn a_key_is_changed_by_its_owner(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let mut wanted = draft("team-a.ci");
    // Whoever acts as somebody may do what they may.
    wanted.roles = ["superuser".to_owned()].into();
    let account = client.create_account(&wanted).await?;
    let extras = |team: &str| -> anyhow::Result<Extras> {
        Ok(Extras {
            metadata: form(json!({ "team": team }))?,
            role_descriptors: [("reads".to_owned(), form(json!({ "cluster": ["monitor"] }))?)]
                .into(),
        })
    };
    let asked = Order {
        extras: extras("a")?,
        ..order(&account.id)
    };
    let minted = client.mint(&asked).await?;
    let shown = async || -> anyhow::Result<_> {
        let listed = client.keys(&account.id).await?.keys;
        listed.first().cloned().context("a key")
    };
    assert_eq!(shown().await?.extras, extras("a")?.digest());
    let change = Change {
        text: asked.text.clone(),
        notes: asked.notes.clone(),
        extras: extras("b")?,
        activity: Activity::Enabled,
    };
    client.adjust(&account.id, &minted.key.id, &change).await?;
    let after = shown().await?;
    assert_eq!(after.extras, extras("b")?.digest());
    assert_eq!(
        (&after.text, after.expires_at),
        (&asked.text, minted.key.expires_at)
    );
    client.prove(&account.id, &minted.value).await?;
    Ok(())
}

/// A client that signs in as somebody else.
fn client_as(
    stage: &Stage<Elasticsearch>,
    who: impl FnOnce(&elasticsearch::Start) -> elasticsearch::Credential,
) -> anyhow::Result<Arc<dyn Server>> {
    let who = stage.door.look(|twin, _| who(twin.start()));
    stage.site.client_with(&Credential::Basic {
        username: who.username,
        password: KeyMaterial::new(who.password),
    })
}

async fn whoever_lacks_a_privilege_is_told_which(
    stage: Stage<Elasticsearch>,
) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    assert_eq!(stage.client()?.probe().await?.caution, None);
    let client = client_as(&stage, |start| start.bystander.clone())?;
    let caution = client.probe().await?.caution.context("a warning")?;
    for privilege in [
        "manage_own_api_key",
        "grant_api_key",
        "manage_api_key",
        "manage_security",
    ] {
        ensure!(caution.contains(privilege), "{caution}");
    }
    for (outcome, privilege) in [
        (client.keys(&account.id).await.map(drop), "manage_api_key"),
        (
            client.mint(&order(&account.id)).await.map(drop),
            "grant_api_key",
        ),
        (
            client.revoke(&account.id, &minted.key.id).await,
            "manage_api_key",
        ),
        (
            client.create_account(&draft("another")).await.map(drop),
            "manage_security",
        ),
    ] {
        let Err(Fault::Forbidden(why)) = &outcome else {
            bail!("{privilege}: {outcome:?}")
        };
        ensure!(why.contains(privilege), "{why}");
    }
    Ok(())
}

async fn the_least_privilege_is_enough_for_oneself(
    stage: Stage<Elasticsearch>,
) -> anyhow::Result<()> {
    let client = client_as(&stage, |start| start.holder.clone())?;
    let own = client.probe().await?.own.id;
    assert_eq!(own, AccountId::new("default_native/holder"));
    let minted = client.mint(&order(&own)).await?;
    assert_eq!(client.prove(&own, &minted.value).await?, own);
    let listed = client.keys(&own).await?.keys;
    assert_eq!(listed.len(), 1);
    let change = Change {
        text: listed[0].text.clone(),
        notes: Vec::new(),
        extras: Extras {
            metadata: form(json!({ "team": "a" }))?,
            ..Extras::default()
        },
        activity: Activity::Enabled,
    };
    client.adjust(&own, &minted.key.id, &change).await?;
    client.revoke(&own, &minted.key.id).await?;
    let proof = client.prove(&own, &minted.value).await;
    assert_eq!(proof, Err(Fault::Unauthorized));
    Ok(())
}

async fn an_api_key_makes_no_keys(stage: Stage<Elasticsearch>) -> anyhow::Result<()> {
    let operator = stage.client()?;
    let own = operator.probe().await?.own.id;
    let minted = operator.mint(&order(&own)).await?;
    let before = stage.sent(Effect::Mint);
    let client = stage.site.client_with(&Credential::ApiKey(minted.value))?;
    let caution = client.probe().await?.caution.context("a warning")?;
    ensure!(caution.contains("spec.auth.basic"), "{caution}");
    let mint = client.mint(&order(&own)).await;
    assert_eq!(label(&mint), "forbidden");
    assert_eq!(stage.sent(Effect::Mint), before, "it is not even tried");
    Ok(())
}

/// What another user is shown says nothing of our keys.
async fn another_credential_is_another_witness(stage: Stage<Elasticsearch>) -> anyhow::Result<()> {
    let ours = stage.client()?.witness().await?;
    let theirs = client_as(&stage, |start| start.holder.clone())?
        .witness()
        .await?;
    assert_eq!(ours.identity, theirs.identity);
    ensure!(ours.own.is_some() && ours.own != theirs.own);
    stage.door.change(elasticsearch::Change::Reinstall)?;
    ensure!(stage.client()?.witness().await.map(|now| now.identity) != Ok(ours.identity));
    Ok(())
}
