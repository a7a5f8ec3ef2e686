//! Everything that goes wrong on the way to a server and back, sorted by what may have happened.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use apikey_operator::plan::port::{Accounts, Fault, Value};
use apikey_operator::servers::transport::{Network, Trust};
use apikey_operator::servers::{Connection, connect};
use jiff::SignedDuration;
use testbed::twins::tcp::{Listening, serve};
use testbed::twins::tls::Tls;
use testbed::twins::{Effect, Fault as Wrong, Twin};

use super::{Dates, Stage, account, draft, every_call, label, minted, order};

pub(super) async fn a_call_is_sent_once<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    client.prove(&account.id, &minted.value).await?;
    client.keys(&account.id).await?;
    client.revoke(&account.id, &minted.key.id).await?;
    for effect in [Effect::Mint, Effect::ListKeys, Effect::Revoke] {
        assert_eq!(stage.sent(effect), 1, "{effect:?}");
        assert_eq!(stage.done(effect), 1, "{effect:?}");
    }
    Ok(())
}

pub(super) async fn a_wrong_credential_opens_nothing<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let stranger = stage.site.client_with(&stage.site.nobodys)?;
    for (call, outcome) in every_call(&stage.site, &*stranger, &account.id, &minted).await {
        // The key that is proven is a good one.
        let expected = if call == "prove" {
            "ok"
        } else {
            "unauthorized"
        };
        assert_eq!(
            outcome.as_ref().map_or_else(Fault::label, |()| "ok"),
            expected,
            "{call}"
        );
    }
    Ok(())
}

pub(super) async fn throttling_holds_everybody_back<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let account = account(&*stage.client()?, "team-a.ci").await?;
    for (told, at_least) in [(Some(40), 39), (None, 3)] {
        let connection = stage.connection()?;
        let budget = connection.budget.clone();
        let client = connect(connection)?;
        let other = connect(Connection {
            budget,
            ..stage.connection()?
        })?;
        stage.strike(Wrong::Throttled { retry_after: told });
        let after = told.map(|seconds| Duration::from_secs(seconds.into()));
        assert_eq!(
            client.mint(&order(&account.id)).await.err(),
            Some(Fault::Throttled { after })
        );
        stage.door.clear_faults();
        let before = stage.door.journal().len();
        for client in [client, other] {
            let fault = client.keys(&account.id).await.err();
            let Some(Fault::Throttled { after: Some(after) }) = fault else {
                anyhow::bail!("{fault:?}");
            };
            ensure!(after > Duration::from_secs(at_least), "{after:?}");
        }
        assert_eq!(
            stage.door.journal().len(),
            before,
            "the server is left alone"
        );
    }
    assert_eq!(stage.done(Effect::Mint), 0);
    Ok(())
}

pub(super) async fn a_cut_leaves_the_effect_open<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    // Whatever a client asks once it has asked.
    client.probe().await?;
    let ability = client.ability();
    let account = account(&*client, "team-a.ci").await?;
    for (wrong, keys) in [
        (Wrong::CutBefore, 0),
        (Wrong::CutAfter, 1),
        (Wrong::HalfJson, 2),
    ] {
        stage.strike(wrong.clone());
        let before = stage.sent(Effect::Mint);
        let fault = client
            .mint(&order(&account.id))
            .await
            .err()
            .context("no answer")?;
        let expected = if wrong == Wrong::HalfJson {
            "protocol"
        } else {
            "uncertain"
        };
        assert_eq!(fault.label(), expected, "{wrong:?}: {fault}");
        // Only what makes no second key is sent twice.
        let repeated = expected == "uncertain" && ability.value == Value::CallerMade;
        let sent = before + 1 + usize::from(repeated);
        assert_eq!(stage.sent(Effect::Mint), sent, "{wrong:?}");
        stage.door.clear_faults();
        let listed = client.keys(&account.id).await?.keys;
        let own = listed.iter().filter(|key| key.account == account.id);
        assert_eq!(own.count(), keys, "{wrong:?}");
    }
    stage.strike(Wrong::CutAfter);
    if ability.accounts == Accounts::Kept {
        let deleted = client.delete_account(&account.id).await;
        assert_eq!(label(&deleted), "uncertain");
    }
    assert_eq!(label(&client.keys(&account.id).await), "uncertain");
    Ok(())
}

pub(super) async fn a_port_that_is_closed_was_not_reached_and_heals<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = account(&*client, "team-a.ci").await?;
    stage.strike(Wrong::Outage);
    port(&stage.listening, Port::Closed).await?;
    // Whoever has a connection from before may send on it before it is found dead.
    let _ = client.probe().await;
    let fault = client
        .mint(&order(&account.id))
        .await
        .err()
        .context("nobody is there")?;
    assert_eq!(fault.label(), "unreachable", "{fault}");
    assert_eq!(label(&client.probe().await), "unreachable");
    stage.door.clear_faults();
    port(&stage.listening, Port::Open).await?;
    client
        .mint(&order(&account.id))
        .await
        .context("the same client, after the outage")?;
    assert_eq!(stage.sent(Effect::Mint), 1);
    Ok(())
}

/// What a port does to those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Open,
    Closed,
}

