//! What only Octopus Deploy has: people, teams and spaces, rights, the rules for a key's end, a virtual
//! directory; in `sessions` what is peculiar to a sign-in by password, in `logins` the ways in without a
//! key.

mod logins;
mod sessions;
mod vouched;

use anyhow::{Context as _, ensure};
use apikey_operator::api::ServerType;
use apikey_operator::clock::{Clock as _, SystemClock};
use apikey_operator::plan::port::{
    AccountId, AccountName, Activity, Fault, KeyExpiry, KeyId, Nature, Order, RemoteTeam, TeamId,
    TeamRef,
};
use apikey_operator::secret::KeyMaterial;
use apikey_operator::servers::{Credential, connect};
use serde_json::{Value, json};
use testbed::twins::octopus::{Change, Config, Octopus, Version};
use testbed::twins::tcp::serve;
use testbed::twins::{Door, Effect};

use super::{Dates, Site, Stage, draft, in_days, label, minted, order, suite};
use crate::ladder::Rung;

pub(super) fn stage() -> anyhow::Result<Stage<Octopus>> {
    build(&Config::default(), "")
}

pub(super) use self::sessions::by_password;
pub(super) use self::vouched::stage as vouched_for;

fn build(config: &Config, prefix: &'static str) -> anyhow::Result<Stage<Octopus>> {
    let octopus = Octopus::new(&Config {
        prefix: prefix.to_owned(),
        ..config.clone()
    });
    let credential = KeyMaterial::new(octopus.start().operator.key.as_str());
    let door = Door::live(octopus);
    let listening = serve(&door, 0, None)?;
    let stray = KeyMaterial::new("API-NOBODYSKEY1234567890123456789");
    let site = Site {
        kind: ServerType::Octopus,
        url: format!("{}{prefix}", listening.url()),
        credential: Credential::ApiKey(credential),
        nobodys: Credential::ApiKey(stray.clone()),
        stray,
        absent: (AccountId::new("Users-absent"), KeyId::new("apikeys-absent")),
        dates: Dates::Told,
        many: 450,
        turns: std::sync::Arc::default(),
    };
    Ok(Stage {
        site,
        door,
        listening,
        prefix,
    })
}

fn under_a_directory() -> anyhow::Result<Stage<Octopus>> {
    build(&Config::default(), "/octopus")
}

fn old() -> anyhow::Result<Stage<Octopus>> {
    build(
        &Config {
            version: Version::new(2020, 6, 1),
            ..Config::default()
        },
        "",
    )
}

fn with_an_ending_credential() -> anyhow::Result<Stage<Octopus>> {
    let operator_key_expires = Some(in_days(20));
    build(
        &Config {
            operator_key_expires,
            ..Config::default()
        },
        "",
    )
}

/// What only Octopus Deploy has.
pub(super) fn own(rung: Rung) -> Rung {
    let rung = suite!(rung, "octopus", stage:
        a_probe_tells_server_and_self,
        a_change_of_server_or_self_shows,
        a_name_is_found_whatever_its_case,
        a_long_list_has_pages,
        a_person_stays_as_he_is,
        an_account_keeps_what_we_do_not_declare,
        a_disabled_account_opens_nothing,
        who_has_no_rights_is_told_so,
        a_key_of_another_account_is_not_revoked,
        a_key_may_not_live_too_long,
        a_team_is_named_by_id_or_name_and_space,
        joining_is_additive_and_race_free,
        a_team_that_cannot_change_says_so,
    );
    let rung = vouched::own(sessions::own(logins::own(rung)));
    let rung = suite!(rung, "octopus", under_a_directory: everything_works_under_a_directory);
    let rung = suite!(rung, "octopus", old: an_old_server_has_fewer_rules);
    suite!(rung, "octopus", with_an_ending_credential: no_key_outlives_our_own)
}

/// Asks the server as its administrator, past our client.
async fn admin(
    stage: &Stage<Octopus>,
    method: http::Method,
    path: &str,
    body: Value,
) -> anyhow::Result<Value> {
    let key = stage
        .door
        .look(|octopus, _| octopus.start().admin.key.clone());
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("X-Octopus-ApiKey", key)
        .body(body.to_string().into())?;
    let response = stage.door.send(request).await?;
    ensure!(
        response.status().is_success(),
        "{path}: {}",
        response.status()
    );
    Ok(serde_json::from_slice(response.body())?)
}

async fn made(stage: &Stage<Octopus>, path: &str, body: Value) -> anyhow::Result<String> {
    let made = admin(stage, http::Method::POST, path, body).await?;
    Ok(made["Id"].as_str().context("an id")?.to_owned())
}

