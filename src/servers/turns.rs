//! [`Turns`]: one change at a time for each thing that a server's API replaces whole.
//!
//! Whoever reads a whole thing, changes a part and writes it back would undo what another one did in
//! between. Holding the thing's turn keeps the clients of this process apart; others are noticed by
//! reading again afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Which thing on which server.
type Thing = (String, String);

/// The turns of one process, shared by all its connections.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Thing, Weak<Turn<()>>>>);

impl Turns {
    /// Waits for the turn of one thing on one origin; the turn ends when the guard is dropped.
    pub(super) async fn take(&self, origin: &str, thing: &str) -> OwnedMutexGuard<()> {
        self.turn(origin, thing).lock_owned().await
    }

    fn turn(&self, origin: &str, thing: &str) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = turns
            .entry((origin.to_owned(), thing.to_owned()))
            .or_default();
        if let Some(turn) = turn.upgrade() {
            return turn;
        }
        let fresh = Arc::new(Turn::new(()));
        *turn = Arc::downgrade(&fresh);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thing_has_one_turn_and_others_have_their_own() {
        let turns = Turns::default();
        let held = turns.take("https://one", "Teams-1").await;
        assert!(turns.turn("https://one", "Teams-1").try_lock().is_err());
        assert!(turns.turn("https://one", "Teams-2").try_lock().is_ok());
        assert!(turns.turn("https://two", "Teams-1").try_lock().is_ok());
        drop(held);
        assert!(turns.turn("https://one", "Teams-1").try_lock().is_ok());
    }

    #[tokio::test]
    async fn a_turn_that_nobody_holds_is_forgotten() {
        let turns = Turns::default();
        drop(turns.take("https://one", "Teams-1").await);
        drop(turns.take("https://one", "Teams-2").await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
