//! The contract between our clients and the deploy servers, played over real sockets.
//!
//! What every server must show is here, for any twin; what only one kind has stands beside it
//! ([`octopus`]). Each test has a twin of its own. Time is the machine's; nothing waits but for a
//! socket.

mod octopus;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use apikey_operator::clock::{Clock as _, SystemClock};
use apikey_operator::plan::port::{
    AccountDraft, AccountId, Activity, Fault, KeyId, Nature, Order, RemoteAccount,
};
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::transport::{Network, Trust};
use apikey_operator::servers::{
    Budget, Connection, Credential, Kind, Limits, Minted, Server, Turns, connect,
};
use jiff::{SignedDuration, Timestamp};
use libtest_mimic::Trial;
use testbed::twins::journal::{done, sent};
use testbed::twins::tcp::{Listening, serve};
use testbed::twins::tls::Tls;
use testbed::twins::{Door, Effect, Fault as Wrong, Rule, Twin};

/// A server, ready to be played to.
struct Stage<T: Twin> {
    door: Door<T>,
    listening: Listening,
    kind: Kind,
    /// The virtual directory, or nothing.
    prefix: &'static str,
    /// The key of an account that may do all that the operator does.
    credential: KeyMaterial,
    /// A key that nobody has.
    nobodys: KeyMaterial,
    turns: Arc<Turns>,
}

impl<T: Twin> Stage<T> {
    fn connection(&self) -> anyhow::Result<Connection> {
        Ok(Connection {
            kind: self.kind,
            url: format!("{}{}", self.listening.url(), self.prefix),
            credential: Credential::ApiKey(self.credential.clone()),
            transport: Arc::new(Network::new(Trust::Platform)?),
            clock: Arc::new(SystemClock),
            budget: Arc::new(Budget::new(plenty())),
            turns: self.turns.clone(),
        })
    }

    /// A client of the operator.
    fn client(&self) -> anyhow::Result<Arc<dyn Server>> {
        Ok(connect(self.connection()?)?)
    }

    /// A client with another key.
    fn client_with(&self, key: &KeyMaterial) -> anyhow::Result<Arc<dyn Server>> {
        let credential = Credential::ApiKey(key.clone());
        Ok(connect(Connection {
            credential,
            ..self.connection()?
        })?)
    }

    /// From now on every request goes wrong like this.
    fn strike(&self, wrong: Wrong) {
        self.door.clear_faults();
        self.door.fault(Rule::new(wrong));
    }

    fn sent(&self, effect: Effect) -> usize {
        sent(&self.door.journal(), effect)
    }

    fn done(&self, effect: Effect) -> usize {
        done(&self.door.journal(), effect)
    }
}

/// A budget that no test can spend.
fn plenty() -> Limits {
    let many = Limits::default()
        .burst
        .saturating_mul(Limits::default().requests_per_minute);
    Limits {
        requests_per_minute: many,
        burst: many,
        ..Limits::default()
    }
}

fn draft(username: &str) -> AccountDraft {
    AccountDraft {
        username: username.to_owned(),
        display_name: format!("The account {username}"),
        email: None,
        activity: Activity::Enabled,
    }
}

fn in_days(days: i64) -> Timestamp {
    SystemClock.now() + SignedDuration::from_hours(24 * days)
}

const MARKER: &str = "deploys · for Jörg \"J\" <j@x> · team-a/ci · ako1.a1b2.c3d4.uid-1.1.n0nce";

fn order(account: &AccountId) -> Order {
    Order {
        account: account.clone(),
        text: MARKER.to_owned(),
        expires_at: in_days(30),
    }
}

async fn minted(client: &dyn Server, name: &str) -> anyhow::Result<(RemoteAccount, Minted)> {
    let account = client
        .create_account(&draft(name))
        .await
        .context("create")?;
    let minted = client.mint(&order(&account.id)).await.context("mint")?;
    Ok((account, minted))
}

/// The label of a fault, or `ok`.
fn label<T>(outcome: &Result<T, Fault>) -> &'static str {
    outcome.as_ref().map_or_else(Fault::label, |_| "ok")
}

/// One test on a stage of its own.
fn trial<T: Twin, F>(
    name: &str,
    stage: fn() -> anyhow::Result<Stage<T>>,
    test: impl FnOnce(Stage<T>) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = anyhow::Result<()>>,
{
    Trial::test(name, move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build()?;
        let played = runtime.block_on(async { test(stage()?).await });
        played.map_err(|error| format!("{error:?}").into())
    })
}

