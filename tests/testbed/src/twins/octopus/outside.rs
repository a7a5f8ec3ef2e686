//! What happens from outside the API, and what an oracle may see.
//!
//! A user is named by id or by username.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::store::same;
use super::users::{Kind, User};
use super::{Octopus, chance};
use crate::twins::Unknown;

/// Every [`Change`], for people.
pub(super) const CHANGES: &str = r#"           {"change":"disable","user":"ci-team-a"}
           {"change":"revokeKey","key":"apikeys-..."}
         changes: revokeKey{key} expireKey{key,at} backdateKey{key,at} giveKey{key,user} disable{user} enable{user}
                  rename{user,username} delete{user} leave{user,team} join{user,team} reinstall
                  keyPolicy{defaultDays,maxDays} forbidUserKeys trust{issuer}
                  beginMaintenance endMaintenance"#;

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
    /// An account is switched off; its keys stop.
    Disable {
        /// Whose.
        user: String,
    },
    /// An account is switched on again.
    Enable {
        /// Whose.
        user: String,
    },
    /// An account has another name.
    Rename {
        /// Whose.
        user: String,
        /// The new name.
        username: String,
    },
    /// An account and all that hangs on it is gone.
    Delete {
        /// Whose.
        user: String,
    },
    /// A user leaves a team, and loses its rights.
    Leave {
        /// Who.
        user: String,
        /// The team's id or name.
        team: String,
    },
    /// A user joins a team.
    Join {
        /// Who.
        user: String,
        /// The team's id or name.
        team: String,
    },
    /// The server says another installation id, as after a restore into a new one.
    Reinstall,
    /// The rules for new keys change.
    KeyPolicy {
        /// Lifetime of keys made without a wish, in days.
        default_days: u32,
        /// Longest lifetime, in days.
        max_days: u32,
    },
    /// People can make no keys any more (`UserApiKeysEnabled` becomes false).
    ForbidUserKeys,
    /// Tokens of this issuer can be exchanged from now on.
    Trust {
        /// The issuer's URL.
        issuer: String,
    },
    /// Maintenance mode begins.
    BeginMaintenance,
    /// Maintenance mode ends.
    EndMaintenance,
}

/// Everything that an oracle sees.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The installation id that the root document shows.
    pub installation: String,
    /// Every account.
    pub accounts: Vec<AccountView>,
    /// Every key that the server still knows.
    pub keys: Vec<KeyView>,
    /// Every team.
    pub teams: Vec<TeamView>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub username: String,
    /// The name that people read.
    pub display_name: String,
    /// Its e-mail address, or nothing.
    pub email: Option<String>,
    /// Whether it is a service account.
    pub is_service: bool,
    /// Whether it is switched on.
    pub is_active: bool,
    /// When it was made.
    pub created: Timestamp,
    /// The GUID that tokens are exchanged for, of a service account.
    pub external_id: Option<String>,
    /// How many external logins it has.
    pub logins: usize,
    /// The ids of its OIDC identities.
    pub oidc_identities: Vec<String>,
    /// How many sessions of it are open.
    pub sessions: usize,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// Its id.
    pub id: String,
    /// The id of the account that it belongs to.
    pub owner: String,
    /// The text that it was made with.
    pub purpose: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
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
    /// Its account is switched off.
    OwnerDisabled,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TeamView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The space it is in.
    pub space: Option<String>,
    /// The ids of its members.
    pub members: Vec<String>,
}

impl View {
    /// The account with this name.
    pub fn account(&self, username: &str) -> Option<&AccountView> {
        self.accounts
            .iter()
            .find(|account| same(&account.username, username))
    }

    /// The keys of an account, by its id.
    pub fn keys_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a KeyView> {
        self.keys.iter().filter(move |key| key.owner == owner)
    }

    /// The team with this id or name.
    pub fn team(&self, id_or_name: &str) -> Option<&TeamView> {
        self.teams
            .iter()
            .find(|team| team.id == id_or_name || team.name == id_or_name)
    }
}

