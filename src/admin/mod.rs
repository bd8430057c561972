//! The operators' side: `/metrics`, `/livez` and `/readyz` on their own port, thread and runtime.
//!
//! It answers even while the main runtime is stuck, since telling that is its use. It owns no state of the server: it
//! reads metrics and asks the checks it was given. It is not for the public and has no log-in; bind it accordingly.

mod health;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::sync::Semaphore;

pub use health::{Checks, Failing, Health, Heartbeat, Pulse};

use crate::limits;
use crate::metrics::{self, Metrics};

/// What can go wrong at the start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be taken.
    #[error("the operators' address {address} can't be taken: {source}; another one is set by admin-listen")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gave no thread or runtime.
    #[error("the operators' thread can't be started: {0}")]
    Start(io::Error),
}

/// The operators' side, running. It ends when it is dropped, or with [`Operators::stop`].
#[derive(Debug)]
pub struct Operators {
    address: SocketAddr,
    ended: Option<tokio::sync::oneshot::Sender<Infallible>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Operators {
    /// Takes the address and starts the thread.
    ///
    /// # Errors
    /// [`Error`] if the address is taken or the system gives no thread.
    pub fn start(address: SocketAddr, metrics: Arc<Metrics>, health: Health) -> Result<Self, Error> {
        let bind = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Start)?;
        let (ended, end) = tokio::sync::oneshot::channel();
        let work = move || {
            runtime.block_on(async move {
                tokio::select! {
                    result = serve(listener, metrics, health) => {
                        if let Err(error) = result {
                            tracing::error!(%error, "the operators' side has ended");
                        }
                    }
                    _ = end => {}
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("operators".to_owned())
            .spawn(work)
            .map_err(Error::Start)?;
        Ok(Self {
            address,
            ended: Some(ended),
            thread: Some(thread),
        })
    }

    /// The address that was taken.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and waits for its thread: the last step of a stop.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.end();
    }
}

struct Side {
    metrics: Arc<Metrics>,
    health: Health,
}

async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Health) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let side = Arc::new(Side { metrics, health });
    let watched = Arc::clone(&side);
    tokio::spawn(async move { watched.health.watch().await });
    let places = Arc::new(Semaphore::new(limits::OPERATOR_CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the operators' side can't accept");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let side = Arc::clone(&side);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let side = Arc::clone(&side);
                async move { Ok::<_, Infallible>(side.answer(&request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits::HEAD_TIMEOUT)
                .max_buf_size(limits::HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an operator's connection has ended");
            }
            drop(place);
        });
    }
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failing: Vec<Failing>,
}

impl Side {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
        }
        match request.uri().path() {
            "/livez" => report(self.health.not_alive()),
            "/readyz" => report(self.health.not_ready().await),
            "/metrics" => match self.metrics.text() {
                Ok(text) => respond(StatusCode::OK, metrics::TEXT_TYPE, text),
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
            },
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n"),
        }
    }
}

fn report(failing: Vec<Failing>) -> Response<Full<Bytes>> {
    let (status, word) = if failing.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let report = Report { status: word, failing };
    let body = serde_json::to_string(&report).unwrap_or_else(|error| format!("{{\"status\":\"{error}\"}}"));
    respond(status, "application/json", body + "\n")
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::{Phase, Token};
    use std::io::{Read, Write};

    /// Asks over a plain blocking socket, so that no runtime of the test takes part.
    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn start(heartbeat: Heartbeat, checks: Checks, token: Token) -> Operators {
        let health = Health::new(heartbeat, checks, token);
        Operators::start("127.0.0.1:0".parse().unwrap(), Arc::new(Metrics::new()), health).unwrap()
    }

    #[test]
    fn the_three_pages_answer_without_a_main_runtime() {
        let token = Token::new();
        let operators = start(Heartbeat::default(), Checks::new(), token.clone());
        let at = operators.address();
        let metrics = get(at, "/metrics");
        assert!(
            metrics.starts_with("HTTP/1.1 200") && metrics.contains("\nnatter_connections 0\n"),
            "{metrics}"
        );
        assert!(get(at, "/livez").ends_with("{\"status\":\"ok\"}\n"));
        assert!(get(at, "/readyz").starts_with("HTTP/1.1 200"));
        assert!(get(at, "/").starts_with("HTTP/1.1 404"));
        token.advance(Phase::Draining);
        let answer = get(at, "/readyz");
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("\"check\":\"stop\""),
            "{answer}"
        );
        assert!(get(at, "/livez").starts_with("HTTP/1.1 200"));
        operators.stop();
        assert!(std::net::TcpStream::connect(at).is_err());
    }

    #[test]
    fn a_failing_check_is_named() {
        let checks = Checks::new().with("store", || async { Err("the disk is full") });
        let operators = start(Heartbeat::default(), checks, Token::new());
        let answer = get(operators.address(), "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("{\"check\":\"store\",\"why\":\"the disk is full\"}"),
            "{answer}"
        );
    }

    #[test]
    fn a_blocked_main_runtime_is_told_and_found_again() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let heartbeat = Heartbeat::default();
        let operators = start(heartbeat.clone(), Checks::new(), Token::new());
        let at = operators.address();
        runtime.spawn(heartbeat.run());
        // The runtime's only thread is this one, and it is blocked here until the answer has changed.
        while !get(at, "/livez").contains("\"check\":\"runtime\"") {
            std::thread::sleep(limits::HEARTBEAT_INTERVAL);
        }
        while !get(at, "/livez").contains("\"status\":\"ok\"") {
            runtime.block_on(async { tokio::time::sleep(limits::HEARTBEAT_INTERVAL).await });
        }
    }

    #[test]
    fn a_taken_address_is_named() {
        let first = start(Heartbeat::default(), Checks::new(), Token::new());
        let health = Health::new(Heartbeat::default(), Checks::new(), Token::new());
        let error = Operators::start(first.address(), Arc::new(Metrics::new()), health).unwrap_err();
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }
}
