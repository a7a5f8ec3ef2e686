//! Doing one step: the writes on the ApiKey, and the calls to the deploy server.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::time::sleep;

use super::restarting::restart;
use super::secret::{amend, compare, unpublish};
use super::see::{object_facts, secret_facts};
use super::writing::{publish, rehearse};
use super::{Hands, forget, live};
use crate::api::conditions::Reason;
use crate::api::{ApiKey, ServiceAccount, annotation, finalizer};
use crate::controllers::cluster::{Answer, Lapse, Marks};
use crate::controllers::standing::Place;
use crate::controllers::{Ctx, Outcome, facts};
use crate::plan::Stop;
use crate::plan::fault::Retry;
use crate::plan::key::{Done, Seen, Setback, Step};
use crate::plan::port::{self, Fault, KeyId};

/// How often a key that does not sign in is tried again, and after how long: servers of several
/// nodes take a moment.
const PROOFS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
];

/// Does one step.
pub(super) async fn act(ctx: &Ctx, seen: &Seen, hands: &mut Hands, step: &Step) -> Outcome<Done> {
    match step {
        Step::Idle => Outcome::Stale,
        Step::Refresh => refresh(ctx, hands).await,
        Step::Look { newer_than } => look(ctx, seen, hands, *newer_than).await,
        Step::Compare => compare(ctx, hands).await,
        Step::Guard { intent } => {
            let annotations = intent
                .iter()
                .map(|intent| (annotation::INTENT, Some(intent.to_string())))
                .collect();
            mark(
                ctx,
                hands,
                Marks {
                    add: Some(finalizer::REVOKE),
                    annotations,
                    ..Marks::default()
                },
            )
            .await
        }
        Step::Open(intent) => {
            let annotations = vec![(annotation::INTENT, Some(intent.to_string()))];
            mark(
                ctx,
                hands,
                Marks {
                    add: Some(finalizer::REVOKE),
                    annotations,
                    ..Marks::default()
                },
            )
            .await
        }
        Step::Rehearse(publication) => rehearse(ctx, hands, publication).await,
        Step::Mint(order) => mint_key(ctx, seen, hands, order).await,
        Step::Prove => prove(ctx, seen, hands).await,
        Step::Publish(publication) => publish(ctx, seen, hands, publication).await,
        Step::Record(status) => record(ctx, hands, (**status).clone()).await,
        Step::Revoke { id, .. } => revoke(ctx, seen, hands, id).await,
        Step::Adjust { id, change } => adjust(ctx, seen, hands, id, change).await,
        Step::Unpublish => unpublish(ctx, hands).await,
        Step::Amend(amendment) => amend(ctx, hands, *amendment).await,
        Step::Restart { workload, since } => restart(ctx, hands, workload, *since).await,
        Step::Retain(ids) => retain_keys(ctx, hands, ids).await,
        Step::Remove => match ctx.cluster.delete::<ApiKey>(&hands.object.metadata).await {
            Ok(()) => Outcome::Done(Done::Over),
            Err(lapse) => Outcome::of_lapse(lapse, refused),
        },
        Step::Close => close(ctx, seen, hands).await,
    }
}

/// A write on the ApiKey that the API server refuses.
pub(super) fn refused(why: &str) -> Done {
    let stop = Stop::new(
        Reason::Rejected,
        format!("The API server refuses a write on this ApiKey: {why}"),
    );
    Done::Failed(Setback::refused(stop, Retry::Backoff))
}

