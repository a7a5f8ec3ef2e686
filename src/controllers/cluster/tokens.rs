//! Tokens of the operator's own Kubernetes account.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};

use super::{Answer, Cluster, Lapse};
use crate::secret::KeyMaterial;

/// How long a token is good, in seconds: the least that Kubernetes gives.
const LIFE: i64 = 600;

/// What the user names of ServiceAccounts begin with.
const PREFIX: &str = "system:serviceaccount:";

/// A ServiceAccount of Kubernetes.
#[derive(Debug)]
pub(crate) struct Account {
    namespace: String,
    name: String,
}

/// A token, good for minutes. Not to be printed.
pub(crate) struct Token {
    /// For whom it is good.
    pub audiences: Vec<String>,
    /// Its text.
    pub value: KeyMaterial,
}

impl Cluster {
    /// The account that we are; `None` where we are somebody else.
    pub(crate) async fn own_account(&self) -> Answer<Option<Account>> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let (params, asked) = (PostParams::default(), SelfSubjectReview::default());
        let review = self.answer(reviews.create(&params, &asked)).await?;
        let user = review.status.and_then(|status| status.user_info);
        let username = user.and_then(|user| user.username).unwrap_or_default();
        let place = username.strip_prefix(PREFIX);
        Ok(place
            .and_then(|place| place.split_once(':'))
            .map(|(namespace, name)| Account {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }))
    }

    /// A token of an account for one audience; where none is named, for all that the API server takes for
    /// itself.
    pub(crate) async fn token(&self, account: &Account, audience: Option<&str>) -> Answer<Token> {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.client.clone(), &account.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(ToOwned::to_owned).into_iter().collect(),
                expiration_seconds: Some(LIFE),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let asked = accounts.create_token_request(&account.name, &params, &request);
        let given = self.answer(asked).await?;
        let status = given
            .status
            .ok_or_else(|| Lapse::NoAnswer("an answer without a token".to_owned()))?;
        Ok(Token {
            audiences: given.spec.audiences,
            value: KeyMaterial::new(status.token),
        })
    }
}
