//! What wins over what, what is refused and how it is said, and that the document tells the truth.

use std::ffi::OsString;
use std::io::Write;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn flags(file: Option<&tempfile::NamedTempFile>, values: &[(&'static str, &str)]) -> Flags {
    Flags {
        file: file.map(|file| file.path().to_owned()),
        values: values.iter().map(|(key, text)| (*key, (*text).to_owned())).collect(),
    }
}

fn error(file: Option<&tempfile::NamedTempFile>, values: &[(&'static str, &str)], env: &[(&str, &str)]) -> String {
    Config::load(&flags(file, values), variables(env))
        .unwrap_err()
        .to_string()
}

#[test]
fn defaults_hold_when_nothing_is_given() {
    let config = Config::load(&Flags::default(), []).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.store_path().unwrap(), Path::new("./data/natter.db"));
    assert_eq!(config.sessions_path().unwrap(), Path::new("./data/sessions.db"));
    assert_eq!(config.session_life, crate::limits::SESSION_LIFE);
    assert!(config.limits);
    assert!(config.public_url.is_none());
    assert!(
        config
            .settings()
            .iter()
            .all(|setting| setting.origin == Origin::Default)
    );
    assert_eq!(config.settings().len(), KEYS.len());
}

#[test]
fn flag_wins_over_variable_over_file_over_default() {
    let text = "name = \"file\"\nregistration = \"closed\"\nlimits = false\nthreads = 3\ntrace-ratio = 0.25\n";
    let file = file(text);
    let env = [
        ("NATTER_NAME", "variable"),
        ("NATTER_REGISTRATION", "invite"),
        ("PATH", "x"),
    ];
    let config = Config::load(&flags(Some(&file), &[("name", "flag")]), variables(&env)).unwrap();
    assert_eq!(config.name, "flag");
    assert_eq!(config.registration, Registration::Invite);
    assert!(!config.limits);
    assert_eq!(config.trace_ratio, 250_000);
    assert_eq!(config.threads.map(NonZeroUsize::get), Some(3));
    let origin = |key: &str| {
        config
            .settings()
            .iter()
            .find(|s| s.key == key)
            .unwrap()
            .origin
            .to_string()
    };
    assert_eq!(origin("name"), "flag --name");
    assert_eq!(origin("registration"), "variable NATTER_REGISTRATION");
    assert_eq!(origin("threads"), format!("{}:4", file.path().display()));
    assert_eq!(origin("listen"), "default");
}

#[test]
fn the_file_can_be_named_by_a_variable() {
    let file = file("trusted-proxies = [\"10.0.0.0/8\", \"::1\"]");
    let path = file.path().to_str().unwrap();
    let config = Config::load(&Flags::default(), variables(&[("NATTER_CONFIG", path)])).unwrap();
    let networks: Vec<_> = config.trusted_proxies.iter().map(Network::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1"]);
}

#[test]
fn unknown_keys_are_named_with_place_and_nearest() {
    let file = file("name = \"x\"\nlisten_ = \"127.0.0.1:1\"\n");
    let place = format!("{}:2", file.path().display());
    assert_eq!(
        error(Some(&file), &[], &[]),
        format!("{place}: there is no key \"listen_\"; did you mean \"listen\"?")
    );
    assert_eq!(
        error(None, &[], &[("NATTER_LISTN", "x")]),
        "variable NATTER_LISTN: there is no such variable; did you mean \"NATTER_LISTEN\"?"
    );
    assert!(error(None, &[], &[("NATTER_QUUX_FROBNICATE", "x")]).ends_with("there is no such variable"));
}

#[test]
fn variables_of_the_surroundings_are_let_be() {
    let env = [
        ("NATTER_SUPERUSER_PASSWORD", "x"),
        ("NATTER_TEST_NATS", "nats://127.0.0.1:4222"),
        ("NATTER_SERVICE_HOST", "10.0.0.1"),
        ("NATTER_SERVICE_PORT_HTTP", "8080"),
        ("NATTER_PORT", "tcp://10.0.0.1:8080"),
        ("NATTER_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(Config::load(&Flags::default(), variables(&env)).is_ok());
}

#[test]
fn bad_values_are_named_with_place_and_nearest() {
    assert_eq!(
        error(None, &[("registration", "opne")], &[]),
        "flag --registration: registration can't be \"opne\": expected one of open, invite, closed; \
         did you mean \"open\"?"
    );
    for (key, value, part) in [
        ("listen", "0.0.0.0", "did you mean \"0.0.0.0:8080\"?"),
        ("listen", "8080", "did you mean \"127.0.0.1:8080\"?"),
        ("listen", "nowhere:99999", "expected an address and a port"),
        ("session-life", "14", "did you mean \"14s\"?"),
        ("session-life", "2y", "from 1m to 400d"),
        ("shutdown-deadline", "0s", "from 1s to 1h"),
        ("drain-delay", "6m", "from 0s to 5m"),
        ("drain-pace", "0", "expected a number from 1 to 100000"),
        (
            "otlp-endpoint",
            "collector:4318",
            "did you mean \"http://collector:4318\"?",
        ),
        ("trace-ratio", "1.5", "expected a number from 0 to 1"),
        ("threads", "0", "1 to 256"),
        ("log-filter", "inof", "did you mean \"info\"?"),
        ("log-filter", "natter=loud", "expected a level"),
        ("store", "sqlit", "did you mean \"sqlite\"?"),
        ("store", "sqlite:", "expected sqlite, sqlite:PATH or scylla://"),
        ("trusted-proxies", "10.0.0.1/8", "did you mean \"10.0.0.0/8\"?"),
        (
            "public-url",
            "chat.example.org",
            "did you mean \"https://chat.example.org\"?",
        ),
        ("name", " ", "1 to 64 characters"),
        ("limits", "offf", "did you mean \"off\"?"),
    ] {
        let text = error(None, &[(key, value)], &[]);
        assert!(
            text.contains(part) && text.contains(&format!("{key} can't be")),
            "{text}"
        );
    }
}

const CLUSTER: [(&str, &str); 3] = [
    ("store", "scylla://user:geheim@db1,db2/natter"),
    ("channel-layer", "nats://user:geheim@n1:4222"),
    ("sessions", "redis://:geheim@r1:6379/0"),
];

fn cluster_with(more: &[(&'static str, &'static str)]) -> Flags {
    flags(None, &[&CLUSTER[..], more].concat())
}

#[test]
fn a_cluster_is_understood_and_shows_no_secret() {
    let more = [
        ("nats-ca", "ca.pem"),
        ("nats-queue", "16"),
        ("cql-datacenter", "dc1"),
        ("cql-replication", "2"),
    ];
    let flags = cluster_with(&more);
    let config = Config::load(&flags, []).unwrap();
    let StoreAt::Cql(store) = &config.store else {
        panic!("{:?}", config.store);
    };
    assert_eq!((store.datacenter.as_deref(), store.replication), (Some("dc1"), Some(2)));
    let ChannelLayerAt::Nats(layer) = &config.channel_layer else {
        panic!("{:?}", config.channel_layer);
    };
    assert_eq!(
        (layer.tls, layer.files.ca.as_deref(), layer.queue),
        (true, Some(Path::new("ca.pem")), 16)
    );
    assert!(config.store_path().is_none() && config.sessions_path().is_none());
    assert_eq!(config.namespace, "natter");
    let shown: Vec<String> = config.settings().iter().map(ToString::to_string).collect();
    let values = sources::gather(&flags, [], &mut Vec::new());
    let everything = format!("{config:?} {flags:?} {values:?} {shown:?}");
    assert!(!everything.contains("geheim"), "{everything}");
    assert!(everything.contains("scylla://user:***@db1,db2/natter"), "{everything}");
}

#[test]
fn one_networked_part_serves_one_node() {
    for (key, value) in [CLUSTER[0], CLUSTER[2]] {
        assert!(Config::load(&flags(None, &[(key, value)]), []).is_ok(), "{key}");
    }
}

#[test]
fn what_makes_no_cluster_is_refused_with_what_to_do() {
    let layer = CLUSTER[1];
    let text = error(None, &[layer], &[]);
    assert!(
        text.contains("give --store scylla://HOST:PORT/KEYSPACE as well"),
        "{text}"
    );
    assert!(text.contains("give --sessions redis://HOST:PORT as well"), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
    for (more, part) in [
        (&[("nats-creds", "a")][..], "nats-creds is one way too many"),
        (&[("nats-cert", "a")], "nats-cert needs its key: give --nats-key"),
        (&[("nats-key", "a")], "give --nats-cert as well"),
        (
            &[("cql-password-file", "a")],
            "and a password in the store's address: keep one",
        ),
        (&[("cql-cert", "a"), ("cql-key", "b")], "give --cql-ca as well"),
        (&[("cql-server-name", "a")], "give --cql-ca as well"),
        (&[("redis-password-file", "a")], "keep one"),
        (&[("redis-ca", "a")], "write rediss:// in place of redis://"),
        (&[("namespace", "a.b")], "expected 1 to 32 of a-z"),
        (&[("nats-queue", "15")], "expected a number from 16 to 8192"),
        (&[("cql-replication", "0")], "expected auto, or a number from 1 to 9"),
    ] {
        let text = Config::load(&cluster_with(more), []).unwrap_err().to_string();
        assert!(text.contains(part) && !text.contains("geheim"), "{text}");
    }
    for (key, part) in [
        ("nats-ca", "give --channel-layer nats://HOST:PORT"),
        ("cql-ca", "give --store scylla://HOST:PORT/KEYSPACE"),
        ("redis-key", "give --sessions redis://HOST:PORT"),
    ] {
        let text = error(None, &[(key, "a")], &[]);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_delay_that_leaves_nothing_of_the_deadline_is_refused() {
    let text = error(None, &[("drain-delay", "20s")], &[]);
    assert!(text.contains("leaves nothing of shutdown-deadline, 20s"), "{text}");
    let longer = [("drain-delay", "20s"), ("shutdown-deadline", "30s")];
    assert!(Config::load(&flags(None, &longer), []).is_ok());
}

#[test]
fn bad_addresses_are_refused_without_their_secrets() {
    for (key, value, part) in [
        (
            "store",
            "scylla://me:geheim@db",
            "did you mean \"scylla://me:***@db/natter\"?",
        ),
        ("store", "scyla://me:geheim@db/natter", "did you mean \"scylla://\"?"),
        ("channel-layer", "nats://me:geheim@n1:x", "expected local, or nats://"),
        (
            "sessions",
            "redis://:geheim@a,b",
            "redis+sentinel:// or redis+cluster://",
        ),
    ] {
        let text = error(None, &[(key, value)], &[]);
        assert!(text.contains(part) && !text.contains("geheim"), "{text}");
    }
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let file = file("nmae = \"x\"\n[listen]\nport = 1\n");
    let text = error(Some(&file), &[("threads", "many")], &[("NATTER_LIMITS", "maybe")]);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains("listen must be a text"), "{text}");
}

#[test]
fn broken_and_missing_files_are_named() {
    let broken = file("name = \"x\"\n= 3\n");
    let text = error(Some(&broken), &[], &[]);
    assert!(
        text.starts_with(&format!("{}:2: not TOML", broken.path().display())),
        "{text}"
    );
    let missing = Flags {
        file: Some("no-such.toml".into()),
        values: vec![],
    };
    let text = Config::load(&missing, []).unwrap_err().to_string();
    assert!(
        text.starts_with("the configuration file no-such.toml can't be read"),
        "{text}"
    );
}

#[test]
fn the_document_lists_every_key_as_it_is() {
    let document = include_str!("../../docs/configuration.md");
    let table: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default = if key.default.is_empty() {
                "none".to_owned()
            } else {
                format!("`{}`", key.default)
            };
            let value = key.value.replace('|', "\\|");
            format!(
                "| `{}` | `{}` | {value} | {default} | {} |",
                key.name,
                key.variable(),
                key.help
            )
        })
        .collect();
    assert_eq!(table, expected, "the table should read:\n{}", expected.join("\n"));
}
