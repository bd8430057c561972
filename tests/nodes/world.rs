//! A cluster of nodes for one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::common::{PASSWORD, Server, User, within};
use crate::proxy::Proxy;
use crate::servers::{Environment, Own, free_port};

/// What `nats-server` is started with: pings soon, so that a silence is noticed within a test.
pub const NATS: &str = "listen: 127.0.0.1:{port}\nping_interval: \"2s\"\nwrite_deadline: \"2s\"\n";

/// The routes of three NATS servers: each server dials those after it.
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

/// A node and what stands between it and its servers.
pub struct Node {
    /// The process.
    pub server: Server,
    /// In front of NATS.
    pub nats: Proxy,
    /// In front of Redis.
    pub redis: Proxy,
    /// In front of the CQL server.
    pub cql: Proxy,
    /// Where its clock is set, if it has one of its own.
    clock: Option<PathBuf>,
}

impl Node {
    /// Sets its clock so many seconds off; it notices within a second.
    pub fn clock_off(&self, seconds: impl Into<f64>) {
        let seconds: f64 = seconds.into();
        let clock = self.clock.as_ref().expect("a clock of its own");
        // Renamed, so that it never reads half of it.
        let part = clock.with_extension("part");
        std::fs::write(&part, format!("{seconds:+}s\n")).expect("the clock");
        std::fs::rename(part, clock).expect("the clock");
    }
}

/// What is special about the nodes of a cluster.
#[derive(Default)]
pub struct Special {
    /// Further flags.
    pub flags: Vec<(&'static str, String)>,
    /// Each has a clock of its own, by this library.
    pub clocks: Option<String>,
    /// The CQL servers, on which they get a keyspace of their own. Nodes learn of several from each other, so there is no
    /// proxy in front of those. None: the environment's, in a keyspace that tests share.
    pub cql: Vec<SocketAddr>,
    /// Further flags of the first node alone.
    pub of_first: Vec<(&'static str, String)>,
    /// People are throttled as they would be.
    pub throttles: bool,
}

/// Nodes that are one chat server.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Their NATS server, or three.
    pub nats: Vec<Own>,
    /// In front of the routes of three NATS servers: between the first and the second, the first and the third, the
    /// second and the third.
    pub routes: Vec<Proxy>,
    /// Their Redis server.
    pub redis: Own,
    /// Their store, as a command finds it.
    pub store: String,
    // Of the clocks.
    _folder: TempDir,
    tag: u32,
    names: AtomicU32,
}

/// One keyspace for all tests of this process, made by the command that operators use.
static KEYSPACE: OnceCell<String> = OnceCell::const_new();

async fn keyspace(environment: &Environment) -> &'static str {
    KEYSPACE
        .get_or_init(async || new_keyspace(&[environment.cql]).await)
        .await
}

async fn new_keyspace(servers: &[SocketAddr]) -> String {
    let name = format!("natter_cluster_{:08x}", rand::random::<u32>());
    migrate(&[("--store", store_of(servers, &name))]).await;
    name
}

/// A store's address.
fn store_of(servers: &[SocketAddr], keyspace: &str) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    format!("scylla://{}/{keyspace}", servers.join(","))
}

/// Makes a keyspace, by the command that operators use.
pub async fn migrate(flags: &[(&str, String)]) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_natter"));
    without_settings(&mut command);
    command.arg("migrate");
    for (flag, value) in flags {
        command.args([flag, value.as_str()]);
    }
    let made = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("a task");
    let made = made.expect("the command runs");
    assert!(made.status.success(), "{made:?}");
}

/// Takes away what the environment would say to a command.
pub fn without_settings(command: &mut std::process::Command) {
    let folder = std::env::temp_dir();
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NATTER_") {
            command.env_remove(name);
        }
    }
}

