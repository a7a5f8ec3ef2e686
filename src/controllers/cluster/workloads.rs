//! Workloads, as far as their restarts go.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta, Patch};
use serde_json::json;

use super::{Answer, Cluster, Effect, patching};
use crate::api::{Workload, WorkloadKind};

/// A workload, as far as its restarts go.
pub(crate) struct Running {
    metadata: ObjectMeta,
    /// What its pod template says of its last restart.
    pub restarted_at: Option<String>,
}

/// Where `kubectl rollout restart` notes the date.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

impl Cluster {
    /// Reads of a workload when it was restarted.
    pub(crate) async fn workload(
        &self,
        namespace: &str,
        workload: &Workload,
    ) -> Answer<Option<Running>> {
        let api = self.workloads(namespace, workload.kind);
        let found = self.answer(api.get_opt(&workload.name)).await?;
        Ok(found.map(|found| Running {
            restarted_at: found
                .data
                .pointer("/spec/template/metadata/annotations")
                .and_then(|annotations| annotations[RESTARTED_AT].as_str())
                .map(ToOwned::to_owned),
            metadata: found.metadata,
        }))
    }

    /// Restarts a workload that is still the one that we know: its pods are replaced as its own
    /// strategy says.
    pub(crate) async fn restart(
        &self,
        namespace: &str,
        workload: &Workload,
        found: &Running,
        now: Timestamp,
    ) -> Answer<()> {
        let patch = json!({
            "metadata": {
                "uid": found.metadata.uid,
                "resourceVersion": found.metadata.resource_version,
            },
            "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: now.to_string() } } } },
        });
        let api = self.workloads(namespace, workload.kind);
        let patch = Patch::Merge(patch);
        self.answer(api.patch(&workload.name, &patching(Effect::Real), &patch))
            .await
            .map(drop)
    }

    fn workloads(&self, namespace: &str, kind: WorkloadKind) -> Api<DynamicObject> {
        let resource = match kind {
            WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
            WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}
