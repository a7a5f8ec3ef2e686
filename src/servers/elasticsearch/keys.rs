//! API keys: made for ourselves by the plain call, for others by a grant in our name, that runs as
//! them; invalidated, and gone only when Elasticsearch says so.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::users::OURS;
use super::wire::{Invalidated, Keys, ListedKey, MadeKey, Updated, Who};
use super::{Elasticsearch, NATIVE, Named, RUN_AS};
use crate::plan::port::{AccountId, Change, Extras, Fault, KeyId, List, NewKey, Order};
use crate::secret::KeyMaterial;
use crate::servers::http::{Answer, Ask, Badge, Route, is_id, unsent};
use crate::servers::{Credential, Minted};

/// What is to be known of a connection that signs in with an API key.
pub(super) const POWERLESS: &str = "It signs in with an API key, and Elasticsearch lets an API key make only keys that may do nothing. Use spec.auth.basic or spec.auth.bearer to have keys made.";

/// Where in our part of a key's metadata the digest of what was asked for it stands.
const DIGEST: &str = "digest";

impl Elasticsearch {
    /// All keys of an account that were not invalidated, the newest first. Keys that have expired stay
    /// listed for a week.
    pub(super) async fn listed(&self, account: &AccountId) -> Result<List, Fault> {
        let named = Named::of(account)?;
        let answer = self.found(self.whose(named).await?).await?;
        let listed: Keys = answer.read()?;
        let mut keys = Vec::new();
        for key in listed.api_keys {
            if !key.invalidated && belongs(&key, named) {
                keys.push(key.key(account, DIGEST)?);
            }
        }
        keys.sort_by(|a, b| {
            let by_age = b.created_at.cmp(&a.created_at);
            by_age.then_with(|| a.id.cmp(&b.id))
        });
        Ok(List {
            began: answer.sent_at,
            keys: Arc::new(keys),
        })
    }

    /// How keys of a user are asked for: our own with the least privilege.
    async fn whose(&self, named: Named<'_>) -> Result<Vec<(&'static str, String)>, Fault> {
        Ok(if self.is_own(named).await? {
            vec![("owner", "true".to_owned())]
        } else {
            let mut query = vec![("username", named.username.to_owned())];
            // Only the realms of others must have the name that we think they have.
            if named.realm != NATIVE {
                query.push(("realm_name", named.realm.to_owned()));
            }
            query
        })
    }

