//! One disturbance at each remote effect of a whole life, one life for each.
//!
//! The effects are not listed anywhere: they are those that the operator has in an undisturbed life.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};
use simulation::effect::Process;
use simulation::life::Life;
use simulation::manifests::Address;
use simulation::scene::{OPERATOR, Scene, play};
use simulation::script::{Act, Moment, Rule};

use crate::life::Test;

const SECOND: Duration = Duration::from_secs(1);
/// How many lives that come to a wrong end are told of.
const MOST_TOLD: usize = 3;

pub(super) fn tests() -> Vec<Test> {
    let crash = |moment| move || Act::Crash(moment);
    let (before, after) = (crash(Moment::Before), crash(Moment::After));
    vec![
        test("crash_before", before, Aftermath::Nothing),
        test("crash_after", after, Aftermath::Nothing),
        life("crash_before_in_a_whole_life", Life::Whole, before),
        life("crash_after_in_a_whole_life", Life::Whole, after),
        life("answer_lost_in_a_whole_life", Life::Whole, || Act::Lose),
        life("crash_before_in_a_granted_life", Life::Granted, before),
        life("crash_after_in_a_granted_life", Life::Granted, after),
        life("crash_after_in_a_restored_life", Life::Restored, after),
        life("crash_after_and_put_back", Life::PutBack, after),
        life("crash_after_in_a_swapped_life", Life::Swapped, after),
        life("crash_before_in_a_retained_life", Life::Retained, before),
        life("crash_after_in_a_retained_life", Life::Retained, after),
        life("crash_before_in_a_rotating_life", Life::Rotating, before),
        life("crash_after_in_a_rotating_life", Life::Rotating, after),
        life("answer_lost_in_a_rotating_life", Life::Rotating, || {
            Act::Lose
        }),
        life("crash_before_in_a_bereft_life", Life::Bereft, before),
        life("crash_after_in_a_bereft_life", Life::Bereft, after),
        life("crash_before_in_a_fleeting_life", Life::Fleeting, before),
        life("crash_after_in_a_fleeting_life", Life::Fleeting, after),
        life("answer_lost_in_a_fleeting_life", Life::Fleeting, || {
            Act::Lose
        }),
        life("crash_before_in_a_garbled_life", Life::Garbled, before),
        life("crash_after_in_a_garbled_life", Life::Garbled, after),
        life("crash_before_beside_a_copy", Life::Copied, before),
        life("crash_after_beside_a_copy", Life::Copied, after),
        life("crash_before_in_a_slotted_life", Life::Slotted, before),
        life("crash_after_in_a_slotted_life", Life::Slotted, after),
        life("answer_lost_in_a_slotted_life", Life::Slotted, || Act::Lose),
        life("crash_before_on_stackstorm", Life::OnStackStorm, before),
        life("crash_after_on_stackstorm", Life::OnStackStorm, after),
        life("answer_lost_on_stackstorm", Life::OnStackStorm, || {
            Act::Lose
        }),
        life("lands_59_s_later_on_stackstorm", Life::OnStackStorm, || {
            late(59)
        }),
        life(
            "crash_after_a_fleeting_life_on_stackstorm",
            Life::FleetingOnStackStorm,
            after,
        ),
        life(
            "crash_before_on_elasticsearch",
            Life::OnElasticsearch,
            before,
        ),
        life("crash_after_on_elasticsearch", Life::OnElasticsearch, after),
        life(
            "answer_lost_on_elasticsearch",
            Life::OnElasticsearch,
            || Act::Lose,
        ),
        life(
            "lands_59_s_later_on_elasticsearch",
            Life::OnElasticsearch,
            || late(59),
        ),
        life("crash_before_vouched_for", Life::Vouched, before),
        life("crash_after_vouched_for", Life::Vouched, after),
        life("answer_lost_vouched_for", Life::Vouched, || Act::Lose),
        test("crash_before_and_status_wiped", before, Aftermath::Wipe),
        test("crash_after_and_status_wiped", after, Aftermath::Wipe),
        test("crash_before_and_replaced", before, Aftermath::Replace),
        test("crash_after_and_replaced", after, Aftermath::Replace),
        test("crash_before_and_old_intent", before, Aftermath::OldIntent),
        test("crash_after_and_old_intent", after, Aftermath::OldIntent),
        test("crash_before_and_clock_ahead", before, Aftermath::Clock(90)),
        test("crash_after_and_clock_behind", after, Aftermath::Clock(-90)),
        test(
            "watches_begin_anew",
            || Act::Slow(SECOND),
            Aftermath::Compact,
        ),
        test("answer_lost", || Act::Lose, Aftermath::Nothing),
        test("connection_refused", || Act::Refuse, Aftermath::Nothing),
        test("lands_20_s_later", || late(20), Aftermath::Nothing),
        test("lands_59_s_later", || late(59), Aftermath::Nothing),
        test(
            "answered_40_s_later",
            || Act::Slow(SECOND * 40),
            Aftermath::Nothing,
        ),
    ]
}

fn late(seconds: u32) -> Act {
    Act::Late(SECOND * seconds)
}

/// What else happens after the disturbance, before the operator is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aftermath {
    Nothing,
    /// The status of everything is wiped.
    Wipe,
    /// `kubectl replace` of the manifests: annotations and finalizers go.
    Replace,
    /// Somebody applies the ApiKey's first intent again and again.
    OldIntent,
    /// The API server forgets its history: watches begin anew.
    Compact,
    /// The next life is on a machine whose clock is ahead, or behind, by so many seconds.
    Clock(i64),
}

