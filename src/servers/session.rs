//! A sign-in that lasts a while: had when it is first needed, had anew before it ends or once it is
//! refused, and by one at a time, however many wait for it.
//!
//! Whose name and password are refused does not try them again at once: many servers take that for
//! guessing, and shut the account out.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;

use super::http::{Ask, Badge, Route, on_the_way};
use crate::plan::port::Fault;

/// How long before its end a sign-in is had anew; a short one, in its last quarter.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// How long no sign-in is tried once one was refused. A change of the credential does not wait: it makes
/// another client.
const BARRED: SignedDuration = SignedDuration::from_mins(5);

/// What a sign-in gave.
pub(super) struct Ticket {
    /// What the server wants to see with each request.
    pub(super) badge: Badge,
    /// When it ends, on our clock; `None` where the server does not tell.
    pub(super) until: Option<Timestamp>,
}

/// The sign-in of one client.
#[derive(Default)]
pub(super) struct Session(Mutex<Held>);

/// What a session holds.
#[derive(Default)]
struct Held {
    /// The number of the newest ticket.
    number: u64,
    ticket: Option<Ticket>,
    /// When the ticket is had anew.
    renewal: Option<Timestamp>,
    /// Until when no sign-in is tried.
    barred: Option<Timestamp>,
}

impl Session {
    /// The badge of a ticket that is still good, and the ticket's number; `sign_in` gets one where there
    /// is none. `Unauthorized` where a sign-in was refused, now or a short while ago.
    pub(super) async fn badge(
        &self,
        now: Timestamp,
        sign_in: impl Future<Output = Result<Ticket, Fault>> + Send,
    ) -> Result<(u64, Badge), Fault> {
        let mut held = self.0.lock().await;
        let due = held.renewal.is_some_and(|renewal| renewal <= now);
        if let Some(ticket) = held.ticket.as_ref().filter(|_| !due) {
            return Ok((held.number, ticket.badge.clone()));
        }
        if held.barred.is_some_and(|until| now < until) {
            return Err(Fault::Unauthorized);
        }
        let outcome = sign_in.await.map_err(on_the_way);
        if matches!(outcome, Err(Fault::Unauthorized)) {
            held.barred = now.checked_add(BARRED).ok();
        }
        let ticket = outcome?;
        held.number += 1;
        held.renewal = ticket.until.map(|until| renewal(now, until));
        let badge = ticket.badge.clone();
        held.ticket = Some(ticket);
        Ok((held.number, badge))
    }

    /// The server refuses the ticket of this number: it is used no more.
    pub(super) async fn refused(&self, number: u64) {
        let mut held = self.0.lock().await;
        if held.number == number {
            held.ticket = None;
        }
    }

    /// The badge of a ticket that is used no more, if there is one.
    pub(super) async fn end(&self) -> Option<Badge> {
        let ticket = self.0.lock().await.ticket.take();
        ticket.map(|ticket| ticket.badge)
    }
}

fn renewal(now: Timestamp, until: Timestamp) -> Timestamp {
    let early = (until.duration_since(now) / 4).clamp(SignedDuration::ZERO, EARLY);
    until.saturating_sub(early).unwrap_or(until)
}

/// A request, before it is known as whom it goes.
pub(super) struct Asking {
    /// What to do.
    pub(super) method: Method,
    /// With what.
    pub(super) route: Route,
    /// Which part of it.
    pub(super) query: Vec<(&'static str, String)>,
    /// What to send along.
    pub(super) body: Option<Value>,
    /// Not to be sent any later, where that matters.
    pub(super) by: Option<Timestamp>,
}

impl Asking {
    /// A request without more.
    pub(super) fn new(method: Method, route: Route) -> Self {
        Self {
            method,
            route,
            query: Vec::new(),
            body: None,
            by: None,
        }
    }

    /// The same, as whoever has this badge.
    pub(super) fn with<'a>(&self, badge: &'a Badge) -> Ask<'a> {
        Ask {
            query: self.query.clone(),
            body: self.body.clone(),
            by: self.by,
            ..Ask::new(self.method.clone(), self.route.clone(), badge)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::KeyMaterial;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn ticket(until: Option<Timestamp>) -> Ticket {
        let badge = Badge::unseen(&KeyMaterial::new("s3cret"));
        Ticket { badge, until }
    }

    /// The number of the ticket that is good at this time, where a new one would end like this.
    async fn number(session: &Session, now: i64, until: Option<i64>) -> u64 {
        let sign_in = async { Ok(ticket(until.map(at))) };
        session.badge(at(now), sign_in).await.ok().unwrap().0
    }

    #[tokio::test]
    async fn a_ticket_is_had_anew_before_it_ends() {
        for (life, renewed) in [(3_600, 3_300), (1_200, 900), (400, 300)] {
            let session = Session::default();
            let ends = |now| Some(now + life);
            assert_eq!(number(&session, 0, ends(0)).await, 1);
            assert_eq!(number(&session, renewed - 1, ends(0)).await, 1, "{life}");
            assert_eq!(number(&session, renewed, ends(renewed)).await, 2, "{life}");
        }
    }

    #[tokio::test]
    async fn one_without_an_end_is_good_until_it_is_refused() {
        let session = Session::default();
        assert_eq!(number(&session, 0, None).await, 1);
        assert_eq!(number(&session, 1_000_000, None).await, 1);
        session.refused(1).await;
        assert_eq!(number(&session, 1_000_000, None).await, 2);
        session.refused(1).await;
        assert_eq!(number(&session, 1_000_000, None).await, 2, "it was another");
        assert!(session.end().await.is_some());
        assert!(session.end().await.is_none());
    }

    #[tokio::test]
    async fn what_was_refused_is_not_tried_again_at_once() {
        let session = Session::default();
        let mut tries = 0;
        for (now, tried) in [(0, 1), (1, 1), (299, 1), (300, 2), (301, 2)] {
            let refused = async {
                tries += 1;
                Err(Fault::Unauthorized)
            };
            let outcome = session.badge(at(now), refused).await;
            assert_eq!(outcome.err(), Some(Fault::Unauthorized));
            assert_eq!(tries, tried, "at {now}");
        }
        let trouble = async { Err(Fault::Uncertain("no answer".to_owned())) };
        let missing = session.badge(at(700), async { Err(Fault::NotFound) }).await;
        let gone = missing.err().map(|fault| fault.label());
        assert_eq!(
            gone,
            Some("protocol"),
            "it says nothing of what was asked for"
        );
        let outcome = session.badge(at(700), trouble).await;
        let unreachable = Fault::Unreachable("no answer".to_owned());
        assert_eq!(outcome.err(), Some(unreachable));
        assert_eq!(number(&session, 701, None).await, 1);
    }
}
