//! A pass over one ApiKey.

mod act;
mod ground;
mod restarting;
mod secret;
mod see;
mod writing;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::runtime::controller::Action;

use self::act::act;
use self::see::{WATCH_WAIT, awaits_watches, place, secret, see};
use super::cluster::Answer;
use super::lists::Lists;
use super::queue::Urgency;
use super::report::{Course, End as Ending, Whose, unanswered};
use super::standing::{Address, Line};
use super::voice::Voice;
use super::{
    Came, Ctx, LONG_WAIT, MOST_STALE, MOST_STEPS, Outcome, Patience, STALE_WAIT, facts, is_older,
    requeue,
};
use crate::api::{ApiKey, ApiKeyStatus, ServiceAccount, annotation, finalizer};
use crate::metrics;
use crate::plan::key::{Done, Freshness, Plan, Seen, Step, Values, fold, plan};
use crate::plan::record::{Nonce, Uid};
use crate::secret::KeyMaterial;

/// What passes over one ApiKey remember.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Memory {
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
    /// What a comparison of the Secret's values came to.
    compared: Option<Compared>,
    /// What was said last of it.
    voice: Voice<ApiKeyStatus>,
}

/// What a comparison of the values of one version of a Secret came to.
#[derive(Debug, Clone, PartialEq)]
struct Compared {
    version: String,
    values: Values,
}

/// What a pass holds in its hands besides the facts.
struct Hands {
    object: ApiKey,
    account: Option<ServiceAccount>,
    secret: Option<PartialObjectMeta<Secret>>,
    line: Option<Line>,
    lists: Arc<Lists>,
    address: Address,
    username: String,
    /// The value of the key that was just minted: it exists nowhere else.
    value: Option<KeyMaterial>,
    compared: Option<Compared>,
    voice: Voice<ApiKeyStatus>,
}

/// Looks at one ApiKey, and does what is to be done.
pub(crate) async fn reconcile(ctx: &Ctx, object: ApiKey) -> Action {
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
                Ok(None) => {
                    forget(ctx, &uid);
                    return Action::await_change();
                }
                Err(lapse) => {
                    ctx.memories.keys.set(uid, memory);
                    return unanswered(&whose(&object), &lapse.to_string());
                }
            }
        }
        let secret = match secret(ctx, &object, &memory, freshness).await {
            Ok(secret) => secret,
            Err(lapse) => return unanswered(&whose(&object), &lapse.to_string()),
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
            End::Stale(last) => {
                object = *last;
                freshness = Freshness::Live;
            }
        }
    }
    ctx.memories.keys.set(uid, memory);
    Action::requeue(STALE_WAIT)
}

/// How a pass ended.
enum End {
    Settled(Action),
    /// The objects were not what we thought; this is the last that we saw of the ApiKey.
    Stale(Box<ApiKey>),
}

fn whose(object: &ApiKey) -> Whose {
    Whose {
        kind: metrics::Kind::ApiKey,
        namespace: object.namespace(),
        name: object.name_any(),
    }
}

impl Came for Done {
    fn worked(&self) -> bool {
        !matches!(
            self,
            Self::Failed(_) | Self::Outrun(_) | Self::NotRestarted(..)
        )
    }
}

/// The ApiKey as it is now; see [`super::cluster::Cluster::live`].
async fn live(ctx: &Ctx, object: &ApiKey) -> Answer<Option<ApiKey>> {
    let now = ctx.clock.now();
    ctx.cluster.live(object, finalizer::REVOKE, now).await
}

