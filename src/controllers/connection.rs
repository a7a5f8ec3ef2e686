//! A pass over one connection, of a namespace or of the cluster.

mod act;
mod client;
mod holds;
mod see;
mod vouch;

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::Action;
use serde::Serialize;

use self::act::{Flow, act, label, refusal};
use self::client::{Client, Making, part};
use self::see::{overdue, see};
use super::cluster::{Kind, Lapse};
use super::lists::Lists;
use super::queue::Urgency;
use super::report::{Course, End, Whose, unanswered};
use super::standing::{self, Line, News, Place};
use super::voice::Voice;
use super::watch::Guarded;
use super::{
    Came, Ctx, LONG_WAIT, MOST_STALE, MOST_STEPS, Outcome, STALE_WAIT, facts, is_older, requeue,
};
use crate::api::conditions::Reason;
use crate::api::{
    ClusterDeployServer, Connection, ConnectionStatus, DeployServer, Grant, KeyCounts, Period,
    ServerKind,
};
use crate::metrics::{self, KeyState};
use crate::plan::Stop;
use crate::plan::connection::{Look, Plan, Seen, Step, plan};
use crate::plan::port::{Fault, Probe};
use crate::plan::record::Uid;
use crate::servers::{Budget, Server};

/// What passes over one connection remember.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    /// The uid of the object that all this is about.
    uid: Option<Uid>,
    /// The newest version that a write of ours has made.
    version: Option<String>,
    /// The client, and what it was made from.
    client: Option<(Making, Client)>,
    /// What may be asked of the server; it outlives clients.
    budget: Option<(crate::api::Limits, Arc<Budget>)>,
    /// The last look with this client.
    look: Option<Look>,
    /// The newest lists of its accounts' keys.
    lists: Arc<Lists>,
    /// What was said last of it.
    voice: Voice<ConnectionStatus>,
}

impl Memory {
    /// Our own write on the credential's Secret makes no other credential of it.
    fn take_for_the_same(
        &mut self,
        before: &PartialObjectMeta<Secret>,
        after: &PartialObjectMeta<Secret>,
    ) {
        if let Some((making, _)) = &mut self.client
            && making.credential == before.metadata.resource_version
        {
            making
                .credential
                .clone_from(&after.metadata.resource_version);
        }
    }
}

/// Either kind of connection.
pub(crate) trait Link: Kind + Serialize + Debug + Send + Sync + 'static {
    /// What both kinds have.
    fn connection(&self) -> &Connection;
    /// Whom it grants what; `None` for one that serves its own namespace.
    fn grants(&self) -> Option<&[Grant]>;
    /// What was said of it last.
    fn status(&self) -> ConnectionStatus;
    /// The same, with this status.
    #[must_use]
    fn with(&self, status: ConnectionStatus) -> Self;
    /// Where it is.
    fn place(&self) -> Place;
    /// The namespace where its Secrets and the like are.
    fn home(&self, own_namespace: &str) -> String;
}

impl Link for DeployServer {
    fn connection(&self) -> &Connection {
        &self.spec.connection
    }
    fn grants(&self) -> Option<&[Grant]> {
        None
    }
    fn status(&self) -> ConnectionStatus {
        self.status.clone().unwrap_or_default()
    }
    fn with(&self, status: ConnectionStatus) -> Self {
        let mut wanted = self.clone();
        wanted.metadata.managed_fields = None;
        wanted.status = Some(status);
        wanted
    }
    fn place(&self) -> Place {
        Place::at(ServerKind::DeployServer, self)
    }
    fn home(&self, _: &str) -> String {
        self.namespace().unwrap_or_default()
    }
}

impl Link for ClusterDeployServer {
    fn connection(&self) -> &Connection {
        &self.spec.connection
    }
    fn grants(&self) -> Option<&[Grant]> {
        Some(&self.spec.grants)
    }
    fn status(&self) -> ConnectionStatus {
        self.status.clone().unwrap_or_default()
    }
    fn with(&self, status: ConnectionStatus) -> Self {
        let mut wanted = self.clone();
        wanted.metadata.managed_fields = None;
        wanted.status = Some(status);
        wanted
    }
    fn place(&self) -> Place {
        Place::at(ServerKind::ClusterDeployServer, self)
    }
    fn home(&self, own_namespace: &str) -> String {
        own_namespace.to_owned()
    }
}

/// Looks at one connection, and does what is to be done.
pub(crate) async fn run<L: Link>(
    object: Arc<Guarded<L>>,
    ctx: Arc<Ctx>,
) -> Result<Action, Infallible> {
    Ok(match &object.0 {
        Ok(object) => match ctx
            .lanes
            .connections
            .enter(object.namespace(), None, Urgency::Drift)
            .await
        {
            Some(_pass) => Box::pin(reconcile(&ctx, object.clone())).await,
            None => Action::await_change(),
        },
        Err(invalid) => super::report::invalid::<L>(&ctx, &invalid.metadata, &invalid.error).await,
    })
}

