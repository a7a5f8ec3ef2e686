//! StackStorm and Elasticsearch as people meet them: what both are to show is told once, in the words of
//! a case, and played on each; what only one has stands with it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `stackstorm` | a twin, one a row |
//! | `elasticsearch` | the real one, which rows share: each with users of its own, and as their operator one that may do no more than `docs/elasticsearch.md` names |
//!
//! The operator signs in by user name and password, unless a row says otherwise.

mod elasticsearch;
mod stackstorm;

pub(super) use self::elasticsearch::rows as elasticsearch;
pub(super) use self::stackstorm::rows as stackstorm;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use serde_json::Value;

use super::case::{Case, Key, Sealed, Server};

/// The DeployServer and its Secret.
const SERVER: &str = "server";

/// A server that a case has beside its twin of Octopus Deploy.
trait Other: Sized {
    /// Its kind, as `spec.type` has it.
    const KIND: &'static str;
    /// Where the spec of an ApiKey has what only this kind knows.
    const WISHES: &'static str;
    /// The entry of a Secret with the key.
    const ENTRY: &'static str;

    /// The server, with a user for the operator.
    async fn open(case: Arc<Case>) -> Result<Self>;

    fn case(&self) -> &Case;

    fn url(&self) -> String;

    /// The operator's user: its name and its password.
    fn operator(&self) -> (&str, &str);

    /// What of a key must stay secret.
    fn secret(key: &str) -> Result<String>;

    /// The keys that work, and were made for this case.
    async fn living(&self) -> Result<Vec<Living>>;

    /// How many were ever made for it.
    async fn made(&self) -> Result<usize>;

    /// Whom a key signs in, if the server takes it.
    async fn owner(&self, key: &str) -> Result<Option<String>>;

    /// The Secret with the operator's name and this password.
    fn credential(&self, password: &str) -> String {
        self.case().stage.canaries.add(password);
        let (username, _) = self.operator();
        self.case().offered_sign_in(SERVER, username, password)
    }

    /// The connection.
    fn server(&self) -> String {
        self.server_by(&format!("basic: {{secretRef: {{name: {SERVER}}}}}"))
    }

    /// The connection with another way to sign in.
    fn server_by(&self, auth: &str) -> String {
        let (kind, url) = (Self::KIND, self.url());
        let spec = format!("type: {kind}, url: '{url}', resync: 10s, auth: {{{auth}}}");
        self.case().object("DeployServer", SERVER, &spec)
    }

    /// The ServiceAccount `ci`.
    fn account(&self, more: &str) -> String {
        let spec = format!("serverRef: {{kind: DeployServer, name: {SERVER}}}, {more}");
        self.case().object("ServiceAccount", "ci", &spec)
    }

    /// The ApiKey `ci`, with these wishes.
    fn key(&self, wishes: &str, more: &str) -> String {
        let asked = Self::WISHES;
        self.case().key(&format!("{asked}: {{{wishes}}}, {more}"))
    }

    /// Credential, connection, account and key.
    fn whole(&self) -> [String; 4] {
        let (_, password) = self.operator();
        let (credential, key) = (self.credential(password), self.case().key(""));
        [
            credential,
            self.server(),
            self.account(&self.declared()),
            key,
        ]
    }

    /// What the ServiceAccount of [`Other::whole`] says of its account.
    fn declared(&self) -> String {
        String::new()
    }

    /// The account that the ServiceAccount `ci` stands for, unless it says another name.
    fn named(&self) -> String {
        format!("{}.ci", self.case().namespace)
    }

    /// The value of the key in the Secret `ci`, which from now on is nowhere else.
    async fn value(&self) -> Result<String> {
        let value = self.case().entry("ci", Self::ENTRY).await?;
        self.case().stage.canaries.add(&Self::secret(&value)?);
        Ok(value)
    }

    /// The key `ci` is Ready; its Secret holds one that works for this account; no other lives, and so
    /// many were made in all.
    async fn healed(&self, owner: &str, made: usize) -> Result<Living> {
        self.case().ready(Key("ci")).await?;
        let value = self.value().await?;
        let found = self.owner(&value).await?;
        ensure!(found.as_deref() == Some(owner), "it signs in {found:?}");
        let mut living = self.living().await?;
        ensure!(living.len() == 1, "other keys live: {living:?}");
        let (all, key) = (self.made().await?, living.pop().context("a key")?);
        ensure!(all == made, "{all} keys were made instead of {made}");
        ensure!(key.owner == owner, "{key:?}");
        Ok(key)
    }

    /// The case ends, and leaves no key.
    async fn ended(&self) -> Result<()> {
        self.case().end().await?;
        let left = self.living().await?;
        ensure!(left.is_empty(), "keys are left: {left:?}");
        Ok(())
    }
}

