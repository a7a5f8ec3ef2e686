//! The shell: *see* (read facts), *act* (do the one step), *report*. No decisions: those are
//! [`crate::plan`]'s.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `connection`, `account`, `key` | one pass over one object of that kind |
//! | `cluster` | every write to Kubernetes, and every live read |
//! | `facts` | Kubernetes objects to facts, and back |
//! | `rendering` | the entries of a Secret from templates |
//! | `counted` | a client whose calls are counted |
//! | `lists` | one list of keys per account |
//! | `lanes`, `queue` | how many passes go on at the same time, and who is next |
//! | `standing` | what connections and accounts are worth right now |
//! | `voice` | what was said last in a status, and patience with others |
//! | `watch` | one watch per kind, and who is woken by what |
//! | `tidy` | forgetting objects that are gone without our last step |
//! | `report` | logs and Events |

pub(crate) mod account;
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod counted;
pub(crate) mod facts;
pub(crate) mod key;
pub(crate) mod lanes;
pub(crate) mod lists;
pub(crate) mod queue;
pub(crate) mod rendering;
pub(crate) mod report;
pub(crate) mod standby;
pub(crate) mod standing;
pub(crate) mod tidy;
pub(crate) mod voice;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use self::cluster::{Cluster, Lapse};
pub use self::facts::Stamp;
use self::lanes::Lanes;
use self::rendering::Renderings;
use self::report::Reporter;
use self::standing::{Place, Register, Standings};
use self::watch::{Bells, Stores};
use crate::clock::{Clock, Entropy};
use crate::metrics::Metrics;
use crate::plan::key::Setback;
use crate::plan::record::Uid;
use crate::plan::sweep::Claim;
use crate::servers::transport::{BadTrust, Transport, Trust};
use crate::servers::{Allowed, Turns};

/// No pass has more effects: a plan that wants more does not settle, and is reported.
const MOST_STEPS: usize = 60;
/// So many times a pass begins anew because somebody else has changed its objects.
const MOST_STALE: usize = 3;
/// After a pass whose objects kept changing.
const STALE_WAIT: Duration = Duration::from_secs(1);
/// After a pass that did not settle, or cannot say what is wrong.
const LONG_WAIT: Duration = Duration::from_secs(60);
/// No pass comes sooner than this after the last, unless something has changed.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// After a call to the API server that got no answer.
const API_SERVER_WAIT: Duration = Duration::from_secs(5);

