//! A twin that is overheard: leaks are looked for among all keys that it ever made, the ones that
//! nobody published included, and among the tokens and credentials of whoever signs in.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use testbed::twins::octopus::Octopus;
use testbed::twins::stackstorm::StackStorm;
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

/// A twin of which it is known what must stay secret.
pub(crate) trait Telling: Twin {
    /// The credentials that are there from the start.
    fn credentials(&self) -> Vec<String>;

    /// Where the answer to a request with this effect has what was made.
    fn secret(effect: Effect) -> Option<&'static str>;
}

impl Telling for Octopus {
    fn credentials(&self) -> Vec<String> {
        let start = self.start();
        let accounts = [&start.admin, &start.operator, &start.bystander];
        let keys = accounts.map(|account| account.key.clone()).into_iter();
        keys.chain([start.admin_password().to_owned()]).collect()
    }

    fn secret(effect: Effect) -> Option<&'static str> {
        (effect == Effect::Mint).then_some("ApiKey")
    }
}

impl Telling for StackStorm {
    fn credentials(&self) -> Vec<String> {
        let start = self.start();
        let users = [&start.admin, &start.operator, &start.bystander];
        let both = users.map(|user| [user.key.clone(), user.password.clone()]);
        both.concat()
    }

    /// The key is not told: the operator has made it.
    fn secret(effect: Effect) -> Option<&'static str> {
        (effect == Effect::SignIn).then_some("token")
    }
}

/// A twin that tells what it makes.
#[derive(Debug, Clone)]
pub(crate) struct Tapped<T = Octopus> {
    twin: T,
    canaries: Canaries,
}

impl<T: Telling> Tapped<T> {
    /// Taps a twin. The credentials that it starts with are canaries too.
    pub(crate) fn new(twin: T, canaries: &Canaries) -> Self {
        for credential in twin.credentials() {
            canaries.add(&credential);
        }
        Self {
            twin,
            canaries: canaries.clone(),
        }
    }
}

impl<T> Deref for Tapped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.twin
    }
}

impl<T: Telling> Twin for Tapped<T> {
    type Change = T::Change;
    type View = T::View;

    const NAME: &'static str = T::NAME;

    fn handle(&mut self, now: Timestamp, request: Request<Bytes>) -> Response<Bytes> {
        let secret = T::secret(self.twin.sort(&request).effect);
        let response = self.twin.handle(now, request);
        if let Some(secret) = secret
            && let Ok(body) = serde_json::from_slice::<Value>(response.body())
            && let Some(made) = body[secret].as_str()
        {
            self.canaries.add(made);
        }
        response
    }

    fn sort(&self, request: &Request<Bytes>) -> Sort {
        self.twin.sort(request)
    }

    fn change(&mut self, now: Timestamp, change: T::Change) -> Result<(), Unknown> {
        self.twin.change(now, change)
    }

    fn view(&self, now: Timestamp) -> T::View {
        self.twin.view(now)
    }

    fn restore(&mut self, older: Self) {
        self.twin.restore(older.twin);
    }

    fn refusal(&self, now: Timestamp, status: StatusCode) -> Response<Bytes> {
        self.twin.refusal(now, status)
    }
}
