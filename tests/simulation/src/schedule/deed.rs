//! What people do with an ApiKey, its Secret and its key.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::twins::octopus::Change;

use crate::manifests::{Address, TEAM};
use crate::scene::Scene;

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Apply it, also again.
    Apply,
    /// Delete it.
    Delete,
    /// Delete its Secret.
    DeleteSecret,
    /// Ask for a rotation.
    Rotate,
    /// Set `revoked`.
    Revoke,
    /// Take `revoked` back.
    TakeBack,
    /// Put the bare manifest back: annotations and finalizers go.
    Replace,
    /// Wipe its status.
    Wipe,
    /// End its key on the server.
    EndKey,
    /// Suspend it.
    Suspend,
    /// Let it go on.
    Resume,
    /// Ask for a shorter life.
    Shorten,
    /// Ask for another entry in its Secret.
    Reshape,
    /// Ask for the previous key to be kept in the Secret.
    Keep,
    /// Ask for it no more.
    Drop,
}

/// All of them.
pub(super) const DEEDS: [Deed; 15] = [
    Deed::Apply,
    Deed::Delete,
    Deed::DeleteSecret,
    Deed::Rotate,
    Deed::Revoke,
    Deed::TakeBack,
    Deed::Replace,
    Deed::Wipe,
    Deed::EndKey,
    Deed::Suspend,
    Deed::Resume,
    Deed::Shorten,
    Deed::Reshape,
    Deed::Keep,
    Deed::Drop,
];

impl Deed {
    /// Does it with the ApiKey of this name, whose manifest this is.
    pub(crate) async fn perform(self, scene: &Scene, name: &str, manifest: &Value) -> Result<()> {
        let key = Address::key(name);
        let edit = async |spec: Value| {
            let patch = json!({"spec": spec});
            scene.patch(&key, patch).await.map(drop)
        };
        let uid = |scene: &Scene| {
            let object = scene.get(&key)?;
            Some(object["metadata"]["uid"].as_str()?.to_owned())
        };
        // Taken back within minutes, it may leave a dead key in the Secret for a moment.
        let takes_back = matches!(self, Self::TakeBack | Self::Replace);
        let was = scene
            .get(&key)
            .is_some_and(|key| key["spec"]["revoked"] == true);
        if let Some(uid) = uid(scene).filter(|_| takes_back && was) {
            scene.witness.pardon(&uid);
        }
        match self {
            Self::Apply => scene.apply(manifest).await.map(drop),
            Self::Delete => scene.delete(&key).await,
            Self::DeleteSecret => scene.delete(&Address::secret(TEAM, name)).await,
            Self::Rotate => {
                let request = scene.now().to_string();
                let annotations = json!({"apikeys.dev/rotate": request});
                let patch = json!({"metadata": {"annotations": annotations}});
                scene.patch(&key, patch).await.map(drop)
            }
            Self::Revoke | Self::TakeBack => edit(json!({"revoked": self == Self::Revoke})).await,
            Self::Replace => scene.replace(manifest).await.map(drop),
            Self::Wipe => scene
                .patch_status(&key, json!({"status": null}))
                .await
                .map(drop),
            Self::EndKey => {
                let held = scene.published(TEAM, name).context("no key")?;
                scene.witness.outside(&held.id);
                Ok(scene.twin.change(Change::RevokeKey { key: held.id })?)
            }
            Self::Suspend | Self::Resume => edit(json!({"suspend": self == Self::Suspend})).await,
            Self::Shorten => edit(json!({"lifetime": "5d"})).await,
            Self::Reshape => {
                let data = json!({"OCTOPUS_API_KEY": "{{ key }}", "NOTE": "two entries"});
                edit(json!({"secret": {"data": data}})).await
            }
            Self::Keep | Self::Drop => {
                edit(json!({"secret": {"keepPrevious": self == Self::Keep}})).await
            }
        }
    }
}
