//! When the living key is replaced: before its end, in a window if there are windows; and the end of
//! an ApiKey that has one key only.

use jiff::Timestamp;

use super::{Published, Seen, keys, making};
use crate::api::conditions::Reason;
use crate::api::{RenewBefore, RotationMode};
use crate::plan::Stop;
use crate::plan::rotation::{self, Occasion, after};
use crate::plan::window::Windows;

/// Whether the key's time has come, and another one would live longer, or shorter where it must.
pub(super) fn worn(seen: &Seen, key: &Published) -> bool {
    let too_long = lives_too_long(seen, key);
    if !too_long && wakes_at(seen, key) > seen.now {
        return false;
    }
    let last = never_ends(seen).is_some_and(|end| !rotation::clearly_later(end, key.expires_at));
    let longer = || {
        let end = keys::ends_at(seen, key);
        let more = |at: Timestamp| at.duration_since(end);
        // Of a short life a small part is much.
        let much = rotation::SAME.min(end.duration_since(key.created_at) / 10);
        making::wanted_end(seen, Occasion::Replacement, seen.now)
            .is_ok_and(|next| more(next.at) > much)
    };
    !last && (too_long || longer())
}

/// The end of an ApiKey with `rotation.mode: Never`, once it is recorded.
pub(super) fn never_ends(seen: &Seen) -> Option<Timestamp> {
    let never = seen.object.spec.rotation.mode == RotationMode::Never;
    seen.object.intent.ours()?.ends_at.filter(|_| never)
}

/// Whether a key lives longer than its manifest, as it is now, allows.
fn lives_too_long(seen: &Seen, key: &Published) -> bool {
    seen.object.spec.lifetime.as_ref().is_some_and(|lifetime| {
        rotation::clearly_later(key.expires_at, after(key.created_at, lifetime.duration()))
    })
}

/// Between which dates the living key is to be replaced.
fn due(seen: &Seen, key: &Published) -> rotation::Due {
    let before = seen.object.spec.rotation.renew_before.as_ref();
    let before = before.map(|before| match before {
        RenewBefore::Period(period) => rotation::Before::Period(period.duration()),
        RenewBefore::Percent(percent) => rotation::Before::Percent(*percent),
    });
    rotation::due(
        key.created_at,
        keys::ends_at(seen, key),
        before,
        seen.object.uid.as_str(),
    )
}

/// The manifest's windows.
///
/// # Errors
/// `Invalid` when one of them makes no sense: a first key waits for a better manifest. A rotation
/// does not: it takes place as if there were no windows.
pub(super) fn windows(seen: &Seen) -> Result<&Windows, Stop> {
    let windows = seen.object.windows.as_ref();
    windows.map_err(|why| Stop::new(Reason::Invalid, why))
}

/// The first date from then on at which the key may be replaced.
fn next(seen: &Seen, key: &Published, from: Timestamp) -> Timestamp {
    let due = due(seen, key);
    let from = from.max(due.from);
    let open = windows(seen).map_or(Some(from), |windows| windows.open_from(from, due.at_last));
    open.unwrap_or_else(|| from.max(due.at_last))
}

/// When the living key is due for replacement, as people read it: the same at every look.
pub(super) fn rotate_at(seen: &Seen, key: &Published) -> Timestamp {
    next(seen, key, Timestamp::MIN)
}

/// When the living key is next to be replaced: now, when its time has come and a window is open.
pub(super) fn wakes_at(seen: &Seen, key: &Published) -> Timestamp {
    next(seen, key, seen.now)
}
