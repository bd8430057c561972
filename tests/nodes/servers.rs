//! The servers below the nodes: those that the environment names, and those that a test starts for itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::PATIENCE;

/// What `scripts/services` tells tests.
pub struct Environment {
    /// The CQL server.
    pub cql: SocketAddr,
    /// The program of a NATS server.
    pub nats: PathBuf,
    /// The program of a Redis server.
    pub redis: PathBuf,
}

impl Environment {
    /// Reads it. What is missing is said loudly, as a skip that `make test` counts.
    pub fn get() -> Option<Self> {
        let variable = |name: &str| match std::env::var(name) {
            Ok(value) => Some(value),
            Err(_) => {
                skip(&format!("{name} is not set; see scripts/services"));
                None
            }
        };
        let cql = variable("NATTER_TEST_CQL")?;
        Some(Self {
            cql: cql.parse().expect("NATTER_TEST_CQL is an address and a port"),
            nats: variable("NATTER_TEST_NATS_SERVER")?.into(),
            redis: variable("NATTER_TEST_REDIS_SERVER")?.into(),
        })
    }
}

/// The library that gives a process another clock; `None`, said loudly, where it is missing.
pub fn faketime() -> Option<String> {
    let library = std::env::var("NATTER_TEST_FAKETIME").ok();
    if library.is_none() {
        skip("NATTER_TEST_FAKETIME is not set; see scripts/services");
    }
    library
}

/// The program of the load balancer; `None`, said loudly, where it is missing.
pub fn haproxy() -> Option<PathBuf> {
    let program = std::env::var("NATTER_TEST_HAPROXY").ok();
    if program.is_none() {
        skip("NATTER_TEST_HAPROXY is not set; see scripts/services");
    }
    program.map(PathBuf::from)
}

/// Says that the present test can't run. Straight to the stream, so that it is seen although the test passes.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("\nSKIPPED: {}: {reason}\n", thread.name().unwrap_or("a test"));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
}

/// A port of the loopback that nothing listens on right now.
pub fn free_port() -> u16 {
    // Below the range from which the kernel takes ports for outgoing connections, so that nobody else gets it before the
    // server does; and each is given once.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let nth = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 21_000 + (std::process::id() * 131 + nth) % 9_000;
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A server process of one test. It is killed when this is dropped.
pub struct Own {
    program: PathBuf,
    arguments: Vec<String>,
    child: Child,
    address: SocketAddr,
    // Its data; gone with it.
    _folder: TempDir,
}

impl Own {
    /// Starts a NATS server with a configuration; `{port}` in it stands for its port.
    pub fn nats(environment: &Environment, config: &str) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, config.replace("{port}", &port.to_string())).expect("the configuration");
        let arguments = vec!["--config".to_owned(), file.display().to_string()];
        Self::start(&environment.nats, arguments, port, folder)
    }

    /// Starts a load balancer that listens on a port, with a configuration.
    pub fn haproxy(program: &PathBuf, port: u16, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("the configuration");
        // In one process, so that its end is the end.
        let arguments = vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
        Self::start(program, arguments, port, folder)
    }

    /// Starts a Redis server that keeps nothing.
    pub fn redis(environment: &Environment) -> Self {
        Self::redis_with(environment, &[])
    }

    /// Starts a Redis server that follows the one at this address.
    pub fn redis_behind(environment: &Environment, primary: SocketAddr) -> Self {
        let (host, port) = (primary.ip().to_string(), primary.port().to_string());
        let replica = Self::redis_with(environment, &["--replicaof", &host, &port]);
        let begun = Instant::now();
        while !replica.told("INFO replication").contains("master_link_status:up") {
            assert!(begun.elapsed() < PATIENCE, "the replica does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
        replica
    }

    /// What a Redis server answers to a command, as it stands on the wire.
    pub fn told(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("asked");
        let mut answer = vec![0; 64 * 1024];
        let mut count = 0;
        while !answer[..count].ends_with(b"\r\n") {
            count += stream.read(&mut answer[count..]).expect("an answer");
        }
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    fn redis_with(environment: &Environment, more: &[&str]) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let (port_text, dir) = (port.to_string(), folder.path().display().to_string());
        let arguments = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port_text,
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            &dir,
        ];
        let arguments = arguments.iter().chain(more).map(|&one| one.to_owned()).collect();
        Self::start(&environment.redis, arguments, port, folder)
    }

    /// Starts a Redis server that speaks TLS alone, with `server.crt`, `server.key` and `ca.pem` of a folder; `None` if
    /// the program was built without TLS.
    pub fn redis_with_tls(environment: &Environment, files: &std::path::Path) -> Option<Self> {
        // One that knows the option ends as well, since it has nothing to listen on.
        let tried = Command::new(&environment.redis)
            .args(["--port", "0", "--tls-port", "0"])
            .output();
        if String::from_utf8_lossy(&tried.expect("redis-server").stderr).contains("Bad directive") {
            return None;
        }
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let text = |path: &std::path::Path| path.display().to_string();
        let mut arguments: Vec<String> = [
            "--bind",
            "127.0.0.1",
            "--port",
            "0",
            "--save",
            "",
            "--tls-auth-clients",
            "no",
        ]
        .map(str::to_owned)
        .to_vec();
        for (flag, value) in [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", text(&files.join("server.crt"))),
            ("--tls-key-file", text(&files.join("server.key"))),
            ("--tls-ca-cert-file", text(&files.join("ca.pem"))),
            ("--dir", text(folder.path())),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        Some(Self::start(&environment.redis, arguments, port, folder))
    }

    fn start(program: &PathBuf, arguments: Vec<String>, port: u16, folder: TempDir) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let child = spawn(program, &arguments, address);
        Self {
            program: program.clone(),
            arguments,
            child,
            address,
            _folder: folder,
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Starts it again, empty, at the same address.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.program, &self.arguments, self.address);
    }

    /// Sends it a signal, such as `STOP` and `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("the command kill").success());
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &PathBuf, arguments: &[String], address: SocketAddr) -> Child {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if let Some(status) = child.try_wait().expect("its status") {
            panic!("{} ended: {status}", program.display());
        }
        assert!(begun.elapsed() < PATIENCE, "{} does not listen", program.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}
