//! API keys.
//!
//! A key has no end and no name. Of its text only a salted hash is kept, and the caller may bring
//! the hash of a key that it knows. The path takes the id, or the key itself, which is tried first.
//!
//! What the server gets wrong is kept: `POST` with an id overwrites that key; a user is registered
//! by the mere attempt; `PUT` takes what is left out for its default, makes the key young again,
//! and answers with a `uid` made from what the caller sent; the filter by user is not looked at.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Problem, Reply, date};
use super::call::Call;
use super::schema::{self, Kind};
use super::{Permission, StackStorm, chance};

/// A key.
#[derive(Debug, Clone)]
pub(super) struct ApiKey {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) hash: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) created: Timestamp,
    pub(super) enabled: bool,
}

impl ApiKey {
    /// What grants name it by.
    pub(super) fn uid(&self) -> String {
        format!("api_key:{}", self.hash)
    }

    /// What every answer shows of it.
    fn document(&self, uid: &str) -> Value {
        json!({
            "id": self.id,
            "uid": uid,
            "user": self.user,
            "metadata": self.metadata,
            "created_at": date(self.created),
            "enabled": self.enabled,
        })
    }

    fn shown(&self, sight: Sight) -> Value {
        let (uid, hash) = match sight {
            Sight::Masked => (MASK.to_owned(), MASK),
            Sight::Clear => (self.uid(), self.hash.as_str()),
        };
        let mut json = self.document(&uid);
        json["key_hash"] = json!(hash);
        json
    }
}

/// Whether hashes are shown (`api.mask_secrets`, and `show_secrets` of administrators).
#[derive(Debug, Clone, Copy)]
enum Sight {
    Masked,
    Clear,
}

/// What stands for a hash that is not shown.
const MASK: &str = "********";

/// Keys of a page that nobody asked for.
const LIMIT: i128 = 50;

/// What somebody wants a key to be.
struct Wish {
    id: Option<String>,
    user: Option<String>,
    hash: Option<String>,
    metadata: Map<String, Value>,
    enabled: bool,
}

impl Wish {
    fn read(call: &Call) -> Result<Self, Problem> {
        const KNOWN: [(&str, Kind); 7] = [
            ("id", Kind::Text),
            ("uid", Kind::Text),
            ("user", Kind::Text),
            ("key_hash", Kind::Text),
            ("metadata", Kind::Object),
            ("created_at", Kind::Date),
            ("enabled", Kind::Flag),
        ];
        let fields = schema::object(call.body()?)?;
        schema::check(&fields, &KNOWN)?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let metadata = fields.get("metadata").and_then(Value::as_object);
        Ok(Self {
            id: text("id"),
            user: text("user").filter(|user| !user.is_empty()),
            hash: text("key_hash"),
            metadata: metadata.cloned().unwrap_or_default(),
            enabled: fields
                .get("enabled")
                .is_none_or(|flag| *flag == json!(true)),
        })
    }
}

pub(super) fn list(st2: &mut StackStorm, call: &Call) -> Reply {
    st2.require(call, Permission::List)?;
    let sight = st2.sight(call)?;
    let limit = call.number("limit")?.unwrap_or(LIMIT);
    let offset = call.number("offset")?.unwrap_or(0);
    let page = st2.page(call, limit)?;
    if offset > i128::from(i32::MAX) {
        return Err(Problem::bad(format!(
            "Offset \"{offset}\" specified is more than 32 bit int"
        )));
    }
    // The database refuses it, and nobody catches that.
    let offset = usize::try_from(offset).map_err(|_| Problem::internal())?;
    let keys = st2
        .keys
        .iter()
        .skip(offset)
        .take(page.unwrap_or(usize::MAX));
    let keys: Vec<Value> = keys.map(|key| key.shown(sight)).collect();
    let answer = Answer::ok(Value::Array(keys));
    let answer = answer.with("x-total-count", st2.keys.len().to_string());
    Ok(match page {
        Some(limit) => answer.with("x-limit", limit.to_string()),
        None => answer,
    })
}

pub(super) fn get(st2: &mut StackStorm, call: &Call) -> Reply {
    // Query values are looked at before anything is looked for.
    let sight = st2.sight(call)?;
    let key = st2.find_key(&call.place).ok_or_else(|| {
        let place = &call.place;
        Problem::not_found(format!(
            "ApiKey matching {place} for reference and id not found."
        ))
    })?;
    st2.require_on(call, Permission::View, key)?;
    Ok(Answer::ok(key.shown(sight)))
}

pub(super) fn create(st2: &mut StackStorm, call: &Call) -> Reply {
    let wish = Wish::read(call)?;
    st2.require(call, Permission::Create)?;
    let caller = &call.caller()?.user;
    let user = wish.user.unwrap_or_else(|| caller.clone());
    st2.register(call.now, &user);
    let brought = wish.hash.filter(|hash| !hash.is_empty());
    let (text, hash) = if let Some(hash) = brought {
        (None, hash)
    } else {
        let text = st2.chance.key();
        let hash = chance::key_hash(&text);
        (Some(text), hash)
    };
    let id = match wish.id {
        Some(id) => object_id(&id)?,
        None => st2.chance.object_id(call.now),
    };
    let key = ApiKey {
        id,
        user,
        hash,
        metadata: wish.metadata,
        created: call.now,
        enabled: wish.enabled,
    };
    // The hash shows here even where it is masked elsewhere.
    let mut json = key.document(&key.uid());
    json["key"] = json!(text);
    st2.save(key)?;
    Ok(Answer::created(json))
}

