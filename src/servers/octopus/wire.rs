//! The JSON of Octopus Deploy, as its REST API reference shows it (2020.6 to 2026.3). Only the
//! fields that we need are named; others are ignored. Every id is checked on the way in, because it
//! will stand in a path.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::http::is_id;
use crate::plan::port::{
    AccountId, Activity, KeyId, Nature, NewKey, Own, RemoteAccount, RemoteKey, RemoteTeam, TeamId,
};
use crate::secret::KeyMaterial;

/// What the text of a key begins with.
const KEY_PREFIX: &str = "API-";

/// How long the rest of it may be. Its true length differs between versions.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=250;

/// The server itself: `GET /api`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Root {
    pub(super) version: String,
    #[serde(deserialize_with = "id")]
    pub(super) installation_id: String,
}

/// Its rules for signing in: `GET /api/authentication`. Both fields since 2025.4.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Authentication {
    pub(super) api_key_default_expiry_days: Option<i64>,
    pub(super) api_key_max_expiry_days: Option<i64>,
}

/// A part of a list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// How many there are on all pages.
    pub(super) total_results: u64,
}

/// Something that has an id.
pub(super) trait Identified {
    /// The id.
    fn id(&self) -> &str;
}

/// Makes the resources [`Identified`].
macro_rules! identified {
    ($($resource:ident),*) => {
        $(impl Identified for $resource {
            fn id(&self) -> &str {
                &self.id
            }
        })*
    };
}
identified!(User, Space, Team, ListedKey);

/// A person or a service account.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct User {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) username: String,
    display_name: Option<String>,
    email_address: Option<String>,
    is_active: bool,
    is_service: bool,
}

impl User {
    pub(super) fn nature(&self) -> Nature {
        if self.is_service {
            Nature::Service
        } else {
            Nature::Human
        }
    }

    pub(super) fn account(self) -> RemoteAccount {
        RemoteAccount {
            nature: self.nature(),
            id: AccountId::new(self.id),
            username: self.username,
            display_name: self.display_name.unwrap_or_default(),
            email: self.email_address.filter(|address| !address.is_empty()),
            activity: if self.is_active {
                Activity::Enabled
            } else {
                Activity::Disabled
            },
        }
    }
}

/// Whoever asks: `GET /api/users/me`. The built-in users lack much of a [`User`].
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Me {
    #[serde(deserialize_with = "id")]
    id: String,
    username: String,
}

impl Me {
    pub(super) fn own(self) -> Own {
        Own {
            id: AccountId::new(self.id),
            username: self.username,
        }
    }
}

/// A space.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Space {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) name: String,
}

/// A team; one without a space belongs to the system.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Team {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) name: String,
    pub(super) space_id: Option<String>,
    #[serde(deserialize_with = "ids")]
    member_user_ids: Vec<String>,
}

impl Team {
    pub(super) fn team(self) -> RemoteTeam {
        RemoteTeam {
            id: TeamId::new(self.id),
            name: self.name,
            members: self
                .member_user_ids
                .into_iter()
                .map(AccountId::new)
                .collect(),
        }
    }
}

/// A key in a list, its value gone for ever.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedKey {
    #[serde(deserialize_with = "id")]
    id: String,
    purpose: Option<String>,
    created: Timestamp,
    pub(super) expires: Option<Timestamp>,
    /// `{HasValue, Hint}` since 2020.6, a string or null before.
    #[serde(default)]
    api_key: Value,
}

impl ListedKey {
    /// What the server shows of the key's text.
    pub(super) fn hint(&self) -> Option<&str> {
        self.api_key.get("Hint")?.as_str()
    }

    pub(super) fn key(self) -> RemoteKey {
        RemoteKey {
            id: KeyId::new(self.id),
            text: self.purpose.unwrap_or_default(),
            created_at: self.created,
            expires_at: self.expires,
        }
    }
}

/// A key that has just been made, with its value. Not to be printed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MadeKey {
    #[serde(deserialize_with = "id")]
    id: String,
    purpose: Option<String>,
    pub(super) user_id: Option<String>,
    created: Timestamp,
    expires: Option<Timestamp>,
    #[serde(deserialize_with = "value")]
    api_key: KeyMaterial,
}

impl MadeKey {
    pub(super) fn split(self) -> (NewKey, KeyMaterial) {
        let key = NewKey {
            id: KeyId::new(self.id),
            text: self.purpose.unwrap_or_default(),
            created_at: self.created,
            expires_at: self.expires,
        };
        (key, self.api_key)
    }
}

/// What an error of Octopus says; `None` when it is not one of Octopus.
pub(super) fn complaint(body: &Value) -> Option<String> {
    let message = body.get("ErrorMessage")?.as_str()?;
    let errors = body
        .get("Errors")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let texts = std::iter::once(message).chain(errors.filter_map(Value::as_str));
    Some(texts.collect::<Vec<_>>().join(" "))
}

fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if is_id(&text) {
        Ok(text)
    } else {
        Err(D::Error::custom("not an id"))
    }
}

fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    if texts.iter().all(|text| is_id(text)) {
        Ok(texts)
    } else {
        Err(D::Error::custom("no id"))
    }
}

fn value<'de, D: Deserializer<'de>>(from: D) -> Result<KeyMaterial, D::Error> {
    let value = KeyMaterial::new(String::deserialize(from)?);
    let rest = value.expose().strip_prefix(KEY_PREFIX).unwrap_or_default();
    let sane = KEY_LENGTH.contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric());
    if sane {
        Ok(value)
    } else {
        Err(D::Error::custom("not an API key"))
    }
}
