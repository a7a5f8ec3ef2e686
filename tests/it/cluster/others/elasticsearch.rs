//! A real Elasticsearch, which its superuser arranges as an administrator would: roles and users of a
//! row begin with the name of its namespace.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use rand::RngExt as _;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::super::Row;
use super::super::case::{Account, Case, Key};
use super::{
    Living, Other, changed, metadata_changed, on, password_wrong, replaced_on_request, rotated,
};

pub(in super::super) fn rows() -> Vec<Row> {
    on!(Elastic, "elasticsearch":
        replaced_on_request,
        password_wrong,
        metadata_changed,
        roles_of_the_key_changed,
        account_deleted,
        own_keys_with_the_least_privilege,
        accounts_with_the_least_privilege,
        keys_of_others_with_the_least_privilege,
    )
}

/// The real server, with users of a row's own.
struct Elastic {
    case: Arc<Case>,
    url: String,
    client: Client,
    operator: String,
    password: String,
}

/// What `docs/elasticsearch.md` names for Managed accounts: with it, an operator may run as its users.
const MANAGED: [&str; 1] = ["manage_security"];

/// What it names for the keys of other accounts.
const OBSERVED: [&str; 2] = ["manage_api_key", "read_security"];

impl Elastic {
    /// The superuser asks for something.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let server = self.case.stage.elasticsearch().await?;
        server.ask(method, path, body.as_ref()).await
    }

    /// The name of a user or a role of this row.
    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.case.namespace)
    }

    /// A role, or what it may do from now on.
    async fn role(&self, name: &str, cluster: &[&str], run_as: &[&str]) -> Result<()> {
        let path = format!("/_security/role/{}?refresh=true", self.own(name));
        let run_as: Vec<String> = run_as.iter().map(|name| self.own(name)).collect();
        let role = json!({"cluster": cluster, "run_as": run_as});
        self.ask(Method::PUT, &path, Some(role)).await.map(drop)
    }

    /// A user with the role of its name.
    async fn user(&self, name: &str, password: &str) -> Result<String> {
        let username = self.own(name);
        let path = format!("/_security/user/{username}?refresh=true");
        let user = json!({"password": password, "roles": [username]});
        self.ask(Method::PUT, &path, Some(user)).await?;
        Ok(username)
    }

    /// What the operator may do from now on: these cluster privileges, and run as these users.
    async fn may(&self, cluster: &[&str], run_as: &[&str]) -> Result<()> {
        self.role("operator", cluster, run_as).await
    }

    /// The users of this row, but for the operator's.
    async fn users(&self) -> Result<Vec<String>> {
        let users = self.ask(Method::GET, "/_security/user", None).await?;
        let users = users.as_object().context("it lists no users")?;
        let own = users.keys().filter(|name| name.starts_with(&self.own("")));
        let others = own.filter(|name| **name != self.operator);
        Ok(others.cloned().collect())
    }

    /// The keys of this row's users.
    async fn keys(&self, query: &str) -> Result<Vec<Value>> {
        let path = format!("/_security/api_key{query}");
        let mut listed = self.ask(Method::GET, &path, None).await?;
        let mut keys: Vec<Value> = serde_json::from_value(listed["api_keys"].take())?;
        let own = self.own("");
        keys.retain(|key| text(&key["username"]).starts_with(&own));
        Ok(keys)
    }
}

impl Other for Elastic {
    const KIND: &'static str = "Elasticsearch";
    const WISHES: &'static str = "elasticsearch";
    const ENTRY: &'static str = "ELASTICSEARCH_API_KEY";

    async fn open(case: Arc<Case>) -> Result<Self> {
        let mut elastic = Self {
            url: case.stage.elasticsearch().await?.url().to_owned(),
            client: Client::builder().no_proxy().build()?,
            operator: String::new(),
            password: format!("{:032x}", rand::rng().random::<u128>()),
            case,
        };
        elastic.may(&MANAGED, &["*"]).await?;
        elastic.role("ci", &["manage_own_api_key"], &[]).await?;
        elastic.operator = elastic.user("operator", &elastic.password).await?;
        Ok(elastic)
    }

