//! Which account on the server this ServiceAccount means, and that it is that one.

use super::{Lookup, Maker, Remote, Route, Seen, Step};
use crate::api::Management;
use crate::api::conditions::Reason;
use crate::plan::Stop;
use crate::plan::marker::digest;
use crate::plan::port::{AccountId, RemoteAccount};

/// Looks the pinned account up, whatever else stands in its way: its keys can be revoked only once
/// the server has shown whose they are.
pub(super) fn identify(seen: &Seen, route: &Route) -> Option<Step> {
    let pins = &seen.object.pins;
    let here = pins.server.as_ref() == Some(&route.reach.identity);
    let unknown = pins.account.is_some() && here && seen.remote == Remote::Unknown;
    unknown.then(|| Step::Find(lookup(seen, route)))
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
            (
                account.username.to_lowercase() == wanted.to_lowercase(),
                wanted,
            )
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
        Some(_) | None => Lookup::Name(username(seen, route)),
    }
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
