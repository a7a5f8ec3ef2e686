//! One table of requests and answers for two servers: the simulated Kubernetes API gives its answers
//! (`tests/simulation/tests/kubernetes.rs`), and here a real API server does. What the table promises
//! and a real server does not is no promise.

use std::sync::Arc;

use anyhow::{Result, ensure};
use simulation::conformance;

use crate::cluster;
use crate::ladder::{Ground, Rung};

/// The rung.
pub(crate) fn rung() -> Rung {
    Rung::new("conformance").test(
        "a_real_api_server_answers_as_the_table_says",
        a_real_api_server_answers_as_the_table_says,
    )
}

async fn a_real_api_server_answers_as_the_table_says(ground: Arc<Ground>) -> Result<()> {
    let client = cluster::client(ground.control_plane().await?).await?;
    let differences = conformance::play(&client).await?;
    let said: Vec<String> = differences.iter().map(ToString::to_string).collect();
    ensure!(
        said.is_empty(),
        "{} differences:\n{}",
        said.len(),
        said.join("\n")
    );
    Ok(())
}
