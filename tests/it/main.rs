//! The integration tests: one binary, see `docs/design.md`.

mod contract;

use libtest_mimic::Arguments;

fn main() -> std::process::ExitCode {
    libtest_mimic::run(&Arguments::from_args(), contract::all()).exit_code()
}
