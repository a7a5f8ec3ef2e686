//! Reading the facts of one ServiceAccount.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::{Hands, Memory};
use crate::api::conditions::Reason;
use crate::api::{ApiKey, ForeignKeys, Management, ServiceAccount, annotation};
use crate::controllers::standing::{self, Line, Place};
use crate::controllers::{Connected, Ctx, Patience, facts};
use crate::plan::Stop;
use crate::plan::account::{
    Census, Object, Pass, Records, Remote, Resident, Route, Seen, default_username,
};
use crate::plan::grant::{Allowance, Asker, allowance};
use crate::plan::key::{self, Freshness, Reach};
use crate::plan::port::{AccountId, KeyId};
use crate::plan::record::{Intent, Nonce};
use crate::plan::sweep::Attempts;

/// The facts. `None` when the connection has not been looked at yet.
pub(super) fn see(ctx: &Ctx, object: ServiceAccount, memory: &Memory) -> Option<(Seen, Hands)> {
    let now = ctx.clock.now();
    let namespace = object.namespace().unwrap_or_default();
    let place = Place::of(&object.spec.server_ref, &namespace);
    let facts = facts::service_account(&object);
    let connection = match ctx.connected(&place) {
        Connected::Known(connection) => Ok(*connection),
        Connected::Unlooked => return None,
        Connected::Absent => Err(Stop::new(
            Reason::WaitingForServer,
            format!(
                "There is no {:?} {}. Apply it, or correct spec.serverRef.",
                place.kind, place.name
            ),
        )),
    };
    let line = connection
        .as_ref()
        .ok()
        .and_then(|connection| connection.usable.as_ref().ok().cloned());
    let route = connection
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|connection| route(&place, connection));
    let grant = connection
        .as_ref()
        .map_err(Clone::clone)
        .and_then(|_| grant(ctx, &facts));
    let lists = connection
        .as_ref()
        .ok()
        .map(|connection| Arc::clone(&connection.lists));
    let list = lists
        .as_ref()
        .zip(facts.pins.account.as_ref())
        .and_then(|(lists, account)| lists.at_hand(account));
    let resync = route.as_ref().map(|route| route.resync).ok();
    let looked = memory.looked.clone().filter(|looked| {
        facts.deleting.is_none()
            && looked.pinned == facts.pins.account
            && looked.server.as_ref() == route.as_ref().ok().map(|route| &route.reach.identity)
            && resync.is_some_and(|resync| now.duration_since(looked.at) < resync)
    });
    let (found_at, remote, teams, oidc) = match looked {
        Some(looked) => (Some(looked.at), looked.remote, looked.teams, looked.oidc),
        None => (None, Remote::Unknown, Vec::new(), None),
    };
    let mut pass = Pass::begin(now, memory.failures);
    pass.found_at = found_at;
    let patience = Patience::lasts(memory.patience.as_ref(), facts.generation, now);
    pass.setback = patience.map(|patience| patience.setback.clone());
    let seen = Seen {
        now,
        claim: ctx.claim.clone(),
        freshness: Freshness::Cached,
        connection: route,
        grant,
        rival: rival(ctx, &facts),
        remote,
        teams,
        oidc,
        list,
        counted: memory.counted,
        census: census(
            ctx,
            &facts,
            Freshness::Cached,
            &ctx.stores.keys.state(),
            &ctx.stores.parsed_accounts(),
        ),
        identities: identities(ctx, line.as_ref()),
        object: facts,
        pass,
    };
    Some((
        seen,
        Hands {
            object,
            line,
            lists: lists.unwrap_or_default(),
            voice: memory.voice.clone(),
        },
    ))
}

fn route(place: &Place, connection: &standing::Connection) -> Result<Route, Stop> {
    match &connection.usable {
        Ok(line) => Ok(Route {
            reach: Reach {
                identity: line.probe.identity.clone(),
                ability: line.server.ability(),
                skew: line.probe.skew,
            },
            own: line.probe.own.clone(),
            resync: connection.resync,
        }),
        Err(stop) => Err(stop.of_connection(&place.name)),
    }
}

