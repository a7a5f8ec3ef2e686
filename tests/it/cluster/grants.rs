//! What a tenant may not get: of a ClusterDeployServer beyond its grants, of a DeployServer with
//! Secrets that nobody offered.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use http::Method;
use serde_json::json;
use testbed::twins::journal::Entry;
use testbed::twins::octopus::AccountView;
use testbed::twins::{Effect, Fault};

use super::case::{Account, Case, Home, Key, Sealed, Server};
use super::{Row, rows};

pub(super) fn rows() -> Vec<Row> {
    rows![
        namespace_without_a_grant,
        nothing_granted_at_all,
        grant_by_label_lost,
        username_beyond_the_grant,
        team_beyond_the_grant,
        management_beyond_the_grant,
        adoption_beyond_the_grant,
        lifetime_beyond_the_grant,
        logins_beyond_the_grant,
        foreign_keys_beyond_the_grant,
        roles_beyond_the_grant,
        retention_beyond_the_grant,
        default_grant_field_by_field,
        annotations_of_the_account,
        annotations_before_the_account,
        unoffered_secrets_field_by_field,
    ]
}

/// The ServiceAccount `ci` at the case's ClusterDeployServer.
pub(super) fn account(case: &Case, more: &str) -> String {
    account_named(case, "ci", more)
}

fn account_named(case: &Case, name: &str, more: &str) -> String {
    let server = &case.namespace;
    let spec = format!("serverRef: {{kind: ClusterDeployServer, name: {server}}}, {more}");
    case.object("ServiceAccount", name, &spec)
}

/// A grant to the case's namespace.
pub(super) fn granted(case: &Case, more: &str) -> [String; 2] {
    let namespaces = format!("namespaces: {{from: Names, names: [{}]}}", case.namespace);
    case.cluster_server(&format!("grants: [{{{namespaces}, {more}}}]"))
}

/// Refused by the first grant, allowed by the second.
async fn widened(case: &Case, asked: &str, from: &str, words: &str, to: &str) -> Result<()> {
    case.apply(&granted(case, from)).await?;
    case.apply(&[account(case, asked), case.key("")]).await?;
    case.says(Account("ci"), Reason::NotGranted, words).await?;
    case.says(Key("ci"), Reason::NotGranted, words).await?;
    case.unasked()?;
    ensure!(case.twin.sent(Effect::MakeAccount) == 0);
    case.apply(&granted(case, to)).await?;
    case.healed(1).await
}

async fn namespace_without_a_grant(case: Arc<Case>) -> Result<()> {
    let other = "grants: [{namespaces: {from: Names, names: [somebody-else]}}]";
    case.apply(&case.cluster_server(other)).await?;
    case.apply(&[account(&case, ""), case.key("")]).await?;
    let words = format!("no grant names the namespace {}", case.namespace);
    case.says(Account("ci"), Reason::NotGranted, &words).await?;
    case.says(Key("ci"), Reason::NotGranted, &words).await?;
    case.unasked()?;
    ensure!(case.twin.sent(Effect::MakeAccount) == 0);
    case.apply(&granted(&case, "")).await?;
    case.healed(1).await
}

async fn nothing_granted_at_all(case: Arc<Case>) -> Result<()> {
    case.apply(&case.cluster_server("")).await?;
    case.apply(&[account(&case, ""), case.key("")]).await?;
    let words = "Ask the platform team for a grant that covers it";
    case.says(Key("ci"), Reason::NotGranted, words).await?;
    case.unasked()?;
    case.apply(&case.cluster_server("grants: [{namespaces: {from: All}}]"))
        .await?;
    case.healed(1).await
}

