//! ServiceAccounts: whose account it is, teams, management.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use http::Method;
use kube::api::DynamicObject;
use serde_json::json;
use testbed::twins::Effect;
use testbed::twins::octopus::Change;

use super::case::{Account, Case, Key};
use super::{Row, rows};

pub(super) fn rows() -> Vec<Row> {
    rows![
        name_taken,
        account_of_a_person,
        the_operators_own_account,
        team_that_does_not_exist,
        teams_are_additive,
        ways_in_are_additive,
        two_of_one_account,
        observed,
        observed_and_absent,
        own_account,
        disabled_from_outside,
        renamed_from_outside,
        deleted_from_outside,
        deleted_from_outside_at_the_end,
        drift_is_mended,
        wishes_show_on_the_server,
        foreign_keys_are_noted,
        a_copy_of_the_cluster,
    ]
}

/// Somebody makes an account on the server.
async fn make_account(case: &Case, username: &str) -> Result<String> {
    let account = json!({"Username": username, "DisplayName": "Made by hand", "IsService": true,
        "IsActive": true});
    let made = case.admin(Method::POST, "/api/users", &account).await?;
    Ok(made["Id"].as_str().context("no id")?.to_owned())
}

/// Somebody makes a team on the server.
async fn make_team(case: &Case, name: &str, members: &[&str]) -> Result<String> {
    let team = json!({"Name": name, "MemberUserIds": members});
    let made = case.admin(Method::POST, "/api/teams", &team).await?;
    Ok(made["Id"].as_str().context("no id")?.to_owned())
}

fn name(case: &Case) -> String {
    format!("{}.ci", case.namespace)
}

fn is_member(case: &Case, team: &str, user: &str) -> bool {
    let view = case.twin.view();
    view.team(team)
        .is_some_and(|team| team.members.iter().any(|member| member == user))
}

async fn name_taken(case: Arc<Case>) -> Result<()> {
    let id = make_account(&case, &name(&case)).await?;
    case.apply(&case.whole()).await?;
    let words = format!("Account {} exists on the server already", name(&case));
    case.says(Account("ci"), Reason::AccountExists, &words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "AccountExists")
        .await?;
    case.unasked()?;
    case.apply(&[case.account("adopt: true, displayName: Made by hand")])
        .await?;
    case.healed(1).await?;
    ensure!(case.living()[0].owner == id);
    // Adopted, it stays.
    case.end().await?;
    let view = case.twin.view();
    let left = view
        .account(&name(&case))
        .context("the adopted account is gone")?;
    ensure!(
        left.is_active && left.display_name == "Made by hand",
        "{left:?}"
    );
    Ok(())
}

async fn account_of_a_person(case: Arc<Case>) -> Result<()> {
    let person = json!({"Username": name(&case), "DisplayName": "Jane", "IsService": false,
        "IsActive": true, "Password": "Correct-Horse-7"});
    case.admin(Method::POST, "/api/users", &person).await?;
    let [credential, server, _, key] = case.whole();
    case.apply(&[credential, server, case.account("adopt: true"), key])
        .await?;
    let words = "is the account of a person, which is never managed";
    case.says(Account("ci"), Reason::AccountExists, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, words)
        .await?;
    case.unasked()?;
    case.change(Change::Rename {
        user: name(&case),
        username: "jane".to_owned(),
    })?;
    case.healed(1).await?;
    let view = case.twin.view();
    let jane = view.account("jane").context("the person is gone")?;
    ensure!(jane.display_name == "Jane" && jane.is_active, "{jane:?}");
    Ok(())
}

/// It is taken with management Self, and not otherwise.
async fn the_operators_own_account(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let account = case.account("username: apikey-operator, adopt: true");
    case.apply(&[credential, server, account, key]).await?;
    let words = "is the connection's own account. Declare it with management Self";
    case.says(Account("ci"), Reason::AccountExists, words)
        .await?;
    case.unasked()?;
    case.end().await?;
    case.apply(&case.whole()).await?;
    case.healed(1).await
}

