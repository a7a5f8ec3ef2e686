//! What the operator counts, in Prometheus' form.
//!
//! Labels are words of closed lists, or names of connections: never of keys, and never what
//! a server or a person has written. Registered once; a [`Metrics`] is a handle that all share.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

/// The bounds of a pass's duration, in seconds: from one that finds nothing to do to one that waits
/// for a slow server.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 90.0];

/// A kind of object that passes are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A DeployServer.
    DeployServer,
    /// A ClusterDeployServer.
    ClusterDeployServer,
    /// A ServiceAccount.
    ServiceAccount,
    /// An ApiKey.
    ApiKey,
}

impl Kind {
    /// Its name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::DeployServer => "DeployServer",
            Self::ClusterDeployServer => "ClusterDeployServer",
            Self::ServiceAccount => "ServiceAccount",
            Self::ApiKey => "ApiKey",
        }
    }
}

/// How a pass has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has had an effect.
    Changed,
    /// There was nothing to do.
    Unchanged,
    /// Something kept it from its end.
    Failed,
    /// The objects were not what it thought: another pass begins at once.
    Stale,
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Stale => "stale",
        }
    }
}

/// What a key on a server is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// In use.
    Managed,
    /// Replaced, and living through its overlap.
    Retiring,
    /// Of a living ApiKey, recorded nowhere.
    Stray,
    /// Of an ApiKey that is gone.
    Orphan,
    /// Of another installation.
    Other,
    /// Of nobody we know.
    Foreign,
}

impl KeyState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Managed,
        Self::Retiring,
        Self::Stray,
        Self::Orphan,
        Self::Other,
        Self::Foreign,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Retiring => "retiring",
            Self::Stray => "stray",
            Self::Orphan => "orphan",
            Self::Other => "other",
            Self::Foreign => "foreign",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EffectLabels {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct CallLabels {
    server: String,
    call: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeyLabels {
    server: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabels {
    server: String,
}

impl ServerLabels {
    fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
        }
    }
}

/// All that is counted. Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    passes: Family<PassLabels, Histogram, fn() -> Histogram>,
    effects: Family<EffectLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    /// Which calls were counted so far: a family does not tell.
    called: Arc<Mutex<BTreeSet<CallLabels>>>,
    faults: Family<FaultLabels, Counter>,
    keys: Family<KeyLabels, Gauge>,
    overdue: Family<ServerLabels, Gauge>,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Everything at nought.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("apikey_operator");
        let passes: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let (effects, calls, faults, keys, overdue, leader) = (
            Family::default(),
            Family::default(),
            Family::default(),
            Family::default(),
            Family::default(),
            Gauge::default(),
        );
        registry.register(
            "build",
            "Which operator this is",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register(
            "pass_duration_seconds",
            "How long passes over objects took, by how they ended",
            passes.clone(),
        );
        registry.register(
            "effects",
            "Steps that had an effect on a server or on the cluster",
            effects.clone(),
        );
        registry.register(
            "server_calls",
            "Calls to deploy servers through connections, by how they were answered",
            calls.clone(),
        );
        registry.register(
            "faults",
            "What kept passes from their end, by the reason that people see",
            faults.clone(),
        );
        registry.register(
            "keys",
            "Keys of the accounts of connections when they were counted last",
            keys.clone(),
        );
        registry.register(
            "apikeys_overdue",
            "ApiKeys with a key whose time is over and that its server, which knows no end of keys, takes still",
            overdue.clone(),
        );
        registry.register(
            "leader",
            "Whether this operator leads (1) or stands by (0)",
            leader.clone(),
        );
        let registry = Arc::new(registry);
        Self {
            registry,
            passes,
            effects,
            calls,
            called: Arc::default(),
            faults,
            keys,
            overdue,
            leader,
        }
    }

    /// A pass over an object of this kind begins.
    pub fn pass(&self, kind: Kind) -> Pass {
        Pass {
            passes: self.passes.clone(),
            kind,
            outcome: Outcome::Failed,
            began: Instant::now(),
        }
    }

    /// A step has had its effect; `step` is its name.
    pub fn effect(&self, step: &'static str) {
        self.effects.get_or_create(&EffectLabels { step }).inc();
    }

    /// A server was called through the connection `server`; `outcome` is `ok`, or the name of the
    /// fault.
    pub fn call(&self, server: &str, call: &'static str, outcome: &'static str) {
        let labels = CallLabels {
            server: server.to_owned(),
            call,
            outcome,
        };
        self.calls.get_or_create(&labels).inc();
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if !called.contains(&labels) {
            called.insert(labels);
        }
    }

    /// Something keeps an object from its end; `reason` is the word in its condition.
    pub fn fault(&self, kind: Kind, reason: &'static str) {
        let labels = FaultLabels {
            kind: kind.label(),
            reason,
        };
        self.faults.get_or_create(&labels).inc();
    }

    /// So many keys in this state were seen through the connection `server`.
    pub fn set_keys(&self, server: &str, state: KeyState, count: u32) {
        self.keys
            .get_or_create(&KeyLabels::new(server, state))
            .set(i64::from(count));
    }

    /// Nothing is known of the keys behind the connection `server`.
    pub fn forget_keys(&self, server: &str) {
        for state in KeyState::ALL {
            self.keys.remove(&KeyLabels::new(server, state));
        }
    }

    /// So many ApiKeys of the connection `server` have a key that should have ended.
    pub fn set_overdue(&self, server: &str, count: usize) {
        let labels = ServerLabels::new(server);
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.overdue.get_or_create(&labels).set(count);
    }

    /// The connection `server` is gone: nothing is told of it any more.
    pub fn forget_server(&self, server: &str) {
        self.forget_keys(server);
        self.overdue.remove(&ServerLabels::new(server));
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        called.retain(|labels| {
            let stays = labels.server != server;
            if !stays {
                self.calls.remove(labels);
            }
            stays
        });
    }

    /// This operator leads: passes begin.
    pub fn leads(&self) {
        self.leader.set(1);
    }

    /// All of it, as text in the form of `OpenMetrics`.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl KeyLabels {
    fn new(server: &str, state: KeyState) -> Self {
        Self {
            server: server.to_owned(),
            state: state.label(),
        }
    }
}

/// A pass that goes on. It is counted when it ends, however it ends: one that is dropped without
/// a word has failed.
#[derive(Debug)]
pub struct Pass {
    passes: Family<PassLabels, Histogram, fn() -> Histogram>,
    kind: Kind,
    outcome: Outcome,
    began: Instant,
}

impl Pass {
    /// The pass has come to its end.
    pub fn ended(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let labels = PassLabels {
            kind: self.kind.label(),
            outcome: self.outcome.label(),
        };
        self.passes
            .get_or_create(&labels)
            .observe(self.began.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests;
