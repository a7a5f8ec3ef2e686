//! The one door to a deploy server: an HTTP request in, an HTTP answer or a [`Cut`] out.
//!
//! The real one is [`Network`]; in the simulation it is a twin in the same process, so that the wire
//! code itself runs under every crash and fault.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, redirect, retry};

use super::allowed::forbidden;
use super::plain::plain;

/// How long a connection may take to come about, name look-up and handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a request may take as a whole, from connecting to the last byte of the answer.
pub(super) const REQUEST: Duration = Duration::from_secs(30);

/// How long an idle connection is kept. Shorter than what servers and proxies do, so that a request
/// seldom meets a connection that is being closed, and gets lost without an answer.
const IDLE: Duration = Duration::from_secs(15);

/// The greatest length of an answer's body that is read, in bytes.
const LONGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Why there is no answer. The texts hold nothing of the request but its server's name.
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

/// Whose signature on a server's certificate is believed.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// The certificate authorities that the platform trusts.
    Platform,
    /// Those of this PEM text, and no others.
    Only(&'a [u8]),
}

/// Why there is no transport.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTrust {
    /// The PEM text cannot be read as certificates.
    #[error("the CA bundle is not a PEM text of certificates: {0}")]
    Unreadable(String),
    /// The PEM text holds no certificate.
    #[error("the CA bundle holds no certificate")]
    Empty,
    /// TLS cannot be set up with these authorities.
    #[error("TLS cannot be set up: {0}")]
    Unusable(String),
}

/// The network: HTTP/1.1 and HTTP/2, plain or over TLS, without a proxy.
#[derive(Debug, Clone)]
pub struct Network {
    client: Client,
    longest_answer: usize,
}

impl Network {
    /// A door to servers whose certificate is signed as `trust` says.
    pub fn new(trust: Trust<'_>) -> Result<Self, BadTrust> {
        let builder = Client::builder()
            .user_agent(concat!("apikey-operator/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never())
            .no_proxy()
            .dns_resolver(Arc::new(Names))
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .pool_idle_timeout(IDLE)
            .tcp_keepalive(IDLE);
        let builder = match trust {
            Trust::Platform => builder,
            Trust::Only(pem) => builder.tls_certs_only(authorities(pem)?),
        };
        let client = builder
            .build()
            .map_err(|error| BadTrust::Unusable(root_cause(&error)))?;
        Ok(Self {
            client,
            longest_answer: LONGEST_ANSWER,
        })
    }

    async fn whole(&self, mut answer: reqwest::Response) -> Result<http::Response<Bytes>, Cut> {
        let limit = self.longest_answer;
        if answer
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(Cut::TooLong(limit));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| cut(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(Cut::TooLong(limit));
            }
            body.extend_from_slice(&chunk);
        }
        let mut whole = http::Response::new(body.freeze());
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(whole)
    }
}

/// Looks names up, and gives no address that no deploy server has, whatever a name server says.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (allowed, refused): (Vec<SocketAddr>, Vec<_>) =
                found.partition(|address| forbidden(address.ip()).is_none());
            match refused.first().and_then(|address| forbidden(address.ip())) {
                Some(what) if allowed.is_empty() => {
                    Err(format!("{} leads to {what}", name.as_str()).into())
                }
                Some(_) | None => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Cut> {
        let request = reqwest::Request::try_from(request)
            .map_err(|error| Cut::NotSent(root_cause(&error.without_url())))?;
        let answer = self
            .client
            .execute(request)
            .await
            .map_err(|error| cut(&error))?;
        self.whole(answer).await
    }
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, BadTrust> {
    let authorities = Certificate::from_pem_bundle(pem)
        .map_err(|error| BadTrust::Unreadable(root_cause(&error)))?;
    if authorities.is_empty() {
        Err(BadTrust::Empty)
    } else {
        Ok(authorities)
    }
}

/// What became of a request that failed with `error`. Only a connection that never came about is
/// known not to have carried it.
fn cut(error: &reqwest::Error) -> Cut {
    let distrust = causes(error).find_map(|cause| match cause.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(plain(&why.to_string(), &[])),
        _ => None,
    });
    match distrust {
        Some(why) => Cut::Untrusted(why),
        None if error.is_connect() || error.is_builder() => Cut::NotSent(what_happened(error)),
        None => Cut::NoAnswer(what_happened(error)),
    }
}

fn what_happened(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "it took too long".to_owned()
    } else {
        root_cause(error)
    }
}

