//! The kinds that every cluster has, with what is particular to each: as far as an operator that
//! holds Secrets, Events, a Lease and restarts workloads can tell.

use anyhow::Result;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::kind::{Kind, Origin, Scope, StatusDoor};
use super::refusal::{Cause, Fault, Refusal};
use super::schema::Schema;

/// The most bytes that the values of a Secret or ConfigMap may have together.
const DATA_LIMIT: usize = 1024 * 1024;

pub(super) fn kinds() -> Result<Vec<Kind>> {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let flag = json!({"type": "boolean"});
    let fields = |properties: Value| json!({"type": "object", "properties": properties});
    let workload = fields(json!({"spec": open, "status": open}));
    let event = [
        "eventTime",
        "series",
        "reportingController",
        "reportingInstance",
        "action",
        "reason",
        "regarding",
        "related",
        "note",
        "type",
        "deprecatedSource",
        "deprecatedFirstTimestamp",
        "deprecatedLastTimestamp",
        "deprecatedCount",
    ];
    let event: serde_json::Map<String, Value> = event
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({
                    "x-kubernetes-preserve-unknown-fields": true,
                }),
            )
        })
        .collect();
    let namespaced = Scope::Namespaced;
    let secret = fields(json!({
        "data": texts, "stringData": texts, "type": {"type": "string"}, "immutable": flag,
    }));
    let config_map = fields(json!({"data": texts, "binaryData": texts, "immutable": flag}));
    let service_account = fields(json!({
        "automountServiceAccountToken": flag,
        "secrets": {"type": "array", "items": open},
        "imagePullSecrets": {"type": "array", "items": open},
    }));
    let namespace = fields(json!({
        "spec": fields(json!({"finalizers": {"type": "array", "items": {"type": "string"}}})),
        "status": open,
    }));
    let definition = fields(json!({"spec": open, "status": open}));
    Ok(vec![
        kind("", "v1", "Secret", namespaced, secret)?,
        kind("", "v1", "ConfigMap", namespaced, config_map)?,
        kind("", "v1", "ServiceAccount", namespaced, service_account)?,
        with_status(kind("", "v1", "Namespace", Scope::Cluster, namespace)?),
        kind(
            "events.k8s.io",
            "v1",
            "Event",
            namespaced,
            fields(Value::Object(event)),
        )?,
        kind(
            "coordination.k8s.io",
            "v1",
            "Lease",
            namespaced,
            fields(json!({"spec": open})),
        )?,
        with_status(kind(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            Scope::Cluster,
            definition,
        )?),
        self::workload("Deployment", &workload)?,
        self::workload("StatefulSet", &workload)?,
        self::workload("DaemonSet", &workload)?,
    ])
}

fn with_status(kind: Kind) -> Kind {
    Kind {
        status: StatusDoor::Subresource,
        ..kind
    }
}

fn kind(group: &str, version: &str, kind: &str, scope: Scope, schema: Value) -> Result<Kind> {
    Ok(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
        kind: kind.to_owned(),
        scope,
        status: StatusDoor::Plain,
        origin: Origin::Plain,
        schema: Schema::new(schema)?,
    })
}

fn workload(name: &str, schema: &Value) -> Result<Kind> {
    Ok(Kind {
        status: StatusDoor::Subresource,
        origin: Origin::Workload,
        ..kind("apps", "v1", name, Scope::Namespaced, schema.clone())?
    })
}

