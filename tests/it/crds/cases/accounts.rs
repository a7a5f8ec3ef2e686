//! Accounts.

use super::super::{Case, Kind};
use super::{accept, change, keep, refuse};

/// An account's spec: the rest as YAML lines.
macro_rules! account {
    ($rest:literal) => {
        concat!("serverRef: {kind: DeployServer, name: octopus}\n", $rest)
    };
}

pub(super) fn accounts() -> Vec<Case> {
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
        refuse(K, "account-realm-slash", "without a slash", account!("management: Observed\nrealm: a/b")),
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
