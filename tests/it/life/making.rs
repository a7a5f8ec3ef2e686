//! From manifests to a Secret with a key that works, and what that costs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use simulation::effect::Call;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{OPERATOR, Scene, play};
use simulation::script::{Act, Rule};
use testbed::twins::Effect;

use super::cost::Cost;
use super::{HOUR, MINUTE, Test, ground, key, only_published, test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("an_event_tells_of_each_flip_once", events),
        test("a_key_is_made_and_dies_with_its_manifest", whole_life),
        (
            "any_order_of_manifests_converges".to_owned(),
            Box::new(any_order),
        ),
        test(
            "a_session_is_opened_once_and_ends_with_the_operator",
            session,
        ),
        test("a_new_key_costs_what_it_may", new_key),
        test("a_restart_over_settled_keys_writes_nothing", restart),
        test("an_idle_operator_writes_nothing", idle),
        test("templates_and_dress_are_kept", templates),
        test("a_key_that_does_not_sign_in_is_never_published", unproven),
    ]
}

async fn whole_life(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let deploys = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    only_published(&scene, "deploys")?;
    scene.delete(&deploys).await?;
    let took = scene.until_gone(&deploys, MINUTE).await?;
    ensure!(took < Duration::from_secs(2), "it took {took:?}");
    ensure!(scene.living().is_empty(), "a key is left");
    scene.run(MINUTE).await;
    let left = scene.get(&Address::secret(TEAM, "deploys"));
    ensure!(left.is_none(), "the Secret is left");
    Ok(())
}

/// The connection is a person's, who signs in by name and password.
async fn session(scene: Scene) -> Result<()> {
    let look = |scene: &Scene| {
        let view = scene.twin.view();
        let open = view.account("admin").map(|admin| admin.sessions);
        (scene.twin.done(Effect::SignIn), open.unwrap_or_default())
    };
    let (username, password) = scene.twin.look(|twin, _| {
        let start = twin.start();
        (start.admin.username.clone(), start.admin_password())
    });
    let credential = manifests::password("octopus", &username, password);
    scene.apply(&credential).await?;
    let mut server = manifests::server();
    let secret = &credential["metadata"]["name"];
    server["spec"]["auth"] = json!({"basic": {"secretRef": {"name": secret}}});
    scene.apply(&server).await?;
    scene.apply(&manifests::account(json!({}))).await?;
    key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR * 6).await;
    ensure!(look(&scene) == (1, 1), "{:?}", look(&scene));
    scene.stop(OPERATOR);
    scene
        .until("it has signed out", MINUTE, |scene| look(scene) == (1, 0))
        .await?;
    scene.start(OPERATOR);
    key(&scene, "later", json!({})).await?;
    ensure!(look(&scene) == (2, 1), "{:?}", look(&scene));
    Ok(())
}

/// The server makes a key, and does not know it when it signs in: as often as it is tried.
async fn unproven(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let mut made = false;
    let refused = move |call: &Call| {
        made |= call.method == Method::POST && call.path.ends_with("/apikeys");
        made && call.path.ends_with("/users/me")
    };
    let mut answer = Response::new(Bytes::from_static(b"{}"));
    *answer.status_mut() = StatusCode::UNAUTHORIZED;
    let refused = Rule::every(Act::Answer(answer), refused).times(5);
    let refused = scene.world.recorder.script(refused);
    key(&scene, "deploys", json!({})).await?;
    ensure!(refused.count() == 5, "{} signed in", refused.count());
    ensure!(scene.witness.unpublished() == 1, "the Secret held it");
    only_published(&scene, "deploys")
}

/// All orders of the four manifests, half a minute apart.
fn any_order() -> Result<()> {
    for order in orders(4) {
        let told = format!("{order:?}");
        let life = play(|| async move {
            let scene = Scene::new().await?;
            scene.start(OPERATOR);
            scene.act(in_order(&scene, &order)).await
        });
        life.with_context(|| format!("in the order {told}"))?;
    }
    Ok(())
}

async fn in_order(scene: &Scene, order: &[usize]) -> Result<()> {
    let manifests = [
        manifests::credential(&scene.credential()),
        manifests::server(),
        manifests::account(json!({})),
        manifests::key("deploys", json!({})),
    ];
    for place in order {
        scene.apply(&manifests[*place]).await?;
        scene.run(MINUTE / 2).await;
    }
    scene.until_ready(&Address::key("deploys"), MINUTE).await?;
    only_published(scene, "deploys")?;
    // Deleted in the same order: each waits for those that need it.
    let mut addresses = Vec::new();
    for place in order {
        addresses.push(Address::of(&manifests[*place])?);
    }
    for address in addresses
        .iter()
        .filter(|address| address.resource() != "secrets")
    {
        scene.delete(address).await?;
        scene.run(MINUTE / 2).await;
    }
    for address in addresses
        .iter()
        .filter(|address| address.resource() != "secrets")
    {
        scene.until_gone(address, MINUTE).await?;
    }
    ensure!(scene.living().is_empty(), "a key is left");
    ensure!(
        scene.twin.view().account("team-a.ci").is_none(),
        "the account is left"
    );
    Ok(())
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let last = count - 1;
    orders(last)
        .into_iter()
        .flat_map(|order| {
            (0..=last).map(move |place| {
                let mut longer = order.clone();
                longer.insert(place, last);
                longer
            })
        })
        .collect()
}

