//! Elasticsearch, 8.19 and 9.x, with its security feature. Facts from its API specification, and from
//! what a real 8.19.21 was seen to do.
//!
//! An account is a user: its id is `<realm>/<user name>`, for nothing else tells users apart. The marker
//! stands in a key's name, and our fields in its metadata under `apikeys.dev`. Here are the trait and
//! the ways to ask; what is asked lies in `standing` (the connection itself), `users` and `keys`.
//!
//! A key lives on when its user is deleted; what a key may do is fixed when it is made, or adjusted.

mod keys;
mod standing;
mod users;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, Method};
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::http::{Answer, Ask, Badge, CALL, Http, Route, unsent, within};
use super::transport::REQUEST;
use super::{Connection, Credential, Minted, Server, Unusable};
use crate::clock::Entropy;
use crate::plan::port::{
    Ability, AccountDraft, AccountId, AccountName, Accounts, Afterlife, Change, Expiry, Fault,
    KeyId, Letters, List, Listing, Order, Own, Probe, RemoteAccount, RemoteTeam, TeamId, TeamRef,
    Value, Wish, Witness,
};
use crate::secret::KeyMaterial;

/// The header with which a user acts as another one.
const RUN_AS: HeaderName = HeaderName::from_static("es-security-runas-user");

/// The header that every success carries since 7.14, and its value.
const PRODUCT: (&str, &str) = ("x-elastic-product", "Elasticsearch");

/// The realm of the users that Elasticsearch keeps itself, unless its owner has named it otherwise.
const NATIVE: &str = "default_native";

/// What the ids of users of that realm begin with.
const HOME: &str = "default_native/";

/// One Elasticsearch cluster.
pub(super) struct Elasticsearch {
    http: Http,
    badge: Badge,
    credential: Credential,
    /// Who we are: a credential is always the same user's.
    own: OnceCell<Own>,
    entropy: Arc<dyn Entropy>,
}

impl Elasticsearch {
    /// A client for a connection.
    pub(super) fn new(connection: Connection) -> Result<Self, Unusable> {
        let http = Http::new(&connection, wire::complaint)?;
        let badge = match &connection.credential {
            Credential::ApiKey(key) => Badge::authorization("ApiKey", key),
            Credential::Basic { username, password } => Badge::basic(username, password),
            Credential::Bearer(token) => Badge::authorization("Bearer", token),
            Credential::Vouched(_) => return Err(Unusable::SignIn),
        };
        Ok(Self {
            http,
            badge: badge.ok_or(Unusable::Credential)?,
            credential: connection.credential,
            own: OnceCell::new(),
            entropy: connection.entropy,
        })
    }

    /// Sends a request, and takes an answer of nobody but Elasticsearch.
    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Fault> {
        let answer = self.http.call(ask).await?;
        let (name, product) = PRODUCT;
        if answer.header(name) == Some(product) {
            Ok(answer)
        } else {
            Err(Fault::Protocol(
                "an answer that is not Elasticsearch's: it lacks the header X-elastic-product"
                    .to_owned(),
            ))
        }
    }

    async fn get(&self, route: Route) -> Result<Answer, Fault> {
        self.ask(Ask::new(Method::GET, route, &self.badge)).await
    }

    async fn send(&self, method: Method, route: Route, body: Json) -> Result<Answer, Fault> {
        let body = Some(body);
        self.ask(Ask {
            body,
            ..Ask::new(method, route, &self.badge)
        })
        .await
    }
}

/// A user, as an account's id names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named<'a> {
    realm: &'a str,
    username: &'a str,
}

impl<'a> Named<'a> {
    fn of(id: &'a AccountId) -> Result<Self, Fault> {
        let parts = id.as_str().split_once('/');
        let (realm, username) =
            parts.ok_or_else(|| unsent("the account's id is not one of Elasticsearch"))?;
        Ok(Self { realm, username })
    }

    fn id(self) -> AccountId {
        AccountId::new(format!("{}/{}", self.realm, self.username))
    }
}

#[async_trait]
impl Server for Elasticsearch {
    fn ability(&self) -> Ability {
        Ability {
            server: "Elasticsearch",
            value: Value::ServerMade,
            expiry: Expiry::Native,
            accounts: Accounts::Kept,
            letters: Letters::Apart,
            afterlife: Afterlife::KeysLive { home: HOME },
            listing: Listing::Account,
            wishes: &[
                Wish::Profile,
                Wish::Roles,
                Wish::Realm,
                Wish::ElasticsearchKey,
            ],
            // A key's name has at most 256 units of UTF-16: room for a text of which every character
            // takes two, but for the marker.
            text_chars: 170,
            username_chars: 507,
            // What the official clients and tools read from their environment.
            entries: &[
                ("ELASTICSEARCH_API_KEY", "{{ key }}"),
                ("ELASTICSEARCH_API_KEY_ID", "{{ id }}"),
                ("ELASTICSEARCH_URL", "{{ url }}"),
            ],
        }
    }

    async fn witness(&self) -> Result<Witness, Fault> {
        within(CALL, self.present()).await
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        within(CALL, self.standing()).await
    }

    async fn find_account(&self, name: &AccountName) -> Result<Option<RemoteAccount>, Fault> {
        let realm = name.realm.as_deref().unwrap_or(NATIVE);
        let username = &name.username;
        within(CALL, self.user(Named { realm, username })).await
    }

    async fn account(&self, id: &AccountId) -> Result<RemoteAccount, Fault> {
        let found = async {
            let named = Named::of(id)?;
            if self.is_own(named).await? {
                return self.myself().await;
            }
            self.user(named).await?.ok_or(Fault::NotFound)
        };
        within(CALL, found).await
    }

    async fn create_account(&self, draft: &AccountDraft) -> Result<RemoteAccount, Fault> {
        within(CALL, self.new_user(draft)).await
    }

    async fn update_account(
        &self,
        id: &AccountId,
        draft: &AccountDraft,
    ) -> Result<RemoteAccount, Fault> {
        within(CALL, self.rewrite_user(id, draft)).await
    }

    async fn delete_account(&self, id: &AccountId) -> Result<(), Fault> {
        within(CALL, self.drop_user(id)).await
    }

    async fn find_team(&self, _: &TeamRef) -> Result<Option<RemoteTeam>, Fault> {
        Err(teamless())
    }

    async fn join_team(&self, _: &TeamId, _: &AccountId) -> Result<RemoteTeam, Fault> {
        Err(teamless())
    }

    async fn leave_team(&self, _: &TeamId, _: &AccountId) -> Result<RemoteTeam, Fault> {
        Err(teamless())
    }

    async fn keys(&self, account: &AccountId) -> Result<List, Fault> {
        within(CALL, self.listed(account)).await
    }

    async fn mint(&self, order: &Order) -> Result<Minted, Fault> {
        within(REQUEST, self.make(order)).await
    }

    async fn prove(&self, account: &AccountId, value: &KeyMaterial) -> Result<AccountId, Fault> {
        within(CALL, self.sign_in(account, value)).await
    }

    async fn adjust(&self, account: &AccountId, key: &KeyId, change: &Change) -> Result<(), Fault> {
        within(CALL, self.change(account, key, change)).await
    }

    async fn revoke(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault> {
        within(CALL, self.unmake(account, key)).await
    }

    async fn revoke_all(&self, account: &AccountId) -> Result<(), Fault> {
        within(CALL, self.unmake_all(account)).await
    }
}

fn teamless() -> Fault {
    unsent("Elasticsearch has no teams")
}
