//! One watch per kind, and who is woken by what.
//!
//! Secrets and namespaces are watched by their metadata alone: no value of a Secret comes in here.
//! A watch that breaks begins anew by itself; what was missed meanwhile is seen in the new list.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::standing::Place;
use crate::api::{
    ApiKey, Auth, ClusterDeployServer, DeployServer, ServerKind, ServiceAccount, label,
};

/// An object that may not parse.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

/// What the watches have seen.
#[derive(Clone)]
pub(crate) struct Stores {
    /// All ApiKeys.
    pub keys: Store<Guarded<ApiKey>>,
    /// All ServiceAccounts.
    pub accounts: Store<Guarded<ServiceAccount>>,
    /// All DeployServers.
    pub servers: Store<Guarded<DeployServer>>,
    /// All ClusterDeployServers.
    pub cluster_servers: Store<Guarded<ClusterDeployServer>>,
    /// The Secrets that we made.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// The Secrets that are offered as credentials.
    pub credentials: Store<PartialObjectMeta<Secret>>,
    /// All Secrets of the operator's own namespace: those of ClusterDeployServers are among them.
    pub own_secrets: Store<PartialObjectMeta<Secret>>,
    /// All namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}

impl Stores {
    /// The ServiceAccount of this name, if it is there and parses.
    pub(crate) fn account(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Guarded<ServiceAccount>>> {
        self.accounts.get(&ObjectRef::new(name).within(namespace))
    }

    /// The ServiceAccounts that parse.
    pub(crate) fn parsed_accounts(&self) -> Vec<ServiceAccount> {
        self.accounts
            .state()
            .iter()
            .filter_map(|account| account.0.as_ref().ok().cloned())
            .collect()
    }

    /// Waits until every watch has seen all that there is.
    pub(crate) async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.keys.wait_until_ready().await?;
        self.accounts.wait_until_ready().await?;
        self.servers.wait_until_ready().await?;
        self.cluster_servers.wait_until_ready().await?;
        self.secrets.wait_until_ready().await?;
        self.credentials.wait_until_ready().await?;
        self.own_secrets.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await
    }
}

/// The objects of a store that are meant, in the order of their names: a store has none, and what is
/// done must not hang on chance.
pub(crate) fn those<K>(store: &Store<K>, meant: impl Fn(&K) -> bool) -> Vec<Arc<K>>
where
    K: Resource<DynamicType: Eq + Hash + Clone> + Clone + 'static,
{
    let mut those = store.state();
    those.retain(|object| meant(object));
    those.sort_by_cached_key(|object| (object.namespace(), object.name_any()));
    those
}

/// Wakes the passes of objects.
#[derive(Clone)]
pub(crate) struct Bells {
    keys: mpsc::UnboundedSender<ObjectRef<Guarded<ApiKey>>>,
    accounts: mpsc::UnboundedSender<ObjectRef<Guarded<ServiceAccount>>>,
    servers: mpsc::UnboundedSender<ObjectRef<Guarded<DeployServer>>>,
    cluster_servers: mpsc::UnboundedSender<ObjectRef<Guarded<ClusterDeployServer>>>,
}

/// The other end of [`Bells`].
pub(crate) struct Queues {
    /// ApiKeys to look at.
    pub keys: mpsc::UnboundedReceiver<ObjectRef<Guarded<ApiKey>>>,
    /// ServiceAccounts to look at.
    pub accounts: mpsc::UnboundedReceiver<ObjectRef<Guarded<ServiceAccount>>>,
    /// DeployServers to look at.
    pub servers: mpsc::UnboundedReceiver<ObjectRef<Guarded<DeployServer>>>,
    /// ClusterDeployServers to look at.
    pub cluster_servers: mpsc::UnboundedReceiver<ObjectRef<Guarded<ClusterDeployServer>>>,
}

impl Bells {
    /// Bells, and the queues that they fill.
    pub(crate) fn new() -> (Self, Queues) {
        let (keys, keys_queue) = mpsc::unbounded_channel();
        let (accounts, accounts_queue) = mpsc::unbounded_channel();
        let (servers, servers_queue) = mpsc::unbounded_channel();
        let (cluster_servers, cluster_servers_queue) = mpsc::unbounded_channel();
        let queues = Queues {
            keys: keys_queue,
            accounts: accounts_queue,
            servers: servers_queue,
            cluster_servers: cluster_servers_queue,
        };
        (
            Self {
                keys,
                accounts,
                servers,
                cluster_servers,
            },
            queues,
        )
    }

    /// Wakes an ApiKey.
    pub(crate) fn key(&self, namespace: &str, name: &str) {
        // Nobody listens any more only when the process ends.
        let _ = self.keys.send(ObjectRef::new(name).within(namespace));
    }

    /// Wakes a ServiceAccount.
    pub(crate) fn account(&self, namespace: &str, name: &str) {
        let _ = self.accounts.send(ObjectRef::new(name).within(namespace));
    }

