//! Rows that need a control plane of their own, one after the other: they kill the operator, or
//! change what all share.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, ResourceExt as _};
use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;
use testbed::twins::Effect;

use super::case::{Account, Case, Cluster, Key, Server};
use super::kills;
use super::stage::{Plane, Stage, USER};
use crate::ladder::Ground;

/// So many keys and credentials are looked for in what was said, at least, when all rows were played.
const MANY: usize = 40;

/// All of them.
pub(super) async fn play(ground: Arc<Ground>) -> Result<()> {
    let stage = Arc::new(Stage::set(Plane::own(&ground).await?).await?);
    if super::is_asked_for("objects_that_do_not_parse") {
        let played = objects_that_do_not_parse(&stage).await;
        played.context("objects that do not parse")?;
    }
    if super::is_asked_for("restart") {
        restart(&stage).await.context("a restart")?;
    }
    if super::is_asked_for("kills") {
        let seed = kills::seed();
        let played = kills::kills(&stage, seed).await;
        played.with_context(|| format!("kills, with SEED={seed}"))?;
    }
    if super::is_asked_for("replicas") {
        let played = super::replicas::two_replicas(&stage).await;
        played.context("two replicas")?;
    }
    if super::is_asked_for("any_host_but_the_api_server") {
        let played = any_host_but_the_api_server(&stage).await;
        played.context("any host but the API server")?;
    }
    crate::leaks::nothing_that_is_said_holds_a_secret(&stage, MANY).await?;
    stage.no_right_was_missing().await
}

/// Objects of every kind that an older definition let in: each says so, and the others go on.
async fn objects_that_do_not_parse(stage: &Arc<Stage>) -> Result<()> {
    let case = Case::open(stage, "objects-that-do-not-parse").await?;
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    a_living_one_breaks(&case).await?;
    let broken = [
        (
            Key("broken"),
            "apikeys.apikeys.dev",
            case.key_named("broken", "lifetime: soon"),
        ),
        (
            Account("broken"),
            "serviceaccounts.apikeys.dev",
            case.account_named("broken", "management: Mystery"),
        ),
        (
            Server("broken"),
            "deployservers.apikeys.dev",
            case.server("resync: never")
                .replace("name: octopus, namespace", "name: broken, namespace"),
        ),
        (
            Cluster("broken"),
            "clusterdeployservers.apikeys.dev",
            cluster_server(&case).replace("resync: 10s", "resync: never"),
        ),
    ];
    for (object, definition, manifest) in &broken {
        let refusal = case.refused(manifest).await?;
        ensure!(refusal.contains("invalid"), "{refusal}");
        loosened(&case, definition, manifest).await?;
        case.says(*object, Reason::Invalid, "The object does not parse")
            .await?;
    }
    // A second one of the kinds that cannot be listed whole.
    let server = |name: &str| {
        let named = format!("name: {name}, namespace");
        case.server("").replace("name: octopus, namespace", &named)
    };
    case.apply(&[
        case.key_named("second", ""),
        case.account_named("other", ""),
        server("other"),
    ])
    .await?;
    case.works_at("second").await?;
    case.ready(Account("other")).await?;
    case.ready(Server("other")).await?;
    case.healed_of(2)?;
    case.apply(&[
        case.key_named("broken", "lifetime: 1d"),
        case.account_named("broken", ""),
    ])
    .await?;
    let [credential, _] = case.cluster_server("");
    case.apply(&[server("broken"), credential, cluster_server(&case)])
        .await?;
    for (object, ..) in broken {
        case.ready(object).await?;
    }
    case.works_at("broken").await?;
    case.healed_of(3)?;
    case.delete(Cluster("broken")).await?;
    case.gone(Cluster("broken")).await?;
    case.end().await
}

/// A ClusterDeployServer `broken`, which is not.
fn cluster_server(case: &Case) -> String {
    let [_, server] = case.cluster_server("");
    let named = format!("metadata: {{name: {}}}", case.namespace);
    server.replace(&named, "metadata: {name: broken}")
}

/// An ApiKey that does not parse any more keeps its key and its Secret, and goes on when it is mended.
async fn a_living_one_breaks(case: &Case) -> Result<()> {
    let value = case.value("ci").await?;
    let broken = case.key("lifetime: soon");
    loosened(case, "apikeys.apikeys.dev", &broken).await?;
    case.says(Key("ci"), Reason::Invalid, "The object does not parse")
        .await?;
    let before = case.twin.sent(Effect::ListKeys);
    case.shown("two resyncs", |case| {
        (case.twin.sent(Effect::ListKeys) >= before + 2).then_some(())
    })
    .await?;
    // It counts as an ApiKey that has every key of its own.
    let counts = |found: Option<&DynamicObject>| {
        let keys = &found?.data["status"]["keys"];
        (keys["managed"] == 1 && keys["orphan"] == 0).then_some(())
    };
    case.until(Account("ci"), "counts its key", counts).await?;
    case.works(&value).context("its key was revoked")?;
    ensure!(case.value("ci").await? == value, "its Secret was changed");
    case.apply(&[case.key("")]).await?;
    case.healed(1).await
}

