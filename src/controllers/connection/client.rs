//! The client for a server: made from the credential and the authorities, and made anew when they change.

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;

use super::vouch::OwnAccount;
use super::{Link, Memory};
use crate::api::conditions::Reason;
use crate::api::{Auth, BasicSecret, CaKind, Connection, SecretValue, Tls};
use crate::controllers::Ctx;
use crate::controllers::cluster::Lapse;
use crate::controllers::counted::Counted;
use crate::controllers::watch::credential_name;
use crate::plan::Stop;
use crate::secret::KeyMaterial;
use crate::servers::transport::Trust;
use crate::servers::{self, Budget, Credential, Server, Unusable, connect};

/// The client for a server, or why there is none.
pub(super) type Client = Result<Arc<dyn Server>, Stop>;

/// Parts with a client, if there is one: what it holds open on its server is ended.
pub(super) async fn part(client: Option<(Making, Client)>) {
    if let Some((_, Ok(server))) = client {
        server.leave().await;
    }
}

/// What a client was made from: when it differs, another client is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Making {
    pub(super) generation: i64,
    pub(super) url: String,
    pub(super) credential: Option<String>,
    pub(super) authorities: Option<String>,
}

/// The text of the authorities to trust; `None` for the platform's.
pub(super) async fn authorities(
    ctx: &Ctx,
    home: &str,
    spec: &Connection,
) -> Result<Result<Option<String>, Stop>, Lapse> {
    let reference = match &spec.tls {
        None => return Ok(Ok(None)),
        Some(Tls::CaBundle(text)) => return Ok(Ok(Some(text.clone()))),
        Some(Tls::CaRef(reference)) => reference,
    };
    let found = match reference.kind {
        CaKind::ConfigMap => {
            ctx.cluster
                .config_entry(home, &reference.name, &reference.key)
                .await?
        }
        CaKind::Secret => {
            let secret = ctx.cluster.values(home, &reference.name).await?;
            entry(secret, &reference.key).and_then(|bytes| String::from_utf8(bytes).ok())
        }
    };
    Ok(found.map(Some).ok_or_else(|| {
        Stop::new(
            Reason::CertificateNotTrusted,
            format!(
                "There is no entry {} in {:?} {}. Create it, or correct spec.tls.caRef.",
                reference.key, reference.kind, reference.name
            ),
        )
    }))
}

fn entry(secret: Option<Secret>, name: &str) -> Option<Vec<u8>> {
    secret?.data?.remove(name).map(|bytes| bytes.0)
}

/// Makes the client anew where what it is made from has changed.
pub(super) async fn renew<L: Link>(
    ctx: &Ctx,
    object: &L,
    making: Making,
    memory: &mut Memory,
) -> Result<(), Lapse> {
    if memory
        .client
        .as_ref()
        .is_some_and(|(made, _)| *made == making)
    {
        return Ok(());
    }
    let spec = object.connection();
    let client = match credential(ctx, &object.home(&ctx.own_namespace), spec).await? {
        Ok(credential) => client(ctx, spec, &making, credential, memory),
        Err(stop) => Err(stop),
    };
    let client = client.map(|server| counted(ctx, object, server));
    part(memory.client.replace((making, client))).await;
    memory.look = None;
    Ok(())
}

fn counted<L: Link>(ctx: &Ctx, object: &L, server: Arc<dyn Server>) -> Arc<dyn Server> {
    let connection = object.place().to_string();
    Arc::new(Counted::new(server, connection, ctx.metrics.clone()))
}

/// The credential itself, read live and by name; or who vouches for us, where none is stored.
pub(super) async fn credential(
    ctx: &Ctx,
    home: &str,
    spec: &Connection,
) -> Result<Result<Credential, Stop>, Lapse> {
    let secret = match credential_name(&spec.auth) {
        Some(name) => ctx.cluster.values(home, name).await?,
        None => None,
    };
    let mut data = secret.and_then(|secret| secret.data).unwrap_or_default();
    let mut take = |name: &str, key: &str| -> Result<String, Stop> {
        // What was put into a Secret from a file often ends with a line feed.
        let bytes = data.remove(key);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes.0).ok());
        let text = text.map(|text| text.trim().to_owned());
        text.filter(|text| !text.is_empty()).ok_or_else(|| {
            let fix = Reason::CredentialMissing.fix();
            let message = format!("Secret {name} has no entry {key} with a credential. {fix}");
            Stop::new(Reason::CredentialMissing, message)
        })
    };
    Ok(match &spec.auth {
        Auth::ApiKey(SecretValue { secret_ref: at }) => {
            take(&at.name, &at.key).map(|key| Credential::ApiKey(KeyMaterial::new(key)))
        }
        Auth::Bearer(SecretValue { secret_ref: at }) => {
            take(&at.name, &at.key).map(|token| Credential::Bearer(KeyMaterial::new(token)))
        }
        Auth::Basic(BasicSecret { secret_ref: at }) => {
            take(&at.name, &at.username_key).and_then(|username| {
                let password = KeyMaterial::new(take(&at.name, &at.password_key)?);
                Ok(Credential::Basic { username, password })
            })
        }
        Auth::WorkloadIdentity(identity) => {
            let account = OwnAccount::new(ctx.cluster.clone(), &identity.audience);
            Ok(Credential::Vouched(Arc::new(account)))
        }
    })
}

pub(super) fn client(
    ctx: &Ctx,
    spec: &Connection,
    making: &Making,
    credential: Credential,
    memory: &mut Memory,
) -> Result<Arc<dyn Server>, Stop> {
    let trust = making
        .authorities
        .as_ref()
        .map_or(Trust::Platform, |pem| Trust::Only(pem.as_bytes()));
    let transport = ctx.doors.open(trust).map_err(|bad| {
        Stop::new(
            Reason::CertificateNotTrusted,
            format!("The certificates in spec.tls cannot be used: {bad}. Correct them."),
        )
    })?;
    let limits = servers::Limits {
        requests_per_minute: positive(spec.limits.requests_per_minute),
        burst: positive(spec.limits.burst),
        concurrency: positive(spec.limits.concurrency),
    };
    let budget = match memory
        .budget
        .take()
        .filter(|(made, _)| *made == spec.limits)
    {
        Some((_, budget)) => budget,
        None => Arc::new(Budget::new(limits)),
    };
    memory.budget = Some((spec.limits, Arc::clone(&budget)));
    connect(servers::Connection {
        type_: spec.type_,
        url: spec.url.clone(),
        auth_url: spec.auth_url.clone(),
        credential,
        transport,
        clock: Arc::clone(&ctx.clock),
        entropy: Arc::clone(&ctx.entropy),
        budget,
        turns: Arc::clone(&ctx.turns),
    })
    .map_err(unusable)
}

fn unusable(why: Unusable) -> Stop {
    Stop::new(
        Reason::Invalid,
        format!("The connection cannot be used: {why}. Correct it."),
    )
}

fn positive(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}
