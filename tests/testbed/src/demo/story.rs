//! What a team does: applies its manifests, takes the keys out of the Secrets, deletes it all.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::part::Part;
use super::samples::{self, SAMPLES};
use super::{Act, Demo, NAMESPACE, Page, Server, Step, TOOLS, Trouble};

/// Every Secret that holds a key carries it.
const OURS: &str = "app.kubernetes.io/managed-by=apikey-operator";

/// What a team gets, as it sees it.
struct Gift {
    /// What `kubectl get apikeys` prints.
    table: String,
    /// What is in each Secret: the names of its entries.
    secrets: Vec<String>,
}

/// Tells all of it.
pub(super) async fn tell(demo: &Demo, act: Act, page: &mut Page) -> Result<(), Trouble> {
    let mut parts: Vec<_> = demo
        .servers
        .iter()
        .map(|one| Part::new(demo, one))
        .collect();
    give(demo, &mut parts, page).await?;
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
            disturb(demo, &mut parts, page).await?;
            take(demo, &mut parts, page).await
        }
    }
}

/// From the manifests to keys that work.
async fn give(demo: &Demo, parts: &mut [Part<'_>], page: &mut Page) -> Result<(), Trouble> {
    page.heading(match parts.len() {
        1 => "A team asks for two keys",
        _ => "A team asks for two keys of each server",
    });
    for samples in demo.servers.iter().map(|server| &server.ways().samples) {
        page.say(&format!("{}, the first of them:", samples.keys_path()));
        page.note(&samples.first_key());
    }
    let applied = page.step(Step::Apply, demo.in_time(apply(demo))).await?;
    page.note(&applied);
    let gift = page.step(Step::Ready, demo.in_time(ready(demo))).await?;

    page.heading("What it gets");
    page.shell("kubectl get apikeys", &gift.table);
    for secret in &gift.secrets {
        page.say(secret);
    }
    let all = parts.iter_mut().map(|part| demo.in_time(part.prove()));
    page.each(Step::Prove, all).await?;
    Ok(())
}

/// What may happen to keys, and how it is healed: each time another key is in the Secret, and works.
async fn disturb(demo: &Demo, parts: &mut [Part<'_>], page: &mut Page) -> Result<(), Trouble> {
    page.heading("What may happen to them");
    let all = parts.iter_mut().map(|part| demo.in_time(part.vanish()));
    page.each(Step::Vanish, all).await?;
    let all = parts.iter_mut().map(|part| demo.in_time(part.rotate()));
    page.each(Step::Rotate, all).await?;
    let all = parts.iter_mut().map(|part| demo.in_time(part.lose()));
    page.each(Step::Lose, all).await?;
    let all = parts.iter_mut().map(|part| demo.in_time(part.replaced()));
    page.each(Step::Replace, all).await?;
    Ok(())
}

/// From keys that work to nothing at all.
async fn take(demo: &Demo, parts: &mut [Part<'_>], page: &mut Page) -> Result<(), Trouble> {
    page.heading("The team deletes its keys, then all else");
    page.step(Step::Delete, demo.in_time(delete(demo))).await?;
    let all = parts.iter_mut().map(|part| demo.in_time(part.dead()));
    page.each(Step::Dead, all).await?;
    page.step(Step::Clear, demo.in_time(clear(demo))).await?;
    let all = parts.iter_mut().map(|part| demo.in_time(part.left()));
    page.each(Step::Left, all).await?;
    Ok(())
}

async fn apply(demo: &Demo) -> Result<(String, String)> {
    samples::write(&demo.servers, demo.control_plane.folder())?;
    let applied = demo.kubectl(&["apply", "-R", "-f", SAMPLES]).await?;
    Ok((applied, format!("kubectl apply -R -f {SAMPLES}")))
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
    let secrets = secrets.iter().map(entries).collect();
    Ok(Gift { table, secrets })
}

/// What a key says about itself.
async fn sentence(demo: &Demo, key: &str) -> Result<String> {
    let ready = r#"{.metadata.name}: {.status.conditions[?(@.type=="Ready")].message}"#;
    let said = demo
        .kubectl(&["get", key, &format!("--output=jsonpath={ready}")])
        .await?;
    Ok(format!("ApiKey {said}"))
}

/// The name of a Secret, with those of its entries.
fn entries(secret: &Value) -> String {
    let data = secret["data"].as_object();
    let names: Vec<_> = data
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let name = secret["metadata"]["name"].as_str().unwrap_or_default();
    format!("Secret {name} has {}", in_words(&names))
}

fn in_words(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

async fn delete(demo: &Demo) -> Result<((), String)> {
    demo.kubectl(&["delete", "apikeys", "--all"]).await?;
    Ok(((), "kubectl delete apikeys --all".to_owned()))
}

async fn clear(demo: &Demo) -> Result<((), String)> {
    demo.kubectl(&["delete", "-R", "-f", SAMPLES, "--ignore-not-found"])
        .await?;
    Ok(((), format!("kubectl delete -R -f {SAMPLES}")))
}

/// What people can do next.
fn offer(demo: &Demo, page: &mut Page) {
    let folder = demo.control_plane.folder();
    let kubeconfig = demo.control_plane.kubeconfig();
    let tools = folder.join(TOOLS);

    page.heading("Try it yourself: in another terminal");
    page.offer(&format!("export KUBECONFIG={}", kubeconfig.display()), "");
    page.offer(&format!("export PATH={}:$PATH", tools.display()), "");
    page.offer(&format!("cd {}", folder.display()), "");
    page.heading("Keys");
    page.offer("kubectl get apikeys --watch", "how they are");
    page.offer("kubectl explain apikey.spec", "what can be said");
    for ways in demo.servers.iter().map(Server::ways) {
        let (key, more) = (ways.key, ways.samples.one_more_path());
        page.offer(&format!("kubectl describe apikey {key}"), "one, whole");
        page.offer(
            &format!("kubectl annotate apikey {key} apikeys.dev/rotate=now"),
            "a new key for it",
        );
        page.offer(&format!("kubectl apply -f {more}"), "one more");
        page.offer(&format!("kubectl delete -f {more}"), "revoked, then gone");
    }
    page.offer(
        &format!("kubectl delete namespace {NAMESPACE}"),
        "all at once",
    );
    for server in &demo.servers {
        page.heading(&format!("An outage of {}", server.ways().name));
        for (command, what) in server.outage() {
            page.offer(&command, what);
        }
    }
    page.heading("The operator");
    page.offer("tail -f operator.log", "what it does");
    page.offer(
        &format!("curl {}/metrics", demo.operator.url()),
        "what it counts",
    );
    page.heading("Ctrl-C ends everything.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_in_words() {
        assert_eq!(in_words(&[]), "nothing");
        assert_eq!(in_words(&["A"]), "A");
        assert_eq!(in_words(&["A", "B"]), "A and B");
        assert_eq!(in_words(&["A", "B", "C"]), "A, B and C");
    }
}
