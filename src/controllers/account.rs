//! A pass over one ServiceAccount.

mod act;
mod see;

use std::convert::Infallible;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use self::act::act;
pub(super) use self::see::grant;
use self::see::{rival, see};
use super::cluster::Lapse;
use super::lists::Lists;
use super::queue::Urgency;
use super::report::{Course, End as Ending, Whose, unanswered};
use super::standing::{self, Line, News, Place};
use super::voice::Voice;
use super::watch::Guarded;
use super::{
    Came, Ctx, LONG_WAIT, MOST_STALE, MOST_STEPS, Outcome, Patience, STALE_WAIT, facts, is_older,
    requeue,
};
use crate::api::{ServiceAccount, ServiceAccountStatus, finalizer};
use crate::metrics;
use crate::plan::account::{
    Done, Plan, Remote, Seen, Step, fold, mint_stop, plan, replace_stop, verified, works_stop,
};
use crate::plan::key::Freshness;
use crate::plan::port::{AccountId, Oidc, RemoteTeam, ServerIdentity, TeamRef};

/// What passes over one ServiceAccount remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
    /// The newest version that a write of ours has made.
    version: Option<String>,
    /// The account and its teams as they were looked up last.
    looked: Option<Looked>,
    /// The account, once the server has shown that it is the declared one, and until it shows
    /// something else.
    verified: Option<(Option<ServerIdentity>, AccountId)>,
    /// When the list began from which keys were counted last.
    counted: Option<Timestamp>,
    /// How many passes in a row have had a setback.
    failures: u32,
    /// A setback that is waited out.
    patience: Option<Patience>,
    /// What was said last of it.
    voice: Voice<ServiceAccountStatus>,
}

/// The account and its teams as they were looked up.
#[derive(Debug, Clone, PartialEq)]
struct Looked {
    /// When.
    at: Timestamp,
    /// On which server, and which account was pinned then: of others it says nothing.
    server: Option<ServerIdentity>,
    pinned: Option<AccountId>,
    remote: Remote,
    teams: Vec<(TeamRef, Option<RemoteTeam>)>,
    oidc: Option<Oidc>,
}

/// What a pass holds in its hands besides the facts.
struct Hands {
    object: ServiceAccount,
    line: Option<Line>,
    lists: Arc<Lists>,
    voice: Voice<ServiceAccountStatus>,
}

/// How urgent a pass over this ServiceAccount is.
fn urgency(object: &ServiceAccount) -> Urgency {
    let known = object
        .status
        .as_ref()
        .is_some_and(|status| status.id.is_some());
    if known && object.metadata.deletion_timestamp.is_none() {
        Urgency::Drift
    } else {
        Urgency::Awaited
    }
}

/// Looks at one ServiceAccount, and does what is to be done.
pub(crate) async fn run(
    object: Arc<Guarded<ServiceAccount>>,
    ctx: Arc<Ctx>,
) -> Result<Action, Infallible> {
    Ok(match &object.0 {
        Ok(object) => {
            let namespace = object.namespace().unwrap_or_default();
            let place = Place::of(&object.spec.server_ref, &namespace);
            let urgency = urgency(object);
            let lanes = &ctx.lanes.accounts;
            match lanes.enter(Some(namespace), Some(place), urgency).await {
                Some(_pass) => Box::pin(reconcile(&ctx, object.clone())).await,
                None => Action::await_change(),
            }
        }
        Err(invalid) => {
            super::report::invalid::<ServiceAccount>(&ctx, &invalid.metadata, &invalid.error).await
        }
    })
}