fn operator(stage: &Stage<Octopus>) -> AccountId {
    stage
        .door
        .look(|octopus, _| AccountId::new(octopus.start().operator.user.as_str()))
}

/// The id of the operator's own key.
fn own_key(stage: &Stage<Octopus>) -> anyhow::Result<String> {
    let own = operator(stage);
    let view = stage.door.view();
    let key = view.keys_of(own.as_str()).next().context("a key")?;
    Ok(key.id.clone())
}

async fn a_name_is_found_whatever_its_case(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    for number in 0..220 {
        client
            .create_account(&draft(&format!("team-a.ci-{number}")))
            .await?;
    }
    let made = client.create_account(&draft("x.team-a.ci")).await?;
    assert_eq!(made.nature, Nature::Service);
    let found = client.find_account(&AccountName::own("X.Team-A.ci")).await;
    assert_eq!(found, Ok(Some(made)));
    let again = client.create_account(&draft("X.TEAM-a.ci")).await;
    assert_eq!(label(&again), "conflict");
    Ok(())
}

async fn a_long_list_has_pages(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?;
    for _ in 0..250 {
        client.mint(&order(&account.id)).await?;
    }
    assert_eq!(client.keys(&account.id).await?.keys.len(), 250);
    assert_eq!(stage.sent(Effect::ListKeys), 2);
    Ok(())
}

async fn a_probe_tells_server_and_self(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let probe = stage.client()?.probe().await?;
    assert_eq!(probe.version, "2026.3.15581");
    assert_eq!(probe.identity.as_str(), stage.door.view().installation);
    assert_eq!(
        (&probe.own.id, probe.own.username.as_str()),
        (&operator(&stage), "apikey-operator")
    );
    assert_eq!(
        probe.key_expiry,
        KeyExpiry {
            default_days: Some(180),
            max_days: Some(366)
        }
    );
    assert_eq!(probe.credential_expires_at, None);
    Ok(())
}

async fn a_change_of_server_or_self_shows(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let before = client.probe().await?;
    stage.door.change(Change::Reinstall)?;
    let elsewhere = client.probe().await?;
    ensure!(elsewhere.identity != before.identity);
    let key = own_key(&stage)?;
    stage.door.change(Change::GiveKey {
        key: key.clone(),
        user: "bystander".to_owned(),
    })?;
    assert_eq!(client.probe().await?.own.username, "bystander");
    stage.door.change(Change::RevokeKey { key })?;
    assert_eq!(label(&client.probe().await), "unauthorized");
    Ok(())
}

async fn a_person_stays_as_he_is(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let person = client
        .find_account(&AccountName::own("Admin"))
        .await?
        .context("the administrator")?;
    assert_eq!(person.nature, Nature::Human);
    let before = stage.door.view().account("admin").cloned();
    assert_eq!(
        label(&client.update_account(&person.id, &draft("admin")).await),
        "rejected"
    );
    assert_eq!(label(&client.delete_account(&person.id).await), "rejected");
    assert_eq!(label(&client.mint(&order(&person.id)).await), "forbidden");
    assert_eq!(stage.door.view().account("admin").cloned(), before);
    let changes = [Effect::ChangeAccount, Effect::EndAccount].map(|effect| stage.sent(effect));
    assert_eq!(changes, [0, 0], "not even tried");
    Ok(())
}

async fn an_account_keeps_what_we_do_not_declare(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let claims = json!({ "dn": { "Value": "cn=ci", "IsIdentifyingClaim": true } });
    let login = json!({ "IdentityProviderName": "Active Directory", "Claims": claims });
    let id = made(
        &stage,
        "/api/users",
        json!({
            "Username": "team-a.ci", "DisplayName": "old", "IsService": true,
            "EmailAddress": "ci@a.example", "Identities": [login],
        }),
    );
    let id = AccountId::new(id.await?);
    let client = stage.client()?;
    let mut draft = draft("team-a.ci");
    let after = client.update_account(&id, &draft).await?;
    assert_eq!(after.display_name, draft.display_name);
    assert_eq!(after.email.as_deref(), Some("ci@a.example"));
    draft.email = Some("new@a.example".to_owned());
    draft.activity = Activity::Disabled;
    let after = client.update_account(&id, &draft).await?;
    assert_eq!(after.email.as_deref(), Some("new@a.example"));
    assert_eq!(
        (after.activity, &after),
        (Activity::Disabled, &client.account(&id).await?)
    );
    let view = stage.door.view();
    let account = view.account("team-a.ci").context("the account")?;
    assert_eq!((account.logins, account.is_service), (1, true));
    Ok(())
}

