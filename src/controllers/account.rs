//! A pass over one ServiceAccount.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::cluster::{Lapse, Marks};
use super::lists::Lists;
use super::standing::{self, Line, News, Place};
use super::watch::Guarded;
use super::{Connected, Ctx, MOST_STEPS, Outcome, Patience, facts, is_older, outcome, requeue};
use crate::api::conditions::Reason;
use crate::api::{ApiKey, Management, ServiceAccount, ServiceAccountStatus, finalizer};
use crate::metrics;
use crate::plan::Stop;
use crate::plan::account::{
    Census, Done, Lookup, Object, Pass, Plan, Records, Remote, Resident, Route, Seen, Step,
    default_username, fold, mint_stop, plan, verified, works_stop,
};
use crate::plan::fault::Retry;
use crate::plan::grant::{Allowance, Asker, allowance};
use crate::plan::key::{Freshness, Reach, Setback};
use crate::plan::port::{AccountId, Fault, KeyId, RemoteTeam, TeamRef};

/// What passes over one ServiceAccount remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The newest version that a write of ours has made.
    version: Option<String>,
    /// The account and its teams as they were looked up last, and when.
    looked: Option<Looked>,
    /// The account, once the server has shown that it is the declared one, and until it shows
    /// something else.
    verified: Option<AccountId>,
    /// When the list began from which keys were counted last.
    counted: Option<Timestamp>,
    /// How many passes in a row have had a setback.
    failures: u32,
    /// A setback that is waited out.
    patience: Option<Patience>,
}

/// The account and its teams as they were looked up, and when.
type Looked = (Timestamp, Remote, Vec<(TeamRef, Option<RemoteTeam>)>);

/// What a pass holds in its hands besides the facts.
struct Hands {
    object: ServiceAccount,
    line: Option<Line>,
    lists: Arc<Lists>,
}

/// Looks at one ServiceAccount, and does what is to be done.
pub async fn run(
    object: Arc<Guarded<ServiceAccount>>,
    ctx: Arc<Ctx>,
) -> Result<Action, Infallible> {
    Ok(match &object.0 {
        Ok(object) => Box::pin(reconcile(&ctx, object.clone())).await,
        Err(invalid) => {
            super::report::invalid::<ServiceAccount>(&ctx, &invalid.metadata, &invalid.error).await
        }
    })
}

