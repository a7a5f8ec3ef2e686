//! What holds the simulated API to a real one: one table of requests and answers (`table.yaml`),
//! played through a client to whichever server it leads to.
//!
//! The table is the promise; a server that answers otherwise differs. It needs a cluster in which
//! it may define a kind and make namespaces, and leaves both behind.

mod compare;
mod table;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt as _;
use http::{Method, Request, StatusCode, header};
use kube::Client;
use kube::client::Body;
use kube::core::WatchEvent;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use table::{Case, Dialect, Step, View};

pub use compare::Difference;

/// The kind that the table plays with.
const GADGET: &str = include_str!("gadget.yaml");

/// How long a server may take to serve a kind that was defined.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer, as far as it is compared.
struct Answer {
    code: StatusCode,
    /// The body, where it is one JSON value.
    body: Value,
    /// The events, where it is a watch.
    events: Vec<Value>,
}

/// The names that a case has given to values.
type Kept = BTreeMap<String, String>;

/// Plays the whole table and tells where the server's answers are not the table's.
///
/// # Errors
/// When the server cannot be talked to, or does not serve the table's kind in time.
pub async fn play(client: &Client) -> Result<Vec<Difference>> {
    prepare(client).await?;
    let mut found = Vec::new();
    for case in table::cases()? {
        found.extend(play_case(client, &case).await?);
    }
    Ok(found)
}

/// Defines the kind, and waits until it is served.
async fn prepare(client: &Client) -> Result<()> {
    let definition: Value = serde_saphyr::from_str(GADGET)?;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = send(
        client,
        request(Method::POST, path, "application/json", &definition)?,
    )
    .await?;
    if made.code != StatusCode::CREATED && made.code != StatusCode::CONFLICT {
        bail!("the kind cannot be defined: {}", made.body);
    }
    let path = "/apis/conformance.apikeys.dev/v1/gadgets";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = Request::get(path).body(Body::empty())?;
        if send(client, list).await?.code == StatusCode::OK {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the kind is not served after {PATIENCE:?}");
        }
        // There is no watch for "served": only asking tells, and every answer takes its time.
    }
}

async fn play_case(client: &Client, case: &Case) -> Result<Vec<Difference>> {
    let namespace = json!({"metadata": {"generateName": "conformance-"}});
    let path = "/api/v1/namespaces";
    let made = send(
        client,
        request(Method::POST, path, "application/json", &namespace)?,
    )
    .await?;
    let name = made.body["metadata"]["name"]
        .as_str()
        .context("no namespace")?
        .to_owned();
    let mut kept = Kept::from([("ns".to_owned(), name)]);
    let mut found = Vec::new();
    for step in &case.steps {
        let step = step.filled(&kept)?;
        let answer = answer(client, &step, &kept["ns"]).await?;
        let differs = compare::compare(&case.name, &step, &answer);
        for (name, pointer) in &step.keep {
            let value = answer.body.pointer(pointer).and_then(Value::as_str);
            if value.is_none() && differs.is_empty() {
                bail!("{}: {} has no {pointer}", case.name, step.act);
            }
            kept.insert(name.clone(), value.unwrap_or_default().to_owned());
        }
        found.extend(differs);
    }
    Ok(found)
}

/// Sends a step's request: once, or again when what is awaited to go has gone.
async fn answer(client: &Client, step: &Step, namespace: &str) -> Result<Answer> {
    let answer = send(client, asked(step, namespace)?).await?;
    match step.act.strip_prefix("AWAIT ") {
        Some(place) if answer.code == StatusCode::OK => {
            let path = table::path(place, namespace);
            // What does not go is told by the answer.
            if let Ok(gone) = timeout(PATIENCE, gone(client, &path, &answer.body)).await {
                gone?;
            }
            send(client, asked(step, namespace)?).await
        }
        _ => Ok(answer),
    }
}

/// Watches an object until it has gone.
async fn gone(client: &Client, path: &str, object: &Value) -> Result<()> {
    let (all, name) = path.rsplit_once('/').context("a path of an object")?;
    let version = object["metadata"]["resourceVersion"].as_str();
    let version = version.context("an object without a version")?;
    let watch =
        format!("{all}?watch=true&fieldSelector=metadata.name%3D{name}&resourceVersion={version}");
    let events = client.request_events(Request::get(watch).body(Vec::new())?);
    let mut events = pin!(events.await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::<Value>::Deleted(_) = event {
            return Ok(());
        }
    }
    bail!("the watch of {path} ended")
}

/// The request of a step.
fn asked(step: &Step, namespace: &str) -> Result<Request<Body>> {
    let (verb, place) = step
        .act
        .split_once(' ')
        .context("a step is a verb and a place")?;
    let mut path = table::path(place, namespace);
    let method = match verb {
        "WATCH" => {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str("watch=true");
            if !path.contains("timeoutSeconds=") {
                path.push_str("&timeoutSeconds=1");
            }
            Method::GET
        }
        "AWAIT" => Method::GET,
        verb => verb.parse()?,
    };
    let dialect = match step.dialect {
        Dialect::Whole => "application/json",
        Dialect::Merge => "application/merge-patch+json",
        Dialect::Json => "application/json-patch+json",
        Dialect::Strategic => "application/strategic-merge-patch+json",
        Dialect::Apply => "application/apply-patch+yaml",
    };
    let body = step
        .send
        .as_ref()
        .map(|body| table::named(body, step, place));
    let mut request = match body {
        Some(body) => request(method, &path, dialect, &body)?,
        None => Request::builder()
            .method(method)
            .uri(&path)
            .body(Body::empty())?,
    };
    if step.view == View::Metadata {
        let plain = place.split(['?', '/']).count() < 2 || verb == "GET" && !place.contains('/');
        let list = if plain { "List" } else { "" };
        let accept = format!("application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1");
        request
            .headers_mut()
            .insert(header::ACCEPT, accept.parse()?);
    }
    Ok(request)
}

fn request(method: Method, path: &str, dialect: &str, body: &Value) -> Result<Request<Body>> {
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, dialect)
        .body(Body::from(serde_json::to_vec(body)?))?)
}

async fn send(client: &Client, request: Request<Body>) -> Result<Answer> {
    let response = client.send(request).await?;
    let code = response.status();
    let bytes = response.into_body().collect_bytes().await?;
    let lines: Vec<Value> = serde_json::Deserializer::from_slice(&bytes)
        .into_iter::<Value>()
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    let body = lines.first().cloned().unwrap_or_default();
    Ok(Answer {
        code,
        body,
        events: lines,
    })
}
