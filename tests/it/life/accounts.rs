//! Accounts: made, observed, taken over, our own; and the way they go.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use simulation::manifests::{self, Address, TEAM};
use simulation::scene::{INSTALLATION, OPERATOR, Scene};
use testbed::twins::octopus::{AccountView, Change};
use testbed::twins::{Effect, Fault, Rule as Wrong};

use super::{HOUR, MINUTE, Test, connect, key, only_published, test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test("an_observed_account_is_never_changed", observed),
        test("our_own_account_can_have_keys", own),
        test("an_account_is_adopted_only_when_asked", adopted),
        test("an_account_is_not_adopted_by_forged_notes", forged),
        test("a_person_is_never_managed", person),
        test("an_account_that_is_gone_is_made_anew", made_anew),
        test("two_service_accounts_on_one_account", two),
        test("an_account_is_disabled_and_enabled", disabled),
        test("an_account_whose_creation_got_no_answer_goes", unanswered),
        test("an_observed_account_stays_observed", replaced_observed),
        test(
            "an_adopted_account_that_is_gone_holds_nobody",
            adopted_and_gone,
        ),
        test("ways_in_without_a_key_are_given_and_taken_back", ways_in),
        test("the_longest_namespace_has_its_own_accounts", longest),
    ]
}

/// Applies the account, and waits until it has said something.
async fn account(scene: &Scene, spec: Value) -> Result<Address> {
    scene.apply(&manifests::account(spec)).await?;
    scene.run(MINUTE).await;
    Ok(Address::account("ci"))
}

fn view(scene: &Scene, username: &str) -> Result<AccountView> {
    let view = scene.twin.view();
    view.account(username).cloned().context("no such account")
}

/// An administrator makes a service account by hand.
async fn by_hand(scene: &Scene, username: &str) -> Result<AccountView> {
    let body = json!({"Username": username, "DisplayName": "By hand", "IsService": true});
    by_admin(scene, "/api/users", &body).await?;
    view(scene, username)
}

/// An administrator makes something.
async fn by_admin(scene: &Scene, path: &str, body: &Value) -> Result<()> {
    let admin = scene.twin.look(|twin, _| twin.start().admin.key.clone());
    let request = http::Request::post(path)
        .header("X-Octopus-ApiKey", admin)
        .body(Bytes::from(body.to_string()))?;
    let answer = scene.twin.send(request).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(())
}

