//! What a rotation and a lost Secret cost, counted from the API server's audit log and the twin's
//! journal until the replaced key has ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::DynamicObject;
use testbed::twins::Effect;

use super::case::{Account, Case, Key, Sealed};
use super::{Row, rows};
use crate::budget::{asked, counts};

/// A replaced key lives for three minutes at least.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn long() -> Vec<Row> {
    rows![rotation_costs, two_slots_cost, lost_secret_costs]
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
    let [credential, _, account, _] = case.whole();
    case.apply(&[credential, case.server("resync: 1h"), account])
        .await?;
    case.ready(Account("ci")).await?;
    case.looked_at(Account("ci")).await?;
    case.apply(&[case.key(spec)]).await?;
    case.ready(Key("ci")).await?;
    let (before, _) = asked(case, 0).await?;
    case.twin.forget();
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
    let (_, events) = asked(case, before).await?;
    let writes: Vec<_> = events
        .iter()
        .filter(|event| counts(event) && event.verb.writes() && !event.dry_run)
        .collect();
    ensure!(
        writes.len() <= most && writes.len() > 2,
        "{} writes: {writes:#?}",
        writes.len()
    );
    let mut calls = case.twin.journal();
    let lists = calls.len();
    calls.retain(|entry| entry.effect != Effect::ListKeys);
    let lists = lists - calls.len();
    // To a list belongs a look at which server it is that has answered.
    calls.retain(|entry| entry.template != "/api");
    ensure!(
        calls.len() <= 3 && lists <= 1,
        "{lists} lists, and {calls:#?}"
    );
    case.healed(1).await
}
