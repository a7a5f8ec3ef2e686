//! The JSON of Octopus Deploy, as its REST API reference shows it (2020.6 to 2026.3). Only the
//! fields that we need are named; others are ignored. Every id is checked on the way in, because it
//! will stand in a path. Nothing is kept that is longer than people or servers need: a server that
//! means harm must not fill our memory.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::http::is_id;
use super::super::plain::visible;
use crate::plan::port::{
    AccountId, Activity, KeyId, Nature, NewKey, Own, RemoteAccount, RemoteKey, RemoteTeam, TeamId,
};
use crate::secret::KeyMaterial;

/// What the text of a key begins with.
const KEY_PREFIX: &str = "API-";

/// How long the rest of it may be. Its true length differs between versions.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=250;

/// The greatest number of characters of a name or an address that are kept. Declared ones are no
/// longer.
const NAME: usize = 256;

/// The greatest number of characters of a purpose that are kept: the last, where a marker is.
const PURPOSE: usize = 512;

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
            made_at: self.created,
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
    #[serde(default, deserialize_with = "purpose")]
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

    pub(super) fn key(self) -> RemoteKey {
        RemoteKey {
            id: KeyId::new(self.id),
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
    #[serde(default, deserialize_with = "purpose")]
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

/// Any object, of which nothing is kept.
pub(super) struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }

        from.deserialize_map(Any)
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

fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if is_id(&text) {
        Ok(text)
    } else {
        Err(D::Error::custom("not an id"))
    }
}

/// A name or an address, cut where it is too long for one.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let mut text = String::deserialize(from)?;
    if let Some((end, _)) = text.char_indices().nth(NAME) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    Ok(text)
}

fn some_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Name(#[serde(deserialize_with = "name")] String);

    Ok(Option::deserialize(from)?.map(|Name(name)| name))
}

/// The end of a purpose; none is an empty one.
fn purpose<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    Ok(match text.char_indices().nth_back(PURPOSE - 1) {
        Some((start, _)) => text[start..].to_owned(),
        None => text,
    })
}

/// A list that is refused as soon as it has more than `MAX` entries.
fn up_to<'de, const MAX: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct UpTo<const MAX: usize, T>(PhantomData<T>);

    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for UpTo<MAX, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if all.len() == MAX {
                    return Err(A::Error::custom("too many entries"));
                }
                all.push(entry);
            }
            Ok(all)
        }
    }

    from.deserialize_seq(UpTo::<MAX, T>(PhantomData))
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
