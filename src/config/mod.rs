//! The configuration: flag over `NATTER_*` variable over TOML file over default, as typed values.
//!
//! Owns the table of keys and everything that reads it. It opens nothing but the file: whether an address can be bound
//! or a folder written is found out by whoever does it, and by `natter check`. Everything wrong is reported at once,
//! each with its key, its place and the nearest right one, so that a start is mended in one go.

mod address;
mod cluster;
mod error;
mod fit;
mod flags;
mod keys;
mod nearest;
mod network;
mod sources;
#[cfg(test)]
mod tests;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use address::{OtlpEndpoint, PublicUrl, redacted};
pub use cluster::{CqlAddress, Credentials, NatsAddress, NatsAuth, RedisAddress, RedisKind, Secret, Server, TlsFiles};
pub use error::Error;
pub use flags::Flags;
pub use keys::{KEYS, Key};
pub use nearest::nearest;
pub use network::{InvalidNetwork, Network};
pub use sources::Origin;

use sources::Values;
use value::Wrong;

/// The largest configuration file, in bytes: far more than all keys need, little enough to read without thought.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where an SQLite database lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqliteFile {
    /// In the data directory, under its usual name.
    InDataDir,
    /// At this path, relative to where the process was started.
    At(PathBuf),
}

impl SqliteFile {
    fn path(&self, data_dir: &Path, usual: &str) -> PathBuf {
        match self {
            Self::InDataDir => data_dir.join(usual),
            Self::At(path) => path.clone(),
        }
    }
}

/// Where messages, rooms and accounts live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// In a file of this node.
    Sqlite(SqliteFile),
    /// On ScyllaDB or Cassandra.
    Cql(Box<CqlAddress>),
}

/// What carries events between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelLayerAt {
    /// Nothing: this process is alone.
    Local,
    /// NATS.
    Nats(NatsAddress),
}

/// Where sessions live, and with them revocations, presence and throttles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionsAt {
    /// In a file of this node; the rest in its memory.
    Sqlite(SqliteFile),
    /// On Redis.
    Redis(RedisAddress),
}

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Whoever has an invite.
    Invite,
    /// Nobody.
    Closed,
}

impl Registration {
    /// The word used in the configuration and in `/api/info`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// For machines.
    Json,
}

/// One key with the value in force, as `check` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its text, without secrets.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where people connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin_listen: SocketAddr,
    /// Where embedded storage keeps its files.
    pub data_dir: PathBuf,
    /// Where messages, rooms and accounts live; [`Config::store_path`] resolves a file.
    pub store: StoreAt,
    /// What carries events between nodes.
    pub channel_layer: ChannelLayerAt,
    /// Where sessions live; [`Config::sessions_path`] resolves a file.
    pub sessions: SessionsAt,
    /// What this installation's names begin with on servers that it shares with others.
    pub namespace: String,
    /// How people reach the server from outside, if that was said.
    pub public_url: Option<PublicUrl>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Who may register.
    pub registration: Registration,
    /// Whether throttles are on.
    pub limits: bool,
    /// What the server is called in the client.
    pub name: String,
    /// How long a session lasts without being used.
    pub session_life: Duration,
    /// How long a stop may take in all.
    pub shutdown_deadline: Duration,
    /// How long a server that stops still takes new connections.
    pub drain_delay: Duration,
    /// How long the return of connections is spread over at most at a stop.
    pub drain_window: Duration,
    /// How many connections are closed in a second at a stop.
    pub drain_pace: u32,
    /// Threads that serve connections; `None` is one for each processor.
    pub threads: Option<NonZeroUsize>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
    /// Who collects traces, if anybody does.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// Of a million requests, how many are traced.
    pub trace_ratio: u32,
    settings: Vec<Setting>,
}

impl Config {
    /// Reads the configuration from flags, variables and the file that either names.
    ///
    /// # Errors
    /// Everything that is wrong, as one [`Error`] or [`Error::Several`].
    pub fn load(flags: &Flags, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Error> {
        let mut problems = Vec::new();
        let values = sources::gather(flags, variables, &mut problems);
        let config = Self::from_values(&values, &mut problems);
        match (config, problems.len()) {
            (Some(config), 0) => Ok(config),
            (_, 1) => Err(problems.remove(0)),
            _ => Err(Error::Several(problems)),
        }
    }

    /// The configuration with a data directory and free ports, and defaults for the rest: what tests start from.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn for_directory(data_dir: &Path) -> Result<Self, Error> {
        let text = data_dir.to_string_lossy().into_owned();
        let flags = Flags {
            file: None,
            values: vec![
                ("listen", "127.0.0.1:0".to_owned()),
                ("admin-listen", "127.0.0.1:0".to_owned()),
                ("data-dir", text),
            ],
        };
        Self::load(&flags, [])
    }

