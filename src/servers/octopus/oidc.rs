//! OIDC identities of service accounts (Octopus 2023.4.8077 and later). Their list has a shape of its
//! own, and nothing keeps two of one name apart but us: an account's are changed one at a time, and read
//! before and after.

use http::Method;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::accounts::user_id;
use super::wire::Trusts;
use super::{Octopus, PAGES, TAKE};
use crate::plan::port::{AccountId, Fault, Oidc, Trust};
use crate::servers::http::{Route, is_id};
use crate::servers::session::Asking;

impl Octopus {
    /// All OIDC identities of an account, and its external id.
    pub(super) async fn trusts(&self, account: &AccountId) -> Result<Oidc, Fault> {
        let mut oidc: Option<Oidc> = None;
        for _ in 0..PAGES {
            let skip = oidc.as_ref().map_or(0, |oidc| oidc.trusts.len());
            let page = self.some(account, skip).await?;
            let (count, end) = (page.count, page.oidc_identities.is_empty());
            let known = oidc.get_or_insert_with(|| Oidc {
                external_id: page.external_id,
                trusts: Vec::new(),
            });
            let trusts = page.oidc_identities.into_iter();
            known.trusts.extend(trusts.map(super::wire::Trusted::split));
            let whole = u64::try_from(known.trusts.len()).is_ok_and(|seen| seen >= count);
            match oidc.take_if(|_| whole) {
                Some(oidc) => return Ok(oidc),
                None if end => break,
                None => {}
            }
        }
        Err(Fault::Unreachable(
            "the list of OIDC identities kept changing while it was read".to_owned(),
        ))
    }

    async fn some(&self, account: &AccountId, skip: usize) -> Result<Trusts, Fault> {
        let template = "/api/serviceaccounts/{}/oidcidentities/v1";
        let asking = Asking {
            query: vec![("skip", skip.to_string()), ("take", TAKE.to_string())],
            ..Asking::new(Method::GET, Route::new(template, &[user_id(account)?])?)
        };
        match self.ask(asking).await {
            // The account was seen a moment ago.
            Err(Fault::NotFound) => Err(Fault::Rejected(
                "the server shows no OIDC identities of this account; Octopus has them since 2023.4"
                    .to_owned(),
            )),
            answer => answer?.read(),
        }
    }

    /// Gives an account an OIDC identity, in place of the one of this name that it may have.
    pub(super) async fn trust(&self, account: &AccountId, trust: &Trust) -> Result<Oidc, Fault> {
        let _turn = self.turns.take(self.place(account)).await;
        let before = self.trusts(account).await?;
        if before.trusts.iter().any(|(_, there)| there == trust) {
            return Ok(before);
        }
        let user = user_id(account)?;
        let mut same = before.trusts.iter();
        let same = same.find(|(_, there)| there.name == trust.name);
        let (method, route) = if let Some((id, _)) = same {
            (Method::PUT, one(account, id)?)
        } else {
            let template = "/api/serviceaccounts/{}/oidcidentities/create/v1";
            (Method::POST, Route::new(template, &[user])?)
        };
        let mut body = json!({ "ServiceAccountId": user, "Name": trust.name,
            "Issuer": trust.issuer, "Subject": trust.subject });
        if let Some((id, _)) = same {
            body["Id"] = json!(id);
        }
        // An empty audience is none: it is left out.
        if let Some(audience) = &trust.audience {
            body["Audience"] = Value::String(audience.clone());
        }
        let answer = self.send(method, route, body).await?;
        answer.read::<IgnoredAny>()?;
        self.trusts(account).await
    }

    /// Takes every OIDC identity of this name away from an account.
    pub(super) async fn distrust(&self, account: &AccountId, name: &str) -> Result<Oidc, Fault> {
        let _turn = self.turns.take(self.place(account)).await;
        let before = self.trusts(account).await?;
        for (id, _) in before.trusts.iter().filter(|(_, there)| there.name == name) {
            match self.delete(one(account, id)?).await {
                Err(Fault::NotFound) => {}
                answer => answer?.read::<IgnoredAny>().map(drop)?,
            }
        }
        self.trusts(account).await
    }

    /// What stands for the OIDC identities of an account when turns are taken.
    fn place(&self, account: &AccountId) -> (String, String) {
        (self.http.origin(), format!("{account}/oidc"))
    }
}

