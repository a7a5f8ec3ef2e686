//! What a key has on its server besides its value, where the server keeps it: fields that tell of us,
//! metadata, role descriptors, and whether it works. A change in the manifest goes to the living key.

use jiff::SignedDuration;

use super::keys::{current, list, own};
use super::{Freshness, Object, Seen, Step};
use crate::api::{ApiKeySpec, CurrentKey};
use crate::plan::Stop;
use crate::plan::kept::{bounded, unreserved};
use crate::plan::marker::Marker;
use crate::plan::port::{Ability, Activity, Change, Extras, RemoteKey, Wish};
use crate::plan::rotation::after;

/// What this manifest asks for besides the key itself.
pub(super) fn extras(spec: &ApiKeySpec) -> Extras {
    let stack_storm = spec.stack_storm.iter().map(|key| &key.metadata);
    let elasticsearch = spec.elasticsearch.iter().map(|key| &key.metadata);
    let roles = spec.elasticsearch.as_ref().map(|key| &key.role_descriptors);
    Extras {
        metadata: stack_storm
            .chain(elasticsearch)
            .next()
            .cloned()
            .unwrap_or_default(),
        role_descriptors: roles.cloned().unwrap_or_default(),
    }
}

/// What the text of a key says, as fields.
pub(super) fn notes(object: &Object) -> Vec<(&'static str, String)> {
    let home = format!("{}/{}", object.namespace, object.name);
    [
        ("purpose", object.spec.purpose.clone()),
        ("onBehalfOf", object.spec.on_behalf_of.clone()),
        ("requestedBy", object.requested_by.clone()),
        ("apiKey", Some(home)),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name, text?)))
    .collect()
}

/// What the manifest asks for that no server of this kind can do.
pub(super) fn unfit(spec: &ApiKeySpec, ability: &Ability) -> Result<(), Stop> {
    let asked = [
        (
            spec.stack_storm.is_some(),
            Wish::StackStormKey,
            "spec.stackStorm",
        ),
        (
            spec.elasticsearch.is_some(),
            Wish::ElasticsearchKey,
            "spec.elasticsearch",
        ),
    ];
    ability.refuse(asked)?;
    if let Some(key) = &spec.stack_storm {
        bounded(key.metadata.to_string().len(), "spec.stackStorm.metadata")?;
        unreserved(&key.metadata, '$')?;
    }
    if let Some(key) = &spec.elasticsearch {
        bounded(
            key.metadata.to_string().len(),
            "spec.elasticsearch.metadata",
        )?;
        let roles = key.role_descriptors.iter();
        let roles = roles.map(|(name, role)| name.len() + role.to_string().len());
        bounded(roles.sum(), "spec.elasticsearch.roleDescriptors")?;
        unreserved(&key.metadata, '_')?;
    }
    Ok(())
}

/// Changes the living key where the manifest asks for something else than the server shows.
pub(super) fn adjust(seen: &Seen) -> Option<Step> {
    let ability = &seen.base.server.as_ref().ok()?.ability;
    let may = [Wish::StackStormKey, Wish::ElasticsearchKey];
    let may = may.iter().any(|wish| ability.wishes.contains(wish));
    let spec = &seen.object.spec;
    if !may || spec.suspend || unfit(spec, ability).is_err() {
        return None;
    }
    let key = current(seen)?;
    // The note of its id is an annotation, which may have been written by anybody: the key has our marker.
    let is_it =
        |(shown, marker): &(&RemoteKey, Marker)| shown.id == key.id && marker.nonce == key.nonce;
    let Some((shown, _)) = own(seen).find(is_it) else {
        // The manifest has changed since the key was made: what the key has is to be seen first.
        let status = &seen.object.status;
        let known = |current: &CurrentKey| current.id == key.id.as_str();
        let mirrored = status.current.as_ref().is_some_and(known);
        let changed = mirrored && status.observed_generation != seen.object.generation;
        let looked = list(seen).is_some_and(|list| list.began >= seen.pass.began);
        let newer_than = after(seen.pass.began, -SignedDuration::from_millis(1));
        let may_look = changed && !seen.pass.blind && !looked;
        return may_look.then_some(Step::Look { newer_than });
    };
    let wanted = wanted(seen, shown);
    if shown.extras == wanted.extras.digest() && shown.activity == wanted.activity {
        return None;
    }
    Some(match seen.freshness {
        Freshness::Cached => Step::Refresh,
        Freshness::Live => Step::Adjust {
            id: key.id.clone(),
            change: Box::new(wanted),
        },
    })
}

/// What the living key shall have.
fn wanted(seen: &Seen, shown: &RemoteKey) -> Change {
    let disabled = seen
        .object
        .spec
        .stack_storm
        .as_ref()
        .is_some_and(|key| !key.enabled);
    Change {
        text: shown.text.clone(),
        notes: notes(&seen.object),
        extras: extras(&seen.object.spec),
        activity: if disabled {
            Activity::Disabled
        } else {
            Activity::Enabled
        },
    }
}