async fn reconcile(ctx: &Ctx, mut object: ServiceAccount) -> Action {
    let uid = facts::uid(&object.metadata);
    let mut memory = ctx.memories.accounts.get(&uid).unwrap_or_default();
    let mut freshness = Freshness::Cached;
    for _ in 0..3 {
        if freshness == Freshness::Live || is_older(&object.metadata, memory.version.as_deref()) {
            match live(ctx, &object).await {
                Ok(Some(found)) => object = found,
                Ok(None) => return gone(ctx, &object),
                Err(lapse) => return unanswered(&object, &lapse.to_string()),
            }
        }
        let Some((seen, hands)) = see(ctx, object.clone(), &memory) else {
            // Its connection has not been looked at yet in this process.
            return Action::await_change();
        };
        let end = pass(ctx, seen, hands, &mut memory).await;
        ctx.memories.accounts.set(uid.clone(), memory.clone());
        match end {
            Some(action) => return action,
            None => freshness = Freshness::Live,
        }
    }
    Action::requeue(Duration::from_secs(1))
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

fn unanswered(object: &ServiceAccount, why: &str) -> Action {
    tracing::warn!(
        account.namespace = object.namespace().unwrap_or_default(),
        account.name = object.name_any(),
        "the API server gives no answer, it is tried again: {why}"
    );
    Action::requeue(super::API_SERVER_WAIT)
}

async fn live(ctx: &Ctx, object: &ServiceAccount) -> Result<Option<ServiceAccount>, Lapse> {
    let found: Option<ServiceAccount> = ctx
        .cluster
        .get(object.namespace().as_deref(), &object.name_any())
        .await?;
    Ok(found.filter(|found| found.metadata.uid == object.metadata.uid))
}

/// The facts. `None` when the connection has not been looked at yet.
fn see(ctx: &Ctx, object: ServiceAccount, memory: &Memory) -> Option<(Seen, Hands)> {
    let now = ctx.clock.now();
    let namespace = object.namespace().unwrap_or_default();
    let place = Place::of(&object.spec.server_ref, &namespace);
    let facts = facts::service_account(&object);
    let connection = match ctx.connected(&place) {
        Connected::Known(connection) => Ok(*connection),
        Connected::Unlooked => return None,
        Connected::Absent => Err(Stop::new(
            Reason::WaitingForServer,
            format!(
                "There is no {:?} {}. Apply it, or correct spec.serverRef.",
                place.kind, place.name
            ),
        )),
    };
    let line = connection
        .as_ref()
        .ok()
        .and_then(|connection| connection.usable.as_ref().ok().cloned());
    let route = connection
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|connection| route(&place, connection));
    let grant = connection
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|connection| grant(ctx, &facts, connection, line.as_ref()));
    let lists = connection
        .as_ref()
        .ok()
        .map(|connection| Arc::clone(&connection.lists));
    let list = lists
        .as_ref()
        .zip(facts.pins.account.as_ref())
        .and_then(|(lists, account)| lists.at_hand(account));
    let resync = route.as_ref().map(|route| route.resync).ok();
    let looked = memory.looked.clone().filter(|(at, ..)| {
        facts.deleting.is_none() && resync.is_some_and(|resync| now.duration_since(*at) < resync)
    });
    let (found_at, remote, teams) = match looked {
        Some((at, remote, teams)) => (Some(at), remote, teams),
        None => (None, Remote::Unknown, Vec::new()),
    };
    let mut pass = Pass::begin(now, memory.failures);
    pass.found_at = found_at;
    pass.setback = Patience::lasts(memory.patience.as_ref(), facts.generation, now);
    let seen = Seen {
        now,
        claim: ctx.claim.clone(),
        freshness: Freshness::Cached,
        connection: route,
        grant,
        rival: rival(ctx, &facts),
        remote,
        teams,
        list,
        counted: memory.counted,
        census: census(
            ctx,
            &facts,
            Freshness::Cached,
            &ctx.stores.keys.state(),
            &ctx.stores.parsed_accounts(),
        ),
        object: facts,
        pass,
    };
    Some((
        seen,
        Hands {
            object,
            line,
            lists: lists.unwrap_or_default(),
        },
    ))
}

fn route(place: &Place, connection: &standing::Connection) -> Result<Route, Stop> {
    match &connection.usable {
        Ok(line) => Ok(Route {
            reach: Reach {
                identity: line.probe.identity.clone(),
                ability: line.server.ability(),
                skew: line.probe.skew,
            },
            own: line.probe.own.clone(),
            resync: connection.resync,
        }),
        Err(stop) => Err(Stop::new(
            Reason::WaitingForServer,
            format!(
                "Connection {} is not ready ({}): {}",
                place.name,
                stop.reason.as_str(),
                stop.message
            ),
        )),
    }
}

/// What the connection grants this ServiceAccount: all, for one of the same namespace.
fn grant(
    ctx: &Ctx,
    object: &Object,
    connection: &standing::Connection,
    line: Option<&Line>,
) -> Result<Allowance, Stop> {
    let Some(grants) = &connection.grants else {
        return Ok(Allowance::default());
    };
    let namespace = ctx
        .stores
        .namespaces
        .get(&ObjectRef::new(&object.namespace));
    let asker = Asker {
        namespace: object.namespace.clone(),
        labels: namespace
            .and_then(|namespace| namespace.metadata.labels.clone())
            .unwrap_or_default(),
    };
    let username = match object.spec.management {
        Management::Own => None,
        Management::Managed | Management::Observed => Some(username(object, line)),
    };
    allowance(grants, &asker, &object.spec, username.as_deref())
}

