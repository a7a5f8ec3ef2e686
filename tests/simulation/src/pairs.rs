//! Two crashes in one life: at an effect of the first process, and at one of the second.

use anyhow::{Context as _, Result, ensure};

use crate::effect::{Call, Process};
use crate::life::Life;
use crate::scene::{OPERATOR, Scene, play};
use crate::script::{Act, Moment, Rule};

/// Where a process crashes: before or after its effect of this number, from 0.
pub type Crash = (usize, Moment);

/// Two crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// In which life.
    pub life: Life,
    /// Of the first process.
    pub first: Crash,
    /// Of the second.
    pub second: Crash,
}

/// Whether the second process came as far as its crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It did.
    Crashed,
    /// It had no more effects.
    Short,
}

const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

impl Pair {
    /// Plays it.
    ///
    /// # Errors
    /// What went wrong that must not.
    pub fn play(self) -> Result<Reach> {
        let mut reach = Reach::Short;
        play(|| async {
            let scene = Scene::new().await?;
            scene.witness.spare(2);
            scene.start(OPERATOR);
            let script = |life: u32, (number, moment): Crash| {
                let rule = Rule::once(Act::Crash(moment), of_life(life)).after(number);
                scene.world.recorder.script(rule)
            };
            let first = script(0, self.first);
            let second = script(1, self.second);
            scene.act(self.life.live(&scene)).await?;
            ensure!(first.count() == 1, "the first process did not crash");
            if second.count() == 1 {
                reach = Reach::Crashed;
            }
            Ok(())
        })
        .with_context(|| format!("{self:?}"))?;
        Ok(reach)
    }
}

/// The effects of one life of the operator.
fn of_life(life: u32) -> impl FnMut(&Call) -> bool + Send + 'static {
    let process = Process {
        life,
        ..Process::new(OPERATOR)
    };
    move |call: &Call| call.process == process && call.is_effect()
}

/// The lives in which pairs are played: of a new key, and of one that is replaced and lost.
pub const LIVES: [Life; 2] = [Life::Plain, Life::Rotating];

/// Every first crash of a life.
///
/// # Errors
/// Those of an undisturbed life.
pub fn firsts(life: Life) -> Result<Vec<Crash>> {
    let effects = life.effects()?.len();
    let both = |number| MOMENTS.map(|moment| (number, moment));
    Ok((0..effects).flat_map(both).collect())
}

/// Plays every second crash after this first one, every `stride`th from `from` on; says how many
/// there were.
///
/// # Errors
/// Of the first that goes wrong.
pub fn after(life: Life, first: Crash, from: usize, stride: usize) -> Result<usize> {
    let seconds = (0..).flat_map(|number| MOMENTS.map(|moment| (number, moment)));
    let mut played = 0;
    for second in seconds.skip(from).step_by(stride.max(1)) {
        let pair = Pair {
            life,
            first,
            second,
        };
        if pair.play()? == Reach::Short {
            break;
        }
        played += 1;
    }
    Ok(played)
}
