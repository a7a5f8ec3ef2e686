//! The chart: it is sound, it refuses typos, and it grants exactly what the operator does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use apikey_operator::check::{LEASE_RIGHTS, RIGHTS, Right};
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;
use testbed::process::run;
use tokio::process::Command;

use crate::ladder::{Ground, Rung};

/// The rung.
pub(crate) fn rung() -> Rung {
    Rung::new("chart")
        .plain("its_version_is_ours", its_version_is_ours)
        .test("it_is_sound", it_is_sound)
        .test("it_refuses_typos", it_refuses_typos)
        .test("an_api_server_takes_it", an_api_server_takes_it)
        .test("it_says_what_is_set", it_says_what_is_set)
        .test(
            "one_operator_alone_needs_no_lease",
            one_operator_alone_needs_no_lease,
        )
        .test(
            "it_grants_what_is_needed_and_no_more",
            it_grants_what_is_needed_and_no_more,
        )
        .test(
            "check_is_content_with_its_rights",
            check_is_content_with_its_rights,
        )
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/apikey-operator")
}

/// Every value set to something else than it is.
fn other_values() -> Value {
    json!({
        "image": {
            "repository": "registry.example/operator",
            "tag": "v9",
            "digest": format!("sha256:{}", "0".repeat(64)),
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "nameOverride": "other",
        "fullnameOverride": "other-name",
        "replicas": 3,
        "leaderElection": {
            "enabled": true,
            "leaseDuration": "1m",
            "renewDeadline": "40s",
            "retryPeriod": "5s",
        },
        "allowedServers": ["*.example.org", "octopus.example"],
        "installation": "prod-1",
        "trustRequestedBy": "on",
        "restartWorkloads": true,
        "workloadIdentity": true,
        "log": {"filter": "info,apikey_operator=trace", "format": "text"},
        "serviceAccount": {"name": "account", "create": false, "annotations": {"a": "b"}},
        "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "priorityClassName": "high",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    })
}

fn its_version_is_ours() -> Result<()> {
    let chart: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(folder().join("Chart.yaml"))?)?;
    for field in ["version", "appVersion"] {
        ensure!(
            chart[field] == env!("CARGO_PKG_VERSION"),
            "{field} is {}",
            chart[field]
        );
    }
    Ok(())
}

async fn it_is_sound(ground: Arc<Ground>) -> Result<()> {
    let mut lint = ground.control_plane().await?.helm();
    lint.args(["lint", "--strict"]).arg(folder());
    run(lint, "").await?;
    Ok(())
}

async fn it_refuses_typos(ground: Arc<Ground>) -> Result<()> {
    let control_plane = ground.control_plane().await?;
    for (values, why) in [
        (json!({"replcas": 2}), "'replcas' not allowed"),
        (json!({"image": {"tga": "v1"}}), "'tga' not allowed"),
        (json!({"log": {"fromat": "text"}}), "'fromat' not allowed"),
        (json!({"log": {"format": "xml"}}), "/log/format"),
        (
            json!({"replicas": 2, "leaderElection": {"enabled": false}}),
            "/replicas",
        ),
        (
            json!({"leaderElection": {"leaseDuration": "15"}}),
            "/leaderElection/leaseDuration",
        ),
        (json!({"trustRequestedBy": true}), "/trustRequestedBy"),
        (json!({"restartWorkloads": "yes"}), "/restartWorkloads"),
        (json!({"workloadIdentity": "yes"}), "/workloadIdentity"),
        (json!({"installation": "Prod"}), "/installation"),
        (
            json!({"allowedServers": "octopus.example"}),
            "/allowedServers",
        ),
        (
            json!({"serviceAccount": {"create": false}}),
            "/serviceAccount/name",
        ),
        (json!({"resources": {"limit": {}}}), "'limit' not allowed"),
    ] {
        let Err(refusal) = render(control_plane, "default", &values).await else {
            bail!("{values} was taken")
        };
        let refusal = format!("{refusal:#}");
        ensure!(
            refusal.contains(why),
            "{values} was refused, but not with {why:?}: {refusal}"
        );
    }
    Ok(())
}

async fn an_api_server_takes_it(ground: Arc<Ground>) -> Result<()> {
    let control_plane = ground.control_plane().await?;
    for values in [json!({}), other_values()] {
        let manifests = render(control_plane, "default", &values).await?;
        let mut apply = control_plane.kubectl();
        apply.args([
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--filename=-",
        ]);
        run(apply, &manifests).await?;
    }
    Ok(())
}

async fn it_says_what_is_set(ground: Arc<Ground>) -> Result<()> {
    let values = other_values();
    let documented: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(folder().join("values.yaml"))?)?;
    let names = |values: &Value| -> BTreeSet<String> {
        values
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    ensure!(
        names(&values) == names(&documented),
        "not every value is tried: {documented}"
    );

    let manifests = render(ground.control_plane().await?, "default", &values).await?;
    let deployment = one(&manifests, "Deployment")?;
    ensure!(deployment["spec"]["replicas"] == 3, "{deployment}");
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let image = container["image"].as_str().unwrap_or_default();
    ensure!(
        image.starts_with("registry.example/operator@sha256:0"),
        "{image}"
    );
    let expected = json!([
        "run",
        "--release=tried",
        "--listen=0.0.0.0:8080",
        "--trust-requested-by=on",
        "--log=info,apikey_operator=trace",
        "--log-format=text",
        "--lease-duration=1m",
        "--lease-renew-deadline=40s",
        "--lease-retry-period=5s",
        "--installation=prod-1",
        "--allowed-servers=*.example.org",
        "--allowed-servers=octopus.example",
    ]);
    ensure!(container["args"] == expected, "{}", container["args"]);
    ensure!(pod["spec"]["serviceAccountName"] == "account", "{pod}");
    ensure!(
        one(&manifests, "ServiceAccount").is_err(),
        "an account that is there is made"
    );
    Ok(())
}

async fn one_operator_alone_needs_no_lease(ground: Arc<Ground>) -> Result<()> {
    let control_plane = ground.control_plane().await?;
    let alone = json!({"leaderElection": {"enabled": false}});
    for (values, election, strategy, roles) in [
        (json!({}), "on", "RollingUpdate", 1),
        (alone, "off", "Recreate", 0),
    ] {
        let manifests = render(control_plane, "default", &values).await?;
        let deployment = &one(&manifests, "Deployment")?["spec"];
        ensure!(
            deployment["strategy"]["type"] == strategy,
            "{values}: {deployment}"
        );
        let env = &deployment["template"]["spec"]["containers"][0]["env"];
        let wanted = json!({"name": "APIKEY_OPERATOR_LEADER_ELECTION", "value": election});
        let env = env.as_array().context("no environment")?;
        ensure!(env.contains(&wanted), "{values}: {env:?}");
        for kind in ["Role", "RoleBinding"] {
            let found = all(&manifests, kind)?.len();
            ensure!(found == roles, "{values}: {found} of kind {kind}");
        }
    }
    Ok(())
}

/// One thing that may be done: group, resource, verb.
pub(crate) type Grant = (String, String, String);

/// All that the chart grants to the operator, at the most.
pub(crate) async fn granted(control_plane: &ControlPlane) -> Result<BTreeSet<Grant>> {
    let all = json!({"restartWorkloads": true, "workloadIdentity": true});
    let manifests = render(control_plane, "default", &all).await?;
    let everywhere = grants(&one(&manifests, "ClusterRole")?["rules"]);
    let at_home = grants(&one(&manifests, "Role")?["rules"]);
    Ok(everywhere.union(&at_home).cloned().collect())
}

async fn it_grants_what_is_needed_and_no_more(ground: Arc<Ground>) -> Result<()> {
    let manifests = render(ground.control_plane().await?, "default", &json!({})).await?;
    for (kind, rights) in [("ClusterRole", &RIGHTS[..]), ("Role", &LEASE_RIGHTS[..])] {
        let granted = grants(&one(&manifests, kind)?["rules"]);
        let needed = needed(rights);
        let differing: Vec<_> = granted.symmetric_difference(&needed).collect();
        ensure!(
            differing.is_empty(),
            "{kind}: in one list only: {differing:?}"
        );
    }
    let own = json!({
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["tried-apikey-operator"],
        "verbs": ["get", "update"],
    });
    let rules = one(&manifests, "Role")?["rules"].clone();
    ensure!(rules[1] == own, "not its own Lease alone: {rules}");
    let restarts = granted(ground.control_plane().await?).await?;
    let beyond = restarts
        .iter()
        .filter(|(group, ..)| group == "apps")
        .count();
    ensure!(
        beyond == 6,
        "workloads are read and patched when that is wished for"
    );
    Ok(())
}

fn needed(rights: &[Right]) -> BTreeSet<Grant> {
    rights
        .iter()
        .flat_map(|right| {
            right
                .verbs
                .iter()
                .map(move |verb| (right.group, right.resource, verb))
        })
        .map(|(group, resource, verb)| (group.into(), resource.into(), (*verb).into()))
        .collect()
}

/// What the rules of a role grant.
fn grants(rules: &Value) -> BTreeSet<Grant> {
    let texts = |value: &Value| -> Vec<String> {
        let texts = value.as_array().into_iter().flatten();
        texts
            .map(|text| text.as_str().unwrap_or("?").to_owned())
            .collect()
    };
    let mut grants = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    grants.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    grants
}

/// `apikey-operator check`, as the chart's own account and as one without any right.
async fn check_is_content_with_its_rights(ground: Arc<Ground>) -> Result<()> {
    let control_plane = ground.control_plane().await?;
    crate::crds::install(control_plane).await?;
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: charted}}";
    let nobody =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody, namespace: charted}}";
    control_plane
        .apply(&format!("{namespace}\n---\n{nobody}"))
        .await?;
    control_plane
        .apply(&render(control_plane, "charted", &json!({})).await?)
        .await?;

    let content = check(control_plane, "tried-apikey-operator").await?;
    ensure!(content.status.success(), "{content:?}");
    let said = String::from_utf8(content.stdout)?;
    ensure!(
        said.contains("system:serviceaccount:charted:tried-apikey-operator"),
        "{said}"
    );
    ensure!(
        said.contains("apikeys.apikeys.dev is served in v1alpha1"),
        "{said}"
    );
    ensure!(!said.contains("missing"), "{said}");

    let lacking = check(control_plane, "nobody").await?;
    ensure!(lacking.status.code() == Some(1), "{lacking:?}");
    let said = String::from_utf8(lacking.stdout)?;
    ensure!(
        said.contains("missing  may not create, patch events.events.k8s.io"),
        "{said}"
    );
    let lines = RIGHTS.len() + LEASE_RIGHTS.len();
    ensure!(said.matches("missing").count() == lines, "{said}");
    Ok(())
}

