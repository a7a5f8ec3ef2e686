//! The JSON of Elasticsearch, as its API specification and a real 8.19.21 show it. Only the fields that
//! we need are named; others are ignored. Nothing is kept that is longer than people or servers need.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::Named;
use super::keys::moment;
use super::users::OURS;
use crate::plan::port::{AccountId, Activity, Fault, KeyId, Own, RemoteKey, ServerIdentity};
use crate::secret::KeyMaterial;
use crate::servers::bounded::{id, name, short, some_name, tail, up_to};
use crate::servers::plain::visible;

/// The greatest number of keys of one list: Elasticsearch finds no more than this in one search.
const KEYS: usize = 10_000;

/// The greatest number of roles of a user.
const ROLES: usize = 1_000;

/// The greatest number of characters of a version.
const VERSION: usize = 40;

/// The cluster itself: `GET /`.
#[derive(Deserialize)]
pub(super) struct Root {
    #[serde(deserialize_with = "id")]
    cluster_uuid: String,
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
}

impl Root {
    pub(super) fn identity(&self) -> ServerIdentity {
        ServerIdentity::new(&self.cluster_uuid)
    }

    pub(super) fn version(&self) -> String {
        visible(&self.version.number)
            .chars()
            .take(VERSION)
            .collect()
    }
}

/// Whoever asks: `GET /_security/_authenticate`.
#[derive(Deserialize)]
pub(super) struct Who {
    #[serde(deserialize_with = "name")]
    pub(super) username: String,
    authentication_realm: Realm,
    api_key: Option<ShownKey>,
    /// Not to be asked for by those who may only look after their own keys.
    #[serde(flatten)]
    pub(super) profile: Profile,
}

#[derive(Deserialize)]
struct Realm {
    #[serde(deserialize_with = "name")]
    name: String,
}

#[derive(Deserialize)]
struct ShownKey {
    #[serde(deserialize_with = "id")]
    id: String,
}

impl Who {
    pub(super) fn own(&self) -> Own {
        let (realm, username) = (
            self.authentication_realm.name.as_str(),
            self.username.as_str(),
        );
        Own {
            id: Named { realm, username }.id(),
            username: visible(username),
        }
    }

    /// Whether this key (`base64(id:secret)`) was shown.
    pub(super) fn is_key(&self, value: &KeyMaterial) -> bool {
        let both = BASE64.decode(value.expose()).unwrap_or_default();
        let id = both.split(|byte| *byte == b':').next();
        let shown = self.api_key.as_ref().map(|key| key.id.as_bytes());
        shown.is_some() && shown == id
    }
}

/// What we may do: `POST /_security/user/_has_privileges`.
#[derive(Deserialize)]
pub(super) struct Privileges {
    #[serde(default)]
    cluster: BTreeMap<String, bool>,
}

impl Privileges {
    pub(super) fn cluster(&self, privilege: &str) -> bool {
        self.cluster.get(privilege).copied().unwrap_or_default()
    }
}

/// A user: `GET /_security/user/{name}`.
#[derive(Deserialize)]
pub(super) struct User {
    #[serde(deserialize_with = "name")]
    pub(super) username: String,
    #[serde(flatten)]
    pub(super) profile: Profile,
}

/// What a user is besides its name.
#[derive(Deserialize)]
pub(super) struct Profile {
    #[serde(default, deserialize_with = "up_to::<ROLES, _, _>")]
    pub(super) roles: Vec<String>,
    #[serde(default, deserialize_with = "some_name")]
    pub(super) full_name: Option<String>,
    #[serde(default, deserialize_with = "some_name")]
    pub(super) email: Option<String>,
    #[serde(default)]
    pub(super) metadata: Map<String, Value>,
    pub(super) enabled: bool,
}

/// A write was carried out: `{"created": …}`.
#[derive(Deserialize)]
pub(super) struct Done {
    #[serde(rename = "created")]
    _created: bool,
}

/// A deletion was carried out, or not.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) found: bool,
}

/// A key was changed, or was so already.
#[derive(Deserialize)]
pub(super) struct Updated {
    #[serde(rename = "updated")]
    _updated: bool,
}

/// Keys: `GET /_security/api_key`.
#[derive(Deserialize)]
pub(super) struct Keys {
    #[serde(deserialize_with = "up_to::<KEYS, _, _>")]
    pub(super) api_keys: Vec<ListedKey>,
}

/// A key in a list, its secret gone for ever.
#[derive(Deserialize)]
pub(super) struct ListedKey {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(default, deserialize_with = "tail")]
    name: String,
    creation: i64,
    expiration: Option<i64>,
    pub(super) invalidated: bool,
    #[serde(deserialize_with = "name")]
    pub(super) username: String,
    #[serde(deserialize_with = "name")]
    pub(super) realm: String,
    #[serde(default, deserialize_with = "some_name")]
    pub(super) realm_type: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

