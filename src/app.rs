//! The composition root: clients, watches, controllers, HTTP; and the order in which they end.

mod signals;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Config};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

pub use self::signals::Signals;
use crate::api::{ClusterDeployServer, DeployServer};
use crate::clock::{Clock, Entropy, OsEntropy, SystemClock};
pub use crate::controllers::Stamp;
use crate::controllers::cluster::Cluster;
use crate::controllers::lanes::Lanes;
use crate::controllers::report::Reporter;
use crate::controllers::watch::{self, Bells, Guarded, Queues, Stores};
use crate::controllers::{self, Ctx, Doors, Memories};
use crate::health::{self, Gate, Gates};
use crate::lease::{Candidate, Lost, Terms};
use crate::metrics::Metrics;
use crate::plan::marker::Installation;
use crate::plan::sweep::{Claim, Scope};
use crate::servers::transport::{BadTrust, Network, Transport, Trust};
use crate::servers::{Allowed, Turns};

/// What whoever starts the operator decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Patterns of hosts that connections may lead to; none for any.
    pub allowed_servers: Vec<String>,
    /// The installation, where it is not to be derived.
    pub installation: Option<Installation>,
    /// The operator's own namespace, where it is not the client's.
    pub operator_namespace: Option<String>,
    /// The name of this release.
    pub release: String,
    /// Whether admission's stamp may be believed.
    pub stamp: Stamp,
    /// The lease under which it leads; none where it is alone.
    pub lease: Option<Terms>,
    /// Where health and metrics are answered.
    pub listen: SocketAddr,
}

/// What the operator runs on: the world outside, replaced as a whole in the simulation.
pub struct World {
    /// The API server.
    pub client: Client,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Ways to deploy servers.
    pub doors: Arc<dyn Doors>,
}

/// The operator's place in a cluster.
pub struct Identity {
    /// Who we are.
    pub claim: Claim,
    /// Where connections may lead.
    pub allowed: Allowed,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// Whether admission's stamp may be believed.
    pub stamp: Stamp,
    /// The lease under which it leads; none where it is alone.
    pub lease: Option<Terms>,
}

/// Doors to the network.
struct NetworkDoors;

impl Doors for NetworkDoors {
    fn open(&self, trust: Trust<'_>) -> Result<Arc<dyn Transport>, BadTrust> {
        Ok(Arc::new(Network::new(trust)?))
    }
}

/// Runs the operator until `stop` is cancelled.
///
/// # Errors
/// When the cluster cannot be reached at the start, or the address is taken.
pub async fn run(
    settings: Settings,
    config: Config,
    stop: CancellationToken,
) -> anyhow::Result<Ending> {
    let (gates, metrics) = (Gates::closed(), Metrics::new());
    let listener = health::bind(settings.listen).await.with_context(|| {
        format!(
            "{} cannot be listened on: choose another --listen",
            settings.listen
        )
    })?;
    let ending = CancellationToken::new();
    let answers = tokio::spawn(health::serve(
        listener,
        gates.clone(),
        metrics.clone(),
        ending.clone(),
    ));
    let identity = tokio::select! {
        identity = identity(&settings, &config) => identity?,
        () = stop.cancelled() => return Ok(Ending::Asked),
    };
    tracing::info!(
        installation = identity.claim.installation.as_str(),
        namespace = identity.own_namespace,
        "apikey-operator {} starts",
        env!("CARGO_PKG_VERSION")
    );
    let world = World {
        client: Client::try_from(config)?,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        doors: Arc::new(NetworkDoors),
    };
    gates.open(Gate::Installation);
    if let Err(lost) = operate(world, identity, Signs { gates, metrics }, stop).await {
        tracing::error!("{lost}: what is under way is given up, and the process ends");
        return Ok(Ending::Deposed);
    }
    // Health is answered until the last pass is finished.
    ending.cancel();
    answers
        .await
        .context("health was not answered to the end")??;
    Ok(Ending::Asked)
}

/// Why the operator has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to.
    Asked,
    /// It leads no more. Another life may.
    Deposed,
}

/// What the operator says of itself.
#[derive(Clone)]
pub struct Signs {
    /// What must be done before it works.
    pub gates: Gates,
    /// What it counts.
    pub metrics: Metrics,
}

/// Who we are in this cluster, and what is out of bounds.
async fn identity(settings: &Settings, config: &Config) -> anyhow::Result<Identity> {
    let own_namespace = settings
        .operator_namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let installation = match settings.installation.clone() {
        Some(installation) => installation,
        None => installation(config, &format!("{own_namespace}/{}", settings.release)).await?,
    };
    let host = config
        .cluster_url
        .host()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = config.cluster_url.port_u16().unwrap_or(443);
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.*",
    ];
    let refused = names
        .into_iter()
        .map(|name| (name.to_owned(), 443))
        .chain([(host, port)])
        .collect();
    Ok(Identity {
        claim: Claim {
            installation,
            scope: Scope::Cluster,
        },
        allowed: Allowed {
            hosts: settings.allowed_servers.clone(),
            refused,
        },
        own_namespace,
        stamp: settings.stamp,
        lease: settings.lease.clone(),
    })
}

/// The installation that this cluster, by its own identity and its authority, and this release are.
async fn installation(config: &Config, release: &str) -> anyhow::Result<Installation> {
    let namespaces: Api<Namespace> = Api::all(Client::try_from(config.clone())?);
    let system = namespaces
        .get("kube-system")
        .await
        .context("the cluster's own identity (namespace kube-system) cannot be read")?;
    let authorities = config.root_cert.iter().flatten();
    let authority: Vec<String> = authorities
        .map(|der| String::from_utf8_lossy(der).into_owned())
        .collect();
    Ok(Installation::derive(
        &system.metadata.uid.unwrap_or_default(),
        &authority.concat(),
        release,
    ))
}

