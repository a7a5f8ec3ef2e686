//! [`Budget`]: how much one connection may ask of its server.
//!
//! A token bucket, a bound on requests at the same time, and a pause for all when the server asks
//! for patience. Nobody waits long in here: who would have to is told how long, and comes back.
//! Time is tokio's, so that it follows a paused clock.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::plan::port::Fault;

/// The longest wait for our own budget before a request. It is short, because a Mint must leave
/// within seconds of its Open.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the server is left alone when it asks for patience and does not say how long.
const PAUSE: Duration = Duration::from_secs(5);

/// The shortest pause of a server that asks for patience: with none, whoever comes back when told
/// would ask without end.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that a server can impose: a nonsensical one must not silence us for ever.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What one connection may ask of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute in the long run.
    pub requests_per_minute: NonZeroU32,
    /// Requests at once after a time of rest.
    pub burst: NonZeroU32,
    /// Requests under way at the same time.
    pub concurrency: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            NonZeroU32::MIN.saturating_add(number.saturating_sub(1))
        }
        Self {
            requests_per_minute: at_least_one(300),
            burst: at_least_one(50),
            concurrency: at_least_one(8),
        }
    }
}

/// The budget of one connection, shared by all its clients.
#[derive(Debug)]
pub struct Budget {
    /// The time that one request costs.
    cost: Duration,
    /// The time that may be spent ahead.
    credit: Duration,
    slots: Semaphore,
    spent: Mutex<Spent>,
}

#[derive(Debug)]
struct Spent {
    /// The time up to which requests have been paid for.
    paid_until: Instant,
    /// The end of the pause that the server asked for.
    paused_until: Instant,
}

impl Budget {
    /// A fresh budget.
    pub fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let cost = Duration::from_secs(60) / limits.requests_per_minute.get();
        let slots = usize::try_from(limits.concurrency.get()).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            cost,
            credit: cost.saturating_mul(limits.burst.get().saturating_sub(1)),
            slots: Semaphore::new(slots.min(Semaphore::MAX_PERMITS)),
            spent: Mutex::new(Spent {
                paid_until: now,
                paused_until: now,
            }),
        }
    }

    /// Waits, shortly, until a request may be sent; the slot is held until the answer is there.
    /// `Throttled` when the wait would be long.
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let latest = Instant::now() + PATIENCE;
        by(latest, self.spent().paused_until)?;
        let Ok(Ok(slot)) = timeout_at(latest, self.slots.acquire()).await else {
            return Err(Fault::Throttled {
                after: Some(PATIENCE),
            });
        };
        let ready = self.pay(latest)?;
        sleep_until(ready).await;
        // The server may have asked for patience meanwhile.
        by(Instant::now(), self.spent().paused_until)?;
        Ok(slot)
    }

    /// Pays for one request, and says when it may go.
    fn pay(&self, latest: Instant) -> Result<Instant, Fault> {
        let mut spent = self.spent();
        let earned = spent.paid_until.checked_sub(self.credit);
        let ready = earned.map_or(spent.paused_until, |at| at.max(spent.paused_until));
        by(latest, ready)?;
        spent.paid_until = spent.paid_until.max(Instant::now()) + self.cost;
        Ok(ready)
    }

    /// The server asks for patience: nobody sends it anything for so long.
    pub(super) fn pause(&self, after: Option<Duration>) {
        let end = Instant::now() + after.unwrap_or(PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut spent = self.spent();
        spent.paused_until = spent.paused_until.max(end);
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Throttled` when `ready` is later than one is ready to wait.
fn by(latest: Instant, ready: Instant) -> Result<(), Fault> {
    if ready <= latest {
        return Ok(());
    }
    Err(Fault::Throttled {
        after: Some(ready.saturating_duration_since(Instant::now())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(requests_per_minute: u32, burst: u32, concurrency: u32) -> Budget {
        let number = |n| NonZeroU32::new(n).unwrap();
        Budget::new(Limits {
            requests_per_minute: number(requests_per_minute),
            burst: number(burst),
            concurrency: number(concurrency),
        })
    }

    fn waits(fault: Result<SemaphorePermit<'_>, Fault>) -> Duration {
        match fault {
            Err(Fault::Throttled { after: Some(after) }) => after,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let budget = budget(60, 3, 8);
        let start = Instant::now();
        for _ in 0..3 {
            drop(budget.enter().await.unwrap());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        drop(budget.enter().await.unwrap());
        assert_eq!(start.elapsed().as_secs(), 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        let rested = Instant::now();
        for _ in 0..3 {
            drop(budget.enter().await.unwrap());
        }
        assert_eq!(
            rested.elapsed(),
            Duration::ZERO,
            "rest earns no more than a burst, and no less"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_long_is_told_so() {
        let budget = budget(6, 1, 8);
        drop(budget.enter().await.unwrap());
        let start = Instant::now();
        assert_eq!(waits(budget.enter().await), Duration::from_secs(10));
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(budget.enter().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn slots_are_held_until_they_are_given_back() {
        let budget = budget(6000, 100, 1);
        let slot = budget.enter().await.unwrap();
        assert_eq!(waits(budget.enter().await), PATIENCE);
        drop(slot);
        drop(budget.enter().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_all_and_ends() {
        let budget = budget(6000, 100, 8);
        budget.pause(Some(Duration::from_secs(30)));
        budget.pause(Some(Duration::from_secs(3)));
        assert_eq!(waits(budget.enter().await), Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(29)).await;
        let start = Instant::now();
        drop(budget.enter().await.unwrap());
        assert_eq!(
            start.elapsed().as_secs(),
            1,
            "the short rest of a pause is waited for"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_begins_while_one_waits_holds_him_too() {
        let budget = budget(60, 1, 8);
        drop(budget.enter().await.unwrap());
        let (waiting, ()) = tokio::join!(budget.enter(), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            budget.pause(Some(Duration::from_secs(60)));
        });
        assert_eq!(waits(waiting).as_secs(), 59);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_nothing_is_one_all_the_same() {
        let budget = budget(6000, 100, 8);
        budget.pause(Some(Duration::ZERO));
        let start = Instant::now();
        drop(budget.enter().await.unwrap());
        assert_eq!(start.elapsed(), SHORTEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_without_a_length_is_short_and_none_is_endless() {
        let budget = budget(6000, 100, 8);
        budget.pause(None);
        assert_eq!(waits(budget.enter().await), PAUSE);
        budget.pause(Some(Duration::MAX));
        assert_eq!(waits(budget.enter().await), LONGEST_PAUSE);
    }
}