/// Opens doors to deploy servers.
pub trait Doors: Send + Sync {
    /// A door to servers whose certificate is signed as `trust` says.
    fn open(&self, trust: Trust<'_>) -> Result<Arc<dyn Transport>, BadTrust>;
}

/// What every pass works with.
pub(crate) struct Ctx {
    /// The API server.
    pub cluster: Cluster,
    /// What the watches have seen.
    pub stores: Stores,
    /// Wakes other passes.
    pub bells: Bells,
    /// What connections and accounts are worth.
    pub standings: Standings,
    /// Who we are.
    pub claim: Claim,
    /// Whether admission's stamp may be believed.
    pub stamp: Stamp,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Ways to deploy servers.
    pub doors: Arc<dyn Doors>,
    /// Where connections may lead.
    pub allowed: Allowed,
    /// The operator's own namespace: credentials of ClusterDeployServers are there.
    pub own_namespace: String,
    /// Who may change a shared thing on a server now.
    pub turns: Arc<Turns>,
    /// Logs and Events.
    pub reporter: Reporter,
    /// How many passes go on at the same time.
    pub lanes: Lanes,
    /// What passes remember from one to the next.
    pub memories: Memories,
    /// What is counted.
    pub metrics: Metrics,
}

/// What is known of a connection.
pub(crate) enum Connected {
    /// There is none of this name.
    Absent,
    /// There is one, and it has not been looked at in this process.
    Unlooked,
    /// This is what it is worth.
    Known(Box<standing::Connection>),
}

impl Ctx {
    /// What is known of a connection. What was found of a former one of the same name counts for
    /// nothing.
    fn connected(&self, place: &Place) -> Connected {
        let Stores {
            servers,
            cluster_servers,
            ..
        } = &self.stores;
        let uid = if let Some(namespace) = &place.namespace {
            let found = servers.get(&ObjectRef::new(&place.name).within(namespace));
            found.and_then(|server| {
                server
                    .0
                    .as_ref()
                    .ok()
                    .map(|server| facts::uid(&server.metadata))
            })
        } else {
            let found = cluster_servers.get(&ObjectRef::new(&place.name));
            found.and_then(|server| {
                server
                    .0
                    .as_ref()
                    .ok()
                    .map(|server| facts::uid(&server.metadata))
            })
        };
        let Some(uid) = uid else {
            return Connected::Absent;
        };
        match self
            .standings
            .connections
            .get(place)
            .filter(|known| known.uid == uid)
        {
            Some(known) => Connected::Known(Box::new(known)),
            None => Connected::Unlooked,
        }
    }
}

/// What passes remember from one to the next. Losing it costs patience, never safety.
#[derive(Default)]
pub(crate) struct Memories {
    /// Of connections.
    pub connections: Register<Place, connection::Memory>,
    /// When a call last spoke against a connection.
    pub suspicions: Register<Place, Timestamp>,
    /// Of ServiceAccounts.
    pub accounts: Register<Uid, account::Memory>,
    /// Of ApiKeys.
    pub keys: Register<Uid, key::Memory>,
    /// What the templates of ApiKeys are worth.
    pub renderings: Renderings,
}

/// A setback that is still to be waited out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Patience {
    /// What it was.
    pub setback: Setback,
    /// The count of failures in a row, and when the last was, where that is counted.
    pub failure: Option<(u32, Timestamp)>,
    /// Until when.
    pub until: Timestamp,
    /// The generation that met it: another one does not wait.
    pub generation: i64,
}

impl Patience {
    /// What is waited out, while it lasts.
    pub(crate) fn lasts(patience: Option<&Self>, generation: i64, now: Timestamp) -> Option<&Self> {
        patience.filter(|patience| patience.generation == generation && now < patience.until)
    }
}

/// An answer for a planner.
trait Came {
    /// Whether the step had its effect.
    fn worked(&self) -> bool;
}

/// What one effect came to.
pub(crate) enum Outcome<D> {
    /// An answer for the planner.
    Done(D),
    /// The objects were not what we thought: read them live, and plan anew.
    Stale,
    /// The API server gave no answer: look again later.
    Unanswered(String),
    /// Somebody else says something else: it is not contradicted before then.
    Hushed(Timestamp),
}

impl<D> Outcome<D> {
    /// What a write that did not work amounts to, when a refusal is the caller's affair.
    fn of_lapse(lapse: Lapse, refused: impl FnOnce(&str) -> D) -> Self {
        match lapse {
            Lapse::Conflict | Lapse::NotFound => Self::Stale,
            Lapse::Refused(why) => Self::Done(refused(&why)),
            Lapse::NoAnswer(why) => Self::Unanswered(why),
        }
    }
}

/// When to look at an object again.
fn requeue(now: Timestamp, wake: Timestamp) -> Action {
    let wait = wake.duration_since(now).max(SignedDuration::ZERO);
    Action::requeue(
        Duration::try_from(wait)
            .unwrap_or(SHORTEST_WAIT)
            .max(SHORTEST_WAIT),
    )
}

/// Whether `meta` is older than a version that we have seen already (resource versions of one kind
/// grow: Kubernetes enhancement 5504, "Comparable Resource Version").
fn is_older(meta: &ObjectMeta, seen: Option<&str>) -> bool {
    let number = |text: &str| text.parse::<u128>().ok();
    let (Some(have), Some(seen)) = (
        meta.resource_version.as_deref().and_then(number),
        seen.and_then(number),
    ) else {
        return false;
    };
    have < seen
}

/// What an error says, without its sources: they repeat it, and may show a body.
pub(crate) fn outermost(error: &dyn std::error::Error) -> String {
    error.to_string().chars().take(300).collect()
}
