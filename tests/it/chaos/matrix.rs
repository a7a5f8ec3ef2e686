//! One disturbance at each remote effect of a whole life, one life for each.
//!
//! The effects are not listed anywhere: they are those that the operator has in an undisturbed life.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use simulation::consumer::Habit;
use simulation::effect::{Effect, Process};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{OPERATOR, Scene, play};
use simulation::script::{Act, Moment, Rule};

use crate::life::Test;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// What nothing records is dead after this: 10 minutes, the overlap, two resyncs, and a little.
pub(super) const SWEPT: Duration = Duration::from_secs(60 * (10 + 20 + 2 * 5 + 5));
/// How many lives that come to a wrong end are told of.
const MOST_TOLD: usize = 3;

pub(super) fn tests() -> Vec<Test> {
    let crash = |moment| move || Act::Crash(moment);
    let (before, after) = (crash(Moment::Before), crash(Moment::After));
    vec![
        test("crash_before", before, Aftermath::Nothing),
        test("crash_after", after, Aftermath::Nothing),
        whole("crash_before_in_a_whole_life", before),
        whole("crash_after_in_a_whole_life", after),
        whole("answer_lost_in_a_whole_life", || Act::Lose),
        test("crash_before_and_status_wiped", before, Aftermath::Wipe),
        test("crash_after_and_status_wiped", after, Aftermath::Wipe),
        test("crash_before_and_replaced", before, Aftermath::Replace),
        test("crash_after_and_replaced", after, Aftermath::Replace),
        test("crash_before_and_old_intent", before, Aftermath::OldIntent),
        test("crash_after_and_old_intent", after, Aftermath::OldIntent),
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

/// How much there is in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// An account and a key are made and deleted.
    Plain,
    /// The account joins a team as well, its key is revoked and comes back, and in the end the account
    /// is disabled and stays.
    Whole,
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
}

fn test(
    name: &str,
    act: impl Fn() -> Act + Copy + Send + Sync + 'static,
    after: Aftermath,
) -> Test {
    let body = move || every_effect(Life::Plain, act, after);
    (format!("matrix::{name}"), Box::new(body))
}

fn whole(name: &str, act: impl Fn() -> Act + Copy + Send + Sync + 'static) -> Test {
    let body = move || every_effect(Life::Whole, act, Aftermath::Nothing);
    (format!("matrix::{name}"), Box::new(body))
}

fn every_effect(
    life: Life,
    act: impl Fn() -> Act + Copy + Send + Sync,
    aftermath: Aftermath,
) -> Result<()> {
    let effects = undisturbed(life)?;
    let mut wrong = Vec::new();
    for (number, effect) in effects.iter().enumerate() {
        let outcome = play(|| async move {
            let scene = Scene::new().await?;
            scene.start(OPERATOR);
            let rule = Rule::effect(act(), &Process::new(OPERATOR), number);
            scene.act(disturbed(&scene, life, rule, aftermath)).await
        });
        if let Err(error) = outcome {
            wrong.push(format!(
                "{:?} at effect {number} ({effect}), then {aftermath:?}:\n{error:#}",
                act()
            ));
        }
    }
    let told = wrong.len().min(MOST_TOLD);
    ensure!(
        wrong.is_empty(),
        "{} of {} lives came to a wrong end\n{}",
        wrong.len(),
        effects.len(),
        wrong[..told].join("\n\n")
    );
    Ok(())
}

/// The effects of the operator in a life in which nothing goes wrong.
fn undisturbed(life: Life) -> Result<Vec<Effect>> {
    let mut effects = Vec::new();
    play(|| async {
        let scene = Scene::new().await?;
        scene.start(OPERATOR);
        scene.act(live(&scene, life)).await?;
        effects = scene.effects(OPERATOR);
        Ok(())
    })?;
    ensure!(effects.len() > 15, "only {} effects", effects.len());
    Ok(effects)
}

async fn live(scene: &Scene, life: Life) -> Result<()> {
    begin(scene, life).await?;
    middle(scene, life).await?;
    end(scene, life).await
}

async fn disturbed(scene: &Scene, life: Life, rule: Rule, aftermath: Aftermath) -> Result<()> {
    scene.witness.spare(1);
    scene.keep_down(OPERATOR);
    let ticket = scene.world.recorder.script(rule);
    let story = live(scene, life);
    let meddle = async {
        ticket.met().await;
        scene.run(SECOND).await;
        after(scene, aftermath).await?;
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

/// The manifests, all at once.
async fn begin(scene: &Scene, life: Life) -> Result<()> {
    if life == Life::Whole {
        make_team(scene).await?;
    }
    let mut server = manifests::server();
    server["spec"]["resync"] = json!("5m");
    let credential = manifests::credential(&scene.credential());
    for manifest in [credential, server, account(life), key()] {
        scene.apply(&manifest).await?;
    }
    scene.consume(TEAM, "deploys", Habit::Once, MINUTE / 2);
    scene.consume(TEAM, "deploys", Habit::Again, MINUTE / 2);
    Ok(())
}

fn account(life: Life) -> Value {
    manifests::account(match life {
        Life::Plain => json!({}),
        Life::Whole => json!({
            "octopus": {"teams": [{"name": "Deployers"}]},
            "deletionPolicy": "Disable",
        }),
    })
}

/// The team that accounts may join.
async fn make_team(scene: &Scene) -> Result<()> {
    let admin = scene.twin.look(|twin, _| twin.start().admin.key.clone());
    let body = json!({"Name": "Deployers", "MemberUserIds": []});
    let request = http::Request::post("/api/teams")
        .header("X-Octopus-ApiKey", admin)
        .body(Bytes::from(body.to_string()))?;
    let answer = scene.twin.send(request).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(())
}

fn key() -> Value {
    manifests::key("deploys", json!({"rotation": {"overlap": "20m"}}))
}

/// The Secret holds a living key, and when the sweep has gone by, nothing else lives.
async fn middle(scene: &Scene, life: Life) -> Result<()> {
    if life == Life::Whole {
        revoke_and_take_back(scene).await?;
    }
    scene
        .until_ready(&Address::key("deploys"), MINUTE * 15)
        .await?;
    scene.run(SWEPT).await;
    let living = scene.living();
    let published = scene
        .published(TEAM, "deploys")
        .context("the Secret holds no living key")?;
    ensure!(
        living == [published.clone()],
        "the Secret holds {}, and these live: {living:?}",
        published.id
    );
    ensure!(
        scene.says(&Address::key("deploys"), "Ready", "True"),
        "not Ready any more"
    );
    Ok(())
}

/// The key is revoked, and comes back as another one.
async fn revoke_and_take_back(scene: &Scene) -> Result<()> {
    let address = Address::key("deploys");
    scene.until_ready(&address, MINUTE * 15).await?;
    let wish = |revoked: bool| json!({"spec": {"revoked": revoked}});
    scene.patch(&address, wish(true)).await?;
    scene
        .until("it is revoked", MINUTE * 15, |scene| {
            scene.reason(&address) == "Revoked" && scene.living().is_empty()
        })
        .await?;
    scene.patch(&address, wish(false)).await?;
    Ok(())
}

/// Everything is deleted at once; nothing is left.
async fn end(scene: &Scene, life: Life) -> Result<()> {
    let all = [
        Address::key("deploys"),
        Address::account("ci"),
        Address::server("octopus"),
    ];
    for address in &all {
        scene.delete(address).await?;
    }
    for address in &all {
        scene.until_gone(address, MINUTE * 15).await?;
    }
    scene.run(MINUTE).await;
    ensure!(scene.living().is_empty(), "a key is left");
    let left = scene.get(&Address::secret(TEAM, "deploys"));
    ensure!(left.is_none(), "the Secret is left");
    let accounts = scene.twin.view();
    let account = accounts.account("team-a.ci");
    match life {
        Life::Plain => ensure!(account.is_none(), "the account is left"),
        Life::Whole => ensure!(
            account.is_some_and(|account| !account.is_active),
            "the account should be disabled"
        ),
    }
    let credential = scene.get(&Address::secret(TEAM, "octopus-credential"));
    let finalizers = &credential.context("the credential is gone")?["metadata"]["finalizers"];
    ensure!(finalizers.is_null(), "the credential is held: {finalizers}");
    Ok(())
}

async fn after(scene: &Scene, aftermath: Aftermath) -> Result<()> {
    let key_address = Address::key("deploys");
    match aftermath {
        Aftermath::Nothing => {}
        Aftermath::Wipe => {
            for address in [
                key_address,
                Address::account("ci"),
                Address::server("octopus"),
            ] {
                if scene.get(&address).is_some() {
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
            for (manifest, may) in [(account(Life::Plain), true), (key(), false)] {
                let live = scene.get(&Address::of(&manifest)?);
                let live = live.filter(|live| live["metadata"]["deletionTimestamp"].is_null());
                if live.is_some_and(|live| !may || account_is_known(&live)) {
                    scene.replace(&manifest).await?;
                }
            }
        }
        Aftermath::OldIntent => {
            let live = scene.get(&key_address);
            let intent = live.map(|live| live["metadata"]["annotations"][INTENT].clone());
            if let Some(Value::String(intent)) = intent {
                let again = scene.clone();
                tokio::spawn(async move { old_intent(&again, &intent).await });
            }
        }
    }
    Ok(())
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
