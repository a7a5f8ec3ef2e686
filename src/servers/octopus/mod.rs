//! Octopus Deploy. Facts from its REST API reference (2026.3), its documentation and its own
//! clients; what they leave open is said where it matters.
//!
//! An account is a user with `IsService`; the marker stands in a key's `Purpose`. Here are the trait
//! and the ways to ask; how we sign in lies in `session`, what is asked in `standing` (the connection
//! itself), `accounts`, `logins`, `oidc`, `teams` and `keys`.

mod accounts;
mod keys;
mod logins;
mod oidc;
mod session;
mod standing;
mod teams;
mod wire;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderName, Method};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use self::session::{Else, Entrance};
use self::wire::{Identified, Page};
use super::http::{Answer, Ask, CALL, Http, Route, unsent, within};
use super::session::Asking;
use super::transport::REQUEST;
use super::turns::Turns;
use super::{Connection, Minted, Server, Unusable};
use crate::plan::port::{
    Ability, AccountDraft, AccountId, AccountName, Accounts, Afterlife, Change, Expiry, Fault,
    KeyId, Letters, List, Listing, Login, Oidc, Order, Probe, RemoteAccount, RemoteTeam, TeamId,
    TeamRef, Trust, Value, Wish, Witness,
};
use crate::secret::KeyMaterial;

/// The header that carries an API key.
const API_KEY: HeaderName = HeaderName::from_static("x-octopus-apikey");

/// How many entries a page is asked to have. The server may give fewer.
const TAKE: usize = 200;

/// How many pages a list may have: 20 000 entries, or 3 000 where the server insists on its 30.
const PAGES: usize = 100;

/// How much of a list is read, in bytes over all its pages: 400 bytes for each of 20 000 entries.
const ROOM: usize = 8 * 1024 * 1024;

/// How often a list is begun anew because it changed while it was read.
const READINGS: usize = 3;

/// One Octopus server.
pub(super) struct Octopus {
    http: Http,
    entrance: Entrance,
    turns: Arc<Turns>,
    /// When our own key ends. A key is fixed once made, so it is looked up once.
    own_end: OnceCell<Option<Timestamp>>,
}

/// All pages of a list.
struct Pages<T> {
    /// When the first request was about to be sent.
    began: Timestamp,
    items: Vec<T>,
}

impl Octopus {
    /// A client for a connection.
    pub(super) fn new(connection: Connection) -> Result<Self, Unusable> {
        Ok(Self {
            http: Http::new(&connection, wire::complaint)?,
            entrance: Entrance::new(&connection)?,
            turns: connection.turns,
            own_end: OnceCell::new(),
        })
    }

    /// Asks with our own credential. What a session was refused for did nothing, and goes once more with
    /// another.
    async fn ask(&self, asking: Asking) -> Result<Answer, Fault> {
        let shown = self.entrance.show(&self.http).await?;
        match self.answer(asking.with(&shown.badge)).await {
            Err(Fault::Unauthorized) if self.entrance.refused(&shown).await == Else::Another => {
                let shown = self.entrance.show(&self.http).await?;
                self.answer(asking.with(&shown.badge)).await
            }
            outcome => outcome,
        }
    }

    /// The answer to one request.
    ///
    /// Old servers say 401 where a permission is missing; whether the credential is meant shows when
    /// it is used for what everybody may do.
    async fn answer(&self, ask: Ask<'_>) -> Result<Answer, Fault> {
        let badge = ask.badge;
        match self.http.call(ask).await {
            Err(Fault::Unauthorized) if self.whose(badge).await.is_ok() => Err(Fault::Forbidden(
                "401 Unauthorized, though the credential is good".to_owned(),
            )),
            outcome => outcome,
        }
    }

    async fn get(&self, route: Route) -> Result<Answer, Fault> {
        self.ask(Asking::new(Method::GET, route)).await
    }

    async fn send(&self, method: Method, route: Route, body: Json) -> Result<Answer, Fault> {
        let body = Some(body);
        self.ask(Asking {
            body,
            ..Asking::new(method, route)
        })
        .await
    }

    async fn delete(&self, route: Route) -> Result<Answer, Fault> {
        self.ask(Asking::new(Method::DELETE, route)).await
    }

