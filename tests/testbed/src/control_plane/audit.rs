//! What the API server was asked: its audit log, read as types.
//!
//! Every request is read once, when it is answered, and a watch when it begins; its body is not
//! logged. Budgets are counted here.

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// Every request, by its metadata, when it is answered (a watch: when it begins, and when it ends).
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, Panic]
rules: [{level: Metadata}]
";

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent {
    /// Who asked; with impersonation, who was impersonated.
    pub user: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// What was asked.
    pub verb: Verb,
    /// The API group, empty for the core group and for paths that are no resources.
    pub api_group: String,
    /// The resource in the plural, empty for paths that are no resources.
    pub resource: String,
    /// e.g. `status`; often empty.
    pub subresource: String,
    /// Empty for what is not in a namespace.
    pub namespace: String,
    /// Empty for lists, and for creates by `generateName`.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// Whether the URL said that nothing should be changed. A delete that says so in its body is
    /// not recognised.
    pub dry_run: bool,
    /// Path and query.
    pub request_uri: String,
    /// When it was answered; a watch: when it began.
    pub at: Timestamp,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection.
    Watch,
    /// Makes an object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object; server-side apply too.
    Patch,
    /// Deletes one object.
    Delete,
    /// Deletes a collection.
    DeleteCollection,
    /// A method on a path that is no resource, e.g. `/version`.
    #[serde(other)]
    Other,
}

impl Verb {
    /// Whether it can change something.
    pub const fn writes(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Patch | Self::Delete | Self::DeleteCollection => {
                true
            }
            Self::Get | Self::List | Self::Watch | Self::Other => false,
        }
    }
}

/// Reads what is logged before the request for `mark`, oldest first; nothing when that request is
/// not logged yet.
pub(super) fn read(log: &Path, mark: &str) -> Result<Option<Vec<AuditEvent>>> {
    let text = std::fs::read_to_string(log)
        .with_context(|| format!("cannot read the audit log {}", log.display()))?;
    let mark = format!("\"requestURI\":\"{mark}\"");
    let Some((before, _)) = text.split_once(&mark) else {
        return Ok(None);
    };
    // What follows the last line end is the beginning of the mark's own line.
    let before = before.rsplit_once('\n').map_or("", |(before, _)| before);
    let events = before.lines().map(parse).filter_map(Result::transpose);
    events.collect::<Result<_>>().map(Some)
}

/// Reads a line; nothing when another line tells of the same request.
fn parse(line: &str) -> Result<Option<AuditEvent>> {
    let wire: Wire =
        serde_json::from_str(line).with_context(|| format!("not an audit event: {line}"))?;
    let told = if wire.verb == Verb::Watch {
        Stage::ResponseStarted
    } else {
        Stage::ResponseComplete
    };
    Ok((wire.stage == told).then(|| wire.into()))
}

/// How far a request was when it was written down.
#[derive(PartialEq, Eq, Deserialize)]
enum Stage {
    ResponseStarted,
    ResponseComplete,
}

/// `audit.k8s.io/v1` Event, the fields we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    stage: Stage,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    verb: Verb,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
    #[serde(rename = "requestURI")]
    request_uri: String,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

impl From<Wire> for AuditEvent {
    fn from(wire: Wire) -> Self {
        let query = wire
            .request_uri
            .split_once('?')
            .map_or("", |(_, query)| query);
        Self {
            user: wire.impersonated_user.unwrap_or(wire.user).username,
            user_agent: wire.user_agent,
            verb: wire.verb,
            api_group: wire.object_ref.api_group,
            resource: wire.object_ref.resource,
            subresource: wire.object_ref.subresource,
            namespace: wire.object_ref.namespace,
            name: wire.object_ref.name,
            code: wire.response_status.code,
            dry_run: query.split('&').any(|pair| pair.starts_with("dryRun=")),
            request_uri: wire.request_uri,
            at: wire.stage_timestamp,
        }
    }
}
