//! The doors of the world: every request of a process passes here on its way to Kubernetes or to a
//! server.
//!
//! A request that may change something is an [`Effect`]. Around each a script may crash the process,
//! hold the request, lose the answer or give another; after each all oracles look at the stores.
//! Nothing here knows what is behind a door: it takes `http` types in and gives them out.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sign::Sign;
use apikey_operator::clock::Clock;
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use crate::effect::{Call, Effect, Process};
use crate::script::{Act, Moment, Rule, Ticket};

/// A request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It never reached the other side.
    Unsent,
    /// It may have.
    Uncertain,
}

/// What an oracle found wrong.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which oracle.
    pub oracle: String,
    /// After which effect.
    pub effect: Effect,
    /// What is wrong.
    pub what: String,
}

/// A request that was sent, whether or not it may change something.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When.
    pub at: Timestamp,
    /// The request.
    pub call: Call,
    /// Whether its sender comes to rest.
    pub pace: Pace,
}

/// Whether a world comes to rest between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It does.
    Calm,
    /// Somebody asks again and again and lets hardly any time pass: the request is never answered.
    Restless,
}

/// So many requests within [`AT_ONCE`] come only from somebody who never rests.
const MOST_AT_ONCE: usize = 5_000;
/// A breath.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(10);

/// Looks at the stores behind the doors after an effect, and says what is wrong.
type Oracle = Box<dyn FnMut(&Effect) -> Result<(), String> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Ended,
}

/// The memory of all doors of one world.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

/// Says how long a request is on its way.
type Latency = Arc<dyn Fn(&Call) -> Duration + Send + Sync>;

struct Inner {
    clock: Arc<dyn Clock>,
    latency: Mutex<Option<Latency>>,
    calls: Mutex<Vec<Heard>>,
    effects: Mutex<Vec<Effect>>,
    rules: Mutex<Vec<Rule>>,
    oracles: Mutex<Vec<(String, Oracle)>>,
    violations: Mutex<Vec<Violation>>,
    states: Sign<BTreeMap<Process, State>>,
}

impl Recorder {
    /// Remembers nothing yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            clock,
            latency: Mutex::default(),
            calls: Mutex::default(),
            effects: Mutex::default(),
            rules: Mutex::default(),
            oracles: Mutex::default(),
            violations: Mutex::default(),
            states: Sign::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Every request that was sent so far, but for the first `skip`.
    pub fn calls(&self, skip: usize) -> Vec<Heard> {
        locked(&self.inner.calls)
            .get(skip..)
            .unwrap_or_default()
            .to_vec()
    }

    /// Everything that was sent so far and may have changed something.
    pub fn effects(&self) -> Vec<Effect> {
        locked(&self.inner.effects).clone()
    }

    /// What the oracles found so far.
    pub fn violations(&self) -> Vec<Violation> {
        locked(&self.inner.violations).clone()
    }

    /// Asks a closure after every effect whether all is well.
    pub fn oracle(
        &self,
        name: &str,
        look: impl FnMut(&Effect) -> Result<(), String> + Send + 'static,
    ) {
        locked(&self.inner.oracles).push((name.to_owned(), Box::new(look)));
    }

    /// Adds a rule. Of several that fit a request, the oldest decides.
    pub fn script(&self, rule: Rule) -> Ticket {
        let ticket = rule.ticket();
        locked(&self.inner.rules).push(rule);
        ticket
    }

    /// Holds all requests of a process, and the answers to those under way.
    pub fn pause(&self, process: &Process) {
        self.set(process, State::Paused);
    }

    /// Lets a paused process go on.
    pub fn wake(&self, process: &Process) {
        self.set(process, State::Running);
    }

    /// Ends a life: whatever it still sends goes nowhere.
    pub fn crash(&self, process: &Process) {
        self.set(process, State::Ended);
    }

    /// Waits until a life has ended.
    pub async fn ended(&self, process: &Process) {
        let ended = |states: &BTreeMap<_, _>| states.get(process) == Some(&State::Ended);
        self.inner.states.until(ended).await;
    }

