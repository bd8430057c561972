//! Addresses of the servers that a cluster shares: NATS, ScyllaDB or Cassandra, and Redis.
//!
//! Reads them out of their texts and keeps passwords where nothing prints them. It resolves no name and opens no file:
//! whoever connects does.

use std::fmt;
use std::path::PathBuf;

use super::redacted;
use super::value::Wrong;
use crate::limits::{LAYER_SUBSCRIPTION_QUEUE_MAX, SERVERS_MAX};

/// A text that no log, message or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever logs in with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A server's name or address, and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The files of a TLS connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificates of the authorities that are believed; none are the system's.
    pub ca: Option<PathBuf>,
    /// This node's PEM certificate and its key, where the server asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// As whom to log in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: Option<String>,
    /// The password, where the address has it.
    pub password: Option<Secret>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
}

/// How a node proves itself to NATS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsAuth {
    /// Not at all.
    None,
    /// By user and password.
    Password(String, Secret),
    /// By a token.
    Token(Secret),
    /// By the token in the first line of a file.
    TokenFile(PathBuf),
    /// By a file of credentials (JWT and seed).
    Creds(PathBuf),
    /// By the seed of an nkey in a file.
    Nkey(PathBuf),
}

/// Where NATS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsAddress {
    /// The servers to begin with; they name their peers.
    pub servers: Vec<Server>,
    /// Whether TLS is a must; without, it is used where the server asks for it.
    pub tls: bool,
    /// How a node proves itself.
    pub auth: NatsAuth,
    /// TLS files.
    pub files: TlsFiles,
    /// How many events of one room may wait until they are taken.
    pub queue: usize,
}

/// Where ScyllaDB or Cassandra is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CqlAddress {
    /// The servers to begin with; they name their peers.
    pub servers: Vec<Server>,
    /// The keyspace.
    pub keyspace: String,
    /// As whom to log in.
    pub credentials: Credentials,
    /// Whether the connection is encrypted, and with what; given by `cql-ca`.
    pub tls: Option<TlsFiles>,
    /// The name that the servers' certificates hold; `None` checks them against the servers' addresses.
    pub tls_name: Option<String>,
    /// The datacenter of this node; `None` takes all servers for near.
    pub datacenter: Option<String>,
    /// Copies of each row when `migrate` makes the keyspace; `None` is 3, or fewer where there are fewer servers.
    pub replication: Option<u8>,
}

/// How Redis is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisKind {
    /// One server.
    Single,
    /// Sentinels that know the master of this name.
    Sentinel(String),
    /// A cluster.
    Cluster,
}

/// Where Redis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// The server, the sentinels or some members of the cluster.
    pub servers: Vec<Server>,
    /// How it is run.
    pub kind: RedisKind,
    /// The number of the database; a cluster has only 0.
    pub database: u8,
    /// As whom to log in.
    pub credentials: Credentials,
    /// Whether the connection is encrypted, and with what; `rediss` says so.
    pub tls: Option<TlsFiles>,
}

const NATS: &str = "local, or nats://[USER:PASSWORD@]HOST[:PORT][,HOST...] (tls:// for TLS)";
const CQL: &str = "sqlite, sqlite:PATH, or scylla://[USER:PASSWORD@]HOST[:PORT][,HOST...]/KEYSPACE (also cassandra://)";
const REDIS: &str = "sqlite, sqlite:PATH, redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], \
                     redis+sentinel://HOST[,HOST...]/MASTER[/DATABASE] or redis+cluster://HOST[,HOST...] \
                     (rediss for TLS)";

fn wrong(what: impl Into<String>, meant: Option<String>) -> Wrong {
    Wrong::Expected {
        what: what.into(),
        meant,
    }
}

/// Reads a NATS address.
pub fn nats(text: &str) -> Result<NatsAddress, Wrong> {
    let parts = Parts::read(text, 4222, NATS)?;
    if !parts.path.is_empty() {
        return Err(wrong(format!("{NATS}, without a path"), None));
    }
    let auth = match (parts.user, parts.password) {
        (Some(user), Some(password)) => NatsAuth::Password(user, password),
        (Some(token), None) => NatsAuth::Token(Secret(token)),
        (None, _) => NatsAuth::None,
    };
    Ok(NatsAddress {
        servers: parts.servers,
        tls: parts.scheme == "tls",
        auth,
        files: TlsFiles::default(),
        queue: LAYER_SUBSCRIPTION_QUEUE_MAX,
    })
}

