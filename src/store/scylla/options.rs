//! The address of a cluster, as people write it, and what it means.

use std::fmt;
use std::path::PathBuf;

use crate::config::{CqlAddress, TlsFiles};

/// Where the cluster is, and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct ScyllaOptions {
    /// `host:port` of the nodes to begin with; the others are learnt from them.
    pub nodes: Vec<String>,
    /// The keyspace.
    pub keyspace: String,
    /// Name and password.
    pub credentials: Option<(String, String)>,
    /// The data centre whose replicas answer; without it the driver asks any.
    pub datacenter: Option<String>,
    /// Copies that `migrate` gives a keyspace that it makes; three, or as many as there are nodes, if nothing is said.
    pub replication: Option<u8>,
    /// Whether the connection is encrypted, and with what.
    pub tls: Option<TlsFiles>,
    /// The name that the servers' certificates hold; without it they have to hold the servers' addresses.
    pub tls_name: Option<String>,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Another scheme, or none.
    #[error("a store's address begins with scylla:// or cassandra://, as in scylla://HOST:9042/natter")]
    Scheme,
    /// No host.
    #[error("the store's address names no host: write scylla://HOST:9042/natter")]
    NoHost,
    /// A host that can't be one.
    #[error("\"{0}\" in the store's address is not HOST or HOST:PORT")]
    Host(String),
    /// No keyspace.
    #[error("the store's address names no keyspace: write scylla://HOST:9042/natter")]
    NoKeyspace,
    /// A keyspace that can't be one.
    #[error("the keyspace \"{0}\" is not a name: up to 48 lower-case letters, digits and \"_\", a letter first")]
    Keyspace(String),
    /// Half of the credentials.
    #[error("the store's address holds a user without a password: write scylla://USER:PASSWORD@HOST:9042/natter")]
    Password,
    /// A percent sign that stands for nothing.
    #[error("the user or password in the store's address is not percent-encoded UTF-8")]
    Encoding,
    /// The password's file can't be read.
    #[error("the CQL password's file {0} can't be read: {1}")]
    PasswordFile(PathBuf, String),
    /// An option that does not exist.
    #[error("the store's address has the unknown option \"{0}\": there are datacenter, replication, tls and tls_ca")]
    Unknown(String),
    /// An option with a value that makes no sense.
    #[error("the option \"{option}\" in the store's address is \"{value}\", not {expected}")]
    Value {
        /// Which.
        option: &'static str,
        /// What it says.
        value: String,
        /// What it should.
        expected: &'static str,
    },
}

/// The port of CQL.
const PORT: u16 = 9_042;

