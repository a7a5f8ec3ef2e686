//! Secrets: two slots, those that were there before, and what others do to them.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::effect::Call;
use simulation::kubernetes::{Denied, Durability};
use simulation::manifests::{self, Address, TEAM, encoded, key_of, previous_of};
use simulation::scene::{OPERATOR, Scene};
use simulation::script::{Act, Moment, Rule};

use super::{DAY, HOUR, MINUTE, Test, ground, key, only_published, rotate, test, uid};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_replaced_key_is_kept_in_the_second_slot", two_slots),
        test("templates_see_the_previous_key", previous_in_templates),
        test("a_second_slot_is_given_up", slot_given_up),
        test("a_hand_made_secret_is_taken_over", adopted),
        test(
            "a_secret_that_is_not_offered_is_not_taken_over",
            not_offered,
        ),
        test("an_adopted_secret_outlives_revocation", adopted_and_revoked),
        test("a_secret_to_be_taken_over_is_waited_for", adopted_late),
        test(
            "a_secret_that_was_taken_over_is_never_deleted",
            adopted_for_good,
        ),
        test(
            "an_adopted_secret_is_let_go_with_its_key",
            adopted_and_retained,
        ),
        test("an_edited_secret_is_mended_with_one_key", edited),
        test("an_entry_of_somebody_else_is_let_be", entry_beside),
        test(
            "a_secret_brought_back_from_before_is_replaced",
            brought_back,
        ),
        test("a_policy_that_undoes_labels_is_not_fought", undone),
        test("a_secret_that_others_write_costs_no_key", written_meanwhile),
        test(
            "a_second_slot_that_is_refused_costs_no_key",
            second_slot_refused,
        ),
    ]
}

fn secret(scene: &Scene, name: &str) -> Result<Value> {
    let address = Address::secret(TEAM, name);
    scene
        .get(&address)
        .with_context(|| format!("no Secret {name}"))
}

async fn two_slots(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({
        "lifetime": "10d", "rotation": {"overlap": "1d"}, "secret": {"keepPrevious": true},
    });
    let address = key(&scene, "deploys", spec).await?;
    ensure!(
        previous_of(&secret(&scene, "deploys")?).is_none(),
        "a second slot at once"
    );
    scene.consume(TEAM, "deploys", Habit::Slots, MINUTE * 10);
    scene.consume(TEAM, "deploys", Habit::Once, HOUR);
    let first = key_of(&secret(&scene, "deploys")?).context("no key")?;
    rotate(&scene, "deploys", "one").await?;
    let now = secret(&scene, "deploys")?;
    ensure!(
        previous_of(&now) == Some(first),
        "the second slot holds something else"
    );
    ensure!(
        now["data"]["PREVIOUS_OCTOPUS_URL"].is_null(),
        "what stays is there twice"
    );
    // A third key takes the place of the first, which lives on.
    let second = key_of(&now).context("no key")?;
    rotate(&scene, "deploys", "two").await?;
    ensure!(
        previous_of(&secret(&scene, "deploys")?) == Some(second),
        "not the last one"
    );
    scene.run(DAY + HOUR).await;
    ensure!(
        previous_of(&secret(&scene, "deploys")?).is_none(),
        "the second slot is left"
    );
    only_published(&scene, "deploys")?;
    scene.run(DAY * 7).await;
    ensure!(scene.says(&address, "Ready", "True"), "not Ready any more");
    Ok(())
}

async fn previous_in_templates(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({
        "rotation": {"overlap": "1h"},
        "secret": {"keepPrevious": true, "data": {
            "OCTOPUS_API_KEY": "{{ key }}",
            "both": "{{ key }},{{ previous }}",
        }},
    });
    key(&scene, "deploys", spec).await?;
    let first = key_of(&secret(&scene, "deploys")?).context("no key")?;
    ensure!(
        secret(&scene, "deploys")?["data"]["both"].is_null(),
        "rendered without one"
    );
    rotate(&scene, "deploys", "one").await?;
    let now = secret(&scene, "deploys")?;
    let second = key_of(&now).context("no key")?;
    ensure!(
        now["data"]["both"] == encoded(&format!("{second},{first}")),
        "{now:#}"
    );
    scene.run(HOUR * 2).await;
    ensure!(
        secret(&scene, "deploys")?["data"]["both"].is_null(),
        "it outlives the key"
    );
    only_published(&scene, "deploys")
}

