//! Which settings go together: files of passwords and certificates find their address, and sets of servers that make
//! no cluster are refused with what to do.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{self, Wrong};
use super::{ChannelLayerAt, Error, NatsAuth, Origin, Reader, SessionsAt, StoreAt, TlsFiles};

/// Puts the keys that belong to an address into it, and refuses what does not fit.
pub fn fit(
    reader: &mut Reader<'_>,
    store: &mut StoreAt,
    channel_layer: &mut ChannelLayerAt,
    sessions: &mut SessionsAt,
) {
    nats(reader, channel_layer);
    cql(reader, store);
    redis(reader, sessions);
    if matches!(channel_layer, ChannelLayerAt::Nats(_)) {
        if matches!(store, StoreAt::Sqlite(_)) {
            let why = "joins several nodes, but the store is a file that only this one has: give \
                       --store scylla://HOST:PORT/KEYSPACE as well, or leave channel-layer at local";
            reader.unfit("channel-layer", why);
        }
        if matches!(sessions, SessionsAt::Sqlite(_)) {
            let why = "joins several nodes, but sessions are in a file that only this one has: give \
                       --sessions redis://HOST:PORT as well, or leave channel-layer at local";
            reader.unfit("channel-layer", why);
        }
    }
}

/// Refuses a delay that leaves no time for the stop itself.
pub fn drain(reader: &mut Reader<'_>, delay: Option<Duration>, deadline: Option<Duration>) {
    if let (Some(delay), Some(deadline)) = (delay, deadline)
        && delay >= deadline
    {
        let why = format!(
            "is {delay:?}, which leaves nothing of shutdown-deadline, {deadline:?}: make it shorter, or the deadline longer"
        );
        reader.unfit("drain-delay", why);
    }
}

impl Reader<'_> {
    /// Whether a key was given, by whatever means.
    fn given(&self, key: &str) -> bool {
        self.values
            .get(key)
            .is_some_and(|raw| raw.origin != Origin::Default && !raw.text.is_empty())
    }

    fn unfit(&mut self, key: &'static str, why: impl Into<String>) {
        let origin = self.values.get(key).map_or(Origin::Default, |raw| raw.origin.clone());
        let why = why.into();
        self.problems.push(Error::Unfit { key, origin, why });
    }

    fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.option(key, value::file)
    }

    fn option<T>(&mut self, key: &'static str, parse: fn(&str) -> Result<Option<T>, Wrong>) -> Option<T> {
        self.read(key, parse).flatten()
    }

    /// Refuses keys of a server that is not used.
    fn unused(&mut self, keys: &[&'static str], why: &str) {
        for key in keys {
            if self.given(key) {
                self.unfit(key, why);
            }
        }
    }

    fn tls(&mut self, [ca, certificate, key]: [&'static str; 3]) -> TlsFiles {
        let files = (self.file(certificate), self.file(key));
        let certificate = match files {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.unfit(certificate, format!("needs its key: give --{key} as well"));
                None
            }
            (None, Some(_)) => {
                self.unfit(key, format!("needs its certificate: give --{certificate} as well"));
                None
            }
        };
        TlsFiles {
            ca: self.file(ca),
            certificate,
        }
    }
}

const NATS_KEYS: [&str; 7] = [
    "nats-creds",
    "nats-nkey",
    "nats-token-file",
    "nats-ca",
    "nats-cert",
    "nats-key",
    "nats-queue",
];

