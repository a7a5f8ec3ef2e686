//! Two operators of one release: one leads, the other stands by with everything seen. The leader is
//! killed, and the next one put to sleep for longer than its lease lasts: both with a key in hand
//! that nobody else knows of, while programs use the keys.

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::Api;
use testbed::control_plane::AuditEvent;
use testbed::process::Signal;
use testbed::twins::{Fault, Rule};
use tokio::time::timeout;

use super::case::{Account, Case, Key};
use super::kills;
use super::programs::{Habit, Programs};
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
/// So much later it is taken at the latest: the one who stands by looks every second.
const SOON: i64 = 5;
/// What was replaced goes soon, and programs may try both keys.
const SPEC: &str = "rotation: {overlap: 0s}, secret: {keepPrevious: true}";

pub(super) async fn two_replicas(stage: &Arc<Stage>) -> Result<()> {
    stage.stop().await?;
    let case = Case::open(stage, "replicas").await?;
    let first = stage.replica("first", &TIMES)?;
    leads(&case, &first).await?;
    let second = stage.replica("second", &TIMES)?;
    stands_by(&case, &second).await?;
    let [credential, server, account, _] = case.whole();
    case.apply(&[credential, server, account, case.key(SPEC)])
        .await?;
    case.healed(1).await?;
    let programs = Programs::default();
    for habit in Habit::ALL {
        programs.employ(&case, "ci", habit);
    }
    stands_by(&case, &second).await?;

    let mut left = vec![key_in_hand(&case, "ci").await?];
    first.process.signal(Signal::KILL)?;
    first.process.wait().await?;
    let last = renewed(&lease(&case).await?)?;
    case.apply(&[case.key_named("second", SPEC)]).await?;
    leads(&case, &second).await?;
    in_time(&case, last).await?;
    case.ready(Key("second")).await?;
    for habit in Habit::ALL {
        programs.employ(&case, "second", habit);
    }

    let third = stage.replica("third", &TIMES)?;
    stands_by(&case, &third).await?;
    left.push(sleeps(&case, &second, &third).await?);
    ends(&case, left).await?;
    programs.content()?;
    case.end().await?;

    ends_well(&case, third).await?;
    stage.start().await
}

/// Has a key replaced, and returns while the leader waits for the answer of the server; what the server
/// has made then nobody else knows.
async fn key_in_hand(case: &Case, name: &str) -> Result<String> {
    let slow = Rule::new(Fault::Slow { millis: 20_000 });
    let slow = slow.on("POST", "/api/users/*/apikeys").next(1);
    case.twin.fault(slow);
    let known: BTreeSet<String> = case.living().into_iter().map(|key| key.id).collect();
    let ask = [("apikeys.dev/rotate", Some("now"))];
    case.annotate(Key(name), &ask).await?;
    let made = |case: &Case| {
        let mut living = case.living().into_iter().map(|key| key.id);
        living.find(|id| !known.contains(id))
    };
    let made = case.shown("another key", made).await?;
    case.mended();
    Ok(made)
}

/// The lease was taken when it had ended, and soon after.
async fn in_time(case: &Case, last: Timestamp) -> Result<()> {
    let taken = acquired(&lease(case).await?)?;
    let after = taken.duration_since(last).as_secs();
    ensure!(
        (DURATION..=DURATION + SOON).contains(&after),
        "renewed at {last} and taken at {taken}"
    );
    Ok(())
}

/// The leader sleeps with a key in hand, the other takes over; the leader wakes, does nothing and ends.
/// Returns the key.
async fn sleeps(case: &Case, leader: &Replica, other: &Replica) -> Result<String> {
    let left = key_in_hand(case, "second").await?;
    leader.process.signal(Signal::STOP)?;
    case.apply(&[case.key_named("third", "")]).await?;
    let last = renewed(&lease(case).await?)?;
    leads(case, other).await?;
    in_time(case, last).await?;
    case.ready(Key("third")).await?;
    for name in ["ci", "second"] {
        case.until(Key(name), "has another key", |found| {
            (found?.data["status"]["lastHandledRotate"] == "now").then_some(())
        })
        .await?;
    }
    // Nobody has anything to do when the sleeper wakes, but what it has not heard of. The keys that
    // were left are too young to be called strays.
    case.until(Account("ci"), "counts its keys", |found| {
        let counts = &found?.data["status"]["keys"];
        (counts["managed"] == 5 && counts["retiring"] == 2).then_some(())
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
    Ok(left)
}

/// Each key was made because it was asked for, or because a leader was cut off with one in hand; those
/// the sweep ends.
async fn ends(case: &Case, left: Vec<String>) -> Result<()> {
    // Three first ones and two rotations.
    let minted = case.minted();
    ensure!(
        minted == 5 + left.len(),
        "{minted} keys were made\n{:#?}",
        case.twin.journal()
    );
    for name in ["ci", "second", "third"] {
        let key = case.works_at(name).await?;
        ensure!(!left.contains(&key.id), "{name} holds a key that was left");
    }
    for id in &left {
        kills::grow_old(case, id)?;
    }
    let swept = |case: &Case| {
        let living = case.living();
        living
            .iter()
            .all(|key| !left.contains(&key.id))
            .then_some(())
    };
    case.shown("the end of the keys that were left", swept)
        .await
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
