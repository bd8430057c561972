//! A client of a running server, for the commands that are one: `smoke`, `bench`, `healthcheck`.
//!
//! It speaks plain HTTP and WebSocket from docs/protocol.md and shares no code with the server's own side of either, so
//! that the one is a check of the other.

mod http;
mod socket;
mod stream;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

pub use http::{Answer, Session};
pub use socket::Socket;
pub use stream::{FrameReader, Opcode, Upgraded, WireError, mask_frame};

/// The session cookie's name.
pub const COOKIE: &str = "natter_session";
/// How long a connection, a request or an expected frame may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address that this client speaks to.
    #[error("{0:?} is not an address of a server: expected http://HOST:PORT without a path")]
    Url(String),
    /// This client has no TLS.
    #[error("{0:?}: https is not spoken here; give the server's own http address behind the proxy")]
    Https(String),
    /// No connection.
    #[error("can't connect to {0}: {1}")]
    Connect(String, std::io::Error),
    /// The connection broke.
    #[error("the connection broke while {0}: {1}")]
    Broken(&'static str, String),
    /// Nothing came in time.
    #[error("no answer within {PATIENCE:?} while {0}")]
    Silent(&'static str),
    /// The server answered something else than was asked for.
    #[error("{what}: the server answered {status}: {body}")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The answer's body, shortened.
        body: String,
    },
    /// The server broke the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
}

/// A client's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Where a server is: resolved once, connected to often.
#[derive(Debug, Clone)]
pub struct Target {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// Reads an address such as `http://127.0.0.1:8080` and looks its host up.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Https`], or [`Error::Connect`] if the host is not found.
    pub async fn resolve(url: &str) -> Result<Self> {
        let wrong = || Error::Url(url.to_owned());
        let uri: ::http::Uri = url.parse().map_err(|_| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(Error::Https(url.to_owned())),
            _ => return Err(wrong()),
        }
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(80);
        let name = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let looked_up = tokio::net::lookup_host((name.as_str(), port)).await;
        let addresses: Vec<_> = looked_up
            .map_err(|error| Error::Connect(url.to_owned(), error))?
            .collect();
        if addresses.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            host: authority.as_str().to_owned(),
            addresses,
        })
    }

    /// A server at a known address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            host: address.to_string(),
            addresses: vec![address],
        }
    }

    /// Whether the server is on this machine's loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().is_loopback())
    }

    /// Connects to the first address that answers. With `from`, from that address of this machine: each has ports of
    /// its own, and one address alone has too few for the largest loads.
    ///
    /// # Errors
    /// [`Error::Connect`] with the last reason, [`Error::Silent`].
    pub async fn connect(&self, from: Option<SocketAddr>) -> Result<TcpStream> {
        let mut last = Error::Silent("connecting");
        for address in &self.addresses {
            match tokio::time::timeout(PATIENCE, connect(*address, from)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Error::Connect(address.to_string(), error),
                Err(_) => last = Error::Silent("connecting"),
            }
        }
        Err(last)
    }
}

async fn connect(address: SocketAddr, from: Option<SocketAddr>) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(from) = from.filter(|from| from.is_ipv4() == address.is_ipv4()) {
        socket.bind(from)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A text cut to what fits in an error message.
fn shortened(text: &str) -> String {
    const CHARS: usize = 300;
    let mut short: String = text.trim().chars().take(CHARS).collect();
    if text.trim().chars().nth(CHARS).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_plain_addresses_are_taken() {
        assert!(Target::resolve("http://127.0.0.1:8080").await.unwrap().is_loopback());
        assert!(Target::resolve("http://[::1]:8080/").await.unwrap().is_loopback());
        assert!(matches!(
            Target::resolve("https://127.0.0.1").await,
            Err(Error::Https(_))
        ));
        for wrong in [
            "127.0.0.1:8080",
            "ftp://127.0.0.1",
            "http://127.0.0.1/chat",
            "http://a@127.0.0.1",
            "x",
        ] {
            assert!(matches!(Target::resolve(wrong).await, Err(Error::Url(_))), "{wrong}");
        }
    }
}
