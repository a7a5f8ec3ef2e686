//! One case: a namespace of the cluster and a twin of its own, and the few words in which rows are
//! written: apply, wait for a reason and its sentence, read the Secret, ask the twin.
//!
//! Every wait is a watch with a deadline, and says when it fails what it saw.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use apikey_operator::api::conditions::Reason;
use apikey_operator::api::{ApiKey, ClusterDeployServer, DeployServer, ServiceAccount};
use bytes::Bytes;
use futures::{StreamExt as _, pin_mut};
use http::{Method, Request};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};
use testbed::process::run;
use testbed::twins::octopus::{Change, Config, KeyView, Life, Octopus, Start};
use testbed::twins::tcp::{Listening, serve};
use testbed::twins::tls::Tls;
use testbed::twins::{Door, Effect, Fault, Rule};
use tokio::time::{interval, timeout};

use super::kstatus::{self, Verdict};
use super::stage::{OPERATOR, Stage};
use super::tapped::Tapped;

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// An object of a case.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'a> {
    /// An ApiKey.
    Key(&'a str),
    /// A ServiceAccount.
    Account(&'a str),
    /// A DeployServer.
    Server(&'a str),
    /// A ClusterDeployServer.
    Cluster(&'a str),
    /// A Secret.
    Secret(&'a str),
    /// The case's namespace.
    Home,
}

pub(crate) use Object::{Account, Cluster, Home, Key, Secret as Sealed, Server};

impl<'a> Object<'a> {
    fn name(self, home: &'a str) -> &'a str {
        match self {
            Key(name) | Account(name) | Server(name) | Cluster(name) | Sealed(name) => name,
            Home => home,
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Key(_) => ApiResource::erase::<ApiKey>(&()),
            Account(_) => ApiResource::erase::<ServiceAccount>(&()),
            Server(_) => ApiResource::erase::<DeployServer>(&()),
            Cluster(_) => ApiResource::erase::<ClusterDeployServer>(&()),
            Sealed(_) => ApiResource::erase::<Secret>(&()),
            Home => ApiResource::erase::<Namespace>(&()),
        }
    }
}

/// Where one row plays.
pub(crate) struct Case {
    pub(crate) stage: Arc<Stage>,
    /// The namespace, and the name of what has none.
    pub(crate) namespace: String,
    pub(crate) twin: Door<Tapped>,
    /// The accounts that the twin starts with.
    pub(crate) start: Start,
    listening: Listening,
    /// Changes of specs that meant nothing.
    changes: AtomicU32,
}

/// The marks of a key of ours on the server.
const MARK: &str = "ako1.";

impl Case {
    /// Makes the namespace and starts the twin.
    pub(crate) async fn open(stage: &Arc<Stage>, name: &str) -> Result<Self> {
        Self::open_with(stage, name, Config::default()).await
    }

    /// The same, with another server.
    pub(crate) async fn open_with(stage: &Arc<Stage>, name: &str, config: Config) -> Result<Self> {
        // Two servers with the same seed would be one and the same.
        let mut seed = DefaultHasher::new();
        name.hash(&mut seed);
        let octopus = Octopus::new(&Config {
            seed: seed.finish(),
            ..config
        });
        let tapped = Tapped::new(octopus, &stage.canaries);
        let start = tapped.start().clone();
        let twin = Door::live(tapped);
        let case = Self {
            stage: Arc::clone(stage),
            namespace: name.replace('_', "-"),
            listening: serve(&twin, 0, None)?,
            changes: AtomicU32::new(0),
            twin,
            start,
        };
        let home =
            json!({"metadata": {"name": case.namespace, "labels": {"case": case.namespace}}});
        let namespaces: Api<Namespace> = Api::all(stage.client.clone());
        let home = serde_json::from_value(home)?;
        namespaces.create(&PostParams::default(), &home).await?;
        Ok(case)
    }

    /// The twin's address.
    pub(crate) fn url(&self) -> String {
        self.listening.url()
    }

    /// The twin at another address, over TLS.
    pub(crate) fn tls(&self, tls: &Tls) -> Result<Listening> {
        serve(&self.twin, 0, Some(tls))
    }
}

/// Manifests. `more` are further fields of the spec in YAML's flow style, such as `lifetime: 1d`.
impl Case {
    /// The Secret `octopus` with this credential, offered.
    pub(crate) fn offered(&self, credential: &str) -> String {
        self.secret("octopus", "{apikeys.dev/credential: 'true'}", credential)
    }

    /// A Secret with a credential.
    pub(crate) fn secret(&self, name: &str, labels: &str, credential: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {namespace}, \
             labels: {labels}}}, stringData: {{api-key: '{credential}'}}}}"
        )
    }

    /// The DeployServer `octopus`.
    pub(crate) fn server(&self, more: &str) -> String {
        self.server_at(&self.url(), more)
    }

    /// The DeployServer `octopus`, at this address.
    pub(crate) fn server_at(&self, url: &str, more: &str) -> String {
        self.object(
            "DeployServer",
            "octopus",
            &format!(
                "type: Octopus, url: '{url}', \
                 auth: {{apiKey: {{secretRef: {{name: octopus, key: api-key}}}}}}, {more}"
            ),
        )
    }

    /// The ServiceAccount `ci`.
    pub(crate) fn account(&self, more: &str) -> String {
        self.account_named("ci", more)
    }

    /// A ServiceAccount.
    pub(crate) fn account_named(&self, name: &str, more: &str) -> String {
        self.object(
            "ServiceAccount",
            name,
            &format!("serverRef: {{kind: DeployServer, name: octopus}}, {more}"),
        )
    }

    /// The ApiKey `ci`.
    pub(crate) fn key(&self, more: &str) -> String {
        self.key_named("ci", more)
    }

    /// An ApiKey of the ServiceAccount `ci`.
    pub(crate) fn key_named(&self, name: &str, more: &str) -> String {
        self.object(
            "ApiKey",
            name,
            &format!("serviceAccountRef: {{name: ci}}, {more}"),
        )
    }

    /// An object of one of our kinds.
    pub(crate) fn object(&self, kind: &str, name: &str, spec: &str) -> String {
        let namespace = &self.namespace;
        format!(
            "{{apiVersion: apikeys.dev/v1alpha1, kind: {kind}, \
             metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}"
        )
    }

    /// Credential and connection.
    pub(crate) fn ground(&self) -> [String; 2] {
        [
            self.offered(&self.start.operator.key),
            self.server("resync: 10s"),
        ]
    }

    /// Credential, connection, account and key.
    pub(crate) fn whole(&self) -> [String; 4] {
        let [credential, server] = self.ground();
        [credential, server, self.account(""), self.key("")]
    }
}