impl ScyllaOptions {
    /// Reads `scylla://[user:password@]host[:port][,host[:port]]/keyspace[?options]`; `cassandra://` is the same.
    ///
    /// # Errors
    /// [`OptionsError`] says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let rest = ["scylla://", "cassandra://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .ok_or(OptionsError::Scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A password may hold an @ by mistake: the last one ends it.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(read_credentials(credentials)?), rest),
            None => (None, rest),
        };
        let (hosts, keyspace) = rest.split_once('/').unwrap_or((rest, ""));
        if hosts.is_empty() {
            return Err(OptionsError::NoHost);
        }
        let nodes = hosts.split(',').map(node).collect::<Result<_, _>>()?;
        let mut options = Self {
            nodes,
            keyspace: checked_keyspace(keyspace.trim_end_matches('/'))?,
            credentials,
            datacenter: None,
            replication: None,
            tls: None,
            tls_name: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            options.set(name, value)?;
        }
        Ok(options)
    }

    /// The options that the configuration holds. Reads the password's file, so it blocks on the disk.
    ///
    /// # Errors
    /// [`OptionsError::PasswordFile`], [`OptionsError::Password`].
    pub fn of(address: &CqlAddress) -> Result<Self, OptionsError> {
        let login = &address.credentials;
        let password = match (&login.password, &login.password_file) {
            (Some(password), _) => Some(password.reveal().to_owned()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| OptionsError::PasswordFile(file.clone(), error.to_string()))?;
                Some(text.lines().next().unwrap_or_default().to_owned())
            }
            (None, None) => None,
        };
        let credentials = match (login.user.clone(), password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err(OptionsError::Password),
        };
        Ok(Self {
            nodes: address.servers.iter().map(ToString::to_string).collect(),
            keyspace: address.keyspace.clone(),
            credentials,
            datacenter: address.datacenter.clone(),
            replication: address.replication,
            tls: address.tls.clone(),
            tls_name: address.tls_name.clone(),
        })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OptionsError> {
        let wrong = |option, expected| OptionsError::Value {
            option,
            value: value.to_owned(),
            expected,
        };
        match name {
            "datacenter" if is_word(value) => self.datacenter = Some(value.to_owned()),
            "datacenter" => return Err(wrong("datacenter", "the name of a data centre: letters, digits, _ - .")),
            "replication" => {
                let expected = "the number of copies, 1 to 9";
                let copies = value.parse().map_err(|_| wrong("replication", expected))?;
                if !(1..=9u8).contains(&copies) {
                    return Err(wrong("replication", expected));
                }
                self.replication = Some(copies);
            }
            "tls" if value == "true" => {
                self.tls.get_or_insert_default();
            }
            "tls" if value == "false" => self.tls = None,
            "tls" => return Err(wrong("tls", "true or false")),
            "tls_ca" if !value.is_empty() => {
                let path = decoded(value)?.into();
                self.tls.get_or_insert_default().ca = Some(path);
            }
            "tls_ca" => return Err(wrong("tls_ca", "the path of a PEM file")),
            other => return Err(OptionsError::Unknown(other.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for ScyllaOptions {
    /// The address without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scylla://{}/{}", self.nodes.join(","), self.keyspace)
    }
}

impl fmt::Debug for ScyllaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

fn checked_keyspace(name: &str) -> Result<String, OptionsError> {
    if name.is_empty() {
        return Err(OptionsError::NoKeyspace);
    }
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if name.len() > 48 || !name.bytes().all(good) || !name.as_bytes()[0].is_ascii_lowercase() {
        return Err(OptionsError::Keyspace(name.to_owned()));
    }
    Ok(name.to_owned())
}

fn node(text: &str) -> Result<String, OptionsError> {
    let wrong = || OptionsError::Host(text.to_owned());
    let (host, port) = match text.rsplit_once(':') {
        // An address of IPv6 holds colons of its own, within brackets.
        Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().map_err(|_| wrong())?),
        _ => (text, PORT),
    };
    let plain = host.starts_with('[') && host.ends_with(']') || is_word(host);
    if !plain || port == 0 {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

fn read_credentials(text: &str) -> Result<(String, String), OptionsError> {
    let (user, password) = text.split_once(':').ok_or(OptionsError::Password)?;
    if user.is_empty() || password.is_empty() {
        return Err(OptionsError::Password);
    }
    Ok((decoded(user)?, decoded(password)?))
}

fn decoded(text: &str) -> Result<String, OptionsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else {
            return Err(OptionsError::Encoding);
        };
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(OptionsError::Encoding);
        };
        bytes.push(high << 4 | low);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| OptionsError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_all_it_may_hold() {
        let options = ScyllaOptions::parse(
            "scylla://nat%40ter:p%3Aw@a.example:9142,b,[::1]:9043/chat_1?datacenter=dc-1&replication=3&tls_ca=%2Fetc%2Fca.pem",
        )
        .unwrap();
        assert_eq!(options.nodes, ["a.example:9142", "b:9042", "[::1]:9043"]);
        assert_eq!(options.keyspace, "chat_1");
        assert_eq!(options.credentials, Some(("nat@ter".into(), "p:w".into())));
        assert_eq!(options.datacenter.as_deref(), Some("dc-1"));
        assert_eq!(options.replication, Some(3));
        assert_eq!(
            options.tls,
            Some(TlsFiles {
                ca: Some("/etc/ca.pem".into()),
                certificate: None
            })
        );
        assert_eq!(options.to_string(), "scylla://a.example:9142,b:9042,[::1]:9043/chat_1");
        let plain = ScyllaOptions::parse("cassandra://127.0.0.1/natter").unwrap();
        assert_eq!(
            (plain.nodes[0].as_str(), plain.replication, plain.tls),
            ("127.0.0.1:9042", None, None)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text: &str| ScyllaOptions::parse(text).unwrap_err();
        assert_eq!(error("redis://h/k"), OptionsError::Scheme);
        assert_eq!(error("scylla:///k"), OptionsError::NoHost);
        assert_eq!(error("scylla://h"), OptionsError::NoKeyspace);
        assert_eq!(error("scylla://h:port/k"), OptionsError::Host("h:port".into()));
        assert_eq!(error("scylla://h,/k"), OptionsError::Host(String::new()));
        assert_eq!(error("scylla://h/K"), OptionsError::Keyspace("K".into()));
        assert_eq!(error("scylla://u@h/k"), OptionsError::Password);
        assert_eq!(error("scylla://u:%2@h/k"), OptionsError::Encoding);
        assert_eq!(error("scylla://h/k?colour=red"), OptionsError::Unknown("colour".into()));
        let shown = error("scylla://h/k?replication=0").to_string();
        assert_eq!(
            shown,
            "the option \"replication\" in the store's address is \"0\", not the number of copies, 1 to 9"
        );
    }
}
