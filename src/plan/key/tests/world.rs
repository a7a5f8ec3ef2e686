//! A world in one struct: an ApiKey, its Secret, a server with keys, requests that land late, and a
//! clock.

use jiff::{SignedDuration, Timestamp};

use super::build::*;
use super::oracle::Oracle;
use crate::plan::key::{Dress, Finalizer, Held, Object, Owner, Publication, Secret, Values};
use crate::plan::port::{AccountId, Activity, KeyId, List, NewKey, Order, RemoteKey};
use crate::plan::record::Nonce;
use crate::plan::sweep::Attempts;

/// The ApiKey and its Secret at one moment.
#[derive(Clone)]
pub(super) struct Moment<T> {
    pub(super) version: u64,
    pub(super) is: T,
}

#[derive(Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) held: Held,
    /// The key whose value is in it.
    pub(super) value: KeyId,
}

#[derive(Clone)]
pub(super) struct ServerKey {
    pub(super) remote: RemoteKey,
    /// When it was revoked.
    pub(super) dead: Option<Timestamp>,
}

impl ServerKey {
    /// Whether our ApiKey made it.
    pub(super) fn is_ours(&self) -> bool {
        claim().marker_of(&self.remote, &uid()).is_some()
    }
}

/// A request that lands later than its sender waits.
#[derive(Clone)]
struct Flying {
    lands: Timestamp,
    what: Load,
}

#[derive(Clone)]
pub(super) enum Load {
    Mint(Order),
    /// With the resource version that it expects of the Secret; `None` for a create.
    Publish(Publication, Option<String>),
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is carried out and answered.
    Well,
    /// It is carried out, the answer is lost.
    Unheard,
    /// It lands as late as it can, and nobody waits for it any more.
    Late,
    /// It never arrives, and nobody can tell.
    Lost,
    /// It is answered with a refusal.
    Refused,
    /// It is carried out and answered, and a second copy of it lands late.
    Twice,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) objects: Vec<Moment<Option<Object>>>,
    pub(super) secrets: Vec<Moment<Option<Stored>>>,
    pub(super) keys: Vec<ServerKey>,
    pub(super) log: Vec<String>,
    pub(super) writes: usize,
    pub(super) oracle: Oracle,
    flying: Vec<Flying>,
    version: u64,
    nonces: u8,
}

impl World {
    pub(super) fn new(spec: &str) -> Self {
        let foreign = |id: &str, text: String| ServerKey {
            remote: RemoteKey {
                id: KeyId::new(id),
                account: AccountId::new("Users-7"),
                activity: Activity::Enabled,
                extras: None,
                text,
                created_at: start() - days(100),
                expires_at: None,
            },
            dead: None,
        };
        Self {
            now: start(),
            objects: vec![Moment {
                version: 1,
                is: Some(object(spec)),
            }],
            secrets: vec![Moment {
                version: 1,
                is: None,
            }],
            // Nobody's, another installation's with our uid, and another ApiKey's.
            keys: vec![
                foreign("foreign", "by hand".to_owned()),
                foreign("other", text(1).replace("here", "there")),
                foreign("sister", text(1).replace("0f0f0f0f-uid", "sister")),
            ],
            log: Vec::new(),
            writes: 0,
            oracle: Oracle::default(),
            flying: Vec::new(),
            version: 1,
            nonces: 0,
        }
    }

    pub(super) fn say(&mut self, line: impl AsRef<str>) {
        let since = SignedDuration::try_from(self.now - start()).unwrap();
        self.log
            .push(format!("{:>9.3} s  {}", since.as_secs_f64(), line.as_ref()));
    }

    pub(super) fn object(&self) -> Option<&Object> {
        self.objects.last()?.is.as_ref()
    }

