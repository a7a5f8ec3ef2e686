//! What a team does: applies its manifests, takes the key out of the Secret, deletes it all.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Act, Answer, Demo, NAMESPACE, Page, Server, Step, TOOLS, Trouble, write_samples};
use crate::twins::octopus::Change;

/// The folder of the manifests, in the demo's folder.
const SAMPLES: &str = "samples";

/// The manifest of the keys.
const KEYS: &str = "samples/4-keys.yaml";

/// The Secret whose key is tried; its entries are the default ones.
const SECRET: &str = "deploy";

/// The Secret whose key is deleted on the server.
const OTHER: &str = "release-1042";

/// Every Secret that holds a key carries it.
const OURS: &str = "app.kubernetes.io/managed-by=apikey-operator";

/// A key as a program finds it in its environment.
struct Handed {
    url: String,
    key: String,
}

/// What a team gets, and sees of it.
struct Gift {
    /// What `kubectl get apikeys` prints.
    table: String,
    /// What is in each Secret: the names of its entries.
    secrets: Vec<String>,
    handed: Handed,
}

/// Tells all of it.
pub(super) async fn tell(demo: &Demo, act: Act, page: &mut Page) -> Result<(), Trouble> {
    let handed = give(demo, page).await?;
    match act {
        Act::Stay => {
            offer(demo, page);
            let why = demo.operator.end().await;
            Err(Trouble {
                at: Step::Stay,
                why,
            })
        }
        Act::Check => {
            let all = disturb(demo, handed, page).await?;
            take(demo, &all, page).await
        }
    }
}

/// From the manifests to a key that works.
async fn give(demo: &Demo, page: &mut Page) -> Result<Handed, Trouble> {
    page.heading("A team asks for two keys");
    page.say(&format!("{KEYS}, the first of them:"));
    page.note(&first_key());
    let applied = page.step(Step::Apply, demo.in_time(apply(demo))).await?;
    page.note(&applied);
    let gift = page.step(Step::Ready, demo.in_time(ready(demo))).await?;

    page.heading("What it gets");
    page.shell("kubectl get apikeys", &gift.table);
    for secret in &gift.secrets {
        page.say(secret);
    }
    page.step(Step::Prove, demo.in_time(prove(&gift.handed)))
        .await?;
    Ok(gift.handed)
}

/// What may happen to a key, and how it is healed: each time another key is in the Secret, and works.
/// All keys that there have been.
async fn disturb(demo: &Demo, first: Handed, page: &mut Page) -> Result<Vec<Handed>, Trouble> {
    page.heading("What may happen to them");
    let lost = page.step(Step::Vanish, demo.in_time(vanish(demo))).await?;
    let second = page
        .step(Step::Rotate, demo.in_time(rotate(demo, &first)))
        .await?;
    let third = page.step(Step::Lose, demo.in_time(lose(demo))).await?;
    let other = page
        .step(Step::Replace, demo.in_time(replaced(demo, &lost)))
        .await?;
    Ok(vec![first, second, third, lost, other])
}

/// From a key that works to nothing at all.
async fn take(demo: &Demo, handed: &[Handed], page: &mut Page) -> Result<(), Trouble> {
    page.heading("The team deletes its keys, then all else");
    page.step(Step::Delete, demo.in_time(delete(demo))).await?;
    page.step(Step::Dead, demo.in_time(dead(handed))).await?;
    page.step(Step::Clear, demo.in_time(clear(demo))).await?;
    page.step(Step::Left, async { left(demo) }).await
}

