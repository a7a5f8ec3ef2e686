//! Keys are replaced in time, and the replaced ones live through their overlap.

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use serde_json::json;
use simulation::consumer::Habit;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;

use super::{DAY, HOUR, MINUTE, Test, ground, key, only_published, rotate, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("keys_rotate_for_a_month", a_month),
        test("the_rotate_annotation_rotates_once", on_request),
        test("a_key_of_mode_never_ends_for_good", never),
        test(
            "a_key_that_was_revoked_from_outside_is_replaced",
            from_outside,
        ),
        test("a_deleted_secret_comes_back", deleted_secret),
        test("a_rotation_waits_for_its_window", in_a_window),
        test("a_fleet_does_not_rotate_at_once", spread),
        test("whoever_has_no_key_goes_first", newcomer),
        test("an_end_that_was_brought_nearer_is_kept", sooner_end),
        test("a_later_end_is_not_used", later_end),
        test("no_more_than_three_retire", three_retire),
    ]
}

/// Connection and account, and a server that is seldom looked at: for tests of many days.
async fn patient_ground(scene: &Scene, resync: &str) -> Result<()> {
    ground(scene).await?;
    let mut server = manifests::server();
    server["spec"]["resync"] = json!(resync);
    scene.apply(&server).await.map(drop)
}

/// Ten days of life and a third of it before the end: a rotation every six days and a half, an overlap of one.
async fn a_month(scene: Scene) -> Result<()> {
    patient_ground(&scene, "1h").await?;
    let spec = json!({"lifetime": "10d", "rotation": {"overlap": "1d"}});
    scene.apply(&manifests::key("deploys", spec)).await?;
    scene.consume(TEAM, "deploys", Habit::Once, HOUR);
    scene.consume(TEAM, "deploys", Habit::Again, HOUR);
    let address = Address::key("deploys");
    scene.until_ready(&address, MINUTE).await?;
    for _ in 0..30 {
        scene.run(DAY).await;
        ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
        let alive = scene.living().len();
        ensure!((1..=2).contains(&alive), "{alive} keys live");
    }
    let held = scene.witness.held(&uid(&scene, &address)?);
    // One after six days and a half, and so on.
    ensure!(held.len() == 5, "{} keys", held.len());
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

/// Due at some time of the day: it waits for the next night.
async fn in_a_window(scene: Scene) -> Result<()> {
    patient_ground(&scene, "12h").await?;
    let windows = json!([{"schedule": "0 2 * * *", "duration": "2h", "timeZone": "Europe/Oslo"}]);
    let spec = json!({"lifetime": "9d", "rotation": {"windows": windows}});
    let address = key(&scene, "deploys", spec).await?;
    scene.consume(TEAM, "deploys", Habit::Once, DAY);
    let first = scene.published(TEAM, "deploys").context("no key")?;
    let replaced = |scene: &Scene| held(scene, "deploys") != Some(first.id.clone());
    for _ in 0..9 {
        if !replaced(&scene) {
            scene.run(DAY).await;
        }
    }
    let made = scene.published(TEAM, "deploys").context("no key")?;
    ensure!(made.id != first.id, "not replaced within its life");
    let local = made.created.in_tz("Europe/Oslo")?;
    ensure!((2..4).contains(&local.hour()), "rotated at {local}");
    let status = scene.get(&address).context("no ApiKey")?;
    let next = status["status"]["rotateAt"].as_str().context("no date")?;
    let next: jiff::Timestamp = next.parse()?;
    ensure!(next.in_tz("Europe/Oslo")?.hour() == 2, "shown as {next}");
    Ok(())
}

async fn spread(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let mut dates = std::collections::BTreeSet::new();
    for number in 0..20 {
        let address = key(&scene, &format!("k{number}"), json!({})).await?;
        let status = scene.get(&address).context("no ApiKey")?;
        let date = status["status"]["rotateAt"].as_str().context("no date")?;
        dates.insert(date.parse::<jiff::Timestamp>()?.as_second() / 3600);
    }
    ensure!(
        dates.len() > 6,
        "rotations in {} different hours",
        dates.len()
    );
    Ok(())
}

/// Forty keys are to be replaced at once, and one is asked for that never was.
async fn newcomer(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    for name in &names {
        scene.apply(&manifests::key(name, json!({}))).await?;
    }
    for name in &names {
        scene.until_ready(&Address::key(name), HOUR).await?;
    }
    scene.run(HOUR).await;
    let first: Vec<_> = names.iter().map(|name| held(&scene, name)).collect();
    for name in &names {
        let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "now"}}});
        scene.patch(&Address::key(name), ask).await?;
    }
    key(&scene, "newcomer", json!({})).await?;
    let others = names.iter().zip(&first);
    let done = others
        .filter(|(name, first)| held(&scene, name) != **first)
        .count();
    ensure!(done < 25, "{done} of 40 rotations went before a first key");
    let all = |scene: &Scene| {
        names
            .iter()
            .zip(&first)
            .all(|(name, first)| held(scene, name) != *first)
    };
    scene.until("all rotations", HOUR, all).await.map(drop)
}

fn held(scene: &Scene, name: &str) -> Option<String> {
    scene.published(TEAM, name).map(|key| key.id)
}

