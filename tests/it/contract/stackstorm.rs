//! What only StackStorm has: tokens, rights, a value of our own, keys that can be changed, and no end of
//! a key but the operator.

use anyhow::{Context as _, ensure};
use apikey_operator::api::{FreeForm, ServerType};
use apikey_operator::plan::port::{
    AccountId, Activity, Change, Extras, Fault, KeyId, Order, RemoteKey,
};
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::{Connection, Credential, Server, connect};
use serde_json::json;
use testbed::twins::stackstorm::{self, Config, StackStorm};
use testbed::twins::tcp::serve;
use testbed::twins::{Door, Effect, Fault as Wrong, Rule};

use super::{Dates, Site, Stage, label, minted, order, suite};
use crate::ladder::Rung;

pub(super) fn stage() -> anyhow::Result<Stage<StackStorm>> {
    build(&Config::default())
}

fn with_rights() -> anyhow::Result<Stage<StackStorm>> {
    build(&Config {
        rbac: true,
        ..Config::default()
    })
}

fn build(config: &Config) -> anyhow::Result<Stage<StackStorm>> {
    let twin = StackStorm::new(config);
    let operator = twin.start().operator.clone();
    let door = Door::live(twin);
    let listening = serve(&door, 0, None)?;
    let stray = KeyMaterial::new("nobodys".repeat(12));
    let site = Site {
        kind: ServerType::StackStorm,
        url: listening.url(),
        credential: Credential::ApiKey(KeyMaterial::new(operator.key)),
        nobodys: Credential::ApiKey(stray.clone()),
        stray,
        absent: (
            AccountId::new("absent"),
            KeyId::new("0123456789abcdef01234567"),
        ),
        dates: Dates::Told,
        many: 450,
        turns: std::sync::Arc::default(),
    };
    Ok(Stage {
        site,
        door,
        listening,
        prefix: "",
    })
}

/// What only StackStorm has.
pub(super) fn own(rung: Rung) -> Rung {
    let rung = suite!(rung, "stackstorm", stage:
        a_token_is_had_once_and_again_when_it_has_ended,
        a_wrong_password_opens_nothing,
        a_mint_without_an_answer_is_repeated_and_makes_one_key,
        a_key_is_changed_and_keeps_its_age,
        without_a_gate_the_services_have_their_own_addresses,
    );
    suite!(rung, "stackstorm", with_rights: whoever_is_no_admin_is_warned)
}

/// A client that signs in with the operator's password.
fn by_password(stage: &Stage<StackStorm>) -> anyhow::Result<std::sync::Arc<dyn Server>> {
    let operator = stage.door.look(|twin, _| twin.start().operator.clone());
    stage.site.client_with(&Credential::Basic {
        username: operator.username,
        password: KeyMaterial::new(operator.password),
    })
}

async fn a_token_is_had_once_and_again_when_it_has_ended(
    stage: Stage<StackStorm>,
) -> anyhow::Result<()> {
    let client = by_password(&stage)?;
    let (probe, minted) = tokio::join!(client.probe(), minted(&*client, "team-a.ci"));
    assert_eq!(probe?.own.username, "apikey-operator");
    let (account, _) = minted?;
    client.keys(&account.id).await?;
    assert_eq!(stage.done(Effect::SignIn), 1, "one login for all");
    stage.door.change(stackstorm::Change::EndTokens {
        user: "apikey-operator".to_owned(),
    })?;
    client
        .mint(&order(&account.id))
        .await
        .context("with another token")?;
    assert_eq!(stage.done(Effect::SignIn), 2);
    assert_eq!(stage.done(Effect::Mint), 2);
    Ok(())
}

async fn a_wrong_password_opens_nothing(stage: Stage<StackStorm>) -> anyhow::Result<()> {
    let client = stage.site.client_with(&Credential::Basic {
        username: "apikey-operator".to_owned(),
        password: stage.site.stray.clone(),
    })?;
    assert_eq!(client.probe().await, Err(Fault::Unauthorized));
    let mint = client.mint(&order(&AccountId::new("team-a.ci"))).await;
    assert_eq!(label(&mint), "unauthorized");
    assert_eq!(stage.sent(Effect::Mint), 0);
    Ok(())
}

