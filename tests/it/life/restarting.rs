//! Workloads are restarted after a rotation, once.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{OPERATOR, Scene};
use simulation::script::{Act, Rule};

use super::{HOUR, MINUTE, Test, ground, key, rotate, test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_workload_is_restarted_once_for_each_key", once),
        test("keys_of_one_workload_restart_it_together", together),
        test("a_workload_that_is_not_there_is_told_of", absent),
        test("a_restart_without_an_answer_holds_up_nothing", unanswered),
    ]
}

fn spec() -> Value {
    json!({"rotation": {"overlap": "1h"}, "restart": [{"kind": "Deployment", "name": "shop"}]})
}

fn restarted(scene: &Scene) -> Option<String> {
    let shop = scene.get(&Address::deployment("shop"))?;
    let date = &shop["spec"]["template"]["metadata"]["annotations"];
    date["kubectl.kubernetes.io/restartedAt"]
        .as_str()
        .map(str::to_owned)
}

/// How often somebody has written the workload.
fn writes(scene: &Scene) -> usize {
    let effects = scene.effects(OPERATOR);
    effects
        .iter()
        .filter(|effect| {
            let target = effect.call.target();
            target.is_some_and(|target| target.resource() == "deployments.apps")
        })
        .count()
}

async fn once(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&manifests::deployment("shop")).await?;
    let address = key(&scene, "deploys", spec()).await?;
    scene.run(HOUR).await;
    ensure!(restarted(&scene).is_none(), "restarted for a first key");
    rotate(&scene, "deploys", "one").await?;
    scene.run(MINUTE * 5).await;
    let first = restarted(&scene).context("not restarted")?;
    let status = scene.get(&address).context("no ApiKey")?;
    let told = &status["status"]["restarted"][0];
    ensure!(
        told["kind"] == "Deployment" && told["name"] == "shop",
        "{told}"
    );
    scene.run(HOUR).await;
    // Neither a new process nor a lost status restarts it again.
    scene
        .patch_status(&address, json!({"status": null}))
        .await?;
    scene.crash(OPERATOR);
    scene.run(HOUR).await;
    ensure!(restarted(&scene) == Some(first.clone()), "restarted again");
    ensure!(writes(&scene) == 1, "{} writes", writes(&scene));
    rotate(&scene, "deploys", "two").await?;
    scene.run(MINUTE * 5).await;
    ensure!(
        restarted(&scene) > Some(first),
        "not restarted for the next key"
    );
    Ok(())
}

async fn together(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&manifests::deployment("shop")).await?;
    for name in ["one", "two", "three"] {
        key(&scene, name, spec()).await?;
    }
    for name in ["one", "two", "three"] {
        rotate(&scene, name, "now").await?;
        scene.run(MINUTE / 2).await;
    }
    scene.run(MINUTE * 10).await;
    ensure!(restarted(&scene).is_some(), "not restarted");
    ensure!(writes(&scene) == 1, "restarted {} times", writes(&scene));
    for name in ["one", "two", "three"] {
        let status = scene.get(&Address::key(name)).context("no ApiKey")?;
        ensure!(
            !status["status"]["restarted"].is_null(),
            "{name} does not know"
        );
    }
    Ok(())
}

async fn absent(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", spec()).await?;
    rotate(&scene, "deploys", "one").await?;
    let told = |scene: &Scene| scene.says(&address, "UpToDate", "False");
    scene.until("a word of it", MINUTE * 5, told).await?;
    ensure!(
        scene.says(&address, "Ready", "True"),
        "the key works all the same"
    );
    // It holds up no rotation.
    rotate(&scene, "deploys", "two").await?;
    scene.apply(&manifests::deployment("shop")).await?;
    let restarts = |scene: &Scene| restarted(scene).is_some();
    scene.until("the restart", HOUR, restarts).await?;
    let content = |scene: &Scene| scene.says(&address, "UpToDate", "True");
    scene.until("no complaint", HOUR, content).await.map(drop)
}

async fn unanswered(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&manifests::deployment("shop")).await?;
    let address = key(&scene, "deploys", spec()).await?;
    rotate(&scene, "deploys", "one").await?;
    let lost = Rule::every(Act::Refuse, |call| {
        call.process.name.as_ref() == OPERATOR && call.path.contains("/deployments/")
    });
    let lost = scene.world.recorder.script(lost.times(40));
    lost.met().await;
    // What comes after a restart in a pass is done all the same.
    let label = json!({"spec": {"secret": {"labels": {"example.org/team": "shop"}}}});
    scene.patch(&address, label).await?;
    scene.run(MINUTE).await;
    let secret = scene
        .get(&Address::secret(TEAM, "deploys"))
        .context("none")?;
    ensure!(
        secret["metadata"]["labels"]["example.org/team"] == "shop",
        "{secret:#}"
    );
    ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
    let up_to_date = scene.condition(&address, "UpToDate").context("none")?;
    ensure!(up_to_date["reason"] == "Rejected", "{up_to_date}");
    let restarts = |scene: &Scene| restarted(scene).is_some();
    scene.until("the restart", HOUR * 24, restarts).await?;
    let content = |scene: &Scene| scene.says(&address, "UpToDate", "True");
    scene.until("no complaint", HOUR, content).await.map(drop)
}
