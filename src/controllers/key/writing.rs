//! Doing one step: a key's way into its Secret, tried and real.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
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
use crate::api::{ApiKey, ServiceAccount, annotation};
use crate::controllers::cluster::{Answer, Effect, Lapse};
use crate::controllers::facts::{self, secret};
use crate::controllers::rendering::{Entries, PREVIOUS, Templates, Values};
use crate::controllers::{Ctx, MOST_STALE, Outcome};
use crate::plan::fault::Retry;
use crate::plan::key::{self, Done, Owner, Publication, Seen, Setback};
use crate::plan::port;
use crate::plan::rotation::after;
use crate::plan::{PUBLISH_WITHIN, Stop};
use crate::secret::KeyMaterial;

/// What stands for a key's value in a rehearsal.
const DUMMY: &str = "REHEARSAL-REHEARSAL-REHEARSAL";
/// How long a Publish without an answer rests before the same write is sent again.
const BREATH: Duration = Duration::from_secs(2);

/// Tries the Secret's write without effect, and reads the ServiceAccount and the ApiKey live.
pub(super) async fn rehearse(
    ctx: &Ctx,
    hands: &mut Hands,
    publication: &Publication,
) -> Outcome<Done> {
    if let Some(ended) = try_to_write(ctx, hands, publication).await {
        return ended;
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
    hands.address = ground.address;
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

/// Tries the Secret's write without effect; tells what ends the rehearsal, if anything does.
async fn try_to_write(
    ctx: &Ctx,
    hands: &mut Hands,
    publication: &Publication,
) -> Option<Outcome<Done>> {
    let unanswered = |lapse: Lapse| Some(Outcome::Unanswered(lapse.to_string()));
    let adopts = hands.object.spec.secret.adopt;
    // One that is to be taken over is seen by no watch.
    if adopts
        && hands.secret.is_none()
        && let Err(lapse) = look_again(ctx, hands).await
    {
        return unanswered(lapse);
    }
    let dummy = KeyMaterial::new(DUMMY);
    for _ in 0..MOST_STALE {
        // What is not ours is not tried to be written, and what is to be taken over not to be made.
        let foreign = matches!(secret_facts(ctx, hands), key::Secret::Foreign(_));
        if foreign || adopts && hands.secret.is_none() {
            return None;
        }
        match write_secret(ctx, hands, &dummy, publication, Effect::Rehearsed).await {
            Ok(_) => return None,
            Err(Lapse::Refused(why)) => {
                return Some(Outcome::Done(Done::Failed(secret_refused(hands, &why))));
            }
            Err(lapse @ Lapse::NoAnswer(_)) => return unanswered(lapse),
            Err(Lapse::Conflict | Lapse::NotFound) => {
                if let Err(lapse) = look_again(ctx, hands).await {
                    return unanswered(lapse);
                }
            }
        }
    }
    None
}

/// Why the cluster does not take the Secret. Whoever refuses a change of one that is there has seen
/// its value, and could tell it: those words are not repeated.
pub(super) fn secret_refused(hands: &Hands, why: &str) -> Setback {
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
    let attempt = seen.pass.attempt.as_ref();
    let opened_at = attempt.map_or(seen.now, |attempt| attempt.intent.opened_at);
    let deadline = after(opened_at, PUBLISH_WITHIN);
    let known = secret_facts(ctx, hands);
    let mut answered = true;
    let failed = |words: &str, reason, answered| {
        Outcome::Done(publish_failed(Stop::new(reason, words), answered))
    };
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
                    let words = "The API server gave no answer to the write of the Secret; it is looked at again.";
                    return failed(words, Reason::SecretRefused, answered);
                }
            }
            // Whoever refuses the real write has seen the value, and could tell it.
            Err(Lapse::Refused(_)) => {
                let words = format!(
                    "The cluster refuses the Secret, although it would have taken it a moment before. {}",
                    Reason::SecretRefused.fix()
                );
                return failed(&words, Reason::SecretRefused, answered);
            }
            Err(Lapse::Conflict | Lapse::NotFound) => {
                answered &= look_again(ctx, hands).await.is_ok();
                let found = secret_facts(ctx, hands);
                let ours = &publication.published.nonce;
                if found.published().is_some_and(|key| key.nonce == *ours) {
                    break;
                }
                if !answered {
                    let words =
                        "Somebody else wrote the Secret at the same time; it is tried again.";
                    return failed(words, Reason::SecretConflict, answered);
                }
                // Whoever has changed what is his does not stop us.
                if !found.is_as_rehearsed(&known) || ctx.clock.now() >= deadline {
                    return Outcome::Done(Done::Outrun(found));
                }
            }
        }
    }
    hands.value = None;
    match secret_facts(ctx, hands) {
        key::Secret::Ours(held) => Outcome::Done(Done::Published(held)),
        key::Secret::Absent | key::Secret::Offered | key::Secret::Foreign(_) => Outcome::Stale,
    }
}