/// Tests, named after their functions.
macro_rules! trials {
    ($kind:literal, $stage:path: $($test:path),* $(,)?) => {
        vec![$($crate::contract::trial(
            concat!("contract::", $kind, "::", stringify!($test)),
            $stage,
            $test,
        )),*]
    };
}
use trials;

/// All tests of the contract.
pub(crate) fn all() -> Vec<Trial> {
    let mut all = trials!("octopus", octopus::stage:
        a_new_key_is_listed_and_works,
        a_revoked_key_is_gone_and_nothing_else_is,
        every_key_is_listed,
        a_name_is_found_among_names_that_contain_it,
        an_account_ends_with_its_keys,
        a_wrong_credential_opens_nothing,
        throttling_holds_everybody_back,
        a_cut_leaves_the_effect_open,
        a_port_that_is_closed_was_not_reached_and_heals,
        only_the_given_authority_is_trusted,
        a_redirect_takes_nothing_along,
        nonsense_is_told_from_trouble,
        the_clocks_are_compared,
        no_fault_tells_a_secret,
        no_log_tells_a_secret,
    );
    all.extend(octopus::all());
    all
}

async fn a_new_key_is_listed_and_works<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let asked_at = SystemClock.now();
    let wanted = in_days(30);
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    assert_eq!(account.nature, Nature::Service);
    assert_eq!(minted.key.text, MARKER);
    let list = client.keys(&account.id).await?;
    ensure!(list.began >= asked_at && list.began <= SystemClock.now());
    let [key] = list.keys.try_into().ok().context("one key")?;
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

async fn a_revoked_key_is_gone_and_nothing_else_is<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
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

async fn every_key_is_listed<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
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
    let mut listed: Vec<_> = listed.into_iter().map(|key| key.id).collect();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
    ensure!(
        stage.sent(Effect::ListKeys) > 1,
        "it took more than one page"
    );
    Ok(())
}

async fn a_name_is_found_among_names_that_contain_it<T: Twin>(
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

async fn an_account_ends_with_its_keys<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
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

async fn a_wrong_credential_opens_nothing<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let stranger = stage.client_with(&stage.nobodys)?;
    for (call, outcome) in every_call(&*stranger, &account.id, &minted).await {
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
    assert_eq!(
        label(&stage.client()?.prove(&stage.nobodys).await),
        "unauthorized"
    );
    Ok(())
}

async fn throttling_holds_everybody_back<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let account = stage.client()?.create_account(&draft("team-a.ci")).await?;
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

async fn a_cut_leaves_the_effect_open<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?;
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
        assert_eq!(
            stage.sent(Effect::Mint),
            before + 1,
            "nothing is sent twice"
        );
        stage.door.clear_faults();
        assert_eq!(
            client.keys(&account.id).await?.keys.len(),
            keys,
            "{wrong:?}"
        );
    }
    stage.strike(Wrong::CutAfter);
    assert_eq!(
        label(&client.delete_account(&account.id).await),
        "uncertain"
    );
    assert_eq!(label(&client.keys(&account.id).await), "uncertain");
    Ok(())
}

async fn a_port_that_is_closed_was_not_reached_and_heals<T: Twin>(
    stage: Stage<T>,
) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?;
    stage.strike(Wrong::Outage);
    port(&stage.listening, Port::Closed).await?;
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

async fn only_the_given_authority_is_trusted<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
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

async fn a_redirect_takes_nothing_along<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let elsewhere = serve(&stage.door, 0, None)?;
    for url in [elsewhere.url(), stage.listening.url()] {
        stage.door.forget();
        stage.strike(Wrong::Redirect {
            location: format!("{url}/api/users/me?secret=CANARY"),
        });
        let client = stage.client()?;
        let calls = every_call(&*client, &account.id, &minted).await;
        for (call, outcome) in calls {
            let Err(Fault::Redirected(place)) = &outcome else {
                anyhow::bail!("{call}: {outcome:?}");
            };
            ensure!(!place.contains("CANARY"), "{place}");
            ensure!(
                place == &elsewhere.url() || url != elsewhere.url(),
                "{place}"
            );
        }
        // Both ports lead to the same journal: a request that followed would be in it.
        assert_eq!(stage.door.journal().len(), CALLS, "{url}");
    }
    Ok(())
}

async fn nonsense_is_told_from_trouble<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
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
        stage.strike(wrong.clone());
        let client = stage.client()?;
        assert_eq!(label(&client.probe().await), look, "{wrong:?}");
        assert_eq!(label(&client.account(&account.id).await), look, "{wrong:?}");
        assert_eq!(label(&client.keys(&account.id).await), look, "{wrong:?}");
        assert_eq!(label(&client.prove(&minted.value).await), look, "{wrong:?}");
        assert_eq!(
            label(&client.mint(&order(&account.id)).await),
            change,
            "{wrong:?}"
        );
        assert_eq!(
            label(&client.create_account(&draft(&format!("b{number}"))).await),
            change,
            "{wrong:?}"
        );
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
        .prove(&minted.value)
        .await
        .context("slow is not gone")?;
    Ok(())
}

