//! The words that the planners and the deploy servers' clients both speak. Data only: nothing here
//! calls anything, and no plaintext of a key can be held by any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Stop, marker};
use crate::api::FreeForm;
use crate::api::conditions::Reason;

/// Declares a text that must not be taken for another one.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// A server's own id of a key (Octopus `apikeys-I6D74…`).
    KeyId
}
text! {
    /// A server's own id of an account (Octopus `Users-21`).
    AccountId
}
text! {
    /// A server's own id of a team (Octopus `Teams-21`).
    TeamId
}
text! {
    /// Which server this is, whatever its address: Octopus' installation id, Elasticsearch's
    /// cluster uuid, else the origin of its URL.
    ServerIdentity
}

mod logins;

pub use self::logins::{Login, Oidc, Trust};

/// What a kind of server can do. The planners read it; nobody asks which server it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// What people call this kind of server.
    pub server: &'static str,
    /// Who makes the value of a key.
    pub value: Value,
    /// Whether a key ends by itself.
    pub expiry: Expiry,
    /// What an account is.
    pub accounts: Accounts,
    /// Whether the case of letters tells names of accounts apart.
    pub letters: Letters,
    /// What becomes of the keys of an account that is deleted.
    pub afterlife: Afterlife,
    /// What one list of keys holds.
    pub listing: Listing,
    /// What of a manifest it can follow, of all that not every server can.
    pub wishes: &'static [Wish],
    /// The greatest number of characters of the text that carries our marker.
    pub text_chars: usize,
    /// The greatest number of characters of a user name.
    pub username_chars: usize,
    /// The entries of a Secret that the server's own tools read, each with its template.
    pub entries: &'static [(&'static str, &'static str)],
}

impl Ability {
    /// Refuses the first part of a manifest that is asked for and that no server of this kind can
    /// follow.
    ///
    /// # Errors
    /// `Invalid`, with the part's name.
    pub fn refuse<const N: usize>(&self, asked: [(bool, Wish, &str); N]) -> Result<(), Stop> {
        let mut asked = asked.into_iter();
        let Some((_, _, part)) =
            asked.find(|(asked, wish, _)| *asked && !self.wishes.contains(wish))
        else {
            return Ok(());
        };
        let server = self.server;
        Err(Stop::new(
            Reason::Invalid,
            format!("{server} has nothing that {part} could be. Leave it out."),
        ))
    }
}

/// Who makes the value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// The server makes it and shows it once: a repeated Mint makes a second key.
    ServerMade,
    /// We make it and send its hash: a repeated Mint collides and makes nothing.
    CallerMade,
}

/// Whether a key ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The server refuses a key after its expiry.
    Native,
    /// The server knows no expiry: the operator revokes in time.
    None,
}

/// What an account is to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// A thing that is made, changed and deleted.
    Kept,
    /// A name that a key can have: nothing is made, nothing can be changed, and nothing is left to
    /// be deleted.
    NamesOnly,
}

/// What becomes of the keys of an account that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterlife {
    /// They end with it.
    KeysDie,
    /// They go on: they are revoked before.
    KeysLive {
        /// What the ids of accounts that are made begin with; their names follow. So whose keys are meant
        /// is known of an account that is gone, too.
        home: &'static str,
    },
}

/// Whether names of accounts that differ in the case of their letters alone are names of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// They are: the case is for people.
    Alike,
    /// They are names of two.
    Apart,
}

/// What one list of keys holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Those of one account.
    Account,
    /// Those of all accounts of the server, each saying whose it is.
    Server,
}

/// A part of a manifest that not every server can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// An account's name for people, its e-mail address, and whether it may sign in.
    Profile,
    /// An account's teams.
    Teams,
    /// An account's logins of external providers, and its OIDC identities.
    Logins,
    /// An account's roles and metadata, as Elasticsearch has them.
    Roles,
    /// The realm of an account.
    Realm,
    /// `spec.stackStorm` of a key.
    StackStormKey,
    /// `spec.elasticsearch` of a key.
    ElasticsearchKey,
}

/// What one look at a connection found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The server's version, as it says it (cut to a sane length).
    pub version: String,
    /// Which server this is.
    pub identity: ServerIdentity,
    /// The account behind our own credential.
    pub own: Own,
    /// The server's rules for the expiry of keys.
    pub key_expiry: KeyExpiry,
    /// When our own credential ends, where that can be known.
    pub credential_expires_at: Option<Timestamp>,
    /// The server's clock less ours, from the `Date` of its answer; zero when it said none.
    pub skew: SignedDuration,
    /// What people should know of our credential although it is taken: one sentence, and its fix.
    pub caution: Option<String>,
}

