//! The words that the planners and the deploy servers' clients both speak. Data only: nothing here
//! calls anything, and no plaintext of a key can be held by any of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

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

/// What a kind of server can do. The planners read it; nobody asks which server it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// Who makes the value of a key.
    pub value: Value,
    /// Whether a key ends by itself.
    pub expiry: Expiry,
    /// The greatest number of characters of the text that carries our marker.
    pub marker_chars: usize,
    /// The greatest number of characters of a user name.
    pub username_chars: usize,
    /// The entries of a Secret that the server's own tools read, each with its template.
    pub entries: &'static [(&'static str, &'static str)],
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
}

/// The account behind the connection's own credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its id on the server.
    pub id: AccountId,
    /// Its user name.
    pub username: String,
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
    /// When the server made it, on the server's clock, where it tells.
    pub made_at: Option<Timestamp>,
}

/// Who is behind an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// A person: never changed, never deleted.
    Human,
    /// A service account.
    Service,
}

/// Whether an account may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It may.
    Enabled,
    /// It may not, and its keys do not work.
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

    /// Shows a key no more.
    pub fn drop_key(&mut self, id: &KeyId) {
        Arc::make_mut(&mut self.keys).retain(|key| key.id != *id);
    }
}

/// One key, asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whose key it is.
    pub account: AccountId,
    /// The text that it shall carry, our marker at its end.
    pub text: String,
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
            | Self::Redirected(_) => Effect::None,
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
        }
    }
}
