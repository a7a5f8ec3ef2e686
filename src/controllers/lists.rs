//! One list of keys per account, shared by all of its ApiKeys.
//!
//! Invariant: a list carries the time at which it began, and whoever asks says how new it must be;
//! while one list is under way, others wait for it instead of asking the server again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::standing::Line;
use crate::plan::port::{AccountId, Fault, KeyId, List};

/// The newest list of each account of one connection. Connections share none: what a server says
/// of itself could be another one's name.
#[derive(Default)]
pub struct Lists {
    newest: Mutex<HashMap<AccountId, List>>,
    turns: Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Lists {
    /// The newest list at hand, without asking.
    pub fn at_hand(&self, account: &AccountId) -> Option<List> {
        self.newest().get(account).cloned()
    }

    /// A list that began strictly after `newer_than`: the one at hand, or a new one, begun at `now`
    /// or later.
    ///
    /// # Errors
    /// What the server answered instead; `Protocol` when it is another server than the pinned one.
    pub async fn newer(
        &self,
        line: &Line,
        account: &AccountId,
        newer_than: Timestamp,
        now: Timestamp,
    ) -> Result<List, Fault> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(account.clone()).or_default())
        };
        let _turn = turn.lock().await;
        if let Some(list) = self.at_hand(account).filter(|list| list.began > newer_than) {
            return Ok(list);
        }
        let list = match line.server.keys(account).await {
            // The account is gone, and its keys with it.
            Err(Fault::NotFound) => List {
                began: now,
                keys: Vec::new(),
            },
            answer => answer?,
        };
        // An answer of another server than the pinned one says nothing about our keys.
        line.is_still_there().await?;
        self.newest().insert(account.clone(), list.clone());
        Ok(list)
    }

    /// A key is gone for sure: the list at hand does not show it any more.
    pub fn drop_key(&self, account: &AccountId, key: &KeyId) {
        if let Some(list) = self.newest().get_mut(account) {
            list.keys.retain(|listed| listed.id != *key);
        }
    }

    fn newest(&self) -> MutexGuard<'_, HashMap<AccountId, List>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
