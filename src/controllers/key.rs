//! A pass over one ApiKey.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::cluster::{Answer, Effect, Lapse, Marks};
use super::lists::Lists;
use super::rendering::{Templates, Values};
use super::standing::{self, Line, Place};
use super::{Connected, Ctx, MOST_STEPS, Outcome, Patience, facts, is_older, outcome, requeue};
use crate::api::conditions::Reason;
use crate::api::{ApiKey, ServiceAccount, annotation, finalizer};
use crate::metrics;
use crate::plan::fault::Retry;
use crate::plan::grant::{Allowance, Retain};
use crate::plan::key::{
    Amendment, Base, Done, Freshness, Ledger, Pass, Plan, Publication, Reach, Seen, Setback, Step,
    fold, plan,
};
use crate::plan::port::{self, Fault, KeyId};
use crate::plan::record::{Nonce, Uid};
use crate::plan::rotation::{Bounds, after};
use crate::plan::{PUBLISH_WITHIN, Stop};
use crate::secret::KeyMaterial;

/// How often a key that does not sign in is tried again, and after how long: servers of several
/// nodes take a moment.
const PROOFS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(4),
];
/// How long a Publish without an answer rests before the same write is sent again.
const BREATH: Duration = Duration::from_secs(2);
/// How long a watch is waited for that is behind our own writes, before what it would bring is read
/// live. It mostly takes milliseconds.
const WATCH_WAIT: Duration = Duration::from_secs(1);
/// How often a pass may find its objects changed by somebody else.
const MOST_STALE: usize = 3;

/// What passes over one ApiKey remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The newest version of the ApiKey that a write of ours has made.
    version: Option<String>,
    /// The newest version of the Secret that a write of ours has made.
    secret: Option<String>,
    /// An attempt of which nothing can happen any more.
    settled: Option<Nonce>,
    /// A setback that is waited out.
    patience: Option<Patience>,
    /// Since when the watches are behind our own writes.
    behind: Option<Timestamp>,
}

/// What a pass holds in its hands besides the facts.
struct Hands {
    object: ApiKey,
    account: Option<ServiceAccount>,
    secret: Option<PartialObjectMeta<Secret>>,
    line: Option<Line>,
    lists: Arc<Lists>,
    url: String,
    username: String,
    /// The value of the key that was just minted: it exists nowhere else.
    value: Option<KeyMaterial>,
}

/// Looks at one ApiKey, and does what is to be done.
pub async fn reconcile(ctx: &Ctx, object: ApiKey) -> Action {
    let uid = facts::uid(&object.metadata);
    let mut memory = ctx.memories.keys.get(&uid).unwrap_or_default();
    let mut object = object;
    if awaits_watches(ctx, &object, &mut memory) {
        ctx.memories.keys.set(uid, memory);
        return Action::requeue(WATCH_WAIT);
    }
    let mut freshness = Freshness::Cached;
    for _ in 0..MOST_STALE {
        if is_older(&object.metadata, memory.version.as_deref()) {
            freshness = Freshness::Live;
        }
        if freshness == Freshness::Live {
            match live(ctx, &object).await {
                Ok(Some(live)) => object = live,
                Ok(None) => return Action::await_change(),
                Err(lapse) => return unanswered(&object, &lapse.to_string()),
            }
        }
        let secret = match secret(ctx, &object, &memory, freshness).await {
            Ok(secret) => secret,
            Err(lapse) => return unanswered(&object, &lapse.to_string()),
        };
        let Some((seen, hands)) = see(ctx, object.clone(), secret, freshness, &memory) else {
            // Its account or connection has not been looked at yet in this process.
            return Action::await_change();
        };
        match Box::pin(pass(ctx, seen, hands, &mut memory)).await {
            End::Settled(action) => {
                ctx.memories.keys.set(uid, memory);
                return action;
            }
            End::Stale => freshness = Freshness::Live,
        }
    }
    ctx.memories.keys.set(uid, memory);
    Action::requeue(Duration::from_secs(1))
}

