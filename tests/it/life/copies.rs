//! What was put back from a backup, and clusters that are copies of each other.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use simulation::consumer::Habit;
use simulation::kubernetes::Snapshot;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;

use super::cost::Cost;
use super::{DAY, HOUR, MINUTE, Test, connect, ground, key, only_published, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_server_that_was_put_back", server),
        test("an_account_that_came_back", account),
        test("a_cluster_that_was_put_back_has_its_keys", cluster),
        test("a_cluster_that_was_put_back_lacks_its_keys", old_cluster),
        test("copies_that_rotate_at_once", copies),
        test("copies_of_which_one_rotates", one_rotates),
        test("a_copy_that_is_torn_down", torn_down),
    ]
}

const SHARED: &str = "apikeys.dev/identity-shared";
/// The operator of the copy.
const COPY: &str = "copy";

async fn rotate(scene: &Scene, address: &Address) -> Result<()> {
    let request = scene.now().to_string();
    let annotations = json!({"apikeys.dev/rotate": request});
    let before = scene.witness.held(&uid(scene, address)?).len();
    let patch = json!({"metadata": {"annotations": annotations}});
    scene.patch(address, patch).await?;
    let uid = uid(scene, address)?;
    let made = move |scene: &Scene| scene.witness.held(&uid).len() > before;
    scene.until("it is rotated", MINUTE, made).await?;
    Ok(())
}

fn held(scene: &Scene) -> Result<String> {
    let held = scene.published(TEAM, "deploys");
    Ok(held.context("the Secret holds no living key")?.id)
}

fn lives(scene: &Scene, id: &str) -> bool {
    scene.living().iter().any(|key| key.id == id)
}

/// The account says that there is another cluster, and how to go on.
fn is_shared(scene: &Scene) -> Result<()> {
    let ready = scene.condition(&Address::account("ci"), "Ready");
    let ready = ready.context("no Ready")?;
    ensure!(ready["reason"] == "IdentityShared", "{ready}");
    let message = ready["message"].as_str().unwrap_or_default();
    ensure!(message.contains("--installation") && message.contains(SHARED));
    Ok(())
}

/// A person takes the note off.
async fn take_off(scene: &Scene) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {SHARED: null}}});
    scene.patch(&Address::account("ci"), patch).await?;
    Ok(())
}

/// Made after the copy was taken, it is gone and is replaced; revoked after it, it lives again and goes
/// again.
async fn server(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let deploys = key(&scene, "deploys", json!({"rotation": {"overlap": "2h"}})).await?;
    let first = held(&scene)?;
    let backup = scene.twin.backup();
    rotate(&scene, &deploys).await?;
    let second = held(&scene)?;
    scene.run(HOUR * 4).await;
    ensure!(!lives(&scene, &first), "the first one was not retired");
    scene.witness.outside(&second);
    scene.twin.restore(backup);
    ensure!(lives(&scene, &first));
    scene.run(HOUR).await;
    scene.until_ready(&deploys, MINUTE).await?;
    let made = scene.witness.made(&uid(&scene, &deploys)?);
    ensure!(made == 3, "{made} keys were made");
    ensure!(scene.says(&Address::account("ci"), "Ready", "True"));
    scene.run(HOUR * 3).await;
    only_published(&scene, "deploys")
}

/// It was deleted after the copy was taken. What is older than its new ServiceAccount is not touched.
async fn account(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let deploys = key(&scene, "deploys", json!({})).await?;
    let first = held(&scene)?;
    let backup = scene.twin.backup();
    let address = Address::account("ci");
    for address in [&deploys, &address] {
        scene.delete(address).await?;
        scene.until_gone(address, MINUTE).await?;
    }
    ensure!(scene.twin.view().account("team-a.ci").is_none());
    scene.twin.restore(backup);
    scene.run(MINUTE).await;
    scene.apply(&manifests::account(json!({}))).await?;
    scene.run(MINUTE).await;
    let reason = scene.reason(&address);
    ensure!(reason == "AccountExists", "{reason}");
    let adopt = json!({"spec": {"adopt": true}});
    scene.patch(&address, adopt).await?;
    scene.until_ready(&address, MINUTE).await?;
    scene.run(HOUR).await;
    let object = scene.get(&address).context("no account")?;
    let status = &object["status"];
    ensure!(status["keys"]["orphan"] == 1, "{status}");
    ensure!(status["unknown"][0]["class"] == "Orphan", "{status}");
    ensure!(lives(&scene, &first), "it was revoked");
    Ok(())
}

/// A cluster before and after a rotation, whose first key retires.
async fn rotated(scene: &Scene) -> Result<(Address, Snapshot, String, String)> {
    ground(scene).await?;
    let deploys = key(scene, "deploys", json!({"rotation": {"overlap": "6h"}})).await?;
    scene.run(MINUTE * 12).await;
    let (objects, first) = (scene.snapshot(), held(scene)?);
    rotate(scene, &deploys).await?;
    scene.run(HOUR).await;
    let second = held(scene)?;
    Ok((deploys, objects, first, second))
}

