//! From Kubernetes objects to the planners' facts, and back: how intent, pins and the published
//! key are written in annotations. What does not parse is absent, as `plan::record` says.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::{Resource, ResourceExt};

use crate::api::{ApiKey, ServiceAccount, annotation, finalizer, label};
use crate::plan::account::{self, Maker, Pins};
use crate::plan::key::{self, Dress, Finalizer, Held, IntentSeen, Owner, Publication, Published};
use crate::plan::marker::Installation;
use crate::plan::port::{AccountId, KeyId, ServerIdentity, TeamId};
use crate::plan::record::{Intent, Nonce, Serial, Uid, format_retiring, parse_retiring};

/// Whether the stamp of admission (`apikeys.dev/requested-by`) may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The admission policy that sets it, and keeps people from setting it, is installed.
    Believed,
    /// Anybody may have written it.
    Ignored,
}

/// What the templates of an ApiKey's Secret are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendering {
    /// Whether they render, and why not.
    pub templates: Result<(), String>,
    /// A digest of them.
    pub shape: String,
}

/// The facts of an ApiKey.
pub(crate) fn api_key(object: &ApiKey, stamp: Stamp, rendering: Rendering) -> key::Object {
    let meta = &object.metadata;
    let uid = uid(meta);
    let intent = match annotated(meta, annotation::INTENT) {
        None => IntentSeen::Missing,
        Some(text) => match Intent::parse(text) {
            Some(intent) if intent.uid == uid => IntentSeen::Ours(intent),
            Some(_) | None => IntentSeen::Void,
        },
    };
    key::Object {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid,
        generation: meta.generation.unwrap_or_default(),
        deleting: deleting(meta),
        finalizer: carries(meta, finalizer::REVOKE),
        intent,
        rotate: annotated(meta, annotation::ROTATE).map(ToOwned::to_owned),
        requested_by: match stamp {
            Stamp::Believed => annotated(meta, annotation::REQUESTED_BY).map(ToOwned::to_owned),
            Stamp::Ignored => None,
        },
        spec: object.spec.clone(),
        status: object.status.clone().unwrap_or_default(),
        templates: rendering.templates,
        shape: rendering.shape,
    }
}

/// The facts of the Secret of an ApiKey's choice.
pub(crate) fn secret(
    secret: Option<&PartialObjectMeta<Secret>>,
    object: &ApiKey,
    installation: &Installation,
) -> key::Secret {
    let Some(PartialObjectMeta { metadata: meta, .. }) = secret else {
        return key::Secret::Absent;
    };
    let uid = uid(&object.metadata);
    let owned = meta
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.uid == uid.as_str());
    // A restored backup: the annotations name this ApiKey and this installation, and nobody owns it
    // but a former ApiKey of the same name, which cannot still be there.
    let home = format!(
        "{}/{}/",
        object.namespace().unwrap_or_default(),
        object.name_any()
    );
    let named = annotated(meta, annotation::API_KEY).is_some_and(|text| text.starts_with(&home))
        && annotated(meta, annotation::INSTALLATION) == Some(installation.as_str())
        && meta.owner_references.iter().flatten().all(|owner| {
            owner.kind == ApiKey::kind(&())
                && owner.name == object.name_any()
                && owner.api_version.starts_with(&*ApiKey::group(&()))
        });
    if !owned && !named {
        let first = meta.owner_references.iter().flatten().next();
        let whose = first.map_or_else(
            || "nobody who is known here made it".to_owned(),
            |owner| format!("it belongs to {} {}", owner.kind, owner.name),
        );
        return key::Secret::Foreign(whose);
    }
    let keeper = if owned { Owner::ApiKey } else { Owner::Nobody };
    key::Secret::Ours(Held {
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        published: published(meta),
        retiring: annotated(meta, annotation::RETIRING)
            .map(parse_retiring)
            .unwrap_or_default(),
        rotate_handled: annotated(meta, annotation::ROTATE_HANDLED).map(ToOwned::to_owned),
        dress: dress(meta, object, keeper),
        owner: keeper,
    })
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
    let tidy = has(&meta.labels, &labels(object))
        && has(&meta.annotations, &object.spec.secret.annotations)
        && owner == Owner::ApiKey;
    if tidy { Dress::Tidy } else { Dress::Untidy }
}

/// The labels of an ApiKey's Secret.
pub(crate) fn labels(object: &ApiKey) -> BTreeMap<String, String> {
    let mut labels = object.spec.secret.labels.clone();
    labels.insert(label::MANAGED_BY.to_owned(), label::OPERATOR.to_owned());
    labels
}

