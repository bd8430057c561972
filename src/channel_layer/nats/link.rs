//! One client connection to NATS: publishes without ever waiting long, proves by a round trip that the server has
//! what was sent, and notices every interruption.
//!
//! The client hides interruptions: while it is disconnected it stores what is published until its queue is full and
//! then makes publishers wait, and `publish` and `flush` that return say nothing about the server. So the connection's
//! state is asked before each call, the number of connects tells of every hole, and only the answer to a request counts
//! as proof.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::super::arrivals::Arrivals;
use super::super::{Error, Result};
use super::counters::Counters;
use super::options::{Login, NatsError, NatsOptions};
use crate::limits;

/// What the client's events lead to.
pub(super) struct Signals {
    arrivals: Arc<Arrivals>,
    counters: Arc<Counters>,
    /// Something about the connection may have changed.
    changed: Notify,
    /// What the server refused last, for messages.
    refused: Mutex<Option<String>>,
}

impl Signals {
    pub(super) fn new(arrivals: Arc<Arrivals>, counters: Arc<Counters>) -> Self {
        Self {
            arrivals,
            counters,
            changed: Notify::new(),
            refused: Mutex::new(None),
        }
    }

    fn take(&self, event: Event) {
        match event {
            Event::SlowConsumer(_) => {
                // Events of this kind get lost themselves, so their number says only that there was a loss.
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                self.arrivals.interrupted();
            }
            Event::ServerError(error) => {
                tracing::error!(%error, "NATS refused something");
                *self.refused.lock() = Some(error.to_string());
            }
            _ => self.changed.notify_one(),
        }
    }
}

/// The subjects by which the links of one node answer each other.
pub(super) struct Ends {
    pub(super) answers_at: String,
    pub(super) asks_at: String,
}

pub(super) struct Link {
    client: Client,
    ends: Ends,
    signals: Arc<Signals>,
    /// The server has stopped answering, or takes nothing more, though the connection stands.
    stuck: AtomicBool,
}

