//! What one pass knows about one ApiKey. Facts only: no clients, no plaintext.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{ApiKeySpec, ApiKeyStatus};
use crate::plan::Stop;
use crate::plan::fault::Retry;
use crate::plan::marker::Installation;
use crate::plan::port::{
    Ability, AccountId, Effect, Fault, KeyId, List, NewKey, Order, ServerIdentity,
};
use crate::plan::record::{Intent, Nonce, Retiring, Serial, Uid};
use crate::plan::rotation::Bounds;
use crate::plan::sweep::Claim;

/// Everything that one pass knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The present.
    pub now: Timestamp,
    /// Random, for an attempt that may be opened in this pass.
    pub nonce: Nonce,
    /// Who we are.
    pub claim: Claim,
    /// The ApiKey.
    pub object: Object,
    /// What it rests on.
    pub base: Base,
    /// The Secret of its name.
    pub secret: Secret,
    /// How `object` and `secret` were read.
    pub freshness: Freshness,
    /// The newest list of the account's keys at hand.
    pub list: Option<List>,
    /// An attempt of which nothing can happen any more, as this process knows.
    pub settled: Option<Nonce>,
    /// What this pass has done so far.
    pub pass: Pass,
}

/// How facts were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// From a watch: they may be old.
    Cached,
    /// From the API server, in this pass and since the last effect.
    Live,
}

/// The ApiKey.
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
    /// Since when it is being deleted.
    pub deleting: Option<Timestamp>,
    /// Whether it carries our finalizer.
    pub finalizer: Finalizer,
    /// The annotation `apikeys.dev/intent`.
    pub intent: IntentSeen,
    /// The annotation `apikeys.dev/rotate`.
    pub rotate: Option<String>,
    /// Who asked, as admission has stamped it, and only when the stamp may be believed.
    pub requested_by: Option<String>,
    /// What its author wants.
    pub spec: ApiKeySpec,
    /// What we said last.
    pub status: ApiKeyStatus,
    /// Whether the templates of its Secret render, and why not.
    pub templates: Result<(), String>,
    /// A digest of what the data of its Secret is made from.
    pub shape: String,
}

impl Object {
    /// The name of its Secret.
    pub fn secret_name(&self) -> &str {
        self.spec.secret.name.as_deref().unwrap_or(&self.name)
    }
}

/// Whether an object carries our finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finalizer {
    /// It does.
    Present,
    /// It does not.
    Missing,
}

/// The annotation with the intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentSeen {
    /// There is none.
    Missing,
    /// It makes no sense, or belongs to another object.
    Void,
    /// It is this object's.
    Ours(Intent),
}

impl IntentSeen {
    /// The intent, when it is this object's.
    pub fn ours(&self) -> Option<&Intent> {
        match self {
            Self::Ours(intent) => Some(intent),
            Self::Missing | Self::Void => None,
        }
    }
}

/// What an ApiKey rests on: its account and the connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// The account on the server, once it is known.
    pub account: Option<AccountId>,
    /// What may be asked of the server about this account's keys, or why nothing may.
    pub server: Result<Reach, Stop>,
    /// Whether a key may be made, or why not.
    pub mint: Result<(), Stop>,
    /// Whether the account's keys work, or why not.
    pub works: Result<(), Stop>,
    /// Whether keys may be left behind, or why not.
    pub retain: Result<(), Stop>,
    /// Whether there is a ServiceAccount to note retained keys on.
    pub ledger: Ledger,
    /// What bounds the life of a key.
    pub bounds: Bounds,
    /// How often the server is compared with what we know.
    pub resync: SignedDuration,
}

/// A server that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Which server it is.
    pub identity: ServerIdentity,
    /// What it can do.
    pub ability: Ability,
    /// Its clock less ours.
    pub skew: SignedDuration,
}

/// Whether there is a ServiceAccount to note retained keys on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ledger {
    /// There is none.
    Absent,
    /// There is one, with these noted already.
    Present(Vec<KeyId>),
}

/// The Secret of the name that the ApiKey wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// There is none.
    Absent,
    /// There is one, and it is not ours; why we think so.
    Foreign(String),
    /// There is one, and it is ours.
    Ours(Held),
}

impl Secret {
    /// The Secret, when it is ours.
    pub fn ours(&self) -> Option<&Held> {
        match self {
            Self::Ours(held) => Some(held),
            Self::Absent | Self::Foreign(_) => None,
        }
    }

    /// The key that it holds, when it is ours.
    pub fn published(&self) -> Option<&Published> {
        self.ours()?.published.as_ref()
    }
}

