//! A new server: its reserved users, and its first accounts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::auth::Realm;
use super::chance::Chance;
use super::roles::{Descriptor, SUPERUSER};
use super::users::User;
use super::{Config, Elasticsearch};

/// The accounts that are there from the start.
#[derive(Debug, Clone)]
pub struct Start {
    /// `elastic`, who may do everything.
    pub admin: Credential,
    /// Somebody who manages users, their keys, and what they may do; and may act as anybody.
    pub operator: Credential,
    /// Somebody who manages keys of his own, and looks at the cluster.
    pub holder: Credential,
    /// Somebody without any right.
    pub bystander: Credential,
}

/// An account and its password.
#[derive(Clone)]
pub struct Credential {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.username)
    }
}

/// What the operator may do.
const OPERATOR: [&str; 4] = [
    "manage_security",
    "manage_api_key",
    "grant_api_key",
    "monitor",
];
/// What the holder may do.
const HOLDER: [&str; 2] = ["manage_own_api_key", "monitor"];

/// Users that nobody makes and nobody signs in as.
const RESERVED: [(&str, &str); 6] = [
    ("kibana", "kibana_system"),
    ("kibana_system", "kibana_system"),
    ("logstash_system", "logstash_system"),
    ("beats_system", "beats_system"),
    ("apm_system", "apm_system"),
    ("remote_monitoring_user", "remote_monitoring_collector"),
];

pub(super) fn install(config: &Config) -> Elasticsearch {
    let mut chance = Chance::new(config.seed);
    let cluster = URL_SAFE_NO_PAD.encode(&chance.bytes()[..16]);
    let mut credential = |username: &str| Credential {
        username: username.to_owned(),
        password: URL_SAFE_NO_PAD.encode(&chance.bytes()[..16]),
    };
    let start = Start {
        admin: credential("elastic"),
        operator: credential("apikey-operator"),
        holder: credential("holder"),
        bystander: credential("bystander"),
    };
    let roles = BTreeMap::from([
        (SUPERUSER.to_owned(), Descriptor::superuser()),
        (
            "apikey_operator".to_owned(),
            Descriptor::of(&OPERATOR, &["*"]),
        ),
        ("own_keys".to_owned(), Descriptor::of(&HOLDER, &[])),
    ]);
    let mut users = vec![reserved("elastic", Some(&start.admin.password), SUPERUSER)];
    users.extend(RESERVED.map(|(name, role)| reserved(name, None, role)));
    let native = |credential: &Credential, roles: &[&str]| {
        let Credential { username, password } = credential;
        User::new(username, Realm::Native, Some(password), roles)
    };
    users.push(native(&start.operator, &["apikey_operator"]));
    users.push(native(&start.holder, &["own_keys"]));
    users.push(native(&start.bystander, &[]));
    Elasticsearch {
        version: config.version,
        prefix: config.prefix.trim_end_matches('/').to_owned(),
        license: config.license,
        installed: config.installed,
        cluster,
        chance,
        users,
        roles,
        keys: Vec::new(),
        forgot: None,
        start,
    }
}

fn reserved(name: &str, password: Option<&str>, role: &str) -> User {
    let mut user = User::new(name, Realm::Reserved, password, &[role]);
    user.metadata.insert("_reserved".to_owned(), json!(true));
    if name == "kibana" {
        let reason = "Please use the [kibana_system] user instead.";
        user.metadata.insert("_deprecated".to_owned(), json!(true));
        user.metadata
            .insert("_deprecated_reason".to_owned(), json!(reason));
    }
    user
}