async fn observed(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let spec = json!({"management": "Observed", "username": "deployer"});
    let address = account(&scene, spec).await?;
    ensure!(
        scene.reason(&address) == "AccountNotFound",
        "{}",
        scene.reason(&address)
    );
    let before = by_hand(&scene, "deployer").await?;
    scene.until_ready(&address, MINUTE * 12).await?;
    key(&scene, "deploys", json!({})).await?;
    scene.run(HOUR).await;
    for address in [Address::key("deploys"), address] {
        scene.delete(&address).await?;
        scene.until_gone(&address, MINUTE).await?;
    }
    ensure!(view(&scene, "deployer")? == before, "it was changed");
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

async fn own(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let before = view(&scene, "apikey-operator")?;
    let address = account(&scene, json!({"management": "Self"})).await?;
    scene.until_ready(&address, MINUTE).await?;
    key(&scene, "own", json!({})).await?;
    only_published(&scene, "own")?;
    for address in [Address::key("own"), address] {
        scene.delete(&address).await?;
        scene.until_gone(&address, MINUTE).await?;
    }
    ensure!(view(&scene, "apikey-operator")? == before, "it was changed");
    Ok(())
}

async fn adopted(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    by_hand(&scene, "team-a.ci").await?;
    let address = account(&scene, json!({"displayName": "CI"})).await?;
    ensure!(
        scene.reason(&address) == "AccountExists",
        "{}",
        scene.reason(&address)
    );
    ensure!(
        view(&scene, "team-a.ci")?.display_name == "By hand",
        "it was changed"
    );
    scene
        .patch(&address, json!({"spec": {"adopt": true}}))
        .await?;
    scene.until_ready(&address, MINUTE).await?;
    ensure!(
        view(&scene, "team-a.ci")?.display_name == "CI",
        "it was not changed"
    );
    key(&scene, "deploys", json!({})).await?;
    for address in [Address::key("deploys"), address] {
        scene.delete(&address).await?;
        scene.until_gone(&address, MINUTE).await?;
    }
    ensure!(
        view(&scene, "team-a.ci").is_ok(),
        "what was adopted was deleted"
    );
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

/// Whoever may write a ServiceAccount may write our notes into it: an account of that very name, which
/// others made before, is not had by them.
async fn forged(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let theirs = by_hand(&scene, "team-a.ci").await?;
    scene.run(MINUTE * 2).await;
    let server = scene.twin.view().installation;
    let id = theirs.id.as_str();
    let (address, deploys) = (Address::account("ci"), Address::key("deploys"));
    for notes in [
        json!({"apikeys.dev/account-intent": "2026-01-01T00:00:00Z"}),
        json!({"apikeys.dev/account-id": id}),
        json!({"apikeys.dev/account-id": id, "apikeys.dev/created": "true"}),
    ] {
        let mut forged = manifests::account(json!({"foreignKeys": "Revoke"}));
        forged["metadata"]["annotations"] = notes.clone();
        let all = &mut forged["metadata"]["annotations"];
        all["apikeys.dev/server-identity"] = json!(server);
        all["apikeys.dev/installation"] = json!(INSTALLATION);
        scene.apply(&forged).await?;
        scene.apply(&manifests::key("deploys", json!({}))).await?;
        let status = json!({"status": {"id": id, "origin": "Created"}});
        scene.patch_status(&address, status).await?;
        scene.run(HOUR).await;
        ensure!(
            scene.reason(&address) == "AccountExists",
            "{notes}: {}",
            scene.reason(&address)
        );
        for address in [&deploys, &address] {
            scene.delete(address).await?;
            scene.until_gone(address, MINUTE).await?;
        }
        ensure!(
            view(&scene, "team-a.ci")? == theirs,
            "{notes}: it was changed"
        );
    }
    ensure!(scene.twin.sent(Effect::Mint) == 0, "a key was asked for");
    Ok(())
}

async fn person(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let spec = json!({"username": "admin", "adopt": true});
    let address = account(&scene, spec).await?;
    ensure!(
        scene.reason(&address) == "AccountExists",
        "{}",
        scene.reason(&address)
    );
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    scene.run(HOUR).await;
    ensure!(scene.living().is_empty(), "a key was made");
    scene.delete(&Address::key("deploys")).await?;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    ensure!(view(&scene, "admin").is_ok());
    Ok(())
}

async fn made_anew(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let address = account(&scene, json!({})).await?;
    let deploys = key(&scene, "deploys", json!({})).await?;
    scene.run(MINUTE).await;
    let first = view(&scene, "team-a.ci")?;
    for key in scene.living() {
        scene.witness.outside(&key.id);
    }
    let end = testbed::twins::octopus::Change::Delete {
        user: first.id.clone(),
    };
    scene.twin.change(end)?;
    scene.run(MINUTE * 30).await;
    scene.until_ready(&address, MINUTE).await?;
    scene.until_ready(&deploys, MINUTE).await?;
    ensure!(view(&scene, "team-a.ci")?.id != first.id);
    only_published(&scene, "deploys")
}

async fn two(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let first = account(&scene, json!({"username": "shared"})).await?;
    scene.until_ready(&first, MINUTE).await?;
    let spec = json!({"username": "shared", "adopt": true, "displayName": "Mine"});
    let mut second = manifests::account(spec);
    second["metadata"]["name"] = json!("a-late-one");
    scene.apply(&second).await?;
    let second = Address::account("a-late-one");
    scene.run(MINUTE).await;
    ensure!(
        scene.reason(&second) == "AccountConflict",
        "{}",
        scene.reason(&second)
    );
    ensure!(scene.says(&first, "Ready", "True"), "the first one lost it");
    // Whoever is looked at first when the operator is back.
    let before = view(&scene, "shared")?;
    scene.crash(OPERATOR);
    scene.run(MINUTE * 10).await;
    ensure!(view(&scene, "shared")? == before, "the second one took it");
    ensure!(scene.says(&first, "Ready", "True"), "the first one lost it");
    // The second one goes without the account.
    scene.delete(&second).await?;
    scene.until_gone(&second, MINUTE).await?;
    ensure!(view(&scene, "shared").is_ok(), "the account went");
    Ok(())
}

async fn disabled(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let address = account(&scene, json!({})).await?;
    scene.apply(&manifests::key("deploys", json!({}))).await?;
    let deploys = Address::key("deploys");
    scene.until_ready(&deploys, MINUTE).await?;
    scene
        .patch(&address, json!({"spec": {"disabled": true}}))
        .await?;
    scene.run(MINUTE).await;
    ensure!(!view(&scene, "team-a.ci")?.is_active, "it is enabled");
    ensure!(
        scene.reason(&deploys) == "AccountDisabled",
        "{}",
        scene.reason(&deploys)
    );
    scene
        .patch(&address, json!({"spec": {"disabled": false}}))
        .await?;
    scene.until_ready(&deploys, MINUTE).await?;
    only_published(&scene, "deploys")
}

/// External logins and OIDC identities: those of the manifest come and go, those of others stay.
async fn ways_in(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let identity = |name: &str, subject: &str| json!({"name": name, "issuer": "https://issuer.test", "subject": subject});
    let login = json!({"provider": "Okta", "claims": {"email": "ci@a.example"}});
    let asked = |identities: Value| json!({"octopus": {"externalLogins": [login], "oidcIdentities": identities}});
    let shop = identity("the shop", "repo:a/*");
    let address = account(&scene, asked(json!([shop]))).await?;
    scene.until_ready(&address, MINUTE).await?;
    let first = view(&scene, "team-a.ci")?;
    ensure!(
        first.logins == 1 && first.oidc_identities.len() == 1,
        "{first:?}"
    );
    let status = scene.get(&address).context("it is gone")?["status"].clone();
    let shown = json!([{"name": "the shop", "id": first.oidc_identities[0]}]);
    ensure!(status["oidcIdentities"] == shown, "{status}");
    ensure!(status["externalId"].is_string(), "{status}");
    // Somebody gives it one by hand, and the manifest changes.
    let path = format!("/api/serviceaccounts/{}/oidcidentities/create/v1", first.id);
    let theirs = json!({"Name": "theirs", "Issuer": "https://issuer.test", "Subject": "x"});
    by_admin(&scene, &path, &theirs).await?;
    let changed = asked(json!([
        identity("the shop", "repo:b/*"),
        identity("more", "y")
    ]));
    scene.patch(&address, json!({"spec": changed})).await?;
    scene.run(MINUTE).await;
    let second = view(&scene, "team-a.ci")?;
    ensure!(second.oidc_identities.len() == 3, "{second:?}");
    ensure!(
        second.oidc_identities[0] == first.oidc_identities[0],
        "it was made anew"
    );
    scene
        .patch(&address, json!({"spec": {"octopus": null}}))
        .await?;
    scene.run(MINUTE).await;
    let last = view(&scene, "team-a.ci")?;
    ensure!(last.logins == 0, "{last:?}");
    ensure!(
        last.oidc_identities == second.oidc_identities[1..2],
        "{last:?}"
    );
    scene.until_ready(&address, MINUTE).await?;
    let added = &scene.get(&address).context("it is gone")?["metadata"]["annotations"];
    ensure!(added["apikeys.dev/added"].is_null(), "{added}");
    Ok(())
}

/// Its ServiceAccount is deleted before anything more was recorded of it.
async fn unanswered(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let cut = Wrong::new(Fault::CutAfter).on("POST", "/api/users").next(1);
    scene.twin.fault(cut);
    scene.apply(&manifests::account(json!({}))).await?;
    let made = |scene: &Scene| view(scene, "team-a.ci").is_ok();
    scene.until("it is made", MINUTE, made).await?;
    let address = Address::account("ci");
    let recorded = scene.get(&address).context("no ServiceAccount")?;
    ensure!(recorded["metadata"]["annotations"]["apikeys.dev/account-id"].is_null());
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE * 7).await?;
    ensure!(view(&scene, "team-a.ci").is_err(), "the account is left");
    Ok(())
}

/// `kubectl replace` makes nobody's account ours, though status names it.
async fn replaced_observed(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let before = by_hand(&scene, "deployer").await?;
    let spec = |management: &str| json!({"management": management, "username": "deployer"});
    let address = account(&scene, spec("Observed")).await?;
    scene.until_ready(&address, MINUTE).await?;
    scene.replace(&manifests::account(spec("Managed"))).await?;
    scene.run(MINUTE).await;
    let reason = scene.reason(&address);
    ensure!(reason == "AccountExists", "{reason}");
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    ensure!(view(&scene, "deployer")? == before, "it was changed");
    Ok(())
}

/// The keys of an account that somebody deleted on the server died with it: their ApiKeys can go.
async fn adopted_and_gone(scene: Scene) -> Result<()> {
    connect(&scene).await?;
    let made = by_hand(&scene, "deployer").await?;
    let spec = json!({"adopt": true, "username": "deployer"});
    let address = account(&scene, spec).await?;
    let deploys = key(&scene, "deploys", json!({})).await?;
    let held = scene.published(TEAM, "deploys").context("no key")?;
    scene.witness.outside(&held.id);
    scene.twin.change(Change::Delete { user: made.id })?;
    scene.run(MINUTE * 25).await;
    let reason = scene.reason(&address);
    ensure!(reason == "AccountNotFound", "{reason}");
    scene.delete(&deploys).await?;
    scene.until_gone(&deploys, MINUTE * 7).await?;
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE * 7).await?;
    Ok(())
}