/// How a pass ended.
enum End {
    Settled(Action),
    Stale,
}

fn unanswered(object: &ApiKey, why: &str) -> Action {
    tracing::warn!(
        key.namespace = object.namespace().unwrap_or_default(),
        key.name = object.name_any(),
        "the API server gives no answer, it is tried again: {why}"
    );
    Action::requeue(super::API_SERVER_WAIT)
}

async fn live(ctx: &Ctx, object: &ApiKey) -> Answer<Option<ApiKey>> {
    let found: Option<ApiKey> = ctx
        .cluster
        .get(object.namespace().as_deref(), &object.name_any())
        .await?;
    Ok(found.filter(|found| found.metadata.uid == object.metadata.uid))
}

/// Whether what we wrote last is still on its way through the watches, which then wake this ApiKey:
/// what comes by itself in a moment is not read live.
fn awaits_watches(ctx: &Ctx, object: &ApiKey, memory: &mut Memory) -> bool {
    let secret = cached_secret(ctx, object);
    let behind = is_older(&object.metadata, memory.version.as_deref())
        || is_behind(secret.as_deref(), memory);
    if !behind {
        memory.behind = None;
        return false;
    }
    let now = ctx.clock.now();
    let since = *memory.behind.get_or_insert(now);
    SignedDuration::try_from(WATCH_WAIT).is_ok_and(|wait| now < after(since, wait))
}

fn cached_secret(ctx: &Ctx, object: &ApiKey) -> Option<Arc<PartialObjectMeta<Secret>>> {
    let namespace = object.namespace().unwrap_or_default();
    let reference = ObjectRef::new(&secret_name(object)).within(&namespace);
    ctx.stores.secrets.get(&reference)
}

/// Whether the watch of Secrets is behind what we wrote, or somebody has deleted the Secret since.
fn is_behind(cached: Option<&PartialObjectMeta<Secret>>, memory: &Memory) -> bool {
    match cached {
        Some(cached) => is_older(&cached.metadata, memory.secret.as_deref()),
        None => memory.secret.is_some(),
    }
}

/// The Secret of the ApiKey's choice: from the watch, or live where the watch is behind.
async fn secret(
    ctx: &Ctx,
    object: &ApiKey,
    memory: &Memory,
    freshness: Freshness,
) -> Answer<Option<PartialObjectMeta<Secret>>> {
    let namespace = object.namespace().unwrap_or_default();
    let name = secret_name(object);
    let cached = cached_secret(ctx, object);
    if is_behind(cached.as_deref(), memory) || freshness == Freshness::Live {
        return ctx.cluster.secret(&namespace, &name).await;
    }
    Ok(cached.map(|cached| (*cached).clone()))
}

fn secret_name(object: &ApiKey) -> String {
    object
        .spec
        .secret
        .name
        .clone()
        .unwrap_or_else(|| object.name_any())
}

/// The facts, and what is needed to act on them. `None` when something that the ApiKey rests on has
/// not been looked at yet.
fn see(
    ctx: &Ctx,
    object: ApiKey,
    secret: Option<PartialObjectMeta<Secret>>,
    freshness: Freshness,
    memory: &Memory,
) -> Option<(Seen, Hands)> {
    let now = ctx.clock.now();
    let namespace = object.namespace().unwrap_or_default();
    let guarded = ctx
        .stores
        .account(&namespace, &object.spec.service_account_ref.name);
    let account = guarded
        .as_ref()
        .and_then(|account| account.0.as_ref().ok())
        .cloned();
    let ground = ground(ctx, &object, account.as_ref())?;
    let mut pass = Pass::begin(now);
    pass.setback = Patience::lasts(
        memory.patience.as_ref(),
        object.metadata.generation.unwrap_or_default(),
        now,
    );
    let hands = Hands {
        object,
        account,
        secret,
        line: ground.line,
        lists: ground.lists,
        url: ground.url,
        username: ground.username,
        value: None,
    };
    let seen = Seen {
        now,
        nonce: Nonce::from_bytes(ctx.entropy.draw()),
        claim: ctx.claim.clone(),
        object: object_facts(ctx, &hands.object),
        list: ground.list,
        base: ground.base,
        secret: secret_facts(ctx, &hands),
        freshness,
        settled: memory.settled.clone(),
        pass,
    };
    Some((seen, hands))
}

