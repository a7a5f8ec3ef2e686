//! Whether the operator lives (`/livez`), whether it works (`/readyz`), and what it has counted
//! (`/metrics`).
//!
//! Nothing here asks the cluster or a server: a probe that did would have the operator restarted
//! for somebody else's outage.

use std::collections::BTreeSet;
use std::fmt;
use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// So long are requests that are under way waited for at the end.
const GRACE: Duration = Duration::from_secs(2);

/// The media type of what [`Metrics::encode`] gives.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Something that must be done before the operator works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// It is known which installation this is.
    Installation,
    /// All connections have been seen.
    Connections,
    /// All accounts have been seen.
    Accounts,
    /// All keys have been seen.
    Keys,
}

impl Gate {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Installation,
        Self::Connections,
        Self::Accounts,
        Self::Keys,
    ];
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installation => "installation: the cluster has not said which one it is",
            Self::Connections => "connections: not all have been seen",
            Self::Accounts => "accounts: not all have been seen",
            Self::Keys => "keys: not all have been seen",
        })
    }
}

/// Which gates are closed. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Gates(Arc<Mutex<BTreeSet<Gate>>>);

impl Gates {
    /// All gates are closed.
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(Gate::ALL.into())))
    }

    /// What stood behind this gate is done.
    pub fn open(&self, gate: Gate) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&gate);
    }

    /// The gates that are closed.
    pub fn still_closed(&self) -> Vec<Gate> {
        let closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        closed.iter().copied().collect()
    }
}

/// Takes the address, and logs the one that it got.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving health and metrics");
    Ok(listener)
}

/// Answers until `stop`, and a little longer where somebody waits for an answer.
pub async fn serve(
    listener: TcpListener,
    gates: Gates,
    metrics: Metrics,
    stop: CancellationToken,
) -> io::Result<()> {
    let ended = stop.clone().cancelled_owned();
    let serving = axum::serve(listener, router(gates, metrics)).with_graceful_shutdown(ended);
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = serving.into_future() => result,
        () = overdue => Ok(()),
    }
}

fn router(gates: Gates, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(&gates)))
        .route("/metrics", get(async move || page(&metrics)))
}

fn readiness(gates: &Gates) -> (StatusCode, String) {
    let closed = gates.still_closed();
    if closed.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let lines = closed.iter().map(|gate| format!("{gate}\n"));
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect())
}

fn page(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{address}{path}"))
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_when_the_last_gate_is_open_and_ends_when_told() {
        let (gates, metrics, stop) = (Gates::closed(), Metrics::new(), CancellationToken::new());
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(
            listener,
            gates.clone(),
            metrics.clone(),
            stop.clone(),
        ));

        assert_eq!(ask(address, "/livez").await, (200, "ok\n".to_owned()));
        let (status, closed) = ask(address, "/readyz").await;
        assert_eq!((status, closed.lines().count()), (503, Gate::ALL.len()));
        for gate in Gate::ALL {
            assert_eq!(ask(address, "/readyz").await.0, 503, "{gate}");
            gates.open(gate);
        }
        assert_eq!(ask(address, "/readyz").await, (200, "ok\n".to_owned()));

        metrics.effect("mint");
        let (status, page) = ask(address, "/metrics").await;
        assert!(
            status == 200 && page.contains("apikey_operator_effects_total"),
            "{page}"
        );

        stop.cancel();
        server.await.unwrap().unwrap();
        assert!(
            reqwest::get(format!("http://{address}/livez"))
                .await
                .is_err()
        );
    }
}
