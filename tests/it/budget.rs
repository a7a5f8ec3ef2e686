//! What the operator may cost, counted from the API server's audit log and the twin's journal:
//! never by its own counters. (A restart over settled keys: `cluster::alone`; a rotation and what
//! was lost, which take minutes: `cluster::long`.)

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::SignedDuration;
use kube::api::DynamicObject;
use testbed::control_plane::{AuditEvent, Verb};
use testbed::twins::{Effect, Entry};

use crate::cluster::{Account, Case, Key, Server, Stage, Stages, USER};
use crate::ladder::Rung;

/// How often accounts are compared with their server here: the shortest that there is.
const RESYNC: Duration = Duration::from_secs(10);
/// Keys of one account.
const KEYS: usize = 20;

/// The rung.
pub(crate) fn rung(stages: &Stages) -> Rung {
    let [first, second] = [stages.clone(), stages.clone()];
    Rung::new("budget")
        .test("an_idle_account_of_many_keys", async move |ground| {
            an_idle_account_of_many_keys(&first.shared(ground).await?).await
        })
        .test("a_new_key", async move |ground| {
            a_new_key(&second.shared(ground).await?).await
        })
}

/// What the operator asked of the API server about a namespace, after so much that was asked before.
pub(crate) async fn asked(case: &Case, before: usize) -> Result<(usize, Vec<AuditEvent>)> {
    let all = case.stage.control_plane().await?.audit().await?;
    let of_ours = |event: &&AuditEvent| event.user == USER && event.namespace == case.namespace;
    let ours = all[before..].iter().filter(of_ours).cloned().collect();
    Ok((all.len(), ours))
}

/// Whether a request is one that the budgets count: Events are news, and not.
pub(crate) fn counts(event: &AuditEvent) -> bool {
    event.resource != "events"
}

/// What people read in the log of the ApiKeys and accounts of this name (of all, without one).
fn told(case: &Case, name: &str) -> Result<Vec<String>> {
    let whose = format!("{}/{name}", case.namespace);
    let level = |line: &&str| line.contains(" INFO ") || line.contains(" WARN ");
    let log = case.stage.log()?;
    let lines = log.lines().filter(level);
    let lines = lines.filter(|line| line.contains(&whose));
    Ok(lines.map(ToOwned::to_owned).collect())
}

async fn a_new_key(stage: &Arc<Stage>) -> Result<()> {
    let case = Case::open(stage, "budget-a-new-key").await?;
    let [credential, _, account, key] = case.whole();
    case.apply(&[credential, case.server("resync: 1h"), account])
        .await?;
    case.ready(Account("ci")).await?;
    // The account has counted its keys, and the connection has heard of it.
    case.looked_at(Account("ci")).await?;
    case.apply(&[case.key_named("first", "")]).await?;
    case.ready(Key("first")).await?;
    let (before, _) = asked(&case, 0).await?;
    case.twin.forget();
    case.apply(&[key]).await?;
    case.ready(Key("ci")).await?;
    let (_, events) = asked(&case, before).await?;
    let events: Vec<_> = events.into_iter().filter(counts).collect();
    let count =
        |fits: &dyn Fn(&AuditEvent) -> bool| events.iter().filter(|event| fits(event)).count();
    let writes = count(&|event| event.verb.writes() && !event.dry_run);
    let rehearsals = count(&|event| event.dry_run);
    let reads = count(&|event| matches!(event.verb, Verb::Get | Verb::List));
    let calls: Vec<Entry> = case.twin.journal();
    ensure!(
        writes <= 3 && rehearsals == 1 && reads <= 2 && calls.len() <= 2,
        "{writes} writes, {rehearsals} dry runs, {reads} live reads: {events:#?}; {} calls: {calls:#?}",
        calls.len()
    );
    ensure!(case.minted() == 1 && writes > 0, "nothing was counted");
    let said = told(&case, "ci:")?;
    let made = said.iter().filter(|line| line.contains("ApiKey"));
    ensure!(
        made.count() == 1,
        "not one line for a changed pass: {said:#?}"
    );
    case.end().await
}

/// No write over several resyncs, and one list at each, however many keys there are.
async fn an_idle_account_of_many_keys(stage: &Arc<Stage>) -> Result<()> {
    let case = Case::open(stage, "budget-idle").await?;
    case.apply(&case.ground()).await?;
    case.apply(&[case.account("")]).await?;
    let names: Vec<String> = (0..KEYS).map(|number| format!("k{number}")).collect();
    let keys: Vec<_> = names.iter().map(|name| case.key_named(name, "")).collect();
    case.apply(&keys).await?;
    for name in &names {
        case.ready(Key(name)).await?;
    }
    case.healed_of(KEYS)?;
    let lists = |case: &Case| -> Vec<Entry> {
        let mut journal = case.twin.journal();
        journal.retain(|entry| entry.effect == Effect::ListKeys);
        journal
    };
    // Counts are written at the resync after the last key was made; then nothing is news.
    let counts = |object: Option<&DynamicObject>| {
        (object?.data["status"]["keys"]["managed"] == KEYS).then_some(())
    };
    for object in [Account("ci"), Server("octopus")] {
        case.until(object, "counts its keys", counts).await?;
    }
    case.twin.forget();
    let (before, _) = asked(&case, 0).await?;
    let said = told(&case, "")?.len();
    ensure!(said > KEYS, "only {said} lines for {KEYS} keys");
    let seen = case
        .shown("two resyncs", |case| {
            Some(lists(case)).filter(|seen| seen.len() >= 2)
        })
        .await?;
    let (_, events) = asked(&case, before).await?;
    let writes: Vec<_> = events.iter().filter(|event| event.verb.writes()).collect();
    ensure!(writes.is_empty(), "idle passes write: {writes:#?}");
    let news = told(&case, "")?.split_off(said);
    ensure!(news.is_empty(), "idle passes are told of: {news:#?}");
    let least = SignedDuration::try_from(RESYNC)? - SignedDuration::from_secs(1);
    for pair in seen.windows(2) {
        let apart = pair[1].at.duration_since(pair[0].at);
        ensure!(apart >= least, "two lists are {apart:#} apart: {seen:#?}");
    }
    ensure!(case.minted() == 0);
    case.end().await
}
