//! Accounts: users of Octopus. A person's is looked at, never changed and never deleted.

use http::Method;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::Octopus;
use super::wire::User;
use crate::plan::port::{AccountDraft, AccountId, Activity, Fault, Nature, RemoteAccount};
use crate::servers::http::{Route, unsent};

impl Octopus {
    pub(super) async fn user(&self, id: &AccountId) -> Result<RemoteAccount, Fault> {
        Ok(self.get(one(id)?).await?.read::<User>()?.account())
    }

    /// The user with exactly this name. The server's filter finds fragments of names, addresses and
    /// more, so every page is compared.
    pub(super) async fn user_named(&self, username: &str) -> Result<Option<RemoteAccount>, Fault> {
        let filter = [("filter", username.to_owned())];
        let pages = self
            .pages::<User>(&Route::fixed("/api/users"), &filter)
            .await?;
        let mut same = pages
            .items
            .into_iter()
            .filter(|user| same_name(&user.username, username));
        match (same.next(), same.next()) {
            (user, None) => Ok(user.map(User::account)),
            (_, Some(_)) => Err(Fault::Protocol("two accounts of one name".to_owned())),
        }
    }

    /// Makes a service account. The server makes it active, whatever the draft says.
    pub(super) async fn new_user(&self, draft: &AccountDraft) -> Result<RemoteAccount, Fault> {
        let mut body = Map::new();
        body.insert("Username".to_owned(), json!(draft.username));
        body.insert("IsService".to_owned(), json!(true));
        declare(&mut body, draft);
        match self
            .send(Method::POST, Route::fixed("/api/users"), body.into())
            .await
        {
            Ok(answer) => Ok(answer.read::<User>()?.account()),
            // A name that is taken is refused as any other bad input is.
            Err(Fault::Rejected(why)) => match self.user_named(&draft.username).await {
                Ok(Some(_)) => Err(Fault::Conflict(why)),
                Ok(None) | Err(_) => Err(Fault::Rejected(why)),
            },
            Err(fault) => Err(fault),
        }
    }

    /// Replaces the whole user by what it is, but for what is changed.
    pub(super) async fn rewrite(
        &self,
        id: &AccountId,
        change: impl FnOnce(&mut Map<String, Value>) + Send,
    ) -> Result<RemoteAccount, Fault> {
        let thing = (self.http.origin(), id.to_string());
        let _turn = self.turns.take(thing).await;
        let answer = self.get(one(id)?).await?;
        service_only(&answer.read()?)?;
        let mut whole = answer.whole()?;
        change(&mut whole);
        // It is written only, and a service account must not have one.
        whole.remove("Password");
        Ok(self
            .send(Method::PUT, one(id)?, whole.into())
            .await?
            .read::<User>()?
            .account())
    }

    pub(super) async fn drop_user(&self, id: &AccountId) -> Result<(), Fault> {
        service_only(&self.get(one(id)?).await?.read()?)?;
        let answer = self.delete(one(id)?).await?;
        // Octopus says nothing here; whoever says something else than JSON is not Octopus.
        if answer.is_empty() {
            Ok(())
        } else {
            answer.read::<IgnoredAny>().map(drop)
        }
    }
}

fn one(id: &AccountId) -> Result<Route, Fault> {
    Route::new("/api/users/{}", &[user_id(id)?])
}

/// The id of a user, and of nothing else: `me` in its place would be ourselves, `all` everybody.
pub(super) fn user_id(id: &AccountId) -> Result<&str, Fault> {
    let is_users = id
        .as_str()
        .get(..6)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("Users-"));
    if is_users {
        Ok(id.as_str())
    } else {
        Err(unsent("the account's id is not one of Octopus"))
    }
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn service_only(user: &User) -> Result<(), Fault> {
    match user.nature() {
        Nature::Service => Ok(()),
        Nature::Human | Nature::Untold => Err(Fault::Rejected(
            "the account is a person's, and stays as it is".to_owned(),
        )),
    }
}

