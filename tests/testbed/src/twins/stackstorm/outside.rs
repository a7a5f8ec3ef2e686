//! What happens from outside the API, and what an oracle may see.
//!
//! A user is named by its name, a key by its id.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::api_keys::ApiKey;
use super::rbac::Assignment;
use super::{StackStorm, chance};
use crate::twins::Unknown;

/// Every [`Change`], for people.
pub(super) const CHANGES: &str = r#"           {"change":"disableKey","key":"6921..."}
           {"change":"giveRole","user":"bystander","role":"observer"}
         changes: revokeKey{key} disableKey{key} enableKey{key} backdateKey{key,at} giveKey{key,user}
                  annotate{key,metadata} overwriteKey{key} forgetUser{user} registerUser{user}
                  makeService{user} giveRole{user,role} takeRole{user,role} setPassword{user,password}
                  endTokens{user} beginRbac endRbac"#;

/// Something that happens to the server without anybody asking its API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    tag = "change",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Change {
    /// A key is gone.
    RevokeKey {
        /// Its id.
        key: String,
    },
    /// A key is switched off.
    DisableKey {
        /// Its id.
        key: String,
    },
    /// A key is switched on again.
    EnableKey {
        /// Its id.
        key: String,
    },
    /// A key was made at another time than it was, as if so much time had gone by since.
    BackdateKey {
        /// Its id.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// A key now belongs to somebody else, who is registered if need be.
    GiveKey {
        /// Its id.
        key: String,
        /// The new owner.
        user: String,
    },
    /// Somebody writes other metadata to a key.
    Annotate {
        /// Its id.
        key: String,
        /// All of the new metadata.
        metadata: Map<String, Value>,
    },
    /// Somebody sends a `POST` with the id of a key: the id stays, its text is another one that
    /// nobody here knows, its metadata is lost.
    OverwriteKey {
        /// Its id.
        key: String,
    },
    /// The record of a user is removed by hand; its keys and tokens stay, and answer 404.
    ForgetUser {
        /// Whose.
        user: String,
    },
    /// There is a record of a user again.
    RegisterUser {
        /// Whose.
        user: String,
    },
    /// A user may ask for tokens of others from now on.
    MakeService {
        /// Whose.
        user: String,
    },
    /// A role is assigned.
    GiveRole {
        /// To whom.
        user: String,
        /// The role's name.
        role: String,
    },
    /// A role is assigned no more.
    TakeRole {
        /// From whom.
        user: String,
        /// The role's name.
        role: String,
    },
    /// A line of the password file changes, or is new.
    SetPassword {
        /// Whose.
        user: String,
        /// The new password.
        password: String,
    },
    /// Every token of a user ends now.
    EndTokens {
        /// Whose.
        user: String,
    },
    /// Rights are looked at from now on.
    BeginRbac,
    /// Everybody may do everything from now on.
    EndRbac,
}

/// Everything that an oracle sees.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whether rights are looked at.
    pub rbac: bool,
    /// Every user that the server has a record of, a password for, or a role for, by name.
    pub accounts: Vec<AccountView>,
    /// Every key.
    pub keys: Vec<KeyView>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// Its name; there is no other id.
    pub username: String,
    /// When the record of it was made; absent while there is none.
    pub created: Option<Timestamp>,
    /// Whether it may ask for tokens of others.
    pub is_service: bool,
    /// Whether it is in the password file.
    pub has_password: bool,
    /// The names of its roles.
    pub roles: Vec<String>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// The name of the user that it belongs to.
    pub owner: String,
    /// What the server keeps of its text.
    pub key_hash: String,
    /// What people wrote to it.
    pub metadata: Map<String, Value>,
    /// When it was made or last changed.
    pub created: Timestamp,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it opens the door now.
    pub life: Life,
}

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// It works.
    Alive,
    /// It is switched off: 401.
    Disabled,
    /// There is no record of its user: 404.
    OwnerUnknown,
}

impl View {
    /// The user with this name.
    pub fn account(&self, username: &str) -> Option<&AccountView> {
        let mut accounts = self.accounts.iter();
        accounts.find(|account| account.username == username)
    }

    /// The keys of a user.
    pub fn keys_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a KeyView> {
        self.keys.iter().filter(move |key| key.owner == owner)
    }