/// Without `keepPrevious` the next key is written without the slot.
async fn slot_given_up(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({"rotation": {"overlap": "1d"}, "secret": {"keepPrevious": true}});
    key(&scene, "deploys", spec).await?;
    rotate(&scene, "deploys", "one").await?;
    ensure!(
        previous_of(&secret(&scene, "deploys")?).is_some(),
        "no second slot"
    );
    let spec = json!({"rotation": {"overlap": "1d"}});
    scene.apply(&manifests::key("deploys", spec)).await?;
    scene.run(MINUTE * 2).await;
    ensure!(
        previous_of(&secret(&scene, "deploys")?).is_none(),
        "the second slot is left"
    );
    scene.run(DAY * 2).await;
    only_published(&scene, "deploys")
}

fn hand_made(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": "deploys", "namespace": TEAM, "annotations": annotations,
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
        },
        "data": {"OCTOPUS_API_KEY": encoded("API-BYHAND"), "other": encoded("stays")},
    })
}

const OFFER: &str = "apikeys.dev/adopt-by";

async fn adopted(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    let address = key(&scene, "deploys", json!({"secret": {"adopt": true}})).await?;
    let held = secret(&scene, "deploys")?;
    ensure!(
        scene.published(TEAM, "deploys").is_some(),
        "no key of ours in it"
    );
    ensure!(held["data"]["other"] == encoded("stays"), "{held:#}");
    ensure!(
        held["metadata"]["ownerReferences"].is_null(),
        "it would go with the ApiKey"
    );
    let tool = &held["metadata"]["labels"]["app.kubernetes.io/managed-by"];
    ensure!(tool == "Helm", "another tool's label is {tool}");
    rotate(&scene, "deploys", "one").await?;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    let left = secret(&scene, "deploys")?;
    ensure!(
        left["data"] == json!({"other": encoded("stays")}),
        "{left:#}"
    );
    let annotations = left["metadata"]["annotations"]
        .as_object()
        .context("no annotations")?;
    ensure!(annotations.keys().eq([OFFER]), "{annotations:?}");
    ensure!(
        left["metadata"]["labels"]["apikeys.dev/secret"].is_null(),
        "{left:#}"
    );
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

async fn not_offered(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene
        .apply(&hand_made(&json!({OFFER: "somebody-else"})))
        .await?;
    let manifest = manifests::key("deploys", json!({"secret": {"adopt": true}}));
    scene.apply(&manifest).await?;
    let address = Address::key("deploys");
    let refused = |scene: &Scene| scene.reason(&address) == "SecretConflict";
    scene.until("a refusal", MINUTE, refused).await?;
    ensure!(
        scene.witness.made(&uid(&scene, &address)?) == 0,
        "a key was made"
    );
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    scene.until_ready(&address, HOUR).await.map(drop)
}

async fn adopted_and_revoked(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    let address = key(&scene, "deploys", json!({"secret": {"adopt": true}})).await?;
    scene
        .patch(&address, json!({"spec": {"revoked": true}}))
        .await?;
    let revoked = |scene: &Scene| scene.reason(&address) == "Revoked";
    scene.until("the revocation", MINUTE, revoked).await?;
    ensure!(
        key_of(&secret(&scene, "deploys")?).is_none(),
        "a dead key is left in it"
    );
    scene
        .patch(&address, json!({"spec": {"revoked": false}}))
        .await?;
    scene.until_ready(&address, MINUTE * 5).await?;
    only_published(&scene, "deploys")
}

/// Whatever is applied first.
async fn adopted_late(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let manifest = manifests::key("deploys", json!({"secret": {"adopt": true}}));
    scene.apply(&manifest).await?;
    let address = Address::key("deploys");
    let refused = |scene: &Scene| scene.reason(&address) == "SecretConflict";
    scene.until("a word of it", MINUTE, refused).await?;
    let place = Address::secret(TEAM, "deploys");
    ensure!(scene.get(&place).is_none(), "made instead of taken over");
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    scene.until_ready(&address, MINUTE * 10).await?;
    // Its owner makes it anew.
    scene.delete(&place).await?;
    scene.run(MINUTE).await;
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    scene.run(MINUTE * 10).await;
    scene.until_ready(&address, MINUTE * 10).await?;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE * 10).await?;
    let left = secret(&scene, "deploys")?;
    ensure!(left["data"]["other"] == encoded("stays"), "{left:#}");
    Ok(())
}

