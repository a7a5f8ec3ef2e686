//! Roles, and the descriptors that roles and keys are made of.
//!
//! A descriptor comes back in one form, whatever the form it was sent in. Roles that a user is
//! given need not exist. Of the roles that a real server has built in there is `superuser` alone;
//! the others count as not found.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Cause, Problem, Reply};
use super::call::Call;
use super::json::kind;
use super::privilege_names::{CLUSTER, INDEX};
use super::privileges::Action;

/// The role that may do everything.
pub(super) const SUPERUSER: &str = "superuser";

/// What somebody may do.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Descriptor {
    pub(super) cluster: Vec<String>,
    pub(super) indices: Vec<Indices>,
    applications: Vec<Value>,
    pub(super) run_as: Vec<String>,
    metadata: Map<String, Value>,
    /// What is kept as it was sent: `global`, `remote_indices`, `remote_cluster`, `restriction`,
    /// `description`.
    more: Map<String, Value>,
}

/// What somebody may do with indices of these names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Indices {
    pub(super) names: Vec<String>,
    pub(super) privileges: Vec<String>,
    field_security: Option<Value>,
    /// JSON in a text, as the server keeps it.
    query: Option<String>,
    allow_restricted: bool,
}

/// What may stand in a descriptor: roles can be described, keys can be restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Role,
    Key,
}

const FIELDS: [&str; 10] = [
    "cluster",
    "indices",
    "index",
    "applications",
    "run_as",
    "metadata",
    "transient_metadata",
    "global",
    "remote_indices",
    "remote_cluster",
];

impl Descriptor {
    /// A descriptor that grants these cluster privileges.
    pub(super) fn of(cluster: &[&str], run_as: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            cluster: texts(cluster),
            run_as: texts(run_as),
            ..Self::default()
        }
    }

    /// The one of [`SUPERUSER`].
    pub(super) fn superuser() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let indices = |privileges: &[&str], allow_restricted| Indices {
            names: texts(&["*"]),
            privileges: texts(privileges),
            allow_restricted,
            ..Indices::default()
        };
        let reading = [
            "monitor",
            "read",
            "view_index_metadata",
            "read_cross_cluster",
        ];
        let mut metadata = Map::new();
        metadata.insert("_reserved".to_owned(), json!(true));
        Self {
            indices: vec![indices(&["all"], false), indices(&reading, true)],
            applications: vec![
                json!({ "application": "*", "privileges": ["*"], "resources": ["*"] }),
            ],
            metadata,
            ..Self::of(&["all"], &["*"])
        }
    }

    /// Reads a descriptor as it is sent.
    pub(super) fn read(name: &str, sent: &Value, of: Of) -> Result<Self, Cause> {
        let Value::Object(sent) = sent else {
            let found = kind(sent);
            return Err(parse(format!(
                "failed to parse role [{name}]. expected an object but found [{found}] instead"
            )));
        };
        let own = match of {
            Of::Role => "description",
            Of::Key => "restriction",
        };
        let mut role = Self::default();
        for (field, value) in sent {
            match field.as_str() {
                "cluster" => role.cluster = list(name, field, value)?,
                "run_as" => role.run_as = list(name, field, value)?,
                "indices" | "index" => role.indices = Indices::read_all(name, value)?,
                "applications" => role.applications = value.as_array().cloned().unwrap_or_default(),
                "metadata" => role.metadata = value.as_object().cloned().unwrap_or_default(),
                "transient_metadata" => {}
                field if field == own || FIELDS.contains(&field) => {
                    role.more.insert(field.to_owned(), value.clone());
                }
                _ => {
                    let reason =
                        format!("failed to parse role [{name}]. unexpected field [{field}]");
                    return Err(parse(reason));
                }
            }
        }
        Ok(role)
    }

    /// Whether nothing is granted.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            cluster,
            indices,
            applications,
            run_as,
            ..
        } = self;
        cluster.is_empty() && indices.is_empty() && applications.is_empty() && run_as.is_empty()
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for privilege in &self.cluster {
            if !CLUSTER.contains(&privilege.as_str()) && !privilege.starts_with("cluster:") {
                wrong.push(unknown_privilege("cluster", privilege));
            }
        }
        for privilege in self.indices.iter().flat_map(|indices| &indices.privileges) {
            if !INDEX.contains(&privilege.as_str()) && !privilege.starts_with("indices:") {
                wrong.push(unknown_privilege("index", privilege));
            }
        }
        wrong.extend(self.applications.iter().filter_map(|application| {
            application["application"]
                .as_str()
                .and_then(short_application)
        }));
        if self.metadata.keys().any(|key| key.starts_with('_')) {
            wrong.push("role descriptor metadata keys may not start with [_]".to_owned());
        }
        wrong
    }

    /// The form in which it comes back.
    pub(super) fn json(&self) -> Value {
        let indices: Vec<_> = self.indices.iter().map(Indices::json).collect();
        let mut json = json!({
            "cluster": self.cluster,
            "indices": indices,
            "applications": self.applications,
            "run_as": self.run_as,
            "metadata": self.metadata,
            "transient_metadata": { "enabled": true },
        });
        if let Value::Object(json) = &mut json {
            json.extend(self.more.clone());
        }
        json
    }
}

