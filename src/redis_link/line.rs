//! One connection: made, used by many at once, given up, made again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture};
use redis::{ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::options::{Host, RedisOptions, Topology};
use super::{Error, Result};
use crate::limits;

/// What Redis says when it does not have a script.
pub(super) const NO_SCRIPT: &str = "NOSCRIPT";

#[derive(Clone)]
enum Wire {
    Server(MultiplexedConnection),
    /// With the time at which it was made.
    Cluster(ClusterConnection, Instant),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(wire) => wire.req_packed_command(cmd),
            Self::Cluster(wire, _) => wire.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(wire) => wire.req_packed_commands(pipeline, offset, count),
            Self::Cluster(wire, _) => wire.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(wire) => wire.get_db(),
            Self::Cluster(wire, _) => wire.get_db(),
        }
    }
}

#[derive(Default)]
struct Slot {
    wire: Option<Wire>,
    /// Counts connections, so that one that broke is given up once and never its successor.
    number: u64,
    failed: Option<(Instant, Error)>,
}

pub(super) struct Line {
    options: Arc<RedisOptions>,
    answer: Duration,
    slot: Mutex<Slot>,
    down: AtomicBool,
}

impl Line {
    pub(super) fn new(options: Arc<RedisOptions>, answer: Duration) -> Self {
        Self {
            options,
            answer,
            slot: Mutex::default(),
            down: AtomicBool::new(false),
        }
    }

    pub(super) const fn options(&self) -> &Arc<RedisOptions> {
        &self.options
    }

    /// Whether the latest attempt to connect failed.
    pub(super) fn down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(super) async fn one(&self, command: &Cmd) -> Result<Value> {
        self.within(command, self.answer).await
    }

    pub(super) async fn within(&self, command: &Cmd, patience: Duration) -> Result<Value> {
        let ask = async |mut wire: Wire| wire.req_packed_command(command).await?.extract_error();
        self.ask(patience, ask).await
    }

    pub(super) async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        let ask = async |mut wire: Wire| pipeline.query_async(&mut wire).await;
        self.ask(self.answer, ask).await
    }

    async fn ask<T, F: Future<Output = std::result::Result<T, RedisError>>>(
        &self,
        patience: Duration,
        ask: impl FnOnce(Wire) -> F,
    ) -> Result<T> {
        let (wire, number) = self.wire().await?;
        let young = matches!(wire, Wire::Cluster(_, made) if made.elapsed() < limits::REDIS_CLUSTER_MENDS);
        let (error, broken) = match timeout(patience, ask(wire)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                let broken = error.is_unrecoverable_error() || error.is_io_error() || not_master(&error);
                (classed(&error), broken)
            }
            Err(_) => (Error::Unavailable("no answer in time".into()), true),
        };
        // A cluster's connection mends itself, but not always; it is given the time.
        let spent = broken && !young;
        if spent {
            self.give_up(number).await;
        }
        Err(error)
    }

    async fn give_up(&self, number: u64) {
        let mut slot = self.slot.lock().await;
        if slot.number == number {
            slot.wire = None;
        }
    }

    async fn wire(&self) -> Result<(Wire, u64)> {
        let asked = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(wire) = &slot.wire {
            return Ok((wire.clone(), slot.number));
        }
        if let Some((at, error)) = &slot.failed
            && (*at >= asked || at.elapsed() < limits::REDIS_PAUSE)
        {
            return Err(error.clone());
        }
        let attempt = timeout(limits::REDIS_CONNECT, connect(&self.options, self.answer)).await;
        let late = || format!("no connection in time{}", advice(self.options.tls(), "timed out"));
        match attempt.unwrap_or_else(|_| Err(Error::Unavailable(late()))) {
            Ok(wire) => {
                if self.down.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis answers again");
                }
                slot.number += 1;
                (slot.wire, slot.failed) = (Some(wire.clone()), None);
                Ok((wire, slot.number))
            }
            Err(error) => {
                if !self.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the connection to Redis is gone");
                }
                slot.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}

async fn connect(options: &RedisOptions, answer: Duration) -> Result<Wire> {
    match options.topology() {
        Topology::Single(host) => Ok(Wire::Server(server(options, host).await?)),
        Topology::Sentinel { sentinels, master } => Ok(Wire::Server(sentinel(options, sentinels, master).await?)),
        Topology::Cluster(hosts) => {
            let infos = hosts.iter().map(|host| options.data_node(host));
            let mut builder = ClusterClientBuilder::new(infos.collect::<Result<Vec<_>>>()?);
            if let Some(certificates) = options.certificates() {
                builder = builder.certs(certificates);
            }
            let client = builder
                .connection_timeout(limits::REDIS_CONNECT)
                .response_timeout(answer)
                .overall_response_timeout(Some(answer))
                .retries(limits::REDIS_CLUSTER_RETRIES)
                .min_retry_wait(limits::REDIS_CLUSTER_WAIT_MS / 10)
                .max_retry_wait(limits::REDIS_CLUSTER_WAIT_MS)
                .retry_wait_formula(limits::REDIS_CLUSTER_WAIT_MS / 10, 3)
                .tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true))
                .build()
                .map_err(|error| classed_connect(&error))?;
            let wire = client.get_async_connection().await;
            Ok(Wire::Cluster(
                wire.map_err(|error| classed_connect(&error))?,
                Instant::now(),
            ))
        }
    }
}

