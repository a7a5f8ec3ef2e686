//! A client whose calls are counted, by what came of them.

use std::sync::Arc;

use async_trait::async_trait;

use crate::metrics::Metrics;
use crate::plan::port::{
    Ability, AccountDraft, AccountId, AccountName, Change, Fault, KeyId, List, Login, Oidc, Order,
    Probe, RemoteAccount, RemoteTeam, TeamId, TeamRef, Trust, Witness,
};
use crate::secret::KeyMaterial;
use crate::servers::{Minted, Server};

/// A client for one connection, whose calls are counted.
pub(super) struct Counted {
    server: Arc<dyn Server>,
    /// The name of the connection.
    connection: String,
    metrics: Metrics,
}

impl Counted {
    /// The same client, counted as that of `connection`.
    pub(super) fn new(server: Arc<dyn Server>, connection: String, metrics: Metrics) -> Self {
        Self {
            server,
            connection,
            metrics,
        }
    }

    /// An answer, counted.
    fn count<T>(&self, call: &'static str, answer: Result<T, Fault>) -> Result<T, Fault> {
        let outcome = answer.as_ref().err().map_or("ok", Fault::label);
        self.metrics.call(&self.connection, call, outcome);
        answer
    }
}

#[async_trait]
impl Server for Counted {
    fn ability(&self) -> Ability {
        self.server.ability()
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        self.count("probe", self.server.probe().await)
    }

    async fn witness(&self) -> Result<Witness, Fault> {
        self.count("witness", self.server.witness().await)
    }

    async fn find_account(&self, name: &AccountName) -> Result<Option<RemoteAccount>, Fault> {
        self.count("find_account", self.server.find_account(name).await)
    }

    async fn account(&self, id: &AccountId) -> Result<RemoteAccount, Fault> {
        self.count("account", self.server.account(id).await)
    }

    async fn create_account(&self, draft: &AccountDraft) -> Result<RemoteAccount, Fault> {
        self.count("create_account", self.server.create_account(draft).await)
    }

    async fn update_account(
        &self,
        id: &AccountId,
        draft: &AccountDraft,
    ) -> Result<RemoteAccount, Fault> {
        let answer = self.server.update_account(id, draft).await;
        self.count("update_account", answer)
    }

    async fn delete_account(&self, id: &AccountId) -> Result<(), Fault> {
        self.count("delete_account", self.server.delete_account(id).await)
    }

    async fn find_team(&self, team: &TeamRef) -> Result<Option<RemoteTeam>, Fault> {
        self.count("find_team", self.server.find_team(team).await)
    }

    async fn join_team(&self, team: &TeamId, account: &AccountId) -> Result<RemoteTeam, Fault> {
        self.count("join_team", self.server.join_team(team, account).await)
    }

    async fn leave_team(&self, team: &TeamId, account: &AccountId) -> Result<RemoteTeam, Fault> {
        self.count("leave_team", self.server.leave_team(team, account).await)
    }

    async fn give_login(&self, id: &AccountId, login: &Login) -> Result<RemoteAccount, Fault> {
        self.count("give_login", self.server.give_login(id, login).await)
    }

    async fn drop_login(&self, id: &AccountId, provider: &str) -> Result<RemoteAccount, Fault> {
        self.count("drop_login", self.server.drop_login(id, provider).await)
    }

    async fn oidc(&self, account: &AccountId) -> Result<Oidc, Fault> {
        self.count("oidc", self.server.oidc(account).await)
    }

    async fn give_trust(&self, account: &AccountId, trust: &Trust) -> Result<Oidc, Fault> {
        self.count("give_trust", self.server.give_trust(account, trust).await)
    }

    async fn drop_trust(&self, account: &AccountId, name: &str) -> Result<Oidc, Fault> {
        self.count("drop_trust", self.server.drop_trust(account, name).await)
    }

    async fn keys(&self, account: &AccountId) -> Result<List, Fault> {
        self.count("keys", self.server.keys(account).await)
    }

    async fn mint(&self, order: &Order) -> Result<Minted, Fault> {
        self.count("mint", self.server.mint(order).await)
    }

    async fn prove(&self, account: &AccountId, value: &KeyMaterial) -> Result<AccountId, Fault> {
        self.count("prove", self.server.prove(account, value).await)
    }

    async fn adjust(&self, account: &AccountId, key: &KeyId, change: &Change) -> Result<(), Fault> {
        self.count("adjust", self.server.adjust(account, key, change).await)
    }

    async fn revoke(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault> {
        self.count("revoke", self.server.revoke(account, key).await)
    }

    async fn revoke_all(&self, account: &AccountId) -> Result<(), Fault> {
        self.count("revoke_all", self.server.revoke_all(account).await)
    }

    async fn leave(&self) {
        self.server.leave().await;
    }
}