    /// The key with this id.
    pub fn key(&self, id: &str) -> Option<&KeyView> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl StackStorm {
    /// Does something from outside.
    pub(super) fn apply(&mut self, now: Timestamp, change: Change) -> Result<(), Unknown> {
        match change {
            Change::RevokeKey { key } => {
                let id = self.key(&key)?.id.clone();
                self.keys.retain(|key| key.id != id);
            }
            Change::DisableKey { key } => self.key(&key)?.enabled = false,
            Change::EnableKey { key } => self.key(&key)?.enabled = true,
            Change::BackdateKey { key, at } => self.key(&key)?.created = at,
            Change::GiveKey { key, user } => {
                self.key(&key)?.user.clone_from(&user);
                self.register(now, &user);
            }
            Change::Annotate { key, metadata } => self.key(&key)?.metadata = metadata,
            Change::OverwriteKey { key } => {
                let hash = chance::key_hash(&self.chance.key());
                let key = self.key(&key)?;
                key.hash = hash;
                key.metadata = Map::new();
                key.created = now;
                key.enabled = true;
            }
            Change::ForgetUser { user } => {
                self.known(&user)?;
                self.users.retain(|known| known.name != user);
            }
            Change::RegisterUser { user } => self.register(now, &user),
            Change::MakeService { user } => {
                self.known(&user)?;
                self.serve(&user);
            }
            Change::GiveRole { user, role } => self.assign(now, user, role)?,
            Change::TakeRole { user, role } => {
                let before = self.assignments.len();
                self.assignments
                    .retain(|one| one.user != user || one.role != role);
                if self.assignments.len() == before {
                    return Err(Unknown(format!("role {role} of {user}")));
                }
            }
            Change::SetPassword { user, password } => {
                self.passwords.insert(user, chance::hash(&password));
            }
            Change::EndTokens { user } => {
                self.known(&user)?;
                let own = self.tokens.iter_mut().filter(|token| token.user == user);
                own.for_each(|token| token.expires = token.expires.min(now));
            }
            Change::BeginRbac => self.rbac = true,
            Change::EndRbac => self.rbac = false,
        }
        Ok(())
    }

    fn key(&mut self, id: &str) -> Result<&mut ApiKey, Unknown> {
        self.keys
            .iter_mut()
            .find(|key| key.id == id)
            .ok_or_else(|| Unknown(format!("key {id}")))
    }

    fn known(&self, user: &str) -> Result<(), Unknown> {
        if self.knows(user) {
            Ok(())
        } else {
            Err(Unknown(format!("user {user}")))
        }
    }

    fn assign(&mut self, now: Timestamp, user: String, role: String) -> Result<(), Unknown> {
        if !self.roles.iter().any(|known| known.name == role) {
            return Err(Unknown(format!("role {role}")));
        }
        let mut assignments = self.assignments.iter();
        if !assignments.any(|one| one.user == user && one.role == role) {
            let id = self.chance.object_id(now);
            self.assignments.push(Assignment { id, user, role });
        }
        Ok(())
    }

    /// Everything, for oracles.
    pub(super) fn everything(&self) -> View {
        let names: BTreeSet<&String> = self
            .passwords
            .keys()
            .chain(self.users.iter().map(|user| &user.name))
            .chain(self.assignments.iter().map(|one| &one.user))
            .collect();
        let accounts = names.into_iter().map(|name| {
            let record = self.users.iter().find(|user| user.name == *name);
            let roles = self.roles_of(name).map(|role| role.name.clone());
            AccountView {
                username: name.clone(),
                created: record.map(|user| user.created),
                is_service: record.is_some_and(|user| user.is_service),
                has_password: self.passwords.contains_key(name),
                roles: roles.collect(),
            }
        });
        View {
            rbac: self.rbac,
            accounts: accounts.collect(),
            keys: self.keys.iter().map(|key| self.key_view(key)).collect(),
        }
    }

    /// The key with this text, if the server still knows it.
    pub fn whose(&self, text: &str) -> Option<KeyView> {
        let hash = chance::key_hash(text);
        let key = self.keys.iter().find(|key| key.hash == hash)?;
        Some(self.key_view(key))
    }

    fn key_view(&self, key: &ApiKey) -> KeyView {
        let life = if !key.enabled {
            Life::Disabled
        } else if self.knows(&key.user) {
            Life::Alive
        } else {
            Life::OwnerUnknown
        };
        KeyView {
            id: key.id.clone(),
            owner: key.user.clone(),
            key_hash: key.hash.clone(),
            metadata: key.metadata.clone(),
            created: key.created,
            enabled: key.enabled,
            life,
        }
    }
}