/// Of a key's metadata what is ours.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(rename = "apikeys.dev")]
    ours: Option<Value>,
}

impl ListedKey {
    pub(super) fn key(self, account: &AccountId, digest: &str) -> Result<RemoteKey, Fault> {
        debug_assert_eq!(OURS, "apikeys.dev");
        let ours = self.metadata.ours.as_ref();
        let digest = ours.and_then(|ours| ours.get(digest)?.as_str());
        Ok(RemoteKey {
            id: KeyId::new(self.id),
            account: account.clone(),
            activity: Activity::Enabled,
            extras: digest.and_then(short),
            text: visible(&self.name),
            created_at: moment(self.creation)?,
            expires_at: self.expiration.map(moment).transpose()?,
        })
    }
}

/// A key that has just been made, with its secret. Not to be printed.
#[derive(Deserialize)]
pub(super) struct MadeKey {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(deserialize_with = "tail")]
    pub(super) name: String,
    pub(super) expiration: Option<i64>,
    #[serde(deserialize_with = "secret")]
    pub(super) api_key: KeyMaterial,
}

/// What became of keys that were to be invalidated.
#[derive(Deserialize)]
pub(super) struct Invalidated {
    #[serde(
        rename = "invalidated_api_keys",
        deserialize_with = "up_to::<KEYS, _, _>"
    )]
    now: Vec<String>,
    #[serde(
        default,
        rename = "previously_invalidated_api_keys",
        deserialize_with = "up_to::<KEYS, _, _>"
    )]
    before: Vec<String>,
    error_count: u64,
    #[serde(default)]
    error_details: Vec<Cause>,
}

impl Invalidated {
    /// Whether this key was among them.
    pub(super) fn ended(&self, id: &str) -> Result<bool, Fault> {
        let mut ended = self.now.iter().chain(&self.before);
        let ended = ended.any(|ended| ended == id);
        self.worked().map(|()| ended)
    }

    /// That nothing stood in the way.
    pub(super) fn worked(&self) -> Result<(), Fault> {
        if self.error_count == 0 {
            return Ok(());
        }
        let why = self
            .error_details
            .first()
            .and_then(|cause| cause.reason.as_deref());
        let why = visible(why.unwrap_or("it does not say why"))
            .chars()
            .take(200)
            .collect();
        Err(Fault::Rejected(why))
    }
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: Option<String>,
}

/// What an error of Elasticsearch says; `None` when it is not one of Elasticsearch. Where something is
/// not there, it says so by an empty answer of the kind that was asked for.
pub(super) fn complaint(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Complaint {
        error: Said,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Cause(Cause),
        Text(String),
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {
        #[serde(default, rename = "api_keys")]
        _api_keys: [IgnoredAny; 0],
        #[serde(default, rename = "found")]
        _found: bool,
    }

    if let Ok(Complaint { error }) = serde_json::from_slice(body) {
        return match error {
            Said::Cause(cause) => cause.reason.map(what_helps_first),
            Said::Text(text) => Some(text),
        };
    }
    let nothing: Nothing = serde_json::from_slice(body).ok()?;
    let Nothing { .. } = nothing;
    Some("there is no such thing".to_owned())
}

/// A key's secret: letters, digits, dashes and underscores.
fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<KeyMaterial, D::Error> {
    id(from).map(KeyMaterial::new)
}

/// What is not permitted ends with what would help, behind names that may be long: it goes to the front,
/// for texts of servers are cut.
fn what_helps_first(reason: String) -> String {
    let helps = [", this action is granted by ", ", because user ["];
    let Some(at) = helps.iter().find_map(|begin| reason.rfind(begin)) else {
        return reason;
    };
    let (what, help) = reason.split_at(at);
    format!("{}: {what}", help.trim_start_matches(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_help_is_told_first() {
        let told = |reason: String| {
            let body = serde_json::json!({"error": {"reason": reason}, "status": 403});
            complaint(body.to_string().as_bytes()).unwrap()
        };
        let what = format!(
            "action [cluster:admin/xpack/security/user/put] is unauthorized for user [{}] with \
             effective roles []",
            "x".repeat(500)
        );
        let granted = "this action is granted by the cluster privileges [manage_security,all]";
        assert_eq!(
            told(format!("{what}, {granted}")),
            format!("{granted}: {what}")
        );
        let because = "because user [x] is unauthorized to run as [y]";
        assert_eq!(
            told(format!("{what}, {because}")),
            format!("{because}: {what}")
        );
        assert_eq!(told(what.clone()), what);
    }
}
