//! Where Redis is and how it is reached, read from one address.
//!
//! No error and no `Debug` repeats any part of the address but its form: a password that was mistyped could stand
//! anywhere in it.

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};

use super::{Error, Result};

/// What stands before every key when nothing else is said.
pub const DEFAULT_PREFIX: &str = "natter:";

const FORMS: &str = "redis://[user:password@]host:port[/db], rediss:// for TLS, \
     redis+sentinel://host:port,host:port/MASTER[/db] or redis+cluster://host:port,host:port";

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or an address, without brackets.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// How Redis is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(Host),
    /// Sentinels that know who is the master; asked again at each new connection.
    Sentinel {
        /// Where the sentinels are.
        sentinels: Vec<Host>,
        /// What they call the master.
        master: String,
    },
    /// Some nodes of a cluster; it tells about the others.
    Cluster(Vec<Host>),
}

/// A user and a password, either of which may be absent.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    user: Option<String>,
    password: Option<String>,
}

/// Where Redis is and how it is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    topology: Topology,
    tls: bool,
    credentials: Credentials,
    sentinel_credentials: Credentials,
    db: i64,
    prefix: String,
    certificates: Certificates,
}

/// PEM texts of TLS.
#[derive(Clone, Default, PartialEq, Eq)]
struct Certificates {
    authorities: Option<Vec<u8>>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("topology", &self.topology)
            .field("tls", &self.tls)
            .field("db", &self.db)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisOptions {
    /// Reads `redis://[user:password@]host:port[/db]`, `rediss://` for TLS,
    /// `redis+sentinel://host:port,host:port/MASTER[/db]` or `redis+cluster://host:port,host:port` (both also with
    /// `rediss+`). Reserved characters in user and password are percent-encoded. After a `?` may stand `prefix=`
    /// (what every key begins with), `sentinel_user=` and `sentinel_password=`.
    ///
    /// # Errors
    /// [`Error::Options`] says which part is wrong and what it should be.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| wrong(format!("the address has no scheme; write {FORMS}")))?;
        let (tls, layout) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis", layout) => (false, layout),
            ("rediss", layout) => (true, layout),
            _ => return Err(wrong(format!("the scheme is unknown; write {FORMS}"))),
        };
        // An unescaped slash in a password would end the authority early, so the last "@" of the whole text decides.
        let (user, rest) = rest
            .rsplit_once('@')
            .map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (topology, db) = match layout {
            "" => (Topology::Single(only(hosts_of(hosts, 6379)?)?), database(path)?),
            "cluster" if !path.is_empty() => {
                return Err(wrong(
                    "a cluster has no numbered databases; leave out what follows the hosts",
                ));
            }
            "cluster" => (Topology::Cluster(hosts_of(hosts, 6379)?), 0),
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(wrong(
                        "the master's name is missing; write redis+sentinel://host:port/MASTER",
                    ));
                }
                let topology = Topology::Sentinel {
                    sentinels: hosts_of(hosts, 26379)?,
                    master: decoded(master)?,
                };
                (topology, database(db)?)
            }
            _ => return Err(wrong(format!("the scheme is unknown; write {FORMS}"))),
        };
        let mut options = Self {
            topology,
            tls,
            credentials: credentials(user)?,
            sentinel_credentials: Credentials::default(),
            db,
            prefix: DEFAULT_PREFIX.into(),
            certificates: Certificates::default(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)?;
            match name {
                "prefix" => options = options.with_prefix(&value)?,
                "sentinel_user" => options.sentinel_credentials.user = Some(value),
                "sentinel_password" => options.sentinel_credentials.password = Some(value),
                _ => {
                    return Err(wrong(
                        "an option after `?` is unknown; there are prefix, sentinel_user and sentinel_password",
                    ));
                }
            }
        }
        Ok(options)
    }

    /// The same with another text before every key, so that several installations share one Redis.
    ///
    /// # Errors
    /// [`Error::Options`] if it is empty, longer than 64 bytes, or holds anything but letters, digits and `:_-./`.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":_-./".contains(&byte);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(fits) {
            return Err(wrong(
                "the prefix of the keys must be 1 to 64 letters, digits or `:_-./`",
            ));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// The same with PEM certificates: of the authorities that are believed in place of the system's, and this node's
    /// own with its key. They matter only where the address asks for TLS.
    #[must_use]
    pub fn with_certificates(mut self, authorities: Option<Vec<u8>>, own: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        self.certificates = Certificates { authorities, own };
        self
    }

    /// Whether it is spoken to with TLS.
    pub(super) const fn tls(&self) -> bool {
        self.tls
    }

    /// The certificates as the client takes them; `None` leaves everything to the system.
    pub(super) fn certificates(&self) -> Option<TlsCertificates> {
        let Certificates { authorities, own } = self.certificates.clone();
        (self.tls && (authorities.is_some() || own.is_some())).then(|| TlsCertificates {
            client_tls: own.map(|(client_cert, client_key)| ClientTlsConfig {
                client_cert,
                client_key,
            }),
            root_cert: authorities,
        })
    }

    /// What stands before every key.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How Redis is laid out.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How a server that holds data is connected to.
    pub(super) fn data_node(&self, host: &Host) -> Result<ConnectionInfo> {
        self.info(host, &self.credentials, self.db)
    }

    /// How a sentinel is connected to.
    pub(super) fn sentinel(&self, host: &Host) -> Result<ConnectionInfo> {
        self.info(host, &self.sentinel_credentials, 0)
    }

    fn info(&self, host: &Host, credentials: &Credentials, db: i64) -> Result<ConnectionInfo> {
        let (name, port) = (host.name.clone(), host.port);
        let address = if self.tls {
            ConnectionAddr::TcpTls {
                host: name,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(name, port)
        };
        let mut settings = RedisConnectionInfo::default().set_db(db);
        if let Some(user) = &credentials.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &credentials.password {
            settings = settings.set_password(password);
        }
        let info = address
            .into_connection_info()
            .map_err(|_| wrong("a host can't be connected to as it is written"))?;
        Ok(info
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::Options(what.into())
}

fn only(mut hosts: Vec<Host>) -> Result<Host> {
    match (hosts.pop(), hosts.is_empty()) {
        (Some(host), true) => Ok(host),
        _ => Err(wrong(
            "redis:// takes one host; with several write redis+sentinel:// or redis+cluster://",
        )),
    }
}

fn hosts_of(text: &str, default_port: u16) -> Result<Vec<Host>> {
    let host = |(index, text): (usize, &str)| {
        let number = index + 1;
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest
                    .split_once(']')
                    .ok_or_else(|| wrong(format!("host {number} opens a bracket and does not close it")))?;
                (name, port.strip_prefix(':'))
            }
            None => text
                .split_once(':')
                .map_or((text, None), |(name, port)| (name, Some(port))),
        };
        if name.is_empty() {
            return Err(wrong(format!("host {number} is empty; write host:port")));
        }
        let port = port.map_or(Ok(default_port), str::parse);
        Ok(Host {
            name: name.to_owned(),
            port: port.map_err(|_| wrong(format!("the port of host {number} is not a number up to 65535")))?,
        })
    };
    text.split(',').enumerate().map(host).collect()
}