/// The living key stays to its end; there is no new one.
async fn grant_by_label_lost(case: Arc<Case>) -> Result<()> {
    let selector = "namespaces: {from: Selector, selector: {matchLabels: {deploys: 'yes'}}}";
    case.apply(&case.cluster_server(&format!("grants: [{{{selector}}}]")))
        .await?;
    case.apply(&[account(&case, ""), case.key("")]).await?;
    let words = format!("no grant names the namespace {}", case.namespace);
    case.says(Key("ci"), Reason::NotGranted, &words).await?;
    let label = |value: Option<&str>| json!({"metadata": {"labels": {"deploys": value}}});
    case.patch(Home, label(Some("yes"))).await?;
    case.healed(1).await?;
    case.patch(Home, label(None)).await?;
    case.says(Account("ci"), Reason::NotGranted, &words).await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(Key("second"), Reason::NotGranted, &words).await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("now"))])
        .await?;
    case.warns(Key("ci"), Reason::NotGranted, &words).await?;
    ensure!(case.minted() == 1 && case.works(&case.value("ci").await?).is_some());
    case.delete(Key("second")).await?;
    case.gone(Key("second")).await
}

async fn username_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    let (asked, words) = ("username: shared-ci", "username shared-ci is not granted");
    widened(&case, asked, "", words, "usernames: ['shared-*']").await?;
    ensure!(case.living()[0].owner == case.account_id("shared-ci")?);
    Ok(())
}

async fn team_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    let team = json!({"Name": "Deployers"});
    case.admin(Method::POST, "/api/teams", &team).await?;
    let asked = "octopus: {teams: [{name: Deployers}]}";
    let words = "team Deployers is not granted";
    widened(&case, asked, "teams: [Others]", words, "teams: [Deployers]").await?;
    let view = case.twin.view();
    let team = view.team("Deployers").context("no team")?;
    ensure!(team.members.contains(&case.living()[0].owner), "{team:?}");
    Ok(())
}

async fn management_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    let asked = "management: Observed, username: bystander";
    let words = "management Observed is not granted";
    let to = "management: [Observed], usernames: [bystander]";
    widened(&case, asked, "usernames: [bystander]", words, to).await?;
    ensure!(case.living()[0].owner == case.start.bystander.user);
    Ok(())
}

async fn adoption_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    let name = format!("{}.ci", case.namespace);
    let there = json!({"Username": name, "DisplayName": "There before", "IsService": true});
    case.admin(Method::POST, "/api/users", &there).await?;
    case.twin.forget();
    let id = case.account_id(&name)?;
    let words = "adopt is not granted";
    widened(&case, "adopt: true", "", words, "adopt: true").await?;
    ensure!(case.living()[0].owner == id && case.twin.sent(Effect::MakeAccount) == 0);
    Ok(())
}

async fn lifetime_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    case.apply(&granted(&case, "maxLifetime: 1d")).await?;
    case.apply(&[account(&case, ""), case.key("lifetime: 2d")])
        .await?;
    let words = "longer than the 1d that the connection's key policy or grant allows";
    case.says(Key("ci"), Reason::PolicyViolation, words).await?;
    case.unasked()?;
    case.apply(&granted(&case, "maxLifetime: 2d")).await?;
    case.healed(1).await
}

/// Refused by the first grant; under the second, which allows it, said not to be there. (That may be
/// said of the first already; what counts is that nothing comes of it.)
async fn unserved(
    case: &Case,
    asked: &str,
    (from, words, to): (&str, &str, &str),
    (reason, told): (Reason, &str),
) -> Result<()> {
    case.apply(&granted(case, from)).await?;
    case.apply(&[account(case, asked), case.key("")]).await?;
    let refused = [Reason::NotGranted, reason];
    let said = case.says_either(Account("ci"), &refused, "").await?;
    ensure!(said.contains(words) || said.contains(told), "{said}");
    case.looked_at(Account("ci")).await?;
    case.apply(&granted(case, to)).await?;
    case.says(Account("ci"), reason, told).await?;
    case.says(Key("ci"), Reason::WaitingForAccount, reason.as_str())
        .await?;
    case.unasked()?;
    ensure!(case.twin.sent(Effect::MakeAccount) == 0);
    Ok(())
}

/// And when it is left out, all is well.
async fn left_out(case: &Case) -> Result<()> {
    case.apply(&[account(case, "")]).await?;
    case.healed(1).await
}

