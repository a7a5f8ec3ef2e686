//! One list of keys per account, or per server where servers list all at once, shared by all ApiKeys.
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
use crate::plan::port::{AccountId, Afterlife, Change, Fault, KeyId, List, Listing, RemoteKey};
use crate::servers::Turns;

/// How much of all lists of a connection is kept, in bytes: those of some hundred thousand keys of an
/// honest server, and no more of a hostile one.
const MOST_KEPT: usize = 32 * 1024 * 1024;

/// The newest lists of one connection. Connections share none: what a server says of itself could be
/// another one's name.
#[derive(Default)]
pub(crate) struct Lists {
    known: Mutex<HashMap<Extent, Known>>,
    turns: Turns<Extent>,
}

/// Whose keys a list shows: those of one account, or of all of the server.
type Extent = Option<AccountId>;

/// What is known of the keys of an extent.
#[derive(Default)]
struct Known {
    newest: Option<Sorted>,
    /// Why the last list could not be had, and when that came out.
    failed: Option<(Timestamp, Fault)>,
}

/// A list, its keys sorted by their accounts.
struct Sorted {
    began: Timestamp,
    keys: HashMap<AccountId, Arc<Vec<RemoteKey>>>,
}

impl Sorted {
    fn of(list: &List, extent: &Extent) -> Self {
        let keys = match extent {
            Some(account) => HashMap::from([(account.clone(), Arc::clone(&list.keys))]),
            None => by_account(&list.keys),
        };
        let began = list.began;
        Self { began, keys }
    }

    fn list(&self, account: &AccountId) -> List {
        List {
            began: self.began,
            keys: self.keys.get(account).cloned().unwrap_or_default(),
        }
    }

    fn size(&self) -> usize {
        self.keys
            .keys()
            .map(|account| self.list(account).size())
            .sum()
    }
}

fn by_account(keys: &[RemoteKey]) -> HashMap<AccountId, Arc<Vec<RemoteKey>>> {
    let mut sorted: HashMap<AccountId, Vec<RemoteKey>> = HashMap::new();
    for key in keys {
        sorted
            .entry(key.account.clone())
            .or_default()
            .push(key.clone());
    }
    let shared = sorted
        .into_iter()
        .map(|(account, keys)| (account, Arc::new(keys)));
    shared.collect()
}

impl Lists {
    /// The newest list of this account's keys at hand, without asking.
    pub(crate) fn at_hand(&self, account: &AccountId) -> Option<List> {
        let known = self.known();
        let extents = [Some(account.clone()), None];
        let mut lists = extents
            .iter()
            .filter_map(|extent| known.get(extent)?.newest.as_ref());
        lists.next().map(|list| list.list(account))
    }

    /// A list of this account's keys that began strictly after `newer_than`: the one at hand, or a new
    /// one, begun now or later.
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
        let extent = match line.server.ability().listing {
            Listing::Account => Some(account.clone()),
            Listing::Server => None,
        };
        let asked = clock.now();
        let _turn = self.turns.take(extent.clone()).await;
        if let Some(list) = self.at_hand(account).filter(|list| list.began > newer_than) {
            return Ok(list);
        }
        if let Some(fault) = self.failed_since(&extent, asked) {
            return Err(fault);
        }
        match fetch(line, account, clock).await {
            Ok(list) => {
                let list = Sorted::of(&list, &extent);
                let came = list.list(account);
                self.remember(extent, list);
                Ok(came)
            }
            Err(fault) => {
                self.known().entry(extent).or_default().failed = Some((clock.now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// Keeps a list, if it fits beside the others.
    fn remember(&self, extent: Extent, list: Sorted) {
        let mut known = self.known();
        let others: usize = known
            .iter()
            .filter(|(other, _)| **other != extent)
            .filter_map(|(_, known)| known.newest.as_ref())
            .map(Sorted::size)
            .sum();
        let newest = (others + list.size() <= MOST_KEPT).then_some(list);
        let failed = None;
        known.insert(extent, Known { newest, failed });
    }

    /// Why a list could not be had that somebody waited for since then.
    fn failed_since(&self, extent: &Extent, asked: Timestamp) -> Option<Fault> {
        let known = self.known();
        let (at, fault) = known.get(extent)?.failed.as_ref()?;
        (*at > asked).then(|| fault.clone())
    }

    /// A key was changed: the list at hand shows it as it is now.
    pub(crate) fn adjust(&self, account: &AccountId, key: &KeyId, change: &Change) {
        self.amend(account, |list| list.adjust(key, change));
    }

    /// A key is gone for sure: the list at hand does not show it any more.
    pub(crate) fn drop_key(&self, account: &AccountId, key: &KeyId) {
        self.amend(account, |list| list.drop_key(key));
    }

    /// All keys of an account are gone for sure.
    pub(crate) fn drop_all(&self, account: &AccountId) {
        self.amend(account, |list| list.keys = Arc::default());
    }

    fn amend(&self, account: &AccountId, change: impl Fn(&mut List)) {
        let mut known = self.known();
        for lists in known.values_mut().filter_map(|known| known.newest.as_mut()) {
            let mut list = lists.list(account);
            change(&mut list);
            lists.keys.insert(account.clone(), list.keys);
        }
    }

    /// Forgets the lists of all accounts but these.
    pub(crate) fn keep(&self, stays: impl Fn(&AccountId) -> bool) {
        self.known()
            .retain(|extent, _| extent.as_ref().is_none_or(&stays));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Extent, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(line: &Line, account: &AccountId, clock: &dyn Clock) -> Result<List, Fault> {
    let now = clock.now();
    let dead = line.server.ability().afterlife == Afterlife::KeysDie;
    let list = match line.server.keys(account).await {
        // The account is gone, and its keys with it.
        Err(Fault::NotFound) if dead => List {
            began: now,
            keys: Arc::default(),
        },
        Err(Fault::NotFound) => {
            let why = "a list of keys that is not there, though they outlive their account";
            return Err(Fault::Protocol(why.to_owned()));
        }
        answer => answer?,
    };
    // An answer of another server than the pinned one says nothing about our keys.
    line.is_still_there().await?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::port::Activity;

    /// A list of so many MiB.
    fn list(size: usize) -> List {
        let key = RemoteKey {
            id: KeyId::new("k"),
            account: AccountId::new("Users-7"),
            activity: Activity::Enabled,
            extras: None,
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
            let extent = Some(account.clone());
            lists.remember(extent.clone(), Sorted::of(&list(size), &extent));
            assert_eq!(lists.at_hand(account).is_some(), kept, "{account}, {size}");
        }
        assert!(lists.at_hand(&one).is_none());
    }
}
