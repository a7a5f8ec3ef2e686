//! [`Turns`]: for each of many things, one at a time.
//!
//! That keeps the clients of this process apart where a server's API replaces a thing
//! whole: whoever reads it, changes a part and writes it back would undo what another one did in
//! between (others are noticed by reading again afterwards). Whoever waits is served in the order of coming.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Which thing on which server: an origin, and an id there.
type Thing = (String, String);

/// The turns of things, told apart by a key of theirs.
#[derive(Debug)]
pub struct Turns<K = Thing> {
    things: Mutex<HashMap<K, Weak<Semaphore>>>,
}

/// A turn; it ends when this is dropped.
#[must_use = "the turn ends when this is dropped"]
#[derive(Debug)]
pub struct Turn {
    /// None never comes about: nobody closes a semaphore of ours.
    _permit: Option<OwnedSemaphorePermit>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self {
            things: Mutex::default(),
        }
    }
}

impl<K: Eq + Hash> Turns<K> {
    /// Waits for a turn at this thing.
    pub async fn take(&self, thing: K) -> Turn {
        let turns = self.turns(thing);
        Turn {
            _permit: turns.acquire_owned().await.ok(),
        }
    }

    fn turns(&self, thing: K) -> Arc<Semaphore> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        things.retain(|_, turns| turns.strong_count() > 0);
        let turns = things.entry(thing).or_default();
        if let Some(turns) = turns.upgrade() {
            return turns;
        }
        let fresh = Arc::new(Semaphore::new(1));
        *turns = Arc::downgrade(&fresh);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(turns: &Turns<u8>, thing: u8) -> usize {
        turns.turns(thing).available_permits()
    }

    #[tokio::test]
    async fn a_thing_has_its_turns_and_others_have_their_own() {
        let turns = Turns::default();
        let held = turns.take(1).await;
        assert_eq!(free(&turns, 1), 0);
        assert_eq!(free(&turns, 2), 1);
        drop(held);
        assert_eq!(free(&turns, 1), 1);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_holds_is_forgotten() {
        let turns: Turns<u8> = Turns::default();
        drop(turns.take(1).await);
        drop(turns.take(2).await);
        assert_eq!(turns.things.lock().unwrap().len(), 1);
    }
}
