//! One list of keys per account, shared by all of its ApiKeys.
//!
//! Invariant: a list carries the time at which it began, and whoever asks says how new it must be;
//! while one list is under way, others wait for it instead of asking the server again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::plan::port::{AccountId, Fault, KeyId, List, ServerIdentity};
use crate::servers::Server;

/// Which account, wherever its ServiceAccount is.
pub type Pair = (ServerIdentity, AccountId);

/// The newest list of each account.
#[derive(Default)]
pub struct Lists {
    newest: Mutex<HashMap<Pair, List>>,
    turns: Mutex<HashMap<Pair, Arc<tokio::sync::Mutex<()>>>>,
}

impl Lists {
    /// The newest list at hand, without asking.
    pub fn at_hand(&self, pair: &Pair) -> Option<List> {
        self.newest().get(pair).cloned()
    }

    /// A list that began strictly after `newer_than`: the one at hand, or a new one.
    ///
    /// # Errors
    /// What the server answered instead; `Protocol` when it is another server than the pinned one.
    pub async fn newer(
        &self,
        server: &dyn Server,
        pair: &Pair,
        newer_than: Timestamp,
    ) -> Result<List, Fault> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(pair.clone()).or_default())
        };
        let _turn = turn.lock().await;
        if let Some(list) = self.at_hand(pair).filter(|list| list.began > newer_than) {
            return Ok(list);
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
        self.newest().insert(pair.clone(), list.clone());
        Ok(list)
    }

    /// A key is gone for sure: the list at hand does not show it any more.
    pub fn drop_key(&self, pair: &Pair, key: &KeyId) {
        if let Some(list) = self.newest().get_mut(pair) {
            list.keys.retain(|listed| listed.id != *key);
        }
    }

    fn newest(&self) -> MutexGuard<'_, HashMap<Pair, List>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
