//! A world in one struct: an ApiKey, its Secret, a server with keys, and a clock; and leaders that
//! see it through caches of any age and act on what the planner says. No I/O, no decisions.

use jiff::{SignedDuration, Timestamp};

use super::build::*;
use super::oracle::Oracle;
use crate::api::conditions::Reason;
use crate::plan::fault::Retry;
use crate::plan::key::{
    Done, Dress, Finalizer, Freshness, Held, IntentSeen, Object, Owner, Pass, Publication, Secret,
    Seen, Setback, Step, fold, plan,
};
use crate::plan::port::{Effect, Fault, KeyId, List, NewKey, Order, RemoteKey};
use crate::plan::record::{Nonce, Uid};
use crate::plan::{PUBLISH_WITHIN, SEND_WITHIN, Stop};

/// How long one effect takes.
const TICK: SignedDuration = SignedDuration::from_millis(137);

/// The ApiKey and its Secret at one moment.
#[derive(Clone)]
pub(super) struct Moment<T> {
    pub(super) version: u64,
    pub(super) is: T,
}

#[derive(Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) held: Held,
    /// The key whose value is in it.
    pub(super) value: KeyId,
}

#[derive(Clone)]
pub(super) struct ServerKey {
    pub(super) remote: RemoteKey,
    /// When it was revoked.
    pub(super) dead: Option<Timestamp>,
}

/// A request that lands later than its sender waits.
#[derive(Clone)]
struct Flying {
    lands: Timestamp,
    what: Load,
}

#[derive(Clone)]
enum Load {
    Mint(Order),
    /// With the resource version that it expects of the Secret; `None` for a create.
    Publish(Publication, Option<String>),
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is carried out and answered.
    Well,
    /// It is carried out, the answer is lost.
    Unheard,
    /// It lands as late as it can, and nobody waits for it any more.
    Late,
    /// It never arrives, and nobody can tell.
    Lost,
    /// It is answered with a refusal.
    Refused,
    /// It is carried out and answered, and a second copy of it lands late.
    Twice,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) objects: Vec<Moment<Option<Object>>>,
    pub(super) secrets: Vec<Moment<Option<Stored>>>,
    pub(super) keys: Vec<ServerKey>,
    pub(super) log: Vec<String>,
    pub(super) writes: usize,
    pub(super) oracle: Oracle,
    flying: Vec<Flying>,
    version: u64,
    nonces: u8,
}

impl World {
    pub(super) fn new(spec: &str) -> Self {
        let foreign = |id: &str, text: String| ServerKey {
            remote: RemoteKey {
                id: KeyId::new(id),
                text,
                created_at: start() - days(100),
                expires_at: None,
            },
            dead: None,
        };
        Self {
            now: start(),
            objects: vec![Moment {
                version: 1,
                is: Some(object(spec)),
            }],
            secrets: vec![Moment {
                version: 1,
                is: None,
            }],
            // Nobody's, another installation's with our uid, and another ApiKey's.
            keys: vec![
                foreign("foreign", "by hand".to_owned()),
                foreign("other", text(1).replace("here", "there")),
                foreign("sister", text(1).replace("0f0f0f0f-uid", "sister")),
            ],
            log: Vec::new(),
            writes: 0,
            oracle: Oracle::default(),
            flying: Vec::new(),
            version: 1,
            nonces: 0,
        }
    }

    pub(super) fn say(&mut self, line: impl AsRef<str>) {
        let since = SignedDuration::try_from(self.now - start()).unwrap();
        self.log
            .push(format!("{:>9.3} s  {}", since.as_secs_f64(), line.as_ref()));
    }

    pub(super) fn object(&self) -> Option<&Object> {
        self.objects.last()?.is.as_ref()
    }

