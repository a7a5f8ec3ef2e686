//! A server made of prepared answers, for the tests of the clients: it says what it was told to say,
//! in order, and remembers what it heard.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::transport::{Cut, Transport};
use super::{Budget, Connection, Credential, Limits, Server, connect};
use crate::api::ServerType;
use crate::clock::Clock;
use crate::secret::KeyMaterial;

/// The connection's own credential in tests; nothing that is said may hold it.
pub(super) const CREDENTIAL: &str = "API-CANARYCREDENTIAL";

/// A clock that follows tokio's.
pub(super) struct Ticking {
    start: Instant,
}

impl Ticking {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
        })
    }

    /// When the clock was made.
    pub(super) fn dawn() -> Timestamp {
        "2026-11-22T02:00:00Z".parse().unwrap()
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Self::dawn() + self.start.elapsed()
    }
}

/// The prepared answers, and what was heard.
#[derive(Default)]
pub(super) struct Script {
    answers: Mutex<VecDeque<Result<Response<Bytes>, Cut>>>,
    heard: Mutex<Vec<Request<Bytes>>>,
}

impl Script {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Next comes this.
    pub(super) fn then(self: &Arc<Self>, answer: Result<Response<Bytes>, Cut>) -> Arc<Self> {
        self.answers.lock().unwrap().push_back(answer);
        self.clone()
    }

    /// Next comes a success.
    pub(super) fn json(self: &Arc<Self>, body: &Value) -> Arc<Self> {
        self.says(200, &body.to_string())
    }

    /// Next comes this status and this body.
    pub(super) fn says(self: &Arc<Self>, status: u16, body: &str) -> Arc<Self> {
        self.then(Ok(answer(status, body)))
    }

    /// Next comes an error of Octopus.
    pub(super) fn error(self: &Arc<Self>, status: u16, message: &str) -> Arc<Self> {
        self.says(
            status,
            &serde_json::json!({ "ErrorMessage": message }).to_string(),
        )
    }

    /// Every request so far.
    pub(super) fn requests(&self) -> Vec<Request<Bytes>> {
        self.heard.lock().unwrap().clone()
    }

    /// Method, path and query of every request so far.
    pub(super) fn heard(&self) -> Vec<String> {
        let line = |request: &Request<Bytes>| {
            format!(
                "{} {}",
                request.method(),
                request.uri().path_and_query().unwrap()
            )
        };
        self.requests().iter().map(line).collect()
    }

    /// The JSON that the request of this number carried.
    pub(super) fn sent(&self, number: usize) -> Value {
        serde_json::from_slice(self.requests()[number].body()).unwrap()
    }

    /// A connection to this server.
    pub(super) fn connection(self: &Arc<Self>) -> Connection {
        Connection {
            type_: ServerType::Octopus,
            url: "https://octopus.example/prefix/".to_owned(),
            credential: Credential::ApiKey(KeyMaterial::new(CREDENTIAL)),
            transport: self.clone(),
            auth_url: None,
            clock: Ticking::new(),
            entropy: Arc::new(crate::clock::OsEntropy),
            budget: Arc::new(Budget::new(Limits::default())),
            turns: Arc::default(),
        }
    }

    /// A client of this server.
    pub(super) fn client(self: &Arc<Self>) -> Arc<dyn Server> {
        connect(self.connection()).unwrap()
    }
}

/// An answer with this status and this body.
pub(super) fn answer(status: u16, body: &str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap()
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Cut> {
        let line = format!("{} {}", request.method(), request.uri());
        self.heard.lock().unwrap().push(request);
        let next = self.answers.lock().unwrap().pop_front();
        next.unwrap_or_else(|| panic!("nothing is prepared for {line}"))
    }
}
