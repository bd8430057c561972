//! Several nodes in one process: each with its own hub, connections and listener, over one store, one presence, one
//! control log and one channel layer, which loses what a test wants lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use natter::channel_layer::local::LocalHub;
use natter::channel_layer::{self, ChannelLayer, Class, Incoming};
use natter::client::{Answer, Session, Target};
use natter::config::Registration;
use natter::conn::{self, Gate};
use natter::control_log::ControlLog;
use natter::control_log::lease::DeliveryLease;
use natter::control_log::local::LocalControlLog;
use natter::control_log::redis::RedisControlLog;
use natter::fanout::Registry;
use natter::http::{self as web, Gauges, Http, Settings, Stats};
use natter::listen::Listener;
use natter::metrics::Metrics;
use natter::model::{BootId, RoomId, SystemTime, WallClock};
use natter::presence::local::LocalPresence;
use natter::rooms::cluster::{self, Cluster, Neighbours};
use natter::rooms::directory::{Directory, Seams};
use natter::rooms::hub::{Hub, LiveHub};
use natter::sessions::password::Passwords;
use natter::sessions::sqlite::SqliteSessions;
use natter::shutdown::{Phase, Tasks, Token};
use natter::store::Store;
use natter::store::sqlite::SqliteStore;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::common::{Open, PASSWORD, Sock};
use crate::edges::{Defective, Held};
use crate::redis::{Redis, Way};

/// What the nodes share.
pub struct World {
    pub store: Arc<SqliteStore>,
    pub sessions: SqliteSessions,
    presence: LocalPresence,
    log: LocalControlLog,
    /// Holds the control log instead.
    pub redis: Option<Redis>,
    layer: LocalHub,
    folder: TempDir,
}

/// One node.
pub struct Node {
    pub hub: Arc<Hub>,
    pub cluster: Arc<Cluster>,
    pub layer: Arc<Lossy>,
    pub lease: DeliveryLease,
    /// Its way to Redis, where the control log is there.
    pub way: Option<Way>,
    /// Its way to the sessions, as far as its sockets go.
    pub sessions: Arc<Held>,
    /// Its throttles.
    pub throttles: Arc<Defective>,
    boot: BootId,
    address: SocketAddr,
    token: Token,
    reading: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// A node's end of the layer, which loses what it is told to.
pub struct Lossy {
    inner: Arc<dyn ChannelLayer>,
    /// Durable payloads that this node publishes vanish.
    pub deaf: AtomicBool,
    /// So do its broadcasts.
    pub mute: AtomicBool,
    /// How many of its next durable payloads vanish.
    pub lose: AtomicU32,
}

#[async_trait]
impl ChannelLayer for Lossy {
    async fn join(&self, room: RoomId) -> channel_layer::Result<()> {
        self.inner.join(room).await
    }
    async fn leave(&self, room: RoomId) -> channel_layer::Result<()> {
        self.inner.leave(room).await
    }
    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> channel_layer::Result<()> {
        let lose = |left: u32| left.checked_sub(1);
        if class == Class::Durable
            && (self.deaf.load(Ordering::SeqCst)
                || self.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok())
        {
            return Ok(());
        }
        self.inner.publish(room, class, payload).await
    }
    async fn broadcast(&self, payload: Bytes) -> channel_layer::Result<()> {
        if self.mute.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.inner.broadcast(payload).await
    }
    async fn next(&self) -> channel_layer::Result<Incoming> {
        self.inner.next().await
    }
    async fn ping(&self) -> channel_layer::Result<()> {
        self.inner.ping().await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

struct NoGauges;

impl Gauges for NoGauges {
    fn connections(&self) -> u64 {
        0
    }
    fn people(&self) -> u64 {
        0
    }
    fn messages(&self) -> u64 {
        0
    }
}

impl World {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let clock: Arc<dyn WallClock> = Arc::new(SystemTime);
        Self {
            store: SqliteStore::open(&folder.path().join("store.db"), clock.clone()).expect("a store"),
            sessions: SqliteSessions::open(&folder.path().join("sessions.db"), clock).expect("sessions"),
            presence: LocalPresence::new(),
            log: LocalControlLog::new(),
            redis: None,
            layer: LocalHub::new(),
            folder,
        }
    }

    /// The same, with the control log in a Redis of its own; `None`, said loudly, where there is no Redis.
    pub async fn on_redis() -> Option<Self> {
        let redis = Some(Redis::start().await?);
        Some(Self { redis, ..Self::new() })
    }

    /// So many nodes, which have heard each other.
    pub async fn nodes<const COUNT: usize>(&self) -> [Node; COUNT] {
        let mut nodes = Vec::new();
        for _ in 0..COUNT {
            nodes.push(self.node().await);
        }
        nodes.try_into().ok().expect("as many as asked")
    }

    /// One more node.
    pub async fn node(&self) -> Node {
        self.node_by(Arc::new(SystemTime)).await
    }

    /// One more node, whose clock says what this one says.
    pub async fn node_by(&self, wall: Arc<dyn WallClock>) -> Node {
        self.node_of(wall, self.store.clone()).await
    }

    /// One more node, with a way of its own to the store.
    pub async fn node_over(&self, store: Arc<dyn Store>) -> Node {
        self.node_of(Arc::new(SystemTime), store).await
    }

    /// Another way to the same store, which can be closed.
    pub fn another_store(&self) -> Arc<SqliteStore> {
        let path = self.folder.path().join("store.db");
        SqliteStore::open(&path, Arc::new(SystemTime)).expect("the store once more")
    }

    async fn node_of(&self, wall: Arc<dyn WallClock>, store: Arc<dyn Store>) -> Node {
        let boot = BootId::random();
        let layer = Arc::new(Lossy {
            inner: self.layer.node(),
            deaf: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            lose: AtomicU32::new(0),
        });
        let clock: Arc<dyn WallClock> = Arc::new(SystemTime);
        let lease = DeliveryLease::of(boot);
        let (log, way): (Arc<dyn ControlLog>, _) = match &self.redis {
            None => (Arc::new(self.log.clone()), None),
            Some(redis) => {
                let way = redis.way().await;
                (
                    Arc::new(RedisControlLog::new(way.link.clone(), lease.clone())),
                    Some(way),
                )
            }
        };
        let cluster = Cluster::new(Neighbours {
            boot,
            layer: layer.clone(),
            wall,
            ids: None,
            lease: lease.clone(),
            reaches_store: Box::new(|| true),
        });
        let held = Arc::new(Held::new(self.sessions.clone()));
        let throttles = Arc::<Defective>::default();
        let registry = Arc::new(Registry::new());
        let presence = self.presence.node();
        let hub = Hub::among(
            store.clone(),
            presence.clone(),
            registry,
            clock.clone(),
            Some(cluster.clone()),
        );
        let directory = Arc::new(Directory::new(Seams {
            store: store.clone(),
            lease: lease.clone(),
            control_log: log.clone(),
            sessions: Arc::new(self.sessions.clone()),
            presence: presence.clone(),
            live: Arc::new(LiveHub(hub.clone())),
            throttles: throttles.clone(),
            clock: clock.clone(),
        }));
        let gate = Arc::new(Gate::new(
            directory.clone(),
            hub.clone(),
            held.clone(),
            clock.clone(),
            false,
        ));
        let http = Arc::new(Http {
            directory,
            store,
            sessions: Arc::new(self.sessions.clone()),
            presence,
            clock: clock.clone(),
            passwords: Passwords::with_cost(8, 1).expect("cheap hashes"),
            throttles: throttles.clone(),
            stats: Arc::new(Stats::new(Arc::new(NoGauges), clock)),
            admission: web::Admission::default(),
            changes: web::Changes::default(),
            settings: Settings {
                name: "Natter".into(),
                public_url: None,
                trusted_proxies: Vec::new(),
                registration: Registration::Open,
                session_life: Duration::from_secs(3600),
            },
        });
        let position = log.attach(boot).await.expect("a position");
        let token = Token::new();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("an address");
        let address = listener.address();
        let sockets = web::sockets(http.clone(), gate.clone());
        let router = web::router(http, self.sessions.clone(), sockets);
        let serving = listener.serve(
            router,
            Arc::new(Metrics::new()),
            token.clone(),
            Tasks::new("connections"),
        );
        let reading = tokio::spawn(conn::enforce(gate.clone(), log, lease.clone(), boot, position));
        let tasks = vec![
            tokio::spawn(serving),
            tokio::spawn(gate.registry.readiness().expect("an epoll instance").run()),
            tokio::spawn(conn::sweep(gate)),
            tokio::spawn(cluster::run(hub.clone())),
        ];
        Node {
            lease,
            way,
            hub,
            cluster,
            layer,
            sessions: held,
            throttles,
            boot,
            address,
            token,
            reading,
            tasks,
        }
    }

    /// The process is gone: its lease runs out.
    pub async fn forget(&self, boot: BootId) {
        self.log.detach(boot).await;
    }
}

impl Node {
    pub const fn boot(&self) -> BootId {
        self.boot
    }

