//! Watches: which changes a subscriber sees, and as what.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::request::View;
use super::selector::Selector;
use super::store::{Asked, Change, Store, shown};

/// A watch: where it stands, and what it is to be shown.
pub struct Subscription {
    resource: String,
    namespace: Option<String>,
    selector: Selector,
    view: View,
    bookmark: Option<Value>,
    cursor: u64,
    first: Vec<Arc<Value>>,
    /// After how many seconds the server ends it.
    pub timeout: Option<u64>,
}

/// What hides changes from a subscriber.
#[derive(Debug, Clone, Default)]
pub struct Blinds {
    /// Nothing newer than this version is shown, while it is set.
    pub held: Option<u64>,
    /// The changes of these versions are never shown.
    pub lost: BTreeSet<u64>,
}

impl Store {
    pub(super) fn watch(&self, asked: &Asked) -> Result<Subscription, Refusal> {
        let options = &asked.options;
        let selector = Selector::parse(&asked.kind, &options.labels, &options.fields)?;
        let since = options.version.unwrap_or(0);
        let first = match since {
            0 => self
                .at(asked, self.version)
                .into_values()
                .filter(|object| selector.fits(object))
                .collect(),
            _ => Vec::new(),
        };
        let bookmark = options.bookmarks.then(|| {
            json!({
                "apiVersion": asked.kind.api_version(), "kind": asked.kind.kind,
                "metadata": {"creationTimestamp": null},
            })
        });
        Ok(Subscription {
            resource: asked.kind.resource(),
            namespace: asked.target.namespace.clone(),
            selector,
            view: options.view,
            bookmark,
            cursor: if since == 0 { self.version } else { since },
            first,
            timeout: options.timeout,
        })
    }
}

impl Subscription {
    /// `plural.group` of what is watched.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The events that have come up since the last call.
    ///
    /// # Errors
    /// 410 when the store has forgotten some of them; the watch is over then.
    pub fn next(&mut self, store: &Store, blinds: &Blinds) -> Result<Vec<Value>, Refusal> {
        let mut events: Vec<Value> = std::mem::take(&mut self.first)
            .into_iter()
            .map(|object| event("ADDED", &shown(self.view, object.as_ref().clone())))
            .collect();
        if self.cursor < store.compacted {
            return Err(Refusal::expired(self.cursor, store.compacted));
        }
        let limit = blinds.held.unwrap_or(u64::MAX);
        for change in store.changes(self.cursor) {
            if change.version > limit {
                return Ok(events);
            }
            self.cursor = change.version;
            if !blinds.lost.contains(&change.version) {
                events.extend(self.event(change));
            }
        }
        Ok(events)
    }

    /// The event that ends a watch on a refusal.
    pub fn refused(refusal: &Refusal) -> Value {
        event("ERROR", refusal.status())
    }

    /// A bookmark of where the watch stands, if its subscriber wants any.
    pub fn bookmark(&self) -> Option<Value> {
        let mut object = self.bookmark.clone()?;
        object["metadata"]["resourceVersion"] = self.cursor.to_string().into();
        if self.view == View::Metadata {
            object["kind"] = "PartialObjectMetadata".into();
            object["apiVersion"] = "meta.k8s.io/v1".into();
        }
        Some(event("BOOKMARK", &object))
    }

    fn event(&self, change: &Change) -> Option<Value> {
        let here = change.key.resource == self.resource
            && self
                .namespace
                .as_ref()
                .is_none_or(|name| *name == change.key.namespace);
        if !here {
            return None;
        }
        let seen = |object: &Option<Arc<Value>>| {
            object
                .as_ref()
                .filter(|object| self.selector.fits(object))
                .cloned()
        };
        let (words, object) = match (seen(&change.old), seen(&change.new)) {
            (None, None) => return None,
            (None, Some(new)) => ("ADDED", new.as_ref().clone()),
            (Some(_), Some(new)) => ("MODIFIED", new.as_ref().clone()),
            (Some(old), None) => {
                let mut last = old.as_ref().clone();
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                ("DELETED", last)
            }
        };
        Some(event(words, &shown(self.view, object)))
    }
}

fn event(words: &str, object: &Value) -> Value {
    json!({"type": words, "object": object})
}
