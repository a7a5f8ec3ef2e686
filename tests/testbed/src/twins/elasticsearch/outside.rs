//! What happens from outside the API, and what an oracle may see.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::call::unbase64;
use super::keys::Key;
use super::users::User;
use super::{Elasticsearch, chance};
use crate::twins::Unknown;

/// Every [`Change`], for people.
pub(super) const CHANGES: &str = r#"           {"change":"disable","user":"ci-team-a"}
           {"change":"revokeKey","key":"..."}
         changes: revokeKey{key} forgetKey{key} expireKey{key,at} backdateKey{key,at} giveKey{key,user}
                  disable{user} enable{user} delete{user} password{user,password} roles{user,roles}
                  reinstall"#;

/// Something that happens to the server without anybody asking its API.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(
    tag = "change",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Change {
    /// A key is invalidated; it stays listed.
    RevokeKey {
        /// Its id.
        key: String,
    },
    /// A key is forgotten, as after the time of retention.
    ForgetKey {
        /// Its id.
        key: String,
    },
    /// A key ends at another time.
    ExpireKey {
        /// Its id.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// A key was made at another time than it was, as if so much time had gone by since.
    BackdateKey {
        /// Its id.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// A key now belongs to somebody else, as after a mistaken copy of a credential.
    GiveKey {
        /// Its id.
        key: String,
        /// The new owner.
        user: String,
    },
    /// An account is switched off; its keys go on.
    Disable {
        /// Whose.
        user: String,
    },
    /// An account is switched on again.
    Enable {
        /// Whose.
        user: String,
    },
    /// An account is gone; its keys go on.
    Delete {
        /// Whose.
        user: String,
    },
    /// An account has another password.
    Password {
        /// Whose.
        user: String,
        /// The new one.
        password: String,
    },
    /// An account has other roles.
    Roles {
        /// Whose.
        user: String,
        /// All of them.
        roles: Vec<String>,
    },
    /// The server says another cluster id, as after a restore into a new one.
    Reinstall,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RevokeKey { key } => write!(f, "RevokeKey({key})"),
            Self::ForgetKey { key } => write!(f, "ForgetKey({key})"),
            Self::ExpireKey { key, at } => write!(f, "ExpireKey({key}, {at})"),
            Self::BackdateKey { key, at } => write!(f, "BackdateKey({key}, {at})"),
            Self::GiveKey { key, user } => write!(f, "GiveKey({key}, {user})"),
            Self::Disable { user } => write!(f, "Disable({user})"),
            Self::Enable { user } => write!(f, "Enable({user})"),
            Self::Delete { user } => write!(f, "Delete({user})"),
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Roles { user, roles } => write!(f, "Roles({user}, {roles:?})"),
            Self::Reinstall => f.write_str("Reinstall"),
        }
    }
}

/// Everything that an oracle sees.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The cluster id that the root document shows.
    pub installation: String,
    /// Every account, reserved ones too.
    pub accounts: Vec<AccountView>,
    /// Every key that the server still knows.
    pub keys: Vec<KeyView>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// Its name, which is its id.
    pub username: String,
    /// Where it is kept: `default_native`, or `reserved`.
    pub realm: String,
    /// The name that people read, or nothing.
    pub display_name: Option<String>,
    /// Its e-mail address, or nothing.
    pub email: Option<String>,
    /// Whether it is switched on.
    pub is_active: bool,
    /// Its roles, whether there are such or not.
    pub roles: Vec<String>,
    /// What others have noted about it.
    pub metadata: Map<String, Value>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
    /// The name of the account that it belongs to, whether there still is such or not.
    pub owner: String,
    /// The realm of that account.
    pub realm: String,
    /// What was noted about it.
    pub metadata: Map<String, Value>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was ended.
    pub invalidated: Option<Timestamp>,
    /// Whether it opens the door now.
    pub life: Life,
}

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// It works.
    Alive,
    /// It is listed, but over.
    Expired,
    /// It is listed, but was ended.
    Invalidated,
}

