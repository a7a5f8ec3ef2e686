//! The integration tests: one binary, a ladder of rungs. A new rung is a `mod` line and an entry.

mod budget;
mod chaos;
mod chart;
mod cluster;
mod conformance;
mod contract;
mod crds;
mod demo;
mod ladder;
mod layers;
mod leaks;
mod life;
mod mutants;
mod rights;

use std::process::ExitCode;

fn main() -> ExitCode {
    let stages = cluster::Stages::default();
    let rungs = [
        layers::rung(),
        mutants::rung(),
        life::rung(),
        chaos::rung(),
        contract::rung(),
        crds::rung(),
        conformance::rung(),
        chart::rung(),
        cluster::rung(&stages),
        budget::rung(&stages),
        rights::rung(&stages),
        leaks::rung(&stages),
        demo::rung(),
    ];
    drop(stages);
    ladder::climb(rungs)
}