fn object_facts(ctx: &Ctx, object: &ApiKey) -> crate::plan::key::Object {
    let rendering = Templates::of(object, &[]).try_out();
    facts::api_key(object, ctx.stamp, rendering)
}

fn secret_facts(ctx: &Ctx, hands: &Hands) -> crate::plan::key::Secret {
    facts::secret(
        hands.secret.as_ref(),
        &hands.object,
        &ctx.claim.installation,
    )
}

/// What an ApiKey rests on.
struct Ground {
    base: Base,
    list: Option<port::List>,
    lists: Arc<Lists>,
    line: Option<Line>,
    url: String,
    username: String,
}

fn ground(ctx: &Ctx, object: &ApiKey, account: Option<&ServiceAccount>) -> Option<Ground> {
    let name = &object.spec.service_account_ref.name;
    let Some(account) = account else {
        return Some(Ground::none(Stop::new(
            Reason::WaitingForAccount,
            format!("There is no ServiceAccount {name} in this namespace. Apply it."),
        )));
    };
    let place = Place::of(
        &account.spec.server_ref,
        &object.namespace().unwrap_or_default(),
    );
    let known = ctx.standings.accounts.get(&facts::uid(&account.metadata))?;
    let connection = match ctx.connected(&place) {
        Connected::Known(connection) => *connection,
        Connected::Unlooked => return None,
        Connected::Absent => {
            let stop = known
                .mint
                .clone()
                .err()
                .unwrap_or_else(|| Stop::plain(Reason::WaitingForServer));
            let retained = facts::service_account(account).pins.retained;
            let mut ground = Ground::none(stop);
            ground.base.ledger = Ledger::Present(retained.into_iter().collect());
            return Some(ground);
        }
    };
    let pins = facts::service_account(account).pins;
    let server = match (&connection.usable, &pins.server) {
        (Err(stop), _) => Err(waiting(&place, stop)),
        (Ok(line), Some(pinned)) if *pinned != line.probe.identity => {
            Err(Stop::plain(Reason::IdentityChanged))
        }
        (Ok(line), _) => Ok(Reach {
            identity: line.probe.identity.clone(),
            ability: line.server.ability(),
            skew: line.probe.skew,
        }),
    };
    let line = connection
        .usable
        .as_ref()
        .ok()
        .filter(|_| server.is_ok())
        .cloned();
    // An id that only stands in the annotation may be anybody's.
    let verified = known
        .account
        .clone()
        .filter(|id| pins.account.as_ref() == Some(id));
    let list = verified
        .as_ref()
        .and_then(|account| connection.lists.at_hand(account));
    Some(Ground {
        base: Base {
            mint: ending(ctx, object)
                .and(mint(account, &known))
                .and_then(|()| match &verified {
                    Some(_) => Ok(()),
                    None => Err(Stop::plain(Reason::WaitingForAccount)),
                }),
            account: verified,
            works: known.works.clone(),
            retain: retain(&known),
            ledger: Ledger::Present(pins.retained.into_iter().collect()),
            bounds: bounds(&connection, &known),
            resync: connection.resync,
            server,
        },
        list,
        lists: Arc::clone(&connection.lists),
        line,
        url: connection.url.clone(),
        username: known.username,
    })
}

impl Ground {
    fn none(stop: Stop) -> Self {
        Self {
            base: Base {
                account: None,
                server: Err(stop.clone()),
                mint: Err(stop),
                works: Ok(()),
                retain: Ok(()),
                ledger: Ledger::Absent,
                bounds: Bounds::default(),
                resync: SignedDuration::from_mins(10),
            },
            list: None,
            lists: Arc::default(),
            line: None,
            url: String::new(),
            username: String::new(),
        }
    }
}