fn username(object: &Object, line: Option<&Line>) -> String {
    let limit = line.map_or(64, |line| line.server.ability().username_chars);
    object
        .spec
        .username
        .clone()
        .unwrap_or_else(|| default_username(&object.namespace, &object.name, limit))
}

/// Whether another ServiceAccount has the same account: the same user name on the same connection,
/// granted, and shown by the server. What merely stands in its annotations counts for nothing.
fn is_twin(ctx: &Ctx, object: &Object, other: &Object) -> bool {
    let place = |object: &Object| Place::of(&object.spec.server_ref, &object.namespace);
    let name = |object: &Object| username(object, None).to_lowercase();
    let own = |object: &Object| object.spec.management == Management::Own;
    let known = ctx.standings.accounts.get(&other.uid);
    let shown = known.is_some_and(|known| {
        known.allowance.is_some() && known.account.is_some() && known.account == object.pins.account
    });
    let named =
        own(object) && own(other) || !own(object) && !own(other) && name(object) == name(other);
    other.uid != object.uid && place(object) == place(other) && named && shown
}

/// The ServiceAccount that managed the same account first.
fn rival(ctx: &Ctx, object: &Object) -> Option<String> {
    if object.spec.management != Management::Managed {
        return None;
    }
    let age = |object: &Object| (object.created_at, object.uid.clone());
    ctx.stores
        .parsed_accounts()
        .iter()
        .map(facts::service_account)
        .filter(|other| other.spec.management == Management::Managed && age(other) < age(object))
        .filter(|other| is_twin(ctx, object, other))
        .min_by_key(age)
        .map(|other| format!("{}/{}", other.namespace, other.name))
}

/// All ApiKeys, as this account needs to know them.
fn census(
    ctx: &Ctx,
    object: &Object,
    freshness: Freshness,
    keys: &[impl AsRef<DeserializeGuard<ApiKey>>],
    accounts: &[ServiceAccount],
) -> Census {
    let here: BTreeSet<(String, String)> = accounts
        .iter()
        .map(facts::service_account)
        .filter(|other| other.uid == object.uid || is_twin(ctx, object, other))
        .map(|other| (other.namespace, other.name))
        .collect();
    let residents = keys.iter().map(|key| {
        let key = key.as_ref();
        let (namespace, name) = (key.namespace().unwrap_or_default(), key.name_any());
        let resident = match &key.0 {
            Ok(parsed) => Resident {
                here: here.contains(&(
                    namespace.clone(),
                    parsed.spec.service_account_ref.name.clone(),
                )),
                records: records(ctx, parsed),
                home: format!("{namespace}/{name}"),
            },
            // It may refer to anything: only its own namespace bounds it.
            Err(_) => Resident {
                here: namespace == object.namespace,
                records: Records::Everything,
                home: format!("{namespace}/{name}"),
            },
        };
        (facts::uid(key.meta()), resident)
    });
    Census {
        freshness,
        keys: residents.collect::<BTreeMap<_, _>>(),
    }
}

/// The keys that an ApiKey records, in its status or on its Secret.
fn records(ctx: &Ctx, key: &ApiKey) -> Records {
    let status = key.status.as_ref();
    let name = key
        .spec
        .secret
        .name
        .clone()
        .unwrap_or_else(|| key.name_any());
    let secret = ctx
        .stores
        .secrets
        .get(&ObjectRef::new(&name).within(&key.namespace().unwrap_or_default()));
    let facts = facts::secret(secret.as_deref(), key, &ctx.claim.installation);
    let held = facts.ours();
    let current = status
        .and_then(|status| status.current.as_ref())
        .map(|key| KeyId::new(&key.id));
    let published = held
        .and_then(|held| held.published.as_ref())
        .map(|key| key.id.clone());
    let retiring = status
        .into_iter()
        .flat_map(|status| &status.retiring)
        .map(|key| KeyId::new(&key.id));
    let held_retiring = held
        .into_iter()
        .flat_map(|held| &held.retiring)
        .map(|key| key.id.clone());
    Records::Keys {
        current: current.into_iter().chain(published).collect(),
        retiring: retiring.chain(held_retiring).collect(),
    }
}

