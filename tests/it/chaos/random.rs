//! Schedules drawn from seeds: two operators, crashes, lost answers, outages and other people's deeds
//! in one hour. `cargo explore` goes on where this ends.

use anyhow::{Result, bail, ensure};
use simulation::schedule::{Counts, Schedule};

use crate::life::Test;

/// So many tests, of so many schedules each.
const TESTS: u64 = 4;
const EACH: u64 = 10;

pub(super) fn tests() -> Vec<Test> {
    let test = |number: u64| -> Test {
        let seeds = number * EACH..(number + 1) * EACH;
        let name = format!("random::seeds_{}_to_{}", seeds.start, seeds.end - 1);
        (name, Box::new(move || all(seeds)))
    };
    (0..TESTS).map(test).collect()
}

fn all(seeds: std::ops::Range<u64>) -> Result<()> {
    let played: Vec<Counts> = seeds.map(play).collect::<Result<_>>()?;
    let all = played.into_iter().fold(Counts::default(), Counts::and);
    ensure!(
        all.crashes > 3 && all.keys > 30,
        "too little happened: {all:?}"
    );
    Ok(())
}

fn play(seed: u64) -> Result<Counts> {
    let schedule = Schedule::draw(seed);
    let error = match schedule.play() {
        Ok(counts) => return Ok(counts),
        Err(error) => error,
    };
    let (shortest, how) = schedule.shrink(Schedule::play);
    let how = how.unwrap_or(error);
    bail!("{how:#}\nthe shortest schedule of seed {seed} that goes wrong:\n{shortest}")
}
