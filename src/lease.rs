//! Who leads: of all operators of one release, the one that holds its Lease. The others watch, so
//! that they know everything when their turn comes, and change nothing.
//!
//! Times of two machines are never compared: another's lease has ended when we have not seen its
//! holder renew it for its whole duration, by our own monotonic clock. Every write carries the
//! resourceVersion of what it was decided on. A lease is no fence all the same: one who was asleep
//! may believe that he still leads. What keeps two leaders from harm is in the steps, not here.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::clock::{Clock, Entropy};

/// The times of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    duration: Duration,
    deadline: Duration,
    retry: Duration,
}

/// Times that make no sense together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease must last longer than its holder tries to renew it, and that longer than the pause \
     between two tries, which must last a second at least"
)]
pub struct BadTimes;

impl Times {
    /// A lease that ends `duration` after it was last renewed; whoever holds it stops when it could
    /// not renew it for `deadline`, and tries every `retry`.
    ///
    /// # Errors
    /// When they are not in this order, or not whole seconds.
    pub fn new(duration: Duration, deadline: Duration, retry: Duration) -> Result<Self, BadTimes> {
        let whole = [duration, deadline, retry]
            .iter()
            .all(|time| time.subsec_nanos() == 0);
        let ordered = !retry.is_zero() && retry < deadline && deadline < duration;
        let fits = i32::try_from(duration.as_secs()).is_ok();
        (whole && ordered && fits)
            .then_some(Self {
                duration,
                deadline,
                retry,
            })
            .ok_or(BadTimes)
    }

    fn seconds(self) -> Option<i32> {
        i32::try_from(self.duration.as_secs()).ok()
    }
}

impl Default for Times {
    /// What operators and Kubernetes' own controllers are used to.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What is to be held, and as whom.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The name of the Lease, in the operator's own namespace.
    pub name: String,
    /// The name of our pod. What is added to it makes us another holder in each of our lives.
    pub pod: String,
    /// Its times.
    pub times: Times,
}

/// Why we lead no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another holds the lease.
    #[error("{0} holds the lease")]
    Taken(String),
    /// The lease could not be renewed in time.
    #[error("the lease could not be renewed for {} s", .0.as_secs())]
    Unrenewed(Duration),
}

/// One that would lead.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    holder: String,
    times: Times,
    clock: Arc<dyn Clock>,
    /// The last sign of life of a holder.
    seen: Option<Seen>,
    /// The lease as we wrote it last; none when somebody may have changed it since.
    written: Option<Lease>,
}

/// A sign of life of a holder.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    holder: String,
    renewed: Option<MicroTime>,
    /// When we saw it first.
    at: Instant,
}

/// How a try to hold the lease has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Try {
    /// We hold it, and may believe so until then.
    Held(Instant),
    /// Another does; it ends then, unless it is renewed.
    Anothers { holder: String, ends: Instant },
    /// Nobody can say.
    Unclear(String),
}

impl Candidate {
    /// One that would lead by a Lease of this namespace.
    pub fn new(
        client: Client,
        namespace: &str,
        terms: Terms,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Self {
        let Terms { name, pod, times } = terms;
        let mut holder = format!("{pod}_");
        for byte in &entropy.draw()[..8] {
            // Writing to a text does not fail.
            let _ = write!(holder, "{byte:02x}");
        }
        Self {
            leases: Api::namespaced(client, namespace),
            name,
            holder,
            times,
            clock,
            seen: None,
            written: None,
        }
    }

    /// Waits until we hold the lease; `None` when `stop` comes first. What is under way then is
    /// waited for, so that nobody else has to wait for a lease that nobody uses.
    pub async fn win(mut self, stop: impl Future<Output = ()>) -> Option<Leadership> {
        let mut stop = pin!(stop);
        let mut leader = None;
        loop {
            let again = Instant::now() + self.times.retry;
            let next = match self.attempt().await {
                Try::Held(until) => return Some(Leadership::new(self, until)),
                Try::Anothers { holder, ends } => {
                    if leader.as_ref() != Some(&holder) {
                        tracing::info!(lease.holder = holder, "standing by: another leads");
                        leader = Some(holder);
                    }
                    ends.min(again)
                }
                Try::Unclear(why) => {
                    tracing::warn!("the lease cannot be taken: {why}");
                    again
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return None,
                () = sleep_until(next) => {}
            }
        }
    }

    /// Tries once to take or to renew the lease, for not longer than half the time that there is.
    async fn attempt(&mut self) -> Try {
        let patience = self.times.deadline / 2;
        let tried = timeout(patience, self.hold()).await;
        match tried {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                self.written = None;
                Try::Unclear(said(&error))
            }
            Err(_) => {
                self.written = None;
                Try::Unclear(format!("no answer in {} s", patience.as_secs_f32()))
            }
        }
    }

    async fn hold(&mut self) -> Result<Try, Error> {
        let found = match self.written.take() {
            Some(ours) => Some(ours),
            None => self.leases.get_opt(&self.name).await?,
        };
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        if let Some(spec) = spec
            && let Some((holder, ends)) = self.in_the_way(spec)
        {
            return Ok(Try::Anothers { holder, ends });
        }
        let claim = self.claim(spec);
        // Others see it later than this, and so it ends later for them.
        let sent = Instant::now();
        let written = self.write(found, claim).await?;
        self.written = Some(written);
        Ok(Try::Held(sent + self.times.deadline))
    }

    /// Who else holds the lease, and when it ends.
    fn in_the_way(&mut self, spec: &LeaseSpec) -> Option<(String, Instant)> {
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder.is_empty() || holder == self.holder {
            return None;
        }
        let now = Instant::now();
        let seen = self
            .seen
            .take()
            .filter(|seen| seen.holder == holder && seen.renewed == spec.renew_time);
        let at = seen.map_or(now, |seen| seen.at);
        self.seen = Some(Seen {
            holder: holder.clone(),
            renewed: spec.renew_time.clone(),
            at,
        });
        let seconds = spec
            .lease_duration_seconds
            .and_then(|it| u64::try_from(it).ok());
        let ends = at + seconds.map_or(self.times.duration, Duration::from_secs);
        (now < ends).then_some((holder, ends))
    }

    /// What the lease says when it is ours.
    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let before = before.cloned().unwrap_or_default();
        let ours = before.holder_identity.as_ref() == Some(&self.holder);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: self.times.seconds(),
            acquire_time: before
                .acquire_time
                .filter(|_| ours)
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.renew_time.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }

