//! The deploy servers of a world, one of each kind side by side, each at a host of its own: and what
//! their keys look like to whoever looks behind the doors.

use apikey_operator::clock::Clock as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Map, Value};
use testbed::twins::elasticsearch::{self, Elasticsearch};
use testbed::twins::octopus::{self, KeyView, Life, Octopus};
use testbed::twins::stackstorm::{self, StackStorm};
use testbed::twins::{Cut, Door as Way};

use crate::clock::SimulatedClock;
use crate::wire::Overheard;

/// Where Octopus Deploy answers.
pub const OCTOPUS: &str = "octopus.example";
/// Where StackStorm answers.
pub const STACKSTORM: &str = "stackstorm.example";
/// Where Elasticsearch answers.
pub const ELASTICSEARCH: &str = "elasticsearch.example";

/// One server of each kind. Clones lead to the same ones.
#[derive(Clone)]
pub struct Servers {
    /// Octopus Deploy.
    pub octopus: Way<Octopus>,
    /// StackStorm.
    pub stackstorm: Way<StackStorm>,
    /// Elasticsearch.
    pub elasticsearch: Way<Elasticsearch>,
}

impl Servers {
    /// Fresh ones, in the time of a world. What is secret from the start is noted.
    pub(crate) fn new(
        clock: &SimulatedClock,
        config: &octopus::Config,
        overheard: &Overheard,
    ) -> Self {
        let time = || {
            let clock = clock.clone();
            move || clock.now()
        };
        let servers = Self {
            octopus: Way::new(Octopus::new(config), time()),
            stackstorm: Way::new(StackStorm::new(&stackstorm::Config::default()), time()),
            elasticsearch: Way::new(
                Elasticsearch::new(&elasticsearch::Config::default()),
                time(),
            ),
        };
        for secret in [
            servers
                .octopus
                .look(|twin, _| twin.start().operator.key.clone()),
            servers
                .octopus
                .look(|twin, _| twin.start().admin_password().to_owned()),
            servers
                .stackstorm
                .look(|twin, _| twin.start().operator.password.clone()),
            servers
                .elasticsearch
                .look(|twin, _| twin.start().operator.password.clone()),
        ] {
            overheard.add(&secret);
        }
        servers
    }

    /// Sends a request to the server at this host; `None` where there is none.
    pub(crate) async fn send(
        &self,
        host: &str,
        request: Request<Bytes>,
    ) -> Option<Result<Response<Bytes>, Cut>> {
        Some(match host {
            OCTOPUS => self.octopus.send(request).await,
            STACKSTORM => self.stackstorm.send(request).await,
            ELASTICSEARCH => self.elasticsearch.send(request).await,
            _ => return None,
        })
    }

    /// The keys of all servers that were not ended, each as the twin of Octopus Deploy shows one.
    pub fn keys(&self) -> Vec<KeyView> {
        let mut keys = self.octopus.view().keys;
        keys.extend(self.stackstorm.view().keys.into_iter().map(stackstorm_key));
        let kept = self.elasticsearch.view().keys.into_iter();
        let kept = kept.filter(|key| key.invalidated.is_none());
        keys.extend(kept.map(elasticsearch_key));
        keys
    }

    /// The key with this value, where a server knows one.
    pub fn whose(&self, value: &str) -> Option<KeyView> {
        let octopus = self.octopus.look(|twin, now| twin.whose(now, value));
        let stackstorm = || self.stackstorm.look(|twin, _| twin.whose(value));
        let elasticsearch = || self.elasticsearch.look(|twin, now| twin.whose(now, value));
        octopus
            .or_else(|| stackstorm().map(stackstorm_key))
            .or_else(|| {
                let key = elasticsearch().filter(|key| key.invalidated.is_none());
                key.map(elasticsearch_key)
            })
    }

    /// Whether a key is of the account of this name. Nothing is said where Octopus Deploy knows no such
    /// account: one that was renamed or deleted on the server is told of elsewhere.
    pub(crate) fn is_of(&self, key: &KeyView, account: &str) -> Option<bool> {
        if key.id.starts_with("apikeys-") {
            let view = self.octopus.view();
            return Some(view.account(account)?.id == key.owner);
        }
        Some(key.owner == account)
    }
}

/// How a program shows a server its key, to see whether it is taken.
pub(crate) fn proof(key: &str) -> (&'static str, &'static str, String) {
    let decoded = STANDARD.decode(key).unwrap_or_default();
    if key.starts_with("API-") {
        (OCTOPUS, "/api/users/me", format!("X-Octopus-ApiKey: {key}"))
    } else if decoded.contains(&b':') {
        let header = format!("Authorization: ApiKey {key}");
        (ELASTICSEARCH, "/_security/_authenticate", header)
    } else {
        (STACKSTORM, "/api/v1/user", format!("St2-Api-Key: {key}"))
    }
}

fn stackstorm_key(key: stackstorm::KeyView) -> KeyView {
    KeyView {
        purpose: told(&key.metadata, "text"),
        expires: told(&key.metadata, "expiresAt").parse().ok(),
        id: key.id,
        owner: key.owner,
        created: key.created,
        last_used: None,
        life: match key.life {
            stackstorm::Life::Alive => Life::Alive,
            stackstorm::Life::Disabled | stackstorm::Life::OwnerUnknown => Life::OwnerDisabled,
        },
    }
}

fn elasticsearch_key(key: elasticsearch::KeyView) -> KeyView {
    KeyView {
        purpose: key.name,
        id: key.id,
        owner: key.owner,
        created: key.created,
        expires: key.expires,
        last_used: None,
        life: match key.life {
            elasticsearch::Life::Alive => Life::Alive,
            elasticsearch::Life::Expired | elasticsearch::Life::Invalidated => Life::Expired,
        },
    }
}

/// What the operator has noted on a key.
fn told(metadata: &Map<String, Value>, name: &str) -> String {
    let ours = metadata.get("apikeys.dev").and_then(|ours| ours.get(name));
    ours.and_then(Value::as_str).unwrap_or_default().to_owned()
}
