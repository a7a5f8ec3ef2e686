//! The control plane does what the operator's tests rely on, and leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use testbed::control_plane::{Binaries, ControlPlane, Verb};
use testbed::process::run;

#[tokio::test]
async fn it_works() -> Result<()> {
    let control_plane = ControlPlane::start(&Binaries::obtain().await?).await?;
    tokio::try_join!(
        namespaces_are_deleted(&control_plane),
        dependents_are_collected(&control_plane),
        rules_in_a_crd_are_kept(&control_plane),
        a_service_account_has_its_rights_alone(&control_plane),
        quota_refuses(&control_plane),
        admission_policies_change_and_refuse(&control_plane),
        requests_are_counted(&control_plane),
        helm_installs(&control_plane),
    )?;
    let folder = control_plane.folder().to_owned();
    control_plane.stop().await?;
    ensure!(!folder.exists());
    Ok(())
}

/// kubectl, arguments separated by spaces.
async fn kubectl(control_plane: &ControlPlane, args: &str) -> Result<String> {
    let mut kubectl = control_plane.kubectl();
    kubectl.args(args.split(' '));
    run(kubectl, "")
        .await
        .with_context(|| format!("kubectl {args}"))
}

/// The reason why kubectl fails.
async fn refused(control_plane: &ControlPlane, args: &str) -> Result<String> {
    let result = kubectl(control_plane, args).await;
    let error = result
        .err()
        .with_context(|| format!("kubectl {args} went well"))?;
    Ok(error.root_cause().to_string())
}

async fn namespaces_are_deleted(control_plane: &ControlPlane) -> Result<()> {
    kubectl(control_plane, "create namespace going").await?;
    kubectl(control_plane, "create configmap content --namespace=going").await?;
    // It waits for the end.
    kubectl(control_plane, "delete namespace going --timeout=60s").await?;
    let reason = refused(control_plane, "get configmap content --namespace=going").await?;
    ensure!(reason.contains("NotFound"), "{reason}");
    Ok(())
}

async fn dependents_are_collected(control_plane: &ControlPlane) -> Result<()> {
    kubectl(control_plane, "create configmap owner").await?;
    let uid = kubectl(
        control_plane,
        "get configmap owner -o jsonpath={.metadata.uid}",
    )
    .await?;
    let dependent = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: dependent, ownerReferences: \
         [{{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}]}}}}"
    );
    control_plane.apply(&dependent).await?;
    kubectl(control_plane, "delete configmap owner").await?;
    kubectl(
        control_plane,
        "wait --for=delete configmap/dependent --timeout=60s",
    )
    .await?;
    Ok(())
}

const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.testbed.example}
spec:
  group: testbed.example
  names: {kind: Lamp, plural: lamps}
  scope: Cluster
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {watts: {type: integer}}
              x-kubernetes-validations:
                - {rule: "self.watts <= 60", message: "too bright"}
"#;

async fn rules_in_a_crd_are_kept(control_plane: &ControlPlane) -> Result<()> {
    control_plane.apply(CRD).await?;
    kubectl(
        control_plane,
        "wait --for=condition=Established crd/lamps.testbed.example",
    )
    .await?;
    let lamp = |watts: u8| {
        format!(
            "{{apiVersion: testbed.example/v1, kind: Lamp, metadata: {{name: desk}}, \
             spec: {{watts: {watts}}}}}"
        )
    };
    control_plane.apply(&lamp(40)).await?;
    let error = control_plane
        .apply(&lamp(100))
        .await
        .err()
        .context("the rule is not kept")?;
    ensure!(error.to_string().contains("too bright"), "{error}");
    Ok(())
}

const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: default}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: default}]
";

async fn a_service_account_has_its_rights_alone(control_plane: &ControlPlane) -> Result<()> {
    control_plane.apply(READER).await?;
    let file = control_plane.kubeconfig_for("default", "reader").await?;
    let with = format!("--kubeconfig={}", file.display());
    kubectl(control_plane, &format!("get configmaps {with}")).await?;
    let reason = refused(control_plane, &format!("get secrets {with}")).await?;
    ensure!(
        reason.contains("system:serviceaccount:default:reader"),
        "{reason}"
    );
    let events = control_plane.audit().await?;
    let codes: Vec<_> = events
        .iter()
        .filter(|event| event.user == "system:serviceaccount:default:reader")
        .filter(|event| event.verb == Verb::List)
        .map(|event| (event.resource.as_str(), event.code))
        .collect();
    ensure!(
        codes == [("configmaps", 200), ("secrets", 403)],
        "{codes:?}"
    );
    Ok(())
}

