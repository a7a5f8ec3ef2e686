//! What is accepted and what is refused, row by row.

use super::{Case, Change, Expected, Kind};

/// The table.
pub(crate) fn cases() -> Vec<Case> {
    [
        connections(),
        cluster_connections(),
        accounts(),
        keys(),
        secrets(),
    ]
    .concat()
}

const fn accept(kind: Kind, name: &'static str, spec: &'static str) -> Case {
    Case {
        name,
        kind,
        change: Change::Create(spec),
        expected: Expected::Accepted,
    }
}

const fn refuse(kind: Kind, name: &'static str, why: &'static str, spec: &'static str) -> Case {
    Case {
        name,
        kind,
        change: Change::Create(spec),
        expected: Expected::Refused(why),
    }
}

const fn change(kind: Kind, name: &'static str, from: &'static str, to: &'static str) -> Case {
    Case {
        name,
        kind,
        change: Change::Update { from, to },
        expected: Expected::Accepted,
    }
}

const fn keep(
    kind: Kind,
    name: &'static str,
    why: &'static str,
    from: &'static str,
    to: &'static str,
) -> Case {
    Case {
        name,
        kind,
        change: Change::Update { from, to },
        expected: Expected::Refused(why),
    }
}

/// A connection's spec: type, url, and the rest as YAML lines.
macro_rules! server {
    ($type:literal, $url:literal, $rest:literal) => {
        concat!("type: ", $type, "\nurl: '", $url, "'\n", $rest)
    };
    ($rest:literal) => {
        server!("Octopus", "https://octopus.example", $rest)
    };
}

/// The same, signing in by API key.
macro_rules! signed_in {
    ($type:literal, $url:literal, $rest:literal) => {
        concat!(
            "auth: {apiKey: {secretRef: {name: credential, key: api-key}}}\n",
            server!($type, $url, $rest)
        )
    };
    ($rest:literal) => {
        signed_in!("Octopus", "https://octopus.example", $rest)
    };
}