/// What people do.
impl Case {
    /// `kubectl` with these arguments and this input.
    pub(crate) async fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let mut kubectl = self.stage.control_plane().await?.kubectl();
        kubectl.args(args);
        run(kubectl, input).await
    }

    /// `kubectl apply`.
    pub(crate) async fn apply(&self, manifests: &[impl AsRef<str>]) -> Result<()> {
        let texts: Vec<&str> = manifests.iter().map(AsRef::as_ref).collect();
        self.kubectl(&["apply", "--filename=-"], &texts.join("\n---\n"))
            .await
            .map(drop)
    }

    /// `kubectl apply` of what is to be refused; returns the API server's words.
    pub(crate) async fn refused(&self, manifest: &str) -> Result<String> {
        match self.apply(&[manifest]).await {
            Ok(()) => bail!("this was accepted: {manifest}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// `kubectl patch --type=merge`.
    pub(crate) async fn patch(&self, object: Object<'_>, patch: Value) -> Result<()> {
        self.api(object)
            .patch(
                object.name(&self.namespace),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        Ok(())
    }

    /// `kubectl patch --type=merge --subresource=status`.
    pub(crate) async fn patch_status(&self, object: Object<'_>, status: Value) -> Result<()> {
        self.api(object)
            .patch_status(
                object.name(&self.namespace),
                &PatchParams::default(),
                &Patch::Merge(json!({"status": status})),
            )
            .await?;
        Ok(())
    }

    /// `kubectl annotate --overwrite`; `None` takes the annotation away.
    pub(crate) async fn annotate(
        &self,
        object: Object<'_>,
        annotations: &[(&str, Option<&str>)],
    ) -> Result<()> {
        let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
        self.patch(object, json!({"metadata": {"annotations": annotations}}))
            .await
    }

    /// `kubectl delete --wait=false`.
    pub(crate) async fn delete(&self, object: Object<'_>) -> Result<()> {
        self.api(object)
            .delete(object.name(&self.namespace), &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The object as it is now.
    pub(crate) async fn get(&self, object: Object<'_>) -> Result<DynamicObject> {
        Ok(self.api(object).get(object.name(&self.namespace)).await?)
    }

    /// All objects of this one's kind in the namespace.
    pub(crate) async fn list(&self, kind: Object<'_>) -> Result<Vec<DynamicObject>> {
        Ok(self.api(kind).list(&ListParams::default()).await?.items)
    }

    fn api(&self, object: Object<'_>) -> Api<DynamicObject> {
        let (client, resource) = (self.stage.client.clone(), object.resource());
        match object {
            Key(_) | Account(_) | Server(_) | Sealed(_) => {
                Api::namespaced_with(client, &self.namespace, &resource)
            }
            Cluster(_) | Home => Api::all_with(client, &resource),
        }
    }
}

/// What people see.
impl Case {
    /// Waits until `Ready` is false for this reason, with this in its sentence.
    pub(crate) async fn says(&self, object: Object<'_>, reason: Reason, words: &str) -> Result<()> {
        let what = format!("says {} with {words:?}", reason.as_str());
        let message = self.not_ready(object, &what, &[reason], words).await?;
        ensure!(
            message.ends_with('.') && message.contains(' '),
            "{what}, but not as a sentence: {message}"
        );
        ensure!(
            names_a_fix(&message),
            "{what}, but not what to do: {message}"
        );
        Ok(())
    }

    /// Waits until `Ready` is false for one of these reasons, with this in its sentence, which is
    /// returned.
    pub(crate) async fn says_either(
        &self,
        object: Object<'_>,
        reasons: &[Reason],
        words: &str,
    ) -> Result<String> {
        let what = format!("says one of {reasons:?} with {words:?}");
        self.not_ready(object, &what, reasons, words).await
    }

    /// Waits until `Ready` is false with this in its sentence.
    pub(crate) async fn says_any(&self, object: Object<'_>, words: &str) -> Result<String> {
        self.says_either(object, Reason::all(), words).await
    }

    /// Waits until `Ready` is false for one of these reasons, with this in its sentence, which is
    /// returned. What kstatus makes of the object must be what the reason means.
    async fn not_ready(
        &self,
        object: Object<'_>,
        what: &str,
        reasons: &[Reason],
        words: &str,
    ) -> Result<String> {
        let look = |found: Option<&DynamicObject>| {
            let found = found?;
            let ready = condition(found, "Ready")?;
            let mut reasons = reasons.iter().copied();
            let reason = reasons.find(|reason| ready.reason == reason.as_str())?;
            let fits = ready.status == "False" && ready.message.contains(words);
            fits.then(|| (reason, ready.message, found.clone()))
        };
        let (reason, message, found) = self.until(object, what, look).await?;
        is_judged(what, &found, kstatus::of_reason(reason))?;
        Ok(message)
    }

    /// Waits until a key works, but `UpToDate` is false for this reason, with this in its sentence.
    pub(crate) async fn warns(
        &self,
        object: Object<'_>,
        reason: Reason,
        words: &str,
    ) -> Result<()> {
        let what = format!("warns of {} with {words:?}", reason.as_str());
        let look = |found: Option<&DynamicObject>| {
            let found = found?;
            let ready = condition(found, "Ready")?;
            let warning = condition(found, "UpToDate")?;
            let fits = ready.status == "True"
                && warning.status == "False"
                && warning.reason == reason.as_str()
                && warning.message.contains(words);
            fits.then(|| found.clone())
        };
        let found = self.until(object, &what, look).await?;
        is_judged(&what, &found, Verdict::Current)
    }

    /// Waits until `Ready` is true, and for a key until nothing better is wanted.
    pub(crate) async fn ready(&self, object: Object<'_>) -> Result<()> {
        let what = "is Ready";
        let look = |found: Option<&DynamicObject>| {
            let found = found?;
            let ready = condition(found, "Ready")?;
            let wanted = condition(found, "UpToDate").is_none_or(|other| other.status == "True");
            (ready.status == "True" && wanted).then(|| found.clone())
        };
        let found = self.until(object, what, look).await?;
        is_judged(what, &found, Verdict::Current)
    }

    /// Waits until the operator has looked at the object as it is now: it says so of a change of the
    /// spec that means nothing.
    pub(crate) async fn looked_at(&self, object: Object<'_>) -> Result<()> {
        let number = self.changes.fetch_add(1, Ordering::Relaxed);
        let spec = match object {
            Key(_) => json!({"purpose": format!("change {number}")}),
            Account(_) => json!({"displayName": format!("Change {number}")}),
            Server(_) | Cluster(_) => json!({"limits": {"burst": 100 + number}}),
            Sealed(_) | Home => bail!("{object:?} has no spec of ours"),
        };
        self.patch(object, json!({"spec": spec})).await?;
        let generation = self.get(object).await?.metadata.generation;
        self.until(object, "was looked at", |found| {
            let seen = found?.data["status"]["observedGeneration"].as_i64();
            (seen >= generation).then_some(())
        })
        .await
    }

    /// Waits until a key has this serial.
    pub(crate) async fn has_serial(&self, key: Object<'_>, serial: u64) -> Result<()> {
        let what = format!("has serial {serial}");
        self.until(key, &what, |found| {
            (found?.data["status"]["current"]["serial"] == serial).then_some(())
        })
        .await
    }

    /// Waits until the object is not there.
    pub(crate) async fn gone(&self, object: Object<'_>) -> Result<()> {
        self.until(object, "is gone", |found| found.is_none().then_some(()))
            .await
    }

    /// Waits until `look` finds something in the object; looks whenever it changes.
    pub(crate) async fn until<T>(
        &self,
        object: Object<'_>,
        what: &str,
        look: impl FnMut(Option<&DynamicObject>) -> Option<T>,
    ) -> Result<T> {
        self.until_within(PATIENCE, object, what, look).await
    }

    /// The same with more patience, or with less.
    pub(crate) async fn until_within<T>(
        &self,
        patience: Duration,
        object: Object<'_>,
        what: &str,
        mut look: impl FnMut(Option<&DynamicObject>) -> Option<T>,
    ) -> Result<T> {
        let mut seen: Vec<String> = Vec::new();
        let changes = watch_object(self.api(object), object.name(&self.namespace));
        pin_mut!(changes);
        let found = async {
            while let Some(change) = changes.next().await {
                // A watch that breaks begins anew by itself.
                let Ok(change) = change else { continue };
                if let Some(found) = look(change.as_ref()) {
                    return Ok(found);
                }
                let now = change.as_ref().map_or_else(|| "absent".to_owned(), summary);
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            bail!("the watch ended")
        };
        match timeout(patience, found).await {
            Ok(found) => found,
            Err(_) => bail!(
                "{object:?} never {what}; it was, one after the other:\n  {}\n{}",
                seen.join("\n  "),
                self.story().await
            ),
        }
    }

    /// Waits until the twin shows what is asked for.
    pub(crate) async fn shown<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let found = async {
            let mut tick = interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                if let Some(found) = look(self) {
                    return found;
                }
            }
        };
        match timeout(PATIENCE, found).await {
            Ok(found) => Ok(found),
            Err(_) => bail!("the twin never showed {what}\n{}", self.story().await),
        }
    }

    /// Waits until something shows that has no watch.
    pub(crate) async fn shown_by(
        &self,
        what: &str,
        look: impl AsyncFn() -> Result<bool>,
    ) -> Result<()> {
        let found = async {
            let mut tick = interval(Duration::from_millis(100));
            while !look().await? {
                tick.tick().await;
            }
            Ok(())
        };
        match timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => bail!("this never showed: {what}\n{}", self.story().await),
        }
    }

    /// Waits for an Event about the object, with this reason and these words.
    pub(crate) async fn told(&self, object: Object<'_>, reason: &str, words: &str) -> Result<()> {
        let events: Api<Event> = Api::namespaced(self.stage.client.clone(), &self.namespace);
        let name = object.name(&self.namespace);
        let told = async {
            let mut tick = interval(Duration::from_millis(100));
            loop {
                tick.tick().await;
                let list = events.list(&ListParams::default()).await?;
                let fits = list.items.iter().any(|event| {
                    event.regarding.as_ref().and_then(|of| of.name.as_deref()) == Some(name)
                        && event.reason.as_deref() == Some(reason)
                        && event.note.as_deref().unwrap_or_default().contains(words)
                });
                if fits {
                    return Ok::<_, anyhow::Error>(());
                }
            }
        };
        match timeout(PATIENCE, told).await {
            Ok(told) => told,
            Err(_) => bail!(
                "no Event {reason} with {words:?} about {object:?}\n{}",
                self.story().await
            ),
        }
    }

    /// The entries of a Secret; `None` when there is none.
    pub(crate) async fn entries(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let secrets: Api<Secret> = Api::namespaced(self.stage.client.clone(), &self.namespace);
        let Some(secret) = secrets.get_opt(name).await? else {
            return Ok(None);
        };
        let entries = secret.data.unwrap_or_default().into_iter();
        let entries = entries.map(|(name, value)| Ok((name, String::from_utf8(value.0)?)));
        entries.collect::<Result<_>>().map(Some)
    }

    /// The value of the key in a Secret.
    pub(crate) async fn value(&self, name: &str) -> Result<String> {
        let entries = self.entries(name).await?;
        let entry = entries.and_then(|mut entries| entries.remove("OCTOPUS_API_KEY"));
        entry.with_context(|| format!("Secret {name} holds no key"))
    }

    /// The story so far, for a row that fails.
    async fn story(&self) -> String {
        let events: Api<Event> = Api::namespaced(self.stage.client.clone(), &self.namespace);
        let events = events.list(&ListParams::default()).await;
        let events = events.map(|list| list.items).unwrap_or_default();
        let events = events.iter().map(|event| {
            let name = event.regarding.as_ref().and_then(|of| of.name.clone());
            format!(
                "{}: {} {}",
                name.unwrap_or_default(),
                event.reason.clone().unwrap_or_default(),
                event.note.clone().unwrap_or_default()
            )
        });
        let journal = self.twin.journal();
        let asked = journal[journal.len().saturating_sub(15)..].iter();
        let asked = asked.map(|entry| {
            format!(
                "{} {} {} {:?} {:?}",
                entry.at, entry.method, entry.template, entry.status, entry.fate
            )
        });
        let told = |title: &str, lines: Vec<String>| format!("{title}:\n  {}", lines.join("\n  "));
        [
            told("Events", events.collect()),
            told("asked of the twin", asked.collect()),
            told(
                "the operator",
                self.stage
                    .log_of(&self.namespace)
                    .into_iter()
                    .chain(self.stage.ended())
                    .collect(),
            ),
        ]
        .join("\n")
    }
}

/// What the server knows.
impl Case {
    /// How many keys the server has made for us.
    pub(crate) fn minted(&self) -> usize {
        self.twin.done(Effect::Mint)
    }

    /// The keys of ours that work.
    pub(crate) fn living(&self) -> Vec<KeyView> {
        let mut keys = self.twin.view().keys;
        keys.retain(|key| key.purpose.contains(MARK) && key.life == Life::Alive);
        keys
    }

    /// The key with this text, if it works.
    pub(crate) fn works(&self, text: &str) -> Option<KeyView> {
        let key = self.twin.look(|twin, now| twin.whose(now, text));
        key.filter(|key| key.life == Life::Alive)
    }

    /// Lets this go wrong with every request, until it is mended.
    pub(crate) fn breaks(&self, fault: Fault) {
        self.twin.fault(Rule::new(fault));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mended(&self) {
        self.twin.clear_faults();
    }

    /// Something happens to the server from outside.
    pub(crate) fn change(&self, change: Change) -> Result<()> {
        Ok(self.twin.change(change)?)
    }

    /// The id of the key with this text.
    pub(crate) fn key_of(&self, text: &str) -> Result<String> {
        let key = self.twin.look(|twin, now| twin.whose(now, text));
        Ok(key.context("the server knows no such key")?.id)
    }

    /// Somebody who may do everything asks the server for something.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("X-Octopus-ApiKey", &self.start.admin.key)
            .body(Bytes::from(body.to_string()))?;
        let response = self.twin.send(request).await?;
        let said = String::from_utf8_lossy(response.body()).into_owned();
        ensure!(response.status().is_success(), "{path}: {said}");
        Ok(serde_json::from_str(&said)?)
    }

    /// The id of an account.
    pub(crate) fn account_id(&self, username: &str) -> Result<String> {
        let view = self.twin.view();
        let account = view.account(username);
        Ok(account
            .with_context(|| format!("there is no account {username}"))?
            .id
            .clone())
    }
}

/// How rows end.
impl Case {
    /// The key of this name is Ready, and its Secret holds one that works.
    pub(crate) async fn works_at(&self, name: &str) -> Result<KeyView> {
        self.ready(Key(name)).await?;
        let key = self.works(&self.value(name).await?);
        key.with_context(|| format!("the key of Secret {name} does not work"))
    }

    /// The key `ci` is Ready, its Secret holds a key that works for the account `ci`, no other key of
    /// ours lives, and so many were made in all.
    pub(crate) async fn healed(&self, minted: usize) -> Result<()> {
        let key = self.works_at("ci").await?;
        self.is_of_its_account(&key).await?;
        let living = self.living();
        ensure!(
            living.len() == 1 && living[0].id == key.id,
            "other keys live: {living:?}"
        );
        ensure!(
            self.minted() == minted,
            "{} keys were made instead of {minted}\n{}",
            self.minted(),
            self.story().await
        );
        Ok(())
    }

    /// That a key is of the account that the ServiceAccount `ci` asks for.
    async fn is_of_its_account(&self, key: &KeyView) -> Result<()> {
        let spec = &self.get(Account("ci")).await?.data["spec"];
        let own = format!("{}.ci", self.namespace);
        let asked = match (spec["management"].as_str(), spec["username"].as_str()) {
            (Some("Self"), _) => "apikey-operator",
            (_, named) => named.unwrap_or(&own),
        };
        let account = self.account_id(asked)?;
        ensure!(key.owner == account, "the key is not of {asked}: {key:?}");
        Ok(())
    }

    /// So many keys were made, and all of them live.
    pub(crate) fn healed_of(&self, keys: usize) -> Result<()> {
        let (minted, living) = (self.minted(), self.living());
        ensure!(
            minted == keys && living.len() == keys,
            "{minted} keys were made instead of {keys}, and of them live: {living:?}"
        );
        Ok(())
    }

    /// No key was ever asked for.
    pub(crate) fn unasked(&self) -> Result<()> {
        let asked = self.twin.sent(Effect::Mint);
        ensure!(asked == 0, "{asked} keys were asked for");
        Ok(())
    }

    /// The server was never spoken to.
    pub(crate) fn unheard(&self) -> Result<()> {
        let journal = self.twin.journal();
        ensure!(journal.is_empty(), "the server was asked: {journal:?}");
        Ok(())
    }

    /// Everything of ours is deleted, and nothing is left of it on the server or in the cluster.
    pub(crate) async fn end(&self) -> Result<()> {
        let kinds = [Key(""), Account(""), Server("")];
        for kind in kinds {
            self.api(kind)
                .delete_collection(&DeleteParams::default(), &ListParams::default())
                .await?;
        }
        for kind in kinds {
            let found = self.api(kind).list(&ListParams::default()).await?;
            for object in found.items {
                let name = object.metadata.name.unwrap_or_default();
                let object = match kind {
                    Key(_) => Key(&name),
                    Account(_) => Account(&name),
                    _ => Server(&name),
                };
                self.gone(object).await?;
            }
        }
        let cluster = Cluster(&self.namespace);
        if self.api(cluster).get_opt(&self.namespace).await?.is_some() {
            self.delete(cluster).await?;
            self.gone(cluster).await?;
        }
        let left = self.living();
        ensure!(left.is_empty(), "keys are left: {left:?}");
        Ok(())
    }

    /// A ClusterDeployServer of the case's name, with its credential in the operator's namespace.
    pub(crate) fn cluster_server(&self, more: &str) -> [String; 2] {
        let (name, url, key) = (&self.namespace, self.url(), &self.start.operator.key);
        [
            format!(
                "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {OPERATOR}}}, \
                 stringData: {{api-key: '{key}'}}}}"
            ),
            format!(
                "{{apiVersion: apikeys.dev/v1alpha1, kind: ClusterDeployServer, \
                 metadata: {{name: {name}}}, spec: {{type: Octopus, url: '{url}', resync: 10s, \
                 auth: {{apiKey: {{secretRef: {{name: {name}, key: api-key}}}}}}, {more}}}}}"
            ),
        ]
    }
}

/// Whether one of the sentences of a message says what to do: it begins as the fixes of reasons do, or
/// as those that are told of one Secret.
fn names_a_fix(message: &str) -> bool {
    let first = |sentence: &str| sentence.split(' ').next().unwrap_or_default().to_owned();
    let fixes: Vec<String> = Reason::all()
        .iter()
        .map(|reason| first(reason.fix()))
        .chain(["Declare", "Have", "If", "Remove"].map(str::to_owned))
        .collect();
    let mut sentences = message.split([':', '.']).map(str::trim_start);
    sentences.any(|sentence| fixes.contains(&first(sentence)))
}

/// This is what kstatus makes of the object.
fn is_judged(what: &str, object: &DynamicObject, wanted: Verdict) -> Result<()> {
    let verdict = kstatus::verdict(object);
    ensure!(
        verdict == wanted,
        "it {what}, of which kstatus makes {verdict:?} instead of {wanted:?}: {}",
        kstatus::told(object)
    );
    Ok(())
}

/// One condition, as long as it speaks of the present spec.
pub(crate) struct Condition {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

pub(crate) fn condition(object: &DynamicObject, type_: &str) -> Option<Condition> {
    let all = object.data.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|found| found["type"] == type_)?;
    if found["observedGeneration"].as_i64() != object.metadata.generation {
        return None;
    }
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    Some(Condition {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
    })
}

fn summary(object: &DynamicObject) -> String {
    let conditions = object.data.pointer("/status/conditions");
    let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    let conditions: Vec<String> = conditions
        .map(|found| {
            format!(
                "{}={} {}: {}",
                found["type"].as_str().unwrap_or_default(),
                found["status"].as_str().unwrap_or_default(),
                found["reason"].as_str().unwrap_or_default(),
                found["message"].as_str().unwrap_or_default()
            )
        })
        .collect();
    let meta = &object.metadata;
    format!(
        "generation {} deleting {} finalizers {:?} {}",
        meta.generation.unwrap_or_default(),
        meta.deletion_timestamp.is_some(),
        meta.finalizers.clone().unwrap_or_default(),
        conditions.join("; ")
    )
}