    fn from_values(values: &Values, problems: &mut Vec<Error>) -> Option<Self> {
        let mut reader = Reader { values, problems };
        // Every key is read before the first `?`, so that all problems are found at once.
        let listen = reader.read("listen", value::address);
        let admin_listen = reader.read("admin-listen", value::address);
        let data_dir = reader.read("data-dir", value::directory);
        let store = reader.read("store", value::store);
        let channel_layer = reader.read("channel-layer", value::channel_layer);
        let sessions = reader.read("sessions", value::sessions);
        let namespace = reader.read("namespace", value::namespace);
        let public_url = reader.read("public-url", value::public_url);
        let trusted_proxies = reader.read("trusted-proxies", value::networks);
        let registration = reader.read("registration", value::registration);
        let limits = reader.read("limits", value::switch);
        let name = reader.read("name", value::title);
        let session_life = reader.read("session-life", value::session_life);
        let shutdown_deadline = reader.read("shutdown-deadline", value::shutdown_deadline);
        let drain_delay = reader.read("drain-delay", value::drain_delay);
        let drain_window = reader.read("drain-window", value::drain_window);
        let drain_pace = reader.read("drain-pace", value::drain_pace);
        let threads = reader.read("threads", value::threads);
        let log_format = reader.read("log-format", value::log_format);
        let log_filter = reader.read("log-filter", value::log_filter);
        let otlp_endpoint = reader.read("otlp-endpoint", value::otlp_endpoint);
        let trace_ratio = reader.read("trace-ratio", value::trace_ratio);
        let (mut store, mut channel_layer, mut sessions) = (store?, channel_layer?, sessions?);
        fit::fit(&mut reader, &mut store, &mut channel_layer, &mut sessions);
        fit::drain(&mut reader, drain_delay, shutdown_deadline);
        Some(Self {
            listen: listen?,
            admin_listen: admin_listen?,
            data_dir: data_dir?,
            store,
            channel_layer,
            sessions,
            namespace: namespace?,
            public_url: public_url?,
            trusted_proxies: trusted_proxies?,
            registration: registration?,
            limits: limits?,
            name: name?,
            session_life: session_life?,
            shutdown_deadline: shutdown_deadline?,
            drain_delay: drain_delay?,
            drain_window: drain_window?,
            drain_pace: drain_pace?,
            threads: threads?,
            log_format: log_format?,
            log_filter: log_filter?,
            otlp_endpoint: otlp_endpoint?,
            trace_ratio: trace_ratio?,
            settings: settings(values),
        })
    }

    /// The store's database file; `None` if the store is on servers.
    #[must_use]
    pub fn store_path(&self) -> Option<PathBuf> {
        match &self.store {
            StoreAt::Sqlite(file) => Some(file.path(&self.data_dir, "natter.db")),
            StoreAt::Cql(_) => None,
        }
    }

    /// The sessions' database file; `None` if they are on servers.
    #[must_use]
    pub fn sessions_path(&self) -> Option<PathBuf> {
        match &self.sessions {
            SessionsAt::Sqlite(file) => Some(file.path(&self.data_dir, "sessions.db")),
            SessionsAt::Redis(_) => None,
        }
    }

    /// Every key with the value in force and where it came from, without secrets.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

fn settings(values: &Values) -> Vec<Setting> {
    KEYS.iter()
        .filter_map(|key| {
            let raw = values.get(key.name)?;
            Some(Setting {
                key: key.name,
                value: redacted(&raw.text),
                origin: raw.origin.clone(),
            })
        })
        .collect()
}

struct Reader<'a> {
    values: &'a Values,
    problems: &'a mut Vec<Error>,
}

impl Reader<'_> {
    fn read<T>(&mut self, key: &'static str, parse: fn(&str) -> Result<T, Wrong>) -> Option<T> {
        let raw = self.values.get(key)?;
        let Wrong::Expected { what, meant } = match parse(&raw.text) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        let (origin, value) = (raw.origin.clone(), redacted(&raw.text));
        self.problems.push(Error::BadValue {
            key,
            origin,
            value,
            what,
            meant,
        });
        None
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.value.is_empty() { "(none)" } else { &self.value };
        write!(f, "{:<20} {value:<28} {}", self.key, self.origin)
    }
}