    pub(super) fn secret(&self) -> Option<&Stored> {
        self.secrets.last()?.is.as_ref()
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The keys of this ApiKey that the server accepts.
    pub(super) fn living(&self) -> Vec<&KeyId> {
        self.keys
            .iter()
            .filter(|key| key.is_ours() && self.accepts(key))
            .map(|key| &key.remote.id)
            .collect()
    }

    fn accepts(&self, key: &ServerKey) -> bool {
        key.dead.is_none() && key.remote.expires_at.is_none_or(|end| end > self.now)
    }

    pub(super) fn is_dead(&self, id: &KeyId) -> bool {
        self.keys
            .iter()
            .any(|key| key.remote.id == *id && key.dead.is_some())
    }

    /// Somebody, or we, write the ApiKey.
    pub(super) fn set_object(&mut self, change: impl FnOnce(&mut Object)) {
        let Some(mut object) = self.object().cloned() else {
            return;
        };
        change(&mut object);
        self.version += 1;
        let going = object.deleting.is_some() && object.finalizer == Finalizer::Missing;
        let is = (!going).then_some(object);
        if is.is_none()
            && self
                .secret()
                .is_some_and(|secret| secret.held.owner == Owner::ApiKey)
        {
            self.set_secret(None);
        }
        self.objects.push(Moment {
            version: self.version,
            is,
        });
    }

    pub(super) fn set_secret(&mut self, secret: Option<Stored>) {
        self.version += 1;
        let is = secret.map(|mut secret| {
            secret.held.resource_version = self.version.to_string();
            secret
        });
        let mut oracle = std::mem::take(&mut self.oracle);
        oracle.secret_changes(self.secret(), is.as_ref(), self.now, self.object());
        self.oracle = oracle;
        self.secrets.push(Moment {
            version: self.version,
            is,
        });
    }

    /// When the next request lands that nobody waits for.
    pub(super) fn next_landing(&self) -> Option<Timestamp> {
        self.flying.iter().map(|one| one.lands).min()
    }

    pub(super) fn advance(&mut self, to: Timestamp) {
        while let Some(at) = self.next_landing().filter(|at| *at <= to) {
            let index = self.flying.iter().position(|one| one.lands == at).unwrap();
            let one = self.flying.remove(index);
            self.now = self.now.max(at);
            match one.what {
                Load::Mint(order) => {
                    let key = self.make(&order);
                    self.say(format!("  … {} is made late", key.id));
                }
                Load::Publish(publication, expects) => {
                    let id = publication.published.id.clone();
                    let taken = self.store(publication, expects.as_deref());
                    self.say(format!(
                        "  … a late Publish of {id} is {}",
                        if taken { "taken" } else { "refused" }
                    ));
                }
            }
            self.check();
        }
        self.now = self.now.max(to);
    }

    /// A request that nobody waits for.
    pub(super) fn send(&mut self, lands: Timestamp, what: Load) {
        self.flying.push(Flying { lands, what });
    }

    /// The keys with our uid that none of the attempts can have made that are on record.
    pub(super) fn others(&self, object: &Object) -> Vec<&KeyId> {
        let published = self
            .secret()
            .and_then(|secret| secret.held.published.as_ref());
        let attempts = Attempts::of(
            object.intent.ours(),
            published.map(|key| (key.serial, &key.nonce, key.created_at)),
            None,
        );
        let accepted = self.keys.iter().filter(|key| self.accepts(key));
        let others = accepted.filter(|key| {
            let marker = claim().marker_of(&key.remote, &uid());
            marker.is_some_and(|marker| attempts.exclude(&marker, key.remote.created_at))
        });
        others.map(|key| &key.remote.id).collect()
    }

    /// The server's list of keys.
    pub(super) fn list(&self) -> List {
        let accepted = self.keys.iter().filter(|key| self.accepts(key));
        List {
            began: self.now,
            keys: accepted
                .map(|key| key.remote.clone())
                .collect::<Vec<_>>()
                .into(),
        }
    }

    /// The oracles look at everything after each effect.
    pub(super) fn check(&mut self) {
        if let Some(broken) = Oracle::judge(self) {
            panic!("{broken}\n{}", self.log.join("\n"));
        }
    }

    pub(super) fn broken(&self, what: &str) -> ! {
        panic!("{what}\n{}", self.log.join("\n"))
    }

    pub(super) fn fresh_nonce(&mut self) -> Nonce {
        self.nonces += 1;
        nonce(self.nonces)
    }

    pub(super) fn make(&mut self, order: &Order) -> NewKey {
        let made = self.keys.len() - 2;
        let remote = RemoteKey {
            id: KeyId::new(format!("k{made}")),
            account: AccountId::new("Users-7"),
            activity: Activity::Enabled,
            extras: None,
            text: order.text.clone(),
            created_at: self.now,
            expires_at: Some(order.expires_at),
        };
        self.keys.push(ServerKey {
            remote: remote.clone(),
            dead: None,
        });
        NewKey {
            id: remote.id,
            text: remote.text,
            created_at: remote.created_at,
            expires_at: remote.expires_at,
        }
    }

    /// The Secret's write, with its guard.
    pub(super) fn store(&mut self, publication: Publication, expects: Option<&str>) -> bool {
        let held = self
            .secret()
            .map(|secret| secret.held.resource_version.as_str());
        // A Secret whose owner is gone is collected as soon as it appears.
        if held != expects || self.object().is_none() {
            return false;
        }
        self.oracle.publishes(&publication);
        let Publication {
            published,
            retiring,
            rotate_handled,
            previous,
        } = publication;
        let value = published.id.clone();
        self.set_secret(Some(Stored {
            value,
            held: Held {
                resource_version: String::new(),
                deleting: false,
                published: Some(published),
                retiring,
                rotate_handled,
                dress: Dress::Tidy,
                owner: Owner::ApiKey,
                previous,
                values: Values::Ours,
            },
        }));
        true
    }

    pub(super) fn seen_secret(&self) -> Secret {
        self.secret()
            .map_or(Secret::Absent, |secret| Secret::Ours(secret.held.clone()))
    }
}
