//! [`ApiKey`]: one API key, for ever or for a while.

mod status;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{FreeForm, LocalRef, Period, definitions, label_value, period, rules, text};
pub use status::{ApiKeyStatus, CurrentKey, LastFailure, Restarted, RetiringKey};

/// An API key on a deploy server: minted there for a ServiceAccount, delivered in a Secret, proven
/// to work, rotated before it expires, and revoked when this object is deleted.
#[derive(CustomResource, JsonSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "apikeys.dev",
    version = "v1alpha1",
    kind = "ApiKey",
    plural = "apikeys",
    namespaced,
    status = "ApiKeyStatus",
    derive = "PartialEq",
    shortname = "apk",
    category = "apikey-operator"
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::api_key()))]
pub struct ApiKeySpec {
    /// The ServiceAccount, in the same namespace, whose key this is. Immutable.
    pub service_account_ref: LocalRef,

    /// What the key is for, in a few words: "GitHub Actions deploys". It is shown on the server
    /// beside the key. A change shows on the next key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), extend("x-kubernetes-validations" = rules::shown_text()))]
    pub purpose: Option<String>,

    /// The person for whom the key is asked, as whoever writes the manifest claims: "Jane Doe". It
    /// is shown on the server beside the key. A change shows on the next key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-validations" = rules::shown_text()))]
    pub on_behalf_of: Option<String>,

    /// How long a key lives: `30d`, `12h`, `1d12h`. The server itself refuses the key afterwards,
    /// or, where a server knows no expiry, the operator revokes it then. Default: the
    /// defaultLifetime of the connection's key policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Period>,

    /// When and how the key is replaced.
    #[serde(default)]
    pub rotation: Rotation,

    /// The Secret that holds the key.
    #[serde(default)]
    pub secret: SecretSpec,

    /// Workloads of the same namespace that are restarted after each rotation. The operator must
    /// have been given the right to do so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"]))]
    pub restart: Vec<Workload>,

    /// `true` revokes all keys of this ApiKey and removes its Secret, now. Back to `false`: a new
    /// key is made.
    #[serde(default)]
    pub revoked: bool,

    /// While `true` nothing is made, rotated or healed. Expiry, revocation and deletion go on.
    #[serde(default)]
    pub suspend: bool,

    /// What becomes of the keys on the server when this object is deleted. May also be set while
    /// the deletion waits: `Retain` lets the object go when its server is gone for ever.
    #[serde(default)]
    pub deletion_policy: KeyDeletionPolicy,

    /// Deletes this object so long after it has expired (rotation.mode Never) or was revoked. Not
    /// for manifests that a GitOps tool applies again and again. Default: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<Period>,

    /// What only StackStorm's keys have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_storm: Option<StackStormKey>,

    /// What only Elasticsearch's keys have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchKey>,
}

/// When and how a key is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::rotation()))]
pub struct Rotation {
    /// Whether a key is followed by another one.
    pub mode: RotationMode,

    /// How long before the expiry the next key is made: a period (`10d`), or a part of the lifetime
    /// (`33%`); up to a tenth of it sooner, so that keys made together are not replaced together.
    /// Never more than half of the lifetime, nor less than a twentieth. Default: a third of the
    /// lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<RenewBefore>,

    /// When rotations should happen, if they can: a preference, never a reason to let a key expire.
    /// In the last quarter of `renewBefore` they are not waited for, nor by what somebody asks for.
    /// Default: at any time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,

    /// How long a replaced key still works, so that its users have time to read the new one. Never
    /// past its own expiry.
    pub overlap: Period,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            mode: RotationMode::default(),
            renew_before: None,
            windows: Vec::new(),
            overlap: Period::hours(24),
        }
    }
}

/// Whether a key is followed by another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum RotationMode {
    /// A new key is made and delivered before the old one expires.
    #[default]
    BeforeExpiry,
    /// There is one key only: at its end the ApiKey is Expired for good and its Secret goes.
    Never,
}

/// A time of the week in which rotations are welcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When the window opens, as five cron fields: minute, hour, day of month, month, day of week.
    /// Example: `0 2 * * 1-5`. In the night in which an hour is left out, a window that opens in that
    /// hour does not open; in the night in which an hour comes twice, it opens twice.
    #[schemars(
        length(min = 9, max = 100),
        extend("x-kubernetes-validations" = rules::schedule())
    )]
    pub schedule: String,

    /// How long it stays open; more than a week counts as a week. Example: `3h`.
    pub duration: Period,

    /// The time zone of the schedule, by its name in the IANA database. Example: `Europe/Oslo`.
    /// Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        extend("x-kubernetes-validations" = rules::time_zone())
    )]
    pub time_zone: Option<String>,
}

/// How long before the expiry the next key is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewBefore {
    /// So long before it.
    Period(Period),
    /// So many hundredths of the lifetime before it: 1 to 99.
    Percent(u8),
}

/// A text that is no [`RenewBefore`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a period such as 10d nor a percentage from 1% to 99%: {0:?}")]
pub struct NotARenewBefore(String);

