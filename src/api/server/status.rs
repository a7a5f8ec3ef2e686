//! The status of a connection: a mirror for people. It can be wiped, restored old or edited, and no
//! decision rests on it alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::KeyCounts;

/// What was found and done last: a mirror for people, never the ground of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionStatus {
    /// The generation of the spec that this status speaks of; -1 until somebody has looked.
    pub observed_generation: i64,

    /// How things stand: Ready, Reconciling, Stalled, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The server's version, as it says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The account behind the connection's own credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,

    /// The server's own rules for the expiry of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<KeyExpiryStatus>,

    /// When the connection's own credential ends, where that can be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Time>,

    /// How many ServiceAccounts use the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accounts: Option<u32>,

    /// How many keys their accounts have on the server, at the last resync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyCounts>,
}

impl Default for ConnectionStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            version: None,
            identity: None,
            key_expiry: None,
            credential_expires_at: None,
            accounts: None,
            keys: None,
        }
    }
}

/// An account on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its id.
    pub id: String,
    /// Its user name.
    pub username: String,
}

/// A server's own rules for the expiry of keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyExpiryStatus {
    /// How many days a key lives that asks for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_days: Option<u32>,
    /// How many days a key may live at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_days: Option<u32>,
}
