//! The operator as people meet it: its own process on a real control plane, under the rights that
//! the chart renders, before a twin of the deploy server on a real socket.
//!
//! A row is a function of a [`Case`]: from `kubectl apply` to the reason and its sentence, and on
//! until all is well again, without a restart, with the keys counted that were made on the way. Rows
//! share one [`Stage`] and play many at a time, each in a namespace and with a twin of its own; what
//! kills operators, or changes what all share, plays on a stage of its own.
//!
//! | file | rows about |
//! | --- | --- |
//! | `keys` | ApiKeys and their Secrets |
//! | `connections` | credentials, certificates, addresses |
//! | `answers` | servers that are away, slow, or answer nonsense |
//! | `accounts` | ServiceAccounts: adoption, teams, management |
//! | `grants` | what a tenant may not get |
//! | `unserved` | what a kind of server has nothing for |
//! | `vouched` | a sign-in without a stored credential |
//! | `others` | StackStorm, and a real Elasticsearch, from apply to revoke and with the least privilege |
//! | `options` | what a manifest may ask for beyond the plain |
//! | `sight` | what `kubectl get` and `kubectl explain` show |
//! | `endings` | deletion, expiry, revocation, retention |
//! | `tampering` | status wiped, old manifests, old intents |
//! | `alone` | a restart over settled keys, objects that do not parse, and `kills`: each on a stage of its own |
//! | `costs` | what rotations and losses cost, from the audit log (played in `long`) |
//! | `rotations` | fifty rotations, with kill -9: on a stage of its own; `programs` use the keys |
//! | `replicas` | two operators, one of which is killed or put to sleep: in `alone` |
//!
//! Rows are written in the words of a `case`, which plays on a `stage` before a `tapped` twin; `heard`
//! and `kstatus` hold what everybody sees of it.
//!
//! `ROW=<name>` in the environment plays only the rows whose name contains it.

mod accounts;
mod alone;
mod answers;
mod case;
mod connections;
mod costs;
mod endings;
mod grants;
mod heard;
mod keys;
mod kills;
mod kstatus;
mod options;
mod others;
mod programs;
mod replicas;
mod rotations;
mod sight;
mod stage;
mod tampering;
mod tapped;
mod unserved;
mod vouched;

use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, stream};
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub(crate) use self::case::{Account, Case, Key, Server};
pub(crate) use self::stage::{Plane, Stage, USER, client};
use crate::ladder::{Failure, Ground, Missing, Rung};

/// So many rows of one test play at a time; two tests run at the same time.
const AT_A_TIME: usize = 16;

/// The stage that all rows share, set when it is first asked for, and which tables were played on it.
#[derive(Default, Clone)]
pub(crate) struct Stages {
    shared: Arc<OnceCell<Arc<Stage>>>,
    played: Arc<[OnceCell<Result<(), Failure>>; TABLES.len()]>,
}

impl Stages {
    pub(crate) async fn shared(&self, ground: Arc<Ground>) -> Result<Arc<Stage>> {
        let set =
            async || Ok::<_, anyhow::Error>(Arc::new(Stage::set(Plane::Shared(ground)).await?));
        Ok(Arc::clone(self.shared.get_or_try_init(set).await?))
    }

    /// Plays a table, once a run: who comes second waits until it is played.
    async fn play(&self, ground: Arc<Ground>, number: usize) -> Result<()> {
        let stage = self.shared(ground).await?;
        let rows = TABLES[number].1.iter().flat_map(|rows| rows()).collect();
        let played = self.played[number]
            .get_or_init(async || play(&stage, rows).await.map_err(Failure::from));
        played.await.clone().map_err(anyhow::Error::from)
    }

    /// The shared stage, after all rows. What went wrong in them is told by their own tests.
    pub(crate) async fn played(&self, ground: Arc<Ground>) -> Result<Arc<Stage>> {
        stream::iter(0..TABLES.len())
            .map(|number| self.play(Arc::clone(&ground), number))
            .buffer_unordered(2)
            .for_each(async |_| ())
            .await;
        self.shared(ground).await
    }
}

type Play = Box<dyn FnOnce(Arc<Case>) -> Pin<Box<dyn Future<Output = Result<()>>>> + Send>;

/// One row.
pub(crate) struct Row {
    name: String,
    play: Play,
}

