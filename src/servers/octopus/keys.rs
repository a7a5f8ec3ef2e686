//! API keys. They are made and revoked; nothing else can be done to them.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::accounts::user_id;
use super::wire::{ListedKey, MadeKey};
use super::{API_KEY, Octopus};
use crate::plan::port::{AccountId, Fault, KeyId, List, Order, Own};
use crate::secret::KeyMaterial;
use crate::servers::Minted;
use crate::servers::bounded::Object;
use crate::servers::http::{Badge, Route, unsent};
use crate::servers::session::Asking;

impl Octopus {
    /// All keys of an account, the newest first. Keys that have ended stay listed.
    pub(super) async fn listed(&self, account: &AccountId) -> Result<List, Fault> {
        let pages = self.pages::<ListedKey>(&all(account)?, &[]).await?;
        let mut keys: Vec<_> = pages
            .items
            .into_iter()
            .map(|key| key.key(account))
            .collect();
        keys.sort_by(|a, b| {
            b.created_at
                .cmp(&a.created_at)
                .then_with(|| a.id.cmp(&b.id))
        });
        Ok(List {
            began: pages.began,
            keys: Arc::new(keys),
        })
    }

    pub(super) async fn make(&self, order: &Order) -> Result<Minted, Fault> {
        let account = order.account.as_str();
        // Without an explicit end the server would choose one; it keeps no more than milliseconds.
        let expires = format!("{:.3}", order.expires_at);
        let body = json!({ "Purpose": order.text, "Expires": expires, "UserId": account });
        let asking = Asking {
            body: Some(body),
            by: Some(order.send_by),
            ..Asking::new(Method::POST, all(&order.account)?)
        };
        let made: MadeKey = self.ask(asking).await?.read()?;
        if made.user_id.as_deref().is_some_and(|user| user != account) {
            return Err(Fault::Protocol("a key of another account".to_owned()));
        }
        let (key, value) = made.split();
        Ok(Minted { key, value })
    }

    /// Signs in with a key, in a request that carries nothing of our own.
    pub(super) async fn sign_in(&self, value: &KeyMaterial) -> Result<Own, Fault> {
        let badge = Badge::new(API_KEY, value);
        let badge = badge.ok_or_else(|| unsent("no header can carry the key"))?;
        self.whose(&badge).await
    }

    pub(super) async fn unmake(&self, account: &AccountId, key: &KeyId) -> Result<(), Fault> {
        let ids = [user_id(account)?, key.as_str()];
        let answer = self
            .delete(Route::new("/api/users/{}/apikeys/{}", &ids)?)
            .await?;
        // Octopus says `{}`. Whatever else comes is no word that the key is gone.
        answer.read::<Object>().map(drop)
    }
}

