//! Whole lives of a key and its account, from the manifests to their end, as they must go whatever
//! befalls the operator on the way.
//!
//! What happens to them, others decide; here is what people do, and what must come of it.

mod middle;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use testbed::twins::octopus::Change;

use crate::consumer::{CONSUMER, Habit};
use crate::effect::Effect;
use crate::kubernetes::{ISSUER, subject};
use crate::manifests::{self, Address, TEAM};
use crate::recorder::Heard;
use crate::scene::{OPERATOR, Scene, play};

const MINUTE: Duration = Duration::from_secs(60);
/// What is disturbed is well again within this time.
const MENDED: Duration = Duration::from_secs(60 * 15);
/// What nothing records is dead after this: 10 minutes, the overlap, two resyncs, and a little.
const SWEPT: Duration = Duration::from_secs(60 * (10 + 6 + 2 * 5 + 5));
/// The ApiKey, and its Secret.
const KEY: &str = "deploys";

/// How much there is in a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// An account and a key are made and deleted.
    Plain,
    /// The account joins a team as well, its key is revoked and comes back, and in the end the account
    /// is disabled and stays.
    Whole,
    /// The account was there before and is taken over; its key is replaced on request and retires,
    /// the Secret is lost and comes back, and in the end the account stays as it was found.
    Rotating,
    /// Somebody deletes the account on the server: account and key are made anew.
    Bereft,
    /// The Secret was there before and is taken over; its key is replaced on request, is kept in the
    /// second slot, and a workload is restarted. In the end the Secret stays as it was found.
    Slotted,
    /// The connection is of the whole cluster, and grants the team its own accounts; somebody in the
    /// team asks for a key of another account all the while, and gets none.
    Granted,
    /// The deploy server is put back as it was before a rotation.
    Restored,
    /// The cluster is put back as it was before a rotation, and a person sorts out what is whose.
    PutBack,
    /// The connection's credential becomes an administrator's for a while.
    Swapped,
    /// In the end key and Secret stay on purpose, and so does the account.
    Retained,
    /// The key is never replaced: it expires, its Secret goes, and then the ApiKey itself.
    Fleeting,
    /// Nobody can read the ApiKey for a while: it is as an older definition let it in.
    Garbled,
    /// The cluster is copied, and the copy is at work too; then it is torn down.
    Copied,
    /// The server is StackStorm, which knows no accounts and no end of a key: the key is disabled, enabled
    /// with other metadata, and replaced.
    OnStackStorm,
    /// The key on StackStorm is never replaced: the operator is its end.
    FleetingOnStackStorm,
    /// The server is Elasticsearch, where keys outlive their user: the key is given other rights and
    /// replaced, and somebody makes one by hand that must end with the account.
    OnElasticsearch,
    /// The connection has no stored credential: the operator's own Kubernetes account vouches for it, with
    /// tokens that are had anew all the while.
    Vouched,
}

