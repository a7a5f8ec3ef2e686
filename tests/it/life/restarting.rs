//! Workloads are restarted after a rotation, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use jiff::Timestamp;
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
        test("a_restart_without_the_right_to_patch_is_told", |scene| {
            forbidden(scene, Method::PATCH)
        }),
        test("a_restart_without_the_right_to_read_is_told", |scene| {
            forbidden(scene, Method::GET)
        }),
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
    // Status has whole seconds.
    let date: Timestamp = first.parse()?;
    let told: Timestamp = told["at"].as_str().context("no date")?.parse()?;
    ensure!(
        told == apikey_operator::api::time(date).0,
        "{told} instead of {date}"
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

/// The chart gives the right only where it is asked for. Keys are replaced all the same.
async fn forbidden(scene: Scene, method: Method) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&manifests::deployment("shop")).await?;
    let address = key(&scene, "deploys", spec()).await?;
    let granted = Arc::new(AtomicBool::new(false));
    let words = "deployments.apps \"shop\" is forbidden: it runs the shop";
    let refusal = Act::status(StatusCode::FORBIDDEN, "Forbidden", words);
    let right = Arc::clone(&granted);
    let refused = scene
        .world
        .recorder
        .script(Rule::every(refusal, move |call| {
            !right.load(Ordering::Relaxed)
                && call.process.name.as_ref() == OPERATOR
                && call.method == method
                && call.path.contains("/deployments/")
        }));
    for text in ["one", "two"] {
        rotate(&scene, "deploys", text).await?;
        scene.run(MINUTE * 5).await;
        ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
        let up_to_date = scene.condition(&address, "UpToDate").context("none")?;
        ensure!(
            up_to_date["status"] == "False" && up_to_date["reason"] == "Forbidden",
            "{up_to_date}"
        );
        let message = up_to_date["message"].as_str().unwrap_or_default();
        ensure!(
            message.contains("restartWorkloads") && message.contains("Deployment shop"),
            "{message}"
        );
        // Whoever may read an ApiKey need not be able to read the workload.
        ensure!(!message.contains("it runs"), "{message}");
    }
    ensure!(refused.count() > 1, "it was refused {}", refused.count());
    ensure!(restarted(&scene).is_none(), "restarted all the same");
    granted.store(true, Ordering::Relaxed);
    let restarts = |scene: &Scene| restarted(scene).is_some();
    scene.until("the restart", HOUR, restarts).await?;
    let content = |scene: &Scene| scene.says(&address, "UpToDate", "True");
    scene.until("no complaint", HOUR, content).await.map(drop)
}
