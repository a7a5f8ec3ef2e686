//! `foreignKeys: Revoke`: keys that no operator made go after a day.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;

use super::cost::Cost;
use super::{DAY, HOUR, MINUTE, Test, connect, ground, key, test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_foreign_key_goes_after_a_day", a_day),
        test("a_day_of_foreign_keys_begins_anew", anew),
        test("a_forged_day_is_not_believed", forged),
        test("a_connections_own_keys_are_not_foreign", a_connections),
        test("foreign_keys_go_where_that_is_granted", granted),
        test("many_foreign_keys_go_in_turn", many),
        test("status_names_the_first_of_many_foreign_keys", told),
    ]
}

const NOTE: &str = "apikeys.dev/foreign";

/// Makes a key on the account by hand: its id and its value.
async fn by_hand(scene: &Scene, purpose: &str) -> Result<(String, String)> {
    let view = scene.twin.view();
    let account = view.account("team-a.ci").context("no account")?;
    let body = json!({"Purpose": purpose, "UserId": account.id});
    let request = http::Request::post(format!("/api/users/{}/apikeys", account.id))
        .header("X-Octopus-ApiKey", scene.credential())
        .body(Bytes::from(body.to_string()))?;
    let answer = scene.twin.send(request).await?;
    let made: Value = serde_json::from_slice(answer.body())?;
    let text = |name: &str| made[name].as_str().map(ToOwned::to_owned);
    let id = text("Id").context("no key")?;
    Ok((id, text("ApiKey").context("no value")?))
}

/// As [`by_hand`], and may be revoked.
async fn doomed(scene: &Scene) -> Result<String> {
    let (id, _) = by_hand(scene, "by hand").await?;
    scene.witness.outside(&id);
    Ok(id)
}

fn lives(scene: &Scene, id: &str) -> bool {
    scene.twin.view().keys.iter().any(|key| key.id == id)
}

async fn set(scene: &Scene, to: &str) -> Result<()> {
    let patch = json!({"spec": {"foreignKeys": to}});
    scene.patch(&Address::account("ci"), patch).await?;
    Ok(())
}

/// What is noted on the account.
fn note(scene: &Scene) -> String {
    let account = scene.get(&Address::account("ci")).unwrap_or_default();
    let note = account["metadata"]["annotations"][NOTE].as_str();
    note.unwrap_or_default().to_owned()
}

async fn a_day(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    let foreign = doomed(&scene).await?;
    let token = "x · ako1.elsewhere.0123456789ab.some-uid.1.0011223344556677";
    let (other, _) = by_hand(&scene, token).await?;
    scene.run(DAY * 2).await;
    ensure!(lives(&scene, &foreign) && note(&scene).is_empty());
    set(&scene, "Revoke").await?;
    scene.run(MINUTE * 25).await;
    ensure!(
        note(&scene).starts_with(&format!("{foreign}:")),
        "{}",
        note(&scene)
    );
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    let mark = scene.mark();
    scene.run(HOUR * 23).await;
    ensure!(lives(&scene, &foreign), "it went before its time");
    let cost = Cost::since(&scene, mark);
    // A resync reads the credential, and nothing else.
    ensure!(cost.writes == 0 && cost.reads == cost.lists, "{cost:?}");
    scene.run(HOUR).await;
    ensure!(!lives(&scene, &foreign), "it is left");
    ensure!(lives(&scene, &other), "another installation's went");
    ensure!(note(&scene).is_empty(), "{}", note(&scene));
    let account = scene.get(&Address::account("ci")).context("no account")?;
    let counts = &account["status"]["keys"];
    ensure!(counts["foreign"] == 0 && counts["managed"] == 1, "{counts}");
    Ok(())
}

/// When the setting was off meanwhile, though it is on again.
async fn anew(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let foreign = doomed(&scene).await?;
    set(&scene, "Revoke").await?;
    scene.run(HOUR * 20).await;
    set(&scene, "Report").await?;
    scene.run(HOUR).await;
    ensure!(note(&scene).is_empty(), "{}", note(&scene));
    set(&scene, "Revoke").await?;
    scene.run(HOUR * 22).await;
    ensure!(lives(&scene, &foreign), "it went before its time");
    scene.run(HOUR * 3).await;
    ensure!(!lives(&scene, &foreign), "it is left");
    Ok(())
}