/// Plans and acts until nothing is left to do. `None` when the objects were not what we thought.
async fn pass(ctx: &Ctx, mut seen: Seen, mut hands: Hands, memory: &mut Memory) -> Option<Action> {
    let timing = ctx.metrics.pass(metrics::Kind::ServiceAccount);
    let mut did: Vec<&'static str> = Vec::new();
    for _ in 0..MOST_STEPS {
        seen.now = ctx.clock.now();
        let Plan { step, wake } = plan(&seen);
        if step == Step::Idle {
            remember(memory, &seen, &hands, wake);
            publish(ctx, &seen, memory);
            tell(&seen, &did);
            timing.ended(outcome(&did, seen.pass.setback.as_ref()));
            return Some(requeue(seen.now, wake));
        }
        if let Some(name) = label(&step) {
            did.push(name);
            ctx.metrics.effect(name);
        }
        let came = act(ctx, &seen, &mut hands, &step).await;
        seen.now = ctx.clock.now();
        match came {
            Outcome::Done(Done::Over) => {
                tell(&seen, &did);
                timing.ended(metrics::Outcome::Changed);
                return Some(gone(ctx, &hands.object));
            }
            Outcome::Done(done) => seen = fold(seen, &step, done),
            Outcome::Stale => {
                remember(memory, &seen, &hands, seen.now);
                return None;
            }
            Outcome::Unanswered(why) => {
                remember(memory, &seen, &hands, seen.now);
                return Some(unanswered(&hands.object, &why));
            }
        }
    }
    tracing::error!(
        account.namespace = seen.object.namespace,
        account.name = seen.object.name,
        ?did,
        "a pass did not settle"
    );
    remember(memory, &seen, &hands, seen.now);
    publish(ctx, &seen, memory);
    Some(Action::requeue(Duration::from_secs(60)))
}

