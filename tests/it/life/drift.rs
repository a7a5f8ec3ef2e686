//! Accounts that somebody changes on the server, and credentials that are replaced.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::Scene;
use testbed::twins::octopus::{AccountView, Change};

use super::{HOUR, MINUTE, Test, connect, ground, key, only_published, test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("a_disabled_account_is_enabled_again", enabled_again),
        test("a_renamed_account_is_told", renamed),
        test("changed_words_of_an_account_are_put_back", words),
        test("a_membership_that_was_taken_is_given_again", membership),
        test("a_team_that_is_gone_is_told", team_gone),
        test("a_credential_is_replaced_while_all_goes_on", credential),
    ]
}

/// A little more than a resync.
const RESYNC: std::time::Duration = MINUTE.saturating_mul(12);

fn view(scene: &Scene) -> Result<AccountView> {
    let view = scene.twin.view();
    view.account("team-a.ci").cloned().context("no account")
}

/// An administrator does something by hand.
async fn by_hand(scene: &Scene, method: Method, path: &str, body: &Value) -> Result<Value> {
    let admin = scene.twin.look(|twin, _| twin.start().admin.key.clone());
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("X-Octopus-ApiKey", admin)
        .body(Bytes::from(body.to_string()))?;
    let answer = scene.twin.send(request).await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    ensure!(answer.status().is_success(), "{} {text}", answer.status());
    Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
}

async fn enabled_again(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    // Nobody uses it: it does not work for a while.
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    let deploys = Address::key("deploys");
    scene.until_ready(&deploys, MINUTE).await?;
    let user = view(&scene)?.id;
    scene.twin.change(Change::Disable { user })?;
    scene.run(RESYNC).await;
    ensure!(view(&scene)?.is_active, "it is left disabled");
    scene.until_ready(&deploys, MINUTE).await?;
    only_published(&scene, "deploys")
}

/// Nobody knows whether it is still the account that is meant: it is left alone, and its keys live.
async fn renamed(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    key(&scene, "deploys", json!({})).await?;
    let account = Address::account("ci");
    let user = view(&scene)?.id;
    let rename = |username: &str| Change::Rename {
        user: user.clone(),
        username: username.to_owned(),
    };
    scene.twin.change(rename("somebody"))?;
    scene.run(RESYNC).await;
    let reason = scene.reason(&account);
    ensure!(reason == "AccountNotFound", "{reason}");
    ensure!(scene.living().len() == 1 && view(&scene).is_err());
    scene.twin.change(rename("team-a.ci"))?;
    scene.run(RESYNC).await;
    scene.until_ready(&account, MINUTE).await?;
    only_published(&scene, "deploys")
}

async fn words(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let spec = json!({"displayName": "CI of team A", "email": "ci@example.org"});
    scene.apply(&manifests::account(spec)).await?;
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    let before = view(&scene)?;
    let path = format!("/api/users/{}", before.id);
    let mut user = by_hand(&scene, Method::GET, &path, &json!({})).await?;
    user["DisplayName"] = json!("Mine");
    user["EmailAddress"] = json!("mine@example.org");
    by_hand(&scene, Method::PUT, &path, &user).await?;
    ensure!(view(&scene)? != before);
    scene.run(RESYNC).await;
    ensure!(view(&scene)? == before, "{:?}", view(&scene)?);
    Ok(())
}

/// An account in a team of the server.
async fn member(scene: &Scene) -> Result<(String, String)> {
    connect(scene).await?;
    let team = json!({"Name": "Deployers", "MemberUserIds": []});
    let team = by_hand(scene, Method::POST, "/api/teams", &team).await?;
    let team = team["Id"].as_str().context("no team")?.to_owned();
    let spec = json!({"octopus": {"teams": [{"name": "Deployers"}]}});
    scene.apply(&manifests::account(spec)).await?;
    scene.until_ready(&Address::account("ci"), MINUTE).await?;
    let user = view(scene)?.id;
    ensure!(is_member(scene, &team, &user));
    Ok((team, user))
}

fn is_member(scene: &Scene, team: &str, user: &str) -> bool {
    let view = scene.twin.view();
    view.team(team)
        .is_some_and(|team| team.members.iter().any(|member| member == user))
}

async fn membership(scene: Scene) -> Result<()> {
    let (team, user) = member(&scene).await?;
    let leave = Change::Leave {
        user: user.clone(),
        team: team.clone(),
    };
    scene.twin.change(leave)?;
    scene.run(RESYNC).await;
    ensure!(is_member(&scene, &team, &user), "it is left out");
    Ok(())
}

async fn team_gone(scene: Scene) -> Result<()> {
    let (team, user) = member(&scene).await?;
    let account = Address::account("ci");
    let path = format!("/api/teams/{team}");
    by_hand(&scene, Method::DELETE, &path, &json!({})).await?;
    scene.run(RESYNC).await;
    let reason = scene.reason(&account);
    ensure!(reason == "TeamNotFound", "{reason}");
    let again = json!({"Name": "Deployers", "MemberUserIds": []});
    by_hand(&scene, Method::POST, "/api/teams", &again).await?;
    scene.run(RESYNC).await;
    scene.until_ready(&account, MINUTE).await?;
    ensure!(is_member(&scene, "Deployers", &user), "it is left out");
    // The team that is gone holds nobody.
    scene.delete(&account).await?;
    scene.until_gone(&account, MINUTE * 2).await?;
    ensure!(view(&scene).is_err(), "the account is left");
    Ok(())
}

/// With another key of the same account; the former one is revoked.
async fn credential(scene: Scene) -> Result<()> {
    ground(&scene).await?;
    let deploys = key(&scene, "deploys", json!({})).await?;
    let own = scene.twin.look(|twin, _| twin.start().operator.clone());
    let path = format!("/api/users/{}/apikeys", own.user);
    let body = json!({"Purpose": "the next"});
    let made = by_hand(&scene, Method::POST, &path, &body).await?;
    let value = made["ApiKey"].as_str().context("no value")?;
    scene.apply(&manifests::credential(value)).await?;
    scene.run(MINUTE).await;
    let former = scene.twin.look(|twin, now| twin.whose(now, &own.key));
    let former = former.context("no such key")?.id;
    scene.witness.outside(&former);
    scene.twin.change(Change::RevokeKey { key: former })?;
    scene.run(HOUR).await;
    let server = Address::server("octopus");
    ensure!(scene.says(&server, "Ready", "True"), "the connection broke");
    scene.apply(&manifests::key("reads", json!({}))).await?;
    scene.until_ready(&Address::key("reads"), MINUTE).await?;
    for address in [deploys, Address::key("reads")] {
        scene.delete(&address).await?;
        scene.until_gone(&address, MINUTE).await?;
    }
    ensure!(scene.published(TEAM, "deploys").is_none() && scene.living().is_empty());
    Ok(())
}
