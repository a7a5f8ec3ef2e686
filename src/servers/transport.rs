//! The one door to a deploy server: an HTTP request in, an HTTP answer or a [`Cut`] out.
//!
//! The real one is `reqwest`; in the simulation it is a twin in the same process, so that the wire
//! code itself runs under every crash and fault.

use async_trait::async_trait;
use bytes::Bytes;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// No connection was made: the request cannot have reached the server.
    #[error("{0}")]
    NotSent(String),
    /// The connection was refused by us, because the server's certificate is not trusted.
    #[error("{0}")]
    Untrusted(String),
    /// The request may have reached the server.
    #[error("{0}")]
    NoAnswer(String),
    /// The answer is longer than the bound on answers; the request has reached the server.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Sends one request to one deploy server.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends `request` (with an absolute URI) and returns the whole answer. Follows no redirect,
    /// sends nothing twice, and bounds the time and the length of the answer.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Cut>;
}