    /// Makes the lease, or replaces the one that was found and no other.
    async fn write(&self, found: Option<Lease>, spec: LeaseSpec) -> Result<Lease, Error> {
        let params = PostParams::default();
        if let Some(mut lease) = found {
            lease.spec = Some(spec);
            return self.leases.replace(&self.name, &params, &lease).await;
        }
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        self.leases.create(&params, &lease).await
    }

    /// Gives the lease back, if it is ours.
    async fn give_back(&mut self) -> Result<(), Error> {
        loop {
            // A renewal that was given up may have been done, or be under way.
            let found = match self.written.take() {
                Some(ours) => Some(ours),
                None => self.leases.get_opt(&self.name).await?,
            };
            let Some(spec) = found.as_ref().and_then(|lease| lease.spec.clone()) else {
                return Ok(());
            };
            if spec.holder_identity.as_ref() != Some(&self.holder) {
                return Ok(());
            }
            let free = LeaseSpec {
                holder_identity: None,
                lease_duration_seconds: Some(1),
                renew_time: Some(MicroTime(self.clock.now())),
                ..spec
            };
            match self.write(found, free).await {
                Err(Error::Api(status)) if status.is_conflict() => {}
                written => return written.map(drop),
            }
        }
    }
}

/// That we lead, for as long as the lease can be renewed.
pub struct Leadership {
    candidate: Candidate,
    /// Until when we may believe it.
    until: watch::Sender<Instant>,
}

impl Leadership {
    fn new(candidate: Candidate, until: Instant) -> Self {
        Self {
            candidate,
            until: watch::Sender::new(until),
        }
    }

    /// Whom the lease names.
    pub fn holder(&self) -> &str {
        &self.candidate.holder
    }

    /// Does `work`, and renews the lease meanwhile. No step of the work is begun, and none goes on,
    /// when the lease may have ended: also not by one who has slept and wakes.
    ///
    /// # Errors
    /// When the lease is lost before the work is done. The work is given up where it was.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Lost> {
        let until = self.until.subscribe();
        let deadline = self.candidate.times.deadline;
        let (mut renewals, mut work) = (pin!(self.renew()), pin!(work));
        poll_fn(|cx| {
            if let Poll::Ready(lost) = renewals.as_mut().poll(cx) {
                return Poll::Ready(Err(lost));
            }
            if Instant::now() >= *until.borrow() {
                return Poll::Ready(Err(Lost::Unrenewed(deadline)));
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Renews the lease until it is lost.
    async fn renew(&mut self) -> Lost {
        let Times {
            deadline, retry, ..
        } = self.candidate.times;
        loop {
            let until = *self.until.borrow();
            sleep_until(until.min(Instant::now() + retry)).await;
            if Instant::now() >= until {
                return Lost::Unrenewed(deadline);
            }
            match timeout_at(until, self.candidate.attempt()).await {
                Ok(Try::Held(until)) => drop(self.until.send_replace(until)),
                Ok(Try::Anothers { holder, .. }) => return Lost::Taken(holder),
                Ok(Try::Unclear(why)) => tracing::warn!("the lease was not renewed: {why}"),
                Err(_) => return Lost::Unrenewed(deadline),
            }
        }
    }

    /// Gives the lease back, so that nobody has to wait until it ends.
    pub async fn release(mut self) {
        let patience = self.candidate.times.deadline / 2;
        match timeout(patience, self.candidate.give_back()).await {
            Ok(Ok(())) => tracing::info!("the lease is given back"),
            Ok(Err(error)) => tracing::warn!("the lease is left to end: {}", said(&error)),
            Err(_) => tracing::warn!("the lease is left to end: no answer"),
        }
    }
}

/// What is wrong, in a few words.
fn said(error: &Error) -> String {
    match error {
        Error::Api(status) if status.is_conflict() => "somebody else was faster".to_owned(),
        Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
