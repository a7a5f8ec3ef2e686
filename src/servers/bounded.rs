//! What is read of what a server says: ids that are ids, names and texts of a bounded length, lists of a
//! bounded number of entries. A server that means harm must not fill our memory, nor lead a request
//! elsewhere.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::http::is_id;

/// The greatest number of characters of a name or an address that are kept. Declared ones are no
/// longer.
const NAME: usize = 256;

/// The greatest length of a digest, in bytes.
const DIGEST: usize = 64;

/// The greatest number of characters of any other text of an account that are kept. Declared ones are no
/// longer.
const TEXT: usize = 512;

/// The greatest number of characters of a key's text that are kept: the last, where a marker is.
const TAIL: usize = 512;

/// An id, which may stand in a path.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if is_id(&text) {
        Ok(text)
    } else {
        Err(D::Error::custom("not an id"))
    }
}

/// A name or an address, cut where it is too long for one.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let mut text = String::deserialize(from)?;
    if let Some((end, _)) = text.char_indices().nth(NAME) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    Ok(text)
}

/// A name or an address, where there is one.
pub(super) fn some_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Name(#[serde(deserialize_with = "name")] String);

    Ok(Option::deserialize(from)?.map(|Name(name)| name))
}

/// A text that is longer than a name, where there is one.
pub(super) fn some_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.map(|text| match text.char_indices().nth(TEXT) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }))
}

/// A list, or null for an empty one, that is refused as soon as it has more than `MAX` entries.
pub(super) fn few<'de, const MAX: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(bound(deserialize = "T: Deserialize<'de>"))]
    struct List<const MAX: usize, T>(#[serde(deserialize_with = "up_to::<MAX, _, _>")] Vec<T>);

    let list = Option::<List<MAX, T>>::deserialize(from)?;
    Ok(list.map(|List(list)| list).unwrap_or_default())
}

/// The end of a text, where a marker is; none is an empty one.
pub(super) fn tail<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    Ok(match text.char_indices().nth_back(TAIL - 1) {
        Some((start, _)) => text[start..].to_owned(),
        None => text,
    })
}

/// A list that is refused as soon as it has more than `MAX` entries.
pub(super) fn up_to<'de, const MAX: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
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

/// A digest of ours that a server gives back; what is longer is none.
pub(super) fn short(digest: &str) -> Option<String> {
    (digest.len() <= DIGEST).then(|| digest.to_owned())
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
