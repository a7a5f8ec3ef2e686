//! A sign-in that lasts a while: had when it is first needed, had anew before it ends or once it is
//! refused, and by one at a time, however many wait for it.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::http::{Badge, on_the_way};
use crate::plan::port::Fault;

/// How long before its end a sign-in is had anew.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

/// What a sign-in gave.
#[derive(Clone)]
pub(super) struct Ticket {
    /// What the server wants to see with each request.
    pub(super) badge: Badge,
    /// When it ends, on our clock.
    pub(super) until: Timestamp,
}

/// The sign-in of one client.
#[derive(Default)]
pub(super) struct Session {
    /// The newest ticket, and its number.
    ticket: Mutex<(u64, Option<Ticket>)>,
}

impl Session {
    /// The badge of a ticket that is still good, and the ticket's number; `sign_in` gets one where there
    /// is none.
    pub(super) async fn badge(
        &self,
        now: Timestamp,
        sign_in: impl Future<Output = Result<Ticket, Fault>> + Send,
    ) -> Result<(u64, Badge), Fault> {
        let mut held = self.ticket.lock().await;
        let (number, ticket) = &mut *held;
        let good = |ticket: &&Ticket| ticket.until.duration_since(now) > EARLY;
        if let Some(ticket) = ticket.as_ref().filter(good) {
            return Ok((*number, ticket.badge.clone()));
        }
        let new = sign_in.await.map_err(on_the_way)?;
        *number += 1;
        let badge = new.badge.clone();
        *ticket = Some(new);
        Ok((*number, badge))
    }

    /// The server refuses the ticket of this number: it is used no more.
    pub(super) async fn refused(&self, number: u64) {
        let mut held = self.ticket.lock().await;
        if held.0 == number {
            held.1 = None;
        }
    }
}