/// What the innermost error says. The outer ones say where in a library it happened, and some of
/// them name the whole URL.
fn root_cause(error: &reqwest::Error) -> String {
    let innermost = causes(error).skip(1).last();
    plain(
        &innermost.map_or_else(|| "unknown".to_owned(), ToString::to_string),
        &[],
    )
}

/// `error` and what caused it, inwards.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| inner(*error))
}

/// What caused `error`. An I/O error passes over what it wraps, which is what we want to know.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server for one connection, which reads the head of a request and answers with `answer`.
    async fn serve(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let heard = head(&mut stream).await;
            // A client that has heard enough may close before the end.
            let _ = stream.write_all(answer).await;
            heard
        });
        (url, heard)
    }

    async fn head(stream: &mut TcpStream) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            heard.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(heard).unwrap()
    }

    async fn get(url: &str) -> Result<http::Response<Bytes>, Cut> {
        let network = Network {
            longest_answer: 10,
            ..Network::new(Trust::Platform).unwrap()
        };
        let request = http::Request::get(format!("{url}/api?secret=CANARY"))
            .header("X-Octopus-ApiKey", "API-CANARY")
            .body(Bytes::new())
            .unwrap();
        network.send(request).await
    }

    #[tokio::test]
    async fn names_lead_to_servers_alone() {
        let addresses = |name: &'static str| Names.resolve(name.parse().unwrap());
        assert!(addresses("localhost").await.unwrap().next().is_some());
        let refused = addresses("169.254.169.254")
            .await
            .err()
            .unwrap()
            .to_string();
        assert_eq!(refused, "169.254.169.254 leads to a link-local address");
    }

    #[tokio::test]
    async fn an_answer_comes_whole() {
        let (url, heard) =
            serve(b"HTTP/1.1 418 Teapot\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc").await;
        let answer = get(&url).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-a"]),
            (418, &"b".parse().unwrap())
        );
        assert_eq!(answer.body(), "abc");
        let heard = heard.await.unwrap().to_ascii_lowercase();
        assert!(
            heard.starts_with("get /api?secret=canary http/1.1\r\n"),
            "{heard}"
        );
        assert!(heard.contains("user-agent: apikey-operator/"), "{heard}");
        assert!(heard.contains("x-octopus-apikey: api-canary"), "{heard}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_like_any_other() {
        let (url, _) =
            serve(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(get(&url).await.unwrap().status(), 302);
    }

    #[tokio::test]
    async fn long_answers_are_cut_off_whether_announced_or_not() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n12345678901234567890",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345678901",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n",
        ] {
            let (url, _) = serve(answer.as_bytes()).await;
            assert_eq!(get(&url).await.unwrap_err(), Cut::TooLong(10));
        }
    }

    #[tokio::test]
    async fn what_breaks_off_may_have_been_carried_out() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "HTTP/1.1 20",
            "this is not HTTP\r\n\r\n",
        ] {
            let (url, _) = serve(answer.as_bytes()).await;
            let cut = get(&url).await.unwrap_err();
            assert!(matches!(cut, Cut::NoAnswer(_)), "{cut:?}");
            assert!(!cut.to_string().contains("CANARY"), "{cut}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_refused_has_carried_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let cut = get(&url).await.unwrap_err();
        assert!(
            matches!(&cut, Cut::NotSent(why) if why.contains("refused")),
            "{cut:?}"
        );
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_has_heard_nothing_of_the_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let deaf = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        let cut = get(&url).await.unwrap_err();
        assert!(matches!(cut, Cut::NotSent(_)), "{cut:?}");
        deaf.await.unwrap();
    }

    #[test]
    fn a_bundle_must_hold_certificates() {
        let bad = |pem: &str| {
            Network::new(Trust::Only(pem.as_bytes()))
                .map(|_| ())
                .unwrap_err()
        };
        assert_eq!(bad(""), BadTrust::Empty);
        assert_eq!(bad("hello"), BadTrust::Empty);
        let cut_off = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(bad(cut_off), BadTrust::Unreadable(_)));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            bad(nonsense),
            BadTrust::Unreadable(_) | BadTrust::Unusable(_)
        ));
    }
}
