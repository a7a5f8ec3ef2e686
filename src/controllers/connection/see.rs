//! Reading the facts of one connection.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::client::{Making, authorities, part, renew};
use super::{Hands, Link, Memory, holds};
use crate::api::conditions::{Reason, Status, Type};
use crate::api::{ApiKey, Connection, KeyCounts, ServiceAccount, annotation, finalizer, label};
use crate::controllers::cluster::Lapse;
use crate::controllers::standing::Place;
use crate::controllers::watch::{Guarded, credential_name};
use crate::controllers::{Ctx, facts};
use crate::plan::Stop;
use crate::plan::connection::{Look, Mark, Pin, Seen};
use crate::plan::key::Finalizer;
use crate::plan::port::{AccountId, ServerIdentity};

/// The facts, and the client.
pub(super) async fn see<L: Link>(
    ctx: &Ctx,
    object: L,
    memory: &mut Memory,
) -> Result<(Seen, Hands<L>), Lapse> {
    let meta = object.meta();
    let spec = object.connection();
    let generation = meta.generation.unwrap_or_default();
    let home = object.home(&ctx.own_namespace);
    let credential = match credential_name(&spec.auth) {
        Some(name) => ctx.cluster.secret(&home, name).await?,
        None => None,
    };
    let mut usable = usable(ctx, spec);
    let offered = offered(&object, credential.as_ref());
    if usable.is_ok() && offered.is_ok() {
        match authorities(ctx, &home, spec).await? {
            Ok(authorities) => {
                let making = Making {
                    generation,
                    url: spec.url.clone(),
                    credential: credential
                        .as_ref()
                        .and_then(|secret| secret.metadata.resource_version.clone()),
                    authorities,
                };
                renew(ctx, &object, making, memory).await?;
                if let Some((_, Err(stop))) = &memory.client {
                    usable = Err(stop.clone());
                }
            }
            Err(stop) => usable = Err(stop),
        }
    } else {
        part(memory.client.take()).await;
        memory.look = None;
    }
    let place = object.place();
    let suspected = ctx.memories.suspicions.get(&place);
    let doubted = |look: &Look| look.found.is_ok() && suspected.is_some_and(|at| look.at <= at);
    if memory.look.as_ref().is_some_and(doubted) {
        memory.look = None;
    }
    let accounts = ctx.stores.accounts.state();
    let dependents = Dependents::of(&place, accounts.iter().map(AsRef::as_ref));
    let hold = match &credential {
        Some(secret) => Some(holds::hold_of(ctx, &place, secret).await?),
        None => None,
    };
    let leftovers = holds::leftovers(ctx, &object);
    let seen = Seen {
        now: ctx.clock.now(),
        uid: facts::uid(meta),
        generation,
        deleting: meta.deletion_timestamp.is_some(),
        finalizer: mark(facts::carries(meta, finalizer::CONNECTION)),
        pin: pin(meta),
        status: object.status(),
        caution: caution(&spec.url),
        usable,
        credential: offered,
        hold,
        leftovers: leftovers.len(),
        accounts: dependents.all,
        bound: dependents.bound,
        counted_live: false,
        keys: keys(&place, &ctx.stores.parsed_accounts()),
        resync: spec.resync.duration(),
        look: memory.look.clone(),
        refused: None,
    };
    let server = memory
        .client
        .as_ref()
        .and_then(|(_, client)| client.as_ref().ok().cloned());
    Ok((
        seen,
        Hands {
            object,
            server,
            credential,
            leftovers,
            lists: Arc::clone(&memory.lists),
        },
    ))
}

pub(super) fn mark(finalizer: Finalizer) -> Mark {
    match finalizer {
        Finalizer::Present => Mark::Present,
        Finalizer::Missing => Mark::Missing,
    }
}

/// Over plain HTTP whoever is on the way reads the credential and every new key.
fn caution(url: &str) -> Option<&'static str> {
    let at = url.strip_prefix("http://")?;
    let here = ["127.0.0.1", "localhost", "[::1]"];
    let stays_here = here
        .into_iter()
        .filter_map(|host| at.strip_prefix(host))
        .any(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    (!stays_here).then_some(
        "Its URL is plain HTTP: the credential and every key travel unencrypted. Use https.",
    )
}

