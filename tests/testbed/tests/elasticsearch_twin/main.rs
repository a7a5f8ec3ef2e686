//! A real Elasticsearch, and the twin held to it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `real` | the real server: it starts, it answers, it ends with us |
//! | `table` | one table of requests and answers (`table.txt`) |
//! | `play` | the table played to a server, and what two servers must have in common |

mod play;
mod real;
mod table;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use testbed::elasticsearch::{self, Fault};
use testbed::twins::elasticsearch::{Config, Elasticsearch};
use testbed::twins::{Door, tcp};
use tokio::runtime::Runtime;

use play::{Answer, Server, play};

fn main() -> ExitCode {
    let trials = vec![
        trial("real::lives_and_dies_with_us", real::lives_and_dies_with_us),
        trial("table::the_twin_answers_as_it_says", twin_alone),
        trial("table::the_real_one_answers_alike", both),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

async fn twin_alone() -> Result<(), Fault> {
    let (answers, wrong) = twin().await?;
    nothing(&wrong)?;
    let enough = answers.len() > 60;
    enough
        .then_some(())
        .ok_or_else(|| Fault::Failed("the table has gone".to_owned()))
}

async fn both() -> Result<(), Fault> {
    let real = elasticsearch::Elasticsearch::start(&elasticsearch::Options::default()).await?;
    let server = Server {
        url: real.url().to_owned(),
        password: real.password().to_owned(),
    };
    let (real, wrong) = play(&server).await.map_err(failed)?;
    nothing(&wrong)?;
    let (twin, _) = twin().await?;
    let pairs = real.iter().zip(&twin);
    let wrong = pairs.filter_map(|(real, twin)| differ(real, twin));
    nothing(&wrong.collect::<Vec<_>>())
}

async fn twin() -> Result<(Vec<Answer>, Vec<String>), Fault> {
    let twin = Elasticsearch::new(&Config::default());
    let password = twin.start().admin.password.clone();
    let door = Door::live(twin);
    let server = tcp::serve(&door, 0, None).map_err(failed)?;
    let url = server.url();
    play(&Server { url, password }).await.map_err(failed)
}

fn differ(real: &Answer, twin: &Answer) -> Option<String> {
    let step = &real.step;
    (real != twin)
        .then(|| format!("{step}\n    the real one: {real:?}\n    the twin:     {twin:?}"))
}

fn nothing(wrong: &[String]) -> Result<(), Fault> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Fault::Failed(format!(
        "{} answers:\n{}",
        wrong.len(),
        wrong.join("\n")
    )))
}

fn failed(cause: impl std::fmt::Display) -> Fault {
    Fault::Failed(format!("{cause:#}"))
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