fn database(text: &str) -> Result<i64> {
    match text {
        "" => Ok(0),
        _ => text
            .parse()
            .ok()
            .filter(|db| *db >= 0)
            .ok_or_else(|| wrong("what follows the last `/` must be a database's number, such as 0")),
    }
}

fn credentials(text: Option<&str>) -> Result<Credentials> {
    let Some(text) = text else {
        return Ok(Credentials::default());
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let part = |text: &str| (!text.is_empty()).then(|| decoded(text)).transpose();
    let credentials = Credentials {
        user: part(user)?,
        password: part(password)?,
    };
    if credentials.user.is_some() && credentials.password.is_none() {
        return Err(wrong("the user has no password; write user:password@ or :password@"));
    }
    Ok(credentials)
}

fn decoded(text: &str) -> Result<String> {
    let broken = || wrong("a percent sign must be followed by two hex digits, and the whole be UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).map_err(|_| broken())?,
                    _ => return Err(broken()),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host {
            name: name.into(),
            port,
        }
    }

    #[test]
    fn every_form_is_read() {
        let options = RedisOptions::parse("redis://h").unwrap();
        assert_eq!(options.topology, Topology::Single(host("h", 6379)));
        assert_eq!((options.tls, options.db, options.prefix()), (false, 0, "natter:"));
        let options = RedisOptions::parse("rediss://ann:a%3ab/c@[::1]:7000/3?prefix=x:").unwrap();
        assert_eq!(options.topology, Topology::Single(host("::1", 7000)));
        assert_eq!((options.tls, options.db, options.prefix()), (true, 3, "x:"));
        assert_eq!(options.credentials.user.as_deref(), Some("ann"));
        assert_eq!(options.credentials.password.as_deref(), Some("a:b/c"));
        let options = RedisOptions::parse("redis+sentinel://:p@a,b:1/main/2?sentinel_password=q").unwrap();
        let sentinels = vec![host("a", 26379), host("b", 1)];
        let master = "main".to_owned();
        assert_eq!(options.topology, Topology::Sentinel { sentinels, master });
        assert_eq!(options.db, 2);
        assert_eq!(options.credentials.password.as_deref(), Some("p"));
        assert_eq!(options.sentinel_credentials.password.as_deref(), Some("q"));
        let options = RedisOptions::parse("redis+cluster://a:1,b:2").unwrap();
        assert_eq!(options.topology, Topology::Cluster(vec![host("a", 1), host("b", 2)]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("localhost:6379", "scheme"),
            ("http://h", "scheme"),
            ("redis+ring://h", "scheme"),
            ("redis://", "host 1"),
            ("redis://a,b", "one host"),
            ("redis://h:99999", "port of host 1"),
            ("redis://h/x", "database"),
            ("redis://h/-1", "database"),
            ("redis://[::1", "bracket"),
            ("redis://ann@h", "password"),
            ("redis://:%zz@h", "percent"),
            ("redis+sentinel://h:1", "master"),
            ("redis+cluster://h/1", "databases"),
            ("redis+cluster://a,,b", "host 2"),
            ("redis://h?x=1", "unknown"),
            ("redis://h?prefix={a}", "prefix"),
        ] {
            let error = RedisOptions::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn no_secret_is_repeated() {
        for text in [
            "redis://ann:geheim@h:1",
            "redis+sentinel://:geheim@h/main?sentinel_password=geheim",
            "redis://h:geheim",
            "redis://geheim:1:2",
            "geheim",
            "redis://h/geheim",
            "redis://h?geheim=geheim",
            "redis://:geheim%@h",
        ] {
            let shown = match RedisOptions::parse(text) {
                Ok(options) => format!("{options:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("geheim"), "{shown}");
        }
    }
}
