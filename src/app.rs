//! The composition root of the server: the only place that names the implementations of the seams, starts the tasks
//! and stops them in order. The commands open what they need through it.

mod company;
mod counted;
mod feed;
mod probe;
mod reach;
mod servers;
mod sessions;
mod stop;
mod store;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::admin::{Checks, Health, Heartbeat, Operators};
use crate::channel_layer::ChannelLayer;
use crate::channel_layer::nats::NatsLayer;
use crate::config::Config;
use crate::conn::{self, Gate};
use crate::control_log::ControlLog;
use crate::control_log::lease::DeliveryLease;
use crate::control_log::local::LocalControlLog;
use crate::control_log::redis::RedisControlLog;
use crate::fanout::Registry;
use crate::http::{self, Http, Settings, Stats};
use crate::listen::{self, Listener};
use crate::metrics::Metrics;
use crate::model::{BootId, SystemTime, WallClock};
use crate::presence::redis::Gone;
use crate::redis_link::RedisLink;
use crate::rooms::cluster::{self, Cluster, Neighbours};
use crate::rooms::directory::{Directory, Seams, author_of};
use crate::rooms::hub::{Hub, LiveHub};
use crate::sessions::UserSessions;
use crate::sessions::password::Passwords;
use crate::shutdown::{self, Tasks, Token};
use crate::telemetry::export::Exporter;

use self::company::OpenPresence;
use self::counted::CountedLog;
use self::reach::Reach;
pub use probe::probe;
pub use sessions::OpenSessions;
pub use store::OpenStore;

/// How often expired sessions are removed.
const SESSION_SWEEP: Duration = Duration::from_secs(10 * 60);

/// What lives while the server serves.
struct Parts {
    node: BootId,
    store: OpenStore,
    sessions: OpenSessions,
    log: Arc<dyn ControlLog>,
    lease: DeliveryLease,
    layer: Option<Arc<NatsLayer>>,
    reach: Arc<Reach>,
    company: OpenPresence,
    gone: Option<mpsc::Receiver<Gone>>,
    gate: Arc<Gate>,
    http: Arc<Http>,
    metrics: Arc<Metrics>,
}

/// A key with its value and where that came from, for messages: no secret is in it.
fn place(config: &Config, key: &str) -> String {
    let setting = config.settings().iter().find(|setting| setting.key == key);
    setting.map_or_else(
        || key.to_owned(),
        |setting| format!("{} = {:?} ({})", setting.key, setting.value, setting.origin),
    )
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// What keeps the server from starting: an address that is taken, a database that can't be opened, a server out of
/// reach.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    if let Err(error) = listen::raise_file_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let listener = Listener::bind(config.listen)?;
    let token = Token::new();
    let mut parts = compose(config).await?;
    let heartbeat = Heartbeat::default();
    let operators = Operators::start(
        config.admin_listen,
        Arc::clone(&parts.metrics),
        Health::new(heartbeat.clone(), checks(&parts), token.clone()),
    )?;
    let instance = parts.node.to_string();
    let endpoint = config.otlp_endpoint.as_ref();
    let exporter = endpoint.and_then(|endpoint| Exporter::start(endpoint, config.trace_ratio, &instance));
    let background = Tasks::new("background");
    let connections = Tasks::new("connections");
    let position = parts
        .log
        .attach(parts.node)
        .await
        .context("the control log can't be read")?;
    let readiness = parts.gate.registry.readiness();
    background.spawn(readiness.context("sockets can't be watched")?.run());
    background.spawn(heartbeat.run());
    background.spawn(conn::enforce(
        Arc::clone(&parts.gate),
        Arc::clone(&parts.log),
        parts.lease.clone(),
        parts.node,
        position,
    ));
    if parts.layer.is_some() {
        background.spawn(cluster::run(Arc::clone(&parts.gate.hub)));
    }
    let layer = parts.layer.clone().map(|layer| layer as Arc<dyn ChannelLayer>);
    let reach = Arc::clone(&parts.reach);
    background.spawn(reach.watch(parts.store.shared(), parts.sessions.users(), layer));
    background.spawn(conn::sweep(Arc::clone(&parts.gate)));
    if let Some(gone) = parts.gone.take() {
        background.spawn(tell_gone(gone, Arc::clone(&parts.gate)));
    }
    background.spawn(sweep_sessions(parts.sessions.users()));
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
    stop::stop(config, &parts, &token, &connections).await;
    let _ = serving.await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    operators.stop();
    Ok(())
}

