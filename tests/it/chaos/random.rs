//! Schedules drawn from seeds: two operators, crashes, lost answers, outages and other people's deeds
//! in one hour. `cargo explore` goes on where this ends.

use anyhow::{Result, bail};
use simulation::schedule::Schedule;

use crate::life::Test;

/// So many tests, of so many schedules each.
const TESTS: u64 = 4;
const EACH: u64 = 10;

pub(super) fn tests() -> Vec<Test> {
    let test = |number: u64| -> Test {
        let seeds = number * EACH..(number + 1) * EACH;
        let name = format!("random::seeds_{}_to_{}", seeds.start, seeds.end - 1);
        (name, Box::new(move || seeds.into_iter().try_for_each(play)))
    };
    (0..TESTS).map(test).collect()
}

fn play(seed: u64) -> Result<()> {
    let schedule = Schedule::draw(seed);
    let Err(error) = schedule.play() else {
        return Ok(());
    };
    let (shortest, how) = schedule.shrink(Schedule::play);
    let how = how.unwrap_or(error);
    bail!("{how:#}\nthe shortest schedule of seed {seed} that goes wrong:\n{shortest}")
}
