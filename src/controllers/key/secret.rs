//! Doing one step: the writes on the Secret, tried and real.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::ground::ground;
use super::see::{object_facts, secret_facts};
use super::{Hands, live};
use crate::api::conditions::Reason;
use crate::api::{ApiKey, ServiceAccount};
use crate::controllers::cluster::{Answer, Effect, Lapse};
use crate::controllers::rendering::{Templates, Values};
use crate::controllers::{Ctx, MOST_STALE, Outcome, facts};
use crate::plan::fault::Retry;
use crate::plan::key::{Amendment, Done, Publication, Seen, Setback};
use crate::plan::port;
use crate::plan::rotation::after;
use crate::plan::{PUBLISH_WITHIN, Stop};
use crate::secret::KeyMaterial;

/// How long a Publish without an answer rests before the same write is sent again.
const BREATH: Duration = Duration::from_secs(2);

/// Tries the Secret's write without effect, and reads the ServiceAccount and the ApiKey live.
pub(super) async fn rehearse(
    ctx: &Ctx,
    hands: &mut Hands,
    publication: &Publication,
) -> Outcome<Done> {
    let dummy = KeyMaterial::new("REHEARSAL-REHEARSAL-REHEARSAL");
    for _ in 0..MOST_STALE {
        match write_secret(ctx, hands, &dummy, publication, Effect::Rehearsed).await {
            Ok(_) => break,
            Err(Lapse::Refused(why)) => {
                return Outcome::Done(Done::Failed(secret_refused(hands, &why)));
            }
            Err(Lapse::NoAnswer(why)) => return Outcome::Unanswered(why),
            Err(Lapse::Conflict | Lapse::NotFound) => {
                let namespace = hands.object.namespace().unwrap_or_default();
                match ctx
                    .cluster
                    .secret(&namespace, hands.object.secret_name())
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
    match live(ctx, &hands.object).await {
        Ok(Some(object)) => hands.object = object,
        Ok(None) => return Outcome::Done(Done::Over),
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    }
    Outcome::Done(Done::Rehearsed {
        object: Box::new(object_facts(ctx, &hands.object)),
        secret: secret_facts(ctx, hands),
        base: Box::new(ground.base),
    })
}

/// Why the cluster does not take the Secret. Whoever refuses a change of one that is there has seen
/// its value, and could tell it: those words are not repeated.
fn secret_refused(hands: &Hands, why: &str) -> Setback {
    let fix = Reason::SecretRefused.fix();
    let message = match &hands.secret {
        None => format!("The cluster refuses the Secret: {why}. {fix}"),
        Some(_) => format!(
            "The cluster refuses a change of the Secret; `kubectl annotate --dry-run=server` on it shows why. {fix}"
        ),
    };
    let stop = Stop::new(Reason::SecretRefused, message);
    Setback::refused(stop, Retry::Backoff)
}

/// Writes the new key into the Secret: the same write again while no answer comes.
pub(super) async fn publish(
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
        match write_secret(ctx, hands, &value, publication, Effect::Real).await {
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
            // Whoever refuses the real write has seen the value, and could tell it.
            Err(Lapse::Refused(_)) => {
                let stop = Stop::new(
                    Reason::SecretRefused,
                    format!(
                        "The cluster refuses the Secret, although it would have taken it a moment before. {}",
                        Reason::SecretRefused.fix()
                    ),
                );
                return Outcome::Done(publish_failed(stop, answered));
            }
            Err(Lapse::Conflict | Lapse::NotFound) => {
                let namespace = hands.object.namespace().unwrap_or_default();
                match ctx
                    .cluster
                    .secret(&namespace, hands.object.secret_name())
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
    publication: &Publication,
    effect: Effect,
) -> Answer<PartialObjectMeta<Secret>> {
    let object = &hands.object;
    let defaults = hands
        .line
        .as_ref()
        .map_or(&[] as &[_], |line| line.server.ability().entries);
    let templates = Templates::of(object, defaults);
    let key = &publication.published;
    let expires_at = key.expires_at.to_string();
    let values = Values {
        key: value,
        id: key.id.as_str(),
        url: &hands.url,
        username: &hands.username,
        serial: key.serial.number(),
        expires_at: &expires_at,
    };
    let entries = templates.render(&values).map_err(Lapse::Refused)?;
    let annotations = facts::publication(
        object,
        publication,
        &value.fingerprint(),
        &templates.names(),
    );
    let mut made = Secret {
        type_: Some(object.spec.secret.type_.clone()),
        data: Some(entries),
        ..Secret::default()
    };
    made.metadata.name = Some(object.secret_name().to_owned());
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
                .patch_secret(&namespace, object.secret_name(), &patch, effect)
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

pub(super) async fn unpublish(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    let Some(secret) = &hands.secret else {
        return Outcome::Done(Done::Unpublished);
    };
    match ctx.cluster.delete::<Secret>(&secret.metadata).await {
        Ok(()) => {
            hands.secret = None;
            Outcome::Done(Done::Unpublished)
        }
        Err(lapse) => Outcome::of_lapse(lapse, |why| Done::Failed(secret_refused(hands, why))),
    }
}

pub(super) async fn amend(ctx: &Ctx, hands: &mut Hands, amendment: Amendment) -> Outcome<Done> {
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
        .patch_secret(&namespace, object.secret_name(), &patch, Effect::Real)
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
        Err(lapse) => Outcome::of_lapse(lapse, |why| Done::Failed(secret_refused(hands, why))),
    }
}
