//! The patches that break the operator on purpose: each still applies, and `docs/design.md` tells of
//! each who catches it. Whether it is caught, `cargo mutate` says.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use simulation::mutants::{Mutant, all, root};

use crate::ladder::{Missing, Rung};

/// The tests of this rung.
pub(crate) fn rung() -> Rung {
    Rung::new("mutants")
        .plain("each_applies", each_applies)
        .plain("each_is_told_of", each_is_told_of)
}

fn mutants() -> Result<Vec<Mutant>> {
    let mutants = all(&root())?;
    ensure!(mutants.len() >= 20, "only {} mutants", mutants.len());
    Ok(mutants)
}

fn each_applies() -> Result<()> {
    let git = Command::new("git").arg("--version").output();
    git.map_err(|_| Missing("there is no git".to_owned()))?;
    for mutant in mutants()? {
        let applies = mutant.applies(&root());
        applies.with_context(|| format!("{} does not apply any more", mutant.name))?;
    }
    Ok(())
}

/// The rows of the table are the patches, with their words, and name a test of those that the patch
/// asks for.
fn each_is_told_of() -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/design.md"))?;
    let (_, after) = page
        .split_once("| mutant | what is wrong with it | caught by |")
        .context("docs/design.md has no table of mutants")?;
    let rows: Vec<Vec<&str>> = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mutants = mutants()?;
    ensure!(
        rows.len() == mutants.len(),
        "{} rows for {} mutants",
        rows.len(),
        mutants.len()
    );
    for (mutant, row) in mutants.iter().zip(rows) {
        let name = format!("`{}`", mutant.name);
        let filter = mutant.caught_by.split_whitespace().next_back();
        let by = row.get(2).copied().unwrap_or_default();
        ensure!(
            row.len() == 3 && row[0] == name && row[1] == mutant.what,
            "the row of {name} is {row:?}"
        );
        ensure!(
            filter.is_some_and(|filter| by.contains(filter)),
            "{name} is to be caught by {:?}, not by {by}",
            mutant.caught_by
        );
    }
    Ok(())
}
