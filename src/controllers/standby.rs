//! An operator that stands by: its watches see everything, and nobody acts on it. When its turn
//! comes, every object is looked at once.

use std::convert::Infallible;

use kube::ResourceExt;

use super::standing::Place;
use super::watch::{Bells, Queues, Stores, those};
use crate::api::ServerKind;

impl Queues {
    /// Forgets for ever what rings: the stores know it, and queues would grow for weeks.
    pub(crate) async fn forget(&mut self) -> Infallible {
        loop {
            tokio::select! {
                biased;
                _ = self.keys.recv() => {}
                _ = self.accounts.recv() => {}
                _ = self.servers.recv() => {}
                _ = self.cluster_servers.recv() => {}
            }
        }
    }
}

impl Bells {
    /// Wakes every object that is there.
    pub(crate) fn everything(&self, stores: &Stores) {
        for server in those(&stores.cluster_servers, |_| true) {
            self.connection(&Place::at(ServerKind::ClusterDeployServer, &*server));
        }
        for server in those(&stores.servers, |_| true) {
            self.connection(&Place::at(ServerKind::DeployServer, &*server));
        }
        for account in those(&stores.accounts, |_| true) {
            self.account(
                &account.namespace().unwrap_or_default(),
                &account.name_any(),
            );
        }
        for key in those(&stores.keys, |_| true) {
            self.key(&key.namespace().unwrap_or_default(), &key.name_any());
        }
    }
}
