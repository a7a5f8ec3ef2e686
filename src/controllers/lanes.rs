//! How many passes go on at the same time. No tenant's objects, and no slow server, keep those of
//! others waiting: each namespace has its own lane, and so has each connection. In a lane the most
//! urgent pass goes first.

use std::hash::Hash;

use tokio_util::sync::CancellationToken;

use super::queue::{Queue, Turn, Urgency};
use super::standing::Place;

/// Passes at a time over objects of one kind in one namespace.
const IN_A_NAMESPACE: usize = 8;
/// Passes at a time over objects of one kind that rest on one connection.
const AT_A_CONNECTION: usize = 16;

/// The lanes of all passes.
pub(crate) struct Lanes {
    /// Of those over connections.
    pub connections: OneKind,
    /// Of those over ServiceAccounts.
    pub accounts: OneKind,
    /// Of those over ApiKeys.
    pub keys: OneKind,
}

/// The lanes of the passes over one kind.
pub(crate) struct OneKind {
    namespaces: Queue<String>,
    connections: Queue<Place>,
    ending: CancellationToken,
}

/// Leave to pass, as long as it is held.
pub(crate) struct Pass {
    _namespace: Option<Turn<String>>,
    _connection: Option<Turn<Place>>,
}

impl Lanes {
    /// Lanes into which nobody is let any more once `ending` is cancelled.
    pub(crate) fn until(ending: &CancellationToken) -> Self {
        let one_kind = || OneKind {
            namespaces: Queue::of(IN_A_NAMESPACE),
            connections: Queue::of(AT_A_CONNECTION),
            ending: ending.clone(),
        };
        Self {
            connections: one_kind(),
            accounts: one_kind(),
            keys: one_kind(),
        }
    }
}

impl OneKind {
    /// Waits until an object of this namespace (none for one of the cluster) that rests on this
    /// connection may be passed over; `None` when the operator ends.
    pub(crate) async fn enter(
        &self,
        namespace: Option<String>,
        place: Option<Place>,
        urgency: Urgency,
    ) -> Option<Pass> {
        let entered = async {
            let namespace = turn(&self.namespaces, namespace, urgency).await;
            let connection = turn(&self.connections, place, urgency).await;
            Pass {
                _namespace: namespace,
                _connection: connection,
            }
        };
        tokio::select! {
            biased;
            () = self.ending.cancelled() => None,
            pass = entered => Some(pass),
        }
    }
}

async fn turn<K: Eq + Hash + Clone>(
    queue: &Queue<K>,
    thing: Option<K>,
    urgency: Urgency,
) -> Option<Turn<K>> {
    Some(queue.take(thing?, urgency).await)
}
