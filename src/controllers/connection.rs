//! A pass over one connection, of a namespace or of the cluster.

mod holds;

use std::convert::Infallible;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::{Resource, ResourceExt};
use serde::Serialize;

use super::cluster::{Kind, Lapse, Marks};
use super::lists::Lists;
use super::standing::{self, Line, News, Place};
use super::watch::{Guarded, credential_name};
use super::{Ctx, MOST_STEPS, Outcome, facts, is_older, requeue};
use crate::api::conditions::Reason;
use crate::api::{
    Auth, CaKind, ClusterDeployServer, Connection, ConnectionStatus, DeployServer, Grant,
    KeyCounts, Period, ServerKind, ServerType, ServiceAccount, Tls, annotation, finalizer, label,
};
use crate::plan::Stop;
use crate::plan::connection::{Look, Mark, Pin, Plan, Seen, Step, plan};
use crate::plan::key::Finalizer;
use crate::plan::port::{AccountId, Fault, Probe, ServerIdentity};
use crate::plan::record::Uid;
use crate::secret::KeyMaterial;
use crate::servers::transport::Trust;
use crate::servers::{self, Budget, Credential, Server, connect};

/// What passes over one connection remember.
#[derive(Clone, Default)]
pub struct Memory {
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
}

/// The client for a server, or why there is none.
type Client = Result<Arc<dyn Server>, Stop>;

/// What a client was made from: when it differs, another client is made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Making {
    generation: i64,
    url: String,
    credential: Option<String>,
    authorities: Option<String>,
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
pub trait Link: Kind + Serialize + Debug + Send + Sync + 'static {
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
        Place {
            kind: ServerKind::DeployServer,
            namespace: self.namespace(),
            name: self.name_any(),
        }
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
        Place {
            kind: ServerKind::ClusterDeployServer,
            namespace: None,
            name: self.name_any(),
        }
    }
    fn home(&self, own_namespace: &str) -> String {
        own_namespace.to_owned()
    }
}

/// Looks at one connection, and does what is to be done.
pub async fn run<L: Link>(object: Arc<Guarded<L>>, ctx: Arc<Ctx>) -> Result<Action, Infallible> {
    Ok(match &object.0 {
        Ok(object) => Box::pin(reconcile(&ctx, object.clone())).await,
        Err(invalid) => super::report::invalid::<L>(&ctx, &invalid.metadata, &invalid.error).await,
    })
}