async fn logins_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    let asked = "octopus: {externalLogins: [{provider: Okta, claims: {email: a@b}}], \
                 oidcIdentities: [{name: a, issuer: 'https://issuer.test', subject: b}]}";
    let words = "logins are not granted";
    widened(&case, asked, "logins: false", words, "logins: true").await?;
    let view = case.twin.view();
    let name = format!("{}.ci", case.namespace);
    let there = view.account(&name).context("no account")?;
    ensure!(there.logins == 1 && there.oidc_identities.len() == 1);
    Ok(())
}

async fn foreign_keys_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    widened(
        &case,
        "foreignKeys: Revoke",
        "foreignKeys: [Report]",
        "foreignKeys Revoke is not granted",
        "foreignKeys: [Report, Revoke]",
    )
    .await
}

async fn roles_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    let (asked, words) = (
        "elasticsearch: {roles: [deployer]}",
        "role deployer is not granted",
    );
    let grants = ("roles: [viewer]", words, "roles: [deployer]");
    let told = (Reason::Invalid, "has nothing that spec.elasticsearch");
    unserved(&case, asked, grants, told).await?;
    left_out(&case).await
}

/// Where nothing may be left behind, `deletionPolicy: Retain` lets nothing go.
async fn retention_beyond_the_grant(case: Arc<Case>) -> Result<()> {
    case.apply(&granted(&case, "retain: false")).await?;
    let retain = "deletionPolicy: Retain";
    case.apply(&[account(&case, retain), case.key(retain)])
        .await?;
    case.healed(1).await?;
    case.breaks(Fault::Outage);
    case.delete(Key("ci")).await?;
    let words = "does not grant deletionPolicy Retain";
    case.says(Key("ci"), Reason::Revoking, words).await?;
    case.looked_at(Key("ci")).await?;
    ensure!(case.living().len() == 1, "a key went while nobody answered");
    case.mended();
    case.gone(Key("ci")).await?;
    ensure!(case.living().is_empty(), "{:?}", case.living());
    case.breaks(Fault::Outage);
    case.delete(Account("ci")).await?;
    let away = [Reason::WaitingForServer, Reason::ServerUnreachable];
    case.says_either(Account("ci"), &away, "").await?;
    case.looked_at(Account("ci")).await?;
    case.mended();
    case.gone(Account("ci")).await?;
    let name = format!("{}.ci", case.namespace);
    ensure!(
        case.twin.view().account(&name).is_none(),
        "the account is left"
    );
    Ok(())
}

/// Whatever a tenant writes into a ServiceAccount, there is no key but of an account of its own.
async fn default_grant_field_by_field(case: Arc<Case>) -> Result<()> {
    case.apply(&granted(&case, "")).await?;
    let own = format!("{}.x", case.namespace);
    let attempts = [
        "username: admin".to_owned(),
        "username: apikey-operator".to_owned(),
        "username: bystander".to_owned(),
        format!("username: x{own}"),
        format!("username: {}", case.namespace),
        "username: '*'".to_owned(),
        "username: '{namespace}.x'".to_owned(),
        "management: Observed, username: bystander".to_owned(),
        format!("management: Observed, username: {own}"),
        "management: Self".to_owned(),
        "adopt: true".to_owned(),
        "adopt: true, username: bystander".to_owned(),
        "octopus: {teams: [{name: Octopus Administrators}]}".to_owned(),
        "octopus: {teams: [{id: teams-administrators}]}".to_owned(),
        "octopus: {teams: [{name: Builders, space: Default}]}".to_owned(),
        "octopus: {externalLogins: [{provider: Okta, claims: {email: a@b}}]}".to_owned(),
        "octopus: {oidcIdentities: [{name: a, issuer: 'https://issuer.test', subject: b}]}"
            .to_owned(),
        "foreignKeys: Revoke".to_owned(),
    ];
    for (number, asked) in attempts.iter().enumerate() {
        let name = format!("a{number}");
        let key = case.object(
            "ApiKey",
            &name,
            &format!("serviceAccountRef: {{name: {name}}}"),
        );
        case.apply(&[account_named(&case, &name, asked), key])
            .await?;
    }
    for number in 0..attempts.len() {
        let name = format!("a{number}");
        case.says(Account(&name), Reason::NotGranted, "not granted")
            .await?;
        case.says(Key(&name), Reason::NotGranted, "not granted")
            .await?;
    }
    case.unasked()?;
    let asked = case.twin.sent(Effect::MakeAccount) + case.twin.sent(Effect::ChangeAccount);
    ensure!(
        asked == 0 && case.twin.sent(Effect::Write) == 0,
        "{:?}",
        case.twin.journal()
    );
    case.apply(&[account(&case, ""), case.key("")]).await?;
    case.healed(1).await
}

