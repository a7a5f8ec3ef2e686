//! The integration tests: one binary, see `docs/design.md`.

mod contract;
mod demo;

use libtest_mimic::{Arguments, Trial};
use testbed::control_plane::Binaries;

macro_rules! demos {
    ($($name:ident),* $(,)?) => {
        [$(Trial::test(concat!("demo::", stringify!($name)), || {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(async { demo::$name(Binaries::obtain().await?).await })?;
            Ok(())
        })),*]
    };
}

fn main() -> std::process::ExitCode {
    let demos = demos![
        it_says_0_when_all_is_well,
        it_says_1_when_the_operator_is_dead,
        it_says_1_when_the_server_refuses,
        it_says_1_when_a_key_outlives_its_manifest,
        it_stays_until_it_is_interrupted,
    ];
    let trials = contract::all().into_iter().chain(demos).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