fn connections() -> Vec<Case> {
    use Kind::DeployServer as K;
    const PLAIN: &str = signed_in!("");
    const ST2: &str = signed_in!(
        "StackStorm",
        "https://st2.example",
        "authUrl: https://st2.example:9100"
    );
    const MOVED: &str = "scheme, host and port of url are immutable";
    const AUTH_URL: &str = "authUrl can neither be added, nor removed, nor moved";
    const ONE_WAY: &str = "auth must be exactly one of apiKey, basic and bearer";
    const ADDRESS: &str = "must be an address like https://";
    vec![
        accept(K, "server-plain", PLAIN),
        accept(
            K,
            "server-full",
            signed_in!(
                "StackStorm",
                "https://st2.example:8443/prefix",
                "authUrl: https://st2.example/auth
tls: {caRef: {kind: ConfigMap, name: ca, key: ca.crt}}
limits: {requestsPerMinute: 60, burst: 5, concurrency: 2}
keyPolicy: {maxLifetime: 90d, defaultLifetime: 2160h}
resync: 1h30m"
            ),
        ),
        accept(
            K,
            "server-http",
            signed_in!("Octopus", "http://127.0.0.1:8080", ""),
        ),
        accept(
            K,
            "server-ipv6",
            signed_in!("Octopus", "https://[2001:db8::1]:8443", ""),
        ),
        accept(
            K,
            "server-basic-defaults",
            server!("auth: {basic: {secretRef: {name: credential}}}"),
        ),
        accept(
            K,
            "server-bearer",
            server!(
                "Elasticsearch",
                "https://es.example:9200",
                "auth: {bearer: {secretRef: {name: credential, key: token}}}"
            ),
        ),
        refuse(
            K,
            "server-no-auth",
            "spec.auth: Required value",
            server!(""),
        ),
        refuse(K, "server-empty-auth", ONE_WAY, server!("auth: {}")),
        refuse(
            K,
            "server-two-auths",
            ONE_WAY,
            server!(
                "auth: {apiKey: {secretRef: {name: c, key: k}}, basic: {secretRef: {name: c}}}"
            ),
        ),
        refuse(
            K,
            "server-octopus-bearer",
            "auth.bearer needs type Elasticsearch",
            server!("auth: {bearer: {secretRef: {name: c, key: k}}}"),
        ),
        refuse(
            K,
            "server-workload-identity",
            "unknown field \"spec.auth.workloadIdentity\"",
            server!("auth: {workloadIdentity: {audience: a}}"),
        ),
        refuse(
            K,
            "server-grants",
            "unknown field \"spec.grants\"",
            signed_in!("grants: [{namespaces: {from: All}}]"),
        ),
        refuse(
            K,
            "server-type",
            "Unsupported value: \"Jenkins\"",
            signed_in!("Jenkins", "https://j.example", ""),
        ),
        refuse(
            K,
            "server-ftp",
            ADDRESS,
            signed_in!("Octopus", "ftp://octopus.example", ""),
        ),
        refuse(
            K,
            "server-userinfo",
            ADDRESS,
            signed_in!("Octopus", "https://me:pw@octopus.example", ""),
        ),
        refuse(
            K,
            "server-query",
            ADDRESS,
            signed_in!("Octopus", "https://octopus.example/?a=b", ""),
        ),
        refuse(
            K,
            "server-no-host",
            ADDRESS,
            signed_in!("Octopus", "https:///path", ""),
        ),
        refuse(
            K,
            "server-bad-port",
            ADDRESS,
            signed_in!("Octopus", "https://octopus.example:port", ""),
        ),
        refuse(
            K,
            "server-octopus-auth-url",
            "authUrl needs type StackStorm",
            signed_in!("authUrl: https://octopus.example/auth"),
        ),
        refuse(
            K,
            "server-two-cas",
            "tls must be exactly one of caBundle and caRef",
            signed_in!(
                "tls: {caBundle: '-----BEGIN CERTIFICATE-----', caRef: {kind: Secret, name: ca, key: ca.crt}}"
            ),
        ),
        refuse(
            K,
            "server-no-ca",
            "tls must be exactly one of caBundle and caRef",
            signed_in!("tls: {}"),
        ),
        refuse(
            K,
            "server-no-pem",
            "caBundle must hold certificates in PEM",
            signed_in!("tls: {caBundle: MIIB}"),
        ),
        refuse(
            K,
            "server-http-tls",
            "tls has no meaning for an http address",
            signed_in!(
                "Octopus",
                "http://octopus.example",
                "tls: {caRef: {kind: Secret, name: ca, key: ca.crt}}"
            ),
        ),
        refuse(
            K,
            "server-fast-resync",
            "resync must be at least 10 seconds",
            signed_in!("resync: 9s"),
        ),
        refuse(
            K,
            "server-period",
            "must be a period in days, hours, minutes and seconds",
            signed_in!("resync: 1w"),
        ),
        refuse(
            K,
            "server-policy-order",
            "defaultLifetime must not be longer than maxLifetime",
            signed_in!("keyPolicy: {maxLifetime: 1d, defaultLifetime: 24h1s}"),
        ),
        refuse(
            K,
            "server-no-concurrency",
            "should be greater than or equal to 1",
            signed_in!("limits: {concurrency: 0}"),
        ),
        change(
            K,
            "server-path",
            PLAIN,
            signed_in!("Octopus", "https://octopus.example/octopus", ""),
        ),
        change(
            K,
            "server-auth",
            PLAIN,
            server!("auth: {basic: {secretRef: {name: c}}}"),
        ),
        keep(
            K,
            "server-host",
            MOVED,
            PLAIN,
            signed_in!("Octopus", "https://octopus.example.evil", ""),
        ),
        keep(
            K,
            "server-scheme",
            MOVED,
            PLAIN,
            signed_in!("Octopus", "http://octopus.example", ""),
        ),
        keep(
            K,
            "server-port",
            MOVED,
            PLAIN,
            signed_in!("Octopus", "https://octopus.example:444", ""),
        ),
        keep(
            K,
            "server-other-type",
            "type is immutable",
            PLAIN,
            signed_in!("StackStorm", "https://octopus.example", ""),
        ),
        keep(
            K,
            "server-auth-url-gone",
            AUTH_URL,
            ST2,
            signed_in!("StackStorm", "https://st2.example", ""),
        ),
        keep(
            K,
            "server-auth-url-new",
            AUTH_URL,
            signed_in!("StackStorm", "https://st2.example", ""),
            ST2,
        ),
        keep(
            K,
            "server-auth-url-moved",
            AUTH_URL,
            ST2,
            signed_in!(
                "StackStorm",
                "https://st2.example",
                "authUrl: https://st2.evil:9100"
            ),
        ),
        change(
            K,
            "server-auth-url-path",
            ST2,
            signed_in!(
                "StackStorm",
                "https://st2.example",
                "authUrl: https://st2.example:9100/auth"
            ),
        ),
    ]
}

