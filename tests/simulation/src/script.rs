//! What may be done to a request at a door, and when: rules that a test writes down beforehand.

use std::time::Duration;

use crate::sign::Sign;
use bytes::Bytes;
use http::{Response, StatusCode};

use crate::effect::{Call, Process};
use crate::kubernetes::Refusal;

/// Which side of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is done yet.
    Before,
    /// It is done, and nobody knows.
    After,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// The connection is refused: nothing happens.
    Refuse,
    /// It is done, the answer is lost.
    Lose,
    /// The connection is cut at once, and the effect lands this much later.
    Late(Duration),
    /// It is done, and answered, this much later; done also if the sender has given up.
    Slow(Duration),
    /// Another answer is given; nothing happens.
    Answer(Response<Bytes>),
    /// It is done, and another answer is given.
    Instead(Response<Bytes>),
    /// It waits until the ticket is released. Held before its effect it lands then, also if the
    /// sender has given up or died.
    Hold(Moment),
    /// The process dies.
    Crash(Moment),
}

impl Act {
    /// An answer in the words of Kubernetes: 429, 500, 503, 409, …
    pub fn status(code: StatusCode, reason: &str, message: &str) -> Self {
        let refusal = Refusal::new(code, reason, message);
        let mut response = Response::new(Bytes::from(refusal.status().to_string()));
        *response.status_mut() = code;
        Self::Answer(response)
    }
}

/// Tells a test that a rule was met, and lets go what it holds.
#[derive(Debug, Clone)]
pub struct Ticket {
    met: Sign<usize>,
    open: Sign<bool>,
}

impl Ticket {
    fn new() -> Self {
        Self {
            met: Sign::new(0),
            open: Sign::new(false),
        }
    }

    /// How many requests have met the rule.
    pub fn count(&self) -> usize {
        self.met.look(|met| *met)
    }

    /// Waits until a request has met the rule.
    pub async fn met(&self) {
        self.met.until(|met| *met > 0).await;
    }

    /// Lets everything go that the rule holds, now and later.
    pub fn release(&self) {
        self.open.change(|open| *open = true);
    }

    pub(crate) async fn released(&self) {
        self.open.until(|open| *open).await;
    }
}

type Fits = Box<dyn FnMut(&Call) -> bool + Send>;

/// What shall happen to which requests.
pub struct Rule {
    fits: Fits,
    act: Act,
    skip: usize,
    times: usize,
    ticket: Ticket,
}

impl Rule {
    /// Every request that fits.
    pub fn every(act: Act, fits: impl FnMut(&Call) -> bool + Send + 'static) -> Self {
        Self {
            fits: Box::new(fits),
            act,
            skip: 0,
            times: usize::MAX,
            ticket: Ticket::new(),
        }
    }

    /// The first request that fits, and no other.
    pub fn once(act: Act, fits: impl FnMut(&Call) -> bool + Send + 'static) -> Self {
        Self {
            times: 1,
            ..Self::every(act, fits)
        }
    }

    /// The effect of this number, from 0, among those of one program in all its lives.
    pub fn effect(act: Act, process: &Process, number: usize) -> Self {
        let name = process.name.clone();
        let fits = move |call: &Call| call.process.name == name && call.is_effect();
        Self::once(act, fits).after(number)
    }

    /// Lets this many requests that fit go by first.
    #[must_use]
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Ends the rule when this many requests have met it.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    pub(crate) fn meet(&mut self, call: &Call) -> Option<(Act, Ticket)> {
        if self.times == 0 || !(self.fits)(call) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        self.ticket.met.change(|met| *met += 1);
        Some((self.act.clone(), self.ticket.clone()))
    }
}
