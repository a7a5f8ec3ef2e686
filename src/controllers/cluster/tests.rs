use std::convert::Infallible;
use std::future::pending;

use futures::future::join_all;
use http::{Request, Response};
use kube::client::Body;
use tokio::time::Instant;

use super::*;

/// An API server that never answers.
fn silence() -> Client {
    let service =
        tower::service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_turn_gives_up_in_time() {
    let cluster = Cluster::new(silence());
    let began = Instant::now();
    let calls = (0..=CALLS).map(|_| cluster.secret("team-a", "deploys"));
    for answer in join_all(calls).await {
        assert!(matches!(answer, Err(Lapse::NoAnswer(_))), "{answer:?}");
    }
    assert_eq!(began.elapsed(), PATIENCE);
}
