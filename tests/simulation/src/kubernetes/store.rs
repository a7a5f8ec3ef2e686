//! The store behind the simulated API: objects, their versions, and what has changed since.
//!
//! Pure: a request and the present go in, an answer comes out. Every write takes the next version
//! of one counter, and every change is kept until [`Store::compact`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::admission::Admission;
use super::builtin;
use super::kind::{Kind, Scope, StatusDoor};
use super::refusal::Refusal;
use super::request::{Options, Part, Target, Verb, View, verb};
use super::watch::Subscription;

/// Names one object. Ordered as lists are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `plural.group`.
    pub resource: String,
    /// Empty for a kind of the whole cluster.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// The version it made.
    pub version: u64,
    /// The object.
    pub key: Key,
    /// As it was, `None` when it was made.
    pub old: Option<Arc<Value>>,
    /// As it is, `None` when it was ended.
    pub new: Option<Arc<Value>>,
}

/// The answer to a request.
pub enum Answer {
    /// All of it.
    Whole(Response<Bytes>),
    /// A stream that goes on.
    Stream(Subscription),
}

/// All that the API server knows.
pub struct Store {
    pub(super) kinds: Vec<Arc<Kind>>,
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    pub(super) history: VecDeque<Change>,
    pub(super) version: u64,
    pub(super) compacted: u64,
    pub(super) made: u64,
    pub(super) admissions: Vec<Admission>,
    /// Objects whose default status is shown but not stored yet: the next write changes them, even
    /// if it changes nothing else.
    pub(super) incomplete: BTreeSet<Key>,
}

/// All objects of one moment.
#[derive(Debug, Clone)]
pub struct Snapshot(BTreeMap<Key, Arc<Value>>);

/// Who asks for what, as the transitions need it.
pub(super) struct Asked {
    pub(super) now: Timestamp,
    pub(super) kind: Arc<Kind>,
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) user: String,
    pub(super) horizon: Option<u64>,
}

/// Who sends a request, as an extension of it; nobody by default.
#[derive(Debug, Clone)]
pub struct User(pub String);

/// The version at which the cache stands that answers reads of `resourceVersion=0`, as an extension
/// of a request; the newest by default.
#[derive(Debug, Clone, Copy)]
pub struct Horizon(pub u64);

impl Store {
    /// A fresh cluster: the built-in kinds, and the namespaces that every cluster has.
    ///
    /// # Errors
    /// When a schema of a built-in kind makes no sense.
    pub fn new(now: Timestamp) -> Result<Self> {
        let mut store = Self {
            kinds: builtin::kinds()?.into_iter().map(Arc::new).collect(),
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            version: 1,
            compacted: 0,
            made: 0,
            admissions: Vec::new(),
            incomplete: BTreeSet::new(),
        };
        for name in ["default", "kube-system"] {
            store.handle(now, &namespace(name)?);
        }
        Ok(store)
    }

    /// Serves one more kind. A kind of the same name is replaced.
    pub fn serve(&mut self, kind: impl Into<Arc<Kind>>) {
        let kind = kind.into();
        self.kinds
            .retain(|known| !known.is(&kind.group, &kind.plural));
        self.kinds.push(kind);
    }

    /// Answers one request.
    pub fn handle(&mut self, now: Timestamp, request: &http::Request<Bytes>) -> Answer {
        match self.route(now, request) {
            Ok(answer) => answer,
            Err(refusal) => Answer::Whole(respond(refusal.code, refusal.status())),
        }
    }

