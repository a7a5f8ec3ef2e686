//! What people hear: one log line per changed pass, an Event when a reason flips.
//!
//! Texts hold ids, names and sentences of the planners; never a value, never a body.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter as Source};
use kube::{Client, Resource};

use super::cluster::{Kind, Lapse};
use super::standing::News;
use super::{Came, Ctx, Outcome};
use crate::api::FIELD_MANAGER;
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::metrics::{self, Metrics};
use crate::plan::{Stop, backoff};

/// An Event that is not written in this time is given up: it is only news.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes logs and Events.
#[derive(Clone)]
pub(crate) struct Reporter {
    recorder: Recorder,
}

impl Reporter {
    /// Writes Events through this client.
    pub(crate) fn new(client: Client) -> Self {
        let source = Source {
            controller: FIELD_MANAGER.to_owned(),
            instance: None,
        };
        Self {
            recorder: Recorder::new(client, source),
        }
    }

    /// Tells of what has changed between two sets of conditions.
    pub(crate) async fn flipped<K>(
        &self,
        object: &K,
        action: &str,
        before: &[Condition],
        after: &[Condition],
    ) where
        K: Resource<DynamicType = ()>,
    {
        for type_ in [Type::Ready, Type::UpToDate, Type::Overdue] {
            let find = |conditions: &[Condition]| {
                conditions
                    .iter()
                    .find(|condition| condition.type_ == type_.as_str())
                    .cloned()
            };
            let (old, new) = (find(before), find(after));
            let Some(new) = new else { continue };
            let same = old
                .as_ref()
                .is_some_and(|old| old.reason == new.reason && old.status == new.status);
            // That a first key is the wanted one is not news.
            let dull = type_ == Type::UpToDate && old.is_none() && new.status == "True";
            if same || dull {
                continue;
            }
            let kind = if new.status == "True" && type_ != Type::Overdue {
                EventType::Normal
            } else {
                weight(&new.reason)
            };
            self.publish(
                &object.object_ref(&()),
                kind,
                &new.reason,
                action,
                &new.message,
            )
            .await;
        }
    }

    /// Tells of something that was done.
    pub(crate) async fn tell<K>(&self, object: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(
            &object.object_ref(&()),
            EventType::Normal,
            reason,
            action,
            note,
        )
        .await;
    }

    /// Tells of an object that does not parse.
    async fn condemned<K: Kind>(&self, meta: &ObjectMeta, note: &str) {
        let object = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        };
        let reason = Reason::Invalid.as_str();
        self.publish(&object, EventType::Warning, reason, "Reconcile", note)
            .await;
    }

    async fn publish(
        &self,
        object: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        let publish = self.recorder.publish(&event, object);
        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, publish).await {
            tracing::debug!(error = %super::outermost(&error), "an Event was not written");
        }
    }
}

/// One pass, as it is counted and told of.
pub(crate) struct Course<'a> {
    metrics: &'a Metrics,
    timing: metrics::Pass,
    whose: Whose,
    tried: Vec<&'static str>,
    worked: Vec<&'static str>,
}

