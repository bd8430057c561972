//! The accept loop: takes TCP connections and hands their requests to the router.
//!
//! Our own rather than `axum::serve`, which has no time limit on a request's head, no cap on connections, no
//! `TCP_NODELAY`, sleeps for a second when files run out, and keeps no count. It knows nothing of WebSockets: an
//! upgraded connection leaves here, with its [`Place`] in the request's extensions so that it still counts.

mod client;
mod measure;
mod share;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

pub use client::client_address;
pub use measure::measured;
pub use share::announcement;

use crate::limits;
use crate::metrics::Metrics;
use crate::shutdown::{Phase, Tasks, Token};

/// What can go wrong at the start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be taken.
    #[error("the address {address} can't be taken: {source}; another one is set by listen (port 0 picks a free one)")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

/// A connection's place among those that the process may have. It counts until its last clone is dropped, so whoever
/// takes over an upgraded socket keeps a clone for as long as the socket is open.
#[derive(Debug, Clone)]
pub struct Place {
    _inner: Arc<PlaceInner>,
}

#[derive(Debug)]
struct PlaceInner {
    places: Arc<Places>,
}

/// The places that are free, and how many are taken.
#[derive(Debug)]
struct Places {
    free: Semaphore,
    open: IntGauge,
}

impl Drop for PlaceInner {
    fn drop(&mut self) {
        self.places.open.dec();
        self.places.free.add_permits(1);
    }
}

/// A taken address at which connections wait.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Takes an address. Port 0 picks a free one.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address is in use or not this machine's.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let take = || {
            let socket = if address.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            }?;
            // A restarted server takes its address back although connections of the last one linger in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(limits::BACKLOG)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        take().map_err(|source| Error::Bind { address, source })
    }

    /// The address that was taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token reaches [`Phase::Closing`]; then the address is free again. Each connection is a task of
    /// `tasks`: on closing, it finishes the request under way and ends. Requests carry `ConnectInfo<SocketAddr>` (the
    /// peer) and [`Place`] in their extensions.
    pub async fn serve(self, router: Router, metrics: Arc<Metrics>, token: Token, tasks: Tasks) {
        let places = Arc::new(Places {
            free: Semaphore::new(connections_max()),
            open: metrics.sockets_open.clone(),
        });
        let accept = async {
            loop {
                let Ok(permit) = places.free.acquire().await else {
                    return;
                };
                let (stream, peer) = self.next(&metrics).await;
                metrics.sockets_accepted.inc();
                // Given back when the place is dropped.
                permit.forget();
                places.open.inc();
                let inner = PlaceInner {
                    places: Arc::clone(&places),
                };
                let place = Place {
                    _inner: Arc::new(inner),
                };
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                tasks.spawn(connection(stream, peer, place, router.clone(), token.clone()));
            }
        };
        tokio::select! {
            () = accept => {}
            () = token.reached(Phase::Closing) => {}
        }
    }

    async fn next(&self, metrics: &Metrics) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Mostly too many open files: some connection has to end first, and asking at once would spin.
                    metrics.accept_errors.inc();
                    tracing::warn!(%error, "can't accept connections for now");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether an error of accept concerns only the connection that was about to be accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn connection(stream: TcpStream, peer: SocketAddr, place: Place, router: Router, token: Token) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(place.clone());
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(axum::body::Body::new)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIMEOUT)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = token.reached(Phase::Closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection has ended");
    }
}

/// How many connections the process takes: its limit, or what the system's limit of open files leaves.
fn connections_max() -> usize {
    let files = rlimit::Resource::NOFILE.get().map_or(u64::MAX, |(soft, _)| soft);
    let left = usize::try_from(files)
        .unwrap_or(usize::MAX)
        .saturating_sub(limits::FILES_RESERVED);
    left.clamp(1, limits::CONNECTIONS_MAX)
}

/// Raises the limit of open files as far as the system lets this process; answers the limit in force.
///
/// # Errors
/// If the system refuses to tell or to raise it.
pub fn raise_file_limit() -> io::Result<u64> {
    let (soft, hard) = rlimit::Resource::NOFILE.get()?;
    if soft < hard {
        rlimit::Resource::NOFILE.set(hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests;
