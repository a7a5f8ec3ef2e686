//! Deletions that nobody has seen, and a server that is another one.

use anyhow::{Result, ensure};
use http::Method;
use serde_json::json;
use simulation::effect::Call;
use simulation::manifests::{self, Address};
use simulation::scene::Scene;
use simulation::script::{Act, Moment, Rule};
use testbed::twins::octopus::Change;

use super::{
    A, B, LOOK, MINT, MINUTE, PUBLISH, RECORD, REHEARSE, REVOKE, SECOND, Step, apply, goes, ground,
    held, hold, is_server, key, lives, one_key, secret, settles, test, uid,
};
use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("t18_an_unseen_deletion_of_an_account", t18_of_an_account),
        test("t18_an_unseen_successor_is_left_alone", t18_successor),
        test(
            "t18_an_account_whose_deletion_is_unseen",
            t18_unseen_account,
        ),
    ];
    for (name, step, made) in [
        ("rehearse", REHEARSE, 0),
        ("mint", MINT, 1),
        ("publish", PUBLISH, 1),
        ("record", RECORD, 1),
    ] {
        tests.push(test(
            &format!("t18_an_unseen_deletion_lands_before_the_{name}"),
            move |scene| t18(scene, step, made),
        ));
    }
    for (name, step) in [("look", LOOK), ("revoke", REVOKE)] {
        tests.push(test(
            &format!("t19_another_server_answers_the_{name}"),
            move |scene| t19(scene, step),
        ));
    }
    tests
}

/// Kubernetes removes an ApiKey for good whose deletion has seen no finalizer, though Open has put one
/// on before it lands: whatever is made for it goes at once.
async fn t18(scene: Scene, step: Step, made: usize) -> Result<()> {
    ground(&scene).await?;
    let held = hold(&scene, A, step);
    apply(&scene, "20m").await?;
    held.met().await;
    scene.overtake(&key());
    held.release();
    scene.run(MINUTE).await;
    ensure!(scene.living().is_empty(), "a key is left");
    ensure!(scene.get(&secret()).is_none(), "the Secret is left");
    let minted = scene.twin.done(testbed::twins::Effect::Mint);
    ensure!(minted == made, "{minted} keys were made");
    goes(&scene).await
}

/// The same of a ServiceAccount: no account is left on the server.
async fn t18_of_an_account(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let pinned: Step = |call| call.path.ends_with("/serviceaccounts/late");
    let created: Step = |call| is_server(call) && call.path.ends_with("/api/users");
    // After its finalizer was put on, and when its account is about to be made.
    for (step, moment) in [(pinned, Moment::After), (created, Moment::Before)] {
        let writes = move |call: &Call| {
            call.process.name.as_ref() == A && call.method != Method::GET && step(call)
        };
        let rule = Rule::once(Act::Hold(moment), writes);
        let held = scene.world.recorder.script(rule);
        let mut manifest = manifests::account(json!({}));
        manifest["metadata"]["name"] = json!("late");
        scene.apply(&manifest).await?;
        held.met().await;
        scene.run(SECOND).await;
        scene.overtake(&Address::account("late"));
        held.release();
        scene.run(MINUTE).await;
        let view = scene.twin.view();
        ensure!(view.account("team-a.late").is_none(), "the account is left");
    }
    Ok(())
}

/// An account that is going gets no more keys, though the watch does not tell of its deletion.
async fn t18_unseen_account(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let account = Address::account("ci");
    scene.world.api.hold(A, account.resource());
    scene.delete(&account).await?;
    apply(&scene, "20m").await?;
    let waits = |scene: &Scene| scene.reason(&key()) == "WaitingForAccount";
    scene.until("it waits", MINUTE, waits).await?;
    scene.run(MINUTE).await;
    let minted = scene.twin.done(testbed::twins::Effect::Mint);
    ensure!(minted == 0, "{minted} keys were made");
    scene.world.api.release(A, account.resource());
    scene.delete(&key()).await?;
    scene.until_gone(&account, MINUTE).await.map(drop)
}

/// A sees an ApiKey that B has ended, and that was applied anew: what the new one has is not A's.
async fn t18_successor(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    scene.world.api.hold(A, key().resource());
    scene.start(B);
    scene.run(SECOND).await;
    scene.delete(&key()).await?;
    scene.until_gone(&key(), MINUTE * 2).await?;
    apply(&scene, "20m").await?;
    scene.until_ready(&key(), MINUTE).await?;
    let k2 = held(&scene)?;
    scene.run(MINUTE * 20).await;
    ensure!(held(&scene)? == k2, "it was made anew");
    let made = scene.witness.made(&uid(&scene)?);
    ensure!(made == 1, "{made} keys were made");
    scene.world.api.release(A, key().resource());
    settles(&scene).await
}

/// Another server answers in place of ours, and knows nothing of our keys: that ends none of them.
async fn t19(scene: Scene, step: Step) -> Result<()> {
    one_key(&scene, "20m").await?;
    let k1 = held(&scene)?;
    let held = hold(&scene, A, step);
    scene.delete(&key()).await?;
    held.met().await;
    let ours = scene.twin.backup();
    scene.witness.outside(&k1);
    scene.twin.change(Change::Reinstall)?;
    scene.twin.change(Change::RevokeKey { key: k1.clone() })?;
    held.release();
    scene.run(MINUTE * 12).await;
    ensure!(
        scene.get(&key()).is_some(),
        "another server's word is taken"
    );
    scene.twin.restore(ours);
    lives(&scene, &k1)?;
    goes(&scene).await
}
