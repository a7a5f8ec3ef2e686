//! The schedules of the protocol's traces, each by its number: two operators in one world, A and B,
//! one of them held where the trace says. n1, n2 are attempts with keys k1, k2.
//!
//! What must never be, the witness says; here is what makes each schedule the one that it is, and
//! what must come of it.

mod late;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::effect::{Call, Door};
use simulation::kubernetes::Durability;
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{Scene, play};
use simulation::script::{Act, Moment, Rule, Ticket};

use testbed::twins::octopus::Change;
use tokio::time::timeout;

use crate::life::Test;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// When an attempt without an answer is over, and the next may be opened.
const OVER: Duration = Duration::from_secs(61);
/// What nothing records is dead after this: 10 minutes, the overlap, two resyncs, and a little.
const SWEPT: Duration = Duration::from_secs(60 * (10 + 20 + 2 * 5 + 5));
/// No schedule takes longer.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
const A: &str = "a";
const B: &str = "b";
/// The ApiKey, and its Secret.
const KEY: &str = "deploys";
const INTENT: &str = "apikeys.dev/intent";

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("t02_a_paused_publish_lands_after_a_deletion", t02),
        test("t03_a_publish_without_an_answer_lands_late", t03),
        test("t04_a_publish_lands_unheard_before_a_deletion", t04),
        test("t05_a_second_copy_lands_after_a_rotation", t05),
        test("t06_a_publish_lands_on_a_revoked_api_key", t06),
        test("t07_the_secret_goes_before_its_key", t07),
        test("t08_a_withdrawn_rotation_leaves_a_key", t08),
        test("t09_a_list_from_before_the_publish", t09),
        test("t10_a_key_that_only_consumers_know", t10),
        test("t11_an_older_intent_hides_an_attempt", t11),
        test("t12_a_dropped_intent_makes_a_deletion_wait", t12),
        test("t13_a_secret_does_not_outlive_its_api_key", t13),
        test("t14_every_open_takes_the_next_serial", t14),
        test("t15_a_mint_lands_at_the_last_moment", t15),
        test("t16_the_serial_in_the_secret_never_goes_down", t16),
        test("t18_an_unseen_deletion_of_an_account", t18_of_an_account),
        test(
            "t18_an_account_whose_deletion_is_unseen",
            t18_unseen_account,
        ),
        test("t17_a_wiped_status_revokes_nothing", async |scene| {
            t17(scene, Value::Null).await
        }),
        test("t17_a_forged_status_revokes_nothing", async |scene| {
            t17(scene, json!({"retiring": []})).await
        }),
    ];
    tests.extend(late::tests());
    for (name, step) in [("rehearse", REHEARSE), ("mint", MINT), ("publish", PUBLISH)] {
        tests.push(test(
            &format!("t01_a_paused_publish_lands_before_the_next_{name}"),
            move |scene| t01(scene, step),
        ));
    }
    tests.push(test("t20_no_copy_is_sent_after_its_deadline", t20));
    for (name, step) in [("look", LOOK), ("revoke", REVOKE)] {
        tests.push(test(
            &format!("t19_another_server_answers_the_{name}"),
            move |scene| t19(scene, step),
        ));
    }
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
    tests
}

fn test<F: Future<Output = Result<()>>>(
    name: &str,
    act: impl FnOnce(Scene) -> F + Send + 'static,
) -> Test {
    let body = move || {
        play(|| async move {
            let scene = Scene::new().await?;
            let story = act(scene.clone());
            scene
                .act(async {
                    let told = timeout(LONGEST, story).await;
                    told.context("the schedule does not come to its next point")?
                })
                .await
        })
    };
    (format!("traces::{name}"), Box::new(body))
}

/// Whether a call is of this step.
type Step = fn(&Call) -> bool;

const LOOK: Step = |call| is_server(call) && call.method == Method::GET && is_keys(call);
const OPEN: Step = |call| call.method == Method::PATCH && call.path.ends_with("/apikeys/deploys");
const REHEARSE: Step = |call| is_secret(call) && call.durability == Durability::Rehearsed;
const MINT: Step = |call| is_server(call) && call.method == Method::POST && is_keys(call);
const PUBLISH: Step = |call| {
    let writes = call.method == Method::POST || call.method == Method::PATCH;
    is_secret(call) && writes && call.durability == Durability::Lasting
};
const RECORD: Step = |call| call.path.ends_with("/apikeys/deploys/status");
const REVOKE: Step = |call| is_server(call) && call.method == Method::DELETE;