/// Watches, and lets every kind's passes run while it leads, until `stop` is cancelled; passes that
/// have begun are finished.
///
/// # Errors
/// When it leads no more. What was under way is given up, which is as safe as a crash.
pub async fn operate(
    world: World,
    identity: Identity,
    signs: Signs,
    stop: CancellationToken,
) -> Result<(), Lost> {
    let World {
        client,
        clock,
        entropy,
        doors,
    } = world;
    let Identity {
        claim,
        allowed,
        own_namespace,
        stamp,
        lease,
    } = identity;
    let candidate = lease.map(|terms| {
        let (client, clock) = (client.clone(), Arc::clone(&clock));
        Candidate::new(client, &own_namespace, terms, clock, &*entropy)
    });
    let (bells, queues) = Bells::new();
    let (stores, events) = watch::watch(&client, &own_namespace, bells.clone());
    let ctx = Arc::new(Ctx {
        cluster: Cluster::new(client.clone()),
        stores: stores.clone(),
        bells,
        standings: controllers::standing::Standings::default(),
        claim,
        stamp,
        clock,
        entropy,
        doors,
        allowed,
        own_namespace,
        turns: Arc::new(Turns::default()),
        reporter: Reporter::new(client),
        lanes: Lanes::until(&stop),
        memories: Memories::default(),
        metrics: signs.metrics,
    });
    let watching = events.for_each(|()| async {});
    let work = work(&ctx, &stores, queues, (&signs.gates, candidate), &stop);
    tokio::select! {
        biased;
        () = unready(&stores, &stop) => tracing::info!("asked to end before everything was seen"),
        () = watching => tracing::error!("the watches have ended"),
        never = controllers::tidy::tidy_up(&ctx) => match never {},
        worked = work => worked?,
    }
    // Once no pass is left that would open them again, and whoever leads next need not wait for it.
    controllers::connection::leave_all(&ctx).await;
    Ok(())
}

/// Ends when the operator is asked to end before its watches have seen everything.
async fn unready(stores: &Stores, stop: &CancellationToken) {
    tokio::select! {
        biased;
        _ = stores.ready() => std::future::pending().await,
        () = stop.cancelled() => {}
    }
}

/// All passes, once everything was seen and where it leads, until `stop` is cancelled.
async fn work(
    ctx: &Arc<Ctx>,
    stores: &Stores,
    mut queues: Queues,
    (gates, candidate): (&Gates, Option<Candidate>),
    stop: &CancellationToken,
) -> Result<(), Lost> {
    if stores.ready().await.is_err() {
        return Ok(());
    }
    for gate in Gate::ALL {
        gates.open(gate);
    }
    let Some(candidate) = candidate else {
        Box::pin(passes(ctx, stores, queues, stop)).await;
        return Ok(());
    };
    let won = tokio::select! {
        biased;
        won = candidate.win(stop.cancelled()) => won,
        never = queues.forget() => match never {},
    };
    let Some(mut leadership) = won else {
        tracing::info!("asked to end before it led");
        return Ok(());
    };
    tracing::info!(lease.holder = leadership.holder(), "it leads");
    ctx.bells.everything(stores);
    let passes = Box::pin(passes(ctx, stores, queues, stop));
    leadership.during(passes).await?;
    leadership.release().await;
    Ok(())
}

/// All controllers, until `stop` is cancelled.
async fn passes(ctx: &Arc<Ctx>, stores: &Stores, queues: Queues, stop: &CancellationToken) {
    ctx.metrics.leads();
    tracing::info!("everything has been seen once, passes begin");
    let Queues {
        keys,
        accounts,
        servers,
        cluster_servers,
    } = queues;
    tokio::join!(
        apply(
            controllers::connection::run::<DeployServer>,
            ctx,
            &stores.servers,
            servers,
            stop
        ),
        apply(
            controllers::connection::run::<ClusterDeployServer>,
            ctx,
            &stores.cluster_servers,
            cluster_servers,
            stop
        ),
        apply(
            controllers::account::run,
            ctx,
            &stores.accounts,
            accounts,
            stop
        ),
        apply(controllers::key::run, ctx, &stores.keys, keys, stop),
    );
    tracing::info!("all passes are finished");
}

/// Runs the passes of one kind.
async fn apply<K, F>(
    pass: impl Fn(Arc<Guarded<K>>, Arc<Ctx>) -> F + Send + 'static,
    ctx: &Arc<Ctx>,
    store: &Store<Guarded<K>>,
    queue: UnboundedReceiver<kube::runtime::reflector::ObjectRef<Guarded<K>>>,
    stop: &CancellationToken,
) where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    F: Future<Output = Result<Action, std::convert::Infallible>> + Send + 'static,
{
    let requests = futures::stream::unfold(queue, |mut queue| async move {
        Some((queue.recv().await?, queue))
    });
    let requests: BoxStream<'static, _> = requests
        .take_until(stop.clone().cancelled_owned())
        .map(Ok::<_, std::convert::Infallible>)
        .boxed();
    let run =
        move |object, ctx| Box::pin(pass(object, ctx)) as futures::future::BoxFuture<'static, _>;
    // As many as there are objects: `Lanes` bounds them, tenant by tenant.
    let config = controller::Config::default().concurrency(0);
    applier(
        run,
        |_, _: &std::convert::Infallible, _| Action::await_change(),
        Arc::clone(ctx),
        store.clone(),
        requests,
        config,
    )
    .for_each(|_| async {})
    .await;
}
