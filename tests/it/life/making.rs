//! From manifests to a Secret with a key that works.

use anyhow::{Result, ensure};
use serde_json::json;
use simulation::manifests::{Address, TEAM};
use simulation::scene::Scene;

use super::{HOUR, MINUTE, Test, ground, key, test};

pub(super) fn tests() -> Vec<Test> {
    vec![test("a_key_is_made_and_dies_with_its_manifest", life)]
}

async fn life(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let ci = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    let living = scene.living();
    let published = scene.published(TEAM, "deploys");
    ensure!(living.len() == 1 && published.as_ref() == living.first());
    scene.delete(&ci).await?;
    let took = scene.until_gone(&ci, MINUTE).await?;
    ensure!(took < MINUTE / 30, "it took {took:?}");
    ensure!(scene.living().is_empty());
    scene.run(MINUTE).await;
    ensure!(scene.get(&Address::secret(TEAM, "deploys")).is_none());
    Ok(())
}
