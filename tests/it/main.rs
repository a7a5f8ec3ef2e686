//! The integration tests: one binary, see `docs/design.md`.

mod crds;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let trials = vec![
        Trial::test("crds::files_are_current", || {
            crds::files_are_current().map_err(failed)
        }),
        Trial::test("crds::cases_are_sound", || {
            crds::cases_are_sound().map_err(failed)
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: anyhow::Error) -> Failed {
    format!("{error:?}").into()
}