async fn new_key(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.run(MINUTE).await;
    let mark = scene.mark();
    key(&scene, "deploys", json!({})).await?;
    scene.run(MINUTE).await;
    let cost = Cost::since(&scene, mark);
    ensure!(
        cost.writes <= 3 && cost.rehearsals == 1 && cost.reads <= 2 && cost.calls <= 2,
        "{cost:?}"
    );
    Ok(())
}

async fn restart(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    for number in 0..20 {
        scene
            .apply(&manifests::key(&format!("key-{number}"), json!({})))
            .await?;
    }
    for number in 0..20 {
        let address = Address::key(&format!("key-{number}"));
        scene.until_ready(&address, MINUTE * 5).await?;
    }
    // Long enough that all counts are written.
    scene.run(HOUR).await;
    let mark = scene.mark();
    scene.crash(OPERATOR);
    scene.run(MINUTE * 5).await;
    let began = !scene.calls(OPERATOR, mark).is_empty();
    ensure!(began && scene.life(OPERATOR).life == 1, "it is not back");
    let cost = Cost::since(&scene, mark);
    ensure!(cost.writes == 0 && cost.rehearsals == 0, "{cost:?}");
    ensure!(cost.lists <= 1, "{cost:?}");
    Ok(())
}

async fn idle(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    for number in 0..20 {
        scene
            .apply(&manifests::key(&format!("key-{number}"), json!({})))
            .await?;
    }
    scene.run(HOUR).await;
    let mark = scene.mark();
    scene.run(HOUR * 6).await;
    let cost = Cost::since(&scene, mark);
    ensure!(cost.writes == 0 && cost.rehearsals == 0, "{cost:?}");
    // At each resync of ten minutes one list of the account, however many keys it has, and one read
    // of the connection's credential.
    ensure!((34..=37).contains(&cost.lists), "{cost:?}");
    ensure!(cost.reads <= 37, "{cost:?}");
    Ok(())
}

async fn templates(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({"secret": {
        "name": "octopus", "labels": {"team": "a"}, "annotations": {"note": "mine"},
        "data": {"OCTOPUS_API_KEY": "{{ key }}", "config": "{{ url }} {{ username }} {{ serial }}"},
    }});
    scene.apply(&manifests::key("deploys", spec)).await?;
    let address = Address::key("deploys");
    scene.until_ready(&address, MINUTE).await?;
    let secret = || {
        let secret = scene.get(&Address::secret(TEAM, "octopus"));
        secret.context("there is no Secret")
    };
    let made = secret()?;
    let config = manifests::encoded("https://octopus.example team-a.ci 1");
    ensure!(made["data"]["config"] == config, "{made}");
    ensure!(made["metadata"]["labels"]["team"] == "a", "{made}");
    // Labels are put right without a new key; another shape is a rotation.
    let strip = json!({"metadata": {"labels": {"team": null}}});
    scene
        .patch(&Address::secret(TEAM, "octopus"), strip)
        .await?;
    scene.run(MINUTE).await;
    let dressed = secret()?;
    ensure!(dressed["metadata"]["labels"]["team"] == "a", "{dressed}");
    ensure!(dressed["data"] == made["data"], "another value");
    let shape = json!({"spec": {"secret": {"data": {"config": null}}}});
    scene.patch(&address, shape).await?;
    scene.run(MINUTE).await;
    let reshaped = secret()?;
    let entries: Vec<&String> = reshaped["data"]
        .as_object()
        .map(|data| data.keys().collect())
        .unwrap_or_default();
    ensure!(entries == ["OCTOPUS_API_KEY"], "{entries:?}");
    ensure!(reshaped["data"]["OCTOPUS_API_KEY"] != made["data"]["OCTOPUS_API_KEY"]);
    ensure!(reshaped["metadata"]["annotations"]["apikeys.dev/serial"] == Value::from("2"));
    Ok(())
}

/// The Events about an object with this reason, and how often each was repeated.
fn told(scene: &Scene, name: &str, reason: &str) -> Vec<i64> {
    scene.world.api.store(|store| {
        let events = store.all("events.events.k8s.io");
        let fits =
            events.filter(|event| event["regarding"]["name"] == name && event["reason"] == reason);
        fits.map(|event| event["series"]["count"].as_i64().unwrap_or(1))
            .collect()
    })
}

async fn events(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    let ready = told(&scene, "deploys", "Ready");
    ensure!(ready == [1], "Ready was told {ready:?} times");
    scene
        .patch(&address, json!({"spec": {"suspend": true}}))
        .await?;
    scene.run(HOUR).await;
    let suspended = told(&scene, "deploys", "Suspended");
    ensure!(suspended == [1], "Suspended was told {suspended:?} times");
    Ok(())
}
