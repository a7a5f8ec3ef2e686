//! Holders of a lease, under tokio's paused clock, before an API server that has this one Lease.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// An API server with one Lease.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    version: u64,
    lease: Option<Value>,
}

/// One machine's way to the cluster.
#[derive(Clone, Default)]
struct Wire {
    /// Nothing is answered.
    dead: Arc<AtomicBool>,
    /// Writes are done, and not answered.
    mute: Arc<AtomicBool>,
}

impl Wire {
    fn cut(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

impl Cluster {
    fn answer(&self, method: &Method, body: &[u8]) -> Response {
        let mut stored = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |code: StatusCode, reason| {
            let status = json!({
                "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason,
                "message": reason,
            });
            (code, Json(status)).into_response()
        };
        let version = stored.version.to_string();
        match (method, &stored.lease) {
            (&Method::GET, Some(lease)) => return Json(lease).into_response(),
            (&Method::GET, None) => return refused(StatusCode::NOT_FOUND, "NotFound"),
            (&Method::POST, None) => {}
            (&Method::POST, Some(_)) => return refused(StatusCode::CONFLICT, "AlreadyExists"),
            (_, lease) => {
                let wanted: Value = serde_json::from_slice(body).unwrap();
                if lease.is_none() || wanted["metadata"]["resourceVersion"] != version.as_str() {
                    return refused(StatusCode::CONFLICT, "Conflict");
                }
            }
        }
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        stored.version += 1;
        lease["metadata"]["resourceVersion"] = stored.version.to_string().into();
        stored.lease = Some(lease.clone());
        Json(lease).into_response()
    }

    fn client(&self, wire: &Wire) -> Client {
        let (cluster, wire) = (self.clone(), wire.clone());
        let answer = async move |method: Method, body: Bytes| {
            let never = std::future::pending::<Response>();
            if wire.dead.load(Ordering::SeqCst) {
                return never.await;
            }
            let answer = cluster.answer(&method, &body);
            if method != Method::GET && wire.mute.load(Ordering::SeqCst) {
                return never.await;
            }
            answer
        };
        Client::new(Router::new().fallback(answer), "default")
    }

    fn spec(&self) -> LeaseSpec {
        let stored = self.0.lock().unwrap();
        let lease = stored.lease.clone().unwrap();
        serde_json::from_value(lease["spec"].clone()).unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Option<Value>)) {
        let mut stored = self.0.lock().unwrap();
        change(&mut stored.lease);
        stored.version += 1;
        let version = stored.version.to_string();
        if let Some(lease) = &mut stored.lease {
            lease["metadata"]["resourceVersion"] = version.into();
        }
    }

    /// A candidate on a machine whose clock is so many hours off.
    fn candidate(&self, pod: &str, hours_off: i64, wire: &Wire) -> Candidate {
        let terms = Terms {
            name: "operator".to_owned(),
            pod: pod.to_owned(),
            times: Times::default(),
        };
        let clock = Off {
            shift: SignedDuration::from_hours(hours_off),
            began: Instant::now(),
        };
        Candidate::new(
            self.client(wire),
            "home",
            terms,
            Arc::new(clock),
            &Chance(u8::try_from(pod.len()).unwrap()),
        )
    }

    async fn leader(&self, pod: &str, wire: &Wire) -> Leadership {
        let candidate = self.candidate(pod, 0, wire);
        candidate.win(std::future::pending()).await.unwrap()
    }
}

struct Off {
    shift: SignedDuration,
    began: Instant,
}

impl Clock for Off {
    fn now(&self) -> Timestamp {
        let gone = SignedDuration::try_from(self.began.elapsed()).unwrap();
        Timestamp::UNIX_EPOCH + self.shift + gone + SignedDuration::from_hours(24)
    }
}

struct Chance(u8);

impl Entropy for Chance {
    fn draw(&self) -> [u8; 16] {
        [self.0; 16]
    }
}

/// Leads and does nothing, until it is lost; says when.
fn lead(mut leadership: Leadership) -> tokio::task::JoinHandle<(Lost, Instant)> {
    tokio::spawn(async move {
        let lost = leadership.during(std::future::pending::<()>()).await;
        (lost.unwrap_err(), Instant::now())
    })
}

#[tokio::test(start_paused = true)]
async fn a_fresh_lease_is_taken_at_once() {
    let (cluster, began) = (Cluster::default(), Instant::now());
    let leadership = cluster.leader("one", &Wire::default()).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let spec = cluster.spec();
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some("one_0303030303030303")
    );
    assert_eq!(leadership.holder(), "one_0303030303030303");
    assert_eq!(spec.lease_duration_seconds, Some(15));
    assert_eq!(spec.lease_transitions, Some(0));
    assert!(spec.acquire_time.is_some() && spec.acquire_time == spec.renew_time);
}