/// The name that the server takes is cut, and is granted by what it was before.
async fn longest(scene: Scene) -> Result<()> {
    let namespace = "n".repeat(63);
    let mut server = manifests::cluster_server();
    server["spec"]["grants"] = json!([{"namespaces": {"from": "All"}}]);
    let mut own = manifests::granted_account("ci", json!({}));
    own["metadata"]["namespace"] = json!(namespace);
    for manifest in [
        manifests::namespace(&namespace),
        manifests::cluster_credential(&scene.credential()),
        server,
        own.clone(),
    ] {
        scene.apply(&manifest).await?;
    }
    let address = Address::of(&own)?;
    scene.until_ready(&address, MINUTE).await?;
    let username = scene.get(&address).unwrap_or_default()["status"]["username"].clone();
    let username = username.as_str().context("no user name")?;
    ensure!(
        username.len() <= 64 && username.starts_with("nnn"),
        "{username}"
    );
    view(&scene, username)?;
    // What somebody else asks for by that name is judged as it is.
    let mut greedy = manifests::granted_account("greedy", json!({"username": username}));
    greedy["metadata"]["namespace"] = json!(TEAM);
    scene.apply(&greedy).await?;
    scene.run(MINUTE).await;
    let reason = scene.reason(&Address::account("greedy"));
    ensure!(reason == "NotGranted", "{reason}");
    scene.delete(&address).await?;
    scene.until_gone(&address, MINUTE).await?;
    ensure!(scene.twin.view().account(username).is_none(), "it is left");
    Ok(())
}
