//! Which account on the server this ServiceAccount means, and that it is that one.

use jiff::SignedDuration;

use super::{Lookup, Maker, Object, Pins, Remote, Route, Seen, Step};
use crate::api::conditions::Reason;
use crate::api::{AccountOrigin, Management};
use crate::plan::Stop;
use crate::plan::grant::Adopt;
use crate::plan::marker::digest;
use crate::plan::port::{AccountId, AccountName, Letters, Nature, Origin, RemoteAccount};
use crate::plan::rotation::after;

/// How far apart the clocks of the server and of the API server may be, beyond the skew.
const CLOCKS: SignedDuration = SignedDuration::from_secs(60);

/// Looks the pinned account up, whatever else stands in its way: its keys can be revoked only once
/// the server has shown whose they are.
pub(super) fn identify(seen: &Seen, route: &Route) -> Option<Step> {
    let pins = &seen.object.pins;
    let here = pins.server.as_ref() == Some(&route.reach.identity);
    let unknown = pins.account.is_some() && here && seen.remote == Remote::Unknown;
    unknown.then(|| Step::Find(lookup(seen, route)))
}

/// Whether the account may be changed: it is nobody's person, and was made for this ServiceAccount, or
/// may be taken over.
pub(super) fn may_be_managed(seen: &Seen, account: &RemoteAccount) -> bool {
    let ours = || may_adopt(seen) || is_ours(seen, account);
    account.nature != Nature::Human && ours()
}

/// Whether an account that was there before may be taken over: also in the end, when a wish beyond the
/// grant stands in the way of nothing else.
pub(super) fn may_adopt(seen: &Seen) -> bool {
    let refused = matches!(&seen.grant, Ok(grant) if grant.adopt == Adopt::Refused);
    seen.object.spec.adopt && !refused
}

/// Whether the account was made for this ServiceAccount. Whoever may write a ServiceAccount may have
/// written that it was, but not when the two were made.
pub(super) fn is_ours(seen: &Seen, account: &RemoteAccount) -> bool {
    let Object { pins, status, .. } = &seen.object;
    // `kubectl replace` drops what is durable, and status still tells.
    let mirrored = pins.account.is_none()
        && status.id.as_deref() == Some(account.id.as_str())
        && status.origin == Some(AccountOrigin::Created);
    (mirrored || is_told_ours(pins)) && !is_anothers(seen, account)
}

/// Whether we have noted that the account was made by us, or that its name was free when we asked for
/// it.
pub(super) fn is_told_ours(pins: &Pins) -> bool {
    pins.maker == Maker::Us || pins.account.is_none() && pins.free_at.is_some()
}

/// Whether the server tells that the account was not made for this ServiceAccount: it was there before,
/// or is another one's. The skew is between the server and us, and either may be the one that is not
/// with the API server: the later of the two dates counts.
pub(super) fn is_anothers(seen: &Seen, account: &RemoteAccount) -> bool {
    let skew = seen.connection.as_ref().map(|route| route.reach.skew);
    let ahead = skew.unwrap_or_default().min(SignedDuration::ZERO);
    match &account.origin {
        Origin::MadeAt(at) => after(*at, CLOCKS - ahead) < seen.object.created_at,
        Origin::StampedFor(uid) => uid != seen.object.uid.as_str(),
        Origin::Unstamped => true,
        Origin::Untold => false,
    }
}

/// The connection's own account is nobody's to manage.
pub(super) fn not_our_own(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<(), Stop> {
    if seen.object.spec.management != Management::Managed || account.id != route.own.id {
        return Ok(());
    }
    Err(Stop::new(
        Reason::AccountExists,
        "This is the connection's own account. Declare it with management Self, or choose another spec.username.",
    ))
}

/// That the pinned account is the one that the manifest names and the grant covers: whoever may
/// write the ServiceAccount may have written another id into its annotation.
pub(super) fn same(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<(), Stop> {
    let (is_same, wanted) = match seen.object.spec.management {
        Management::Own => (account.id == route.own.id, route.own.username.clone()),
        Management::Managed | Management::Observed => {
            let wanted = username(seen, route);
            let is_same = match route.reach.ability.letters {
                Letters::Alike => account.username.to_lowercase() == wanted.to_lowercase(),
                Letters::Apart => account.username == wanted,
            };
            (is_same, wanted)
        }
    };
    if is_same {
        return Ok(());
    }
    Err(Stop::new(
        Reason::AccountNotFound,
        format!(
            "Account {} is not {wanted} on the server. Give it that name there, or take the annotation apikeys.dev/account-id off this ServiceAccount.",
            account.id
        ),
    ))
}

/// Whether it is enough to know that there is no account of the pinned id: ours is made anew then, and
/// the connection's own has no other name. Of any other, whoever may write the ServiceAccount may
/// have written an id into its annotation that nobody has: it is looked up by its name as well.
pub(super) fn is_known_by_id(seen: &Seen) -> bool {
    let object = &seen.object;
    match object.spec.management {
        Management::Own => true,
        Management::Managed => object.deleting.is_none() && object.pins.maker == Maker::Us,
        Management::Observed => false,
    }
}

/// How to look the account up: by its id, and, when there is none of that id, by its name.
pub(super) fn lookup(seen: &Seen, route: &Route) -> Lookup {
    match &seen.object.pins.account {
        Some(id) if !seen.pass.missed => Lookup::Id(id.clone()),
        Some(_) | None => by_name(seen, username(seen, route)),
    }
}

/// Looks for the account of this name, in the realm that is declared.
pub(super) fn by_name(seen: &Seen, username: String) -> Lookup {
    Lookup::Name(AccountName {
        username,
        realm: seen.object.spec.realm.clone(),
    })
}

/// That the account is the one that was pinned.
pub(super) fn pinned(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<(), Stop> {
    same(seen, route, account)?;
    not_our_own(seen, route, account)?;
    match &seen.object.pins.account {
        Some(id) if *id != account.id => Err(Stop::new(
            Reason::AccountNotFound,
            format!(
                "There is no account {id} on the server, and {} is {} there. Put {} into the annotation apikeys.dev/account-id of this ServiceAccount if that is the one, or take the annotation off.",
                account.username, account.id, account.id
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The account, once the server has shown that it is the declared one; or that there is none any
/// more, and will not be, and that its keys are gone with it.
pub fn verified(seen: &Seen) -> Option<&AccountId> {
    let route = seen.connection.as_ref().ok()?;
    let pinned = seen.object.pins.account.as_ref()?;
    if seen.object.pins.server.as_ref() != Some(&route.reach.identity) {
        return None;
    }
    match &seen.remote {
        Remote::Found(account) => {
            (*pinned == account.id && same(seen, route, account).is_ok()).then_some(pinned)
        }
        Remote::Absent => (!is_known_by_id(seen)).then_some(pinned),
        Remote::Unknown => None,
    }
}

pub(super) fn username(seen: &Seen, route: &Route) -> String {
    let object = &seen.object;
    object.spec.username.clone().unwrap_or_else(|| {
        default_username(
            &object.namespace,
            &object.name,
            route.reach.ability.username_chars,
        )
    })
}

/// `<namespace>.<name>`, cut, with a hash of the whole at its end, where the server allows no more.
pub fn default_username(namespace: &str, name: &str, limit: usize) -> String {
    let whole = format!("{namespace}.{name}");
    if whole.chars().count() <= limit {
        return whole;
    }
    let hash = digest(&[namespace, name]);
    let room = limit.saturating_sub(hash.len() + 1);
    format!("{}-{hash}", whole.chars().take(room).collect::<String>())
}