/// Waits until a port is as it should be.
async fn port(listening: &Listening, wanted: Port) -> anyhow::Result<()> {
    let reached = async {
        loop {
            let port = match tokio::net::TcpStream::connect(listening.address()).await {
                Ok(_) => Port::Open,
                Err(_) => Port::Closed,
            };
            if port == wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, reached)
        .await
        .with_context(|| format!("{wanted:?}"))
}

pub(super) async fn only_the_given_authority_is_trusted<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let tls = Tls::new()?;
    let secure = serve(&stage.door, 0, Some(&tls))?;
    let url = format!("{}{}", secure.url(), stage.prefix);
    let probe = async |trust: Trust<'_>| {
        let transport = Arc::new(Network::new(trust)?);
        let connection = Connection {
            url: url.clone(),
            transport,
            ..stage.connection()?
        };
        anyhow::Ok(connect(connection)?.probe().await)
    };
    let other = Tls::new()?;
    for trust in [Trust::Platform, Trust::Only(other.ca_pem().as_bytes())] {
        let outcome = probe(trust).await?;
        assert_eq!(label(&outcome), "untrusted", "{outcome:?}");
    }
    ensure!(
        stage.door.journal().is_empty(),
        "nothing was said to a stranger"
    );
    let outcome = probe(Trust::Only(tls.ca_pem().as_bytes())).await?;
    assert_eq!(label(&outcome), "ok", "{outcome:?}");
    let both = format!("{}{}", other.ca_pem(), tls.ca_pem());
    assert_eq!(label(&probe(Trust::Only(both.as_bytes())).await?), "ok");
    Ok(())
}

pub(super) async fn a_redirect_takes_nothing_along<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let elsewhere = serve(&stage.door, 0, None)?;
    for url in [elsewhere.url(), stage.listening.url()] {
        stage.door.forget();
        stage.strike(Wrong::Redirect {
            location: format!("{url}/api/users/me?secret=CANARY"),
        });
        let client = stage.client()?;
        let calls = every_call(&stage.site, &*client, &account.id, &minted).await;
        for (call, outcome) in &calls {
            let Err(Fault::Redirected(place)) = outcome else {
                anyhow::bail!("{call}: {outcome:?}");
            };
            ensure!(!place.contains("CANARY"), "{place}");
            ensure!(
                place == &elsewhere.url() || url != elsewhere.url(),
                "{place}"
            );
        }
        // Both ports lead to the same journal: a request that followed would be in it.
        assert_eq!(stage.door.journal().len(), calls.len(), "{url}");
    }
    Ok(())
}

pub(super) async fn nonsense_is_told_from_trouble<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let table = [
        (Wrong::Html, "protocol", "protocol"),
        (Wrong::Flood { mebibytes: 100 }, "protocol", "protocol"),
        (Wrong::Flood { mebibytes: 1 }, "protocol", "protocol"),
        (Wrong::Refused { status: 500 }, "unreachable", "uncertain"),
        (Wrong::Refused { status: 502 }, "unreachable", "uncertain"),
        (Wrong::Refused { status: 503 }, "unreachable", "uncertain"),
        (Wrong::Refused { status: 405 }, "rejected", "rejected"),
        (Wrong::Refused { status: 409 }, "conflict", "conflict"),
    ];
    for (number, (wrong, look, change)) in table.into_iter().enumerate() {
        stage.door.clear_faults();
        let client = stage.client()?;
        client.probe().await?;
        stage.strike(wrong.clone());
        assert_eq!(label(&client.probe().await), look, "{wrong:?}");
        assert_eq!(label(&client.keys(&account.id).await), look, "{wrong:?}");
        assert_eq!(
            label(&client.prove(&account.id, &minted.value).await),
            look,
            "{wrong:?}"
        );
        assert_eq!(
            label(&client.mint(&order(&account.id)).await),
            change,
            "{wrong:?}"
        );
        if client.ability().accounts == Accounts::Kept {
            assert_eq!(label(&client.account(&account.id).await), look, "{wrong:?}");
            // Some servers are asked first whether the name is free.
            let made = client.create_account(&draft(&format!("b{number}"))).await;
            ensure!([look, change].contains(&label(&made)), "{wrong:?} {made:?}");
        }
        if !matches!(wrong, Wrong::Flood { .. }) {
            assert_eq!(
                label(&client.revoke(&account.id, &minted.key.id).await),
                change
            );
        }
    }
    stage.strike(Wrong::Slow { millis: 200 });
    stage
        .client()?
        .prove(&account.id, &minted.value)
        .await
        .context("slow is not gone")?;
    Ok(())
}

pub(super) async fn the_clocks_are_compared<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    for (move_by, expected) in [(0, 0), (600, 600), (-1200, -600)] {
        stage.door.move_clock(SignedDuration::from_secs(move_by));
        let skew = client.probe().await?.skew;
        let expected = match stage.site.dates {
            Dates::Told => expected,
            // Nobody can know.
            Dates::Untold => 0,
        };
        let error = skew - SignedDuration::from_secs(expected);
        ensure!(
            error.abs() < SignedDuration::from_secs(3),
            "{skew:?}, not {expected} s"
        );
    }
    Ok(())
}
