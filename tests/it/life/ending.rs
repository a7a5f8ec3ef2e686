//! Keys end: with their manifest, on command, with their namespace; and what is retained stays.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use simulation::effect::{Call, Door};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;
use simulation::script::{Act, Rule};
use testbed::twins::{Fault, Rule as Wrong};

use super::{HOUR, MINUTE, Test, ground, key, only_published, test, uid};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("revoked_on_and_off", revoked),
        test("suspend_keeps_what_is", suspended),
        test("retain_leaves_the_key", retained),
        test("a_namespace_goes_with_all_in_it", namespace),
        test("deleting_waits_for_a_server_that_is_down", server_down),
        test("retain_is_the_way_out", way_out),
        test("a_late_mint_ends_after_the_retry", late_mint_then_retry),
        test("deleting_waits_for_a_late_mint", late_mint_then_delete),
        test("deleting_in_ordinary_life_does_not_wait", at_once),
    ]
}

async fn revoked(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    scene
        .patch(&address, json!({"spec": {"revoked": true}}))
        .await?;
    scene.run(SECOND * 10).await;
    ensure!(scene.living().is_empty(), "a key lives");
    ensure!(
        scene.get(&Address::secret(TEAM, "deploys")).is_none(),
        "the Secret is left"
    );
    ensure!(
        scene.reason(&address) == "Revoked",
        "{}",
        scene.reason(&address)
    );
    scene.run(HOUR).await;
    ensure!(scene.living().is_empty(), "a key lives again");
    scene
        .patch(&address, json!({"spec": {"revoked": false}}))
        .await?;
    scene.until_ready(&address, MINUTE * 2).await?;
    only_published(&scene, "deploys")
}

async fn suspended(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({"lifetime": "3d", "suspend": true});
    scene.apply(&manifests::key("deploys", spec)).await?;
    let address = Address::key("deploys");
    scene.run(HOUR).await;
    ensure!(
        scene.reason(&address) == "Suspended",
        "{}",
        scene.reason(&address)
    );
    ensure!(scene.living().is_empty(), "a key was made");
    scene
        .patch(&address, json!({"spec": {"suspend": false}}))
        .await?;
    scene.until_ready(&address, MINUTE).await?;
    scene
        .patch(&address, json!({"spec": {"suspend": true}}))
        .await?;
    scene.run(HOUR * 24 * 2 + HOUR).await;
    let held = scene.witness.held(&uid(&scene, &address)?);
    ensure!(held.len() == 1, "it was rotated");
    ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
    ensure!(
        scene.says(&address, "UpToDate", "False"),
        "nothing says that it is late"
    );
    // Deleting goes on.
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

async fn retained(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"deletionPolicy": "Retain"})).await?;
    scene.run(HOUR).await;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    scene.run(HOUR).await;
    let kept = scene.living();
    ensure!(kept.len() == 1, "{} keys live", kept.len());
    ensure!(
        scene.get(&Address::secret(TEAM, "deploys")).is_some(),
        "the Secret is gone"
    );
    let account = scene.get(&Address::account("ci")).context("no account")?;
    let noted = &account["metadata"]["annotations"]["apikeys.dev/retained"];
    ensure!(noted == kept[0].id.as_str(), "{noted}");
    // The account stays as long as the key needs it.
    scene.delete(&Address::account("ci")).await?;
    scene.until_gone(&Address::account("ci"), MINUTE).await?;
    ensure!(scene.living().len() == 1, "the key went with its account");
    Ok(())
}

async fn namespace(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    key(&scene, "reads", json!({})).await?;
    scene.run(HOUR).await;
    scene.delete(&Address::namespace(TEAM)).await?;
    let took = scene
        .until_gone(&Address::namespace(TEAM), MINUTE * 5)
        .await?;
    ensure!(took < MINUTE / 2, "it took {took:?}");
    ensure!(scene.living().is_empty(), "a key is left");
    ensure!(
        scene.twin.view().account("team-a.ci").is_none(),
        "the account is left"
    );
    Ok(())
}

