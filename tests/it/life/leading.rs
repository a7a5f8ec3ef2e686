//! Two operators of which one leads: what comes of a leader that dies, and of one that nobody answers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulation::effect::{Call, Door, Effect};
use simulation::manifests::{self, Address, OWN, TEAM};
use simulation::recorder::Heard;
use simulation::scene::{LEASE, Scene, play};
use simulation::script::{Act, Moment, Rule};
use testbed::twins::Effect as Made;

use super::{HOUR, MINUTE, Test, ground, key, only_published};

const SECOND: Duration = Duration::from_secs(1);
const A: &str = "a";
const B: &str = "b";
/// The next leader is there when the lease has ended, and somebody has looked.
const TAKEN: SignedDuration = SignedDuration::from_secs(15 + 2);

pub(super) fn tests() -> Vec<Test> {
    vec![
        elected("one_operator_leads_and_the_other_is_warm", warm),
        elected("a_leader_dies_and_the_other_goes_on", dies),
        elected("a_leader_dies_in_the_middle_of_a_mint", dies_minting),
        elected(
            "a_leader_without_answers_ends_before_the_other_begins",
            unanswered,
        ),
        elected("a_leader_without_answers_leads_again_later", again),
        elected("one_who_has_the_lease_alone_is_not_disturbed", alone),
        elected("an_update_loses_no_key_and_no_time", update),
    ]
}

/// A test in a scene of its own, in which A leads and B stands by.
fn elected<F: Future<Output = Result<()>> + 'static>(name: &str, act: fn(Scene) -> F) -> Test {
    let body = move || {
        play(|| async move {
            let scene = Scene::new().await?;
            scene.start_elected(A);
            scene
                .until("A leads", MINUTE, |scene| leader(scene).starts_with(A))
                .await?;
            scene.start_elected(B);
            scene.act(act(scene.clone())).await
        })
    };
    (name.to_owned(), Box::new(body))
}

fn lease(scene: &Scene) -> Value {
    scene.world.api.store(|store| {
        let lease = store.get("leases.coordination.k8s.io", OWN, LEASE);
        lease.cloned().unwrap_or_default()
    })
}

/// Who holds the lease.
fn leader(scene: &Scene) -> String {
    let lease = lease(scene);
    let holder = lease["spec"]["holderIdentity"].as_str();
    holder.unwrap_or_default().to_owned()
}

fn is_of_lease(path: &str) -> bool {
    path.contains("/leases")
}

/// What an operator has changed, but for the lease.
fn work(scene: &Scene, who: &str) -> Vec<Effect> {
    let mut effects = scene.effects(who);
    effects.retain(|effect| !is_of_lease(&effect.call.path));
    effects
}

/// What an operator has asked for, but for what is watched and for the lease.
fn asked(scene: &Scene, who: &str, skip: usize) -> Vec<Heard> {
    let mut calls = scene.calls(who, skip);
    calls.retain(|heard| !is_of_lease(&heard.call.path) && !heard.call.query.contains("watch="));
    calls
}

async fn warm(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    let settled = scene.mark();
    scene.run(HOUR).await;
    only_published(&scene, "deploys")?;
    ensure!(work(&scene, B).is_empty(), "{:?}", work(&scene, B));
    ensure!(!asked(&scene, A, settled).is_empty());
    // It has listed all kinds when it began; a list that is too old is made again now and then.
    let to_server: Vec<_> = asked(&scene, B, 0)
        .into_iter()
        .filter(|heard| heard.call.target().is_none())
        .collect();
    ensure!(to_server.is_empty(), "{to_server:?}");
    ensure!(lease(&scene)["spec"]["leaseTransitions"] == 0);
    Ok(())
}

/// B leads within the lease's time, and its first effect is not before.
async fn taken(scene: &Scene, from: Timestamp) -> Result<()> {
    scene
        .until("B leads", MINUTE, |scene| leader(scene).starts_with(B))
        .await?;
    let gone = scene.now().duration_since(from);
    ensure!(gone <= TAKEN, "taken after {gone:#}");
    Ok(())
}

async fn dies(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    scene.keep_down(A);
    scene.crash(A);
    let died = scene.now();
    taken(&scene, died).await?;
    key(&scene, "later", json!({})).await?;
    ensure!(scene.living().len() == 2, "{:?}", scene.living());
    scene.restart(A);
    scene.run(HOUR).await;
    ensure!(leader(&scene).starts_with(B));
    ensure!(scene.living().len() == 2, "{:?}", scene.living());
    Ok(())
}