/// What people write to get a key, without the comments.
fn first_key() -> String {
    let keys = include_str!("../../samples/4-keys.yaml");
    let lines = keys.lines().take_while(|line| *line != "---");
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

async fn apply(demo: &Demo) -> Result<(String, String)> {
    write_samples(&demo.server, &demo.control_plane.folder().join(SAMPLES))?;
    let applied = demo.kubectl(&["apply", "--filename", SAMPLES]).await?;
    Ok((applied, format!("kubectl apply -f {SAMPLES}")))
}

/// Waits until every key is ready, or until one says that it waits for a person.
async fn ready(demo: &Demo) -> Result<(Gift, String)> {
    let keys = demo.kubectl(&["get", "apikeys", "--output=name"]).await?;
    for key in keys.lines() {
        let [ready, stalled] = ["Ready", "Stalled"].map(async |condition| {
            let condition = format!("--for=condition={condition}");
            demo.kubectl(&["wait", key, &condition, "--timeout=1h"])
                .await
        });
        tokio::select! {
            ready = ready => drop(ready?),
            Ok(_) = stalled => bail!("{}", sentence(demo, key).await?),
        }
    }
    let text = "kubectl wait --for=condition=Ready apikeys --all".to_owned();
    Ok((gift(demo).await?, text))
}

async fn gift(demo: &Demo) -> Result<Gift> {
    let table = demo.kubectl(&["get", "apikeys"]).await?;
    let secrets = demo
        .kubectl(&["get", "secrets", "--selector", OURS, "--output=json"])
        .await?;
    let secrets: Value = serde_json::from_str(&secrets)?;
    let secrets = secrets["items"]
        .as_array()
        .context("kubectl lists no Secrets")?;
    Ok(Gift {
        table,
        secrets: entries(secrets),
        handed: handed(secrets)?,
    })
}

/// What a key says about itself.
async fn sentence(demo: &Demo, key: &str) -> Result<String> {
    let ready = r#"{.metadata.name}: {.status.conditions[?(@.type=="Ready")].message}"#;
    let said = demo
        .kubectl(&["get", key, &format!("--output=jsonpath={ready}")])
        .await?;
    Ok(format!("ApiKey {said}"))
}

async fn prove(handed: &Handed) -> Result<((), String)> {
    let Answer::Taken { username } = Server::ask(&handed.url, &handed.key).await? else {
        bail!("the server does not take the key that is in Secret {SECRET}");
    };
    let text = format!("the server takes the key of Secret {SECRET}: it is {username}'s");
    Ok(((), text))
}

/// The entries of the Secret that a program would take.
fn handed(secrets: &[Value]) -> Result<Handed> {
    let secret = secrets
        .iter()
        .find(|secret| secret["metadata"]["name"] == SECRET);
    let secret = secret.with_context(|| format!("there is no Secret {SECRET}"))?;
    let entry = |name: &str| {
        let value = secret["data"][name].as_str();
        let value = value.with_context(|| format!("Secret {SECRET} has no entry {name}"))?;
        Ok::<_, anyhow::Error>(String::from_utf8(STANDARD.decode(value)?)?)
    };
    Ok(Handed {
        url: entry("OCTOPUS_URL")?,
        key: entry("OCTOPUS_API_KEY")?,
    })
}

/// The names of the Secrets, each with those of its entries.
fn entries(secrets: &[Value]) -> Vec<String> {
    let line = |secret: &Value| {
        let data = secret["data"].as_object();
        let names: Vec<_> = data
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        format!("Secret {name} has {}", names.join(" and "))
    };
    secrets.iter().map(line).collect()
}

async fn delete(demo: &Demo) -> Result<((), String)> {
    demo.kubectl(&["delete", "--filename", KEYS]).await?;
    Ok(((), format!("kubectl delete -f {KEYS}")))
}

async fn dead(handed: &[Handed]) -> Result<((), String)> {
    for handed in handed {
        if let Answer::Taken { username } = Server::ask(&handed.url, &handed.key).await? {
            bail!("the ApiKey {SECRET} is gone, and the server still takes its key, as {username}");
        }
    }
    let text = format!(
        "the server takes none of its {} keys any more",
        handed.len()
    );
    Ok(((), text))
}

/// The key that is in the Secret now; it must work.
async fn current(demo: &Demo) -> Result<Handed> {
    let secret = demo
        .kubectl(&["get", "secret", SECRET, "--output=json"])
        .await?;
    let handed = handed(&[serde_json::from_str(&secret)?])?;
    prove(&handed).await?;
    Ok(handed)
}

async fn rotate(demo: &Demo, first: &Handed) -> Result<(Handed, String)> {
    let key = format!("apikey/{SECRET}");
    demo.kubectl(&["annotate", &key, "apikeys.dev/rotate=now"])
        .await?;
    let handled = "--for=jsonpath={.status.lastHandledRotate}=now";
    demo.kubectl(&["wait", &key, handled, "--timeout=1h"])
        .await?;
    let second = current(demo).await?;
    if second.key == first.key {
        bail!("the Secret {SECRET} still holds the key from before");
    }
    prove(first)
        .await
        .context("the replaced key does not live through its overlap")?;
    let text = "replaced on request; the old key works through its overlap";
    Ok((second, text.to_owned()))
}

async fn lose(demo: &Demo) -> Result<(Handed, String)> {
    let secret = format!("secret/{SECRET}");
    demo.kubectl(&["delete", &secret]).await?;
    demo.kubectl(&["wait", &secret, "--for=create", "--timeout=1h"])
        .await?;
    let text = format!("Secret {SECRET} was deleted, and is back with a key that works");
    Ok((current(demo).await?, text))
}

/// A key vanishes from the server: found when the server is compared with what there should be.
async fn vanish(demo: &Demo) -> Result<(Handed, String)> {
    let lost = other(demo).await?;
    let key = demo
        .server
        .door()
        .look(|twin, now| twin.whose(now, &lost.key));
    let key = key.context("the server does not know the key")?.id;
    demo.server.door().change(Change::RevokeKey { key })?;
    let text = format!("the key of Secret {OTHER} is deleted on the server");
    Ok((lost, text))
}

async fn replaced(demo: &Demo, lost: &Handed) -> Result<(Handed, String)> {
    let second = r"--for=jsonpath={.metadata.annotations.apikeys\.dev/serial}=2";
    let secret = format!("secret/{OTHER}");
    demo.kubectl(&["wait", &secret, second, "--timeout=1h"])
        .await?;
    let other = other(demo).await?;
    if other.key == lost.key {
        bail!("the Secret {OTHER} still holds the key that is gone");
    }
    prove(&other).await?;
    let text = format!("Secret {OTHER} has another key, which works");
    Ok((other, text))
}

/// The key in the Secret with an entry of the team's own.
async fn other(demo: &Demo) -> Result<Handed> {
    let secret = demo
        .kubectl(&["get", "secret", OTHER, "--output=json"])
        .await?;
    let secret: Value = serde_json::from_str(&secret)?;
    let config = secret["data"]["config.json"].as_str();
    let config = STANDARD.decode(config.context("there is no config.json")?)?;
    let config: Value = serde_json::from_slice(&config)?;
    let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
    Ok(Handed {
        url: text("server"),
        key: text("apiKey"),
    })
}

async fn clear(demo: &Demo) -> Result<((), String)> {
    demo.kubectl(&["delete", "--filename", SAMPLES, "--ignore-not-found"])
        .await?;
    Ok(((), format!("kubectl delete -f {SAMPLES}")))
}

fn left(demo: &Demo) -> Result<((), String)> {
    let left = demo.server.left();
    if !left.is_empty() {
        bail!(
            "the server still has what it should not: {}",
            left.join(", ")
        );
    }
    let text = format!("{}, none of them is left on the server", demo.server.work());
    Ok(((), text))
}

/// What people can do next.
fn offer(demo: &Demo, page: &mut Page) {
    let folder = demo.control_plane.folder().display();
    let control = demo.server.control_url();

    page.heading("Try it yourself: in another terminal");
    let kubeconfig = demo.control_plane.kubeconfig();
    page.offer(&format!("export KUBECONFIG={}", kubeconfig.display()), "");
    page.offer(
        &format!(
            "export PATH={}:$PATH",
            demo.control_plane.folder().join(TOOLS).display()
        ),
        "",
    );
    page.offer(&format!("cd {folder}"), "");
    page.heading("Keys");
    page.offer("kubectl get apikeys --watch", "how they are");
    page.offer("kubectl describe apikey deploy", "one, whole");
    page.offer("kubectl explain apikey.spec", "what can be said");
    page.offer("kubectl apply -f samples/more/nightly.yaml", "one more");
    page.offer(
        "kubectl annotate apikey deploy apikeys.dev/rotate=now",
        "a new key for it",
    );
    page.offer("kubectl delete apikey nightly", "revoked, then gone");
    page.offer(
        &format!("kubectl delete namespace {NAMESPACE}"),
        "all at once",
    );
    page.heading("An outage of the server");
    page.offer(
        &format!("curl -d '{{\"fault\":\"outage\"}}' {control}/faults"),
        "",
    );
    page.offer(&format!("curl -X DELETE {control}/faults"), "it is back");
    page.offer(&format!("curl {control}/view"), "what it has");
    page.offer(&format!("curl {control}"), "other faults");
    page.heading("The operator");
    page.offer("tail -f operator.log", "what it does");
    page.offer(
        &format!("curl {}/metrics", demo.operator.url()),
        "what it counts",
    );
    page.heading("Ctrl-C ends everything.");
}