#[tokio::test(start_paused = true)]
async fn anothers_lease_ends_when_we_have_not_seen_it_renewed_for_its_duration() {
    for hours_off in [-48, 0, 48] {
        let cluster = Cluster::default();
        drop(cluster.leader("one", &Wire::default()).await);
        sleep(HOUR).await;
        let began = Instant::now();
        let second = cluster.candidate("second", hours_off, &Wire::default());
        second.win(std::future::pending()).await.unwrap();
        assert_eq!(began.elapsed(), 15 * SECOND, "{hours_off}");
        assert_eq!(cluster.spec().lease_transitions, Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_stays_one_until_it_dies_and_then_the_next_leads() {
    let cluster = Cluster::default();
    let first = cluster.leader("one", &Wire::default()).await;
    let first = lead(first);
    let second = tokio::spawn({
        let candidate = cluster.candidate("second", -3, &Wire::default());
        candidate.win(std::future::pending())
    });
    sleep(HOUR).await;
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!(cluster.spec().lease_transitions, Some(0));
    first.abort();
    let died = Instant::now();
    let second = second.await.unwrap().unwrap();
    assert!(died.elapsed() <= 17 * SECOND, "{:?}", died.elapsed());
    assert_eq!(
        cluster.spec().holder_identity.as_deref(),
        Some(second.holder())
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_that_begin_at_once_one_leads() {
    let cluster = Cluster::default();
    let led = Arc::new(AtomicUsize::new(0));
    let contest = |pod: &str| {
        let led = led.clone();
        let candidate = cluster.candidate(pod, 0, &Wire::default());
        tokio::spawn(async move {
            let leadership = candidate.win(std::future::pending()).await.unwrap();
            led.fetch_add(1, Ordering::SeqCst);
            lead(leadership).await.unwrap()
        })
    };
    let (first, second) = (contest("one"), contest("second"));
    sleep(HOUR).await;
    // Who leads goes on, and who does not waits on.
    assert!(!first.is_finished() && !second.is_finished());
    let spec = cluster.spec();
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(led.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_the_next_look() {
    let cluster = Cluster::default();
    let mut first = cluster.leader("one", &Wire::default()).await;
    let second = tokio::spawn({
        let candidate = cluster.candidate("second", 0, &Wire::default());
        candidate.win(std::future::pending())
    });
    first.during(sleep(60 * SECOND)).await.unwrap();
    first.release().await;
    let released = Instant::now();
    second.await.unwrap().unwrap();
    assert!(released.elapsed() <= 2 * SECOND, "{:?}", released.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_answers_stops_before_the_next_begins() {
    let (cluster, wire) = (Cluster::default(), Wire::default());
    let first = lead(cluster.leader("one", &wire).await);
    let second = tokio::spawn({
        let candidate = cluster.candidate("second", 0, &Wire::default());
        async move {
            let won = candidate.win(std::future::pending()).await;
            (won.unwrap(), Instant::now())
        }
    });
    sleep(60 * SECOND).await;
    wire.cut();
    let cut = Instant::now();
    let (lost, stopped) = first.await.unwrap();
    assert_eq!(lost, Lost::Unrenewed(10 * SECOND));
    assert!(stopped - cut <= 10 * SECOND, "{:?}", stopped - cut);
    let (_, began) = second.await.unwrap();
    assert!(
        stopped < began && began - cut <= 17 * SECOND,
        "{:?}",
        began - cut
    );
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_done_unheard_is_found() {
    let (cluster, wire) = (Cluster::default(), Wire::default());
    let first = lead(cluster.leader("one", &wire).await);
    sleep(3 * SECOND).await;
    wire.mute.store(true, Ordering::SeqCst);
    sleep(3 * SECOND).await;
    wire.mute.store(false, Ordering::SeqCst);
    sleep(HOUR).await;
    assert!(!first.is_finished());
    assert_eq!(cluster.spec().lease_transitions, Some(0));
}

#[tokio::test(start_paused = true)]
async fn one_who_has_slept_does_nothing_when_he_wakes() {
    let cluster = Cluster::default();
    let mut leadership = cluster.leader("one", &Wire::default()).await;
    let (bell, done) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let work = {
        let (bell, done) = (bell.clone(), done.clone());
        async move {
            loop {
                bell.notified().await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let leader = tokio::spawn(async move { leadership.during::<()>(work).await });
    bell.notify_one();
    sleep(SECOND).await;
    assert_eq!(done.load(Ordering::SeqCst), 1);
    let renewed = cluster.spec().renew_time;
    bell.notify_one();
    advance(60 * SECOND).await;
    let lost = leader.await.unwrap();
    assert_eq!(lost, Err(Lost::Unrenewed(10 * SECOND)));
    assert_eq!(done.load(Ordering::SeqCst), 1);
    assert_eq!(cluster.spec().renew_time, renewed);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_has_taken_is_lost() {
    let cluster = Cluster::default();
    let first = lead(cluster.leader("one", &Wire::default()).await);
    sleep(3 * SECOND).await;
    cluster.change(|lease| {
        lease.as_mut().unwrap()["spec"]["holderIdentity"] = json!("somebody");
    });
    let changed = Instant::now();
    let (lost, at) = first.await.unwrap();
    assert_eq!(lost, Lost::Taken("somebody".to_owned()));
    assert!(at - changed <= 4 * SECOND, "{:?}", at - changed);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_or_touched_is_kept() {
    let cluster = Cluster::default();
    let first = lead(cluster.leader("one", &Wire::default()).await);
    sleep(3 * SECOND).await;
    cluster.change(|lease| *lease = None);
    sleep(60 * SECOND).await;
    cluster.change(|lease| lease.as_mut().unwrap()["metadata"]["labels"] = json!({"a": "b"}));
    sleep(60 * SECOND).await;
    assert!(!first.is_finished());
    assert!(cluster.spec().holder_identity.is_some());
}

#[tokio::test(start_paused = true)]
async fn one_who_is_asked_to_end_waits_no_longer() {
    let cluster = Cluster::default();
    let _first = lead(cluster.leader("one", &Wire::default()).await);
    let second = cluster.candidate("second", 0, &Wire::default());
    let began = Instant::now();
    assert!(second.win(sleep(HOUR)).await.is_none());
    assert_eq!(began.elapsed(), HOUR);
}

#[test]
fn times_are_whole_seconds_in_order() {
    let times = |duration, deadline, retry| {
        let milliseconds = Duration::from_millis;
        Times::new(
            milliseconds(duration),
            milliseconds(deadline),
            milliseconds(retry),
        )
    };
    assert_eq!(times(15_000, 10_000, 2_000), Ok(Times::default()));
    for (duration, deadline, retry) in [
        (10_000, 10_000, 2_000),
        (15_000, 2_000, 2_000),
        (15_000, 10_000, 0),
        (15_500, 10_000, 2_000),
    ] {
        assert_eq!(times(duration, deadline, retry), Err(BadTimes));
    }
}
