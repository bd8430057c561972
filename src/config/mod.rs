//! The configuration: flag over `NATTER_*` variable over TOML file over default, as typed values.
//!
//! Owns the table of keys and everything that reads it. It opens nothing but the file: whether an address can be bound
//! or a folder written is found out by whoever does it, and by `natter check`. Everything wrong is reported at once,
//! each with its key, its place and the nearest right one, so that a start is mended in one go.

mod address;
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

pub use address::{PublicUrl, redacted};
pub use flags::Flags;
pub use keys::{KEYS, Key};
pub use nearest::nearest;
pub use network::{InvalidNetwork, Network};
pub use sources::Origin;

use sources::Values;
use value::Wrong;

/// The largest configuration file, in bytes: far more than all keys need, little enough to read without thought.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What can be wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file has a key that does not exist.
    #[error("{origin}: there is no key {key:?}{}", did_you_mean(.meant.as_ref()))]
    UnknownKey {
        /// What was given.
        key: String,
        /// Where.
        origin: Origin,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A variable looks like one of ours and is none.
    #[error("variable {name}: there is no such variable{}", did_you_mean(.meant.as_ref()))]
    UnknownVariable {
        /// What was given.
        name: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A value is not what its key takes.
    #[error("{origin}: {key} can't be {value:?}: expected {what}{}", did_you_mean(.meant.as_ref()))]
    BadValue {
        /// The key.
        key: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// The value, without secrets.
        value: String,
        /// What the key takes.
        what: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A value is understood, and nothing serves it yet.
    #[error("{origin}: {key} = {value:?} is not built yet; what there is: {instead}")]
    NotBuilt {
        /// The key.
        key: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// The value, without secrets.
        value: String,
        /// What there is instead.
        instead: &'static str,
    },
    /// A table or something else where a text, number, switch or list belongs.
    #[error("{origin}: {key} must be a text, a number, true or false, or a list of texts")]
    NotPlain {
        /// The key.
        key: &'static str,
        /// Where.
        origin: Origin,
    },
    /// A variable that is not UTF-8.
    #[error("{origin}: its value is not UTF-8")]
    NotText {
        /// Where.
        origin: Origin,
    },
    /// The file can't be read.
    #[error("the configuration file {} can't be read: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The file is not TOML.
    #[error("{origin}: not TOML: {why}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the reader stumbled over.
        why: String,
    },
    /// Several things are wrong.
    #[error("{}", lines(.0))]
    Several(Vec<Error>),
}

fn did_you_mean(meant: Option<&String>) -> String {
    meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"))
}

fn lines(errors: &[Error]) -> String {
    errors.iter().map(Error::to_string).collect::<Vec<_>>().join("\n")
}

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
    /// Where messages, rooms and accounts live; [`Config::store_path`] resolves it.
    pub store: SqliteFile,
    /// Where sessions live; [`Config::sessions_path`] resolves it.
    pub sessions: SqliteFile,
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
    /// How long the return of connections is spread over at a stop.
    pub drain_window: Duration,
    /// Threads that serve connections; `None` is one for each processor.
    pub threads: Option<NonZeroUsize>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
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
        let layer = reader.read("channel-layer", value::channel_layer);
        let sessions = reader.read("sessions", value::sessions);
        let public_url = reader.read("public-url", value::public_url);
        let trusted_proxies = reader.read("trusted-proxies", value::networks);
        let registration = reader.read("registration", value::registration);
        let limits = reader.read("limits", value::switch);
        let name = reader.read("name", value::title);
        let session_life = reader.read("session-life", value::session_life);
        let shutdown_deadline = reader.read("shutdown-deadline", value::shutdown_deadline);
        let drain_window = reader.read("drain-window", value::drain_window);
        let threads = reader.read("threads", value::threads);
        let log_format = reader.read("log-format", value::log_format);
        let log_filter = reader.read("log-filter", value::log_filter);
        layer?;
        Some(Self {
            listen: listen?,
            admin_listen: admin_listen?,
            data_dir: data_dir?,
            store: store?,
            sessions: sessions?,
            public_url: public_url?,
            trusted_proxies: trusted_proxies?,
            registration: registration?,
            limits: limits?,
            name: name?,
            session_life: session_life?,
            shutdown_deadline: shutdown_deadline?,
            drain_window: drain_window?,
            threads: threads?,
            log_format: log_format?,
            log_filter: log_filter?,
            settings: settings(values),
        })
    }

    /// The store's database file.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.store.path(&self.data_dir, "natter.db")
    }

    /// The sessions' database file.
    #[must_use]
    pub fn sessions_path(&self) -> PathBuf {
        self.sessions.path(&self.data_dir, "sessions.db")
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
        let wrong = match parse(&raw.text) {
            Ok(value) => return Some(value),
            Err(wrong) => wrong,
        };
        let (origin, value) = (raw.origin.clone(), redacted(&raw.text));
        self.problems.push(match wrong {
            Wrong::Expected { what, meant } => Error::BadValue {
                key,
                origin,
                value,
                what,
                meant,
            },
            Wrong::NotBuilt { instead } => Error::NotBuilt {
                key,
                origin,
                value,
                instead,
            },
        });
        None
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.value.is_empty() { "(none)" } else { &self.value };
        write!(f, "{:<18} {value:<28} {}", self.key, self.origin)
    }
}