/// Reads an address of ScyllaDB or Cassandra.
pub fn cql(text: &str) -> Result<CqlAddress, Wrong> {
    let parts = Parts::read(text, 9042, CQL)?;
    if parts.path.is_empty() {
        let meant = format!("{}/natter", redacted(text).trim_end_matches('/'));
        return Err(wrong(CQL, Some(meant)));
    }
    let keyspace = parts.path;
    let plain = keyspace
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !plain || keyspace.len() > 48 || !keyspace.starts_with(|first: char| first.is_ascii_lowercase()) {
        let what = format!("{CQL}, with a keyspace of 1 to 48 of a-z, 0-9 and _ that begins with a letter");
        return Err(wrong(what, None));
    }
    if parts.user.is_none() != parts.password.is_none() && parts.user.is_none() {
        return Err(wrong(format!("{CQL}: a password needs its user"), None));
    }
    Ok(CqlAddress {
        servers: parts.servers,
        keyspace,
        credentials: Credentials {
            user: parts.user,
            password: parts.password,
            password_file: None,
        },
        tls: None,
        tls_name: None,
        datacenter: None,
        replication: None,
    })
}

/// Reads a Redis address.
pub fn redis(text: &str) -> Result<RedisAddress, Wrong> {
    let (scheme, _) = text.split_once("://").unwrap_or((text, ""));
    let (tls, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
        (base @ ("redis" | "rediss"), kind) => (base == "rediss", kind),
        _ => return Err(wrong(REDIS, None)),
    };
    let port = if kind == "sentinel" { 26_379 } else { 6_379 };
    let parts = Parts::read(text, port, REDIS)?;
    let several = parts.servers.len() > 1;
    let (kind, database) = match (kind, parts.path.split_once('/')) {
        ("", None) if several => {
            let hint = "one server; several are redis+sentinel:// or redis+cluster://";
            return Err(wrong(hint, None));
        }
        ("", None) => (RedisKind::Single, parts.path.as_str()),
        ("sentinel", None) if !parts.path.is_empty() => (RedisKind::Sentinel(parts.path.clone()), ""),
        ("sentinel", Some((master, database))) if !master.is_empty() => {
            (RedisKind::Sentinel(master.to_owned()), database)
        }
        ("cluster", None) if parts.path.is_empty() || parts.path == "0" => (RedisKind::Cluster, ""),
        _ => return Err(wrong(REDIS, None)),
    };
    let database = if database.is_empty() { Ok(0) } else { database.parse() };
    Ok(RedisAddress {
        kind,
        database: database.map_err(|_| wrong("a database's number from 0 to 255 behind the slash", None))?,
        credentials: Credentials {
            user: parts.user.filter(|user| !user.is_empty()),
            password: parts.password,
            password_file: None,
        },
        tls: tls.then(TlsFiles::default),
        servers: parts.servers,
    })
}

/// What all of these addresses have in common.
struct Parts {
    scheme: String,
    user: Option<String>,
    password: Option<Secret>,
    servers: Vec<Server>,
    path: String,
}

impl Parts {
    /// `scheme://[user[:password]@]host[:port][,host...][/path]`, in which a host may have the scheme and the same
    /// user again.
    fn read(text: &str, port: u16, what: &'static str) -> Result<Self, Wrong> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(what, None))?;
        let mut parts = Self {
            scheme: scheme.to_owned(),
            user: None,
            password: None,
            servers: Vec::new(),
            path: String::new(),
        };
        for piece in rest.split(&format!(",{scheme}://")) {
            // An unescaped slash in a password would end the authority early, so the last "@" decides.
            let (login, hosts) = match piece.rsplit_once('@') {
                Some((login, hosts)) => (Some(login), hosts),
                None => (None, piece),
            };
            if let Some(login) = login {
                let same = parts.log_in(login, what)?;
                if !same {
                    return Err(wrong(format!("{what}, with the same user for every host"), None));
                }
            }
            let (hosts, path) = hosts.split_once('/').unwrap_or((hosts, ""));
            if hosts.contains('?') || path.contains('?') {
                return Err(wrong(
                    format!("{what}; there are no options behind a question mark"),
                    None,
                ));
            }
            path.trim_end_matches('/').clone_into(&mut parts.path);
            for host in hosts.split(',') {
                let server = server(host.trim(), port).ok_or_else(|| wrong(what, None))?;
                parts.servers.push(server);
            }
        }
        if parts.servers.len() > SERVERS_MAX {
            return Err(wrong(
                format!("at most {SERVERS_MAX} hosts; the servers name their peers"),
                None,
            ));
        }
        Ok(parts)
    }

    /// Takes user and password; false if others were given before.
    fn log_in(&mut self, login: &str, what: &str) -> Result<bool, Wrong> {
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let decode = |text: &str| decoded(text).ok_or_else(|| wrong(format!("{what}, % only before two digits"), None));
        let user = Some(decode(user)?);
        let password = password.map(decode).transpose()?.map(Secret);
        let first = self.user.is_none();
        let same = first || (self.user == user && self.password == password);
        (self.user, self.password) = (user, password);
        Ok(same)
    }
}

fn server(text: &str, usual: u16) -> Option<Server> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':')?)
                },
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    let known = !host.is_empty() && host.bytes().all(plain);
    let port = port.map_or(Some(usual), |port| port.parse().ok().filter(|port| *port != 0))?;
    known.then(|| Server {
        host: host.to_owned(),
        port,
    })
}

/// A text with its `%XX` resolved; `None` if one is broken or the result is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
