//! A life is the same whenever it is lived: its effects can be counted off, and what fails once fails
//! again. (Of two objects whose passes end in one instant, chance decides which kube looks at first:
//! schedules, with their many objects, may differ in that.)

use anyhow::{Result, bail, ensure};
use simulation::effect::Effect;
use simulation::life::Life;

use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    let test = |life: Life| -> Test {
        let name = format!("replay::{life:?}").to_lowercase();
        (name, Box::new(move || twice(life)))
    };
    Life::ALL.into_iter().map(test).collect()
}

fn twice(life: Life) -> Result<()> {
    let told = || -> Result<Vec<String>> { Ok(life.effects()?.into_iter().map(story).collect()) };
    let (first, second) = (told()?, told()?);
    let mut pairs = first.iter().zip(&second);
    if let Some((one, other)) = pairs.find(|(one, other)| one != other) {
        bail!("first it was\n  {one}\nand then\n  {other}");
    }
    let (first, second) = (first.len(), second.len());
    ensure!(first == second, "{first} effects, and then {second}");
    Ok(())
}

fn story(mut effect: Effect) -> String {
    // kube names an Event after the time of day.
    if let Some((place, _)) = effect.call.path.split_once("/events/") {
        effect.call.path = format!("{place}/events/_");
    }
    effect.to_string()
}
