//! What is withdrawn, wiped or put back as it was: intents, statuses, Secrets.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use simulation::manifests::{self};
use simulation::scene::Scene;
use simulation::script::{Act, Moment};

use super::{
    A, B, INTENT, KEY, LOOK, MINT, MINUTE, PUBLISH, RECORD, REVOKE, SECOND, apply, goes, ground,
    held, hold, intent, key, lands, lives, one_key, revoked, rotate, script, secret, settles, test,
    uid,
};
use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("t07_the_secret_goes_before_its_key", t07),
        test("t08_a_withdrawn_rotation_leaves_a_key", t08),
        test("t09_a_list_from_before_the_publish", t09),
        test("t10_a_key_that_only_consumers_know", t10),
        test("t11_an_older_intent_hides_an_attempt", t11),
        test("t12_a_dropped_intent_makes_a_deletion_wait", t12),
        test("t15_a_mint_lands_at_the_last_moment", t15),
        test("t17_a_wiped_status_revokes_nothing", async |scene| {
            t17(scene, Value::Null).await
        }),
        test("t17_a_forged_status_revokes_nothing", async |scene| {
            t17(scene, json!({"retiring": []})).await
        }),
    ]
}

async fn t07(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let revoke = script(&scene, A, REVOKE, Act::Crash(Moment::Before));
    scene.keep_down(A);
    revoked(&scene, true).await?;
    revoke.met().await;
    ensure!(scene.get(&secret()).is_none(), "the Secret goes first");
    revoked(&scene, false).await?;
    scene.restart(A);
    settles(&scene).await
}

async fn t08(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let k1 = held(&scene)?;
    let late = script(&scene, A, MINT, Act::Late(SECOND * 20));
    scene.keep_down(A);
    rotate(&scene, Some("once")).await?;
    late.met().await;
    scene.crash(A);
    rotate(&scene, None).await?;
    scene.restart(A);
    scene.run(SECOND * 30).await;
    ensure!(scene.living().len() == 2, "k2 should have landed");
    settles(&scene).await?;
    ensure!(held(&scene)? == k1);
    Ok(())
}

async fn t09(scene: Scene) -> Result<()> {
    one_key(&scene, "0s").await?;
    let k1 = held(&scene)?;
    scene.run(SECOND * 700).await;
    let publish = hold(&scene, A, PUBLISH);
    rotate(&scene, Some("once")).await?;
    publish.met().await;
    // B's list shows k2, and is on its way to B when k2 is published.
    let list = script(&scene, B, LOOK, Act::Hold(Moment::After));
    scene.start(B);
    list.met().await;
    scene.pause(B);
    publish.release();
    let k2 = lands(&scene, Some(&k1)).await?;
    scene.run(SECOND * 700).await;
    list.release();
    scene.wake(B);
    scene.run(MINUTE * 5).await;
    ensure!(held(&scene)? == k2);
    settles(&scene).await
}

async fn t10(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let record = script(&scene, A, RECORD, Act::Crash(Moment::Before));
    scene.keep_down(A);
    apply(&scene, "20m").await?;
    record.met().await;
    let k1 = held(&scene)?;
    scene.delete(&secret()).await?;
    scene.patch_status(&key(), json!({"status": null})).await?;
    scene.run(MINUTE * 20).await;
    scene.restart(A);
    lands(&scene, None).await?;
    lives(&scene, &k1)?;
    settles(&scene).await
}

async fn t11(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let older = intent(&scene)?;
    let late = script(&scene, A, MINT, Act::Late(SECOND * 20));
    scene.keep_down(A);
    rotate(&scene, Some("once")).await?;
    late.met().await;
    scene.crash(A);
    scene.delete(&key()).await?;
    let patch = json!({"metadata": {"annotations": {INTENT: older}}});
    scene.patch(&key(), patch).await?;
    let uid = uid(&scene)?;
    scene.restart(A);
    // The one exception: the orphan sweep ends k2.
    scene.until_gone(&key(), SECOND * 15).await?;
    ensure!(scene.witness.made(&uid) == 1, "k2 came before the Close");
    goes(&scene).await?;
    ensure!(scene.witness.made(&uid) == 2, "k2 has not landed");
    Ok(())
}

async fn t12(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let late = script(&scene, A, MINT, Act::Late(SECOND * 45));
    scene.keep_down(A);
    rotate(&scene, Some("once")).await?;
    late.met().await;
    scene.crash(A);
    let manifest = manifests::key(KEY, json!({"rotation": {"overlap": "20m"}}));
    scene.replace(&manifest).await?;
    scene.restart(A);
    let guarded = |scene: &Scene| {
        let object = scene.get(&key()).unwrap_or_default();
        object["metadata"]["finalizers"].is_array()
    };
    scene.until("it is guarded again", MINUTE, guarded).await?;
    scene.delete(&key()).await?;
    scene.run(SECOND * 40).await;
    ensure!(scene.get(&key()).is_some(), "it should wait for k2");
    goes(&scene).await
}

async fn t15(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    // Sent a moment after openedAt, it lands at the end of the minute, to the millisecond or so.
    let late = script(&scene, A, MINT, Act::Late(Duration::from_millis(59_900)));
    scene.keep_down(A);
    apply(&scene, "20m").await?;
    late.met().await;
    scene.crash(A);
    scene.restart(A);
    scene.delete(&key()).await?;
    let uid = uid(&scene)?;
    let landed = |scene: &Scene| scene.witness.made(&uid) == 1;
    scene.until("k1 landed", MINUTE * 2, landed).await?;
    goes(&scene).await
}

async fn t17(scene: Scene, status: Value) -> Result<()> {
    one_key(&scene, "0s").await?;
    let k1 = held(&scene)?;
    let record = script(&scene, A, RECORD, Act::Crash(Moment::Before));
    scene.keep_down(A);
    rotate(&scene, Some("once")).await?;
    record.met().await;
    let k2 = held(&scene)?;
    ensure!(k1 != k2);
    scene
        .patch_status(&key(), json!({"status": status}))
        .await?;
    scene.delete(&secret()).await?;
    scene.run(MINUTE * 5).await;
    scene.restart(A);
    lands(&scene, None).await?;
    lives(&scene, &k2)?;
    settles(&scene).await
}