/// Whether the connection may be used as it is written.
pub(super) fn usable(ctx: &Ctx, spec: &Connection) -> Result<(), Stop> {
    for url in [Some(&spec.url), spec.auth_url.as_ref()]
        .into_iter()
        .flatten()
    {
        ctx.allowed.check(url).map_err(|why| {
            let fix = Reason::ServerNotAllowed.fix();
            let message = format!("The operator may not connect to {url}: {why}. {fix}");
            Stop::new(Reason::ServerNotAllowed, message)
        })?;
    }
    Ok(())
}

/// Whether the credential's Secret is there, and offered where it must be.
fn offered<L: Link>(object: &L, secret: Option<&PartialObjectMeta<Secret>>) -> Result<(), Stop> {
    let Some(name) = credential_name(&object.connection().auth) else {
        return Ok(());
    };
    let Some(secret) = secret else {
        return Err(Stop::new(
            Reason::CredentialMissing,
            format!(
                "There is no Secret {name} with the credential. {}",
                Reason::CredentialMissing.fix()
            ),
        ));
    };
    let labels = secret.metadata.labels.as_ref();
    let offered = labels
        .and_then(|labels| labels.get(label::CREDENTIAL))
        .is_some_and(|value| value == label::OFFERED);
    // The operator's own namespace belongs to those who write ClusterDeployServers.
    if offered || object.grants().is_some() {
        return Ok(());
    }
    Err(Stop::new(
        Reason::CredentialNotOffered,
        format!(
            "Secret {name} is not offered. {}",
            Reason::CredentialNotOffered.fix()
        ),
    ))
}

pub(super) fn pin(meta: &kube::api::ObjectMeta) -> Option<Pin> {
    Some(Pin {
        identity: ServerIdentity::new(facts::annotated(meta, annotation::SERVER_IDENTITY)?),
        own: AccountId::new(facts::annotated(meta, annotation::OWN_ACCOUNT)?),
    })
}

/// How many ServiceAccounts depend on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dependents {
    /// Those that refer to it, or may.
    pub(super) all: u32,
    /// Those of them that carry our finalizer.
    pub(super) bound: u32,
}

impl Dependents {
    pub(super) fn of<'a>(
        place: &Place,
        accounts: impl Iterator<Item = &'a Guarded<ServiceAccount>>,
    ) -> Self {
        accounts.filter(|account| may_refer(account, place)).fold(
            Self::default(),
            |sum, account| {
                let bound = facts::carries(account.meta(), finalizer::ACCOUNT);
                Self {
                    all: sum.all.saturating_add(1),
                    bound: sum
                        .bound
                        .saturating_add(u32::from(bound == Finalizer::Present)),
                }
            },
        )
    }
}

/// One that does not parse may refer to every connection that it could name.
fn may_refer(account: &Guarded<ServiceAccount>, place: &Place) -> bool {
    match &account.0 {
        Ok(account) => refers(account, place),
        Err(_) => place.namespace.is_none() || place.namespace == account.namespace(),
    }
}

fn refers(account: &ServiceAccount, place: &Place) -> bool {
    Place::of(
        &account.spec.server_ref,
        &account.namespace().unwrap_or_default(),
    ) == *place
}

/// The keys of all accounts of a connection, as they were counted last.
fn keys(place: &Place, accounts: &[ServiceAccount]) -> Option<KeyCounts> {
    let counts = accounts
        .iter()
        .filter(|account| refers(account, place))
        .filter_map(|account| account.status.as_ref()?.keys);
    counts.reduce(|a, b| KeyCounts {
        managed: a.managed + b.managed,
        retiring: a.retiring + b.retiring,
        stray: a.stray + b.stray,
        orphan: a.orphan + b.orphan,
        other: a.other + b.other,
        foreign: a.foreign + b.foreign,
    })
}

/// How many ApiKeys of a connection say that a key of theirs should have ended.
pub(super) fn overdue(ctx: &Ctx, place: &Place) -> usize {
    let says = |key: &ApiKey| {
        let conditions = key.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| {
            condition.type_ == Type::Overdue.as_str() && condition.status == Status::True.as_str()
        })
    };
    let is_here = |key: &ApiKey| {
        let name = &key.spec.service_account_ref.name;
        let account = ObjectRef::new(name).within(&key.namespace().unwrap_or_default());
        let account = ctx.stores.accounts.get(&account);
        account.is_some_and(|account| {
            let parsed = account.0.as_ref();
            parsed.is_ok_and(|account| refers(account, place))
        })
    };
    let keys = ctx.stores.keys.state();
    let parsed = keys.iter().filter_map(|key| key.0.as_ref().ok());
    parsed.filter(|key| says(key) && is_here(key)).count()
}
