//! The operator's own Kubernetes account vouches for it at a deploy server.

use std::fmt;

use async_trait::async_trait;

use crate::controllers::cluster::{Cluster, Lapse};
use crate::plan::port::Fault;
use crate::secret::KeyMaterial;
use crate::servers::Voucher;

/// The operator's own account, for one audience.
pub(super) struct OwnAccount {
    cluster: Cluster,
    audience: String,
}

impl OwnAccount {
    pub(super) fn new(cluster: Cluster, audience: &str) -> Self {
        Self {
            cluster,
            audience: audience.to_owned(),
        }
    }
}

impl fmt::Debug for OwnAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnAccount")
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Voucher for OwnAccount {
    fn audience(&self) -> &str {
        &self.audience
    }

    async fn token(&self) -> Result<KeyMaterial, Fault> {
        let account = self
            .cluster
            .own_account()
            .await
            .map_err(|lapse| refused(&lapse))?;
        let account = account.ok_or_else(|| {
            none("the operator is signed in to Kubernetes as somebody who is no ServiceAccount")
        })?;
        // With a token that the API server takes, a deploy server could act as the operator.
        let own = self
            .cluster
            .token(&account, None)
            .await
            .map_err(|lapse| refused(&lapse))?;
        let ours = &self.audience;
        if own.audiences.is_empty() {
            return Err(none(
                "the API server does not tell which audiences are its own, so that no other is safe",
            ));
        }
        if own.audiences.contains(ours) {
            return Err(none(&format!(
                "the audience {ours} is one of the API server's own, and whoever has a token for it can \
                 act as the operator"
            )));
        }
        let token = self.cluster.token(&account, Some(ours)).await;
        let token = token.map_err(|lapse| refused(&lapse))?;
        if token.audiences != [ours.as_str()] {
            return Err(none("the API server gives one for other audiences"));
        }
        Ok(token.value)
    }
}

fn none(why: &str) -> Fault {
    Fault::NoToken(why.to_owned())
}

fn refused(lapse: &Lapse) -> Fault {
    none(&format!(
        "Kubernetes gives none for the operator's own account: {lapse}"
    ))
}
