//! Whose key is it? Every key in a list is sorted by the marker that it carries, before anything
//! else is asked of it. Keys without our marker are never touched.

use std::collections::BTreeSet;

use super::marker::{self, Installation, Marker, NamespaceHash};
use super::port::RemoteKey;
use super::record::Uid;

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
