//! Doing one step: restarting a workload the way `kubectl rollout restart` does it, by a new date in
//! the annotations of its pod template.

use std::str::FromStr;

use jiff::Timestamp;
use kube::ResourceExt;

use super::Hands;
use crate::api::conditions::Reason;
use crate::api::{Restarted, Workload, time};
use crate::controllers::cluster::Lapse;
use crate::controllers::{Ctx, Outcome};
use crate::plan::Stop;
use crate::plan::key::Done;

/// Restarts the workload, unless it was restarted since then.
pub(super) async fn restart(
    ctx: &Ctx,
    hands: &Hands,
    workload: &Workload,
    since: Timestamp,
) -> Outcome<Done> {
    let Workload { kind, name } = workload;
    let done = |at| {
        Outcome::Done(Done::Restarted(Restarted {
            kind: *kind,
            name: name.clone(),
            at: time(at),
        }))
    };
    let refuse = |reason, message| {
        Outcome::Done(Done::NotRestarted(
            workload.clone(),
            Stop::new(reason, message),
        ))
    };
    // Whoever refuses has seen the workload, and could tell of it: those words are not repeated.
    let forbidden = || {
        refuse(
            Reason::Forbidden,
            format!(
                "The cluster refuses the restart of {kind:?} {name}. Have the chart's value restartWorkloads set to true, or take the workload out of spec.restart."
            ),
        )
    };
    // Nothing else waits for it.
    let unanswered = || {
        refuse(
            Reason::Rejected,
            format!(
                "The API server gave no answer about {kind:?} {name}; its restart is tried again at the next resync."
            ),
        )
    };
    let namespace = hands.object.namespace().unwrap_or_default();
    let found = match ctx.cluster.workload(&namespace, workload).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            return refuse(
                Reason::Invalid,
                format!(
                    "There is no {kind:?} {name} in this namespace to be restarted. Apply it, or take it out of spec.restart."
                ),
            );
        }
        Err(Lapse::Refused(_)) => return forbidden(),
        Err(_) => return unanswered(),
    };
    if let Some(at) = found.restarted_at.as_deref()
        && let Ok(at) = Timestamp::from_str(at)
        && at >= since
    {
        return done(at);
    }
    let now = ctx.clock.now();
    match ctx.cluster.restart(&namespace, workload, &found, now).await {
        Ok(()) => {
            let note = format!("{kind:?} {name} is restarted, to read the new key.");
            ctx.reporter
                .tell(&hands.object, "Restarted", "Restart", &note)
                .await;
            done(now)
        }
        Err(Lapse::Refused(_)) => forbidden(),
        Err(Lapse::Conflict | Lapse::NotFound) => Outcome::Stale,
        Err(Lapse::NoAnswer(_)) => unanswered(),
    }
}
