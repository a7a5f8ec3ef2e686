//! What people see. Every wait is a watch with a deadline, and says when it fails what it saw.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use apikey_operator::api::conditions::Reason;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::watcher::watch_object;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::super::kstatus::{self, Verdict};
use super::{Account, Case, Cluster, Home, Key, Object, Sealed, Server};

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

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
        self.entry(name, "OCTOPUS_API_KEY").await
    }

    /// One entry of a Secret.
    pub(crate) async fn entry(&self, name: &str, entry: &str) -> Result<String> {
        let entries = self.entries(name).await?;
        let found = entries.and_then(|mut entries| entries.remove(entry));
        found.with_context(|| format!("Secret {name} has no entry {entry}"))
    }

    /// The story so far, for a row that fails.
    pub(super) async fn story(&self) -> String {
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

/// Whether one of the sentences of a message says what to do: it begins as the fixes of reasons do, or
/// as those that are told of one Secret.
fn names_a_fix(message: &str) -> bool {
    let first = |sentence: &str| sentence.split(' ').next().unwrap_or_default().to_owned();
    let fixes: Vec<String> = Reason::all()
        .iter()
        .map(|reason| first(reason.fix()))
        .chain(["Declare", "Have", "If", "Leave", "Remove"].map(str::to_owned))
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
