//! A deploy server that is a twin in this very process.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Made, Site, Thing};
use crate::twins::octopus::{self, Octopus};
use crate::twins::stackstorm::{self, StackStorm};
use crate::twins::tcp::{self, Listening};
use crate::twins::{Door, Effect, Twin, control};

/// A twin that listens, with its control door.
pub(super) struct Simulated<T: Twin> {
    door: Door<T>,
    listening: Listening,
    control: Listening,
    name: String,
}

impl<T: Twin> Simulated<T> {
    pub(super) async fn start(twin: T, name: String) -> Result<Self> {
        let door = Door::live(twin);
        Ok(Self {
            listening: tcp::serve(&door, 0, None)?,
            control: control::serve(&door, 0).await?,
            door,
            name,
        })
    }

    pub(super) fn door(&self) -> &Door<T> {
        &self.door
    }
}

/// A twin that the demo knows its way about.
pub(super) trait Known: Twin {
    /// How the operator signs in.
    fn operator(&self) -> Vec<(&'static str, String)>;

    /// What ends the key with this text.
    fn end(&self, now: Timestamp, key: &str) -> Option<Self::Change>;

    /// Every account that was made, and every key.
    fn things(view: Self::View) -> Vec<Thing>;
}

#[async_trait]
impl<T: Known> Site for Simulated<T> {
    fn name(&self) -> String {
        format!("a simulated {}", self.name)
    }

    fn url(&self) -> String {
        self.listening.url()
    }

    fn credential(&self) -> Vec<(&'static str, String)> {
        self.door.look(|twin, _| twin.operator())
    }

    async fn end(&self, key: &str) -> Result<()> {
        let end = self.door.look(|twin, now| twin.end(now, key));
        let end = end.context("the server does not know the key")?;
        Ok(self.door.change(end)?)
    }

    async fn things(&self) -> Result<Vec<Thing>> {
        Ok(T::things(self.door.view()))
    }

    async fn made(&self) -> Result<Made> {
        Ok(Made {
            accounts: self.door.done(Effect::MakeAccount),
            keys: self.door.done(Effect::Mint),
        })
    }

    fn outage(&self) -> Vec<(String, &'static str)> {
        let control = self.control.url();
        let outage = r#"{"fault":"outage"}"#;
        vec![
            (format!("curl -d '{outage}' {control}/faults"), ""),
            (format!("curl -X DELETE {control}/faults"), "it is back"),
            (format!("curl {control}/view"), "what it has"),
            (format!("curl {control}"), "other faults"),
        ]
    }
}

impl Known for Octopus {
    fn operator(&self) -> Vec<(&'static str, String)> {
        vec![("API_KEY", self.start().operator.key.clone())]
    }

    fn end(&self, now: Timestamp, key: &str) -> Option<Self::Change> {
        let key = self.whose(now, key)?.id;
        Some(octopus::Change::RevokeKey { key })
    }

    fn things(view: Self::View) -> Vec<Thing> {
        let keys = view.keys.into_iter().map(|key| Thing {
            text: format!("key {} ({})", key.id, key.purpose),
            id: key.id,
        });
        let accounts = view.accounts.into_iter().map(|account| Thing {
            text: format!("account {}", account.username),
            id: account.id,
        });
        keys.chain(accounts).collect()
    }
}

impl Known for StackStorm {
    fn operator(&self) -> Vec<(&'static str, String)> {
        let operator = &self.start().operator;
        vec![
            ("USERNAME", operator.username.clone()),
            ("PASSWORD", operator.password.clone()),
        ]
    }

    fn end(&self, _: Timestamp, key: &str) -> Option<Self::Change> {
        let key = self.whose(key)?.id;
        Some(stackstorm::Change::RevokeKey { key })
    }

    /// Its accounts are names; nobody makes or ends one.
    fn things(view: Self::View) -> Vec<Thing> {
        let keys = view.keys.into_iter().map(|key| Thing {
            text: format!("key {} of {}", key.id, key.owner),
            id: key.id,
        });
        keys.collect()
    }
}
