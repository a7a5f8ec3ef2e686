//! What is to be shown on each kind of server, and what only StackStorm and Elasticsearch have.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use simulation::effect::Door;
use simulation::kubernetes::Durability;
use simulation::manifests::{self, Address, TEAM};
use simulation::recorder::Heard;
use simulation::scene::{OPERATOR, Scene};
use testbed::twins::elasticsearch::{Change as Elastic, Credential};
use testbed::twins::octopus::KeyView;
use testbed::twins::stackstorm::Change as Storm;
use testbed::twins::{Fault as Wrong, Rule};

use super::cost::Cost;
use super::{DAY, HOUR, MINUTE, Test, test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        test(
            "octopus_is_asked_no_more_than_it_must",
            octopus_within_budget,
        ),
        test(
            "stackstorm_is_asked_no_more_than_it_must",
            storm_within_budget,
        ),
        test(
            "elasticsearch_is_asked_no_more_than_it_must",
            elastic_within_budget,
        ),
        test("one_list_serves_all_accounts_of_stackstorm", one_list),
        test("the_operator_is_the_end_of_a_key_on_stackstorm", suspended),
        test("a_key_that_outlives_its_end_is_told_of", overdue),
        test("a_key_that_somebody_disabled_is_enabled_again", disabled),
        test("the_least_privilege_is_enough_for_ones_own_keys", least),
        test("another_users_credential_ends_nothing", swapped),
        test("a_user_that_somebody_deleted_is_made_again", deleted),
        test("what_may_not_be_changed_in_place_says_so", forbidden),
    ]
}

/// The kinds of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Octopus,
    StackStorm,
    Elasticsearch,
}

impl On {
    /// The name of the connection.
    fn name(self) -> &'static str {
        match self {
            Self::Octopus => "octopus",
            Self::StackStorm => "stackstorm",
            Self::Elasticsearch => "elasticsearch",
        }
    }

    /// Applies the connection and its credential, and waits until it is Ready.
    async fn connect(self, scene: &Scene) -> Result<()> {
        let servers = &scene.servers;
        let [credential, server] = match self {
            Self::Octopus => [
                manifests::credential(&scene.credential()),
                manifests::server(),
            ],
            Self::StackStorm => {
                let own = servers
                    .stackstorm
                    .look(|twin, _| twin.start().operator.clone());
                let secret = manifests::password(self.name(), &own.username, &own.password);
                [secret, manifests::stackstorm()]
            }
            Self::Elasticsearch => {
                let own = servers
                    .elasticsearch
                    .look(|twin, _| twin.start().operator.clone());
                [sign_in(&own), manifests::elasticsearch()]
            }
        };
        scene.apply(&credential).await?;
        scene.apply(&server).await?;
        scene
            .until_ready(&Address::server(self.name()), MINUTE)
            .await?;
        Ok(())
    }

    /// Applies an account, and waits until it is Ready.
    async fn account(self, scene: &Scene, name: &str, more: Value) -> Result<Address> {
        let mut account = manifests::account(more);
        account["metadata"]["name"] = json!(name);
        account["spec"]["serverRef"]["name"] = json!(self.name());
        scene.apply(&account).await?;
        let address = Address::account(name);
        scene.until_ready(&address, MINUTE).await?;
        Ok(address)
    }

    /// Whether a request asks for a list of keys: the first page, past all that is found elsewhere.
    fn is_list(self, heard: &Heard) -> bool {
        let call = &heard.call;
        let asks = matches!(call.door, Door::Server(_)) && call.method == Method::GET;
        asks && match self {
            Self::Octopus => call.path.ends_with("/apikeys") && call.query.contains("skip=0"),
            Self::StackStorm => call.path.ends_with("/apikeys") && call.query.contains("offset=0"),
            Self::Elasticsearch => call.path == "/_security/api_key",
        }
    }

    /// How many lists were asked for since a mark.
    fn lists(self, scene: &Scene, mark: usize) -> usize {
        let calls = scene.calls(OPERATOR, mark);
        calls.iter().filter(|heard| self.is_list(heard)).count()
    }

    /// A new key, a rotation, and an idle while, each within its budget.
    async fn within_budget(self, scene: &Scene) -> Result<()> {
        self.connect(scene).await?;
        self.account(scene, "ci", json!({})).await?;
        // All that is asked once is asked, and no resync is near.
        key(scene, "first", "ci", json!({})).await?;
        scene.run(HOUR + MINUTE * 5).await;

        let mark = scene.mark();
        let address = key(
            scene,
            "second",
            "ci",
            json!({"rotation": {"overlap": "6m"}}),
        )
        .await?;
        let cost = Cost::since(scene, mark);
        let within = cost.writes <= 3 && cost.rehearsals <= 1 && cost.reads <= 2;
        let asked = || told(&scene.calls(OPERATOR, mark));
        ensure!(
            within && cost.calls <= 2,
            "a new key: {cost:?}\n{}",
            asked()
        );

        scene.run(HOUR).await;
        let mark = scene.mark();
        scene.run(HOUR).await;
        let idle = Cost::since(scene, mark);
        let lists = self.lists(scene, mark);
        ensure!(idle.writes == 0, "{} writes while idle", idle.writes);
        ensure!(
            (5..=6).contains(&lists),
            "{lists} lists of one account in an hour"
        );

        let mark = scene.mark();
        let ask = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "once"}}});
        scene.patch(&address, ask).await?;
        scene.until_ready(&address, MINUTE).await?;
        scene.run(HOUR).await;
        let calls = scene.calls(OPERATOR, mark);
        // What others count of it meanwhile is not the key's.
        let own = calls.iter().filter(|heard| {
            let call = &heard.call;
            let mut parts = ["/apikeys/second", "/secrets"].iter();
            let of_the_key = parts.any(|part| call.path.contains(part));
            let lasting = call.is_effect() && call.durability == Durability::Lasting;
            call.door == Door::Kubernetes && of_the_key && lasting
        });
        ensure!(
            own.count() <= 4,
            "a rotation:
{}",
            told(&calls)
        );
        let lasting = calls.iter().filter(|heard| {
            let at_server = matches!(heard.call.door, Door::Server(_));
            at_server && heard.call.is_effect() && !heard.call.path.ends_with("/_has_privileges")
        });
        ensure!(
            lasting.count() <= 2,
            "more than one key made and one revoked"
        );
        Ok(())
    }
}