fn is_mint_of_a(call: &Call) -> bool {
    matches!(call.door, Door::Server(_))
        && call.is_effect()
        && call.path.ends_with("/apikeys")
        && call.process.name.as_ref() == A
}

async fn dies_minting(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let mint = Rule::once(Act::Crash(Moment::After), is_mint_of_a);
    scene.keep_down(A);
    let ticket = scene.world.recorder.script(mint);
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    scene
        .until("A dies", MINUTE, |_| ticket.count() == 1)
        .await?;
    taken(&scene, scene.now()).await?;
    scene
        .until_ready(&Address::key("deploys"), MINUTE * 3)
        .await?;
    // The key that only A knew retires as a stray: when, the chaos rung says.
    let published = scene.published(TEAM, "deploys");
    let published = published.context("the Secret holds no living key")?;
    let living = scene.living();
    ensure!(
        living.len() == 2 && living.contains(&published),
        "{living:?}"
    );
    Ok(())
}

/// Asked to end while it makes a key, and the server takes its time: the key is published first.
async fn update(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let slow = Rule::once(Act::Slow(SECOND * 20), is_mint_of_a);
    let ticket = scene.world.recorder.script(slow);
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    scene
        .until("A asks for a key", MINUTE, |_| ticket.count() == 1)
        .await?;
    scene.stop(A);
    scene
        .until("the key is published", MINUTE, |scene| {
            scene.published(TEAM, "deploys").is_some()
        })
        .await?;
    scene
        .until("B leads", SECOND * 4, |scene| leader(scene).starts_with(B))
        .await?;
    scene.until_ready(&Address::key("deploys"), MINUTE).await?;
    only_published(&scene, "deploys")?;
    ensure!(scene.twin.done(Made::Mint) == 1, "several keys were made");
    key(&scene, "later", json!({})).await?;
    Ok(())
}

async fn unanswered(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    let life = scene.life(A);
    scene.pause(A);
    let paused = scene.now();
    // Both are to make it.
    scene.apply(&manifests::key("later", json!({}))).await?;
    scene
        .until("A ends", MINUTE, |scene| scene.life(A) != life)
        .await?;
    let ended = scene.now();
    ensure!(leader(&scene).starts_with(A), "B leads before A has ended");
    ensure!(work(&scene, B).is_empty(), "{:?}", work(&scene, B));
    ensure!(ended.duration_since(paused) <= SignedDuration::from_secs(11));
    taken(&scene, paused).await?;
    scene.until_ready(&Address::key("later"), MINUTE).await?;
    ensure!(scene.living().len() == 2, "{:?}", scene.living());
    let late: Vec<_> = work(&scene, A)
        .into_iter()
        .filter(|effect| effect.at > paused)
        .collect();
    ensure!(late.is_empty(), "{late:?}");
    Ok(())
}

/// The next life of one that was given up stands by, and leads when its turn comes.
async fn again(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    for (number, (now, next)) in [(A, B), (B, A), (A, B)].into_iter().enumerate() {
        let life = scene.life(now);
        scene.pause(now);
        scene
            .until("it ends", MINUTE, |scene| scene.life(now) != life)
            .await?;
        scene
            .until("the next leads", MINUTE, |scene| {
                leader(scene).starts_with(next)
            })
            .await?;
        key(&scene, &format!("k{number}"), json!({})).await?;
        ensure!(lease(&scene)["spec"]["leaseTransitions"] == number + 1);
    }
    ensure!(scene.living().len() == 3, "{:?}", scene.living());
    Ok(())
}

/// Nobody else asks: the lease is renewed and nothing is written but it.
async fn alone(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.keep_down(B);
    scene.crash(B);
    scene.run(MINUTE * 10).await;
    let before = work(&scene, A).len();
    let renewals = |scene: &Scene| scene.effects(A).len() - work(scene, A).len();
    let renewed = renewals(&scene);
    scene.run(MINUTE).await;
    ensure!(work(&scene, A).len() == before);
    let renewed = renewals(&scene) - renewed;
    ensure!(
        (29..=31).contains(&renewed),
        "{renewed} renewals in a minute"
    );
    Ok(())
}