fn waiting(place: &Place, stop: &Stop) -> Stop {
    Stop::new(
        Reason::WaitingForServer,
        format!(
            "Connection {} is not ready ({}): {}",
            place.name,
            stop.reason.as_str(),
            stop.message
        ),
    )
}

/// That the namespace is not being deleted: no Secret can be made in it any more.
fn ending(ctx: &Ctx, object: &ApiKey) -> Result<(), Stop> {
    let namespace = ObjectRef::new(&object.namespace().unwrap_or_default());
    let known = ctx.stores.namespaces.get(&namespace);
    if known.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        return Err(Stop::new(
            Reason::SecretRefused,
            "The namespace is being deleted; no key is made in it any more.",
        ));
    }
    Ok(())
}

/// Whether a key may be made, as the ServiceAccount is now and was when it was looked at.
fn mint(account: &ServiceAccount, known: &standing::Account) -> Result<(), Stop> {
    let meta = account.meta();
    if meta.deletion_timestamp.is_some() {
        return Err(Stop::new(
            Reason::WaitingForAccount,
            format!(
                "ServiceAccount {} is being deleted. Apply it again, or another one.",
                account.name_any()
            ),
        ));
    }
    if meta.generation != Some(known.generation) {
        return Err(Stop::new(
            Reason::WaitingForAccount,
            format!(
                "ServiceAccount {} has just changed and is looked at first.",
                account.name_any()
            ),
        ));
    }
    known.mint.clone()
}

/// Whether keys may be left behind; without a grant they may not.
fn retain(known: &standing::Account) -> Result<(), Stop> {
    match &known.allowance {
        Some(Allowance {
            retain: Retain::Allowed,
            ..
        }) => Ok(()),
        Some(_) | None => Err(Stop::new(
            Reason::NotGranted,
            "The ClusterDeployServer does not grant deletionPolicy Retain to this namespace. Ask the platform team.",
        )),
    }
}

fn bounds(connection: &standing::Connection, known: &standing::Account) -> Bounds {
    let longest = [
        connection.max_lifetime,
        known.allowance.and_then(|allowance| allowance.max_lifetime),
    ]
    .into_iter()
    .flatten()
    .min();
    let probe = connection.usable.as_ref().ok().map(|line| &line.probe);
    Bounds {
        default_lifetime: connection.default_lifetime,
        max_lifetime: longest,
        server: probe.map(|probe| probe.key_expiry).unwrap_or_default(),
        credential_expires_at: probe.and_then(|probe| probe.credential_expires_at),
    }
}

/// Plans and acts until nothing is left to do.
async fn pass(ctx: &Ctx, mut seen: Seen, mut hands: Hands, memory: &mut Memory) -> End {
    let timing = ctx.metrics.pass(metrics::Kind::ApiKey);
    let mut did: Vec<&'static str> = Vec::new();
    for _ in 0..MOST_STEPS {
        seen.now = ctx.clock.now();
        seen.nonce = Nonce::from_bytes(ctx.entropy.draw());
        let Plan { step, wake } = plan(&seen);
        if step == Step::Idle {
            remember(memory, &seen, &hands, wake);
            tell(&hands.object, &did, &seen);
            timing.ended(outcome(&did, seen.pass.setback.as_ref()));
            return End::Settled(requeue(seen.now, wake));
        }
        if let Some(name) = label(&step) {
            did.push(name);
            ctx.metrics.effect(name);
        }
        let came = act(ctx, &seen, &mut hands, &step).await;
        seen.now = ctx.clock.now();
        match came {
            Outcome::Done(done) => {
                let over = done == Done::Over;
                seen = fold(seen, &step, done);
                if over {
                    tell(&hands.object, &did, &seen);
                    timing.ended(metrics::Outcome::Changed);
                    return End::Settled(Action::await_change());
                }
            }
            Outcome::Stale => {
                remember(memory, &seen, &hands, seen.now);
                return End::Stale;
            }
            Outcome::Unanswered(why) => {
                // Nothing was sent to the server for an intent that may not be recorded.
                if let Step::Open(intent) = &step {
                    seen.settled = Some(intent.nonce.clone());
                }
                remember(memory, &seen, &hands, seen.now);
                return End::Settled(unanswered(&hands.object, &why));
            }
        }
    }
    tracing::error!(
        key.namespace = seen.object.namespace,
        key.name = seen.object.name,
        ?did,
        "a pass did not settle"
    );
    remember(memory, &seen, &hands, seen.now);
    End::Settled(Action::requeue(Duration::from_secs(60)))
}

