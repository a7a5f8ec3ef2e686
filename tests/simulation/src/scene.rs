//! A scene: a whole world with a deploy server in it, the operator at work, people who apply
//! manifests, workloads that use the keys, and a witness who looks at everything.
//!
//! Time is tokio's paused clock: it moves only when nobody has anything to do, so no test waits and
//! none depends on the speed of the machine. Nothing here opens a socket or blocks a thread.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `programs` | operators: started, crashed, paused, their clocks moved |
//! | `people` | what people do |
//! | `sight` | what is to be seen, and waits for it |
//! | `verdict` | what anybody has to complain of, and the whole story |

mod people;
mod programs;
mod sight;
mod verdict;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use apikey_operator::api::all_crds;
use apikey_operator::metrics::Metrics;
use kube::Client;
use testbed::twins::Door as Way;
use testbed::twins::octopus::{Config, Octopus};

use self::programs::Program;
use crate::effect::{Door, Process};
use crate::kubernetes::{Kind, Snapshot, Store};
use crate::manifests;
use crate::servers::Servers;
use crate::wire::Overheard;
use crate::witness::Witness;
use crate::world::World;

/// The program whose work is watched, where there is only one.
pub const OPERATOR: &str = "operator";
/// Whoever applies manifests.
pub const PERSON: &str = "person";
/// The Lease of the operators that are elected, in their own namespace.
pub const LEASE: &str = "operator";
/// The installation that all operators of a scene belong to.
pub const INSTALLATION: &str = "simulated";
/// How long a request to the Kubernetes API is on its way, and its answer.
const KUBERNETES_AWAY: Duration = Duration::from_millis(2);
/// How long a request to the deploy server is on its way, and its answer.
const SERVER_AWAY: Duration = Duration::from_millis(15);

/// A whole world. Clones are the same one.
#[derive(Clone)]
pub struct Scene {
    /// Clock, Kubernetes API and recorder.
    pub world: World,
    /// The deploy servers.
    pub servers: Servers,
    /// The one of Octopus Deploy, to which all leads that says nothing else.
    pub twin: Way<Octopus>,
    /// Who looks after every effect whether all is well.
    pub witness: Witness,
    /// What all operators count together.
    pub metrics: Metrics,
    overheard: Overheard,
    person: Client,
    programs: Arc<Mutex<BTreeMap<String, Program>>>,
    /// What somebody had to complain of, oldest first.
    complaints: Arc<Mutex<Vec<String>>>,
}

/// Plays a scene from its beginning to its end, under a clock of its own.
///
/// # Errors
/// Those of the play.
pub fn play<F: Future<Output = Result<()>>>(act: impl FnOnce() -> F + Send) -> Result<()> {
    // A thread of its own: a runtime cannot be entered from within another.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<()> {
            // How long a broken watch rests before it begins anew, drawn the same each time.
            fastrand::seed(0);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()?;
            runtime.block_on(act())
        });
        thread
            .join()
            .map_err(|panic| anyhow!("it panicked: {}", words(panic.as_ref())))?
    })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    text.unwrap_or_else(|| "without a word".to_owned())
}

impl Scene {
    /// A world with the kinds and the operator's namespace, a fresh deploy server, and nobody at
    /// work.
    ///
    /// # Errors
    /// When a definition makes no sense.
    pub async fn new() -> Result<Self> {
        Self::with(Config::default()).await
    }

    /// As [`Scene::new`], with another deploy server.
    ///
    /// # Errors
    /// When a definition makes no sense.
    pub async fn with(config: Config) -> Result<Self> {
        let world = World::new()?;
        let overheard = Overheard::default();
        let servers = Servers::new(&world.clock, &config, &overheard);
        let scene = Self::over(world, servers, overheard)?;
        scene.apply(&manifests::namespace(manifests::OWN)).await?;
        scene.apply(&manifests::namespace(manifests::TEAM)).await?;
        Ok(scene)
    }

    /// A copy of this cluster, with the same uids, beside the same deploy server, with nobody at work.
    /// Its operator must not have a name that one of this cluster has.
    ///
    /// # Errors
    /// When a definition makes no sense.
    pub fn copy(&self) -> Result<Self> {
        let world = self.world.beside()?;
        let copy = Self::over(world, self.servers.clone(), self.overheard.clone())?;
        let objects = self.world.api.store(|store| store.snapshot());
        copy.world.api.store(|store| {
            store.restore(&objects);
            store.part();
        });
        copy.witness.look(None);
        Ok(copy)
    }

    /// The cluster is put back as it was. What the witness would say of that is nobody's doing.
    pub fn put_back(&self, objects: &Snapshot) {
        self.look();
        self.world.api.store(|store| store.restore(objects));
        self.witness.look(None);
    }

    /// All objects of the cluster, to come back to.
    pub fn snapshot(&self) -> Snapshot {
        self.world.api.store(|store| store.snapshot())
    }

    /// An empty cluster with the operator's kinds.
    fn over(world: World, servers: Servers, overheard: Overheard) -> Result<Self> {
        let kinds = kinds()?;
        world.api.store(|store| {
            for kind in kinds {
                store.serve(kind);
            }
        });
        world.start_controllers();
        world.recorder.latency(|call| match call.door {
            Door::Kubernetes => KUBERNETES_AWAY,
            Door::Server(_) => SERVER_AWAY,
        });
        let witness = Witness::new(&world, &servers, &overheard);
        let person = world.client(&Process::new(PERSON));
        Ok(Self {
            world,
            twin: servers.octopus.clone(),
            servers,
            witness,
            metrics: Metrics::new(),
            overheard,
            person,
            programs: Arc::default(),
            complaints: Arc::default(),
        })
    }

    /// The text of the operator's own key.
    pub fn credential(&self) -> String {
        self.twin.look(|twin, _| twin.start().operator.key.clone())
    }

    /// Forgets the history of the API server: watches of earlier versions get 410.
    pub fn compact(&self) {
        self.look();
        self.world.api.store(Store::compact);
    }
}

/// The operator's kinds. Their rules are compiled once for all scenes.
fn kinds() -> Result<Vec<Arc<Kind>>> {
    static KINDS: OnceLock<Vec<Arc<Kind>>> = OnceLock::new();
    if let Some(kinds) = KINDS.get() {
        return Ok(kinds.clone());
    }
    let kinds = all_crds()
        .into_iter()
        .map(|crd| Ok(Arc::new(Kind::custom(&serde_json::to_value(crd)?)?)))
        .collect::<Result<Vec<_>>>()?;
    Ok(KINDS.get_or_init(|| kinds).clone())
}
