//! What the operator needs of a cluster, and whether it is there.
//!
//! [`RIGHTS`] and [`LEASE_RIGHTS`] are the whole list of what it may do; the chart grants these and
//! no others, and a test holds the two against each other.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::{Client, Config};

use crate::api::{GROUP, VERSION, all_crds};

/// So many questions are asked at a time.
const AT_A_TIME: usize = 8;

/// What may be done with one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource, `<plural>` or `<plural>/<subresource>`.
    pub resource: &'static str,
    /// What may be done with it.
    pub verbs: &'static [&'static str],
}

/// All that the operator does in a cluster, in all namespaces.
pub const RIGHTS: [Right; 12] = [
    // `patch`: finalizers and annotations; `delete`: an ApiKey with `ttlAfterFinished`.
    right(
        GROUP,
        "apikeys",
        &["get", "list", "watch", "patch", "delete"],
    ),
    right(GROUP, "serviceaccounts", &["get", "list", "watch", "patch"]),
    right(GROUP, "deployservers", &["get", "list", "watch", "patch"]),
    right(
        GROUP,
        "clusterdeployservers",
        &["get", "list", "watch", "patch"],
    ),
    right(GROUP, "apikeys/status", &["update"]),
    right(GROUP, "serviceaccounts/status", &["update"]),
    right(GROUP, "deployservers/status", &["update"]),
    right(GROUP, "clusterdeployservers/status", &["update"]),
    // Lists and watches ask for metadata alone, by a label; RBAC has no word for that.
    right(
        "",
        "secrets",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    right("", "configmaps", &["get"]),
    right("", "namespaces", &["get", "list", "watch"]),
    right("events.k8s.io", "events", &["create", "patch"]),
];

/// What it does in its own namespace besides, where a leader is elected: first with Leases, whatever
/// their names, then with its own alone.
pub const LEASE_RIGHTS: [Right; 2] = [
    right("coordination.k8s.io", "leases", &["create"]),
    right("coordination.k8s.io", "leases", &["get", "update"]),
];

/// Where the operator's Lease is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasePlace {
    /// The operator's own namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
}

/// The objects that a right is about.
#[derive(Debug, Clone, Copy, Default)]
struct Reach<'a> {
    /// All where there is none.
    namespace: Option<&'a str>,
    /// All where there is none.
    name: Option<&'a str>,
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name {
            write!(f, "named {name} ")?;
        }
        match self.namespace {
            Some(namespace) => write!(f, "in namespace {namespace}"),
            None => f.write_str("in all namespaces"),
        }
    }
}

const fn right(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
) -> Right {
    Right {
        group,
        resource,
        verbs,
    }
}

/// Whether everything is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Complete,
    /// Something is missing.
    Lacking,
}

/// How to reach the cluster that we run in, or that the kubeconfig names. kube's own retries are
/// off: they would hold a pass for minutes, and repeat what must not be repeated.
///
/// # Errors
/// When no cluster is known.
pub async fn config() -> anyhow::Result<Config> {
    let mut config = Config::infer()
        .await
        .context("no cluster is known: set KUBECONFIG, or run in a pod")?;
    config.default_retry = false;
    Ok(config)
}

/// A client for this cluster.
///
/// # Errors
/// When the configuration cannot be used.
pub fn connect(config: Config) -> anyhow::Result<Client> {
    Client::try_from(config).context("the cluster cannot be talked to as it is configured")
}

