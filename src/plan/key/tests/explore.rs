//! Every schedule of a bounded kind: what a person does, and one or two things that go wrong at
//! any moment of it.

use jiff::SignedDuration;

use super::build::*;
use super::deeds::Deed;
use super::leader::Leader;
use super::oracle::Oracle;
use super::world::{Fate, World};
use crate::plan::key::Step;

/// What may go wrong at a moment.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Crash,
    CrashAfter,
    Fate(Fate),
    /// The other leader wakes, so much later, and this one goes on after so many of its steps.
    Handover {
        pause: SignedDuration,
        steps: usize,
    },
    /// The pass is begun anew, on views so many versions old.
    Stale {
        object: usize,
        secret: usize,
    },
    Deed(Deed),
}

/// The choices of a run.
enum Choices {
    /// All of them, one run after the other.
    Every {
        path: Vec<(usize, usize)>,
        at: usize,
    },
    /// So many runs by chance, from a seed.
    Dice { seed: u64, runs: usize },
}

impl Choices {
    fn every() -> Self {
        Self::Every {
            path: Vec::new(),
            at: 0,
        }
    }

    /// Whether something goes wrong now, and what.
    fn choose(&mut self, troubles: usize) -> Option<usize> {
        match self {
            Self::Every { path, at } => {
                if *at == path.len() {
                    path.push((0, troubles));
                }
                let (chosen, known) = path[*at];
                assert_eq!(known, troubles, "a run is the same every time");
                *at += 1;
                chosen.checked_sub(1)
            }
            Self::Dice { seed, .. } => {
                // xorshift64
                *seed ^= *seed << 13;
                *seed ^= *seed >> 7;
                *seed ^= *seed << 17;
                let roll = usize::try_from(*seed >> 33).unwrap();
                (roll % 6 == 0 && troubles > 0).then(|| roll / 6 % troubles)
            }
        }
    }

    /// Goes to the next run, if there is one.
    fn next(&mut self) -> bool {
        match self {
            Self::Every { path, at } => {
                *at = 0;
                while let Some((chosen, of)) = path.pop() {
                    if chosen < of {
                        path.push((chosen + 1, of));
                        return true;
                    }
                }
                false
            }
            Self::Dice { runs, .. } => {
                *runs -= 1;
                *runs > 0
            }
        }
    }
}

/// A kind of schedule: deeds one after the other, each when all is quiet, and troubles.
struct Play {
    spec: &'static str,
    deeds: &'static [Deed],
    /// How many troubles a run has, at most.
    troubles: usize,
    disturbances: &'static [Deed],
    /// Seconds of pause, and steps of the other leader.
    handovers: &'static [(i64, usize)],
    /// How many versions old the views of ApiKey and Secret are.
    stale: &'static [(usize, usize)],
}

/// What was explored.
#[derive(Debug, Default, Clone, Copy)]
struct Explored {
    schedules: usize,
    effects: usize,
}

impl Play {
    fn explore(&self, mut choices: Choices) -> Explored {
        let mut explored = Explored::default();
        loop {
            explored.schedules += 1;
            explored.effects += self.run(&mut choices);
            if !choices.next() {
                return explored;
            }
        }
    }

    fn run(&self, choices: &mut Choices) -> usize {
        let mut stage = Stage {
            play: self,
            world: World::new(self.spec),
            leaders: [Leader::new("A"), Leader::new("B")],
            active: 0,
            back_in: None,
            left: self.troubles,
            effects: 0,
        };
        stage.quiet(choices);
        for deed in self.deeds {
            stage.world.advance(stage.world.now + secs(7));
            deed.apply(&mut stage.world);
            stage.quiet(choices);
        }
        stage.left = 0;
        stage.settle(choices);
        stage.effects
    }
}

struct Stage<'a> {
    play: &'a Play,
    world: World,
    leaders: [Leader; 2],
    active: usize,
    /// A paused leader goes on after so many steps of the other.
    back_in: Option<usize>,
    left: usize,
    effects: usize,
}