fn remember(memory: &mut Memory, seen: &Seen, hands: &Hands, wake: Timestamp) {
    memory
        .version
        .clone_from(&hands.object.metadata.resource_version);
    memory.secret = hands
        .secret
        .as_ref()
        .and_then(|secret| secret.metadata.resource_version.clone());
    memory.settled.clone_from(&seen.settled);
    let met = seen.pass.setback.as_ref();
    let lasts = Patience::lasts(memory.patience.as_ref(), seen.object.generation, seen.now);
    // A wake in between does not prolong the wait.
    if met.is_none() || met != lasts.as_ref() {
        memory.patience = met.map(|setback| Patience {
            setback: setback.clone(),
            until: wake,
            generation: seen.object.generation,
        });
    }
}

/// One line for a pass that has changed something.
fn tell(object: &ApiKey, did: &[&'static str], seen: &Seen) {
    if did.is_empty() {
        return;
    }
    let serial = seen.object.status.serial.unwrap_or_default();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let steps = did.join(" ");
    match &seen.pass.setback {
        None => tracing::info!(
            key.namespace = namespace,
            key.name = name,
            key.serial = serial,
            steps,
            "ApiKey {namespace}/{name}: {steps}"
        ),
        Some(setback) => tracing::warn!(
            key.namespace = namespace,
            key.name = name,
            key.serial = serial,
            steps,
            reason = setback.stop.reason.as_str(),
            "ApiKey {namespace}/{name}: {}",
            setback.stop.message
        ),
    }
}

/// The name of a step that changes something.
fn label(step: &Step) -> Option<&'static str> {
    match step {
        Step::Idle | Step::Refresh | Step::Look { .. } | Step::Rehearse => None,
        Step::Guard { .. } => Some("Guard"),
        Step::Open(_) => Some("Open"),
        Step::Mint(_) => Some("Mint"),
        Step::Prove => Some("Prove"),
        Step::Publish(_) => Some("Publish"),
        Step::Record(_) => Some("Record"),
        Step::Revoke { .. } => Some("Revoke"),
        Step::Unpublish => Some("Unpublish"),
        Step::Amend(_) => Some("Amend"),
        Step::Retain(_) => Some("Retain"),
        Step::Remove => Some("Remove"),
        Step::Close => Some("Close"),
    }
}

/// Does one step.
async fn act(ctx: &Ctx, seen: &Seen, hands: &mut Hands, step: &Step) -> Outcome<Done> {
    match step {
        Step::Idle => Outcome::Stale,
        Step::Refresh => refresh(ctx, hands).await,
        Step::Look { newer_than } => look(ctx, seen, hands, *newer_than).await,
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
        Step::Rehearse => rehearse(ctx, hands).await,
        Step::Mint(order) => mint_key(ctx, seen, hands, order).await,
        Step::Prove => prove(ctx, hands).await,
        Step::Publish(publication) => publish(ctx, seen, hands, publication).await,
        Step::Record(status) => record(ctx, hands, (**status).clone()).await,
        Step::Revoke { id, .. } => revoke(ctx, seen, hands, id).await,
        Step::Unpublish => unpublish(ctx, hands).await,
        Step::Amend(amendment) => amend(ctx, hands, *amendment).await,
        Step::Retain(ids) => retain_keys(ctx, hands, ids).await,
        Step::Remove => match ctx.cluster.delete::<ApiKey>(&hands.object.metadata).await {
            Ok(()) => Outcome::Done(Done::Over),
            Err(lapse) => Outcome::of_lapse(lapse, refused),
        },
        Step::Close => close(ctx, seen, hands).await,
    }
}

