//! Redis for tests: the one that `NATTER_TEST_REDIS` names, or servers of the test's own on free loopback ports,
//! which it may kill, pause and start again. Their program is `NATTER_TEST_REDIS_SERVER`, else `redis-server` on the path.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;

use super::{RedisLink, RedisOptions};

/// Says loudly that the test of this thread did not run.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// A link to a Redis that others may use too, under a prefix that nobody else has. Without `NATTER_TEST_REDIS` it is
/// a server of the test's own, which lives as long as what is returned beside the link.
pub async fn shared() -> Option<(RedisLink, Option<Server>)> {
    let (address, server) = match std::env::var("NATTER_TEST_REDIS") {
        Ok(address) if !address.is_empty() => (address, None),
        _ => {
            let server = Server::start(&[])?;
            (server.address(), Some(server))
        }
    };
    let prefix = format!("test-{:016x}:", rand::rng().random::<u64>());
    let options = RedisOptions::parse(&address).and_then(|options| options.with_prefix(&prefix));
    let link = RedisLink::new(options.expect("NATTER_TEST_REDIS is an address"));
    answering(&link).await;
    Some((link, server))
}

/// A link to the same Redis under another prefix that nobody else has.
#[must_use]
pub fn apart(link: &RedisLink) -> RedisLink {
    let prefix = format!("test-{:016x}:", rand::rng().random::<u64>());
    let options = link.options().clone().with_prefix(&prefix);
    RedisLink::new(options.expect("a prefix"))
}

/// Waits until it answers.
pub async fn answering(link: &RedisLink) {
    for _ in 0..600 {
        if link.ping().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{link:?} does not answer within 30 s");
}

/// A port that is free now.
#[must_use]
pub fn free_port() -> u16 {
    // Outside the range from which the kernel takes ports for outgoing connections, so that it stays free while a
    // server is down; and with room for a cluster's second port, 10,000 above.
    loop {
        let port = rand::rng().random_range(10_000..20_000);
        let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free(port) && free(port + 10_000) {
            return port;
        }
    }
}

/// A Redis server of one's own. Dropping it kills it.
pub struct Server {
    port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server that keeps nothing on disk, with further arguments; `None`, said loudly, without its program.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a temporary folder"));
        let mut all: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        all.extend(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""].map(ToOwned::to_owned));
        all.extend(["--appendonly", "no", "--dir", &folder.path().to_string_lossy()].map(ToOwned::to_owned));
        Self::run(port, folder, all)
    }

    fn run(port: u16, folder: tempfile::TempDir, arguments: Vec<String>) -> Option<Self> {
        let mut server = Self {
            port,
            folder,
            arguments,
            child: None,
        };
        if server.spawn() {
            Some(server)
        } else {
            skipped("there is no redis-server; install it, or name it in NATTER_TEST_REDIS_SERVER");
            None
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A link to it.
    #[must_use]
    pub fn link(&self) -> RedisLink {
        RedisLink::new(RedisOptions::parse(&self.address()).expect("an address"))
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "redis-server started before and does not now");
    }

    /// Stops it without closing anything.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("a running server").id().to_string();
        let done = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(done.success(), "kill {signal} {id} failed");
    }

    fn spawn(&mut self) -> bool {
        let program = std::env::var("NATTER_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let child = Command::new(program)
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = child.ok();
        self.child.is_some()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master, a replica and a sentinel that watches them.
pub struct Watched {
    /// The first master.
    pub master: Server,
    /// Its replica, which takes over.
    pub replica: Server,
    sentinel: Server,
}

impl Watched {
    /// Starts them; answers once the sentinel knows the replica and the replica follows.
    pub async fn start() -> Option<Self> {
        let master = Server::start(&[])?;
        let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()])?;
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a temporary folder"));
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 1000\n",
            master.port
        );
        std::fs::write(&file, text).expect("a file");
        let arguments = vec![file.to_string_lossy().into_owned(), "--sentinel".to_owned()];
        let sentinel = Server::run(port, folder, arguments)?;
        let watched = Self {
            master,
            replica,
            sentinel,
        };
        let mut replicas = redis::cmd("SENTINEL");
        replicas.arg("replicas").arg("main");
        let mut follows = redis::cmd("WAIT");
        follows.arg(1).arg(100);
        let (sentinel, master) = (watched.sentinel.link(), watched.master.link());
        until("the sentinel knows a replica that follows", async || {
            let known = sentinel.query::<Vec<redis::Value>>(&replicas).await;
            let follow = master.query::<i64>(&follows).await;
            known.is_ok_and(|known| !known.is_empty()) && follow == Ok(1)
        })
        .await;
        Some(watched)
    }

    /// A link that asks two sentinels, one of which is not there.
    #[must_use]
    pub fn link(&self) -> RedisLink {
        let address = format!(
            "redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main",
            free_port(),
            self.sentinel.port
        );
        RedisLink::new(RedisOptions::parse(&address).expect("an address"))
    }

    /// Waits until what was written so far stands on the replica too.
    pub async fn replicated(&self) {
        let mut wait = redis::cmd("WAIT");
        wait.arg(1).arg(1_000);
        let master = self.master.link();
        until("the replica has caught up", async || {
            // `WAIT` counts for what its own connection wrote.
            master
                .query::<redis::Value>(redis::cmd("SET").arg("caught-up").arg(1))
                .await
                .is_ok()
                && master.query::<i64>(&wait).await == Ok(1)
        })
        .await;
    }
}

/// A Cluster of three masters without replicas.
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts it; answers once every node says that it is complete.
    pub async fn start() -> Option<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
            ])?);
        }
        let links: Vec<_> = nodes.iter().map(Server::link).collect();
        let ranges = [(0, 5460), (5461, 10_922), (10_923, 16_383)];
        for (number, (link, (first, last))) in links.iter().zip(ranges).enumerate() {
            answering(link).await;
            let cluster = |words: &[&str]| {
                let mut command = redis::cmd("CLUSTER");
                command.arg(words);
                command
            };
            let commands = [
                cluster(&["ADDSLOTSRANGE", &first.to_string(), &last.to_string()]),
                cluster(&["SET-CONFIG-EPOCH", &(number + 1).to_string()]),
                cluster(&["MEET", "127.0.0.1", &nodes[0].port.to_string()]),
            ];
            for command in &commands {
                let _: redis::Value = link.query(command).await.expect("a cluster command");
            }
        }
        let mut info = redis::cmd("CLUSTER");
        info.arg("INFO");
        for link in &links {
            until("the cluster is complete", async || {
                let info = link.query::<String>(&info).await.unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
            .await;
        }
        Some(Self { nodes })
    }

    /// A link that is told of two of its nodes.
    #[must_use]
    pub fn link(&self) -> RedisLink {
        let (one, two) = (self.nodes[0].port, self.nodes[1].port);
        let address = format!("redis+cluster://127.0.0.1:{one},127.0.0.1:{two}");
        RedisLink::new(RedisOptions::parse(&address).expect("an address"))
    }
}

/// Waits for something to become so, for at most 60 s.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 60 s: {what}");
}
