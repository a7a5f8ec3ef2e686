//! Users. Those of Elasticsearch's own realm are made, changed and deleted; those of any other realm
//! cannot even be looked up, and are believed to be there until a key of theirs signs in.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use serde_json::{Map, Value, json};

use super::wire::{Done, Found, Profile, User};
use super::{Elasticsearch, NATIVE, Named};
use crate::api::FreeForm;
use crate::plan::port::{AccountDraft, AccountId, Activity, Fault, Nature, Origin, RemoteAccount};
use crate::servers::http::{Ask, Route, unsent};

/// The name in metadata under which we keep what is ours.
pub(super) const OURS: &str = "apikeys.dev";

/// What is ours in a user's metadata: the uid of the ServiceAccount that it was made for.
const STAMP: &str = "serviceAccount";

impl Elasticsearch {
    /// The user of this name, if there is one.
    pub(super) async fn user(&self, named: Named<'_>) -> Result<Option<RemoteAccount>, Fault> {
        if named.realm != NATIVE {
            return Ok(Some(unseen(named)));
        }
        Ok(self
            .raw(named.username)
            .await?
            .map(|user| user.account(named.id())))
    }

    /// A user as Elasticsearch tells of it.
    async fn raw(&self, username: &str) -> Result<Option<User>, Fault> {
        let answer = match self.get(one(username)?).await {
            Err(Fault::NotFound) => return Ok(None),
            answer => answer?,
        };
        let mut users: BTreeMap<String, User> = answer.read()?;
        users.remove(username).map(Some).ok_or_else(|| {
            Fault::Protocol("an answer about another user than the one asked for".to_owned())
        })
    }

    /// Makes a user, with a password that nobody knows. Elasticsearch would overwrite one that exists:
    /// it is looked for right before.
    pub(super) async fn new_user(&self, draft: &AccountDraft) -> Result<RemoteAccount, Fault> {
        let username = &draft.username;
        if self.raw(username).await?.is_some() {
            return Err(Fault::Conflict(format!(
                "there is a user {username} already"
            )));
        }
        let mut body = declared(draft, Map::new());
        let drawn = [self.entropy.draw(), self.entropy.draw()].concat();
        let password = BASE64.encode(drawn);
        body.insert("password".to_owned(), json!(password));
        self.put(username, body).await?;
        let made = self.raw(username).await?.ok_or_else(|| {
            Fault::Protocol("the user that was just made is not there".to_owned())
        })?;
        Ok(made.account(native(username)))
    }

    /// Gives a user what is declared, and keeps its password and the rest of its metadata.
    pub(super) async fn rewrite_user(
        &self,
        id: &AccountId,
        draft: &AccountDraft,
    ) -> Result<RemoteAccount, Fault> {
        let named = kept(id)?;
        let there = self.raw(named.username).await?.ok_or(Fault::NotFound)?;
        there.changeable()?;
        self.put(named.username, declared(draft, there.profile.metadata))
            .await?;
        let now = self.raw(named.username).await?.ok_or(Fault::NotFound)?;
        Ok(now.account(named.id()))
    }

    pub(super) async fn drop_user(&self, id: &AccountId) -> Result<(), Fault> {
        let named = kept(id)?;
        let there = self.raw(named.username).await?.ok_or(Fault::NotFound)?;
        there.changeable()?;
        let ask = Ask::new(Method::DELETE, one(named.username)?, &self.badge);
        let answer = self
            .ask(Ask {
                query: at_once(),
                ..ask
            })
            .await?;
        if answer.read::<Found>()?.found {
            Ok(())
        } else {
            Err(Fault::NotFound)
        }
    }

    async fn put(&self, username: &str, body: Map<String, Value>) -> Result<(), Fault> {
        let ask = Ask {
            query: at_once(),
            body: Some(Value::Object(body)),
            ..Ask::new(Method::PUT, one(username)?, &self.badge)
        };
        self.ask(ask).await?.read::<Done>().map(drop)
    }
}

/// The next read shows what this write has changed.
fn at_once() -> Vec<(&'static str, String)> {
    vec![("refresh", "true".to_owned())]
}

fn one(username: &str) -> Result<Route, Fault> {
    Route::named("/_security/user/{}", &[username])
}

fn native(username: &str) -> AccountId {
    let realm = NATIVE;
    Named { realm, username }.id()
}

/// A user that Elasticsearch keeps itself.
fn kept(id: &AccountId) -> Result<Named<'_>, Fault> {
    let named = Named::of(id)?;
    if named.realm == NATIVE {
        return Ok(named);
    }
    Err(unsent(
        "the user is of a realm that Elasticsearch does not keep",
    ))
}

/// A user of a realm that cannot be asked about.
fn unseen(named: Named<'_>) -> RemoteAccount {
    RemoteAccount {
        id: named.id(),
        username: named.username.to_owned(),
        display_name: String::new(),
        email: None,
        nature: Nature::Human,
        activity: Activity::Enabled,
        origin: Origin::Untold,
        roles: std::collections::BTreeSet::new(),
        metadata: FreeForm::default(),
        logins: Vec::new(),
    }
}

/// What the draft declares, as a whole user; of the metadata that is there, what it does not name stays.
fn declared(draft: &AccountDraft, mut metadata: Map<String, Value>) -> Map<String, Value> {
    metadata.extend(draft.metadata.0.clone());
    metadata.insert(OURS.to_owned(), json!({ STAMP: draft.stamp }));
    let fields = [
        ("roles", json!(draft.roles)),
        ("full_name", json!(draft.display_name)),
        ("enabled", json!(draft.activity == Activity::Enabled)),
        ("metadata", Value::Object(metadata)),
    ];
    let email = draft.email.as_ref().map(|email| ("email", json!(email)));
    let fields = fields.into_iter().chain(email);
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl User {
    fn account(self, id: AccountId) -> RemoteAccount {
        self.profile.account(id, self.username)
    }

    fn changeable(&self) -> Result<(), Fault> {
        match self.profile.nature() {
            Nature::Human => Err(Fault::Rejected(
                "the user is one of Elasticsearch's own, and stays as it is".to_owned(),
            )),
            Nature::Service | Nature::Untold => Ok(()),
        }
    }
}

impl Profile {
    /// The account, without what is ours in its metadata.
    pub(super) fn account(mut self, id: AccountId, username: String) -> RemoteAccount {
        let nature = self.nature();
        let stamp = self.metadata.remove(OURS);
        let stamp = stamp.as_ref().and_then(|ours| ours.get(STAMP)?.as_str());
        RemoteAccount {
            id,
            nature,
            origin: stamp.map_or(Origin::Unstamped, |uid| Origin::StampedFor(uid.to_owned())),
            username,
            display_name: self.full_name.unwrap_or_default(),
            email: self.email.filter(|address| !address.is_empty()),
            activity: if self.enabled {
                Activity::Enabled
            } else {
                Activity::Disabled
            },
            roles: self.roles.into_iter().collect(),
            metadata: FreeForm(self.metadata),
            logins: Vec::new(),
        }
    }

    /// Elasticsearch's own users carry a mark, and are nobody's to change.
    fn nature(&self) -> Nature {
        match self.metadata.get("_reserved") {
            Some(Value::Bool(true)) => Nature::Human,
            _ => Nature::Untold,
        }
    }
}