    /// Lets a request through a door. `perform` does it and gives the answer; `body` makes the body
    /// of an answer that a script gives instead.
    ///
    /// # Errors
    /// When a script cuts the connection.
    pub async fn pass<B, F>(
        &self,
        call: Call,
        body: fn(Bytes) -> B,
        perform: F,
    ) -> Result<Response<B>, Cut>
    where
        B: Send + 'static,
        F: Future<Output = Result<Response<B>, Cut>> + Send + 'static,
    {
        let process = call.process.clone();
        self.running(&process).await;
        if self.hear(&call) == Pace::Restless {
            // It would keep a paused clock from moving for ever.
            pending::<()>().await;
        }
        let number = self.number(&call);
        let met = self.meet(&call);
        let way = self.way(&call);
        let landing = self.clone().land(number, async move {
            travel(way).await;
            perform.await
        });
        let landing = async move {
            let answer = landing.await;
            travel(way).await;
            answer
        };
        let answer = match met {
            None => landing.await,
            Some((Act::Refuse, _)) => Err(Cut::Unsent),
            Some((Act::Answer(response), _)) => Ok(response.map(body)),
            Some((Act::Instead(response), _)) => {
                drop(landing.await);
                Ok(response.map(body))
            }
            Some((Act::Lose, _)) => {
                drop(landing.await);
                Err(Cut::Uncertain)
            }
            Some((Act::Late(delay), _)) => {
                tokio::spawn(async move {
                    sleep(delay).await;
                    drop(landing.await);
                });
                Err(Cut::Uncertain)
            }
            Some((Act::Slow(delay), _)) => {
                detached(async move {
                    sleep(delay).await;
                    landing.await
                })
                .await
            }
            Some((Act::Hold(Moment::Before), ticket)) => {
                detached(async move {
                    ticket.released().await;
                    landing.await
                })
                .await
            }
            Some((Act::Hold(Moment::After), ticket)) => {
                let answer = landing.await;
                ticket.released().await;
                answer
            }
            Some((Act::Crash(Moment::Before), _)) => self.end(&process).await,
            Some((Act::Crash(Moment::After), _)) => {
                drop(landing.await);
                self.end(&process).await
            }
        };
        self.running(&process).await;
        answer
    }

    /// How long requests, and then their answers, are on their way. No time at first.
    pub fn latency(&self, way: impl Fn(&Call) -> Duration + Send + Sync + 'static) {
        *locked(&self.inner.latency) = Some(Arc::new(way));
    }

    fn way(&self, call: &Call) -> Duration {
        let latency = locked(&self.inner.latency).clone();
        latency.map_or(Duration::ZERO, |way| way(call))
    }

    async fn end<T>(&self, process: &Process) -> T {
        self.crash(process);
        pending().await
    }

    /// Waits while a process is paused; for ever when its life has ended.
    async fn running(&self, process: &Process) {
        let runs = |states: &BTreeMap<_, _>| {
            let state = states.get(process);
            state.is_none_or(|state| *state == State::Running)
        };
        self.inner.states.until(runs).await;
    }

    fn set(&self, process: &Process, state: State) {
        self.inner.states.change(|states| {
            let known = states.entry(process.clone()).or_insert(state);
            if *known != State::Ended {
                *known = state;
            }
        });
    }

    /// Writes a request down.
    fn hear(&self, call: &Call) -> Pace {
        let at = self.inner.clock.now();
        let mut calls = locked(&self.inner.calls);
        let began = calls.len().checked_sub(MOST_AT_ONCE);
        let pace = if began.is_some_and(|began| at.duration_since(calls[began].at) < AT_ONCE) {
            Pace::Restless
        } else {
            Pace::Calm
        };
        let call = call.clone();
        calls.push(Heard { at, call, pace });
        pace
    }

    fn number(&self, call: &Call) -> Option<usize> {
        if !call.is_effect() {
            return None;
        }
        let mut effects = locked(&self.inner.effects);
        let number = effects.len();
        let sent = self.inner.clock.now();
        effects.push(Effect {
            number,
            call: call.clone(),
            sent,
            at: sent,
            status: None,
        });
        Some(number)
    }

    fn meet(&self, call: &Call) -> Option<(Act, Ticket)> {
        let mut rules = locked(&self.inner.rules);
        rules.iter_mut().find_map(|rule| rule.meet(call))
    }

    async fn land<B, F>(self, number: Option<usize>, perform: F) -> Result<Response<B>, Cut>
    where
        F: Future<Output = Result<Response<B>, Cut>>,
    {
        let answer = perform.await;
        if let Some(number) = number {
            self.done(number, answer.as_ref().ok().map(Response::status));
        }
        answer
    }

    fn done(&self, number: usize, status: Option<StatusCode>) {
        let at = self.inner.clock.now();
        let effect = {
            let mut effects = locked(&self.inner.effects);
            let Some(effect) = effects.get_mut(number) else {
                return;
            };
            effect.at = at;
            effect.status = status;
            effect.clone()
        };
        for (name, oracle) in locked(&self.inner.oracles).iter_mut() {
            if let Err(what) = oracle(&effect) {
                let violation = Violation {
                    oracle: name.clone(),
                    effect: effect.clone(),
                    what,
                };
                locked(&self.inner.violations).push(violation);
            }
        }
    }
}

async fn travel(way: Duration) {
    if !way.is_zero() {
        sleep(way).await;
    }
}

/// Goes on though the sender may lose patience: the request is on the wire.
async fn detached<B: Send + 'static>(
    landing: impl Future<Output = Result<Response<B>, Cut>> + Send + 'static,
) -> Result<Response<B>, Cut> {
    tokio::spawn(landing).await.unwrap_or(Err(Cut::Uncertain))
}

/// A poisoned lock still guards a world that a failing test wants to look at.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
