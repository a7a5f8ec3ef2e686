//! The Secret of an ApiKey: what its metadata tells, and what goes into it beside the key's value.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::{Resource, ResourceExt};

use super::{annotated, uid};
use crate::api::{ApiKey, FIELD_MANAGER, annotation, label};
use crate::controllers::rendering::Entries;
use crate::plan::key::{self, Dress, Held, Owner, Publication, Published, Values};
use crate::plan::marker::Installation;
use crate::plan::port::{AccountId, KeyId, ServerIdentity};
use crate::plan::record::{Nonce, Serial, format_retiring, parse_retiring};

/// The facts of the Secret of an ApiKey's choice.
pub(crate) fn facts(
    secret: Option<&PartialObjectMeta<Secret>>,
    object: &ApiKey,
    installation: &Installation,
) -> key::Secret {
    let Some(PartialObjectMeta { metadata: meta, .. }) = secret else {
        return key::Secret::Absent;
    };
    let Some(owner) = owner(meta, object, installation) else {
        return stranger(meta, object);
    };
    key::Secret::Ours(Held {
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        published: published(meta),
        retiring: annotated(meta, annotation::RETIRING)
            .map(parse_retiring)
            .unwrap_or_default(),
        rotate_handled: annotated(meta, annotation::ROTATE_HANDLED).map(ToOwned::to_owned),
        dress: dress(meta, object, owner),
        owner,
        previous: annotated(meta, annotation::PREVIOUS)
            .and_then(|text| text.split_whitespace().next())
            .map(KeyId::new),
        values: values(meta),
    })
}

/// Whose a Secret is, when it is this ApiKey's.
fn owner(meta: &ObjectMeta, object: &ApiKey, installation: &Installation) -> Option<Owner> {
    let uid = uid(&object.metadata);
    let mut owners = meta.owner_references.iter().flatten();
    if owners.clone().any(|owner| owner.uid == uid.as_str()) {
        return Some(Owner::ApiKey);
    }
    let home = format!(
        "{}/{}/",
        object.namespace().unwrap_or_default(),
        object.name_any()
    );
    if annotated(meta, annotation::INSTALLATION) != Some(installation.as_str()) {
        return None;
    }
    let whose = annotated(meta, annotation::API_KEY)?.strip_prefix(&home)?;
    // One that was adopted never gets this label from us. So none is taken for ours, to be deleted
    // whole, because somebody took an annotation off.
    let label = meta
        .labels
        .as_ref()
        .and_then(|labels| labels.get(label::MANAGED_BY));
    let made = label.is_some_and(|label| label == label::OPERATOR);
    if annotated(meta, annotation::ADOPTED).is_some() || !made {
        return (whose == uid.as_str()).then_some(Owner::Adopted);
    }
    // A restored backup: nobody owns it but a former ApiKey of the same name, which cannot still be
    // there. To one that has vanished itself, it may be the next one's.
    object.meta().resource_version.as_ref()?;
    let former = owners.all(|owner| {
        owner.kind == ApiKey::kind(&())
            && owner.name == object.name_any()
            && owner.api_version.starts_with(&*ApiKey::group(&()))
    });
    former.then_some(Owner::Nobody)
}

/// A Secret that is not this ApiKey's.
fn stranger(meta: &ObjectMeta, object: &ApiKey) -> key::Secret {
    if let Some(owner) = meta.owner_references.iter().flatten().next() {
        return key::Secret::Foreign(format!("it belongs to {} {}", owner.kind, owner.name));
    }
    let offered = annotated(meta, annotation::ADOPT_BY) == Some(object.name_any().as_str());
    if offered && object.spec.secret.adopt {
        return key::Secret::Offered;
    }
    key::Secret::Foreign("nobody who is known here made it".to_owned())
}

/// Whether we alone have written the entries that we wrote.
fn values(meta: &ObjectMeta) -> Values {
    let Some(fields) = &meta.managed_fields else {
        return Values::Ours;
    };
    let wrote = |entry: &ManagedFieldsEntry, name: &str| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0["f:data"].get(format!("f:{name}")).is_some())
    };
    let ours = |name: &String| {
        let mut writers = fields.iter().filter(|entry| wrote(entry, name)).peekable();
        writers.peek().is_some()
            && writers.all(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
    };
    if entries(meta).iter().all(ours) {
        Values::Ours
    } else {
        Values::Touched
    }
}

/// The key that a Secret's annotations speak of; `None` when they are not whole.
fn published(meta: &ObjectMeta) -> Option<Published> {
    let text = |name| annotated(meta, name);
    Some(Published {
        id: KeyId::new(text(annotation::KEY_ID)?),
        serial: Serial::parse(text(annotation::SERIAL)?)?,
        nonce: Nonce::parse(text(annotation::NONCE)?)?,
        created_at: Timestamp::from_str(text(annotation::CREATED_AT)?).ok()?,
        expires_at: Timestamp::from_str(text(annotation::EXPIRES_AT)?).ok()?,
        account: AccountId::new(text(annotation::ACCOUNT_ID)?),
        server: ServerIdentity::new(text(annotation::SERVER_IDENTITY)?),
        installation: Installation::parse(text(annotation::INSTALLATION)?)?,
        shape: text(annotation::SHAPE)?.to_owned(),
    })
}

