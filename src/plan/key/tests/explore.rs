//! Every schedule of a bounded kind: what a person does, and one or two things that go wrong at
//! any moment of it.

use jiff::SignedDuration;

use super::build::*;
use super::oracle::Oracle;
use super::world::{Fate, Leader, World};
use crate::api::KeyDeletionPolicy;
use crate::plan::key::{Finalizer, IntentSeen, Step};

/// What people and other programs do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Rotate,
    Withdraw,
    Revoke,
    TakeBack,
    Retain,
    Delete,
    DeleteSecret,
    WipeStatus,
    ForgeStatus,
    Replace,
    OldIntent,
}

impl Deed {
    pub(super) fn apply(self, world: &mut World) {
        world.say(format!("somebody: {self:?}"));
        let ids: Vec<_> = world.living().into_iter().cloned().collect();
        let now = world.now;
        let first = world.objects.iter().find_map(|moment| {
            moment.is.as_ref()?.intent.ours().cloned()
        });
        match self {
            Self::DeleteSecret => world.set_secret(None),
            Self::Revoke => {
                world.oracle.excused = true;
                edit(world, |spec| spec.revoked = true);
            }
            Self::TakeBack => edit(world, |spec| spec.revoked = false),
            Self::Retain => {
                world.oracle.let_go = true;
                edit(world, |spec| spec.deletion_policy = KeyDeletionPolicy::Retain);
            }
            Self::Rotate => world.set_object(|object| object.rotate = Some(format!("{now}"))),
            Self::Withdraw => world.set_object(|object| object.rotate = None),
            Self::Delete => world.set_object(|object| {
                object.deleting.get_or_insert(now);
                object.generation += 1;
            }),
            Self::WipeStatus => world.set_object(|object| {
                object.status = crate::api::ApiKeyStatus::default();
            }),
            Self::ForgeStatus => world.set_object(|object| {
                object.status.current = None;
                object.status.retiring = ids
                    .iter()
                    .map(|id| crate::api::RetiringKey {
                        id: id.to_string(),
                        serial: 1,
                        created_at: None,
                        expires_at: None,
                        revoke_at: crate::api::time(now - days(1)),
                    })
                    .collect();
            }),
            Self::Replace => {
                world.oracle.tampered = true;
                world.set_object(|object| {
                    object.intent = IntentSeen::Missing;
                    object.finalizer = Finalizer::Missing;
                });
            }
            Self::OldIntent => {
                world.oracle.tampered = true;
                if let Some(intent) = first {
                    world.set_object(|object| object.intent = IntentSeen::Ours(intent));
                }
            }
        }
        world.check();
    }
}

fn edit(world: &mut World, change: impl FnOnce(&mut crate::api::ApiKeySpec)) {
    world.set_object(|object| {
        change(&mut object.spec);
        object.generation += 1;
    });
}

/// What may go wrong at a moment.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Crash,
    CrashAfter,
    Fate(Fate),
    /// The other leader wakes, so much later, and this one goes on after so many of its steps.
    Handover { pause: SignedDuration, steps: usize },
    /// The pass is begun anew, on views so many versions old.
    Stale { object: usize, secret: usize },
    Deed(Deed),
}

/// Walks through all choices of a run, one run after the other.
#[derive(Default)]
pub(super) struct Choices {
    path: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.path.len() {
            self.path.push((0, of));
        }
        let (chosen, known) = self.path[self.at];
        assert_eq!(known, of, "a run is the same every time");
        self.at += 1;
        chosen
    }

    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.path.pop() {
            if chosen + 1 < of {
                self.path.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

/// A kind of schedule: deeds one after the other, each when all is quiet, and troubles.
pub(super) struct Play {
    pub(super) spec: &'static str,
    pub(super) deeds: &'static [Deed],
    pub(super) troubles: usize,
    pub(super) disturbances: &'static [Deed],
    pub(super) pauses: &'static [i64],
    pub(super) keys: usize,
}

/// What was explored.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Explored {
    pub(super) schedules: usize,
    pub(super) effects: usize,
}

impl Play {
    pub(super) fn explore(&self) -> Explored {
        let mut choices = Choices::default();
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
        let step = self.leaders[self.active].pass.as_ref().unwrap().step.clone();
        let troubles = if self.left == 0 { Vec::new() } else { self.troubles(&step) };
        let chosen = choices.choose(troubles.len() + 1);
        if chosen == 0 {
            self.leaders[self.active].act(&mut self.world, Fate::Well);
        } else {
            self.left -= 1;
            self.suffer(troubles[chosen - 1]);
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
            Step::Publish(_) => {
                &[Fate::Unheard, Fate::Late, Fate::Lost, Fate::Refused, Fate::Twice]
            }
            Step::Rehearse | Step::Prove | Step::Look { .. } => &[Fate::Refused],
            Step::Refresh | Step::Idle => &[],
            _ => &[Fate::Unheard, Fate::Lost],
        };
        all.extend(fates.iter().copied().map(Trouble::Fate));
        all.extend(self.play.disturbances.iter().copied().map(Trouble::Deed));
        for (object, secret) in [(0, 1), (0, 2), (1, 0), (1, 1), (2, 2)] {
            all.push(Trouble::Stale { object, secret });
        }
        if self.back_in.is_none() {
            for pause in self.play.pauses {
                for steps in [2, 4, 7, 100] {
                    all.push(Trouble::Handover { pause: secs(*pause), steps });
                }
            }
        }
        all
    }

    /// Lets time pass until every grace and overlap is over, and looks at what is left.
    fn settle(&mut self, choices: &mut Choices) {
        let end = self.world.now + mins(50);
        while self.world.now < end {
            let wake = self.leaders[self.active].wake;
            let next = self.world.next_landing().map_or(wake, |lands| lands.min(wake));
            self.world.advance(next.min(end));
            self.quiet(choices);
        }
        if let Some(broken) = Oracle::judge_end(&self.world) {
            self.world.broken(&broken);
        }
        if Oracle::made(&self.world) > self.play.keys {
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

const SPEC: &str = r#""lifetime": "30d", "rotation": {"overlap": "5m"}"#;
const NO_OVERLAP: &str = r#""lifetime": "30d", "rotation": {"overlap": "0s"}"#;
const ALL: &[Deed] = &[
    Deed::DeleteSecret,
    Deed::WipeStatus,
    Deed::ForgeStatus,
    Deed::Replace,
    Deed::OldIntent,
];

fn explored(name: &str, play: &Play) {
    let Explored { schedules, effects } = play.explore();
    println!("{name}: {schedules} schedules, {effects} effects");
    assert!(schedules > 1);
}

#[test]
fn one_trouble_anywhere() {
    use Deed::*;
    for (name, deeds) in [
        ("make", &[][..]),
        ("rotate", &[Rotate][..]),
        ("rotate twice", &[Rotate, Rotate]),
        ("delete", &[Delete]),
        ("rotate and delete", &[Rotate, Delete]),
        ("revoke", &[Revoke]),
        ("revoke and back", &[Revoke, TakeBack]),
        ("retain", &[Retain, Delete]),
    ] {
        for spec in [SPEC, NO_OVERLAP] {
            let pauses = &[0, 20, 70, 240];
            explored(name, &Play { spec, deeds, troubles: 1, disturbances: ALL, pauses, keys: 6 });
        }
    }
}
