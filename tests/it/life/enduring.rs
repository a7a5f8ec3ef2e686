//! What is wrong with one thing stops no other: above all, no rotation.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::effect::{Call, Door};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;
use simulation::script::{Act, Rule};

use super::{DAY, HOUR, MINUTE, Test, ground, rotate, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_key_that_cannot_be_revoked_stops_no_rotation", unrevoked),
        test("a_rotation_that_is_refused_keeps_no_key_alive", unminted),
        test("a_key_that_cannot_be_revoked_shields_no_other", shielded),
        test("an_account_that_falls_short_stops_no_rotation", short),
    ]
}

/// The server refuses this.
fn refused(scene: &Scene, which: impl Fn(&Call) -> bool + Send + 'static) {
    let mut answer = Response::new(Bytes::from(r#"{"ErrorMessage": "Not for you."}"#));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    let rule = Rule::every(Act::Answer(answer), move |call| {
        matches!(call.door, Door::Server(_)) && which(call)
    });
    scene.world.recorder.script(rule);
}

/// The ApiKey is Ready, and somebody reads its Secret once.
async fn used(scene: &Scene, spec: Value) -> Result<Address> {
    scene.apply(&manifests::key("deploys", spec)).await?;
    scene.consume(TEAM, "deploys", Habit::Once, HOUR);
    let address = Address::key("deploys");
    scene.until_ready(&address, MINUTE).await?;
    Ok(address)
}

/// The witness says if a key expires without a successor.
async fn unrevoked(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    refused(&scene, |call| call.method == Method::DELETE);
    let address = used(&scene, json!({"lifetime": "3d"})).await?;
    let uid = uid(&scene, &address)?;
    scene.run(DAY * 12).await;
    let held = scene.witness.held(&uid).len();
    ensure!((5..8).contains(&held), "{held} keys in 12 days");
    Ok(())
}

async fn unminted(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({"lifetime": "12d", "rotation": {"overlap": "1d"}});
    used(&scene, spec).await?;
    let first = scene.published(TEAM, "deploys").map(|key| key.id);
    rotate(&scene, "deploys", "once").await?;
    refused(&scene, |call| call.method == Method::POST);
    let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "twice"}}});
    scene.patch(&Address::key("deploys"), ask).await?;
    scene.run(DAY + HOUR).await;
    let died = first.and_then(|id| scene.witness.died(&id));
    ensure!(died.is_some(), "the first key still lives");
    Ok(())
}

async fn shielded(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = used(&scene, json!({"rotation": {"overlap": "1d"}})).await?;
    for round in ["one", "two"] {
        rotate(&scene, "deploys", round).await?;
    }
    let keys = scene.living();
    ensure!(keys.len() == 3, "{keys:?}");
    // Whichever is tried first: the oldest, or the newest.
    let spared = [keys[0].id.clone(), keys[2].id.clone()];
    let paths = spared.clone().map(|id| format!("/{id}"));
    refused(&scene, move |call| {
        call.method == Method::DELETE && paths.iter().any(|path| call.path.ends_with(path))
    });
    scene
        .patch(&address, json!({"spec": {"revoked": true}}))
        .await?;
    scene.run(HOUR).await;
    let left: Vec<_> = scene.living().into_iter().map(|key| key.id).collect();
    ensure!(left == spared, "{left:?} live, not only {spared:?}");
    Ok(())
}

async fn short(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = used(&scene, json!({"lifetime": "3d"})).await?;
    let uid = uid(&scene, &address)?;
    // There is no such team.
    let teams = json!({"spec": {"octopus": {"teams": [{"name": "Nobody's"}]}}});
    scene.patch(&Address::account("ci"), teams).await?;
    scene.run(DAY * 8).await;
    ensure!(scene.reason(&Address::account("ci")) == "TeamNotFound");
    ensure!(scene.witness.held(&uid).len() > 3, "it is not replaced");
    // A first key is not made before the account is what is declared.
    scene.apply(&manifests::key("another", json!({}))).await?;
    scene.run(HOUR).await;
    ensure!(scene.reason(&Address::key("another")) == "WaitingForAccount");
    let none = json!({"spec": {"octopus": null}});
    scene.patch(&Address::account("ci"), none).await?;
    scene
        .until_ready(&Address::key("another"), MINUTE)
        .await
        .map(drop)
}
