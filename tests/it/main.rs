//! The integration tests: one binary, a ladder of rungs. A new rung is a `mod` line and an entry.

mod budget;
mod cluster;
mod contract;
mod ladder;
mod leaks;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let contract = libtest_mimic::run(&Arguments::from_args(), contract::all());
    let stages = cluster::Stages::default();
    let rungs = [
        cluster::rung(&stages),
        budget::rung(&stages),
        leaks::rung(&stages),
    ];
    drop(stages);
    match ladder::climb(rungs) {
        ExitCode::SUCCESS => contract.exit_code(),
        failure => failure,
    }
}
