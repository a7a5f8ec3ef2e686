//! The contract between our clients and the deploy servers, played over real sockets.
//!
//! What every server must show, for any twin: [`keys`], [`faults`], [`leaks`]. What only one kind
//! has: [`octopus`]. That others believe in the twins: [`official`]. Each test has a twin of its own. Time is the machine's; nothing waits but for a
//! socket.

mod faults;
mod keys;
mod leaks;
mod octopus;
mod official;

use std::sync::Arc;

use crate::ladder::Rung;
use anyhow::Context as _;
use apikey_operator::api::ServerType;
use apikey_operator::clock::{Clock as _, SystemClock};
use apikey_operator::plan::port::{
    AccountDraft, AccountId, Activity, Fault, KeyId, Order, RemoteAccount,
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

/// A server, ready to be played to.
struct Stage<T: Twin> {
    door: Door<T>,
    listening: Listening,
    kind: ServerType,
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
            type_: self.kind,
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
        send_by: in_days(1),
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

/// Adds tests, named after their functions, each on a stage of its own.
macro_rules! suite {
    ($rung:expr, $kind:literal, $stage:path: $($test:path),* $(,)?) => {
        $rung$(.test(concat!($kind, "::", stringify!($test)), async |_| $test($stage()?).await))*
    };
}
use suite;

/// All tests of the contract: one line a server.
pub(crate) fn rung() -> Rung {
    let rung = suite!(Rung::new("contract"), "octopus", octopus::stage:
        keys::a_new_key_is_listed_and_works,
        keys::a_revoked_key_is_gone_and_nothing_else_is,
        keys::every_key_is_listed,
        keys::a_name_is_found_among_names_that_contain_it,
        keys::an_account_ends_with_its_keys,
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
    );
    official::add(octopus::own(rung))
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