async fn a_disabled_account_opens_nothing(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let mut off = draft("team-a.ci");
    off.activity = Activity::Disabled;
    let account = client.create_account(&off).await?;
    assert_eq!(
        account.activity,
        Activity::Enabled,
        "the server makes no inactive users"
    );
    let minted = client.mint(&order(&account.id)).await?;
    client.prove(&account.id, &minted.value).await?;
    client.update_account(&account.id, &off).await?;
    assert_eq!(
        client.prove(&account.id, &minted.value).await,
        Err(Fault::Unauthorized)
    );
    stage.door.change(Change::Disable {
        user: "apikey-operator".to_owned(),
    })?;
    assert_eq!(label(&client.keys(&account.id).await), "unauthorized");
    Ok(())
}

async fn who_has_no_rights_is_told_so(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let key = stage
        .door
        .look(|octopus, _| octopus.start().bystander.key.clone());
    let bystander = stage
        .site
        .client_with(&Credential::ApiKey(KeyMaterial::new(key)))?;
    assert_eq!(bystander.probe().await?.own.username, "bystander");
    let outcomes = [
        bystander.keys(&account.id).await.map(drop),
        bystander.mint(&order(&account.id)).await.map(drop),
        bystander.revoke(&account.id, &minted.key.id).await,
        bystander.create_account(&draft("another")).await.map(drop),
        bystander.delete_account(&account.id).await,
    ];
    for outcome in outcomes {
        let Err(Fault::Forbidden(why)) = &outcome else {
            anyhow::bail!("{outcome:?}")
        };
        ensure!(why.contains("permission"), "{why}");
    }
    Ok(())
}

async fn a_key_of_another_account_is_not_revoked(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let (a, minted_a) = minted(&*client, "team-a.ci").await?;
    let (b, _) = minted(&*client, "team-b.ci").await?;
    assert_eq!(
        label(&client.revoke(&b.id, &minted_a.key.id).await),
        "rejected"
    );
    client.prove(&a.id, &minted_a.value).await?;
    Ok(())
}

async fn a_key_may_not_live_too_long(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?;
    for expires_at in [in_days(367), SystemClock.now()] {
        let order = Order {
            expires_at,
            ..order(&account.id)
        };
        let Err(Fault::Rejected(why)) = client.mint(&order).await else {
            anyhow::bail!("{expires_at}");
        };
        ensure!(
            why.contains("days at the longest") || why.contains("in the future"),
            "{why}"
        );
    }
    assert!(client.keys(&account.id).await?.keys.is_empty());
    Ok(())
}

async fn no_key_outlives_our_own(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let end = client
        .probe()
        .await?
        .credential_expires_at
        .context("our own end is known")?;
    let account = client.create_account(&draft("team-a.ci")).await?;
    let of = |expires_at| Order {
        expires_at,
        ..order(&account.id)
    };
    assert_eq!(label(&client.mint(&of(in_days(21))).await), "rejected");
    let minted = client.mint(&of(end)).await?;
    assert_eq!(minted.key.expires_at, Some(end));
    Ok(())
}

async fn an_old_server_has_fewer_rules(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let probe = client.probe().await?;
    assert_eq!(
        (probe.version.as_str(), probe.key_expiry),
        ("2020.6.1", KeyExpiry::default())
    );
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    assert_eq!(client.keys(&account.id).await?.keys[0].id, minted.key.id);
    client.revoke(&account.id, &minted.key.id).await?;
    Ok(())
}

async fn everything_works_under_a_directory(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let mut connection = stage.connection()?;
    connection.url.push('/');
    let client = connect(connection)?;
    client.probe().await?;
    let (account, minted) = minted(&*client, "team-a.ci").await?;
    assert_eq!(
        client.find_account(&AccountName::own("team-a.ci")).await,
        Ok(Some(account.clone()))
    );
    assert_eq!(client.prove(&account.id, &minted.value).await?, account.id);
    client.revoke(&account.id, &minted.key.id).await?;
    assert!(client.keys(&account.id).await?.keys.is_empty());
    client.delete_account(&account.id).await?;
    let mut outside = stage.connection()?;
    outside.url = stage.listening.url();
    let outcome = connect(outside)?.probe().await;
    ensure!(
        matches!(outcome, Err(Fault::NotFound | Fault::Protocol(_))),
        "{outcome:?}"
    );
    Ok(())
}

fn named(name: &str, space: Option<&str>) -> TeamRef {
    TeamRef::Name {
        name: name.to_owned(),
        space: space.map(ToOwned::to_owned),
    }
}

