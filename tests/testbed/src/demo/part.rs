//! The part of the story that one server plays. Each step says in a few words what came of it.

use std::mem;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::server::{Answer, Handed, Ways};
use super::{Demo, Server};

/// What is asked of the operator by the annotation `apikeys.dev/rotate`.
const REQUEST: &str = "now";

/// One server's part.
pub(super) struct Part<'a> {
    demo: &'a Demo,
    server: &'a Server,
    ways: &'static Ways,
    /// Every key that was in a Secret. Each has worked.
    seen: Vec<Handed>,
}

impl<'a> Part<'a> {
    /// Nothing has happened yet.
    pub(super) fn new(demo: &'a Demo, server: &'a Server) -> Self {
        Self {
            demo,
            server,
            ways: server.ways(),
            seen: Vec::new(),
        }
    }

    /// The key that stays opens the door.
    pub(super) async fn prove(&mut self) -> Result<((), String)> {
        let Ways { name, key, .. } = self.ways;
        let username = self.meet(key).await?.1;
        Ok((
            (),
            format!("{name} takes the key of Secret {key}: it is {username}'s"),
        ))
    }

    /// A key ends on the server: found when the server is compared with what there should be.
    pub(super) async fn vanish(&mut self) -> Result<((), String)> {
        let Ways { name, once, .. } = self.ways;
        let (lost, _) = self.meet(once).await?;
        self.server.end(&lost).await?;
        Ok(((), format!("the key of Secret {once} is deleted on {name}")))
    }

    /// A key is replaced because somebody asks for it.
    pub(super) async fn rotate(&mut self) -> Result<((), String)> {
        let key = self.ways.key;
        let before = self.handed(key).await?;
        let object = format!("apikey/{key}");
        let ask = format!("apikeys.dev/rotate={REQUEST}");
        self.kubectl(&["annotate", &object, &ask]).await?;
        let handled = format!("--for=jsonpath={{.status.lastHandledRotate}}={REQUEST}");
        self.wait(&object, &handled).await?;
        self.meet(key).await?;
        self.owner(&before)
            .await
            .context("the replaced key does not live through its overlap")?;
        Ok((
            (),
            format!("Secret {key} has a new key, on request; the old one still works"),
        ))
    }

    /// Somebody deletes a Secret.
    pub(super) async fn lose(&mut self) -> Result<((), String)> {
        let key = self.ways.key;
        let secret = format!("secret/{key}");
        self.kubectl(&["delete", &secret]).await?;
        self.wait(&secret, "--for=create").await?;
        self.meet(key).await?;
        Ok((
            (),
            format!("Secret {key} was deleted, and is back with a key that works"),
        ))
    }

    /// What vanished is replaced.
    pub(super) async fn replaced(&mut self) -> Result<((), String)> {
        let once = self.ways.once;
        let second = r"--for=jsonpath={.metadata.annotations.apikeys\.dev/serial}=2";
        self.wait(&format!("secret/{once}"), second).await?;
        self.meet(once).await?;
        Ok(((), format!("Secret {once} has another key, which works")))
    }

    /// No key opens the door any more.
    pub(super) async fn dead(&mut self) -> Result<((), String)> {
        let name = self.ways.name;
        let seen = mem::take(&mut self.seen);
        for key in &seen {
            if let Answer::Taken { username } = self.server.ask(key).await? {
                bail!("the ApiKeys are gone, and {name} still takes a key of them, as {username}");
            }
        }
        Ok((
            (),
            format!("{name} takes none of the {} keys any more", seen.len()),
        ))
    }

    /// The server is as it was before.
    pub(super) async fn left(&mut self) -> Result<((), String)> {
        let name = self.ways.name;
        let left = self.server.left().await?;
        if !left.is_empty() {
            bail!("{name} still has what it should not: {}", left.join(", "));
        }
        let made = self.server.made().await?;
        Ok(((), format!("{made} on {name}, none of them is left")))
    }

    /// The key that is in a Secret now, and whose it is. It was not there before, and works.
    async fn meet(&mut self, secret: &str) -> Result<(Handed, String)> {
        let handed = self.handed(secret).await?;
        if self.seen.contains(&handed) {
            bail!("Secret {secret} still holds a key from before");
        }
        let owner = self.owner(&handed).await;
        let owner = owner.with_context(|| format!("the key of Secret {secret} does not work"))?;
        self.seen.push(handed.clone());
        Ok((handed, owner))
    }

    /// Whose a key is. It must work.
    async fn owner(&self, handed: &Handed) -> Result<String> {
        match self.server.ask(handed).await? {
            Answer::Taken { username } => Ok(username),
            Answer::Refused => bail!("{} does not take it", self.ways.name),
        }
    }

    /// The key that is in a Secret now, as a program finds it.
    async fn handed(&self, secret: &str) -> Result<Handed> {
        let found = self
            .kubectl(&["get", "secret", secret, "--output=json"])
            .await?;
        let found: Value = serde_json::from_str(&found)?;
        self.ways
            .handed(|entry| {
                let value = STANDARD.decode(found["data"][entry].as_str()?).ok()?;
                String::from_utf8(value).ok()
            })
            .with_context(|| format!("Secret {secret} has not the entries that it should have"))
    }

    async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.demo.kubectl(args).await
    }

    /// Waits as long as the demo does.
    async fn wait(&self, object: &str, what: &str) -> Result<()> {
        self.kubectl(&["wait", object, what, "--timeout=1h"])
            .await
            .map(drop)
    }
}