/// Looks at the cluster, and writes a line for each thing that the operator needs; `lease` where a
/// leader is elected.
///
/// # Errors
/// When the cluster does not answer, or the lines cannot be written.
pub async fn check(
    client: &Client,
    lease: Option<&LeasePlace>,
    out: &mut impl Write,
) -> anyhow::Result<Verdict> {
    let mut report = Report {
        out,
        verdict: Verdict::Complete,
    };
    let version = client
        .apiserver_version()
        .await
        .context("the API server does not answer")?;
    report.there(&format!("Kubernetes {} answers", version.git_version))?;
    report.there(&format!(
        "signed in as {}; the rights below are this user's",
        who(client).await?
    ))?;
    definitions(client, &mut report).await?;
    let fix = "bind the ClusterRole of the chart to this user";
    rights(client, &RIGHTS, Reach::default(), fix, &mut report).await?;
    if let Some(LeasePlace { namespace, name }) = lease {
        let fix = "bind the Role of the chart to this user, or run with `--leader-election=off`";
        let [any, own] = LEASE_RIGHTS;
        let mut reach = Reach {
            namespace: Some(namespace),
            name: None,
        };
        rights(client, &[any], reach, fix, &mut report).await?;
        reach.name = Some(name);
        rights(client, &[own], reach, fix, &mut report).await?;
    }
    Ok(report.verdict)
}

struct Report<'a, W> {
    out: &'a mut W,
    verdict: Verdict,
}

impl<W: Write> Report<'_, W> {
    fn there(&mut self, what: &str) -> io::Result<()> {
        writeln!(self.out, "ok       {what}")
    }

    fn missing(&mut self, what: &str, fix: &str) -> io::Result<()> {
        self.verdict = Verdict::Lacking;
        writeln!(self.out, "missing  {what}: {fix}")
    }
}

async fn who(client: &Client) -> anyhow::Result<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .context("the API server does not say who we are")?;
    let user = review.status.and_then(|status| status.user_info);
    Ok(user
        .and_then(|user| user.username)
        .unwrap_or_else(|| "somebody without a name".to_owned()))
}

async fn definitions(client: &Client, report: &mut Report<'_, impl Write>) -> anyhow::Result<()> {
    let served = match client
        .list_api_group_resources(&format!("{GROUP}/{VERSION}"))
        .await
    {
        Ok(list) => list
            .resources
            .into_iter()
            .map(|resource| resource.name)
            .collect(),
        Err(kube::Error::Api(status)) if status.is_not_found() => Vec::new(),
        Err(error) => return Err(error).context("the API server does not say what it serves"),
    };
    for crd in all_crds() {
        let name = format!("{}.{GROUP}", crd.spec.names.plural);
        if served.contains(&crd.spec.names.plural) {
            report.there(&format!("{name} is served in {VERSION}"))?;
        } else {
            report.missing(
                &format!("{name} is not served in {VERSION}"),
                "install the definitions with `apikey-operator crds --mode print | kubectl apply \
                 --server-side --filename=-`",
            )?;
        }
    }
    Ok(())
}

async fn rights(
    client: &Client,
    rights: &[Right],
    reach: Reach<'_>,
    fix: &str,
    report: &mut Report<'_, impl Write>,
) -> anyhow::Result<()> {
    let questions = rights
        .iter()
        .flat_map(|right| right.verbs.iter().map(move |verb| (right, verb)));
    let answers: Vec<_> = stream::iter(questions)
        .map(async |(right, verb)| {
            anyhow::Ok((right, *verb, may(client, right, verb, reach).await?))
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    for right in rights {
        let verbs = |wanted: Answer| {
            let same = answers
                .iter()
                .filter(|(of, _, answer)| *of == right && *answer == wanted);
            same.map(|(_, verb, _)| *verb)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let resource = match right.group {
            "" => right.resource.to_owned(),
            group => format!("{}.{group}", right.resource),
        };
        let (may, may_not) = (verbs(Answer::Yes), verbs(Answer::No));
        if may_not.is_empty() {
            report.there(&format!("may {may} {resource}"))?;
        } else {
            report.missing(&format!("may not {may_not} {resource} {reach}"), fix)?;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
}

async fn may(
    client: &Client,
    right: &Right,
    verb: &str,
    reach: Reach<'_>,
) -> anyhow::Result<Answer> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(right.group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                verb: Some(verb.to_owned()),
                namespace: reach.namespace.map(str::to_owned),
                name: reach.name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &review)
        .await
        .context("the API server does not say what we may do")?;
    let allowed = review.status.is_some_and(|status| status.allowed);
    Ok(if allowed { Answer::Yes } else { Answer::No })
}

#[cfg(test)]
mod tests;
