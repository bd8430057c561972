//! A Redis of a test's own, and a way to it for each node that can be cut.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use natter::redis_link::{RedisLink, RedisOptions};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// A server that keeps nothing on disk. Dropping it kills it.
pub struct Redis {
    port: u16,
    child: Option<Child>,
}

impl Redis {
    /// Starts one; `None`, said loudly, without its program.
    pub async fn start() -> Option<Self> {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let mut redis = Self { port, child: None };
        if !redis.spawn() {
            eprintln!("SKIPPED: there is no redis-server; install it, or name it in NATTER_REDIS_SERVER");
            return None;
        }
        redis.answering().await;
        Some(redis)
    }

    fn spawn(&mut self) -> bool {
        let program = std::env::var("NATTER_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let port = self.port.to_string();
        let child = Command::new(program)
            .args([
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = child.ok();
        self.child.is_some()
    }

    async fn answering(&self) {
        let link = link(([127, 0, 0, 1], self.port).into());
        while link.ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, empty.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "redis-server started before and does not now");
        self.answering().await;
    }

    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("a running server").id().to_string();
        let done = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(done.success(), "kill {signal} {id} failed");
    }

    /// A way to it.
    pub async fn way(&self) -> Way {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (server, cut) = (self.port, Arc::new(AtomicBool::new(false)));
        let is_cut = cut.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let is_cut = is_cut.clone();
                tokio::spawn(async move {
                    let relay = async {
                        if let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await {
                            let _ = copy_bidirectional(&mut client, &mut server).await;
                        }
                    };
                    let cut = async {
                        while !is_cut.load(Ordering::SeqCst) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    };
                    tokio::select! { () = relay => {} () = cut => {} }
                });
            }
        });
        Way {
            link: link(address),
            cut,
            task,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn link(address: SocketAddr) -> RedisLink {
    RedisLink::new(RedisOptions::parse(&format!("redis://{address}")).expect("an address"))
}

/// One node's way to Redis.
pub struct Way {
    pub link: RedisLink,
    cut: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}
