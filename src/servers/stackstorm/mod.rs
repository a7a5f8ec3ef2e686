//! StackStorm, 3.7 to 3.9. Facts from its sources and documentation, and from what a real 3.9.0 was
//! seen to do.
//!
//! An account is only a name: nothing is made, changed or deleted but its keys. A key has no text and no
//! end on the server: both stand in its metadata, under `apikeys.dev`, and the operator is the end. We
//! make its value ourselves and send a hash, so that a Mint without an answer may be repeated. Here are
//! the trait and the ways to ask; `keys` holds what is asked about keys.
//!
//! `url` is the address in front of all services: st2api answers at `/api`, st2auth at `/auth`. Where an
//! `authUrl` is given there is nothing in front, and `url` is st2api itself.

mod keys;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, Method};
use serde_json::Value as Json;

use self::wire::{Token, User};
use super::http::{Answer, Ask, Badge, CALL, Http, Route, unsent, within};
use super::session::{Asking, Session, Ticket};
use super::transport::REQUEST;
use super::{Connection, Credential, Minted, Server, Unusable};
use crate::clock::Entropy;
use crate::plan::port::{
    Ability, AccountDraft, AccountId, AccountName, Accounts, Activity, Afterlife, Change, Expiry,
    Fault, KeyExpiry, KeyId, Letters, List, Listing, Nature, Order, Origin, Own, Probe,
    RemoteAccount, RemoteTeam, ServerIdentity, TeamId, TeamRef, Value, Wish, Witness,
};
use crate::secret::KeyMaterial;

/// The header that carries an API key.
const API_KEY: HeaderName = HeaderName::from_static("st2-api-key");

/// The header that carries a token.
const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// How we sign in.
enum Entrance {
    /// With an API key, shown each time.
    Key(Badge),
    /// With a token of st2auth, got for a user name and a password.
    Token(Box<Login>),
}

/// What a token is got with, and the newest one.
struct Login {
    auth: Http,
    badge: Badge,
    session: Session,
}

/// One StackStorm server.
pub(super) struct StackStorm {
    http: Http,
    entrance: Entrance,
    /// What stands before the paths of st2api.
    front: Front,
    entropy: Arc<dyn Entropy>,
}

/// What a connection's URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    /// The address in front of all services.
    Gate,
    /// st2api itself.
    Api,
}

impl StackStorm {
    /// A client for a connection.
    pub(super) fn new(connection: Connection) -> Result<Self, Unusable> {
        let (front, suffix) = match &connection.auth_url {
            None => (Front::Gate, "/api"),
            Some(_) => (Front::Api, ""),
        };
        let url = connection.url.trim_end_matches('/');
        let http = Http::to(&format!("{url}{suffix}"), &connection, wire::complaint)?;
        let entrance = match &connection.credential {
            Credential::ApiKey(key) => {
                Entrance::Key(Badge::new(API_KEY, key).ok_or(Unusable::Credential)?)
            }
            Credential::Basic { username, password } => {
                let auth = connection.auth_url.clone();
                let auth = auth.unwrap_or_else(|| format!("{url}/auth"));
                Entrance::Token(Box::new(Login {
                    auth: Http::to(&auth, &connection, wire::complaint)?,
                    badge: Badge::basic(username, password).ok_or(Unusable::Credential)?,
                    session: Session::default(),
                }))
            }
            Credential::Bearer(_) | Credential::Vouched(_) => return Err(Unusable::SignIn),
        };
        Ok(Self {
            http,
            entrance,
            front,
            entropy: connection.entropy,
        })
    }

    /// Sends a request. One that a token was refused for did nothing, and goes once more with another.
    async fn ask(&self, ask: Asking) -> Result<Answer, Fault> {
        let Login {
            auth,
            badge,
            session,
        } = match &self.entrance {
            Entrance::Key(badge) => return self.http.call(ask.with(badge)).await,
            Entrance::Token(login) => login.as_ref(),
        };
        let now = self.http.now();
        let (number, ticket) = session.badge(now, sign_in(auth, badge)).await?;
        match self.http.call(ask.with(&ticket)).await {
            Err(Fault::Unauthorized) => {
                session.refused(number).await;
                let (_, ticket) = session.badge(now, sign_in(auth, badge)).await?;
                self.http.call(ask.with(&ticket)).await
            }
            outcome => outcome,
        }
    }

    /// Who asks, by whatever was shown.
    async fn me(&self) -> Result<(User, Answer), Fault> {
        let answer = self
            .ask(Asking::new(Method::GET, Route::fixed("/v1/user")))
            .await?;
        Ok((answer.read()?, answer))
    }

    async fn standing(&self) -> Result<Probe, Fault> {
        let version: wire::Version = self
            .ask(Asking::new(Method::GET, Route::fixed("/v1")))
            .await?
            .read()?;
        let (user, answer) = self.me().await?;
        Ok(Probe {
            version: version.shown(),
            identity: self.identity(),
            caution: user.caution(),
            own: user.own(),
            key_expiry: KeyExpiry::default(),
            credential_expires_at: None,
            skew: answer.skew,
        })
    }

    /// A StackStorm has no identity but its address.
    fn identity(&self) -> ServerIdentity {
        ServerIdentity::new(self.http.origin())
    }

