//! What a kind of server has nothing for says so, and goes on when it is left out.

use std::sync::Arc;

use anyhow::Result;
use apikey_operator::api::conditions::Reason;

use super::case::{Account, Case, Key, Server};
use super::{Row, rows};

pub(super) fn rows() -> Vec<Row> {
    rows![another_kind_of_server, unserved_accounts, unserved_keys]
}

/// What answers is not what the connection says it is.
async fn another_kind_of_server(case: Arc<Case>) -> Result<()> {
    let [credential, ..] = case.ground();
    case.apply(&[credential]).await?;
    for type_ in ["StackStorm", "Elasticsearch"] {
        let name = type_.to_lowercase();
        let server = case.server("").replace(
            "name: octopus, namespace",
            &format!("name: {name}, namespace"),
        );
        case.apply(&[server.replace("type: Octopus", &format!("type: {type_}"))])
            .await?;
        case.says(Server(&name), Reason::ProtocolError, "makes no sense")
            .await?;
    }
    case.unasked()?;
    case.apply(&case.whole()).await?;
    case.healed(1).await
}

async fn unserved_accounts(case: Arc<Case>) -> Result<()> {
    case.apply(&case.ground()).await?;
    case.apply(&[case.key("")]).await?;
    case.apply(&[case.account("elasticsearch: {roles: [a]}")])
        .await?;
    let words = "Octopus Deploy has nothing that spec.elasticsearch could be. Leave it out.";
    case.says(Account("ci"), Reason::Invalid, words).await?;
    case.unasked()?;
    case.apply(&[case.account("")]).await?;
    case.healed(1).await
}

async fn unserved_keys(case: Arc<Case>) -> Result<()> {
    case.apply(&case.ground()).await?;
    case.apply(&[case.account("")]).await?;
    for (asked, what) in [
        ("stackStorm: {metadata: {a: b}}", "spec.stackStorm"),
        ("elasticsearch: {metadata: {a: b}}", "spec.elasticsearch"),
    ] {
        case.apply(&[case.key(asked)]).await?;
        let words = format!("Octopus Deploy has nothing that {what} could be. Leave it out.");
        case.says(Key("ci"), Reason::Invalid, &words).await?;
    }
    case.unasked()?;
    case.apply(&[case.key("")]).await?;
    case.healed(1).await
}
