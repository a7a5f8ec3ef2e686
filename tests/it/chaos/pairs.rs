//! Two crashes, one after the other: here one second crash in so many; `cargo explore --pairs` plays
//! them all.

use anyhow::{Result, ensure};
use simulation::pairs::{after, firsts};

use crate::life::Test;

/// One in so many is played.
const STRIDE: usize = 83;
/// So many tests share them.
const TESTS: usize = 2;

pub(super) fn tests() -> Vec<Test> {
    let test = |part: usize| -> Test {
        let name = format!("pairs::part_{}_of_{TESTS}", part + 1);
        (name, Box::new(move || sample(part)))
    };
    (0..TESTS).map(test).collect()
}

fn sample(part: usize) -> Result<()> {
    let mut played = 0;
    for (number, first) in firsts()?.into_iter().enumerate().skip(part).step_by(TESTS) {
        played += after(first, number * 7 % STRIDE, STRIDE)?;
    }
    ensure!(played > 15, "only {played} pairs");
    Ok(())
}