fn one(account: &AccountId, id: &str) -> Result<Route, Fault> {
    debug_assert!(is_id(id), "it was read as one");
    let template = "/api/serviceaccounts/{}/oidcidentities/{}/v1";
    Route::new(template, &[user_id(account)?, id])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::script::Script;

    fn id() -> AccountId {
        AccountId::new("Users-2")
    }

    fn trust(name: &str, subject: &str) -> Trust {
        Trust {
            name: name.to_owned(),
            issuer: "https://issuer.test".to_owned(),
            subject: subject.to_owned(),
            audience: None,
        }
    }

    fn shown(number: u32, trust: &Trust) -> Value {
        let mut shown = json!({ "Id": format!("ServiceAccountOidcIdentitys-{number}"),
            "ServiceAccountId": "Users-2", "Name": trust.name, "Issuer": trust.issuer,
            "Subject": trust.subject });
        if let Some(audience) = &trust.audience {
            shown["Audience"] = json!(audience);
        }
        shown
    }

    fn page(count: usize, trusts: &[Value]) -> Value {
        json!({ "ServerUrl": "https://octopus.example", "ExternalId": "0f1e-2d",
            "OidcIdentities": trusts, "Count": count })
    }

    const ALL: &str = "GET /prefix/api/serviceaccounts/Users-2/oidcidentities/v1?skip=0&take=200";

    #[tokio::test(start_paused = true)]
    async fn all_pages_are_read() {
        let (a, b) = (trust("a", "x"), trust("b", "y"));
        let script = Script::new()
            .json(&page(2, &[shown(1, &a)]))
            .json(&page(2, &[shown(2, &b)]));
        let oidc = script.client().oidc(&id()).await.unwrap();
        let named = |number: u32| format!("ServiceAccountOidcIdentitys-{number}");
        assert_eq!(oidc.external_id, "0f1e-2d");
        assert_eq!(oidc.trusts, [(named(1), a), (named(2), b)]);
        assert_eq!(script.heard()[0], ALL);
        assert!(script.heard()[1].ends_with("skip=1&take=200"));
        let never = Script::new().json(&page(2, &[shown(1, &trust("a", "x"))]));
        let fault = never.json(&page(2, &[])).client().oidc(&id()).await;
        assert_eq!(fault.unwrap_err().label(), "unreachable");
        let old = Script::new().error(404, "The resource you requested was not found.");
        let fault = old.client().oidc(&id()).await.unwrap_err();
        assert_eq!(fault.label(), "rejected");
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_is_made_or_takes_the_place_of_its_namesake() {
        let mut wanted = trust("a", "new");
        wanted.audience = Some("octopus".to_owned());
        let after = page(1, &[shown(7, &wanted)]);
        let made = json!({ "Id": "ServiceAccountOidcIdentitys-7" });
        let script = Script::new()
            .json(&page(0, &[]))
            .says(201, &made.to_string())
            .json(&after);
        let oidc = script.client().give_trust(&id(), &wanted).await.unwrap();
        assert_eq!(oidc.trusts[0].1, wanted);
        let create = "POST /prefix/api/serviceaccounts/Users-2/oidcidentities/create/v1";
        assert_eq!(script.heard()[1], create);
        let body = json!({ "ServiceAccountId": "Users-2", "Name": "a", "Subject": "new",
            "Issuer": "https://issuer.test", "Audience": "octopus" });
        assert_eq!(script.sent(1), body);

        let before = page(1, &[shown(7, &trust("a", "old"))]);
        let script = Script::new().json(&before).says(200, "{}").json(&after);
        script.client().give_trust(&id(), &wanted).await.unwrap();
        let change = "PUT /prefix/api/serviceaccounts/Users-2/oidcidentities/ServiceAccountOidcIdentitys-7/v1";
        assert_eq!(script.heard()[1], change);
        assert_eq!(script.sent(1)["Id"], "ServiceAccountOidcIdentitys-7");

        let script = Script::new().json(&after);
        script.client().give_trust(&id(), &wanted).await.unwrap();
        assert_eq!(script.requests().len(), 1, "nothing to do is not done");
    }

    #[tokio::test(start_paused = true)]
    async fn every_identity_of_a_name_goes_and_no_other() {
        let all = [trust("a", "x"), trust("b", "x"), trust("a", "y")];
        let [a, b, c] = all.each_ref().map(|trust| shown(5, trust));
        let script = Script::new()
            .json(&page(3, &[a, b.clone(), c]))
            .says(200, "{}")
            .error(404, "gone")
            .json(&page(1, &[b]));
        let oidc = script.client().drop_trust(&id(), "a").await.unwrap();
        assert_eq!(oidc.trusts[0].1, all[1]);
        assert!(
            script.heard()[1..3]
                .iter()
                .all(|line| line.starts_with("DELETE "))
        );
    }
}