impl Stage<'_> {
    /// Runs until nothing is to be done now.
    fn quiet(&mut self, choices: &mut Choices) {
        for _ in 0..200 {
            if self.leaders[self.active].pass.is_none() {
                if self.back_in.take().is_some() {
                    self.active = 1 - self.active;
                    continue;
                }
                let leader = &mut self.leaders[self.active];
                let due = leader.rested_at != self.world.version() || leader.wake <= self.world.now;
                if !due {
                    return;
                }
                leader.begin(&mut self.world, 0, 0);
                if self.leaders[self.active].pass.is_none() {
                    continue;
                }
            }
            self.step(choices);
        }
        self.world.broken("9: it does not become quiet");
    }

    fn step(&mut self, choices: &mut Choices) {
        self.effects += 1;
        let step = self.leaders[self.active]
            .pass
            .as_ref()
            .unwrap()
            .step
            .clone();
        let troubles = if self.left == 0 {
            Vec::new()
        } else {
            self.troubles(&step)
        };
        match choices.choose(troubles.len()) {
            None => self.leaders[self.active].act(&mut self.world, Fate::Well),
            Some(chosen) => {
                self.left -= 1;
                self.suffer(troubles[chosen]);
            }
        }
        if let Some(steps) = self.back_in {
            if steps == 0 {
                self.back_in = None;
                self.active = 1 - self.active;
            } else {
                self.back_in = Some(steps - 1);
            }
        }
    }

    fn suffer(&mut self, trouble: Trouble) {
        let (world, leader) = (&mut self.world, &mut self.leaders[self.active]);
        match trouble {
            Trouble::Crash => leader.crash(world),
            Trouble::CrashAfter => {
                leader.act(world, Fate::Well);
                leader.crash(world);
            }
            Trouble::Fate(fate) => leader.act(world, fate),
            Trouble::Stale { object, secret } => {
                world.say(format!("{} sees the past: {object}, {secret}", leader.name));
                leader.begin(world, object, secret);
            }
            Trouble::Deed(deed) => deed.apply(world),
            Trouble::Handover { pause, steps } => {
                world.say(format!("{} pauses, {pause:#} pass", leader.name));
                world.advance(world.now + pause);
                self.active = 1 - self.active;
                self.back_in = Some(steps);
            }
        }
    }

    fn troubles(&self, step: &Step) -> Vec<Trouble> {
        let mut all = vec![Trouble::Crash, Trouble::CrashAfter];
        let fates: &[Fate] = match step {
            Step::Mint(_) => &[Fate::Unheard, Fate::Late, Fate::Lost, Fate::Refused],
            Step::Publish(_) => &[
                Fate::Unheard,
                Fate::Late,
                Fate::Lost,
                Fate::Refused,
                Fate::Twice,
            ],
            Step::Rehearse(_) | Step::Prove | Step::Look { .. } => &[Fate::Refused],
            Step::Refresh | Step::Idle => &[],
            _ => &[Fate::Unheard, Fate::Lost],
        };
        all.extend(fates.iter().copied().map(Trouble::Fate));
        all.extend(self.play.disturbances.iter().copied().map(Trouble::Deed));
        let stale = self.play.stale.iter();
        all.extend(stale.map(|(object, secret)| Trouble::Stale {
            object: *object,
            secret: *secret,
        }));
        if self.back_in.is_none() {
            for (pause, steps) in self.play.handovers {
                all.push(Trouble::Handover {
                    pause: secs(*pause),
                    steps: *steps,
                });
            }
        }
        all
    }

    /// Lets time pass until every grace and overlap is over, and looks at what is left.
    fn settle(&mut self, choices: &mut Choices) {
        let end = self.world.now + mins(50);
        while self.world.now < end {
            let wake = self.leaders[self.active].wake;
            let next = self
                .world
                .next_landing()
                .map_or(wake, |lands| lands.min(wake));
            self.world.advance(next.min(end));
            self.quiet(choices);
        }
        if let Some(broken) = Oracle::judge_end(&self.world) {
            self.world.broken(&broken);
        }
        if Oracle::made(&self.world) > 4 + self.play.troubles {
            self.world.broken("a mint loop");
        }
        let writes = self.world.writes;
        let mut fresh = Leader::new("C");
        fresh.begin(&mut self.world, 0, 0);
        while fresh.pass.is_some() {
            fresh.act(&mut self.world, Fate::Well);
        }
        if self.world.writes != writes {
            self.world.broken("8: a restart over settled keys writes");
        }
    }
}