/// The annotations that go with a key's value, in the same write.
pub(crate) fn publication(
    object: &ApiKey,
    what: &Publication,
    fingerprint: &str,
    entries: &[&str],
) -> BTreeMap<String, Option<String>> {
    let Publication {
        published: key,
        retiring,
        rotate_handled,
    } = what;
    let home = format!(
        "{}/{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any(),
        uid(&object.metadata)
    );
    let retiring = (!retiring.is_empty()).then(|| format_retiring(retiring));
    let ours = [
        (annotation::API_KEY, Some(home)),
        (annotation::KEY_ID, Some(key.id.to_string())),
        (annotation::SERIAL, Some(key.serial.to_string())),
        (annotation::NONCE, Some(key.nonce.to_string())),
        (annotation::FINGERPRINT, Some(fingerprint.to_owned())),
        (annotation::CREATED_AT, Some(key.created_at.to_string())),
        (annotation::EXPIRES_AT, Some(key.expires_at.to_string())),
        (annotation::ACCOUNT_ID, Some(key.account.to_string())),
        (annotation::SERVER_IDENTITY, Some(key.server.to_string())),
        (annotation::INSTALLATION, Some(key.installation.to_string())),
        (annotation::SHAPE, Some(key.shape.clone())),
        (annotation::ENTRIES, Some(entries.join(" "))),
        (annotation::RETIRING, retiring),
        (annotation::ROTATE_HANDLED, rotate_handled.clone()),
    ];
    let theirs = object
        .spec
        .secret
        .annotations
        .iter()
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    theirs
        .chain(
            ours.into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        )
        .collect()
}

/// The names of the entries that we wrote into a Secret.
pub(crate) fn entries(meta: &ObjectMeta) -> Vec<String> {
    let text = annotated(meta, annotation::ENTRIES).unwrap_or_default();
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// The facts of a ServiceAccount.
pub(crate) fn service_account(object: &ServiceAccount) -> account::Object {
    let meta = &object.metadata;
    account::Object {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: uid(meta),
        generation: meta.generation.unwrap_or_default(),
        created_at: meta
            .creation_timestamp
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        deleting: deleting(meta),
        finalizer: carries(meta, finalizer::ACCOUNT),
        spec: object.spec.clone(),
        status: object.status.clone().unwrap_or_default(),
        pins: pins(meta),
    }
}

/// What is durable about a ServiceAccount's account.
fn pins(meta: &ObjectMeta) -> Pins {
    let text = |name| annotated(meta, name);
    let words = |name| text(name).unwrap_or_default().split_whitespace();
    Pins {
        account: text(annotation::ACCOUNT_ID).map(AccountId::new),
        server: text(annotation::SERVER_IDENTITY).map(ServerIdentity::new),
        installation: text(annotation::INSTALLATION).and_then(Installation::parse),
        free_at: text(annotation::ACCOUNT_INTENT).and_then(|at| Timestamp::from_str(at).ok()),
        maker: if text(annotation::CREATED).is_some() {
            Maker::Us
        } else {
            Maker::Somebody
        },
        added: words(annotation::ADDED).map(TeamId::new).collect(),
        retained: words(annotation::RETAINED).map(KeyId::new).collect(),
    }
}

/// The annotations that pins are written in.
pub(crate) fn pinned(pins: &Pins) -> Vec<(&'static str, Option<String>)> {
    fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> Option<String> {
        let words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }
    vec![
        (
            annotation::ACCOUNT_ID,
            pins.account.as_ref().map(ToString::to_string),
        ),
        (
            annotation::SERVER_IDENTITY,
            pins.server.as_ref().map(ToString::to_string),
        ),
        (
            annotation::INSTALLATION,
            pins.installation.as_ref().map(ToString::to_string),
        ),
        (
            annotation::ACCOUNT_INTENT,
            pins.free_at.map(|at| at.to_string()),
        ),
        (
            annotation::CREATED,
            (pins.maker == Maker::Us).then(|| "true".to_owned()),
        ),
        (annotation::ADDED, words(&pins.added)),
        (annotation::RETAINED, words(&pins.retained)),
    ]
}

/// The annotation that names retained keys.
pub(crate) fn retained(ids: &[KeyId]) -> (&'static str, Option<String>) {
    (
        annotation::RETAINED,
        Some(ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(" ")),
    )
}

/// The uid of an object.
pub(crate) fn uid(meta: &ObjectMeta) -> Uid {
    Uid::new(meta.uid.clone().unwrap_or_default())
}

/// An annotation of an object.
pub(crate) fn annotated<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// Since when an object is being deleted.
pub(crate) fn deleting(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.deletion_timestamp.as_ref().map(|time| time.0)
}

/// Whether an object carries a finalizer.
pub(crate) fn carries(meta: &ObjectMeta, finalizer: &str) -> Finalizer {
    let there = meta
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == finalizer);
    if there {
        Finalizer::Present
    } else {
        Finalizer::Missing
    }
}
