//! Keys and accounts in good weather: made, listed, found, proven, ended.

use anyhow::{Context as _, bail, ensure};
use apikey_operator::clock::{Clock as _, SystemClock};
use apikey_operator::plan::port::{Fault, Nature};
use jiff::SignedDuration;
use testbed::twins::{Effect, Twin};

use super::{MARKER, Stage, draft, in_days, label, minted, order};

pub(super) async fn a_new_key_is_listed_and_works<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let asked_at = SystemClock.now();
    let wanted = in_days(30);
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    assert_eq!(account.nature, Nature::Service);
    assert_eq!(minted.key.text, MARKER);
    let list = client.keys(&account.id).await?;
    ensure!(list.began >= asked_at && list.began <= SystemClock.now());
    let [key] = &list.keys[..] else {
        bail!("not one key: {list:?}")
    };
    assert_eq!((&key.id, key.text.as_str()), (&minted.key.id, MARKER));
    assert_eq!(
        (key.created_at, key.expires_at),
        (minted.key.created_at, minted.key.expires_at)
    );
    let end = minted.key.expires_at.context("an end")?;
    ensure!(
        end.duration_since(wanted).abs() < SignedDuration::from_secs(60),
        "{end}"
    );
    let own = client.prove(&minted.value).await?;
    assert_eq!((&own.id, own.username.as_str()), (&account.id, "team-a.ci"));
    ensure!(minted.value.fingerprint() != stage.credential.fingerprint());
    assert_eq!(stage.sent(Effect::Mint), 1);
    Ok(())
}

pub(super) async fn a_revoked_key_is_gone_and_nothing_else_is<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, first) = minted(&*client, "team-a.ci").await?;
    let second = client.mint(&order(&account.id)).await?;
    ensure!(
        first.key.id != second.key.id,
        "two keys may carry the same text"
    );
    client.revoke(&account.id, &first.key.id).await?;
    assert_eq!(client.prove(&first.value).await, Err(Fault::Unauthorized));
    client
        .prove(&second.value)
        .await
        .context("the other key works")?;
    assert_eq!(
        client.revoke(&account.id, &first.key.id).await,
        Err(Fault::NotFound)
    );
    let listed = client.keys(&account.id).await?.keys;
    assert_eq!(
        listed.iter().map(|key| &key.id).collect::<Vec<_>>(),
        [&second.key.id]
    );
    assert_eq!(stage.done(Effect::Revoke), 1);
    Ok(())
}

pub(super) async fn every_key_is_listed<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    const MANY: usize = 450;
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?;
    let mut made = Vec::new();
    for _ in 0..MANY {
        made.push(client.mint(&order(&account.id)).await?.key.id);
    }
    let listed = client.keys(&account.id).await?.keys;
    ensure!(
        listed.is_sorted_by(|a, b| a.created_at >= b.created_at),
        "newest first"
    );
    let mut listed: Vec<_> = listed.iter().map(|key| key.id.clone()).collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
    ensure!(
        stage.sent(Effect::ListKeys) > 1,
        "it took more than one page"
    );
    Ok(())
}

pub(super) async fn a_name_is_found_among_names_that_contain_it<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let client = stage.client()?;
    for number in 0..220 {
        client
            .create_account(&draft(&format!("team-a.ci-{number}")))
            .await?;
    }
    assert_eq!(client.find_account("team-a.ci").await, Ok(None));
    let made = client.create_account(&draft("x.team-a.ci")).await?;
    assert_eq!(client.find_account("X.Team-A.ci").await, Ok(Some(made)));
    let made = client.create_account(&draft("team-a.ci")).await?;
    assert_eq!(
        client.find_account("team-a.ci").await,
        Ok(Some(made.clone()))
    );
    assert_eq!(client.account(&made.id).await, Ok(made));
    let again = client.create_account(&draft("TEAM-a.ci")).await;
    assert_eq!(label(&again), "conflict");
    Ok(())
}

pub(super) async fn an_account_ends_with_its_keys<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    client.delete_account(&account.id).await?;
    assert_eq!(client.prove(&minted.value).await, Err(Fault::Unauthorized));
    assert_eq!(client.account(&account.id).await, Err(Fault::NotFound));
    assert_eq!(
        client.delete_account(&account.id).await,
        Err(Fault::NotFound)
    );
    assert_eq!(label(&client.keys(&account.id).await), "not_found");
    assert_eq!(label(&client.mint(&order(&account.id)).await), "not_found");
    assert_eq!(
        client.revoke(&account.id, &minted.key.id).await,
        Err(Fault::NotFound)
    );
    assert_eq!(client.find_account("team-a.ci").await, Ok(None));
    Ok(())
}
