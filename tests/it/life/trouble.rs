//! What stands against a key, what people read then, and how it heals.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{OPERATOR, Scene};
use simulation::script::{Act, Moment, Rule};
use testbed::twins::octopus::KeyView;
use testbed::twins::{Effect, Fault, Rule as Wrong};

use super::{DAY, HOUR, MINUTE, Test, ground, key, only_published, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_secret_that_is_not_ours", foreign_secret),
        test("a_secret_that_the_cluster_refuses", refused_secret),
        test(
            "a_rehearsal_is_dressed_as_the_real_write",
            dressed_rehearsal,
        ),
        test("a_server_that_is_down_comes_back", outage),
        test("a_server_that_is_down_is_asked_by_one", asked_by_one),
        test("a_credential_that_is_replaced", credential),
        test("grants_bound_what_a_namespace_may_have", grants),
        test("a_grant_is_asked_for_what_is_asked_now", changed_wish),
        test("foreign_and_others_keys_are_never_touched", foreign_keys),
        test("an_orphan_is_swept", orphan),
        test("a_forged_status_cuts_nobody_off", forged_status),
    ]
}

/// How many keys were asked for on the server.
fn mints(scene: &Scene) -> usize {
    scene.twin.sent(Effect::Mint)
}

async fn foreign_secret(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "deploys", "namespace": TEAM},
        "data": {"password": "aHVudGVyMg=="},
    });
    scene.apply(&theirs).await?;
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    let address = Address::key("deploys");
    scene.run(HOUR).await;
    ensure!(
        scene.reason(&address) == "SecretConflict",
        "{}",
        scene.reason(&address)
    );
    ensure!(mints(&scene) == 0, "a key was asked for");
    scene.delete(&Address::secret(TEAM, "deploys")).await?;
    scene.until_ready(&address, MINUTE * 12).await?;
    only_published(&scene, "deploys")
}

async fn refused_secret(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.world.api.store(|store| {
        store.admit("quota", |write| match write.resource.as_str() {
            "secrets" if write.name == "deploys" => Err(simulation::kubernetes::Denied(
                "exceeded quota: secrets".into(),
            )),
            _ => Ok(()),
        });
    });
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    let address = Address::key("deploys");
    scene.run(HOUR).await;
    ensure!(
        scene.reason(&address) == "SecretRefused",
        "{}",
        scene.reason(&address)
    );
    ensure!(mints(&scene) == 0, "a key was asked for");
    scene.world.api.store(|store| store.lift("quota"));
    scene.until_ready(&address, MINUTE * 15).await?;
    ensure!(mints(&scene) == 1, "{} mints", mints(&scene));
    only_published(&scene, "deploys")
}

/// A policy that wants annotations is content with a manifest that gives them, and costs no key else.
async fn dressed_rehearsal(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.world.api.store(|store| {
        store.admit("policy", |write| {
            let annotations = &write.object["metadata"]["annotations"];
            let ours = write.resource == "secrets" && write.name == "deploys";
            let wanted = ["example.org/team", "apikeys.dev/key-id"];
            if ours && wanted.iter().any(|name| annotations[name].is_null()) {
                return Err(simulation::kubernetes::Denied("who owns this?".into()));
            }
            Ok(())
        });
    });
    let with = |annotations: Value| {
        manifests::key("deploys", json!({"secret": {"annotations": annotations}}))
    };
    scene.apply(&with(json!({}))).await?;
    let address = Address::key("deploys");
    scene.run(MINUTE).await;
    let ready = scene.condition(&address, "Ready").context("no Ready")?;
    ensure!(ready["reason"] == "SecretRefused", "{ready}");
    ensure!(mints(&scene) == 0, "a key was asked for");
    scene.apply(&with(json!({"example.org/team": "a"}))).await?;
    scene.until_ready(&address, MINUTE).await?;
    ensure!(mints(&scene) == 1, "{} mints", mints(&scene));
    Ok(())
}

async fn outage(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let first = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    scene.twin.fault(Wrong::new(Fault::Outage));
    scene.apply(&manifests::key("reads", json!({}))).await?;
    let second = Address::key("reads");
    scene.run(HOUR * 3).await;
    ensure!(
        scene.says(&first, "Ready", "True"),
        "a key in hand is not Ready any more"
    );
    ensure!(scene.says(&second, "Ready", "False"));
    let server = Address::server("octopus");
    ensure!(
        scene.reason(&server) == "ServerUnreachable",
        "{}",
        scene.reason(&server)
    );
    // A server that is down is asked by one, and no more often than every five minutes.
    let mark = scene.mark();
    scene.run(HOUR).await;
    let asked = super::cost::Cost::since(&scene, mark).calls;
    ensure!(asked <= 14, "{asked} calls in an hour");
    scene.twin.clear_faults();
    scene.until_ready(&second, MINUTE * 7).await?;
    scene.until_ready(&first, MINUTE).await?;
    ensure!(scene.living().len() == 2);
    Ok(())
}

