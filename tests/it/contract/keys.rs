//! Keys and accounts in good weather: made, listed, found, proven, ended.

use anyhow::{Context as _, bail, ensure};
use apikey_operator::clock::{Clock as _, SystemClock};
use apikey_operator::plan::port::{
    AccountName, Accounts, Afterlife, Expiry, Fault, Nature, RemoteKey, Value,
};
use jiff::{SignedDuration, Timestamp};

use super::{MARKER, Site, account, draft, in_days, label, minted, order};

/// Two clocks, one of which may show whole seconds.
fn about(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() < SignedDuration::from_secs(60)
}

pub(super) async fn a_new_key_is_listed_and_works(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let asked_at = SystemClock.now();
    let wanted = in_days(30);
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    ensure!(account.nature != Nature::Human);
    assert_eq!(minted.key.text, MARKER);
    let list = client.keys(&account.id).await?;
    ensure!(list.began >= asked_at && list.began <= SystemClock.now());
    let mut keys = list.keys.iter().filter(|key| key.account == account.id);
    let (Some(key), None) = (keys.next(), keys.next()) else {
        bail!("not one key: {list:?}")
    };
    assert_eq!((&key.id, key.text.as_str()), (&minted.key.id, MARKER));
    assert_eq!(key.expires_at, minted.key.expires_at);
    ensure!(about(key.created_at, minted.key.created_at), "{key:?}");
    let end = minted.key.expires_at.context("an end")?;
    ensure!(about(end, wanted), "{end}");
    assert_eq!(client.prove(&account.id, &minted.value).await?, account.id);
    let stray = client.prove(&account.id, &site.stray).await;
    assert_eq!(stray, Err(Fault::Unauthorized));
    Ok(())
}

pub(super) async fn a_revoked_key_is_gone_and_nothing_else_is(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let (account, first) = minted(&*client, "team-a.ci").await?;
    let second = client.mint(&order(&account.id)).await?;
    ensure!(
        first.key.id != second.key.id,
        "two keys may carry the same text"
    );
    client.revoke(&account.id, &first.key.id).await?;
    let proof = client.prove(&account.id, &first.value).await;
    assert_eq!(proof, Err(Fault::Unauthorized));
    let proof = client.prove(&account.id, &second.value).await;
    proof.context("the other key works")?;
    // Some servers remember a while what was revoked.
    let again = client.revoke(&account.id, &first.key.id).await;
    ensure!(matches!(again, Ok(()) | Err(Fault::NotFound)), "{again:?}");
    let absent = client.revoke(&account.id, &site.absent.1).await;
    assert_eq!(absent, Err(Fault::NotFound));
    let listed = client.keys(&account.id).await?.keys;
    let own = listed.iter().filter(|key| key.account == account.id);
    let own: Vec<_> = own.map(|key| &key.id).collect();
    assert_eq!(own, [&second.key.id]);
    Ok(())
}

pub(super) async fn every_key_is_listed(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let account = account(&*client, "team-a.ci").await?;
    let mut made = Vec::new();
    for _ in 0..site.many {
        made.push(client.mint(&order(&account.id)).await?.key.id);
    }
    let listed = client.keys(&account.id).await?.keys;
    ensure!(
        listed.is_sorted_by(|a, b| a.created_at >= b.created_at),
        "newest first"
    );
    let own = |key: &&RemoteKey| key.account == account.id;
    let mut listed: Vec<_> = listed
        .iter()
        .filter(own)
        .map(|key| key.id.clone())
        .collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
    Ok(())
}

pub(super) async fn an_account_is_found_by_its_name(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let find = async |name: &str| client.find_account(&AccountName::own(name)).await;
    if client.ability().accounts == Accounts::NamesOnly {
        let found = find("anybody").await?.context("every name is an account")?;
        assert_eq!(found.username, "anybody");
        assert_eq!(client.account(&found.id).await?, found);
        let made = client.create_account(&draft("team-a.ci")).await;
        assert_eq!(label(&made), "rejected");
        return Ok(());
    }
    for number in 0..site.many / 2 {
        let longer = format!("team-a.ci-{number}");
        client.create_account(&draft(&longer)).await?;
    }
    assert_eq!(find("team-a.ci").await, Ok(None));
    let made = client.create_account(&draft("x.team-a.ci")).await?;
    assert_eq!(find("x.team-a.ci").await, Ok(Some(made)));
    let made = client.create_account(&draft("team-a.ci")).await?;
    assert_eq!(find("team-a.ci").await, Ok(Some(made.clone())));
    assert_eq!(client.account(&made.id).await, Ok(made));
    let again = client.create_account(&draft("team-a.ci")).await;
    assert_eq!(label(&again), "conflict");
    Ok(())
}

pub(super) async fn an_account_ends(site: &Site) -> anyhow::Result<()> {
    let client = site.client()?;
    let ability = client.ability();
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    if ability.accounts == Accounts::NamesOnly {
        assert_eq!(label(&client.delete_account(&account.id).await), "rejected");
        assert_eq!(ability.value, Value::CallerMade);
        assert_eq!(ability.expiry, Expiry::None);
        return Ok(());
    }
    client.delete_account(&account.id).await?;
    assert_eq!(client.account(&account.id).await, Err(Fault::NotFound));
    let again = client.delete_account(&account.id).await;
    assert_eq!(again, Err(Fault::NotFound));
    let found = client.find_account(&AccountName::own("team-a.ci")).await;
    assert_eq!(found, Ok(None));
    let proof = async || label(&client.prove(&account.id, &minted.value).await);
    match ability.afterlife {
        Afterlife::KeysDie => {
            assert_eq!(label(&client.keys(&account.id).await), "not_found");
            let revoked = client.revoke(&account.id, &minted.key.id).await;
            assert_eq!(revoked, Err(Fault::NotFound));
        }
        Afterlife::KeysLive { .. } => {
            assert_eq!(proof().await, "ok", "it outlives its account");
            assert_eq!(client.keys(&account.id).await?.keys.len(), 1);
            client.revoke_all(&account.id).await?;
            assert!(client.keys(&account.id).await?.keys.is_empty());
        }
    }
    assert_eq!(proof().await, "unauthorized");
    let mint = client.mint(&order(&account.id)).await;
    ensure!(
        matches!(mint, Err(Fault::NotFound | Fault::Forbidden(_))),
        "{mint:?}"
    );
    Ok(())
}
