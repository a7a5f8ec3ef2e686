//! What befalls a key in the middle of a life, and what people do then.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use testbed::twins::octopus::{Change, KeyView};

use super::{ACCOUNT, KEY, MENDED, MINUTE, SWEPT};
use crate::manifests::{self, Address, TEAM};
use crate::scene::Scene;

/// The key is revoked, and comes back as another one.
pub(super) async fn revoke_and_take_back(scene: &Scene) -> Result<()> {
    let address = Address::key(KEY);
    scene.until_ready(&address, MENDED).await?;
    let wish = |revoked: bool| json!({"spec": {"revoked": revoked}});
    scene.patch(&address, wish(true)).await?;
    scene
        .until("it is revoked", MENDED, |scene| {
            scene.reason(&address) == "Revoked" && scene.living().is_empty()
        })
        .await?;
    scene.patch(&address, wish(false)).await?;
    Ok(())
}

/// The key is replaced.
pub(super) async fn rotate(scene: &Scene) -> Result<()> {
    let address = Address::key(KEY);
    scene.until_ready(&address, MENDED).await?;
    let annotation = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "once"}}});
    scene.patch(&address, annotation).await?;
    let first = held(scene);
    replaced(scene, first).await
}

/// The key is replaced when the token that its forerunner was made with has ended long ago.
pub(super) async fn outlast_a_token(scene: &Scene) -> Result<()> {
    scene.until_ready(&Address::key(KEY), MENDED).await?;
    scene.run(MINUTE * 150).await;
    rotate(scene).await
}

/// The key is replaced, and the Secret with the new one is lost: a third one comes.
pub(super) async fn rotate_and_lose(scene: &Scene) -> Result<()> {
    rotate(scene).await?;
    let second = held(scene);
    scene.delete(&Address::secret(TEAM, KEY)).await?;
    replaced(scene, second).await
}

fn held(scene: &Scene) -> Option<String> {
    Some(scene.published(TEAM, KEY)?.id)
}

/// Waits until the Secret holds another key.
async fn replaced(scene: &Scene, old: Option<String>) -> Result<()> {
    let another = |scene: &Scene| {
        let now = held(scene);
        now.is_some() && now != old
    };
    scene.until("another key", MENDED, another).await?;
    Ok(())
}

/// The key is disabled, enabled again with other metadata, and replaced.
pub(super) async fn change_on_stackstorm(scene: &Scene) -> Result<()> {
    let address = Address::key(KEY);
    scene.until_ready(&address, MENDED).await?;
    let first = held(scene);
    let disabled = json!({"spec": {"stackStorm": {"enabled": false}}});
    scene.patch(&address, disabled).await?;
    if let Some(first) = &first {
        // It is not taken, as its owner wants it.
        scene.witness.outside(first);
    }
    let works = |key: &KeyView| Some(&key.id) == first.as_ref();
    let disabled = |scene: &Scene| !scene.living().iter().any(works);
    scene.until("it is disabled", MENDED, disabled).await?;
    let enabled = json!({"spec": {"stackStorm": {"enabled": true, "metadata": {"cost": 8}}}});
    scene.patch(&address, enabled).await?;
    let changed = |scene: &Scene| {
        let keys = scene.servers.stackstorm.view().keys;
        let mut keys = keys.iter().filter(|key| Some(&key.id) == first.as_ref());
        keys.any(|key| key.enabled && key.metadata["cost"] == 8)
    };
    scene
        .until("it is changed in place", MENDED, changed)
        .await?;
    rotate(scene).await
}

/// The key is given other rights and metadata, a key is made by hand, and ours is replaced.
pub(super) async fn change_on_elasticsearch(scene: &Scene) -> Result<()> {
    let address = Address::key(KEY);
    scene.until_ready(&address, MENDED).await?;
    let first = held(scene);
    let wish = json!({"spec": {"elasticsearch": {
        "metadata": {"cost": 8},
        "roleDescriptors": {"reads": {"cluster": ["manage"]}},
    }}});
    scene.patch(&address, wish).await?;
    let changed = |scene: &Scene| {
        let keys = scene.servers.elasticsearch.view().keys;
        let mut keys = keys.iter().filter(|key| Some(&key.id) == first.as_ref());
        keys.any(|key| key.metadata["cost"] == 8)
    };
    scene
        .until("it is changed in place", MENDED, changed)
        .await?;
    by_hand(scene).await?;
    rotate(scene).await
}

/// Somebody makes a key of the account, which nobody knows of but the server.
async fn by_hand(scene: &Scene) -> Result<()> {
    let way = &scene.servers.elasticsearch;
    let own = way.look(|twin, _| twin.start().admin.clone());
    let basic = manifests::encoded(&format!("{}:{}", own.username, own.password));
    let body = json!({
        "grant_type": "password", "username": own.username, "password": own.password,
        "run_as": ACCOUNT, "api_key": {"name": "made by hand"},
    });
    let request = http::Request::post("/_security/api_key/grant")
        .header("Authorization", format!("Basic {basic}"))
        .header("Content-Type", "application/json")
        .body(Bytes::from(body.to_string()))?;
    let answer = way.send(request).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let made: Value = serde_json::from_slice(answer.body())?;
    // It ends with its user.
    scene
        .witness
        .outside(made["id"].as_str().unwrap_or_default());
    Ok(())
}

