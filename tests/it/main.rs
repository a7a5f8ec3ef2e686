//! The integration tests: one binary, see `docs/design.md`.

mod contract;
mod life;

use libtest_mimic::Arguments;

fn main() -> std::process::ExitCode {
    let trials = contract::all().into_iter().chain(life::all()).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
