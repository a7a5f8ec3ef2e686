//! The door on 127.0.0.1: the same twin over real sockets.
//!
//! A cut drops the connection without an answer. A total outage closes the port and every
//! connection; the port stays ours meanwhile, so that it is the same when the server is back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Probe};
use std::pin::pin;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::tls::Tls;
use super::world::Outcome;
use super::{Door, Twin};

/// A twin that listens. It stops when this is dropped.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    scheme: &'static str,
    task: JoinHandle<()>,
}

impl Listening {
    pub(super) fn new(address: SocketAddr, scheme: &'static str, task: JoinHandle<()>) -> Self {
        Self {
            address,
            scheme,
            task,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end and without a virtual directory.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on a port of 127.0.0.1; port 0 takes a free one.
///
/// # Errors
/// When the port is taken.
pub fn serve<T: Twin>(door: &Door<T>, port: u16, tls: Option<&Tls>) -> anyhow::Result<Listening> {
    let place = Place::take(port)?;
    let listener = place.listen()?;
    let address = place.address;
    let acceptor = tls.map(|tls| TlsAcceptor::from(tls.config()));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let task = tokio::spawn(run(door.clone(), place, listener, acceptor));
    Ok(Listening {
        address,
        scheme,
        task,
    })
}

/// A port that is ours, whether or not we listen on it.
struct Place {
    address: SocketAddr,
    /// Bound, never listening: keeps others from taking the port during an outage.
    _kept: TcpSocket,
}

impl Place {
    fn take(port: u16) -> anyhow::Result<Self> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Two of us could share a port that is bound for reuse; a plain bind tells.
        drop(Probe::bind(wanted).map_err(|cause| not_free(port, &cause))?);
        let kept = reusable(wanted)?;
        Ok(Self {
            address: kept.local_addr()?,
            _kept: kept,
        })
    }

    fn listen(&self) -> io::Result<TcpListener> {
        reusable(self.address)?.listen(1024)
    }
}

/// One sentence for a port that cannot be had.
pub(super) fn not_free(port: u16, cause: &io::Error) -> anyhow::Error {
    if cause.kind() == io::ErrorKind::AddrInUse {
        anyhow::anyhow!(
            "port {port} is taken by another program: choose another, or 0 for a free one"
        )
    } else {
        anyhow::anyhow!("cannot listen on port {port} of 127.0.0.1: {cause}")
    }
}

fn reusable(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Not `SO_REUSEADDR`: with it others could bind a port on which nobody listens just now.
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn run<T: Twin>(
    door: Door<T>,
    place: Place,
    first: TcpListener,
    acceptor: Option<TlsAcceptor>,
) {
    let mut listener = Some(first);
    loop {
        if let Some(listener) = listener.take().or_else(|| place.listen().ok()) {
            accept(&door, listener, acceptor.as_ref()).await;
        }
        let mut dark = door.darkness();
        if dark.wait_for(|dark| !dark).await.is_err() {
            return;
        }
    }
}

/// Takes connections until a total outage begins, which closes them all before the port.
async fn accept<T: Twin>(door: &Door<T>, listener: TcpListener, acceptor: Option<&TlsAcceptor>) {
    let mut connections = JoinSet::new();
    let mut darkness = door.darkness();
    let mut outage = pin!(darkness.wait_for(|dark| *dark));
    loop {
        tokio::select! {
            _ = &mut outage => break,
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(greet(door.clone(), stream, acceptor.cloned()));
            }
        }
    }
    connections.shutdown().await;
}

async fn greet<T: Twin>(door: Door<T>, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => talk(door, stream, "http").await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                talk(door, stream, "https").await;
            }
        }
    }
}

async fn talk<T: Twin, S>(door: Door<T>, stream: S, scheme: &'static str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| answer(&door, request, scheme));
    // A caller that goes away, and a cut of ours, both end a connection; neither is a failure.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer<T: Twin>(
    door: &Door<T>,
    request: Request<Incoming>,
    scheme: &'static str,
) -> anyhow::Result<Response<Full<Bytes>>> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    // As a proxy would say it; twins build absolute URLs from it.
    parts
        .headers
        .insert("x-forwarded-proto", HeaderValue::from_static(scheme));
    match door.receive(Request::from_parts(parts, body)) {
        Outcome::Answer { response, after } => {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            Ok(response.map(Full::new))
        }
        Outcome::Cut(cut) => Err(cut.into()),
    }
}
