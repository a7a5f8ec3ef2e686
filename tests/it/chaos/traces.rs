//! The schedules of the protocol's traces, each by its number: two operators in one world, A and B,
//! one of them held where the trace says. n1, n2 are attempts with keys k1, k2.
//!
//! What must never be, the witness says; here is what makes each schedule the one that it is, and
//! what must come of it.
//!
//! | file | traces of |
//! | --- | --- |
//! | `publishing` | a Publish that lands late, or whose answer is lost |
//! | `forgetting` | what is withdrawn, wiped or put back as it was |
//! | `unseen` | deletions that nobody has seen, and another server |
//! | `late` | whatever else lands when others have gone on |

mod forgetting;
mod late;
mod publishing;
mod unseen;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::json;
use simulation::consumer::Habit;
use simulation::effect::{Call, Door};
use simulation::kubernetes::Durability;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{Scene, play};
use simulation::script::{Act, Moment, Rule, Ticket};
use tokio::time::timeout;

use crate::life::Test;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// When an attempt without an answer is over, and the next may be opened.
const OVER: Duration = Duration::from_secs(61);
/// What nothing records is dead after this: 10 minutes, the overlap, two resyncs, and a little.
const SWEPT: Duration = Duration::from_secs(60 * (10 + 20 + 2 * 5 + 5));
/// No schedule takes longer.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
const A: &str = "a";
const B: &str = "b";
/// The ApiKey, and its Secret.
const KEY: &str = "deploys";
const INTENT: &str = "apikeys.dev/intent";

