//! Twins: faithful simulators of the deploy servers.
//!
//! A [`Twin`] is a pure state machine: a time and an HTTP request go in, an HTTP response comes
//! out. It has no clock, no socket, no tokio, and draws its ids from a seed. The doors are the
//! same for every twin:
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`door`] | the in-process door, and the world around a twin: faults, log, clock, oracles |
//! | [`faults`] | the fault plan: which requests go wrong, and how |
//! | [`journal`] | what was asked of the twin; tests count from it |
//! | [`tcp`] | the same twin on 127.0.0.1, with TLS if wanted ([`tls`]) |
//! | [`control`] | the same powers for other processes: HTTP and JSON on a port of its own |
//! | [`octopus`] | Octopus Deploy |
//! | [`elasticsearch`] | Elasticsearch, its security feature |
//! | [`stackstorm`] | StackStorm |
//!
//! Invariant: product code never reaches a control power through the twin's own API, and nothing
//! secret is ever in the journal.

mod chance;
pub mod control;
pub mod door;
pub mod elasticsearch;
pub mod faults;
pub mod journal;
pub mod octopus;
pub mod stackstorm;
pub mod tcp;
pub mod tls;
mod world;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use door::{Cut, Door};
pub use faults::{Fault, Rule, Times};
pub use journal::{Effect, Entry, Fate};

/// A simulated server. Cloning it is taking a backup.
pub trait Twin: Clone + Send + 'static {
    /// A thing that happens to the server from outside, not through its API.
    type Change: DeserializeOwned + Send + 'static;
    /// What an oracle sees: every account and every key, as the server itself knows them.
    type View: Serialize + Send + 'static;

    /// The short name on the command line, such as `octopus`.
    const NAME: &'static str;

    /// Examples of changes and the names of all of them, for people: lines of the control door's
    /// guide.
    const CHANGES: &'static str = "";

    /// Answers one request at the given time.
    ///
    /// The response carries a [`Caller`] as an extension when the request was made by somebody.
    fn handle(&mut self, now: Timestamp, request: Request<Bytes>) -> Response<Bytes>;

    /// Says what a request would be, without doing it.
    fn sort(&self, request: &Request<Bytes>) -> Sort;

    /// Does something to the world from outside.
    ///
    /// # Errors
    /// When it names something that is not there.
    fn change(&mut self, now: Timestamp, change: Self::Change) -> Result<(), Unknown>;

    /// Reads everything, for oracles.
    fn view(&self, now: Timestamp) -> Self::View;

    /// Becomes an older copy of itself, as after a restore from a backup. Chance does not go
    /// back: what is made afterwards has texts and random ids that were never seen before.
    fn restore(&mut self, older: Self);

    /// An error in this server's own words, for faults that the server itself would report.
    fn refusal(&self, now: Timestamp, status: StatusCode) -> Response<Bytes>;
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The method that is meant.
    pub method: Method,
    /// The path with its ids taken out, such as `/api/users/{id}/apikeys`.
    pub template: &'static str,
    /// What it does when it succeeds.
    pub effect: Effect,
    /// The account that the path names.
    pub account: Option<String>,
}

/// Who made a request: an extension of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's id.
    pub user: String,
    /// The id of the key that it used; a session or a token has none.
    pub key: Option<String>,
}

/// A change named something that the server does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "there is no {} here", self.0)
    }
}

impl std::error::Error for Unknown {}