/// Three NATS servers that form a cluster, with a proxy in front of each route. What a server says about the addresses
/// of the others leads nowhere, so that nobody walks round a proxy.
async fn three_nats(environment: &Environment) -> (Vec<Own>, Vec<Proxy>) {
    let ports = [free_port(), free_port(), free_port()];
    let mut routes = Vec::new();
    for (_, to) in PAIRS {
        routes.push(Proxy::before(([127, 0, 0, 1], ports[to]).into()).await);
    }
    let start = |n: usize| {
        let own = PAIRS.iter().zip(&routes).filter(|((from, _), _)| *from == n);
        let own: Vec<String> = own
            .map(|(_, proxy)| format!("\"nats://{}\"", proxy.address()))
            .collect();
        let cluster = format!(
            "server_name: n{n}\ncluster {{ name: natter, listen: \"127.0.0.1:{}\", advertise: \"127.0.0.1:1\", \
             no_advertise: true, routes: [{}] }}\n",
            ports[n],
            own.join(", ")
        );
        Own::nats(environment, &format!("{NATS}{cluster}"))
    };
    let nats: Vec<Own> = (0..3).map(start).collect();
    within("the routes between the NATS servers", async {
        for (from, to) in PAIRS {
            while !reaches(&nats[from], &nats[to]).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    })
    .await;
    (nats, routes)
}

/// Whether what is published at one NATS server is heard at another.
async fn reaches(from: &Own, to: &Own) -> bool {
    let connect = async |server: &Own| {
        async_nats::connect(server.address().to_string())
            .await
            .expect("a connection")
    };
    let (mouth, ear) = (connect(from).await, connect(to).await);
    let mut heard = ear.subscribe("routes").await.expect("a subscription");
    ear.flush().await.expect("it is in place");
    for _ in 0..5 {
        mouth
            .publish("routes", "are you there".into())
            .await
            .expect("published");
        mouth.flush().await.expect("flushed");
        if tokio::time::timeout(Duration::from_millis(100), heard.next())
            .await
            .is_ok()
        {
            return true;
        }
    }
    false
}

impl Cluster {
    /// Starts so many nodes; `None` where this machine lacks a server, which is said.
    pub async fn start(count: usize) -> Option<Self> {
        Self::start_with(count, Special::default()).await
    }

    /// The same with special nodes.
    pub async fn start_with(count: usize, special: Special) -> Option<Self> {
        let environment = Environment::get()?;
        let nats = vec![Own::nats(&environment, NATS)];
        Some(Self::over(&environment, nats, Vec::new(), count, &special).await)
    }

    /// Starts three nodes, each at its own server of a NATS cluster.
    pub async fn on_three_nats() -> Option<Self> {
        let environment = Environment::get()?;
        let (nats, routes) = three_nats(&environment).await;
        Some(Self::over(&environment, nats, routes, 3, &Special::default()).await)
    }

    async fn over(
        environment: &Environment,
        nats: Vec<Own>,
        routes: Vec<Proxy>,
        count: usize,
        special: &Special,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = match &special.cql[..] {
            [] => keyspace(environment).await.to_owned(),
            own => new_keyspace(own).await,
        };
        let cql = special.cql.first().copied().unwrap_or(environment.cql);
        let redis = Own::redis(environment);
        let mut starts = Vec::with_capacity(count);
        for n in 0..count {
            let to_nats = Proxy::before(nats[n % nats.len()].address()).await;
            let (to_redis, to_cql) = (Proxy::before(redis.address()).await, Proxy::before(cql).await);
            let at = [to_cql.address()];
            let servers = if special.cql.len() > 1 { &special.cql[..] } else { &at };
            let mut flags = vec![
                ("--limits", if special.throttles { "on" } else { "off" }.to_owned()),
                ("--channel-layer", format!("nats://{}", to_nats.address())),
                ("--sessions", format!("redis://{}", to_redis.address())),
                ("--store", store_of(servers, &store)),
            ];
            flags.extend(special.flags.iter().cloned());
            flags.extend(special.of_first.iter().filter(|_| n == 0).cloned());
            let clock = special
                .clocks
                .is_some()
                .then(|| folder.path().join(format!("clock-{n}")));
            let variables = special.clocks.iter().zip(&clock).flat_map(|(library, clock)| {
                std::fs::write(clock, "+0s\n").expect("the clock");
                [
                    ("LD_PRELOAD", library.clone()),
                    ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
                    ("FAKETIME_CACHE_DURATION", "1".to_owned()),
                    ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
                    ("NO_FAKE_STAT", "1".to_owned()),
                ]
            });
            let variables = variables.map(|(name, value)| (name.to_owned(), value)).collect();
            starts.push(async move {
                let launch = move || {
                    let flags: Vec<&str> = flags.iter().flat_map(|(flag, value)| [*flag, value]).collect();
                    Server::with_variables(&flags, variables)
                };
                Node {
                    server: tokio::task::spawn_blocking(launch).await.expect("the node starts"),
                    nats: to_nats,
                    redis: to_redis,
                    cql: to_cql,
                    clock,
                }
            });
        }
        let cluster = Self {
            nodes: futures_util::future::join_all(starts).await,
            nats,
            routes,
            redis,
            store: store_of(&[cql], &store),
            _folder: folder,
            tag: rand::random(),
            names: AtomicU32::new(0),
        };
        cluster.all_ready().await;
        cluster
    }

    /// Waits until each node says that it can serve.
    pub async fn all_ready(&self) {
        within("readiness of every node", async {
            for node in &self.nodes {
                while !node.server.ready().await {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
        .await;
    }

    /// A node's process.
    pub fn server(&self, node: usize) -> &Server {
        &self.nodes[node].server
    }

    /// A name that no other test has.
    pub fn name(&self, name: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{name}-{:08x}-{number}", self.tag)
    }

    /// Registers a user on a node.
    pub async fn user(&self, node: usize, name: &str) -> User {
        let target = self.server(node).target();
        target.register(&self.name(name), PASSWORD).await.expect("registered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn three_nats_servers_can_be_split() {
        let Some(environment) = Environment::get() else {
            return;
        };
        let (nats, routes) = three_nats(&environment).await;
        routes[..2].iter().for_each(Proxy::hold);
        assert!(!reaches(&nats[0], &nats[1]).await && !reaches(&nats[2], &nats[0]).await);
        assert!(reaches(&nats[1], &nats[2]).await && reaches(&nats[2], &nats[1]).await);
        routes[..2].iter().for_each(Proxy::heal);
        within("the healed routes", async {
            while !reaches(&nats[0], &nats[2]).await {}
        })
        .await;
        routes[..2].iter().for_each(Proxy::cut);
        assert!(!reaches(&nats[0], &nats[1]).await && reaches(&nats[1], &nats[2]).await);
    }
}