async fn server_down(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    scene.twin.fault(Wrong::new(Fault::Outage));
    scene.delete(&address).await?;
    scene.run(HOUR).await;
    ensure!(scene.get(&address).is_some(), "it did not wait");
    ensure!(
        scene.reason(&address) == "Revoking",
        "{}",
        scene.reason(&address)
    );
    scene.twin.clear_faults();
    scene.until_gone(&address, MINUTE * 7).await?;
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

async fn way_out(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    scene.twin.fault(Wrong::new(Fault::Outage));
    scene.delete(&address).await?;
    scene.run(HOUR).await;
    let retain = json!({"spec": {"deletionPolicy": "Retain"}});
    scene.patch(&address, retain.clone()).await?;
    scene.until_gone(&address, MINUTE).await?;
    let told = scene.world.api.store(|store| {
        let mut events = store.all("events.events.k8s.io");
        events.any(|event| event["reason"] == "Retained")
    });
    ensure!(told, "nobody says what stays");
    // And the account, and the connection.
    let account = Address::account("ci");
    scene.delete(&account).await?;
    scene.run(MINUTE * 10).await;
    ensure!(scene.get(&account).is_some(), "it did not wait");
    scene.patch(&account, retain).await?;
    scene.until_gone(&account, MINUTE).await?;
    scene.delete(&Address::server("octopus")).await?;
    scene
        .until_gone(&Address::server("octopus"), MINUTE)
        .await?;
    Ok(())
}

/// The next mint is cut off at once, and lands 20 s later.
fn cut_a_mint(scene: &Scene) -> simulation::script::Ticket {
    let mint = |call: &Call| {
        call.is_effect() && matches!(call.door, Door::Server(_)) && call.path.ends_with("/apikeys")
    };
    scene.witness.spare(1);
    scene
        .world
        .recorder
        .script(Rule::once(Act::Late(SECOND * 20), mint))
}

async fn late_mint_then_retry(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let cut = cut_a_mint(&scene);
    let spec = json!({"rotation": {"overlap": "1h"}});
    scene.apply(&manifests::key("deploys", spec)).await?;
    let address = Address::key("deploys");
    let took = scene.until_ready(&address, MINUTE * 5).await?;
    ensure!(
        cut.count() == 1 && took > MINUTE,
        "it was not waited for: {took:?}"
    );
    ensure!(took < MINUTE * 2, "it took {took:?}");
    ensure!(scene.living().len() == 2, "the late one has not landed");
    // 10 minutes, the overlap, two resyncs.
    scene.run(HOUR + MINUTE * 31).await;
    only_published(&scene, "deploys")
}

async fn late_mint_then_delete(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let cut = cut_a_mint(&scene);
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    cut.met().await;
    scene.run(SECOND).await;
    let (key, account) = (Address::key("deploys"), Address::account("ci"));
    scene.delete(&key).await?;
    scene.delete(&account).await?;
    let took = scene.until_gone(&key, MINUTE * 3).await?;
    ensure!(took > SECOND * 55, "it did not wait: {took:?}");
    ensure!(scene.living().is_empty(), "a key is left");
    scene.until_gone(&account, MINUTE).await?;
    ensure!(
        scene.twin.view().account("team-a.ci").is_none(),
        "the account is left"
    );
    Ok(())
}

async fn at_once(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    // Just made, an hour old, and never begun.
    for age in [SECOND, HOUR] {
        let address = key(&scene, "deploys", json!({})).await?;
        scene.run(age).await;
        scene.delete(&address).await?;
        let took = scene.until_gone(&address, MINUTE).await?;
        ensure!(took < SECOND * 2, "at the age of {age:?} it took {took:?}");
        ensure!(scene.living().is_empty(), "a key is left");
    }
    let address = Address::key("idle");
    scene
        .apply(&manifests::key("idle", json!({"suspend": true})))
        .await?;
    scene.run(MINUTE).await;
    scene.delete(&address).await?;
    let took = scene.until_gone(&address, MINUTE).await?;
    ensure!(took < SECOND * 2, "one without a key took {took:?}");
    scene.delete(&Address::account("ci")).await?;
    let took = scene.until_gone(&Address::account("ci"), MINUTE).await?;
    ensure!(took < SECOND * 2, "the account took {took:?}");
    Ok(())
}
