//! One ServiceAccount: from everything that one pass knows about it ([`Seen`]) to the one step that
//! comes next ([`Step`]).
//!
//! | file | what is in it |
//! | --- | --- |
//! | `facts` | what a pass knows, and what one effect answered |
//! | `living` | an account that is wanted, kept as declared |
//! | `identity` | which account on the server that is |
//! | `claim` | finding, taking over or creating it |
//! | `teams` | the teams that it joins and leaves |
//! | `logins` | the external logins and OIDC identities that it is given |
//! | `added` | what of these we have added, and its annotation |
//! | `sweep` | its keys, from one list: counted, and orphans revoked |
//! | `foreign` | `foreignKeys: Revoke` |
//! | `shared` | whether another cluster makes keys under our name |
//! | `ending` | an account whose ServiceAccount is being deleted |
//! | `status` | the mirror for people |
//! | `fold` | what an answer changes in the facts |
//!
//! Invariants kept here: an account is created only after its name was seen free and that was
//! recorded; a person's account is never changed; only an account that we created is deleted, and
//! only when no ApiKey resolves to it and no key of ours is left on it; orphans are revoked only
//! when a complete live list of ApiKeys does not have their uid; nothing is revoked or deleted where
//! another cluster goes by our name.

mod added;
mod claim;
mod ending;
mod facts;
mod fold;
mod foreign;
mod identity;
mod living;
mod logins;
mod shared;
mod status;
mod sweep;
mod teams;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use added::Added;
pub use ending::stays;
pub use facts::*;
pub use fold::fold;
pub use identity::{default_username, verified};
pub use living::{mint_stop, replace_stop, works_stop};
pub use shared::unshared;

use super::port::{AccountDraft, AccountId, AccountName, KeyId, Login, TeamId, TeamRef, Trust};
use super::record::Uid;
use crate::api::ServiceAccountStatus;

/// One remote effect, or none.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is to be done until `wake`.
    Idle,
    /// Read the ServiceAccount live.
    Refresh,
    /// Look the account up, by its id or by its exact name.
    Find(Lookup),
    /// Look a team up.
    FindTeam(TeamRef),
    /// Write the finalizer and what is durable, in one write that must win.
    Pin(Pins),
    /// Have the server make the account.
    Create(AccountDraft),
    /// Give the account what is declared.
    Update(AccountId, AccountDraft),
    /// Add the account to a team.
    Join(TeamId, AccountId),
    /// Take the account out of a team that we added it to.
    Leave(TeamId, AccountId),
    /// Give the account a login of an external provider.
    GiveLogin(AccountId, Login),
    /// Take away the login of a provider that we gave it.
    DropLogin(AccountId, String),
    /// Look up what of OIDC the account has.
    FindOidc(AccountId),
    /// Give the account an OIDC identity.
    GiveTrust(AccountId, Trust),
    /// Take away the OIDC identity of a name that we gave it.
    DropTrust(AccountId, String),
    /// List the account's keys; one begun after `newer_than` will do.
    Look {
        /// The list must have begun strictly later.
        newer_than: Timestamp,
    },
    /// Read all ApiKeys live.
    Census,
    /// Read one ApiKey and its Secret live.
    Inspect(Uid),
    /// Revoke one key of ours whose ApiKey is gone, or one of nobody's.
    Revoke(AccountId, KeyId),
    /// Revoke every key of an account that goes, where keys outlive it.
    Empty(AccountId),
    /// Delete the account.
    Delete(AccountId),
    /// Write the status.
    Record(Box<ServiceAccountStatus>),
    /// Take the finalizer off.
    Close,
}

/// How an account is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// By the id that it was pinned with.
    Id(AccountId),
    /// By its exact name.
    Name(AccountName),
}

/// The answer of the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to do now.
    pub step: Step,
    /// When to look again, if nothing happens before.
    pub wake: Timestamp,
}

/// The one next step for this ServiceAccount.
pub fn plan(seen: &Seen) -> Plan {
    let step = if seen.object.deleting.is_some() {
        ending::step(seen)
    } else {
        living::step(seen)
    };
    Plan {
        step,
        wake: status::wake(seen),
    }
}