    pub(super) fn secret(&self) -> Option<&Stored> {
        self.secrets.last()?.is.as_ref()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The keys of this ApiKey that the server accepts.
    pub(super) fn living(&self) -> Vec<&KeyId> {
        self.keys
            .iter()
            .filter(|key| self.is_ours(key) && self.accepts(key))
            .map(|key| &key.remote.id)
            .collect()
    }

    fn is_ours(&self, key: &ServerKey) -> bool {
        claim().marker_of(&key.remote, &uid()).is_some()
    }

    fn accepts(&self, key: &ServerKey) -> bool {
        key.dead.is_none() && key.remote.expires_at.is_none_or(|end| end > self.now)
    }

    pub(super) fn is_dead(&self, id: &KeyId) -> bool {
        self.keys
            .iter()
            .any(|key| key.remote.id == *id && key.dead.is_some())
    }

    /// Somebody, or we, write the ApiKey.
    pub(super) fn set_object(&mut self, change: impl FnOnce(&mut Object)) {
        let Some(mut object) = self.object().cloned() else {
            return;
        };
        change(&mut object);
        self.version += 1;
        let going = object.deleting.is_some() && object.finalizer == Finalizer::Missing;
        let is = (!going).then_some(object);
        if is.is_none()
            && self
                .secret()
                .is_some_and(|secret| secret.held.owner == Owner::ApiKey)
        {
            self.set_secret(None);
        }
        self.objects.push(Moment {
            version: self.version,
            is,
        });
    }

    pub(super) fn set_secret(&mut self, secret: Option<Stored>) {
        self.version += 1;
        let is = secret.map(|mut secret| {
            secret.held.resource_version = self.version.to_string();
            secret
        });
        let mut oracle = std::mem::take(&mut self.oracle);
        oracle.secret_changes(self.secret(), is.as_ref(), self.now, self.object());
        self.oracle = oracle;
        self.secrets.push(Moment {
            version: self.version,
            is,
        });
    }

    /// When the next request lands that nobody waits for.
    pub(super) fn next_landing(&self) -> Option<Timestamp> {
        self.flying.iter().map(|one| one.lands).min()
    }

    pub(super) fn advance(&mut self, to: Timestamp) {
        while let Some(at) = self.next_landing().filter(|at| *at <= to) {
            let index = self.flying.iter().position(|one| one.lands == at).unwrap();
            let one = self.flying.remove(index);
            self.now = self.now.max(at);
            match one.what {
                Load::Mint(order) => {
                    let key = self.make(&order);
                    self.say(format!("  … {} is made late", key.id));
                }
                Load::Publish(publication, expects) => {
                    let id = publication.published.id.clone();
                    let taken = self.store(publication, expects.as_deref());
                    self.say(format!(
                        "  … a late Publish of {id} is {}",
                        if taken { "taken" } else { "refused" }
                    ));
                }
            }
            self.check();
        }
        self.now = self.now.max(to);
    }

    /// The oracles look at everything after each effect.
    pub(super) fn check(&mut self) {
        if let Some(broken) = Oracle::judge(self) {
            panic!("{broken}\n{}", self.log.join("\n"));
        }
    }

    pub(super) fn broken(&self, what: &str) -> ! {
        panic!("{what}\n{}", self.log.join("\n"))
    }

    fn fresh_nonce(&mut self) -> Nonce {
        self.nonces += 1;
        nonce(self.nonces)
    }

    fn make(&mut self, order: &Order) -> NewKey {
        let made = self.keys.len() - 2;
        let remote = RemoteKey {
            id: KeyId::new(format!("k{made}")),
            text: order.text.clone(),
            created_at: self.now,
            expires_at: Some(order.expires_at),
        };
        self.keys.push(ServerKey {
            remote: remote.clone(),
            dead: None,
        });
        NewKey {
            id: remote.id,
            text: remote.text,
            created_at: remote.created_at,
            expires_at: remote.expires_at,
        }
    }

    /// The Secret's write, with its guard.
    fn store(&mut self, publication: Publication, expects: Option<&str>) -> bool {
        let held = self
            .secret()
            .map(|secret| secret.held.resource_version.as_str());
        // A Secret whose owner is gone is collected as soon as it appears.
        if held != expects || self.object().is_none() {
            return false;
        }
        self.oracle.publishes(&publication);
        let Publication {
            published,
            retiring,
            rotate_handled,
        } = publication;
        let value = published.id.clone();
        self.set_secret(Some(Stored {
            value,
            held: Held {
                uid: Uid::new("secret"),
                resource_version: String::new(),
                deleting: false,
                published: Some(published),
                retiring,
                rotate_handled,
                dress: Dress::Tidy,
                owner: Owner::ApiKey,
            },
        }));
        true
    }

    fn seen_secret(&self) -> Secret {
        self.secret()
            .map_or(Secret::Absent, |secret| Secret::Ours(secret.held.clone()))
    }
}

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
        if steps > 40 {
            world.broken(&format!("9: a pass of {} does not settle", self.name));
        }
        self.pass = (plan.step != Step::Idle).then_some(Running {
            seen,
            object_version,
            step: plan.step,
            steps: steps + 1,
        });
    }

    /// Takes the step that is due. What the shell itself guards is guarded here: the resource
    /// version, and the time left for Mint and Publish.
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
            Step::Look { .. } if fate == Fate::Refused => return Some(failed(Effect::None)),
            Step::Look { .. } => Some(Done::Looked(List {
                began: world.now,
                keys: world
                    .keys
                    .iter()
                    .filter(|key| world.accepts(key))
                    .map(|key| key.remote.clone())
                    .collect(),
            })),
            Step::Rehearse if fate == Fate::Refused => return Some(failed(Effect::None)),
            Step::Rehearse => Some(Done::Rehearsed {
                secret: world.seen_secret(),
                base: Box::new(seen.base.clone()),
            }),
            Step::Prove if fate == Fate::Refused => return Some(failed(Effect::None)),
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
            Step::Unpublish | Step::Amend(_) => self.write_secret(world, seen, step),
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

    fn write_secret(&self, world: &mut World, seen: &Seen, step: &Step) -> Option<Done> {
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
        stored.held.owner = Owner::Nobody;
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
            world.flying.push(Flying {
                lands,
                what: Load::Mint(order.clone()),
            });
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
        let what = Load::Publish(publication.clone(), expects.clone());
        world.flying.push(Flying { lands, what });
    }
    match fate {
        Fate::Refused => return failed(Effect::None),
        Fate::Lost | Fate::Late => return failed(Effect::Perhaps),
        Fate::Well | Fate::Unheard | Fate::Twice => {}
    }
    world.writes += 1;
    let taken = world.store(publication, expects.as_deref());
    match (taken, fate) {
        (_, Fate::Unheard) => failed(Effect::Perhaps),
        (true, _) => Done::Published(world.secret().unwrap().held.clone()),
        // One copy is still on its way, so not every copy was refused.
        (false, Fate::Twice) => failed(Effect::Perhaps),
        (false, _) => {
            world.say(format!("  … {id} is outrun"));
            Done::Outrun(world.seen_secret())
        }
    }
}