fn remember(memory: &mut Memory, seen: &Seen, hands: &Hands, wake: Timestamp) {
    memory
        .version
        .clone_from(&hands.object.metadata.resource_version);
    memory.counted = seen.counted;
    memory.looked = seen
        .pass
        .found_at
        .map(|at| (at, seen.remote.clone(), seen.teams.clone()));
    if seen.remote != Remote::Unknown {
        memory.verified = verified(seen).cloned();
    }
    if let Some(setback) = &seen.pass.setback {
        // What was believed before may be why it failed.
        memory.looked = None;
        // A wake in between does not prolong the wait.
        if memory.failures != seen.pass.failures || memory.patience.is_none() {
            memory.patience = Some(Patience {
                setback: setback.clone(),
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

/// Lets ApiKeys know what the account is worth.
fn publish(ctx: &Ctx, seen: &Seen, memory: &Memory) {
    let object = &seen.object;
    let pinned = object.pins.account.as_ref();
    let standing = standing::Account {
        generation: object.generation,
        account: memory.verified.clone().filter(|id| pinned == Some(id)),
        username: match &seen.remote {
            Remote::Found(account) => account.username.clone(),
            Remote::Unknown | Remote::Absent => object.status.username.clone().unwrap_or_default(),
        },
        mint: mint_stop(seen).map_or(Ok(()), Err),
        works: works_stop(seen).map_or(Ok(()), Err),
        allowance: seen.grant.clone().ok(),
    };
    if ctx.standings.accounts.set(object.uid.clone(), standing) == News::Changed {
        ctx.bells
            .keys_of(&ctx.stores, &object.namespace, &object.name);
    }
}

fn tell(seen: &Seen, did: &[&'static str]) {
    if did.is_empty() {
        return;
    }
    let (namespace, name, steps) = (&seen.object.namespace, &seen.object.name, did.join(" "));
    match &seen.pass.setback {
        None => tracing::info!(
            account.namespace = namespace,
            account.name = name,
            steps,
            "ServiceAccount {namespace}/{name}: {steps}"
        ),
        Some(setback) => tracing::warn!(
            account.namespace = namespace,
            account.name = name,
            steps,
            reason = setback.stop.reason.as_str(),
            "ServiceAccount {namespace}/{name}: {}",
            setback.stop.message
        ),
    }
}

/// The name of a step that changes something.
fn label(step: &Step) -> Option<&'static str> {
    match step {
        Step::Idle
        | Step::Refresh
        | Step::Find(_)
        | Step::FindTeam(_)
        | Step::Look { .. }
        | Step::Census => None,
        Step::Pin(_) => Some("Pin"),
        Step::Create(_) => Some("Create"),
        Step::Update(..) => Some("Update"),
        Step::Join(..) => Some("Join"),
        Step::Leave(..) => Some("Leave"),
        Step::Revoke(..) => Some("Revoke"),
        Step::Delete(_) => Some("Delete"),
        Step::Record(_) => Some("Record"),
        Step::Close => Some("Close"),
    }
}

/// Does one step.
async fn act(ctx: &Ctx, seen: &Seen, hands: &mut Hands, step: &Step) -> Outcome<Done> {
    match step {
        Step::Idle => Outcome::Stale,
        Step::Refresh => refresh(ctx, hands).await,
        Step::Census => take_census(ctx, seen).await,
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
        | Step::Revoke(..)
        | Step::Delete(_) => {
            let Some(line) = hands.line.clone() else {
                return Outcome::Stale;
            };
            match Box::pin(call(ctx, seen, &hands.lists, &line, step)).await {
                Ok(done) => Outcome::Done(done),
                Err(fault) => {
                    let namespace = hands.object.namespace().unwrap_or_default();
                    let place = Place::of(&hands.object.spec.server_ref, &namespace);
                    super::connection::suspect(ctx, &place, &fault);
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
        Step::Find(Lookup::Id(id)) => match server.account(id).await {
            Ok(account) => Ok(Done::Found(Remote::Found(account))),
            Err(Fault::NotFound) => line
                .is_still_there()
                .await
                .map(|()| Done::Found(Remote::Absent)),
            Err(fault) => Err(fault),
        },
        Step::FindTeam(team) => Ok(Done::Team(team.clone(), server.find_team(team).await?)),
        Step::Create(draft) => Ok(Done::Account(server.create_account(draft).await?)),
        Step::Update(id, draft) => Ok(Done::Account(server.update_account(id, draft).await?)),
        Step::Join(team, account) => Ok(Done::TeamChanged(server.join_team(team, account).await?)),
        Step::Leave(team, account) => {
            Ok(Done::TeamChanged(server.leave_team(team, account).await?))
        }
        Step::Look { newer_than } => {
            let Some(account) = &seen.object.pins.account else {
                return Err(Fault::NotFound);
            };
            let list = lists
                .newer(line, account, *newer_than, ctx.clock.now())
                .await?;
            Ok(Done::Looked(list))
        }
        Step::Revoke(account, key) => {
            match server.revoke(account, key).await {
                Err(Fault::NotFound) => line.is_still_there().await,
                answer => answer,
            }?;
            lists.drop_key(account, key);
            Ok(Done::Revoked(key.clone()))
        }
        Step::Delete(id) => match server.delete_account(id).await {
            Ok(()) => Ok(Done::Deleted),
            Err(Fault::NotFound) => line.is_still_there().await.map(|()| Done::Deleted),
            Err(fault) => Err(fault),
        },
        Step::Idle
        | Step::Refresh
        | Step::Census
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
            hands.object = object;
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

async fn record(ctx: &Ctx, hands: &mut Hands, status: ServiceAccountStatus) -> Outcome<Done> {
    let before = hands.object.status.clone().unwrap_or_default().conditions;
    let mut wanted = hands.object.clone();
    wanted.metadata.managed_fields = None;
    wanted.status = Some(status);
    let outcome = written(ctx, hands, ctx.cluster.record(&wanted).await);
    if let Outcome::Done(Done::Written(_)) = &outcome {
        let now = hands.object.status.clone().unwrap_or_default().conditions;
        ctx.reporter
            .flipped(&hands.object, "Reconcile", &before, &now)
            .await;
    }
    outcome
}