fn test(
    name: &str,
    act: impl Fn() -> Act + Copy + Send + Sync + 'static,
    after: Aftermath,
) -> Test {
    let body = move || every_effect(Life::Plain, act, after);
    (format!("matrix::{name}"), Box::new(body))
}

fn life(name: &str, life: Life, act: impl Fn() -> Act + Copy + Send + Sync + 'static) -> Test {
    let body = move || every_effect(life, act, Aftermath::Nothing);
    (format!("matrix::{name}"), Box::new(body))
}

fn every_effect(
    life: Life,
    act: impl Fn() -> Act + Copy + Send + Sync,
    aftermath: Aftermath,
) -> Result<()> {
    let effects = life.effects()?;
    let mut wrong = Vec::new();
    let done = AtomicUsize::new(0);
    for (number, effect) in effects.iter().enumerate() {
        let done = &done;
        let outcome = play(|| async move {
            let scene = Scene::new().await?;
            scene.start(OPERATOR);
            let rule = Rule::effect(act(), &Process::new(OPERATOR), number);
            scene
                .act(disturbed(&scene, life, rule, (aftermath, done)))
                .await
        });
        if let Err(error) = outcome {
            wrong.push(format!(
                "{:?} at effect {number} ({effect}), then {aftermath:?}:\n{error:#}",
                act()
            ));
        }
    }
    let done = done.into_inner();
    ensure!(
        done > effects.len() / 4,
        "{aftermath:?} was done {done} times"
    );
    verdict(&wrong, effects.len())
}

/// Tells of some of the lives that came to a wrong end.
///
/// # Errors
/// When there are any.
pub(super) fn verdict(wrong: &[String], lives: usize) -> Result<()> {
    let told = wrong.len().min(MOST_TOLD);
    ensure!(
        wrong.is_empty(),
        "{} of {lives} lives came to a wrong end\n{}",
        wrong.len(),
        wrong[..told].join("\n\n")
    );
    Ok(())
}

async fn disturbed(
    scene: &Scene,
    life: Life,
    rule: Rule,
    (aftermath, done): (Aftermath, &AtomicUsize),
) -> Result<()> {
    scene.witness.spare(1);
    scene.keep_down(OPERATOR);
    let ticket = scene.world.recorder.script(rule);
    let story = life.live(scene);
    let meddle = async {
        ticket.met().await;
        scene.run(SECOND).await;
        done.fetch_add(after(scene, aftermath).await?, Ordering::Relaxed);
        scene.restart(OPERATOR);
        Ok(())
    };
    let story = async {
        story.await?;
        ensure!(ticket.count() == 1, "nothing was disturbed");
        Ok(())
    };
    tokio::try_join!(story, meddle)?;
    Ok(())
}

/// Says whether anything was there to do it with.
async fn after(scene: &Scene, aftermath: Aftermath) -> Result<usize> {
    let mut done = false;
    let key_address = Address::key("deploys");
    match aftermath {
        Aftermath::Nothing => done = true,
        Aftermath::Wipe => {
            for address in [
                key_address,
                Address::account("ci"),
                Address::server("octopus"),
            ] {
                if scene.get(&address).is_some() {
                    done = true;
                    scene
                        .patch_status(&address, json!({"status": null}))
                        .await?;
                }
            }
        }
        Aftermath::Replace => {
            // An account that was just made, and whose ServiceAccount says so nowhere any more, is
            // anybody's: only a person can tell.
            let account_is_known = |live: &Value| live["status"]["id"].is_string();
            for (manifest, may) in [(Life::Plain.account(), true), (Life::Plain.key(), false)] {
                let live = scene.get(&Address::of(&manifest)?);
                let live = live.filter(|live| live["metadata"]["deletionTimestamp"].is_null());
                if live.is_some_and(|live| !may || account_is_known(&live)) {
                    done = true;
                    scene.replace(&manifest).await?;
                }
            }
        }
        Aftermath::OldIntent => {
            let live = scene.get(&key_address);
            let intent = live.map(|live| live["metadata"]["annotations"][INTENT].clone());
            if let Some(Value::String(intent)) = intent {
                done = true;
                let again = scene.clone();
                tokio::spawn(async move { old_intent(&again, &intent).await });
            }
        }
        Aftermath::Compact => {
            done = true;
            scene.compact();
        }
        Aftermath::Clock(seconds) => {
            done = true;
            scene.jump(OPERATOR, SignedDuration::from_secs(seconds));
        }
    }
    Ok(usize::from(done))
}

const INTENT: &str = "apikeys.dev/intent";

/// Applies an intent again and again for a while, as a GitOps tool would that has it in its
/// manifests.
async fn old_intent(scene: &Scene, intent: &str) {
    let address = Address::key("deploys");
    for _ in 0..60 {
        let patch = json!({"metadata": {"annotations": {INTENT: intent}}});
        // The ApiKey may be gone by now.
        drop(scene.patch(&address, patch).await);
        scene.run(SECOND * 20).await;
    }
    if let Some(key) = scene.get(&address) {
        let uid = key["metadata"]["uid"].as_str().unwrap_or_default();
        let made = scene.witness.made(uid);
        if made > 4 {
            scene.complain(format!("{made} keys were made"));
        }
    }
}