/// The accounts behind the credentials of connections to this server, whoever has them: as pinned, and
/// as they were looked at last.
fn identities(ctx: &Ctx, line: Option<&Line>) -> BTreeSet<AccountId> {
    let Some(line) = line else {
        return BTreeSet::new();
    };
    let server = &line.probe.identity;
    let pinned = |meta: &ObjectMeta| {
        let on = facts::annotated(meta, annotation::SERVER_IDENTITY);
        let own = facts::annotated(meta, annotation::OWN_ACCOUNT);
        own.filter(|_| on.is_none_or(|on| on == server.as_str()))
            .map(AccountId::new)
    };
    let servers = ctx.stores.servers.state();
    let cluster_servers = ctx.stores.cluster_servers.state();
    let lines = ctx.standings.connections.all().into_iter();
    let looked = lines
        .filter_map(|connection| connection.usable.ok())
        .filter(|line| line.probe.identity == *server)
        .map(|line| line.probe.own.id);
    let own = servers.iter().filter_map(|server| pinned(server.meta()));
    let cluster = cluster_servers
        .iter()
        .filter_map(|server| pinned(server.meta()));
    own.chain(cluster).chain(looked).collect()
}

/// What the connection grants this ServiceAccount, as it is written now: all, for one of the same
/// namespace.
pub(in crate::controllers) fn grant(ctx: &Ctx, object: &Object) -> Result<Allowance, Stop> {
    let place = Place::of(&object.spec.server_ref, &object.namespace);
    if place.namespace.is_some() {
        return Ok(Allowance::default());
    }
    let server = ctx.stores.cluster_servers.get(&ObjectRef::new(&place.name));
    // One that is gone, or does not parse, grants nothing.
    let grants = server
        .as_ref()
        .and_then(|server| server.0.as_ref().ok())
        .map_or(&[] as &[_], |server| &server.spec.grants);
    let namespace = ctx
        .stores
        .namespaces
        .get(&ObjectRef::new(&object.namespace));
    let asker = Asker {
        namespace: object.namespace.clone(),
        labels: namespace
            .and_then(|namespace| namespace.metadata.labels.clone())
            .unwrap_or_default(),
    };
    let mut spec = object.spec.clone();
    if object.deleting.is_some() {
        // Nothing more is asked for than to take away: a wish beyond the grant does not stop that.
        (spec.adopt, spec.octopus, spec.elasticsearch) = (false, None, None);
        spec.foreign_keys = ForeignKeys::Report;
    }
    let username = match spec.management {
        Management::Own => None,
        Management::Managed | Management::Observed => Some(asked_for(object)),
    };
    allowance(grants, &asker, &spec, username.as_deref())
}

/// The user name that a grant is asked for: of one that the server takes only when it is cut, the whole.
fn asked_for(object: &Object) -> String {
    let own = || format!("{}.{}", object.namespace, object.name);
    object.spec.username.clone().unwrap_or_else(own)
}

pub(super) fn username(object: &Object, line: Option<&Line>) -> String {
    let limit = line.map_or(64, |line| line.server.ability().username_chars);
    object
        .spec
        .username
        .clone()
        .unwrap_or_else(|| default_username(&object.namespace, &object.name, limit))
}

/// Whether two ServiceAccounts mean the same account: the same user name on the same connection.
fn mean_the_same(object: &Object, other: &Object) -> bool {
    let place = |object: &Object| Place::of(&object.spec.server_ref, &object.namespace);
    let name = |object: &Object| username(object, None).to_lowercase();
    let own = |object: &Object| object.spec.management == Management::Own;
    let named =
        own(object) && own(other) || !own(object) && !own(other) && name(object) == name(other);
    other.uid != object.uid && place(object) == place(other) && named
}

/// The account that a ServiceAccount has, granted, and shown by the server: what merely stands in its
/// annotations counts for nothing, except while nobody has looked at it since the operator began.
fn shown(ctx: &Ctx, object: &Object) -> Option<AccountId> {
    match ctx.standings.accounts.get(&object.uid) {
        Some(known) => known.account.filter(|_| known.allowance.is_some()),
        None => object.pins.account.clone(),
    }
}

/// Whether a ServiceAccount may have this account: nothing was found that speaks against it. Enough to
/// let the account be, when not enough to give it to anybody: the server may be away.
fn may_have(ctx: &Ctx, object: &Object, account: Option<&AccountId>) -> bool {
    let known = ctx.standings.accounts.get(&object.uid);
    let refused = known.is_some_and(|known| known.allowance.is_none());
    object.pins.account.as_ref() == account && !refused
}