/// Somebody takes our note of it off.
async fn adopted_for_good(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    let address = key(&scene, "deploys", json!({"secret": {"adopt": true}})).await?;
    let place = Address::secret(TEAM, "deploys");
    let off = json!({"metadata": {"annotations": {"apikeys.dev/adopted": null, OFFER: null}}});
    scene.patch(&place, off).await?;
    scene.run(HOUR).await;
    rotate(&scene, "deploys", "one").await?;
    let held = secret(&scene, "deploys")?;
    ensure!(
        held["metadata"]["ownerReferences"].is_null(),
        "it is seized"
    );
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE * 10).await?;
    let left = secret(&scene, "deploys")?;
    ensure!(
        left["data"] == json!({"other": encoded("stays")}),
        "{left:#}"
    );
    Ok(())
}

async fn adopted_and_retained(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.apply(&hand_made(&json!({OFFER: "deploys"}))).await?;
    let spec = json!({"secret": {"adopt": true}, "deletionPolicy": "Retain"});
    let address = key(&scene, "deploys", spec).await?;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE * 10).await?;
    let left = secret(&scene, "deploys")?;
    ensure!(key_of(&left).is_some(), "the key does not stay in it");
    let annotations = left["metadata"]["annotations"]
        .as_object()
        .context("none")?;
    ensure!(annotations.keys().eq([OFFER]), "{annotations:?}");
    // Whoever comes next with this name needs an offer.
    let off = json!({"metadata": {"annotations": {OFFER: null}}});
    scene.patch(&Address::secret(TEAM, "deploys"), off).await?;
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    let refused = |scene: &Scene| scene.reason(&address) == "SecretConflict";
    scene.until("a refusal", MINUTE, refused).await.map(drop)
}

async fn edited(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"rotation": {"overlap": "1h"}})).await?;
    let first = scene.published(TEAM, "deploys").context("no key")?;
    let place = Address::secret(TEAM, "deploys");
    let edit = json!({"data": {"OCTOPUS_API_KEY": encoded("API-OOPS")}});
    scene.patch(&place, edit).await?;
    scene.run(MINUTE).await;
    scene.until_ready(&address, MINUTE).await?;
    let second = scene.published(TEAM, "deploys").context("the edit stays")?;
    ensure!(first != second, "the value came back?");
    scene.run(HOUR * 3).await;
    ensure!(
        scene.witness.made(&uid(&scene, &address)?) == 2,
        "more than one new key"
    );
    only_published(&scene, "deploys")?;
    // An entry that is taken away is one that is missed.
    scene
        .patch(&place, json!({"data": {"OCTOPUS_URL": null}}))
        .await?;
    scene.run(MINUTE).await;
    let whole = secret(&scene, "deploys")?;
    ensure!(
        !whole["data"]["OCTOPUS_URL"].is_null(),
        "an entry is missing"
    );
    Ok(())
}

async fn entry_beside(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    let id = |scene: &Scene| scene.published(TEAM, "deploys").map(|key| key.id);
    let first = id(&scene);
    let edit = json!({"data": {"theirs": encoded("x")}});
    scene.patch(&Address::secret(TEAM, "deploys"), edit).await?;
    scene.run(HOUR).await;
    ensure!(id(&scene) == first, "replaced for nothing");
    rotate(&scene, "deploys", "one").await?;
    ensure!(
        secret(&scene, "deploys")?["data"]["theirs"] == encoded("x"),
        "it is gone"
    );
    Ok(())
}

