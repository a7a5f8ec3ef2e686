//! Doing one step, and taking its answer into the facts.

use super::see::Dependents;
use super::{Hands, Link, Memory, holds};
use crate::api::conditions::Reason;
use crate::api::{ConnectionStatus, ServiceAccount, annotation, finalizer};
use crate::controllers::cluster::Marks;
use crate::controllers::standing::Place;
use crate::controllers::{Ctx, Outcome};
use crate::plan::Stop;
use crate::plan::connection::{Look, Mark, Seen, Step};

/// A refused write, in words for people.
pub(super) fn refusal(step: &Step, why: &str) -> Stop {
    let what = label(step).unwrap_or("a write");
    Stop::new(
        Reason::SecretRefused,
        format!(
            "The cluster refuses {what} (finalizers and annotations of the connection and its credential's Secret): {why}. Correct the policy that refuses it."
        ),
    )
}

/// What follows from an effect.
pub(super) enum Flow {
    On,
    Over,
    Refused(String),
}

impl Flow {
    pub(super) fn refused(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }
}

pub(super) fn label(step: &Step) -> Option<&'static str> {
    match step {
        Step::Idle | Step::Count | Step::Probe => None,
        Step::Pin(_) => Some("Pin"),
        Step::Guard => Some("Guard"),
        Step::Hold => Some("Hold"),
        Step::GiveUp => Some("GiveUp"),
        Step::Release => Some("Release"),
        Step::Record(_) => Some("Record"),
        Step::Close => Some("Close"),
    }
}

/// Does one step, and takes its answer into the facts.
pub(super) async fn act<L: Link>(
    ctx: &Ctx,
    place: &Place,
    seen: &mut Seen,
    hands: &mut Hands<L>,
    memory: &mut Memory,
    step: &Step,
) -> Outcome<Flow> {
    match step {
        Step::Idle => Outcome::Stale,
        Step::Probe => probe(ctx, seen, hands, memory).await,
        Step::Pin(pin) => {
            let annotations = vec![
                (annotation::SERVER_IDENTITY, Some(pin.identity.to_string())),
                (annotation::OWN_ACCOUNT, Some(pin.own.to_string())),
            ];
            let written = change(
                ctx,
                hands,
                Marks {
                    annotations,
                    ..Marks::default()
                },
            )
            .await;
            if matches!(written, Outcome::Done(Flow::On)) {
                seen.pin = Some(pin.clone());
            }
            written
        }
        Step::Guard => {
            let written = change(
                ctx,
                hands,
                Marks {
                    add: Some(finalizer::CONNECTION),
                    ..Marks::default()
                },
            )
            .await;
            if matches!(written, Outcome::Done(Flow::On)) {
                seen.finalizer = Mark::Present;
            }
            written
        }
        Step::Hold => holds::hold(ctx, seen, hands, memory).await,
        Step::GiveUp => holds::give_up(ctx, seen, hands).await,
        Step::Release => holds::release(ctx, seen, hands).await,
        Step::Count => count(ctx, place, seen).await,
        Step::Record(status) => record(ctx, seen, hands, memory, (**status).clone()).await,
        Step::Close => {
            let closed = change(
                ctx,
                hands,
                Marks {
                    remove: Some(finalizer::CONNECTION),
                    ..Marks::default()
                },
            )
            .await;
            match closed {
                Outcome::Done(Flow::On) => Outcome::Done(Flow::Over),
                other => other,
            }
        }
    }
}

pub(super) async fn probe<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &Hands<L>,
    memory: &mut Memory,
) -> Outcome<Flow> {
    let Some(server) = &hands.server else {
        return Outcome::Stale;
    };
    let found = server.probe().await;
    seen.look = Some(Look::new(ctx.clock.now(), found, seen.look.as_ref()));
    memory.look.clone_from(&seen.look);
    Outcome::Done(Flow::On)
}

async fn count(ctx: &Ctx, place: &Place, seen: &mut Seen) -> Outcome<Flow> {
    match ctx.cluster.all::<ServiceAccount>().await {
        Ok(accounts) => {
            let dependents = Dependents::of(place, accounts.iter());
            (seen.accounts, seen.bound) = (dependents.all, dependents.bound);
            seen.counted_live = true;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::Unanswered(lapse.to_string()),
    }
}

async fn record<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &mut Hands<L>,
    memory: &mut Memory,
    status: ConnectionStatus,
) -> Outcome<Flow> {
    let there = hands.object.status();
    let now = ctx.clock.now();
    if let Some(until) = memory
        .voice
        .waits(&there, &status, now, |said| &said.conditions)
    {
        return Outcome::Hushed(until);
    }
    match ctx.cluster.record(&hands.object.with(status)).await {
        Ok(object) => {
            hands.object = object;
            seen.status = hands.object.status();
            memory.voice.said(&seen.status);
            ctx.reporter
                .flipped(
                    &hands.object,
                    "Reconcile",
                    &there.conditions,
                    &seen.status.conditions,
                )
                .await;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::of_lapse(lapse, Flow::refused),
    }
}

async fn change<L: Link>(ctx: &Ctx, hands: &mut Hands<L>, marks: Marks) -> Outcome<Flow> {
    match ctx.cluster.mark(&hands.object, &marks).await {
        Ok(object) => {
            hands.object = object;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::of_lapse(lapse, Flow::refused),
    }
}