async fn team_that_does_not_exist(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let account = case.account("octopus: {teams: [{name: Deployers}]}");
    case.apply(&[credential, server, account, key]).await?;
    let words = "There is no team Deployers on the server";
    case.says(Account("ci"), Reason::TeamNotFound, words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, words)
        .await?;
    case.unasked()?;
    make_team(&case, "Deployers", &[]).await?;
    case.healed(1).await?;
    ensure!(is_member(
        &case,
        "Deployers",
        &case.account_id(&name(&case))?
    ));
    Ok(())
}

async fn teams_are_additive(case: Arc<Case>) -> Result<()> {
    let bystander = case.start.bystander.user.clone();
    for team in ["Ours", "Theirs", "Both"] {
        make_team(&case, team, &[&bystander]).await?;
    }
    let [credential, server, _, key] = case.whole();
    let account = case.account("octopus: {teams: [{name: Ours}, {name: Both}]}");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    let user = case.account_id(&name(&case))?;
    case.change(Change::Join {
        user: user.clone(),
        team: "Theirs".to_owned(),
    })?;
    case.apply(&[case.account("octopus: {teams: [{name: Both}]}")])
        .await?;
    case.shown("the account out of the team", |case| {
        (!is_member(case, "Ours", &user)).then_some(())
    })
    .await?;
    case.ready(Account("ci")).await?;
    for team in ["Theirs", "Both"] {
        ensure!(is_member(&case, team, &user), "not in {team}");
    }
    for team in ["Ours", "Theirs", "Both"] {
        ensure!(
            is_member(&case, team, &bystander),
            "the bystander was put out of {team}"
        );
    }
    case.healed(1).await
}

/// A login that cannot be is told; others are given, and taken back.
async fn ways_in_are_additive(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let asked = |provider: &str| {
        case.account(&format!(
            "octopus: {{externalLogins: [{{provider: {provider}, claims: {{email: a@b}}}}], \
             oidcIdentities: [{{name: a, issuer: 'https://issuer.test', subject: b}}]}}"
        ))
    };
    case.apply(&[credential, server, asked("Directory"), key])
        .await?;
    let words = "there is no login provider \"Directory\", but these: Azure AD";
    case.says(Account("ci"), Reason::Rejected, words).await?;
    case.unasked()?;
    case.apply(&[asked("Okta")]).await?;
    case.healed(1).await?;
    let ways = |case: &Case| {
        let view = case.twin.view();
        let account = view.account(&name(case))?.clone();
        Some((account.logins, account.oidc_identities.len()))
    };
    ensure!(ways(&case) == Some((1, 1)), "{:?}", ways(&case));
    case.apply(&[case.account("")]).await?;
    case.shown("that both are taken back", |case| {
        (ways(case) == Some((0, 0))).then_some(())
    })
    .await?;
    case.healed(1).await
}

async fn two_of_one_account(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let shared = |name: &str, more: &str| {
        case.account_named(name, &format!("username: shared, adopt: true, {more}"))
    };
    case.apply(&[credential, server, shared("ci", ""), key])
        .await?;
    case.healed(1).await?;
    let other = case.object("ApiKey", "other", "serviceAccountRef: {name: other}");
    case.apply(&[shared("other", ""), other]).await?;
    let words = format!(
        "ServiceAccount {}/ci manages this account already",
        case.namespace
    );
    case.says(Account("other"), Reason::AccountConflict, &words)
        .await?;
    case.says(Key("other"), Reason::WaitingForAccount, &words)
        .await?;
    ensure!(case.minted() == 1);
    let observed = case.account_named("other", "username: shared, management: Observed");
    case.apply(&[observed]).await?;
    case.works_at("other").await?;
    case.healed_of(2)?;
    // The account waits for the keys of both.
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    case.delete(Account("ci")).await?;
    let words = format!("{}/other", case.namespace);
    case.says(Account("ci"), Reason::InUse, &words).await?;
    ensure!(case.living().len() == 1);
    case.delete(Key("other")).await?;
    case.gone(Account("ci")).await?;
    ensure!(
        case.twin.view().account("shared").is_none(),
        "the account is left"
    );
    Ok(())
}

