//! ApiKeys and their Secrets.

use std::sync::Arc;

use anyhow::{Result, ensure};
use apikey_operator::api::conditions::Reason;
use apikey_operator::clock::{Clock as _, SystemClock};
use testbed::twins::octopus::Change;

use super::case::{Case, Key, Sealed};
use super::{Row, rows};

/// Those that wait until no write of a Secret can be on its way.
pub(super) fn long() -> Vec<Row> {
    rows![workloads_are_restarted]
}

pub(super) fn rows() -> Vec<Row> {
    rows![
        plain,
        lifetime_above_policy,
        lifetime_above_the_servers_maximum,
        secret_of_somebody_else,
        secret_refused_by_quota,
        secret_refused_by_admission,
        template_does_not_render,
        reserved_type_and_labels,
        replaced_on_request,
        secret_of_somebody_else_taken_over,
        secret_edited_by_somebody_else,
    ]
}

/// In ordinary life.
async fn plain(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let entries = case.entries("ci").await?.unwrap_or_default();
    ensure!(
        entries.get("OCTOPUS_URL") == Some(&case.url()),
        "{entries:?}"
    );
    Ok(())
}

async fn lifetime_above_policy(case: Arc<Case>) -> Result<()> {
    let [credential, _] = case.ground();
    let server = |max| case.server(&format!("keyPolicy: {{maxLifetime: {max}}}"));
    let key = case.key("lifetime: 60d");
    case.apply(&[credential, server("30d"), case.account(""), key])
        .await?;
    let words = "The lifetime of 60d is longer than the 30d that the connection's key policy";
    case.says(Key("ci"), Reason::PolicyViolation, words).await?;
    case.unasked()?;
    case.apply(&[server("90d")]).await?;
    case.healed(1).await
}

async fn lifetime_above_the_servers_maximum(case: Arc<Case>) -> Result<()> {
    case.change(Change::KeyPolicy {
        default_days: 10,
        max_days: 20,
    })?;
    let [credential, server] = case.ground();
    case.apply(&[
        credential,
        server,
        case.account(""),
        case.key("lifetime: 21d"),
    ])
    .await?;
    let words = "longer than the 20d that the server allows. Set spec.lifetime to 20d or less";
    case.says(Key("ci"), Reason::PolicyViolation, words).await?;
    case.unasked()?;
    case.apply(&[case.key("lifetime: 20d")]).await?;
    case.healed(1).await
}

async fn secret_of_somebody_else(case: Arc<Case>) -> Result<()> {
    let foreign = case.secret("ci", "{}", "precious");
    case.apply(&[foreign]).await?;
    case.apply(&case.whole()).await?;
    case.says(
        Key("ci"),
        Reason::SecretConflict,
        "Secret ci is not this ApiKey's",
    )
    .await?;
    case.unasked()?;
    let entries = case.entries("ci").await?.unwrap_or_default();
    ensure!(
        entries
            .get("api-key")
            .is_some_and(|value| value == "precious")
            && entries.len() == 1
    );
    case.delete(Sealed("ci")).await?;
    case.healed(1).await
}

async fn secret_refused_by_quota(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, key] = case.whole();
    case.apply(&[credential]).await?;
    let quota = |most| {
        format!(
            "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: most, namespace: {}}}, \
             spec: {{hard: {{count/secrets: {most}}}}}}}",
            case.namespace
        )
    };
    case.apply(&[quota("1")]).await?;
    case.kubectl(
        &[
            "wait",
            "--namespace",
            &case.namespace,
            "--for=jsonpath={.status.used.count/secrets}=1",
            "--timeout=60s",
            "resourcequota/most",
        ],
        "",
    )
    .await?;
    case.apply(&[server, account, key]).await?;
    case.says(Key("ci"), Reason::SecretRefused, "exceeded quota: most")
        .await?;
    case.unasked()?;
    case.apply(&[quota("2")]).await?;
    case.healed(1).await
}

async fn secret_refused_by_admission(case: Arc<Case>) -> Result<()> {
    let name = &case.namespace;
    let policy = format!(
        "{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, \
         metadata: {{name: {name}}}, spec: {{failurePolicy: Fail, \
         matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], \
         operations: [CREATE], resources: [secrets]}}]}}, \
         validations: [{{expression: \"'team' in object.metadata.labels\", \
         message: 'secrets here name their team'}}]}}}}"
    );
    let binding = format!(
        "{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, \
         metadata: {{name: {name}}}, spec: {{policyName: {name}, validationActions: [Deny], \
         matchResources: {{namespaceSelector: {{matchLabels: {{case: {name}}}}}}}}}}}"
    );
    let [credential, server, account, key] = case.whole();
    case.apply(&[credential, policy, binding]).await?;
    // A policy counts only a moment after it was made.
    let probe = case.secret("probe", "{a: b}", "nothing");
    case.shown_by("the policy counts", async || {
        Ok(case
            .kubectl(&["create", "--dry-run=server", "--filename=-"], &probe)
            .await
            .is_err())
    })
    .await?;
    case.apply(&[server, account, key]).await?;
    case.says(
        Key("ci"),
        Reason::SecretRefused,
        "secrets here name their team",
    )
    .await?;
    case.unasked()?;
    case.apply(&[case.key("secret: {labels: {team: a}}")])
        .await?;
    case.healed(1).await
}

async fn template_does_not_render(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    let with = |text: &str| case.key(&format!("secret: {{data: {{OCTOPUS_API_KEY: '{text}'}}}}"));
    case.apply(&[credential, server, account, with("{{ kee }}")])
        .await?;
    let words = "Entry OCTOPUS_API_KEY of spec.secret.data does not render";
    case.says(Key("ci"), Reason::TemplateFailed, words).await?;
    case.unasked()?;
    case.apply(&[with("{{ key }}")]).await?;
    case.healed(1).await
}