impl Link {
    /// Connects; tries again, for as long as the options say, where that can help.
    pub(super) async fn open(options: &NatsOptions, ends: Ends, signals: Signals) -> OpenResult {
        let signals = Arc::new(signals);
        let begun = Instant::now();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match connect_once(options, &signals).await? {
                Ok(client) => {
                    return Ok(Self {
                        client,
                        ends,
                        signals,
                        stuck: AtomicBool::new(false),
                    });
                }
                Err(error) => error,
            };
            let reason = match error.source() {
                Some(source) => format!("{}: {source}", error.kind()),
                None => error.kind().to_string(),
            };
            let servers = options.place();
            if matches!(
                error.kind(),
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
            ) {
                let login = options.login.kind();
                return Err(NatsError::Refused { servers, login, reason });
            }
            let delay = reconnect_delay(attempt);
            if begun.elapsed() + delay >= options.connect_wait {
                let waited = options.connect_wait;
                return Err(NatsError::Unreachable {
                    servers,
                    waited,
                    reason,
                });
            }
            tracing::warn!(%servers, reason, "NATS can't be reached yet");
            sleep(delay).await;
        }
    }

    /// What the server said of itself when it was reached.
    pub(super) fn server_version(&self) -> Option<String> {
        self.client.try_server_info().map(|info| info.version)
    }

    /// The most bytes that the server takes in one payload.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    fn check(&self) -> Result<()> {
        if self.client.connection_state() == State::Connected {
            return Ok(());
        }
        Err(Error::Unavailable("the connection to NATS is down".into()))
    }

    /// Lets the call go ahead if there is room for it within a moment: a long one if it is worth that, none if the
    /// server has been seen not to take anything.
    async fn soon<T>(&self, patient: bool, call: impl Future<Output = T>) -> Result<T> {
        let full = || Error::Unavailable("NATS does not take what is sent to it".into());
        if !patient || self.stuck.load(Ordering::Relaxed) {
            // Otherwise a task that has done much in this turn would be told to wait, though there is room.
            let once = tokio::task::unconstrained(call).now_or_never();
            return once.ok_or_else(full);
        }
        let Ok(done) = timeout(limits::LAYER_PUBLISH_WAIT, call).await else {
            self.stuck.store(true, Ordering::Relaxed);
            self.signals.changed.notify_one();
            return Err(full());
        };
        Ok(done)
    }

    /// Hands the payload to the connection. With `patient`, waits a moment for its place.
    pub(super) async fn publish(&self, subject: String, payload: Bytes, patient: bool) -> Result<()> {
        self.check()?;
        let (bytes, most) = (payload.len(), self.client.max_payload());
        if bytes > most {
            return Err(Error::TooLong { bytes, most });
        }
        let published = self.soon(patient, self.client.publish(subject, payload)).await?;
        published.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Subscribes. The server has it once a `round_trip` that began later has returned.
    pub(super) async fn subscribe(&self, subject: String) -> Result<Subscriber> {
        self.check()?;
        let subscribed = self.soon(true, self.client.subscribe(subject)).await?;
        subscribed.map_err(|error| Error::Unavailable(error.to_string()))
    }

    /// Answers the requests of another link of this node, for as long as the connection lives.
    pub(super) async fn answer(self: Arc<Self>) -> Result<impl Future<Output = ()> + Send + 'static> {
        let mut requests = self.subscribe(self.ends.answers_at.clone()).await?;
        Ok(async move {
            while let Some(request) = requests.next().await {
                if let Some(reply) = request.reply {
                    // Without an answer the one who asks waits until it gives up, and asks again.
                    let _ = self.publish(reply.into_string(), Bytes::new(), true).await;
                }
            }
        })
    }

    /// Returns once the server has everything that was sent before: another link has answered a request, or the server
    /// has said that nobody is there to answer. A subject that is never answered would do as well, until somebody
    /// subscribes to everything in order to look.
    pub(super) async fn round_trip(&self) -> Result<()> {
        self.check()?;
        let request = self.client.request(self.ends.asks_at.clone(), Bytes::new());
        match timeout(limits::LAYER_ANSWER_WAIT, request).await {
            Ok(Err(error)) if error.kind() != RequestErrorKind::NoResponders => {
                Err(Error::Unavailable(error.to_string()))
            }
            Ok(_) => {
                self.stuck.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(_) => {
                self.stuck.store(true, Ordering::Relaxed);
                Err(Error::Unavailable("NATS does not answer".into()))
            }
        }
    }

    /// Fails at once where a round trip would take its full time to fail.
    pub(super) fn answers(&self) -> Result<()> {
        self.check()?;
        if self.stuck.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("NATS does not answer".into()));
        }
        Ok(())
    }

    /// What the server refused last, as an addition to a message.
    pub(super) fn refused(&self) -> String {
        let refused = self.signals.refused.lock().clone();
        refused.map(|words| format!(" ({words})")).unwrap_or_default()
    }

    /// Reports each interruption when it begins, and again when everything that was joined is joined again.
    pub(super) async fn watch(self: Arc<Self>) {
        let connects = || self.client.statistics().connects.load(Ordering::Relaxed);
        let mut seen = 1;
        let mut down = false;
        loop {
            let _ = timeout(limits::LAYER_WATCH_INTERVAL, self.signals.changed.notified()).await;
            let (now, connected) = (connects(), self.check().is_ok());
            if !down && (!connected || now != seen) {
                down = true;
                self.signals.counters.interruptions.fetch_add(1, Ordering::Relaxed);
                self.signals.arrivals.interrupted();
                tracing::warn!("the connection to NATS was interrupted");
            }
            if down && connected && self.round_trip().await.is_ok() && connects() == now {
                (seen, down) = (now, false);
                self.signals.arrivals.interrupted();
                tracing::info!("NATS is back");
            }
            if self.stuck.load(Ordering::Relaxed) {
                // It turns the mark off when it succeeds.
                let _ = self.round_trip().await;
            }
        }
    }

    /// Lets what was published reach the server.
    pub(super) async fn finish(&self) {
        if let Err(error) = self.round_trip().await {
            tracing::warn!(%error, "what was published last may not have reached NATS");
        }
    }

    /// Ends the connection.
    pub(super) async fn disconnect(&self) {
        if self.check().is_ok() {
            let _ = timeout(limits::LAYER_ANSWER_WAIT, self.client.drain()).await;
        }
    }
}