/// A fault that speaks against the connection has it looked at again.
pub(crate) fn suspect(ctx: &Ctx, place: &Place, fault: &Fault) {
    match fault {
        Fault::Unreachable(_)
        | Fault::Uncertain(_)
        | Fault::Unauthorized
        | Fault::Untrusted(_)
        | Fault::Redirected(_)
        | Fault::Protocol(_)
        | Fault::NoToken(_) => {}
        Fault::Throttled { .. }
        | Fault::Forbidden(_)
        | Fault::NotFound
        | Fault::Conflict(_)
        | Fault::Rejected(_) => return,
    }
    ctx.memories.suspicions.put(place.clone(), ctx.clock.now());
    ctx.bells.connection(place);
}

/// What a pass holds in its hands besides the facts.
struct Hands<L> {
    object: L,
    server: Option<Arc<dyn Server>>,
    /// The Secret with the credential.
    credential: Option<PartialObjectMeta<Secret>>,
    /// The Secrets with our finalizer that no connection uses any more.
    leftovers: Vec<PartialObjectMeta<Secret>>,
    /// The newest lists of its accounts' keys.
    lists: Arc<Lists>,
}

async fn reconcile<L: Link>(ctx: &Ctx, mut object: L) -> Action {
    let place = object.place();
    let mut memory = ctx.memories.connections.get(&place).unwrap_or_default();
    let mut behind = is_older(object.meta(), memory.version.as_deref());
    for _ in 0..MOST_STALE {
        if behind {
            match ctx
                .cluster
                .get::<L>(place.namespace.as_deref(), &place.name)
                .await
            {
                Ok(Some(found)) => object = found,
                Ok(None) => return gone(ctx, &place, &mut memory).await,
                Err(lapse) => return unanswered(&whose(&place), &lapse.to_string()),
            }
        }
        memory = own(ctx, &place, &object, memory);
        let (seen, hands) = match Box::pin(see(ctx, object.clone(), &mut memory)).await {
            Ok(seen) => seen,
            Err(lapse) => return unanswered(&whose(&place), &lapse.to_string()),
        };
        let end = Box::pin(pass(ctx, &place, seen, hands, &mut memory)).await;
        ctx.memories.connections.put(place.clone(), memory.clone());
        match end {
            Ok(Some(action)) => return action,
            Ok(None) => behind = true,
            Err(lapse) => return unanswered(&whose(&place), &lapse.to_string()),
        }
    }
    Action::requeue(STALE_WAIT)
}

/// The memory of this very object: what is known of a former one of its name counts for nothing.
fn own<L: Link>(ctx: &Ctx, place: &Place, object: &L, memory: Memory) -> Memory {
    let uid = Some(facts::uid(object.meta()));
    if memory.uid == uid {
        return memory;
    }
    if ctx.standings.connections.forget(place) == News::Changed {
        ctx.bells.dependents_of(&ctx.stores, place);
    }
    Memory {
        uid,
        ..Memory::default()
    }
}

/// Ends what the clients of all connections hold open on their servers, at the end of the process.
pub(crate) async fn leave_all(ctx: &Ctx) {
    let memories = ctx.memories.connections.all().into_iter();
    join_all(memories.map(|memory| part(memory.client))).await;
}

async fn gone(ctx: &Ctx, place: &Place, memory: &mut Memory) -> Action {
    part(memory.client.take()).await;
    ctx.memories.connections.forget(place);
    ctx.metrics.forget_server(&place.to_string());
    if ctx.standings.connections.forget(place) == News::Changed {
        ctx.bells.accounts_of(&ctx.stores, place);
    }
    Action::await_change()
}

fn whose(place: &Place) -> Whose {
    Whose {
        kind: match place.kind {
            ServerKind::DeployServer => metrics::Kind::DeployServer,
            ServerKind::ClusterDeployServer => metrics::Kind::ClusterDeployServer,
        },
        namespace: place.namespace.clone(),
        name: place.name.clone(),
    }
}

impl Came for Flow {
    fn worked(&self) -> bool {
        matches!(self, Self::On | Self::Over)
    }
}

/// Tells how many keys its accounts have.
fn show_keys(ctx: &Ctx, place: &Place, keys: Option<KeyCounts>) {
    let connection = place.to_string();
    let Some(keys) = keys else {
        return ctx.metrics.forget_keys(&connection);
    };
    for state in KeyState::ALL {
        let count = match state {
            KeyState::Managed => keys.managed,
            KeyState::Retiring => keys.retiring,
            KeyState::Stray => keys.stray,
            KeyState::Orphan => keys.orphan,
            KeyState::Other => keys.other,
            KeyState::Foreign => keys.foreign,
        };
        ctx.metrics.set_keys(&connection, state, count);
    }
}