    async fn found(&self, query: Vec<(&'static str, String)>) -> Result<Answer, Fault> {
        let ask = Ask::new(Method::GET, Route::fixed("/_security/api_key"), &self.badge);
        self.ask(Ask { query, ..ask }).await
    }

    pub(super) async fn make(&self, order: &Order) -> Result<Minted, Fault> {
        if matches!(self.credential, Credential::ApiKey(_)) {
            return Err(Fault::Forbidden(POWERLESS.to_owned()));
        }
        let named = Named::of(&order.account)?;
        let own = self.is_own(named).await?;
        // An end is counted from the arrival of the request.
        let life = order.expires_at.duration_since(self.http.now()).as_millis();
        if life <= 0 {
            return Err(unsent("the key would be over before it begins"));
        }
        let mut key = kept(&order.text, &order.notes, &order.extras);
        key.insert("name".to_owned(), json!(order.text));
        key.insert("expiration".to_owned(), json!(format!("{life}ms")));
        let (route, body) = if own {
            ("/_security/api_key", Value::Object(key))
        } else {
            ("/_security/api_key/grant", self.grant(named, &key)?)
        };
        let ask = Ask {
            body: Some(body),
            by: Some(order.send_by),
            ..Ask::new(Method::POST, Route::fixed(route), &self.badge)
        };
        let answer = self.ask(ask).await?;
        let made: MadeKey = answer.read()?;
        let encoded = BASE64.encode(format!("{}:{}", made.id, made.api_key.expose()));
        Ok(Minted {
            key: NewKey {
                id: KeyId::new(made.id),
                text: made.name,
                created_at: answer.sent_at,
                expires_at: made.expiration.map(moment).transpose()?,
            },
            value: KeyMaterial::new(encoded),
        })
    }

    /// Our credential vouches for a key of somebody else.
    fn grant(&self, named: Named<'_>, key: &Map<String, Value>) -> Result<Value, Fault> {
        let mut grant = json!({ "run_as": named.username, "api_key": key });
        let fields = match &self.credential {
            Credential::Basic { username, password } => json!({
                "grant_type": "password", "username": username, "password": password.expose(),
            }),
            Credential::Bearer(token) => json!({
                "grant_type": "access_token", "access_token": token.expose(),
            }),
            Credential::ApiKey(_) | Credential::Vouched(_) => {
                return Err(unsent("such a credential vouches for nobody"));
            }
        };
        if let (Value::Object(grant), Value::Object(fields)) = (&mut grant, fields) {
            grant.extend(fields);
        }
        Ok(grant)
    }

    /// Signs in with a key, in a request that carries nothing of our own.
    pub(super) async fn sign_in(
        &self,
        account: &AccountId,
        value: &KeyMaterial,
    ) -> Result<AccountId, Fault> {
        let badge = Badge::authorization("ApiKey", value);
        let badge = badge.ok_or_else(|| unsent("no header can carry the key"))?;
        let route = Route::fixed("/_security/_authenticate");
        let who: Who = self
            .ask(Ask::new(Method::GET, route, &badge))
            .await?
            .read()?;
        // A key shows the name of its owner, and not the owner's realm.
        let named = Named::of(account)?;
        Ok(if who.is_key(value) && who.username == named.username {
            account.clone()
        } else {
            who.own().id
        })
    }

    /// Changes a key. Only its owner may: we act as them.
    pub(super) async fn change(
        &self,
        account: &AccountId,
        key: &KeyId,
        change: &Change,
    ) -> Result<(), Fault> {
        let named = Named::of(account)?;
        let badge = if self.is_own(named).await? {
            self.badge.clone()
        } else {
            let acting = self.badge.clone().with(RUN_AS, named.username);
            acting.ok_or_else(|| unsent("no header can carry the user's name"))?
        };
        let mut body = kept(&change.text, &change.notes, &change.extras);
        // Left out, they would stay; without any, a key may do what its owner may.
        body.entry("role_descriptors").or_insert_with(|| json!({}));
        let ask = Ask {
            body: Some(Value::Object(body)),
            ..Ask::new(
                Method::PUT,
                Route::new("/_security/api_key/{}", &[key.as_str()])?,
                &badge,
            )
        };
        self.ask(ask).await?.read::<Updated>().map(drop)
    }

    /// Invalidates a key. That Elasticsearch says nothing of it says nothing: it is looked for then.
    pub(super) async fn unmake(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault> {
        if !is_id(key.as_str()) {
            return Err(unsent("an id holds what no id should hold"));
        }
        let own = self.is_own(Named::of(account)?).await?;
        let mut body = json!({ "ids": [key.as_str()] });
        let mut query = vec![("id", key.to_string())];
        if own {
            body["owner"] = json!(true);
            query.push(("owner", "true".to_owned()));
        }
        if self.invalidate(body).await?.ended(key.as_str())? {
            return Ok(());
        }
        let left: Keys = self.found(query).await?.read()?;
        match left.api_keys.iter().find(|left| left.id == key.as_str()) {
            Some(left) if left.invalidated => Ok(()),
            Some(_) => Err(Fault::Protocol("the key is still valid".to_owned())),
            None => Err(Fault::NotFound),
        }
    }

    pub(super) async fn unmake_all(&self, account: &AccountId) -> Result<(), Fault> {
        let list = self.listed(account).await?;
        if list.keys.is_empty() {
            return Ok(());
        }
        // By their ids: their realm may have another name than we think.
        let ids: Vec<&str> = list.keys.iter().map(|key| key.id.as_str()).collect();
        self.invalidate(json!({ "ids": ids })).await?.worked()
    }

    async fn invalidate(&self, body: Value) -> Result<Invalidated, Fault> {
        let ask = Ask {
            body: Some(body),
            ..Ask::new(
                Method::DELETE,
                Route::fixed("/_security/api_key"),
                &self.badge,
            )
        };
        self.ask(ask).await?.read()
    }
}

/// Whether a key is this user's.
fn belongs(key: &ListedKey, named: Named<'_>) -> bool {
    let native = named.realm == NATIVE && key.realm_type.as_deref() == Some("native");
    key.username == named.username && (key.realm == named.realm || native)
}

/// What is kept with a key besides its name and its end.
fn kept(text: &str, notes: &[(&'static str, String)], extras: &Extras) -> Map<String, Value> {
    let marker = text.rsplit(' ').next().unwrap_or_default();
    let mut ours = Map::from_iter([("marker".to_owned(), json!(marker))]);
    ours.extend(
        notes
            .iter()
            .map(|(name, text)| ((*name).to_owned(), json!(text))),
    );
    ours.extend(
        extras
            .digest()
            .map(|digest| (DIGEST.to_owned(), json!(digest))),
    );
    let mut metadata = extras.metadata.0.clone();
    metadata.insert(OURS.to_owned(), Value::Object(ours));
    let mut kept = Map::from_iter([("metadata".to_owned(), Value::Object(metadata))]);
    if !extras.role_descriptors.is_empty() {
        kept.insert(
            "role_descriptors".to_owned(),
            json!(extras.role_descriptors),
        );
    }
    kept
}

/// A moment as Elasticsearch writes it: milliseconds since 1970.
pub(super) fn moment(millis: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(millis)
        .map_err(|_| Fault::Protocol("a moment out of all time".to_owned()))
}
