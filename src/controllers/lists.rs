//! One list of keys per account, shared by all of its ApiKeys.
//!
//! Invariant: a list carries the time at which it began, and whoever asks says how new it must be;
//! while one list is under way, others wait for it instead of asking the server again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::plan::port::{AccountId, Fault, List, ServerIdentity};
use crate::servers::Server;

/// Which account, wherever its ServiceAccount is.
pub type Pair = (ServerIdentity, AccountId);

/// The newest list of each account.
#[derive(Default)]
pub struct Lists {
    slots: Mutex<HashMap<Pair, Arc<tokio::sync::Mutex<Option<List>>>>>,
    newest: Mutex<HashMap<Pair, List>>,
}

impl Lists {
    /// The newest list at hand, without asking.
    pub fn at_hand(&self, pair: &Pair) -> Option<List> {
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(pair)
            .cloned()
    }

    /// A list that began strictly after `newer_than`: the one at hand, or a new one.
    pub async fn newer(
        &self,
        server: &dyn Server,
        pair: &Pair,
        newer_than: Timestamp,
    ) -> Result<List, Fault> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(pair.clone()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(list) = slot.as_ref().filter(|list| list.began > newer_than) {
            return Ok(list.clone());
        }
        let list = server.keys(&pair.1).await?;
        // An answer of another server than the pinned one says nothing about our keys.
        let identity = server.identity().await?;
        if identity != pair.0 {
            return Err(Fault::Protocol(format!(
                "another server answers: {identity} instead of {}",
                pair.0
            )));
        }
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(pair.clone(), list.clone());
        Ok(slot.insert(list).clone())
    }

    /// Forgets an account.
    pub fn forget(&self, pair: &Pair) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pair);
        self.newest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(pair);
    }
}
