//! The table of every configuration key: the one source for flags, variables, the file, help texts and the document.

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name in the file, and its flag behind `--`.
    pub name: &'static str,
    /// What is used when nothing is given; empty for "none".
    pub default: &'static str,
    /// What a value looks like, for help texts.
    pub value: &'static str,
    /// What it does, one or two sentences.
    pub help: &'static str,
}

impl Key {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// What every environment variable of the server begins with.
pub const PREFIX: &str = "NATTER_";

/// What the variables of the project's own tests begin with: they name servers for tests, and set nothing here.
pub const TEST_PREFIX: &str = "NATTER_TEST_";

/// Variables that are understood although they set no key. The last two belong to the project's own tests, to `smoke`
/// and to the example client, which may start a server or run beside one.
pub const OTHER_VARIABLES: [&str; 4] = [
    "NATTER_CONFIG",
    "NATTER_SUPERUSER_PASSWORD",
    "NATTER_BIN",
    "NATTER_PASSWORD",
];

/// Every key, in the order in which `check` and the document list them.
pub const KEYS: [Key; 40] = [
    Key {
        name: "listen",
        default: "127.0.0.1:8080",
        value: "ADDRESS:PORT",
        help: "Where people connect. Port 0 picks a free one; 0.0.0.0 or [::] listens on all interfaces.",
    },
    Key {
        name: "admin-listen",
        default: "127.0.0.1:8081",
        value: "ADDRESS:PORT",
        help: "Where operators connect: /metrics, /livez, /readyz. Keep it away from the public.",
    },
    Key {
        name: "data-dir",
        default: "./data",
        value: "DIRECTORY",
        help: "Where embedded storage keeps its files. It is made if it does not exist.",
    },
    Key {
        name: "store",
        default: "sqlite",
        value: "sqlite | sqlite:PATH | scylla://HOST:PORT/KEYSPACE",
        help: "Where messages, rooms and accounts live; sqlite alone is natter.db in the data directory. cassandra:// is the same as scylla://.",
    },
    Key {
        name: "channel-layer",
        default: "local",
        value: "local | nats://HOST:PORT",
        help: "What carries events between nodes; local is this process alone. tls:// is NATS with TLS only.",
    },
    Key {
        name: "sessions",
        default: "sqlite",
        value: "sqlite | sqlite:PATH | redis://HOST:PORT",
        help: "Where sessions live; sqlite alone is sessions.db in the data directory. On Redis also revocations, presence and throttles; rediss:// is with TLS.",
    },
    Key {
        name: "namespace",
        default: "natter",
        value: "NAME",
        help: "What this installation's subjects on NATS and keys on Redis begin with, so that several can share servers; 1 to 32 of a-z, 0-9, - and _.",
    },
    Key {
        name: "nats-creds",
        default: "",
        value: "FILE",
        help: "A file of NATS credentials (JWT and seed).",
    },
    Key {
        name: "nats-nkey",
        default: "",
        value: "FILE",
        help: "A file with the seed of the nkey that logs in to NATS.",
    },
    Key {
        name: "nats-token-file",
        default: "",
        value: "FILE",
        help: "A file whose first line is the token that logs in to NATS.",
    },
    Key {
        name: "nats-ca",
        default: "",
        value: "FILE",
        help: "PEM certificates of the authorities believed for NATS, in place of the system's; TLS is then a must.",
    },
    Key {
        name: "nats-cert",
        default: "",
        value: "FILE",
        help: "This node's PEM certificate for NATS; with nats-key.",
    },
    Key {
        name: "nats-key",
        default: "",
        value: "FILE",
        help: "The key of nats-cert, as PEM.",
    },
    Key {
        name: "nats-queue",
        default: "8192",
        value: "16 to 8192",
        help: "Events of one room that may wait in a connection to NATS until this node takes them. What comes beyond is dropped and read again from the store; fewer hold less memory.",
    },
    Key {
        name: "cql-password-file",
        default: "",
        value: "FILE",
        help: "A file whose first line is the password for the user in the store's address.",
    },
    Key {
        name: "cql-ca",
        default: "",
        value: "FILE",
        help: "PEM certificates of the authorities believed for ScyllaDB or Cassandra; turns TLS on.",
    },
    Key {
        name: "cql-cert",
        default: "",
        value: "FILE",
        help: "This node's PEM certificate for ScyllaDB or Cassandra; with cql-ca and cql-key.",
    },
    Key {
        name: "cql-key",
        default: "",
        value: "FILE",
        help: "The key of cql-cert, as PEM.",
    },
    Key {
        name: "cql-server-name",
        default: "",
        value: "NAME",
        help: "A name that the certificates of all servers hold; without it they are checked against the servers' IP addresses.",
    },
    Key {
        name: "cql-datacenter",
        default: "",
        value: "NAME",
        help: "The datacenter of ScyllaDB or Cassandra that is near; none takes all servers for near.",
    },
    Key {
        name: "cql-replication",
        default: "auto",
        value: "auto | 1 to 9",
        help: "Copies of each row, used by migrate when it makes the keyspace; auto is 3, or as many as there are servers if fewer.",
    },
    Key {
        name: "redis-password-file",
        default: "",
        value: "FILE",
        help: "A file whose first line is the password for Redis.",
    },
    Key {
        name: "redis-ca",
        default: "",
        value: "FILE",
        help: "PEM certificates of the authorities believed for rediss://, in place of the system's.",
    },
    Key {
        name: "redis-cert",
        default: "",
        value: "FILE",
        help: "This node's PEM certificate for Redis; with redis-key.",
    },
    Key {
        name: "redis-key",
        default: "",
        value: "FILE",
        help: "The key of redis-cert, as PEM.",
    },
    Key {
        name: "public-url",
        default: "",
        value: "URL",
        help: "How people reach the server from outside, such as https://chat.example.org. With https, cookies are Secure.",
    },
    Key {
        name: "trusted-proxies",
        default: "",
        value: "NETWORK,...",
        help: "Addresses or networks of proxies whose X-Forwarded-For is believed. In the file also a list.",
    },
    Key {
        name: "registration",
        default: "open",
        value: "open | invite | closed",
        help: "Who may register: everybody, whoever has an invite, or nobody.",
    },
    Key {
        name: "limits",
        default: "on",
        value: "on | off",
        help: "Throttles of log-ins, registrations, handshakes and sends. Turn them off for load tests only.",
    },
    Key {
        name: "name",
        default: "Natter",
        value: "TEXT",
        help: "What the server is called in the client; 1 to 64 characters.",
    },
    Key {
        name: "session-life",
        default: "14d",
        value: "DURATION",
        help: "How long a session lasts without being used; 1m to 400d.",
    },
    Key {
        name: "shutdown-deadline",
        default: "20s",
        value: "DURATION",
        help: "How long a stop may take in all before the process ends anyway; 1s to 1h.",
    },
    Key {
        name: "drain-delay",
        default: "0s",
        value: "DURATION",
        help: "At a stop, how long a server that is not ready any more still takes new connections, until balancers have noticed; 0s to 5m, and shorter than shutdown-deadline.",
    },
    Key {
        name: "drain-window",
        default: "1s",
        value: "DURATION",
        help: "At a stop, connections are closed and asked to come back spread over at most this time; 0s to 10m.",
    },
    Key {
        name: "drain-pace",
        default: "500",
        value: "1 to 100000",
        help: "At a stop, how many connections are closed and asked to come back in a second, unless that takes longer than drain-window.",
    },
    Key {
        name: "threads",
        default: "auto",
        value: "auto | 1 to 256",
        help: "Threads that serve connections; auto is one for each processor.",
    },
    Key {
        name: "log-format",
        default: "auto",
        value: "auto | human | json",
        help: "How log lines look; auto is human on a terminal and json elsewhere.",
    },
    Key {
        name: "log-filter",
        default: "info",
        value: "FILTER",
        help: "What is logged: a level (error, warn, info, debug) or directives such as info,natter::store=debug.",
    },
    Key {
        name: "otlp-endpoint",
        default: "",
        value: "http://HOST:PORT",
        help: "A collector of traces that takes OTLP over HTTP, such as http://127.0.0.1:4318; none records no traces.",
    },
    Key {
        name: "trace-ratio",
        default: "0.01",
        value: "0 to 1",
        help: "Which part of requests, handshakes and sends is traced, where whoever asks has not decided it.",
    },
];

/// The key of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