    /// Wakes a connection.
    pub(crate) fn connection(&self, place: &Place) {
        let _ = match &place.namespace {
            Some(namespace) => self
                .servers
                .send(ObjectRef::new(&place.name).within(namespace))
                .is_ok(),
            None => self
                .cluster_servers
                .send(ObjectRef::new(&place.name))
                .is_ok(),
        };
    }

    /// Wakes the ApiKeys of a ServiceAccount.
    pub(crate) fn keys_of(&self, stores: &Stores, namespace: &str, account: &str) {
        let refers = |key: &ApiKey| key.spec.service_account_ref.name == account;
        let its = |key: &Guarded<ApiKey>| {
            key.0.as_ref().is_ok_and(refers) && key.namespace().as_deref() == Some(namespace)
        };
        for key in those(&stores.keys, its) {
            self.key(namespace, &key.name_any());
        }
    }

    /// Wakes the ServiceAccounts of a connection.
    pub(crate) fn accounts_of(&self, stores: &Stores, place: &Place) {
        for account in accounts_at(stores, place) {
            self.account(&account.0, &account.1);
        }
    }

    /// Wakes all that rests on a connection: its ServiceAccounts, and their ApiKeys, which follow its
    /// policy.
    pub(crate) fn dependents_of(&self, stores: &Stores, place: &Place) {
        let accounts = accounts_at(stores, place);
        for (namespace, name) in &accounts {
            self.account(namespace, name);
        }
        let rests = |key: &Guarded<ApiKey>| {
            let namespace = key.namespace().unwrap_or_default();
            let account = |key: &ApiKey| key.spec.service_account_ref.name.clone();
            let account = key.0.as_ref().map(account);
            account.is_ok_and(|account| accounts.contains(&(namespace, account)))
        };
        for key in those(&stores.keys, rests) {
            self.key(&key.namespace().unwrap_or_default(), &key.name_any());
        }
    }
}

/// Namespace and name of the ServiceAccounts of a connection.
fn accounts_at(stores: &Stores, place: &Place) -> BTreeSet<(String, String)> {
    let named = |account: &Arc<Guarded<ServiceAccount>>| {
        let account = account.0.as_ref().ok()?;
        let namespace = account.namespace().unwrap_or_default();
        let there = Place::of(&account.spec.server_ref, &namespace) == *place;
        there.then(|| (namespace, account.name_any()))
    };
    stores.accounts.state().iter().filter_map(named).collect()
}

/// Watches everything, for ever: fills the stores and rings the bells.
pub(crate) fn watch(
    client: &Client,
    own_namespace: &str,
    bells: Bells,
) -> (Stores, impl Stream<Item = ()> + Send + use<>) {
    let all = watcher::Config::default();
    let labelled =
        |name: &str, value: &str| watcher::Config::default().labels(&format!("{name}={value}"));
    let (keys, keys_events) = follow::<Guarded<ApiKey>>(Api::all(client.clone()), all.clone());
    let (accounts, accounts_events) =
        follow::<Guarded<ServiceAccount>>(Api::all(client.clone()), all.clone());
    let (servers, servers_events) =
        follow::<Guarded<DeployServer>>(Api::all(client.clone()), all.clone());
    let (cluster_servers, cluster_events) =
        follow::<Guarded<ClusterDeployServer>>(Api::all(client.clone()), all.clone());
    let (secrets, secrets_events) = follow::<PartialObjectMeta<Secret>>(
        Api::all(client.clone()),
        labelled(label::SECRET, label::KEPT),
    );
    let (credentials, credentials_events) = follow::<PartialObjectMeta<Secret>>(
        Api::all(client.clone()),
        labelled(label::CREDENTIAL, label::OFFERED),
    );
    let (own_secrets, own_events) = follow::<PartialObjectMeta<Secret>>(
        Api::namespaced(client.clone(), own_namespace),
        all.clone(),
    );
    let (namespaces, namespaces_events) =
        follow::<PartialObjectMeta<Namespace>>(Api::all(client.clone()), all);
    let stores = Stores {
        keys,
        accounts,
        servers,
        cluster_servers,
        secrets,
        credentials,
        own_secrets,
        namespaces,
    };

    let ring = Ring {
        bells,
        stores: stores.clone(),
    };
    let (r1, r2, r3, r4, r5, r6, r7, r8) = (
        ring.clone(),
        ring.clone(),
        ring.clone(),
        ring.clone(),
        ring.clone(),
        ring.clone(),
        ring.clone(),
        ring,
    );
    let events: Vec<futures::stream::BoxStream<'static, ()>> = vec![
        keys_events.map(move |key| r1.key(&key)).boxed(),
        accounts_events
            .map(move |account| r2.account(&account))
            .boxed(),
        servers_events.map(move |server| r3.server(&server)).boxed(),
        cluster_events
            .map(move |server| r4.cluster_server(&server))
            .boxed(),
        secrets_events.map(move |secret| r5.secret(&secret)).boxed(),
        credentials_events
            .map(move |secret| r6.credential(&secret))
            .boxed(),
        own_events.map(move |secret| r7.own_secret(&secret)).boxed(),
        namespaces_events
            .map(move |namespace| r8.namespace(&namespace))
            .boxed(),
    ];
    (stores, stream::select_all(events))
}

