//! A leader: a process that sees the world through caches of any age, and acts on what the planner
//! says. What the shell itself must guard is guarded here: resource versions, and the time that is
//! left for Mint and Publish.

use jiff::{SignedDuration, Timestamp};

use super::build::*;
use super::world::{Fate, Load, World};
use crate::api::conditions::Reason;
use crate::plan::fault::Retry;
use crate::plan::key::{
    Amendment, Done, Finalizer, Freshness, IntentSeen, Owner, Pass, Publication, Secret, Seen,
    Setback, Step, fold, plan,
};
use crate::plan::port::{Effect, Fault, List, Order};
use crate::plan::record::Nonce;
use crate::plan::{PUBLISH_WITHIN, SEND_WITHIN, Stop};

/// How long one effect takes.
const TICK: SignedDuration = SignedDuration::from_millis(137);
/// More steps in one pass are a loop.
const MOST_STEPS: usize = 40;

/// A process that leads, or thinks so.
pub(super) struct Leader {
    pub(super) name: &'static str,
    pub(super) pass: Option<Running>,
    settled: Option<Nonce>,
    list: Option<List>,
    /// The version of the world at which its last pass ended.
    pub(super) rested_at: u64,
    pub(super) wake: Timestamp,
}

/// A pass under way: its facts, and the step that it is about to take.
pub(super) struct Running {
    seen: Seen,
    object_version: u64,
    pub(super) step: Step,
    steps: usize,
}

impl Leader {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            pass: None,
            settled: None,
            list: None,
            rested_at: 0,
            wake: start(),
        }
    }

    /// The process dies, and another takes its place.
    pub(super) fn crash(&mut self, world: &mut World) {
        world.say(format!("{} crashes", self.name));
        *self = Self::new(self.name);
        self.wake = world.now;
    }

    /// Begins a pass on views that are so many versions old.
    pub(super) fn begin(&mut self, world: &mut World, stale_object: usize, stale_secret: usize) {
        let at = |len: usize, stale: usize| len.saturating_sub(1 + stale);
        let object = world.objects[at(world.objects.len(), stale_object)].clone();
        let secret = world.secrets[at(world.secrets.len(), stale_secret)].clone();
        self.rested_at = world.version();
        let Some(is) = object.is else {
            self.wake = Timestamp::MAX;
            return;
        };
        let seen = Seen {
            now: world.now,
            nonce: world.fresh_nonce(),
            claim: claim(),
            object: is,
            base: base(),
            secret: secret
                .is
                .map_or(Secret::Absent, |secret| Secret::Ours(secret.held)),
            freshness: Freshness::Cached,
            list: self.list.clone(),
            settled: self.settled.clone(),
            pass: Pass::begin(world.now),
        };
        self.go(world, seen, object.version, 0);
    }

    /// Plans the next step of the pass, or ends it.
    fn go(&mut self, world: &mut World, mut seen: Seen, object_version: u64, steps: usize) {
        seen.now = world.now;
        self.settled.clone_from(&seen.settled);
        self.list.clone_from(&seen.list);
        let plan = plan(&seen);
        if plan.wake <= world.now {
            world.broken("the wake is not after now");
        }
        self.wake = plan.wake;
        if steps > MOST_STEPS {
            world.broken(&format!("9: a pass of {} does not settle", self.name));
        }
        self.pass = (plan.step != Step::Idle).then_some(Running {
            seen,
            object_version,
            step: plan.step,
            steps: steps + 1,
        });
    }

    /// Takes the step that is due.
    pub(super) fn act(&mut self, world: &mut World, fate: Fate) {
        let Some(Running {
            mut seen,
            object_version,
            step,
            steps,
        }) = self.pass.take()
        else {
            return;
        };
        world.advance(world.now + TICK);
        let fated = if fate == Fate::Well {
            String::new()
        } else {
            format!(" ({fate:?})")
        };
        world.say(format!("{} {}{fated}", self.name, word(&step)));
        let mut answer = Answer { object_version };
        let done = answer.to(world, &seen, &step, fate);
        world.check();
        seen.now = world.now;
        match done {
            Some(Done::Over) | None => {
                // A conflict, or the end: the next pass begins at once.
                self.rested_at = 0;
                self.wake = world.now;
            }
            Some(done) => {
                let seen = fold(seen, &step, done);
                self.go(world, seen, answer.object_version, steps);
            }
        }
    }
}

/// What the two servers answer.
struct Answer {
    object_version: u64,
}

impl Answer {
    fn to(&mut self, world: &mut World, seen: &Seen, step: &Step, fate: Fate) -> Option<Done> {
        let done = match step {
            Step::Idle => return None,
            Step::Refresh => self.refresh(world),
            Step::Look { .. } | Step::Rehearse(_) | Step::Prove if fate == Fate::Refused => {
                return Some(failed(Effect::None));
            }
            Step::Look { .. } => Some(Done::Looked(world.list())),
            Step::Rehearse(_) => self.refresh(world).map(|read| match read {
                Done::Refreshed { object, secret } => Done::Rehearsed {
                    object,
                    secret,
                    base: Box::new(seen.base.clone()),
                },
                other => other,
            }),
            Step::Prove => Some(Done::Proven(seen.base.account.clone().unwrap())),
            Step::Mint(order) => return Some(mint(world, seen, order, fate)),
            Step::Publish(publication) => {
                return Some(publish(world, seen, publication.clone(), fate));
            }
            _ if fate == Fate::Lost => return Some(failed(Effect::Perhaps)),
            Step::Revoke { id, .. } => {
                world.oracle.revokes(id.clone());
                let now = world.now;
                if let Some(key) = world.keys.iter_mut().find(|key| key.remote.id == *id) {
                    key.dead.get_or_insert(now);
                }
                Some(Done::Revoked(id.clone()))
            }
            Step::Unpublish | Step::Amend(_) => Self::write_secret(world, seen, step),
            _ => self.write_object(world, step),
        };
        match (done, fate) {
            (Some(_), Fate::Unheard) => Some(failed(Effect::Perhaps)),
            (done, _) => done,
        }
    }

