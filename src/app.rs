//! The composition root of the server: the only place that names the implementations of the seams, starts the tasks
//! and stops them in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::admin::{Checks, Health, Heartbeat, Operators};
use crate::config::Config;
use crate::conn::{self, Gate};
use crate::control_log::ControlLog;
use crate::control_log::lease::DeliveryLease;
use crate::control_log::local::LocalControlLog;
use crate::fanout::Registry;
use crate::http::{self, Gauges, Http, Settings, Stats};
use crate::listen::{self, Listener};
use crate::metrics::{Metrics, raise};
use crate::model::{BootId, SystemTime, WallClock};
use crate::presence::Presence;
use crate::presence::local::LocalPresence;
use crate::rooms::counters::ACK_BUCKETS_MS;
use crate::rooms::directory::{Directory, Seams};
use crate::rooms::hub::{Hub, LiveHub};
use crate::sessions::UserSessions;
use crate::sessions::password::Passwords;
use crate::sessions::sqlite::SqliteSessions;
use crate::shutdown::{self, Phase, Sequence, Tasks, Token};
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::throttle::Throttle;
use crate::throttle::local::LocalThrottles;
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;

/// How often expired sessions are removed.
const SESSION_SWEEP: Duration = Duration::from_secs(10 * 60);
/// Connections told goodbye in one go while the server stops.
const GOODBYES_AT_ONCE: usize = 200;
/// How many connections may return in one second after a stop: their delays are spread so.
const RETURNS_PER_SECOND: f64 = 500.0;

/// What lives while the server serves.
struct Parts {
    store: Arc<SqliteStore>,
    sessions: SqliteSessions,
    gate: Arc<Gate>,
    http: Arc<Http>,
    log: LocalControlLog,
    metrics: Arc<Metrics>,
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// What keeps the server from starting: an address that is taken, a database that can't be opened.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    if let Err(error) = listen::raise_file_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let listener = Listener::bind(config.listen)?;
    let token = Token::new();
    let parts = compose(config)?;
    let heartbeat = Heartbeat::default();
    let operators = Operators::start(
        config.admin_listen,
        Arc::clone(&parts.metrics),
        Health::new(heartbeat.clone(), checks(&parts), token.clone()),
    )?;
    let background = Tasks::new("background");
    let connections = Tasks::new("connections");
    let node = BootId::random();
    let position = parts.log.attach(node).await.context("the control log can't be read")?;
    background.spawn(heartbeat.run());
    background.spawn(conn::enforce(
        Arc::clone(&parts.gate),
        Arc::new(parts.log.clone()),
        DeliveryLease::unlimited(),
        node,
        position,
    ));
    background.spawn(conn::sweep(Arc::clone(&parts.gate)));
    background.spawn(sweep_sessions(parts.sessions.clone()));
    let stats = Arc::clone(&parts.http.stats);
    background.spawn(async move { stats.run().await });
    let sockets = http::sockets(Arc::clone(&parts.http), Arc::clone(&parts.gate));
    let router = http::router(Arc::clone(&parts.http), parts.sessions.clone(), sockets);
    let router = listen::measured(router, Arc::clone(&parts.metrics));
    let public_url = config.public_url.as_ref().map(crate::config::PublicUrl::origin);
    for line in listen::announcement(listener.address(), operators.address(), public_url) {
        println!("{line}");
    }
    let metrics = Arc::clone(&parts.metrics);
    let serving = tokio::spawn(listener.serve(router, metrics, token.clone(), connections.clone()));

    let asked = shutdown::signal().await.context("signals can't be waited for")?;
    tracing::info!(signal = asked, "stopping");
    stop(config, &parts, &token, &connections).await;
    let _ = serving.await;
    operators.stop();
    Ok(())
}

/// Opens what holds state and wires it up.
fn compose(config: &Config) -> anyhow::Result<Parts> {
    let clock: Arc<dyn WallClock> = Arc::new(SystemTime);
    ensure!(
        config.channel_layer == crate::config::ChannelLayerAt::Local,
        "this build has no channel layer but local"
    );
    let alone = "this build keeps everything on this machine: leave store and sessions at their defaults";
    let store = SqliteStore::open(&config.store_path().context(alone)?, Arc::clone(&clock))?;
    let sessions = SqliteSessions::open(&config.sessions_path().context(alone)?, Arc::clone(&clock))?;
    let user_sessions: Arc<dyn UserSessions> = Arc::new(sessions.clone());
    let log = LocalControlLog::new();
    let presence: Arc<dyn Presence> = LocalPresence::new().node();
    let registry = Arc::new(Registry::new());
    let dyn_store: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let hub = Hub::new(
        Arc::clone(&dyn_store),
        Arc::clone(&presence),
        Arc::clone(&registry),
        Arc::clone(&clock),
    );
    let directory = Arc::new(Directory::new(Seams {
        store: Arc::clone(&dyn_store),
        control_log: Arc::new(log.clone()),
        sessions: Arc::clone(&user_sessions),
        presence: Arc::clone(&presence),
        live: Arc::new(LiveHub(Arc::clone(&hub))),
        clock: Arc::clone(&clock),
    }));
    let gate = Arc::new(Gate::new(
        Arc::clone(&directory),
        Arc::clone(&hub),
        Arc::clone(&user_sessions),
        Arc::clone(&clock),
        config.limits,
    ));
    let throttles: Arc<dyn Throttle> = if config.limits {
        Arc::new(LocalThrottles::new())
    } else {
        Arc::new(crate::throttle::Off)
    };
    let gauges = Arc::new(LiveGauges {
        hub: Arc::clone(&hub),
        registry,
    });
    let http = Arc::new(Http {
        directory,
        store: dyn_store,
        sessions: user_sessions,
        presence,
        clock: Arc::clone(&clock),
        passwords: Passwords::new()?,
        throttles,
        stats: Arc::new(Stats::new(gauges, clock)),
        admission: http::Admission::default(),
        settings: Settings::from(config),
    });
    let metrics = Arc::new(Metrics::new());
    feed(&metrics, &hub, &store);
    Ok(Parts {
        store,
        sessions,
        gate,
        http,
        log,
        metrics,
    })
}

