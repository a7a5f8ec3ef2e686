//! API keys: made with a hash of our own value, listed for the whole server, replaced as a whole by
//! whoever changes one.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use super::wire::{self, Key, MadeKey};
use super::{Asking, StackStorm};
use crate::plan::port::{Activity, Change, Extras, Fault, KeyId, List, NewKey, Order};
use crate::secret::KeyMaterial;
use crate::servers::Minted;
use crate::servers::http::Route;
use crate::servers::plain::visible;

/// What StackStorm puts before a key when it hashes it, the same everywhere.
const SALT: &str = "saltnpepper";

/// How many entries a page is asked to have: what everybody may ask for.
const PAGE: usize = 100;

/// How many pages a list may have.
const PAGES: usize = 200;

/// How much of a list is read, in bytes over all its pages.
const ROOM: usize = 16 * 1024 * 1024;

/// How often a list is begun anew because it changed while it was read.
const READINGS: usize = 3;

impl StackStorm {
    /// All keys of the server, the newest first.
    pub(super) async fn listed(&self) -> Result<List, Fault> {
        for _ in 0..READINGS {
            if let Some(list) = self.reading().await? {
                return Ok(list);
            }
        }
        Err(Fault::Unreachable(
            "a list kept changing while it was read".to_owned(),
        ))
    }

    /// Reads the list once; `None` when it changed meanwhile.
    async fn reading(&self) -> Result<Option<List>, Fault> {
        let mut began = None;
        let mut total = None;
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        let mut room = ROOM;
        for page in 0..PAGES {
            let query = [("limit", PAGE), ("offset", page * PAGE)];
            let answer = self
                .ask(Asking {
                    query: query
                        .map(|(name, number)| (name, number.to_string()))
                        .to_vec(),
                    ..Asking::new(Method::GET, Route::fixed("/v1/apikeys"))
                })
                .await?;
            room = room
                .checked_sub(answer.len())
                .ok_or_else(|| Fault::Protocol(format!("a list of more than {ROOM} bytes")))?;
            let now: usize = answer
                .header("x-total-count")
                .and_then(|count| count.parse().ok())
                .ok_or_else(|| {
                    Fault::Protocol("a list that does not tell its length".to_owned())
                })?;
            // New keys come last: whatever moves one to a page that was read already lessens the total.
            if *total.get_or_insert(now) != now {
                return Ok(None);
            }
            began.get_or_insert(answer.sent_at);
            let wire::Keys(page) = answer.read()?;
            let end = page.is_empty();
            let new = page
                .into_iter()
                .filter(|key: &Key| seen.insert(key.id.clone()));
            keys.extend(new.map(Key::key));
            if keys.len() >= now || end {
                let whole = keys.len() == now;
                keys.sort_by(|a, b| {
                    let by_age = b.created_at.cmp(&a.created_at);
                    by_age.then_with(|| a.id.cmp(&b.id))
                });
                let keys = Arc::new(keys);
                return Ok(began.filter(|_| whole).map(|began| List { began, keys }));
            }
        }
        Err(Fault::Protocol(format!(
            "a list of more than {PAGES} pages"
        )))
    }

    /// Makes a key whose value we have made up. Without an answer it is asked for once more: the same
    /// hash makes no second key.
    pub(super) async fn make(&self, order: &Order) -> Result<Minted, Fault> {
        let value = self.invent();
        let times = [
            (wire::CREATED_AT, Some(self.http.now())),
            (wire::EXPIRES_AT, Some(order.expires_at)),
        ];
        let body = json!({
            "user": order.account.as_str(),
            "enabled": true,
            "key_hash": hash(&value),
            "metadata": kept(&order.text, &order.notes, &order.extras, times),
        });
        let asking = || Asking {
            body: Some(body.clone()),
            by: Some(order.send_by),
            ..Asking::new(Method::POST, Route::fixed("/v1/apikeys"))
        };
        let key = match self.ask(asking()).await {
            Err(Fault::Uncertain(why)) => match self.ask(asking()).await {
                Ok(answer) => answer.read::<MadeKey>()?.key(order)?,
                // The first one arrived: it carries a nonce that no other has.
                Err(Fault::Conflict(_)) => self.arrived(order).await?,
                Err(_) => return Err(Fault::Uncertain(why)),
            },
            answer => answer?.read::<MadeKey>()?.key(order)?,
        };
        Ok(Minted { key, value })
    }

