//! Redis for tests: the one that `NATTER_TEST_REDIS` names, or servers of the test's own on free loopback ports,
//! which it may kill, pause and start again. Their program is `NATTER_REDIS_SERVER`, else `redis-server` on the path.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;

use super::{RedisLink, RedisOptions};

/// Says loudly that a test did not run.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
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
        let mut server = Self {
            port: free_port(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            child: None,
        };
        if server.spawn() {
            Some(server)
        } else {
            skipped("there is no redis-server; install it, or name it in NATTER_REDIS_SERVER");
            None
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A folder of its own.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
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
        let program = std::env::var("NATTER_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let port = self.port.to_string();
        let child = Command::new(program)
            .args(&self.arguments)
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(self.folder.path())
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