impl Life {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Plain,
        Self::Whole,
        Self::Rotating,
        Self::Bereft,
        Self::Slotted,
        Self::Granted,
        Self::Restored,
        Self::PutBack,
        Self::Swapped,
        Self::Retained,
        Self::Fleeting,
        Self::Garbled,
        Self::Copied,
        Self::OnStackStorm,
        Self::FleetingOnStackStorm,
        Self::OnElasticsearch,
        Self::Vouched,
    ];

    /// Lives it.
    ///
    /// # Errors
    /// What did not come as it must.
    pub async fn live(self, scene: &Scene) -> Result<()> {
        self.begin(scene).await?;
        self.middle(scene).await?;
        self.end(scene).await
    }

    /// The effects of the operator when nothing goes wrong.
    ///
    /// # Errors
    /// Those of the life.
    pub fn effects(self) -> Result<Vec<Effect>> {
        let effects = self.undisturbed(|scene| scene.effects(OPERATOR))?;
        ensure!(effects.len() > 15, "only {} effects", effects.len());
        Ok(effects)
    }

    /// The requests of the operator when nothing goes wrong.
    ///
    /// # Errors
    /// Those of the life.
    pub fn calls(self) -> Result<Vec<Heard>> {
        self.undisturbed(|scene| scene.calls(OPERATOR, 0))
    }

    fn undisturbed<T: Default + Send>(self, told: fn(&Scene) -> T) -> Result<T> {
        let mut all = T::default();
        play(|| async {
            let scene = Scene::new().await?;
            scene.start(OPERATOR);
            scene.act(self.live(&scene)).await?;
            let used = scene.calls(CONSUMER, 0).len();
            ensure!(used > 2, "the key was used {used} times");
            let idle = scene.witness.idle();
            ensure!(idle.is_empty(), "written for nothing: {}", idle[0]);
            all = told(&scene);
            Ok(())
        })?;
        Ok(all)
    }

    /// The manifests, all at once.
    async fn begin(self, scene: &Scene) -> Result<()> {
        match self {
            Self::Whole => {
                let team = json!({"Name": "Deployers", "MemberUserIds": []});
                by_hand(scene, "/api/teams", &team).await?;
            }
            Self::Rotating => {
                let user = json!({"Username": ACCOUNT, "DisplayName": "CI", "IsService": true});
                by_hand(scene, "/api/users", &user).await?;
            }
            Self::Slotted => {
                scene.apply(&hand_made()).await?;
                scene.apply(&manifests::deployment(WORKLOAD)).await?;
                scene.consume(TEAM, KEY, Habit::Slots, MINUTE * 2);
            }
            Self::Granted => {
                for manifest in [greedy(), loot()] {
                    scene.apply(&manifest).await?;
                }
            }
            Self::Vouched => believe(scene).await?,
            _ => {}
        }
        let [credential, server] = self.connection(scene);
        for manifest in [credential, server, self.account(), self.key()] {
            scene.apply(&manifest).await?;
        }
        scene.consume(TEAM, KEY, Habit::Once, MINUTE * 2);
        scene.consume(TEAM, KEY, Habit::Again, MINUTE * 2);
        Ok(())
    }

    /// The connection and its credential, or what vouches for it.
    fn connection(self, scene: &Scene) -> [Value; 2] {
        let (key, servers) = (scene.credential(), &scene.servers);
        let (credential, mut server) = match self {
            Self::Granted => (
                manifests::cluster_credential(&key),
                manifests::cluster_server(),
            ),
            Self::OnStackStorm | Self::FleetingOnStackStorm => {
                let own = servers
                    .stackstorm
                    .look(|twin, _| twin.start().operator.clone());
                let (name, password) = (&own.username, &own.password);
                (
                    manifests::password("stackstorm", name, password),
                    manifests::stackstorm(),
                )
            }
            Self::OnElasticsearch => {
                let own = servers
                    .elasticsearch
                    .look(|twin, _| twin.start().operator.clone());
                let (name, password) = (&own.username, &own.password);
                let credential = manifests::password("elasticsearch", name, password);
                (credential, manifests::elasticsearch())
            }
            Self::Vouched => {
                let own = servers
                    .octopus
                    .look(|twin, _| twin.start().operator.username.clone());
                let view = servers.octopus.view();
                let guid = view.account(&own).and_then(|own| own.external_id.clone());
                (
                    manifests::own_account(OPERATOR),
                    manifests::vouched_server(&guid.unwrap_or_default()),
                )
            }
            _ => (manifests::credential(&key), manifests::server()),
        };
        server["spec"]["resync"] = json!("5m");
        [credential, server]
    }

    /// The ServiceAccount, as its manifest is.
    pub fn account(self) -> Value {
        manifests::account(match self {
            Self::Granted | Self::Vouched => return manifests::granted_account("ci", json!({})),
            Self::Whole => json!({
                "octopus": {"teams": [{"name": "Deployers"}]},
                "deletionPolicy": "Disable",
            }),
            Self::Rotating => json!({"adopt": true}),
            Self::OnStackStorm | Self::FleetingOnStackStorm => {
                json!({"serverRef": {"name": "stackstorm"}})
            }
            Self::OnElasticsearch => json!({
                "serverRef": {"name": "elasticsearch"},
                // Whoever changes a key of somebody else acts as them.
                "elasticsearch": {"roles": ["superuser"], "metadata": {"team": "a"}},
            }),
            _ => json!({}),
        })
    }

    /// The ApiKey, as its manifest is.
    pub fn key(self) -> Value {
        let more = match self {
            Self::Retained => json!({"deletionPolicy": "Retain"}),
            Self::Slotted => json!({
                "secret": {"adopt": true, "keepPrevious": true},
                "restart": [{"kind": "Deployment", "name": WORKLOAD}],
            }),
            Self::Fleeting | Self::FleetingOnStackStorm => {
                json!({"lifetime": "2h", "ttlAfterFinished": "1h"})
            }
            Self::OnStackStorm => json!({"stackStorm": {"metadata": {"cost": 7}}}),
            Self::OnElasticsearch => json!({
                "elasticsearch": {
                    "roleDescriptors": {"reads": {"cluster": ["monitor"]}},
                    "metadata": {"cost": 7},
                },
            }),
            _ => json!({}),
        };
        let mut key = manifests::key(KEY, more);
        key["spec"]["rotation"] = match self {
            Self::Fleeting | Self::FleetingOnStackStorm => json!({"mode": "Never"}),
            _ => json!({"overlap": "6m"}),
        };
        key
    }

    /// The Secret holds a living key, and when the sweep has gone by, nothing else lives.
    async fn middle(self, scene: &Scene) -> Result<()> {
        match self {
            Self::Plain | Self::Granted | Self::Retained => {}
            Self::Restored => middle::put_the_server_back(scene).await?,
            Self::PutBack => middle::put_the_cluster_back(scene).await?,
            Self::Swapped => middle::lend_the_credential(scene).await?,
            Self::Whole => middle::revoke_and_take_back(scene).await?,
            Self::Rotating => middle::rotate_and_lose(scene).await?,
            Self::Bereft => middle::delete_the_account(scene).await?,
            Self::Slotted => middle::rotate(scene).await?,
            Self::Vouched => middle::outlast_a_token(scene).await?,
            Self::Garbled => middle::garble_and_mend(scene, &self.key()).await?,
            Self::Copied => middle::tear_a_copy_down(scene).await?,
            Self::OnStackStorm => middle::change_on_stackstorm(scene).await?,
            Self::OnElasticsearch => middle::change_on_elasticsearch(scene).await?,
            Self::Fleeting | Self::FleetingOnStackStorm => return middle::outlive(scene).await,
        }
        scene.until_ready(&Address::key(KEY), MENDED).await?;
        scene.run(SWEPT).await;
        let living = scene.living();
        let published = scene
            .published(TEAM, KEY)
            .context("the Secret holds no living key")?;
        ensure!(
            living == [published.clone()],
            "the Secret holds {}, and these live: {living:?}",
            published.id
        );
        ensure!(
            scene.says(&Address::key(KEY), "Ready", "True"),
            "not Ready any more"
        );
        Ok(())
    }

    /// Everything is deleted at once; nothing is left.
    async fn end(self, scene: &Scene) -> Result<()> {
        let [credential, server] = self.connection(scene);
        let mut all = vec![Address::key(KEY), Address::account("ci")];
        if self == Self::Granted {
            let loot = Address::of(&loot())?;
            ensure!(
                scene.reason(&loot) == "NotGranted",
                "{}",
                scene.reason(&loot)
            );
            let uid = scene.get(&loot).unwrap_or_default()["metadata"]["uid"].clone();
            let made = scene.witness.made(uid.as_str().unwrap_or_default());
            ensure!(made == 0, "{made} keys of another account were made");
            all.extend([loot, Address::of(&greedy())?]);
        }
        all.push(Address::of(&server)?);
        for address in &all {
            if scene.get(address).is_some() {
                scene.delete(address).await?;
            }
        }
        for address in &all {
            scene.until_gone(address, MENDED).await?;
        }
        scene.run(MINUTE).await;
        let left = scene.get(&Address::secret(TEAM, KEY));
        let living = scene.living();
        match self {
            Self::Retained => {
                let kept: Vec<_> = scene.published(TEAM, KEY).into_iter().collect();
                ensure!(
                    kept.len() == 1 && living == kept,
                    "{living:?} live, not {kept:?}"
                );
            }
            _ => ensure!(living.is_empty(), "a key is left"),
        }
        match self {
            Self::Slotted => {
                let left = left.context("the Secret is gone")?;
                let found = hand_made();
                ensure!(
                    left["data"] == json!({"other": found["data"]["other"]}),
                    "{left:#}"
                );
                let annotations = &left["metadata"]["annotations"];
                ensure!(*annotations == found["metadata"]["annotations"], "{left:#}");
            }
            Self::Retained => ensure!(left.is_some(), "the Secret is gone"),
            _ => ensure!(left.is_none(), "the Secret is left"),
        }
        let accounts = scene.twin.view();
        let account = accounts.account(ACCOUNT);
        let active = account.map(|account| account.is_active);
        let (wanted, wrong) = match self {
            Self::Whole => (Some(false), "the account should be disabled"),
            Self::Rotating | Self::Retained => (Some(true), "the account should be as it was"),
            _ => (None, "the account is left"),
        };
        ensure!(active == wanted, "{wrong}");
        let users = scene.servers.elasticsearch.view();
        ensure!(users.account(ACCOUNT).is_none(), "the user is left");
        // Also one that somebody has made by hand ends with its user.
        let mut outlived = users
            .keys_of(ACCOUNT)
            .filter(|key| key.invalidated.is_none());
        ensure!(outlived.next().is_none(), "a key outlives its user");
        let credential = scene.get(&Address::of(&credential)?);
        let finalizers = &credential.context("the credential is gone")?["metadata"]["finalizers"];
        ensure!(finalizers.is_null(), "the credential is held: {finalizers}");
        Ok(())
    }
}

