//! No secret in a fault, and none in a log.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use apikey_operator::plan::port::Fault;
use apikey_operator::servers::transport::{Network, Trust};
use apikey_operator::servers::{Connection, Credential, connect};
use futures::FutureExt as _;
use testbed::twins::tcp::serve;
use testbed::twins::tls::Tls;
use testbed::twins::{Fault as Wrong, Twin};

use super::{Stage, every_call, minted};
use crate::leaks::{Saying, leaks};

/// What a call says, in all ways in which it can be printed.
fn said(call: &'static str, outcome: &Result<(), Fault>) -> Saying {
    let shown = outcome.as_ref().err().map(ToString::to_string);
    Saying {
        place: call,
        text: format!("{shown:?} {outcome:?}").into_bytes(),
    }
}

/// What is secret of a sign-in.
fn secret(credential: &Credential) -> anyhow::Result<String> {
    let secret = match credential {
        Credential::ApiKey(secret) | Credential::Bearer(secret) => secret.clone(),
        Credential::Basic { password, .. } => password.clone(),
        Credential::Vouched(voucher) => {
            let token = voucher.token().now_or_never();
            token.context("no token at once")??
        }
    };
    Ok(secret.expose().to_owned())
}

/// A secret in a form that none but a machine reads.
fn in_bytes(secret: &str) -> String {
    format!("{:?}", secret.as_bytes())
}

pub(super) async fn no_fault_tells_a_secret<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let secrets = [
        secret(&stage.site.credential)?,
        secret(&stage.site.nobodys)?,
        minted.value.expose().to_owned(),
    ];
    let mut told = Vec::new();
    let refused = [400, 401, 403, 404, 405, 409, 429, 500, 502, 503];
    let refused = refused.map(|status| Wrong::Refused { status });
    let broken = [
        Wrong::CutBefore,
        Wrong::CutAfter,
        Wrong::Throttled {
            retry_after: Some(9),
        },
        Wrong::Html,
        Wrong::HalfJson,
        Wrong::Flood { mebibytes: 5 },
        Wrong::Redirect {
            location: format!("http://a.example/{}", secrets[0]),
        },
        Wrong::Outage,
    ];
    for wrong in broken.into_iter().chain(refused) {
        stage.strike(wrong.clone());
        for credential in [&stage.site.credential, &stage.site.nobodys] {
            let client = stage.site.client_with(credential)?;
            for (call, outcome) in every_call(&stage.site, &*client, &account.id, &minted).await {
                if outcome.is_err() {
                    told.push(said(call, &outcome));
                }
            }
        }
    }
    ensure!(
        told.len() > 150,
        "only {} faults were looked at",
        told.len()
    );
    let found = leaks(&secrets, &told);
    ensure!(found.is_empty(), "{found:?}");
    // A leak on purpose.
    for secret in &secrets {
        let leak = said("leak", &Err(Fault::Rejected(in_bytes(secret))));
        ensure!(leaks(&secrets, &[leak]).len() >= 2, "it is not caught");
    }
    Ok(())
}

/// What was logged, by anybody, at any level.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn saying(&self) -> Saying {
        Saying {
            place: "log",
            text: self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) async fn no_log_tells_a_secret<T: Twin>(stage: Stage<T>) -> anyhow::Result<()> {
    let log = Log::default();
    let writer = log.clone();
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(everything);
    let tls = Tls::new()?;
    let secure = serve(&stage.door, 0, Some(&tls))?;
    let (account, minted) = minted(&*stage.client()?, "team-a.ci").await?;
    let secrets = [
        secret(&stage.site.credential)?,
        secret(&stage.site.nobodys)?,
        minted.value.expose().to_owned(),
    ];
    for credential in [&stage.site.nobodys, &stage.site.credential] {
        let open = stage.site.client_with(credential)?;
        let secure = connect(Connection {
            credential: credential.clone(),
            url: format!("{}{}", secure.url(), stage.prefix),
            transport: Arc::new(Network::new(Trust::Only(tls.ca_pem().as_bytes()))?),
            ..stage.connection()?
        })?;
        for client in [open, secure] {
            every_call(&stage.site, &*client, &account.id, &minted).await;
            // A place that another test's thread met first counts as one that nobody listens to.
            tracing::callsite::rebuild_interest_cache();
            every_call(&stage.site, &*client, &account.id, &minted).await;
        }
    }
    let all = log.saying();
    ensure!(
        String::from_utf8_lossy(&all.text).contains("asked a deploy server"),
        "the log is not heard"
    );
    let found = leaks(&secrets, &[all]);
    ensure!(found.is_empty(), "{found:?}");
    // A leak on purpose.
    for secret in &secrets {
        tracing::trace!(key = in_bytes(secret), "a leak on purpose");
        tracing::callsite::rebuild_interest_cache();
        tracing::trace!(key = in_bytes(secret), "a leak on purpose");
        let caught = leaks(std::slice::from_ref(secret), &[log.saying()]);
        ensure!(!caught.is_empty(), "it is not caught");
    }
    Ok(())
}
