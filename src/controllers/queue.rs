//! [`Queue`]: for each of many things so many at a time, the most urgent of those who wait first, and
//! among equals whoever came first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How urgent a pass is; the least urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Nothing is missed while it waits: a comparison of what is with what should be.
    Drift,
    /// A key is to be replaced in time.
    Rotation,
    /// Somebody waits: for a first key, or for the end of one.
    Awaited,
}

/// The queues of many things.
pub(crate) struct Queue<K: Eq + Hash>(Arc<Shared<K>>);

struct Shared<K: Eq + Hash> {
    at_a_time: usize,
    things: Mutex<HashMap<K, Thing<K>>>,
}

/// The queue of one thing that is in use.
struct Thing<K: Eq + Hash> {
    taken: usize,
    came: u64,
    waiting: BTreeMap<(Reverse<Urgency>, u64), oneshot::Sender<Turn<K>>>,
}

/// A turn; it ends when this is dropped.
#[must_use = "the turn ends when this is dropped"]
pub(crate) struct Turn<K: Eq + Hash>(Option<(Arc<Shared<K>>, K)>);

impl<K: Eq + Hash + Clone> Queue<K> {
    /// So many turns at a time for each thing.
    pub(crate) fn of(at_a_time: usize) -> Self {
        Self(Arc::new(Shared {
            at_a_time,
            things: Mutex::default(),
        }))
    }

    /// Waits for a turn at this thing.
    pub(crate) async fn take(&self, thing: K, urgency: Urgency) -> Turn<K> {
        let called = {
            let mut things = self.0.things();
            let queue = things.entry(thing.clone()).or_insert_with(|| Thing {
                taken: 0,
                came: 0,
                waiting: BTreeMap::new(),
            });
            if queue.taken < self.0.at_a_time {
                queue.taken += 1;
                return Turn(Some((Arc::clone(&self.0), thing)));
            }
            let (call, called) = oneshot::channel();
            queue.came += 1;
            queue.waiting.insert((Reverse(urgency), queue.came), call);
            called
        };
        // None never comes about: a queue is kept as long as somebody waits in it.
        called.await.unwrap_or(Turn(None))
    }
}

impl<K: Eq + Hash> Shared<K> {
    fn things(&self) -> MutexGuard<'_, HashMap<K, Thing<K>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is next; nobody gives the turn back.
    fn next(&self, thing: &K) -> Option<oneshot::Sender<Turn<K>>> {
        let mut things = self.things();
        let queue = things.get_mut(thing)?;
        if let Some((_, call)) = queue.waiting.pop_first() {
            return Some(call);
        }
        queue.taken -= 1;
        if queue.taken == 0 {
            things.remove(thing);
        }
        None
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        // Of those who have ceased to wait there may be many: one after the other, not one within the
        // other.
        while let Some((shared, thing)) = self.0.take() {
            let Some(call) = shared.next(&thing) else {
                return;
            };
            if let Err(mut back) = call.send(Turn(Some((shared, thing)))) {
                self.0 = back.0.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Lets everybody come while the one turn is held, and tells in which order they were served.
    async fn order(comers: &[(&'static str, Urgency)]) -> Vec<&'static str> {
        let queue = Queue::of(1);
        let served = Arc::new(Mutex::new(Vec::new()));
        let held = queue.take((), Urgency::Drift).await;
        let mut tasks = Vec::new();
        for (name, urgency) in comers.iter().copied() {
            let (queue, served) = (Queue(Arc::clone(&queue.0)), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let _turn = queue.take((), urgency).await;
                served.lock().unwrap().push(name);
            }));
            tokio::task::yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert!(queue.0.things().is_empty(), "a queue is left behind");
        Arc::try_unwrap(served).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn the_most_urgent_goes_first_and_equals_as_they_came() {
        let comers = [
            ("drift 1", Urgency::Drift),
            ("rotation", Urgency::Rotation),
            ("drift 2", Urgency::Drift),
            ("first key", Urgency::Awaited),
        ];
        assert_eq!(
            order(&comers).await,
            ["first key", "rotation", "drift 1", "drift 2"]
        );
    }

    #[tokio::test]
    async fn many_who_wait_no_more_are_passed_over() {
        let queue = Queue::of(1);
        let held = queue.take((), Urgency::Drift).await;
        let mut waits: Vec<_> = (0..100_000)
            .map(|_| Box::pin(queue.take((), Urgency::Drift)))
            .collect();
        for wait in &mut waits {
            assert!(futures::poll!(wait.as_mut()).is_pending());
        }
        drop(waits);
        drop(held);
        assert!(queue.0.things().is_empty(), "a queue is left behind");
    }

    #[tokio::test]
    async fn ten_thousand_comparisons_hold_no_newcomer_up() {
        let queue = Queue::of(1);
        let held = queue.take((), Urgency::Drift).await;
        let comparison = |_| Box::pin(queue.take((), Urgency::Drift));
        let mut crowd: Vec<_> = (0..10_000).map(comparison).collect();
        for waits in &mut crowd {
            assert!(futures::poll!(waits).is_pending());
        }
        let mut newcomer = std::pin::pin!(queue.take((), Urgency::Awaited));
        assert!(futures::poll!(&mut newcomer).is_pending());
        drop(held);
        assert!(futures::poll!(&mut crowd[0]).is_pending());
        assert!(futures::poll!(&mut newcomer).is_ready());
    }

    #[tokio::test]
    async fn whoever_ceases_to_wait_holds_nobody_up() {
        let queue = Queue::of(1);
        let held = queue.take("thing", Urgency::Drift).await;
        {
            let mut waits = std::pin::pin!(queue.take("thing", Urgency::Awaited));
            assert!(futures::poll!(&mut waits).is_pending());
            drop(held);
            // The turn is on its way to somebody who goes without it.
        }
        let _turn = queue.take("thing", Urgency::Drift).await;
        let _other = queue.take("other thing", Urgency::Drift).await;
    }

    #[tokio::test]
    async fn so_many_at_a_time_and_no_more() {
        let queue = Queue::of(2);
        let first = queue.take((), Urgency::Drift).await;
        let _second = queue.take((), Urgency::Drift).await;
        let mut third = std::pin::pin!(queue.take((), Urgency::Awaited));
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert!(futures::poll!(&mut third).is_ready());
    }
}