async fn a_team_is_named_by_id_or_name_and_space(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let team = |name: &str, space: Option<&str>| json!({ "Name": name, "SpaceId": space, "MemberUserIds": [], "ExternalSecurityGroups": [] });
    let managers = json!([operator(&stage).as_str()]);
    let space = json!({ "Name": "Web", "SpaceManagersTeamMembers": managers });
    let space = made(&stage, "/api/spaces", space).await?;
    let near = made(&stage, "/api/teams", team("Builders of all", None)).await?;
    let ours = made(&stage, "/api/teams", team("Builders", None)).await?;
    let theirs = made(&stage, "/api/teams", team("Builders", Some(&space))).await?;

    let client = stage.client()?;
    let table = [
        (named("Builders", None), Some(&ours)),
        (named("Builders of all", None), Some(&near)),
        (named("Builders", Some("Web")), Some(&theirs)),
        (named("Builders", Some(&space)), Some(&theirs)),
        (named("Builders of all", Some("Web")), None),
        (named("Builders", Some("Default")), None),
        (named("Builders", Some("No such space")), None),
        (named("Builders", Some("Spaces-999")), None),
        (named("Builder", None), None),
        (TeamRef::Id(TeamId::new(theirs.as_str())), Some(&theirs)),
        (TeamRef::Id(TeamId::new("Teams-999")), None),
    ];
    for (team, expected) in table {
        let found = client
            .find_team(&team)
            .await
            .with_context(|| format!("{team:?}"))?;
        let found = found.map(|team: RemoteTeam| team.id.to_string());
        assert_eq!(found.as_ref(), expected, "{team:?}");
    }
    Ok(())
}

async fn joining_is_additive_and_race_free(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let one = stage.client()?;
    let other = stage.client()?;
    let own = operator(&stage);
    let groups = json!([{ "Id": "S-1-5", "DisplayName": "x", "DisplayIdAndName": "x (S-1-5)" }]);
    let team = made(
        &stage,
        "/api/teams",
        json!({
            "Name": "Builders", "Description": "They build", "MemberUserIds": [own.as_str()],
            "ExternalSecurityGroups": groups,
        }),
    );
    let team = TeamId::new(team.await?);
    let a = one.create_account(&draft("team-a.ci")).await?.id;
    let b = one.create_account(&draft("team-b.ci")).await?.id;
    for _ in 0..10 {
        let (in_a, in_b) = tokio::join!(one.join_team(&team, &a), other.join_team(&team, &b));
        ensure!(in_a?.members.contains(&a) && in_b?.members.contains(&b));
        let found = one
            .find_team(&TeamRef::Id(team.clone()))
            .await?
            .context("the team")?;
        for member in [&own, &a, &b] {
            ensure!(
                found.members.contains(member),
                "{member} is not in {:?}",
                found.members
            );
        }
        let (out_a, out_b) = tokio::join!(one.leave_team(&team, &a), other.leave_team(&team, &b));
        ensure!(!out_a?.members.contains(&a) && !out_b?.members.contains(&b));
        let found = one
            .find_team(&TeamRef::Id(team.clone()))
            .await?
            .context("the team")?;
        assert_eq!(found.members, std::slice::from_ref(&own));
    }
    let writes = stage.done(Effect::Write);
    one.join_team(&team, &own).await?;
    one.leave_team(&team, &a).await?;
    assert_eq!(
        stage.done(Effect::Write),
        writes,
        "nothing to do is not done"
    );
    let path = format!("/api/teams/{team}");
    let whole = admin(&stage, http::Method::GET, &path, Value::Null).await?;
    assert_eq!(
        (&whole["Description"], &whole["ExternalSecurityGroups"]),
        (&json!("They build"), &groups)
    );
    Ok(())
}

async fn a_team_that_cannot_change_says_so(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?.id;
    let everyone = client
        .find_team(&named("Everyone", None))
        .await?
        .context("everyone")?;
    let Err(Fault::Rejected(why)) = client.join_team(&everyone.id, &account).await else {
        anyhow::bail!("everyone can be joined");
    };
    ensure!(why.contains("Everyone"), "{why}");
    let absent = client.join_team(&TeamId::new("Teams-999"), &account).await;
    assert_eq!(absent.err(), Some(Fault::NotFound));
    let stranger = AccountId::new("Users-999");
    let team = client
        .find_team(&named("Octopus Managers", None))
        .await?
        .context("a team")?;
    assert_eq!(
        label(&client.join_team(&team.id, &stranger).await),
        "rejected"
    );
    Ok(())
}
