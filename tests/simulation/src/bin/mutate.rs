//! `cargo mutate`: breaks the operator on purpose, one small patch of `tests/mutants` after the
//! other, and says which test has noticed.

use std::collections::BTreeSet;
use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use simulation::mutants::{Bench, Fate, Mutant, all, root};

/// Breaks the operator on purpose, in a copy of the tree, and looks whether a test notices.
#[derive(Debug, Parser)]
struct Mutate {
    /// Only mutants whose name, or the name of whose tests, contains this.
    #[arg(default_value = "")]
    name: String,
}

fn main() -> Result<ExitCode> {
    let wish = Mutate::parse();
    let root = root();
    let mut mutants = all(&root)?;
    let wished = |text: &str| text.contains(&wish.name);
    mutants.retain(|mutant| wished(&mutant.name) || wished(&mutant.caught_by));
    let bench = Bench::new(&root)?;
    let mut out = stdout();
    let tests: BTreeSet<&str> = mutants.iter().map(|it| it.caught_by.as_str()).collect();
    for tests in tests {
        writeln!(out, "without a mutant: {tests}")?;
        bench.healthy(tests)?;
    }
    writeln!(out, "| mutant | caught by |\n| --- | --- |")?;
    let mut wrong = 0_usize;
    for mutant in &mutants {
        let (line, well) = told(&bench, mutant);
        wrong += usize::from(!well);
        writeln!(out, "| {} | {line} |", mutant.name)?;
        out.flush()?;
    }
    writeln!(out, "{} mutants, {wrong} not caught", mutants.len())?;
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What became of a mutant, in words, and whether that is as it must be.
fn told(bench: &Bench, mutant: &Mutant) -> (String, bool) {
    match bench.try_it(mutant) {
        Ok(Fate::Caught(tests)) => {
            let first = tests.first().cloned().unwrap_or_default();
            let line = match tests.len() {
                1 => format!("`{first}`"),
                more => format!("`{first}` and {} more", more - 1),
            };
            (line, true)
        }
        Ok(Fate::Lives) => (format!("nobody: {} passes", mutant.caught_by), false),
        Err(error) => (format!("error: {error:#}"), false),
    }
}