/// Follows one kind: its store, and each object that was seen, changed or deleted.
fn follow<K>(api: Api<K>, config: watcher::Config) -> (Store<K>, impl Stream<Item = K> + Send)
where
    K: Resource<DynamicType: Eq + Hash + Clone + Default + Send + Sync>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let mut before: Vec<Arc<K>> = Vec::new();
    let all = store.clone();
    let events = watcher(api, config)
        .default_backoff()
        .reflect(writer)
        .map(move |event| match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => vec![object],
            Ok(Event::Init) => {
                before = those(&all, |_| true);
                Vec::new()
            }
            Ok(Event::InitApply(_)) => Vec::new(),
            // Only now does the store show the new list, and lack what went meanwhile.
            Ok(Event::InitDone) => {
                let now = those(&all, |_| true)
                    .into_iter()
                    .chain(std::mem::take(&mut before));
                now.map(|object| (*object).clone()).collect()
            }
            Err(error) => {
                tracing::warn!(error = %super::outermost(&error), "a watch broke and begins anew");
                Vec::new()
            }
        })
        .flat_map(stream::iter);
    (store, events)
}

/// Who is woken by what.
#[derive(Clone)]
struct Ring {
    bells: Bells,
    stores: Stores,
}

impl Ring {
    fn key(&self, key: &Guarded<ApiKey>) {
        let namespace = key.namespace().unwrap_or_default();
        self.bells.key(&namespace, &key.name_any());
        // A ServiceAccount that is being deleted waits for its ApiKeys, and counts them.
        if let Ok(key) = &key.0 {
            let account = &key.spec.service_account_ref.name;
            let waits = self
                .stores
                .account(&namespace, account)
                .is_some_and(|account| account.meta().deletion_timestamp.is_some());
            if waits {
                self.bells.account(&namespace, account);
            }
        }
    }

    fn account(&self, account: &Guarded<ServiceAccount>) {
        let namespace = account.namespace().unwrap_or_default();
        self.bells.account(&namespace, &account.name_any());
        self.bells
            .keys_of(&self.stores, &namespace, &account.name_any());
        if let Ok(account) = &account.0 {
            self.bells
                .connection(&Place::of(&account.spec.server_ref, &namespace));
        }
    }

    fn server(&self, server: &Guarded<DeployServer>) {
        let place = Place::at(ServerKind::DeployServer, server);
        self.bells.connection(&place);
        self.bells.accounts_of(&self.stores, &place);
    }

    fn cluster_server(&self, server: &Guarded<ClusterDeployServer>) {
        let place = Place::at(ServerKind::ClusterDeployServer, server);
        self.bells.connection(&place);
        self.bells.accounts_of(&self.stores, &place);
    }

    fn secret(&self, secret: &PartialObjectMeta<Secret>) {
        let namespace = secret.namespace().unwrap_or_default();
        let named = |key: &ApiKey| key.secret_name() == secret.name_any();
        let wants = |key: &Guarded<ApiKey>| {
            key.0.as_ref().is_ok_and(named) && key.namespace().as_ref() == Some(&namespace)
        };
        for key in those(&self.stores.keys, wants) {
            self.bells.key(&namespace, &key.name_any());
        }
    }

    fn credential(&self, secret: &PartialObjectMeta<Secret>) {
        let beside = |server: &Guarded<DeployServer>| server.namespace() == secret.namespace();
        let secret = secret.name_any();
        for server in those(&self.stores.servers, beside) {
            let auth = server.0.as_ref().map(|server| &server.spec.connection.auth);
            if auth.is_ok_and(|auth| credential_name(auth) == Some(&secret)) {
                self.server(&server);
            } else {
                // It may have used this one before, and hold it still.
                let place = Place::at(ServerKind::DeployServer, &*server);
                self.bells.connection(&place);
            }
        }
    }

    fn own_secret(&self, secret: &PartialObjectMeta<Secret>) {
        let uses = |server: &Guarded<ClusterDeployServer>| {
            server.0.as_ref().is_ok_and(|server| {
                credential_name(&server.spec.connection.auth) == Some(&secret.name_any())
            })
        };
        for server in those(&self.stores.cluster_servers, uses) {
            self.cluster_server(&server);
        }
    }

    /// The labels of a namespace decide who is granted what.
    fn namespace(&self, namespace: &PartialObjectMeta<Namespace>) {
        let namespace = namespace.name_any();
        let within =
            |account: &Guarded<ServiceAccount>| account.namespace().as_ref() == Some(&namespace);
        for account in those(&self.stores.accounts, within) {
            self.bells.account(&namespace, &account.name_any());
        }
    }
}

/// The name of the Secret with a connection's credential; `None` where none is stored.
pub(crate) fn credential_name(auth: &Auth) -> Option<&str> {
    match auth {
        Auth::ApiKey(value) | Auth::Bearer(value) => Some(&value.secret_ref.name),
        Auth::Basic(value) => Some(&value.secret_ref.name),
        Auth::WorkloadIdentity(_) => None,
    }
}