    /// The key of a request that got no answer.
    async fn arrived(&self, order: &Order) -> Result<NewKey, Fault> {
        let list = self.listed().await?;
        let wanted = visible(&order.text);
        let mut keys = list.keys.iter();
        let key = keys.find(|key| key.account == order.account && key.text == wanted);
        let key = key.ok_or_else(|| Fault::Uncertain("the key is not to be found".to_owned()))?;
        Ok(NewKey {
            id: key.id.clone(),
            text: key.text.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
        })
    }

    /// A new value: as many characters as StackStorm's own keys have.
    fn invent(&self) -> KeyMaterial {
        let drawn: Vec<u8> = (0..4).flat_map(|_| self.entropy.draw()).collect();
        KeyMaterial::new(BASE64.encode(drawn))
    }

    /// Changes a key. StackStorm replaces it as a whole: what is there is read first, and kept. It also
    /// takes the present for the key's creation, which is why that stands in the metadata.
    pub(super) async fn change(&self, key: &KeyId, change: &Change) -> Result<(), Fault> {
        let there: Key = self
            .ask(Asking::new(Method::GET, one(key)?))
            .await?
            .read()?;
        let times = [
            (wire::CREATED_AT, Some(there.made_at())),
            (wire::EXPIRES_AT, there.ends_at()),
        ];
        let body = json!({
            "user": there.user,
            "enabled": change.activity == Activity::Enabled,
            "metadata": kept(&change.text, &change.notes, &change.extras, times),
        });
        let asking = Asking {
            body: Some(body),
            ..Asking::new(Method::PUT, one(key)?)
        };
        self.ask(asking).await?.read::<Key>().map(drop)
    }

    pub(super) async fn unmake(&self, key: &KeyId) -> Result<(), Fault> {
        let answer = self.ask(Asking::new(Method::DELETE, one(key)?)).await?;
        // StackStorm says nothing. Whatever else comes is no word that the key is gone.
        if answer.is_empty() {
            Ok(())
        } else {
            Err(Fault::Protocol(
                "an answer to a deletion that is not empty".to_owned(),
            ))
        }
    }
}

fn one(key: &KeyId) -> Result<Route, Fault> {
    Route::new("/v1/apikeys/{}", &[key.as_str()])
}

/// What StackStorm keeps of a key instead of its value.
fn hash(value: &KeyMaterial) -> String {
    let digest = Sha512::new()
        .chain_update(SALT)
        .chain_update(value.expose())
        .finalize();
    let bytes = digest.iter();
    bytes.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// A key's metadata: what was asked for, and what is ours.
fn kept(
    text: &str,
    notes: &[(&'static str, String)],
    extras: &Extras,
    times: [(&str, Option<Timestamp>); 2],
) -> Value {
    let mut ours = Map::from_iter([(wire::TEXT.to_owned(), json!(text))]);
    ours.extend(
        notes
            .iter()
            .map(|(name, text)| ((*name).to_owned(), json!(text))),
    );
    ours.extend(
        extras
            .digest()
            .map(|digest| (wire::DIGEST.to_owned(), json!(digest))),
    );
    let times = times
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?.to_string())));
    ours.extend(times.map(|(name, at)| (name.to_owned(), json!(at))));
    let mut metadata = extras.metadata.0.clone();
    metadata.insert(wire::OURS.to_owned(), Value::Object(ours));
    Value::Object(metadata)
}
