//! `cargo explore`: draws one schedule after the other and plays it, until one goes wrong or the
//! time is over; then the shortest one with the same seed that still goes wrong is told.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
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
        explore(&wish, &mut stdout(), Schedule::play)
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
    for life in pairs::LIVES {
        let firsts = match pairs::firsts(life) {
            Ok(firsts) => firsts,
            Err(error) => {
                writeln!(out, "\nan undisturbed {life:?} life: {error:#}")?;
                return Ok(ExitCode::FAILURE);
            }
        };
        for first in firsts {
            match pairs::after(life, first, 0, 1) {
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
    }
    writeln!(out, ": every invariant held")?;
    Ok(ExitCode::SUCCESS)
}

fn explore(
    wish: &Explore,
    out: &mut impl Write,
    play: impl Fn(&Schedule) -> Result<Counts>,
) -> std::io::Result<ExitCode> {
    let (began, limit) = (Instant::now(), Duration::from_secs(wish.minutes * 60));
    let mut all = Counts::default();
    let mut played = 0;
    while began.elapsed() < limit && wish.schedules.is_none_or(|most| played < most) {
        let seed = wish.seed + played;
        let schedule = Schedule::draw(seed);
        match play(&schedule) {
            Ok(counts) => all = all.and(counts),
            Err(error) => {
                let troubles = schedule.len();
                let first = error.to_string();
                let first = first.lines().next().unwrap_or_default();
                writeln!(
                    out,
                    "\nseed {seed} goes wrong: {first}\nits {troubles} troubles are made fewer"
                )?;
                let (shortest, how) = schedule.shrink(&play);
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

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    /// Explores, and returns what was said and the exit code.
    fn said(args: &[&str], play: impl Fn(&Schedule) -> Result<Counts>) -> (String, ExitCode) {
        let wish = Explore::parse_from(args.iter().copied());
        let mut out = Vec::new();
        let code = explore(&wish, &mut out, play).unwrap();
        (String::from_utf8(out).unwrap(), code)
    }

    /// A world in which a crash and a deleted Secret together break something.
    fn frail(schedule: &Schedule) -> Result<Counts> {
        let story = schedule.to_string();
        let breaks = ["Crash", "DeleteSecret"]
            .iter()
            .all(|trouble| story.contains(trouble));
        ensure!(!breaks, "a key is lost\nand more of it");
        let keys = 1;
        Ok(Counts {
            keys,
            ..Counts::default()
        })
    }

    #[test]
    fn a_schedule_that_goes_wrong_is_made_as_short_as_can_be() {
        let (said, code) = said(&["explore", "--seed", "7"], frail);
        assert_eq!(code, ExitCode::FAILURE, "{said}");
        let (first, shortest) = said.split_once("the shortest schedule of").unwrap();
        assert!(first.contains("goes wrong: a key is lost\nits "), "{said}");
        let seed = shortest.split([' ', ':']).nth(2).unwrap();
        assert!(first.contains(&format!("seed {seed} goes wrong")), "{said}");
        // Neither of the two can be left out, and everything else can.
        let mut troubles = shortest.lines().skip(1).filter(|line| !line.is_empty());
        let troubles = [troubles.next(), troubles.next(), troubles.next()];
        assert!(troubles[1].is_some() && troubles[2].is_none(), "{said}");
        assert!(shortest.contains("Crash") && shortest.contains("DeleteSecret"));
        // It is the one that the seed draws, and it was longer.
        let drawn = Schedule::draw(seed.parse().unwrap());
        assert!(drawn.len() > 2 && frail(&drawn).is_err(), "{said}");
        let before = format!("its {} troubles are made fewer", drawn.len());
        assert!(first.contains(&before), "{said}");
        let whole = drawn.to_string();
        assert!(
            troubles.iter().flatten().all(|line| whole.contains(line)),
            "{said}"
        );
    }

    #[test]
    fn what_holds_is_told_with_what_was_done() {
        let args = ["explore", "--seed", "100", "--schedules", "3"];
        let seeds = std::cell::RefCell::new(Vec::new());
        let (said, code) = said(&args, |schedule| {
            seeds.borrow_mut().push(schedule.to_string());
            Ok(Counts {
                effects: 10,
                crashes: 1,
                keys: 2,
            })
        });
        assert_eq!(code, ExitCode::SUCCESS, "{said}");
        let end = "3 schedules, 30 effects, 3 crashes, 6 keys made: every invariant held\n";
        assert!(said.ends_with(end), "{said}");
        let drawn = (100..103).map(|seed| Schedule::draw(seed).to_string());
        assert_eq!(seeds.into_inner(), drawn.collect::<Vec<_>>());
    }
}
