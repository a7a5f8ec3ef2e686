//! What one pass has done so far, and what one effect answered.

use std::time::Duration;

use jiff::Timestamp;

use super::{Base, Held, Object, Published, Secret, Values};
use crate::api::{Restarted, Workload};
use crate::plan::Stop;
use crate::plan::fault::Retry;
use crate::plan::port::{AccountId, Effect, Fault, KeyId, List, NewKey, Order, ServerIdentity};
use crate::plan::record::Intent;

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
    /// When the first live read of this pass was answered.
    pub refreshed_at: Option<Timestamp>,
    /// When a key of this pass proved itself.
    pub proven_at: Option<Timestamp>,
    /// The keys that it has revoked.
    pub revoked: Vec<KeyId>,
    /// The workloads that it has restarted, or found restarted.
    pub restarted: Vec<Restarted>,
    /// The workloads that cannot be restarted, and why.
    pub unrestarted: Vec<(Workload, Stop)>,
    /// What it has learnt of the Secret by changing it.
    pub secret: Handling,
    /// Whether a list that nothing urgent waits for could not be had.
    pub blind: bool,
    /// Whether the status could not be written: the pass is over.
    pub unrecorded: bool,
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
            secret: Handling::Untried,
            restarted: Vec::new(),
            unrestarted: Vec::new(),
            blind: false,
            unrecorded: false,
        }
    }
}

/// What a pass has learnt of the Secret by changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Nothing.
    Untried,
    /// Its labels and annotations were put right.
    Dressed,
    /// It was adopted, and does not let our entries go: its keys are revoked all the same.
    Immovable,
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
    /// The ApiKey and the Secret, read live. An ApiKey that is gone, or has another uid, is
    /// [`Done::Over`].
    Refreshed {
        /// The ApiKey.
        object: Box<Object>,
        /// The Secret.
        secret: Secret,
    },
    /// The account's keys.
    Looked(List),
    /// The Secret's values were compared with what we wrote.
    Compared(Values),
    /// The write on the ApiKey was taken (Guard, Open, Record).
    Written(Box<Object>),
    /// The Secret's write would be taken.
    Rehearsed {
        /// The Secret, as it is for sure.
        secret: Secret,
        /// What the ApiKey rests on, the ServiceAccount read live.
        base: Box<Base>,
        /// The ApiKey, read live after all else. One that is gone is [`Done::Over`].
        object: Box<Object>,
    },
    /// The server has made this key.
    Minted(NewKey),
    /// The new key signed in as this account.
    Proven(AccountId),
    /// The Secret holds the new key.
    Published(Held),
    /// The Secret is not the one that was rehearsed, and does not hold our key; every copy of our
    /// write was answered with a refusal.
    Outrun(Secret),
    /// The key is gone from the server.
    Revoked(KeyId),
    /// The living key was changed.
    Adjusted,
    /// The Secret's deletion was taken (it may still be there, held by somebody's finalizer).
    Unpublished,
    /// The Secret was changed.
    Amended(Held),
    /// A workload was restarted, just now or before.
    Restarted(Restarted),
    /// A workload cannot be restarted, and why: people read it, and nothing else waits for it.
    NotRestarted(Workload, Stop),
    /// The keys that stay are noted.
    Retained(Vec<KeyId>),
    /// The ApiKey is deleted, or its finalizer is off: nothing follows.
    Over,
    /// The step did not work. [`Effect::None`] says that every copy of its request was answered with
    /// a refusal, or never left. A conflict on the ApiKey itself is not folded in: it ends the pass,
    /// and the next begins at once.
    Failed(Setback),
}