/// Somebody on the server has the key end in a week instead of a month: the next one is made sooner.
async fn sooner_end(scene: Scene) -> Result<()> {
    patient_ground(&scene, "1h").await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.consume(TEAM, "deploys", Habit::Once, HOUR);
    let first = scene.published(TEAM, "deploys").context("no key")?;
    let at = scene.now() + SignedDuration::from_hours(24 * 7);
    scene
        .twin
        .change(testbed::twins::octopus::Change::ExpireKey {
            key: first.id.clone(),
            at,
        })?;
    scene.run(HOUR * 2).await;
    let status = scene.get(&address).context("no ApiKey")?;
    let shown = status["status"]["current"]["expiresAt"].as_str();
    let shown: jiff::Timestamp = shown.context("no date")?.parse()?;
    ensure!(
        shown == apikey_operator::api::time(at).0,
        "shown as {shown}"
    );
    scene.run(DAY * 6).await;
    ensure!(
        held(&scene, "deploys") != Some(first.id),
        "it is not replaced"
    );
    ensure!(
        scene.witness.made(&uid(&scene, &address)?) == 2,
        "more than one new key"
    );
    Ok(())
}

/// Somebody on the server has keys live for two months more: they are replaced, and end, as if not.
async fn later_end(scene: Scene) -> Result<()> {
    patient_ground(&scene, "1h").await?;
    let replaced = key(&scene, "deploys", json!({"lifetime": "10d"})).await?;
    let never = json!({"lifetime": "4d", "rotation": {"mode": "Never"}});
    // It ends with its ApiKey, whoever uses it.
    scene.apply(&manifests::key("run", never)).await?;
    let ended = Address::key("run");
    scene.until_ready(&ended, MINUTE).await?;
    let began = scene.now();
    let mut first = Vec::new();
    for name in ["deploys", "run"] {
        let id = held(&scene, name).context("no key")?;
        scene
            .twin
            .change(testbed::twins::octopus::Change::ExpireKey {
                key: id.clone(),
                at: began + SignedDuration::from_hours(24 * 60),
            })?;
        first.push(id);
    }
    scene.run(HOUR * 2).await;
    for (address, days) in [(&replaced, 10), (&ended, 4)] {
        let status = scene.get(address).context("no ApiKey")?;
        let shown = status["status"]["current"]["expiresAt"].as_str();
        let shown: jiff::Timestamp = shown.context("no date")?.parse()?;
        let own = began + SignedDuration::from_hours(24 * days);
        ensure!(
            shown <= own && shown > own - SignedDuration::from_mins(2),
            "shown as {shown}"
        );
    }
    scene.run(DAY * 4).await;
    ensure!(
        scene.reason(&ended) == "Expired",
        "{}",
        scene.reason(&ended)
    );
    ensure!(lived(&scene, &first[1], began)? < SignedDuration::from_hours(24 * 4 + 1));
    scene.run(DAY * 5).await;
    ensure!(
        lived(&scene, &first[0], began)? < SignedDuration::from_hours(24 * 9),
        "it was not replaced in time"
    );
    only_published(&scene, "deploys")
}

/// How long a key has lived after a date; it lives no more.
fn lived(scene: &Scene, id: &str, since: jiff::Timestamp) -> Result<SignedDuration> {
    let died = scene.witness.died(id).context("it lives")?;
    Ok(died.duration_since(since))
}

/// Somebody asks for five rotations within minutes: what cannot be had at once waits for an overlap to
/// end, and nobody who read a key once is cut off before that.
async fn three_retire(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"rotation": {"overlap": "1d"}})).await?;
    let mut keys = vec![scene.published(TEAM, "deploys").context("no key")?];
    for text in ["one", "two", "three"] {
        rotate(&scene, "deploys", text).await?;
        scene.consume(TEAM, "deploys", Habit::Once, MINUTE / 2);
        keys.push(scene.published(TEAM, "deploys").context("no key")?);
        scene.run(MINUTE).await;
    }
    for text in ["four", "five"] {
        let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": text}}});
        scene.patch(&address, ask).await?;
        scene.run(MINUTE).await;
    }
    let waits = scene.condition(&address, "UpToDate").context("none")?;
    let message = waits["message"].as_str().unwrap_or_default();
    ensure!(
        waits["status"] == "False" && message.contains("waits for one of them to end"),
        "{waits}"
    );
    let mut most = 0;
    for _ in 0..60 * 26 {
        scene.run(MINUTE).await;
        most = most.max(scene.living().len());
    }
    ensure!(most == 4, "{most} keys lived at a time");
    keys.push(scene.published(TEAM, "deploys").context("no key")?);
    let held = scene.witness.held(&uid(&scene, &address)?);
    ensure!(held.len() == 5, "{} keys", held.len());
    // Each lived through its overlap after the next one was made.
    for (key, next) in keys.iter().zip(&keys[1..]).take(3) {
        let overlap = lived(&scene, &key.id, next.created)?;
        ensure!(
            overlap >= SignedDuration::from_hours(24),
            "{} lived for {overlap:#} after it was replaced",
            key.id
        );
    }
    scene.run(DAY).await;
    only_published(&scene, "deploys")
}