    fn case(&self) -> &Case {
        &self.case
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn operator(&self) -> (&str, &str) {
        (&self.operator, &self.password)
    }

    /// Only its owner may change a key, and this one may.
    fn declared(&self) -> String {
        format!("elasticsearch: {{roles: [{}]}}", self.own("ci"))
    }

    /// A key is shown together with its id, which is no secret.
    fn secret(key: &str) -> Result<String> {
        let plain = String::from_utf8(BASE64.decode(key)?)?;
        let (_, secret) = plain.split_once(':').context("this is no key")?;
        Ok(secret.to_owned())
    }

    async fn living(&self) -> Result<Vec<Living>> {
        let keys = self.keys("?active_only=true").await?;
        let living = keys.iter().map(|key| Living {
            id: text(&key["id"]),
            owner: text(&key["username"]),
            metadata: key["metadata"].clone(),
            may: key["role_descriptors"].clone(),
        });
        Ok(living.collect())
    }

    async fn made(&self) -> Result<usize> {
        Ok(self.keys("").await?.len())
    }

    async fn owner(&self, key: &str) -> Result<Option<String>> {
        let me = format!("{}/_security/_authenticate", self.url);
        let ask = self.client.get(me);
        let answer = ask.header("Authorization", format!("ApiKey {key}")).send();
        let answer = answer.await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        let who: Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        Ok(Some(text(&who["username"])))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What a key may do is changed as its metadata is.
async fn roles_of_the_key_changed(server: &Elastic) -> Result<()> {
    let [credential, connection, account, _] = server.whole();
    server
        .case
        .apply(&[credential, connection, account])
        .await?;
    let wishes = ["monitor", "manage_own_api_key"]
        .map(|privilege| format!("roleDescriptors: {{does: {{cluster: [{privilege}]}}}}"));
    let wishes = wishes.each_ref().map(String::as_str);
    let now = changed(server, &server.named(), wishes).await?;
    let cluster = &now.may["does"]["cluster"];
    ensure!(*cluster == json!(["manage_own_api_key"]), "{cluster}");
    Ok(())
}

/// Elasticsearch lets keys outlive their user: none is left, whoever made it.
async fn account_deleted(server: &Elastic) -> Result<()> {
    let (case, owner) = (&server.case, server.named());
    case.apply(&server.whole()).await?;
    server.healed(&owner, 1).await?;
    ensure!(server.users().await? == std::slice::from_ref(&owner));
    let grant = json!({
        "grant_type": "password",
        "username": "elastic",
        "password": case.stage.elasticsearch().await?.password(),
        "run_as": owner,
        "api_key": {"name": "a key by hand"},
    });
    let path = "/_security/api_key/grant?refresh=true";
    let by_hand = server.ask(Method::POST, path, Some(grant)).await?;
    let keys = [server.value().await?, text(&by_hand["encoded"])];
    for key in &keys {
        ensure!(server.owner(key).await?.as_ref() == Some(&owner));
    }
    for object in [Key("ci"), Account("ci")] {
        case.delete(object).await?;
        case.gone(object).await?;
    }
    let (users, left) = (server.users().await?, server.living().await?);
    ensure!(users.is_empty() && left.is_empty(), "{users:?} {left:?}");
    for key in &keys {
        ensure!(server.owner(key).await?.is_none(), "it outlives its user");
    }
    Ok(())
}

/// With `manage_own_api_key` and nothing else, from apply to revoke; and without it, it is named.
async fn own_keys_with_the_least_privilege(server: &Elastic) -> Result<()> {
    let (case, owner) = (&server.case, server.operator.as_str());
    server.may(&[], &[]).await?;
    let [credential, connection, ..] = server.whole();
    let wishes = ["metadata: {team: a}", "metadata: {team: b}"];
    let account = server.account("management: Self");
    case.apply(&[credential, connection, account, server.key(wishes[0], "")])
        .await?;
    case.says(Account("ci"), Reason::Forbidden, "manage_own_api_key")
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "manage_own_api_key")
        .await?;
    server.may(&["manage_own_api_key"], &[]).await?;
    let now = changed(server, owner, wishes).await?;
    ensure!(now.metadata["team"] == "b", "{now:?}");
    let keys = rotated(server, owner).await?;
    case.delete(Key("ci")).await?;
    case.gone(Key("ci")).await?;
    for key in &keys {
        ensure!(server.owner(key).await?.is_none(), "it outlives its ApiKey");
    }
    Ok(())
}

/// Users need `manage_security`, and their keys that the operator may run as them; the other rows show
/// that this is enough.
async fn accounts_with_the_least_privilege(server: &Elastic) -> Result<()> {
    let case = &server.case;
    server.may(&OBSERVED, &["*"]).await?;
    case.apply(&server.whole()).await?;
    case.says(Account("ci"), Reason::Forbidden, "manage_security")
        .await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "manage_security")
        .await?;
    ensure!(server.users().await?.is_empty());
    server.may(&MANAGED, &[]).await?;
    case.ready(Account("ci")).await?;
    case.says(Key("ci"), Reason::Forbidden, "to run as").await?;
    server.may(&MANAGED, &["*"]).await?;
    server.healed(&server.named(), 1).await?;
    server.ended().await?;
    let left = server.users().await?;
    ensure!(left.is_empty(), "users are left: {left:?}");
    Ok(())
}

/// Somebody else's user: it is looked up with `read_security`, its keys are made with `grant_api_key` and
/// ended with `manage_api_key`, which holds the one before.
async fn keys_of_others_with_the_least_privilege(server: &Elastic) -> Result<()> {
    let (case, owner) = (&server.case, server.user("ci", &server.password).await?);
    server.may(&[], &[]).await?;
    let [credential, connection, _, key] = server.whole();
    let account = server.account("management: Observed");
    case.apply(&[&credential, &connection, &account, &key])
        .await?;
    case.says(Account("ci"), Reason::Forbidden, "read_security")
        .await?;
    server.may(&["read_security"], &["*"]).await?;
    case.ready(Account("ci")).await?;
    case.says(Key("ci"), Reason::Forbidden, "grant_api_key")
        .await?;
    server
        .may(&["read_security", "grant_api_key"], &["*"])
        .await?;
    server.healed(&owner, 1).await?;
    case.delete(Key("ci")).await?;
    case.says(Key("ci"), Reason::Revoking, "manage_api_key")
        .await?;
    server.may(&OBSERVED, &["*"]).await?;
    case.gone(Key("ci")).await?;
    case.apply(&[key]).await?;
    server.healed(&owner, 2).await?;
    server.ended().await?;
    ensure!(server.users().await? == [owner], "it is not ours to delete");
    Ok(())
}
