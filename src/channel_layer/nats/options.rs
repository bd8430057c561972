//! What a node has to know to reach NATS: where it is, how to log in, and how it proves who it is.
//!
//! Secrets are in [`Login`] alone, which never shows them; errors name the part that is wrong, never its value where
//! that may be secret.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits;

/// What can go wrong while NATS is configured or first reached.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// The address is none.
    #[error(
        "the NATS address {0}; it has the form nats://host:4222, with tls:// for TLS, user:password@ or token@ before \
         the host, and further hosts after commas"
    )]
    Address(String),
    /// An option has a value that it can't have.
    #[error("the NATS option {option} {wrong}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong, and what would be right.
        wrong: String,
    },
    /// A file can't be read or used.
    #[error("the NATS {what} {path} can't be used: {reason}", path = path.display())]
    File {
        /// What is in it.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The server does not let us in.
    #[error("NATS at {servers} refused the log-in ({login}): {reason}")]
    Refused {
        /// Where.
        servers: String,
        /// The kind of log-in.
        login: &'static str,
        /// Its words.
        reason: String,
    },
    /// No server answers.
    #[error("NATS at {servers} could not be reached within {} s: {reason}", waited.as_secs())]
    Unreachable {
        /// Where.
        servers: String,
        /// How long it was tried.
        waited: Duration,
        /// The last reason.
        reason: String,
    },
    /// Messages that the node publishes do not come back to it.
    #[error(
        "NATS at {servers} lets this node in but passes no message on: its user must be allowed to publish and \
         subscribe on {prefix}.> and _INBOX.>{reason}"
    )]
    Mute {
        /// Where.
        servers: String,
        /// The prefix of the subjects.
        prefix: String,
        /// What the server said, where it did.
        reason: String,
    },
}

/// How a node logs in to NATS.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Login {
    /// Not at all.
    #[default]
    Open,
    /// By name and password.
    User {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// By a token.
    Token(String),
    /// By an nkey's seed (`SU...`).
    Nkey(String),
    /// By a credentials file (a JWT and a seed).
    Credentials(PathBuf),
}

impl Login {
    /// The kind, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Open => "without any",
            Self::User { .. } => "user and password",
            Self::Token(_) => "token",
            Self::Nkey(_) => "nkey",
            Self::Credentials(_) => "credentials file",
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// A client certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Everything about NATS that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// The servers, each `host:port`; more are learned from them.
    pub servers: Vec<String>,
    /// Whether the connection must be encrypted. A server that demands it is obeyed in any case.
    pub tls: bool,
    /// How to log in.
    pub login: Login,
    /// A PEM file with the authorities to trust in place of the system's; asks for TLS.
    pub ca: Option<PathBuf>,
    /// What to show a server that wants to see a certificate; asks for TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// What all subjects begin with; two clusters on one NATS differ in it.
    pub prefix: String,
    /// Client connections, 2 to [`limits::LAYER_CONNECTIONS_MAX`]: each is parsed by one task on one core.
    pub connections: usize,
    /// What may wait for this node before something is dropped.
    pub capacity: usize,
    /// How many messages of one room the client keeps until they are moved to where `capacity` counts.
    pub subscription_capacity: usize,
    /// How long to try before a first connection counts as failed.
    pub connect_wait: Duration,
    /// What the server shows as the connection's name.
    pub name: String,
}

impl Default for NatsOptions {
    fn default() -> Self {
        Self {
            servers: vec!["127.0.0.1:4222".into()],
            tls: false,
            login: Login::Open,
            ca: None,
            client_certificate: None,
            prefix: "natter".into(),
            connections: limits::LAYER_CONNECTIONS,
            capacity: limits::LAYER_QUEUE_MAX,
            subscription_capacity: limits::LAYER_SUBSCRIPTION_QUEUE_MAX,
            connect_wait: limits::LAYER_CONNECT_WAIT,
            name: "natter".into(),
        }
    }
}

impl NatsOptions {
    /// Reads `nats://[user:password@|token@]host[:port][,host[:port]...]`, or the same with `tls://`. `%` and two hex
    /// digits stand for a byte in the user, password and token. The rest is as [`NatsOptions::default`] has it.
    ///
    /// # Errors
    /// [`NatsError::Address`], without the secret parts.
    pub fn parse(address: &str) -> Result<Self, NatsError> {
        let wrong = |what: &str| NatsError::Address(what.to_owned());
        let (scheme, rest) = address.split_once("://").ok_or_else(|| wrong("has no scheme"))?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(wrong("begins with neither nats:// nor tls://")),
        };
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (read_login(login)?, hosts),
            None => (Login::Open, rest),
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        let servers = hosts.split(',').map(read_host).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            servers,
            tls,
            login,
            ..Self::default()
        })
    }

    /// The servers as messages name them.
    pub(super) fn place(&self) -> String {
        self.servers.join(", ")
    }

    /// Whether the client must insist on TLS.
    pub(super) fn needs_tls(&self) -> bool {
        self.tls || self.ca.is_some() || self.client_certificate.is_some()
    }

    /// Fails where a value can't be used, before anything is connected.
    pub(super) fn check(&self) -> Result<(), NatsError> {
        let wrong = |option, wrong: &str| {
            let wrong = wrong.to_owned();
            Err(NatsError::Option { option, wrong })
        };
        let segment = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        if self.servers.is_empty() {
            return wrong("servers", "names none; name at least one host:port");
        }
        if self.prefix.len() > 64 || !self.prefix.split('.').all(segment) {
            return wrong(
                "prefix",
                "must be 1 to 64 letters, digits, '_' and '-', in parts with '.' between them",
            );
        }
        if !(2..=limits::LAYER_CONNECTIONS_MAX).contains(&self.connections) {
            let most = limits::LAYER_CONNECTIONS_MAX;
            return wrong("connections", &format!("must be 2 to {most}, not {}", self.connections));
        }
        if self.capacity == 0 || self.subscription_capacity == 0 {
            return wrong("capacity", "must be at least 1");
        }
        let files = [
            ("certificate authorities file", self.ca.as_ref()),
            (
                "client certificate",
                self.client_certificate.as_ref().map(|own| &own.certificate),
            ),
            (
                "client certificate's key",
                self.client_certificate.as_ref().map(|own| &own.key),
            ),
        ];
        for (what, path) in files {
            let Some(path) = path else { continue };
            let file = |reason: String| NatsError::File {
                what,
                path: path.clone(),
                reason,
            };
            let text = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
            if !text.contains("-----BEGIN ") {
                return Err(file("it is not a PEM file".into()));
            }
        }
        Ok(())
    }
}