/// Stores a manifest while its kind has no rules for `spec`.
async fn loosened(case: &Case, definition: &str, manifest: &str) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(case.stage.client.clone());
    let strict = api.get(definition).await?.spec;
    let mut loose = api.get(definition).await?;
    for version in &mut loose.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let properties = properties.context("a definition without properties")?;
        properties.insert("spec".to_owned(), serde_json::from_value(anything)?);
    }
    api.replace(definition, &PostParams::default(), &loose)
        .await?;
    // A definition counts a moment after it was written.
    case.shown_by("the loose definition counts", async || {
        Ok(case.apply(&[manifest]).await.is_ok())
    })
    .await?;
    let mut definition = api.get(definition).await?;
    definition.spec = strict;
    api.replace(&definition.name_any(), &PostParams::default(), &definition)
        .await?;
    // Another object: what is there already may stay as it is.
    let probe = ["broken", "ci"]
        .into_iter()
        .fold(manifest.to_owned(), |text, name| {
            let text = text.replace(&format!("{{name: {name},"), "{name: probe,");
            text.replace(&format!("{{name: {name}}}"), "{name: probe}")
        });
    case.shown_by("the strict definition counts", async || {
        let args = ["apply", "--dry-run=server", "--filename=-"];
        Ok(case.kubectl(&args, &probe).await.is_err())
    })
    .await
}

/// Three accounts with five settled keys each.
async fn settled_keys(stage: &Arc<Stage>) -> Result<Case> {
    let case = Case::open(stage, "settled-keys").await?;
    case.apply(&case.ground()).await?;
    let mut manifests = Vec::new();
    for account in 0..3 {
        let name = format!("a{account}");
        manifests.push(case.account_named(&name, ""));
        for key in 0..5 {
            let spec = format!("serviceAccountRef: {{name: {name}}}");
            manifests.push(case.object("ApiKey", &format!("a{account}k{key}"), &spec));
        }
    }
    case.apply(&manifests).await?;
    for account in 0..3 {
        for key in 0..5 {
            case.ready(Key(&format!("a{account}k{key}"))).await?;
        }
    }
    case.healed_of(15)?;
    // Counts are written at a resync.
    let counted = |keys: u64| {
        move |found: Option<&DynamicObject>| {
            (found?.data["status"]["keys"]["managed"] == keys).then_some(())
        }
    };
    for account in 0..3 {
        case.until(
            Account(&format!("a{account}")),
            "counts its keys",
            counted(5),
        )
        .await?;
    }
    case.until(Server("octopus"), "counts its keys", counted(15))
        .await?;
    Ok(case)
}

/// A restart over settled keys writes nothing, and asks for one list an account.
async fn restart(stage: &Arc<Stage>) -> Result<()> {
    let case = settled_keys(stage).await?;
    stage.stop().await?;
    let before = stage.control_plane().await?.audit().await?.len();
    case.twin.forget();
    stage.start().await?;
    case.shown_by("a pass over each object", async || {
        let (keys, accounts) = (
            stage.passes("ApiKey").await?,
            stage.passes("ServiceAccount").await?,
        );
        Ok(keys >= 15 && accounts >= 3)
    })
    .await?;
    let after = stage.control_plane().await?.audit().await?;
    let writes: Vec<_> = after[before..]
        .iter()
        .filter(|event| event.user == USER && event.verb.writes() && event.resource != "leases")
        .collect();
    ensure!(writes.is_empty(), "it writes: {writes:?}");
    let lists = case.twin.sent(Effect::ListKeys);
    // One an account, and one of our own keys, for the credential's end.
    ensure!(lists <= 4, "{lists} lists for 3 accounts");
    ensure!(case.minted() == 0 && case.living().len() == 15);
    case.end().await
}

/// Who is not told which hosts are allowed lets connections lead anywhere, but not to the API server.
async fn any_host_but_the_api_server(stage: &Arc<Stage>) -> Result<()> {
    stage.stop().await?;
    stage.start_without("--allowed-servers").await?;
    let case = Case::open(stage, "any-host").await?;
    let control_plane = stage.control_plane().await?;
    let config = Kubeconfig::read_from(control_plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let url = config.cluster_url.to_string();
    let authority = authority(control_plane)?;
    let trusted = format!("tls: {{caBundle: {}}}", serde_json::to_string(&authority)?);
    case.apply(&[
        case.offered(&case.start.operator.key),
        case.server_at(url.trim_end_matches('/'), &trusted),
        case.account(""),
        case.key(""),
    ])
    .await?;
    let words = "is the Kubernetes API server";
    case.says(Server("octopus"), Reason::ServerNotAllowed, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, words)
        .await?;
    case.looked_at(Server("octopus")).await?;
    // A stranger's request would show: the API server writes down this one.
    let authority = reqwest::Certificate::from_pem(authority.as_bytes())?;
    let stranger = reqwest::Client::builder().tls_certs_only([authority]);
    let stranger = stranger.build()?;
    stranger.get(format!("{url}api/stranger")).send().await?;
    let asked: Vec<String> = control_plane
        .audit()
        .await?
        .into_iter()
        .filter(|event| event.user == "system:anonymous" || event.user.is_empty())
        .map(|event| event.request_uri)
        .filter(|uri| uri.starts_with("/api"))
        .collect();
    ensure!(asked == ["/api/stranger"], "{asked:?}");
    case.end().await?;
    // An address is for life.
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.end().await
}

/// The authority that signed the API server's certificate.
fn authority(control_plane: &ControlPlane) -> Result<String> {
    let config: Value =
        serde_saphyr::from_str(&std::fs::read_to_string(control_plane.kubeconfig())?)?;
    let cluster = &config["clusters"][0]["cluster"];
    let file = cluster["certificate-authority"]
        .as_str()
        .context("no authority")?;
    Ok(std::fs::read_to_string(file)?)
}
