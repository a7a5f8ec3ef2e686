//! Forgetting what is known of objects that are gone without our last step: whose finalizer somebody
//! took off, or which never had one. What is remembered of a connection holds a client and its
//! credential.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use kube::Resource;

use super::standing::{Place, Standings};
use super::watch::Stores;
use super::{Ctx, Memories, facts};
use crate::api::ServerKind;
use crate::plan::port::AccountId;
use crate::plan::record::Uid;

/// How often this is done.
const EVERY: Duration = Duration::from_secs(600);

/// Which objects are there.
#[derive(Debug, Default)]
struct Present {
    connections: HashSet<Place>,
    /// The uids of ServiceAccounts and ApiKeys.
    others: HashSet<Uid>,
}

impl Present {
    fn of(stores: &Stores) -> Self {
        let servers = stores.servers.state().into_iter();
        let cluster_servers = stores.cluster_servers.state().into_iter();
        let own = servers.map(|server| Place::at(ServerKind::DeployServer, &*server));
        let cluster =
            cluster_servers.map(|server| Place::at(ServerKind::ClusterDeployServer, &*server));
        let accounts = stores.accounts.state().into_iter();
        let accounts = accounts.map(|account| facts::uid(account.meta()));
        let keys = stores.keys.state().into_iter();
        let keys = keys.map(|key| facts::uid(key.meta()));
        Self {
            connections: own.chain(cluster).collect(),
            others: accounts.chain(keys).collect(),
        }
    }
}

/// Tidies up for ever.
pub(crate) async fn tidy_up(ctx: &Ctx) -> Infallible {
    loop {
        tokio::time::sleep(EVERY).await;
        let present = Present::of(&ctx.stores);
        for place in forget_absent(&ctx.memories, &ctx.standings, &present) {
            ctx.metrics.forget_server(&place.to_string());
        }
    }
}

/// Forgets all that is not about a present object, and says of which connections that was.
fn forget_absent(memories: &Memories, standings: &Standings, present: &Present) -> HashSet<Place> {
    let place = |place: &Place| present.connections.contains(place);
    let uid = |uid: &Uid| present.others.contains(uid);
    memories.accounts.keep(uid);
    memories.keys.keep(uid);
    memories.renderings.keep(uid);
    standings.accounts.keep(uid);
    forget_lists(standings);
    let gone = [
        memories.connections.keep(place),
        memories.suspicions.keep(place),
        standings.connections.keep(place),
    ];
    gone.into_iter().flatten().collect()
}

/// Forgets the lists of keys of accounts that no ServiceAccount has any more.
fn forget_lists(standings: &Standings) {
    let accounts = standings.accounts.all().into_iter();
    let known: HashSet<AccountId> = accounts.filter_map(|account| account.account).collect();
    for connection in standings.connections.all() {
        connection.lists.keep(|account| known.contains(account));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::controllers::{account, connection, key};

    fn place(name: &str) -> Place {
        Place {
            kind: ServerKind::ClusterDeployServer,
            namespace: None,
            name: name.to_owned(),
        }
    }

    #[test]
    fn only_what_is_there_is_remembered() {
        let (memories, standings) = (Memories::default(), Standings::default());
        for name in ["here", "gone"] {
            let memory = connection::Memory::default();
            memories.connections.put(place(name), memory);
            let uid = Uid::new(name);
            memories
                .accounts
                .set(uid.clone(), account::Memory::default());
            memories.keys.set(uid, key::Memory::default());
        }
        let suspected = place("suspected");
        memories
            .suspicions
            .put(suspected.clone(), Timestamp::UNIX_EPOCH);
        let present = Present {
            connections: HashSet::from([place("here")]),
            others: HashSet::from([Uid::new("here")]),
        };
        let forgotten = HashSet::from([place("gone"), suspected.clone()]);
        assert_eq!(forget_absent(&memories, &standings, &present), forgotten);
        for (name, there) in [("here", true), ("gone", false)] {
            let uid = Uid::new(name);
            assert_eq!(memories.connections.get(&place(name)).is_some(), there);
            assert_eq!(memories.accounts.get(&uid).is_some(), there);
            assert_eq!(memories.keys.get(&uid).is_some(), there);
        }
        assert_eq!(memories.suspicions.get(&suspected), None);
        assert!(forget_absent(&memories, &standings, &present).is_empty());
    }
}