async fn observed(case: Arc<Case>) -> Result<()> {
    let before = case.twin.view().account("bystander").cloned();
    let [credential, server, _, key] = case.whole();
    let account = case.account("username: bystander, management: Observed");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    ensure!(case.living()[0].owner == case.start.bystander.user);
    case.change(Change::Disable {
        user: "bystander".to_owned(),
    })?;
    case.says(Account("ci"), Reason::AccountDisabled, "Enable the account")
        .await?;
    case.says(Key("ci"), Reason::AccountDisabled, "Enable the account")
        .await?;
    case.change(Change::Enable {
        user: "bystander".to_owned(),
    })?;
    case.healed(1).await?;
    case.end().await?;
    let changed = case.twin.sent(Effect::ChangeAccount) + case.twin.sent(Effect::EndAccount);
    ensure!(changed == 0 && case.twin.view().account("bystander").cloned() == before);
    Ok(())
}

async fn observed_and_absent(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let account = case.account("management: Observed");
    case.apply(&[credential, server, account, key]).await?;
    let words = format!("There is no account {} on the server", name(&case));
    case.says(Account("ci"), Reason::AccountNotFound, &words)
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, &words)
        .await?;
    case.unasked()?;
    let id = make_account(&case, &name(&case)).await?;
    case.healed(1).await?;
    case.end().await?;
    ensure!(case.account_id(&name(&case))? == id);
    Ok(())
}

async fn own_account(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    case.apply(&[credential, server, case.account("management: Self"), key])
        .await?;
    case.healed(1).await?;
    ensure!(case.living()[0].owner == case.start.operator.user);
    case.end().await?;
    ensure!(case.works(&case.start.operator.key).is_some());
    let changed = case.twin.sent(Effect::ChangeAccount) + case.twin.sent(Effect::EndAccount);
    ensure!(changed == 0 && case.twin.sent(Effect::MakeAccount) == 0);
    Ok(())
}

async fn disabled_from_outside(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.change(Change::Disable { user: name(&case) })?;
    case.shown("the account enabled again", |case| {
        let view = case.twin.view();
        view.account(&name(case))?.is_active.then_some(())
    })
    .await?;
    case.healed(1).await?;
    case.apply(&[case.account("disabled: true")]).await?;
    case.says(Key("ci"), Reason::AccountDisabled, "spec.disabled")
        .await?;
    case.apply(&[case.account("")]).await?;
    case.healed(1).await
}

async fn renamed_from_outside(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let id = case.account_id(&name(&case))?;
    case.change(Change::Rename {
        user: id.clone(),
        username: "renamed".to_owned(),
    })?;
    case.says(
        Account("ci"),
        Reason::AccountNotFound,
        "on the server. Give it that name there",
    )
    .await?;
    case.apply(&[case.key_named("second", "")]).await?;
    case.says(
        Key("second"),
        Reason::WaitingForAccount,
        "Give it that name there",
    )
    .await?;
    case.change(Change::Rename {
        user: id,
        username: name(&case),
    })?;
    case.ready(Key("second")).await?;
    ensure!(case.minted() == 2 && case.living().len() == 2);
    Ok(())
}

/// It is made anew, and so is the key that died with it.
async fn deleted_from_outside(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let first = case.account_id(&name(&case))?;
    case.change(Change::Delete {
        user: first.clone(),
    })?;
    case.shown("another account", |case| {
        case.account_id(&name(case)).ok().filter(|id| *id != first)
    })
    .await?;
    case.has_serial(Key("ci"), 2).await?;
    case.healed(2).await
}

async fn deleted_from_outside_at_the_end(case: Arc<Case>) -> Result<()> {
    let [credential, _, account, key] = case.whole();
    case.apply(&[credential, case.server("resync: 1h"), account, key])
        .await?;
    case.healed(1).await?;
    case.change(Change::Delete { user: name(&case) })?;
    case.end().await
}

