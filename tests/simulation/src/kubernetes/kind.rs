//! The kinds that a server knows: read from a `CustomResourceDefinition`, or built in.

use anyhow::{Context, Result};
use serde_json::Value;

use super::schema::Schema;

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One name per namespace.
    Namespaced,
    /// One name in the whole cluster.
    Cluster,
}

/// How the status of a kind is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusDoor {
    /// Through `/status` alone.
    Subresource,
    /// Like any other field.
    Plain,
}

/// Who defines a kind, which decides how its objects are read and who counts its generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A `CustomResourceDefinition`: the schema is checked, everything but metadata and status
    /// counts as a change of generation.
    Custom,
    /// Built in without generations (Secret, ConfigMap, …).
    Plain,
    /// Built in with generations that follow `spec` (workloads).
    Workload,
}

/// One kind that the server serves, in one version.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The API group, empty for the core.
    pub group: String,
    /// The one version that is served.
    pub version: String,
    /// The name in paths.
    pub plural: String,
    /// The name in objects.
    pub kind: String,
    /// Where its objects live.
    pub scope: Scope,
    /// How its status is written.
    pub status: StatusDoor,
    /// Who defines it.
    pub origin: Origin,
    /// What its objects may hold.
    pub schema: Schema,
}

impl Kind {
    /// Reads the served storage version of a `CustomResourceDefinition`.
    ///
    /// # Errors
    /// When a field that every definition has is missing.
    pub fn custom(definition: &Value) -> Result<Self> {
        let text = |pointer: &str| {
            definition
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("the definition has no {pointer}"))
        };
        let versions = definition["spec"]["versions"]
            .as_array()
            .context("no versions")?;
        let version = versions
            .iter()
            .find(|version| version["storage"] == true)
            .context("no storage")?;
        let status = match version.pointer("/subresources/status") {
            Some(_) => StatusDoor::Subresource,
            None => StatusDoor::Plain,
        };
        let scope = match text("/spec/scope")?.as_str() {
            "Namespaced" => Scope::Namespaced,
            _ => Scope::Cluster,
        };
        Ok(Self {
            group: text("/spec/group")?,
            version: version["name"]
                .as_str()
                .context("a version without name")?
                .to_owned(),
            plural: text("/spec/names/plural")?,
            kind: text("/spec/names/kind")?,
            scope,
            status,
            origin: Origin::Custom,
            schema: Schema::new(version["schema"]["openAPIV3Schema"].clone())?,
        })
    }

    /// `group/version`, as objects say it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group`, as refusals say it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(super) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// Whether a `PUT` without resourceVersion overwrites whatever is there.
    pub(super) fn overwrites(&self) -> bool {
        self.origin != Origin::Custom && self.plural != "leases"
    }

    /// Whether a `PUT` on an absent object creates it.
    pub(super) fn creates_on_update(&self) -> bool {
        self.is("coordination.k8s.io", "leases") || self.is("events.k8s.io", "events")
    }
}