/// Reads the Secret's metadata live.
async fn look_again(ctx: &Ctx, hands: &mut Hands) -> Answer<()> {
    let namespace = hands.object.namespace().unwrap_or_default();
    let name = hands.object.secret_name();
    hands.secret = ctx.cluster.secret(&namespace, name).await?;
    Ok(())
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
    let kept = kept(ctx, hands, publication).await?;
    let entries = rendered(hands, value, publication, kept.as_ref()).map_err(Lapse::Refused)?;
    let owner = match secret_facts(ctx, hands) {
        key::Secret::Offered => Owner::Adopted,
        key::Secret::Ours(held) => held.owner,
        key::Secret::Absent | key::Secret::Foreign(_) => Owner::ApiKey,
    };
    let annotations =
        secret::publication(object, publication, value.fingerprint(), &entries, owner);
    let labels = secret::labels(object, owner);
    let Some(held) = &hands.secret else {
        let mut made = Secret {
            type_: Some(object.spec.secret.type_.clone()),
            data: Some(entries.all),
            ..Secret::default()
        };
        made.metadata.name = Some(object.secret_name().to_owned());
        made.metadata.namespace = object.namespace();
        made.metadata.labels = Some(labels);
        made.metadata.owner_references = Some(vec![owner_of(object)]);
        let set = |(name, value)| Some((name, value?));
        made.metadata.annotations = Some(annotations.into_iter().filter_map(set).collect());
        return ctx.cluster.create_secret(&made, effect).await;
    };
    let mut data = json!(entries.all);
    for dropped in secret::entries(&held.metadata) {
        if data.get(&dropped).is_none() {
            data[&dropped] = Value::Null;
        }
    }
    let mut metadata = json!({
        "uid": held.metadata.uid,
        "resourceVersion": held.metadata.resource_version,
        "labels": labels,
        "annotations": annotations,
    });
    if owner != Owner::Adopted {
        metadata["ownerReferences"] = json!([owner_of(object)]);
    }
    let patch = json!({ "metadata": metadata, "data": data });
    let namespace = object.namespace().unwrap_or_default();
    ctx.cluster
        .patch_secret(&namespace, object.secret_name(), &patch, effect)
        .await
}

/// The ApiKey as the owner of its Secret.
pub(super) fn owner_of(object: &ApiKey) -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        ..object.owner_ref(&()).unwrap_or_default()
    }
}

/// What is kept of a Secret's values beside the new ones.
struct Kept {
    /// The replaced key, when one of the entries is nothing but it.
    key: Option<KeyMaterial>,
    /// The entries that we wrote for it.
    entries: BTreeMap<String, ByteString>,
}

/// Reads what is to be kept of the Secret's values: also for a rehearsal, which shall be like the real
/// write.
async fn kept(ctx: &Ctx, hands: &Hands, publication: &Publication) -> Answer<Option<Kept>> {
    let (Some(_), Some(held)) = (&publication.previous, &hands.secret) else {
        return Ok(None);
    };
    let meta = &held.metadata;
    let gone = secret::previous_entries(meta);
    let lasting = |name: &String| !gone.contains(name);
    let names = secret::entries(meta).into_iter().filter(lasting);
    let namespace = hands.object.namespace().unwrap_or_default();
    let name = hands.object.secret_name();
    let read = ctx.cluster.values(&namespace, name).await?;
    let same = read.filter(|read| read.metadata.resource_version == meta.resource_version);
    let mut data = same.ok_or(Lapse::Conflict)?.data.unwrap_or_default();
    let entries: BTreeMap<_, _> = names.filter_map(|name| data.remove_entry(&name)).collect();
    let fingerprint = facts::annotated(meta, annotation::FINGERPRINT);
    let key = entries
        .values()
        .filter_map(|value| std::str::from_utf8(&value.0).ok())
        .map(KeyMaterial::new)
        .find(|value| Some(value.fingerprint().as_str()) == fingerprint);
    Ok(Some(Kept { key, entries }))
}

/// The entries of the Secret with this value, and beside them those that are kept.
fn rendered(
    hands: &Hands,
    value: &KeyMaterial,
    publication: &Publication,
    kept: Option<&Kept>,
) -> Result<Entries, String> {
    let line = hands.line.as_ref();
    let defaults = line.map_or(&[] as &[_], |line| line.server.ability().entries);
    let key = &publication.published;
    let expires_at = key.expires_at.to_string();
    let values = Values {
        key: value,
        id: key.id.as_str(),
        address: &hands.address,
        username: &hands.username,
        serial: key.serial.number(),
        expires_at: &expires_at,
        previous: kept.and_then(|kept| kept.key.as_ref()),
    };
    let mut entries = Templates::of(&hands.object, defaults).render(&values)?;
    for (name, old) in kept.iter().flat_map(|kept| &kept.entries) {
        let changed = entries.all.get(name).is_some_and(|new| new != old);
        if changed && !entries.previous.contains(name) {
            let name = format!("{PREVIOUS}{name}");
            entries.previous.insert(name.clone());
            entries.all.insert(name, old.clone());
        }
    }
    Ok(entries)
}
