//! The deploy server of a demo: a twin on 127.0.0.1, and what one asks it to know the truth.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use http::StatusCode;
use serde_json::Value;

use crate::twins::octopus::{Config, Octopus};
use crate::twins::tcp::{self, Listening};
use crate::twins::{Door, Effect, control};

/// Long enough for a server in this very process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which deploy server a demo is with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kind {
    /// Octopus Deploy.
    #[default]
    Octopus,
}

/// What a server says to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It takes it.
    Taken {
        /// The account that the key belongs to.
        username: String,
    },
    /// It does not take it.
    Refused,
}

/// A deploy server that runs.
pub struct Server {
    door: Door<Octopus>,
    listening: Listening,
    control: Listening,
    name: String,
    /// The operator's key.
    credential: String,
    /// The accounts and keys from before we came, by id.
    before: BTreeSet<String>,
}

impl Server {
    /// Starts it.
    pub(super) async fn start(kind: Kind) -> Result<Self> {
        let Kind::Octopus = kind;
        let config = Config::default();
        let twin = Octopus::new(&config);
        let credential = twin.start().operator.key.clone();
        let door = Door::live(twin);
        let listening = tcp::serve(&door, 0, None)?;
        let control = control::serve(&door, 0).await?;
        let view = door.view();
        let accounts = view.accounts.into_iter().map(|account| account.id);
        let before = accounts.chain(view.keys.into_iter().map(|key| key.id));
        Ok(Self {
            before: before.collect(),
            door,
            listening,
            control,
            name: format!("Octopus Deploy {}", config.version),
            credential,
        })
    }

    /// The way to everything that can happen to it.
    pub fn door(&self) -> &Door<Octopus> {
        &self.door
    }

    /// Its product and version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.listening.url()
    }

    /// The address of its control door.
    pub fn control_url(&self) -> String {
        self.control.url()
    }

    /// A manifest with the server's address and the operator's key in place of their names.
    pub(super) fn fill(&self, manifest: &str) -> String {
        manifest
            .replace("${OCTOPUS_URL}", &self.url())
            .replace("${OCTOPUS_API_KEY}", &self.credential)
    }

    /// Asks the server at `url` who comes with this key.
    pub(super) async fn ask(url: &str, key: &str) -> Result<Answer> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let me = format!("{url}/api/users/me");
        let answer = client.get(me).header("X-Octopus-ApiKey", key).send().await;
        let answer = answer.context("the server does not answer")?;
        match answer.status() {
            StatusCode::OK => {
                let me: Value = serde_json::from_slice(&answer.bytes().await?)?;
                let username = me["Username"].as_str().context("the server names nobody")?;
                Ok(Answer::Taken {
                    username: username.to_owned(),
                })
            }
            StatusCode::UNAUTHORIZED => Ok(Answer::Refused),
            status => bail!("the server answers {status}"),
        }
    }

    /// What the server was asked to make, in a few words.
    pub(super) fn work(&self) -> String {
        let [accounts, keys] =
            [Effect::MakeAccount, Effect::Mint].map(|effect| self.door.done(effect));
        format!(
            "{} and {} made",
            count(accounts, "account"),
            count(keys, "key")
        )
    }

    /// The accounts and keys that were not there before, each in a few words.
    pub(super) fn left(&self) -> Vec<String> {
        let view = self.door.view();
        let keys = view
            .keys
            .into_iter()
            .map(|key| (format!("key {} ({})", key.id, key.purpose), key.id));
        let accounts = view
            .accounts
            .into_iter()
            .map(|account| (format!("account {}", account.username), account.id));
        keys.chain(accounts)
            .filter(|(_, id)| !self.before.contains(id))
            .map(|(text, _)| text)
            .collect()
    }
}

fn count(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twins::octopus::Change;

    #[tokio::test]
    async fn keys_are_told_from_what_is_none_and_what_is_left_is_named() {
        let server = Server::start(Kind::Octopus).await.unwrap();
        let manifest = server.fill("url: ${OCTOPUS_URL}, key: ${OCTOPUS_API_KEY}");
        assert_eq!(
            manifest,
            format!("url: {}, key: {}", server.url(), server.credential)
        );

        let taken = Server::ask(&server.url(), &server.credential)
            .await
            .unwrap();
        let username = "apikey-operator".to_owned();
        assert_eq!(taken, Answer::Taken { username });
        let refused = Server::ask(&server.url(), "API-NOBODY").await.unwrap();
        assert_eq!(refused, Answer::Refused);
        assert!(server.left().is_empty());

        let made = http::Request::post("/api/users")
            .header("X-Octopus-ApiKey", &server.credential)
            .body(bytes::Bytes::from_static(
                br#"{"Username": "ci", "DisplayName": "ci", "IsService": true}"#,
            ))
            .unwrap();
        assert!(server.door.send(made).await.unwrap().status().is_success());
        assert_eq!(server.left(), ["account ci"]);
        assert_eq!(server.work(), "1 account and 0 keys made");
        let user = "ci".to_owned();
        server.door.change(Change::Delete { user }).unwrap();
        assert!(server.left().is_empty());
    }
}
