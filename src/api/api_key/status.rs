//! The status of an ApiKey: a mirror for people. It can be wiped, restored old or edited, and no
//! decision rests on it alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadKind;

/// What was found and done last: a mirror for people, never the ground of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKeyStatus {
    /// The generation of the spec that this status speaks of; -1 until somebody has looked.
    pub observed_generation: i64,

    /// How things stand: Ready, Reconciling, Stalled, UpToDate, Overdue, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// The number of the current key among all keys of this ApiKey; 0 before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,

    /// The Secret that holds the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,

    /// Who asked for the key, as the admission policy saw it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,

    /// The key that is in the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentKey>,

    /// Replaced keys that still work for a while.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<RetiringKey>,

    /// When the next rotation is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate_at: Option<Time>,

    /// The text of the annotation `apikeys.dev/rotate` that was acted on last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate: Option<String>,

    /// When this ApiKey expired for good or was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,

    /// How many tries in a row have failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,

    /// The last try that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// Workloads that were restarted after the last rotation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarted: Vec<Restarted>,
}

impl Default for ApiKeyStatus {
    fn default() -> Self {
        Self {
            observed_generation: -1,
            conditions: Vec::new(),
            serial: None,
            secret_name: None,
            requested_by: None,
            current: None,
            retiring: Vec::new(),
            rotate_at: None,
            last_handled_rotate: None,
            finished_at: None,
            failures: 0,
            last_failure: None,
            restarted: Vec::new(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if asks for it"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The key that is in the Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentKey {
    /// The server's id of the key.
    pub id: String,
    /// Its number among all keys of this ApiKey.
    pub serial: u64,
    /// The random part of the attempt that made it.
    pub nonce: String,
    /// What the server shows of the key's value to tell keys apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When the server made it.
    pub created_at: Time,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When it was seen to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Time>,
}

/// A replaced key that still works for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiringKey {
    /// The server's id of the key.
    pub id: String,
    /// Its number among all keys of this ApiKey.
    pub serial: u64,
    /// When the server made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// When it is revoked.
    pub revoke_at: Time,
}

/// The last try that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// Why, in the word of a condition's reason.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When.
    pub at: Time,
}

/// A workload that was restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restarted {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// When.
    pub at: Time,
}
