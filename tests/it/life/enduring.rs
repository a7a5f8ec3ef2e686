//! What is wrong with one thing stops no other: above all, no rotation.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::effect::{Call, Door};
use simulation::kubernetes::{Denied, Part};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{OPERATOR, Scene};
use simulation::script::{Act, Rule};
use testbed::twins::{Fault, Rule as Wrong};

use super::{DAY, HOUR, MINUTE, Test, ground, only_published, rotate, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_key_that_cannot_be_revoked_stops_no_rotation", unrevoked),
        test("a_rotation_that_is_refused_keeps_no_key_alive", unminted),
        test("a_key_that_cannot_be_revoked_shields_no_other", shielded),
        test("an_account_that_falls_short_stops_no_rotation", short),
        test("keys_that_nobody_hears_of_are_paced", unheard),
        test("a_replaced_account_keeps_what_was_retained", replaced),
        test("an_observer_goes_without_waiting_for_others", shared),
        test("a_restart_ends_no_account_that_others_use", used_by_others),
        test("a_404_without_an_object_ends_nothing", stray_404),
        test("what_may_not_be_said_is_not_said_all_the_time", unsaid),
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

/// The server makes keys, and nobody hears of them.
async fn unheard(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.witness.spare(30);
    let fault = Wrong::new(Fault::HalfJson).on("POST", "/api/users/*/apikeys");
    scene.twin.fault(fault);
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    let address = Address::key("deploys");
    scene.run(DAY).await;
    let made = scene.witness.made(&uid(&scene, &address)?);
    ensure!((10..30).contains(&made), "{made} keys in a day");
    scene.twin.clear_faults();
    scene.until_ready(&address, HOUR * 3).await.map(drop)
}

/// Whoever removes the account's note of what was left on purpose ends nothing.
async fn replaced(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({"deletionPolicy": "Retain"});
    let address = used(&scene, spec).await?;
    let kept = scene.published(TEAM, "deploys");
    let kept = kept.map(|key| key.id).unwrap_or_default();
    scene.delete(&address).await?;
    scene.until_gone(&address, HOUR).await?;
    scene.replace(&manifests::account(json!({}))).await?;
    scene.run(HOUR * 2).await;
    ensure!(scene.living().iter().any(|key| key.id == kept), "it ended");
    Ok(())
}

/// Two namespaces use one account, and one of them goes.
async fn shared(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    used(&scene, json!({})).await?;
    let mut observer =
        manifests::account(json!({"management": "Observed", "username": "team-a.ci"}));
    observer["metadata"]["name"] = json!("observer");
    scene.apply(&observer).await?;
    let observer = Address::account("observer");
    scene.until_ready(&observer, MINUTE).await?;
    scene.delete(&observer).await?;
    scene.until_gone(&observer, MINUTE).await?;
    only_published(&scene, "deploys")
}

/// One that is being deleted waits for the ApiKeys of another one, whoever is looked at first when the
/// operator is back, and also when the server was away meanwhile.
async fn used_by_others(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let mut observer =
        manifests::account(json!({"management": "Observed", "username": "team-a.ci"}));
    observer["metadata"]["name"] = json!("observer");
    scene.apply(&observer).await?;
    let key = used(&scene, json!({"serviceAccountRef": {"name": "observer"}})).await?;
    let (first, observer) = (Address::account("ci"), Address::account("observer"));
    scene.delete(&first).await?;
    scene.run(MINUTE).await;
    for away in [false, true] {
        if away {
            scene.twin.fault(Wrong::new(Fault::Outage));
        }
        scene.crash(OPERATOR);
        scene.run(MINUTE * 20).await;
        scene.twin.clear_faults();
        scene.run(HOUR).await;
        let reason = scene.reason(&first);
        ensure!(reason == "InUse", "{reason}");
        only_published(&scene, "deploys")?;
    }
    scene.delete(&key).await?;
    for address in [key, observer.clone(), first] {
        if address == observer {
            scene.delete(&address).await?;
        }
        scene.until_gone(&address, MINUTE * 10).await?;
    }
    ensure!(
        scene.twin.view().account("team-a.ci").is_none(),
        "it is left"
    );
    Ok(())
}

/// Something in front of the API server says that there is no such thing, when a replaced key is due.
async fn stray_404(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = used(&scene, json!({"rotation": {"overlap": "1h"}})).await?;
    rotate(&scene, "deploys", "once").await?;
    let mut answer = Response::new(Bytes::from("404 page not found"));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    let path = address.path();
    let rule = Rule::every(Act::Answer(answer), move |call| {
        call.method == Method::GET && call.path == path
    });
    let ticket = scene.world.recorder.script(rule.times(5));
    let key = scene.published(TEAM, "deploys");
    scene.run(HOUR * 4).await;
    ensure!(ticket.count() == 5, "it was asked {} times", ticket.count());
    ensure!(scene.published(TEAM, "deploys").map(|key| key.id) == key.map(|key| key.id));
    ensure!(scene.says(&address, "Ready", "True"));
    only_published(&scene, "deploys")
}

/// An ApiKey does not parse, and an API server that is old holds that against what is said of it.
async fn unsaid(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = used(&scene, json!({})).await?;
    scene.world.api.store(|store| {
        store.admit("old", |write| {
            let garbled = write.object["spec"]["lifetime"] == "soon";
            match write.part {
                Part::Status if garbled => Err(Denied("spec.lifetime: Invalid value".into())),
                _ => Ok(()),
            }
        });
    });
    let garbled = manifests::key("deploys", json!({"lifetime": "soon"}));
    scene.apply_unchecked(&garbled).await?;
    let mark = scene.mark();
    scene.run(HOUR).await;
    let mut tries = scene.calls(OPERATOR, mark);
    tries.retain(|heard| heard.call.path.ends_with("/apikeys/deploys/status"));
    ensure!(
        (2..=15).contains(&tries.len()),
        "tried {} times",
        tries.len()
    );
    scene.world.api.store(|store| store.lift("old"));
    let said = |scene: &Scene| scene.reason(&address) == "Invalid";
    scene.until("it is said", MINUTE * 6, said).await?;
    only_published(&scene, "deploys")
}