/// The server is put back as it was before a rotation: the new key is gone, and the old one, which was
/// revoked, lives again.
pub(super) async fn put_the_server_back(scene: &Scene) -> Result<()> {
    scene.until_ready(&Address::key(KEY), MENDED).await?;
    let backup = scene.twin.backup();
    rotate(scene).await?;
    scene.run(SWEPT).await;
    let lost = held(scene);
    for key in scene.living() {
        scene.witness.outside(&key.id);
    }
    scene.twin.restore(backup);
    replaced(scene, lost).await
}

/// The cluster is put back as it was before a rotation. The new key looks like a copy's then: a person
/// has the key replaced, and takes the note of it off.
pub(super) async fn put_the_cluster_back(scene: &Scene) -> Result<()> {
    scene.until_ready(&Address::key(KEY), MENDED).await?;
    scene.run(SWEPT).await;
    let objects = scene.snapshot();
    rotate(scene).await?;
    scene.run(SWEPT).await;
    scene.put_back(&objects);
    scene.run(SWEPT).await;
    let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "after all"}}});
    let first = held(scene);
    scene.patch(&Address::key(KEY), ask).await?;
    replaced(scene, first).await?;
    take_the_note_off(scene).await
}

/// The ApiKey does not parse while two sweeps go by, which leave its key and its Secret alone.
pub(super) async fn garble_and_mend(scene: &Scene, manifest: &Value) -> Result<()> {
    scene.until_ready(&Address::key(KEY), MENDED).await?;
    let first = held(scene);
    let mut garbled = manifest.clone();
    garbled["spec"]["lifetime"] = json!("soon");
    scene.apply_unchecked(&garbled).await?;
    scene.run(SWEPT).await;
    ensure!(held(scene) == first, "its key was replaced");
    let reason = scene.reason(&Address::key(KEY));
    ensure!(reason == "Invalid", "it says {reason}");
    scene.apply(manifest).await?;
    rotate(scene).await
}

/// The operator of the copy.
const COPY: &str = "copy";

/// The copy lacks the key that comes next, and makes one of its own; then it is taken away, and a person
/// takes the note of it off.
pub(super) async fn tear_a_copy_down(scene: &Scene) -> Result<()> {
    let (key, account) = (Address::key(KEY), Address::account("ci"));
    scene.until_ready(&key, MENDED).await?;
    scene.run(SWEPT).await;
    let copy = scene.copy()?;
    for scene in [scene, &copy] {
        scene.witness.spare(5);
    }
    copy.start(COPY);
    copy.witness
        .outside(&held(scene).context("the Secret holds no living key")?);
    rotate(scene).await?;
    scene.run(SWEPT).await;
    let (own, others) = (held(scene), held(&copy));
    ensure!(
        own.is_some() && others.is_some() && own != others,
        "{own:?} and {others:?}"
    );
    for address in [&key, &account] {
        copy.delete(address).await?;
    }
    scene.run(SWEPT).await;
    // What is of the original's making holds the copy, until a person says that it stays.
    for address in [&key, &account] {
        let stays = json!({"spec": {"deletionPolicy": "Retain"}});
        copy.patch(address, stays).await?;
        copy.until_gone(address, MENDED).await?;
    }
    copy.stop(COPY);
    copy.verdict()?;
    ensure!(held(scene) == own, "the copy has ended {own:?}");
    take_the_note_off(scene).await
}

/// A person says that there is no other cluster.
async fn take_the_note_off(scene: &Scene) -> Result<()> {
    let note = json!({"metadata": {"annotations": {"apikeys.dev/identity-shared": null}}});
    scene.patch(&Address::account("ci"), note).await.map(drop)
}

/// The operator's own key is an administrator's for a while; then it is its own again.
pub(super) async fn lend_the_credential(scene: &Scene) -> Result<()> {
    scene.until_ready(&Address::key(KEY), MENDED).await?;
    let (own, admin, value) = scene.twin.look(|twin, _| {
        let start = twin.start();
        let (own, admin) = (start.operator.user.clone(), start.admin.user.clone());
        (own, admin, start.operator.key.clone())
    });
    let key = scene.twin.look(|twin, now| twin.whose(now, &value));
    let key = key.context("the operator has no key")?.id;
    let give = |user: String| Change::GiveKey {
        key: key.clone(),
        user,
    };
    scene.twin.change(give(admin))?;
    scene.run(MENDED).await;
    scene.twin.change(give(own))?;
    let server = Address::server("octopus");
    scene.until_ready(&server, MENDED).await?;
    rotate(scene).await
}

/// The key expires, its Secret goes, and an hour later its ApiKey.
pub(super) async fn outlive(scene: &Scene) -> Result<()> {
    let address = Address::key(KEY);
    scene.until_ready(&address, MENDED).await?;
    let held = held(scene).context("the Secret holds no living key")?;
    let hour = MINUTE * 60;
    scene
        .until("it has expired", hour * 3, |scene| {
            scene.reason(&address) == "Expired"
        })
        .await?;
    scene.until_gone(&address, hour * 2).await?;
    ensure!(scene.living().is_empty(), "{held} is not the last");
    Ok(())
}

/// The account goes on the server, and its keys with it.
pub(super) async fn delete_the_account(scene: &Scene) -> Result<()> {
    scene.until_ready(&Address::key(KEY), MENDED).await?;
    let lost = held(scene);
    for key in scene.living() {
        scene.witness.outside(&key.id);
    }
    let user = ACCOUNT.to_owned();
    scene.twin.change(Change::Delete { user })?;
    replaced(scene, lost).await
}
