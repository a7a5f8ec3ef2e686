//! What one pass knows about one ApiKey. Facts only: no clients, no plaintext.

use jiff::{SignedDuration, Timestamp};

use super::Pass;
use crate::api::{ApiKeySpec, ApiKeyStatus};
use crate::plan::Stop;
use crate::plan::marker::Installation;
use crate::plan::port::{Ability, AccountId, Expiry, KeyId, List, ServerIdentity};
use crate::plan::record::{Intent, Nonce, Retiring, Serial, Uid};
use crate::plan::rotation::Bounds;
use crate::plan::sweep::Claim;
use crate::plan::window::Windows;

/// Everything that one pass knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The present: the shell sets it anew before each step, and before each answer is folded in.
    pub now: Timestamp,
    /// Random, never used before, for the one attempt that may be opened in this pass.
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
    /// The newest list of the account's keys at hand. After a pass the shell keeps the list of its
    /// facts for all ApiKeys of the account: keys that were revoked are taken out of it.
    pub list: Option<List>,
    /// An attempt of which nothing can reach the server any more, as this process knows; carried
    /// from pass to pass.
    pub settled: Option<Nonce>,
    /// What this pass has done so far.
    pub pass: Pass,
}

/// How facts were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// From a watch: they may be old.
    Cached,
    /// From the API server, in this pass, after the list at hand and after the last effect on a key
    /// or on the Secret.
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
    /// Its windows, and why they make no sense if they do not.
    pub windows: Result<Windows, String>,
    /// When the keys of other ApiKeys were made that restart one of the same workloads.
    pub kin: Vec<Timestamp>,
}

impl Object {
    /// The name of its Secret.
    pub fn secret_name(&self) -> &str {
        self.spec.secret.name_for(&self.name)
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
    /// What ends a key there, as far as that is known: also while the server does not answer.
    pub expiry: Option<Expiry>,
    /// Whether a first key may be made, or why not.
    pub mint: Result<(), Stop>,
    /// Whether a key that is in use may be replaced, or why not.
    pub replace: Result<(), Stop>,
    /// Whether the account's keys work, or why not.
    pub works: Result<(), Stop>,
    /// Whether keys may be told apart from those of a copy of this cluster, or why not.
    pub revoke: Result<(), Stop>,
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
#[expect(
    clippy::large_enum_variant,
    reason = "a pass holds one of them; a box would only be in the way"
)]
pub enum Secret {
    /// There is none.
    Absent,
    /// There is one that is not ours, and its owner offers it to this ApiKey, which wants it.
    Offered,
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
            Self::Absent | Self::Offered | Self::Foreign(_) => None,
        }
    }

    /// The key that it holds, when it is ours.
    pub fn published(&self) -> Option<&Published> {
        self.ours()?.published.as_ref()
    }

    /// Whether a key may go into it as was rehearsed, although somebody has written it since: it is
    /// as much ours as it was, and holds the same key, or none as before.
    pub fn is_as_rehearsed(&self, rehearsed: &Self) -> bool {
        match (rehearsed, self) {
            (Self::Offered, Self::Offered) => true,
            (Self::Ours(known), Self::Ours(found)) => {
                let nonce = |held: &Held| held.published.as_ref().map(|key| key.nonce.clone());
                !found.deleting && known.owner == found.owner && nonce(known) == nonce(found)
            }
            _ => false,
        }
    }
}

/// Our Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
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
    /// The replaced key whose value it keeps beside the current one.
    pub previous: Option<KeyId>,
    /// Whether its entries are those that we wrote.
    pub values: Values,
}

/// Whether the entries of a Secret are those that we wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// They are.
    Ours,
    /// Another field manager has written some of them: they must be compared.
    Touched,
    /// They are not: the key's value is lost.
    Spoilt,
}

/// Whether a Secret goes when its ApiKey goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The ApiKey owns it: Kubernetes collects it.
    ApiKey,
    /// Nobody owns it: a backup brought it back.
    Nobody,
    /// Somebody else's it was, and it stays: only our entries go.
    Adopted,
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
    /// When the server made it, on our clock.
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