/// Whether labels, annotations and owner of a Secret are as its ApiKey has them.
fn dress(meta: &ObjectMeta, object: &ApiKey, owner: Owner) -> Dress {
    let has = |have: &Option<BTreeMap<String, String>>, want: &BTreeMap<String, String>| {
        want.iter()
            .all(|(name, value)| have.as_ref().and_then(|have| have.get(name)) == Some(value))
    };
    let tidy = has(&meta.labels, &labels(object, owner))
        && has(&meta.annotations, &object.spec.secret.annotations)
        && owner != Owner::Nobody;
    if tidy { Dress::Tidy } else { Dress::Untidy }
}

/// The labels of an ApiKey's Secret. One that was adopted keeps what others say of it.
pub(crate) fn labels(object: &ApiKey, owner: Owner) -> BTreeMap<String, String> {
    let mut labels = object.spec.secret.labels.clone();
    labels.insert(label::SECRET.to_owned(), label::KEPT.to_owned());
    if owner != Owner::Adopted {
        labels.insert(label::MANAGED_BY.to_owned(), label::OPERATOR.to_owned());
    }
    labels
}

/// The annotations that go with a key's value, in the same write.
pub(crate) fn publication(
    object: &ApiKey,
    what: &Publication,
    fingerprint: String,
    written: &Entries,
    owner: Owner,
) -> BTreeMap<String, Option<String>> {
    let Publication {
        published: key,
        retiring,
        rotate_handled,
        previous,
    } = what;
    let home = format!(
        "{}/{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any(),
        uid(&object.metadata)
    );
    let words = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(" ");
    let kept = written.previous.iter().map(String::as_str);
    let previous = previous
        .as_ref()
        .map(|id| words(&mut std::iter::once(id.as_str()).chain(kept)));
    let ours = [
        (annotation::API_KEY, Some(home)),
        (annotation::KEY_ID, Some(key.id.to_string())),
        (annotation::SERIAL, Some(key.serial.to_string())),
        (annotation::NONCE, Some(key.nonce.to_string())),
        (annotation::FINGERPRINT, Some(fingerprint)),
        (annotation::CREATED_AT, Some(key.created_at.to_string())),
        (annotation::EXPIRES_AT, Some(key.expires_at.to_string())),
        (annotation::ACCOUNT_ID, Some(key.account.to_string())),
        (annotation::SERVER_IDENTITY, Some(key.server.to_string())),
        (annotation::INSTALLATION, Some(key.installation.to_string())),
        (annotation::SHAPE, Some(key.shape.clone())),
        (
            annotation::ENTRIES,
            Some(words(&mut written.all.keys().map(String::as_str))),
        ),
        (annotation::DIGEST, Some(written.digest())),
        (annotation::PREVIOUS, previous),
        (
            annotation::RETIRING,
            (!retiring.is_empty()).then(|| format_retiring(retiring)),
        ),
        (annotation::ROTATE_HANDLED, rotate_handled.clone()),
        (
            annotation::ADOPTED,
            (owner == Owner::Adopted).then(|| "true".to_owned()),
        ),
    ];
    let theirs = &object.spec.secret.annotations;
    let theirs = theirs
        .iter()
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let ours = ours.map(|(name, value)| (name.to_owned(), value));
    theirs.chain(ours).collect()
}

/// The annotations of a Secret that was adopted, taken away.
pub(crate) fn nothing_of_ours() -> BTreeMap<&'static str, Option<String>> {
    [
        annotation::API_KEY,
        annotation::KEY_ID,
        annotation::SERIAL,
        annotation::NONCE,
        annotation::FINGERPRINT,
        annotation::CREATED_AT,
        annotation::EXPIRES_AT,
        annotation::ACCOUNT_ID,
        annotation::SERVER_IDENTITY,
        annotation::INSTALLATION,
        annotation::SHAPE,
        annotation::ENTRIES,
        annotation::DIGEST,
        annotation::PREVIOUS,
        annotation::RETIRING,
        annotation::ROTATE_HANDLED,
        annotation::ADOPTED,
    ]
    .map(|name| (name, None))
    .into()
}

/// The names of the entries that hold the previous key.
pub(crate) fn previous_entries(meta: &ObjectMeta) -> Vec<String> {
    let text = annotated(meta, annotation::PREVIOUS).unwrap_or_default();
    text.split_whitespace()
        .skip(1)
        .map(ToOwned::to_owned)
        .collect()
}

/// The names of the entries that we wrote into a Secret.
pub(crate) fn entries(meta: &ObjectMeta) -> Vec<String> {
    let text = annotated(meta, annotation::ENTRIES).unwrap_or_default();
    text.split_whitespace().map(ToOwned::to_owned).collect()
}
