//! Doing one step.

use std::sync::Arc;

use kube::ResourceExt;
use kube::core::DeserializeGuard;

use super::see::{census, resident};
use super::{Hands, live};
use crate::api::conditions::Reason;
use crate::api::{ApiKey, ServiceAccount, ServiceAccountStatus, finalizer};
use crate::controllers::cluster::{Lapse, Marks};
use crate::controllers::lists::Lists;
use crate::controllers::standing::{Line, Place};
use crate::controllers::{Ctx, Outcome, facts};
use crate::plan::Stop;
use crate::plan::account::{Done, Lookup, Remote, Seen, Step};
use crate::plan::fault::Retry;
use crate::plan::key::{Freshness, Setback};
use crate::plan::port::Fault;
use crate::plan::record::Uid;

/// Does one step.
pub(super) async fn act(ctx: &Ctx, seen: &Seen, hands: &mut Hands, step: &Step) -> Outcome<Done> {
    match step {
        Step::Idle => Outcome::Stale,
        Step::Refresh => refresh(ctx, hands).await,
        Step::Census => take_census(ctx, seen).await,
        Step::Inspect(uid) => inspect(ctx, seen, uid).await,
        Step::Pin(pins) => {
            let marks = Marks {
                add: Some(finalizer::ACCOUNT),
                annotations: facts::pinned(pins),
                ..Marks::default()
            };
            written(ctx, hands, ctx.cluster.mark(&hands.object, &marks).await)
        }
        Step::Record(status) => record(ctx, hands, (**status).clone()).await,
        Step::Close => {
            let marks = Marks {
                remove: Some(finalizer::ACCOUNT),
                ..Marks::default()
            };
            match ctx.cluster.mark(&hands.object, &marks).await {
                Ok(_) => {
                    if let Some(id) = crate::plan::account::stays(seen) {
                        let note = format!("The account {id} stays on the server.");
                        ctx.reporter
                            .tell(&hands.object, "Retained", "Close", &note)
                            .await;
                    }
                    Outcome::Done(Done::Over)
                }
                Err(Lapse::NotFound) => Outcome::Done(Done::Over),
                Err(lapse) => Outcome::of_lapse(lapse, refused),
            }
        }
        Step::Look { .. }
        | Step::Find(_)
        | Step::FindTeam(_)
        | Step::Create(_)
        | Step::Update(..)
        | Step::Join(..)
        | Step::Leave(..)
        | Step::GiveLogin(..)
        | Step::DropLogin(..)
        | Step::FindOidc(_)
        | Step::GiveTrust(..)
        | Step::DropTrust(..)
        | Step::Revoke(..)
        | Step::Empty(_)
        | Step::Delete(_) => {
            let Some(line) = hands.line.clone() else {
                return Outcome::Stale;
            };
            match Box::pin(call(ctx, seen, &hands.lists, &line, step)).await {
                Ok(done) => Outcome::Done(done),
                Err(fault) => {
                    let namespace = hands.object.namespace().unwrap_or_default();
                    let place = Place::of(&hands.object.spec.server_ref, &namespace);
                    crate::controllers::connection::suspect(ctx, &place, &fault);
                    Outcome::Done(Done::Failed(Setback::of(&fault)))
                }
            }
        }
    }
}

/// Calls the deploy server.
async fn call(
    ctx: &Ctx,
    seen: &Seen,
    lists: &Lists,
    line: &Line,
    step: &Step,
) -> Result<Done, Fault> {
    let server = line.server.as_ref();
    match step {
        Step::Find(Lookup::Name(name)) => Ok(Done::Found(
            server
                .find_account(name)
                .await?
                .map_or(Remote::Absent, Remote::Found),
        )),
        Step::Find(Lookup::Id(id)) => {
            let found = line.known(server.account(id).await).await?;
            Ok(Done::Found(found.map_or(Remote::Absent, Remote::Found)))
        }
        Step::FindTeam(team) => Ok(Done::Team(team.clone(), server.find_team(team).await?)),
        Step::Create(draft) => Ok(Done::Account(server.create_account(draft).await?)),
        Step::Update(id, draft) => Ok(Done::Account(server.update_account(id, draft).await?)),
        Step::Join(team, account) => Ok(Done::TeamChanged(server.join_team(team, account).await?)),
        Step::Leave(team, account) => {
            Ok(Done::TeamChanged(server.leave_team(team, account).await?))
        }
        Step::GiveLogin(id, login) => Ok(Done::Account(server.give_login(id, login).await?)),
        Step::DropLogin(id, name) => Ok(Done::Account(server.drop_login(id, name).await?)),
        Step::FindOidc(id) => Ok(Done::Oidc(server.oidc(id).await?)),
        Step::GiveTrust(id, trust) => Ok(Done::Oidc(server.give_trust(id, trust).await?)),
        Step::DropTrust(id, name) => Ok(Done::Oidc(server.drop_trust(id, name).await?)),
        Step::Look { newer_than } => {
            let account = match (&seen.object.pins.account, &seen.remote) {
                (Some(pinned), _) => pinned,
                // Its creation got no answer, and nothing more was recorded of it.
                (None, Remote::Found(account)) => &account.id,
                (None, Remote::Absent | Remote::Unknown) => return Err(Fault::NotFound),
            };
            let list = lists
                .newer(line, account, *newer_than, ctx.clock.as_ref())
                .await?;
            Ok(Done::Looked(list))
        }
        Step::Revoke(account, key) => {
            line.known(server.revoke(account, key).await).await?;
            lists.drop_key(account, key);
            Ok(Done::Revoked(key.clone()))
        }
        Step::Empty(id) => {
            server.revoke_all(id).await?;
            lists.drop_all(id);
            Ok(Done::Emptied)
        }
        Step::Delete(id) => {
            line.known(server.delete_account(id).await).await?;
            Ok(Done::Deleted)
        }
        Step::Idle
        | Step::Refresh
        | Step::Census
        | Step::Inspect(_)
        | Step::Pin(_)
        | Step::Record(_)
        | Step::Close => Err(Fault::Protocol(
            "this step is not a call to the server".to_owned(),
        )),
    }
}