/// The ServiceAccount that managed the same account first.
pub(super) fn rival(ctx: &Ctx, object: &Object) -> Option<String> {
    if object.spec.management != Management::Managed {
        return None;
    }
    // Of two that were made in the same second, the one that has the account already is the first.
    let earlier = |other: &Object| {
        other.created_at < object.created_at
            || other.created_at == object.created_at
                && (object.pins.account.is_none() || other.uid < object.uid)
    };
    ctx.stores
        .parsed_accounts()
        .iter()
        .map(facts::service_account)
        .filter(|other| other.spec.management == Management::Managed && earlier(other))
        .filter(|other| mean_the_same(object, other))
        .filter(|other| {
            let own = object.pins.account.as_ref();
            shown(ctx, other).is_some_and(|id| own.is_none_or(|own| *own == id))
        })
        .min_by_key(|other| (other.created_at, other.uid.clone()))
        .map(|other| format!("{}/{}", other.namespace, other.name))
}

/// All ApiKeys, as this account needs to know them.
pub(super) fn census(
    ctx: &Ctx,
    object: &Object,
    freshness: Freshness,
    keys: &[impl AsRef<DeserializeGuard<ApiKey>>],
    accounts: &[ServiceAccount],
) -> Census {
    let here: BTreeSet<(String, String)> = accounts
        .iter()
        .map(facts::service_account)
        .filter(|other| {
            // Only where the account itself may go do others' keys matter.
            let twin = || {
                object.spec.management == Management::Managed
                    && mean_the_same(object, other)
                    && may_have(ctx, other, object.pins.account.as_ref())
            };
            object.pins.account.is_some() && twin()
        })
        .map(|other| (other.namespace, other.name))
        // It may have vanished itself, and another one have its name and its ApiKeys.
        .chain([(object.namespace.clone(), object.name.clone())])
        .collect();
    let residents = keys.iter().map(|key| {
        let key = key.as_ref();
        let (namespace, name) = (key.namespace().unwrap_or_default(), key.name_any());
        let resident = match &key.0 {
            Ok(parsed) => {
                let account = parsed.spec.service_account_ref.name.clone();
                let secret = ObjectRef::new(parsed.secret_name()).within(&namespace);
                let secret = ctx.stores.secrets.get(&secret);
                let here = here.contains(&(namespace, account));
                resident(ctx, parsed, secret.as_deref(), here)
            }
            // It may refer to anything: only its own namespace bounds it.
            Err(_) => Resident {
                here: namespace == object.namespace,
                records: Records::Everything,
                attempts: Attempts::of(None, None, None),
                home: format!("{namespace}/{name}"),
            },
        };
        (facts::uid(key.meta()), resident)
    });
    Census {
        freshness,
        keys: residents.collect::<BTreeMap<_, _>>(),
    }
}

/// An ApiKey, beside its Secret; `here`: whether it resolves to the account.
pub(super) fn resident(
    ctx: &Ctx,
    key: &ApiKey,
    secret: Option<&PartialObjectMeta<Secret>>,
    here: bool,
) -> Resident {
    let secret = facts::secret::facts(secret, key, &ctx.claim.installation);
    let (namespace, name) = (key.namespace().unwrap_or_default(), key.name_any());
    Resident {
        here,
        attempts: attempts(key, &secret),
        records: records(key, &secret),
        home: format!("{namespace}/{name}"),
    }
}

/// What an ApiKey and its Secret tell of the attempts that were opened here.
fn attempts(key: &ApiKey, secret: &key::Secret) -> Attempts {
    let intent = facts::annotated(&key.metadata, annotation::INTENT)
        .and_then(Intent::parse)
        .filter(|intent| intent.uid == facts::uid(&key.metadata));
    let published = secret
        .published()
        .map(|key| (key.serial, &key.nonce, key.created_at));
    let current = key
        .status
        .as_ref()
        .and_then(|status| status.current.as_ref());
    let mirrored = current.and_then(|key| Nonce::parse(&key.nonce));
    Attempts::of(intent.as_ref(), published, mirrored)
}

/// The keys that an ApiKey records, in its status or on its Secret.
fn records(key: &ApiKey, secret: &key::Secret) -> Records {
    let status = key.status.as_ref();
    let held = secret.ours();
    let current = status
        .and_then(|status| status.current.as_ref())
        .map(|key| KeyId::new(&key.id));
    let published = secret.published().map(|key| key.id.clone());
    let retiring = status
        .into_iter()
        .flat_map(|status| &status.retiring)
        .map(|key| KeyId::new(&key.id));
    let held_retiring = held
        .into_iter()
        .flat_map(|held| &held.retiring)
        .map(|key| key.id.clone());
    Records::Keys {
        current: current.into_iter().chain(published).collect(),
        retiring: retiring.chain(held_retiring).collect(),
    }
}