/// The accounts that are nobody's of ours, and the keys on them.
fn strangers(case: &Case) -> (Vec<AccountView>, Vec<String>) {
    let view = case.twin.view();
    let strange = |name: &str| !name.starts_with(&case.namespace);
    let accounts: Vec<_> = view
        .accounts
        .iter()
        .filter(|account| strange(&account.username))
        .cloned()
        .collect();
    let keys = view.keys.iter();
    let keys = keys.filter(|key| accounts.iter().any(|account| account.id == key.owner));
    (accounts.clone(), keys.map(|key| key.id.clone()).collect())
}

/// What we keep in the annotations of a ServiceAccount, written by a tenant.
async fn annotations_of_the_account(case: Arc<Case>) -> Result<()> {
    case.apply(&granted(&case, "")).await?;
    case.apply(&[account(&case, ""), case.key("")]).await?;
    case.healed(1).await?;
    let (before, team) = (strangers(&case), "Teams-1");
    let members = |case: &Case| case.twin.view().team(team).map(|team| team.members.clone());
    let team_before = members(&case);
    let annotations = case
        .get(Account("ci"))
        .await?
        .metadata
        .annotations
        .unwrap_or_default();
    let bystander = case.start.bystander.user.clone();
    let forgeries = [
        ("apikeys.dev/account-id", bystander.as_str()),
        ("apikeys.dev/account-id", case.start.admin.user.as_str()),
        ("apikeys.dev/account-id", case.start.operator.user.as_str()),
        ("apikeys.dev/account-id", "Users-999"),
        ("apikeys.dev/server-identity", "another-server"),
        ("apikeys.dev/installation", "another"),
        ("apikeys.dev/created", "false"),
        ("apikeys.dev/added", team),
        ("apikeys.dev/retained", "apikeys-1"),
        ("apikeys.dev/account-intent", "2026-01-01T00:00:00Z"),
    ];
    for (number, (name, forged)) in forgeries.into_iter().enumerate() {
        case.annotate(Account("ci"), &[(name, Some(forged))])
            .await?;
        let another = format!("k{number}");
        case.apply(&[case.key_named(&another, "")]).await?;
        case.looked_at(Account("ci")).await?;
        case.looked_at(Key(&another)).await?;
        let now = strangers(&case);
        ensure!(
            now == before,
            "{name} {forged}: {now:?} instead of {before:?}"
        );
        let own = annotations.get(name).map(String::as_str);
        case.annotate(Account("ci"), &[(name, own)]).await?;
    }
    case.ready(Account("ci")).await?;
    for number in 0..forgeries.len() {
        case.ready(Key(&format!("k{number}"))).await?;
    }
    ensure!(strangers(&case) == before && members(&case) == team_before);
    let account = case.account_id(&format!("{}.ci", case.namespace))?;
    ensure!(
        case.living().iter().all(|key| key.owner == account),
        "{:?}",
        case.living()
    );
    case.works(&case.value("ci").await?)
        .context("the key does not work")?;
    case.healed_of(1 + forgeries.len())
}

