//! A new server: the roles of the system, and its first users.

use serde_json::json;

use super::api_keys::ApiKey;
use super::chance::{self, Chance};
use super::rbac::{self, Assignment};
use super::{Account, Config, Role, StackStorm};

/// The users that are there from the start.
#[derive(Debug, Clone)]
pub struct Start {
    /// Who may do everything.
    pub admin: Credential,
    /// Who may do everything with keys; for that one must be an administrator.
    pub operator: Credential,
    /// A user without any role.
    pub bystander: Credential,
}

/// A user, its password and a key of it.
#[derive(Clone)]
pub struct Credential {
    /// The user's name; there is no other id.
    pub username: String,
    /// Its password.
    pub password: String,
    /// The key's text.
    pub key: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.username)
    }
}

pub(super) fn install(config: &Config) -> StackStorm {
    let mut chance = Chance::new(config.seed);
    let mut credential = |username: &str| Credential {
        username: username.to_owned(),
        password: chance.token(),
        key: chance.key(),
    };
    let mut start = Start {
        admin: credential("st2admin"),
        operator: credential("apikey-operator"),
        bystander: credential("bystander"),
    };
    if let Some(text) = &config.admin_key {
        start.admin.key.clone_from(text);
    }
    let mut st2 = StackStorm {
        version: config.version.clone(),
        prefix: config.prefix.trim_end_matches('/').to_owned(),
        chance,
        rbac: config.rbac,
        token_ttl: config.token_ttl,
        max_page_size: config.max_page_size,
        passwords: std::collections::BTreeMap::new(),
        users: Vec::new(),
        keys: Vec::new(),
        tokens: Vec::new(),
        roles: Vec::new(),
        assignments: Vec::new(),
        start: start.clone(),
    };
    for name in rbac::SYSTEM {
        st2.add_role(config, name, name, true, &[]);
    }
    for Role {
        name,
        description,
        grants,
    } in &config.roles
    {
        st2.add_role(config, name, description, false, grants);
    }
    for (credential, role) in [
        (&start.admin, Some(rbac::SYSTEM_ADMIN)),
        (&start.operator, Some(rbac::ADMIN)),
        (&start.bystander, None),
    ] {
        st2.add_user(
            config,
            &Account {
                name: credential.username.clone(),
                password: Some(credential.password.clone()),
                roles: role.into_iter().map(str::to_owned).collect(),
                is_service: false,
            },
        );
        st2.give_first_key(config, credential);
    }
    for account in &config.users {
        st2.add_user(config, account);
    }
    st2
}

impl StackStorm {
    fn add_role(
        &mut self,
        config: &Config,
        name: &str,
        description: &str,
        system: bool,
        grants: &[super::Grant],
    ) {
        let grants = grants
            .iter()
            .map(|grant| (self.chance.object_id(config.installed), grant.clone()))
            .collect();
        self.roles.push(rbac::Role {
            id: self.chance.object_id(config.installed),
            name: name.to_owned(),
            description: description.to_owned(),
            system,
            grants,
        });
    }

    fn add_user(&mut self, config: &Config, account: &Account) {
        let name = &account.name;
        if let Some(password) = &account.password {
            self.passwords.insert(name.clone(), chance::hash(password));
        }
        if account.is_service {
            self.register(config.installed, name);
            self.serve(name);
        }
        for role in &account.roles {
            self.assignments.push(Assignment {
                id: self.chance.object_id(config.installed),
                user: name.clone(),
                role: role.clone(),
            });
        }
    }

    fn give_first_key(&mut self, config: &Config, to: &Credential) {
        self.register(config.installed, &to.username);
        let metadata = json!({ "used_by": "Installed with the server" });
        self.keys.push(ApiKey {
            id: self.chance.object_id(config.installed),
            user: to.username.clone(),
            hash: chance::key_hash(&to.key),
            metadata: metadata.as_object().cloned().unwrap_or_default(),
            created: config.installed,
            enabled: true,
        });
    }
}
