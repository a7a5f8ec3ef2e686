//! Tables: a situation, the step that follows, and what people read.

#![expect(clippy::too_many_lines, reason = "a table is as long as it is")]

mod ending;
mod first;
mod living;
mod passes;
mod replaced;
mod rotation;
mod servers;

use jiff::SignedDuration;

use super::build::Case;
use crate::api::conditions::Reason;
use crate::plan::Stop;
use crate::plan::key::{IntentSeen, Seen};

const READY: &str = "+Ready:Ready +UpToDate:Ready";

/// Holds every row against the planner, and shows all that are wrong. What is recorded must leave
/// nothing to record.
fn check(rows: Vec<(&str, Case, &str, &str)>) {
    let mut wrong = Vec::new();
    for (situation, case, step, face) in rows {
        let (got_step, got_face) = (case.step(), case.face());
        if got_step == "Record" && case.clone().recorded().step() == "Record" {
            wrong.push(format!("{situation}\n   is recorded twice"));
        }
        if (got_step.as_str(), got_face.as_str()) != (step, face) {
            wrong.push(format!(
                "{situation}\n   wanted {step} | {face}\n   got    {got_step} | {got_face}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn stop(reason: Reason) -> Stop {
    Stop::plain(reason)
}

/// Puts the end of a `Never` key on record.
fn ends(seen: &mut Seen, from_now: SignedDuration) {
    let at = seen.now + from_now;
    if let IntentSeen::Ours(intent) = &mut seen.object.intent {
        intent.ends_at = Some(at);
    }
}
