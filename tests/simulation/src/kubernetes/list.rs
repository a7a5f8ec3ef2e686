//! Lists: what a path's objects were at a version, in pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::kind::Origin;
use super::refusal::Refusal;
use super::request::View;
use super::selector::Selector;
use super::store::{Asked, Key, Store};

impl Store {
    pub(super) fn list(&self, asked: &Asked) -> Result<Value, Refusal> {
        let options = &asked.options;
        let selector = Selector::parse(&asked.kind, &options.labels, &options.fields)?;
        let page = options.next.as_deref().map(Page::parse).transpose()?;
        let version = match (&page, options.version) {
            (Some(page), _) => page.version,
            (None, Some(version)) if options.exact => version,
            (None, Some(0)) => asked.horizon.unwrap_or(self.version),
            _ => self.version,
        };
        if version < self.compacted && version != self.version {
            return Err(Refusal::expired(version, self.compacted));
        }
        let all = self.at(asked, version);
        let mut shown = all
            .iter()
            .filter(|(key, _)| page.as_ref().is_none_or(|page| page.after < **key))
            .filter(|(_, object)| selector.fits(object));
        let limit = options.limit.unwrap_or(usize::MAX);
        let items: Vec<(&Key, Arc<Value>)> = shown
            .by_ref()
            .take(limit)
            .map(|(key, object)| (key, object.clone()))
            .collect();
        let left = shown.count();
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if asked.kind.origin == Origin::Custom {
            metadata["continue"] = "".into();
        }
        if left > 0 {
            if let Some((last, _)) = items.last() {
                metadata["continue"] = Page {
                    version,
                    after: (*last).clone(),
                }
                .to_string()
                .into();
            }
            if selector.is_empty() {
                metadata["remainingItemCount"] = left.into();
            }
        }
        let items: Vec<Value> = items
            .into_iter()
            .map(|(_, item)| asked.show(item.as_ref().clone()))
            .collect();
        let (api, kind) = match options.view {
            View::Full => (asked.kind.api_version(), format!("{}List", asked.kind.kind)),
            View::Metadata => (
                "meta.k8s.io/v1".to_owned(),
                "PartialObjectMetadataList".to_owned(),
            ),
        };
        Ok(json!({"apiVersion": api, "kind": kind, "metadata": metadata, "items": items}))
    }

    /// The objects of a path as they were at a version that is still remembered.
    pub(super) fn at(&self, asked: &Asked, version: u64) -> BTreeMap<Key, Arc<Value>> {
        let resource = asked.kind.resource();
        let here = |key: &Key| {
            key.resource == resource
                && asked
                    .target
                    .namespace
                    .as_ref()
                    .is_none_or(|name| *name == key.namespace)
        };
        let mut objects: BTreeMap<Key, Arc<Value>> = self
            .objects
            .iter()
            .filter(|(key, _)| here(key))
            .map(|(key, object)| (key.clone(), object.clone()))
            .collect();
        let later = self
            .history
            .iter()
            .rev()
            .take_while(|change| change.version > version);
        for change in later.filter(|change| here(&change.key)) {
            match &change.old {
                Some(old) => objects.insert(change.key.clone(), old.clone()),
                None => objects.remove(&change.key),
            };
        }
        objects
    }
}

/// A place in a list that is read in pages.
struct Page {
    version: u64,
    after: Key,
}

impl Page {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parts = text.splitn(4, '/').map(str::to_owned);
        let mut next = || {
            parts
                .next()
                .ok_or_else(|| Refusal::bad("continue key is not valid: it was not made here"))
        };
        let version = next()?
            .parse()
            .map_err(|_| Refusal::bad("continue key is not valid"))?;
        Ok(Self {
            version,
            after: Key {
                resource: next()?,
                namespace: next()?,
                name: next()?,
            },
        })
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Key {
            resource,
            namespace,
            name,
        } = &self.after;
        write!(out, "{}/{resource}/{namespace}/{name}", self.version)
    }
}