/// Plans and acts until nothing is left to do. `None` when the objects were not what we thought.
async fn pass<L: Link>(
    ctx: &Ctx,
    place: &Place,
    mut seen: Seen,
    mut hands: Hands<L>,
    memory: &mut Memory,
) -> Result<Option<Action>, Lapse> {
    let mut course = Course::begin(&ctx.metrics, whose(place));
    let looked_before = seen.look.clone();
    show_keys(ctx, place, seen.keys);
    ctx.metrics
        .set_overdue(&place.to_string(), overdue(ctx, place));
    for _ in 0..MOST_STEPS {
        seen.now = ctx.clock.now();
        let Plan {
            step,
            wake,
            standing,
        } = plan(&seen);
        let stop = in_the_way(standing.as_ref());
        if let Some(standing) = standing {
            publish(ctx, place, &hands, standing);
        }
        if step == Step::Idle {
            memory
                .version
                .clone_from(&hands.object.meta().resource_version);
            course.ended(end(&seen, looked_before.as_ref(), stop.as_ref()));
            return Ok(Some(requeue(seen.now, wake)));
        }
        let came = Box::pin(act(ctx, place, &mut seen, &mut hands, memory, &step)).await;
        course.step(label(&step), &came);
        match came {
            Outcome::Done(Flow::On) => {}
            Outcome::Done(Flow::Over) => {
                course.ended(End::Well);
                return Ok(Some(gone(ctx, place, memory).await));
            }
            Outcome::Done(Flow::Refused(why)) => {
                tracing::warn!(
                    server.name = place.name,
                    "the API server refuses a write: {why}"
                );
                // The status is the one thing that cannot say it.
                if matches!(step, Step::Record(_)) {
                    return Ok(Some(Action::requeue(LONG_WAIT)));
                }
                seen.refused = Some(refusal(&step, &why));
            }
            Outcome::Stale => {
                course.stale();
                return Ok(None);
            }
            Outcome::Hushed(until) => {
                course.ended(End::Well);
                return Ok(Some(requeue(seen.now, until)));
            }
            Outcome::Unanswered(why) => return Err(Lapse::NoAnswer(why)),
        }
    }
    course.unsettled();
    Ok(Some(Action::requeue(LONG_WAIT)))
}

/// Lets ServiceAccounts know what the connection is worth.
fn publish<L: Link>(ctx: &Ctx, place: &Place, hands: &Hands<L>, standing: Result<Probe, Stop>) {
    let spec = hands.object.connection();
    let policy = spec.key_policy.as_ref();
    let usable = standing.and_then(|probe| match &hands.server {
        Some(server) => Ok(Line {
            server: Arc::clone(server),
            probe,
        }),
        None => Err(Stop::plain(Reason::WaitingForServer)),
    });
    let known = standing::Connection {
        uid: facts::uid(hands.object.meta()),
        usable,
        expiry: hands.server.as_ref().map(|server| server.ability().expiry),
        lists: Arc::clone(&hands.lists),
        address: standing::Address::of(&spec.url, spec.auth_url.as_deref()),
        grants: hands.object.grants().map(<[Grant]>::to_vec),
        max_lifetime: policy
            .and_then(|policy| policy.max_lifetime.as_ref())
            .map(Period::duration),
        default_lifetime: policy
            .and_then(|policy| policy.default_lifetime.as_ref())
            .map(Period::duration),
        resync: spec.resync.duration(),
    };
    if ctx.standings.connections.set(place.clone(), known) == News::Changed {
        ctx.bells.dependents_of(&ctx.stores, place);
    }
}

/// What keeps the connection from use. That nothing rests on it yet does not.
fn in_the_way(standing: Option<&Result<Probe, Stop>>) -> Option<Stop> {
    let stop = standing?.as_ref().err()?;
    (stop.reason != Reason::WaitingForServer).then(|| stop.clone())
}

/// How a pass came to its end. What stands from an earlier look is waited out.
fn end<'a>(seen: &'a Seen, before: Option<&Look>, stop: Option<&'a Stop>) -> End<'a> {
    let same_look = before.is_some_and(|before| {
        before.found.is_err() && seen.look.as_ref().map(|look| look.at) == Some(before.at)
    });
    match (&seen.refused, stop) {
        (None, None) => End::Well,
        (None, Some(stop)) if same_look => End::Waits(stop),
        (Some(stop), _) | (None, Some(stop)) => End::Met(stop),
    }
}
