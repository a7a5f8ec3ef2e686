//! A ClusterDeployServer without a stored credential: the operator's own Kubernetes account vouches for it,
//! with real tokens of the API server.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::api::conditions::Reason;
use http::Method;
use serde_json::json;
use testbed::twins::octopus::Change;

use super::case::{Case, Cluster, Key};
use super::grants::{account, granted};
use super::stage::OPERATOR;
use super::{Row, rows};

pub(super) fn rows() -> Vec<Row> {
    rows![
        nobody_believes_the_operator_yet,
        the_audience_is_the_api_servers_own
    ]
}

/// The issuer of the control plane's tokens, which the API server takes for its own audience too.
const ISSUER: &str = "https://kubernetes.default.svc";

/// The connection, to the account with this external id.
fn connection(case: &Case, audience: &str) -> Result<String> {
    let [_, server] = granted(case, "");
    let stored = format!(
        "{{apiKey: {{secretRef: {{name: {}, key: api-key}}}}}}",
        case.namespace
    );
    ensure!(server.contains(&stored), "{server}");
    let identity = format!("{{workloadIdentity: {{audience: '{audience}'}}}}");
    Ok(server.replace(&stored, &identity))
}

/// The external id of the operator's account on the server.
fn guid(case: &Case) -> Result<String> {
    let view = case.twin.view();
    let own = view.account(&case.start.operator.username);
    own.and_then(|own| own.external_id.clone())
        .context("no external id")
}

/// The operator's account on the server believes the operator's account in Kubernetes.
async fn believe(case: &Case) -> Result<()> {
    case.change(Change::Trust {
        issuer: ISSUER.to_owned(),
    })?;
    let path = format!(
        "/api/serviceaccounts/{}/oidcidentities/create/v1",
        case.start.operator.user
    );
    let subject = format!("system:serviceaccount:{OPERATOR}:{OPERATOR}");
    let identity = json!({"Name": "operator", "Issuer": ISSUER, "Subject": subject});
    case.admin(Method::POST, &path, &identity).await?;
    Ok(())
}

async fn nobody_believes_the_operator_yet(case: Arc<Case>) -> Result<()> {
    let server = connection(&case, &guid(&case)?)?;
    case.apply(&[server, account(&case, ""), case.key("")])
        .await?;
    let here = Cluster(&case.namespace);
    let words = "the server takes none for its own: Could not find matching identity";
    case.says(here, Reason::TokenRefused, words).await?;
    let subject = format!("system:serviceaccount:{OPERATOR}:{OPERATOR}");
    case.says(here, Reason::TokenRefused, &subject).await?;
    case.says(Key("ci"), Reason::WaitingForAccount, "TokenRefused")
        .await?;
    case.unasked()?;
    believe(&case).await?;
    case.healed(1).await
}

/// The token would open the cluster to the server: it is not even asked for.
async fn the_audience_is_the_api_servers_own(case: Arc<Case>) -> Result<()> {
    believe(&case).await?;
    case.twin.forget();
    case.apply(&[connection(&case, ISSUER)?, account(&case, ""), case.key("")])
        .await?;
    let words = "is one of the API server's own";
    case.says(Cluster(&case.namespace), Reason::TokenRefused, words)
        .await?;
    let journal = case.twin.journal();
    let exchanged = journal.iter().filter(|entry| entry.method == "POST");
    ensure!(exchanged.count() == 0, "{journal:?}");
    case.apply(&[connection(&case, &guid(&case)?)?]).await?;
    case.healed(1).await
}