pub(super) fn tests() -> Vec<Test> {
    [
        forgetting::tests(),
        late::tests(),
        publishing::tests(),
        unseen::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn test<F: Future<Output = Result<()>>>(
    name: &str,
    act: impl FnOnce(Scene) -> F + Send + 'static,
) -> Test {
    let body = move || {
        play(|| async move {
            let scene = Scene::new().await?;
            let story = act(scene.clone());
            scene
                .act(async {
                    let told = timeout(LONGEST, story).await;
                    told.context("the schedule does not come to its next point")?
                })
                .await
        })
    };
    (format!("traces::{name}"), Box::new(body))
}

/// Whether a call is of this step.
type Step = fn(&Call) -> bool;

const LOOK: Step = |call| is_server(call) && call.method == Method::GET && is_keys(call);
const OPEN: Step = |call| call.method == Method::PATCH && call.path.ends_with("/apikeys/deploys");
const REHEARSE: Step = |call| is_secret(call) && call.durability == Durability::Rehearsed;
const MINT: Step = |call| is_server(call) && call.method == Method::POST && is_keys(call);
const PUBLISH: Step = |call| {
    let writes = call.method == Method::POST || call.method == Method::PATCH;
    is_secret(call) && writes && call.durability == Durability::Lasting
};
const RECORD: Step = |call| call.path.ends_with("/apikeys/deploys/status");
const REVOKE: Step = |call| is_server(call) && call.method == Method::DELETE;

fn is_server(call: &Call) -> bool {
    matches!(call.door, Door::Server(_))
}

fn is_keys(call: &Call) -> bool {
    call.path.contains("/api/users/") && call.path.ends_with("/apikeys")
}

/// The Secret of the ApiKey: by its name, or made among all of its namespace.
fn is_secret(call: &Call) -> bool {
    let home = "/api/v1/namespaces/team-a/secrets";
    call.door == Door::Kubernetes
        && (call.path == format!("{home}/{KEY}")
            || (call.path == home && call.method == Method::POST))
}

/// The next call of this step by this operator, and no other.
fn next(who: &'static str, step: Step) -> impl FnMut(&Call) -> bool + Send + 'static {
    move |call: &Call| call.process.name.as_ref() == who && step(call)
}

/// Does this to the next call of this step by this operator.
fn script(scene: &Scene, who: &'static str, step: Step, act: Act) -> Ticket {
    let rule = Rule::once(act, next(who, step));
    scene.world.recorder.script(rule)
}

/// Holds the next call of this step by this operator before its effect.
fn hold(scene: &Scene, who: &'static str, step: Step) -> Ticket {
    script(scene, who, step, Act::Hold(Moment::Before))
}

fn key() -> Address {
    Address::key(KEY)
}

fn secret() -> Address {
    Address::secret(TEAM, KEY)
}

/// Connection and account, and A at work.
async fn ground(scene: &Scene) -> Result<()> {
    scene.start(A);
    let mut server = manifests::server();
    server["spec"]["resync"] = json!("5m");
    let credential = manifests::credential(&scene.credential());
    for manifest in [credential, server, manifests::account(json!({}))] {
        scene.apply(&manifest).await?;
    }
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    // The schedules cut off attempts: each may leave one more key alive for a while.
    scene.witness.spare(2);
    Ok(())
}

/// The ApiKey, and two workloads that use it.
async fn apply(scene: &Scene, overlap: &str) -> Result<()> {
    let manifest = manifests::key(KEY, json!({"rotation": {"overlap": overlap}}));
    scene.apply(&manifest).await?;
    scene.consume(TEAM, KEY, Habit::Once, MINUTE / 2);
    scene.consume(TEAM, KEY, Habit::Again, MINUTE / 2);
    Ok(())
}

/// A has made k1.
async fn one_key(scene: &Scene, overlap: &str) -> Result<()> {
    ground(scene).await?;
    apply(scene, overlap).await?;
    scene.until_ready(&key(), MINUTE).await?;
    Ok(())
}

async fn rotate(scene: &Scene, request: Option<&str>) -> Result<()> {
    let annotation = json!({"metadata": {"annotations": {"apikeys.dev/rotate": request}}});
    scene.patch(&key(), annotation).await?;
    Ok(())
}

async fn revoked(scene: &Scene, wish: bool) -> Result<()> {
    scene
        .patch(&key(), json!({"spec": {"revoked": wish}}))
        .await?;
    Ok(())
}

/// The uid of the ApiKey.
fn uid(scene: &Scene) -> Result<String> {
    let object = scene.get(&key()).context("no ApiKey")?;
    let uid = object["metadata"]["uid"].as_str();
    Ok(uid.context("no uid")?.to_owned())
}

/// The key that the Secret holds; it must live.
fn held(scene: &Scene) -> Result<String> {
    let published = scene.published(TEAM, KEY);
    Ok(published.context("the Secret holds no living key")?.id)
}

fn lives(scene: &Scene, id: &str) -> Result<()> {
    let living = scene.living();
    ensure!(living.iter().any(|key| key.id == id), "{id} should live");
    Ok(())
}

/// Waits until the Secret holds another key than this one.
async fn lands(scene: &Scene, other_than: Option<&str>) -> Result<String> {
    let now = |scene: &Scene| scene.published(TEAM, KEY).map(|key| key.id);
    scene
        .until("a Publish landed", MINUTE, |scene| {
            now(scene).is_some_and(|id| Some(id.as_str()) != other_than)
        })
        .await?;
    held(scene)
}

/// All graces, overlaps and resyncs go by: the Secret holds a living key, and nothing else lives.
async fn settles(scene: &Scene) -> Result<()> {
    scene.run(SWEPT).await;
    scene.until_ready(&key(), MINUTE * 6).await?;
    let held = held(scene)?;
    let living = scene.living();
    ensure!(
        living.len() == 1 && living[0].id == held,
        "the Secret holds {held}, and these live: {living:?}"
    );
    Ok(())
}

/// The ApiKey goes, and nothing is left.
async fn goes(scene: &Scene) -> Result<()> {
    scene.until_gone(&key(), MINUTE * 10).await?;
    scene.run(SWEPT).await;
    ensure!(scene.living().is_empty(), "a key is left");
    ensure!(scene.get(&secret()).is_none(), "the Secret is left");
    Ok(())
}

/// What the ApiKey's intent is.
fn intent(scene: &Scene) -> Result<String> {
    let object = scene.get(&key()).context("no ApiKey")?;
    let intent = object["metadata"]["annotations"][INTENT].as_str();
    Ok(intent.context("no intent")?.to_owned())
}

/// The serial of an intent.
fn serial(intent: &str) -> Option<&str> {
    intent.split('.').nth(1)
}
