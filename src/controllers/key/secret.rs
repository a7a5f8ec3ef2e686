//! Doing one step: what becomes of a Secret whose key stays, or goes.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use serde_json::{Value, json};

use super::see::secret_facts;
use super::writing::{owner_of, secret_refused};
use super::{Compared, Hands};
use crate::api::{annotation, label};
use crate::controllers::cluster::{Answer, Effect};
use crate::controllers::facts::{self, secret};
use crate::controllers::{Ctx, Outcome};
use crate::plan::key::{self, Amendment, Done, Owner, Values};
use crate::secret::digest;

/// Takes the Secret away, or our entries out of one that was adopted.
pub(super) async fn unpublish(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    let Some(held) = &hands.secret else {
        return Outcome::Done(Done::Unpublished);
    };
    let gone = match secret_facts(ctx, hands) {
        key::Secret::Ours(facts) if facts.owner == Owner::Adopted => {
            let meta = &held.metadata;
            let labels = json!({ (label::SECRET): null });
            let patch = json!({
                "metadata": {
                    "uid": meta.uid,
                    "resourceVersion": meta.resource_version,
                    "labels": labels,
                    "annotations": secret::nothing_of_ours(),
                },
                "data": without(&secret::entries(meta)),
            });
            patch_secret(ctx, hands, &patch).await.map(drop)
        }
        _ => ctx.cluster.delete::<Secret>(&held.metadata).await,
    };
    match gone {
        Ok(()) => {
            hands.secret = None;
            Outcome::Done(Done::Unpublished)
        }
        Err(lapse) => Outcome::of_lapse(lapse, |why| Done::Failed(secret_refused(hands, why))),
    }
}

/// A patch of data that takes these entries away.
fn without(names: &[String]) -> Value {
    names
        .iter()
        .map(|name| (name.clone(), Value::Null))
        .collect()
}

async fn patch_secret(
    ctx: &Ctx,
    hands: &Hands,
    patch: &Value,
) -> Answer<PartialObjectMeta<Secret>> {
    let namespace = hands.object.namespace().unwrap_or_default();
    let name = hands.object.secret_name();
    ctx.cluster
        .patch_secret(&namespace, name, patch, Effect::Real)
        .await
}

/// Changes what the Secret says of itself, or takes the replaced key out of it.
pub(super) async fn amend(ctx: &Ctx, hands: &mut Hands, amendment: Amendment) -> Outcome<Done> {
    let object = &hands.object;
    let (Some(held), key::Secret::Ours(known)) = (&hands.secret, secret_facts(ctx, hands)) else {
        return Outcome::Stale;
    };
    let meta = &held.metadata;
    let mut patch = json!({
        "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version }
    });
    let metadata = &mut patch["metadata"];
    match amendment {
        Amendment::Dress => {
            metadata["labels"] = json!(secret::labels(object, known.owner));
            metadata["annotations"] = json!(object.spec.secret.annotations);
            if known.owner != Owner::Adopted {
                metadata["ownerReferences"] = json!([owner_of(object)]);
            }
        }
        Amendment::Release if known.owner == Owner::Adopted => {
            metadata["labels"] = json!({ (label::SECRET): null });
            metadata["annotations"] = json!(secret::nothing_of_ours());
        }
        Amendment::Release => metadata["ownerReferences"] = json!([]),
        Amendment::Previous => {
            let gone = secret::previous_entries(meta);
            let mut stay = secret::entries(meta);
            stay.retain(|name| !gone.contains(name));
            metadata["annotations"] = json!({
                (annotation::PREVIOUS): null,
                (annotation::ENTRIES): stay.join(" "),
            });
            patch["data"] = without(&gone);
        }
    }
    match patch_secret(ctx, hands, &patch).await {
        Ok(secret) => {
            hands.secret = Some(secret);
            match secret_facts(ctx, hands) {
                key::Secret::Ours(held) => Outcome::Done(Done::Amended(held)),
                key::Secret::Absent | key::Secret::Offered | key::Secret::Foreign(_) => {
                    Outcome::Stale
                }
            }
        }
        Err(lapse) => Outcome::of_lapse(lapse, |why| Done::Failed(secret_refused(hands, why))),
    }
}

/// Compares the Secret's values with what we wrote, by the digest that was written with them.
pub(super) async fn compare(ctx: &Ctx, hands: &mut Hands) -> Outcome<Done> {
    let Some(held) = &hands.secret else {
        return Outcome::Stale;
    };
    let meta = &held.metadata;
    let namespace = hands.object.namespace().unwrap_or_default();
    let name = hands.object.secret_name();
    let read = match ctx.cluster.values(&namespace, name).await {
        Ok(Some(read)) if read.metadata.resource_version == meta.resource_version => read,
        Ok(_) => return Outcome::Stale,
        Err(lapse) => return Outcome::Unanswered(lapse.to_string()),
    };
    let data = read.data.unwrap_or_default();
    let gone = secret::previous_entries(meta);
    let names = secret::entries(meta);
    let mut lasting: Vec<&String> = names.iter().filter(|name| !gone.contains(name)).collect();
    lasting.sort();
    let found = lasting
        .into_iter()
        .filter_map(|name| Some((name.as_str(), data.get(name)?.0.as_slice())));
    let written = facts::annotated(meta, annotation::DIGEST);
    let values = if Some(digest(found).as_str()) == written {
        Values::Ours
    } else {
        Values::Spoilt
    };
    hands.compared = Some(Compared {
        version: meta.resource_version.clone().unwrap_or_default(),
        values,
    });
    Outcome::Done(Done::Compared(values))
}
