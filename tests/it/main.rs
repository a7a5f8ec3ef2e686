//! The integration tests: one binary, see `docs/design.md`.

mod chaos;
mod contract;
mod life;

use libtest_mimic::{Arguments, Trial};

fn main() -> std::process::ExitCode {
    let mut trials = contract::all();
    for (rung, tests) in [("life", life::tests()), ("chaos", chaos::tests())] {
        for (name, test) in tests {
            trials.push(Trial::test(format!("{rung}::{name}"), move || {
                test().map_err(|error| format!("{error:#}").into())
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