/// What was asked, a line each.
fn told(calls: &[Heard]) -> String {
    let lines = calls
        .iter()
        .map(|heard| format!("{} {}\n", heard.call.method, heard.call.path));
    lines.collect()
}

async fn octopus_within_budget(scene: Scene) -> Result<()> {
    On::Octopus.within_budget(&scene).await
}

async fn storm_within_budget(scene: Scene) -> Result<()> {
    On::StackStorm.within_budget(&scene).await
}

async fn elastic_within_budget(scene: Scene) -> Result<()> {
    On::Elasticsearch.within_budget(&scene).await
}

/// Applies an ApiKey of an account, and waits until it is Ready.
async fn key(scene: &Scene, name: &str, account: &str, more: Value) -> Result<Address> {
    let mut key = manifests::key(name, more);
    key["spec"]["serviceAccountRef"]["name"] = json!(account);
    scene.apply(&key).await?;
    let address = Address::key(name);
    scene.until_ready(&address, MINUTE).await?;
    Ok(address)
}

fn published(scene: &Scene, name: &str) -> Result<KeyView> {
    let key = scene.published(TEAM, name);
    key.with_context(|| format!("Secret {name} holds no key that the server knows"))
}

fn sign_in(who: &Credential) -> Value {
    manifests::password("elasticsearch", &who.username, &who.password)
}

async fn one_list(scene: Scene) -> Result<()> {
    let on = On::StackStorm;
    on.connect(&scene).await?;
    for account in ["ci", "cd", "qa"] {
        on.account(&scene, account, json!({})).await?;
        for number in 0..3 {
            key(&scene, &format!("{account}-{number}"), account, json!({})).await?;
        }
    }
    scene.run(HOUR).await;
    let mark = scene.mark();
    scene.run(HOUR).await;
    let lists = on.lists(&scene, mark);
    ensure!(
        (5..=7).contains(&lists),
        "{lists} lists in an hour for nine keys of three accounts"
    );
    Ok(())
}

/// Nothing may take its place, and the server would let it live for ever.
async fn suspended(scene: Scene) -> Result<()> {
    On::StackStorm.connect(&scene).await?;
    On::StackStorm.account(&scene, "ci", json!({})).await?;
    let address = key(&scene, "deploys", "ci", json!({"lifetime": "2d"})).await?;
    let end = published(&scene, "deploys")?.expires.context("an end")?;
    scene
        .patch(&address, json!({"spec": {"suspend": true}}))
        .await?;
    scene.run(DAY).await;
    ensure!(scene.living().len() == 1, "it ended too soon");
    scene.run(DAY + HOUR).await;
    ensure!(
        scene.now() > end && scene.living().is_empty(),
        "it outlives its end"
    );
    ensure!(
        scene.get(&Address::secret(TEAM, "deploys")).is_none(),
        "its Secret is left"
    );
    scene
        .patch(&address, json!({"spec": {"suspend": false}}))
        .await?;
    scene.until_ready(&address, MINUTE * 10).await?;
    ensure!(scene.living().len() == 1);
    Ok(())
}

