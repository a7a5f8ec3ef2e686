//! The deploy servers of a demo, all on 127.0.0.1, and what one asks them to know the truth.
//!
//! The story is the same for all of them. What one kind has in its own way is data ([`Ways`]); how
//! one sees and changes it behind the operator's back is a [`Site`].

mod real;
mod simulated;
mod ways;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use http::StatusCode;
use reqwest::Client;
use serde_json::Value;

use self::real::Real;
use self::simulated::Simulated;
pub(super) use self::ways::Ways;
use crate::twins::Door;
use crate::twins::octopus::{self, Octopus};
use crate::twins::stackstorm::{self, StackStorm};

/// Long enough for a server on this very machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A kind of deploy server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A twin of Octopus Deploy.
    Octopus,
    /// A twin of StackStorm.
    StackStorm,
    /// A real Elasticsearch.
    Elasticsearch,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Octopus, Self::StackStorm, Self::Elasticsearch];
}

/// A key as a program finds it: with the address of the API that takes it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Handed {
    pub(super) url: String,
    pub(super) key: String,
}

/// What a server says to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It takes it.
    Taken {
        /// The account that the key belongs to.
        username: String,
    },
    /// It does not take it.
    Refused,
}

/// An account or a key that a server has.
struct Thing {
    id: String,
    /// What it is, for people.
    text: String,
}

/// How much a server was made to make.
struct Made {
    /// Zero where it makes none, or cannot tell afterwards.
    accounts: usize,
    keys: usize,
}

/// A server as its owner has it.
#[async_trait]
trait Site: Send + Sync {
    /// Its product and version.
    fn name(&self) -> String;

    /// Its address.
    fn url(&self) -> String;

    /// What the blanks of the manifests stand for, by name: how the operator signs in.
    fn credential(&self) -> Vec<(&'static str, String)>;

    /// Ends a key, and does not tell the operator.
    async fn end(&self, key: &str) -> Result<()>;

    /// Every account that was made for somebody, and every key that has not been ended.
    async fn things(&self) -> Result<Vec<Thing>>;

    /// What was made since it was there.
    async fn made(&self) -> Result<Made>;

    /// How one has an outage and ends it: what to type, and what it does.
    fn outage(&self) -> Vec<(String, &'static str)>;
}

/// A deploy server that runs.
pub struct Server {
    place: Place,
    ways: &'static Ways,
    /// The ids of all that was there before we came.
    before: BTreeSet<String>,
}

/// Where the servers are.
enum Place {
    Octopus(Simulated<Octopus>),
    StackStorm(Simulated<StackStorm>),
    Elasticsearch(Real),
}

impl Place {
    async fn start(kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Octopus => {
                let config = octopus::Config::default();
                let name = format!("Octopus Deploy {}", config.version);
                Self::Octopus(Simulated::start(Octopus::new(&config), name).await?)
            }
            Kind::StackStorm => {
                let config = stackstorm::Config {
                    rbac: true,
                    ..stackstorm::Config::default()
                };
                let name = format!("StackStorm {}", config.version);
                Self::StackStorm(Simulated::start(StackStorm::new(&config), name).await?)
            }
            Kind::Elasticsearch => Self::Elasticsearch(Real::start().await?),
        })
    }

    fn site(&self) -> &dyn Site {
        match self {
            Self::Octopus(site) => site,
            Self::StackStorm(site) => site,
            Self::Elasticsearch(site) => site,
        }
    }
}

impl Server {
    /// Starts it.
    pub(super) async fn start(kind: Kind) -> Result<Self> {
        let place = Place::start(kind).await?;
        let before = place.site().things().await?;
        Ok(Self {
            before: before.into_iter().map(|thing| thing.id).collect(),
            ways: Ways::of(kind),
            place,
        })
    }

    /// The way to everything that can happen to a twin of Octopus Deploy.
    pub fn octopus(&self) -> Option<&Door<Octopus>> {
        match &self.place {
            Place::Octopus(site) => Some(site.door()),
            Place::StackStorm(_) | Place::Elasticsearch(_) => None,
        }
    }

    /// Its product and version, and whether it is the real thing.
    pub fn name(&self) -> String {
        self.place.site().name()
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.place.site().url()
    }