/// A fault that speaks against the connection has it looked at again.
pub fn suspect(ctx: &Ctx, place: &Place, fault: &Fault) {
    match fault {
        Fault::Unreachable(_)
        | Fault::Uncertain(_)
        | Fault::Unauthorized
        | Fault::Untrusted(_)
        | Fault::Redirected(_)
        | Fault::Protocol(_) => {}
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
    for _ in 0..3 {
        if behind {
            match ctx
                .cluster
                .get::<L>(place.namespace.as_deref(), &place.name)
                .await
            {
                Ok(Some(found)) => object = found,
                Ok(None) => return gone(ctx, &place),
                Err(lapse) => return unanswered(&place, &lapse),
            }
        }
        memory = own(ctx, &place, &object, memory);
        let (seen, hands) = match Box::pin(see(ctx, object.clone(), &mut memory)).await {
            Ok(seen) => seen,
            Err(lapse) => return unanswered(&place, &lapse),
        };
        let end = Box::pin(pass(ctx, &place, seen, hands, &mut memory)).await;
        ctx.memories.connections.put(place.clone(), memory.clone());
        match end {
            Ok(Some(action)) => return action,
            Ok(None) => behind = true,
            Err(lapse) => return unanswered(&place, &lapse),
        }
    }
    Action::requeue(Duration::from_secs(1))
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

fn gone(ctx: &Ctx, place: &Place) -> Action {
    ctx.memories.connections.forget(place);
    if ctx.standings.connections.forget(place) == News::Changed {
        ctx.bells.accounts_of(&ctx.stores, place);
    }
    Action::await_change()
}

fn unanswered(place: &Place, lapse: &Lapse) -> Action {
    tracing::warn!(
        server.name = place.name,
        "the API server gives no answer, it is tried again: {lapse}"
    );
    Action::requeue(super::API_SERVER_WAIT)
}

/// The facts, and the client.
async fn see<L: Link>(
    ctx: &Ctx,
    object: L,
    memory: &mut Memory,
) -> Result<(Seen, Hands<L>), Lapse> {
    let meta = object.meta();
    let spec = object.connection();
    let generation = meta.generation.unwrap_or_default();
    let home = object.home(&ctx.own_namespace);
    let credential = match credential_name(&spec.auth) {
        Some(name) => ctx.cluster.secret(&home, name).await?,
        None => None,
    };
    let mut usable = usable(ctx, spec);
    let offered = offered(&object, credential.as_ref());
    if usable.is_ok() && offered.is_ok() {
        match authorities(ctx, &home, spec).await? {
            Ok(authorities) => {
                let making = Making {
                    generation,
                    url: spec.url.clone(),
                    credential: credential
                        .as_ref()
                        .and_then(|secret| secret.metadata.resource_version.clone()),
                    authorities,
                };
                renew(ctx, &home, spec, making, memory).await?;
                if let Some((_, Err(stop))) = &memory.client {
                    usable = Err(stop.clone());
                }
            }
            Err(stop) => usable = Err(stop),
        }
    } else {
        memory.client = None;
        memory.look = None;
    }
    let place = object.place();
    let suspected = ctx.memories.suspicions.get(&place);
    let doubted = |look: &Look| look.found.is_ok() && suspected.is_some_and(|at| look.at <= at);
    if memory.look.as_ref().is_some_and(doubted) {
        memory.look = None;
    }
    let accounts = ctx.stores.accounts.state();
    let dependents = Dependents::of(&place, accounts.iter().map(AsRef::as_ref));
    let hold = match &credential {
        Some(secret) => Some(holds::hold_of(ctx, &place, secret).await?),
        None => None,
    };
    let leftovers = holds::leftovers(ctx, &object);
    let seen = Seen {
        now: ctx.clock.now(),
        uid: facts::uid(meta),
        generation,
        deleting: meta.deletion_timestamp.is_some(),
        finalizer: mark(facts::carries(meta, finalizer::CONNECTION)),
        pin: pin(meta),
        status: object.status(),
        usable,
        credential: offered,
        hold,
        leftovers: leftovers.len(),
        accounts: dependents.all,
        bound: dependents.bound,
        counted_live: false,
        keys: keys(&place, &ctx.stores.parsed_accounts()),
        resync: spec.resync.duration(),
        look: memory.look.clone(),
        refused: None,
    };
    let server = memory
        .client
        .as_ref()
        .and_then(|(_, client)| client.as_ref().ok().cloned());
    Ok((
        seen,
        Hands {
            object,
            server,
            credential,
            leftovers,
            lists: Arc::clone(&memory.lists),
        },
    ))
}

fn mark(finalizer: Finalizer) -> Mark {
    match finalizer {
        Finalizer::Present => Mark::Present,
        Finalizer::Missing => Mark::Missing,
    }
}

/// Whether the connection may be used as it is written.
fn usable(ctx: &Ctx, spec: &Connection) -> Result<(), Stop> {
    let unserved = |what: &str| {
        Err(Stop::new(
            Reason::NotSupportedYet,
            format!(
                "This version does not serve {what} yet. Leave it out, or update the operator."
            ),
        ))
    };
    match (spec.type_, &spec.auth) {
        (ServerType::Octopus, Auth::ApiKey(_)) => {}
        (ServerType::Octopus, _) => return unserved("sign-in other than by apiKey"),
        (ServerType::StackStorm, _) => return unserved("StackStorm"),
        (ServerType::Elasticsearch, _) => return unserved("Elasticsearch"),
    }
    ctx.allowed.check(&spec.url).map_err(|why| {
        Stop::new(
            Reason::ServerNotAllowed,
            format!(
                "The operator may not connect to {}: {why}. {}",
                spec.url,
                Reason::ServerNotAllowed.fix()
            ),
        )
    })
}

/// Whether the credential's Secret is there, and offered where it must be.
fn offered<L: Link>(object: &L, secret: Option<&PartialObjectMeta<Secret>>) -> Result<(), Stop> {
    let Some(name) = credential_name(&object.connection().auth) else {
        return Ok(());
    };
    let Some(secret) = secret else {
        return Err(Stop::new(
            Reason::CredentialMissing,
            format!(
                "There is no Secret {name} with the credential. {}",
                Reason::CredentialMissing.fix()
            ),
        ));
    };
    let labels = secret.metadata.labels.as_ref();
    let offered = labels
        .and_then(|labels| labels.get(label::CREDENTIAL))
        .is_some_and(|value| value == label::OFFERED);
    // The operator's own namespace belongs to those who write ClusterDeployServers.
    if offered || object.grants().is_some() {
        return Ok(());
    }
    Err(Stop::new(
        Reason::CredentialNotOffered,
        format!(
            "Secret {name} is not offered. {}",
            Reason::CredentialNotOffered.fix()
        ),
    ))
}

/// The text of the authorities to trust; `None` for the platform's.
async fn authorities(
    ctx: &Ctx,
    home: &str,
    spec: &Connection,
) -> Result<Result<Option<String>, Stop>, Lapse> {
    let reference = match &spec.tls {
        None => return Ok(Ok(None)),
        Some(Tls::CaBundle(text)) => return Ok(Ok(Some(text.clone()))),
        Some(Tls::CaRef(reference)) => reference,
    };
    let found = match reference.kind {
        CaKind::ConfigMap => {
            ctx.cluster
                .config_entry(home, &reference.name, &reference.key)
                .await?
        }
        CaKind::Secret => {
            let secret = ctx.cluster.credential(home, &reference.name).await?;
            entry(secret, &reference.key).and_then(|bytes| String::from_utf8(bytes).ok())
        }
    };
    Ok(found.map(Some).ok_or_else(|| {
        Stop::new(
            Reason::CertificateNotTrusted,
            format!(
                "There is no entry {} in {:?} {}. Create it, or correct spec.tls.caRef.",
                reference.key, reference.kind, reference.name
            ),
        )
    }))
}

fn entry(secret: Option<Secret>, name: &str) -> Option<Vec<u8>> {
    secret?.data?.remove(name).map(|bytes| bytes.0)
}

/// Makes the client anew where what it is made from has changed.
async fn renew(
    ctx: &Ctx,
    home: &str,
    spec: &Connection,
    making: Making,
    memory: &mut Memory,
) -> Result<(), Lapse> {
    if memory
        .client
        .as_ref()
        .is_some_and(|(made, _)| *made == making)
    {
        return Ok(());
    }
    let client = match credential(ctx, home, spec).await? {
        Ok(credential) => client(ctx, spec, &making, credential, memory),
        Err(stop) => Err(stop),
    };
    memory.client = Some((making, client));
    memory.look = None;
    Ok(())
}

/// The credential itself, read live and by name.
async fn credential(
    ctx: &Ctx,
    home: &str,
    spec: &Connection,
) -> Result<Result<Credential, Stop>, Lapse> {
    let Auth::ApiKey(value) = &spec.auth else {
        return Ok(Err(Stop::plain(Reason::NotSupportedYet)));
    };
    let reference = &value.secret_ref;
    let secret = ctx.cluster.credential(home, &reference.name).await?;
    let text = entry(secret, &reference.key).and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    Ok(text
        .map(|text| Credential::ApiKey(KeyMaterial::new(text)))
        .ok_or_else(|| {
            Stop::new(
                Reason::CredentialMissing,
                format!(
                    "Secret {} has no entry {} with a credential. {}",
                    reference.name,
                    reference.key,
                    Reason::CredentialMissing.fix()
                ),
            )
        }))
}

fn client(
    ctx: &Ctx,
    spec: &Connection,
    making: &Making,
    credential: Credential,
    memory: &mut Memory,
) -> Result<Arc<dyn Server>, Stop> {
    let trust = making
        .authorities
        .as_ref()
        .map_or(Trust::Platform, |pem| Trust::Only(pem.as_bytes()));
    let transport = ctx.doors.open(trust).map_err(|bad| {
        Stop::new(
            Reason::CertificateNotTrusted,
            format!("The certificates in spec.tls cannot be used: {bad}. Correct them."),
        )
    })?;
    let limits = servers::Limits {
        requests_per_minute: positive(spec.limits.requests_per_minute),
        burst: positive(spec.limits.burst),
        concurrency: positive(spec.limits.concurrency),
    };
    let budget = match memory
        .budget
        .take()
        .filter(|(made, _)| *made == spec.limits)
    {
        Some((_, budget)) => budget,
        None => Arc::new(Budget::new(limits)),
    };
    memory.budget = Some((spec.limits, Arc::clone(&budget)));
    connect(servers::Connection {
        kind: servers::Kind::Octopus,
        url: spec.url.clone(),
        credential,
        transport,
        clock: Arc::clone(&ctx.clock),
        budget,
        turns: Arc::clone(&ctx.turns),
    })
    .map_err(|unusable| {
        Stop::new(
            Reason::Invalid,
            format!("The connection cannot be used: {unusable}. Correct it."),
        )
    })
}

fn positive(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

fn pin(meta: &kube::api::ObjectMeta) -> Option<Pin> {
    Some(Pin {
        identity: ServerIdentity::new(facts::annotated(meta, annotation::SERVER_IDENTITY)?),
        own: AccountId::new(facts::annotated(meta, annotation::OWN_ACCOUNT)?),
    })
}

/// How many ServiceAccounts depend on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Dependents {
    /// Those that refer to it, or may.
    all: u32,
    /// Those of them that carry our finalizer.
    bound: u32,
}

impl Dependents {
    fn of<'a>(place: &Place, accounts: impl Iterator<Item = &'a Guarded<ServiceAccount>>) -> Self {
        accounts.filter(|account| may_refer(account, place)).fold(
            Self::default(),
            |sum, account| {
                let bound = facts::carries(account.meta(), finalizer::ACCOUNT);
                Self {
                    all: sum.all.saturating_add(1),
                    bound: sum
                        .bound
                        .saturating_add(u32::from(bound == Finalizer::Present)),
                }
            },
        )
    }
}

/// One that does not parse may refer to every connection that it could name.
fn may_refer(account: &Guarded<ServiceAccount>, place: &Place) -> bool {
    match &account.0 {
        Ok(account) => refers(account, place),
        Err(_) => place.namespace.is_none() || place.namespace == account.namespace(),
    }
}

fn refers(account: &ServiceAccount, place: &Place) -> bool {
    Place::of(
        &account.spec.server_ref,
        &account.namespace().unwrap_or_default(),
    ) == *place
}

/// The keys of all accounts of a connection, as they were counted last.
fn keys(place: &Place, accounts: &[ServiceAccount]) -> Option<KeyCounts> {
    let counts = accounts
        .iter()
        .filter(|account| refers(account, place))
        .filter_map(|account| account.status.as_ref()?.keys);
    counts.reduce(|a, b| KeyCounts {
        managed: a.managed + b.managed,
        retiring: a.retiring + b.retiring,
        stray: a.stray + b.stray,
        orphan: a.orphan + b.orphan,
        other: a.other + b.other,
        foreign: a.foreign + b.foreign,
    })
}

/// Plans and acts until nothing is left to do. `None` when the objects were not what we thought.
async fn pass<L: Link>(
    ctx: &Ctx,
    place: &Place,
    mut seen: Seen,
    mut hands: Hands<L>,
    memory: &mut Memory,
) -> Result<Option<Action>, Lapse> {
    let mut did: Vec<&'static str> = Vec::new();
    for _ in 0..MOST_STEPS {
        seen.now = ctx.clock.now();
        let Plan {
            step,
            wake,
            standing,
        } = plan(&seen);
        if let Some(standing) = standing {
            publish(ctx, place, &hands, standing);
        }
        if step == Step::Idle {
            memory
                .version
                .clone_from(&hands.object.meta().resource_version);
            tell(place, &did, &seen);
            return Ok(Some(requeue(seen.now, wake)));
        }
        did.extend(label(&step));
        match Box::pin(act(ctx, place, &mut seen, &mut hands, memory, &step)).await {
            Outcome::Done(Flow::On) => {}
            Outcome::Done(Flow::Over) => {
                tell(place, &did, &seen);
                return Ok(Some(gone(ctx, place)));
            }
            Outcome::Done(Flow::Refused(why)) => {
                tracing::warn!(
                    server.name = place.name,
                    "the API server refuses a write: {why}"
                );
                // The status is the one thing that cannot say it.
                if matches!(step, Step::Record(_)) {
                    return Ok(Some(Action::requeue(Duration::from_secs(60))));
                }
                seen.refused = Some(refusal(&step, &why));
            }
            Outcome::Stale => return Ok(None),
            Outcome::Unanswered(why) => return Err(Lapse::NoAnswer(why)),
        }
    }
    tracing::error!(server.name = place.name, ?did, "a pass did not settle");
    Ok(Some(Action::requeue(Duration::from_secs(60))))
}

/// A refused write, in words for people.
fn refusal(step: &Step, why: &str) -> Stop {
    let what = label(step).unwrap_or("a write");
    Stop::new(
        Reason::SecretRefused,
        format!(
            "The cluster refuses {what} (finalizers and annotations of the connection and its credential's Secret): {why}. Correct the policy that refuses it."
        ),
    )
}

/// What follows from an effect.
enum Flow {
    On,
    Over,
    Refused(String),
}

impl Flow {
    fn refused(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }
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
        lists: Arc::clone(&hands.lists),
        url: spec.url.clone(),
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

fn tell(place: &Place, did: &[&'static str], seen: &Seen) {
    if did.is_empty() {
        return;
    }
    let (name, steps) = (&place.name, did.join(" "));
    match seen.look.as_ref().map(|look| &look.found) {
        Some(Err(fault)) => tracing::warn!(
            server.name = name,
            steps,
            fault = fault.label(),
            "connection {name}: {fault}"
        ),
        Some(Ok(_)) | None => {
            tracing::info!(server.name = name, steps, "connection {name}: {steps}");
        }
    }
}

fn label(step: &Step) -> Option<&'static str> {
    match step {
        Step::Idle | Step::Count | Step::Probe => None,
        Step::Pin(_) => Some("Pin"),
        Step::Guard => Some("Guard"),
        Step::Hold => Some("Hold"),
        Step::GiveUp => Some("GiveUp"),
        Step::Release => Some("Release"),
        Step::Record(_) => Some("Record"),
        Step::Close => Some("Close"),
    }
}

/// Does one step, and takes its answer into the facts.
async fn act<L: Link>(
    ctx: &Ctx,
    place: &Place,
    seen: &mut Seen,
    hands: &mut Hands<L>,
    memory: &mut Memory,
    step: &Step,
) -> Outcome<Flow> {
    match step {
        Step::Idle => Outcome::Stale,
        Step::Probe => probe(ctx, seen, hands, memory).await,
        Step::Pin(pin) => {
            let annotations = vec![
                (annotation::SERVER_IDENTITY, Some(pin.identity.to_string())),
                (annotation::OWN_ACCOUNT, Some(pin.own.to_string())),
            ];
            let written = change(
                ctx,
                hands,
                Marks {
                    annotations,
                    ..Marks::default()
                },
            )
            .await;
            if matches!(written, Outcome::Done(Flow::On)) {
                seen.pin = Some(pin.clone());
            }
            written
        }
        Step::Guard => {
            let written = change(
                ctx,
                hands,
                Marks {
                    add: Some(finalizer::CONNECTION),
                    ..Marks::default()
                },
            )
            .await;
            if matches!(written, Outcome::Done(Flow::On)) {
                seen.finalizer = Mark::Present;
            }
            written
        }
        Step::Hold => holds::hold(ctx, seen, hands, memory).await,
        Step::GiveUp => holds::give_up(ctx, seen, hands).await,
        Step::Release => holds::release(ctx, seen, hands).await,
        Step::Count => count(ctx, place, seen).await,
        Step::Record(status) => record(ctx, seen, hands, (**status).clone()).await,
        Step::Close => {
            let closed = change(
                ctx,
                hands,
                Marks {
                    remove: Some(finalizer::CONNECTION),
                    ..Marks::default()
                },
            )
            .await;
            match closed {
                Outcome::Done(Flow::On) => Outcome::Done(Flow::Over),
                other => other,
            }
        }
    }
}

async fn probe<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &Hands<L>,
    memory: &mut Memory,
) -> Outcome<Flow> {
    let Some(server) = &hands.server else {
        return Outcome::Stale;
    };
    let found = server.probe().await;
    seen.look = Some(Look::new(ctx.clock.now(), found, seen.look.as_ref()));
    memory.look.clone_from(&seen.look);
    Outcome::Done(Flow::On)
}

async fn count(ctx: &Ctx, place: &Place, seen: &mut Seen) -> Outcome<Flow> {
    match ctx.cluster.all::<ServiceAccount>().await {
        Ok(accounts) => {
            let dependents = Dependents::of(place, accounts.iter());
            (seen.accounts, seen.bound) = (dependents.all, dependents.bound);
            seen.counted_live = true;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::Unanswered(lapse.to_string()),
    }
}

async fn record<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &mut Hands<L>,
    status: ConnectionStatus,
) -> Outcome<Flow> {
    let before = hands.object.status().conditions;
    match ctx.cluster.record(&hands.object.with(status)).await {
        Ok(object) => {
            hands.object = object;
            seen.status = hands.object.status();
            ctx.reporter
                .flipped(&hands.object, "Reconcile", &before, &seen.status.conditions)
                .await;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::of_lapse(lapse, Flow::refused),
    }
}

async fn change<L: Link>(ctx: &Ctx, hands: &mut Hands<L>, marks: Marks) -> Outcome<Flow> {
    match ctx.cluster.mark(&hands.object, &marks).await {
        Ok(object) => {
            hands.object = object;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::of_lapse(lapse, Flow::refused),
    }
}
