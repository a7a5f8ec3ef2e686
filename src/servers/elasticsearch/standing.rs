//! The connection itself: which cluster answers, as whom we ask, and what we may do there.

use http::Method;
use serde_json::json;

use super::wire::{Privileges, Root, Who};
use super::{Elasticsearch, Named};
use crate::plan::port::{Fault, KeyExpiry, Own, Probe, RemoteAccount, ServerIdentity, Witness};
use crate::servers::Credential;
use crate::servers::http::{Answer, Route, on_the_way};

/// The privileges that the operator can use, and what is missing without each. The first is enough for
/// the connection's own account.
const PRIVILEGES: [(&str, &str); 4] = [
    ("manage_own_api_key", "keys of the connection's own account"),
    (
        "grant_api_key",
        "keys of other accounts (with run_as on their names)",
    ),
    (
        "manage_api_key",
        "the list and the end of other accounts' keys",
    ),
    ("manage_security", "Managed accounts"),
];

impl Elasticsearch {
    /// Looks at the cluster and at ourselves.
    pub(super) async fn standing(&self) -> Result<Probe, Fault> {
        let who = self.who().await?;
        // It never changes, and need not be asked for again.
        self.own.get_or_init(|| async { who.own() }).await;
        let (identity, root, answer) = self.root().await?;
        Ok(Probe {
            version: root.map_or_else(String::new, |root| root.version()),
            identity,
            own: who.own(),
            // Elasticsearch knows neither.
            key_expiry: KeyExpiry::default(),
            credential_expires_at: None,
            skew: answer.map(|answer| answer.skew).unwrap_or_default(),
            caution: self.caution().await?,
        })
    }

    /// Which cluster answers, and to whom.
    pub(super) async fn present(&self) -> Result<Witness, Fault> {
        let Own { id, .. } = self.who().await?.own();
        let (identity, ..) = self.root().await?;
        let own = Some(id);
        Ok(Witness { identity, own })
    }

    /// The account behind our own credential, which anybody may ask about.
    pub(super) async fn myself(&self) -> Result<RemoteAccount, Fault> {
        let who = self.who().await?;
        let own = who.own();
        Ok(who.profile.account(own.id, own.username))
    }

    /// As whom our credential is taken.
    async fn who(&self) -> Result<Who, Fault> {
        let route = Route::fixed("/_security/_authenticate");
        self.get(route).await?.read()
    }

    /// What the cluster says of itself. Whoever lacks the privilege `monitor` is told nothing, and
    /// knows the cluster by its address.
    async fn root(&self) -> Result<(ServerIdentity, Option<Root>, Option<Answer>), Fault> {
        match self.get(Route::fixed("/")).await {
            Ok(answer) => {
                let root: Root = answer.read()?;
                Ok((root.identity(), Some(root), Some(answer)))
            }
            Err(Fault::Forbidden(_)) => Ok((ServerIdentity::new(self.http.origin()), None, None)),
            Err(fault) => Err(fault),
        }
    }

    /// What people should know of our credential.
    async fn caution(&self) -> Result<Option<String>, Fault> {
        if matches!(self.credential, Credential::ApiKey(_)) {
            return Ok(Some(super::keys::POWERLESS.to_owned()));
        }
        let asked: Vec<&str> = PRIVILEGES.iter().map(|(privilege, _)| *privilege).collect();
        let route = Route::fixed("/_security/user/_has_privileges");
        let answer = self
            .send(Method::POST, route, json!({ "cluster": asked }))
            .await?;
        let has: Privileges = answer.read()?;
        let lacks: Vec<String> = PRIVILEGES
            .iter()
            .filter(|(privilege, _)| !has.cluster(privilege))
            .map(|(privilege, what)| format!("{privilege} ({what})"))
            .collect();
        Ok((!lacks.is_empty()).then(|| {
            format!(
                "Its user lacks the cluster privileges {}: grant those that are needed to one of its roles.",
                lacks.join(", ")
            )
        }))
    }
}

impl Elasticsearch {
    /// Whether the account is the one behind our own credential.
    pub(super) async fn is_own(&self, named: Named<'_>) -> Result<bool, Fault> {
        let who = || async { Ok(self.who().await.map_err(on_the_way)?.own()) };
        Ok(named.id() == self.own.get_or_try_init(who).await?.id)
    }
}
