//! The makers' own clients are content with the twins that we believe in.

use anyhow::{Result, bail, ensure};
use testbed::clients::{self, Fault, Target};
use testbed::twins::octopus::{Config, Octopus};
use testbed::twins::{Door, Effect, control, tcp};

use crate::ladder::{Missing, Rung};

pub(super) fn add(rung: Rung) -> Rung {
    rung.test("official::octopus_npm", async |_| {
        octopus(clients::octopus_npm).await
    })
    .test("official::octopus_go", async |_| {
        octopus(clients::octopus_go).await
    })
}

/// Runs a client against a fresh twin of Octopus Deploy.
async fn octopus(client: impl AsyncFnOnce(Target<'_>) -> Result<String, Fault>) -> Result<()> {
    let twin = Octopus::new(&Config::default());
    let start = twin.start().clone();
    let door = Door::live(twin);
    let server = tcp::serve(&door, 0, None)?;
    let control = control::serve(&door, 0).await?;
    let target = Target {
        url: &server.url(),
        key: &start.admin.key,
        control: &control.url(),
    };
    let said = match client(target).await {
        Ok(said) => said,
        Err(Fault::Missing(what)) => bail!(Missing(what)),
        Err(Fault::Failed(why)) => bail!("the client is not content: {why}"),
    };
    ensure!(said.lines().count() > 15, "{said}");
    ensure!(!said.contains("API-"), "it prints a key");
    ensure!(door.done(Effect::Mint) > 0 && door.done(Effect::Revoke) > 0);
    Ok(())
}