impl Row {
    fn new<F: Future<Output = Result<()>> + 'static>(
        name: &'static str,
        play: impl FnOnce(Arc<Case>) -> F + Send + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            play: Box::new(|case| Box::pin(play(case))),
        }
    }

    /// One of several of the same name.
    fn numbered(mut self, number: u64) -> Self {
        self.name = format!("{}_{number}", self.name);
        self
    }

    async fn play(self, stage: &Arc<Stage>) -> Result<()> {
        let case = Arc::new(Case::open(stage, &self.name).await?);
        (self.play)(Arc::clone(&case)).await?;
        case.end().await
    }
}

/// Rows from functions; each is named as its function is.
macro_rules! rows {
    ($($row:ident),* $(,)?) => { vec![$(crate::cluster::Row::new(stringify!($row), $row)),*] };
}
use rows;

/// Rows that are played together, and their name.
type Table = (&'static str, &'static [fn() -> Vec<Row>]);

/// All tables.
const TABLES: [Table; 6] = [
    (
        "long",
        &[
            endings::long,
            answers::long,
            tampering::long,
            options::long,
            keys::long,
            costs::long,
        ],
    ),
    (
        "servers",
        &[
            answers::rows,
            connections::rows,
            unserved::rows,
            vouched::rows,
        ],
    ),
    ("stackstorm", &[others::stackstorm]),
    ("elasticsearch", &[others::elasticsearch]),
    ("accounts", &[accounts::rows, grants::rows]),
    (
        "keys",
        &[
            keys::rows,
            options::rows,
            sight::rows,
            endings::rows,
            tampering::rows,
        ],
    ),
];

/// What is played on a stage of its own, and asked for as rows are.
const STAGES: [&str; 6] = [
    "objects_that_do_not_parse",
    "restart",
    "kills",
    "replicas",
    "any_host_but_the_api_server",
    "rotations",
];

/// The rung.
pub(crate) fn rung(stages: &Stages) -> Rung {
    let rung = Rung::new("cluster")
        .test("every_row_that_is_asked_for_is_there", async |_| {
            let mut all = TABLES.iter().flat_map(|(_, groups)| groups.iter());
            let there = all.any(|rows| rows().iter().any(|row| is_asked_for(&row.name)));
            let there = there || STAGES.into_iter().any(is_asked_for);
            ensure!(there, "there is no row with this in its name");
            Ok(())
        })
        .test("rotations", rotations::play)
        .test("alone", alone::play);
    let tables = TABLES.iter().enumerate();
    tables.fold(rung, |rung, (number, (name, _))| {
        let stages = stages.clone();
        rung.test(*name, async move |ground| stages.play(ground, number).await)
    })
}

/// Whether this row is to be played.
fn is_asked_for(row: &str) -> bool {
    std::env::var_os("ROW").is_none_or(|only| row.contains(&*only.to_string_lossy()))
}

/// Plays rows, many at a time, and says which went wrong and how; or what is missing, if nothing went
/// wrong but for that.
async fn play(stage: &Arc<Stage>, mut rows: Vec<Row>) -> Result<()> {
    rows.retain(|row| is_asked_for(&row.name));
    let wrong: Vec<(String, anyhow::Error)> = stream::iter(rows)
        .map(async |row| {
            let (name, began) = (row.name.clone(), Instant::now());
            let played = row.play(stage).await;
            let seconds = began.elapsed().as_secs_f64();
            if std::env::var_os("ROW_TIMES").is_some() {
                let wrong = played.as_ref().err();
                let wrong = wrong.map(|error| format!("FAILED: {error:#}"));
                eprintln!("{seconds:6.1} s {name} {}", wrong.unwrap_or_default());
            }
            let named = format!("{name}, after {seconds:.0} s");
            played.err().map(|error| (named, error))
        })
        .buffer_unordered(AT_A_TIME)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let mut missing = None;
    let mut told = Vec::new();
    for (named, error) in wrong {
        match Missing::of(&error) {
            Some(what) => missing = Some(what),
            None => told.push(format!("{named}: {error:#}")),
        }
    }
    ensure!(told.is_empty(), "{}", told.join("\n\n"));
    missing.map_or(Ok(()), |what| Err(what.into()))
}
