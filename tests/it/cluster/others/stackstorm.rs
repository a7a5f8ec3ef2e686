//! StackStorm: a twin on a real socket, with rights.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testbed::twins::stackstorm::{Config, Credential, KeyView, Life, StackStorm};
use testbed::twins::tcp::{Listening, serve};
use testbed::twins::{Door, Effect};

use super::super::Row;
use super::super::case::Case;
use super::super::tapped::Tapped;
use super::{Living, Other, SERVER, metadata_changed, on, password_wrong, replaced_on_request};

pub(in super::super) fn rows() -> Vec<Row> {
    on!(Storm, "stackstorm":
        replaced_on_request,
        password_wrong,
        metadata_changed,
        signed_in_to_by_key,
    )
}

/// A twin of a row's own.
struct Storm {
    case: Arc<Case>,
    twin: Door<Tapped<StackStorm>>,
    listening: Listening,
    operator: Credential,
}

impl Other for Storm {
    const KIND: &'static str = "StackStorm";
    const WISHES: &'static str = "stackStorm";
    const ENTRY: &'static str = "ST2_API_KEY";

    async fn open(case: Arc<Case>) -> Result<Self> {
        // Two servers with the same seed would have the same secrets.
        let mut seed = DefaultHasher::new();
        case.namespace.hash(&mut seed);
        let storm = StackStorm::new(&Config {
            rbac: true,
            seed: seed.finish(),
            ..Config::default()
        });
        let operator = storm.start().operator.clone();
        let twin = Door::live(Tapped::new(storm, &case.stage.canaries));
        Ok(Self {
            listening: serve(&twin, 0, None)?,
            case,
            twin,
            operator,
        })
    }

    fn case(&self) -> &Case {
        &self.case
    }

    fn url(&self) -> String {
        self.listening.url()
    }

    fn operator(&self) -> (&str, &str) {
        (&self.operator.username, &self.operator.password)
    }

    fn secret(key: &str) -> Result<String> {
        Ok(key.to_owned())
    }

    async fn living(&self) -> Result<Vec<Living>> {
        let own = format!("{}.", self.case.namespace);
        let is_ours = |key: &KeyView| key.owner.starts_with(&own) && key.life == Life::Alive;
        let keys = self.twin.view().keys.into_iter().filter(is_ours);
        let living = keys.map(|key| Living {
            id: key.id,
            owner: key.owner,
            metadata: key.metadata.into(),
            may: Value::Null,
        });
        Ok(living.collect())
    }

    async fn made(&self) -> Result<usize> {
        Ok(self.twin.done(Effect::Mint))
    }

    async fn owner(&self, key: &str) -> Result<Option<String>> {
        let key = self.twin.look(|twin, _| twin.whose(key));
        let key = key.filter(|key| key.life == Life::Alive);
        Ok(key.map(|key| key.owner))
    }
}

/// The operator shows a key of its own; no token is had for it.
async fn signed_in_to_by_key(server: &Storm) -> Result<()> {
    let [_, _, account, key] = server.whole();
    let case = &server.case;
    let labels = "{apikeys.dev/credential: 'true'}";
    let credential = case.secret(SERVER, labels, &server.operator.key);
    let by_key = format!("apiKey: {{secretRef: {{name: {SERVER}, key: api-key}}}}");
    case.apply(&[credential, server.server_by(&by_key), account, key])
        .await?;
    let made = server.healed(&server.named(), 1).await?;
    ensure!(
        server.twin.sent(Effect::SignIn) == 0,
        "a token was asked for"
    );
    let said = made.metadata.get("apikeys.dev").context("no marker")?;
    ensure!(said.to_string().contains(&case.namespace), "{said}");
    Ok(())
}
