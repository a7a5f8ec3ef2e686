//! Workloads that read the key when they start are restarted after it was replaced: once for each key,
//! and once for all keys of one workload that were replaced within a short time.
//!
//! A restart counts, whoever asked for it, when it began after no write of the Secret could be on its
//! way any more. So nothing has to be remembered: the workload itself says when it was restarted.

use jiff::{SignedDuration, Timestamp};

use super::{Owner, Published, Seen, Step, keys};
use crate::api::{Restarted, Workload, time};
use crate::plan::rotation::after;
use crate::plan::{PUBLISH_WITHIN, Stop};

/// The Secret's last write can take so long to land.
const LANDING: SignedDuration = SignedDuration::from_secs(1);
/// For so long a restart waits for other keys of the same workload.
const TOGETHER: SignedDuration = SignedDuration::from_mins(2);

/// Restarts one workload whose time has come.
pub(super) fn restart(seen: &Seen) -> Option<Step> {
    let key = replaced(seen)?;
    let workload = waiting(seen, key).find(|workload| {
        seen.pass
            .unrestarted
            .iter()
            .all(|(tried, _)| tried != *workload)
    })?;
    (at(seen, key) <= seen.now).then(|| Step::Restart {
        workload: workload.clone(),
        since: since(key.created_at),
    })
}

/// When workloads are to be restarted next.
pub(super) fn due(seen: &Seen) -> Option<Timestamp> {
    let key = replaced(seen)?;
    waiting(seen, key).next()?;
    Some(at(seen, key)).filter(|at| *at > seen.now)
}

/// Why a workload could not be restarted.
pub(super) fn refused(seen: &Seen) -> Option<&Stop> {
    seen.pass.unrestarted.first().map(|(_, why)| why)
}

/// What people read: the workloads of the manifest that were restarted.
pub(super) fn restarted(seen: &Seen) -> Vec<Restarted> {
    let before = &seen.object.status.restarted;
    let known = seen.pass.restarted.iter().chain(before);
    let of = |workload: &Workload| known.clone().find(|known| is(known, workload)).cloned();
    seen.object.spec.restart.iter().filter_map(of).collect()
}

/// The living key, when workloads may have started with another one.
fn replaced(seen: &Seen) -> Option<&Published> {
    let key = keys::current(seen).filter(|_| !seen.object.spec.suspend)?;
    let adopted = seen.secret.ours()?.owner == Owner::Adopted;
    (adopted || key.serial.number() > 1).then_some(key)
}

/// From when on a restart reads the Secret with the key that was made then.
fn since(created_at: Timestamp) -> Timestamp {
    after(created_at, PUBLISH_WITHIN + LANDING)
}

/// When the workloads are restarted: with those of other keys that are due soon after.
fn at(seen: &Seen, key: &Published) -> Timestamp {
    let own = since(key.created_at);
    let together = own..=after(own, TOGETHER);
    // Their status has whole seconds.
    let kin = seen.object.kin.iter();
    let kin = kin.map(|created_at| since(after(*created_at, LANDING)));
    kin.filter(|at| together.contains(at))
        .fold(own, Timestamp::max)
}

/// The workloads of the manifest that have not been restarted with this key.
fn waiting<'a>(seen: &'a Seen, key: &Published) -> impl Iterator<Item = &'a Workload> + use<'a> {
    // Status has whole seconds.
    let since = time(since(key.created_at)).0;
    let done = restarted(seen);
    let waits = move |workload: &&Workload| {
        !done
            .iter()
            .any(|known| is(known, workload) && known.at.0 >= since)
    };
    seen.object.spec.restart.iter().filter(waits)
}

fn is(known: &Restarted, workload: &Workload) -> bool {
    known.kind == workload.kind && known.name == workload.name
}
