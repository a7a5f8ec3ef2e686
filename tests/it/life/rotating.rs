//! Keys are replaced in time, and the replaced ones live through their overlap.

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use serde_json::json;
use simulation::consumer::Habit;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;

use super::{DAY, HOUR, MINUTE, Test, ground, key, only_published, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("keys_rotate_for_ninety_days", ninety_days),
        test("the_rotate_annotation_rotates_once", on_request),
        test("a_key_of_mode_never_ends_for_good", never),
        test(
            "a_key_that_was_revoked_from_outside_is_replaced",
            from_outside,
        ),
        test("a_deleted_secret_comes_back", deleted_secret),
    ]
}

/// Ten days of life and a third of it before the end: a rotation every 6 ⅔ days, an overlap of one.
async fn ninety_days(scene: Scene) -> Result<()> {
    scene
        .apply(&manifests::credential(&scene.credential()))
        .await?;
    let mut server = manifests::server();
    server["spec"]["resync"] = json!("1h");
    scene.apply(&server).await?;
    scene.apply(&manifests::account(json!({}))).await?;
    let spec = json!({"lifetime": "10d", "rotation": {"overlap": "1d"}});
    scene.apply(&manifests::key("deploys", spec)).await?;
    scene.consume(TEAM, "deploys", Habit::Once, HOUR);
    scene.consume(TEAM, "deploys", Habit::Again, HOUR);
    let address = Address::key("deploys");
    scene.until_ready(&address, MINUTE).await?;
    for _ in 0..90 {
        scene.run(DAY).await;
        ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
        let alive = scene.living().len();
        ensure!((1..=2).contains(&alive), "{alive} keys live");
    }
    let held = scene.witness.held(&uid(&scene, &address)?);
    // 90 days less the first 6 ⅔, each 6 ⅔.
    ensure!(held.len() == 14, "{} keys", held.len());
    scene.run(DAY * 2).await;
    only_published(&scene, "deploys")
}

async fn on_request(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"rotation": {"overlap": "2h"}})).await?;
    scene.run(MINUTE).await;
    let first = scene.published(TEAM, "deploys").context("no key")?;
    let now = scene.now();
    let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "leak of May"}}});
    scene.patch(&address, ask).await?;
    let another = |scene: &Scene| scene.published(TEAM, "deploys").as_ref() != Some(&first);
    scene.until("another key", MINUTE, another).await?;
    scene.run(HOUR).await;
    ensure!(
        scene.living().len() == 2,
        "the first key lives through its overlap"
    );
    scene.run(HOUR * 2).await;
    only_published(&scene, "deploys")?;
    let died = scene.witness.died(&first.id).context("it lives")?;
    let overlap = died.duration_since(now);
    let promised = SignedDuration::from_hours(2);
    ensure!(
        overlap >= promised && overlap < promised + SignedDuration::from_mins(15),
        "it lived for {overlap:#}"
    );
    let held = scene.witness.held(&uid(&scene, &address)?);
    ensure!(held.len() == 2, "{held:?}");
    Ok(())
}

async fn never(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({
        "lifetime": "2d", "rotation": {"mode": "Never"}, "ttlAfterFinished": "1h",
    });
    let address = key(&scene, "run", spec).await?;
    scene.run(DAY).await;
    // A replacement does not live longer than what it replaces.
    let secret = Address::secret(TEAM, "run");
    scene.delete(&secret).await?;
    scene.run(MINUTE * 5).await;
    ensure!(scene.says(&address, "Ready", "True"), "not replaced");
    let ends = scene.published(TEAM, "run").and_then(|key| key.expires);
    let made = scene.get(&address).context("no ApiKey")?;
    let made: jiff::Timestamp = made["metadata"]["creationTimestamp"]
        .as_str()
        .context("no time")?
        .parse()?;
    let life = ends.context("it has no end")?.duration_since(made);
    ensure!(
        life <= SignedDuration::from_hours(48) + SignedDuration::from_secs(1),
        "{life:#}"
    );
    scene.run(DAY + MINUTE).await;
    ensure!(
        scene.reason(&address) == "Expired",
        "{}",
        scene.reason(&address)
    );
    ensure!(scene.get(&secret).is_none(), "the Secret is left");
    scene.until_gone(&address, HOUR * 2).await?;
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

async fn from_outside(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    let first = scene.published(TEAM, "deploys").context("no key")?;
    scene.witness.outside(&first.id);
    let end = testbed::twins::octopus::Change::RevokeKey {
        key: first.id.clone(),
    };
    scene.twin.change(end)?;
    // Found at the next resync.
    scene.run(MINUTE * 25).await;
    scene.until_ready(&address, MINUTE).await?;
    only_published(&scene, "deploys")
}

async fn deleted_secret(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"rotation": {"overlap": "1h"}})).await?;
    scene.run(HOUR).await;
    scene.delete(&Address::secret(TEAM, "deploys")).await?;
    scene.run(MINUTE).await;
    scene.until_ready(&address, MINUTE).await?;
    ensure!(
        scene.living().len() == 2,
        "whoever read the Secret has a key"
    );
    scene.run(HOUR * 2).await;
    only_published(&scene, "deploys")
}
