//! Two operators of one release: one leads, the other stands by with everything seen. The leader is
//! killed, and the next one put to sleep for longer than its lease lasts.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::Api;
use testbed::control_plane::AuditEvent;
use testbed::process::Signal;
use tokio::time::timeout;

use super::case::{Account, Case, Key};
use super::stage::{OPERATOR, Replica, Stage, USER};

/// Shorter than usual, and long enough for a loaded machine.
const TIMES: [&str; 3] = [
    "--lease-duration=8s",
    "--lease-renew-deadline=6s",
    "--lease-retry-period=1s",
];
/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The lease, in seconds.
const DURATION: i64 = 8;

pub(super) async fn two_replicas(stage: &Arc<Stage>) -> Result<()> {
    stage.stop().await?;
    let case = Case::open(stage, "replicas").await?;
    let first = stage.replica("first", &TIMES)?;
    leads(&case, &first).await?;
    let second = stage.replica("second", &TIMES)?;
    stands_by(&case, &second).await?;
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let value = case.value("ci").await?;
    stands_by(&case, &second).await?;

    first.process.signal(Signal::KILL)?;
    first.process.wait().await?;
    let last = renewed(&lease(&case).await?)?;
    case.apply(&[case.key_named("second", "")]).await?;
    leads(&case, &second).await?;
    let taken = acquired(&lease(&case).await?)?;
    ensure!(
        taken.duration_since(last).as_secs() >= DURATION,
        "renewed at {last} and taken at {taken}"
    );
    case.ready(Key("second")).await?;
    case.healed_of(2)?;

    let third = stage.replica("third", &TIMES)?;
    stands_by(&case, &third).await?;
    sleeps(&case, &second, &third).await?;
    case.works(&value).context("the first key does not work")?;
    ensure!(
        case.value("ci").await? == value,
        "the first key was replaced"
    );
    case.end().await?;

    ends_well(&case, third).await?;
    stage.start().await
}

/// The leader sleeps, the other takes over; the leader wakes, does nothing and ends.
async fn sleeps(case: &Case, leader: &Replica, other: &Replica) -> Result<()> {
    leader.process.signal(Signal::STOP)?;
    case.apply(&[case.key_named("third", "")]).await?;
    leads(case, other).await?;
    case.ready(Key("third")).await?;
    // Nobody has anything to do when the sleeper wakes, but what it has not heard of.
    case.until(Account("ci"), "counts its keys", |found| {
        (found?.data["status"]["keys"]["managed"] == 3).then_some(())
    })
    .await?;
    let asleep = case.stage.control_plane().await?.audit().await?.len();
    leader.process.signal(Signal::CONT)?;
    let status = ended(leader).await?;
    ensure!(status.code() == Some(1), "it ended with {status}");
    let log = leader.log()?;
    let told: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    ensure!(
        told.len() == 1 && told[0].contains("the lease could not be renewed for 6 s"),
        "{told:?}"
    );
    let events = case.stage.control_plane().await?.audit().await?;
    let wrote = |event: &&AuditEvent| {
        event.user == USER
            && event.verb.writes()
            && event.namespace == case.namespace
            && event.resource != "events"
    };
    let writes: Vec<_> = events[asleep..].iter().filter(wrote).collect();
    // The counts of the connection may come late.
    ensure!(
        writes
            .iter()
            .all(|event| event.resource == "deployservers" && event.subresource == "status"),
        "{writes:?}"
    );
    case.healed_of(3)
}

/// Asked to end, a leader gives the lease back.
async fn ends_well(case: &Case, leader: Replica) -> Result<()> {
    leader.process.signal(Signal::TERM)?;
    let status = ended(&leader).await?;
    ensure!(status.success(), "it ended with {status}");
    let lease = lease(case).await?;
    ensure!(lease.holder_identity.is_none(), "{lease:?}");
    Ok(())
}

/// Waits until it has ended by itself.
async fn ended(replica: &Replica) -> Result<ExitStatus> {
    let ended = timeout(PATIENCE, replica.process.wait()).await;
    ended.with_context(|| format!("it never ends:\n{}", replica.process.last_words()))?
}

/// Waits until it leads, and says so.
async fn leads(case: &Case, replica: &Replica) -> Result<()> {
    let pod = replica.process.log().file_stem().unwrap_or_default();
    let pod = format!("{}_", pod.to_string_lossy());
    let what = format!("{pod} leads");
    case.shown_by(&what, async || Ok(replica.log()?.contains("it leads")))
        .await?;
    let holder = lease(case).await?.holder_identity.unwrap_or_default();
    ensure!(holder.starts_with(&pod), "{holder} holds the lease");
    let metrics = replica.page("metrics").await?;
    ensure!(metrics.contains("apikey_operator_leader 1\n"), "{metrics}");
    Ok(())
}

/// Waits until it has seen everything, and looks whether it has acted.
async fn stands_by(case: &Case, replica: &Replica) -> Result<()> {
    case.shown_by("it stands by", async || {
        Ok(replica.log()?.contains("standing by"))
    })
    .await?;
    ensure!(replica.page("readyz").await? == "ok\n");
    let metrics = replica.page("metrics").await?;
    ensure!(metrics.contains("apikey_operator_leader 0\n"), "{metrics}");
    ensure!(
        !metrics.contains("apikey_operator_pass_duration_seconds_count"),
        "it has made passes: {metrics}"
    );
    Ok(())
}

async fn lease(case: &Case) -> Result<LeaseSpec> {
    let leases: Api<Lease> = Api::namespaced(case.stage.client.clone(), OPERATOR);
    let lease = leases.get(OPERATOR).await?;
    lease.spec.context("an empty lease")
}

fn renewed(lease: &LeaseSpec) -> Result<Timestamp> {
    Ok(lease.renew_time.clone().context("never renewed")?.0)
}

fn acquired(lease: &LeaseSpec) -> Result<Timestamp> {
    Ok(lease.acquire_time.clone().context("never acquired")?.0)
}