    /// All pages of a list, each entry once, and none missing that was there all the time: a list
    /// that changed between two pages is begun anew.
    async fn pages<T: DeserializeOwned + Identified>(
        &self,
        route: &Route,
        query: &[(&'static str, String)],
    ) -> Result<Pages<T>, Fault> {
        for _ in 0..READINGS {
            if let Some(pages) = self.reading(route, query).await? {
                return Ok(pages);
            }
        }
        Err(Fault::Unreachable(
            "a list kept changing while it was read".to_owned(),
        ))
    }

    /// Reads a list once; `None` when it changed meanwhile.
    async fn reading<T: DeserializeOwned + Identified>(
        &self,
        route: &Route,
        query: &[(&'static str, String)],
    ) -> Result<Option<Pages<T>>, Fault> {
        let mut began = None;
        let mut total = None;
        let mut seen = HashSet::new();
        let mut items = Vec::new();
        let mut skip = 0;
        let mut room = ROOM;
        for _ in 0..PAGES {
            let answer = self.page(route, query, skip).await?;
            room = room
                .checked_sub(answer.len())
                .ok_or_else(|| Fault::Protocol(format!("a list of more than {ROOM} bytes")))?;
            let page: Page<T> = answer.read()?;
            // New keys come first: whatever moves an entry to a page that was read already also
            // lessens the total.
            if *total.get_or_insert(page.total_results) != page.total_results {
                return Ok(None);
            }
            let began = *began.get_or_insert(answer.sent_at);
            let end = page.items.is_empty();
            skip += page.items.len();
            items.extend(
                page.items
                    .into_iter()
                    .filter(|item| seen.insert(item.id().to_owned())),
            );
            let whole = u64::try_from(items.len()).is_ok_and(|count| count == page.total_results);
            if whole || end || u64::try_from(skip).is_ok_and(|skip| skip >= page.total_results) {
                return Ok(whole.then_some(Pages { began, items }));
            }
        }
        Err(Fault::Protocol(format!(
            "a list of more than {PAGES} pages"
        )))
    }

    async fn page(
        &self,
        route: &Route,
        query: &[(&'static str, String)],
        skip: usize,
    ) -> Result<Answer, Fault> {
        let mut query = query.to_vec();
        query.extend([("skip", skip.to_string()), ("take", TAKE.to_string())]);
        self.ask(Asking {
            query,
            ..Asking::new(Method::GET, route.clone())
        })
        .await
    }
}

#[async_trait]
impl Server for Octopus {
    fn ability(&self) -> Ability {
        Ability {
            server: "Octopus Deploy",
            value: Value::ServerMade,
            expiry: Expiry::Native,
            accounts: Accounts::Kept,
            letters: Letters::Alike,
            afterlife: Afterlife::KeysDie,
            listing: Listing::Account,
            wishes: &[Wish::Profile, Wish::Teams, Wish::Logins],
            // The reference names no bound; this much is shown whole by the portal.
            text_chars: 200,
            username_chars: 64,
            // What the `octopus` command reads from its environment.
            entries: &[
                ("OCTOPUS_API_KEY", "{{ key }}"),
                ("OCTOPUS_URL", "{{ url }}"),
            ],
        }
    }

    async fn witness(&self) -> Result<Witness, Fault> {
        // Whoever may not see another user's keys is told so, and sees no empty list.
        let own = None;
        within(CALL, async {
            Ok(Witness {
                identity: self.root().await?.0,
                own,
            })
        })
        .await
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        within(CALL, self.standing()).await
    }

    async fn find_account(&self, name: &AccountName) -> Result<Option<RemoteAccount>, Fault> {
        within(CALL, self.user_named(&name.username)).await
    }

    async fn account(&self, id: &AccountId) -> Result<RemoteAccount, Fault> {
        within(CALL, self.user(id)).await
    }

    async fn create_account(&self, draft: &AccountDraft) -> Result<RemoteAccount, Fault> {
        within(CALL, self.new_user(draft)).await
    }

    async fn update_account(
        &self,
        id: &AccountId,
        draft: &AccountDraft,
    ) -> Result<RemoteAccount, Fault> {
        within(
            CALL,
            self.rewrite(id, |user| accounts::declare(user, draft)),
        )
        .await
    }

    async fn delete_account(&self, id: &AccountId) -> Result<(), Fault> {
        within(CALL, self.drop_user(id)).await
    }

    async fn find_team(&self, team: &TeamRef) -> Result<Option<RemoteTeam>, Fault> {
        within(CALL, self.team_called(team)).await
    }

    async fn join_team(&self, team: &TeamId, account: &AccountId) -> Result<RemoteTeam, Fault> {
        within(CALL, self.membership(team, account, teams::Wish::In)).await
    }

    async fn leave_team(&self, team: &TeamId, account: &AccountId) -> Result<RemoteTeam, Fault> {
        within(CALL, self.membership(team, account, teams::Wish::Out)).await
    }

    async fn give_login(&self, id: &AccountId, login: &Login) -> Result<RemoteAccount, Fault> {
        within(CALL, self.give(id, login)).await
    }

    async fn drop_login(&self, id: &AccountId, provider: &str) -> Result<RemoteAccount, Fault> {
        within(CALL, self.take(id, provider)).await
    }

    async fn oidc(&self, account: &AccountId) -> Result<Oidc, Fault> {
        within(CALL, self.trusts(account)).await
    }

    async fn give_trust(&self, account: &AccountId, trust: &Trust) -> Result<Oidc, Fault> {
        within(CALL, self.trust(account, trust)).await
    }

    async fn drop_trust(&self, account: &AccountId, name: &str) -> Result<Oidc, Fault> {
        within(CALL, self.distrust(account, name)).await
    }

    async fn keys(&self, account: &AccountId) -> Result<List, Fault> {
        within(CALL, self.listed(account)).await
    }

    async fn mint(&self, order: &Order) -> Result<Minted, Fault> {
        within(REQUEST, self.make(order)).await
    }

    async fn prove(&self, _: &AccountId, value: &KeyMaterial) -> Result<AccountId, Fault> {
        within(CALL, async { Ok(self.sign_in(value).await?.id) }).await
    }

    async fn adjust(&self, _: &AccountId, _: &KeyId, _: &Change) -> Result<(), Fault> {
        Err(unsent("a key of Octopus Deploy cannot be changed"))
    }

    async fn revoke(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault> {
        within(CALL, self.unmake(account, key)).await
    }

    async fn revoke_all(&self, _: &AccountId) -> Result<(), Fault> {
        Err(unsent("keys of Octopus Deploy end with their account"))
    }

    async fn leave(&self) {
        self.entrance.leave(&self.http).await;
    }
}
