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
    let mut fields = 0;
    for definition in all_crds() {
        let kind = &definition.spec.names.plural;
        let schema = serde_json::to_value(&definition.spec.versions[0].schema)?;
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        let [whole, rotation] = [
            explained(&case, &format!("{kind}.spec")).await?,
            match spec["properties"].get("rotation") {
                Some(_) => explained(&case, &format!("{kind}.spec.rotation")).await?,
                None => String::new(),
            },
        ];
        for (field, told) in words(spec) {
            ensure!(whole.contains(&told), "{kind}.spec.{field}: {told}");
            fields += 1;
        }
        for (field, told) in words(&spec["properties"]["rotation"]) {
            ensure!(rotation.contains(&told), "{kind}.spec.rotation.{field}");
            fields += 1;
        }
    }
    ensure!(fields > 40, "only {fields} fields are explained");
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

/// The fields of a schema, and the words for each.
fn words(schema: &Value) -> Vec<(String, String)> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let told = |field: &Value| even(field["description"].as_str().unwrap_or("no words"));
    fields
        .map(|(name, field)| (name.clone(), told(field)))
        .collect()
}
