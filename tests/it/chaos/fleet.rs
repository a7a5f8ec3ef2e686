//! Many keys on many accounts, for some days. `cargo explore --fleet` plays the whole of it.

use anyhow::{Result, ensure};
use simulation::fleet::Fleet;

use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    let test = |seed: u64| -> Test {
        let name = format!("fleet::seed_{seed}");
        (name, Box::new(move || sail(seed)))
    };
    vec![test(1)]
}

fn sail(seed: u64) -> Result<()> {
    let numbers = Fleet::small(seed).sail()?;
    let told = numbers.told;
    ensure!(
        told.keys > 50 && told.crashes > 3 && numbers.uses > 100,
        "too little happened: {numbers}"
    );
    Ok(())
}
