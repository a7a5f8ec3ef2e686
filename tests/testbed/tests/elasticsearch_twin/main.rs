//! A real Elasticsearch, and the twin held to it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `real` | the real server: it starts, it answers, it ends with us |

mod real;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use testbed::elasticsearch::Fault;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let trials = vec![trial(
        "real::lives_and_dies_with_us",
        real::lives_and_dies_with_us,
    )];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that is ignored where Maven or Java is missing, but never with `CI=true`.
fn trial<F: Future<Output = Result<(), Fault>>>(
    name: &str,
    body: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, || {
        let run = async {
            match body().await {
                Ok(()) => Ok(Completion::Completed),
                Err(Fault::Missing(what)) if !in_ci() => Ok(Completion::ignored_with(what)),
                Err(fault) => Err(Failed::from(fault)),
            }
        };
        Runtime::new()?.block_on(run)
    })
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}