type OpenResult = std::result::Result<Link, NatsError>;

/// How long to wait before this attempt: longer each time, and never the same for all nodes that lost a server at once.
fn reconnect_delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let delay = limits::LAYER_RECONNECT_DELAY
        .saturating_mul(1 << doublings)
        .min(limits::LAYER_RECONNECT_DELAY_MAX);
    delay.mul_f64(rand::rng().random_range(0.5..1.5))
}

type Attempt = std::result::Result<Client, async_nats::ConnectError>;

async fn connect_once(options: &NatsOptions, signals: &Arc<Signals>) -> std::result::Result<Attempt, NatsError> {
    let scheme = if options.needs_tls() { "tls" } else { "nats" };
    let parse = |server: &String| {
        let address = format!("{scheme}://{server}").parse::<ServerAddr>();
        address.map_err(|error| NatsError::Server {
            server: server.clone(),
            reason: error.to_string(),
        })
    };
    let servers = options
        .servers
        .iter()
        .map(parse)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let signals = Arc::clone(signals);
    let first = AtomicBool::new(true);
    let mut client = log_in(ConnectOptions::new(), &options.login)
        .await?
        .name(&options.name)
        .no_echo()
        .ping_interval(limits::LAYER_PING_INTERVAL)
        .connection_timeout(limits::LAYER_ANSWER_WAIT)
        .request_timeout(Some(limits::LAYER_ANSWER_WAIT))
        .client_capacity(limits::LAYER_COMMANDS_MAX)
        .subscription_capacity(options.subscription_capacity)
        .skip_subject_validation(true)
        .reconnect_delay_callback(move |attempt| {
            // The very first attempt has nothing to wait for; nodes that lose a server all do so at once.
            if first.swap(false, Ordering::Relaxed) {
                Duration::ZERO
            } else {
                reconnect_delay(attempt)
            }
        })
        .event_callback(move |event| {
            signals.take(event);
            std::future::ready(())
        })
        .require_tls(options.needs_tls());
    if let Some(ca) = &options.ca {
        client = client.add_root_certificates(ca.clone());
    }
    if let Some(own) = &options.client_certificate {
        client = client.add_client_certificate(own.certificate.clone(), own.key.clone());
    }
    Ok(client.connect(servers).await)
}

async fn log_in(client: ConnectOptions, login: &Login) -> std::result::Result<ConnectOptions, NatsError> {
    Ok(match login {
        Login::Open => client,
        Login::User { user, password } => client.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => client.token(token.clone()),
        Login::Nkey(seed) => client.nkey(seed.clone()),
        Login::Credentials(path) => {
            let read = client.credentials_file(path).await;
            read.map_err(|error| NatsError::File {
                what: "credentials file",
                path: path.clone(),
                reason: error.to_string(),
            })?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_differ() {
        let delays: Vec<_> = (1..100).map(reconnect_delay).collect();
        assert!(delays[0] < limits::LAYER_RECONNECT_DELAY.mul_f64(1.5));
        assert!(
            delays
                .iter()
                .all(|delay| *delay <= limits::LAYER_RECONNECT_DELAY_MAX.mul_f64(1.5))
        );
        let late: std::collections::HashSet<_> = delays[50..].iter().collect();
        assert!(late.len() > 10, "only {} different ones", late.len());
    }
}
