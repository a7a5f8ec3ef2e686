//! From Kubernetes objects to the planners' facts, and back: how intent, pins and the published
//! key are written in annotations. What does not parse is absent, as `plan::record` says.

pub(crate) mod secret;

use std::str::FromStr;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use crate::api::{ApiKey, ServiceAccount, annotation, finalizer};
use crate::plan::account::{self, Maker, Pins};
use crate::plan::key::{self, Finalizer, IntentSeen};
use crate::plan::marker::Installation;
use crate::plan::port::{AccountId, KeyId, ServerIdentity};
use crate::plan::record::{Intent, Uid, format_foreign, parse_foreign};
use crate::plan::window::Windows;

/// Whether the stamp of admission (`apikeys.dev/requested-by`) may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The admission policy that sets it, and keeps people from setting it, is installed.
    Believed,
    /// Anybody may have written it.
    Ignored,
}

/// What the templates and windows of an ApiKey are worth.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rendering {
    /// Whether they render, and why not.
    pub templates: Result<(), String>,
    /// A digest of them.
    pub shape: String,
    /// The windows, read.
    pub windows: Result<Windows, String>,
}

/// The facts of an ApiKey.
pub(crate) fn api_key(
    object: &ApiKey,
    stamp: Stamp,
    rendering: Rendering,
    kin: Vec<Timestamp>,
) -> key::Object {
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
        windows: rendering.windows,
        kin,
    }
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
        added: words(annotation::ADDED)
            .filter_map(|word| word.parse().ok())
            .collect(),
        retained: words(annotation::RETAINED).map(KeyId::new).collect(),
        foreign: text(annotation::FOREIGN)
            .map(parse_foreign)
            .unwrap_or_default(),
        shared: text(annotation::IDENTITY_SHARED).and_then(Installation::parse),
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
        (
            annotation::FOREIGN,
            (!pins.foreign.is_empty()).then(|| format_foreign(&pins.foreign)),
        ),
        (
            annotation::IDENTITY_SHARED,
            pins.shared.as_ref().map(ToString::to_string),
        ),
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