fn cluster_connections() -> Vec<Case> {
    use Kind::ClusterDeployServer as K;
    const ONE_WAY: &str = "auth must be exactly one of apiKey, basic, bearer and workloadIdentity";
    vec![
        accept(K, "cluster-plain", signed_in!("")),
        accept(
            K,
            "cluster-workload-identity",
            server!("auth: {workloadIdentity: {audience: 4a1d8a4e-3ea4-4b0d-a0a6-7b8f2b1bbd5f}}"),
        ),
        accept(
            K,
            "cluster-grants",
            signed_in!(
                "grants:
- namespaces: {from: All}
- namespaces: {from: Names, names: [team-a, team-b]}
  management: [Managed, Observed, Self]
  usernames: ['{namespace}.*', 'ci-{namespace}', shared]
  adopt: true
  teams: ['*']
  roles: [deployer]
  logins: true
  foreignKeys: [Report, Revoke]
  retain: false
  maxLifetime: 30d
- namespaces: {from: Selector, selector: {matchLabels: {team: a}}}"
            ),
        ),
        refuse(K, "cluster-empty-auth", ONE_WAY, server!("auth: {}")),
        refuse(
            K,
            "cluster-two-auths",
            ONE_WAY,
            server!("auth: {workloadIdentity: {audience: a}, basic: {secretRef: {name: c}}}"),
        ),
        refuse(
            K,
            "cluster-identity-elsewhere",
            "auth.workloadIdentity needs type Octopus",
            server!(
                "StackStorm",
                "https://st2.example",
                "auth: {workloadIdentity: {audience: a}}"
            ),
        ),
        refuse(
            K,
            "cluster-no-names",
            "names must be given with from: Names",
            signed_in!("grants: [{namespaces: {from: Names}}]"),
        ),
        refuse(
            K,
            "cluster-names-and-all",
            "names must be given with from: Names",
            signed_in!("grants: [{namespaces: {from: All, names: [a]}}]"),
        ),
        refuse(
            K,
            "cluster-no-selector",
            "selector must be given with from: Selector",
            signed_in!("grants: [{namespaces: {from: Selector}}]"),
        ),
        refuse(
            K,
            "cluster-braces",
            "a pattern may hold '*' and {namespace}, and no other braces",
            signed_in!("grants: [{namespaces: {from: All}, usernames: ['{name}.*']}]"),
        ),
        refuse(
            K,
            "cluster-no-management",
            "spec.grants[0].management in body should have at least 1 items",
            signed_in!("grants: [{namespaces: {from: All}, management: []}]"),
        ),
        keep(
            K,
            "cluster-host",
            "scheme, host and port of url are immutable",
            signed_in!(""),
            signed_in!("Octopus", "https://other.example", ""),
        ),
    ]
}

/// An account's spec: the rest as YAML lines.
macro_rules! account {
    ($rest:literal) => {
        concat!("serverRef: {kind: DeployServer, name: octopus}\n", $rest)
    };
}