async fn a_mint_without_an_answer_is_repeated_and_makes_one_key(
    stage: Stage<StackStorm>,
) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = AccountId::new("team-a.ci");
    for (number, wrong) in [Wrong::CutBefore, Wrong::CutAfter].into_iter().enumerate() {
        stage.door.clear_faults();
        stage
            .door
            .fault(Rule::new(wrong.clone()).on("POST", "/**").next(1));
        let nonce = format!("n{number}");
        let asked = order(&account);
        let text = asked.text.replace("n0nce", &nonce);
        let minted = client
            .mint(&Order {
                text: text.clone(),
                ..asked
            })
            .await?;
        assert_eq!(
            client.prove(&account, &minted.value).await?,
            account,
            "{wrong:?}"
        );
        let keys = client.keys(&account).await?.keys;
        let of_this = keys.iter().filter(|key| key.text == text);
        let ids: Vec<_> = of_this.map(|key| key.id.clone()).collect();
        assert_eq!(ids, [minted.key.id], "{wrong:?}");
    }
    Ok(())
}

async fn a_key_is_changed_and_keeps_its_age(stage: Stage<StackStorm>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    let listed = async || -> anyhow::Result<RemoteKey> {
        let keys = client.keys(&account.id).await?.keys;
        let key = keys.iter().find(|key| key.id == minted.key.id);
        key.cloned().context("it is listed")
    };
    let before = listed().await?;
    let metadata = FreeForm(serde_json::from_value(json!({ "team": "a" }))?);
    let extras = Extras {
        metadata,
        ..Extras::default()
    };
    let change = |activity| Change {
        text: before.text.clone(),
        notes: Vec::new(),
        extras: extras.clone(),
        activity,
    };
    client
        .adjust(&account.id, &minted.key.id, &change(Activity::Disabled))
        .await?;
    let after = listed().await?;
    assert_eq!(after.activity, Activity::Disabled);
    assert_eq!(after.extras, extras.digest());
    let lasting = |key: &RemoteKey| (key.text.clone(), key.created_at, key.expires_at);
    assert_eq!(lasting(&after), lasting(&before));
    let proof = client.prove(&account.id, &minted.value).await;
    assert_eq!(proof, Err(Fault::Unauthorized));
    let shown = stage.door.view();
    let key = shown.key(minted.key.id.as_str()).context("it is there")?;
    assert_eq!(key.metadata["team"], "a");
    client
        .adjust(&account.id, &minted.key.id, &change(Activity::Enabled))
        .await?;
    client.prove(&account.id, &minted.value).await?;
    Ok(())
}

async fn without_a_gate_the_services_have_their_own_addresses(
    stage: Stage<StackStorm>,
) -> anyhow::Result<()> {
    let operator = stage.door.look(|twin, _| twin.start().operator.clone());
    let client = connect(Connection {
        url: format!("{}/api", stage.listening.url()),
        auth_url: Some(format!("{}/auth/", stage.listening.url())),
        credential: Credential::Basic {
            username: operator.username,
            password: KeyMaterial::new(operator.password),
        },
        ..stage.connection()?
    })?;
    assert_eq!(client.probe().await?.own.username, "apikey-operator");
    let entries = client.ability().entries;
    ensure!(
        entries.contains(&("ST2_API_URL", "{{ url }}/v1")),
        "{entries:?}"
    );
    Ok(())
}

async fn whoever_is_no_admin_is_warned(stage: Stage<StackStorm>) -> anyhow::Result<()> {
    assert_eq!(stage.client()?.probe().await?.caution, None);
    let bystander = stage.door.look(|twin, _| twin.start().bystander.clone());
    let client = stage
        .site
        .client_with(&Credential::ApiKey(KeyMaterial::new(bystander.key)))?;
    let caution = client.probe().await?.caution.context("a warning")?;
    ensure!(caution.contains("role admin"), "{caution}");
    let mint = client.mint(&order(&AccountId::new("team-a.ci"))).await;
    let Err(Fault::Forbidden(why)) = mint else {
        anyhow::bail!("{mint:?}")
    };
    ensure!(why.contains("api_key_create"), "{why}");
    Ok(())
}
