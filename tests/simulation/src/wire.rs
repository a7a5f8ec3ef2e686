//! The wires between a process and the deploy servers of its world: requests of the operator's own
//! clients pass the recorder on their way to a twin in this process.
//!
//! What answers a mint is overheard here, so that oracles know every value that must be nowhere else.

use std::sync::{Arc, Mutex, PoisonError};

use apikey_operator::controllers::Doors;
use apikey_operator::servers::transport::{self, BadTrust, Transport, Trust};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use serde_json::Value;
use testbed::twins;

use crate::effect::{Call, Door, Process};
use crate::recorder::{Cut, Recorder};
use crate::servers::Servers;

/// The values of all keys that were ever made, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Overheard(Arc<Mutex<Vec<String>>>);

impl Overheard {
    /// One more value.
    pub fn add(&self, value: &str) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if values.iter().rev().all(|known| known != value) {
            values.push(value.to_owned());
        }
    }

    /// All values so far, but for the first `skip`.
    pub fn values(&self, skip: usize) -> Vec<String> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.get(skip..).unwrap_or_default().to_vec()
    }
}

/// The wires of one process.
#[derive(Clone)]
pub struct Wires {
    /// Whose they are.
    pub process: Process,
    /// What they lead through.
    pub recorder: Recorder,
    /// Where they lead.
    pub servers: Servers,
    /// What was said on them.
    pub overheard: Overheard,
}

impl Doors for Wires {
    fn open(&self, _: Trust<'_>) -> Result<Arc<dyn Transport>, BadTrust> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Transport for Wires {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, transport::Cut> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let call = Call::of(&self.process, Door::Server(host.as_str().into()), &request);
        let (servers, overheard) = (self.servers.clone(), self.overheard.clone());
        let perform = async move {
            // A key that we have made up ourselves is heard when it is first shown.
            let shown = request.headers().get("st2-api-key").cloned();
            if let Some(value) = shown.as_ref().and_then(|shown| shown.to_str().ok()) {
                overheard.add(value);
            }
            let sent: Option<Value> = serde_json::from_slice(request.body()).ok();
            if let Some(value) = sent
                .as_ref()
                .and_then(|sent| sent["subject_token"].as_str())
            {
                overheard.add(value);
            }
            let answer = servers.send(&host, local(request)).await;
            // There is no such host.
            let answer = answer
                .unwrap_or(Err(twins::Cut::NeverReached))
                .map_err(cut)?;
            let made: Option<Value> = serde_json::from_slice(answer.body()).ok();
            for name in ["ApiKey", "api_key", "encoded", "token", "access_token"] {
                if let Some(value) = made.as_ref().and_then(|made| made[name].as_str()) {
                    overheard.add(value);
                }
            }
            Ok(answer)
        };
        let answer = Box::pin(self.recorder.pass(call, |body| body, perform)).await;
        answer.map_err(|cut| match cut {
            Cut::Unsent => transport::Cut::NotSent("the connection was refused".to_owned()),
            Cut::Uncertain => transport::Cut::NoAnswer("the connection broke".to_owned()),
        })
    }
}

/// The request as the server itself sees it, behind whatever ends TLS for it.
fn local(mut request: Request<Bytes>) -> Request<Bytes> {
    let host = request.uri().host().map(HeaderValue::from_str);
    let headers = request.headers_mut();
    if let Some(Ok(host)) = host {
        headers.insert(HOST, host);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let place = request.uri().path_and_query().cloned();
    *request.uri_mut() = place.map_or_else(Uri::default, Uri::from);
    request
}

fn cut(cut: twins::Cut) -> Cut {
    match cut {
        twins::Cut::NeverReached => Cut::Unsent,
        twins::Cut::PerhapsReached => Cut::Uncertain,
    }
}
