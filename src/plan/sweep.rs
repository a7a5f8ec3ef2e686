//! Whose key is it? Every key in a list is sorted by the marker that it carries, before anything
//! else is asked of it. Keys without our marker are touched by `foreignKeys: Revoke` alone.
//!
//! A copy of the whole cluster has our installation and the uids of our ApiKeys: what it makes can
//! only be told from ours by what an ApiKey and its Secret know of the attempts opened here
//! ([`Attempts`]).

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::STRAY_AFTER;
use super::marker::{self, Installation, Marker, NamespaceHash};
use super::port::RemoteKey;
use super::record::{Intent, Nonce, Serial, Uid};
use super::rotation::after;

/// Who we are, for the purpose of knowing our own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Our installation.
    pub installation: Installation,
    /// The namespaces that we look after.
    pub scope: Scope,
}

/// The namespaces that an installation looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of the cluster.
    Cluster,
    /// These.
    Namespaces(BTreeSet<NamespaceHash>),
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From us, for an ApiKey of a namespace that we look after.
    Ours(Marker),
    /// From another installation, or for a namespace that we do not look after.
    Others,
    /// From somebody who leaves no marker.
    Foreign,
}

impl Claim {
    /// Where this key comes from.
    pub fn origin(&self, key: &RemoteKey) -> Origin {
        let Some(marker) = marker::parse(&key.text) else {
            return Origin::Foreign;
        };
        let in_scope = match &self.scope {
            Scope::Cluster => true,
            Scope::Namespaces(hashes) => hashes.contains(&marker.namespace),
        };
        if marker.installation == self.installation && in_scope {
            Origin::Ours(marker)
        } else {
            Origin::Others
        }
    }

    /// The marker of a key that is ours and this ApiKey's.
    pub fn marker_of(&self, key: &RemoteKey, uid: &Uid) -> Option<Marker> {
        match self.origin(key) {
            Origin::Ours(marker) if marker.uid == *uid => Some(marker),
            Origin::Ours(_) | Origin::Others | Origin::Foreign => None,
        }
    }
}

/// What an ApiKey and its Secret tell of the attempts that were opened here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// The last one: its serial, and when the last of what is known of it was.
    last: Option<(Serial, Timestamp)>,
    /// Those that are known.
    nonces: BTreeSet<Nonce>,
}

impl Attempts {
    /// From the ApiKey's own intent, from serial, nonce and creation of the key that its Secret
    /// holds, and from the nonce that its status mirrors.
    pub fn of(
        intent: Option<&Intent>,
        published: Option<(Serial, &Nonce, Timestamp)>,
        mirrored: Option<Nonce>,
    ) -> Self {
        // Without an intent nobody can tell which attempts were opened: tampering is not a clone.
        let last = intent.map(|intent| match published {
            Some((serial, _, made_at)) => {
                (intent.serial.max(serial), intent.opened_at.max(made_at))
            }
            None => (intent.serial, intent.opened_at),
        });
        let known = [
            intent.map(|intent| intent.nonce.clone()),
            published.map(|(_, nonce, _)| nonce.clone()),
            mirrored,
        ];
        Self {
            last,
            nonces: known.into_iter().flatten().collect(),
        }
    }

    /// Whether one of those that are known made a key with this marker.
    pub fn made(&self, marker: &Marker) -> bool {
        self.nonces.contains(&marker.nonce)
    }

    /// Whether none that was ever opened here can have made a key with this marker, made then.
    ///
    /// Every Open takes the next serial, in a write that must win: a serial has one nonce, and none
    /// is beyond the last. What an attempt makes lands within a minute; clocks may differ by more.
    pub fn exclude(&self, marker: &Marker, made_at: Timestamp) -> bool {
        self.last.is_some_and(|(serial, opened_at)| {
            let later = marker.serial >= serial || made_at > after(opened_at, STRAY_AFTER);
            later && !self.made(marker)
        })
    }
}
