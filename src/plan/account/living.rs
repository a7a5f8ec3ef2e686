//! An account that is wanted.

use super::{Lookup, Maker, Pins, Remote, Route, Seen, Step, status, sweep};
use crate::api::conditions::Reason;
use crate::api::{AccountOrigin, Management, ServiceAccountSpec, Team};
use crate::plan::key::{Finalizer, Freshness};
use crate::plan::marker::digest;
use crate::plan::port::{
    AccountDraft, AccountId, Activity, Nature, RemoteAccount, TeamId, TeamRef,
};
use crate::plan::rotation::after;
use crate::plan::{LANDS_WITHIN, Stop};

/// The next step for an account that is wanted.
pub(super) fn step(seen: &Seen) -> Step {
    if let Some(pins) = &seen.pass.forget {
        return Step::Pin(pins.clone());
    }
    if seen.pass.setback.is_none() {
        // Keys that nobody has go whatever else stands against the account.
        let next = keep(seen).unwrap_or_default();
        let sweep = || sweep::step(seen).filter(|_| is_swept(seen));
        if let Some(step) = next.or_else(sweep) {
            return step;
        }
    }
    status::record(seen).unwrap_or(Step::Idle)
}

/// Whether the keys of this account are looked after, even if something stands against the account.
fn is_swept(seen: &Seen) -> bool {
    let (Ok(route), Remote::Found(account)) = (&seen.connection, &seen.remote) else {
        return false;
    };
    let here = seen.object.pins.server.as_ref() == Some(&route.reach.identity);
    here && seen.object.pins.account.is_some() && pinned(seen, route, account).is_ok()
}

/// The next effect that makes the account what is declared, or what stands against it.
pub(super) fn keep(seen: &Seen) -> Result<Option<Step>, Stop> {
    let route = seen.connection.as_ref().map_err(Clone::clone)?;
    if let Some(step) = identify(seen, route) {
        return Ok(Some(step));
    }
    permitted(seen, route)?;
    if seen.object.pins.account.is_none() {
        return claim(seen, route).map(Some);
    }
    if seen.object.finalizer == Finalizer::Missing {
        // `kubectl replace` drops it.
        return Ok(Some(Step::Pin(seen.object.pins.clone())));
    }
    if let Some(rival) = &seen.rival {
        return Err(conflict(rival));
    }
    match &seen.remote {
        Remote::Unknown => Ok(Some(Step::Find(lookup(seen, route)))),
        Remote::Absent => lost(seen, route),
        Remote::Found(account) => {
            pinned(seen, route, account)?;
            match seen.object.spec.management {
                Management::Managed => managed(seen, account),
                Management::Observed | Management::Own => works(account).map(|()| None),
            }
        }
    }
}

/// Looks the pinned account up, whatever else stands in its way: its keys can be revoked only once
/// the server has shown whose they are.
fn identify(seen: &Seen, route: &Route) -> Option<Step> {
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

fn conflict(rival: &str) -> Stop {
    Stop::new(
        Reason::AccountConflict,
        format!(
            "ServiceAccount {rival} manages this account already. {}",
            Reason::AccountConflict.fix()
        ),
    )
}

/// What stands against this account whatever the server says.
fn permitted(seen: &Seen, route: &Route) -> Result<(), Stop> {
    if let Some(what) = not_supported_yet(&seen.object.spec) {
        return Err(Stop::unserved(what));
    }
    seen.grant.as_ref().map_err(Clone::clone)?;
    let pins = &seen.object.pins;
    if pins
        .server
        .as_ref()
        .is_some_and(|server| *server != route.reach.identity)
    {
        return Err(Stop::plain(Reason::IdentityChanged));
    }
    Ok(())
}

fn not_supported_yet(spec: &ServiceAccountSpec) -> Option<&'static str> {
    let octopus = spec.octopus.as_ref();
    [
        (
            octopus.is_some_and(|octopus| !octopus.external_logins.is_empty()),
            "spec.octopus.externalLogins",
        ),
        (
            octopus.is_some_and(|octopus| !octopus.oidc_identities.is_empty()),
            "spec.octopus.oidcIdentities",
        ),
        (spec.elasticsearch.is_some(), "spec.elasticsearch"),
        (spec.realm.is_some(), "spec.realm"),
        (
            spec.foreign_keys != crate::api::ForeignKeys::Report,
            "spec.foreignKeys Revoke",
        ),
    ]
    .into_iter()
    .find_map(|(asked, what)| asked.then_some(what))
}