/// A wish for somebody else's account.
fn greedy() -> Value {
    let wish = json!({"management": "Observed", "username": "bystander"});
    manifests::granted_account("greedy", wish)
}

/// A wish for a key of it.
fn loot() -> Value {
    let mut key = manifests::key("loot", json!({}));
    key["spec"]["serviceAccountRef"]["name"] = json!("greedy");
    key
}

/// The name of the account on the server.
const ACCOUNT: &str = "team-a.ci";

/// An administrator makes something on the server by hand.
async fn by_hand(scene: &Scene, path: &str, body: &Value) -> Result<()> {
    let admin = scene.twin.look(|twin, _| twin.start().admin.key.clone());
    let request = http::Request::post(path)
        .header("X-Octopus-ApiKey", admin)
        .body(Bytes::from(body.to_string()))?;
    let answer = scene.twin.send(request).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(())
}

/// The operator's account on the server believes whoever is the operator in this cluster.
async fn believe(scene: &Scene) -> Result<()> {
    let issuer = ISSUER.to_owned();
    scene.twin.change(Change::Trust { issuer })?;
    let own = scene
        .twin
        .look(|twin, _| twin.start().operator.user.clone());
    let identity = json!({"Name": "operator", "Issuer": ISSUER, "Subject": subject(OPERATOR)});
    let path = format!("/api/serviceaccounts/{own}/oidcidentities/create/v1");
    by_hand(scene, &path, &identity).await
}

/// The name of the workload that is restarted.
const WORKLOAD: &str = "shop";

/// A Secret that somebody has made by hand, and offers.
fn hand_made() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": KEY, "namespace": TEAM,
            "annotations": {"apikeys.dev/adopt-by": KEY},
        },
        "data": {"other": manifests::encoded("stays")},
    })
}
