//! `cargo explore`: draws one schedule after the other and plays it, until one goes wrong or the
//! time is over; then the shortest one with the same seed that still goes wrong is told.

use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulation::fleet::Fleet;
use simulation::pairs;
use simulation::schedule::{Counts, Schedule};
use tokio::time::Instant;

/// Looks for a schedule of crashes, lost answers and other people's deeds that breaks an invariant.
#[derive(Debug, Parser)]
struct Explore {
    /// The first seed; each schedule takes the next one.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How long to look, in minutes.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many schedules to play at most.
    #[arg(long)]
    schedules: Option<u64>,
    /// Play 90 days of 200 keys on 20 accounts instead.
    #[arg(long, conflicts_with = "pairs")]
    fleet: bool,
    /// Play every pair of crashes in the life of a new key, and of one that is replaced, instead.
    #[arg(long)]
    pairs: bool,
}

fn main() -> ExitCode {
    let wish = Explore::parse();
    let went = if wish.fleet {
        fleet(wish.seed)
    } else if wish.pairs {
        pairs()
    } else {
        explore(&wish)
    };
    went.unwrap_or(ExitCode::FAILURE)
}

fn fleet(seed: u64) -> std::io::Result<ExitCode> {
    let mut out = stdout();
    match Fleet::whole(seed).sail() {
        Ok(numbers) => writeln!(out, "{numbers}: every invariant held")?,
        Err(error) => {
            writeln!(out, "seed {seed} goes wrong: {error:#}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pairs() -> std::io::Result<ExitCode> {
    let mut out = stdout();
    let mut played = 0;
    let firsts = pairs::LIVES.map(|life| (life, pairs::firsts(life).unwrap_or_default()));
    let firsts: Vec<_> = firsts
        .into_iter()
        .flat_map(|(life, firsts)| firsts.into_iter().map(move |first| (life, first)))
        .collect();
    for (life, first) in &firsts {
        match pairs::after(*life, *first, 0, 1) {
            Ok(more) => played += more,
            Err(error) => {
                writeln!(out, "\n{error:#}")?;
                return Ok(ExitCode::FAILURE);
            }
        }
        write!(
            out,
            "\r{played} pairs, the first crash of a {life:?} life at {first:?}    "
        )?;
        out.flush()?;
    }
    writeln!(out, ": every invariant held")?;
    Ok(if firsts.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn explore(wish: &Explore) -> std::io::Result<ExitCode> {
    let mut out = stdout();
    let (began, limit) = (Instant::now(), Duration::from_secs(wish.minutes * 60));
    let mut all = Counts::default();
    let mut played = 0;
    while began.elapsed() < limit && wish.schedules.is_none_or(|most| played < most) {
        let seed = wish.seed + played;
        let schedule = Schedule::draw(seed);
        match schedule.play() {
            Ok(counts) => all = all.and(counts),
            Err(error) => {
                let troubles = schedule.len();
                let first = error.to_string();
                let first = first.lines().next().unwrap_or_default();
                writeln!(
                    out,
                    "\nseed {seed} goes wrong: {first}\nits {troubles} troubles are made fewer"
                )?;
                let (shortest, how) = schedule.shrink();
                let how = how.unwrap_or(error);
                writeln!(
                    out,
                    "{how:#}\n\nthe shortest schedule of seed {seed}:\n{shortest}"
                )?;
                return Ok(ExitCode::FAILURE);
            }
        }
        played += 1;
        let Counts {
            effects,
            crashes,
            keys,
        } = all;
        write!(
            out,
            "\r{played} schedules, {effects} effects, {crashes} crashes, {keys} keys made"
        )?;
        out.flush()?;
    }
    writeln!(out, ": every invariant held")?;
    Ok(ExitCode::SUCCESS)
}