/// Neither that it was seen before it was made, nor that it will be.
async fn forged(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let foreign = doomed(&scene).await?;
    set(&scene, "Revoke").await?;
    for forged in [
        format!("{foreign}:1000"),
        format!("{foreign}:99999999999999"),
    ] {
        let patch = json!({"metadata": {"annotations": {NOTE: forged}}});
        scene.patch(&Address::account("ci"), patch).await?;
        scene.run(HOUR).await;
        ensure!(lives(&scene, &foreign), "it went before its time");
        ensure!(note(&scene) != forged, "{}", note(&scene));
    }
    scene.run(HOUR * 22).await;
    ensure!(lives(&scene, &foreign), "it went before its time");
    scene.run(HOUR * 3).await;
    ensure!(!lives(&scene, &foreign), "it is left");
    Ok(())
}

/// The account is behind another connection's credential.
async fn a_connections(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let (id, value) = by_hand(&scene, "another connection").await?;
    let mut credential = manifests::credential(&value);
    credential["metadata"]["name"] = json!("second");
    scene.apply(&credential).await?;
    let mut server = manifests::server();
    server["metadata"]["name"] = json!("second");
    server["spec"]["auth"] = json!({"apiKey": {"secretRef": {"name": "second", "key": "key"}}});
    scene.apply(&server).await?;
    scene.run(MINUTE).await;
    let second = scene.get(&Address::server("second")).context("none")?;
    let own = &second["metadata"]["annotations"]["apikeys.dev/own-account"];
    ensure!(own.is_string(), "{second}");
    set(&scene, "Revoke").await?;
    scene.run(DAY * 3).await;
    ensure!(lives(&scene, &id), "a connection was cut off");
    ensure!(note(&scene).is_empty(), "{}", note(&scene));
    Ok(())
}

async fn granted(scene: Scene) -> Result<()> {
    let mut credential = manifests::credential(&scene.credential());
    credential["metadata"]["namespace"] = json!(manifests::OWN);
    scene.apply(&credential).await?;
    let with = |foreign: Value| {
        let mut server = manifests::server();
        server["kind"] = json!("ClusterDeployServer");
        server["metadata"] = json!({"name": "shared"});
        let namespaces = json!({"from": "Names", "names": [TEAM]});
        server["spec"]["grants"] = json!([{"namespaces": namespaces, "foreignKeys": foreign}]);
        server
    };
    scene.apply(&with(json!(["Report", "Revoke"]))).await?;
    let spec = json!({
        "serverRef": {"kind": "ClusterDeployServer", "name": "shared"},
        "foreignKeys": "Revoke",
    });
    scene.apply(&manifests::account(spec)).await?;
    let account = Address::account("ci");
    scene.until_ready(&account, MINUTE).await?;
    let (spared, _) = by_hand(&scene, "by hand").await?;
    scene.run(HOUR * 20).await;
    ensure!(!note(&scene).is_empty());
    scene.apply(&with(json!(["Report"]))).await?;
    scene.run(DAY * 2).await;
    let reason = scene.reason(&account);
    ensure!(reason == "NotGranted", "{reason}");
    ensure!(lives(&scene, &spared) && note(&scene).is_empty());
    scene.apply(&with(json!(["Report", "Revoke"]))).await?;
    scene.run(HOUR * 20).await;
    ensure!(lives(&scene, &spared), "it went before its time");
    scene.witness.outside(&spared);
    scene.run(HOUR * 6).await;
    ensure!(!lives(&scene, &spared), "it is left");
    Ok(())
}

async fn many(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    scene
        .apply(&manifests::account(json!({"foreignKeys": "Revoke"})))
        .await?;
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(doomed(&scene).await?);
    }
    scene.run(HOUR * 2).await;
    let noted = note(&scene).split_whitespace().count();
    ensure!(noted == 50, "{noted} are noted");
    scene.run(DAY).await;
    let left = |scene: &Scene| ids.iter().filter(|id| lives(scene, id)).count();
    ensure!(left(&scene) == 10, "{} are left", left(&scene));
    scene.run(DAY + HOUR * 2).await;
    ensure!(left(&scene) == 0, "{} are left", left(&scene));
    Ok(())
}

/// Status has room for some of them, and for the beginning of what they say of themselves.
async fn told(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    let purpose = "by hand, ".repeat(20);
    for _ in 0..25 {
        by_hand(&scene, &purpose).await?;
    }
    scene.run(MINUTE * 12).await;
    let account = scene.get(&Address::account("ci")).context("no account")?;
    let status = &account["status"];
    ensure!(
        status["keys"]["foreign"] == 25 && status["keys"]["managed"] == 1,
        "{}",
        status["keys"]
    );
    let unknown = status["unknown"].as_array().context("nothing is named")?;
    ensure!(unknown.len() == 20, "{} are named", unknown.len());
    for key in unknown {
        let shown = key["purpose"].as_str().unwrap_or_default();
        ensure!(key["class"] == "Foreign", "{key}");
        ensure!(shown == &purpose[..120], "{key}");
    }
    Ok(())
}