async fn credential(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    let server = Address::server("octopus");
    let wrong = manifests::credential("API-WRONGWRONGWRONGWRONGWRONG");
    scene.apply(&wrong).await?;
    scene.run(MINUTE).await;
    ensure!(
        scene.reason(&server) == "CredentialRejected",
        "{}",
        scene.reason(&server)
    );
    ensure!(
        scene.says(&address, "Ready", "True"),
        "a key in hand is not Ready any more"
    );
    // The Secret may be deleted to be replaced, though it is in use.
    let secret = Address::secret(TEAM, "octopus-credential");
    scene.delete(&secret).await?;
    scene.until_gone(&secret, MINUTE).await?;
    scene.run(MINUTE).await;
    ensure!(
        scene.reason(&server) == "CredentialMissing",
        "{}",
        scene.reason(&server)
    );
    let mut unoffered = manifests::credential(&scene.credential());
    unoffered["metadata"]["labels"] = json!({"team": "a"});
    scene.apply(&unoffered).await?;
    // What is not offered is not watched: it is found at the next resync.
    scene.run(MINUTE * 11).await;
    ensure!(
        scene.reason(&server) == "CredentialNotOffered",
        "{}",
        scene.reason(&server)
    );
    scene
        .apply(&manifests::credential(&scene.credential()))
        .await?;
    scene.until_ready(&server, MINUTE).await?;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    Ok(())
}

/// A ClusterDeployServer with the default grant to the team.
async fn shared(scene: &Scene) -> Result<()> {
    let credential = manifests::cluster_credential(&scene.credential());
    scene.apply(&credential).await?;
    scene.apply(&manifests::cluster_server()).await?;
    Ok(())
}

async fn grants(scene: Scene) -> Result<()> {
    shared(&scene).await?;
    let of = manifests::granted_account;
    let mine = of("ci", json!({}));
    scene.apply(&mine).await?;
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    let asks = [
        ("other-name", json!({"username": "team-b.ci"})),
        (
            "observed",
            json!({"management": "Observed", "username": "bystander"}),
        ),
        ("own", json!({"management": "Self"})),
        ("adopted", json!({"adopt": true})),
        (
            "team",
            json!({"octopus": {"teams": [{"name": "API key operators"}]}}),
        ),
    ];
    for (name, more) in asks {
        scene.apply(&of(name, more)).await?;
        let mut wish = manifests::key(name, json!({}));
        wish["spec"]["serviceAccountRef"]["name"] = json!(name);
        scene.apply(&wish).await?;
        scene.run(MINUTE).await;
        for address in [Address::account(name), Address::key(name)] {
            let reason = scene.reason(&address);
            ensure!(reason == "NotGranted", "{}: {reason}", address.path());
        }
    }
    ensure!(mints(&scene) == 0, "a key was asked for");
    // A namespace that loses its grant keeps its key, and gets no other.
    let address = key(&scene, "deploys", json!({})).await?;
    let none = json!({"spec": {"grants": []}});
    let cluster = Address::of(&manifests::cluster_server())?;
    scene.patch(&cluster, none).await?;
    scene.run(HOUR).await;
    ensure!(scene.says(&address, "Ready", "True"), "it lost its key");
    scene.apply(&manifests::key("more", json!({}))).await?;
    scene.run(MINUTE).await;
    let reason = scene.reason(&Address::key("more"));
    ensure!(reason == "NotGranted", "{reason}");
    ensure!(mints(&scene) == 1, "{} mints", mints(&scene));
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    Ok(())
}

/// Somebody asks for more while his account is made.
async fn changed_wish(scene: Scene) -> Result<()> {
    shared(&scene).await?;
    let wish = manifests::granted_account("ci", json!({}));
    let address = Address::account("ci");
    let path = address.path();
    let read = Rule::once(Act::Hold(Moment::Before), move |call| {
        call.process.name.as_ref() == OPERATOR && call.method == Method::GET && call.path == path
    });
    let read = scene.world.recorder.script(read);
    scene.apply(&wish).await?;
    read.met().await;
    let teams = json!({"spec": {"octopus": {"teams": [{"name": "API key operators"}]}}});
    scene.patch(&address, teams).await?;
    read.release();
    scene.run(HOUR).await;
    ensure!(
        scene.reason(&address) == "NotGranted",
        "{}",
        scene.reason(&address)
    );
    let view = scene.twin.view();
    ensure!(view.account("team-a.ci").is_none(), "an account was made");
    let joined = view
        .teams
        .iter()
        .map(|team| team.members.len())
        .sum::<usize>();
    let before = Scene::new().await?.twin.view();
    let known = before
        .teams
        .iter()
        .map(|team| team.members.len())
        .sum::<usize>();
    ensure!(joined == known, "somebody has joined a team");
    Ok(())
}

