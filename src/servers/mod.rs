//! The deploy servers: one folder each, behind one trait.
//!
//! A client turns each call into requests and each answer into one of the words of
//! [`crate::plan::port`]. It decides nothing, repeats nothing that may have had its effect, and
//! knows no Kubernetes.

mod allowed;
mod budget;
mod http;
mod octopus;
mod plain;
#[cfg(test)]
mod script;
pub mod transport;
mod turns;

pub use allowed::Allowed;
pub use budget::{Budget, Limits};
pub use turns::{Turn, Turns};

use std::sync::Arc;

use async_trait::async_trait;

use self::octopus::Octopus;
use self::transport::Transport;
use crate::api::ServerType;
use crate::clock::Clock;
use crate::plan::port::{
    Ability, AccountDraft, AccountId, Fault, KeyId, List, NewKey, Order, Own, Probe, RemoteAccount,
    RemoteTeam, ServerIdentity, TeamId, TeamRef,
};
use crate::secret::KeyMaterial;

/// What we show a server to be let in.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key.
    ApiKey(KeyMaterial),
}

/// All that a client needs to know of its connection.
pub struct Connection {
    /// What kind of server it leads to.
    pub type_: ServerType,
    /// The server's URL, which may have a path.
    pub url: String,
    /// What we show it.
    pub credential: Credential,
    /// The door to it.
    pub transport: Arc<dyn Transport>,
    /// The time, for when a list began and for the server's skew.
    pub clock: Arc<dyn Clock>,
    /// What may be asked of it; one for all clients of a connection, so that a pause outlives them.
    pub budget: Arc<Budget>,
    /// Who may change a shared thing now; one for the whole process.
    pub turns: Arc<Turns>,
}

/// Why there is no client for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The URL is not one that requests can be made of.
    #[error(
        "the URL must be https://host or http://host, with a port and a path where needed, and \
         without a user, a query or a fragment"
    )]
    Url,
    /// The credential cannot be sent.
    #[error("the credential holds characters that no HTTP header can carry")]
    Credential,
    /// There is no client for servers of this kind yet.
    #[error("servers of type {0:?} are not served yet")]
    Unserved(ServerType),
}

/// A client for a connection. Nothing is sent yet.
pub fn connect(connection: Connection) -> Result<Arc<dyn Server>, Unusable> {
    match connection.type_ {
        ServerType::Octopus => Ok(Arc::new(Octopus::new(connection)?)),
        unserved @ (ServerType::StackStorm | ServerType::Elasticsearch) => {
            Err(Unusable::Unserved(unserved))
        }
    }
}

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

    /// Which server answers now: one cheap call, to trust what another call did not show.
    async fn identity(&self) -> Result<ServerIdentity, Fault>;

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
