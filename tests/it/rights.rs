//! What the operator has really asked of the API server in all rows of the shared stage, by the audit
//! log, against what the chart grants: nothing was refused, and nothing is granted for no use.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use testbed::control_plane::{AuditEvent, ControlPlane};

use crate::chart::{Grant, granted};
use crate::cluster::{Stage, Stages, USER};
use crate::ladder::Rung;

/// The rung.
pub(crate) fn rung(stages: &Stages) -> Rung {
    let stages = stages.clone();
    Rung::new("rights").test(
        "every_right_is_used_and_none_is_missing",
        async move |ground| {
            every_right_is_used_and_none_is_missing(&*stages.played(ground).await?).await
        },
    )
}

/// What is granted although no row can make the operator use it, and why.
const IDLE: [(&str, &str, &str); 0] = [];

async fn every_right_is_used_and_none_is_missing(stage: &Stage) -> Result<()> {
    stage.no_right_was_missing().await?;
    let control_plane = stage.control_plane().await?;
    let (granted, used) = (granted(control_plane).await?, used(control_plane).await?);
    let everybodys = |grant: &&Grant| {
        let (group, resource, verb) = grant;
        (group.as_str(), resource.as_str(), verb.as_str()) == EVERYBODYS
    };
    let beyond = used.difference(&granted);
    let beyond: Vec<_> = beyond.filter(|grant| !everybodys(grant)).collect();
    ensure!(beyond.is_empty(), "used and not granted: {beyond:?}");
    if std::env::var_os("ROW").is_some() {
        return Ok(());
    }
    let idle: BTreeSet<Grant> = granted.difference(&used).cloned().collect();
    let known = IDLE.map(|(group, resource, verb)| (group.into(), resource.into(), verb.into()));
    let known = BTreeSet::from(known);
    ensure!(idle == known, "granted and not used: {idle:?}");
    Ok(())
}

/// To ask who one is: every cluster lets everybody who is signed in, by its role `system:basic-user`.
const EVERYBODYS: (&str, &str, &str) = ("authentication.k8s.io", "selfsubjectreviews", "create");

/// What the operator has used of the rights that must be granted.
async fn used(control_plane: &ControlPlane) -> Result<BTreeSet<Grant>> {
    let events = control_plane.audit().await?;
    let ours = events.iter().filter(|event| event.user == USER);
    Ok(ours.filter_map(right).collect())
}

/// The right that a request needed; none for what is no resource, and so needs none.
fn right(event: &AuditEvent) -> Option<Grant> {
    let resource = match event.subresource.as_str() {
        "" => event.resource.clone(),
        part => format!("{}/{part}", event.resource),
    };
    let verb = format!("{:?}", event.verb).to_lowercase();
    (!resource.is_empty()).then(|| (event.api_group.clone(), resource, verb))
}