/// The live figures of the admin area.
struct LiveGauges {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
}

impl Gauges for LiveGauges {
    fn connections(&self) -> u64 {
        self.registry.len() as u64
    }

    fn people(&self) -> u64 {
        self.registry.people() as u64
    }

    fn messages(&self) -> u64 {
        self.hub.counters().messages.get()
    }
}

/// Lets the metrics read what the hot paths count by themselves.
fn feed(metrics: &Metrics, hub: &Arc<Hub>, store: &Arc<SqliteStore>) {
    let (hub, store) = (Arc::clone(hub), Arc::clone(store));
    metrics.before_each_text(move |m| {
        let counters = hub.counters();
        m.connections
            .set(i64::try_from(hub.registry().len()).unwrap_or(i64::MAX));
        m.rooms_active
            .set(i64::try_from(hub.active_rooms()).unwrap_or(i64::MAX));
        raise(&m.connections_opened, counters.connections_opened.get());
        raise(&m.messages_appended, counters.messages.get());
        raise(&m.messages_repeated, counters.repeated.get());
        raise(&m.encodings, counters.encodings.get());
        raise(&m.deliveries, counters.deliveries.get());
        raise(&m.fell_behind, counters.fell_behind.get());
        raise(m.catch_ups.of("store"), counters.store_catch_ups.get());
        let buckets: Vec<(f64, u64)> = ACK_BUCKETS_MS
            .iter()
            .zip(&counters.ack_buckets)
            .map(|(&bound, count)| (Duration::from_millis(bound).as_secs_f64(), count.get()))
            .collect();
        let beyond = counters.ack_buckets[ACK_BUCKETS_MS.len()].get();
        m.send_to_ack.set(
            buckets,
            beyond,
            Duration::from_micros(counters.ack_micros.get()).as_secs_f64(),
        );
        let reads = store.counters();
        raise(
            m.store_reads.of("message_range"),
            reads.range_reads.load(Ordering::Relaxed),
        );
        raise(m.store_reads.of("other"), reads.other_reads.load(Ordering::Relaxed));
        raise(&m.store_writes, reads.writes.load(Ordering::Relaxed));
        raise(&m.store_commits, reads.commits.load(Ordering::Relaxed));
        raise(&m.store_commits_failed, reads.failed_commits.load(Ordering::Relaxed));
        raise(&m.store_checkpoints, reads.checkpoints.load(Ordering::Relaxed));
    });
}

/// What this node needs to serve.
fn checks(parts: &Parts) -> Checks {
    let store = Arc::clone(&parts.store);
    let sessions = parts.sessions.clone();
    Checks::new()
        .with("store", move || {
            let store = Arc::clone(&store);
            async move { store.ping().await }
        })
        .with("sessions", move || {
            let sessions = sessions.clone();
            async move { sessions.ping().await }
        })
}

async fn sweep_sessions(sessions: SqliteSessions) {
    let mut every = tokio::time::interval(SESSION_SWEEP);
    loop {
        every.tick().await;
        match sessions.sweep().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed expired sessions"),
            Err(error) => tracing::warn!(%error, "expired sessions can't be removed"),
        }
    }
}

/// Stops in a fixed order: not ready; no new connections; goodbye to those that are open; what is under way is
/// written; the databases are closed.
async fn stop(config: &Config, parts: &Parts, token: &Token, connections: &Tasks) {
    let goodbye = async {
        token.advance(Phase::Draining);
        token.advance(Phase::Closing);
        let links = parts.gate.registry.all();
        #[expect(clippy::cast_precision_loss, reason = "a count of sockets is far below 2^52")]
        let spread = (links.len() as f64 / RETURNS_PER_SECOND).min(config.drain_window.as_secs_f64());
        for (index, link) in links.iter().enumerate() {
            link.close(farewell(CloseCode::GoingAway, rand::random::<f64>() * spread));
            if index % GOODBYES_AT_ONCE == GOODBYES_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        while !parts.gate.registry.is_empty() {
            // Who was still in the handshake is told too; telling somebody twice changes nothing.
            for link in parts.gate.registry.all() {
                link.close(farewell(CloseCode::GoingAway, rand::random::<f64>() * spread));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let outcomes = Sequence::new()
        .then("connections", goodbye)
        .then("requests", async { connections.idle().await })
        .then("store", async {
            token.advance(Phase::Stopping);
            parts.store.close().await;
        })
        .then("sessions", async { parts.sessions.close().await })
        .run(config.shutdown_deadline)
        .await;
    for outcome in outcomes.iter().filter(|outcome| !outcome.finished) {
        tracing::warn!(step = outcome.step, took = ?outcome.took, "a step of the stop was cut short");
    }
}