pub(super) const SPEC: &str = r#""lifetime": "30d", "rotation": {"overlap": "5m"}"#;
pub(super) const NO_OVERLAP: &str = r#""lifetime": "30d", "rotation": {"overlap": "0s"}"#;
const NEVER: &str = r#""lifetime": "30m", "rotation": {"mode": "Never", "overlap": "0s"}"#;
const ALL: &[Deed] = &[
    Deed::DeleteSecret,
    Deed::WipeStatus,
    Deed::ForgeStatus,
    Deed::Replace,
    Deed::OldIntent,
];
const HANDOVERS: &[(i64, usize)] = &[
    (0, 2),
    (0, 4),
    (0, 100),
    (20, 100),
    (70, 2),
    (70, 4),
    (70, 100),
    (240, 100),
];
const STALE: &[(usize, usize)] = &[(0, 1), (0, 2), (1, 0), (1, 1), (2, 2)];

/// Explores, and prints how far it came.
fn explore(name: &str, play: &Play, choices: Choices) {
    let Explored { schedules, effects } = play.explore(choices);
    println!("{name}: {schedules} schedules, {effects} effects");
    assert!(schedules > 1);
}

fn lives() -> [(&'static str, &'static [Deed]); 8] {
    use Deed::{Delete, Retain, Revoke, Rotate, TakeBack};
    [
        ("make", &[]),
        ("rotate", &[Rotate]),
        ("rotate twice", &[Rotate, Rotate]),
        ("delete", &[Delete]),
        ("rotate and delete", &[Rotate, Delete]),
        ("revoke", &[Revoke]),
        ("revoke and back", &[Revoke, TakeBack]),
        ("retain", &[Retain, Delete]),
    ]
}

fn one(spec: &'static str, deeds: &'static [Deed]) -> Play {
    Play {
        spec,
        deeds,
        troubles: 1,
        disturbances: ALL,
        handovers: HANDOVERS,
        stale: STALE,
    }
}

#[test]
fn one_trouble_at_any_moment() {
    for (name, deeds) in lives() {
        explore(name, &one(SPEC, deeds), Choices::every());
    }
}

#[test]
fn one_trouble_without_overlap() {
    use Deed::Rotate;
    explore(
        "no overlap",
        &one(NO_OVERLAP, &[Rotate, Rotate]),
        Choices::every(),
    );
    explore("never", &one(NEVER, &[Rotate]), Choices::every());
}

#[test]
fn two_troubles_while_a_key_is_replaced() {
    let play = Play {
        spec: NO_OVERLAP,
        deeds: &[Deed::Rotate],
        troubles: 2,
        disturbances: &[Deed::DeleteSecret],
        handovers: &[(0, 4), (70, 100)],
        stale: &[(0, 1)],
    };
    explore("two troubles", &play, Choices::every());
}

#[test]
fn many_troubles_by_chance() {
    for (seed, (name, deeds)) in (1..).zip(lives()) {
        let play = Play {
            troubles: 5,
            ..one(NO_OVERLAP, deeds)
        };
        explore(name, &play, Choices::Dice { seed, runs: 150 });
    }
}
