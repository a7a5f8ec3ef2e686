//! A pass over one connection, of a namespace or of the cluster.

use std::convert::Infallible;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::Action;
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
use crate::plan::connection::{Hold, Look, Mark, Pin, Plan, Seen, Step, plan};
use crate::plan::key::Finalizer;
use crate::plan::port::{AccountId, Fault, Probe, ServerIdentity};
use crate::secret::KeyMaterial;
use crate::servers::transport::Trust;
use crate::servers::{self, Budget, Credential, Server, connect};

/// What passes over one connection remember.
#[derive(Clone, Default)]
pub struct Memory {
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
    credential: Option<String>,
    authorities: Option<String>,
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
    /// Secrets whose finalizer is to go.
    forsaken: Vec<PartialObjectMeta<Secret>>,
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
    let accounts = dependents(&place, &ctx.stores.parsed_accounts());
    let deleting = meta.deletion_timestamp.is_some();
    let forsaken = forsaken(ctx, &object, credential.as_ref(), accounts).await?;
    let seen = Seen {
        now: ctx.clock.now(),
        uid: facts::uid(meta),
        generation,
        deleting,
        finalizer: mark(facts::carries(meta, finalizer::CONNECTION)),
        pin: pin(meta),
        status: object.status(),
        usable,
        credential: offered.map(|()| Hold {
            finalizer: credential.as_ref().map_or(Mark::Present, |secret| {
                mark(facts::carries(
                    &secret.metadata,
                    finalizer::CREDENTIAL_IN_USE,
                ))
            }),
        }),
        giving_up: !forsaken.is_empty(),
        accounts,
        counted_live: false,
        keys: keys(&place, &ctx.stores.parsed_accounts()),
        resync: spec.resync.duration(),
        look: memory.look.clone(),
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
            forsaken,
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

/// How many ServiceAccounts refer to a connection.
fn dependents(place: &Place, accounts: &[ServiceAccount]) -> u32 {
    let count = accounts
        .iter()
        .filter(|account| refers(account, place))
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
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

/// The Secrets that we hold and nobody needs: the credential while it alone is being deleted, to be
/// replaced, and those that connections of this namespace used before.
async fn forsaken<L: Link>(
    ctx: &Ctx,
    object: &L,
    credential: Option<&PartialObjectMeta<Secret>>,
    accounts: u32,
) -> Result<Vec<PartialObjectMeta<Secret>>, Lapse> {
    let held = |secret: &&PartialObjectMeta<Secret>| {
        facts::carries(&secret.metadata, finalizer::CREDENTIAL_IN_USE) == Finalizer::Present
    };
    let mut forsaken = Vec::new();
    if let Some(secret) = credential
        .filter(held)
        .filter(|secret| secret.metadata.deletion_timestamp.is_some())
    {
        let needed = accounts > 0
            && (object.meta().deletion_timestamp.is_some()
                || ctx
                    .cluster
                    .is_terminating(&secret.namespace().unwrap_or_default())
                    .await?);
        if !needed {
            forsaken.push(secret.clone());
        }
    }
    let home = object.home(&ctx.own_namespace);
    let used = used_credentials(ctx, &home);
    let stores = [&ctx.stores.credentials, &ctx.stores.own_secrets];
    let others = stores
        .into_iter()
        .flat_map(kube::runtime::reflector::Store::state);
    let others = others.filter(|secret| {
        secret.namespace().as_deref() == Some(home.as_str())
            && !used.contains(&secret.name_any())
            && held(&secret.as_ref())
    });
    forsaken.extend(others.map(|secret| (*secret).clone()));
    forsaken.dedup_by(|a, b| a.metadata.uid == b.metadata.uid);
    Ok(forsaken)
}

/// The names of the credentials' Secrets in a namespace that any connection uses.
fn used_credentials(ctx: &Ctx, home: &str) -> Vec<String> {
    let own = ctx.stores.servers.state().into_iter().filter_map(|server| {
        let server = server.0.as_ref().ok()?;
        (server.namespace().as_deref() == Some(home))
            .then(|| credential_name(&server.spec.connection.auth).map(ToOwned::to_owned))?
    });
    let cluster = ctx
        .stores
        .cluster_servers
        .state()
        .into_iter()
        .filter_map(|server| {
            let server = server.0.as_ref().ok()?;
            (home == ctx.own_namespace)
                .then(|| credential_name(&server.spec.connection.auth).map(ToOwned::to_owned))?
        });
    own.chain(cluster).collect()
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
            publish(ctx, place, &hands, &seen, standing);
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
                return Ok(Some(Action::requeue(Duration::from_secs(30))));
            }
            Outcome::Stale => return Ok(None),
            Outcome::Unanswered(why) => return Err(Lapse::NoAnswer(why)),
        }
    }
    tracing::error!(server.name = place.name, ?did, "a pass did not settle");
    Ok(Some(Action::requeue(Duration::from_secs(60))))
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
fn publish<L: Link>(
    ctx: &Ctx,
    place: &Place,
    hands: &Hands<L>,
    seen: &Seen,
    standing: Result<Probe, Stop>,
) {
    let spec = hands.object.connection();
    let policy = spec.key_policy.as_ref();
    let usable = standing.and_then(|probe| match &hands.server {
        Some(server) => ready(seen).map(|()| Line {
            server: Arc::clone(server),
            probe,
        }),
        None => Err(Stop::plain(Reason::WaitingForServer)),
    });
    let known = standing::Connection {
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

/// An account may rest on a connection only once neither it nor its credential can go unnoticed.
fn ready(seen: &Seen) -> Result<(), Stop> {
    let held = seen
        .credential
        .as_ref()
        .is_ok_and(|hold| hold.finalizer == Mark::Present);
    if seen.accounts == 0 || (seen.finalizer == Mark::Present && (held || seen.deleting)) {
        Ok(())
    } else {
        Err(Stop::new(
            Reason::WaitingForServer,
            "The connection is being made safe for use.",
        ))
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
        Step::Hold => hold(ctx, seen, hands, memory).await,
        Step::GiveUp => give_up(ctx, seen, hands).await,
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
    let before = seen.look.as_ref().map_or(0, |look| look.failures);
    let failures = if found.is_ok() {
        0
    } else {
        before.saturating_add(1)
    };
    seen.look = Some(Look {
        at: ctx.clock.now(),
        found,
        failures,
    });
    memory.look.clone_from(&seen.look);
    Outcome::Done(Flow::On)
}

async fn count(ctx: &Ctx, place: &Place, seen: &mut Seen) -> Outcome<Flow> {
    match ctx.cluster.all::<ServiceAccount>().await {
        Ok(accounts) => {
            let accounts: Vec<_> = accounts
                .into_iter()
                .filter_map(|account| account.0.ok())
                .collect();
            seen.accounts = dependents(place, &accounts);
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

async fn hold<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &mut Hands<L>,
    memory: &mut Memory,
) -> Outcome<Flow> {
    let Some(secret) = &hands.credential else {
        return Outcome::Stale;
    };
    let marks = Marks {
        add: Some(finalizer::CREDENTIAL_IN_USE),
        ..Marks::default()
    };
    match ctx.cluster.mark_secret(secret, &marks).await {
        Ok(held) => {
            // Our own write makes no other credential of it.
            if let Some((making, _)) = &mut memory.client
                && making.credential == secret.metadata.resource_version
            {
                making
                    .credential
                    .clone_from(&held.metadata.resource_version);
            }
            hands.credential = Some(held);
            seen.credential = Ok(Hold {
                finalizer: Mark::Present,
            });
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::of_lapse(lapse, Flow::refused),
    }
}

/// Takes the finalizer off every Secret that is not needed any more.
async fn give_up<L: Link>(ctx: &Ctx, seen: &mut Seen, hands: &mut Hands<L>) -> Outcome<Flow> {
    let mut secrets = std::mem::take(&mut hands.forsaken);
    if seen.deleting && seen.accounts == 0 {
        let home = hands.object.home(&ctx.own_namespace);
        let shared = hands.credential.as_ref().is_some_and(|secret| {
            used_credentials(ctx, &home)
                .iter()
                .filter(|name| **name == secret.name_any())
                .count()
                > 1
        });
        secrets.extend(hands.credential.take().filter(|_| !shared));
    }
    for secret in secrets {
        let marks = Marks {
            remove: Some(finalizer::CREDENTIAL_IN_USE),
            ..Marks::default()
        };
        match ctx.cluster.mark_secret(&secret, &marks).await {
            Ok(_) | Err(Lapse::NotFound) => {}
            Err(lapse) => return Outcome::of_lapse(lapse, Flow::refused),
        }
    }
    seen.giving_up = false;
    seen.credential = Ok(Hold {
        finalizer: Mark::Missing,
    });
    if !seen.deleting {
        // The credential is going; what replaces it is seen when it is there.
        seen.credential = Err(Stop::plain(Reason::CredentialMissing));
    }
    Outcome::Done(Flow::On)
}
