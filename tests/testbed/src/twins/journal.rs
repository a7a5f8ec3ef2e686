//! The journal: one [`Entry`] for each request that was sent to a twin, whether it arrived or not.
//!
//! It holds paths without ids in the query, ids of accounts and keys, and status codes. It never
//! holds a key's text, a password, a token, a query string or a body.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a request does when it succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Reads something other than a list of keys.
    Look,
    /// Lists the keys of an account.
    ListKeys,
    /// Makes a key.
    Mint,
    /// Ends a key.
    Revoke,
    /// Makes an account.
    MakeAccount,
    /// Changes an account.
    ChangeAccount,
    /// Ends an account, and its keys with it.
    EndAccount,
    /// Turns one credential into another: a session, a token.
    SignIn,
    /// Writes something else.
    Write,
    /// No such route.
    Nothing,
}

/// What became of a request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// The server acted and its answer arrived.
    Answered,
    /// The server never saw it, and the caller was told so or cut off.
    NeverArrived,
    /// The server said that it acted, and did not.
    Feigned,
    /// The server acted, but its answer was lost.
    AnswerLost,
    /// The server acted, but the caller got something else in place of its answer.
    AnswerReplaced,
    /// The caller was cut off and the server has not acted yet.
    OnItsWay,
    /// The server acted long after the caller was cut off.
    LandedLate,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it was sent, on the twin's clock.
    pub at: Timestamp,
    /// Its method, after any override.
    pub method: String,
    /// Its path with the ids taken out.
    pub template: &'static str,
    /// What it does when it succeeds.
    pub effect: Effect,
    /// The account that its path names.
    pub account: Option<String>,
    /// Who sent it, as far as the server acted and knew.
    pub user: Option<String>,
    /// The id of the key that it was sent with.
    pub key: Option<String>,
    /// What the server said, if it acted, whether or not the caller saw it.
    pub status: Option<u16>,
    /// What became of it.
    pub fate: Fate,
}

impl Entry {
    /// The server acted and it worked.
    pub fn succeeded(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

/// Counts the requests with this effect that the server carried out with success.
pub fn done(entries: &[Entry], effect: Effect) -> usize {
    entries
        .iter()
        .filter(|entry| entry.effect == effect && entry.succeeded())
        .count()
}

/// Counts the requests with this effect that were sent, whatever became of them.
pub fn sent(entries: &[Entry], effect: Effect) -> usize {
    entries
        .iter()
        .filter(|entry| entry.effect == effect)
        .count()
}
