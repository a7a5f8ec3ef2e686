//! Keys and their Secrets.

use super::super::{Case, Kind};
use super::{accept, change, keep, refuse};

/// A key's spec: the rest as YAML lines.
macro_rules! key {
    ($rest:literal) => {
        concat!("serviceAccountRef: {name: ci}\n", $rest)
    };
}

pub(super) fn keys() -> Vec<Case> {
    use Kind::ApiKey as K;
    const TEXT: &str = "must contain neither 'ako1.' nor '·'";
    const ONE_LINE: &str = "must not contain line breaks, control characters";
    const RENEW: &str = "rotation.renewBefore must be shorter than lifetime";
    const PERIOD: &str = "must be a period in days, hours, minutes and seconds";
    vec![
        accept(K, "key-plain", key!("")),
        accept(
            K,
            "key-full",
            key!(
                "purpose: GitHub Actions deploys – søndag
onBehalfOf: Jane Doe
lifetime: 1d12h
rotation:
  renewBefore: 33%
  windows: [{schedule: '0 2 * * 1-5', duration: 3h, timeZone: Europe/Oslo}, {schedule: '*/30 0-6 1,15 JAN SUN', duration: 30m}]
  overlap: 0s
restart: [{kind: Deployment, name: shop}, {kind: StatefulSet, name: shop}]
suspend: true
deletionPolicy: Retain
ttlAfterFinished: 1h"
            ),
        ),
        accept(K, "key-never", key!("rotation: {mode: Never}\nlifetime: 2h")),
        accept(K, "key-stackstorm", key!("stackStorm: {metadata: {team: [a, {b: 1}]}, enabled: false}")),
        accept(
            K,
            "key-elasticsearch",
            key!(
                "elasticsearch:
  roleDescriptors: {writer: {cluster: [monitor], indices: [{names: ['logs-*'], privileges: [write]}]}}
  metadata: {team: a}"
            ),
        ),
        accept(K, "key-renew-days", key!("lifetime: 30d\nrotation: {renewBefore: 29d23h59m59s}")),
        accept(K, "key-renew-mixed", key!("lifetime: 49h\nrotation: {renewBefore: 2d}")),
        refuse(K, "key-no-account", "spec.serviceAccountRef: Required value", "purpose: none"),
        refuse(K, "key-unknown-field", "unknown field \"spec.lifetme\"", key!("lifetme: 30d")),
        refuse(K, "key-purpose-marker", TEXT, key!("purpose: see ako1.x.y.z")),
        refuse(K, "key-purpose-dot", TEXT, key!("purpose: ci · by admin")),
        refuse(K, "key-person-marker", TEXT, key!("onBehalfOf: ako1.x")),
        refuse(K, "key-purpose-lines", ONE_LINE, key!("purpose: \"a\\nb\"")),
        refuse(K, "key-purpose-direction", ONE_LINE, key!("purpose: \"a\\u202eb\"")),
        refuse(K, "key-long-purpose", "Too long: may not be more than 100", key!("onBehalfOf: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'")),
        refuse(K, "key-no-unit", PERIOD, key!("lifetime: '30'")),
        refuse(K, "key-minus", PERIOD, key!("lifetime: -1d")),
        refuse(K, "key-order", PERIOD, key!("lifetime: 12h1d")),
        refuse(K, "key-short", "lifetime must be at least one minute", key!("lifetime: 0d59s")),
        refuse(K, "key-renew-long", RENEW, key!("lifetime: 1d\nrotation: {renewBefore: 24h}")),
        refuse(K, "key-renew-longer", RENEW, key!("lifetime: 36h\nrotation: {renewBefore: 1d12h1s}")),
        refuse(K, "key-renew-percent", "must be a period, such as 10d, or a percentage from 1% to 99%", key!("rotation: {renewBefore: 100%}")),
        refuse(K, "key-renew-zero", "must be a period, such as 10d, or a percentage from 1% to 99%", key!("rotation: {renewBefore: 0%}")),
        refuse(K, "key-never-windows", "have no meaning with mode Never", key!("rotation: {mode: Never, windows: [{schedule: '0 2 * * *', duration: 1h}]}")),
        refuse(K, "key-schedule", "must be five cron fields", key!("rotation: {windows: [{schedule: every night, duration: 1h}]}")),
        refuse(K, "key-time-zone", "must be the name of a time zone", key!("rotation: {windows: [{schedule: '0 2 * * *', duration: 1h, timeZone: 'Europe Oslo'}]}")),
        refuse(K, "key-restart-name", "must be a name that a workload can have", key!("restart: [{kind: Deployment, name: A_b}]")),
        refuse(K, "key-restart-kind", "Unsupported value: \"Pod\"", key!("restart: [{kind: Pod, name: a}]")),
        refuse(K, "key-restart-twice", "Duplicate value", key!("restart: [{kind: Deployment, name: a}, {kind: Deployment, name: a}]")),
        refuse(K, "key-two-servers", "stackStorm and elasticsearch exclude each other", key!("stackStorm: {enabled: true}\nelasticsearch: {metadata: {a: b}}")),
        keep(K, "key-account", "serviceAccountRef is immutable", key!(""), "serviceAccountRef: {name: other}"),
        change(K, "key-life", key!("lifetime: 30d"), key!("lifetime: 7d\nrevoked: true\ndeletionPolicy: Retain")),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn secrets() -> Vec<Case> {
    use Kind::ApiKey as K;
    const TYPE: &str = "type is reserved for Kubernetes or Helm";
    const NAME: &str = "secret.name is immutable";
    const OWNER: &str = "they would change who owns the Secret";
    vec![
        accept(
            K,
            "secret-full",
            key!(
                "secret:
  name: ci-octopus
  type: example.org/ci
  labels: {team: a, example.org/team: ''}
  annotations: {reloader.stakater.com/match: 'true'}
  keepPrevious: true
  data: {config.json: '{\"key\": \"{{ key }}\"}', .dot: '{{ id }}', A_B-c: x}
  adopt: true"
            ),
        ),
        accept(
            K,
            "secret-basic-auth",
            key!("secret: {type: kubernetes.io/basic-auth}"),
        ),
        accept(
            K,
            "secret-lookalike",
            key!("secret: {labels: {notkubernetes.io/a: b}, type: notkubernetes.io/a}"),
        ),
        refuse(
            K,
            "secret-token",
            TYPE,
            key!("secret: {type: kubernetes.io/service-account-token}"),
        ),
        refuse(
            K,
            "secret-bootstrap",
            TYPE,
            key!("secret: {type: bootstrap.kubernetes.io/token}"),
        ),
        refuse(
            K,
            "secret-helm",
            TYPE,
            key!("secret: {type: helm.sh/release.v1}"),
        ),
        refuse(
            K,
            "secret-other-k8s",
            TYPE,
            key!("secret: {type: node.kubernetes.io/x}"),
        ),
        refuse(
            K,
            "secret-name-form",
            "must be a name that a Secret can have",
            key!("secret: {name: Ci_Octopus}"),
        ),
        refuse(
            K,
            "secret-entry",
            "the names in data must be names of a Secret's entries",
            key!("secret: {data: {a/b: x}}"),
        ),
        refuse(
            K,
            "secret-previous",
            "the names in data must not begin with PREVIOUS_",
            key!("secret: {data: {PREVIOUS_KEY: x}}"),
        ),
        refuse(
            K,
            "secret-label-name",
            "the names in labels must be valid names",
            key!("secret: {labels: {'a b': x}}"),
        ),
        refuse(
            K,
            "secret-annotation-name",
            "the names in annotations must be valid names",
            key!("secret: {annotations: {'a b': x}}"),
        ),
        refuse(
            K,
            "secret-label-value",
            "must be a value that a label can have",
            key!("secret: {labels: {a: 'b c'}}"),
        ),
        refuse(
            K,
            "secret-label-managed",
            OWNER,
            key!("secret: {labels: {app.kubernetes.io/managed-by: Helm}}"),
        ),
        refuse(
            K,
            "secret-label-argo",
            OWNER,
            key!("secret: {labels: {argocd.argoproj.io/instance: a}}"),
        ),
        refuse(
            K,
            "secret-label-flux",
            OWNER,
            key!("secret: {labels: {kustomize.toolkit.fluxcd.io/name: a}}"),
        ),
        refuse(
            K,
            "secret-annotation-helm",
            OWNER,
            key!("secret: {annotations: {meta.helm.sh/release-name: a}}"),
        ),
        refuse(
            K,
            "secret-annotation-ours",
            OWNER,
            key!("secret: {annotations: {apikeys.dev/key-id: a}}"),
        ),
        keep(
            K,
            "secret-renamed",
            NAME,
            key!("secret: {name: a}"),
            key!("secret: {name: b}"),
        ),
        keep(
            K,
            "secret-name-gone",
            NAME,
            key!("secret: {name: a}"),
            key!(""),
        ),
        keep(
            K,
            "secret-name-new",
            NAME,
            key!(""),
            key!("secret: {name: a}"),
        ),
        keep(
            K,
            "secret-retyped",
            "secret.type is immutable",
            key!(""),
            key!("secret: {type: example.org/ci}"),
        ),
        change(
            K,
            "secret-relabelled",
            key!("secret: {labels: {a: b}}"),
            key!("secret: {labels: {a: c}, data: {a: b}}"),
        ),
    ]
}