/// The account behind the connection's own credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its id on the server.
    pub id: AccountId,
    /// Its user name.
    pub username: String,
}

/// Who answers, and to whom: that something is not there is believed only of the server and the
/// credential that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Which server it is.
    pub identity: ServerIdentity,
    /// The account behind our credential, where what a server shows depends on who asks.
    pub own: Option<AccountId>,
}

/// How a server finds an account that nobody knows the id of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName {
    /// Its user name.
    pub username: String,
    /// The realm that it is in, where a server has several; `None` for its own users.
    pub realm: Option<String>,
}

impl AccountName {
    /// One of the server's own users.
    pub fn own(username: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            realm: None,
        }
    }
}

/// A server's rules for the expiry of keys, in days; `None` where it has no such rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyExpiry {
    /// What a key gets that asks for nothing.
    pub default_days: Option<u32>,
    /// The longest life of a key.
    pub max_days: Option<u32>,
}

/// An account as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAccount {
    /// Its id.
    pub id: AccountId,
    /// Its user name, as the server spells it.
    pub username: String,
    /// Its name for people.
    pub display_name: String,
    /// Its e-mail address, where it has one.
    pub email: Option<String>,
    /// Who is behind it.
    pub nature: Nature,
    /// Whether it may sign in.
    pub activity: Activity,
    /// What tells who made it.
    pub origin: Origin,
    /// Its roles, where accounts have roles of their own.
    pub roles: BTreeSet<String>,
    /// Its metadata, without ours.
    pub metadata: FreeForm,
    /// Its logins of external providers, where accounts have such.
    pub logins: Vec<Login>,
}

/// Who is behind an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A person, or one of the server's own: never changed, never deleted.
    Human,
    /// A service account.
    Service,
    /// The server does not tell.
    Untold,
}

/// What tells who made an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// When the server made it, on the server's clock.
    MadeAt(Timestamp),
    /// The ServiceAccount that it carries the uid of.
    StampedFor(String),
    /// It could carry a uid, and carries none: somebody else made it.
    Unstamped,
    /// The server does not tell.
    Untold,
}

/// Whether an account or a key may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It may.
    Enabled,
    /// It may not, nor may any key of such an account.
    Disabled,
}

/// What an account shall look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDraft {
    /// Its user name.
    pub username: String,
    /// Its name for people.
    pub display_name: String,
    /// Its e-mail address; `None` leaves what is there.
    pub email: Option<String>,
    /// Whether it may sign in.
    pub activity: Activity,
    /// Its roles, where accounts have roles of their own.
    pub roles: BTreeSet<String>,
    /// What its metadata shall hold; what else is there stays.
    pub metadata: FreeForm,
    /// The uid of its ServiceAccount, for servers that can keep it: see [`Origin::StampedFor`].
    pub stamp: String,
}

impl AccountDraft {
    /// Whether the account is as it shall be.
    pub fn is_met_by(&self, account: &RemoteAccount) -> bool {
        let holds = |(name, value)| account.metadata.0.get(name) == Some(value);
        self.display_name == account.display_name
            && self.activity == account.activity
            && (self.email.is_none() || self.email == account.email)
            && self.roles == account.roles
            && self.metadata.0.iter().all(holds)
    }
}

/// A team as somebody names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamRef {
    /// By its id.
    Id(TeamId),
    /// By its exact name, in a space (by the space's name or id) or among the system's teams.
    Name {
        /// The team's name.
        name: String,
        /// The space's name or id; `None` for a team of the system.
        space: Option<String>,
    },
}

/// A team as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTeam {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// The accounts in it.
    pub members: Vec<AccountId>,
}

/// A key as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteKey {
    /// Its id.
    pub id: KeyId,
    /// Whose it is.
    pub account: AccountId,
    /// Whether it works.
    pub activity: Activity,
    /// The digest of what else was asked for it, where the server keeps one: see
    /// [`Extras::digest`].
    pub extras: Option<String>,
    /// The text that it carries (purpose, name): where our marker is.
    pub text: String,
    /// When the server made it.
    pub created_at: Timestamp,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// All keys of one account, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// When the first request of the list was about to be sent: what came later is not in it.
    pub began: Timestamp,
    /// The keys, of all pages. Whoever passes the list on passes these on, and no copy.
    pub keys: Arc<Vec<RemoteKey>>,
}

impl List {
    /// About how much room it takes, in bytes.
    pub fn size(&self) -> usize {
        let texts = |key: &RemoteKey| key.id.as_str().len() + key.text.len();
        let room = |key| size_of::<RemoteKey>() + texts(key);
        self.keys.iter().map(room).sum()
    }