fn accounts() -> Vec<Case> {
    use Kind::ServiceAccount as K;
    const LOCKED: &str = "management cannot be changed to or from Self";
    const USERNAME: &str = "username is immutable";
    const NOT_OURS: &str = "need management Managed: any other account is never changed";
    const BLANK: &str = "must be one line without control characters, and neither begin nor end";
    vec![
        accept(K, "account-plain", account!("")),
        accept(
            K,
            "account-octopus",
            account!(
                "username: ci team a
displayName: CI of team A
email: ci@team-a.example
disabled: true
adopt: true
deletionPolicy: Disable
foreignKeys: Revoke
octopus:
  teams: [{name: Deployers, space: Default}, {id: Teams-21}, {name: Everyone}]
  externalLogins: [{provider: Active Directory, claims: {email: ci@team-a.example}}]
  oidcIdentities:
  - {name: github, issuer: 'https://token.actions.githubusercontent.com', subject: 'repo:acme/shop:ref:refs/heads/main'}"
            ),
        ),
        accept(
            K,
            "account-elasticsearch",
            account!("elasticsearch: {roles: [deployer, monitoring], metadata: {team: {name: a, size: 3}}}"),
        ),
        accept(K, "account-observed", account!("management: Observed\nusername: ci\nrealm: native1")),
        accept(K, "account-self", account!("management: Self")),
        refuse(K, "account-self-username", "username must not be given with management Self", account!("management: Self\nusername: ci")),
        refuse(K, "account-adopt", "adopt needs management Managed", account!("management: Observed\nadopt: true")),
        refuse(K, "account-deletion", "deletionPolicy needs management Managed", account!("management: Observed\ndeletionPolicy: Delete")),
        refuse(K, "account-foreign-keys", "foreignKeys Revoke needs management Managed", account!("management: Self\nforeignKeys: Revoke")),
        refuse(K, "account-observed-email", NOT_OURS, account!("management: Observed\nemail: ci@team-a.example")),
        refuse(K, "account-observed-disabled", NOT_OURS, account!("management: Observed\ndisabled: true")),
        refuse(K, "account-observed-teams", NOT_OURS, account!("management: Observed\noctopus: {teams: [{name: A}]}")),
        refuse(K, "account-realm", "realm needs management Observed", account!("realm: native1")),
        refuse(K, "account-two-servers", "octopus excludes elasticsearch and realm", account!("octopus: {teams: [{name: A}]}\nelasticsearch: {roles: [a]}")),
        refuse(K, "account-blank", BLANK, account!("username: ' ci'")),
        refuse(K, "account-newline", BLANK, account!("username: \"ci\\nteam\"")),
        refuse(K, "account-email", "must be an e-mail address", account!("email: nobody")),
        refuse(K, "account-team-both", "a team is named by exactly one of name and id", account!("octopus: {teams: [{name: A, id: Teams-1}]}")),
        refuse(K, "account-team-none", "a team is named by exactly one of name and id", account!("octopus: {teams: [{space: A}]}")),
        refuse(K, "account-team-space", "space goes with name", account!("octopus: {teams: [{id: Teams-1, space: A}]}")),
        refuse(K, "account-issuer", "must be an https address", account!("octopus: {oidcIdentities: [{name: a, issuer: 'http://issuer.example', subject: s}]}")),
        refuse(K, "account-twice", "Duplicate value", account!("octopus: {externalLogins: [{provider: A, claims: {a: b}}, {provider: A, claims: {a: c}}]}")),
        refuse(K, "account-kind", "Unsupported value: \"Server\"", "serverRef: {kind: Server, name: octopus}"),
        change(K, "account-handed-over", account!("username: ci"), account!("username: ci\nmanagement: Observed")),
        change(K, "account-teams", account!(""), account!("octopus: {teams: [{name: A}]}")),
        keep(K, "account-server", "serverRef is immutable", account!(""), "serverRef: {kind: ClusterDeployServer, name: octopus}"),
        keep(K, "account-username", USERNAME, account!("username: a"), account!("username: b")),
        keep(K, "account-username-gone", USERNAME, account!("username: a"), account!("")),
        keep(K, "account-username-new", USERNAME, account!(""), account!("username: a")),
        keep(K, "account-to-self", LOCKED, account!(""), account!("management: Self")),
        keep(K, "account-from-self", LOCKED, account!("management: Self"), account!("management: Observed")),
        keep(K, "account-other-realm", "realm is immutable", account!("management: Observed\nrealm: a"), account!("management: Observed\nrealm: b")),
    ]
}

/// A key's spec: the rest as YAML lines.
macro_rules! key {
    ($rest:literal) => {
        concat!("serviceAccountRef: {name: ci}\n", $rest)
    };
}

fn keys() -> Vec<Case> {
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
        refuse(K, "key-restart-kind", "Unsupported value: \"Pod\"", key!("restart: [{kind: Pod, name: a}]")),
        refuse(K, "key-restart-twice", "Duplicate value", key!("restart: [{kind: Deployment, name: a}, {kind: Deployment, name: a}]")),
        refuse(K, "key-two-servers", "stackStorm and elasticsearch exclude each other", key!("stackStorm: {enabled: true}\nelasticsearch: {metadata: {a: b}}")),
        keep(K, "key-account", "serviceAccountRef is immutable", key!(""), "serviceAccountRef: {name: other}"),
        change(K, "key-life", key!("lifetime: 30d"), key!("lifetime: 7d\nrevoked: true\ndeletionPolicy: Retain")),
    ]
}

fn secrets() -> Vec<Case> {
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
