//! The deploy servers: one folder each, behind one trait.
//!
//! A client turns each call into requests and each answer into one of the words of
//! [`crate::plan::port`]. It decides nothing, repeats nothing that may have had its effect, and
//! knows no Kubernetes.

mod allowed;
mod bounded;
mod budget;
mod elasticsearch;
mod http;
mod octopus;
mod plain;
#[cfg(test)]
mod script;
mod session;
mod stackstorm;
pub mod transport;
mod turns;

pub use allowed::Allowed;
pub use budget::{Budget, Limits};
pub use turns::{Turn, Turns};

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use self::elasticsearch::Elasticsearch;
use self::octopus::Octopus;
use self::stackstorm::StackStorm;
use self::transport::Transport;
use crate::api::ServerType;
use crate::clock::{Clock, Entropy};
use crate::plan::port::{
    Ability, AccountDraft, AccountId, AccountName, Change, Fault, KeyId, List, Login, NewKey, Oidc,
    Order, Probe, RemoteAccount, RemoteTeam, TeamId, TeamRef, Trust, Witness,
};
use crate::secret::KeyMaterial;

/// Who vouches for us.
#[async_trait]
pub trait Voucher: fmt::Debug + Send + Sync {
    /// For whom alone the tokens are: the account on the server that they shall open.
    fn audience(&self) -> &str;

    /// A token that says who we are, good for minutes. `NoToken` where there is none.
    async fn token(&self) -> Result<KeyMaterial, Fault>;
}

/// What we show a server to be let in.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key.
    ApiKey(KeyMaterial),
    /// A user name and a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: KeyMaterial,
    },
    /// A bearer token.
    Bearer(KeyMaterial),
    /// Nothing of our own: somebody vouches for us.
    Vouched(Arc<dyn Voucher>),
}

/// All that a client needs to know of its connection.
pub struct Connection {
    /// What kind of server it leads to.
    pub type_: ServerType,
    /// The server's URL, which may have a path.
    pub url: String,
    /// Where else it answers: st2auth of StackStorm.
    pub auth_url: Option<String>,
    /// What we show it.
    pub credential: Credential,
    /// The door to it.
    pub transport: Arc<dyn Transport>,
    /// The time, for when a list began and for the server's skew.
    pub clock: Arc<dyn Clock>,
    /// Chance, for what we make up ourselves.
    pub entropy: Arc<dyn Entropy>,
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
    /// Servers of this kind take no such sign-in.
    #[error("a server of this type takes no such sign-in")]
    SignIn,
}

/// A client for a connection. Nothing is sent yet.
pub fn connect(connection: Connection) -> Result<Arc<dyn Server>, Unusable> {
    match connection.type_ {
        ServerType::Octopus => Ok(Arc::new(Octopus::new(connection)?)),
        ServerType::Elasticsearch => Ok(Arc::new(Elasticsearch::new(connection)?)),
        ServerType::StackStorm => Ok(Arc::new(StackStorm::new(connection)?)),
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

fn no_logins() -> Fault {
    http::unsent("accounts of this kind of server have no such logins")
}

/// One deploy server, seen through one connection.
#[async_trait]
pub trait Server: Send + Sync {
    /// What this kind of server can do.
    fn ability(&self) -> Ability;

    /// Looks at the server and at our own standing there.
    async fn probe(&self) -> Result<Probe, Fault>;

    /// Which server answers now, and to whom: one cheap call, to trust what another call did not show.
    async fn witness(&self) -> Result<Witness, Fault>;

    /// The account with exactly this name (its case is that of the server), if there is one.
    async fn find_account(&self, name: &AccountName) -> Result<Option<RemoteAccount>, Fault>;

    /// The account with this id; `NotFound` when there is none.
    async fn account(&self, id: &AccountId) -> Result<RemoteAccount, Fault>;

    /// Makes a service account. It may come out enabled whatever the draft says: look, then
    /// [`Server::update_account`]. Only where accounts are [`Accounts::Kept`], as all that changes
    /// one.
    ///
    /// [`Accounts::Kept`]: crate::plan::port::Accounts::Kept
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

    /// Gives an account a login of an external provider, in place of the one of this provider that it
    /// may have. `Rejected` where the server does not know the provider, or the provider a claim. Only
    /// where [`Wish::Logins`] can be followed, as the next four.
    ///
    /// [`Wish::Logins`]: crate::plan::port::Wish::Logins
    async fn give_login(&self, _: &AccountId, _: &Login) -> Result<RemoteAccount, Fault> {
        Err(no_logins())
    }

    /// Takes the login of a provider away from an account.
    async fn drop_login(&self, _: &AccountId, _: &str) -> Result<RemoteAccount, Fault> {
        Err(no_logins())
    }

    /// What of OIDC an account has.
    async fn oidc(&self, _: &AccountId) -> Result<Oidc, Fault> {
        Err(no_logins())
    }

    /// Lets tokens open an account, in place of those of the same name, and says what of OIDC it has
    /// when read again afterwards. One change at a time per account.
    async fn give_trust(&self, _: &AccountId, _: &Trust) -> Result<Oidc, Fault> {
        Err(no_logins())
    }

    /// Lets the tokens of this name open an account no more; as [`Server::give_trust`].
    async fn drop_trust(&self, _: &AccountId, _: &str) -> Result<Oidc, Fault> {
        Err(no_logins())
    }

    /// All keys of an account, all pages; where [`Ability::listing`] says so, those of all accounts.
    async fn keys(&self, account: &AccountId) -> Result<List, Fault>;

    /// Makes a key. Sent once; never repeated.
    async fn mint(&self, order: &Order) -> Result<Minted, Fault>;

    /// Signs in with a key of this account, once, and says whose it is. `Unauthorized` here means the
    /// key, not our own credential.
    async fn prove(&self, account: &AccountId, value: &KeyMaterial) -> Result<AccountId, Fault>;

    /// Changes what a living key has besides its value. Only what [`Ability::wishes`] names; what of it
    /// this kind of server has not is left out.
    async fn adjust(&self, account: &AccountId, key: &KeyId, change: &Change) -> Result<(), Fault>;

    /// Revokes one key of one account. `NotFound` when the server does not know it.
    async fn revoke(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault>;

    /// Revokes every key of an account, whoever made it. Only where keys outlive their account.
    async fn revoke_all(&self, account: &AccountId) -> Result<(), Fault>;

    /// Ends what is held open on the server, such as a session, as well as that can be done within a few
    /// seconds. Whatever is asked afterwards opens it again.
    async fn leave(&self) {}
}
