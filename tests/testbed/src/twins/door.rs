//! The in-process door, and every power that a test has over a twin.
//!
//! Time comes from a function that the caller gives; delays go through tokio, so both follow a
//! paused clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::world::{Outcome, World};
use super::{Effect, Entry, Rule, Twin, Unknown, journal};

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The request surely never reached the server.
    NeverReached,
    /// The request may have reached the server, and may even land later.
    PerhapsReached,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NeverReached => "the connection was refused",
            Self::PerhapsReached => "the connection broke before an answer came",
        })
    }
}

impl std::error::Error for Cut {}

/// A function that tells the time.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The way to one twin. Clones lead to the same twin.
pub struct Door<T: Twin> {
    world: Arc<Mutex<World<T>>>,
    clock: Clock,
    dark: watch::Sender<bool>,
}

impl<T: Twin> Clone for Door<T> {
    fn clone(&self) -> Self {
        Self {
            world: Arc::clone(&self.world),
            clock: Arc::clone(&self.clock),
            dark: self.dark.clone(),
        }
    }
}

impl<T: Twin> Door<T> {
    /// Opens a door to a twin. The clock tells the real or the simulated time.
    pub fn new(twin: T, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let world = World::new(twin);
        let (dark, _) = watch::channel(false);
        Self {
            world: Arc::new(Mutex::new(world)),
            clock: Arc::new(clock),
            dark,
        }
    }

    /// Opens a door to a twin that lives in the machine's own time.
    pub fn live(twin: T) -> Self {
        Self::new(twin, machine_time)
    }

    /// Sends one request through the fault plan.
    ///
    /// # Errors
    /// A [`Cut`] when the fault plan lets no answer come back.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Cut> {
        match self.receive(request) {
            Outcome::Answer { response, after } => {
                if !after.is_zero() {
                    tokio::time::sleep(after).await;
                }
                Ok(response)
            }
            Outcome::Cut(cut) => Err(cut),
        }
    }

    /// Adds a rule to the fault plan, behind those already there.
    pub fn fault(&self, rule: Rule) {
        self.world().plan.add(rule);
        self.light();
    }

    /// Clears the fault plan. What is on its way still lands.
    pub fn clear_faults(&self) {
        self.world().plan.clear();
        self.light();
    }

    /// The rules in force.
    pub fn faults(&self) -> Vec<Rule> {
        self.world().plan.rules().to_vec()
    }

    /// Does something to the world from outside.
    ///
    /// # Errors
    /// When the change names something that is not there.
    pub fn change(&self, change: T::Change) -> Result<(), Unknown> {
        let (mut world, now) = self.present();
        world.twin.change(now, change)
    }

    /// Reads every account and key.
    pub fn view(&self) -> T::View {
        let (world, now) = self.present();
        world.twin.view(now)
    }

    /// Looks at the twin itself, at its own time.
    pub fn look<R>(&self, look: impl FnOnce(&T, Timestamp) -> R) -> R {
        let (world, now) = self.present();
        look(&world.twin, now)
    }

    /// Takes a backup.
    pub fn backup(&self) -> T {
        let (world, _) = self.present();
        world.twin.clone()
    }

    /// Restores a backup.
    pub fn restore(&self, older: T) {
        let (mut world, _) = self.present();
        world.twin.restore(older);
    }

    /// Moves the server's clock against everybody else's; moves add up.
    pub fn move_clock(&self, by: SignedDuration) {
        let (mut world, _) = self.present();
        world.ahead += by;
    }

    /// What the server takes for the present.
    pub fn now(&self) -> Timestamp {
        self.present().1
    }

    /// Everything that was asked so far, in order of sending.
    pub fn journal(&self) -> Vec<Entry> {
        let (world, _) = self.present();
        world.journal.clone()
    }

    /// Forgets what was asked so far. A request on its way is not forgotten.
    pub fn forget(&self) {
        self.present().0.forget();
    }

    /// Counts the requests with this effect that the server carried out with success.
    pub fn done(&self, effect: Effect) -> usize {
        journal::done(&self.journal(), effect)
    }

    /// Counts the requests with this effect that were sent, whatever became of them.
    pub fn sent(&self, effect: Effect) -> usize {
        journal::sent(&self.journal(), effect)
    }

    /// Whether the port should be closed, and a way to wait for a change of it.
    pub(super) fn darkness(&self) -> watch::Receiver<bool> {
        self.dark.subscribe()
    }

    /// Decides about one request and carries out what reaches the server.
    pub(super) fn receive(&self, request: Request<Bytes>) -> Outcome {
        let mut world = self.world();
        let now = (self.clock)();
        world.land(now);
        world.receive(now, request)
    }

    fn light(&self) {
        let dark = self.world().plan.rules().iter().any(Rule::is_total_outage);
        self.dark
            .send_if_modified(|was| std::mem::replace(was, dark) != dark);
    }

    fn world(&self) -> MutexGuard<'_, World<T>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The world with everything landed that is due, and the server's time.
    fn present(&self) -> (MutexGuard<'_, World<T>>, Timestamp) {
        let mut world = self.world();
        let now = (self.clock)();
        world.land(now);
        let server_now = now + world.ahead;
        (world, server_now)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a twin on a socket lives in the machine's time"
)]
fn machine_time() -> Timestamp {
    Timestamp::now()
}