/// Plans and acts until nothing is left to do.
async fn pass(ctx: &Ctx, mut seen: Seen, mut hands: Hands, memory: &mut Memory) -> End {
    let mut course = Course::begin(&ctx.metrics, whose(&hands.object));
    let waited = seen.pass.setback.clone();
    for _ in 0..MOST_STEPS {
        seen.now = ctx.clock.now();
        seen.nonce = Nonce::from_bytes(ctx.entropy.draw());
        let Plan { step, wake } = plan(&seen);
        if step == Step::Idle {
            remember(memory, &seen, &hands, wake);
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
            Outcome::Done(done) => {
                let over = done == Done::Over;
                seen = fold(seen, &step, done);
                if over {
                    course.ended(Ending::Well);
                    return End::Settled(Action::await_change());
                }
            }
            Outcome::Stale => {
                remember(memory, &seen, &hands, wake);
                course.stale();
                return End::Stale(Box::new(hands.object));
            }
            Outcome::Hushed(until) => {
                remember(memory, &seen, &hands, wake);
                course.ended(Ending::Well);
                return End::Settled(requeue(seen.now, until));
            }
            Outcome::Unanswered(why) => {
                // Nothing was sent to the server for an intent that may not be recorded.
                if let Step::Open(intent) = &step {
                    seen.settled = Some(intent.nonce.clone());
                }
                remember(memory, &seen, &hands, wake);
                return End::Settled(unanswered(&whose(&hands.object), &why));
            }
        }
    }
    course.unsettled();
    remember(memory, &seen, &hands, seen.now);
    End::Settled(Action::requeue(LONG_WAIT))
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
    memory.compared.clone_from(&hands.compared);
    memory.voice.clone_from(&hands.voice);
    let met = seen.pass.setback.as_ref();
    let lasts = Patience::lasts(memory.patience.as_ref(), seen.object.generation, seen.now);
    // A wake in between does not prolong the wait.
    if met.is_none() || met != lasts.map(|patience| &patience.setback) {
        memory.patience = met.map(|setback| Patience {
            setback: setback.clone(),
            failure: seen.pass.failure,
            until: wake,
            generation: seen.object.generation,
        });
    }
}

/// The name of a step that changes something.
fn label(step: &Step) -> Option<&'static str> {
    match step {
        Step::Idle | Step::Refresh | Step::Look { .. } | Step::Compare | Step::Rehearse(_) => None,
        Step::Guard { .. } => Some("Guard"),
        Step::Open(_) => Some("Open"),
        Step::Mint(_) => Some("Mint"),
        Step::Prove => Some("Prove"),
        Step::Publish(_) => Some("Publish"),
        Step::Record(_) => Some("Record"),
        Step::Revoke { .. } => Some("Revoke"),
        Step::Adjust { .. } => Some("Adjust"),
        Step::Unpublish => Some("Unpublish"),
        Step::Amend(_) => Some("Amend"),
        Step::Restart { .. } => Some("Restart"),
        Step::Retain(_) => Some("Retain"),
        Step::Remove => Some("Remove"),
        Step::Close => Some("Close"),
    }
}

/// Forgets an ApiKey that is gone.
pub(crate) fn forget(ctx: &Ctx, uid: &Uid) {
    ctx.memories.keys.forget(uid);
    ctx.memories.renderings.forget(uid);
}

/// How urgent a pass over this ApiKey is. Whoever forges a status is served sooner than others of
/// his, and no more.
fn urgency(object: &ApiKey, now: Timestamp) -> Urgency {
    let none = ApiKeyStatus::default();
    let status = object.status.as_ref().unwrap_or(&none);
    let ends = object.metadata.deletion_timestamp.is_some() || object.spec.revoked;
    let asked = facts::annotated(&object.metadata, annotation::ROTATE);
    let rotates = asked != status.last_handled_rotate.as_deref()
        || status.rotate_at.as_ref().is_some_and(|at| at.0 <= now);
    if status.current.is_none() || ends && status.finished_at.is_none() {
        Urgency::Awaited
    } else if rotates {
        Urgency::Rotation
    } else {
        Urgency::Drift
    }
}

/// A shared handle for the queue.
pub(crate) async fn run(
    object: Arc<super::watch::Guarded<ApiKey>>,
    ctx: Arc<Ctx>,
) -> Result<Action, std::convert::Infallible> {
    Ok(match &object.0 {
        Ok(object) => match ctx
            .lanes
            .keys
            .enter(
                object.namespace(),
                place(&ctx, object),
                urgency(object, ctx.clock.now()),
            )
            .await
        {
            Some(_pass) => Box::pin(reconcile(&ctx, object.clone())).await,
            None => Action::await_change(),
        },
        Err(invalid) => {
            super::report::invalid::<ApiKey>(&ctx, &invalid.metadata, &invalid.error).await
        }
    })
}

#[cfg(test)]
mod tests;
