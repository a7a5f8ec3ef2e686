//! The definitions of the kinds: that the files in the repository are what the types say, and what
//! a real API server takes and refuses.
//!
//! [`cases`] is a table; [`play`] plays one row of it to an API server that has the definitions and
//! the namespace [`NAMESPACE`]. What is accepted must also parse into our types, with the defaults
//! that the API server has filled in.

mod cases;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use apikey_operator::api::{
    ApiKey, ClusterDeployServer, DeployServer, ServiceAccount, check_files, crds_yaml,
};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use simulation::manifests;
use simulation::scene::{self, Scene};
use testbed::control_plane::ControlPlane;
use testbed::process::run;

use self::cases::cases;
use crate::ladder::{Ground, Rung};

/// The rung.
pub(crate) fn rung() -> Rung {
    Rung::new("crds")
        .plain("files_are_current", files_are_current)
        .plain("cases_are_sound", cases_are_sound)
        .plain("each_rule_refuses_a_case", each_rule_refuses_a_case)
        .test(
            "an_api_server_keeps_the_rules",
            an_api_server_keeps_the_rules,
        )
        .apart(
            "the_simulated_one_keeps_the_rules_too",
            the_simulated_one_keeps_the_rules_too,
        )
}

/// Installs the definitions, and returns when they are served. May be done again and again.
pub(crate) async fn install(control_plane: &ControlPlane) -> Result<()> {
    let files: Vec<String> = crds_yaml()?.into_iter().map(|(_, text)| text).collect();
    let mut apply = control_plane.kubectl();
    apply.args(["apply", "--server-side", "--filename=-"]);
    run(apply, &files.join("\n---\n")).await?;
    let mut wait = control_plane.kubectl();
    wait.args([
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd",
        "--all",
    ]);
    run(wait, "").await?;
    Ok(())
}

