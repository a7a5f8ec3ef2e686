//! What should happen: pure and total functions from facts to one step.
//!
//! No clock, no client, no `async`, no chance: time and random bytes come in as facts.

pub mod backoff;
pub mod marker;
pub mod port;
pub mod record;
