//! The integration tests: one binary, a ladder of rungs. A new rung is a `mod` line and an entry.

mod chart;
mod contract;
mod crds;
mod ladder;
mod layers;

use std::process::ExitCode;

fn main() -> ExitCode {
    ladder::climb([
        layers::rung(),
        contract::rung(),
        crds::rung(),
        chart::rung(),
    ])
}