async fn server(options: &RedisOptions, host: &Host) -> Result<MultiplexedConnection> {
    open(options, options.data_node(host)?).await
}

async fn open(options: &RedisOptions, info: redis::ConnectionInfo) -> Result<MultiplexedConnection> {
    let client = match options.certificates() {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    };
    let client = client.map_err(|error| classed_connect(&error))?;
    // How long an answer may take is counted by whoever asks.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits::REDIS_CONNECT))
        .set_response_timeout(None);
    let wire = client.get_multiplexed_async_connection_with_config(&config).await;
    wire.map_err(|error| match classed_connect(&error) {
        Error::Unavailable(why) => Error::Unavailable(format!("{why}{}", advice(options.tls(), &why))),
        other => other,
    })
}

/// What a failed connection most likely means, where encryption has a part in it.
fn advice(tls: bool, error: &str) -> &'static str {
    let said = |parts: &[&str]| parts.iter().any(|part| error.contains(part));
    if !tls {
        // A server that expects TLS answers a plain request with an alert, and closes.
        return if said(&[
            "reset",
            "end of file",
            "Broken pipe",
            "broken pipe",
            "terminated",
            "parse",
        ]) {
            "; if this port wants TLS, write rediss:// in place of redis://"
        } else {
            ""
        };
    }
    if said(&["UnknownIssuer", "BadSignature"]) {
        "; the server's certificate was not issued by an authority of redis-ca"
    } else if said(&["NotValidForName", "not valid for name"]) {
        "; the server's certificate does not hold the name or address in `sessions`"
    } else if said(&["CertificateRequired", "HandshakeFailure", "BadCertificate"]) {
        "; the server wants a certificate of this node that it believes: give redis-cert and redis-key"
    } else if said(&["InvalidContentType", "corrupt message"]) {
        "; this port does not speak TLS: write redis:// in place of rediss://, or name the port that does"
    } else if said(&["timed out"]) {
        // Redis takes a TLS greeting for the beginning of a line, and waits for its end.
        "; if this port does not speak TLS, write redis:// in place of rediss://"
    } else {
        ""
    }
}

/// Asks all sentinels at once, and takes the first answer that names a server which says itself that it is a master.
async fn sentinel(options: &RedisOptions, sentinels: &[Host], master: &str) -> Result<MultiplexedConnection> {
    let mut attempts: FuturesUnordered<_> = sentinels
        .iter()
        .map(|host| async move {
            let mut sentinel = open(options, options.sentinel(host)?).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("get-master-addr-by-name").arg(master);
            let found: Option<(String, u16)> = question
                .query_async(&mut sentinel)
                .await
                .map_err(|error| classed_connect(&error))?;
            let (name, port) = found
                .ok_or_else(|| Error::Unavailable("a sentinel does not know a master of the configured name".into()))?;
            let mut wire = server(options, &Host { name, port }).await?;
            let role: Vec<Value> = redis::cmd("ROLE")
                .query_async(&mut wire)
                .await
                .map_err(|error| classed_connect(&error))?;
            let role = role.into_iter().next().map(String::from_redis_value);
            if matches!(role, Some(Ok(role)) if role == "master") {
                Ok(wire)
            } else {
                Err(Error::Unavailable(
                    "the sentinels name a server that is no master yet".into(),
                ))
            }
        })
        .collect();
    let mut error = Error::Unavailable("no sentinel is configured".into());
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(wire) => return Ok(wire),
            Err(why) => error = why,
        }
    }
    Err(error)
}

/// Whether the server is not, or no longer, the master, or not yet ready.
fn not_master(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    matches!(
        error.kind(),
        ErrorKind::Server(Ask | BusyLoading | ClusterDown | MasterDown | Moved | ReadOnly | TryAgain)
    )
}

/// What an error means for the caller.
pub(super) fn classed(error: &RedisError) -> Error {
    match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound | ErrorKind::MasterNameNotFoundBySentinel => {
            Error::Unavailable(error.to_string())
        }
        ErrorKind::Server(ServerErrorKind::NoScript) => Error::Refused(NO_SCRIPT.into()),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Error::Unexpected(error.to_string()),
        _ if not_master(error) => Error::Unavailable(error.to_string()),
        _ => Error::Refused(error.to_string()),
    }
}

/// As [`classed`], without the server's own words: what it was told while connecting holds the password.
fn classed_connect(error: &RedisError) -> Error {
    let what = || match error.code() {
        Some(code) => code.to_owned(),
        None => error.category().to_owned(),
    };
    match error.kind() {
        ErrorKind::Io => Error::Unavailable(error.to_string()),
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => Error::Refused(what()),
        ErrorKind::Server(_) | ErrorKind::Extension if !not_master(error) => Error::Refused(what()),
        _ => Error::Unavailable(what()),
    }
}
