//! The store as a server in the same process: it knows the time, rings when something changes, and
//! streams watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use apikey_operator::clock::Clock;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Response, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::refusal::Refusal;
use super::request::Target;
use super::store::{Answer, Horizon, Store, User};
use super::watch::{Blinds, Subscription};

/// The body of an answer: whole, or a stream of events.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How long the cluster's own controllers take to notice a change.
const CONTROLLERS_DELAY: Duration = Duration::from_secs(1);

/// A watch that asks for no end gets this one.
const WATCH_LIMIT: Duration = Duration::from_secs(1800);

/// A Kubernetes API server in this process.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    store: Mutex<Store>,
    views: Mutex<BTreeMap<(String, String), Sight>>,
    clock: Arc<dyn Clock>,
    bell: Notify,
}

/// How one user sees one resource.
#[derive(Debug, Clone, Default)]
struct Sight {
    blinds: Blinds,
    cuts: u64,
}

impl ApiServer {
    /// A fresh cluster that goes by this clock.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self> {
        let inner = Inner {
            store: Mutex::new(Store::new(clock.now())?),
            views: Mutex::default(),
            clock,
            bell: Notify::new(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Looks at the store, or changes it behind everybody's back.
    pub fn store<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        let (value, changed) = {
            let mut store = locked(&self.inner.store);
            let before = store.version();
            let value = look(&mut store);
            (value, store.version() != before)
        };
        if changed {
            self.ring();
        }
        value
    }

    /// Answers one request, for a user.
    pub fn answer(&self, user: &str, mut request: http::Request<Bytes>) -> Response<Body> {
        let now = self.inner.clock.now();
        request.extensions_mut().insert(User(user.to_owned()));
        if let Some(target) = Target::parse(request.uri().path()) {
            let sight = self.see(&(user.to_owned(), target.resource()));
            if let Some(version) = sight.blinds.held {
                request.extensions_mut().insert(Horizon(version));
            }
        }
        match self.store(|store| store.handle(now, &request)) {
            Answer::Whole(response) => response.map(whole),
            Answer::Stream(subscription) => self.stream(user, subscription),
        }
    }

    /// Holds back from a user what changes from now on in a resource.
    pub fn hold(&self, user: &str, resource: &str) {
        let version = self.store(|store| store.version());
        self.sight(user, resource, |sight| sight.blinds.held = Some(version));
    }

    /// Shows a user what was held back.
    pub fn release(&self, user: &str, resource: &str) {
        self.sight(user, resource, |sight| sight.blinds.held = None);
    }

    /// Never shows a user, in a resource, the change that made a version.
    pub fn lose(&self, user: &str, resource: &str, version: u64) {
        self.sight(user, resource, |sight| {
            sight.blinds.lost.insert(version);
        });
    }

    /// Ends a user's running watches of a resource.
    pub fn cut(&self, user: &str, resource: &str) {
        self.sight(user, resource, |sight| sight.cuts += 1);
    }

    /// Runs the namespace controller and the garbage collector until they find nothing to do.
    pub fn collect(&self) {
        let now = self.inner.clock.now();
        self.store(|store| while store.collect(now) {});
    }

    /// The namespace controller and the garbage collector, at work for ever. To be spawned.
    pub async fn run_controllers(self) {
        loop {
            self.collect();
            self.inner.bell.notified().await;
            sleep(CONTROLLERS_DELAY).await;
        }
    }

    fn sight(&self, user: &str, resource: &str, change: impl FnOnce(&mut Sight)) {
        let key = (user.to_owned(), resource.to_owned());
        change(locked(&self.inner.views).entry(key).or_default());
        self.ring();
    }

    fn see(&self, key: &(String, String)) -> Sight {
        locked(&self.inner.views)
            .get(key)
            .cloned()
            .unwrap_or_default()
    }

    fn ring(&self) {
        self.inner.bell.notify_waiters();
    }

    fn stream(&self, user: &str, subscription: Subscription) -> Response<Body> {
        let key = (user.to_owned(), subscription.resource().to_owned());
        let limit = subscription
            .timeout
            .map_or(WATCH_LIMIT, Duration::from_secs);
        let watch = Watch {
            server: self.clone(),
            cuts: self.see(&key).cuts,
            end: Instant::now() + limit,
            over: false,
            key,
            subscription,
        };
        let frames = stream::unfold(watch, |mut watch| async move {
            let lines = watch.next().await?;
            Some((lines, watch))
        });
        let body = StreamBody::new(frames.map(|lines| Ok(http_body::Frame::data(lines))));
        let mut response = Response::new(body.boxed_unsync());
        let json = http::HeaderValue::from_static("application/json");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, json);
        *response.status_mut() = StatusCode::OK;
        response
    }
}

/// A running watch.
struct Watch {
    server: ApiServer,
    key: (String, String),
    subscription: Subscription,
    cuts: u64,
    end: Instant,
    over: bool,
}

impl Watch {
    /// The next lines, or none when the watch has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            let server = self.server.clone();
            let rung = server.inner.bell.notified();
            let sight = self.server.see(&self.key);
            if sight.cuts != self.cuts {
                return None;
            }
            let events = self
                .server
                .store(|store| self.subscription.next(store, &sight.blinds));
            match events {
                Ok(events) if events.is_empty() => {}
                Ok(events) => return Some(lines(&events)),
                Err(refusal) => return Some(self.fail(&refusal)),
            }
            tokio::select! {
                biased;
                () = rung => {}
                () = sleep_until(self.end) => {
                    self.over = true;
                    return self.subscription.bookmark().map(|event| lines(&[event]));
                }
            }
        }
    }

    fn fail(&mut self, refusal: &Refusal) -> Bytes {
        self.over = true;
        lines(&[Subscription::refused(refusal)])
    }
}

fn lines(events: &[serde_json::Value]) -> Bytes {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.to_string());
        text.push('\n');
    }
    text.into()
}

/// A body that is there at once.
pub fn whole(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A poisoned lock still guards a world that a failing test wants to look at.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
