//! What is around a twin: its faults, its journal, its clock, and the requests that are still on
//! their way to it. Nothing here runs by itself: effects that land late are carried out, at their
//! own time, before anything else touches the twin.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::door::Cut;
use super::faults::Plan;
use super::{Caller, Entry, Fate, Fault, Twin};

/// A twin and what is around it.
pub(super) struct World<T> {
    pub(super) twin: T,
    /// How far the server's clock is ahead of the caller's.
    pub(super) ahead: SignedDuration,
    pub(super) plan: Plan,
    pub(super) journal: Vec<Entry>,
    late: Vec<Late>,
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

impl<T: Twin> World<T> {
    pub(super) fn new(twin: T) -> Self {
        Self {
            twin,
            ahead: SignedDuration::ZERO,
            plan: Plan::default(),
            journal: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Decides about one request and carries out what reaches the server. `now` is the caller's.
    pub(super) fn receive(&mut self, unmoved: Timestamp, request: Request<Bytes>) -> Outcome {
        let now = unmoved + self.ahead;
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
            Some(Fault::Feigned) => {
                self.journal[entry].fate = Fate::Feigned;
                let before = self.twin.clone();
                let response = self.twin.handle(now, request);
                self.twin.restore(before);
                instead(response)
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

    /// Empties the journal, but for what is still on its way.
    pub(super) fn forget(&mut self) {
        let mut kept = Vec::new();
        for late in &mut self.late {
            kept.push(self.journal[late.entry].clone());
            late.entry = kept.len() - 1;
        }
        self.journal = kept;
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
    pub(super) fn land(&mut self, now: Timestamp) {
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