    /// What its kind has in its own way.
    pub(super) fn ways(&self) -> &'static Ways {
        self.ways
    }

    /// A manifest with the address and the operator's credential in place of their names.
    pub(super) fn fill(&self, manifest: &str) -> String {
        let blanks = self.place.site().credential();
        let filled = manifest.replace("${URL}", &self.url());
        blanks.into_iter().fold(filled, |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), &value)
        })
    }

    /// Asks it who comes with this key.
    pub(super) async fn ask(&self, handed: &Handed) -> Result<Answer> {
        let answer = self.ways.who_am_i(&client()?, handed).send().await;
        let answer = answer.with_context(|| format!("{} does not answer", self.ways.name))?;
        match answer.status() {
            StatusCode::OK => {
                let me: Value = serde_json::from_slice(&answer.bytes().await?)?;
                let username = me[self.ways.username].as_str();
                Ok(Answer::Taken {
                    username: username.context("the server names nobody")?.to_owned(),
                })
            }
            StatusCode::UNAUTHORIZED => Ok(Answer::Refused),
            status => bail!("{} answers {status}", self.ways.name),
        }
    }

    /// Ends a key behind the operator's back.
    pub(super) async fn end(&self, handed: &Handed) -> Result<()> {
        self.place.site().end(&handed.key).await
    }

    /// What it was asked to make, in a few words.
    pub(super) async fn made(&self) -> Result<String> {
        let Made { accounts, keys } = self.place.site().made().await?;
        let keys = count(keys, "key");
        Ok(match accounts {
            0 => format!("{keys} made"),
            _ => format!("{} and {keys} made", count(accounts, "account")),
        })
    }

    /// The accounts and keys that were not there before, each in a few words.
    pub(super) async fn left(&self) -> Result<Vec<String>> {
        let things = self.place.site().things().await?.into_iter();
        let left = things.filter(|thing| !self.before.contains(&thing.id));
        Ok(left.map(|thing| thing.text).collect())
    }

    /// How one has an outage and ends it.
    pub(super) fn outage(&self) -> Vec<(String, &'static str)> {
        self.place.site().outage()
    }
}

fn client() -> Result<Client> {
    let client = Client::builder().no_proxy().timeout(PATIENCE);
    client.build().context("no HTTP client")
}

fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn handed(server: &Server, api: &str, key: &str) -> Handed {
        Handed {
            url: server.url() + api,
            key: key.to_owned(),
        }
    }

    /// Sends a request to a server, as somebody with this header.
    async fn post(server: &Server, path: &str, header: (&str, &str), body: &'static str) -> Value {
        let request = client().unwrap().post(server.url() + path);
        let request = request.header(header.0, header.1);
        let request = request.header("content-type", "application/json");
        let answer = request.body(Bytes::from(body)).send().await.unwrap();
        let body = answer.error_for_status().unwrap().bytes().await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn filled(server: &Server, blank: &str) -> String {
        server.fill(&format!("${{{blank}}}"))
    }

    #[tokio::test]
    async fn octopus_takes_its_keys_and_names_what_is_left() {
        let server = Server::start(Kind::Octopus).await.unwrap();
        let key = filled(&server, "API_KEY");
        assert_eq!(
            server.fill("url: ${URL}, key: ${API_KEY}"),
            format!("url: {}, key: {key}", server.url())
        );
        let username = "apikey-operator".to_owned();
        let own = handed(&server, "", &key);
        assert_eq!(server.ask(&own).await.unwrap(), Answer::Taken { username });
        let nobodys = handed(&server, "", "API-NOBODY");
        assert_eq!(server.ask(&nobodys).await.unwrap(), Answer::Refused);
        assert!(server.left().await.unwrap().is_empty());

        let signed_in = ("X-Octopus-ApiKey", key.as_str());
        let user = r#"{"Username": "ci", "DisplayName": "ci", "IsService": true}"#;
        post(&server, "/api/users", signed_in, user).await;
        assert_eq!(server.left().await.unwrap(), ["account ci"]);
        assert_eq!(server.made().await.unwrap(), "1 account and 0 keys made");
    }

    #[tokio::test]
    async fn a_key_of_stackstorm_ends_behind_ones_back_and_no_account_is_left() {
        let server = Server::start(Kind::StackStorm).await.unwrap();
        let Place::StackStorm(site) = &server.place else {
            panic!("another server")
        };
        let own = site
            .door()
            .look(|twin, _| twin.start().operator.key.clone());
        let signed_in = ("St2-Api-Key", own.as_str());
        let made = post(&server, "/api/v1/apikeys", signed_in, r#"{"user": "ci"}"#).await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(server.left().await.unwrap(), [format!("key {id} of ci")]);
        assert_eq!(server.made().await.unwrap(), "1 key made");

        let key = handed(&server, "/api/v1", made["key"].as_str().unwrap());
        let username = "ci".to_owned();
        assert_eq!(server.ask(&key).await.unwrap(), Answer::Taken { username });
        server.end(&key).await.unwrap();
        assert_eq!(server.ask(&key).await.unwrap(), Answer::Refused);
        assert!(server.left().await.unwrap().is_empty());
    }
}