async fn quota_refuses(control_plane: &ControlPlane) -> Result<()> {
    kubectl(control_plane, "create namespace poor").await?;
    kubectl(
        control_plane,
        "create quota none --hard=secrets=0 --namespace=poor",
    )
    .await?;
    let counted = "wait quota/none --for=jsonpath={.status.hard.secrets}=0 --namespace=poor";
    kubectl(control_plane, counted).await?;
    for dry in ["", " --dry-run=server"] {
        let create = format!("create secret generic gold --namespace=poor{dry}");
        let reason = refused(control_plane, &create).await?;
        ensure!(reason.contains("exceeded quota"), "{reason}");
    }
    Ok(())
}

const POLICIES: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: watched, labels: {testbed: policies}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: stamp}
spec:
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {testbed: policies}}
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  mutations:
    - patchType: ApplyConfiguration
      applyConfiguration:
        expression: >
          Object{metadata: Object.metadata{annotations: {"by": request.userInfo.username}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: stamp}
spec: {policyName: stamp}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: refuse}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {testbed: policies}}
    resourceRules:
      - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}
  validations: [{expression: "false", message: "no secrets here"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: refuse}
spec: {policyName: refuse, validationActions: [Deny]}
"#;

async fn admission_policies_change_and_refuse(control_plane: &ControlPlane) -> Result<()> {
    control_plane.apply(POLICIES).await?;
    // The API server takes a moment to notice its policies, and nothing to watch for says when.
    let refuses = async {
        let create = "create secret generic gold --namespace=watched --dry-run=server";
        while kubectl(control_plane, create).await.is_ok() {}
        refused(control_plane, create).await
    };
    let reason = within(refuses).await??;
    ensure!(reason.contains("no secrets here"), "{reason}");
    let create = "create configmap note --namespace=watched --dry-run=server \
                  --output=jsonpath={.metadata.annotations.by}";
    let stamps = async {
        loop {
            let by = kubectl(control_plane, create).await?;
            if !by.is_empty() {
                return anyhow::Ok(by);
            }
        }
    };
    let by = within(stamps).await??;
    ensure!(by == "admin", "{by}");
    Ok(())
}

async fn requests_are_counted(control_plane: &ControlPlane) -> Result<()> {
    kubectl(control_plane, "create namespace counted").await?;
    let before = control_plane.audit().await?.len();
    let create = "create configmap once --namespace=counted";
    // A dry run makes nothing, or the next would be refused.
    kubectl(control_plane, &format!("{create} --dry-run=server")).await?;
    kubectl(control_plane, create).await?;
    refused(control_plane, create).await?;
    kubectl(
        control_plane,
        "label configmap once a=b --namespace=counted",
    )
    .await?;
    let writes: Vec<_> = control_plane
        .audit()
        .await?
        .into_iter()
        .skip(before)
        .filter(|event| event.namespace == "counted" && event.resource == "configmaps")
        .filter(|event| event.verb.writes() && event.user == "admin")
        .map(|event| (event.verb, event.name, event.code, event.dry_run))
        .collect();
    let expected = [
        (Verb::Create, "once", 201, true),
        (Verb::Create, "once", 201, false),
        (Verb::Create, "once", 409, false),
        (Verb::Patch, "once", 200, false),
    ]
    .map(|(verb, name, code, dry_run)| (verb, name.to_owned(), code, dry_run));
    ensure!(writes == expected, "{writes:?}");
    Ok(())
}

async fn helm_installs(control_plane: &ControlPlane) -> Result<()> {
    let chart = control_plane.folder().join("chart");
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(
        chart.join("Chart.yaml"),
        "{apiVersion: v2, name: tiny, version: 0.1.0}",
    )?;
    let template = "{apiVersion: v1, kind: ConfigMap, metadata: {name: from-chart}}";
    std::fs::write(chart.join("templates/configmap.yaml"), template)?;
    let mut helm = control_plane.helm();
    helm.args(["install", "tiny", "--namespace=default"])
        .arg(&chart);
    run(helm, "").await?;
    kubectl(control_plane, "get configmap from-chart").await?;
    Ok(())
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .context("not within a minute")
}

/// The state of a socket that listens.
const LISTEN: &str = "0A";
/// 127.0.0.1.
const LOOPBACK: &str = "0100007F:";

/// Another process that has started a control plane.
struct Other {
    process: Child,
    programs: Vec<String>,
}

impl Other {
    /// Its temporary folders are in `folder`, its user's home and kubeconfig are decoys there.
    fn start(folder: &Path, kubeconfig: &Path) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
        command
            .env("TMPDIR", folder)
            .env("KUBECONFIG", kubeconfig)
            .env("HELM_NAMESPACE", "decoy");
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        let mut programs = Vec::new();
        for line in lines.by_ref() {
            let line = line?;
            if line.starts_with("export KUBECONFIG=") {
                return Ok(Self { process, programs });
            }
            let id = line
                .split_once("process ")
                .and_then(|(_, rest)| rest.split_once(','));
            programs.push(id.context(line.clone())?.0.to_owned());
        }
        anyhow::bail!("it ended: {}", process.wait()?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.process.id())?).context("no process id")?;
        Ok(kill_process(id, signal)?)
    }

    /// The addresses on which its programs listen, as the kernel writes them.
    fn listens(&self) -> Result<Vec<String>> {
        let mut sockets = Vec::new();
        for id in &self.programs {
            for file in std::fs::read_dir(format!("/proc/{id}/fd"))? {
                // It may be closed by now.
                let target = std::fs::read_link(file?.path()).unwrap_or_default();
                let target = target.to_string_lossy();
                let inode = target.strip_prefix("socket:[");
                sockets.extend(inode.map(|rest| rest.trim_end_matches(']').to_owned()));
            }
        }
        let mut addresses = Vec::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            for line in std::fs::read_to_string(table)?.lines() {
                let columns: Vec<&str> = line.split_whitespace().collect();
                let [_, address, _, LISTEN, _, _, _, _, _, inode, ..] = columns[..] else {
                    continue;
                };
                if sockets.iter().any(|socket| socket == inode) {
                    addresses.push(address.to_owned());
                }
            }
        }
        Ok(addresses)
    }

    /// Which of its programs still run. A dead one that its new parent has not collected yet
    /// does not.
    fn running(&self) -> Result<Vec<String>> {
        let ids = self.programs.join(",");
        let ps = Command::new("ps")
            .args(["-o", "stat=,comm=", "-p", &ids])
            .output()?;
        let lines = String::from_utf8(ps.stdout)?;
        Ok(lines
            .lines()
            .filter(|line| !line.starts_with('Z'))
            .map(str::to_owned)
            .collect())
    }

    async fn nothing_runs(&self) -> Result<()> {
        let nothing = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while !self.running()?.is_empty() {
                tick.tick().await;
            }
            anyhow::Ok(())
        };
        let in_time = tokio::time::timeout(Duration::from_secs(10), nothing).await;
        in_time.map_err(|_| anyhow::anyhow!("still running: {:?}", self.running()))?
    }
}