/// Nobody can end it in time: it is told of, and ended as soon as that can be.
async fn overdue(scene: Scene) -> Result<()> {
    for on in [On::StackStorm, On::Octopus] {
        on.connect(&scene).await?;
    }
    On::StackStorm.account(&scene, "ci", json!({})).await?;
    On::Octopus.account(&scene, "other", json!({})).await?;
    let over = json!({"lifetime": "2h", "rotation": {"mode": "Never"}});
    let address = key(&scene, "deploys", "ci", over.clone()).await?;
    let other = key(&scene, "ended", "other", over).await?;
    scene.servers.stackstorm.fault(Rule::new(Wrong::Outage));
    scene.servers.octopus.fault(Rule::new(Wrong::Outage));
    let told = |scene: &Scene| scene.says(&address, "Overdue", "True");
    let counted = |scene: &Scene| scene.metrics.encode().unwrap_or_default();
    let line = |count| format!("apikeys_overdue{{server=\"{TEAM}/stackstorm\"}} {count}\n");
    scene.run(HOUR).await;
    ensure!(!told(&scene) && counted(&scene).contains(&line(0)));
    scene.until("it is told of", HOUR * 2, told).await?;
    let late = |scene: &Scene| counted(scene).contains(&line(1));
    scene.until("it is counted", MINUTE * 15, late).await?;
    let said = scene.condition(&address, "Overdue").unwrap_or_default();
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("the server takes it until it is revoked")
            && message.contains("ServerUnreachable"),
        "{message}"
    );
    ensure!(
        scene.condition(&other, "Overdue").is_none(),
        "Octopus ends it itself"
    );
    scene.servers.stackstorm.clear_faults();
    scene.servers.octopus.clear_faults();
    let ended = |scene: &Scene| scene.living().is_empty() && !told(scene);
    scene.until("it is ended", MINUTE * 15, ended).await?;
    let none = |scene: &Scene| counted(scene).contains(&line(0));
    scene.until("it is not counted", MINUTE * 15, none).await?;
    Ok(())
}

async fn disabled(scene: Scene) -> Result<()> {
    On::StackStorm.connect(&scene).await?;
    On::StackStorm.account(&scene, "ci", json!({})).await?;
    let more = json!({"stackStorm": {"metadata": {"team": "a"}}});
    key(&scene, "deploys", "ci", more).await?;
    let id = published(&scene, "deploys")?.id;
    scene
        .servers
        .stackstorm
        .change(Storm::DisableKey { key: id.clone() })?;
    scene.run(MINUTE * 12).await;
    let now = published(&scene, "deploys")?;
    ensure!(now.id == id, "it was replaced");
    ensure!(scene.living().len() == 1, "it is left disabled");
    let view = scene.servers.stackstorm.view();
    let metadata = &view.key(&id).context("it is there")?.metadata;
    ensure!(metadata["team"] == "a", "{metadata:?}");
    Ok(())
}

/// Somebody asks Elasticsearch as its administrator.
async fn admin(scene: &Scene, method: Method, path: &str, body: &Value) -> Result<()> {
    let way = &scene.servers.elasticsearch;
    let own = way.look(|twin, _| twin.start().admin.clone());
    let basic = manifests::encoded(&format!("{}:{}", own.username, own.password));
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("Authorization", format!("Basic {basic}"))
        .header("Content-Type", "application/json")
        .body(Bytes::from(body.to_string()))?;
    let answer = way.send(request).await?;
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    ensure!(answer.status().is_success(), "{} {text}", answer.status());
    Ok(())
}