    fn refresh(&mut self, world: &World) -> Option<Done> {
        let object = world.object()?.clone();
        self.object_version = world.objects.last()?.version;
        Some(Done::Refreshed {
            object: Box::new(object),
            secret: world.seen_secret(),
        })
    }

    fn write_secret(world: &mut World, seen: &Seen, step: &Step) -> Option<Done> {
        let held = seen.secret.ours()?;
        let mut stored = world.secret()?.clone();
        if stored.held.resource_version != held.resource_version {
            return None;
        }
        world.writes += 1;
        if *step == Step::Unpublish {
            world.set_secret(None);
            return Some(Done::Unpublished);
        }
        match step {
            Step::Amend(Amendment::Previous) => stored.held.previous = None,
            Step::Amend(Amendment::Release) => stored.held.owner = Owner::Nobody,
            _ => {}
        }
        world.set_secret(Some(stored));
        Some(Done::Amended(world.secret()?.held.clone()))
    }

    fn write_object(&mut self, world: &mut World, step: &Step) -> Option<Done> {
        if let Step::Retain(ids) = step {
            world.oracle.retains(ids);
            return Some(Done::Retained(ids.clone()));
        }
        let current = world.objects.last()?;
        if current.version != self.object_version || current.is.is_none() {
            world.say("  … conflict");
            return None;
        }
        world.writes += 1;
        if let Step::Record(status) = step
            && current
                .is
                .as_ref()
                .is_some_and(|object| object.status == **status)
        {
            world.broken("8: a Record that changes nothing");
        }
        let now = world.now;
        world.set_object(|object| match step {
            Step::Open(intent) => {
                object.finalizer = Finalizer::Present;
                object.intent = IntentSeen::Ours(intent.clone());
            }
            Step::Guard { intent } => {
                object.finalizer = Finalizer::Present;
                if let Some(intent) = intent {
                    object.intent = IntentSeen::Ours(intent.clone());
                }
            }
            Step::Record(status) => object.status = *status.clone(),
            Step::Close => object.finalizer = Finalizer::Missing,
            Step::Remove => object.deleting = Some(now),
            other => panic!("{other:?} is no write on the ApiKey"),
        });
        self.object_version = world.version();
        match (step, world.object().cloned()) {
            (Step::Close | Step::Remove, _) | (_, None) => Some(Done::Over),
            (_, Some(object)) => Some(Done::Written(Box::new(object))),
        }
    }
}

fn failed(effect: Effect) -> Done {
    let stop = Stop::plain(Reason::ServerUnreachable);
    Done::Failed(Setback {
        stop,
        effect,
        retry: Retry::Backoff,
    })
}

fn opened_at(seen: &Seen) -> Timestamp {
    seen.pass.attempt.as_ref().unwrap().intent.opened_at
}

fn mint(world: &mut World, seen: &Seen, order: &Order, fate: Fate) -> Done {
    if world.now > opened_at(seen) + SEND_WITHIN {
        world.say("  … too late, not sent");
        return failed(Effect::None);
    }
    match fate {
        Fate::Refused => Done::Failed(Setback::of(&Fault::Rejected("no".to_owned()))),
        Fate::Lost => failed(Effect::Perhaps),
        Fate::Late => {
            let lands = opened_at(seen) + secs(60);
            world.send(lands, Load::Mint(order.clone()));
            failed(Effect::Perhaps)
        }
        Fate::Unheard => {
            world.make(order);
            failed(Effect::Perhaps)
        }
        Fate::Well | Fate::Twice => Done::Minted(world.make(order)),
    }
}

fn publish(world: &mut World, seen: &Seen, publication: Publication, fate: Fate) -> Done {
    let opened_at = opened_at(seen);
    if world.now > opened_at + PUBLISH_WITHIN {
        world.say("  … too late, not sent");
        return failed(Effect::None);
    }
    let expects = seen.secret.ours().map(|held| held.resource_version.clone());
    let id = publication.published.id.clone();
    if matches!(fate, Fate::Late | Fate::Twice) {
        let lands = opened_at + PUBLISH_WITHIN + secs(30);
        world.send(lands, Load::Publish(publication.clone(), expects.clone()));
    }
    match fate {
        Fate::Refused => return failed(Effect::None),
        Fate::Lost | Fate::Late => return failed(Effect::Perhaps),
        Fate::Well | Fate::Unheard | Fate::Twice => {}
    }
    world.writes += 1;
    let taken = world.store(publication, expects.as_deref());
    match (taken, fate) {
        // No answer; or a refusal of one copy, and another is still on its way.
        (_, Fate::Unheard) | (false, Fate::Twice) => failed(Effect::Perhaps),
        (true, _) => Done::Published(world.secret().unwrap().held.clone()),
        (false, _) => {
            world.say(format!("  … {id} is outrun"));
            Done::Outrun(world.seen_secret())
        }
    }
}
