//! The makers' own clients are content with the twins that we believe in.

use anyhow::{Result, bail, ensure};
use testbed::clients::{self, Fault, Target};
use testbed::elasticsearch as real;
use testbed::twins::elasticsearch::{self, Elasticsearch};
use testbed::twins::octopus::{self, Octopus};
use testbed::twins::stackstorm::{self, StackStorm};
use testbed::twins::{Door, Effect, Twin, control, tcp};

use crate::ladder::{Missing, Rung};

pub(super) fn add(rung: Rung) -> Rung {
    rung.test("official::octopus_npm", async |_| {
        octopus(clients::octopus_npm).await
    })
    .test("official::octopus_go", async |_| {
        octopus(clients::octopus_go).await
    })
    .test("official::stackstorm_python", async |_| {
        stackstorm(clients::stackstorm_python).await
    })
    .test("official::elasticsearch_npm", async |_| {
        elasticsearch(clients::elasticsearch_npm).await
    })
    .test("official::elasticsearch_npm_real", async |_| {
        real_elasticsearch(clients::elasticsearch_npm).await
    })
}

/// Runs a client against a fresh twin of Octopus Deploy.
async fn octopus(client: impl AsyncFnOnce(Target<'_>) -> Result<String, Fault>) -> Result<()> {
    let twin = Octopus::new(&octopus::Config::default());
    let start = twin.start().clone();
    let admin = Admin {
        username: &start.admin.username,
        password: start.admin_password(),
        key: &start.admin.key,
    };
    content(twin, admin, client).await
}

/// Runs a client against a fresh twin of StackStorm.
async fn stackstorm(client: impl AsyncFnOnce(Target<'_>) -> Result<String, Fault>) -> Result<()> {
    let twin = StackStorm::new(&stackstorm::Config::default());
    let start = twin.start().clone();
    let admin = Admin {
        username: &start.admin.username,
        password: &start.admin.password,
        key: &start.admin.key,
    };
    content(twin, admin, client).await
}

/// Runs a client against a fresh twin of Elasticsearch.
async fn elasticsearch(
    client: impl AsyncFnOnce(Target<'_>) -> Result<String, Fault>,
) -> Result<()> {
    let twin = Elasticsearch::new(&elasticsearch::Config::default());
    let start = twin.start().clone();
    let admin = Admin {
        username: &start.admin.username,
        password: &start.admin.password,
        key: "",
    };
    content(twin, admin, client).await
}

/// Runs a client against a real Elasticsearch: what it believes of the twin is so.
async fn real_elasticsearch(
    client: impl AsyncFnOnce(Target<'_>) -> Result<String, Fault>,
) -> Result<()> {
    let started = real::Elasticsearch::start(&real::Options::default()).await;
    let server = sorted(started)?;
    let target = Target {
        url: server.url(),
        username: "elastic",
        password: server.password(),
        key: "",
        control: "",
    };
    let said = sorted(client(target).await)?;
    ensure!(said.lines().count() > 15, "{said}");
    Ok(())
}

/// Who may do everything.
struct Admin<'a> {
    username: &'a str,
    password: &'a str,
    key: &'a str,
}

/// Runs a client against a twin, and wants it to be content.
async fn content<T: Twin>(
    twin: T,
    admin: Admin<'_>,
    client: impl AsyncFnOnce(Target<'_>) -> Result<String, Fault>,
) -> Result<()> {
    let door = Door::live(twin);
    let server = tcp::serve(&door, 0, None)?;
    let control = control::serve(&door, 0).await?;
    let target = Target {
        url: &server.url(),
        username: admin.username,
        password: admin.password,
        key: admin.key,
        control: &control.url(),
    };
    let said = sorted(client(target).await)?;
    ensure!(said.lines().count() > 15, "{said}");
    let told = ["API-", admin.key, admin.password];
    let secrets = told.iter().filter(|secret| !secret.is_empty());
    ensure!(
        !secrets.into_iter().any(|secret| said.contains(secret)),
        "it prints a secret"
    );
    ensure!(door.done(Effect::Mint) > 0 && door.done(Effect::Revoke) > 0);
    Ok(())
}

/// What is missing on this machine is no failure.
fn sorted<T>(result: Result<T, Fault>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(Fault::Missing(what)) => bail!(Missing(what)),
        Err(Fault::Failed(why)) => bail!("not content: {why}"),
    }
}