/// Finds, adopts or creates an account that is not pinned yet.
fn claim(seen: &Seen, route: &Route) -> Result<Step, Stop> {
    if seen.object.spec.management == Management::Own {
        return Ok(Step::Pin(pin(
            seen,
            route,
            route.own.id.clone(),
            Maker::Somebody,
        )));
    }
    let username = username(seen, route);
    match &seen.remote {
        Remote::Unknown => Ok(Step::Find(Lookup::Name(username))),
        Remote::Found(account) => take(seen, route, account),
        Remote::Absent if seen.object.spec.management == Management::Observed => Err(Stop::new(
            Reason::AccountNotFound,
            format!(
                "There is no account {username} on the server. {}",
                Reason::AccountNotFound.fix()
            ),
        )),
        Remote::Absent => create(seen, route, username),
    }
}

/// Takes an account that exists, if it may be taken.
fn take(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<Step, Stop> {
    let spec = &seen.object.spec;
    let mine = seen.object.pins.free_at.is_some();
    if spec.management == Management::Observed {
        return Ok(Step::Pin(pin(
            seen,
            route,
            account.id.clone(),
            Maker::Somebody,
        )));
    }
    if account.nature == Nature::Human {
        return Err(Stop::new(
            Reason::AccountExists,
            format!(
                "{} is the account of a person, which is never managed. Choose another spec.username, or declare the account as Observed.",
                account.username
            ),
        ));
    }
    not_our_own(seen, route, account)?;
    if mine {
        // The name was free when we asked for it, and no answer came: it is ours.
        return Ok(Step::Pin(pin(seen, route, account.id.clone(), Maker::Us)));
    }
    let status = &seen.object.status;
    if status.id.as_deref() == Some(account.id.as_str())
        && status.origin == Some(AccountOrigin::Created)
    {
        // `kubectl replace` drops what is durable; status still tells of the account that was made for
        // this ServiceAccount.
        return Ok(Step::Pin(pin(seen, route, account.id.clone(), Maker::Us)));
    }
    if !spec.adopt {
        return Err(Stop::new(
            Reason::AccountExists,
            format!(
                "Account {} exists on the server already. {}",
                account.username,
                Reason::AccountExists.fix()
            ),
        ));
    }
    Ok(Step::Pin(pin(
        seen,
        route,
        account.id.clone(),
        Maker::Somebody,
    )))
}

/// Creates the account, once it is recorded that its name was free.
fn create(seen: &Seen, route: &Route, username: String) -> Result<Step, Stop> {
    let claimed = seen.object.pins.free_at;
    if claimed.is_some() && claimed == seen.pass.claimed {
        // Kubernetes may have removed the object all the same: see `controllers::account`.
        return Ok(match seen.freshness {
            Freshness::Cached => Step::Refresh,
            Freshness::Live => Step::Create(draft(seen, username)),
        });
    }
    let landed = claimed.map(|at| after(at, LANDS_WITHIN));
    if landed.is_some_and(|landed| seen.now <= landed) {
        return Err(Stop::new(
            Reason::WaitingForAccount,
            "The creation of the account got no answer and may still land on the server; it is looked for again within a minute.",
        ));
    }
    // Only a look of this very pass, later than all that may land, shows a name to be free.
    let looked = seen
        .pass
        .found_at
        .is_some_and(|at| at >= seen.pass.began && landed.is_none_or(|landed| at > landed));
    if !looked {
        return Ok(Step::Find(Lookup::Name(username)));
    }
    let pins = Pins {
        server: Some(route.reach.identity.clone()),
        installation: Some(seen.claim.installation.clone()),
        free_at: Some(seen.now),
        ..seen.object.pins.clone()
    };
    Ok(Step::Pin(pins))
}

fn pin(seen: &Seen, route: &Route, account: AccountId, maker: Maker) -> Pins {
    Pins {
        account: Some(account),
        server: Some(route.reach.identity.clone()),
        installation: Some(seen.claim.installation.clone()),
        free_at: None,
        maker,
        ..seen.object.pins.clone()
    }
}

/// An account that was pinned and is not there any more.
fn lost(seen: &Seen, route: &Route) -> Result<Option<Step>, Stop> {
    let pins = &seen.object.pins;
    if seen.pass.found_at.is_none_or(|at| at < seen.pass.began) {
        return Ok(Some(Step::Find(lookup(seen, route))));
    }
    if seen.object.spec.management == Management::Managed && pins.maker == Maker::Us {
        // It is made anew, under another id; its keys died with it.
        let pins = Pins {
            account: None,
            free_at: None,
            maker: Maker::Somebody,
            added: std::collections::BTreeSet::new(),
            ..pins.clone()
        };
        return Ok(Some(Step::Pin(pins)));
    }
    Err(Stop::new(
        Reason::AccountNotFound,
        format!(
            "The account {} is not on the server any more. {}",
            username(seen, route),
            Reason::AccountNotFound.fix()
        ),
    ))
}

/// Keeps a managed account as declared.
fn managed(seen: &Seen, account: &RemoteAccount) -> Result<Option<Step>, Stop> {
    if account.nature == Nature::Human {
        return Err(Stop::new(
            Reason::AccountExists,
            format!(
                "{} is the account of a person, which is never managed.",
                account.username
            ),
        ));
    }
    let wanted = draft(seen, account.username.clone());
    let email_differs = wanted.email.is_some() && wanted.email != account.email;
    if wanted.display_name != account.display_name
        || wanted.activity != account.activity
        || email_differs
    {
        return Ok(Some(Step::Update(account.id.clone(), wanted)));
    }
    if let Some(step) = teams(seen, account)? {
        return Ok(Some(step));
    }
    works(account).map(|()| None)
}

/// Whether the account's keys work.
fn works(account: &RemoteAccount) -> Result<(), Stop> {
    match account.activity {
        Activity::Enabled => Ok(()),
        Activity::Disabled => Err(Stop::plain(Reason::AccountDisabled)),
    }
}

/// Joins declared teams, and leaves those that we joined and nobody declares any more.
fn teams(seen: &Seen, account: &RemoteAccount) -> Result<Option<Step>, Stop> {
    let pins = &seen.object.pins;
    let mut wanted = Vec::new();
    for team in declared(&seen.object.spec) {
        let Some((_, found)) = seen.teams.iter().find(|(known, _)| *known == team) else {
            return Ok(Some(Step::FindTeam(team)));
        };
        let Some(found) = found else {
            return Err(no_team(&team));
        };
        wanted.push(found.id.clone());
        if !found.members.contains(&account.id) {
            // What we add is recorded before it is added, so that it can be taken back.
            if pins.added.contains(&found.id) {
                return Ok(Some(Step::Join(found.id.clone(), account.id.clone())));
            }
            let mut pins = pins.clone();
            pins.added.insert(found.id.clone());
            return Ok(Some(Step::Pin(pins)));
        }
    }
    Ok(pins
        .added
        .iter()
        .find(|team| !wanted.contains(team))
        .map(|team| leave(seen, team, account)))
}

/// Leaves a team, and forgets it once left.
pub(super) fn leave(seen: &Seen, team: &TeamId, account: &RemoteAccount) -> Step {
    let reference = TeamRef::Id(team.clone());
    match seen.teams.iter().find(|(known, _)| *known == reference) {
        None => Step::FindTeam(reference),
        Some((_, Some(found))) if found.members.contains(&account.id) => {
            Step::Leave(team.clone(), account.id.clone())
        }
        Some(_) => {
            let mut pins = seen.object.pins.clone();
            pins.added.remove(team);
            Step::Pin(pins)
        }
    }
}

fn no_team(team: &TeamRef) -> Stop {
    let which = match team {
        TeamRef::Id(id) => id.to_string(),
        TeamRef::Name { name, space: None } => name.clone(),
        TeamRef::Name {
            name,
            space: Some(space),
        } => format!("{name} of space {space}"),
    };
    Stop::new(
        Reason::TeamNotFound,
        format!(
            "There is no team {which} on the server. {}",
            Reason::TeamNotFound.fix()
        ),
    )
}

fn declared(spec: &ServiceAccountSpec) -> Vec<TeamRef> {
    let reference = |team: &Team| match (&team.id, &team.name) {
        (Some(id), _) => TeamRef::Id(TeamId::new(id)),
        (None, name) => TeamRef::Name {
            name: name.clone().unwrap_or_default(),
            space: team.space.clone(),
        },
    };
    spec.octopus
        .iter()
        .flat_map(|octopus| &octopus.teams)
        .map(reference)
        .collect()
}

fn draft(seen: &Seen, username: String) -> AccountDraft {
    let spec = &seen.object.spec;
    AccountDraft {
        display_name: spec
            .display_name
            .clone()
            .unwrap_or_else(|| username.clone()),
        username,
        email: spec.email.clone(),
        activity: if spec.disabled {
            Activity::Disabled
        } else {
            Activity::Enabled
        },
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

/// Why no key may be made for this account now, if that is so.
pub fn mint_stop(seen: &Seen) -> Option<Stop> {
    if seen.object.deleting.is_some() {
        return Some(Stop::new(
            Reason::WaitingForAccount,
            "The ServiceAccount is being deleted. Make another one.",
        ));
    }
    let stop = seen
        .pass
        .setback
        .as_ref()
        .map(|setback| setback.stop.clone())
        .or_else(|| keep(seen).err())?;
    // A disabled account is the account's own affair; all else is what the account waits for.
    Some(match stop.reason {
        Reason::AccountDisabled | Reason::NotGranted => stop,
        _ => Stop::new(
            Reason::WaitingForAccount,
            format!(
                "ServiceAccount {} is not ready ({}): {}",
                seen.object.name,
                stop.reason.as_str(),
                stop.message
            ),
        ),
    })
}

/// Why the account's keys do not work now, if that is known.
pub fn works_stop(seen: &Seen) -> Option<Stop> {
    match &seen.remote {
        Remote::Found(account) => works(account).err(),
        Remote::Absent | Remote::Unknown => None,
    }
}