impl FromStr for RenewBefore {
    type Err = NotARenewBefore;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotARenewBefore(text.chars().take(period::MAX_CHARS).collect());
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().map(Self::Period).map_err(|_| refused());
        };
        match percent.as_bytes() {
            [b'1'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] => {
                percent.parse().map(Self::Percent).map_err(|_| refused())
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for RenewBefore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Period(period) => period.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for RenewBefore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RenewBefore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for RenewBefore {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RenewBefore".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": period::or_percent(),
            "minLength": period::MIN_CHARS,
            "maxLength": period::MAX_CHARS,
            "x-kubernetes-validations": rules::renew_before(),
        })
    }
}

/// The Secret that holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::secret()))]
pub struct SecretSpec {
    /// The Secret's name. Immutable. Default: the ApiKey's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::secret_name()))]
    pub name: Option<String>,

    /// The Secret's type: `Opaque`, or a type of your own. Immutable.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 253))]
    pub type_: String,

    /// Labels for the Secret. Those of Kubernetes, Helm, Argo CD, Flux and this operator are
    /// reserved.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = label_value()))]
    pub labels: BTreeMap<String, String>,

    /// Annotations for the Secret. Those of Kubernetes, Helm, Argo CD, Flux and this operator are
    /// reserved.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = text(4_096)))]
    pub annotations: BTreeMap<String, String>,

    /// While a replaced key still works, keep it too: each entry that changed is also there as
    /// `PREVIOUS_<its name>`.
    pub keep_previous: bool,

    /// Entries of the Secret, by name, each a template; they replace the default entries. A
    /// template sees `key`, `id`, `url`, `authUrl`, `username`, `serial`, `expiresAt`, and with keepPrevious
    /// `previous`: an entry that shows it is there only while the previous key works. Example:
    /// `config.json: '{"url": "{{ url }}", "key": "{{ key }}"}'`. A tag has at most 256 characters,
    /// and no lists, maps, sums, products, comments or raw blocks. Default: what the server's own
    /// tools read from their environment (`OCTOPUS_URL` and `OCTOPUS_API_KEY`, …).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = text(16_384)))]
    pub data: BTreeMap<String, String>,

    /// Take over a Secret that exists already, if it carries the annotation
    /// `apikeys.dev/adopt-by: <name of this ApiKey>` and belongs to nobody. It keeps its type and its
    /// other entries. At the end only our entries are taken out of it.
    pub adopt: bool,
}

impl SecretSpec {
    /// The name of the Secret of an ApiKey with this name.
    pub fn name_for<'a>(&'a self, api_key: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(api_key)
    }
}

impl ApiKey {
    /// The name of its Secret.
    pub fn secret_name(&self) -> &str {
        let own = self.metadata.name.as_deref().unwrap_or_default();
        self.spec.secret.name_for(own)
    }
}

impl Default for SecretSpec {
    fn default() -> Self {
        Self {
            name: None,
            type_: "Opaque".to_owned(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            keep_previous: false,
            data: BTreeMap::new(),
            adopt: false,
        }
    }
}

/// A workload that is restarted after a rotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::workload_name()))]
    pub name: String,
}

/// What kind of workload is restarted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

/// What becomes of the keys on the server when an ApiKey is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = definitions::meanings)]
pub enum KeyDeletionPolicy {
    /// They are revoked before the object goes.
    #[default]
    Revoke,
    /// They stay alive until they expire.
    Retain,
}

/// What only StackStorm's keys have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StackStormKey {
    /// Metadata of the key on the server. Names that start with `$` are refused there.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub metadata: FreeForm,

    /// `false` disables the living key on the server, `true` enables it again.
    pub enabled: bool,
}

impl Default for StackStormKey {
    fn default() -> Self {
        Self {
            metadata: FreeForm::default(),
            enabled: true,
        }
    }
}

/// What only Elasticsearch's keys have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticsearchKey {
    /// What the key may do, by role name, as in Elasticsearch's create API key request; never more
    /// than its account may. Default: all that its account may.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub role_descriptors: BTreeMap<String, FreeForm>,

    /// Metadata of the key on the server. Names that start with `_` are refused there.
    #[serde(skip_serializing_if = "FreeForm::is_empty")]
    pub metadata: FreeForm,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ApiKeySpec, ApiKeyStatus, RenewBefore};

    #[test]
    fn renew_before_is_a_period_or_a_percentage() {
        for text in ["10d", "1d12h", "0s", "1%", "33%", "99%"] {
            assert_eq!(text.parse::<RenewBefore>().unwrap().to_string(), text);
        }
        for text in [
            "", "%", "0%", "00%", "100%", "05%", "1.5%", "-1%", "33 %", "10d%", "x",
        ] {
            assert!(text.parse::<RenewBefore>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_given_has_its_default_and_is_not_written() {
        let given = json!({ "serviceAccountRef": { "name": "ci" } });
        let spec: ApiKeySpec = serde_json::from_value(given).unwrap();
        let written = json!({
            "serviceAccountRef": { "name": "ci" },
            "rotation": { "mode": "BeforeExpiry", "overlap": "24h" },
            "secret": { "type": "Opaque", "keepPrevious": false, "adopt": false },
            "revoked": false,
            "suspend": false,
            "deletionPolicy": "Revoke",
        });
        assert_eq!(serde_json::to_value(spec).unwrap(), written);
        let status: ApiKeyStatus = serde_json::from_value(json!({})).unwrap();
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({ "observedGeneration": -1 })
        );
    }
}