    /// One object, as it is now. For oracles.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        let key = Key {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.objects.get(&key).map(AsRef::as_ref)
    }

    /// All objects of a kind, as they are now. For oracles.
    pub fn all<'store>(&'store self, resource: &'store str) -> impl Iterator<Item = &'store Value> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.resource == resource)
            .map(|(_, object)| object.as_ref())
    }

    /// What has changed after a version, as far as it is remembered. For oracles.
    pub fn changes(&self, after: u64) -> impl Iterator<Item = &Change> {
        let known = self
            .history
            .partition_point(|change| change.version <= after);
        self.history.range(known..)
    }

    /// The version of the newest write.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Forgets all history: watches and pages of earlier versions get 410.
    pub fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.version;
    }

    /// All objects, to come back to.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.objects.clone())
    }

    /// Puts all objects back as they were, as a restored etcd with its revision bumped would:
    /// versions go on, objects keep theirs, and watches of before get 410. What has changed by it is
    /// left for oracles alone.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let versions = snapshot.0.values().filter_map(|object| {
            let version = object["metadata"]["resourceVersion"].as_str()?;
            version.parse::<u64>().ok()
        });
        self.version = versions.chain([self.version]).max().unwrap_or_default();
        self.history.clear();
        let mut keys: BTreeSet<Key> = self.objects.keys().cloned().collect();
        keys.extend(snapshot.0.keys().cloned());
        for key in keys {
            let old = self.objects.get(&key).cloned();
            let new = snapshot.0.get(&key).cloned();
            if old != new {
                self.version += 1;
                let version = self.version;
                self.history.push_back(Change {
                    version,
                    key,
                    old,
                    new,
                });
            }
        }
        self.objects.clone_from(&snapshot.0);
        self.version += 1;
        self.compacted = self.version;
    }

    /// Draws other uids from now on than the cluster of which this one is a copy.
    pub fn part(&mut self) {
        self.made += 1 << 20;
    }

    fn route(&mut self, now: Timestamp, request: &http::Request<Bytes>) -> Result<Answer, Refusal> {
        let path = request.uri().path();
        if path == "/version" {
            let version = json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3"});
            return Ok(Answer::Whole(respond(StatusCode::OK, &version)));
        }
        if let Some(answer) = self.vouch(now, request) {
            return answer.map(Answer::Whole);
        }
        let target = Target::parse(path).ok_or_else(Refusal::unknown_path)?;
        let options = Options::read(request)?;
        let kind = self
            .kinds
            .iter()
            .find(|kind| kind.is(&target.group, &target.plural) && kind.version == target.version)
            .cloned()
            .ok_or_else(Refusal::unknown_path)?;
        let verb = verb(request.method(), &target, &options).ok_or_else(Refusal::method)?;
        let served = match target.part {
            Part::Whole => true,
            Part::Status => kind.status == StatusDoor::Subresource,
            Part::Finalize => kind.is("", "namespaces"),
        };
        let placed = match (kind.scope, &target.namespace, &target.name) {
            (Scope::Cluster, namespace, _) => namespace.is_none(),
            (Scope::Namespaced, None, name) => name.is_none() && verb != Verb::Create,
            (Scope::Namespaced, Some(_), _) => true,
        };
        if !served || !placed {
            return Err(Refusal::unknown_path());
        }
        let user = request
            .extensions()
            .get::<User>()
            .map_or_else(String::new, |user| user.0.clone());
        let horizon = request.extensions().get().map(|Horizon(version)| *version);
        let asked = Asked {
            now,
            kind,
            target,
            options,
            user,
            horizon,
        };
        self.perform(verb, &asked, request)
    }

    fn perform(
        &mut self,
        verb: Verb,
        asked: &Asked,
        request: &http::Request<Bytes>,
    ) -> Result<Answer, Refusal> {
        let (code, object) = match verb {
            Verb::Watch => return self.watch(asked).map(Answer::Stream),
            Verb::List => (StatusCode::OK, self.list(asked)?),
            Verb::Get => (
                StatusCode::OK,
                asked.show(self.present(asked)?.as_ref().clone()),
            ),
            Verb::Create => {
                let made = self.create(asked, super::patch::decode(request.body())?)?;
                (StatusCode::CREATED, asked.show(made))
            }
            Verb::Replace => {
                let (code, object) = self.replace(asked, super::patch::decode(request.body())?)?;
                (code, asked.show(object))
            }
            Verb::Patch => {
                let dialect = super::request::dialect(request)?;
                let (code, object) = self.patch(asked, dialect, request.body())?;
                (code, asked.show(object))
            }
            Verb::Delete => (StatusCode::OK, self.delete(asked, request.body())?),
            Verb::Clear => (StatusCode::OK, self.clear(asked, request.body())?),
        };
        Ok(Answer::Whole(respond(code, &object)))
    }

    /// The object that a path names.
    pub(super) fn present(&self, asked: &Asked) -> Result<Arc<Value>, Refusal> {
        self.objects
            .get(&asked.key())
            .cloned()
            .ok_or_else(|| Refusal::not_found(&asked.kind, &asked.key().name))
    }

    /// Stores a change and gives back the object as it now is, or last was.
    pub(super) fn commit(&mut self, key: Key, new: Option<Value>) -> Arc<Value> {
        self.incomplete.remove(&key);
        self.store(key, new)
    }

    pub(super) fn store(&mut self, key: Key, new: Option<Value>) -> Arc<Value> {
        self.version += 1;
        let old = self.objects.get(&key).cloned();
        let stamp = |mut object: Value| {
            object["metadata"]["resourceVersion"] = self.version.to_string().into();
            Arc::new(object)
        };
        let (new, shown) = match (new, &old) {
            (Some(object), _) => {
                let object = stamp(object);
                self.objects.insert(key.clone(), object.clone());
                (Some(object.clone()), object)
            }
            (None, Some(last)) => {
                self.objects.remove(&key);
                (None, stamp(last.as_ref().clone()))
            }
            (None, None) => (None, Arc::new(Value::Null)),
        };
        self.history.push_back(Change {
            version: self.version,
            key,
            old,
            new,
        });
        shown
    }
}

impl Asked {
    /// The object's key; the name is empty where the path has none.
    pub(super) fn key(&self) -> Key {
        Key {
            resource: self.kind.resource(),
            namespace: self.target.namespace.clone().unwrap_or_default(),
            name: self.target.name.clone().unwrap_or_default(),
        }
    }

    /// As much of an object as was asked for.
    pub(super) fn show(&self, object: Value) -> Value {
        shown(self.options.view, object)
    }
}

/// An object as a view shows it.
pub(super) fn shown(view: View, mut object: Value) -> Value {
    match view {
        View::Metadata if object["kind"] != "Status" => json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": object["metadata"].take(),
        }),
        _ => object,
    }
}

pub(super) fn respond(code: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = code;
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

fn namespace(name: &str) -> Result<http::Request<Bytes>> {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    Ok(http::Request::post("/api/v1/namespaces").body(Bytes::from(body.to_string()))?)
}
