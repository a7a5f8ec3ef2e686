//! The whole life of keys and accounts, in a simulated world: the operator itself, a simulated
//! Kubernetes API, a twin of the server, and a clock on which months take seconds.
//!
//! What must be true after every effect, [`simulation::witness`] says; here is what must come of
//! what people do.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `making` `rotating` `bounds` `ending` | a key from its manifest to its end |
//! | `secrets` `restarting` | what is done with its Secret and its workloads |
//! | `accounts` `drift` `foreign` `copies` | accounts, what others change, keys of nobody, clusters put back or copied |
//! | `servers` | what each kind of server must show, and what only some have |
//! | `trouble` `enduring` | what stands against a key, and what must not |
//! | `leading` | two operators of which one leads |
//! | `counting` `cost` | what the operator counts, and what it costs |

mod accounts;
mod bounds;
mod copies;
mod cost;
mod counting;
mod drift;
mod ending;
mod enduring;
mod foreign;
mod leading;
mod making;
mod restarting;
mod rotating;
mod secrets;
mod servers;
mod trouble;

use crate::ladder::Rung;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{OPERATOR, Scene, play};

/// A test, and its name.
pub(crate) type Test = (String, Box<dyn FnOnce() -> Result<()> + Send>);

/// The tests of this rung.
pub(crate) fn rung() -> Rung {
    let tests = [
        making::tests(),
        rotating::tests(),
        bounds::tests(),
        secrets::tests(),
        restarting::tests(),
        ending::tests(),
        enduring::tests(),
        accounts::tests(),
        drift::tests(),
        foreign::tests(),
        copies::tests(),
        trouble::tests(),
        counting::tests(),
        leading::tests(),
        servers::tests(),
    ];
    let tests = tests.into_iter().flatten();
    tests.fold(Rung::new("life"), |rung, (name, body)| {
        rung.apart(name, body)
    })
}

/// A test in a scene of its own, in which the operator is at work.
fn test<F: Future<Output = Result<()>> + 'static>(name: &str, act: fn(Scene) -> F) -> Test {
    let body = move || {
        play(|| async move {
            let scene = Scene::new().await?;
            scene.start(OPERATOR);
            scene.act(act(scene.clone())).await
        })
    };
    (name.to_owned(), Box::new(body))
}

/// A minute.
const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
const HOUR: Duration = Duration::from_secs(3600);
/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Applies the connection, as a platform team does beforehand.
async fn connect(scene: &Scene) -> Result<()> {
    scene
        .apply(&manifests::credential(&scene.credential()))
        .await?;
    scene.apply(&manifests::server()).await?;
    scene
        .until_ready(&Address::server("octopus"), MINUTE)
        .await?;
    Ok(())
}

/// Has a key replaced, and waits until it is.
async fn rotate(scene: &Scene, name: &str, text: &str) -> Result<()> {
    let id = move |scene: &Scene| scene.published(TEAM, name).map(|key| key.id);
    let before = id(scene);
    let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": text}}});
    scene.patch(&Address::key(name), ask).await?;
    let another = |scene: &Scene| id(scene).is_some() && id(scene) != before;
    scene.until("another key", MINUTE, another).await.map(drop)
}

/// Applies connection and account.
async fn ground(scene: &Scene) -> Result<()> {
    connect(scene).await?;
    scene.apply(&manifests::account(json!({}))).await?;
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    Ok(())
}

/// Applies an ApiKey with two workloads that use it, and waits until it is Ready.
async fn key(scene: &Scene, name: &str, spec: Value) -> Result<Address> {
    scene.apply(&manifests::key(name, spec)).await?;
    scene.consume(TEAM, name, Habit::Once, MINUTE / 2);
    scene.consume(TEAM, name, Habit::Again, MINUTE / 2);
    let address = Address::key(name);
    scene.until_ready(&address, MINUTE).await?;
    Ok(address)
}

/// The Secret holds a key that lives, and no other key of ours does.
fn only_published(scene: &Scene, secret: &str) -> Result<()> {
    let published = scene.published(TEAM, secret);
    let published = published.context("the Secret holds no living key")?;
    let living = scene.living();
    ensure!(
        living == [published.clone()],
        "the Secret holds {}, and these live: {living:?}",
        published.id
    );
    Ok(())
}

/// The uid of an object.
fn uid(scene: &Scene, address: &Address) -> Result<String> {
    let object = scene.get(address).context("it is gone")?;
    let uid = object["metadata"]["uid"].as_str();
    Ok(uid.context("it has no uid")?.to_owned())
}