/// Somebody applies the Secret as it was before the last rotation.
async fn brought_back(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({"rotation": {"overlap": "1h"}})).await?;
    let old = secret(&scene, "deploys")?;
    rotate(&scene, "deploys", "one").await?;
    scene.run(HOUR * 2).await;
    let uid = uid(&scene, &address)?;
    scene.witness.pardon(&uid);
    let part =
        json!({"data": old["data"], "metadata": {"annotations": old["metadata"]["annotations"]}});
    scene.patch(&Address::secret(TEAM, "deploys"), part).await?;
    scene.run(MINUTE * 30).await;
    scene.until_ready(&address, MINUTE).await?;
    scene.run(HOUR * 3).await;
    ensure!(scene.witness.made(&uid) == 3, "more than one new key");
    only_published(&scene, "deploys")
}

/// Whether a call changes the Secret, and is meant.
fn writes_the_secret(call: &Call) -> bool {
    let ours = call.process.name.as_ref() == OPERATOR && call.durability == Durability::Lasting;
    ours && call.is_effect() && call.path == Address::secret(TEAM, "deploys").path()
}

/// Somebody's policy takes a label off that a manifest asks for.
async fn undone(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    scene.world.api.store(|store| {
        store.admit("policy", |write| {
            let labels = write.object.pointer_mut("/metadata/labels");
            if let Some(labels) = labels.and_then(Value::as_object_mut) {
                labels.remove("example.org/team");
            }
            Ok(())
        });
    });
    let spec = json!({"secret": {"labels": {"example.org/team": "shop"}}});
    key(&scene, "deploys", spec).await?;
    let written = |scene: &Scene| {
        let effects = scene.effects(OPERATOR);
        let writes = effects
            .iter()
            .filter(|effect| writes_the_secret(&effect.call));
        writes.count()
    };
    let before = written(&scene);
    scene.run(HOUR).await;
    // Every pass tries it once: at each resync, of which an hour has twelve, and a little more often.
    let tries = written(&scene) - before;
    ensure!((1..=30).contains(&tries), "{tries} writes in an hour");
    Ok(())
}

/// Whoever changes what is his, while a key is on its way into the Secret.
async fn written_meanwhile(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let address = key(&scene, "deploys", json!({})).await?;
    let publish = Rule::once(Act::Hold(Moment::Before), writes_the_secret);
    let publish = scene.world.recorder.script(publish);
    let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "one"}}});
    scene.patch(&address, ask).await?;
    publish.met().await;
    let theirs = json!({"metadata": {"annotations": {"example.org/seen": "today"}}});
    scene
        .patch(&Address::secret(TEAM, "deploys"), theirs)
        .await?;
    let id = |scene: &Scene| scene.published(TEAM, "deploys").map(|key| key.id);
    let first = id(&scene);
    publish.release();
    let another = |scene: &Scene| id(scene) != first;
    scene.until("another key", MINUTE, another).await?;
    scene.run(MINUTE).await;
    let made = scene.witness.made(&uid(&scene, &address)?);
    ensure!(made == 2, "{made} keys were made");
    ensure!(scene.living().len() == 2, "{:?}", scene.living());
    Ok(())
}

/// A rehearsal writes what the real write will: also what is kept of the key before.
async fn second_slot_refused(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let spec = json!({"rotation": {"overlap": "1h"}, "secret": {"keepPrevious": true}});
    let address = key(&scene, "deploys", spec).await?;
    let id = |scene: &Scene| scene.published(TEAM, "deploys").map(|key| key.id);
    let first = id(&scene);
    scene.world.api.store(|store| {
        store.admit("policy", |write| {
            let slot = &write.object["data"]["PREVIOUS_OCTOPUS_API_KEY"];
            if slot.is_null() {
                return Ok(());
            }
            Err(Denied("one key for each Secret".into()))
        });
    });
    let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "one"}}});
    scene.patch(&address, ask).await?;
    scene.run(HOUR).await;
    let made = scene.witness.made(&uid(&scene, &address)?);
    ensure!(made == 1, "{made} keys were made");
    ensure!(id(&scene) == first, "it is replaced");
    let up_to_date = scene.condition(&address, "UpToDate").context("none")?;
    ensure!(up_to_date["reason"] == "SecretRefused", "{up_to_date}");
    scene.world.api.store(|store| store.lift("policy"));
    let kept = |scene: &Scene| {
        let held = scene.get(&Address::secret(TEAM, "deploys"));
        held.is_some_and(|held| previous_of(&held).is_some())
    };
    scene.until("both keys", HOUR, kept).await.map(drop)
}
