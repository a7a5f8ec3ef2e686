//! The world: one clock, one Kubernetes API, one recorder, and the processes that live in it.

use std::future::Future;
use std::io;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinHandle;
use tower::BoxError;

use crate::clock::SimulatedClock;
use crate::effect::{Call, Door, Process};
use crate::kubernetes::{ApiServer, whole};
use crate::recorder::{Cut, Recorder};

/// When every world begins.
const BEGINNING: &str = "2026-01-01T00:00:00Z";

/// One world. Clones are the same world.
#[derive(Clone)]
pub struct World {
    /// What time it is.
    pub clock: SimulatedClock,
    /// The Kubernetes API, and what is behind it.
    pub api: ApiServer,
    /// What passes the doors.
    pub recorder: Recorder,
}

impl World {
    /// A world with nothing but an empty cluster. To be called under tokio's paused clock.
    ///
    /// # Errors
    /// As [`ApiServer::new`].
    pub fn new() -> Result<Self> {
        let clock = SimulatedClock::new(BEGINNING.parse::<Timestamp>()?);
        let shared = Arc::new(clock.clone());
        Ok(Self {
            api: ApiServer::new(shared.clone())?,
            recorder: Recorder::new(shared),
            clock,
        })
    }

    /// Another empty cluster at the same time.
    ///
    /// # Errors
    /// As [`ApiServer::new`].
    pub fn beside(&self) -> Result<Self> {
        let shared = Arc::new(self.clock.clone());
        Ok(Self {
            api: ApiServer::new(shared.clone())?,
            recorder: Recorder::new(shared),
            clock: self.clock.clone(),
        })
    }

    /// A Kubernetes client in the hands of a process.
    pub fn client(&self, process: &Process) -> Client {
        let (world, process) = (self.clone(), process.clone());
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (world, process) = (world.clone(), process.clone());
            async move {
                let (parts, body) = request.into_parts();
                let request = http::Request::from_parts(parts, body.collect_bytes().await?);
                let call = Call::of(&process, Door::Kubernetes, &request);
                let api = world.api.clone();
                let perform = async move { Ok(api.answer(&process.name, request)) };
                let answer = world.recorder.pass(call, whole, perform).await;
                answer.map_err(|cut| BoxError::from(broken(cut)))
            }
        });
        Client::new(service, "default")
    }

    /// Starts the cluster's own controllers: namespaces that go, objects without owners.
    pub fn start_controllers(&self) -> JoinHandle<()> {
        tokio::spawn(self.api.clone().run_controllers())
    }

    /// Runs a program, and again whenever a script has crashed it: then everything that it held is
    /// dropped and it begins anew. `start` gets the life's name.
    pub fn run<F>(
        &self,
        process: &Process,
        start: impl Fn(Process) -> F + Send + 'static,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send,
        F::Output: Send + 'static,
    {
        let (recorder, mut process) = (self.recorder.clone(), process.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    biased;
                    output = start(process.clone()) => return output,
                    () = recorder.ended(&process) => {}
                }
                process = process.reborn();
            }
        })
    }
}

/// What a client sees of a cut connection.
fn broken(cut: Cut) -> io::Error {
    match cut {
        Cut::Unsent => io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"),
        Cut::Uncertain => io::Error::new(io::ErrorKind::ConnectionReset, "connection reset"),
    }
}