async fn reconcile(ctx: &Ctx, mut object: ServiceAccount) -> Action {
    let uid = facts::uid(&object.metadata);
    let mut memory = ctx.memories.accounts.get(&uid).unwrap_or_default();
    let mut freshness = Freshness::Cached;
    for _ in 0..MOST_STALE {
        if freshness == Freshness::Live || is_older(&object.metadata, memory.version.as_deref()) {
            match live(ctx, &object).await {
                Ok(Some(found)) => object = found,
                Ok(None) => return gone(ctx, &object),
                Err(lapse) => return unanswered(&whose(&object), &lapse.to_string()),
            }
        }
        let Some((seen, hands)) = see(ctx, object.clone(), &memory) else {
            // Its connection has not been looked at yet in this process.
            return Action::await_change();
        };
        let end = pass(ctx, seen, hands, &mut memory).await;
        ctx.memories.accounts.set(uid.clone(), memory.clone());
        match end {
            End::Settled(action) => return action,
            End::Stale(last) => {
                object = *last;
                freshness = Freshness::Live;
            }
        }
    }
    Action::requeue(STALE_WAIT)
}

/// How a pass ended.
enum End {
    Settled(Action),
    /// The objects were not what we thought; this is the last that we saw of the ServiceAccount.
    Stale(Box<ServiceAccount>),
}

fn gone(ctx: &Ctx, object: &ServiceAccount) -> Action {
    let uid = facts::uid(&object.metadata);
    ctx.memories.accounts.forget(&uid);
    if ctx.standings.accounts.forget(&uid) == News::Changed {
        let namespace = object.namespace().unwrap_or_default();
        ctx.bells
            .keys_of(&ctx.stores, &namespace, &object.name_any());
        ctx.bells
            .connection(&Place::of(&object.spec.server_ref, &namespace));
    }
    Action::await_change()
}

fn whose(object: &ServiceAccount) -> Whose {
    Whose {
        kind: metrics::Kind::ServiceAccount,
        namespace: object.namespace(),
        name: object.name_any(),
    }
}