impl Indices {
    fn read_all(role: &str, sent: &Value) -> Result<Vec<Self>, Cause> {
        let items = sent.as_array().ok_or_else(|| {
            let found = kind(sent);
            parse(format!(
                "failed to parse indices privileges for role [{role}]. expected field [indices] \
                 value to be an array, but found [{found}] instead"
            ))
        })?;
        items.iter().map(|item| Self::read(role, item)).collect()
    }

    fn read(role: &str, sent: &Value) -> Result<Self, Cause> {
        let texts = |field: &str| -> Result<Vec<String>, Cause> {
            match &sent[field] {
                Value::String(one) => Ok(vec![one.clone()]),
                Value::Array(_) => list(role, field, &sent[field]),
                _ => Err(parse(format!(
                    "failed to parse indices privileges for role [{role}]. missing required \
                     [{field}] field"
                ))),
            }
        };
        Ok(Self {
            names: texts("names")?,
            privileges: texts("privileges")?,
            field_security: sent.get("field_security").cloned(),
            query: sent.get("query").map(|query| match query {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }),
            allow_restricted: sent["allow_restricted_indices"]
                .as_bool()
                .unwrap_or_default(),
        })
    }

    fn json(&self) -> Value {
        let mut json = json!({
            "names": self.names,
            "privileges": self.privileges,
            "allow_restricted_indices": self.allow_restricted,
        });
        if let Some(fields) = &self.field_security {
            json["field_security"] = fields.clone();
        }
        if let Some(query) = &self.query {
            json["query"] = json!(query);
        }
        json
    }
}

fn parse(reason: String) -> Cause {
    Cause::new("parse_exception", reason)
}

fn list(role: &str, field: &str, sent: &Value) -> Result<Vec<String>, Cause> {
    let texts = sent.as_array().and_then(|items| {
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    texts.ok_or_else(|| {
        let found = kind(sent);
        parse(format!("failed to parse role [{role}]")).by(parse(format!(
            "could not parse [{field}] field. expected a string array but found [{found}] value \
             instead"
        )))
    })
}

/// The error for a privilege that there is not.
pub(super) fn unknown_privilege(of: &str, privilege: &str) -> String {
    let (names, actions) = if of == "cluster" {
        (&CLUSTER[..], "cluster")
    } else {
        (&INDEX[..], "index")
    };
    format!(
        "unknown {of} privilege [{privilege}]. a privilege must be either one of the predefined \
         {of} privilege names [{}] or a pattern over one of the available {actions} actions",
        names.join(",")
    )
}

/// The error for an application whose name is too short.
pub(super) fn short_application(name: &str) -> Option<String> {
    let prefix = name.split(['-', '*']).next().unwrap_or_default();
    (prefix.len() < 3 && !name.contains('*')).then(|| {
        format!("An application name prefix must be at least 3 characters long (found '{prefix}')")
    })
}

const PATH: &str = "Role names must be at least 1 and no more than 507 characters. They can \
                    contain alphanumeric characters (a-z, A-Z, 0-9), spaces, punctuation, and \
                    printable symbols in the Basic Latin (ASCII) block. Leading or trailing \
                    whitespace is not allowed.";

/// What is wrong with the name of a role.
pub(super) fn bad_name(name: &str) -> Option<String> {
    (!super::users::plain(name)).then(|| PATH.to_owned())
}

/// `PUT /_security/role/{name}`.
pub(super) fn put(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    let name = call.at(0);
    if call.body.is_empty() {
        return Err(Problem::unreadable("request body is required"));
    }
    let sent = super::json::strict(&call.body)?;
    let role = Descriptor::read(name, &sent, Of::Role).map_err(|cause| super::json::bad(&cause))?;
    let mut wrong = role.check();
    wrong.extend(bad_name(name));
    if name == SUPERUSER {
        wrong.push(format!("Role [{name}] is reserved and may not be used."));
    }
    Problem::invalid(&wrong)?;
    server.authorize(call, Action::PutRole)?;
    let before = server.roles.insert(name.to_owned(), role);
    Ok(Answer::ok(
        json!({ "role": { "created": before.is_none() } }),
    ))
}

/// `GET /_security/role` and `/_security/role/{names}`.
pub(super) fn get(server: &mut Elasticsearch, call: &Call) -> Reply {
    server.authorize(call, Action::GetRoles)?;
    let all: BTreeMap<&str, Value> = server
        .roles
        .iter()
        .map(|(name, role)| (name.as_str(), role.json()))
        .collect();
    if call.places.is_empty() {
        return Ok(Answer::ok(json!(all)));
    }
    let found: BTreeMap<&str, &Value> = call
        .at(0)
        .split(',')
        .filter_map(|name| all.get_key_value(name))
        .map(|(name, role)| (*name, role))
        .collect();
    if found.is_empty() {
        return Ok(Answer::absent(json!({})));
    }
    Ok(Answer::ok(json!(found)))
}

/// `DELETE /_security/role/{name}`.
pub(super) fn delete(server: &mut Elasticsearch, call: &Call) -> Reply {
    call.refresh()?;
    server.authorize(call, Action::DeleteRole)?;
    let name = call.at(0);
    if name == SUPERUSER {
        let reason = format!("role [{name}] is reserved and cannot be deleted");
        return Err(Problem::illegal(reason));
    }
    match server.roles.remove(name) {
        Some(_) => Ok(Answer::ok(json!({ "found": true }))),
        None => Ok(Answer::absent(json!({ "found": false }))),
    }
}
