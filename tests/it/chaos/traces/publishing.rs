//! A Publish that was sent, lands late, or whose answer is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use jiff::SignedDuration;
use simulation::scene::Scene;
use simulation::script::{Act, Moment, Rule, Ticket};

use super::{
    A, B, MINT, MINUTE, OPEN, OVER, PUBLISH, REHEARSE, SECOND, Step, apply, goes, ground, held,
    hold, intent, key, lands, lives, next, one_key, revoked, rotate, script, secret, serial,
    settles, test,
};
use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("t02_a_paused_publish_lands_after_a_deletion", t02),
        test("t03_a_publish_without_an_answer_lands_late", t03),
        test("t04_a_publish_lands_unheard_before_a_deletion", t04),
        test("t05_a_second_copy_lands_after_a_rotation", t05),
        test("t06_a_publish_lands_on_a_revoked_api_key", t06),
        test("t13_a_secret_does_not_outlive_its_api_key", t13),
        test("t14_every_open_takes_the_next_serial", t14),
        test("t16_the_serial_in_the_secret_never_goes_down", t16),
        test("t20_no_copy_is_sent_after_its_deadline", t20),
    ];
    for (name, step) in [("rehearse", REHEARSE), ("mint", MINT), ("publish", PUBLISH)] {
        tests.push(test(
            &format!("t01_a_paused_publish_lands_before_the_next_{name}"),
            move |scene| t01(scene, step),
        ));
    }
    tests
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

/// What was answered to each Publish, in the order in which they were sent.
fn published(scene: &Scene) -> Vec<Option<StatusCode>> {
    let mut effects = scene.world.recorder.effects();
    effects.retain(|effect| PUBLISH(&effect.call));
    effects.iter().map(|effect| effect.status).collect()
}

/// As [`lands`], when an attempt has to be over first.
async fn lands_after(scene: &Scene, other: &str) -> Result<String> {
    scene.run(OVER).await;
    lands(scene, Some(other)).await
}