/// Somebody makes a key of the team's account by hand.
async fn by_hand(scene: &Scene, purpose: &str) -> Result<String> {
    let view = scene.twin.view();
    let account = view.account("team-a.ci").context("no account")?;
    let body = json!({"Purpose": purpose, "UserId": account.id});
    let request = http::Request::post(format!("/api/users/{}/apikeys", account.id))
        .header("X-Octopus-ApiKey", scene.credential())
        .body(Bytes::from(body.to_string()))?;
    let answer = scene.twin.send(request).await?;
    let made: Value = serde_json::from_slice(answer.body())?;
    Ok(made["Id"].as_str().context("no key")?.to_owned())
}

fn lives(scene: &Scene, id: &str) -> bool {
    scene
        .twin
        .view()
        .keys
        .iter()
        .any(|key: &KeyView| key.id == id)
}

async fn foreign_keys(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    let uid = uid(&scene, &address)?;
    let hash = "0123456789ab";
    let nonce = "0011223344556677";
    let foreign = by_hand(&scene, "by hand").await?;
    let other = by_hand(
        &scene,
        &format!("x · ako1.elsewhere.{hash}.{uid}.1.{nonce}"),
    )
    .await?;
    scene.run(DAY).await;
    ensure!(lives(&scene, &foreign), "a foreign key was revoked");
    ensure!(
        lives(&scene, &other),
        "another installation's key was revoked"
    );
    let account = scene.get(&Address::account("ci")).context("no account")?;
    let counts = &account["status"]["keys"];
    ensure!(counts["foreign"] == 1 && counts["other"] == 1, "{counts}");
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    ensure!(
        lives(&scene, &foreign) && lives(&scene, &other),
        "one went with the ApiKey"
    );
    Ok(())
}

async fn orphan(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let hash = "0123456789ab";
    let purpose = format!("x · ako1.simulated.{hash}.gone-for-long.1.0011223344556677");
    let orphan = by_hand(&scene, &purpose).await?;
    scene.run(MINUTE * 9).await;
    ensure!(lives(&scene, &orphan), "it went before its time");
    scene.run(MINUTE * 21).await;
    ensure!(!lives(&scene, &orphan), "it is left");
    Ok(())
}

/// Whoever may write status may not make the operator revoke a key that consumers use.
async fn forged_status(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"rotation": {"overlap": "1h"}})).await?;
    let sister = key(&scene, "reads", json!({})).await?;
    scene.run(HOUR).await;
    let mut due = Vec::new();
    for name in ["deploys", "reads"] {
        let id = scene.published(TEAM, name).context("no key")?.id;
        due.push(json!({"id": id, "serial": 1, "revokeAt": "2026-01-01T00:00:00Z"}));
    }
    let forged = json!({"status": {"retiring": due}});
    scene.patch_status(&address, forged).await?;
    scene.run(HOUR * 3).await;
    for address in [address, sister] {
        scene.until_ready(&address, MINUTE).await?;
    }
    ensure!(
        scene.living().len() == 2,
        "{} keys live",
        scene.living().len()
    );
    Ok(())
}

/// However many keys there are, and whatever is asked for meanwhile.
async fn asked_by_one(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let names: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    for name in &names {
        key(&scene, name, json!({})).await?;
    }
    scene.run(HOUR).await;
    scene.twin.fault(Wrong::new(Fault::Outage));
    for name in &names {
        let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "now"}}});
        scene.patch(&Address::key(name), ask).await?;
    }
    scene.run(HOUR).await;
    let mark = scene.mark();
    scene.run(HOUR * 4).await;
    let calls = super::cost::Cost::since(&scene, mark).calls;
    // Every five minutes or so.
    ensure!((30..=100).contains(&calls), "{calls} calls in four hours");
    scene.twin.clear_faults();
    for name in &names {
        let again = |scene: &Scene| scene.says(&Address::key(name), "UpToDate", "True");
        scene.until("its rotation", HOUR, again).await?;
    }
    Ok(())
}