/// Whose pass it is.
pub(crate) struct Whose {
    /// The object's kind.
    pub kind: metrics::Kind,
    /// Its namespace; none for one of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// How a pass came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End<'a> {
    /// Nothing was in its way.
    Well,
    /// This was in its way, and is waited out since an earlier pass.
    Waits(&'a Stop),
    /// This came into its way.
    Met(&'a Stop),
}

impl<'a> End<'a> {
    /// The end of a pass that began while `before` was waited out, and that ends with `after`.
    pub(crate) fn of(before: Option<&Stop>, after: Option<&'a Stop>) -> Self {
        match after {
            None => Self::Well,
            Some(stop) if before == Some(stop) => Self::Waits(stop),
            Some(stop) => Self::Met(stop),
        }
    }

    fn stop(self) -> Option<&'a Stop> {
        match self {
            Self::Well => None,
            Self::Waits(stop) | Self::Met(stop) => Some(stop),
        }
    }
}

/// One line, with the fields that its kind has.
macro_rules! line {
    ($level:ident, $whose:expr, $($rest:tt)*) => {
        match $whose.kind {
            metrics::Kind::ApiKey => {
                tracing::$level!(key.namespace = $whose.namespace, key.name = $whose.name, $($rest)*)
            }
            metrics::Kind::ServiceAccount => tracing::$level!(
                account.namespace = $whose.namespace, account.name = $whose.name, $($rest)*
            ),
            metrics::Kind::DeployServer | metrics::Kind::ClusterDeployServer => tracing::$level!(
                server.namespace = $whose.namespace, server.name = $whose.name, $($rest)*
            ),
        }
    };
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind.label())?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl<'a> Course<'a> {
    /// A pass begins.
    pub(crate) fn begin(metrics: &'a Metrics, whose: Whose) -> Self {
        Self {
            metrics,
            timing: metrics.pass(whose.kind),
            whose,
            tried: Vec::new(),
            worked: Vec::new(),
        }
    }

    /// A step with this name (none for a mere look) has come to this.
    pub(super) fn step<D: Came>(&mut self, name: Option<&'static str>, came: &Outcome<D>) {
        let Some(name) = name else { return };
        self.tried.push(name);
        if matches!(came, Outcome::Done(done) if done.worked()) {
            self.worked.push(name);
            self.metrics.effect(name);
        }
    }

    /// The pass has come to its end.
    pub(crate) fn ended(self, end: End<'_>) {
        self.tell(end.stop());
        if let End::Met(stop) = end {
            self.metrics.fault(self.whose.kind, stop.reason.as_str());
        }
        self.timing.ended(match (end, self.worked.as_slice()) {
            (End::Waits(_) | End::Met(_), _) => metrics::Outcome::Failed,
            (End::Well, [_, ..]) => metrics::Outcome::Changed,
            (End::Well, []) => metrics::Outcome::Unchanged,
        });
    }

    /// The objects were not what the pass thought.
    pub(crate) fn stale(self) {
        self.timing.ended(metrics::Outcome::Stale);
    }

    /// The pass had as many effects as one may have, and wants more.
    pub(crate) fn unsettled(self) {
        let (whose, tried) = (&self.whose, &self.tried);
        line!(error, whose, ?tried, "a pass did not settle");
    }

    /// One line for a pass that has tried to change something.
    fn tell(&self, stop: Option<&Stop>) {
        if self.tried.is_empty() {
            return;
        }
        let (whose, steps) = (&self.whose, self.tried.join(" "));
        match stop {
            None => line!(info, whose, steps, "{whose}: {steps}"),
            Some(stop) => {
                let (reason, message) = (stop.reason.as_str(), &stop.message);
                line!(warn, whose, steps, reason, "{whose}: {message}");
            }
        }
    }
}

/// No answer came from the API server for the object at hand.
pub(crate) fn unanswered(whose: &Whose, why: &str) -> Action {
    line!(
        warn,
        whose,
        "the API server gives no answer, it is tried again: {why}"
    );
    Action::requeue(super::API_SERVER_WAIT)
}

/// Says on an object that does not parse why it does not, once. Others go on.
pub(crate) async fn invalid<K: Kind>(ctx: &Ctx, meta: &ObjectMeta, error: &str) -> Action {
    let whose = format!(
        "{} {}/{}",
        K::kind(&()),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default()
    );
    let message = format!(
        "The object does not parse: {error}. {}",
        Reason::Invalid.fix()
    );
    let finding = |type_, status| Finding {
        type_,
        status,
        reason: Reason::Invalid,
        message: message.clone(),
        observed_generation: meta.generation.unwrap_or_default(),
    };
    let findings = [
        finding(Type::Ready, Status::False),
        finding(Type::Stalled, Status::True),
    ];
    let now = ctx.clock.now();
    match ctx.cluster.condemn::<K>(meta, &findings, now).await {
        Ok(News::Changed) => {
            let message = conditions::one_line(&message);
            tracing::warn!("{whose}: {message}");
            ctx.reporter.condemned::<K>(meta, &message).await;
            Action::await_change()
        }
        Ok(News::Same) | Err(Lapse::NotFound) => Action::await_change(),
        Err(lapse) => {
            tracing::warn!("{whose} cannot be told that it does not parse: {lapse}");
            Action::requeue(match lapse {
                // Before 1.30 the API server holds against a status what is wrong with its spec.
                Lapse::Refused(_) => backoff::LONGEST.unsigned_abs(),
                _ => super::API_SERVER_WAIT,
            })
        }
    }
}

/// Whether a reason for not being ready is a warning, or only the way things go.
fn weight(reason: &str) -> EventType {
    let usual = [
        Reason::WaitingForAccount,
        Reason::WaitingForServer,
        Reason::Minting,
        Reason::Revoking,
        Reason::Revoked,
        Reason::Suspended,
        Reason::InUse,
    ];
    if usual.iter().any(|usual| usual.as_str() == reason) {
        EventType::Normal
    } else {
        EventType::Warning
    }
}