async fn check(control_plane: &ControlPlane, account: &str) -> Result<std::process::Output> {
    let kubeconfig = control_plane.kubeconfig_for("charted", account).await?;
    let mut check = Command::new(env!("CARGO_BIN_EXE_apikey-operator"));
    check
        .args(["check", "--operator-namespace=charted"])
        .arg("--lease-name=tried-apikey-operator")
        .env("KUBECONFIG", kubeconfig)
        .kill_on_drop(true);
    check.output().await.context("the operator does not start")
}

/// What the chart makes of these values, for the release `tried`.
async fn render(control_plane: &ControlPlane, namespace: &str, values: &Value) -> Result<String> {
    let mut template = control_plane.helm();
    template
        .args(["template", "tried", "--namespace", namespace, "--values=-"])
        .arg(folder());
    run(template, &values.to_string()).await
}

/// The one manifest of a kind.
fn one(manifests: &str, kind: &str) -> Result<Value> {
    let mut found = all(manifests, kind)?;
    ensure!(found.len() < 2, "there are several of kind {kind}");
    found.pop().with_context(|| format!("there is no {kind}"))
}

/// All manifests of a kind.
fn all(manifests: &str, kind: &str) -> Result<Vec<Value>> {
    let mut all: Vec<Value> = serde_saphyr::from_multiple(manifests)?;
    all.retain(|manifest| manifest["kind"] == kind);
    Ok(all)
}