/// A key as its server knows it.
#[derive(Debug, Clone, PartialEq)]
struct Living {
    id: String,
    owner: String,
    metadata: Value,
    /// What it may do at most; null where a server knows no such thing.
    may: Value,
}

/// Rows named after their server and their function, each on a server of its case's own.
macro_rules! on {
    ($server:ty, $name:literal: $($row:path),* $(,)?) => {
        vec![$(crate::cluster::Row::new(
            concat!($name, "_", stringify!($row)),
            async |case| {
                let server = <$server as crate::cluster::others::Other>::open(case).await?;
                $row(&server).await?;
                crate::cluster::others::Other::ended(&server).await
            },
        )),*]
    };
}
use on;

/// From apply, in any order, to a key that works, and to another one beside it, which both work until
/// the ApiKey is deleted: then neither does.
async fn replaced_on_request<O: Other>(server: &O) -> Result<()> {
    let [credential, connection, account, _] = server.whole();
    let key = server.key("", "secret: {keepPrevious: true}");
    let (case, owner) = (server.case(), server.named());
    case.apply(&[key, account, connection, credential]).await?;
    server.healed(&owner, 1).await?;
    let [first, second] = rotated(server, &owner).await?;
    let previous = format!("PREVIOUS_{}", O::ENTRY);
    ensure!(case.entry("ci", &previous).await? == first);
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    case.gone(Sealed("ci")).await?;
    for key in [first, second] {
        ensure!(
            server.owner(&key).await?.is_none(),
            "it outlives its ApiKey"
        );
    }
    Ok(())
}

/// Asks for another key in place of the first; both work through the overlap, and no other.
async fn rotated<O: Other>(server: &O, owner: &str) -> Result<[String; 2]> {
    let case = server.case();
    let first = server.value().await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("once"))])
        .await?;
    case.has_serial(Key("ci"), 2).await?;
    case.ready(Key("ci")).await?;
    let both = [first, server.value().await?];
    ensure!(both[0] != both[1]);
    for key in &both {
        let found = server.owner(key).await?;
        ensure!(found.as_deref() == Some(owner), "it signs in {found:?}");
    }
    let (made, living) = (server.made().await?, server.living().await?);
    ensure!(made == 2 && living.len() == 2, "{made} made, {living:?}");
    let status = case.get(Key("ci")).await?.data["status"].clone();
    let retiring = status["retiring"].as_array().map(Vec::len);
    ensure!(retiring == Some(1), "{status}");
    Ok(both)
}

/// A password that is wrong says so, and heals when the Secret is corrected; a key that is there works
/// on meanwhile.
async fn password_wrong<O: Other>(server: &O) -> Result<()> {
    let [right, connection, account, key] = server.whole();
    let wrong = server.credential("a-password-of-nobody");
    let (case, owner) = (server.case(), server.named());
    case.apply(&[&wrong, &connection, &account, &key]).await?;
    let refused = async || {
        let words = "Put a valid credential into the Secret that spec.auth names";
        case.says(Server(SERVER), Reason::CredentialRejected, words)
            .await
    };
    refused().await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "CredentialRejected")
        .await?;
    ensure!(server.made().await? == 0);
    case.apply(&[&right]).await?;
    let made = server.healed(&owner, 1).await?;
    case.apply(&[&wrong]).await?;
    refused().await?;
    ensure!(server.healed(&owner, 1).await? == made);
    case.apply(&[&right]).await?;
    case.ready(Server(SERVER)).await?;
    ensure!(server.healed(&owner, 1).await? == made);
    Ok(())
}

/// A change of what is kept with a key reaches the one that lives, and no other is made for it.
async fn metadata_changed<O: Other>(server: &O) -> Result<()> {
    let [credential, connection, account, _] = server.whole();
    let case = server.case();
    case.apply(&[credential, connection, account]).await?;
    let wishes = ["metadata: {team: a, run: 1}", "metadata: {team: b}"];
    let now = changed(server, &server.named(), wishes).await?;
    let asked = now.metadata.as_object().context("it has none")?;
    ensure!(
        asked["team"] == "b" && !asked.contains_key("run"),
        "{now:?}"
    );
    Ok(())
}

/// The first key of this account is made with the first wishes, and is still the same key when it has the
/// second ones.
async fn changed<O: Other>(server: &O, owner: &str, wishes: [&str; 2]) -> Result<Living> {
    let case = server.case();
    case.apply(&[server.key(wishes[0], "")]).await?;
    let before = server.healed(owner, 1).await?;
    let value = server.value().await?;
    case.apply(&[server.key(wishes[1], "")]).await?;
    case.shown_by("a change of the key", async || {
        let now = server.living().await?;
        Ok(now.iter().any(|now| now.id == before.id && *now != before))
    })
    .await?;
    let after = server.healed(owner, 1).await?;
    ensure!(after.id == before.id && server.value().await? == value);
    Ok(after)
}