impl Octopus {
    /// Does something from outside.
    pub(super) fn apply(&mut self, now: Timestamp, change: Change) -> Result<(), Unknown> {
        match change {
            Change::RevokeKey { key } => {
                let id = self.key(&key)?.id.clone();
                self.keys.remove(&id);
            }
            Change::ExpireKey { key, at } => self.key(&key)?.expires = Some(at),
            Change::BackdateKey { key, at } => self.key(&key)?.created = at,
            Change::GiveKey { key, user } => {
                let owner = self.user(&user)?.id.clone();
                self.key(&key)?.user = owner;
            }
            Change::Disable { user } => self.user(&user)?.active = false,
            Change::Enable { user } => self.user(&user)?.active = true,
            Change::Rename { user, username } => self.user(&user)?.username = username,
            Change::Delete { user } => {
                let id = self.user(&user)?.id.clone();
                self.end_user(&id);
            }
            Change::Leave { user, team } => {
                let id = self.user(&user)?.id.clone();
                self.members(&team)?.retain(|member| *member != id);
            }
            Change::Join { user, team } => {
                let id = self.user(&user)?.id.clone();
                let members = self.members(&team)?;
                members.retain(|member| *member != id);
                members.push(id);
            }
            Change::Reinstall => self.installation = self.chance.guid(),
            Change::KeyPolicy {
                default_days,
                max_days,
            } => {
                self.settings.default_expiry_days = default_days;
                self.settings.max_expiry_days = max_days;
            }
            Change::ForbidUserKeys => self.settings.user_api_keys = false,
            Change::Trust { issuer } => self.issuers.push(issuer),
            Change::BeginMaintenance => self.maintenance = Some(now),
            Change::EndMaintenance => self.maintenance = None,
        }
        Ok(())
    }

    fn key(&mut self, id: &str) -> Result<&mut super::api_keys::ApiKey, Unknown> {
        self.keys
            .find_mut(id)
            .ok_or_else(|| Unknown(format!("key {id}")))
    }

    fn user(&mut self, name: &str) -> Result<&mut User, Unknown> {
        self.users
            .iter_mut()
            .find(|user| user.id == name || same(&user.username, name))
            .ok_or_else(|| Unknown(format!("user {name}")))
    }

    fn members(&mut self, name: &str) -> Result<&mut Vec<String>, Unknown> {
        self.teams
            .iter_mut()
            .find(|team| team.id == name || same(&team.name, name))
            .map(|team| &mut team.members)
            .ok_or_else(|| Unknown(format!("team {name}")))
    }

    /// Everything, for oracles.
    pub(super) fn everything(&self, now: Timestamp) -> View {
        let identities = |account: &str| {
            let own = self
                .identities
                .iter()
                .filter(|identity| identity.account == account);
            own.map(|identity| identity.id.clone()).collect()
        };
        let sessions = |account: &str| {
            let open = self.sessions.iter().filter(|open| open.expires > now);
            open.filter(|open| open.user == account).count()
        };
        let accounts = self.users.iter().map(|user| AccountView {
            id: user.id.clone(),
            username: user.username.clone(),
            display_name: user.display_name.clone(),
            email: user.email.clone(),
            is_service: matches!(user.kind, Kind::Service { .. }),
            is_active: user.active,
            created: user.created,
            logins: user.logins.len(),
            external_id: user.external_id().map(ToOwned::to_owned),
            oidc_identities: identities(&user.id),
            sessions: sessions(&user.id),
        });
        let teams = self.teams.iter().map(|team| TeamView {
            id: team.id.clone(),
            name: team.name.clone(),
            space: team.space.clone(),
            members: team.members.clone(),
        });
        View {
            installation: self.installation.clone(),
            accounts: accounts.collect(),
            keys: self
                .keys
                .iter()
                .map(|key| self.key_view(key, now))
                .collect(),
            teams: teams.collect(),
        }
    }

    /// The key with this text, if the server still knows it.
    pub fn whose(&self, now: Timestamp, text: &str) -> Option<KeyView> {
        let hash = chance::hash(text);
        self.keys
            .iter()
            .find(|key| key.hash == hash)
            .map(|key| self.key_view(key, now))
    }

    fn key_view(&self, key: &super::api_keys::ApiKey, now: Timestamp) -> KeyView {
        let life = if key.expires.is_some_and(|end| end <= now) {
            Life::Expired
        } else if self.users.find(&key.user).is_some_and(|user| user.active) {
            Life::Alive
        } else {
            Life::OwnerDisabled
        };
        KeyView {
            id: key.id.clone(),
            owner: key.user.clone(),
            purpose: key.purpose.clone(),
            created: key.created,
            expires: key.expires,
            last_used: key.last_used,
            life,
        }
    }
}
