//! The JSON of Octopus Deploy, as its REST API reference shows it (2020.6 to 2026.3). Only the
//! fields that we need are named; others are ignored. Every id is checked on the way in, because it
//! will stand in a path. Nothing is kept that is longer than people or servers need: a server that
//! means harm must not fill our memory.

mod logins;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use self::logins::{LOGINS, ShownLogin};
pub(super) use self::logins::{Provider, Providers, Trusted, Trusts};
use super::super::bounded::{few, id, name, some_name, tail, up_to};
use super::super::plain::visible;
use crate::api::FreeForm;
use crate::plan::port::{
    AccountId, Activity, KeyId, Nature, NewKey, Origin, Own, RemoteAccount, RemoteKey, RemoteTeam,
    TeamId,
};
use crate::secret::KeyMaterial;

/// What the text of a key begins with.
const KEY_PREFIX: &str = "API-";

/// How long the rest of it may be. Its true length differs between versions.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=250;

/// The greatest number of entries of one page, whatever was asked for.
const ENTRIES: usize = 1_000;

/// The greatest number of members of a team.
const MEMBERS: usize = 10_000;

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
    #[serde(
        deserialize_with = "up_to::<ENTRIES, _, _>",
        bound(deserialize = "T: Deserialize<'de>")
    )]
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
    #[serde(deserialize_with = "name")]
    pub(super) username: String,
    #[serde(default, deserialize_with = "some_name")]
    display_name: Option<String>,
    #[serde(default, deserialize_with = "some_name")]
    email_address: Option<String>,
    is_active: bool,
    is_service: bool,
    /// Servers of today tell it.
    #[serde(default)]
    created: Option<Timestamp>,
    #[serde(default, deserialize_with = "few::<LOGINS, _, _>")]
    identities: Vec<ShownLogin>,
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
            username: visible(&self.username),
            display_name: self.display_name.unwrap_or_default(),
            email: self.email_address.filter(|address| !address.is_empty()),
            origin: self.created.map_or(Origin::Untold, Origin::MadeAt),
            roles: BTreeSet::new(),
            metadata: FreeForm::default(),
            logins: self
                .identities
                .into_iter()
                .filter_map(ShownLogin::login)
                .collect(),
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
    #[serde(deserialize_with = "name")]
    username: String,
}

impl Me {
    pub(super) fn own(self) -> Own {
        Own {
            id: AccountId::new(self.id),
            username: visible(&self.username),
        }
    }
}

/// A space.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Space {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
}

/// A team; one without a space belongs to the system.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Team {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(deserialize_with = "name")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "some_name")]
    pub(super) space_id: Option<String>,
    #[serde(deserialize_with = "up_to::<MEMBERS, _, _>")]
    member_user_ids: Vec<Member>,
}

impl Team {
    pub(super) fn team(self) -> RemoteTeam {
        RemoteTeam {
            id: TeamId::new(self.id),
            name: visible(&self.name),
            members: self
                .member_user_ids
                .into_iter()
                .map(|Member(id)| AccountId::new(id))
                .collect(),
        }
    }
}

/// A member of a team.
#[derive(Deserialize)]
struct Member(#[serde(deserialize_with = "id")] String);

/// A key in a list, its value gone for ever.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedKey {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(default, deserialize_with = "tail")]
    purpose: String,
    created: Timestamp,
    pub(super) expires: Option<Timestamp>,
    #[serde(default)]
    api_key: Shown,
}

impl ListedKey {
    /// What the server shows of the key's text.
    pub(super) fn hint(&self) -> Option<&str> {
        self.api_key.hint.as_deref()
    }

    pub(super) fn key(self, account: &AccountId) -> RemoteKey {
        RemoteKey {
            id: KeyId::new(self.id),
            account: account.clone(),
            activity: Activity::Enabled,
            extras: None,
            text: visible(&self.purpose),
            created_at: self.created,
            expires_at: self.expires,
        }
    }
}

/// What is shown of a key's text: `{HasValue, Hint}` since 2020.6, a string or null before, which
/// says nothing.
#[derive(Default)]
struct Shown {
    hint: Option<String>,
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Hinted {
            #[serde(default, deserialize_with = "some_name")]
            hint: Option<String>,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Shown;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a hint, a text or null")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shown, A::Error> {
                let Hinted { hint } = Hinted::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Shown { hint })
            }

            fn visit_str<E>(self, _: &str) -> Result<Shown, E> {
                Ok(Shown::default())
            }

            fn visit_unit<E>(self) -> Result<Shown, E> {
                Ok(Shown::default())
            }
        }

        from.deserialize_any(Either)
    }
}

/// A key that has just been made, with its value. Not to be printed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MadeKey {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(default, deserialize_with = "tail")]
    purpose: String,
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
            text: self.purpose,
            created_at: self.created,
            expires_at: self.expires,
        };
        (key, self.api_key)
    }
}

/// What an error of Octopus says; `None` when it is not one of Octopus.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Complaint {
        error_message: String,
        #[serde(default)]
        errors: Errors,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Errors {
        Texts(Vec<String>),
        Other(IgnoredAny),
    }

    impl Default for Errors {
        fn default() -> Self {
            Self::Other(IgnoredAny)
        }
    }

    let Complaint {
        mut error_message,
        errors,
    } = serde_json::from_slice(body).ok()?;
    if let Errors::Texts(texts) = errors {
        for text in texts {
            error_message.extend([" ", &text]);
        }
    }
    Some(error_message)
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