/// Writes into a user what the draft declares.
pub(super) fn declare(user: &mut Map<String, Value>, draft: &AccountDraft) {
    user.insert("DisplayName".to_owned(), json!(draft.display_name));
    user.insert(
        "IsActive".to_owned(),
        json!(draft.activity == Activity::Enabled),
    );
    if let Some(address) = &draft.email {
        user.insert("EmailAddress".to_owned(), json!(address));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::FreeForm;
    use crate::plan::port::Effect;
    use crate::plan::port::{AccountName, Login, Origin};
    use crate::servers::script::Script;

    fn shown(id: &str, username: &str) -> Value {
        json!({ "Id": id, "Username": username, "DisplayName": "Team A", "EmailAddress": "a@b.example",
            "IsActive": true, "IsService": true, "ServiceAccountType": "Standard",
            "Identities": [{ "IdentityProviderName": "AD", "Claims": {} }], "Unheard": [1, 2],
            "Password": null, "Links": { "Self": format!("/api/users/{id}") } })
    }

    fn person() -> Value {
        let mut user = shown("Users-7", "jane");
        user["IsService"] = json!(false);
        user
    }

    fn page(total: usize, items: &[Value]) -> Value {
        json!({ "ItemType": "User", "TotalResults": total, "ItemsPerPage": 30, "Items": items })
    }

    fn account() -> RemoteAccount {
        RemoteAccount {
            id: AccountId::new("Users-2"),
            username: "Team-A.ci".to_owned(),
            display_name: "Team A".to_owned(),
            email: Some("a@b.example".to_owned()),
            nature: Nature::Service,
            activity: Activity::Enabled,
            origin: Origin::Untold,
            roles: BTreeSet::new(),
            metadata: FreeForm::default(),
            logins: vec![Login {
                provider: "AD".to_owned(),
                claims: std::collections::BTreeMap::new(),
            }],
        }
    }

    fn draft() -> AccountDraft {
        AccountDraft {
            username: "team-a.ci".to_owned(),
            display_name: "CI of team A".to_owned(),
            email: None,
            activity: Activity::Disabled,
            roles: BTreeSet::new(),
            metadata: FreeForm::default(),
            stamp: "uid-1".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_found_exactly_on_any_page() {
        let script = Script::new()
            .json(&page(
                3,
                &[
                    shown("Users-1", "team-a.ci2"),
                    shown("Users-3", "x-team-a.ci"),
                ],
            ))
            .json(&page(3, &[shown("Users-2", "Team-A.ci")]));
        let found = script
            .client()
            .find_account(&AccountName::own("team-a.ci"))
            .await
            .unwrap();
        assert_eq!(found, Some(account()));
        let heard = script.heard();
        assert_eq!(
            heard[0],
            "GET /prefix/api/users?filter=team-a.ci&skip=0&take=200"
        );
        assert_eq!(
            heard[1],
            "GET /prefix/api/users?filter=team-a.ci&skip=2&take=200"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_fragment_is_nobody_and_a_double_makes_no_sense() {
        let script = Script::new().json(&page(1, &[shown("Users-1", "team-a.ci2")]));
        assert_eq!(
            script
                .client()
                .find_account(&AccountName::own("team-a.ci"))
                .await,
            Ok(None)
        );
        let twice = [shown("Users-1", "a"), shown("Users-2", "A")];
        let fault = Script::new()
            .json(&page(2, &twice))
            .client()
            .find_account(&AccountName::own("a"))
            .await;
        assert_eq!(fault.unwrap_err().label(), "protocol");
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_looked_at_by_id() {
        let script = Script::new()
            .json(&shown("Users-2", "Team-A.ci"))
            .json(&person());
        let script = script.error(404, "The resource 'Users-9' was not found.");
        let client = script.client();
        let id = AccountId::new("Users-2");
        assert_eq!(client.account(&id).await, Ok(account()));
        assert_eq!(client.account(&id).await.unwrap().nature, Nature::Human);
        assert_eq!(client.account(&id).await, Err(Fault::NotFound));
        assert_eq!(
            client
                .account(&AccountId::new("../x"))
                .await
                .unwrap_err()
                .label(),
            "rejected"
        );
        assert_eq!(script.heard()[0], "GET /prefix/api/users/Users-2");
    }

    #[tokio::test(start_paused = true)]
    async fn names_of_a_server_are_short_and_hide_nothing() {
        let mut user = shown("Users-2", "a\u{202e}b\n\u{200b}c–é");
        user["DisplayName"] = json!("d".repeat(5_000));
        let client = Script::new().json(&user).client();
        let account = client.account(&AccountId::new("Users-2")).await.unwrap();
        assert_eq!(account.username, "a\u{fffd}b\u{fffd}\u{fffd}c–é");
        assert_eq!(account.display_name, "d".repeat(256) + "…");
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_make_no_sense_hide_no_user() {
        let odd = json!([{ "Claims": null }, { "IdentityProviderName": "AD", "Claims": null },
            { "IdentityProviderName": "Okta", "Claims": { "a": null, "b": { "Value": null } } }]);
        for (logins, known) in [(Value::Null, 0), (json!([]), 0), (odd, 2)] {
            let mut user = shown("Users-2", "Team-A.ci");
            user["Identities"] = logins;
            let client = Script::new().json(&user).client();
            let account = client.account(&AccountId::new("Users-2")).await.unwrap();
            assert_eq!(account.logins.len(), known);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_but_a_user_is_taken_for_one() {
        let script = Script::new();
        let client = script.client();
        for id in [
            "me",
            "all",
            "authentication",
            "Users",
            "Teams-1",
            "../Users-1",
            "Users-1/x",
        ] {
            let id = AccountId::new(id);
            let key = crate::plan::port::KeyId::new("apikeys-1");
            let order = crate::plan::port::Order {
                account: id.clone(),
                text: String::new(),
                notes: Vec::new(),
                extras: crate::plan::port::Extras::default(),
                expires_at: jiff::Timestamp::MAX,
                send_by: jiff::Timestamp::MAX,
            };
            let outcomes = [
                client.account(&id).await.map(drop),
                client.update_account(&id, &draft()).await.map(drop),
                client.delete_account(&id).await,
                client.keys(&id).await.map(drop),
                client.mint(&order).await.map(drop),
                client.revoke(&id, &key).await,
            ];
            for outcome in outcomes {
                let fault = outcome.unwrap_err();
                assert_eq!(fault.label(), "rejected", "{id}");
                assert_eq!(fault.effect(), Effect::None, "{id}");
                assert!(fault.to_string().contains("nothing was sent"), "{fault}");
            }
        }
        assert!(script.requests().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_account_is_made() {
        let script = Script::new().says(201, &shown("Users-2", "Team-A.ci").to_string());
        assert_eq!(
            script.client().create_account(&draft()).await,
            Ok(account())
        );
        assert_eq!(script.heard(), ["POST /prefix/api/users"]);
        let body = json!({ "Username": "team-a.ci", "DisplayName": "CI of team A",
            "IsActive": false, "IsService": true });
        assert_eq!(script.sent(0), body);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_taken_is_a_conflict_and_other_bad_input_is_not() {
        let script = Script::new().error(400, "There was a problem with your request.");
        let script = script.json(&page(1, &[shown("Users-2", "Team-A.ci")]));
        let fault = script.client().create_account(&draft()).await.unwrap_err();
        assert_eq!(
            fault,
            Fault::Conflict("There was a problem with your request.".to_owned())
        );
        let script = Script::new()
            .error(400, "The name is reserved.")
            .json(&page(0, &[]));
        let fault = script.client().create_account(&draft()).await.unwrap_err();
        assert_eq!(fault, Fault::Rejected("The name is reserved.".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_keeps_what_is_not_declared() {
        let mut expected = shown("Users-2", "Team-A.ci");
        expected["DisplayName"] = json!("CI of team A");
        expected["IsActive"] = json!(false);
        expected.as_object_mut().unwrap().remove("Password");
        let script = Script::new()
            .json(&shown("Users-2", "Team-A.ci"))
            .json(&expected);
        let account = script
            .client()
            .update_account(&AccountId::new("Users-2"), &draft())
            .await;
        assert_eq!(account.unwrap().activity, Activity::Disabled);
        assert_eq!(script.heard()[1], "PUT /prefix/api/users/Users-2");
        assert_eq!(script.sent(1), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_long_for_a_user_is_not_put_back() {
        let mut user = shown("Users-2", "Team-A.ci");
        user["Unheard"] = json!("x".repeat(1_100_000));
        let script = Script::new().json(&user).error(400, "no");
        let id = AccountId::new("Users-2");
        let fault = script.client().update_account(&id, &draft()).await;
        assert_eq!(fault.unwrap_err().label(), "protocol");
        assert_eq!(script.requests().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_is_never_changed() {
        let script = Script::new().json(&person()).json(&person());
        let (client, id) = (script.client(), AccountId::new("Users-7"));
        assert_eq!(
            client
                .update_account(&id, &draft())
                .await
                .unwrap_err()
                .label(),
            "rejected"
        );
        assert_eq!(
            client.delete_account(&id).await.unwrap_err().label(),
            "rejected"
        );
        assert!(script.heard().iter().all(|line| line.starts_with("GET ")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_is_deleted_only_by_octopus() {
        let user = shown("Users-2", "Team-A.ci");
        let delete = async |script: std::sync::Arc<Script>| {
            let outcome = script
                .client()
                .delete_account(&AccountId::new("Users-2"))
                .await;
            outcome.map_err(|fault| fault.label())
        };
        assert_eq!(
            delete(Script::new().json(&user).says(200, "")).await,
            Ok(())
        );
        assert_eq!(
            delete(Script::new().json(&user).says(200, "{}")).await,
            Ok(())
        );
        assert_eq!(
            delete(Script::new().json(&user).says(200, "<html>")).await,
            Err("protocol")
        );
        assert_eq!(
            delete(Script::new().error(404, "gone")).await,
            Err("not_found")
        );
        assert_eq!(
            delete(Script::new().says(404, "<html>")).await,
            Err("protocol")
        );
        assert_eq!(
            delete(Script::new().json(&user).error(500, "")).await,
            Err("uncertain")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_401_of_a_good_credential_is_a_missing_permission() {
        let me = json!({ "Id": "Users-1", "Username": "operator" });
        let id = AccountId::new("Users-2");
        let script = Script::new().error(401, "no").json(&me);
        assert_eq!(
            script.client().account(&id).await.unwrap_err().label(),
            "forbidden"
        );
        for second in [401, 500] {
            let script = Script::new().error(401, "no").error(second, "no");
            assert_eq!(script.client().account(&id).await, Err(Fault::Unauthorized));
        }
    }
}