/// The same from the first apply, with the ids of others.
async fn annotations_before_the_account(case: Arc<Case>) -> Result<()> {
    case.apply(&granted(&case, "")).await?;
    for id in [&case.start.bystander.user, &case.start.admin.user] {
        let before = strangers(&case);
        let forged = account(&case, "").replace(
            "metadata: {",
            &format!(
                "metadata: {{annotations: {{apikeys.dev/account-id: {id}, apikeys.dev/created: \
                 'true', apikeys.dev/server-identity: '{}'}}, ",
                case.twin.view().installation
            ),
        );
        case.apply(&[forged, case.key("")]).await?;
        case.says_any(Key("ci"), "on the server. Give it that name there")
            .await?;
        case.delete(Account("ci")).await?;
        case.delete(Key("ci")).await?;
        case.gone(Key("ci")).await?;
        case.gone(Account("ci")).await?;
        ensure!(strangers(&case) == before);
    }
    case.unasked()?;
    case.apply(&[account(&case, ""), case.key("")]).await?;
    case.healed(1).await
}

/// Whoever may write a DeployServer can have no Secret sent that nobody offered.
async fn unoffered_secrets_field_by_field(case: Arc<Case>) -> Result<()> {
    let precious = "precious-9f83jk2lq0";
    case.stage.canaries.add(precious);
    let labels = [
        "{}",
        "{apikeys.dev/credential: 'yes'}",
        "{apikeys.dev/credential: 'True'}",
    ];
    for (number, labels) in labels.iter().enumerate() {
        case.apply(&[case.secret(&format!("precious{number}"), labels, precious)])
            .await?;
    }
    let at = |name: &str, more: &str| {
        let url = case.url();
        case.object(
            "DeployServer",
            name,
            &format!("type: Octopus, url: '{url}', {more}"),
        )
    };
    let reference =
        |name: &str| format!("auth: {{apiKey: {{secretRef: {{name: {name}, key: api-key}}}}}}");
    for number in 0..labels.len() {
        let name = format!("precious{number}");
        case.apply(&[at(&name, &reference(&name))]).await?;
        case.says(
            Server(&name),
            Reason::CredentialNotOffered,
            "is not offered",
        )
        .await?;
    }
    let basic =
        "auth: {basic: {secretRef: {name: precious0, usernameKey: api-key, passwordKey: api-key}}}";
    case.apply(&[at("basic", basic)]).await?;
    let words = "is not offered";
    case.says(Server("basic"), Reason::CredentialNotOffered, words)
        .await?;
    let bearer = "auth: {bearer: {secretRef: {name: precious0, key: api-key}}}";
    let elasticsearch = at("bearer", bearer).replace("type: Octopus", "type: Elasticsearch");
    case.apply(&[elasticsearch]).await?;
    case.says(Server("bearer"), Reason::CredentialNotOffered, words)
        .await?;
    // Nor is it shown as what it is not.
    case.apply(&[case.offered(&case.start.operator.key)])
        .await?;
    let ca = "tls: {caRef: {kind: Secret, name: precious0, key: api-key}}";
    let over_tls = at("ca", &format!("{}, {ca}", reference("octopus")));
    case.apply(&[over_tls.replace("http:", "https:")]).await?;
    case.says(Server("ca"), Reason::CertificateNotTrusted, "spec.tls")
        .await?;
    let shown = case.get(Server("ca")).await?;
    ensure!(!serde_json::to_string(&shown)?.contains(precious));
    case.unheard()?;
    // A Secret that we made holds a key, and is no offer.
    case.apply(&[case.server(""), case.account(""), case.key("")])
        .await?;
    case.healed(1).await?;
    case.twin.forget();
    let ours = reference("ci").replace("key: api-key", "key: OCTOPUS_API_KEY");
    case.apply(&[at("ours", &ours)]).await?;
    case.says(
        Server("ours"),
        Reason::CredentialNotOffered,
        "is not offered",
    )
    .await?;
    let made = case.living().remove(0).id;
    let shown = |entry: &Entry| entry.key.as_deref() == Some(made.as_str());
    ensure!(
        !case.twin.journal().iter().any(shown),
        "our own key was shown"
    );
    // What is offered is sent.
    let offer = json!({"metadata": {"labels": {"apikeys.dev/credential": "true"}}});
    case.patch(Sealed("precious0"), offer).await?;
    case.says(Server("precious0"), Reason::CredentialRejected, " ")
        .await?;
    Ok(())
}