async fn refresh(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    let object = match live(ctx, &hands.object).await {
        Ok(Some(object)) => object,
        Ok(None) => return Outcome::Done(Done::Over),
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let namespace = object.namespace().unwrap_or_default();
    match ctx.cluster.secret(&namespace, object.secret_name()).await {
        Ok(secret) => hands.secret = secret,
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    }
    hands.object = object;
    Outcome::Done(Done::Refreshed {
        object: Box::new(object_facts(ctx, &hands.object)),
        secret: secret_facts(ctx, hands),
    })
}

async fn look(ctx: &Ctx, seen: &Seen, hands: &Hands, newer_than: Timestamp) -> Outcome<Done> {
    let (Some(line), Some(account)) = (&hands.line, &seen.base.account) else {
        return Outcome::Stale;
    };
    match hands
        .lists
        .newer(line, account, newer_than, ctx.clock.as_ref())
        .await
    {
        Ok(list) => Outcome::Done(Done::Looked(list)),
        Err(fault) => failed(ctx, hands, &fault),
    }
}

/// A call to the deploy server that did not work. The connection is looked at again where the fault
/// is the connection's rather than the key's.
fn failed(ctx: &Ctx, hands: &Hands, fault: &Fault) -> Outcome<Done> {
    if let Some(account) = &hands.account {
        let place = Place::of(
            &account.spec.server_ref,
            &account.namespace().unwrap_or_default(),
        );
        crate::controllers::connection::suspect(ctx, &place, fault);
    }
    Outcome::Done(Done::Failed(Setback::of(fault)))
}

async fn mark(ctx: &Ctx, hands: &mut Hands, marks: Marks) -> Outcome<Done> {
    match ctx.cluster.mark(&hands.object, &marks).await {
        Ok(object) => {
            hands.object = object;
            Outcome::Done(Done::Written(Box::new(object_facts(ctx, &hands.object))))
        }
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}

async fn record(ctx: &Ctx, hands: &mut Hands, status: crate::api::ApiKeyStatus) -> Outcome<Done> {
    let there = hands.object.status.clone().unwrap_or_default();
    let now = ctx.clock.now();
    if let Some(until) = hands
        .voice
        .waits(&there, &status, now, |said| &said.conditions)
    {
        return Outcome::Hushed(until);
    }
    let mut wanted = hands.object.clone();
    wanted.metadata.managed_fields = None;
    wanted.status = Some(status);
    match ctx.cluster.record(&wanted).await {
        Ok(object) => {
            hands.object = object;
            let said = hands.object.status.clone().unwrap_or_default();
            hands.voice.said(&said);
            ctx.reporter
                .flipped(
                    &hands.object,
                    "Reconcile",
                    &there.conditions,
                    &said.conditions,
                )
                .await;
            Outcome::Done(Done::Written(Box::new(object_facts(ctx, &hands.object))))
        }
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}

async fn mint_key(ctx: &Ctx, seen: &Seen, hands: &mut Hands, order: &port::Order) -> Outcome<Done> {
    let Some(line) = hands.line.clone() else {
        return Outcome::Stale;
    };
    match line.server.mint(order).await {
        Ok(minted) => {
            hands.value = Some(minted.value);
            Outcome::Done(Done::Minted(minted.key))
        }
        Err(fault) => {
            tracing::debug!(
                key.name = seen.object.name,
                fault = fault.label(),
                "no key was made"
            );
            failed(ctx, hands, &fault)
        }
    }
}

async fn prove(ctx: &Ctx, seen: &Seen, hands: &Hands) -> Outcome<Done> {
    let (Some(line), Some(value), Some(account)) = (&hands.line, &hands.value, &seen.base.account)
    else {
        return Outcome::Stale;
    };
    let mut waits = PROOFS.into_iter();
    loop {
        match (line.server.prove(account, value).await, waits.next()) {
            (Ok(whose), _) => return Outcome::Done(Done::Proven(whose)),
            (Err(Fault::Unauthorized), Some(wait)) => sleep(wait).await,
            (Err(Fault::Unauthorized), None) => {
                return Outcome::Done(Done::Failed(Setback::refused(
                    Stop::plain(Reason::ProofFailed),
                    Retry::Backoff,
                )));
            }
            (Err(fault), _) => return failed(ctx, hands, &fault),
        }
    }
}

async fn revoke(ctx: &Ctx, seen: &Seen, hands: &mut Hands, id: &KeyId) -> Outcome<Done> {
    let (Some(line), Some(account)) = (hands.line.clone(), &seen.base.account) else {
        return Outcome::Stale;
    };
    match line.known(line.server.revoke(account, id).await).await {
        Ok(_) => {
            hands.lists.drop_key(account, id);
            Outcome::Done(Done::Revoked(id.clone()))
        }
        Err(fault) => failed(ctx, hands, &fault),
    }
}

async fn adjust(
    ctx: &Ctx,
    seen: &Seen,
    hands: &Hands,
    id: &KeyId,
    change: &port::Change,
) -> Outcome<Done> {
    let (Some(line), Some(account)) = (&hands.line, &seen.base.account) else {
        return Outcome::Stale;
    };
    match line.server.adjust(account, id, change).await {
        Ok(()) => {
            hands.lists.adjust(account, id, change);
            Outcome::Done(Done::Adjusted)
        }
        Err(fault) => failed(ctx, hands, &fault),
    }
}

async fn retain_keys(ctx: &Ctx, hands: &mut Hands, ids: &[KeyId]) -> Outcome<Done> {
    let name = hands.object.spec.service_account_ref.name.clone();
    let account: Answer<Option<ServiceAccount>> = ctx
        .cluster
        .get(hands.object.namespace().as_deref(), &name)
        .await;
    let account = match account {
        Ok(Some(account)) => account,
        Ok(None) => return Outcome::Stale,
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let mut all = facts::service_account(&account).pins.retained;
    all.extend(ids.iter().cloned());
    let all: Vec<KeyId> = all.into_iter().collect();
    let marks = Marks {
        annotations: vec![facts::retained(&all)],
        ..Marks::default()
    };
    match ctx.cluster.mark(&account, &marks).await {
        Ok(account) => {
            hands.account = Some(account);
            Outcome::Done(Done::Retained(all))
        }
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}

async fn close(ctx: &Ctx, seen: &Seen, hands: &mut Hands) -> Outcome<Done> {
    let stay = crate::plan::key::stays(seen);
    let marks = Marks {
        remove: Some(finalizer::REVOKE),
        ..Marks::default()
    };
    match ctx.cluster.mark(&hands.object, &marks).await {
        Ok(_) => {
            let ids: Vec<&str> = stay.iter().map(KeyId::as_str).collect();
            if !ids.is_empty() {
                let note = format!(
                    "These keys stay on the server, as deletionPolicy Retain asks: {}.",
                    ids.join(", ")
                );
                ctx.reporter
                    .tell(&hands.object, "Retained", "Close", &note)
                    .await;
            }
            forget(ctx, &facts::uid(&hands.object.metadata));
            Outcome::Done(Done::Over)
        }
        Err(Lapse::NotFound) => {
            forget(ctx, &facts::uid(&hands.object.metadata));
            Outcome::Done(Done::Over)
        }
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}