async fn reserved_type_and_labels(case: Arc<Case>) -> Result<()> {
    for (secret, words) in [
        ("type: kubernetes.io/service-account-token", "use Opaque"),
        ("type: helm.sh/release.v1", "type is reserved"),
        ("type: bootstrap.kubernetes.io/token", "type is reserved"),
        (
            "labels: {app.kubernetes.io/managed-by: me}",
            "labels must not be",
        ),
        (
            "labels: {apikeys.dev/credential: 'true'}",
            "labels must not be",
        ),
        ("annotations: {argoproj.io/x: z}", "annotations must not be"),
    ] {
        let refusal = case
            .refused(&case.key(&format!("secret: {{{secret}}}")))
            .await?;
        ensure!(refusal.contains(words), "{secret}: {refusal}");
    }
    case.apply(&case.whole()).await?;
    case.healed(1).await
}

/// A new key beside the old one, which stays in the second slot.
async fn replaced_on_request(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    let key = case.key("secret: {keepPrevious: true}");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    let first = case.value("ci").await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("leak of May"))])
        .await?;
    case.has_serial(Key("ci"), 2).await?;
    case.ready(Key("ci")).await?;
    let entries = case.entries("ci").await?.unwrap_or_default();
    let names: Vec<_> = entries.keys().map(String::as_str).collect();
    ensure!(
        names == ["OCTOPUS_API_KEY", "OCTOPUS_URL", "PREVIOUS_OCTOPUS_API_KEY"],
        "{names:?}"
    );
    ensure!(entries.get("PREVIOUS_OCTOPUS_API_KEY") == Some(&first));
    ensure!(case.works(&first).is_some(), "the replaced key is dead");
    let second = case.value("ci").await?;
    ensure!(second != first && case.works(&second).is_some());
    case.healed_of(2)
}

async fn secret_of_somebody_else_taken_over(case: Arc<Case>) -> Result<()> {
    let offer = [("apikeys.dev/adopt-by", Some("ci"))];
    case.apply(&[case.secret("ci", "{}", "precious")]).await?;
    let [credential, server, account, _] = case.whole();
    let key = case.key("secret: {adopt: true}");
    case.apply(&[credential, server, account, key]).await?;
    let words = "Have it taken over by the annotation apikeys.dev/adopt-by: ci on the Secret";
    case.says(Key("ci"), Reason::SecretConflict, words).await?;
    case.unasked()?;
    case.annotate(Sealed("ci"), &offer).await?;
    case.healed(1).await?;
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    let entries = case.entries("ci").await?.unwrap_or_default();
    ensure!(entries.keys().eq(["api-key"]), "{:?}", entries.keys());
    ensure!(case.living().is_empty(), "a key is left");
    Ok(())
}

/// The value cannot be had again: one new key, and no more.
async fn secret_edited_by_somebody_else(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let first = case.value("ci").await?;
    let edit = serde_json::json!({"stringData": {"OCTOPUS_API_KEY": "API-OOPS"}});
    case.patch(Sealed("ci"), edit).await?;
    case.has_serial(Key("ci"), 2).await?;
    case.ready(Key("ci")).await?;
    let second = case.value("ci").await?;
    ensure!(second != first && case.works(&second).is_some());
    ensure!(
        case.works(&first).is_some(),
        "whoever has read it is cut off"
    );
    // What somebody adds is his.
    let more = serde_json::json!({"stringData": {"theirs": "x"}});
    case.patch(Sealed("ci"), more).await?;
    case.healed_of(2)
}

async fn workloads_are_restarted(case: Arc<Case>) -> Result<()> {
    let namespace = &case.namespace;
    let workload = |kind: &str| {
        let service = if kind == "StatefulSet" {
            "serviceName: shop, "
        } else {
            ""
        };
        format!(
            "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: shop, namespace: {namespace}}}, \
             spec: {{{service}selector: {{matchLabels: {{app: shop}}}}, template: {{\
             metadata: {{labels: {{app: shop}}}}, \
             spec: {{containers: [{{name: shop, image: shop}}]}}}}}}}}"
        )
    };
    let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
    case.apply(&kinds.map(workload)).await?;
    let [credential, server, account, _] = case.whole();
    let list = kinds
        .map(|kind| format!("{{kind: {kind}, name: shop}}"))
        .join(", ");
    let key = case.key(&format!("restart: [{list}]"));
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    // Kubernetes writes whole seconds.
    let before = SystemClock.now() - jiff::SignedDuration::from_secs(1);
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("now"))])
        .await?;
    let patience = std::time::Duration::from_secs(180);
    let told = |found: Option<&kube::api::DynamicObject>| {
        (found?.data["status"]["restarted"].as_array()?.len() == 3).then_some(())
    };
    case.until_within(patience, Key("ci"), "tells of three restarts", told)
        .await?;
    for kind in kinds {
        let date = "{.spec.template.metadata.annotations.kubectl\\.kubernetes\\.io/restartedAt}";
        let read = [
            "get",
            kind,
            "shop",
            "--namespace",
            namespace.as_str(),
            &format!("--output=jsonpath={date}"),
        ];
        let date: jiff::Timestamp = case.kubectl(&read, "").await?.parse()?;
        ensure!(date > before, "{kind} was restarted at {date}");
    }
    case.told(
        Key("ci"),
        "Restarted",
        "Deployment shop is restarted, to read the new key",
    )
    .await
}
