//! A scene: a whole world with a deploy server in it, the operator at work, people who apply
//! manifests, workloads that use the keys, and a witness who looks at everything.
//!
//! Time is tokio's paused clock: it moves only when nobody has anything to do, so no test waits and
//! none depends on the speed of the machine. Nothing here opens a socket or blocks a thread.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use apikey_operator::api::all_crds;
use apikey_operator::app::{self, Identity, Signs, Stamp, operate};
use apikey_operator::clock::Clock as _;
use apikey_operator::health::Gates;
use apikey_operator::lease::{Terms, Times};
use apikey_operator::metrics::Metrics;
use apikey_operator::plan::marker::Installation;
use apikey_operator::plan::sweep::{Claim, Scope};
use apikey_operator::servers::Allowed;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::{Value, json};
use testbed::twins::Door as Way;
use testbed::twins::octopus::{self, Config, Octopus};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::{SeededEntropy, SimulatedClock};
use crate::consumer::{self, Habit};
use crate::effect::{Door, Effect, Process};
use crate::kubernetes::{Kind, Snapshot, Store};
use crate::manifests::{self, Address};
use crate::recorder::{Heard, Pace};
use crate::sign::Sign;
use crate::wire::{Overheard, Wires};
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
/// How often something that is waited for is looked at: at first, and after a while.
const GLANCE: Duration = Duration::from_millis(50);
const LATER_GLANCE: Duration = Duration::from_secs(1);
const A_WHILE: Duration = Duration::from_secs(5);

/// How long a request to the Kubernetes API is on its way, and its answer.
const KUBERNETES_AWAY: Duration = Duration::from_millis(2);
/// How long a request to the deploy server is on its way, and its answer.
const SERVER_AWAY: Duration = Duration::from_millis(15);

