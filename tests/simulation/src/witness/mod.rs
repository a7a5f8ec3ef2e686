//! The witness: after every effect, of whomever, it looks at the stores behind the doors and says
//! which invariant of the protocol is broken. It believes nothing that the operator says of itself.
//!
//! | file | what is looked at |
//! | --- | --- |
//! | `objects` | ApiKeys and their ends; transition times; what is nobody's business |
//! | `ready` | that Ready is said of what is Ready |
//! | `keys` | keys on the server: how many live, and when they may die |
//! | `secrets` | which key each Secret held, from when until when |
//! | `texts` | that a key's value is nowhere else |

mod keys;
mod objects;
mod ready;
mod secrets;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use apikey_operator::clock::Clock as _;
use apikey_operator::plan::marker::{self, Marker};
use jiff::{SignedDuration, Timestamp};
use testbed::twins::octopus::KeyView;

use self::texts::Forms;
use crate::clock::SimulatedClock;
use crate::effect::Effect;
use crate::kubernetes::{ApiServer, Change};
use crate::recorder::Recorder;
use crate::scene::INSTALLATION;
use crate::servers::Servers;
use crate::wire::Overheard;
use crate::world::World;

/// A replaced key may go so much sooner than its overlap says: a Publish that was prepared then may
/// have landed later.
const SLACK: SignedDuration = SignedDuration::from_mins(2);
/// A key and three that retire: so many that a Secret has held live at once.
const ORDINARY: usize = 4;
/// An attempt is over after this.
const ATTEMPT: SignedDuration = SignedDuration::from_mins(3);
/// What is pardoned is mended within this time.
const PARDON: SignedDuration = SignedDuration::from_mins(20);

/// Looks after every effect whether all is well. Clones are the same witness.
#[derive(Clone)]
pub struct Witness {
    api: ApiServer,
    servers: Servers,
    clock: SimulatedClock,
    recorder: Recorder,
    overheard: Overheard,
    memory: Arc<Mutex<Memory>>,
}

/// What the witness has seen so far.
#[derive(Default)]
struct Memory {
    /// Up to which version of the store.
    version: u64,
    /// How many requests.
    heard: usize,
    /// What no text may show.
    forms: Forms,
    /// ApiKeys, by uid.
    wanted: BTreeMap<String, Wanted>,
    /// The names that ServiceAccounts, by namespace and name, give their accounts on the server.
    accounts: BTreeMap<(String, String), String>,
    /// Keys with our token, by id.
    ours: BTreeMap<String, Ours>,
    /// Keys with no token of ours, by id.
    others: BTreeMap<String, KeyView>,
    /// Which key each Secret held.
    held: Vec<Held>,
    /// The value of the replaced key that a Secret keeps, by the Secret's namespace and name.
    slots: BTreeMap<String, String>,
    /// Keys that a test has ended from outside.
    outside: BTreeSet<String>,
    /// ApiKeys whose published key may be dead for once, and until when.
    pardoned: BTreeMap<String, Timestamp>,
    /// ApiKeys that were removed before anybody could do anything for their keys.
    overtaken: BTreeSet<String>,
    /// How many attempts were cut off: each may have left a key that no Secret holds.
    spare: usize,
    /// Writes of operators that changed nothing.
    idle: Vec<Effect>,
}

/// An ApiKey.
#[derive(Debug, Clone)]
struct Wanted {
    namespace: String,
    secret: String,
    overlap: SignedDuration,
    end: End,
    /// Whether its key has always been meant to be replaced before it expires.
    renews: bool,
}

/// Whether an ApiKey still wants its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It does.
    Lives,
    /// It is revoked, or being deleted.
    Ends,
    /// It is gone.
    Gone,
}

/// A key that carries our token.
#[derive(Debug, Clone)]
struct Ours {
    marker: Marker,
    view: KeyView,
    /// Since when the server does not know it any more.
    gone: Option<Timestamp>,
    /// Why it was allowed to go, if it was.
    death: Option<Death>,
}

/// Why a key was allowed to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It was replaced, and its overlap was over.
    Replaced,
    /// It was ended: with its ApiKey, by hand, by its expiry, or before anybody had it.
    Ended,
}

/// What a Secret held.
#[derive(Debug, Clone)]
struct Held {
    uid: String,
    key: String,
    serial: u64,
    value: String,
    from: Timestamp,
    until: Option<Timestamp>,
}

/// One look.
struct Look<'a> {
    now: Timestamp,
    effect: Option<&'a Effect>,
    changes: Vec<Change>,
    wrong: Vec<String>,
}

impl Look<'_> {
    fn wrong(&mut self, mut what: String) {
        what.insert_str(0, &format!("{} ", self.now));
        self.wrong.push(what);
    }
}

