//! What each connection and each account is worth right now, as this process has found it: the
//! result of one controller's pass, read by the passes that rest on it.
//!
//! Nothing here is durable, and nothing is known at the start: who finds nothing waits to be woken.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use kube::{Resource, ResourceExt};

use super::lists::Lists;
use crate::api::{Grant, ServerKind, ServerRef};
use crate::plan::Stop;
use crate::plan::grant::Allowance;
use crate::plan::port::{AccountId, Expiry, Fault, Probe};
use crate::plan::record::Uid;
use crate::servers::Server;

/// Where a connection is: its kind, its namespace (none for one of the cluster), and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Its kind.
    pub kind: ServerKind,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Place {
    /// Where this connection is.
    pub(crate) fn at(kind: ServerKind, server: &impl Resource) -> Self {
        Self {
            kind,
            namespace: server.namespace(),
            name: server.name_any(),
        }
    }

    /// The connection that an object of this namespace refers to.
    pub(crate) fn of(reference: &ServerRef, namespace: &str) -> Self {
        let namespace = match reference.kind {
            ServerKind::DeployServer => Some(namespace.to_owned()),
            ServerKind::ClusterDeployServer => None,
        };
        Self {
            kind: reference.kind,
            namespace,
            name: reference.name.clone(),
        }
    }
}

/// As metrics name it: one of the cluster has no slash.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// What a connection is worth.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The uid of the object: one of the same place and another uid is another connection.
    pub uid: Uid,
    /// The client for its server, and what the last look found; or why there is none.
    pub usable: Result<Line, Stop>,
    /// What ends a key on its server, as far as that is known.
    pub expiry: Option<Expiry>,
    /// The newest lists of its accounts' keys.
    pub lists: Arc<Lists>,
    /// Where its server answers.
    pub address: Address,
    /// Whom it grants what; `None` when it serves its own namespace alone.
    pub grants: Option<Vec<Grant>>,
    /// The longest life of a key by its policy.
    pub max_lifetime: Option<SignedDuration>,
    /// The life of a key that asks for nothing.
    pub default_lifetime: Option<SignedDuration>,
    /// How often servers are compared with what we know.
    pub resync: SignedDuration,
}

/// Where a server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// Its URL.
    pub url: String,
    /// Where it lets people sign in, where that is another place: st2auth of StackStorm.
    pub auth_url: String,
}

impl Address {
    /// As a connection says it.
    pub(crate) fn of(url: &str, auth_url: Option<&str>) -> Self {
        let auth_url = auth_url.map(str::to_owned);
        Self {
            url: url.to_owned(),
            auth_url: auth_url.unwrap_or_else(|| format!("{}/auth", url.trim_end_matches('/'))),
        }
    }
}

/// A server that answers.
#[derive(Clone)]
pub(crate) struct Line {
    /// The client.
    pub server: Arc<dyn Server>,
    /// What the last look found.
    pub probe: Probe,
}

impl Line {
    /// That something is gone is believed only of the server that we know.
    ///
    /// # Errors
    /// `Protocol` when another server answers, or the credential is another account's.
    pub(crate) async fn is_still_there(&self) -> Result<(), Fault> {
        let (known, now) = (&self.probe, self.server.witness().await?);
        if now.identity != known.identity {
            let (now, known) = (now.identity, &known.identity);
            let why = format!("another server answers: {now} instead of {known}");
            return Err(Fault::Protocol(why));
        }
        match now.own.filter(|own| *own != known.own.id) {
            Some(own) => Err(Fault::Protocol(format!(
                "the credential is now that of {own} instead of {}",
                known.own.id
            ))),
            None => Ok(()),
        }
    }

    /// The answer of a call, `None` for one that says that there is no such thing and may be believed.
    pub(crate) async fn known<T>(&self, answer: Result<T, Fault>) -> Result<Option<T>, Fault> {
        match answer {
            Err(Fault::NotFound) => self.is_still_there().await.map(|()| None),
            answer => answer.map(Some),
        }
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        let same_line = match (&self.usable, &other.usable) {
            (Ok(one), Ok(two)) => Arc::ptr_eq(&one.server, &two.server) && one.probe == two.probe,
            (Err(one), Err(two)) => one == two,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        same_line
            && self.uid == other.uid
            && self.expiry == other.expiry
            && self.address == other.address
            && self.grants == other.grants
            && self.max_lifetime == other.max_lifetime
            && self.default_lifetime == other.default_lifetime
            && self.resync == other.resync
    }
}

/// What an account is worth.
#[expect(
    clippy::struct_field_names,
    reason = "the field is the account on the server"
)]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Account {
    /// The generation of the ServiceAccount that was looked at.
    pub generation: i64,
    /// The account, once the server has shown that it is the declared one.
    pub account: Option<AccountId>,
    /// The account's user name.
    pub username: String,
    /// Whether first keys may be made for it, or why not.
    pub mint: Result<(), Stop>,
    /// Whether keys that are in use may be replaced, or why not.
    pub replace: Result<(), Stop>,
    /// Whether its keys work, or why not.
    pub works: Result<(), Stop>,
    /// What the connection grants its keys; `None` for nothing.
    pub allowance: Option<Allowance>,
}

/// A register of what was found, by whom it is about.
pub(crate) struct Register<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Register<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

/// Whether something new was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It was.
    Changed,
    /// It was the same as before.
    Same,
}

impl<K: Eq + Hash, V: Clone> Register<K, V> {
    /// What was found last.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    /// Notes what was found.
    pub(crate) fn set(&self, key: K, value: V) -> News
    where
        V: PartialEq,
    {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if found.get(&key) == Some(&value) {
            return News::Same;
        }
        found.insert(key, value);
        News::Changed
    }

    /// Notes what was found, whatever was there.
    pub(crate) fn put(&self, key: K, value: V) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, value);
    }

    /// All that was found.
    pub(crate) fn all(&self) -> Vec<V> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.values().cloned().collect()
    }

    /// Forgets all but what is about these, and says what that was about.
    pub(crate) fn keep(&self, stays: impl Fn(&K) -> bool) -> Vec<K> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = found.extract_if(|key, _| !stays(key));
        gone.map(|(key, _)| key).collect()
    }

    /// Forgets it.
    pub(crate) fn forget(&self, key: &K) -> News {
        match self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
        {
            Some(_) => News::Changed,
            None => News::Same,
        }
    }
}

/// What all passes have found.
#[derive(Default)]
pub(crate) struct Standings {
    /// Of connections.
    pub connections: Register<Place, Connection>,
    /// Of accounts, by the uid of their ServiceAccount.
    pub accounts: Register<Uid, Account>,
}