/// A write on the ApiKey that the API server refuses.
fn refused(why: &str) -> Done {
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
    match ctx.cluster.secret(&namespace, &secret_name(&object)).await {
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
        .newer(line, account, newer_than, ctx.clock.now())
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
        super::connection::suspect(ctx, &place, fault);
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
    let before = hands.object.status.clone().unwrap_or_default().conditions;
    let mut wanted = hands.object.clone();
    wanted.metadata.managed_fields = None;
    wanted.status = Some(status);
    match ctx.cluster.record(&wanted).await {
        Ok(object) => {
            hands.object = object;
            let now = hands.object.status.clone().unwrap_or_default().conditions;
            ctx.reporter
                .flipped(&hands.object, "Reconcile", &before, &now)
                .await;
            Outcome::Done(Done::Written(Box::new(object_facts(ctx, &hands.object))))
        }
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}

/// Tries the Secret's write without effect, and reads the ServiceAccount live.
async fn rehearse(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    let dummy = KeyMaterial::new("rehearsal");
    for _ in 0..MOST_STALE {
        match write_secret(ctx, hands, &dummy, None, Effect::Rehearsed).await {
            Ok(_) => break,
            Err(Lapse::Refused(why)) => return Outcome::Done(Done::Failed(secret_refused(&why))),
            Err(Lapse::NoAnswer(why)) => return Outcome::Unanswered(why),
            Err(Lapse::Conflict | Lapse::NotFound) => {
                let namespace = hands.object.namespace().unwrap_or_default();
                match ctx
                    .cluster
                    .secret(&namespace, &secret_name(&hands.object))
                    .await
                {
                    Ok(secret) => hands.secret = secret,
                    Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
                }
                // What is not ours is not tried to be written.
                if !matches!(secret_facts(ctx, hands), crate::plan::key::Secret::Ours(_))
                    && hands.secret.is_some()
                {
                    break;
                }
            }
        }
    }
    let name = hands.object.spec.service_account_ref.name.clone();
    let account: Option<ServiceAccount> = match ctx
        .cluster
        .get(hands.object.namespace().as_deref(), &name)
        .await
    {
        Ok(account) => account,
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let Some(ground) = ground(ctx, &hands.object, account.as_ref()) else {
        return Outcome::Stale;
    };
    hands.account = account;
    hands.line = ground.line;
    hands.url = ground.url;
    hands.username = ground.username;
    Outcome::Done(Done::Rehearsed {
        secret: secret_facts(ctx, hands),
        base: Box::new(ground.base),
    })
}

fn secret_refused(why: &str) -> Setback {
    let stop = Stop::new(
        Reason::SecretRefused,
        format!(
            "The cluster refuses the Secret: {why}. {}",
            Reason::SecretRefused.fix()
        ),
    );
    Setback::refused(stop, Retry::Backoff)
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

async fn prove(ctx: &Ctx, hands: &Hands) -> Outcome<Done> {
    let (Some(line), Some(value)) = (&hands.line, &hands.value) else {
        return Outcome::Stale;
    };
    let mut waits = PROOFS.into_iter();
    loop {
        match (line.server.prove(value).await, waits.next()) {
            (Ok(own), _) => return Outcome::Done(Done::Proven(own.id)),
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

/// Writes the new key into the Secret: the same write again while no answer comes.
async fn publish(
    ctx: &Ctx,
    seen: &Seen,
    hands: &mut Hands,
    publication: &Publication,
) -> Outcome<Done> {
    let Some(value) = hands.value.clone() else {
        return Outcome::Stale;
    };
    let opened_at = seen
        .pass
        .attempt
        .as_ref()
        .map_or(seen.now, |attempt| attempt.intent.opened_at);
    let deadline = after(opened_at, PUBLISH_WITHIN);
    let mut answered = true;
    loop {
        match write_secret(ctx, hands, &value, Some(publication), Effect::Real).await {
            Ok(secret) => {
                hands.secret = Some(secret);
                break;
            }
            Err(Lapse::NoAnswer(_)) => {
                answered = false;
                sleep(BREATH).await;
                if ctx.clock.now() >= deadline {
                    return Outcome::Done(publish_failed(
                        Stop::new(
                            Reason::SecretRefused,
                            "The API server gave no answer to the write of the Secret; it is looked at again.",
                        ),
                        answered,
                    ));
                }
            }
            Err(Lapse::Refused(why)) => {
                return Outcome::Done(publish_failed(secret_refused(&why).stop, answered));
            }
            Err(Lapse::Conflict | Lapse::NotFound) => {
                let namespace = hands.object.namespace().unwrap_or_default();
                match ctx
                    .cluster
                    .secret(&namespace, &secret_name(&hands.object))
                    .await
                {
                    Ok(secret) => hands.secret = secret,
                    Err(_) => answered = false,
                }
                let found = secret_facts(ctx, hands);
                if found
                    .published()
                    .is_some_and(|key| key.nonce == publication.published.nonce)
                {
                    break;
                }
                if answered {
                    return Outcome::Done(Done::Outrun(found));
                }
                return Outcome::Done(publish_failed(
                    Stop::new(
                        Reason::SecretConflict,
                        "Somebody else wrote the Secret at the same time; it is tried again.",
                    ),
                    answered,
                ));
            }
        }
    }
    hands.value = None;
    match secret_facts(ctx, hands) {
        crate::plan::key::Secret::Ours(held) => Outcome::Done(Done::Published(held)),
        crate::plan::key::Secret::Absent | crate::plan::key::Secret::Foreign(_) => Outcome::Stale,
    }
}

fn publish_failed(stop: Stop, answered: bool) -> Done {
    let effect = if answered {
        port::Effect::None
    } else {
        port::Effect::Perhaps
    };
    Done::Failed(Setback {
        stop,
        effect,
        retry: Retry::Backoff,
    })
}

/// Writes the Secret with this value: made when it was absent, else changed by a guarded patch.
async fn write_secret(
    ctx: &Ctx,
    hands: &Hands,
    value: &KeyMaterial,
    publication: Option<&Publication>,
    effect: Effect,
) -> Answer<PartialObjectMeta<Secret>> {
    let object = &hands.object;
    let defaults = hands
        .line
        .as_ref()
        .map_or(&[] as &[_], |line| line.server.ability().entries);
    let templates = Templates::of(object, defaults);
    let expires_at = publication
        .map(|what| what.published.expires_at.to_string())
        .unwrap_or_default();
    let values = Values {
        key: value,
        id: publication.map_or("rehearsal", |what| what.published.id.as_str()),
        url: &hands.url,
        username: &hands.username,
        serial: publication.map_or(1, |what| what.published.serial.number()),
        expires_at: &expires_at,
    };
    let entries = templates.render(&values).map_err(Lapse::Refused)?;
    let annotations = publication
        .map(|what| facts::publication(object, what, &value.fingerprint(), &templates.names()))
        .unwrap_or_default();
    let mut made = Secret {
        type_: Some(object.spec.secret.type_.clone()),
        data: Some(entries),
        ..Secret::default()
    };
    made.metadata.name = Some(secret_name(object));
    made.metadata.namespace = object.namespace();
    made.metadata.labels = Some(facts::labels(object));
    made.metadata.owner_references = Some(vec![owner(object)]);
    match &hands.secret {
        None => {
            made.metadata.annotations = Some(
                annotations
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect(),
            );
            ctx.cluster.create_secret(&made, effect).await
        }
        Some(secret) => {
            let meta = &secret.metadata;
            let mut data = json!(made.data);
            for dropped in facts::entries(meta) {
                if data.get(&dropped).is_none() {
                    data[&dropped] = Value::Null;
                }
            }
            let patch = json!({
                "metadata": {
                    "uid": meta.uid,
                    "resourceVersion": meta.resource_version,
                    "labels": made.metadata.labels,
                    "annotations": annotations,
                    "ownerReferences": made.metadata.owner_references,
                },
                "data": data,
            });
            let namespace = object.namespace().unwrap_or_default();
            ctx.cluster
                .patch_secret(&namespace, &secret_name(object), &patch, effect)
                .await
        }
    }
}

fn owner(object: &ApiKey) -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        ..object.owner_ref(&()).unwrap_or_default()
    }
}

async fn revoke(ctx: &Ctx, seen: &Seen, hands: &mut Hands, id: &KeyId) -> Outcome<Done> {
    let (Some(line), Some(account)) = (hands.line.clone(), &seen.base.account) else {
        return Outcome::Stale;
    };
    let gone = match line.server.revoke(account, id).await {
        Err(Fault::NotFound) => line.is_still_there().await,
        answer => answer,
    };
    match gone {
        Ok(()) => {
            hands.lists.drop_key(account, id);
            Outcome::Done(Done::Revoked(id.clone()))
        }
        Err(fault) => failed(ctx, hands, &fault),
    }
}

async fn unpublish(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    let Some(secret) = &hands.secret else {
        return Outcome::Done(Done::Unpublished);
    };
    match ctx.cluster.delete::<Secret>(&secret.metadata).await {
        Ok(()) => {
            hands.secret = None;
            Outcome::Done(Done::Unpublished)
        }
        Err(lapse) => Outcome::of_lapse(lapse, |why| Done::Failed(secret_refused(why))),
    }
}

async fn amend(ctx: &Ctx, hands: &mut Hands, amendment: Amendment) -> Outcome<Done> {
    let object = &hands.object;
    let Some(secret) = &hands.secret else {
        return Outcome::Stale;
    };
    let meta = &secret.metadata;
    let mut metadata = json!({ "uid": meta.uid, "resourceVersion": meta.resource_version });
    match amendment {
        Amendment::Dress => {
            metadata["labels"] = json!(facts::labels(object));
            metadata["annotations"] = json!(object.spec.secret.annotations);
            metadata["ownerReferences"] = json!([owner(object)]);
        }
        Amendment::Release => metadata["ownerReferences"] = json!([]),
    }
    let patch = json!({ "metadata": metadata });
    let namespace = object.namespace().unwrap_or_default();
    match ctx
        .cluster
        .patch_secret(&namespace, &secret_name(object), &patch, Effect::Real)
        .await
    {
        Ok(secret) => {
            hands.secret = Some(secret);
            match secret_facts(ctx, hands) {
                crate::plan::key::Secret::Ours(held) => Outcome::Done(Done::Amended(held)),
                crate::plan::key::Secret::Absent | crate::plan::key::Secret::Foreign(_) => {
                    Outcome::Stale
                }
            }
        }
        Err(lapse) => Outcome::of_lapse(lapse, |why| Done::Failed(secret_refused(why))),
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
        Err(lapse) => Outcome::of_lapse(lapse, refused),
    }
}

/// Forgets an ApiKey that is gone.
pub fn forget(ctx: &Ctx, uid: &Uid) {
    ctx.memories.keys.forget(uid);
}

/// A shared handle for the queue.
pub async fn run(
    object: Arc<super::watch::Guarded<ApiKey>>,
    ctx: Arc<Ctx>,
) -> Result<Action, std::convert::Infallible> {
    Ok(match &object.0 {
        Ok(object) => Box::pin(reconcile(&ctx, object.clone())).await,
        Err(invalid) => {
            super::report::invalid::<ApiKey>(&ctx, &invalid.metadata, &invalid.error).await
        }
    })
}