impl Came for Done {
    fn worked(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// The ServiceAccount as it is now; see [`super::cluster::Cluster::live`].
async fn live(ctx: &Ctx, object: &ServiceAccount) -> Result<Option<ServiceAccount>, Lapse> {
    let now = ctx.clock.now();
    ctx.cluster.live(object, finalizer::ACCOUNT, now).await
}

/// Plans and acts until nothing is left to do.
async fn pass(ctx: &Ctx, mut seen: Seen, mut hands: Hands, memory: &mut Memory) -> End {
    let mut course = Course::begin(&ctx.metrics, whose(&hands.object));
    let waited = seen.pass.setback.clone();
    for _ in 0..MOST_STEPS {
        seen.now = ctx.clock.now();
        let Plan { step, wake } = plan(&seen);
        if step == Step::Idle {
            remember(memory, &seen, &hands, wake);
            publish(ctx, &seen, memory);
            course.ended(Ending::of(
                waited.as_ref().map(|setback| &setback.stop),
                seen.pass.setback.as_ref().map(|setback| &setback.stop),
            ));
            return End::Settled(requeue(seen.now, wake));
        }
        let came = act(ctx, &seen, &mut hands, &step).await;
        course.step(label(&step), &came);
        seen.now = ctx.clock.now();
        match came {
            Outcome::Done(Done::Over) => {
                course.ended(Ending::Well);
                return End::Settled(gone(ctx, &hands.object));
            }
            Outcome::Done(done) => {
                let had = seen.object.pins.account.clone();
                seen = fold(seen, &step, done);
                if seen.object.pins.account != had {
                    // Who else has this one may have come out meanwhile.
                    seen.rival = rival(ctx, &seen.object);
                }
            }
            Outcome::Stale => {
                remember(memory, &seen, &hands, seen.now);
                course.stale();
                return End::Stale(Box::new(hands.object));
            }
            Outcome::Unanswered(why) => {
                remember(memory, &seen, &hands, seen.now);
                return End::Settled(unanswered(&whose(&hands.object), &why));
            }
            Outcome::Hushed(until) => {
                remember(memory, &seen, &hands, wake);
                publish(ctx, &seen, memory);
                course.ended(Ending::Well);
                return End::Settled(requeue(seen.now, until));
            }
        }
    }
    course.unsettled();
    remember(memory, &seen, &hands, seen.now);
    publish(ctx, &seen, memory);
    End::Settled(Action::requeue(LONG_WAIT))
}

fn remember(memory: &mut Memory, seen: &Seen, hands: &Hands, wake: Timestamp) {
    memory
        .version
        .clone_from(&hands.object.metadata.resource_version);
    memory.counted = seen.counted;
    memory.voice.clone_from(&hands.voice);
    memory.looked = seen.pass.found_at.map(|at| Looked {
        at,
        server: server(seen),
        pinned: seen.object.pins.account.clone(),
        remote: seen.remote.clone(),
        teams: seen.teams.clone(),
        oidc: seen.oidc.clone(),
    });
    if seen.remote != Remote::Unknown {
        memory.verified = verified(seen).map(|id| (server(seen), id.clone()));
    }
    if let Some(setback) = &seen.pass.setback {
        // What was believed before may be why it failed.
        memory.looked = None;
        // A wake in between does not prolong the wait.
        if memory.failures != seen.pass.failures || memory.patience.is_none() {
            memory.patience = Some(Patience {
                setback: setback.clone(),
                failure: None,
                until: wake,
                generation: seen.object.generation,
            });
        }
        memory.failures = seen.pass.failures;
    } else {
        memory.failures = 0;
        memory.patience = None;
    }
}

/// The server that was looked at.
fn server(seen: &Seen) -> Option<ServerIdentity> {
    let route = seen.connection.as_ref().ok()?;
    Some(route.reach.identity.clone())
}

/// Lets ApiKeys know what the account is worth.
fn publish(ctx: &Ctx, seen: &Seen, memory: &Memory) {
    let object = &seen.object;
    let pinned = object.pins.account.as_ref();
    let standing = standing::Account {
        generation: object.generation,
        account: memory
            .verified
            .clone()
            .filter(|(on, id)| {
                pinned == Some(id) && server(seen).is_none_or(|now| *on == Some(now))
            })
            .map(|(_, id)| id),
        username: match &seen.remote {
            Remote::Found(account) => account.username.clone(),
            Remote::Unknown | Remote::Absent => object.status.username.clone().unwrap_or_default(),
        },
        mint: mint_stop(seen).map_or(Ok(()), Err),
        replace: replace_stop(seen).map_or(Ok(()), Err),
        works: works_stop(seen).map_or(Ok(()), Err),
        allowance: seen.grant.clone().ok(),
    };
    if ctx.standings.accounts.set(object.uid.clone(), standing) == News::Changed {
        ctx.bells
            .keys_of(&ctx.stores, &object.namespace, &object.name);
    }
}

/// The name of a step that changes something.
fn label(step: &Step) -> Option<&'static str> {
    match step {
        Step::Idle
        | Step::Refresh
        | Step::Find(_)
        | Step::FindTeam(_)
        | Step::FindOidc(_)
        | Step::Look { .. }
        | Step::Census
        | Step::Inspect(_) => None,
        Step::Pin(_) => Some("Pin"),
        Step::Create(_) => Some("Create"),
        Step::Update(..) => Some("Update"),
        Step::Join(..) => Some("Join"),
        Step::Leave(..) => Some("Leave"),
        Step::GiveLogin(..) => Some("GiveLogin"),
        Step::DropLogin(..) => Some("DropLogin"),
        Step::GiveTrust(..) => Some("GiveTrust"),
        Step::DropTrust(..) => Some("DropTrust"),
        Step::Revoke(..) => Some("Revoke"),
        Step::Empty(_) => Some("Empty"),
        Step::Delete(_) => Some("Delete"),
        Step::Record(_) => Some("Record"),
        Step::Close => Some("Close"),
    }
}
