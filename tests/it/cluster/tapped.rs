//! A twin whose mints are overheard: leaks are looked for among all keys that were ever made, the
//! ones that nobody published included.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use testbed::twins::octopus::{Change, KeyView, Octopus, Start, View};
use testbed::twins::{Effect, Sort, Twin, Unknown};

/// Texts that must be nowhere but where they belong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Canaries(Arc<Mutex<Vec<String>>>);

impl Canaries {
    /// Adds one.
    pub(crate) fn add(&self, text: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text.to_owned());
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// An Octopus twin that tells which keys it makes.
#[derive(Debug, Clone)]
pub(crate) struct Tapped {
    octopus: Octopus,
    canaries: Canaries,
}

impl Tapped {
    /// Taps a twin. The credentials that it starts with are canaries too.
    pub(crate) fn new(octopus: Octopus, canaries: &Canaries) -> Self {
        let Start {
            admin,
            operator,
            bystander,
            ..
        } = octopus.start();
        for credential in [admin, operator, bystander] {
            canaries.add(&credential.key);
        }
        canaries.add(octopus.start().admin_password());
        Self {
            octopus,
            canaries: canaries.clone(),
        }
    }

    /// The accounts that are there from the start, with their keys.
    pub(crate) fn start(&self) -> &Start {
        self.octopus.start()
    }

    /// The key with this text, if the server still knows it.
    pub(crate) fn whose(&self, now: Timestamp, text: &str) -> Option<KeyView> {
        self.octopus.whose(now, text)
    }
}

impl Twin for Tapped {
    type Change = Change;
    type View = View;

    const NAME: &'static str = Octopus::NAME;

    fn handle(&mut self, now: Timestamp, request: Request<Bytes>) -> Response<Bytes> {
        let mints = self.octopus.sort(&request).effect == Effect::Mint;
        let response = Twin::handle(&mut self.octopus, now, request);
        if mints && let Ok(body) = serde_json::from_slice::<Value>(response.body()) {
            body["ApiKey"]
                .as_str()
                .into_iter()
                .for_each(|key| self.canaries.add(key));
        }
        response
    }

    fn sort(&self, request: &Request<Bytes>) -> Sort {
        self.octopus.sort(request)
    }

    fn change(&mut self, now: Timestamp, change: Change) -> Result<(), Unknown> {
        Twin::change(&mut self.octopus, now, change)
    }

    fn view(&self, now: Timestamp) -> View {
        self.octopus.view(now)
    }

    fn restore(&mut self, older: Self) {
        self.octopus.restore(older.octopus);
    }

    fn refusal(&self, now: Timestamp, status: StatusCode) -> Response<Bytes> {
        self.octopus.refusal(now, status)
    }
}
