//! The JSON of StackStorm, as its API shows it (3.7 to 3.9). Only the fields that we need are named;
//! others are ignored. Nothing is kept that is longer than people or servers need.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::plan::port::{AccountId, Activity, Fault, KeyId, NewKey, Order, Own, RemoteKey};
use crate::secret::KeyMaterial;
use crate::servers::bounded::{id, name, short, up_to};
use crate::servers::plain::visible;

/// The name in a key's metadata under which we keep what is ours.
pub(super) const OURS: &str = "apikeys.dev";
/// Of it: the text with our marker.
pub(super) const TEXT: &str = "text";
/// Of it: the digest of what was asked for.
pub(super) const DIGEST: &str = "digest";
/// Of it: when the key was made, for StackStorm forgets it at every change.
pub(super) const CREATED_AT: &str = "createdAt";
/// Of it: when the key ends.
pub(super) const EXPIRES_AT: &str = "expiresAt";

/// The greatest number of entries of one page, whatever was asked for.
const ENTRIES: usize = 1_000;

/// The greatest number of characters of a version, and of a text.
const VERSION: usize = 40;
const LONGEST_TEXT: usize = 512;

/// The server itself: `GET /v1`.
#[derive(Deserialize)]
pub(super) struct Version {
    version: String,
}

impl Version {
    pub(super) fn shown(&self) -> String {
        visible(&self.version).chars().take(VERSION).collect()
    }
}

/// Whoever asks: `GET /v1/user`.
#[derive(Deserialize)]
pub(super) struct User {
    #[serde(deserialize_with = "name")]
    username: String,
    rbac: Rbac,
}

#[derive(Deserialize)]
struct Rbac {
    enabled: bool,
    #[serde(default)]
    is_admin: bool,
}

impl User {
    pub(super) fn own(&self) -> Own {
        Own {
            id: AccountId::new(&self.username),
            username: visible(&self.username),
        }
    }

    /// What people should know of our credential.
    pub(super) fn caution(&self) -> Option<String> {
        let powerless = self.rbac.enabled && !self.rbac.is_admin;
        powerless.then(|| {
            "Its user lacks the role admin, without which StackStorm lets nobody see or end keys: assign it in rbac/assignments on the server.".to_owned()
        })
    }
}

/// A token: `POST /v1/tokens`.
#[derive(Deserialize)]
pub(super) struct Token {
    #[serde(deserialize_with = "secret")]
    pub(super) token: KeyMaterial,
    pub(super) expiry: Timestamp,
}

/// A page of keys.
#[derive(Deserialize)]
pub(super) struct Keys(#[serde(deserialize_with = "up_to::<ENTRIES, _, _>")] pub(super) Vec<Key>);

/// A key, its value gone for ever.
#[derive(Deserialize)]
pub(super) struct Key {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(deserialize_with = "name")]
    pub(super) user: String,
    created_at: Timestamp,
    enabled: bool,
    #[serde(default)]
    metadata: Metadata,
}

/// Of a key's metadata what is ours.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(rename = "apikeys.dev")]
    ours: Option<Value>,
}

impl Metadata {
    fn text(&self, field: &str) -> Option<&str> {
        self.ours.as_ref()?.get(field)?.as_str()
    }

    fn moment(&self, field: &str) -> Option<Timestamp> {
        self.text(field)?.parse().ok()
    }

    /// The text with our marker, or nothing.
    fn shown(&self) -> String {
        let text = self.text(TEXT).unwrap_or_default();
        let skip = text.chars().count().saturating_sub(LONGEST_TEXT);
        visible(&text.chars().skip(skip).collect::<String>())
    }
}

impl Key {
    /// When it was made. What a key says of itself counts only if it makes it older: a change of it
    /// makes it look new.
    pub(super) fn made_at(&self) -> Timestamp {
        let told = self.metadata.moment(CREATED_AT);
        told.map_or(self.created_at, |told| told.min(self.created_at))
    }

    /// When it ends, if anybody sees to it.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.metadata.moment(EXPIRES_AT)
    }

    pub(super) fn key(self) -> RemoteKey {
        RemoteKey {
            account: AccountId::new(&self.user),
            activity: if self.enabled {
                Activity::Enabled
            } else {
                Activity::Disabled
            },
            extras: self.metadata.text(DIGEST).and_then(short),
            text: self.metadata.shown(),
            created_at: self.made_at(),
            expires_at: self.ends_at(),
            id: KeyId::new(self.id),
        }
    }
}

/// A key that has just been made. It shows no value: that was ours.
#[derive(Deserialize)]
pub(super) struct MadeKey {
    #[serde(flatten)]
    key: Key,
}

impl MadeKey {
    pub(super) fn key(self, order: &Order) -> Result<NewKey, Fault> {
        if self.key.user != order.account.as_str() {
            return Err(Fault::Protocol("a key of another account".to_owned()));
        }
        let RemoteKey {
            id,
            text,
            created_at,
            expires_at,
            ..
        } = self.key.key();
        Ok(NewKey {
            id,
            text,
            created_at,
            expires_at,
        })
    }
}

/// What an error of StackStorm says; `None` when it is not one of StackStorm. A way that it does not know
/// is no word about a key: it says the same where a proxy leads to another place of it.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Complaint {
        faultstring: String,
    }

    let Complaint { faultstring } = serde_json::from_slice(body).ok()?;
    (faultstring != "The resource could not be found.").then_some(faultstring)
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<KeyMaterial, D::Error> {
    id(from).map(KeyMaterial::new)
}
