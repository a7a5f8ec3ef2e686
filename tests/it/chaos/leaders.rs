//! Two leaders, interleaved at every effect: one is held before it, or after it, and stands still for
//! a while; the other works; then the first wakes up, in the belief that no time has passed.

use std::time::Duration;

use anyhow::{Result, ensure};
use simulation::effect::Process;
use simulation::life::Life;
use simulation::scene::{Scene, play};
use simulation::script::{Act, Moment, Rule};

use super::matrix::verdict;
use crate::life::Test;

const A: &str = "a";
const B: &str = "b";

pub(super) fn tests() -> Vec<Test> {
    // What is held before its effect lands late: no later than the protocol allows for.
    let pauses = [
        (Moment::Before, 5),
        (Moment::Before, 160),
        (Moment::After, 720),
    ];
    let plain = pauses.map(|(moment, seconds)| (Life::Plain, moment, seconds));
    let others = [Life::Rotating, Life::Whole, Life::Slotted, Life::Fleeting];
    let others = others.map(|life| (life, Moment::Before, 160));
    let test = |(life, moment, seconds)| -> Test {
        let name = format!("leaders::{seconds}_s_{moment:?}_in_a_{life:?}_life").to_lowercase();
        (name, Box::new(move || every_effect(life, moment, seconds)))
    };
    plain.into_iter().chain(others).map(test).collect()
}

fn every_effect(life: Life, moment: Moment, seconds: u64) -> Result<()> {
    let effects = life.effects()?;
    let mut wrong = Vec::new();
    for (number, effect) in effects.iter().enumerate() {
        let outcome = play(|| async move {
            let scene = Scene::new().await?;
            let pause = Duration::from_secs(seconds);
            scene.act(held(&scene, life, number, moment, pause)).await
        });
        if let Err(error) = outcome {
            wrong.push(format!(
                "A stands still for {seconds} s {moment:?} effect {number} ({effect}):\n{error:#}"
            ));
        }
    }
    verdict(&wrong, effects.len())
}

async fn held(
    scene: &Scene,
    life: Life,
    number: usize,
    moment: Moment,
    pause: Duration,
) -> Result<()> {
    scene.witness.spare(1);
    scene.start(A);
    let rule = Rule::effect(Act::Hold(moment), &Process::new(A), number);
    let ticket = scene.world.recorder.script(rule);
    let story = async {
        life.live(scene).await?;
        ensure!(ticket.count() == 1, "A was not held");
        Ok(())
    };
    let other = async {
        ticket.met().await;
        scene.pause(A);
        scene.start(B);
        scene.run(pause).await;
        ticket.release();
        scene.wake(A);
        Ok(())
    };
    tokio::try_join!(story, other)?;
    Ok(())
}