pub(super) fn update(st2: &mut StackStorm, call: &Call) -> Reply {
    let wish = Wish::read(call)?;
    let old = st2.named(call)?.clone();
    st2.require_on(call, Permission::Modify, &old)?;
    if let Some(user) = &wish.user {
        st2.register(call.now, user);
    }
    let sent = wish.hash.unwrap_or_default();
    if ![old.hash.as_str(), MASK, ""].contains(&sent.as_str()) {
        return Err(Problem::bad("Update of key_hash is not allowed."));
    }
    let user = wish
        .user
        .ok_or_else(|| invalid(&old.id, "Field is required", "user"))?;
    let key = ApiKey {
        user,
        metadata: wish.metadata,
        enabled: wish.enabled,
        created: call.now,
        ..old
    };
    let mut json = key.document(&format!("api_key:{sent}"));
    json["key_hash"] = json!(key.hash);
    st2.save(key)?;
    Ok(Answer::ok(json))
}

pub(super) fn delete(st2: &mut StackStorm, call: &Call) -> Reply {
    let key = st2.named(call)?.clone();
    st2.require_on(call, Permission::Delete, &key)?;
    st2.keys.retain(|other| other.id != key.id);
    Ok(Answer::empty())
}

impl StackStorm {
    /// The key with this text or, failing that, this id.
    pub(super) fn find_key(&self, id_or_text: &str) -> Option<&ApiKey> {
        let hash = chance::key_hash(id_or_text);
        let id = id_or_text.to_lowercase();
        let by_text = self.keys.iter().find(|key| key.hash == hash);
        by_text.or_else(|| self.keys.iter().find(|key| key.id == id))
    }

    /// The key that the path names; 404 when there is none.
    fn named(&self, call: &Call) -> Result<&ApiKey, Problem> {
        let place = &call.place;
        self.find_key(place)
            .ok_or_else(|| Problem::not_found(format!("ApiKey with key or id={place} not found.")))
    }

    /// Puts a key in the place of the one with its id, or behind all others.
    fn save(&mut self, key: ApiKey) -> Result<(), Problem> {
        if schema::has_dollar_key(&key.metadata) {
            let text = "Invalid dictionary key name - keys may not startswith \"$\" characters";
            return Err(invalid(&key.id, text, "metadata"));
        }
        let mut others = self.keys.iter().filter(|other| other.id != key.id);
        if others.any(|other| other.hash == key.hash) {
            return Err(Problem::conflict(&format!(
                "Tried to save duplicate unique keys (E11000 duplicate key error collection: \
                 st2.api_key_d_b index: key_hash_1 dup key: {{ : \"{}\" }})",
                key.hash
            )));
        }
        match self.keys.iter_mut().find(|other| other.id == key.id) {
            Some(old) => *old = key,
            None => self.keys.push(key),
        }
        Ok(())
    }

    /// Only administrators see hashes, and are not told off for not being one.
    fn sight(&self, call: &Call) -> Result<Sight, Problem> {
        let wanted = call.flag("show_secrets")?.unwrap_or(false);
        if wanted && self.is_admin(&call.caller()?.user) {
            Ok(Sight::Clear)
        } else {
            Ok(Sight::Masked)
        }
    }

    /// How many keys a page may have; `None` for all of them.
    fn page(&self, call: &Call, limit: i128) -> Result<Option<usize>, Problem> {
        let admin = self.is_admin(&call.caller()?.user);
        match limit {
            -1 if admin => Ok(None),
            -1 => Err(Problem::forbidden(
                "Administrator access required to be able to specify limit=-1 and retrieve all \
                 the records",
            )),
            0 => Err(Problem::bad(
                "Limit, \"0\" specified, must be a positive number or -1 for full result set.",
            )),
            ..0 => Err(Problem::bad(format!(
                "Limit, \"{limit}\" specified, must be a positive number."
            ))),
            _ if limit > i128::from(self.max_page_size) && !admin => {
                let most = self.max_page_size;
                Err(Problem::forbidden(format!(
                    "Limit \"{limit}\" specified, maximum value is \"{most}\""
                )))
            }
            _ => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        }
    }
}

/// An id as the database takes it: 24 hexadecimal digits.
fn object_id(text: &str) -> Result<String, Problem> {
    if text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_lowercase())
    } else {
        Err(invalid(text, "Invalid ObjectID", "id"))
    }
}

/// 400 as the database's checks word it.
fn invalid(id: &str, text: &str, field: &str) -> Problem {
    Problem::bad(format!(
        "ValidationError (ApiKeyDB:{id}) ({text}: ['{field}'])"
    ))
}