fn read_login(text: &str) -> Result<Login, NatsError> {
    let part = |text: &str, name: &str| {
        let bytes = decode(text).filter(|decoded| !decoded.is_empty());
        bytes.ok_or_else(|| NatsError::Address(format!("has an empty or wrongly %-encoded {name} before the @")))
    };
    match text.split_once(':') {
        Some((user, password)) => Ok(Login::User {
            user: part(user, "user")?,
            password: part(password, "password")?,
        }),
        None => Ok(Login::Token(part(text, "token")?)),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            rest = after;
            let digit = |place: usize| char::from(digits[place]).to_digit(16);
            bytes.push(u8::try_from(16 * digit(0)? + digit(1)?).ok()?);
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn read_host(text: &str) -> Result<String, NatsError> {
    let wrong = |why: &str| NatsError::Address(format!("names the host {text:?}, which {why}"));
    // The brackets of an IPv6 address hold colons of their own.
    let after_brackets = text.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match text[after_brackets..].rfind(':') {
        Some(colon) => text.split_at(after_brackets + colon),
        None => (text, ":4222"),
    };
    if !matches!(port[1..].parse::<u16>(), Ok(1..)) {
        return Err(wrong("has no port from 1 to 65535 after its colon"));
    }
    let named = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let six = bracketed.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    if host.is_empty() || !(named || six) {
        return Err(wrong("is neither a name nor an address"));
    }
    Ok(format!("{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let plain = NatsOptions::parse("nats://localhost").unwrap();
        assert_eq!(
            plain,
            NatsOptions {
                servers: vec!["localhost:4222".into()],
                ..NatsOptions::default()
            }
        );
        let full = NatsOptions::parse("tls://us%40er:pa%3ass@a.example:1,10.0.0.1,[::1]:42").unwrap();
        assert!(full.tls && full.needs_tls());
        assert_eq!(full.servers, ["a.example:1", "10.0.0.1:4222", "[::1]:42"]);
        let (user, password) = ("us@er".to_owned(), "pa:ss".to_owned());
        assert_eq!(full.login, Login::User { user, password });
        let token = NatsOptions::parse("nats://s3cret@h:1/").unwrap();
        assert_eq!(token.login, Login::Token("s3cret".into()));
    }

    #[test]
    fn wrong_addresses_are_told_without_their_secrets() {
        for (address, part) in [
            ("localhost:4222", "no scheme"),
            ("redis://h", "neither nats://"),
            ("nats://", "neither a name"),
            ("nats://s3cret:s3cret@", "neither a name"),
            ("nats://s3cret:s3%zz@h", "password"),
            ("nats://:s3cret@h", "user"),
            ("nats://s3cret@h:0", "port"),
            ("nats://s3cret@h:99999", "port"),
            ("nats://h:1,,i:2", "neither a name"),
            ("nats://h/path", "neither a name"),
            ("nats://[::g]:1", "neither a name"),
        ] {
            let error = NatsOptions::parse(address).unwrap_err().to_string();
            assert!(error.contains(part), "{address}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for login in [
            Login::User {
                user: "me".into(),
                password: "s3cret".into(),
            },
            Login::Token("s3cret".into()),
            Login::Nkey("s3cret".into()),
        ] {
            let options = NatsOptions {
                login,
                ..NatsOptions::default()
            };
            assert!(!format!("{options:?}").contains("s3cret"));
        }
    }

    #[test]
    fn wrong_options_are_told() {
        let good = NatsOptions::default();
        good.check().unwrap();
        for prefix in ["", "a..b", "a.*", "a b", ">", "."] {
            let options = NatsOptions {
                prefix: prefix.into(),
                ..good.clone()
            };
            assert!(
                options.check().unwrap_err().to_string().contains("prefix"),
                "{prefix:?}"
            );
        }
        let connections = NatsOptions {
            connections: 1,
            ..good.clone()
        };
        assert!(connections.check().unwrap_err().to_string().contains("2 to 16, not 1"));
        let folder = tempfile::tempdir().unwrap();
        let ca = Some(folder.path().join("none.pem"));
        let missing = NatsOptions { ca, ..good };
        assert!(missing.check().unwrap_err().to_string().contains("none.pem"));
    }
}
