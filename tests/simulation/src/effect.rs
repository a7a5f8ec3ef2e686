//! What passes the doors: calls of processes, and which of them are effects.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use jiff::Timestamp;

use crate::kubernetes::{Durability, Target};

/// One life of one program: its requests carry this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// The program, the same in every life: also its user name at the API server.
    pub name: Arc<str>,
    /// How often it was started before.
    pub life: u32,
}

impl Process {
    /// The first life of a program.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            life: 0,
        }
    }

    /// The next life of the same program.
    #[must_use]
    pub fn reborn(&self) -> Self {
        Self {
            name: self.name.clone(),
            life: self.life + 1,
        }
    }
}

/// What a request is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// The Kubernetes API.
    Kubernetes,
    /// A deploy server, by its name in this world.
    Server(Arc<str>),
}

/// A request, as the doors see it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who sends it.
    pub process: Process,
    /// Where it goes.
    pub door: Door,
    /// What is done.
    pub method: Method,
    /// To what.
    pub path: String,
    /// In which way.
    pub query: String,
    /// Whether it changes anything for good.
    pub durability: Durability,
}

impl Call {
    /// Describes a request.
    pub fn of(process: &Process, door: Door, request: &Request<Bytes>) -> Self {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(request.body());
        let rehearsed = door == Door::Kubernetes
            && (query.contains("dryRun=All")
                || (request.method() == Method::DELETE && body.contains(r#""dryRun":["All"]"#)));
        Self {
            process: process.clone(),
            door,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query,
            durability: if rehearsed {
                Durability::Rehearsed
            } else {
                Durability::Lasting
            },
        }
    }

    /// Whether it may change something.
    pub fn is_effect(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD && !self.is_question()
    }

    /// Whether it is a POST to the Kubernetes API that is answered, and stored nowhere.
    fn is_question(&self) -> bool {
        let asked = ["/selfsubjectreviews", "/token"];
        self.door == Door::Kubernetes && asked.iter().any(|end| self.path.ends_with(end))
    }

    /// The objects it names, at the Kubernetes door.
    pub fn target(&self) -> Option<Target> {
        (self.door == Door::Kubernetes)
            .then(|| Target::parse(&self.path))
            .flatten()
    }
}

/// A request that may have changed something.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Its place among all effects of this world, from 0, by the time it was sent.
    pub number: usize,
    /// The request.
    pub call: Call,
    /// When it was sent.
    pub sent: Timestamp,
    /// When it was done.
    pub at: Timestamp,
    /// What was answered; `None` while it is not done.
    pub status: Option<StatusCode>,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Call {
            process,
            method,
            path,
            durability,
            ..
        } = &self.call;
        write!(
            out,
            "{} {} {}.{}: {method} {path}",
            self.number, self.at, process.name, process.life
        )?;
        if *durability == Durability::Rehearsed {
            write!(out, " (dry run)")?;
        }
        match self.status {
            Some(status) => write!(out, " -> {}", status.as_u16()),
            None => write!(out, " -> not done"),
        }
    }
}
