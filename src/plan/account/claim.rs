//! Finding, taking over or creating an account that is not pinned yet; and one that is gone.

use super::identity::{
    by_name, is_ours, is_told_ours, lookup, may_be_managed, not_our_own, username,
};
use super::living::on_the_present;
use super::{Maker, Pins, Remote, Route, Seen, Step, sweep};
use crate::api::Management;
use crate::api::conditions::Reason;
use crate::plan::port::{AccountDraft, AccountId, Accounts, Activity, Nature, RemoteAccount};
use crate::plan::rotation::after;
use crate::plan::{LANDS_WITHIN, Stop};

/// Finds, adopts or creates an account that is not pinned yet.
pub(super) fn claim(seen: &Seen, route: &Route) -> Result<Step, Stop> {
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
        Remote::Unknown => Ok(Step::Find(by_name(seen, username))),
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
pub(super) fn take(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<Step, Stop> {
    if seen.object.spec.management == Management::Observed {
        return Ok(Step::Pin(pin(
            seen,
            route,
            account.id.clone(),
            Maker::Somebody,
        )));
    }
    not_our_own(seen, route, account)?;
    manageable(seen, route, account)?;
    let maker = if is_ours(seen, account) {
        Maker::Us
    } else {
        Maker::Somebody
    };
    Ok(Step::Pin(pin(seen, route, account.id.clone(), maker)))
}

/// That the account is a service account, and was made for this ServiceAccount or may be taken over.
/// Where an account is but a name, nothing of it is changed, and so nothing stands against it.
pub(super) fn manageable(seen: &Seen, route: &Route, account: &RemoteAccount) -> Result<(), Stop> {
    let only_a_name = route.reach.ability.accounts == Accounts::NamesOnly;
    if only_a_name || may_be_managed(seen, account) {
        return Ok(());
    }
    let username = &account.username;
    if account.nature == Nature::Human {
        let message = format!(
            "{username} is the account of a person, which is never managed. Choose another spec.username, or declare the account as Observed."
        );
        return Err(Stop::new(Reason::AccountExists, message));
    }
    let already = if is_told_ours(&seen.object.pins) {
        format!("Account {username} was on the server before this ServiceAccount was made.")
    } else {
        format!("Account {username} exists on the server already.")
    };
    let fix = Reason::AccountExists.fix();
    Err(Stop::new(Reason::AccountExists, format!("{already} {fix}")))
}

/// Creates the account, once it is recorded that its name was free.
fn create(seen: &Seen, route: &Route, username: String) -> Result<Step, Stop> {
    let claimed = seen.object.pins.free_at;
    if claimed.is_some() && claimed == seen.pass.claimed {
        // Kubernetes may have removed the object all the same: see `controllers::account`.
        return Ok(on_the_present(seen, Step::Create(draft(seen, username))));
    }
    let landed = claimed.map(|at| after(at, LANDS_WITHIN));
    if landed.is_some_and(|landed| seen.now <= landed) {
        return Err(Stop::new(
            Reason::WaitingForAccount,
            "The creation of the account got no answer and may still land on the server; it is looked for again within a minute. Nothing is to be done.",
        ));
    }
    // Only a look of this very pass, later than all that may land, shows a name to be free.
    let looked = seen
        .pass
        .found_at
        .is_some_and(|at| at >= seen.pass.began && landed.is_none_or(|landed| at > landed));
    if !looked {
        return Ok(Step::Find(by_name(seen, username)));
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
        retained: sweep::retained(&seen.object),
        ..seen.object.pins.clone()
    }
}

/// An account that was pinned and is not there any more.
pub(super) fn lost(seen: &Seen, route: &Route) -> Result<Option<Step>, Stop> {
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

pub(super) fn draft(seen: &Seen, username: String) -> AccountDraft {
    let spec = &seen.object.spec;
    let own = spec.elasticsearch.clone().unwrap_or_default();
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
        roles: own.roles.into_iter().collect(),
        metadata: own.metadata,
        stamp: seen.object.uid.to_string(),
    }
}