async fn cluster(scene: Scene) -> Result<()> {
    let (deploys, objects, first, second) = rotated(&scene).await?;
    scene.put_back(&objects);
    scene.run(HOUR * 24).await;
    is_shared(&scene)?;
    scene.until_ready(&deploys, MINUTE).await?;
    ensure!(held(&scene)? == first && lives(&scene, &second));
    // Nobody knows better than whoever has put it back.
    rotate(&scene, &deploys).await?;
    take_off(&scene).await?;
    scene.run(HOUR * 7).await;
    ensure!(scene.says(&Address::account("ci"), "Ready", "True"));
    only_published(&scene, "deploys")
}

/// Its key was replaced and is dead: another one is made at once.
async fn old_cluster(scene: Scene) -> Result<()> {
    let (deploys, objects, first, second) = rotated(&scene).await?;
    scene.run(HOUR * 6).await;
    ensure!(!lives(&scene, &first) && lives(&scene, &second));
    scene.put_back(&objects);
    scene.run(HOUR).await;
    scene.until_ready(&deploys, MINUTE).await?;
    ensure!(held(&scene)? != second && lives(&scene, &second));
    take_off(&scene).await?;
    scene.run(HOUR * 7).await;
    ensure!(scene.says(&Address::account("ci"), "Ready", "True"));
    only_published(&scene, "deploys")?;
    let mark = scene.mark();
    scene.run(HOUR).await;
    let cost = Cost::since(&scene, mark);
    // A resync reads the credential, and nothing else.
    ensure!(cost.writes == 0 && cost.reads == cost.lists, "{cost:?}");
    Ok(())
}

/// A cluster that was copied, and its copy at work.
async fn copied(scene: &Scene) -> Result<(Address, Scene)> {
    connect(scene).await?;
    let hourly = json!({"spec": {"resync": "1h"}});
    scene.patch(&Address::server("octopus"), hourly).await?;
    scene.apply(&manifests::account(json!({}))).await?;
    let spec = json!({"lifetime": "10d", "rotation": {"overlap": "1d"}});
    scene.apply(&manifests::key("deploys", spec)).await?;
    let deploys = Address::key("deploys");
    scene.until_ready(&deploys, MINUTE).await?;
    scene.run(HOUR * 2).await;
    let copy = scene.copy()?;
    for scene in [scene, &copy] {
        scene.witness.spare(20);
        scene.consume(TEAM, "deploys", Habit::Once, MINUTE * 30);
        scene.consume(TEAM, "deploys", Habit::Again, MINUTE * 30);
    }
    copy.start(COPY);
    scene.run(HOUR * 2).await;
    for scene in [scene, &copy] {
        ensure!(scene.says(&Address::account("ci"), "Ready", "True"));
    }
    ensure!(held(scene)? == held(&copy)?);
    Ok((deploys, copy))
}

/// They go by the same calendar, and make keys of the same serial.
async fn copies(scene: Scene) -> Result<()> {
    let (deploys, copy) = copied(&scene).await?;
    for day in 0..30 {
        scene.run(DAY).await;
        for scene in [&scene, &copy] {
            ensure!(scene.says(&deploys, "Ready", "True"), "not Ready any more");
            if day > 8 {
                is_shared(scene)?;
            }
        }
    }
    ensure!(held(&scene)? != held(&copy)?);
    let keys = scene.witness.held(&uid(&scene, &deploys)?).len();
    ensure!(keys == 5, "{keys} keys in 30 days");
    copy.verdict()
}

/// That the first one to rotate retires what the other still has, nobody could tell from outside.
async fn one_rotates(scene: Scene) -> Result<()> {
    let (deploys, copy) = copied(&scene).await?;
    let first = held(&scene)?;
    rotate(&copy, &deploys).await?;
    scene.run(HOUR * 3).await;
    is_shared(&scene)?;
    ensure!(copy.says(&Address::account("ci"), "Ready", "True"));
    scene.witness.outside(&first);
    scene.run(DAY + HOUR * 3).await;
    ensure!(!lives(&scene, &first));
    // From the next key of the other on, both know.
    is_shared(&copy)?;
    for _ in 0..10 {
        scene.run(DAY).await;
        for scene in [&scene, &copy] {
            is_shared(scene)?;
            ensure!(scene.says(&deploys, "Ready", "True"), "not Ready any more");
        }
    }
    copy.verdict()
}

/// The key that both had goes; what the original has made meanwhile lives on, and so does the account.
async fn torn_down(scene: Scene) -> Result<()> {
    let (deploys, copy) = copied(&scene).await?;
    let first = held(&scene)?;
    rotate(&scene, &deploys).await?;
    scene.run(HOUR * 3).await;
    is_shared(&copy)?;
    let second = held(&scene)?;
    let account = Address::account("ci");
    scene.witness.outside(&first);
    for address in [&deploys, &account] {
        copy.delete(address).await?;
    }
    // Its own key it may end; that of the original, which it has not made, it may not.
    scene.run(DAY * 2).await;
    ensure!(!lives(&scene, &first) && lives(&scene, &second));
    let ready = copy.condition(&deploys, "Ready").context("no Ready")?;
    ensure!(ready["reason"] == "Revoking", "{ready}");
    let way_out = json!({"spec": {"deletionPolicy": "Retain"}});
    ensure!(ready["message"].to_string().contains("Retain"), "{ready}");
    for address in [&deploys, &account] {
        copy.patch(address, way_out.clone()).await?;
        copy.until_gone(address, HOUR).await?;
    }
    ensure!(scene.twin.view().account("team-a.ci").is_some());
    ensure!(held(&scene)? == second);
    copy.verdict()
}