/// A write on the ServiceAccount that the API server refuses.
fn refused(why: &str) -> Done {
    let stop = Stop::new(
        Reason::Rejected,
        format!("The API server refuses a write on this ServiceAccount: {why}"),
    );
    Done::Failed(Setback::refused(stop, Retry::Backoff))
}

fn written(_: &Ctx, hands: &mut Hands, answer: Result<ServiceAccount, Lapse>) -> Outcome<Done> {
    match answer {
        Ok(object) => {
            hands.object = object;
            Outcome::Done(Done::Written(Box::new(facts::service_account(
                &hands.object,
            ))))
        }
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}

async fn refresh(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    match live(ctx, &hands.object).await {
        Ok(Some(object)) => {
            let asked = hands.object.metadata.generation;
            hands.object = object;
            // Whether this is granted, and who else has it, was reckoned for what was asked before.
            if hands.object.metadata.generation != asked {
                return Outcome::Stale;
            }
            Outcome::Done(Done::Refreshed(Box::new(facts::service_account(
                &hands.object,
            ))))
        }
        Ok(None) => Outcome::Done(Done::Over),
        Err(lapse) => Outcome::Unanswered(lapse.to_string()),
    }
}

async fn take_census(ctx: &Ctx, seen: &Seen) -> Outcome<Done> {
    let keys: Vec<Arc<DeserializeGuard<ApiKey>>> = match ctx.cluster.all::<ApiKey>().await {
        Ok(keys) => keys.into_iter().map(Arc::new).collect(),
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let accounts: Vec<ServiceAccount> = match ctx.cluster.all::<ServiceAccount>().await {
        Ok(accounts) => accounts
            .into_iter()
            .filter_map(|account| account.0.ok())
            .collect(),
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    Outcome::Done(Done::Counted(census(
        ctx,
        &seen.object,
        Freshness::Live,
        &keys,
        &accounts,
    )))
}

async fn inspect(ctx: &Ctx, seen: &Seen, uid: &Uid) -> Outcome<Done> {
    let keys = ctx.stores.keys.state();
    let mut parsed = keys.iter().filter_map(|key| key.0.as_ref().ok());
    let Some(known) = parsed.find(|key| facts::uid(&key.metadata) == *uid) else {
        // It has gone meanwhile, or does not parse any more.
        return Outcome::Stale;
    };
    let now = ctx.clock.now();
    let key = match ctx.cluster.live(known, finalizer::REVOKE, now).await {
        Ok(Some(key)) => key,
        Ok(None) => return Outcome::Done(Done::Inspected(uid.clone(), None)),
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let namespace = key.namespace().unwrap_or_default();
    let secret = match ctx.cluster.secret(&namespace, key.secret_name()).await {
        Ok(secret) => secret,
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let here = seen.census.keys.get(uid).is_some_and(|key| key.here);
    let resident = resident(ctx, &key, secret.as_ref(), here);
    Outcome::Done(Done::Inspected(uid.clone(), Some(Box::new(resident))))
}

async fn record(ctx: &Ctx, hands: &mut Hands, status: ServiceAccountStatus) -> Outcome<Done> {
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
    let outcome = written(ctx, hands, ctx.cluster.record(&wanted).await);
    if let Outcome::Done(Done::Written(_)) = &outcome {
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
    }
    outcome
}