/// Our Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its uid.
    pub uid: Uid,
    /// Its resource version.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The key that its annotations speak of.
    pub published: Option<Published>,
    /// The replaced keys that its annotations speak of.
    pub retiring: Vec<Retiring>,
    /// The rotation request that its key has answered.
    pub rotate_handled: Option<String>,
    /// Whether its labels and annotations are as the manifest has them.
    pub dress: Dress,
    /// Whether it goes when the ApiKey goes.
    pub owner: Owner,
}

/// Whether a Secret goes when its ApiKey goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The ApiKey owns it: Kubernetes collects it.
    ApiKey,
    /// Nobody owns it.
    Nobody,
}

/// Whether a Secret's labels and annotations are as the manifest has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    /// They are.
    Tidy,
    /// They are not.
    Untidy,
}

/// The key that a Secret holds, as its annotations say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub id: KeyId,
    /// Which attempt made it.
    pub serial: Serial,
    /// The attempt's nonce.
    pub nonce: Nonce,
    /// When the server made it.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub account: AccountId,
    /// Where it is.
    pub server: ServerIdentity,
    /// Which installation made it.
    pub installation: Installation,
    /// A digest of what the Secret's data was made from.
    pub shape: String,
}

/// What this pass has done so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// When it began.
    pub began: Timestamp,
    /// The attempt that it has opened and not ended.
    pub attempt: Option<Attempt>,
    /// Whether the Secret's write has been tried without effect.
    pub rehearsed: bool,
    /// What went wrong, which ends the making of keys in this pass.
    pub setback: Option<Setback>,
    /// The count of failures in a row, and when the last was, once this pass has had a setback.
    pub failure: Option<(u32, Timestamp)>,
    /// When the facts were first read live in this pass.
    pub refreshed_at: Option<Timestamp>,
    /// When a key of this pass proved itself.
    pub proven_at: Option<Timestamp>,
    /// The keys that it has revoked.
    pub revoked: Vec<KeyId>,
}

impl Pass {
    /// A pass that begins.
    pub fn begin(now: Timestamp) -> Self {
        Self {
            began: now,
            attempt: None,
            rehearsed: false,
            setback: None,
            failure: None,
            refreshed_at: None,
            proven_at: None,
            revoked: Vec::new(),
        }
    }
}

/// An attempt that is under way in this pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its durable note.
    pub intent: Intent,
    /// How far it is.
    pub stage: Stage,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// The intent is recorded.
    Opened,
    /// The Secret's write would be taken, and the account is there.
    Rehearsed(Errand),
    /// The server has made the key.
    Minted(Published),
    /// The key has signed in.
    Proven(Published),
    /// The key is not to be published, and is to be revoked; why.
    Unwanted(KeyId, Setback),
}

/// A key to be made, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// What is asked for.
    pub order: Order,
    /// From which server.
    pub server: ServerIdentity,
}

/// What went wrong with a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// The word and the sentence for people.
    pub stop: Stop,
    /// Whether the step may have had its effect after all.
    pub effect: Effect,
    /// When to try again.
    pub retry: Retry,
}

impl Setback {
    /// What a server's fault amounts to.
    pub fn of(fault: &Fault) -> Self {
        Self {
            stop: fault.stop(),
            effect: fault.effect(),
            retry: fault.retry(),
        }
    }

    /// Something that was refused, without effect.
    pub fn refused(stop: Stop, retry: Retry) -> Self {
        Self {
            stop,
            effect: Effect::None,
            retry,
        }
    }

    /// How long the server has asked us to wait, if it has.
    pub fn asked_wait(&self) -> Option<Option<Duration>> {
        match self.retry {
            Retry::After(after) => Some(after),
            Retry::Backoff | Retry::OnChange => None,
        }
    }
}

/// What one effect answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// The ApiKey and the Secret, read live.
    Refreshed {
        /// The ApiKey.
        object: Box<Object>,
        /// The Secret.
        secret: Secret,
    },
    /// The account's keys.
    Looked(List),
    /// The write on the ApiKey was taken (Guard, Open, Record).
    Written(Box<Object>),
    /// The Secret's write would be taken.
    Rehearsed {
        /// The Secret, as it is for sure.
        secret: Secret,
        /// What the ApiKey rests on, the ServiceAccount read live.
        base: Box<Base>,
    },
    /// The server has made this key.
    Minted(NewKey),
    /// The new key signed in as this account.
    Proven(AccountId),
    /// The Secret holds the new key.
    Published(Held),
    /// Another attempt's key is in the Secret; every copy of our write was refused.
    Outrun(Secret),
    /// The key is gone from the server.
    Revoked(KeyId),
    /// The Secret is gone.
    Unpublished,
    /// The Secret was changed.
    Amended(Held),
    /// The keys that stay are noted.
    Retained(Vec<KeyId>),
    /// The ApiKey is deleted, or its finalizer is off: nothing follows.
    Over,
    /// The step did not work.
    Failed(Setback),
}
