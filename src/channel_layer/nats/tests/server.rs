//! NATS for tests: the one that `NATTER_TEST_NATS` names, or servers of a test's own on free loopback ports, which it
//! may kill, pause and start again. And a gate that such a connection goes through, to be shut and opened.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::watch;

use super::super::NatsOptions;

/// Says loudly that a test did not run.
pub fn skipped(why: &str) {
    // The test harness names each test's thread after it.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("channel_layer::nats");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// A prefix that nobody else uses.
pub fn prefix() -> String {
    format!("test-{:016x}", rand::rng().random::<u64>())
}

/// Options for the server at `nats://host:port`, under a prefix of one's own.
pub fn options(address: &str) -> NatsOptions {
    let server = address.strip_prefix("nats://").expect("a plain address");
    NatsOptions {
        servers: vec![server.to_owned()],
        prefix: prefix(),
        ..NatsOptions::default()
    }
}

/// The server that others may use too: the one named, else one of the test's own.
pub fn shared() -> Option<(String, Option<Server>)> {
    match std::env::var("NATTER_TEST_NATS") {
        // One of several is enough, and a gate can stand before only one.
        Ok(address) if !address.is_empty() => Some((address.split(',').next()?.to_owned(), None)),
        _ => {
            let server = Server::start(|_| String::new())?;
            Some((server.address(), Some(server)))
        }
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    // Below the range from which the kernel takes ports for outgoing connections, so that it stays free while a server
    // is down.
    loop {
        let port = rand::rng().random_range(20_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server of one's own. Dropping it kills it.
pub struct Server {
    pub port: u16,
    monitor: u16,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts one with more configuration, which may name files in the folder that it is given; `None`, said loudly,
    /// without its program.
    pub fn start(configuration: impl FnOnce(&Path) -> String) -> Option<Self> {
        let (port, monitor) = (free_port(), free_port());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitor}\"\n{}",
            configuration(folder.path())
        );
        std::fs::write(folder.path().join("nats.conf"), text).expect("a writable folder");
        let mut server = Self {
            port,
            monitor,
            folder,
            child: None,
        };
        if server.run() {
            return Some(server);
        }
        skipped("there is no nats-server; install it, or name it in NATTER_TEST_NATS_SERVER");
        None
    }

    /// Starts its process, on the same port as before.
    pub fn run(&mut self) -> bool {
        let named = ["NATTER_TEST_NATS_SERVER", "NATTER_NATS_SERVER"];
        let program = named.iter().find_map(std::env::var_os);
        let started = Command::new(program.unwrap_or_else(|| "nats-server".into()))
            .arg("-c")
            .arg(self.folder.path().join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.folder.path().join("log")).expect("a writable folder"))
            .spawn();
        let Ok(child) = started else { return false };
        self.child = Some(child);
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("nats-server does not listen within 30 s: {log}");
    }

    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends its process as kill -9 does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it was still running");
            child.wait().expect("it ended");
        }
    }

    /// Sends its process a signal.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// What it says about itself.
    pub fn ask(&self, path: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).expect("its monitor listens");
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Something between client and server that can be shut: what is connected is cut off, what comes is turned away.
pub struct Gate {
    address: SocketAddr,
    state: watch::Sender<GateState>,
}

#[derive(Clone, Copy, PartialEq)]
struct GateState {
    open: bool,
    /// What was connected before a change is cut off, even if the gate was shut only for an instant.
    changes: u32,
}

impl Gate {
    /// Opens one before this `host:port`.
    pub async fn before(server: String) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let (state, watched) = watch::channel(GateState { open: true, changes: 0 });
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut watched) = (server.clone(), watched.clone());
                let then = *watched.borrow();
                tokio::spawn(async move {
                    let carry = async {
                        if let Ok(mut far) = tokio::net::TcpStream::connect(server).await {
                            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                        }
                    };
                    tokio::select! {
                        biased;
                        _ = watched.wait_for(|now| !then.open || *now != then) => {}
                        () = carry => {}
                    }
                });
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub fn set_open(&self, open: bool) {
        self.state.send_modify(|state| {
            *state = GateState {
                open,
                changes: state.changes + 1,
            };
        });
    }
}