/// Opens what holds state and wires it up.
async fn compose(config: &Config) -> anyhow::Result<Parts> {
    let clock: Arc<dyn WallClock> = Arc::new(SystemTime);
    let store = OpenStore::open(config).await?;
    let sessions = OpenSessions::open(config).await?;
    let node = BootId::random();
    let metrics = Arc::new(Metrics::new());
    let layer = servers::nats(config).await?;
    let (log, lease) = control_log(node, sessions.redis(), layer.is_some());
    let log: Arc<dyn ControlLog> = Arc::new(CountedLog {
        log,
        metrics: Arc::clone(&metrics),
    });
    let mut company = OpenPresence::open(node, sessions.redis()).await;
    let presence = company.shared();
    let registry = Arc::new(Registry::new());
    let reach = Arc::new(Reach::default());
    let cluster = layer.as_ref().map(|layer| {
        cluster(Neighbourhood {
            node,
            layer: Arc::clone(layer) as Arc<dyn ChannelLayer>,
            store: store.clone(),
            lease: lease.clone(),
            reach: Arc::clone(&reach),
        })
    });
    let hub = Hub::among(
        store.shared(),
        Arc::clone(&presence),
        Arc::clone(&registry),
        Arc::clone(&clock),
        cluster,
    );
    let throttles = company::throttles(config, sessions.redis());
    let directory = Arc::new(Directory::new(Seams {
        store: store.shared(),
        lease: lease.clone(),
        control_log: Arc::clone(&log),
        sessions: sessions.users(),
        presence: Arc::clone(&presence),
        live: Arc::new(LiveHub(Arc::clone(&hub))),
        throttles: Arc::clone(&throttles),
        clock: Arc::clone(&clock),
    }));
    let gate = Arc::new(Gate::new(
        Arc::clone(&directory),
        Arc::clone(&hub),
        sessions.users(),
        Arc::clone(&clock),
        config.limits,
    ));
    let gauges = Arc::new(feed::LiveGauges {
        hub: Arc::clone(&hub),
        registry,
    });
    let http = Arc::new(Http {
        directory: Arc::clone(&directory),
        store: store.shared(),
        sessions: sessions.users(),
        presence,
        clock: Arc::clone(&clock),
        passwords: Passwords::new()?,
        throttles,
        admission: http::Admission::default(),
        changes: http::Changes::default(),
        stats: Arc::new(Stats::new(gauges, clock)),
        settings: Settings::from(config),
    });
    let sources = feed::Sources {
        hub,
        directory,
        store: store.clone(),
        layer: layer.clone(),
        lease: lease.clone(),
        reach: Arc::clone(&reach),
    };
    feed::feed(&metrics, sources);
    Ok(Parts {
        node,
        gone: company.take_gone(),
        company,
        store,
        sessions,
        log,
        lease,
        layer,
        reach,
        gate,
        http,
        metrics,
    })
}

/// What a node's place among others is made of.
struct Neighbourhood {
    node: BootId,
    layer: Arc<dyn ChannelLayer>,
    store: OpenStore,
    lease: DeliveryLease,
    reach: Arc<Reach>,
}

fn cluster(hood: Neighbourhood) -> Arc<Cluster> {
    let Neighbourhood {
        node,
        layer,
        store,
        lease,
        reach,
    } = hood;
    Cluster::new(Neighbours {
        boot: node,
        layer,
        wall: Arc::new(SystemTime),
        ids: store.ids(),
        lease,
        reaches_store: Box::new(move || reach.store()),
    })
}

/// This node's end of the control log, and the lease that its readings renew.
fn control_log(node: BootId, redis: Option<&RedisLink>, among_others: bool) -> (Arc<dyn ControlLog>, DeliveryLease) {
    match redis {
        Some(link) => {
            let lease = if among_others {
                DeliveryLease::among_others(node)
            } else {
                DeliveryLease::of(node)
            };
            (Arc::new(RedisControlLog::new(link.clone(), lease.clone())), lease)
        }
        None => (Arc::new(LocalControlLog::new()), DeliveryLease::unlimited()),
    }
}

/// What this node needs to serve. Each is asked on the main runtime, where its connections live.
fn checks(parts: &Parts) -> Checks {
    let runtime = tokio::runtime::Handle::current();
    let (store, sessions) = (parts.store.shared(), parts.sessions.users());
    let on = runtime.clone();
    let mut checks = Checks::new();
    if let Some(layer) = &parts.layer {
        let (layer, on) = (Arc::clone(layer), runtime.clone());
        checks = checks.with("channel layer", move || {
            let layer = Arc::clone(&layer);
            let asked = on.spawn(async move { layer.ping().await.map_err(|error| error.to_string()) });
            async move { asked.await.map_err(|error| error.to_string())? }
        });
    }
    if let Some(cluster) = parts.gate.hub.cluster() {
        let cluster = Arc::clone(cluster);
        checks = checks.with("cluster", move || std::future::ready(cluster.serves()));
    }
    checks
        .with("store", move || {
            let store = Arc::clone(&store);
            let asked = on.spawn(async move { store.ping().await.map_err(|error| error.to_string()) });
            async move { asked.await.map_err(|error| error.to_string())? }
        })
        .with("sessions", move || {
            let sessions = Arc::clone(&sessions);
            let asked = runtime.spawn(async move { sessions.ping().await.map_err(|error| error.to_string()) });
            async move { asked.await.map_err(|error| error.to_string())? }
        })
}

/// Tells who went offline because another node is gone.
async fn tell_gone(mut gone: mpsc::Receiver<Gone>, gate: Arc<Gate>) {
    while let Some(gone) = gone.recv().await {
        // That somebody is in a room no more shows in its next count; the other person of a direct one is told.
        let Gone::Offline(user) = gone else { continue };
        match gate.store.user(user).await {
            Ok(Some(user)) => gate.hub.person(&author_of(&user), false, Some(gate.clock.now())),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "who went with another node can't be told"),
        }
    }
}

async fn sweep_sessions(sessions: Arc<dyn UserSessions>) {
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
