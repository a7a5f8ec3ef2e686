//! What it costs to replace a key, asked for or lost, counted from the API server's audit log and the
//! twin's journal until the replaced key has ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::DynamicObject;
use serde_json::json;
use testbed::control_plane::AuditEvent;
use testbed::twins::octopus::Change;
use testbed::twins::{Effect, Entry};

use super::case::{Account, Case, Key, Sealed, Server};
use super::{Row, rows};
use crate::budget::{asked, counts};

/// A replaced key lives for three minutes at least.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn long() -> Vec<Row> {
    rows![
        rotation_costs,
        two_slots_cost,
        lost_secret_costs,
        edited_secret_costs,
        key_gone_costs,
    ]
}

async fn rotation_costs(case: Arc<Case>) -> Result<()> {
    let disturb = rotate(&case);
    costs(&case, "rotation: {overlap: 0s}", disturb, 4).await
}

async fn two_slots_cost(case: Arc<Case>) -> Result<()> {
    let spec = "rotation: {overlap: 0s}, secret: {keepPrevious: true}";
    costs(&case, spec, rotate(&case), 5).await
}

async fn lost_secret_costs(case: Arc<Case>) -> Result<()> {
    let disturb = case.delete(Sealed("ci"));
    costs(&case, "rotation: {overlap: 0s}", disturb, 4).await
}

async fn edited_secret_costs(case: Arc<Case>) -> Result<()> {
    let edit = json!({"stringData": {"OCTOPUS_API_KEY": "API-OOPS"}});
    let disturb = case.patch(Sealed("ci"), edit);
    costs(&case, "rotation: {overlap: 0s}", disturb, 4).await
}

/// Nobody tells of it: it is found at a resync, for which accounts and connections are looked at too.
async fn key_gone_costs(case: Arc<Case>) -> Result<()> {
    settle(&case, "resync: 30s", "").await?;
    let counted = |found: Option<&DynamicObject>| {
        (found?.data["status"]["keys"]["managed"] == 1).then_some(())
    };
    for object in [Account("ci"), Server("octopus")] {
        case.until(object, "counts its key", counted).await?;
    }
    let before = Bill::begin(&case).await?;
    let key = case.key_of(&case.value("ci").await?)?;
    case.change(Change::RevokeKey { key })?;
    case.has_serial(Key("ci"), 2).await?;
    case.ready(Key("ci")).await?;
    let bill = Bill::of(&case, before).await?;
    let (own, others): (Vec<_>, Vec<_>) = bill
        .writes
        .iter()
        .partition(|event| ["apikeys", "secrets"].contains(&event.resource.as_str()));
    ensure!((3..=4).contains(&own.len()), "{own:#?}");
    // There is one key less, and then one more.
    let is_count = |event: &&&AuditEvent| event.subresource == "status";
    ensure!(
        others.len() <= 4 && others.iter().filter(is_count).count() == others.len(),
        "{others:#?}"
    );
    // Five looks belong to a resync, and one of the two may be that before.
    bill.asks(2, 2, 10)?;
    // The journal begins with the second key.
    case.healed(1).await
}

async fn rotate(case: &Case) -> Result<()> {
    let ask = [("apikeys.dev/rotate", Some("now"))];
    case.annotate(Key("ci"), &ask).await
}

/// Has a key replaced, waits until the replaced one has ended, and counts.
async fn costs(
    case: &Case,
    spec: &str,
    disturb: impl Future<Output = Result<()>>,
    most: usize,
) -> Result<()> {
    settle(case, "resync: 1h", spec).await?;
    let before = Bill::begin(case).await?;
    disturb.await?;
    case.has_serial(Key("ci"), 2).await?;
    let ended =
        |found: Option<&DynamicObject>| found?.data["status"]["retiring"].is_null().then_some(());
    let retires = |found: Option<&DynamicObject>| {
        (!found?.data["status"]["retiring"].is_null()).then_some(())
    };
    case.until(Key("ci"), "has a replaced key", retires).await?;
    case.until_within(PATIENCE, Key("ci"), "has one key", ended)
        .await?;
    let bill = Bill::of(case, before).await?;
    let writes = &bill.writes;
    ensure!(
        writes.len() <= most && writes.len() > 2,
        "{} writes: {writes:#?}",
        writes.len()
    );
    bill.asks(3, 1, 1)?;
    case.healed(1).await
}

/// Makes a key, and waits until nobody has anything to do any more.
async fn settle(case: &Case, resync: &str, spec: &str) -> Result<()> {
    let [credential, _, account, _] = case.whole();
    case.apply(&[credential, case.server(resync), account])
        .await?;
    case.ready(Account("ci")).await?;
    case.looked_at(Account("ci")).await?;
    case.apply(&[case.key(spec)]).await?;
    case.ready(Key("ci")).await?;
    Ok(())
}

/// What was asked of the API server and of the twin.
struct Bill {
    writes: Vec<AuditEvent>,
    /// Mints, proofs, revocations.
    calls: Vec<Entry>,
    lists: usize,
    /// Which server it is that answers, and how things stand with account and connection.
    looks: Vec<Entry>,
}

impl Bill {
    /// From now on; returns how much the API server was asked before.
    async fn begin(case: &Case) -> Result<usize> {
        let (before, _) = asked(case, 0).await?;
        case.twin.forget();
        Ok(before)
    }

    /// What was asked since then.
    async fn of(case: &Case, before: usize) -> Result<Self> {
        let (_, mut events) = asked(case, before).await?;
        events.retain(|event| counts(event) && event.verb.writes() && !event.dry_run);
        let own = case.key_of(&case.start.operator.key)?;
        let mut rest = case.twin.journal();
        let all = rest.len();
        rest.retain(|entry| entry.effect != Effect::ListKeys);
        let lists = all - rest.len();
        let is_look = |entry: &Entry| {
            let anybodys = entry.key.is_none() || entry.key.as_deref() == Some(&own);
            entry.effect == Effect::Look && anybodys
        };
        let (looks, calls) = rest.into_iter().partition(is_look);
        Ok(Self {
            writes: events,
            calls,
            lists,
            looks,
        })
    }

    /// The server was asked no more than this.
    fn asks(&self, calls: usize, lists: usize, looks: usize) -> Result<()> {
        ensure!(
            self.calls.len() <= calls && self.calls.len() > 1 && self.lists <= lists,
            "{} lists, and {:#?}",
            self.lists,
            self.calls
        );
        // To a list, and to a look at the connection, belongs one at which server it is that answers.
        let of = |template: &str| {
            let looks = self.looks.iter();
            looks.filter(|look| look.template == template).count()
        };
        ensure!(
            self.looks.len() <= looks && of("/api") <= self.lists + of("/api/authentication"),
            "{} lists, and {:#?}",
            self.lists,
            self.looks
        );
        Ok(())
    }
}