fn all(account: &AccountId) -> Result<Route, Fault> {
    Route::new("/api/users/{}/apikeys", &[user_id(account)?])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::plan::port::{Activity, Extras, NewKey, RemoteKey};
    use crate::servers::script::{CREDENTIAL, Script};

    const VALUE: &str = "API-CANARYMINTED1234567890ABCDEFGH";

    fn user() -> AccountId {
        AccountId::new("Users-2")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn listed(number: u32) -> Value {
        json!({ "Id": format!("apikeys-{number}"), "Purpose": format!("key {number}"),
            "UserId": "Users-2", "Created": format!("2026-11-{number:02}T01:02:03.456+00:00"),
            "Expires": "2027-01-01T00:00:00.000+00:00", "ActorType": "User",
            "ApiKey": { "HasValue": true, "Hint": "API-ABC", "NewValue": null }, "Links": {} })
    }

    fn page(total: usize, numbers: &[u32]) -> Value {
        let items: Vec<_> = numbers.iter().map(|number| listed(*number)).collect();
        json!({ "ItemType": "ApiKey", "TotalResults": total, "Items": items, "Links": {} })
    }

    async fn ids(script: &Arc<Script>) -> Result<Vec<String>, &'static str> {
        let list = script
            .client()
            .keys(&user())
            .await
            .map_err(|fault| fault.label())?;
        Ok(list.keys.iter().map(|key| key.id.to_string()).collect())
    }

    fn named(numbers: &[u32]) -> Vec<String> {
        numbers
            .iter()
            .map(|number| format!("apikeys-{number}"))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_listed_as_it_is() {
        let mut endless = listed(2);
        endless["Expires"] = Value::Null;
        endless["Purpose"] = Value::Null;
        let body = json!({ "TotalResults": 2, "Items": [listed(3), endless] });
        let script = Script::new().json(&body);
        let list = script.client().keys(&user()).await.unwrap();
        assert_eq!(
            *list.keys,
            [
                RemoteKey {
                    id: KeyId::new("apikeys-3"),
                    account: user(),
                    activity: Activity::Enabled,
                    extras: None,
                    text: "key 3".to_owned(),
                    created_at: at("2026-11-03T01:02:03.456Z"),
                    expires_at: Some(at("2027-01-01T00:00:00Z")),
                },
                RemoteKey {
                    id: KeyId::new("apikeys-2"),
                    account: user(),
                    activity: Activity::Enabled,
                    extras: None,
                    text: String::new(),
                    created_at: at("2026-11-02T01:02:03.456Z"),
                    expires_at: None,
                },
            ]
        );
        assert_eq!(
            script.heard(),
            ["GET /prefix/api/users/Users-2/apikeys?skip=0&take=200"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_are_read_however_small_they_are() {
        let script = Script::new()
            .json(&page(5, &[9, 8]))
            .json(&page(5, &[7, 6]));
        let script = script.json(&page(5, &[5]));
        assert_eq!(ids(&script).await, Ok(named(&[9, 8, 7, 6, 5])));
        assert!(script.heard()[2].ends_with("?skip=4&take=200"));
        assert_eq!(
            ids(&Script::new().json(&page(0, &[]))).await,
            Ok(named(&[]))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_changes_between_its_pages_is_read_again() {
        // A key that was made pushes one that was read to the next page.
        let made = Script::new()
            .json(&page(3, &[9, 8]))
            .json(&page(4, &[8, 7]));
        let made = made.json(&page(4, &[10, 9])).json(&page(4, &[8, 7]));
        assert_eq!(ids(&made).await, Ok(named(&[10, 9, 8, 7])));
        // A key that went pulls one that was not read to a page that was.
        let gone = Script::new().json(&page(4, &[9, 8])).json(&page(3, &[6]));
        let gone = gone.json(&page(3, &[8, 7])).json(&page(3, &[6]));
        assert_eq!(ids(&gone).await, Ok(named(&[8, 7, 6])));
        // Both at once: the total stays, but one is seen twice.
        let both = Script::new()
            .json(&page(4, &[9, 8]))
            .json(&page(4, &[8, 6]));
        let both = both.json(&page(4, &[10, 9])).json(&page(4, &[8, 6]));
        assert_eq!(ids(&both).await, Ok(named(&[10, 9, 8, 6])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_never_settles_is_no_list() {
        let script = Script::new();
        for _ in 0..3 {
            script.json(&page(5, &[9, 8])).json(&page(5, &[]));
        }
        assert_eq!(ids(&script).await, Err("unreachable"));
        let endless = Script::new();
        for number in 0..u32::try_from(super::super::PAGES).unwrap() {
            let mut item = listed(1);
            item["Id"] = json!(format!("apikeys-{number}"));
            endless.json(&json!({ "TotalResults": u64::MAX, "Items": [item] }));
        }
        assert_eq!(ids(&endless).await, Err("protocol"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_began_before_its_first_request_and_after_the_wait_for_it() {
        let script = Script::new().json(&page(2, &[9])).json(&page(2, &[8]));
        let mut connection = script.connection();
        let one = std::num::NonZeroU32::MIN;
        let limits = crate::servers::Limits {
            requests_per_minute: one.saturating_add(59),
            burst: one,
            concurrency: one,
        };
        connection.budget = Arc::new(crate::servers::Budget::new(limits));
        let clock = connection.clock.clone();
        let client = crate::servers::connect(connection).unwrap();
        let dawn = clock.now();
        let waited = |seconds| dawn + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(client.keys(&user()).await.unwrap().began, waited(0));
        script.json(&page(0, &[]));
        assert_eq!(client.keys(&user()).await.unwrap().began, waited(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_makes_no_sense_is_no_list() {
        let mut slash = listed(1);
        slash["Id"] = json!("apikeys-1/../2");
        let mut undated = listed(1);
        undated["Created"] = json!("yesterday");
        for body in [
            json!({ "Items": [], "TotalResults": -1 }).to_string(),
            json!({ "Items": [] }).to_string(),
            json!({ "TotalResults": 0 }).to_string(),
            json!({ "TotalResults": 1, "Items": [slash] }).to_string(),
            json!({ "TotalResults": 1, "Items": [undated] }).to_string(),
            json!({ "TotalResults": 1, "Items": {} }).to_string(),
            "[]".to_owned(),
            String::new(),
            "<html>".to_owned(),
            page(1, &[1]).to_string()[..100].to_owned(),
        ] {
            assert_eq!(
                ids(&Script::new().says(200, &body)).await,
                Err("protocol"),
                "{body}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_takes_no_more_room_than_a_list_needs() {
        let table = [
            (
                "Purpose",
                json!("x".repeat(5_000) + "· ako1.a.b.c.1.d"),
                true,
            ),
            ("ApiKey", json!([0, 0, 0]), false),
            (
                "ApiKey",
                json!({ "Hint": "API-ABC", "More": [0, { "a": 0 }] }),
                true,
            ),
            ("ApiKey", json!("API-ABCD"), true),
        ];
        for (field, value, fine) in table {
            let mut item = listed(1);
            item[field] = value;
            let script = Script::new().json(&json!({ "TotalResults": 1, "Items": [item] }));
            let list = script.client().keys(&user()).await;
            assert_eq!(list.is_ok(), fine, "{field}");
            for key in list.iter().flat_map(|list| list.keys.iter()) {
                assert!(key.text.chars().count() <= 512);
                assert!(field != "Purpose" || key.text.ends_with("x· ako1.a.b.c.1.d"));
            }
        }
        let many: Vec<_> = (0..1_001).map(|_| listed(1)).collect();
        let script = Script::new().json(&json!({ "TotalResults": 1_001, "Items": many }));
        assert_eq!(ids(&script).await, Err("protocol"), "a page of very many");
    }

    #[tokio::test(start_paused = true)]
    async fn all_pages_together_have_a_bound() {
        let script = Script::new();
        for number in 1..=4 {
            let mut page = page(4, &[number]);
            page["Links"] = json!("x".repeat(2_500_000));
            script.json(&page);
        }
        assert_eq!(ids(&script).await, Err("protocol"));
        assert_eq!(script.requests().len(), 4);
    }

    fn order() -> Order {
        Order {
            account: user(),
            text: "deploys · ako1.a.b.c.1.d".to_owned(),
            notes: Vec::new(),
            extras: Extras::default(),
            expires_at: at("2026-12-22T02:00:00.1239Z"),
            send_by: Timestamp::MAX,
        }
    }

    fn made() -> Value {
        json!({ "Id": "apikeys-I6D74k9", "Purpose": "deploys · ako1.a.b.c.1.d",
            "UserId": "Users-2", "ApiKey": VALUE, "Created": "2026-11-22T03:00:00.000+01:00",
            "Expires": "2026-12-22T02:00:00.123+00:00", "Links": {} })
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_made_with_its_end() {
        let script = Script::new().json(&made());
        let minted = script.client().mint(&order()).await.unwrap();
        let key = NewKey {
            id: KeyId::new("apikeys-I6D74k9"),
            text: order().text,
            created_at: at("2026-11-22T02:00:00Z"),
            expires_at: Some(at("2026-12-22T02:00:00.123Z")),
        };
        assert_eq!((minted.key, minted.value.expose()), (key, VALUE));
        assert_eq!(script.heard(), ["POST /prefix/api/users/Users-2/apikeys"]);
        let body = json!({ "Purpose": order().text, "UserId": "Users-2",
            "Expires": "2026-12-22T02:00:00.123Z" });
        assert_eq!(script.sent(0), body);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_changed_is_told_as_it_is() {
        let mut changed = made();
        changed["Purpose"] = Value::Null;
        changed["Expires"] = Value::Null;
        let minted = Script::new()
            .json(&changed)
            .client()
            .mint(&order())
            .await
            .unwrap();
        assert_eq!(
            (minted.key.text.as_str(), minted.key.expires_at),
            ("", None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_mint_that_is_not_understood_may_have_made_a_key_and_is_not_repeated() {
        let mut bodies = vec![String::new(), "<html>".to_owned(), "{}".to_owned()];
        bodies.push(made().to_string()[..60].to_owned());
        let mut with = |field: &str, value: Value| {
            let mut body = made();
            body[field] = value;
            bodies.push(body.to_string());
        };
        with("Id", json!("a/b"));
        with("Id", Value::Null);
        with("UserId", json!("Users-3"));
        with("Created", json!(5));
        for value in [
            "",
            "API-",
            "API-SHORT",
            "key",
            "API-CANARY\nX-EVIL",
            "API-CANARY 12345678",
        ] {
            with("ApiKey", json!(value));
        }
        with("ApiKey", json!(format!("API-{}", "A".repeat(1000))));
        with("ApiKey", json!({ "HasValue": true, "Hint": "API-CAN" }));
        for body in bodies {
            let script = Script::new().says(200, &body);
            let fault = script.client().mint(&order()).await.unwrap_err();
            assert_eq!(fault.label(), "protocol", "{body}");
            assert_eq!(fault.effect(), crate::plan::port::Effect::Perhaps);
            assert!(!fault.to_string().contains("CANARY"), "{fault}");
            assert_eq!(script.requests().len(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_signs_in_without_our_credential() {
        let script = Script::new();
        let script = script.json(&json!({ "Id": "Users-2", "Username": "team-a.ci" }));
        let script = script.error(401, "The API key you provided was not valid.");
        let client = script.client();
        let value = KeyMaterial::new(VALUE);
        assert_eq!(client.prove(&user(), &value).await, Ok(user()));
        assert_eq!(
            client.prove(&user(), &value).await,
            Err(Fault::Unauthorized)
        );
        for request in script.requests() {
            assert_eq!(request.uri().path(), "/prefix/api/users/me");
            assert_eq!(request.headers()["x-octopus-apikey"], VALUE);
            assert!(request.headers()["x-octopus-apikey"].is_sensitive());
            assert!(!format!("{:?}", request.headers()).contains(CREDENTIAL));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_revoked_only_by_octopus() {
        let revoke = async |script: Arc<Script>| {
            let outcome = script
                .client()
                .revoke(&user(), &KeyId::new("apikeys-1"))
                .await;
            let path = "DELETE /prefix/api/users/Users-2/apikeys/apikeys-1";
            assert_eq!(script.heard(), [path]);
            outcome.map_err(|fault| fault.label())
        };
        assert_eq!(revoke(Script::new().says(200, "{}")).await, Ok(()));
        for nothing in ["", "<html>", "null", "[]", "true"] {
            assert_eq!(
                revoke(Script::new().says(200, nothing)).await,
                Err("protocol")
            );
        }
        assert_eq!(
            revoke(Script::new().error(404, "no")).await,
            Err("not_found")
        );
        assert_eq!(
            revoke(Script::new().says(404, "<html>")).await,
            Err("protocol")
        );
        assert_eq!(
            revoke(Script::new().error(400, "of another user")).await,
            Err("rejected")
        );
        assert_eq!(
            revoke(Script::new().error(503, "no")).await,
            Err("uncertain")
        );
    }
}
