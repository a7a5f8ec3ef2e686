//! What A has sent, and what lands when B and people have gone on: it must not be taken for a word
//! about what there is now.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::effect::Call;
use simulation::kubernetes::Durability;
use simulation::manifests::{self, Address, TEAM, encoded, key_of, previous_of};
use simulation::scene::Scene;
use simulation::script::Ticket;

use super::{
    A, B, KEY, MINUTE, SECOND, Step, apply, ground, held, hold, is_secret, key, lands, one_key,
    revoked, rotate, secret, settles, test,
};
use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("late_the_secret_was_made_anew", secret_made_anew),
        test("late_the_secret_was_written_anew", secret_written_anew),
        test(
            "late_an_adopted_secret_was_taken_over_anew",
            taken_over_anew,
        ),
        test("late_the_second_slot_was_filled_anew", slot_filled_anew),
        test("late_the_api_key_was_applied_anew", applied_anew),
        test("late_the_api_key_is_wanted_again", wanted_again),
    ]
}

const UNPUBLISH: Step = |call| is_secret(call) && call.method == Method::DELETE;
/// A change of the Secret as it is, whatever it is for.
const CHANGE: Step = |call| {
    let lasting = call.durability == Durability::Lasting;
    is_secret(call) && call.method == Method::PATCH && lasting
};
const REMOVE: Step =
    |call: &Call| call.method == Method::DELETE && call.path.ends_with("/apikeys/deploys");

/// A's step is on its way, and A is paused.
async fn paused(scene: &Scene, at: Ticket) -> Ticket {
    at.met().await;
    scene.pause(A);
    // What is made from now on is younger, also in whole seconds.
    scene.run(SECOND).await;
    at
}

/// A's step lands; nothing comes of it.
async fn lands_in_vain(scene: &Scene, late: &Ticket, at: &Address) -> Result<()> {
    let before = scene.get(at).context("nothing to be spared")?;
    late.release();
    scene.run(SECOND).await;
    let after = scene.get(at).context("it was taken away")?;
    for part in [
        "/metadata/uid",
        "/metadata/deletionTimestamp",
        "/spec",
        "/data",
    ] {
        let (before, after) = (before.pointer(part), after.pointer(part));
        ensure!(before == after, "{part} was {before:?}, and is {after:?}");
    }
    scene.wake(A);
    Ok(())
}

/// The key is taken back by A in this step, by B at last, and wanted again.
async fn taken_back(scene: &Scene, step: Step) -> Result<()> {
    let unpublish = hold(scene, A, step);
    revoked(scene, true).await?;
    let unpublish = paused(scene, unpublish).await;
    scene.start(B);
    let ended = |scene: &Scene| scene.living().is_empty() && scene.reason(&key()) == "Revoked";
    scene.until("B has ended it", MINUTE, ended).await?;
    revoked(scene, false).await?;
    lands(scene, None).await?;
    lands_in_vain(scene, &unpublish, &secret()).await?;
    settles(scene).await
}

async fn secret_made_anew(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    taken_back(&scene, UNPUBLISH).await
}

/// It is wanted again before anybody has done anything, and is replaced.
async fn secret_written_anew(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let k1 = held(&scene)?;
    let unpublish = hold(&scene, A, UNPUBLISH);
    revoked(&scene, true).await?;
    let unpublish = paused(&scene, unpublish).await;
    revoked(&scene, false).await?;
    scene.start(B);
    rotate(&scene, Some("once")).await?;
    lands(&scene, Some(&k1)).await?;
    lands_in_vain(&scene, &unpublish, &secret()).await?;
    settles(&scene).await
}

/// As [`secret_made_anew`], in a Secret that somebody has made by hand.
async fn taken_over_anew(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let offered = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": KEY, "namespace": TEAM, "annotations": {"apikeys.dev/adopt-by": KEY},
        },
        "data": {"other": encoded("stays")},
    });
    scene.apply(&offered).await?;
    let adopt = json!({"secret": {"adopt": true}});
    scene.apply(&manifests::key(KEY, adopt)).await?;
    scene.until_ready(&key(), MINUTE).await?;
    taken_back(&scene, CHANGE).await
}

/// A takes k1 out of the second slot, which is k2's by now.
async fn slot_filled_anew(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let slots = json!({"rotation": {"overlap": "0s"}, "secret": {"keepPrevious": true}});
    scene.apply(&manifests::key(KEY, slots)).await?;
    scene.consume(TEAM, KEY, Habit::Slots, MINUTE / 2);
    scene.until_ready(&key(), MINUTE).await?;
    let k1 = held(&scene)?;
    rotate(&scene, Some("once")).await?;
    let k2 = lands(&scene, Some(&k1)).await?;
    let value = |scene: &Scene, of: fn(&Value) -> Option<String>| of(&scene.get(&secret())?);
    let second = value(&scene, key_of);
    let amend = paused(&scene, hold(&scene, A, CHANGE)).await;
    scene.start(B);
    let empty = |scene: &Scene| value(scene, previous_of).is_none();
    scene.until("B has emptied the slot", MINUTE, empty).await?;
    rotate(&scene, Some("twice")).await?;
    lands(&scene, Some(&k2)).await?;
    ensure!(value(&scene, previous_of) == second, "no k2 in the slot");
    lands_in_vain(&scene, &amend, &secret()).await?;
    settles(&scene).await
}

/// The ApiKey, which has ended and is to be removed; A is about to.
async fn removal(scene: &Scene) -> Result<Ticket> {
    ground(scene).await?;
    let spec = json!({"rotation": {"overlap": "20m"}, "ttlAfterFinished": "10m"});
    scene.apply(&manifests::key(KEY, spec)).await?;
    scene.until_ready(&key(), MINUTE).await?;
    revoked(scene, true).await?;
    Ok(paused(scene, hold(scene, A, REMOVE)).await)
}

async fn applied_anew(scene: Scene) -> Result<()> {
    let remove = removal(&scene).await?;
    scene.start(B);
    scene.until_gone(&key(), MINUTE).await?;
    apply(&scene, "20m").await?;
    lands(&scene, None).await?;
    lands_in_vain(&scene, &remove, &key()).await?;
    settles(&scene).await
}

async fn wanted_again(scene: Scene) -> Result<()> {
    let remove = removal(&scene).await?;
    revoked(&scene, false).await?;
    scene.start(B);
    lands(&scene, None).await?;
    lands_in_vain(&scene, &remove, &key()).await?;
    settles(&scene).await
}
