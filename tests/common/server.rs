//! A server of the built binary, on free ports, with a data folder of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, StatusCode};
use natter::client::{Answer, Session, Target};
use serde_json::Value;
use tempfile::TempDir;

use super::{Open, PASSWORD, Sock, within};

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Child,
    folder: TempDir,
    // What starts it: followed by its folder, the program and its arguments.
    wrapper: Vec<String>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    address: SocketAddr,
    admin: SocketAddr,
    names: AtomicU32,
}

/// A user who is logged in.
pub type User = Session;

fn launch(
    folder: &TempDir,
    wrapper: &[String],
    flags: &[String],
    variables: &[(String, String)],
) -> (Child, SocketAddr, SocketAddr) {
    let program = env!("CARGO_BIN_EXE_natter");
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(folder.path()).arg(program);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NATTER_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--log-filter", "warn", "--log-format", "human"])
        .arg("--data-dir")
        .arg(folder.path())
        .args(flags)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut address = |what: &str| loop {
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("the server ended before it printed {what:?}"))
            .expect("text");
        if let Some((_, after)) = line.split_once(what) {
            let end = after.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
            return after[..end.unwrap_or(after.len())].parse().expect("an address");
        }
    };
    let main = address("listening on http://");
    let admin = address("http://");
    // What it prints later is read, so that it never waits for a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, main, admin)
}

impl Server {
    /// Starts a server without throttles.
    pub fn start() -> Self {
        Self::with(&["--limits", "off"])
    }

    /// Starts a server with these flags.
    pub fn with(flags: &[&str]) -> Self {
        Self::with_variables(flags, Vec::new())
    }

    /// Starts a server with these flags and variables.
    pub fn with_variables(flags: &[&str], variables: Vec<(String, String)>) -> Self {
        Self::wrapped(Vec::new(), flags, variables)
    }

    /// Starts a server whose data folder is a disk of so many megabytes, which it alone sees and which goes with it;
    /// `None` where this machine gives nobody a disk of their own.
    pub fn on_small_disk(megabytes: u32) -> Option<Self> {
        let kinds: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
        let may = |kind: &&[&str]| {
            let tried = Command::new("unshare").args(*kind).arg("true").output();
            tried.is_ok_and(|tried| tried.status.success())
        };
        let kind = kinds.into_iter().find(may)?;
        let mount = format!("mount -t tmpfs -o size={megabytes}m small \"$0\" && exec \"$@\"");
        let words = ["unshare"].into_iter().chain(kind.iter().copied());
        let wrapper = words.chain(["sh", "-c", &mount]).map(str::to_owned).collect();
        Some(Self::wrapped(wrapper, &["--limits", "off"], Vec::new()))
    }

    fn wrapped(wrapper: Vec<String>, flags: &[&str], variables: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let (child, address, admin) = launch(&folder, &wrapper, &flags, &variables);
        Self {
            child,
            folder,
            wrapper,
            flags,
            variables,
            address,
            admin,
            names: AtomicU32::new(0),
        }
    }

    /// Ends it as a power cut would, without a word.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }

    /// Starts it again on the same data, at a new address.
    pub fn start_again(&mut self) {
        (self.child, self.address, self.admin) = launch(&self.folder, &self.wrapper, &self.flags, &self.variables);
    }

    /// The same with further flags.
    pub fn start_again_as(&mut self, more: &[&str]) {
        let mut flags = self.flags.clone();
        flags.extend(more.iter().map(|&flag| flag.to_owned()));
        (self.child, self.address, self.admin) = launch(&self.folder, &self.wrapper, &flags, &self.variables);
    }

    /// Asks it to stop in order.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal, such as `STOP` and `CONT`, between which it is paused.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("the command kill").success());
    }

    /// Whether it says that it is ready for clients.
    pub async fn ready(&self) -> bool {
        let target = Target::at(self.admin);
        let answer = target.request(Method::GET, "/readyz", None, None).await;
        answer.is_ok_and(|answer| answer.status.is_success())
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        within("the server's end", async {
            loop {
                if let Some(status) = child.try_wait().expect("its status") {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators ask it.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A client of it.
    pub fn target(&self) -> Target {
        Target::at(self.address)
    }

    /// Registers a user with a name of their own that begins with `name`.
    pub async fn user(&self, name: &str) -> User {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let registered = self.target().register(&format!("{name}{number}"), PASSWORD).await;
        registered.expect("registered")
    }

    /// Logs a user in once more.
    pub async fn log_in(&self, user: &User) -> User {
        self.target().log_in(&user.username, PASSWORD).await.expect("logged in")
    }

    /// Sends a request.
    pub async fn request(&self, method: Method, path: &str, user: &User, body: Option<Value>) -> Answer {
        let answer = self
            .target()
            .request(method, path, Some(&user.cookie), body.as_ref())
            .await;
        answer.expect("an answer")
    }

    /// Sends a request that must succeed.
    pub async fn done(&self, method: Method, path: &str, user: &User, body: Option<Value>) -> Value {
        let answer = self.request(method.clone(), path, user, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
        if answer.status == StatusCode::NO_CONTENT {
            return Value::Null;
        }
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// The whole history of a room, oldest first.
    pub async fn history(&self, user: &User, room: &str) -> Vec<Value> {
        let mut messages: Vec<Value> = Vec::new();
        let mut query = "limit=200".to_owned();
        loop {
            let path = format!("/api/rooms/{room}/messages?{query}");
            let page = self.done(Method::GET, &path, user, None).await;
            let mut older = page["messages"].as_array().expect("messages").clone();
            if let Some(first) = older.first() {
                query = format!("limit=200&before={}", first["id"].as_str().expect("an id"));
            }
            older.append(&mut messages);
            messages = older;
            if page["has_more"] == false {
                return messages;
            }
        }
    }

    /// Opens a socket that must open, and takes its `hello`.
    pub async fn socket(&self, path: &str, user: &User) -> Sock {
        let mut socket = self.open(path, user).await.expect("an upgrade");
        socket.expect("hello").await;
        socket
    }

    /// Opens a one-room socket and takes everything up to `live`.
    pub async fn room(&self, room: &str, user: &User) -> Sock {
        let mut socket = self.socket(&format!("/ws/chat/{room}/"), user).await;
        socket.until("live").await;
        socket
    }

    /// Opens a socket; a refusal is its status and body.
    pub async fn open(&self, path: &str, user: &User) -> Result<Sock, (u16, String)> {
        Open::new(self.address, path).cookie(&user.cookie).open().await
    }

    /// What Prometheus would read; `None` if nobody answers.
    pub async fn metrics(&self) -> Option<String> {
        let target = Target::at(self.admin);
        let answer = target.request(Method::GET, "/metrics", None, None).await;
        answer.ok().map(|answer| answer.body)
    }

    /// All figures of the metrics: each series with its labels, and its value.
    pub async fn series(&self) -> BTreeMap<String, f64> {
        let text = self.metrics().await.expect("metrics");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                Some((series.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// A figure of the metrics: one series, named with its labels, or a family's sum over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let family = format!("{name}{{");
        let figures: Vec<f64> = self
            .series()
            .await
            .into_iter()
            .filter_map(|(series, value)| (series == name || series.starts_with(&family)).then_some(value))
            .collect();
        assert!(!figures.is_empty(), "there is no metric {name}");
        figures.iter().sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
