//! One list of keys per account, shared by all of its ApiKeys.
//!
//! Invariant: a list carries the time at which it began, and whoever asks says how new it must be;
//! while one list is under way, others wait for it, and share what came of it, instead of asking the
//! server again. Only so much is kept of what a server says: a list that does not fit is passed on, and
//! asked for anew next time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::standing::Line;
use crate::clock::Clock;
use crate::plan::port::{AccountId, Fault, KeyId, List};
use crate::servers::Turns;

/// How much of all lists of a connection is kept, in bytes: those of some hundred thousand keys of an
/// honest server, and no more of a hostile one.
const MOST_KEPT: usize = 32 * 1024 * 1024;

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
        match &came {
            Ok(list) => self.remember(account, list),
            Err(fault) => {
                self.known().entry(account.clone()).or_default().failed =
                    Some((clock.now(), fault.clone()));
            }
        }
        came
    }

    /// Keeps a list, if it fits beside those of the other accounts.
    fn remember(&self, account: &AccountId, list: &List) {
        let mut known = self.known();
        let others: usize = known
            .iter()
            .filter(|(other, _)| *other != account)
            .filter_map(|(_, known)| known.newest.as_ref())
            .map(List::size)
            .sum();
        let fits = others + list.size() <= MOST_KEPT;
        let newest = fits.then(|| list.clone());
        known.insert(
            account.clone(),
            Known {
                newest,
                failed: None,
            },
        );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::port::RemoteKey;

    /// A list of so many MiB.
    fn list(size: usize) -> List {
        let key = RemoteKey {
            id: KeyId::new("k"),
            text: "x".repeat(1024 * 1024),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        };
        List {
            began: Timestamp::UNIX_EPOCH,
            keys: Arc::new(vec![key; size]),
        }
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let lists = Lists::default();
        let [one, other] = ["one", "other"].map(AccountId::new);
        for (account, size, kept) in [
            (&one, 20, true),
            (&other, 15, false),
            (&other, 10, true),
            // What it replaces does not count.
            (&one, 21, true),
            (&one, 40, false),
            (&other, 30, true),
        ] {
            lists.remember(account, &list(size));
            assert_eq!(lists.at_hand(account).is_some(), kept, "{account}, {size}");
        }
        assert!(lists.at_hand(&one).is_none());
    }
}
