//! What an ApiKey rests on: its account, the connection, and what they allow.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::api::conditions::Reason;
use crate::api::{ApiKey, ServiceAccount};
use crate::controllers::account::grant;
use crate::controllers::lists::Lists;
use crate::controllers::standing::{self, Address, Line, Place};
use crate::controllers::{Connected, Ctx, facts};
use crate::plan::Stop;
use crate::plan::account::unshared;
use crate::plan::grant::{Allowance, Retain};
use crate::plan::key::{Base, Ledger, Reach};
use crate::plan::port;
use crate::plan::rotation::Bounds;

/// What an ApiKey rests on.
pub(super) struct Ground {
    pub(super) base: Base,
    pub(super) list: Option<port::List>,
    pub(super) lists: Arc<Lists>,
    pub(super) line: Option<Line>,
    pub(super) address: Address,
    pub(super) username: String,
}

pub(super) fn ground(
    ctx: &Ctx,
    object: &ApiKey,
    account: Option<&ServiceAccount>,
) -> Option<Ground> {
    let name = &object.spec.service_account_ref.name;
    let Some(account) = account else {
        return Some(Ground::none(Stop::new(
            Reason::WaitingForAccount,
            format!("There is no ServiceAccount {name} in this namespace. Apply it."),
        )));
    };
    let place = Place::of(
        &account.spec.server_ref,
        &object.namespace().unwrap_or_default(),
    );
    let known = ctx.standings.accounts.get(&facts::uid(&account.metadata))?;
    let connection = match ctx.connected(&place) {
        Connected::Known(connection) => *connection,
        Connected::Unlooked => return None,
        Connected::Absent => {
            let stop = known
                .mint
                .clone()
                .err()
                .unwrap_or_else(|| Stop::plain(Reason::WaitingForServer));
            let retained = facts::service_account(account).pins.retained;
            let mut ground = Ground::none(stop);
            ground.base.ledger = Ledger::Present(retained.into_iter().collect());
            return Some(ground);
        }
    };
    let pins = facts::service_account(account).pins;
    let server = match (&connection.usable, &pins.server) {
        (Err(stop), _) => Err(stop.of_connection(&place.name)),
        (Ok(line), Some(pinned)) if *pinned != line.probe.identity => {
            Err(Stop::plain(Reason::IdentityChanged))
        }
        // Whose account that is, the next look at the ServiceAccount says.
        (Ok(_), None) if pins.account.is_some() => Err(Stop::plain(Reason::WaitingForAccount)),
        (Ok(line), _) => Ok(Reach {
            identity: line.probe.identity.clone(),
            ability: line.server.ability(),
            skew: line.probe.skew,
        }),
    };
    let line = connection
        .usable
        .as_ref()
        .ok()
        .filter(|_| server.is_ok())
        .cloned();
    // An id that only stands in the annotation may be anybody's.
    let verified = known
        .account
        .clone()
        .filter(|id| pins.account.as_ref() == Some(id));
    let list = verified
        .as_ref()
        .and_then(|account| connection.lists.at_hand(account));
    let stands = ending(ctx, object)
        .and(is_looked_at(account, &known))
        .and_then(|()| granted(ctx, account))
        .and_then(|()| match &verified {
            Some(_) => Ok(()),
            None => Err(known
                .mint
                .clone()
                .err()
                .unwrap_or_else(|| Stop::plain(Reason::WaitingForAccount))),
        });
    Some(Ground {
        base: Base {
            expiry: connection.expiry,
            mint: stands.clone().and_then(|()| known.mint.clone()),
            replace: stands.and_then(|()| known.replace.clone()),
            account: verified,
            works: known.works.clone(),
            revoke: unshared(&facts::service_account(account), &ctx.claim.installation),
            retain: retain(&known),
            ledger: Ledger::Present(pins.retained.into_iter().collect()),
            bounds: bounds(&connection, &known),
            resync: connection.resync,
            server,
        },
        list,
        lists: Arc::clone(&connection.lists),
        line,
        address: connection.address.clone(),
        username: known.username,
    })
}

impl Ground {
    pub(super) fn none(stop: Stop) -> Self {
        Self {
            base: Base {
                account: None,
                server: Err(stop.clone()),
                expiry: None,
                mint: Err(stop.clone()),
                replace: Err(stop),
                works: Ok(()),
                revoke: Ok(()),
                retain: Ok(()),
                ledger: Ledger::Absent,
                bounds: Bounds::default(),
                resync: SignedDuration::from_mins(10),
            },
            list: None,
            lists: Arc::default(),
            line: None,
            address: Address::default(),
            username: String::new(),
        }
    }
}

/// That the namespace is not being deleted: no Secret can be made in it any more.
fn ending(ctx: &Ctx, object: &ApiKey) -> Result<(), Stop> {
    let namespace = ObjectRef::new(&object.namespace().unwrap_or_default());
    let known = ctx.stores.namespaces.get(&namespace);
    if known.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        return Err(Stop::new(
            Reason::SecretRefused,
            "The namespace is being deleted; no key is made in it any more.",
        ));
    }
    Ok(())
}

/// That what is known of the ServiceAccount is of what it says now, and that it stays.
fn is_looked_at(account: &ServiceAccount, known: &standing::Account) -> Result<(), Stop> {
    let meta = account.meta();
    if meta.deletion_timestamp.is_some() {
        return Err(Stop::new(
            Reason::WaitingForAccount,
            format!(
                "ServiceAccount {} is being deleted. Apply it again, or another one.",
                account.name_any()
            ),
        ));
    }
    if meta.generation != Some(known.generation) {
        return Err(Stop::new(
            Reason::WaitingForAccount,
            format!(
                "ServiceAccount {} has just changed and is looked at first.",
                account.name_any()
            ),
        ));
    }
    Ok(())
}

/// That the connection grants this account to this namespace, as it is written at this moment.
fn granted(ctx: &Ctx, account: &ServiceAccount) -> Result<(), Stop> {
    grant(ctx, &facts::service_account(account)).map(drop)
}

/// Whether keys may be left behind; without a grant they may not.
fn retain(known: &standing::Account) -> Result<(), Stop> {
    match &known.allowance {
        Some(Allowance {
            retain: Retain::Allowed,
            ..
        }) => Ok(()),
        Some(_) | None => Err(Stop::new(
            Reason::NotGranted,
            "The ClusterDeployServer does not grant deletionPolicy Retain to this namespace. Ask the platform team.",
        )),
    }
}

fn bounds(connection: &standing::Connection, known: &standing::Account) -> Bounds {
    let longest = [
        connection.max_lifetime,
        known.allowance.and_then(|allowance| allowance.max_lifetime),
    ]
    .into_iter()
    .flatten()
    .min();
    let probe = connection.usable.as_ref().ok().map(|line| &line.probe);
    Bounds {
        default_lifetime: connection.default_lifetime,
        max_lifetime: longest,
        server: probe.map(|probe| probe.key_expiry).unwrap_or_default(),
        credential_expires_at: probe.and_then(|probe| probe.credential_expires_at),
    }
}