impl View {
    /// The account with this name.
    pub fn account(&self, username: &str) -> Option<&AccountView> {
        self.accounts
            .iter()
            .find(|account| account.username == username)
    }

    /// The keys of an account, by its name.
    pub fn keys_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a KeyView> {
        self.keys.iter().filter(move |key| key.owner == owner)
    }
}

impl Elasticsearch {
    /// Does something from outside.
    pub(super) fn apply(&mut self, now: Timestamp, change: Change) -> Result<(), Unknown> {
        match change {
            Change::RevokeKey { key } => {
                let id = self.known_key(&key)?.id.clone();
                self.end_key(&id, now);
            }
            Change::ForgetKey { key } => {
                let id = self.known_key(&key)?.id.clone();
                self.keys.retain(|key| key.id != id);
            }
            Change::ExpireKey { key, at } => self.known_key(&key)?.expires = Some(at),
            Change::BackdateKey { key, at } => self.known_key(&key)?.created = at,
            Change::GiveKey { key, user } => {
                let user = self.known_user(&user)?;
                let (name, realm) = (user.name.clone(), user.realm);
                let key = self.known_key(&key)?;
                (key.user, key.realm) = (name, realm);
            }
            Change::Disable { user } => self.known_user(&user)?.enabled = false,
            Change::Enable { user } => self.known_user(&user)?.enabled = true,
            Change::Delete { user } => {
                let name = self.known_user(&user)?.name.clone();
                self.users.retain(|user| user.name != name);
            }
            Change::Password { user, password } => {
                self.known_user(&user)?.password = Some(chance::hash(&password));
            }
            Change::Roles { user, roles } => self.known_user(&user)?.roles = roles,
            Change::Reinstall => {
                self.cluster = URL_SAFE_NO_PAD.encode(&self.chance.bytes()[..16]);
            }
        }
        Ok(())
    }

    fn known_key(&mut self, id: &str) -> Result<&mut Key, Unknown> {
        let key = self.keys.iter_mut().find(|key| key.id == id);
        key.ok_or_else(|| Unknown(format!("key {id}")))
    }

    fn known_user(&mut self, name: &str) -> Result<&mut User, Unknown> {
        let user = self.users.iter_mut().find(|user| user.name == name);
        user.ok_or_else(|| Unknown(format!("user {name}")))
    }

    /// Everything, for oracles.
    pub(super) fn everything(&self, now: Timestamp) -> View {
        let accounts = self.users.iter().map(|user| AccountView {
            username: user.name.clone(),
            realm: user.realm.name().to_owned(),
            display_name: user.full_name.clone(),
            email: user.email.clone(),
            is_active: user.enabled,
            roles: user.roles.clone(),
            metadata: user.metadata.clone(),
        });
        View {
            installation: self.cluster.clone(),
            accounts: accounts.collect(),
            keys: self.keys.iter().map(|key| key_view(key, now)).collect(),
        }
    }

    /// The key with this text (as `encoded` has it), if the server still knows it.
    pub fn whose(&self, now: Timestamp, encoded: &str) -> Option<KeyView> {
        let plain = unbase64(encoded)?;
        let (id, secret) = plain.split_once(':')?;
        let hash = chance::hash(secret);
        let mut keys = self.keys.iter();
        keys.find(|key| key.id == id && key.hash == hash)
            .map(|key| key_view(key, now))
    }
}

fn key_view(key: &Key, now: Timestamp) -> KeyView {
    let life = if key.invalidated.is_some() {
        Life::Invalidated
    } else if key.is_expired(now) {
        Life::Expired
    } else {
        Life::Alive
    };
    KeyView {
        id: key.id.clone(),
        name: key.name.clone(),
        owner: key.user.clone(),
        realm: key.realm.name().to_owned(),
        metadata: key.metadata.clone(),
        created: key.created,
        expires: key.expires,
        invalidated: key.invalidated,
        life,
    }
}
