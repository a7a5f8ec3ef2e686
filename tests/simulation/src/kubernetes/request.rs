//! What a request asks for: the path, the query and the headers, read once.

use bytes::Bytes;
use http::{Method, header};

use super::refusal::Refusal;

/// What is done to the objects of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one.
    Get,
    /// Read all.
    List,
    /// Follow all.
    Watch,
    /// Make one.
    Create,
    /// Write one anew.
    Replace,
    /// Change one.
    Patch,
    /// End one.
    Delete,
    /// End all that are selected.
    Clear,
}

/// Which part of an object a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The object itself.
    Whole,
    /// `/status`.
    Status,
    /// `/finalize`, of a namespace.
    Finalize,
}

/// The objects that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The API group, empty for the core.
    pub group: String,
    /// The version of the group.
    pub version: String,
    /// The namespace, where the path has one.
    pub namespace: Option<String>,
    /// The kind's name in paths.
    pub plural: String,
    /// The one object, where the path names one.
    pub name: Option<String>,
    /// The part of it.
    pub part: Part,
}

impl Target {
    /// Reads a path below `/api` or `/apis`.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match *parts.first()? {
            "api" => ("", 1),
            "apis" => (*parts.get(1)?, 2),
            _ => return None,
        };
        let version = (*parts.get(rest)?).to_owned();
        parts.drain(..=rest);
        let namespace = match parts[..] {
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => None,
            ["namespaces", namespace, _, ..] => Some(namespace.to_owned()),
            _ => None,
        };
        if namespace.is_some() {
            parts.drain(..2);
        }
        let part = match parts.get(2) {
            None => Part::Whole,
            Some(&"status") => Part::Status,
            Some(&"finalize") => Part::Finalize,
            Some(_) => return None,
        };
        let plural = (*parts.first()?).to_owned();
        let name = parts.get(1).map(|name| (*name).to_owned());
        (parts.len() < 4).then_some(Self {
            group: group.to_owned(),
            version,
            namespace,
            plural,
            name,
            part,
        })
    }
}

impl Target {
    /// `plural.group`.
    pub fn resource(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

/// How patches are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Server-side apply.
    Apply,
}

/// How much of an object an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Full,
    /// `PartialObjectMetadata`.
    Metadata,
}

/// Whether a write lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is stored.
    Lasting,
    /// It is only tried: `dryRun=All`.
    Rehearsed,
}

/// What an apply does where another manager owns a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It refuses.
    Respected,
    /// It takes the field: `force=true`.
    Taken,
}

/// The query of a request, and what its headers say.
#[derive(Debug, Clone)]
pub struct Options {
    /// `dryRun`.
    pub durability: Durability,
    /// `fieldManager`.
    pub manager: Option<String>,
    /// The first word of the user agent.
    pub agent: String,
    /// `force`.
    pub ownership: Ownership,
    /// `labelSelector`.
    pub labels: String,
    /// `fieldSelector`.
    pub fields: String,
    /// `resourceVersion`, `None` when absent or empty.
    pub version: Option<u64>,
    /// `resourceVersionMatch=Exact`.
    pub exact: bool,
    /// `limit`, `None` when absent or 0.
    pub limit: Option<usize>,
    /// `continue`.
    pub next: Option<String>,
    /// `timeoutSeconds`.
    pub timeout: Option<u64>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `watch`.
    pub watch: bool,
    /// From `Accept`.
    pub view: View,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Lasting,
            manager: None,
            agent: "unknown".to_owned(),
            ownership: Ownership::Respected,
            labels: String::new(),
            fields: String::new(),
            version: None,
            exact: false,
            limit: None,
            next: None,
            timeout: None,
            bookmarks: false,
            watch: false,
            view: View::Full,
        }
    }
}

impl Options {
    /// Who is noted as the writer.
    pub fn manager(&self) -> &str {
        self.manager.as_deref().unwrap_or(&self.agent)
    }

    pub(super) fn read(request: &http::Request<Bytes>) -> Result<Self, Refusal> {
        let mut options = Self {
            agent: agent(request),
            view: view(request),
            ..Self::default()
        };
        let query = request.uri().query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            options.set(&name, &value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| Refusal::bad(format!("invalid {name}: {value:?} is no number")))
        };
        match name {
            "dryRun" if value == "All" => self.durability = Durability::Rehearsed,
            "dryRun" => {
                return Err(Refusal::new(
                    http::StatusCode::UNPROCESSABLE_ENTITY,
                    "Invalid",
                    format!("dryRun: Unsupported value: {value:?}: supported values: \"All\""),
                ));
            }
            "fieldManager" if !value.is_empty() => self.manager = Some(value.to_owned()),
            "force" if value == "true" => self.ownership = Ownership::Taken,
            "labelSelector" => value.clone_into(&mut self.labels),
            "fieldSelector" => value.clone_into(&mut self.fields),
            "resourceVersion" if !value.is_empty() => self.version = Some(number()?),
            "resourceVersionMatch" => self.exact = value == "Exact",
            "limit" => self.limit = usize::try_from(number()?).ok().filter(|limit| *limit > 0),
            "continue" if !value.is_empty() => self.next = Some(value.to_owned()),
            "timeoutSeconds" => self.timeout = Some(number()?),
            "allowWatchBookmarks" => self.bookmarks = value == "true",
            "watch" => self.watch = matches!(value, "true" | "1"),
            _ => {}
        }
        Ok(())
    }
}

/// What is done, by the method and whether the path names one object.
pub(super) fn verb(method: &Method, target: &Target, options: &Options) -> Option<Verb> {
    Some(match (method.as_str(), &target.name) {
        ("GET", Some(_)) => Verb::Get,
        ("GET", None) if options.watch => Verb::Watch,
        ("GET", None) => Verb::List,
        ("POST", None) => Verb::Create,
        ("PUT", Some(_)) => Verb::Replace,
        ("PATCH", Some(_)) => Verb::Patch,
        ("DELETE", Some(_)) => Verb::Delete,
        ("DELETE", None) => Verb::Clear,
        _ => return None,
    })
}

/// The dialect of a patch.
pub(super) fn dialect(request: &http::Request<Bytes>) -> Result<Dialect, Refusal> {
    let given = text(request, header::CONTENT_TYPE);
    match given.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" => Ok(Dialect::Merge),
        "application/json-patch+json" => Ok(Dialect::Json),
        "application/apply-patch+yaml" => Ok(Dialect::Apply),
        other => Err(Refusal::media(format!(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, \
             application/apply-patch+yaml (given: {other:?})"
        ))),
    }
}

fn view(request: &http::Request<Bytes>) -> View {
    if text(request, header::ACCEPT).contains("as=PartialObjectMetadata") {
        View::Metadata
    } else {
        View::Full
    }
}

fn agent(request: &http::Request<Bytes>) -> String {
    match text(request, header::USER_AGENT).split('/').next() {
        Some(word) if !word.is_empty() => word.to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn text(request: &http::Request<Bytes>, name: header::HeaderName) -> &str {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
