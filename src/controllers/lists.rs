//! One list of keys per account, shared by all of its ApiKeys.
//!
//! Invariant: a list carries the time at which it began, and whoever asks says how new it must be;
//! while one list is under way, others wait for it, and share what came of it, instead of asking the
//! server again. However many keys the accounts of a server have, so many are kept and no more: a list
//! that does not fit is passed on, and asked for anew next time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::standing::Line;
use crate::clock::Clock;
use crate::plan::port::{AccountId, Fault, KeyId, List};
use crate::servers::Turns;

/// How many keys of all accounts of a connection are kept: some ten MiB, however hostile the server.
const MOST_KEPT: usize = 20_000;

/// The newest list of each account of one connection. Connections share none: what a server says
/// of itself could be another one's name.
#[derive(Default)]
pub(crate) struct Lists {
    known: Mutex<HashMap<AccountId, Known>>,
    turns: Turns<AccountId>,
}

/// What is known of the keys of one account.
#[derive(Default)]
struct Known {
    newest: Option<List>,
    /// Why the last list could not be had, and when that came out.
    failed: Option<(Timestamp, Fault)>,
}

impl Lists {
    /// The newest list at hand, without asking.
    pub(crate) fn at_hand(&self, account: &AccountId) -> Option<List> {
        self.known().get(account)?.newest.clone()
    }

    /// A list that began strictly after `newer_than`: the one at hand, or a new one, begun now or
    /// later.
    ///
    /// # Errors
    /// What the server answered instead, to this call or to one that it waited for; `Protocol` when
    /// it is another server than the pinned one.
    pub(crate) async fn newer(
        &self,
        line: &Line,
        account: &AccountId,
        newer_than: Timestamp,
        clock: &dyn Clock,
    ) -> Result<List, Fault> {
        let asked = clock.now();
        let _turn = self.turns.take(account.clone()).await;
        if let Some(list) = self.at_hand(account).filter(|list| list.began > newer_than) {
            return Ok(list);
        }
        if let Some(fault) = self.failed_since(account, asked) {
            return Err(fault);
        }
        let came = fetch(line, account, clock).await;
        let mut all = self.known();
        let kept: usize = all
            .iter()
            .filter(|(other, _)| *other != account)
            .filter_map(|(_, known)| Some(known.newest.as_ref()?.keys.len()))
            .sum();
        let known = all.entry(account.clone()).or_default();
        match &came {
            Ok(list) => {
                *known = Known {
                    newest: Some(list.clone()).filter(|list| kept + list.keys.len() <= MOST_KEPT),
                    failed: None,
                }
            }
            Err(fault) => known.failed = Some((clock.now(), fault.clone())),
        }
        came
    }

    /// Why a list could not be had that somebody waited for since then.
    fn failed_since(&self, account: &AccountId, asked: Timestamp) -> Option<Fault> {
        let known = self.known();
        let (at, fault) = known.get(account)?.failed.as_ref()?;
        (*at > asked).then(|| fault.clone())
    }

    /// A key is gone for sure: the list at hand does not show it any more.
    pub(crate) fn drop_key(&self, account: &AccountId, key: &KeyId) {
        let mut known = self.known();
        if let Some(list) = known
            .get_mut(account)
            .and_then(|known| known.newest.as_mut())
        {
            list.drop_key(key);
        }
    }

    /// Forgets all lists but those of these accounts.
    pub(crate) fn keep(&self, stays: impl Fn(&AccountId) -> bool) {
        self.known().retain(|account, _| stays(account));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<AccountId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(line: &Line, account: &AccountId, clock: &dyn Clock) -> Result<List, Fault> {
    let now = clock.now();
    let list = match line.server.keys(account).await {
        // The account is gone, and its keys with it.
        Err(Fault::NotFound) => List {
            began: now,
            keys: Arc::default(),
        },
        answer => answer?,
    };
    // An answer of another server than the pinned one says nothing about our keys.
    line.is_still_there().await?;
    Ok(list)
}
