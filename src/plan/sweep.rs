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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::port::{AccountId, Activity, KeyId};

    fn installation(name: &str) -> Installation {
        Installation::parse(name).unwrap()
    }

    /// A key that an installation has made for a namespace.
    fn key(by: &str, namespace: &str) -> RemoteKey {
        let marker = Marker {
            installation: installation(by),
            namespace: NamespaceHash::of(namespace),
            uid: Uid::new("some-uid"),
            serial: Serial::FIRST,
            nonce: Nonce::from_bytes([1; 16]),
        };
        named(&format!("Deploys · {namespace}/ci · {marker}"))
    }

    fn named(text: &str) -> RemoteKey {
        RemoteKey {
            id: KeyId::new("k1"),
            account: AccountId::new("Users-7"),
            activity: Activity::Enabled,
            extras: None,
            text: text.to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        }
    }

    /// Two releases look after namespaces of their own on one account, by one name or by two.
    #[test]
    fn only_keys_of_our_installation_and_of_our_namespaces_are_ours() {
        let of = |namespaces: &[&str]| {
            let hashes = namespaces.iter().map(|name| NamespaceHash::of(name));
            Scope::Namespaces(hashes.collect())
        };
        let others = "elsewhere";
        let rows = [
            (
                "one of two namespaces",
                of(&["a", "b"]),
                key("here", "b"),
                "ours",
            ),
            (
                "another release's",
                of(&["a", "b"]),
                key("here", "c"),
                "others",
            ),
            (
                "of no namespace at all",
                of(&[]),
                key("here", "a"),
                "others",
            ),
            (
                "another's, of our name",
                of(&["a"]),
                key(others, "a"),
                "others",
            ),
            (
                "another's altogether",
                of(&["a"]),
                key(others, "c"),
                "others",
            ),
            (
                "of the whole cluster",
                Scope::Cluster,
                key("here", "c"),
                "ours",
            ),
            (
                "of another cluster",
                Scope::Cluster,
                key(others, "c"),
                "others",
            ),
            ("without a marker", of(&["a"]), named("by hand"), "foreign"),
            (
                "the same of a cluster",
                Scope::Cluster,
                named(""),
                "foreign",
            ),
        ];
        for (what, scope, key, wanted) in rows {
            let claim = Claim {
                installation: installation("here"),
                scope,
            };
            let got = match claim.origin(&key) {
                Origin::Ours(_) => "ours",
                Origin::Others => "others",
                Origin::Foreign => "foreign",
            };
            assert_eq!(got, wanted, "{what}");
            let ours = claim.marker_of(&key, &Uid::new("some-uid")).is_some();
            assert_eq!(ours, wanted == "ours", "{what}");
            assert_eq!(claim.marker_of(&key, &Uid::new("another")), None, "{what}");
        }
    }
}
