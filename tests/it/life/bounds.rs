//! What bounds the life of a key: a first one may have to wait, and a replacement is only shortened.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;
use testbed::twins::Effect;
use testbed::twins::octopus::Change;

use super::{DAY, HOUR, MINUTE, Test, ground, key, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_lifetime_above_the_policy", policy),
        test("a_lifetime_above_the_servers", servers_policy),
        test("a_lifetime_beyond_the_operators_own_key", operators_own_key),
    ]
}

/// How many keys were asked for on the server.
fn mints(scene: &Scene) -> usize {
    scene.twin.sent(Effect::Mint)
}

/// When the key of a Secret ends.
fn end(scene: &Scene, name: &str) -> Result<Timestamp> {
    let key = scene.published(TEAM, name).context("no key")?;
    key.expires.context("it has no end")
}

/// The key works, and another would live longer.
fn clipped(scene: &Scene, address: &Address) -> Result<()> {
    ensure!(scene.says(address, "Ready", "True"), "not Ready any more");
    let up_to_date = scene
        .condition(address, "UpToDate")
        .context("no UpToDate")?;
    ensure!(
        up_to_date["status"] == "False" && up_to_date["reason"] == "LifetimeClipped",
        "{up_to_date}"
    );
    Ok(())
}

/// A first key waits as long as more is asked for than is allowed, and is made of what is.
async fn waits_for_less(scene: &Scene, allowed: &str) -> Result<Address> {
    scene
        .apply(&manifests::key("deploys", json!({"lifetime": "20d"})))
        .await?;
    let address = Address::key("deploys");
    scene.run(HOUR).await;
    let reason = scene.reason(&address);
    ensure!(reason == "PolicyViolation", "{reason}");
    ensure!(mints(scene) == 0, "a key was asked for");
    scene
        .patch(&address, json!({"spec": {"lifetime": allowed}}))
        .await?;
    scene.until_ready(&address, MINUTE).await?;
    Ok(address)
}

async fn policy(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let server = Address::server("octopus");
    let limit = json!({"spec": {"keyPolicy": {"maxLifetime": "10d"}}});
    scene.patch(&server, limit).await?;
    scene.run(MINUTE).await;
    let address = waits_for_less(&scene, "9d").await?;
    // A policy that comes later shortens the next key, and stops none.
    let limit = json!({"spec": {"keyPolicy": {"maxLifetime": "4d"}}});
    scene.patch(&server, limit).await?;
    scene.run(DAY * 8).await;
    ensure!(
        scene.witness.held(&uid(&scene, &address)?).len() >= 2,
        "not rotated"
    );
    clipped(&scene, &address)
}

async fn servers_policy(scene: Scene) -> Result<()> {
    let limit = |max_days| Change::KeyPolicy {
        default_days: 1,
        max_days,
    };
    scene.twin.change(limit(7))?;
    ground(&scene).await?;
    let address = waits_for_less(&scene, "6d").await?;
    scene.consume(TEAM, "deploys", Habit::Once, HOUR);
    let up_to_date = |scene: &Scene| scene.says(&address, "UpToDate", "True");
    ensure!(up_to_date(&scene), "clipped, and nothing clips it");
    // A maximum that is lowered later shortens the next key, and stops none.
    scene.twin.change(limit(3))?;
    let first = scene.published(TEAM, "deploys").context("no key")?;
    scene.run(DAY * 5).await;
    let second = scene.published(TEAM, "deploys").context("no key")?;
    ensure!(second.id != first.id, "not rotated");
    let life = end(&scene, "deploys")?.duration_since(second.created);
    let longest = SignedDuration::from_hours(3 * 24);
    ensure!(
        life <= longest && life > longest - SignedDuration::from_mins(2),
        "it lives for {life:#}"
    );
    clipped(&scene, &address)
}

/// No key outlives the one that made it. What was cut so is replaced in time once the operator has
/// another one.
async fn operators_own_key(scene: Scene) -> Result<()> {
    let own = scene.twin.look(|twin, _| twin.start().operator.clone());
    let former = scene.twin.look(|twin, now| twin.whose(now, &own.key));
    let key_id = former.context("no such key")?.id;
    let at = scene.now() + SignedDuration::from_hours(10 * 24);
    scene.twin.change(Change::ExpireKey { key: key_id, at })?;
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"lifetime": "30d"})).await?;
    clipped(&scene, &address)?;
    let first = end(&scene, "deploys")?;
    ensure!(first == at, "it ends at {first} instead of {at}");
    // Another key would live no longer.
    scene.run(DAY * 8).await;
    clipped(&scene, &address)?;
    let made = scene.witness.made(&uid(&scene, &address)?);
    ensure!(made == 1, "{made} keys were made");
    let value = next_own_key(&scene, &own.user).await?;
    scene.apply(&manifests::credential(&value)).await?;
    scene.run(DAY).await;
    let second = end(&scene, "deploys")?;
    let later = second.duration_since(scene.now());
    ensure!(
        later > SignedDuration::from_hours(28 * 24),
        "it ends in {later:#}"
    );
    ensure!(
        scene.says(&address, "UpToDate", "True"),
        "it is called clipped"
    );
    scene.run(DAY * 3).await;
    ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
    let made = scene.witness.made(&uid(&scene, &address)?);
    ensure!(made == 2, "{made} keys were made");
    Ok(())
}

/// An administrator makes another key for the operator's account.
async fn next_own_key(scene: &Scene, user: &str) -> Result<String> {
    let admin = scene.twin.look(|twin, _| twin.start().admin.key.clone());
    let request = http::Request::post(format!("/api/users/{user}/apikeys"))
        .header("X-Octopus-ApiKey", admin)
        .body(Bytes::from(json!({"Purpose": "the next"}).to_string()))?;
    let answer = scene.twin.send(request).await?;
    let made: Value = serde_json::from_slice(answer.body())?;
    let value = made["ApiKey"].as_str().context("no value")?;
    Ok(value.to_owned())
}
