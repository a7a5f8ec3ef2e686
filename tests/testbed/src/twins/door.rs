//! The in-process door, and the world around a twin: its faults, its journal, its clock.
//!
//! Time comes from a function that the caller gives; delays go through tokio, so both follow a
//! paused clock. Effects that land late wait in a queue and are carried out, at their own time,
//! before anything else touches the twin: nothing runs in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::faults::Plan;
use super::{Caller, Effect, Entry, Fate, Fault, Rule, Twin, Unknown};

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

struct World<T> {
    twin: T,
    /// How far the server's clock is ahead of the caller's.
    ahead: SignedDuration,
    plan: Plan,
    late: Vec<Late>,
    journal: Vec<Entry>,
}

/// A request that is still on its way.
struct Late {
    due: Timestamp,
    request: Request<Bytes>,
    /// Its place in the journal.
    entry: usize,
}

/// What shall happen on the wire.
pub(super) enum Outcome {
    Answer {
        response: Response<Bytes>,
        after: Duration,
    },
    Cut(Cut),
}

impl<T: Twin> Door<T> {
    /// Opens a door to a twin. The clock tells the real or the simulated time.
    pub fn new(twin: T, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let world = World {
            twin,
            ahead: SignedDuration::ZERO,
            plan: Plan::default(),
            late: Vec::new(),
            journal: Vec::new(),
        };
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
        let (mut world, _) = self.present();
        let mut kept = Vec::new();
        let World { late, journal, .. } = &mut *world;
        for late in late {
            kept.push(journal[late.entry].clone());
            late.entry = kept.len() - 1;
        }
        *journal = kept;
    }

    /// Whether the port should be closed, and a way to wait for a change of it.
    pub(super) fn darkness(&self) -> watch::Receiver<bool> {
        self.dark.subscribe()
    }

    /// Decides about one request and carries out what reaches the server.
    pub(super) fn receive(&self, request: Request<Bytes>) -> Outcome {
        let (mut world, now) = self.present();
        world.receive(now, (self.clock)(), request)
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

impl<T: Twin> World<T> {
    fn receive(&mut self, now: Timestamp, unmoved: Timestamp, request: Request<Bytes>) -> Outcome {
        let fault = self
            .plan
            .strike(request.method().as_str(), request.uri().path());
        let entry = self.note(now, &request);
        match fault {
            None => self.answer(now, entry, request, Fate::Answered),
            Some(Fault::Outage) => Outcome::Cut(Cut::NeverReached),
            Some(Fault::CutBefore) => Outcome::Cut(Cut::PerhapsReached),
            Some(Fault::CutAfter) => {
                self.answer(now, entry, request, Fate::AnswerLost);
                Outcome::Cut(Cut::PerhapsReached)
            }
            Some(Fault::Late { seconds }) => {
                let by = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                self.journal[entry].fate = Fate::OnItsWay;
                self.late.push(Late {
                    due: unmoved + by,
                    request,
                    entry,
                });
                Outcome::Cut(Cut::PerhapsReached)
            }
            Some(Fault::Slow { millis }) => {
                match self.answer(now, entry, request, Fate::Answered) {
                    Outcome::Answer { response, .. } => Outcome::Answer {
                        response,
                        after: Duration::from_millis(millis),
                    },
                    cut @ Outcome::Cut(_) => cut,
                }
            }
            Some(Fault::Throttled { retry_after }) => {
                let mut response = self.twin.refusal(now, StatusCode::TOO_MANY_REQUESTS);
                if let Some(seconds) = retry_after {
                    response
                        .headers_mut()
                        .insert(RETRY_AFTER, HeaderValue::from(seconds));
                }
                instead(response)
            }
            Some(Fault::Refused { status }) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                instead(self.twin.refusal(now, status))
            }
            Some(Fault::Html) => instead(html()),
            Some(Fault::Redirect { location }) => instead(redirect(&location)),
            Some(Fault::HalfJson) => self
                .answer(now, entry, request, Fate::AnswerReplaced)
                .with_body(|body| {
                    let half = body.len() / 2;
                    body.slice(..half)
                }),
            Some(Fault::Flood { mebibytes }) => self
                .answer(now, entry, request, Fate::AnswerReplaced)
                .with_body(|_| Bytes::from(vec![b' '; mebibytes << 20])),
        }
    }

    /// Writes down a request that has not arrived.
    fn note(&mut self, now: Timestamp, request: &Request<Bytes>) -> usize {
        let sort = self.twin.sort(request);
        self.journal.push(Entry {
            at: now,
            method: sort.method.to_string(),
            template: sort.template,
            effect: sort.effect,
            account: sort.account,
            user: None,
            key: None,
            status: None,
            fate: Fate::NeverArrived,
        });
        self.journal.len() - 1
    }

    fn answer(
        &mut self,
        now: Timestamp,
        entry: usize,
        request: Request<Bytes>,
        fate: Fate,
    ) -> Outcome {
        let response = self.twin.handle(now, request);
        let entry = &mut self.journal[entry];
        entry.fate = fate;
        entry.status = Some(response.status().as_u16());
        if let Some(caller) = response.extensions().get::<Caller>() {
            entry.user = Some(caller.user.clone());
            entry.key.clone_from(&caller.key);
        }
        Outcome::Answer {
            response,
            after: Duration::ZERO,
        }
    }

    /// Carries out what is due, each at its own time, in the order of those times.
    fn land(&mut self, now: Timestamp) {
        let (mut due, rest) = std::mem::take(&mut self.late)
            .into_iter()
            .partition::<Vec<_>, _>(|l| l.due <= now);
        self.late = rest;
        due.sort_by_key(|late| late.due);
        for Late {
            due,
            request,
            entry,
        } in due
        {
            self.answer(due + self.ahead, entry, request, Fate::LandedLate);
        }
    }
}

impl Outcome {
    fn with_body(self, change: impl FnOnce(&Bytes) -> Bytes) -> Self {
        match self {
            Self::Answer { response, after } => {
                let (parts, body) = response.into_parts();
                let response = Response::from_parts(parts, change(&body));
                Self::Answer { response, after }
            }
            cut @ Self::Cut(_) => cut,
        }
    }
}

fn instead(response: Response<Bytes>) -> Outcome {
    Outcome::Answer {
        response,
        after: Duration::ZERO,
    }
}

fn html() -> Response<Bytes> {
    let page = "<!DOCTYPE html><html><body><h1>Please sign in to the network</h1></body></html>";
    let mut response = Response::new(Bytes::from_static(page.as_bytes()));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    response
}

fn redirect(location: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

#[expect(
    clippy::disallowed_methods,
    reason = "a twin on a socket lives in the machine's time"
)]
fn machine_time() -> Timestamp {
    Timestamp::now()
}

/// Requests with this effect that the server carried out with success.
impl<T: Twin> Door<T> {
    /// Counts the requests with this effect that the server carried out with success.
    pub fn done(&self, effect: Effect) -> usize {
        super::journal::done(&self.journal(), effect)
    }

    /// Counts the requests with this effect that were sent, whatever became of them.
    pub fn sent(&self, effect: Effect) -> usize {
        super::journal::sent(&self.journal(), effect)
    }
}
