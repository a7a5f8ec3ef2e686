//! Logins of external providers. They stand in the user itself, which is replaced as a whole; a user has
//! one of each provider at most (Octopus refuses two).

use serde_json::{Map, Value, json};

use super::Octopus;
use super::wire::{Provider, Providers};
use crate::plan::port::{AccountId, Fault, Login, RemoteAccount};
use crate::servers::http::Route;
use crate::servers::plain::plain;

/// What of a user holds its logins.
const IDENTITIES: &str = "Identities";

impl Octopus {
    /// Gives a user a login, in place of the one of this provider that it may have.
    pub(super) async fn give(&self, id: &AccountId, login: &Login) -> Result<RemoteAccount, Fault> {
        let known: Providers = self
            .get(Route::fixed("/api/users/identity-metadata"))
            .await?
            .read()?;
        let shown = shown(&known.providers, login)?;
        self.rewrite(id, |user| {
            let mut logins = others(user, &login.provider);
            logins.push(shown);
            user.insert(IDENTITIES.to_owned(), json!(logins));
        })
        .await
    }

    /// Takes the login of a provider away from a user.
    pub(super) async fn take(
        &self,
        id: &AccountId,
        provider: &str,
    ) -> Result<RemoteAccount, Fault> {
        self.rewrite(id, |user| {
            let logins = others(user, provider);
            user.insert(IDENTITIES.to_owned(), json!(logins));
        })
        .await
    }
}

/// A user's logins of other providers, as they are.
fn others(user: &Map<String, Value>, provider: &str) -> Vec<Value> {
    let logins = user.get(IDENTITIES).and_then(Value::as_array);
    logins
        .into_iter()
        .flatten()
        .filter(|login| login["IdentityProviderName"] != provider)
        .cloned()
        .collect()
}

/// A login as the server wants it. `Rejected` where the server knows no such provider, or the provider
/// no such claim: by a claim with a mistake in its name nobody would ever be known.
fn shown(providers: &[Provider], login: &Login) -> Result<Value, Fault> {
    let mut known = providers.iter();
    let Some(provider) = known.find(|known| known.name == login.provider) else {
        let names = providers.iter().map(|known| known.name.as_str());
        return Err(unknown("login provider", &login.provider, names));
    };
    let mut claims = Map::new();
    for (name, value) in &login.claims {
        let mut known = provider.claims.iter();
        let Some(claim) = known.find(|known| known.type_ == *name) else {
            let names = provider.claims.iter().map(|known| known.type_.as_str());
            return Err(unknown("claim", name, names));
        };
        let shown = json!({ "Value": value, "IsIdentifyingClaim": claim.is_identifying_claim });
        claims.insert(name.clone(), shown);
    }
    Ok(json!({ "IdentityProviderName": login.provider, "Claims": claims }))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let known: Vec<&str> = known.collect();
    let known = plain(&known.join(", "), &[]);
    Fault::Rejected(format!("there is no {what} \"{name}\", but these: {known}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::port::Effect;
    use crate::servers::script::Script;

    fn user(logins: &Value) -> Value {
        json!({ "Id": "Users-2", "Username": "ci", "DisplayName": "CI", "IsActive": true,
            "IsService": true, "Unheard": 1, "Identities": logins })
    }

    fn login(provider: &str, email: &str) -> Value {
        let email = json!({ "Value": email, "IsIdentifyingClaim": true });
        json!({ "IdentityProviderName": provider, "Claims": { "email": email } })
    }

    fn wish(provider: &str, claim: &str) -> Login {
        Login {
            provider: provider.to_owned(),
            claims: [(claim.to_owned(), "a@b".to_owned())].into(),
        }
    }

    fn known() -> Arc<Script> {
        let claim = |name: &str, identifying: bool| json!({ "Type": name, "Label": "x", "IsIdentifyingClaim": identifying });
        let claims = json!([claim("email", true), claim("dn", false)]);
        let provider =
            |name: &str| json!({ "IdentityProviderName": name, "ClaimDescriptors": claims });
        Script::new().json(&json!({ "Providers": [provider("AD"), provider("Okta")], "Links": {} }))
    }

    fn id() -> AccountId {
        AccountId::new("Users-2")
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_takes_the_place_of_the_provider_s_own() {
        let before = user(&json!([login("AD", "old"), login("Okta", "o")]));
        let after = user(&json!([login("Okta", "o"), login("AD", "a@b")]));
        let script = known().json(&before).json(&after);
        let account = script
            .client()
            .give_login(&id(), &wish("AD", "email"))
            .await;
        assert_eq!(script.sent(2), after);
        let account = account.unwrap();
        assert_eq!(account.logins.len(), 2);
        assert!(wish("AD", "email").is_met_by(&account.logins[1]));
        let script = known().json(&user(&Value::Null)).json(&after);
        script
            .client()
            .give_login(&id(), &wish("AD", "dn"))
            .await
            .unwrap();
        let dn = json!({ "Value": "a@b", "IsIdentifyingClaim": false });
        assert_eq!(script.sent(2)["Identities"][0]["Claims"]["dn"], dn);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_is_taken_away_and_no_other() {
        let before = user(&json!([login("AD", "a"), login("Okta", "o")]));
        let after = user(&json!([login("Okta", "o")]));
        let script = Script::new().json(&before).json(&after);
        let account = script.client().drop_login(&id(), "AD").await.unwrap();
        assert_eq!((script.sent(1), account.logins.len()), (after, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_does_not_know_is_not_written() {
        for (wish, words) in [
            (
                wish("ad", "email"),
                "no login provider \"ad\", but these: AD, Okta",
            ),
            (
                wish("AD", "mail"),
                "no claim \"mail\", but these: email, dn",
            ),
        ] {
            let script = known();
            let fault = script.client().give_login(&id(), &wish).await.unwrap_err();
            assert!(fault.to_string().contains(words), "{fault}");
            assert_eq!((fault.label(), fault.effect()), ("rejected", Effect::None));
            assert_eq!(script.requests().len(), 1);
        }
    }
}