    /// Registers somebody here.
    pub async fn user(&self, name: &str) -> Session {
        let registered = Target::at(self.address).register(name, PASSWORD).await;
        registered.expect("registered")
    }

    /// Tries to log somebody in here.
    pub async fn log_in(&self, name: &str) -> StatusCode {
        let form = serde_json::json!({ "username": name, "password": PASSWORD });
        let target = Target::at(self.address);
        let answer = target.request(Method::POST, "/api/session", None, Some(&form)).await;
        answer.expect("an answer").status
    }

    /// Opens a socket, and takes its `hello`.
    pub async fn socket(&self, path: &str, user: &Session) -> Sock {
        let opened = Open::new(self.address, path).cookie(&user.cookie).open().await;
        let mut socket = opened.expect("an upgrade");
        socket.expect("hello").await;
        socket
    }

    /// Opens a one-room socket and takes everything up to `live`.
    pub async fn room(&self, room: &str, user: &Session) -> Sock {
        let mut socket = self.socket(&format!("/ws/chat/{room}/"), user).await;
        socket.until("live").await;
        socket
    }

    /// Waits until it may deliver, or may not.
    pub async fn delivers(&self, delivers: bool) {
        crate::common::within("the delivery lease", async {
            while self.lease.may_write() != delivers {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Sends a request.
    pub async fn ask(&self, method: Method, path: &str, user: &Session, body: Option<Value>) -> Answer {
        let target = Target::at(self.address);
        let answer = target.request(method, path, Some(&user.cookie), body.as_ref()).await;
        answer.expect("an answer")
    }

    /// Sends a request that must succeed.
    pub async fn done(&self, method: Method, path: &str, user: &Session, body: Option<Value>) -> Value {
        let answer = self.ask(method.clone(), path, user, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    /// It no longer reads the control log.
    pub fn stop_reading(&self) {
        self.reading.abort();
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.reading.abort();
        // While there is still somebody who wakes those that rest.
        for link in self.hub.registry().all() {
            link.abort(&[]);
        }
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.token.advance(Phase::Closing);
        self.kill();
    }
}
