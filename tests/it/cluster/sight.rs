//! What people see: `kubectl get` and `kubectl explain`.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::all_crds;
use serde_json::Value;

use super::case::{Account, Case, Cluster, Key, Server};
use super::{Row, rows};

pub(super) fn rows() -> Vec<Row> {
    rows![columns, category, explanations]
}

/// The cells of the two lines that `kubectl get` prints about one object.
async fn table(case: &Case, kind: &str, name: &str, wide: &[&str]) -> Result<[Vec<String>; 2]> {
    let args = ["get", kind, name, "--namespace", &case.namespace];
    let printed = case.kubectl(&[&args, wide].concat(), "").await?;
    let cells = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect();
    let lines: Vec<Vec<String>> = printed.lines().map(cells).collect();
    let lines: Result<[_; 2], _> = lines.try_into();
    lines
        .ok()
        .with_context(|| format!("not a table of one row:\n{printed}"))
}

/// One of everything on each kind of connection, and counted.
async fn shown(case: &Case) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let cluster = &case.namespace;
    case.apply(&case.cluster_server("grants: [{namespaces: {from: All}}]"))
        .await?;
    let reference = format!("serverRef: {{kind: ClusterDeployServer, name: {cluster}}}");
    case.apply(&[
        case.object("ServiceAccount", "shared", &reference),
        case.object("ApiKey", "shared", "serviceAccountRef: {name: shared}"),
    ])
    .await?;
    case.ready(Key("shared")).await?;
    for object in [Account("ci"), Server("octopus"), Cluster(cluster)] {
        case.until(object, "counts its key", |found| {
            (found?.data["status"]["keys"]["managed"] == 1).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// The headers word by word, and a row in which every cell has its meaning.
async fn columns(case: Arc<Case>) -> Result<()> {
    shown(&case).await?;
    let (url, home) = (case.url(), case.namespace.clone());
    let status = |object: Value, path: &str| {
        let value = object.pointer(path).cloned().unwrap_or_default();
        value.as_str().unwrap_or_default().to_owned()
    };
    let key = case.get(Key("ci")).await?.data;
    let [expires, rotates, id] = [
        "/status/current/expiresAt",
        "/status/rotateAt",
        "/status/current/id",
    ]
    .map(|path| status(key.clone(), path));
    let version = status(case.get(Server("octopus")).await?.data, "/status/version");
    let user = case.account_id(&format!("{home}.ci"))?;
    ensure!(!expires.is_empty() && !rotates.is_empty() && !version.is_empty());

    let connection = "NAME TYPE URL READY REASON VERSION KEYS AGE";
    let account = "NAME SERVER USERNAME ID READY REASON KEYS AGE";
    let narrow = "NAME ACCOUNT READY REASON EXPIRES ROTATES AGE";
    let wide = "NAME ACCOUNT READY REASON EXPIRES ROTATES SECRET KEY-ID SERIAL AGE";
    let connected = format!("octopus Octopus {url} True Ready {version} 1");
    let owned = format!("ci octopus {home}.ci {user} True Ready 1");
    let known = format!("ci ci True Ready {expires} {rotates}");
    let known_widely = format!("{known} ci {id} 1");
    let of_cluster = format!("{home} Octopus {url} True Ready {version} 1");
    let both: &[&[&str]] = &[&[], &["--output=wide"]];
    for (kind, name, headers, row, wides) in [
        ("dsrv", "octopus", connection, &connected, both),
        ("dsa", "ci", account, &owned, both),
        ("cdsrv", &home, connection, &of_cluster, both),
        ("apk", "ci", narrow, &known, &both[..1]),
        ("apk", "ci", wide, &known_widely, &both[1..]),
    ] {
        for wide in wides {
            let [shown, cells] = table(&case, kind, name, wide).await?;
            ensure!(shown.join(" ") == headers, "{kind} {wide:?}: {shown:?}");
            let line = cells.join(" ");
            ensure!(
                line.starts_with(row.as_str()),
                "{kind} {wide:?}: {line:?} instead of {row:?}"
            );
            // An age ends the row: no cell is empty, and nothing is said to be invalid.
            let age = cells.last().map(String::as_str).unwrap_or_default();
            let aged = age.starts_with(|first: char| first.is_ascii_digit())
                && age.ends_with(['s', 'm', 'h']);
            ensure!(
                cells.len() == shown.len() && aged,
                "{kind} {wide:?}: {line:?}"
            );
        }
    }
    Ok(())
}

/// Everything of ours under one word, and nothing of it under `all`.
async fn category(case: Arc<Case>) -> Result<()> {
    shown(&case).await?;
    let names = async |category: &str| {
        let args = ["get", category, "--output=name", "--namespace"];
        let printed = case
            .kubectl(&[&args[..], &[&case.namespace]].concat(), "")
            .await?;
        let names = printed.lines().filter(|name| name.contains("apikeys.dev/"));
        anyhow::Ok(names.map(ToOwned::to_owned).collect::<BTreeSet<String>>())
    };
    let ours = names("apikey-operator").await?;
    for name in [
        "apikey.apikeys.dev/ci",
        "serviceaccount.apikeys.dev/ci",
        "deployserver.apikeys.dev/octopus",
        &format!("clusterdeployserver.apikeys.dev/{}", case.namespace),
    ] {
        ensure!(ours.contains(name), "no {name} among {ours:?}");
    }
    let all = names("all").await?;
    ensure!(all.is_empty(), "{all:?}");
    Ok(())
}

/// `kubectl explain` has the words of every field.
async fn explanations(case: Arc<Case>) -> Result<()> {
    // What a new definition explains is known a moment after it counts.
    case.shown_by("explanations", async || {
        Ok(explained(&case, "apikey.spec").await.is_ok())
    })
    .await?;
    let mut objects = Vec::new();
    for definition in all_crds() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema)?;
        let whole = &schema["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            let path = format!("{}.{part}", definition.spec.names.plural);
            gather(&path, &whole[part], &mut objects);
        }
    }
    let mut fields = 0;
    for (path, told) in objects {
        let explained = explained(&case, &path).await?;
        for (field, words) in told {
            ensure!(explained.contains(&words), "{path}.{field}: {words}");
            fields += 1;
        }
    }
    ensure!(fields > 200, "only {fields} fields are explained");
    let lifetime = explained(&case, "apikey.spec.lifetime").await?;
    ensure!(lifetime.contains("How long a key lives"), "{lifetime}");
    Ok(())
}

/// What `kubectl explain` prints, apart by single blanks.
async fn explained(case: &Case, path: &str) -> Result<String> {
    let args = ["explain", path, "--api-version=apikeys.dev/v1alpha1"];
    Ok(even(&case.kubectl(&args, "").await?))
}

fn even(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The objects of a schema with the path of each, its fields, and the words for each field.
fn gather(path: &str, schema: &Value, objects: &mut Vec<(String, Vec<(String, String)>)>) {
    // What lies in a list or a map is explained at its own path.
    let schema = [&schema["items"], &schema["additionalProperties"]]
        .into_iter()
        .find(|inner| inner.is_object())
        .unwrap_or(schema);
    let Some(fields) = schema["properties"].as_object() else {
        return;
    };
    let told = |field: &Value| even(field["description"].as_str().unwrap_or("no words"));
    let words = fields
        .iter()
        .map(|(name, field)| (name.clone(), told(field)));
    objects.push((path.to_owned(), words.collect()));
    for (name, field) in fields {
        gather(&format!("{path}.{name}"), field, objects);
    }
}