fn is_server(call: &Call) -> bool {
    matches!(call.door, Door::Server(_))
}

fn is_keys(call: &Call) -> bool {
    call.path.contains("/api/users/") && call.path.ends_with("/apikeys")
}

/// The Secret of the ApiKey: by its name, or made among all of its namespace.
fn is_secret(call: &Call) -> bool {
    let home = "/api/v1/namespaces/team-a/secrets";
    call.door == Door::Kubernetes
        && (call.path == format!("{home}/{KEY}")
            || (call.path == home && call.method == Method::POST))
}

/// The next call of this step by this operator, and no other.
fn next(who: &'static str, step: Step) -> impl FnMut(&Call) -> bool + Send + 'static {
    move |call: &Call| call.process.name.as_ref() == who && step(call)
}

/// Does this to the next call of this step by this operator.
fn script(scene: &Scene, who: &'static str, step: Step, act: Act) -> Ticket {
    let rule = Rule::once(act, next(who, step));
    scene.world.recorder.script(rule)
}

/// Holds the next call of this step by this operator before its effect.
fn hold(scene: &Scene, who: &'static str, step: Step) -> Ticket {
    script(scene, who, step, Act::Hold(Moment::Before))
}

fn key() -> Address {
    Address::key(KEY)
}

fn secret() -> Address {
    Address::secret(TEAM, KEY)
}

/// Connection and account, and A at work.
async fn ground(scene: &Scene) -> Result<()> {
    scene.start(A);
    let mut server = manifests::server();
    server["spec"]["resync"] = json!("5m");
    let credential = manifests::credential(&scene.credential());
    for manifest in [credential, server, manifests::account(json!({}))] {
        scene.apply(&manifest).await?;
    }
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    // The schedules cut off attempts: each may leave one more key alive for a while.
    scene.witness.spare(2);
    Ok(())
}

/// The ApiKey, and two workloads that use it.
async fn apply(scene: &Scene, overlap: &str) -> Result<()> {
    let manifest = manifests::key(KEY, json!({"rotation": {"overlap": overlap}}));
    scene.apply(&manifest).await?;
    scene.consume(TEAM, KEY, Habit::Once, MINUTE / 2);
    scene.consume(TEAM, KEY, Habit::Again, MINUTE / 2);
    Ok(())
}

/// A has made k1.
async fn one_key(scene: &Scene, overlap: &str) -> Result<()> {
    ground(scene).await?;
    apply(scene, overlap).await?;
    scene.until_ready(&key(), MINUTE).await?;
    Ok(())
}

async fn rotate(scene: &Scene, request: Option<&str>) -> Result<()> {
    let annotation = json!({"metadata": {"annotations": {"apikeys.dev/rotate": request}}});
    scene.patch(&key(), annotation).await?;
    Ok(())
}

async fn revoked(scene: &Scene, wish: bool) -> Result<()> {
    scene
        .patch(&key(), json!({"spec": {"revoked": wish}}))
        .await?;
    Ok(())
}

/// The uid of the ApiKey.
fn uid(scene: &Scene) -> Result<String> {
    let object = scene.get(&key()).context("no ApiKey")?;
    let uid = object["metadata"]["uid"].as_str();
    Ok(uid.context("no uid")?.to_owned())
}

/// The key that the Secret holds; it must live.
fn held(scene: &Scene) -> Result<String> {
    let published = scene.published(TEAM, KEY);
    Ok(published.context("the Secret holds no living key")?.id)
}

fn lives(scene: &Scene, id: &str) -> Result<()> {
    let living = scene.living();
    ensure!(living.iter().any(|key| key.id == id), "{id} should live");
    Ok(())
}

/// Waits until the Secret holds another key than this one.
async fn lands(scene: &Scene, other_than: Option<&str>) -> Result<String> {
    let now = |scene: &Scene| scene.published(TEAM, KEY).map(|key| key.id);
    scene
        .until("a Publish landed", MINUTE, |scene| {
            now(scene).is_some_and(|id| Some(id.as_str()) != other_than)
        })
        .await?;
    held(scene)
}

/// All graces, overlaps and resyncs go by: the Secret holds a living key, and nothing else lives.
async fn settles(scene: &Scene) -> Result<()> {
    scene.run(SWEPT).await;
    scene.until_ready(&key(), MINUTE * 6).await?;
    let held = held(scene)?;
    let living = scene.living();
    ensure!(
        living.len() == 1 && living[0].id == held,
        "the Secret holds {held}, and these live: {living:?}"
    );
    Ok(())
}

/// The ApiKey goes, and nothing is left.
async fn goes(scene: &Scene) -> Result<()> {
    scene.until_gone(&key(), MINUTE * 10).await?;
    scene.run(SWEPT).await;
    ensure!(scene.living().is_empty(), "a key is left");
    ensure!(scene.get(&secret()).is_none(), "the Secret is left");
    Ok(())
}

/// A's first Publish is on its way, and A is paused.
async fn paused_at_publish(scene: &Scene) -> Result<Ticket> {
    ground(scene).await?;
    let publish = hold(scene, A, PUBLISH);
    apply(scene, "20m").await?;
    publish.met().await;
    scene.pause(A);
    Ok(publish)
}

async fn t01(scene: Scene, step: Step) -> Result<()> {
    let publish = paused_at_publish(&scene).await?;
    let at = hold(&scene, B, step);
    scene.start(B);
    at.met().await;
    publish.release();
    let k1 = lands(&scene, None).await?;
    at.release();
    scene.run(MINUTE).await;
    lives(&scene, &k1)?;
    scene.wake(A);
    settles(&scene).await
}

async fn t02(scene: Scene) -> Result<()> {
    let publish = paused_at_publish(&scene).await?;
    scene.run(OVER).await;
    scene.start(B);
    let k2 = lands(&scene, None).await?;
    scene.run(SECOND).await;
    scene.pause(B);
    scene.delete(&secret()).await?;
    publish.release();
    let k1 = lands(&scene, Some(&k2)).await?;
    scene.wake(B);
    scene.run(MINUTE).await;
    lives(&scene, &k1)?;
    lives(&scene, &k2)?;
    scene.wake(A);
    settles(&scene).await
}

async fn t03(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    // No copy of the write is answered, and the first lands when A has given up, after two minutes.
    let lands = Duration::from_millis(120_500);
    let late = Rule::every(Act::Late(lands), next(A, PUBLISH)).times(60);
    let late = scene.world.recorder.script(late);
    apply(&scene, "20m").await?;
    late.met().await;
    let k1 = scene.living()[0].id.clone();
    let landed = |scene: &Scene| published(scene)[0] == Some(StatusCode::CREATED);
    scene.until("k1 lands", MINUTE * 3, landed).await?;
    ensure!(late.count() == 60, "A has not given up");
    lives(&scene, &k1)?;
    settles(&scene).await
}

async fn t04(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let k1 = held(&scene)?;
    let lost = script(&scene, A, PUBLISH, Act::Lose);
    rotate(&scene, Some("once")).await?;
    lost.met().await;
    let k2 = lands(&scene, Some(&k1)).await?;
    // The copy is refused, and before A has heard of it the Secret is gone.
    let copy = script(&scene, A, PUBLISH, Act::Hold(Moment::After));
    copy.met().await;
    let refused = |scene: &Scene| published(scene).last() == Some(&Some(StatusCode::CONFLICT));
    scene.until("the copy is refused", SECOND, refused).await?;
    scene.delete(&secret()).await?;
    copy.release();
    scene.run(MINUTE).await;
    lives(&scene, &k2)?;
    settles(&scene).await
}

/// What was answered to each Publish, in the order in which they were sent.
fn published(scene: &Scene) -> Vec<Option<StatusCode>> {
    let mut effects = scene.world.recorder.effects();
    effects.retain(|effect| PUBLISH(&effect.call));
    effects.iter().map(|effect| effect.status).collect()
}

async fn t05(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let lost = script(&scene, A, PUBLISH, Act::Lose);
    apply(&scene, "0s").await?;
    lost.met().await;
    let copy = hold(&scene, A, PUBLISH);
    copy.met().await;
    let k1 = held(&scene)?;
    scene.until_ready(&key(), MINUTE).await?;
    rotate(&scene, Some("once")).await?;
    let k2 = lands(&scene, Some(&k1)).await?;
    scene.run(SECOND * 90).await;
    scene.pause(A);
    scene.delete(&secret()).await?;
    copy.release();
    ensure!(lands(&scene, Some(&k2)).await? == k1);
    scene.wake(A);
    settles(&scene).await
}

async fn t06(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let late = script(&scene, A, PUBLISH, Act::Late(SECOND * 100));
    apply(&scene, "20m").await?;
    late.met().await;
    scene.crash(A);
    revoked(&scene, true).await?;
    scene.run(MINUTE).await;
    ensure!(scene.living().is_empty(), "k1 should be revoked");
    let absent = |scene: &Scene| scene.get(&secret()).is_none();
    let landed = |scene: &Scene| !absent(scene);
    scene.until("the late copy lands", MINUTE, landed).await?;
    scene.until("and is taken away", MINUTE, absent).await?;
    revoked(&scene, false).await?;
    settles(&scene).await
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

/// What the ApiKey's intent is.
fn intent(scene: &Scene) -> Result<String> {
    let object = scene.get(&key()).context("no ApiKey")?;
    let intent = object["metadata"]["annotations"][INTENT].as_str();
    Ok(intent.context("no intent")?.to_owned())
}

/// The serial of an intent.
fn serial(intent: &str) -> Option<&str> {
    intent.split('.').nth(1)
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

async fn t13(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let late = script(&scene, A, PUBLISH, Act::Late(SECOND * 115));
    apply(&scene, "20m").await?;
    late.met().await;
    scene.crash(A);
    scene.delete(&key()).await?;
    scene.until_gone(&key(), MINUTE * 2).await?;
    let landed = |scene: &Scene| published(scene).iter().all(Option::is_some);
    scene
        .until("the late copy lands", MINUTE * 2, landed)
        .await?;
    let copies = published(&scene);
    ensure!(copies == [Some(StatusCode::CREATED)], "{copies:?}");
    goes(&scene).await
}

async fn t14(scene: Scene) -> Result<()> {
    let publish = paused_at_publish(&scene).await?;
    let first = intent(&scene)?;
    let opened = script(&scene, B, OPEN, Act::Hold(Moment::After));
    scene.start(B);
    opened.met().await;
    scene
        .until("B has opened", MINUTE, |scene| {
            intent(scene).is_ok_and(|intent| intent != first)
        })
        .await?;
    ensure!(serial(&first) == Some("1") && serial(&intent(&scene)?) == Some("2"));
    opened.release();
    let k2 = lands(&scene, None).await?;
    publish.release();
    scene.wake(A);
    scene.run(MINUTE).await;
    ensure!(held(&scene)? == k2);
    settles(&scene).await
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

async fn t16(scene: Scene) -> Result<()> {
    one_key(&scene, "20m").await?;
    let k1 = held(&scene)?;
    let publish = hold(&scene, A, PUBLISH);
    rotate(&scene, Some("once")).await?;
    publish.met().await;
    scene.pause(A);
    scene.start(B);
    let k3 = lands_after(&scene, &k1).await?;
    publish.release();
    scene.wake(A);
    scene.run(MINUTE).await;
    ensure!(held(&scene)? == k3, "the serial went down");
    settles(&scene).await
}

/// As [`lands`], when an attempt has to be over first.
async fn lands_after(scene: &Scene, other: &str) -> Result<String> {
    scene.run(OVER).await;
    lands(scene, Some(other)).await
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

/// The same write of the Secret is sent again while nobody answers, but not for ever.
async fn t20(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let refused = Rule::every(Act::Refuse, next(A, PUBLISH)).times(150);
    scene.world.recorder.script(refused);
    apply(&scene, "20m").await?;
    scene.run(MINUTE * 6).await;
    let (mut opened, mut copies) = (None, 0);
    for heard in scene.calls(A, 0) {
        if OPEN(&heard.call) {
            opened = Some(heard.at);
        } else if PUBLISH(&heard.call) {
            copies += 1;
            let late = heard.at.duration_since(opened.context("no attempt")?);
            ensure!(
                late <= SignedDuration::from_secs(121),
                "sent after {late:#}"
            );
        }
    }
    ensure!(copies > 60, "only {copies} copies");
    settles(&scene).await
}