fn nats(reader: &mut Reader<'_>, layer: &mut ChannelLayerAt) {
    let ChannelLayerAt::Nats(address) = layer else {
        let why = "is for NATS, and channel-layer is local: give --channel-layer nats://HOST:PORT, or leave this out";
        reader.unused(&NATS_KEYS, why);
        return;
    };
    let mut ways: Vec<(&'static str, NatsAuth)> = Vec::new();
    if let Some(file) = reader.file("nats-creds") {
        ways.push(("nats-creds", NatsAuth::Creds(file)));
    }
    if let Some(file) = reader.file("nats-nkey") {
        ways.push(("nats-nkey", NatsAuth::Nkey(file)));
    }
    if let Some(file) = reader.file("nats-token-file") {
        ways.push(("nats-token-file", NatsAuth::TokenFile(file)));
    }
    let by_address = address.auth != NatsAuth::None;
    if ways.len() + usize::from(by_address) > 1 {
        let (key, _) = ways[ways.len() - 1];
        let why = "is one way too many to log in to NATS: keep one of a user in the address, nats-creds, nats-nkey and \
                   nats-token-file";
        reader.unfit(key, why);
    } else if let Some((_, auth)) = ways.pop() {
        address.auth = auth;
    }
    address.files = reader.tls(["nats-ca", "nats-cert", "nats-key"]);
    address.queue = reader.read("nats-queue", value::queue).unwrap_or(address.queue);
    // Whoever names certificates does not want to talk in the clear because a server happens not to ask for them.
    address.tls |= address.files != TlsFiles::default();
}

const CQL_KEYS: [&str; 7] = [
    "cql-password-file",
    "cql-ca",
    "cql-cert",
    "cql-key",
    "cql-server-name",
    "cql-datacenter",
    "cql-replication",
];

fn cql(reader: &mut Reader<'_>, store: &mut StoreAt) {
    let StoreAt::Cql(address) = store else {
        let why = "is for ScyllaDB or Cassandra, and the store is SQLite: give --store scylla://HOST:PORT/KEYSPACE, or \
                   leave this out";
        reader.unused(&CQL_KEYS, why);
        return;
    };
    address.credentials.password_file = reader.file("cql-password-file");
    let credentials = &address.credentials;
    match (&credentials.user, &credentials.password, &credentials.password_file) {
        (None, _, Some(_)) => reader.unfit(
            "cql-password-file",
            "needs the user in the store's address: scylla://USER@HOST:PORT/KEYSPACE",
        ),
        (_, Some(_), Some(_)) => reader.unfit("cql-password-file", "and a password in the store's address: keep one"),
        (Some(_), None, None) => reader.unfit(
            "store",
            "has a user without a password: write scylla://USER:PASSWORD@HOST, or give --cql-password-file",
        ),
        _ => {}
    }
    let files = reader.tls(["cql-ca", "cql-cert", "cql-key"]);
    if files.ca.is_none() && files.certificate.is_some() {
        reader.unfit(
            "cql-cert",
            "needs the authority that the servers are checked with: give --cql-ca as well",
        );
    }
    address.tls_name = reader.option("cql-server-name", value::server_name);
    if files.ca.is_none() && address.tls_name.is_some() {
        reader.unfit(
            "cql-server-name",
            "is checked in certificates, and there are none without TLS: give --cql-ca as well",
        );
    }
    address.tls = files.ca.is_some().then_some(files);
    address.datacenter = reader.option("cql-datacenter", value::datacenter);
    address.replication = reader.option("cql-replication", value::replication);
}

const REDIS_KEYS: [&str; 4] = ["redis-password-file", "redis-ca", "redis-cert", "redis-key"];

fn redis(reader: &mut Reader<'_>, sessions: &mut SessionsAt) {
    let SessionsAt::Redis(address) = sessions else {
        let why = "is for Redis, and sessions are in SQLite: give --sessions redis://HOST:PORT, or leave this out";
        reader.unused(&REDIS_KEYS, why);
        return;
    };
    address.credentials.password_file = reader.file("redis-password-file");
    if address.credentials.password.is_some() && address.credentials.password_file.is_some() {
        reader.unfit(
            "redis-password-file",
            "and a password in the address of sessions: keep one",
        );
    }
    if address.tls.is_none() {
        let why = "is for TLS, and the address of sessions is without: write rediss:// in place of redis://";
        reader.unused(&["redis-ca", "redis-cert", "redis-key"], why);
        return;
    }
    address.tls = Some(reader.tls(["redis-ca", "redis-cert", "redis-key"]));
}
