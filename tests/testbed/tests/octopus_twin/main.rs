//! The doors of the Octopus twin: faults in the process and on a socket, the control door, and the
//! program.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `faults` | each fault, in the process |
//! | `sockets` | the same on a socket, over TLS, and in the program |
//! | `control` | the control door |
#![expect(clippy::unwrap_used, reason = "helpers of tests may, as tests do")]

mod control;
mod faults;
mod sockets;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::twins::Door;
use testbed::twins::octopus::{Config, Octopus, Start};
use testbed::twins::tls::Tls;

type TwinDoor = Door<Octopus>;

/// A twin that lives in tokio's time.
fn paused() -> (TwinDoor, Start) {
    let twin = Octopus::new(&Config::default());
    let start = twin.start().clone();
    let begun = tokio::time::Instant::now();
    let birth: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    let clock = move || birth + SignedDuration::try_from(begun.elapsed()).unwrap();
    (Door::new(twin, clock), start)
}

fn live() -> (TwinDoor, Start) {
    let twin = Octopus::new(&Config::default());
    let start = twin.start().clone();
    (Door::live(twin), start)
}

fn request(method: Method, path: &str, key: &str, body: &Value) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("X-Octopus-ApiKey", key)
        .body(Bytes::from(body.to_string()))
        .unwrap()
}

/// The operator makes a key for itself.
fn mint(start: &Start) -> Request<Bytes> {
    let path = format!("/api/users/{}/apikeys", start.operator.user);
    request(
        Method::POST,
        &path,
        &start.operator.key,
        &json!({ "Purpose": "p" }),
    )
}

fn minted(door: &TwinDoor) -> usize {
    door.view()
        .keys
        .iter()
        .filter(|key| key.purpose == "p")
        .count()
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

/// Waits, with a deadline, until something holds.
async fn settles(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it never settled");
        tokio::task::yield_now().await;
    }
}

/// A client that follows nothing and trusts what it is told to.
fn caller(ca: Option<&Tls>) -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let builder = match ca {
        Some(tls) => {
            let ca = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).unwrap();
            builder.tls_certs_only([ca])
        }
        None => builder,
    };
    builder.build().unwrap()
}
