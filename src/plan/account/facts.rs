//! What one pass knows about one ServiceAccount.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Added;
use crate::api::{ServiceAccountSpec, ServiceAccountStatus};
use crate::plan::Stop;
use crate::plan::grant::Allowance;
use crate::plan::key::{Finalizer, Freshness, Reach, Setback};
use crate::plan::marker::Installation;
use crate::plan::port::{
    AccountId, KeyId, List, Oidc, Own, RemoteAccount, RemoteTeam, ServerIdentity, TeamRef,
};
use crate::plan::record::Uid;
use crate::plan::sweep::{Attempts, Claim};

/// Everything that one pass knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The present.
    pub now: Timestamp,
    /// Who we are.
    pub claim: Claim,
    /// The ServiceAccount.
    pub object: Object,
    /// How `object` was read.
    pub freshness: Freshness,
    /// The connection, or why it cannot be used.
    pub connection: Result<Route, Stop>,
    /// What the connection grants, or why nothing.
    pub grant: Result<Allowance, Stop>,
    /// The ServiceAccount that managed the same account first, if there is one: its namespace and name.
    pub rival: Option<String>,
    /// The account on the server.
    pub remote: Remote,
    /// The declared teams that were looked up.
    pub teams: Vec<(TeamRef, Option<RemoteTeam>)>,
    /// What of OIDC the account has, once it was looked up.
    pub oidc: Option<Oidc>,
    /// The newest list of the account's keys at hand.
    pub list: Option<List>,
    /// When the list began from which keys were counted last.
    pub counted: Option<Timestamp>,
    /// All ApiKeys.
    pub census: Census,
    /// The accounts behind the credentials of connections to this server, of any namespace.
    pub identities: BTreeSet<AccountId>,
    /// What this pass has done so far.
    pub pass: Pass,
}

/// The ServiceAccount.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Uid,
    /// The generation of its spec.
    pub generation: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is being deleted.
    pub deleting: Option<Timestamp>,
    /// Whether it carries our finalizer.
    pub finalizer: Finalizer,
    /// What its author wants.
    pub spec: ServiceAccountSpec,
    /// What we said last.
    pub status: ServiceAccountStatus,
    /// What is durable.
    pub pins: Pins,
}

/// What is durable about an account: annotations on its ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pins {
    /// The account's id on the server.
    pub account: Option<AccountId>,
    /// Which server that is.
    pub server: Option<ServerIdentity>,
    /// Which installation wrote all this.
    pub installation: Option<Installation>,
    /// When its name was seen free, before it was created.
    pub free_at: Option<Timestamp>,
    /// Who made the account.
    pub maker: Maker,
    /// What we have added to it.
    pub added: BTreeSet<Added>,
    /// The keys that outlive their ApiKey on purpose.
    pub retained: BTreeSet<KeyId>,
    /// The keys of no operator that are to be revoked, and since when each has been seen.
    pub foreign: BTreeMap<KeyId, Timestamp>,
    /// The installation under whose name another cluster was seen to make keys as well.
    pub shared: Option<Installation>,
}

/// Who made an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Maker {
    /// Somebody else, or nobody knows.
    #[default]
    Somebody,
    /// We did.
    Us,
}

/// A connection that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The server.
    pub reach: Reach,
    /// Our own account there.
    pub own: Own,
    /// How often the server is compared with what we know.
    pub resync: SignedDuration,
}

/// The account on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// It has not been looked up in this pass, or since the last resync.
    Unknown,
    /// There is none of this id or name.
    Absent,
    /// There it is.
    Found(RemoteAccount),
}

/// All ApiKeys of the namespaces that we look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// How it was read.
    pub freshness: Freshness,
    /// Each by its uid.
    pub keys: BTreeMap<Uid, Resident>,
}

/// An ApiKey, as the account needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// Its namespace and name.
    pub home: String,
    /// Whether it resolves to this account, by this or another ServiceAccount.
    pub here: bool,
    /// The keys that it records.
    pub records: Records,
    /// What it tells of its attempts.
    pub attempts: Attempts,
}

/// The keys that an ApiKey records, in its status or on its Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// These.
    Keys {
        /// In use.
        current: BTreeSet<KeyId>,
        /// Replaced, and still alive.
        retiring: BTreeSet<KeyId>,
    },
    /// The object does not parse: it counts as recording everything.
    Everything,
}

/// What this pass has done so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// When it began.
    pub began: Timestamp,
    /// Whether it has counted the keys of a list.
    pub counted: bool,
    /// The time at which it recorded that the name is free: a Create of this pass may follow, and
    /// no other.
    pub claimed: Option<Timestamp>,
    /// When the account was looked up last.
    pub found_at: Option<Timestamp>,
    /// Whether there was no account of the id that is looked for.
    pub missed: bool,
    /// What went wrong, which ends the pass.
    pub setback: Option<Setback>,
    /// The keys that it has revoked.
    pub revoked: Vec<KeyId>,
    /// The ApiKeys that it has read live, after the list.
    pub inspected: BTreeSet<Uid>,
    /// What must not be believed any more before the pass may end.
    pub forget: Option<Pins>,
    /// How far the end of the account has come.
    pub demise: Demise,
    /// How many passes in a row have had a setback, this one included.
    pub failures: u32,
}

/// How far the end of an account has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demise {
    /// Nothing was done.
    Not,
    /// It has no key any more.
    Emptied,
    /// It was deleted.
    Deleted,
    /// And has no key any more: nobody can make another one.
    Over,
}

impl Pass {
    /// A pass that begins, after so many passes in a row with a setback.
    pub fn begin(now: Timestamp, failures: u32) -> Self {
        Self {
            began: now,
            counted: false,
            claimed: None,
            found_at: None,
            missed: false,
            setback: None,
            revoked: Vec::new(),
            inspected: BTreeSet::new(),
            forget: None,
            demise: Demise::Not,
            failures,
        }
    }
}

/// What one effect answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// The ServiceAccount, read live.
    Refreshed(Box<Object>),
    /// The account, looked up.
    Found(Remote),
    /// A team, looked up.
    Team(TeamRef, Option<RemoteTeam>),
    /// A write on the ServiceAccount was taken (Pin, Record).
    Written(Box<Object>),
    /// The account, made or changed.
    Account(RemoteAccount),
    /// A team, changed and read again.
    TeamChanged(RemoteTeam),
    /// What of OIDC the account has, looked up or read again after a change.
    Oidc(Oidc),
    /// The account's keys.
    Looked(List),
    /// All ApiKeys, read live.
    Counted(Census),
    /// One ApiKey, read live; nothing when it is gone.
    Inspected(Uid, Option<Box<Resident>>),
    /// The key is gone from the server.
    Revoked(KeyId),
    /// The account has no key any more.
    Emptied,
    /// The account is gone from the server.
    Deleted,
    /// The finalizer is off: nothing follows.
    Over,
    /// The step did not work.
    Failed(Setback),
}