async fn drift_is_mended(case: Arc<Case>) -> Result<()> {
    let [credential, server, _, key] = case.whole();
    let account = case.account("displayName: Team A, email: a@example.org");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    let shows = |display: &'static str, mail: &'static str| {
        move |case: &Case| {
            let view = case.twin.view();
            let account = view.account(&name(case))?;
            let fits = account.display_name == display && account.email.as_deref() == Some(mail);
            fits.then_some(())
        }
    };
    case.shown("the account as declared", shows("Team A", "a@example.org"))
        .await?;
    case.apply(&[case.account("displayName: Team B, email: b@example.org")])
        .await?;
    case.shown("the account as declared", shows("Team B", "b@example.org"))
        .await?;
    case.healed(1).await
}

async fn wishes_show_on_the_server(case: Arc<Case>) -> Result<()> {
    let [credential, server, account, _] = case.whole();
    let key = case.key("purpose: GitHub Actions deploys, onBehalfOf: Jane Doe, lifetime: 12h");
    case.apply(&[credential, server, account, key]).await?;
    case.healed(1).await?;
    let made = &case.living()[0];
    let home = format!("{}/ci", case.namespace);
    for words in ["GitHub Actions deploys", "for Jane Doe", &home, " ako1."] {
        ensure!(
            made.purpose.contains(words),
            "{words} is not in {}",
            made.purpose
        );
    }
    let life = made
        .expires
        .context("it never ends")?
        .duration_since(made.created);
    ensure!(
        (life.as_secs() - 12 * 3600).abs() < 60,
        "it lives for {life}"
    );
    Ok(())
}

/// Makes a key on the account by hand, with this purpose: its id.
async fn make_key(case: &Case, purpose: &str) -> Result<String> {
    let user = case.account_id(&name(case))?;
    let path = format!("/api/users/{user}/apikeys");
    let made = case
        .admin(Method::POST, &path, &json!({"Purpose": purpose}))
        .await?;
    Ok(made["Id"].as_str().context("no id")?.to_owned())
}

/// An annotation of an object, as far as it is there.
fn annotation<'a>(object: Option<&'a DynamicObject>, name: &str) -> Option<&'a str> {
    let annotations = object?.metadata.annotations.as_ref()?;
    annotations.get(name).map(String::as_str)
}

/// From when on they are seen, until `foreignKeys: Revoke` is taken back.
async fn foreign_keys_are_noted(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let foreign = make_key(&case, "by hand").await?;
    case.apply(&[case.account("foreignKeys: Revoke")]).await?;
    let note = "apikeys.dev/foreign";
    let word = format!("{foreign}:");
    case.until(Account("ci"), "notes the key", |object| {
        annotation(object, note)
            .is_some_and(|note| note.starts_with(&word))
            .then_some(())
    })
    .await?;
    case.ready(Account("ci")).await?;
    case.apply(&[case.account("")]).await?;
    case.until(Account("ci"), "notes nothing", |object| {
        annotation(object, note).is_none().then_some(())
    })
    .await?;
    let lives = case.twin.view().keys.iter().any(|key| key.id == foreign);
    ensure!(lives, "it was revoked");
    Ok(())
}

/// A key of an attempt that was never opened here: nothing goes until a person has said whose it is.
async fn a_copy_of_the_cluster(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let own = case.living()[0].purpose.clone();
    let (token, _) = own.rsplit_once('.').context("no nonce")?;
    let (token, _) = token.rsplit_once('.').context("no serial")?;
    let purpose = format!("{token}.2.0011223344556677");
    let copys = make_key(&case, &purpose).await?;
    let words = "give one of the two another installation id";
    case.says(Account("ci"), Reason::IdentityShared, words)
        .await?;
    let rotate = ("apikeys.dev/rotate", Some("put back"));
    case.annotate(Key("ci"), &[rotate]).await?;
    case.has_serial(Key("ci"), 3).await?;
    case.ready(Key("ci")).await?;
    let shared = ("apikeys.dev/identity-shared", None);
    case.annotate(Account("ci"), &[shared]).await?;
    case.ready(Account("ci")).await?;
    let lives = case.twin.view().keys.iter().any(|key| key.id == copys);
    ensure!(lives, "it was revoked");
    Ok(())
}