impl Witness {
    /// A witness who looks after every effect from now on.
    pub(crate) fn new(world: &World, servers: &Servers, overheard: &Overheard) -> Self {
        let witness = Self {
            api: world.api.clone(),
            servers: servers.clone(),
            clock: world.clock.clone(),
            recorder: world.recorder.clone(),
            overheard: overheard.clone(),
            memory: Arc::default(),
        };
        let looks = witness.clone();
        world.recorder.oracle("witness", move |effect| {
            let wrong = looks.look(Some(effect));
            if wrong.is_empty() {
                Ok(())
            } else {
                Err(wrong.join("\n"))
            }
        });
        witness
    }

    /// Looks at everything, and says what is wrong that was not before.
    pub fn look(&self, effect: Option<&Effect>) -> Vec<String> {
        let mut memory = self.memory();
        let (changes, version) = self.api.store(|store| {
            let changes: Vec<_> = store.changes(memory.version).cloned().collect();
            (changes, store.version())
        });
        memory.version = version;
        let mut look = Look {
            now: self.clock.now(),
            effect,
            changes,
            wrong: Vec::new(),
        };
        let view = &self.servers.keys();
        memory.meet(view);
        memory.objects(&mut look);
        memory.secrets(&mut look, |value| self.servers.whose(value));
        memory.slots(&look);
        memory.keys(&mut look, view);
        memory.ready(&mut look, &self.servers);
        memory.idle(&look);
        memory.published(&mut look);
        memory.kept(&mut look);
        let calls = self.recorder.calls(memory.heard);
        memory.heard += calls.len();
        for value in self.overheard.values(memory.forms.values()) {
            memory.forms.add(&value);
        }
        texts::judge(&mut look, &calls, &memory.forms);
        look.wrong
    }

    /// So many attempts have been cut off: each may leave a key alive for a while that no Secret holds.
    pub fn spare(&self, attempts: usize) {
        self.memory().spare += attempts;
    }

    /// What these attempts have left is gone by now.
    pub fn spare_no_more(&self, attempts: usize) {
        let mut memory = self.memory();
        memory.spare = memory.spare.saturating_sub(attempts);
    }

    /// How many keys were made that no Secret ever held, and are gone.
    pub fn unpublished(&self) -> usize {
        let memory = self.memory();
        let held: BTreeSet<&str> = memory.held.iter().map(|held| held.key.as_str()).collect();
        let mut keys = memory.ours.iter();
        keys.by_ref()
            .filter(|(id, key)| key.gone.is_some() && !held.contains(id.as_str()))
            .count()
    }

    /// A test ends this key from outside.
    pub fn outside(&self, key: &str) {
        self.memory().outside.insert(key.to_owned());
    }

    /// This ApiKey was removed before anybody could do anything for its keys.
    pub fn overtaken(&self, uid: &str) {
        self.memory().overtaken.insert(uid.to_owned());
    }

    /// For once, and for a while, the published key of this ApiKey may be dead.
    pub fn pardon(&self, uid: &str) {
        let until = self.clock.now() + PARDON;
        self.memory().pardoned.insert(uid.to_owned(), until);
    }

    /// What operators have written without changing anything.
    pub fn idle(&self) -> Vec<Effect> {
        self.memory().idle.clone()
    }

    /// The keys that live though no Secret holds them, nor has held them for so long.
    pub fn left_over(&self, retiring: SignedDuration) -> Vec<String> {
        let (memory, now) = (self.memory(), self.clock.now());
        let left = |id: &&String| {
            let mut held = memory.held.iter().filter(|held| held.key == **id);
            !held.any(|held| held.until.is_none_or(|until| until + retiring >= now))
        };
        let mut living = memory.ours.iter().filter(|(_, key)| key.gone.is_none());
        living
            .by_ref()
            .map(|(id, _)| id)
            .filter(left)
            .cloned()
            .collect()
    }

    /// Why a consumer who has read this value may be refused now, if he may.
    pub fn excuse(&self, value: &str) -> Option<Death> {
        let memory = self.memory();
        let held = memory.held.iter().find(|held| held.value == value)?;
        memory.excuse(held, self.clock.now())
    }

    /// How many keys of an ApiKey were ever made.
    pub fn made(&self, uid: &str) -> usize {
        let memory = self.memory();
        let mut keys = memory.ours.values();
        keys.by_ref()
            .filter(|key| key.marker.uid.as_str() == uid)
            .count()
    }

    /// The ids of the keys that the Secret of an ApiKey has held, in order.
    pub fn held(&self, uid: &str) -> Vec<String> {
        let memory = self.memory();
        let mut ids: Vec<String> = memory
            .held
            .iter()
            .filter(|held| held.uid == uid)
            .map(|held| held.key.clone())
            .collect();
        ids.dedup();
        ids
    }

    /// When the server ceased to know a key.
    pub fn died(&self, key: &str) -> Option<Timestamp> {
        self.memory().ours.get(key)?.gone
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token that a key carries, when it is of this installation.
fn token(key: &KeyView) -> Option<Marker> {
    marker::parse(&key.purpose).filter(|marker| marker.installation.as_str() == INSTALLATION)
}