/// A whole world. Clones are the same one.
#[derive(Clone)]
pub struct Scene {
    /// Clock, Kubernetes API and recorder.
    pub world: World,
    /// The deploy server.
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

/// A program that is started again whenever it crashes.
struct Program {
    life: Process,
    /// The clock of its machine.
    clock: SimulatedClock,
    work: Option<JoinHandle<()>>,
    /// Whether a next life may begin.
    next: Sign<Next>,
    /// Asks it to end, for good.
    stop: CancellationToken,
}

/// Whether a next life may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    AtOnce,
    Waits,
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
        let clock = world.clock.clone();
        let twin = Way::new(Octopus::new(&config), move || clock.now());
        let overheard = Overheard::default();
        overheard.add(&twin.look(|twin, _| twin.start().operator.key.clone()));
        let scene = Self::over(world, twin, overheard)?;
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
        let copy = Self::over(world, self.twin.clone(), self.overheard.clone())?;
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
        self.witness.look(None);
        self.world.api.store(|store| store.restore(objects));
        self.witness.look(None);
    }

    /// All objects of the cluster, to come back to.
    pub fn snapshot(&self) -> Snapshot {
        self.world.api.store(|store| store.snapshot())
    }

    /// An empty cluster with the operator's kinds.
    fn over(world: World, twin: Way<Octopus>, overheard: Overheard) -> Result<Self> {
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
        let witness = Witness::new(&world, &twin, &overheard);
        let person = world.client(&Process::new(PERSON));
        Ok(Self {
            world,
            twin,
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

    /// Starts an operator, and again whenever it crashes.
    pub fn start(&self, program: &str) {
        self.start_under(program, None);
    }

    /// Starts an operator that works while it leads; when it leads no more its life ends.
    pub fn start_elected(&self, program: &str) {
        let terms = Terms {
            name: LEASE.to_owned(),
            pod: program.to_owned(),
            times: Times::default(),
        };
        self.start_under(program, Some(terms));
    }

    fn start_under(&self, program: &str, lease: Option<Terms>) {
        let process = Process::new(program);
        let life = Program {
            life: process.clone(),
            clock: self.world.clock.apart(),
            work: None,
            next: Sign::new(Next::AtOnce),
            stop: CancellationToken::new(),
        };
        self.programs().insert(program.to_owned(), life);
        let scene = self.clone();
        let work = self
            .world
            .run(&process, move |life| scene.live(&life, lease.clone()));
        if let Some(program) = self.programs().get_mut(program) {
            program.work = Some(work);
        }
    }

    /// Asks a program to end, as the kubelet does when an update takes its pod away.
    pub fn stop(&self, program: &str) {
        if let Some(program) = self.programs().get(program) {
            program.stop.cancel();
        }
    }

    /// Lets no next life of a program begin until [`Scene::restart`].
    pub fn keep_down(&self, program: &str) {
        self.set_next(program, Next::Waits);
    }

    /// Lets the next life of a program begin.
    pub fn restart(&self, program: &str) {
        self.set_next(program, Next::AtOnce);
    }

    fn set_next(&self, program: &str, next: Next) {
        if let Some(program) = self.programs().get(program) {
            program.next.change(|known| *known = next);
        }
    }

    /// One life of an operator.
    fn live(
        &self,
        life: &Process,
        lease: Option<Terms>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut next = Sign::new(Next::AtOnce);
        let mut stop = CancellationToken::new();
        let mut clock = self.world.clock.clone();
        if let Some(program) = self.programs().get_mut(life.name.as_ref()) {
            program.life = life.clone();
            stop = program.stop.clone();
            clock = program.clock.clone();
            if life.life > 0 {
                next = program.next.clone();
            }
        }
        let seed = life.name.bytes().map(u64::from).sum::<u64>() * 1000 + u64::from(life.life);
        let world = app::World {
            client: self.world.client(life),
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(seed)),
            doors: Arc::new(self.wires(life)),
        };
        let identity = Installation::parse(INSTALLATION).map(|installation| Identity {
            claim: Claim {
                installation,
                scope: Scope::Cluster,
            },
            allowed: Allowed {
                hosts: Vec::new(),
                refused: Vec::new(),
            },
            own_namespace: manifests::OWN.to_owned(),
            stamp: Stamp::Ignored,
            lease,
        });
        let signs = Signs {
            gates: Gates::closed(),
            metrics: self.metrics.clone(),
        };
        let (recorder, life) = (self.world.recorder.clone(), life.clone());
        async move {
            next.until(|next| *next == Next::AtOnce).await;
            if let Some(identity) = identity {
                let ended = operate(world, identity, signs, stop.clone()).await;
                if ended.is_err() {
                    // The kubelet starts it anew.
                    recorder.crash(&life);
                }
                if ended.is_err() || stop.is_cancelled() {
                    pending::<()>().await;
                }
            }
        }
    }

    /// The wires of a process to the deploy server.
    pub fn wires(&self, process: &Process) -> Wires {
        Wires {
            process: process.clone(),
            recorder: self.world.recorder.clone(),
            twin: self.twin.clone(),
            overheard: self.overheard.clone(),
        }
    }

    /// The present life of a program.
    pub fn life(&self, program: &str) -> Process {
        self.programs()
            .get(program)
            .map_or_else(|| Process::new(program), |program| program.life.clone())
    }

    /// Ends the present life of a program; the next begins at once.
    pub fn crash(&self, program: &str) {
        self.world.recorder.crash(&self.life(program));
    }

    /// Holds a program's requests, and the answers to those under way.
    pub fn pause(&self, program: &str) {
        self.world.recorder.pause(&self.life(program));
    }

    /// Lets it go on.
    pub fn wake(&self, program: &str) {
        self.world.recorder.wake(&self.life(program));
    }

    /// Moves the clock of a program's machine; its timers do not notice.
    pub fn jump(&self, program: &str, by: SignedDuration) {
        if let Some(program) = self.programs().get(program) {
            program.clock.jump(by);
        }
    }

    fn programs(&self) -> MutexGuard<'_, BTreeMap<String, Program>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a workload use the key of a Secret for ever.
    pub fn consume(&self, namespace: &str, secret: &str, habit: Habit, every: Duration) {
        let scene = self.clone();
        let (namespace, secret) = (namespace.to_owned(), secret.to_owned());
        tokio::spawn(async move {
            consumer::consume(&scene, &namespace, &secret, habit, every).await;
        });
    }

    /// Somebody has something to complain of.
    pub fn complain(&self, mut what: String) {
        what.insert_str(0, &format!("{} ", self.world.clock.now()));
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Applies a manifest, as a person does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, manifest: &Value) -> Result<Value> {
        let path = Address::of(manifest)?.path();
        let path = format!("{path}?fieldManager=person&force=true");
        self.ask(Method::PATCH, &path, APPLY, manifest).await
    }

    /// Applies a manifest while its kind has no rules for `spec`, as an older definition had none.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_unchecked(&self, manifest: &Value) -> Result<Value> {
        let of_kind = |crd: &CustomResourceDefinition| manifest["kind"] == crd.spec.names.kind;
        let definition = all_crds().into_iter().find(of_kind);
        let definition = definition.context("not one of our kinds")?;
        let plural = &definition.spec.names.plural;
        let mut kinds = kinds()?.into_iter();
        let strict = kinds.find(|kind| kind.plural == *plural);
        let mut loose = serde_json::to_value(&definition)?;
        for version in loose["spec"]["versions"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            version["schema"]["openAPIV3Schema"]["properties"]["spec"] =
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        }
        let loose = Kind::custom(&loose)?;
        self.world.api.store(|store| store.serve(loose));
        let applied = self.apply(manifest).await;
        self.world
            .api
            .store(|store| strict.map(|kind| store.serve(kind)));
        applied
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn patch(&self, address: &Address, patch: Value) -> Result<Value> {
        self.ask(Method::PATCH, &address.path(), MERGE, &patch)
            .await
    }

    /// Wipes or changes the status of an object.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn patch_status(&self, address: &Address, patch: Value) -> Result<Value> {
        let status = format!("{}/status", address.path());
        self.ask(Method::PATCH, &status, MERGE, &patch).await
    }

    /// Puts an object back as a manifest has it: annotations and finalizers of others go.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn replace(&self, manifest: &Value) -> Result<Value> {
        let address = Address::of(manifest)?;
        let live = self.get(&address).context("nothing to replace")?;
        let mut wanted = manifest.clone();
        wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        self.ask(Method::PUT, &address.path(), JSON, &wanted).await
    }

    /// Deletes an object; it may take its time to go.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete(&self, address: &Address) -> Result<()> {
        self.ask(Method::DELETE, &address.path(), JSON, &json!({}))
            .await?;
        Ok(())
    }

    /// A deletion that has seen no finalizer lands after the first one was put on: the object is gone.
    pub fn overtake(&self, address: &Address) {
        let object = self.get(address).unwrap_or_default();
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        self.witness.overtaken(uid);
        let Address {
            namespace, name, ..
        } = address;
        self.world
            .api
            .store(|store| store.overtake(address.resource(), namespace, name));
    }

    async fn ask(&self, method: Method, path: &str, form: &str, body: &Value) -> Result<Value> {
        let request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::CONTENT_TYPE, form)
            .body(body.to_string().into_bytes())?;
        let answer = self.person.request::<Value>(request).await;
        answer.with_context(|| format!("{method} {path}"))
    }

    /// An object as it is in the store.
    pub fn get(&self, address: &Address) -> Option<Value> {
        self.world.api.store(|store| {
            store
                .get(address.resource(), &address.namespace, &address.name)
                .cloned()
        })
    }

    /// Whether an object has a condition with this status.
    pub fn says(&self, address: &Address, type_: &str, status: &str) -> bool {
        self.condition(address, type_)
            .is_some_and(|condition| condition["status"] == status)
    }

    /// A condition of an object.
    pub fn condition(&self, address: &Address, type_: &str) -> Option<Value> {
        let object = self.get(address)?;
        let conditions = object.pointer("/status/conditions")?.as_array()?.clone();
        conditions
            .into_iter()
            .find(|condition| condition["type"] == type_)
    }

    /// The reason of an object's `Ready`, or nothing.
    pub fn reason(&self, address: &Address) -> String {
        let ready = self.condition(address, "Ready").unwrap_or_default();
        ready["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// The keys on the server that carry a token of this installation and live.
    pub fn living(&self) -> Vec<octopus::KeyView> {
        let ours = format!("ako1.{INSTALLATION}.");
        let mut keys = self.twin.view().keys;
        keys.retain(|key| key.purpose.contains(&ours) && key.life == octopus::Life::Alive);
        keys
    }

    /// The key that a Secret holds, if the server knows it.
    pub fn published(&self, namespace: &str, secret: &str) -> Option<octopus::KeyView> {
        let secret = self.get(&Address::secret(namespace, secret))?;
        let value = manifests::key_of(&secret)?;
        self.twin.look(|twin, now| twin.whose(now, &value))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Lets so much time pass.
    pub async fn run(&self, time: Duration) {
        sleep(time).await;
    }

    /// Waits until something is so, and says how long that took.
    ///
    /// # Errors
    /// When it is not so within `limit`.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        so: impl Fn(&Self) -> bool,
    ) -> Result<Duration> {
        let began = Instant::now();
        while !so(self) {
            if began.elapsed() >= limit {
                bail!("not so within {limit:?}: {what}");
            }
            let glance = if began.elapsed() < A_WHILE {
                GLANCE
            } else {
                LATER_GLANCE
            };
            sleep(glance).await;
        }
        Ok(began.elapsed())
    }

    /// Waits until an object's `Ready` is `True` for its present generation.
    ///
    /// # Errors
    /// When it is not within `limit`.
    pub async fn until_ready(&self, address: &Address, limit: Duration) -> Result<Duration> {
        let so = |scene: &Self| {
            let Some(object) = scene.get(address) else {
                return false;
            };
            object["metadata"]["generation"] == object["status"]["observedGeneration"]
                && scene.says(address, "Ready", "True")
        };
        self.until(&format!("{} is Ready", address.path()), limit, so)
            .await
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// When it is not within `limit`.
    pub async fn until_gone(&self, address: &Address, limit: Duration) -> Result<Duration> {
        let what = format!("{} is gone", address.path());
        self.until(&what, limit, |scene| scene.get(address).is_none())
            .await
    }

    /// What a program has sent, but for the first `skip` requests of everybody.
    pub fn calls(&self, program: &str, skip: usize) -> Vec<Heard> {
        let mut calls = self.world.recorder.calls(skip);
        calls.retain(|heard| heard.call.process.name.as_ref() == program);
        calls
    }

    /// How many requests everybody has sent so far.
    pub fn mark(&self) -> usize {
        self.world.recorder.calls(0).len()
    }

    /// What a program has changed, in all its lives.
    pub fn effects(&self, program: &str) -> Vec<Effect> {
        let mut effects = self.world.recorder.effects();
        effects.retain(|effect| effect.call.process.name.as_ref() == program);
        effects
    }

    /// Forgets the history of the API server: watches of earlier versions get 410.
    pub fn compact(&self) {
        self.witness.look(None);
        self.world.api.store(Store::compact);
    }

    /// What anybody has to complain of.
    ///
    /// # Errors
    /// When somebody has.
    pub fn verdict(&self) -> Result<()> {
        let mut wrong = self.witness.look(None);
        for violation in self.world.recorder.violations() {
            wrong.push(format!("after {}: {}", violation.effect, violation.what));
        }
        wrong.extend(
            self.complaints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .cloned(),
        );
        for heard in self.world.recorder.calls(0) {
            if heard.pace == Pace::Restless {
                wrong.push(format!("{} never rests: {}", heard.at, heard.call.path));
                break;
            }
        }
        for (name, program) in self.programs().iter() {
            if program.work.as_ref().is_some_and(JoinHandle::is_finished) {
                wrong.push(format!("{name} has ended by itself"));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Plays an act in this scene; what went wrong in it is told with everything that was done.
    ///
    /// # Errors
    /// Those of the act, and [`Scene::verdict`]'s.
    pub async fn act(&self, act: impl Future<Output = Result<()>>) -> Result<()> {
        let outcome = act.await;
        let verdict = self.verdict();
        match (outcome, verdict) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) => Err(anyhow!("{error:#}\n{}", self.report())),
            (Ok(()), Err(wrong)) => Err(anyhow!("{wrong}\n{}", self.report())),
            (Err(error), Err(wrong)) => Err(anyhow!("{error:#}\n{wrong}\n{}", self.report())),
        }
    }

    /// All effects, and how things stand.
    pub fn report(&self) -> String {
        let mut text = format!("effects until {}:\n", self.world.clock.now());
        for effect in self.world.recorder.effects() {
            let _ = writeln!(text, "  {effect}");
        }
        text.push_str("keys on the server:\n");
        for key in self.twin.view().keys {
            let _ = writeln!(
                text,
                "  {} of {} {:?} made {} ends {:?}: {}",
                key.id, key.owner, key.life, key.created, key.expires, key.purpose
            );
        }
        text.push_str("objects:\n");
        self.world.api.store(|store| {
            for resource in manifests::SHOWN {
                for object in store.all(resource) {
                    let mut object = object.clone();
                    object["metadata"]["managedFields"].take();
                    let _ = writeln!(text, "  {object}");
                }
            }
        });
        text
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

/// The media types of writes.
const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
