//! Two crashes, one after the other: here one second crash in so many; `cargo explore --pairs` plays
//! them all.

use anyhow::{Result, ensure};
use simulation::life::Life;
use simulation::pairs::{LIVES, after, firsts};

use crate::life::Test;

/// One in so many is played.
const STRIDE: usize = 83;

pub(super) fn tests() -> Vec<Test> {
    let test = |life: Life| -> Test {
        let name = format!("pairs::in_a_{life:?}_life").to_lowercase();
        (name, Box::new(move || sample(life)))
    };
    LIVES.into_iter().map(test).collect()
}

fn sample(life: Life) -> Result<()> {
    let mut played = 0;
    for (number, first) in firsts(life)?.into_iter().enumerate() {
        played += after(life, first, number * 7 % STRIDE, STRIDE)?;
    }
    ensure!(played > 15, "only {played} pairs");
    Ok(())
}
