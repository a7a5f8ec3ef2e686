//! The contract between our clients and the deploy servers, played over real sockets.
//!
//! What every server must show: [`keys`], for any server; [`faults`] and [`leaks`], for any twin. What a
//! kind of server cannot do, its `Ability` says. What only one kind has: [`octopus`], [`stackstorm`], [`elasticsearch`].
//! That others believe in the twins: [`official`]. Each test has a server of its own. Time is the
//! machine's; nothing waits but for a socket.

mod elasticsearch;
mod faults;
mod keys;
mod leaks;
mod octopus;
mod official;
mod stackstorm;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ladder::Rung;
use anyhow::Context as _;
use apikey_operator::api::{FreeForm, ServerType};
use apikey_operator::clock::{Clock as _, OsEntropy, SystemClock};
use apikey_operator::plan::port::{
    AccountDraft, AccountId, AccountName, Accounts, Activity, Extras, Fault, KeyId, Order,
    RemoteAccount,
};
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::transport::{Network, Trust};
use apikey_operator::servers::{
    Budget, Connection, Credential, Limits, Minted, Server, Turns, connect,
};
use jiff::{SignedDuration, Timestamp};
use testbed::twins::journal::{done, sent};
use testbed::twins::tcp::Listening;
use testbed::twins::{Door, Effect, Fault as Wrong, Rule, Twin};

/// A server, and how one gets in: all that tests of good weather need.
struct Site {
    kind: ServerType,
    url: String,
    /// An account that may do all that the operator does.
    credential: Credential,
    /// A sign-in that opens nothing.
    nobodys: Credential,
    /// A key that nobody has.
    stray: KeyMaterial,
    /// An account and a key that are not there.
    absent: (AccountId, KeyId),
    /// Whether its answers tell the time.
    dates: Dates,
    /// How many things are made where many are: fewer where each takes its time.
    many: usize,
    turns: Arc<Turns>,
}

/// Whether the answers of a server tell the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dates {
    Told,
    Untold,
}

impl Site {
    fn connection(&self) -> anyhow::Result<Connection> {
        Ok(Connection {
            type_: self.kind,
            url: self.url.clone(),
            auth_url: None,
            credential: self.credential.clone(),
            transport: Arc::new(Network::new(Trust::Platform)?),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            budget: Arc::new(Budget::new(plenty())),
            turns: self.turns.clone(),
        })
    }

    /// A client of the operator.
    fn client(&self) -> anyhow::Result<Arc<dyn Server>> {
        Ok(connect(self.connection()?)?)
    }

    /// A client with another sign-in.
    fn client_with(&self, credential: &Credential) -> anyhow::Result<Arc<dyn Server>> {
        let credential = credential.clone();
        Ok(connect(Connection {
            credential,
            ..self.connection()?
        })?)
    }
}

/// A twin, ready to be played to, and made to go wrong.
struct Stage<T: Twin> {
    site: Site,
    door: Door<T>,
    listening: Listening,
    /// The virtual directory, or nothing.
    prefix: &'static str,
}

impl<T: Twin> Stage<T> {
    fn client(&self) -> anyhow::Result<Arc<dyn Server>> {
        self.site.client()
    }

    fn connection(&self) -> anyhow::Result<Connection> {
        self.site.connection()
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
        roles: BTreeSet::new(),
        metadata: FreeForm::default(),
        stamp: "uid-1".to_owned(),
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
        notes: vec![("apiKey", "team-a/ci".to_owned())],
        extras: Extras::default(),
        expires_at: in_days(30),
        send_by: in_days(1),
    }
}

/// An account of this name: made, where a server keeps accounts.
async fn account(client: &dyn Server, name: &str) -> anyhow::Result<RemoteAccount> {
    match client.ability().accounts {
        Accounts::Kept => client.create_account(&draft(name)).await.context("create"),
        Accounts::NamesOnly => {
            let found = client.find_account(&AccountName::own(name)).await?;
            found.context("every name is an account")
        }
    }
}

async fn minted(client: &dyn Server, name: &str) -> anyhow::Result<(RemoteAccount, Minted)> {
    let account = account(client, name).await?;
    let minted = client.mint(&order(&account.id)).await.context("mint")?;
    Ok((account, minted))
}

/// The label of a fault, or `ok`.
fn label<T>(outcome: &Result<T, Fault>) -> &'static str {
    outcome.as_ref().map_or_else(Fault::label, |_| "ok")
}

/// Adds tests, named after their functions, each on a stage of its own.
macro_rules! suite {
    ($rung:expr, $kind:literal, $stage:path: $($test:path),* $(,)?) => {
        $rung$(.test(concat!($kind, "::", stringify!($test)), async |_| $test($stage()?).await))*
    };
}
use suite;

/// Adds what every server must show in good weather.
macro_rules! keys {
    ($rung:expr, $kind:literal, $stage:path) => {
        keys!($rung, $kind, $stage:
            a_new_key_is_listed_and_works,
            a_revoked_key_is_gone_and_nothing_else_is,
            every_key_is_listed,
            an_account_is_found_by_its_name,
            an_account_ends,
        )
    };
    ($rung:expr, $kind:literal, $stage:path: $($test:ident),* $(,)?) => {
        $rung$(.test(concat!($kind, "::keys::", stringify!($test)), async |_| {
            keys::$test(&$stage()?.site).await
        }))*
    };
}

/// Adds what every twin must show.
macro_rules! twin {
    ($rung:expr, $kind:literal, $stage:path) => {
        suite!(keys!($rung, $kind, $stage), $kind, $stage:
            faults::a_call_is_sent_once,
            faults::a_wrong_credential_opens_nothing,
            faults::throttling_holds_everybody_back,
            faults::a_cut_leaves_the_effect_open,
            faults::a_port_that_is_closed_was_not_reached_and_heals,
            faults::only_the_given_authority_is_trusted,
            faults::a_redirect_takes_nothing_along,
            faults::nonsense_is_told_from_trouble,
            faults::the_clocks_are_compared,
            leaks::no_fault_tells_a_secret,
            leaks::no_log_tells_a_secret,
        )
    };
}

/// All tests of the contract: one line a server.
pub(crate) fn rung() -> Rung {
    let rung = Rung::new("contract");
    let rung = twin!(rung, "octopus", octopus::stage);
    let rung = twin!(rung, "octopus_by_password", octopus::by_password);
    let rung = twin!(rung, "octopus_vouched_for", octopus::vouched_for);
    let rung = twin!(rung, "stackstorm", stackstorm::stage);
    let rung = twin!(rung, "elasticsearch", elasticsearch::stage);
    official::add(octopus::own(stackstorm::own(elasticsearch::own(rung))))
}

/// Every call that sends something, one after the other; each needs one request to fail.
async fn every_call(
    site: &Site,
    client: &dyn Server,
    account: &AccountId,
    minted: &Minted,
) -> Vec<(&'static str, Result<(), Fault>)> {
    let Site { absent, .. } = site;
    let mut calls = vec![
        ("probe", client.probe().await.map(drop)),
        ("keys", client.keys(account).await.map(drop)),
        ("mint", client.mint(&order(account)).await.map(drop)),
        (
            "prove",
            client.prove(account, &minted.value).await.map(drop),
        ),
        ("revoke", client.revoke(account, &absent.1).await),
    ];
    if client.ability().accounts == Accounts::NamesOnly {
        return calls;
    }
    calls.extend([
        (
            "find_account",
            client
                .find_account(&AccountName::own("team-a.ci"))
                .await
                .map(drop),
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
        ("delete_account", client.delete_account(&absent.0).await),
    ]);
    calls
}
