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

use super::Ctx;
use super::cluster::{Kind, Lapse};
use crate::api::FIELD_MANAGER;
use crate::api::conditions::{self, Finding, Reason, Status, Type};
use crate::plan::Stop;

/// An Event that is not written in this time is given up: it is only news.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes logs and Events.
#[derive(Clone)]
pub struct Reporter {
    recorder: Recorder,
}

impl Reporter {
    /// Writes Events through this client.
    pub fn new(client: Client, instance: Option<String>) -> Self {
        let source = Source {
            controller: FIELD_MANAGER.to_owned(),
            instance,
        };
        Self {
            recorder: Recorder::new(client, source),
        }
    }

    /// Tells of what has changed between two sets of conditions.
    pub async fn flipped<K>(
        &self,
        object: &K,
        action: &str,
        before: &[Condition],
        after: &[Condition],
    ) where
        K: Resource<DynamicType = ()>,
    {
        for type_ in [Type::Ready, Type::UpToDate] {
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
            let kind = if new.status == "True" {
                EventType::Normal
            } else {
                weight(&new.reason)
            };
            self.publish(object, kind, &new.reason, action, &new.message)
                .await;
        }
    }

    /// Tells of something that was done.
    pub async fn tell<K>(&self, object: &K, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        self.publish(object, EventType::Normal, reason, action, note)
            .await;
    }

    async fn publish<K>(&self, object: &K, type_: EventType, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        let reference: ObjectReference = object.object_ref(&());
        let publish = self.recorder.publish(&event, &reference);
        if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, publish).await {
            tracing::debug!(error = %super::outermost(&error), "an Event was not written");
        }
    }
}

/// Says on an object that does not parse why it does not. Others go on.
pub async fn invalid<K: Kind>(ctx: &Ctx, meta: &ObjectMeta, error: &str) -> Action {
    let (namespace, name) = (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    );
    tracing::warn!(
        "{} {namespace}/{name} does not parse: {}",
        K::kind(&()),
        conditions::one_line(error)
    );
    let stop = Stop::new(
        Reason::Invalid,
        format!(
            "The object does not parse: {error}. {}",
            Reason::Invalid.fix()
        ),
    );
    let finding = |type_, status| Finding {
        type_,
        status,
        reason: stop.reason,
        message: stop.message.clone(),
        observed_generation: meta.generation.unwrap_or_default(),
    };
    let findings = [
        finding(Type::Ready, Status::False),
        finding(Type::Stalled, Status::True),
    ];
    match ctx
        .cluster
        .condemn::<K>(meta, &findings, ctx.clock.now())
        .await
    {
        Ok(()) | Err(Lapse::NotFound) => Action::await_change(),
        Err(lapse) => {
            tracing::warn!(
                "{} {namespace}/{name} cannot be told so: {lapse}",
                K::kind(&())
            );
            Action::requeue(super::API_SERVER_WAIT)
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