/// With `manage_own_api_key` and nothing else: the cluster does not even tell its id.
async fn least(scene: Scene) -> Result<()> {
    let role = json!({"cluster": ["manage_own_api_key"]});
    admin(&scene, Method::PUT, "/_security/role/own", &role).await?;
    let user = json!({"password": "a-password", "roles": ["own"]});
    admin(
        &scene,
        Method::PUT,
        "/_security/user/apikey-operator",
        &user,
    )
    .await?;
    let own = Credential {
        username: "apikey-operator".to_owned(),
        password: "a-password".to_owned(),
    };
    scene.apply(&sign_in(&own)).await?;
    scene.apply(&manifests::elasticsearch()).await?;
    scene
        .until_ready(&Address::server("elasticsearch"), MINUTE)
        .await?;
    let account = On::Elasticsearch
        .account(&scene, "ci", json!({"management": "Self"}))
        .await?;
    let more = json!({"rotation": {"overlap": "6m"}, "elasticsearch": {"metadata": {"team": "a"}}});
    let deploys = key(&scene, "deploys", "ci", more).await?;
    let first = published(&scene, "deploys")?;
    let wish = json!({"spec": {"elasticsearch": {"metadata": {"team": "b"}}}});
    scene.patch(&deploys, wish).await?;
    let rotate = json!({"metadata": {"annotations": {"apikeys.dev/rotate": "once"}}});
    scene.patch(&deploys, rotate).await?;
    scene
        .until("another key", MINUTE * 10, |scene| {
            published(scene, "deploys").is_ok_and(|key| key.id != first.id)
        })
        .await?;
    scene.run(HOUR).await;
    ensure!(
        scene.living() == [published(&scene, "deploys")?],
        "{:?}",
        scene.living()
    );
    for address in [deploys, account] {
        scene.delete(&address).await?;
        scene.until_gone(&address, MINUTE * 5).await?;
    }
    ensure!(scene.living().is_empty(), "a key is left");
    Ok(())
}

/// Whoever signs in as somebody else is shown other keys: ours are not gone for that.
async fn swapped(scene: Scene) -> Result<()> {
    let on = On::Elasticsearch;
    on.connect(&scene).await?;
    on.account(&scene, "ci", json!({"management": "Self"}))
        .await?;
    key(&scene, "deploys", "ci", json!({})).await?;
    let first = published(&scene, "deploys")?;
    let way = &scene.servers.elasticsearch;
    let holder = way.look(|twin, _| twin.start().holder.clone());
    scene.apply(&sign_in(&holder)).await?;
    let server = Address::server("elasticsearch");
    let changed = |scene: &Scene| scene.reason(&server) == "IdentityChanged";
    scene.until("it is noticed", MINUTE, changed).await?;
    scene.run(HOUR).await;
    ensure!(
        published(&scene, "deploys")? == first,
        "the key was replaced"
    );
    let own = way.look(|twin, _| twin.start().operator.clone());
    scene.apply(&sign_in(&own)).await?;
    scene.until_ready(&server, MINUTE).await?;
    scene.run(HOUR).await;
    ensure!(scene.living() == [first], "{:?}", scene.living());
    Ok(())
}

/// Its keys live on meanwhile: none is made for that.
async fn deleted(scene: Scene) -> Result<()> {
    let on = On::Elasticsearch;
    on.connect(&scene).await?;
    on.account(
        &scene,
        "ci",
        json!({"elasticsearch": {"roles": ["viewer"]}}),
    )
    .await?;
    key(&scene, "deploys", "ci", json!({})).await?;
    let first = published(&scene, "deploys")?;
    let user = "team-a.ci".to_owned();
    scene
        .servers
        .elasticsearch
        .change(Elastic::Delete { user })?;
    scene.run(MINUTE * 20).await;
    let view = scene.servers.elasticsearch.view();
    let user = view.account("team-a.ci").context("it is not made again")?;
    ensure!(user.roles == ["viewer"], "{user:?}");
    ensure!(scene.living() == [first], "{:?}", scene.living());
    Ok(())
}

/// Only its owner may change a key, and this one may not even do that.
async fn forbidden(scene: Scene) -> Result<()> {
    let on = On::Elasticsearch;
    on.connect(&scene).await?;
    on.account(&scene, "ci", json!({})).await?;
    let more = json!({"elasticsearch": {"metadata": {"team": "a"}}});
    let address = key(&scene, "deploys", "ci", more).await?;
    let first = published(&scene, "deploys")?;
    let wish = json!({"spec": {"elasticsearch": {"metadata": {"team": "b"}}}});
    scene.patch(&address, wish).await?;
    let told = |scene: &Scene| {
        let said = scene.condition(&address, "UpToDate").unwrap_or_default();
        said["status"] == "False" && said["reason"] == "Forbidden"
    };
    scene.until("it says so", MINUTE * 5, told).await?;
    ensure!(scene.says(&address, "Ready", "True"), "its key works");
    scene.run(Duration::from_secs(3600)).await;
    ensure!(scene.living() == [first], "{:?}", scene.living());
    Ok(())
}
