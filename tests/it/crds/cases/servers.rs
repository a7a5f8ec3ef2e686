//! Connections.

use super::super::{Case, Kind};
use super::{accept, change, keep, refuse};

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

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn connections() -> Vec<Case> {
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
            "server-short-policy",
            "maxLifetime must be at least one minute",
            signed_in!("keyPolicy: {maxLifetime: 59s}"),
        ),
        refuse(
            K,
            "server-short-default",
            "defaultLifetime must be at least one minute",
            signed_in!("keyPolicy: {defaultLifetime: 59s}"),
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

pub(super) fn cluster_connections() -> Vec<Case> {
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
            "cluster-short-grant",
            "maxLifetime must be at least one minute",
            signed_in!("grants: [{namespaces: {from: All}, maxLifetime: 59s}]"),
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
