//! What people do.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::process::run;

use super::{Account, Case, Cluster, Home, Key, Object, Sealed, Server};

impl Case {
    /// `kubectl` with these arguments and this input.
    pub(crate) async fn kubectl(&self, args: &[&str], input: &str) -> Result<String> {
        let mut kubectl = self.stage.control_plane().await?.kubectl();
        kubectl.args(args);
        run(kubectl, input).await
    }

    /// `kubectl apply`.
    pub(crate) async fn apply(&self, manifests: &[impl AsRef<str>]) -> Result<()> {
        let texts: Vec<&str> = manifests.iter().map(AsRef::as_ref).collect();
        self.kubectl(&["apply", "--filename=-"], &texts.join("\n---\n"))
            .await
            .map(drop)
    }

    /// `kubectl apply` of what is to be refused; returns the API server's words.
    pub(crate) async fn refused(&self, manifest: &str) -> Result<String> {
        match self.apply(&[manifest]).await {
            Ok(()) => bail!("this was accepted: {manifest}"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// `kubectl patch --type=merge`.
    pub(crate) async fn patch(&self, object: Object<'_>, patch: Value) -> Result<()> {
        self.api(object)
            .patch(
                object.name(&self.namespace),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        Ok(())
    }

    /// `kubectl patch --type=merge --subresource=status`.
    pub(crate) async fn patch_status(&self, object: Object<'_>, status: Value) -> Result<()> {
        self.api(object)
            .patch_status(
                object.name(&self.namespace),
                &PatchParams::default(),
                &Patch::Merge(json!({"status": status})),
            )
            .await?;
        Ok(())
    }

    /// `kubectl annotate --overwrite`; `None` takes the annotation away.
    pub(crate) async fn annotate(
        &self,
        object: Object<'_>,
        annotations: &[(&str, Option<&str>)],
    ) -> Result<()> {
        let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
        self.patch(object, json!({"metadata": {"annotations": annotations}}))
            .await
    }

    /// `kubectl delete --wait=false`.
    pub(crate) async fn delete(&self, object: Object<'_>) -> Result<()> {
        self.api(object)
            .delete(object.name(&self.namespace), &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The object as it is now.
    pub(crate) async fn get(&self, object: Object<'_>) -> Result<DynamicObject> {
        Ok(self.api(object).get(object.name(&self.namespace)).await?)
    }

    /// All objects of this one's kind in the namespace.
    pub(crate) async fn list(&self, kind: Object<'_>) -> Result<Vec<DynamicObject>> {
        Ok(self.api(kind).list(&ListParams::default()).await?.items)
    }

    pub(super) fn api(&self, object: Object<'_>) -> Api<DynamicObject> {
        let (client, resource) = (self.stage.client.clone(), object.resource());
        match object {
            Key(_) | Account(_) | Server(_) | Sealed(_) => {
                Api::namespaced_with(client, &self.namespace, &resource)
            }
            Cluster(_) | Home => Api::all_with(client, &resource),
        }
    }
}
