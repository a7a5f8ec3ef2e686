//! What the server knows.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;
use testbed::twins::octopus::{Change, KeyView, Life};
use testbed::twins::{Effect, Fault, Rule};

use super::Case;

/// The marks of a key of ours on the server.
const MARK: &str = "ako1.";

impl Case {
    /// How many keys the server has made for us.
    pub(crate) fn minted(&self) -> usize {
        self.twin.done(Effect::Mint)
    }

    /// The keys of ours that work.
    pub(crate) fn living(&self) -> Vec<KeyView> {
        let mut keys = self.twin.view().keys;
        keys.retain(|key| key.purpose.contains(MARK) && key.life == Life::Alive);
        keys
    }

    /// The key with this text, if it works.
    pub(crate) fn works(&self, text: &str) -> Option<KeyView> {
        let key = self.twin.look(|twin, now| twin.whose(now, text));
        key.filter(|key| key.life == Life::Alive)
    }

    /// Lets this go wrong with every request, until it is mended.
    pub(crate) fn breaks(&self, fault: Fault) {
        self.twin.fault(Rule::new(fault));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn mended(&self) {
        self.twin.clear_faults();
    }

    /// Something happens to the server from outside.
    pub(crate) fn change(&self, change: Change) -> Result<()> {
        Ok(self.twin.change(change)?)
    }

    /// The id of the key with this text.
    pub(crate) fn key_of(&self, text: &str) -> Result<String> {
        let key = self.twin.look(|twin, now| twin.whose(now, text));
        Ok(key.context("the server knows no such key")?.id)
    }

    /// Somebody who may do everything asks the server for something.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("X-Octopus-ApiKey", &self.start.admin.key)
            .body(Bytes::from(body.to_string()))?;
        let response = self.twin.send(request).await?;
        let said = String::from_utf8_lossy(response.body()).into_owned();
        ensure!(response.status().is_success(), "{path}: {said}");
        Ok(serde_json::from_str(&said)?)
    }

    /// The id of an account.
    pub(crate) fn account_id(&self, username: &str) -> Result<String> {
        let view = self.twin.view();
        let account = view.account(username);
        Ok(account
            .with_context(|| format!("there is no account {username}"))?
            .id
            .clone())
    }
}