/// What the server itself writes into an object that is made or changed.
pub(super) fn prepare(kind: &Kind, old: Option<&Value>, new: &mut Value) {
    if kind.is("", "secrets") {
        reveal(new);
        if new["type"].as_str().is_none_or(str::is_empty) {
            new["type"] = old.map_or_else(|| json!("Opaque"), |old| old["type"].clone());
        }
    }
    if kind.is("", "namespaces") && old.is_none() {
        let name = new["metadata"]["name"].clone();
        new["spec"]["finalizers"] = json!(["kubernetes"]);
        new["status"] = json!({"phase": "Active"});
        new["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
    if kind.origin == Origin::Plain
        && let Some(fields) = new.as_object_mut()
    {
        fields.retain(|_, value| *value != json!({}) && !value.is_null());
    }
}

/// `stringData` is only ever written: it becomes `data`.
fn reveal(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret
        .as_object_mut()
        .and_then(|fields| fields.remove("stringData"))
    else {
        return;
    };
    for (name, text) in texts {
        let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
        secret["data"][name] = serde_json::to_value(bytes).unwrap_or_default();
    }
}

/// Reads what the types of a built-in kind demand.
///
/// # Errors
/// 400, as for any body that cannot be decoded.
pub(super) fn decode(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    let unreadable = |why: String| {
        Refusal::bad(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            kind.kind, kind.version, kind.kind
        ))
    };
    if kind.origin == Origin::Custom {
        return Ok(());
    }
    if let Some(cause) = kind.schema.validate(object, None).first() {
        return Err(unreadable(format!("{}: {}", cause.field, cause.message)));
    }
    if kind.is("", "secrets") {
        for (name, value) in object["data"].as_object().into_iter().flatten() {
            serde_json::from_value::<ByteString>(value.clone())
                .map_err(|_| unreadable(format!("illegal base64 data in data.{name}")))?;
        }
    }
    Ok(())
}

/// What is wrong with an object of a built-in kind.
pub(super) fn validate(kind: &Kind, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    if !kind.is("", "secrets") && !kind.is("", "configmaps") {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let mut bytes = 0;
    for (name, value) in new["data"].as_object().into_iter().flatten() {
        bytes += value.as_str().map_or(0, str::len);
        let fits = name
            .bytes()
            .all(|one| one.is_ascii_alphanumeric() || b"-_.".contains(&one));
        if !fits || name.is_empty() || name.len() > 253 || name == "." || name == ".." {
            let message = "a valid config key must consist of alphanumeric characters, '-', '_' \
                           or '.'";
            causes.push(Cause::of(
                format!("data[{name}]"),
                Fault::Invalid,
                &json!(name),
                message,
            ));
        }
    }
    if bytes > DATA_LIMIT * 4 / 3 {
        let message = format!("may not be more than {DATA_LIMIT} bytes");
        causes.push(Cause::new("data", Fault::TooLong, message));
    }
    causes.extend(demanded(new));
    let Some(old) = old else { return causes };
    if kind.is("", "secrets") && old["type"] != new["type"] {
        causes.push(Cause::of(
            "type",
            Fault::Invalid,
            &new["type"],
            "field is immutable",
        ));
    }
    if old["immutable"] == true {
        for field in ["data", "binaryData"] {
            if old[field] != new[field] {
                let message = "field is immutable when `immutable` is set";
                causes.push(Cause::new(field, Fault::Forbidden, message));
            }
        }
        if new["immutable"] != true {
            let message = "field is immutable when `immutable` is set";
            causes.push(Cause::new("immutable", Fault::Forbidden, message));
        }
    }
    causes
}

/// The entries that a Secret of a well-known type must have.
fn demanded(secret: &Value) -> Vec<Cause> {
    let (names, least): (&[&str], usize) = match secret["type"].as_str() {
        Some("kubernetes.io/tls") => (&["tls.crt", "tls.key"], 2),
        Some("kubernetes.io/basic-auth") => (&["username", "password"], 1),
        Some("kubernetes.io/ssh-auth") => (&["ssh-privatekey"], 1),
        Some("kubernetes.io/dockerconfigjson") => (&[".dockerconfigjson"], 1),
        _ => return Vec::new(),
    };
    let lacking: Vec<Cause> = names
        .iter()
        .filter(|name| secret["data"][**name].is_null())
        .map(|name| Cause::new(format!("data[{name}]"), Fault::Required, ""))
        .collect();
    if names.len() - lacking.len() >= least {
        Vec::new()
    } else {
        lacking
    }
}