    async fn present(&self) -> Result<Witness, Fault> {
        let (user, _) = self.me().await?;
        Ok(Witness {
            identity: self.identity(),
            own: Some(user.own().id),
        })
    }

    /// Signs in with a key, in a request that carries nothing of our own.
    async fn sign_in(&self, value: &KeyMaterial) -> Result<Own, Fault> {
        let badge = Badge::new(API_KEY, value);
        let badge = badge.ok_or_else(|| unsent("no header can carry the key"))?;
        let ask = Ask::new(Method::GET, Route::fixed("/v1/user"), &badge);
        match self.http.call(ask).await {
            // The user behind a key may be gone, and then nothing is found.
            Err(Fault::NotFound) => Err(Fault::Unauthorized),
            answer => Ok(answer?.read::<User>()?.own()),
        }
    }
}

/// A token for a user name and a password.
async fn sign_in(auth: &Http, badge: &Badge) -> Result<Ticket, Fault> {
    let ask = Ask {
        body: Some(Json::Object(serde_json::Map::new())),
        ..Ask::new(Method::POST, Route::fixed("/v1/tokens"), badge)
    };
    let answer = auth.call(ask).await?;
    let token: Token = answer.read()?;
    let badge = Badge::new(TOKEN, &token.token);
    Ok(Ticket {
        badge: badge
            .ok_or_else(|| Fault::Protocol("a token that no header can carry".to_owned()))?,
        // On the server's clock.
        until: token.expiry.checked_sub(answer.skew).ok(),
    })
}

/// The account of this name: every name is one.
fn account(username: &str) -> RemoteAccount {
    RemoteAccount {
        id: AccountId::new(username),
        username: username.to_owned(),
        display_name: String::new(),
        email: None,
        nature: Nature::Untold,
        activity: Activity::Enabled,
        origin: Origin::Untold,
        roles: std::collections::BTreeSet::new(),
        metadata: crate::api::FreeForm::default(),
        logins: Vec::new(),
    }
}

fn only_a_name() -> Fault {
    unsent("an account of StackStorm is only a name")
}

#[async_trait]
impl Server for StackStorm {
    fn ability(&self) -> Ability {
        Ability {
            server: "StackStorm",
            value: Value::CallerMade,
            expiry: Expiry::None,
            accounts: Accounts::NamesOnly,
            letters: Letters::Apart,
            afterlife: Afterlife::KeysDie,
            listing: Listing::Server,
            wishes: &[Wish::StackStormKey],
            // Metadata has no bound that we could meet.
            text_chars: 512,
            username_chars: 255,
            // What the `st2` command reads from its environment.
            entries: match self.front {
                Front::Gate => &[
                    ("ST2_API_KEY", "{{ key }}"),
                    ("ST2_API_URL", "{{ url }}/api/v1"),
                    ("ST2_AUTH_URL", "{{ authUrl }}"),
                ],
                Front::Api => &[
                    ("ST2_API_KEY", "{{ key }}"),
                    ("ST2_API_URL", "{{ url }}/v1"),
                    ("ST2_AUTH_URL", "{{ authUrl }}"),
                ],
            },
        }
    }

    async fn witness(&self) -> Result<Witness, Fault> {
        within(CALL, self.present()).await
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        within(CALL, self.standing()).await
    }

    async fn find_account(&self, name: &AccountName) -> Result<Option<RemoteAccount>, Fault> {
        Ok(Some(account(&name.username)))
    }

    async fn account(&self, id: &AccountId) -> Result<RemoteAccount, Fault> {
        Ok(account(id.as_str()))
    }

    async fn create_account(&self, _: &AccountDraft) -> Result<RemoteAccount, Fault> {
        Err(only_a_name())
    }

    async fn update_account(
        &self,
        _: &AccountId,
        _: &AccountDraft,
    ) -> Result<RemoteAccount, Fault> {
        Err(only_a_name())
    }

    async fn delete_account(&self, _: &AccountId) -> Result<(), Fault> {
        Err(only_a_name())
    }

    async fn find_team(&self, _: &TeamRef) -> Result<Option<RemoteTeam>, Fault> {
        Err(only_a_name())
    }

    async fn join_team(&self, _: &TeamId, _: &AccountId) -> Result<RemoteTeam, Fault> {
        Err(only_a_name())
    }

    async fn leave_team(&self, _: &TeamId, _: &AccountId) -> Result<RemoteTeam, Fault> {
        Err(only_a_name())
    }

    async fn keys(&self, _: &AccountId) -> Result<List, Fault> {
        within(CALL, self.listed()).await
    }

    async fn mint(&self, order: &Order) -> Result<Minted, Fault> {
        within(REQUEST, self.make(order)).await
    }

    async fn prove(&self, _: &AccountId, value: &KeyMaterial) -> Result<AccountId, Fault> {
        within(CALL, async { Ok(self.sign_in(value).await?.id) }).await
    }

    async fn adjust(&self, _: &AccountId, key: &KeyId, change: &Change) -> Result<(), Fault> {
        within(CALL, self.change(key, change)).await
    }

    async fn revoke(&self, _: &AccountId, key: &KeyId) -> Result<(), Fault> {
        within(CALL, self.unmake(key)).await
    }

    async fn revoke_all(&self, _: &AccountId) -> Result<(), Fault> {
        Err(only_a_name())
    }
}
