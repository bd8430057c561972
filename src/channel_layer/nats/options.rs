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
    /// A server's place is none.
    #[error("{server:?} can't be a NATS server, which is named as host:port: {reason}")]
    Server {
        /// What was given.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
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

#[cfg(test)]
mod tests {
    use super::*;

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