    /// Shows a key as it was changed.
    pub fn adjust(&mut self, id: &KeyId, change: &Change) {
        for key in Arc::make_mut(&mut self.keys)
            .iter_mut()
            .filter(|key| key.id == *id)
        {
            key.extras = change.extras.digest();
            key.activity = change.activity;
        }
    }

    /// Shows a key no more.
    pub fn drop_key(&mut self, id: &KeyId) {
        Arc::make_mut(&mut self.keys).retain(|key| key.id != *id);
    }
}

/// What only some servers keep with a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// Its metadata.
    pub metadata: FreeForm,
    /// What it may do, by the name of a role.
    pub role_descriptors: BTreeMap<String, FreeForm>,
}

impl Extras {
    /// Tells two of them apart, however a server writes them down; `None` for none at all.
    pub fn digest(&self) -> Option<String> {
        let roles = self.role_descriptors.iter();
        let roles = roles.flat_map(|(name, role)| [name.clone(), role.to_string()]);
        let parts: Vec<String> = [self.metadata.to_string()]
            .into_iter()
            .chain(roles)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        (*self != Self::default()).then(|| marker::digest(&parts))
    }
}

/// A change of one living key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The text that it carries, and its notes, as in [`Order`]: what the server replaces as a whole
    /// is sent as a whole.
    pub text: String,
    /// Its notes.
    pub notes: Vec<(&'static str, String)>,
    /// What it shall have.
    pub extras: Extras,
    /// Whether it shall work.
    pub activity: Activity,
}

/// One key, asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whose key it is.
    pub account: AccountId,
    /// The text that it shall carry, our marker at its end.
    pub text: String,
    /// The same for servers that keep it in fields: each by its name.
    pub notes: Vec<(&'static str, String)>,
    /// What else is asked for it.
    pub extras: Extras,
    /// When it shall end.
    pub expires_at: Timestamp,
    /// The request is sent by then, or not at all (`Throttled`): a late one could land when nobody
    /// looks for it any more.
    pub send_by: Timestamp,
}

/// What the server said of a key that it has just made. Its value is beside it, in
/// `servers::Minted`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// The text that the server stored.
    pub text: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the server says that it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// What may go wrong between us and a server. The list is closed: every client sorts every answer
/// into one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection was made, or a mere look was answered with a server's trouble (5xx): nothing
    /// can have happened.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The server asks for patience, and did not carry out the request.
    #[error("the server asks us to wait")]
    Throttled {
        /// How long, when it says so.
        after: Option<Duration>,
    },
    /// The request was sent, or may have been, and no answer came, or one of a server in trouble
    /// (5xx) to what should change something: it may have been carried out.
    #[error("the server gave no answer: {0}")]
    Uncertain(String),
    /// Our credential is not taken.
    #[error("the server does not take the credential")]
    Unauthorized,
    /// Our credential is taken, but may not do this.
    #[error("the server does not permit this: {0}")]
    Forbidden(String),
    /// There is no such thing on the server.
    #[error("the server knows no such thing")]
    NotFound,
    /// Somebody else was first.
    #[error("the server says that this is taken: {0}")]
    Conflict(String),
    /// The server refuses the content of the request. The text is short, printable, and free of
    /// anything that we sent as a secret.
    #[error("the server refuses this: {0}")]
    Rejected(String),
    /// The server's certificate is not one that we trust.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    /// The server sends us to another origin, where our credential must not go.
    #[error("the server redirects to {0}")]
    Redirected(String),
    /// The answer makes no sense.
    #[error("the server's answer makes no sense: {0}")]
    Protocol(String),
    /// There is no token to sign in with: Kubernetes gives us none, or the server takes none in exchange
    /// for its own.
    #[error("there is no token to sign in with: {0}")]
    NoToken(String),
}

/// Whether a request that failed may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The server did nothing.
    None,
    /// The server may have done it, or may yet.
    Perhaps,
}

impl Fault {
    /// Whether the request may have had its effect.
    ///
    /// A `Protocol` answer to a request that changes something came from somebody who may have
    /// carried it out: it counts as `Perhaps`.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Uncertain(_) | Self::Protocol(_) => Effect::Perhaps,
            Self::Unreachable(_)
            | Self::Throttled { .. }
            | Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound
            | Self::Conflict(_)
            | Self::Rejected(_)
            | Self::Untrusted(_)
            | Self::Redirected(_)
            | Self::NoToken(_) => Effect::None,
        }
    }

    /// The name of the fault, for metrics and logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Throttled { .. } => "throttled",
            Self::Uncertain(_) => "uncertain",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Rejected(_) => "rejected",
            Self::Untrusted(_) => "untrusted",
            Self::Redirected(_) => "redirected",
            Self::Protocol(_) => "protocol",
            Self::NoToken(_) => "no_token",
        }
    }
}