async fn an_api_server_keeps_the_rules(ground: Arc<Ground>) -> Result<()> {
    let control_plane = ground.control_plane().await?;
    install(control_plane).await?;
    let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}");
    control_plane.apply(&namespace).await?;
    let apply = async |manifest: &str| {
        let mut apply = control_plane.kubectl();
        apply.args(["apply", "--output=json", "--filename=-"]);
        run(apply, manifest).await
    };
    let wrong: Vec<String> = stream::iter(cases())
        .map(async |case| {
            let played = play(&case, apply).await;
            played
                .err()
                .map(|error| format!("{}: {error:#}", case.name))
        })
        .buffered(AT_A_TIME)
        .filter_map(std::future::ready)
        .collect()
        .await;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn the_simulated_one_keeps_the_rules_too() -> Result<()> {
    scene::play(|| async {
        let scene = Scene::new().await?;
        scene.apply(&manifests::namespace(NAMESPACE)).await?;
        let apply = async |manifest: &str| {
            let manifest: Value = serde_saphyr::from_str(manifest)?;
            Ok(scene.apply(&manifest).await?.to_string())
        };
        let mut wrong = Vec::new();
        for case in cases().into_iter().filter(|case| !case.is_strict()) {
            if let Err(error) = play(&case, apply).await {
                wrong.push(format!("{}: {error:#}", case.name));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

/// So many cases are played at a time.
const AT_A_TIME: usize = 4;

/// Where the cases of namespaced kinds are played.
const NAMESPACE: &str = "crds";

/// Fails when the files in the repository are not what the types say.
pub(crate) fn files_are_current() -> Result<()> {
    Ok(check_files(Path::new(env!("CARGO_MANIFEST_DIR")))?)
}

/// A kind of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    DeployServer,
    ClusterDeployServer,
    ServiceAccount,
    ApiKey,
}

/// What is done to an object; texts are the YAML of its `spec`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Create(&'static str),
    Update {
        from: &'static str,
        to: &'static str,
    },
}

/// What the API server shall say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    Accepted,
    /// A refusal with this text in it.
    Refused(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Unique; also the object's name.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) change: Change,
    pub(crate) expected: Expected,
}

impl Case {
    /// Whether it is about a field that the schema does not know. `kubectl` has that refused
    /// (`fieldValidation=Strict`); the simulated API server drops it, as it does for whoever does not
    /// ask.
    fn is_strict(&self) -> bool {
        matches!(self.expected, Expected::Refused(why) if why.starts_with("unknown field"))
    }

    fn manifest(&self, spec: &str) -> String {
        let namespace = match self.kind {
            Kind::ClusterDeployServer => String::new(),
            _ => format!("  namespace: {NAMESPACE}\n"),
        };
        let spec = spec.trim().replace('\n', "\n  ");
        format!(
            "apiVersion: apikeys.dev/v1alpha1\nkind: {:?}\nmetadata:\n  name: {}\n{namespace}spec:\n  {spec}\n",
            self.kind, self.name
        )
    }
}

/// Fails unless the table itself is sound: names are unique and names of objects, and each manifest
/// is YAML. It also makes sure that each kind has cases of both outcomes.
pub(crate) fn cases_are_sound() -> Result<()> {
    let mut seen = BTreeSet::new();
    let mut outcomes = BTreeSet::new();
    for case in cases() {
        ensure!(seen.insert(case.name), "{} comes twice", case.name);
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(case.name.chars().all(plain), "{} is not a name", case.name);
        outcomes.insert(format!(
            "{:?} {}",
            case.kind,
            matches!(case.expected, Expected::Accepted)
        ));
        let specs = match case.change {
            Change::Create(spec) => vec![spec],
            Change::Update { from, to } => vec![from, to],
        };
        for spec in specs {
            let manifest: Value = serde_saphyr::from_str(&case.manifest(spec))
                .with_context(|| case.name.to_owned())?;
            ensure!(manifest["spec"].is_object(), "{} has no spec", case.name);
        }
    }
    ensure!(outcomes.len() == 8, "some kind lacks cases: {outcomes:?}");
    Ok(())
}

/// Fails unless each rule of the definitions has a case that it refuses.
fn each_rule_refuses_a_case() -> Result<()> {
    let told: Vec<&str> = cases()
        .iter()
        .filter_map(|case| match case.expected {
            Expected::Refused(why) => Some(why),
            Expected::Accepted => None,
        })
        .collect();
    let mut messages = BTreeSet::new();
    for (_, text) in crds_yaml()? {
        gather(&serde_saphyr::from_str(&text)?, &mut messages);
    }
    ensure!(messages.len() > 30, "only {} rules", messages.len());
    messages.retain(|message| {
        let played = |why: &&str| message.contains(*why) || why.contains(message.as_str());
        !told.iter().any(played)
    });
    ensure!(messages.is_empty(), "no case is refused by: {messages:#?}");
    Ok(())
}

/// The messages of all rules of a schema.
fn gather(schema: &Value, messages: &mut BTreeSet<String>) {
    if let Some(rules) = schema["x-kubernetes-validations"].as_array() {
        let said = rules.iter().filter_map(|rule| rule["message"].as_str());
        messages.extend(said.map(ToOwned::to_owned));
    }
    match schema {
        Value::Object(fields) => fields.values().for_each(|inner| gather(inner, messages)),
        Value::Array(items) => items.iter().for_each(|inner| gather(inner, messages)),
        _ => {}
    }
}

/// Plays one case. `apply` applies a manifest as `kubectl apply -o json` does, and returns the
/// object as it is stored, or fails with the API server's words.
pub(crate) async fn play(case: &Case, apply: impl AsyncFn(&str) -> Result<String>) -> Result<()> {
    let spec = match case.change {
        Change::Create(spec) => spec,
        Change::Update { from, to } => {
            apply(&case.manifest(from))
                .await
                .context("the object before the change")?;
            to
        }
    };
    match (apply(&case.manifest(spec)).await, case.expected) {
        (Ok(stored), Expected::Accepted) => parses(case, &stored),
        (Ok(_), Expected::Refused(why)) => bail!("was accepted, but should be refused: {why}"),
        (Err(refusal), Expected::Refused(why)) => {
            let said = format!("{refusal:#}");
            ensure!(
                said.contains(why),
                "was refused, but not with {why:?}: {said}"
            );
            Ok(())
        }
        (Err(refusal), Expected::Accepted) => Err(refusal.context("should be accepted")),
    }
}

/// Whether a stored object is one of our types, whole: what is written again is what was read. One
/// that nobody has looked at yet says so.
fn parses(case: &Case, stored: &str) -> Result<()> {
    fn again<T: serde::de::DeserializeOwned + serde::Serialize>(stored: &Value) -> Result<Value> {
        Ok(serde_json::to_value(serde_json::from_value::<T>(
            stored.clone(),
        )?)?)
    }
    let stored: Value = serde_json::from_str(stored)?;
    if matches!(case.change, Change::Create(_)) {
        ensure!(stored["status"]["observedGeneration"] == -1, "{stored}");
    }
    let read = match case.kind {
        Kind::DeployServer => again::<DeployServer>(&stored),
        Kind::ClusterDeployServer => again::<ClusterDeployServer>(&stored),
        Kind::ServiceAccount => again::<ServiceAccount>(&stored),
        Kind::ApiKey => again::<ApiKey>(&stored),
    }
    .context("was accepted, but does not parse")?;
    for part in ["spec", "status"] {
        ensure!(
            read[part] == stored[part],
            "{part} is not what was stored:\n{}\n{}",
            read[part],
            stored[part]
        );
    }
    Ok(())
}
