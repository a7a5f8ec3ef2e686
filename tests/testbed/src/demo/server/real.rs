//! A deploy server that is the real thing: Elasticsearch, asked as its superuser `elastic`.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rand::RngExt as _;
use serde_json::{Value, json};

use super::{Made, Site, Thing};
use crate::elasticsearch::{Elasticsearch, Options, VERSION};

/// The user that the operator signs in as, and its role.
const OPERATOR: &str = "apikey-operator";

/// A running server, with a user for the operator.
pub(super) struct Real {
    server: Elasticsearch,
    /// The operator's password.
    password: String,
}

impl Real {
    pub(super) async fn start() -> Result<Self> {
        let options = Options {
            password: password(),
            ..Options::default()
        };
        let real = Self {
            server: Elasticsearch::start(&options).await?,
            password: password(),
        };
        real.admit_the_operator().await?;
        Ok(real)
    }

    /// What `docs/elasticsearch.md` asks an administrator to do.
    async fn admit_the_operator(&self) -> Result<()> {
        let role = json!({
            "cluster": ["manage_security", "monitor"],
            "run_as": ["*"],
        });
        let user = json!({ "password": self.password, "roles": [OPERATOR] });
        for (path, body) in [("role", role), ("user", user)] {
            let path = format!("/_security/{path}/{OPERATOR}");
            self.server
                .ask(Method::PUT, &path, Some(&body))
                .await
                .with_context(|| format!("cannot make {path}"))?;
        }
        Ok(())
    }

    /// Its keys: those that work, or with those that were ended too.
    async fn keys(&self, query: &str) -> Result<Vec<Value>> {
        let path = format!("/_security/api_key{query}");
        let mut keys = self.server.ask(Method::GET, &path, None).await?;
        match keys["api_keys"].take() {
            Value::Array(keys) => Ok(keys),
            _ => anyhow::bail!("Elasticsearch lists no keys"),
        }
    }
}

#[async_trait]
impl Site for Real {
    fn name(&self) -> String {
        format!("a real Elasticsearch {VERSION}")
    }

    fn url(&self) -> String {
        self.server.url().to_owned()
    }

    fn credential(&self) -> Vec<(&'static str, String)> {
        vec![
            ("USERNAME", OPERATOR.to_owned()),
            ("PASSWORD", self.password.clone()),
        ]
    }

    async fn end(&self, key: &str) -> Result<()> {
        let plain = String::from_utf8(STANDARD.decode(key)?)?;
        let (id, _) = plain.split_once(':').context("this is no key")?;
        let body = json!({ "ids": [id] });
        self.server
            .ask(Method::DELETE, "/_security/api_key", Some(&body))
            .await
            .map(drop)
    }

    /// A key that was ended is listed for a while, and does not count.
    async fn things(&self) -> Result<Vec<Thing>> {
        let keys = self.keys("?active_only=true").await?;
        let keys = keys.iter().map(|key| {
            let [id, name, owner] = ["id", "name", "username"].map(|field| text(&key[field]));
            let text = format!("key {id} of {owner} ({name})");
            Thing { id, text }
        });
        let users = self
            .server
            .ask(Method::GET, "/_security/user", None)
            .await?;
        let users = users.as_object().context("Elasticsearch lists no users")?;
        let users = users.keys().map(|name| Thing {
            text: format!("account {name}"),
            id: format!("user {name}"),
        });
        Ok(keys.chain(users).collect())
    }

    /// Users that are gone leave no trace; keys do.
    async fn made(&self) -> Result<Made> {
        Ok(Made {
            accounts: 0,
            keys: self.keys("").await?.len(),
        })
    }

    fn outage(&self) -> Vec<(String, &'static str)> {
        let process = self.server.process().id();
        vec![
            (format!("kill -STOP {process}"), "it hangs"),
            (format!("kill -CONT {process}"), "it is back"),
        ]
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn password() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}
