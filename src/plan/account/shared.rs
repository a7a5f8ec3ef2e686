//! Whether another cluster makes keys under our name: a copy of this one, or this one as it was
//! before it was put back from a backup.
//!
//! It is told by a key of a living ApiKey that none of its attempts can have made, and noted on the
//! ServiceAccount, where it stands until a person takes it off: what is the other cluster's could
//! not be told from our own strays and orphans.

use super::{Object, Pins, Records, Seen, Step};
use crate::api::annotation;
use crate::api::conditions::Reason;
use crate::plan::Stop;
use crate::plan::marker::Installation;
use crate::plan::port::RemoteKey;
use crate::plan::record::Uid;
use crate::plan::rotation::after;
use crate::plan::sweep::Origin;

/// That nobody else is known to go by this installation's name on this account.
///
/// # Errors
/// `IdentityShared`, when somebody is.
pub fn unshared(object: &Object, ours: &Installation) -> Result<(), Stop> {
    if object.pins.shared.as_ref() != Some(ours) {
        return Ok(());
    }
    Err(Stop::new(
        Reason::IdentityShared,
        format!(
            "There are keys of installation {ours} on this account that no ApiKey of this cluster has made, so nothing is revoked or deleted. If a copy of this cluster is at work, give one of the two another installation id (--installation, in the chart: installation) and rotate the ApiKeys of that one; if this cluster was put back from a backup, and they are its own of before, rotate its ApiKeys. Then take the note off (kubectl annotate serviceaccounts.apikeys.dev {} {}-).",
            object.name,
            annotation::IDENTITY_SHARED
        ),
    ))
}

/// Notes that there is another cluster, once the ApiKey concerned was read after the list.
pub(super) fn step(seen: &Seen) -> Option<Step> {
    let uid = suspect(seen)?;
    Some(if seen.pass.inspected.contains(&uid) {
        Step::Pin(Pins {
            shared: Some(seen.claim.installation.clone()),
            ..seen.object.pins.clone()
        })
    } else {
        Step::Inspect(uid)
    })
}

/// The first ApiKey of which there is a key that it cannot have made.
fn suspect(seen: &Seen) -> Option<Uid> {
    let mut keys = seen.list.iter().flat_map(|list| list.keys.iter());
    keys.find_map(|key| another(seen, key))
}

fn another(seen: &Seen, key: &RemoteKey) -> Option<Uid> {
    let route = seen.connection.as_ref().ok()?;
    let Origin::Ours(marker) = seen.claim.origin(key) else {
        return None;
    };
    let resident = seen.census.keys.get(&marker.uid)?;
    let recorded = match &resident.records {
        Records::Keys { current, retiring } => {
            current.contains(&key.id) || retiring.contains(&key.id)
        }
        Records::Everything => true,
    };
    let made_at = after(key.created_at, -route.reach.skew);
    let is_anothers = !recorded && resident.attempts.exclude(&marker, made_at);
    is_anothers.then_some(marker.uid)
}
