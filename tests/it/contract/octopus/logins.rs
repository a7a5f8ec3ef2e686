//! Ways to sign in as a service account without a key: external logins, OIDC identities.

use anyhow::{Context as _, ensure};
use apikey_operator::plan::port::{Fault, Login, Trust};
use testbed::twins::Effect;
use testbed::twins::octopus::Octopus;

use super::super::{Stage, draft, label, suite};
use crate::ladder::Rung;

/// What is peculiar to them.
pub(super) fn own(rung: Rung) -> Rung {
    let rung = suite!(rung, "octopus", super::stage:
        a_login_is_given_and_taken_away,
        a_login_that_cannot_be_says_why,
        an_identity_is_given_and_taken_away,
        identities_are_given_one_at_a_time,
    );
    suite!(rung, "octopus", super::old: an_old_server_has_no_identities)
}

fn login(provider: &str, email: &str) -> Login {
    Login {
        provider: provider.to_owned(),
        claims: [("email".to_owned(), email.to_owned())].into(),
    }
}

fn trust(name: &str, subject: &str) -> Trust {
    Trust {
        name: name.to_owned(),
        issuer: "https://issuer.test".to_owned(),
        subject: subject.to_owned(),
        audience: None,
    }
}

async fn a_login_is_given_and_taken_away(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?;
    let (azure, okta) = (login("Azure AD", "ci@a"), login("Okta", "ci@a"));
    client.give_login(&account.id, &azure).await?;
    let both = client.give_login(&account.id, &okta).await?;
    assert_eq!(both.logins, [azure.clone(), okta.clone()]);
    let moved = login("Azure AD", "ci@b");
    let after = client.give_login(&account.id, &moved).await?;
    assert_eq!(after.logins, [okta.clone(), moved]);
    assert_eq!(client.account(&account.id).await?, after);
    let after = client.drop_login(&account.id, "Azure AD").await?;
    assert_eq!(after.logins, [okta]);
    let whole = client
        .update_account(&account.id, &draft("team-a.ci"))
        .await?;
    assert_eq!(whole.logins, after.logins, "what is not declared stays");
    assert_eq!(whole.display_name, account.display_name);
    Ok(())
}

async fn a_login_that_cannot_be_says_why(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let a = client.create_account(&draft("team-a.ci")).await?.id;
    let b = client.create_account(&draft("team-b.ci")).await?.id;
    client.give_login(&a, &login("Okta", "ci@a")).await?;
    let table = [
        (login("Okta", "ci@a"), "already used"),
        (
            login("Directory", "x@a"),
            "no login provider \"Directory\", but these: Azure AD",
        ),
    ];
    for (login, words) in table {
        let Err(Fault::Rejected(why)) = client.give_login(&b, &login).await else {
            anyhow::bail!("{login:?}")
        };
        ensure!(why.contains(words), "{why}");
    }
    let person = stage
        .door
        .look(|octopus, _| octopus.start().admin.user.clone());
    let person = apikey_operator::plan::port::AccountId::new(person);
    let given = client.give_login(&person, &login("Okta", "jane@a")).await;
    assert_eq!(label(&given), "rejected");
    Ok(())
}

async fn an_identity_is_given_and_taken_away(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?.id;
    let none = client.oidc(&account).await?;
    ensure!(none.trusts.is_empty() && !none.external_id.is_empty());
    let mut wanted = trust("the shop", "repo:a/*");
    let first = client.give_trust(&account, &wanted).await?;
    assert_eq!(first.external_id, none.external_id);
    wanted.audience = Some("octopus".to_owned());
    let second = client.give_trust(&account, &wanted).await?;
    let (id, there) = second.trusts.first().context("an identity")?;
    assert_eq!((there, second.trusts.len()), (&wanted, 1));
    assert_eq!(*id, first.trusts[0].0, "it was changed, not made anew");
    let writes = stage.sent(Effect::ChangeAccount);
    client.give_trust(&account, &wanted).await?;
    assert_eq!(
        stage.sent(Effect::ChangeAccount),
        writes,
        "nothing to do is not done"
    );
    client.give_trust(&account, &trust("another", "x")).await?;
    let left = client.drop_trust(&account, "the shop").await?;
    assert_eq!(left.trusts.len(), 1);
    assert_eq!(client.oidc(&account).await?, left);
    let person = stage
        .door
        .look(|octopus, _| octopus.start().admin.user.clone());
    let person = apikey_operator::plan::port::AccountId::new(person);
    assert_eq!(label(&client.oidc(&person).await), "rejected");
    Ok(())
}

async fn identities_are_given_one_at_a_time(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let (one, other) = (stage.client()?, stage.client()?);
    let account = one.create_account(&draft("team-a.ci")).await?.id;
    for number in 0..5 {
        let wanted = trust(&format!("n{number}"), "x");
        let (a, b) = tokio::join!(
            one.give_trust(&account, &wanted),
            other.give_trust(&account, &wanted)
        );
        a?;
        b?;
    }
    assert_eq!(one.oidc(&account).await?.trusts.len(), 5, "none twice");
    Ok(())
}

async fn an_old_server_has_no_identities(stage: Stage<Octopus>) -> anyhow::Result<()> {
    let client = stage.client()?;
    let account = client.create_account(&draft("team-a.ci")).await?.id;
    let Err(Fault::Rejected(why)) = client.oidc(&account).await else {
        anyhow::bail!("it has some")
    };
    ensure!(why.contains("2023.4"), "{why}");
    Ok(())
}
