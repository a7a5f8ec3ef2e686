//! What the operator counts of a simple life.

use anyhow::{Result, ensure};
use serde_json::json;
use simulation::scene::Scene;
use testbed::twins::{Fault, Rule};

use super::{HOUR, Test, ground, key, test};

pub(super) fn tests() -> Vec<Test> {
    vec![test("a_simple_life_is_counted", simple_life)]
}

async fn simple_life(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let deploys = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    shows(
        &scene,
        &[
            r#"effects_total{step="Mint"} 1"#,
            r#"keys{server="team-a/octopus",state="managed"} 1"#,
            r#"keys{server="team-a/octopus",state="orphan"} 0"#,
            r#"server_calls_total{server="team-a/octopus",call="create_account",outcome="ok"} 1"#,
            r#"server_calls_total{server="team-a/octopus",call="mint",outcome="ok"} 1"#,
            r#"server_calls_total{server="team-a/octopus",call="prove",outcome="ok"} 1"#,
            r#"pass_duration_seconds_count{kind="DeployServer",outcome="changed"}"#,
            r#"pass_duration_seconds_count{kind="DeployServer",outcome="unchanged"}"#,
            r#"pass_duration_seconds_count{kind="ServiceAccount",outcome="changed"}"#,
            r#"pass_duration_seconds_count{kind="ApiKey",outcome="changed"}"#,
        ],
    )?;
    ensure!(!page(&scene)?.contains("faults_total{"), "a fault");

    scene.twin.fault(Rule::new(Fault::Outage));
    scene.delete(&deploys).await?;
    scene.run(HOUR).await;
    shows(
        &scene,
        &[
            r#"faults_total{kind="ApiKey",reason="ServerUnreachable"}"#,
            r#"faults_total{kind="DeployServer",reason="ServerUnreachable"}"#,
            r#"pass_duration_seconds_count{kind="DeployServer",outcome="failed"}"#,
            r#"server_calls_total{server="team-a/octopus",call="probe",outcome="unreachable"}"#,
        ],
    )
}

/// The page shows a line that begins like this, for each.
fn shows(scene: &Scene, lines: &[&str]) -> Result<()> {
    let page = page(scene)?;
    for line in lines {
        let begins = format!("apikey_operator_{line}");
        let shown = page.lines().any(|shown| shown.starts_with(&begins));
        ensure!(shown, "no {begins} in\n{page}");
    }
    Ok(())
}

fn page(scene: &Scene) -> Result<String> {
    Ok(scene.metrics.encode()?)
}