async fn the_clocks_are_compared<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let client = stage.client()?;
    for (move_by, expected) in [(0, 0), (600, 600), (-1200, -600)] {
        stage.door.move_clock(SignedDuration::from_secs(move_by));
        let skew = client.probe().await?.skew;
        let error = skew - SignedDuration::from_secs(expected);
        ensure!(
            error.abs() < SignedDuration::from_secs(3),
            "{skew:?}, not {expected} s"
        );
    }
    Ok(())
}

async fn no_fault_tells_a_secret<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let secrets = [&stage.credential, &stage.nobodys, &minted.value].map(KeyMaterial::expose);
    let mut told = 0;
    let refused = [400, 401, 403, 404, 405, 409, 429, 500, 502, 503];
    let refused = refused.map(|status| Wrong::Refused { status });
    let broken = [
        Wrong::CutBefore,
        Wrong::CutAfter,
        Wrong::Throttled {
            retry_after: Some(9),
        },
        Wrong::Html,
        Wrong::HalfJson,
        Wrong::Flood { mebibytes: 5 },
        Wrong::Redirect {
            location: format!("http://a.example/{}", secrets[0]),
        },
        Wrong::Outage,
    ];
    for wrong in broken.into_iter().chain(refused) {
        stage.strike(wrong.clone());
        for key in [&stage.credential, &stage.nobodys] {
            let client = stage.client_with(key)?;
            for (call, outcome) in every_call(&*client, &account.id, &minted).await {
                let shown = outcome
                    .as_ref()
                    .err()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let text = format!("{shown} {outcome:?}");
                told += usize::from(outcome.is_err());
                for secret in secrets {
                    ensure!(
                        !text.contains(secret),
                        "{call} after {wrong:?} tells a secret"
                    );
                }
            }
        }
    }
    ensure!(told > 200, "only {told} faults were looked at");
    Ok(())
}

/// What was logged, by anybody, at any level.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn no_log_tells_a_secret<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(everything);
    let tls = Tls::new()?;
    let secure = serve(&stage.door, 0, Some(&tls))?;
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let secrets = [&stage.credential, &stage.nobodys, &minted.value].map(KeyMaterial::expose);
    for key in [&stage.nobodys, &stage.credential] {
        let open = stage.client_with(key)?;
        let secure = connect(Connection {
            credential: Credential::ApiKey(key.clone()),
            url: format!("{}{}", secure.url(), stage.prefix),
            transport: Arc::new(Network::new(Trust::Only(tls.ca_pem().as_bytes()))?),
            ..stage.connection()?
        })?;
        for client in [open, secure] {
            every_call(&*client, &account.id, &minted).await;
            // A place that another test's thread met first counts as one that nobody listens to.
            tracing::callsite::rebuild_interest_cache();
            every_call(&*client, &account.id, &minted).await;
        }
    }
    let text = log.text();
    ensure!(
        text.contains("asked a deploy server"),
        "the log is heard: {text}"
    );
    for secret in secrets {
        ensure!(!text.contains(secret), "a log tells a secret");
    }
    Ok(())
}

/// How many calls [`every_call`] makes; each needs one request to fail.
const CALLS: usize = 10;

/// Every call that all servers have, one after the other.
async fn every_call(
    client: &dyn Server,
    account: &AccountId,
    minted: &Minted,
) -> Vec<(&'static str, Result<(), Fault>)> {
    let absent = KeyId::new("apikeys-absent");
    let calls = vec![
        ("probe", client.probe().await.map(drop)),
        (
            "find_account",
            client.find_account("team-a.ci").await.map(drop),
        ),
        ("account", client.account(account).await.map(drop)),
        (
            "create_account",
            client.create_account(&draft("another")).await.map(drop),
        ),
        (
            "update_account",
            client
                .update_account(account, &draft("team-a.ci"))
                .await
                .map(drop),
        ),
        ("keys", client.keys(account).await.map(drop)),
        ("mint", client.mint(&order(account)).await.map(drop)),
        ("prove", client.prove(&minted.value).await.map(drop)),
        ("revoke", client.revoke(account, &absent).await),
        (
            "delete_account",
            client.delete_account(&AccountId::new("Users-absent")).await,
        ),
    ];
    assert_eq!(calls.len(), CALLS);
    calls
}
