//! Reading the facts of one ApiKey, from the watches as long as they are not behind our own writes.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;

use super::ground::ground;
use super::{Hands, Memory};
use crate::api::ApiKey;
use crate::controllers::cluster::Answer;
use crate::controllers::standing::Place;
use crate::controllers::{Ctx, Patience, facts, is_older};
use crate::plan::key::{self, Freshness, Pass, Seen};
use crate::plan::record::Nonce;
use crate::plan::rotation::after;

/// How long a watch is waited for that is behind our own writes, before what it would bring is read
/// live. It mostly takes milliseconds.
pub(super) const WATCH_WAIT: Duration = Duration::from_secs(1);

/// The connection that an ApiKey rests on, as far as it is known.
pub(super) fn place(ctx: &Ctx, object: &ApiKey) -> Option<Place> {
    let namespace = object.namespace()?;
    let name = &object.spec.service_account_ref.name;
    let account = ctx.stores.account(&namespace, name)?;
    let account = account.0.as_ref().ok()?;
    Some(Place::of(&account.spec.server_ref, &namespace))
}

/// Whether what we wrote last is still on its way through the watches, which then wake this ApiKey:
/// what comes by itself in a moment is not read live.
pub(super) fn awaits_watches(ctx: &Ctx, object: &ApiKey, memory: &mut Memory) -> bool {
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
    let reference = ObjectRef::new(object.secret_name()).within(&namespace);
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
pub(super) async fn secret(
    ctx: &Ctx,
    object: &ApiKey,
    memory: &Memory,
    freshness: Freshness,
) -> Answer<Option<PartialObjectMeta<Secret>>> {
    let namespace = object.namespace().unwrap_or_default();
    let name = object.secret_name();
    let cached = cached_secret(ctx, object);
    if is_behind(cached.as_deref(), memory) || freshness == Freshness::Live {
        return ctx.cluster.secret(&namespace, name).await;
    }
    Ok(cached.map(|cached| (*cached).clone()))
}

/// The facts, and what is needed to act on them. `None` when something that the ApiKey rests on has
/// not been looked at yet.
pub(super) fn see(
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
    let generation = object.metadata.generation.unwrap_or_default();
    if let Some(patience) = Patience::lasts(memory.patience.as_ref(), generation, now) {
        pass.setback = Some(patience.setback.clone());
        pass.failure = patience.failure;
    }
    let hands = Hands {
        object,
        account,
        secret,
        line: ground.line,
        lists: ground.lists,
        address: ground.address,
        username: ground.username,
        value: None,
        compared: memory.compared.clone(),
        voice: memory.voice.clone(),
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

pub(super) fn object_facts(ctx: &Ctx, object: &ApiKey) -> key::Object {
    let rendering = ctx.memories.renderings.of(object);
    facts::api_key(object, ctx.stamp, rendering, kin(ctx, object))
}

/// When the keys of other ApiKeys were made that restart one of the same workloads.
fn kin(ctx: &Ctx, object: &ApiKey) -> Vec<Timestamp> {
    let workloads = &object.spec.restart;
    if workloads.is_empty() {
        return Vec::new();
    }
    let made = |other: &ApiKey| {
        let same = other.metadata.namespace == object.metadata.namespace
            && other.metadata.uid != object.metadata.uid
            && other
                .spec
                .restart
                .iter()
                .any(|workload| workloads.contains(workload));
        let status = other.status.as_ref().filter(|_| same)?;
        Some(status.current.as_ref()?.created_at.0)
    };
    let others = ctx.stores.keys.state();
    others
        .iter()
        .filter_map(|other| made(other.0.as_ref().ok()?))
        .collect()
}

pub(super) fn secret_facts(ctx: &Ctx, hands: &Hands) -> key::Secret {
    let mut secret = facts::secret::facts(
        hands.secret.as_ref(),
        &hands.object,
        &ctx.claim.installation,
    );
    if let key::Secret::Ours(held) = &mut secret
        && let Some(compared) = &hands.compared
        && compared.version == held.resource_version
    {
        held.values = compared.values;
    }
    secret
}