#[tokio::test]
async fn it_dies_with_its_process_and_leaves_nothing() -> Result<()> {
    Binaries::obtain().await?;
    let folder = tempfile::tempdir()?;
    let decoy = tempfile::NamedTempFile::new()?;
    std::fs::write(decoy.path(), "not a kubeconfig")?;

    let mut killed = Other::start(folder.path(), decoy.path())?;
    ensure!(killed.running()?.len() == 3, "{:?}", killed.running());
    let listens = killed.listens()?;
    // etcd for its clients and its peers, and the API server.
    ensure!(listens.len() >= 3, "{listens:?}");
    ensure!(
        listens.iter().all(|address| address.starts_with(LOOPBACK)),
        "{listens:?}"
    );
    killed.signal(Signal::KILL)?;
    killed.process.wait()?;
    killed.nothing_runs().await?;
    let left = std::fs::read_dir(folder.path())?.count();
    ensure!(
        left == 1,
        "killed, it cannot remove its folder; yet there are {left}"
    );

    // The next run sweeps up, and ends orderly on Ctrl-C.
    let mut interrupted = Other::start(folder.path(), decoy.path())?;
    ensure!(std::fs::read_dir(folder.path())?.count() == 1);
    interrupted.signal(Signal::INT)?;
    ensure!(interrupted.process.wait()?.success());
    interrupted.nothing_runs().await?;
    ensure!(std::fs::read_dir(folder.path())?.next().is_none());
    ensure!(std::fs::read_to_string(decoy.path())? == "not a kubeconfig");
    Ok(())
}
