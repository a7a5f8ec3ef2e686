//! The deploy servers: one folder each, behind one trait.
//!
//! A client turns each call into requests and each answer into one of the words of
//! [`crate::plan::port`]. It decides nothing, repeats nothing that may have had its effect, and
//! knows no Kubernetes.

mod plain;
pub mod transport;

use async_trait::async_trait;

use crate::plan::port::{
    Ability, AccountDraft, AccountId, Fault, KeyId, List, NewKey, Order, Own, Probe, RemoteAccount,
    RemoteTeam, TeamId, TeamRef,
};
use crate::secret::KeyMaterial;

/// A key that has just been made, with its value: the only place where the value comes from.
#[derive(Debug)]
pub struct Minted {
    /// What the server said of it.
    pub key: NewKey,
    /// Its value.
    pub value: KeyMaterial,
}

/// One deploy server, seen through one connection.
#[async_trait]
pub trait Server: Send + Sync {
    /// What this kind of server can do.
    fn ability(&self) -> Ability;

    /// Looks at the server and at our own standing there.
    async fn probe(&self) -> Result<Probe, Fault>;

    /// The account with exactly this user name (ignoring case, as servers do), if there is one.
    async fn find_account(&self, username: &str) -> Result<Option<RemoteAccount>, Fault>;

    /// The account with this id; `NotFound` when there is none.
    async fn account(&self, id: &AccountId) -> Result<RemoteAccount, Fault>;

    /// Makes a service account. It may come out enabled whatever the draft says: look, then
    /// [`Server::update_account`].
    async fn create_account(&self, draft: &AccountDraft) -> Result<RemoteAccount, Fault>;

    /// Gives an account the declared name, address and activity, and keeps everything else.
    async fn update_account(
        &self,
        id: &AccountId,
        draft: &AccountDraft,
    ) -> Result<RemoteAccount, Fault>;

    /// Deletes an account. `NotFound` when it is gone already.
    async fn delete_account(&self, id: &AccountId) -> Result<(), Fault>;

    /// The team that somebody names, if there is exactly one.
    async fn find_team(&self, team: &TeamRef) -> Result<Option<RemoteTeam>, Fault>;

    /// Adds an account to a team, and says what the team looks like when read again afterwards.
    /// One change at a time per team.
    async fn join_team(&self, team: &TeamId, account: &AccountId) -> Result<RemoteTeam, Fault>;

    /// Takes an account out of a team; as [`Server::join_team`].
    async fn leave_team(&self, team: &TeamId, account: &AccountId) -> Result<RemoteTeam, Fault>;

    /// All keys of an account, all pages.
    async fn keys(&self, account: &AccountId) -> Result<List, Fault>;

    /// Makes a key. Sent once; never repeated.
    async fn mint(&self, order: &Order) -> Result<Minted, Fault>;

    /// Signs in with a key, once, and says as whom. `Unauthorized` here means the key, not our own
    /// credential.
    async fn prove(&self, value: &KeyMaterial) -> Result<Own, Fault>;

    /// Revokes one key of one account. `NotFound` when the server does not know it.
    async fn revoke(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault>;
}
