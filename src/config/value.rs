//! Reads one value of each kind out of its text, and says what was expected where it can't.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::nearest::nearest;
use super::network::{InvalidNetwork, Network};
use super::{
    ChannelLayerAt, LogFormat, OtlpEndpoint, PublicUrl, Registration, SessionsAt, SqliteFile, StoreAt, cluster,
};
use crate::limits;

/// Why a text is not a value of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is none of what the key takes.
    Expected {
        /// What the key takes.
        what: String,
        /// What was probably meant; without secrets.
        meant: Option<String>,
    },
}

type Result<T> = std::result::Result<T, Wrong>;

fn expected<T>(what: &str) -> Result<T> {
    Err(Wrong::Expected {
        what: what.to_owned(),
        meant: None,
    })
}

fn one_of<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(Wrong::Expected {
        what: format!("one of {}", names.join(", ")),
        meant: nearest(text, names).map(str::to_owned),
    })
}

/// An address with a port; `localhost` and an empty host stand for the loopback address.
pub fn address(text: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':'));
    if let Some(port) = port.and_then(|digits| digits.parse::<u16>().ok()) {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let meant = if text.parse::<std::net::IpAddr>().is_ok() {
        Some(format!("{text}:8080"))
    } else {
        text.parse::<u16>().ok().map(|port| format!("127.0.0.1:{port}"))
    };
    Err(Wrong::Expected {
        what: "an address and a port such as 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080".to_owned(),
        meant,
    })
}

/// A folder.
pub fn directory(text: &str) -> Result<PathBuf> {
    if text.is_empty() {
        return expected("a directory");
    }
    Ok(PathBuf::from(text))
}

/// The store's address.
pub fn store(text: &str) -> Result<StoreAt> {
    match text.split_once("://") {
        Some(("scylla" | "cassandra", _)) => cluster::cql(text).map(|address| StoreAt::Cql(Box::new(address))),
        _ => sqlite(text, &["sqlite", "scylla", "cassandra"], "scylla://HOST:PORT/KEYSPACE").map(StoreAt::Sqlite),
    }
}

/// The sessions' address.
pub fn sessions(text: &str) -> Result<SessionsAt> {
    match text.split_once("://") {
        Some((scheme, _)) if scheme.starts_with("redis") => cluster::redis(text).map(SessionsAt::Redis),
        _ => sqlite(text, &["sqlite", "redis", "rediss"], "redis://HOST:PORT").map(SessionsAt::Sqlite),
    }
}

fn sqlite(text: &str, schemes: &[&str], networked: &str) -> Result<SqliteFile> {
    if text == "sqlite" {
        return Ok(SqliteFile::InDataDir);
    }
    // Two slashes are an address's, and no database lies in the root's root.
    let path = text
        .strip_prefix("sqlite:")
        .filter(|path| !path.is_empty() && !path.starts_with("//"));
    if let Some(path) = path {
        return Ok(SqliteFile::At(PathBuf::from(path)));
    }
    let (scheme, _) = text.split_once(':').unwrap_or((text, ""));
    Err(Wrong::Expected {
        what: format!("sqlite, sqlite:PATH or {networked}"),
        meant: nearest(scheme, schemes.iter().copied()).map(|scheme| match scheme {
            "sqlite" => scheme.to_owned(),
            scheme => format!("{scheme}://"),
        }),
    })
}

/// The channel layer's address.
pub fn channel_layer(text: &str) -> Result<ChannelLayerAt> {
    match text.split_once("://") {
        Some(("nats" | "tls", _)) => cluster::nats(text).map(ChannelLayerAt::Nats),
        _ if text == "local" => Ok(ChannelLayerAt::Local),
        _ => Err(Wrong::Expected {
            what: "local, or nats://HOST:PORT".to_owned(),
            meant: nearest(text, ["local"]).map(str::to_owned),
        }),
    }
}

/// What names on shared servers begin with.
pub fn namespace(text: &str) -> Result<String> {
    // Dots, stars and colons have a meaning in subjects and keys.
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if plain && (1..=32).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    expected("1 to 32 of a-z, 0-9, - and _")
}

/// A file, or none.
pub fn file(text: &str) -> Result<Option<PathBuf>> {
    Ok(Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty()))
}

/// The name of a datacenter, or none.
pub fn datacenter(text: &str) -> Result<Option<String>> {
    if text.len() > 64 || text.chars().any(char::is_control) {
        return expected("a datacenter's name as the servers have it, at most 64 bytes");
    }
    Ok(Some(text.to_owned()).filter(|name| !name.is_empty()))
}

/// A name that certificates hold, or none.
pub fn server_name(text: &str) -> Result<Option<String>> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if text.len() > 253 || !text.bytes().all(good) {
        return expected("a name that certificates hold, such as db.example.org");
    }
    Ok(Some(text.to_owned()).filter(|name| !name.is_empty()))
}

/// Copies of each row, or as many as make sense.
pub fn replication(text: &str) -> Result<Option<u8>> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse::<u8>() {
        Ok(copies @ 1..=9) => Ok(Some(copies)),
        _ => expected("auto, or a number from 1 to 9"),
    }
}

/// How many events of one room may wait.
pub fn queue(text: &str) -> Result<usize> {
    let (least, most) = (
        limits::LAYER_SUBSCRIPTION_QUEUE_MIN,
        limits::LAYER_SUBSCRIPTION_QUEUE_MAX,
    );
    match text.parse::<usize>() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => expected(&format!("a number from {least} to {most}")),
    }
}

/// The server's address as people have it; empty for none.
pub fn public_url(text: &str) -> Result<Option<PublicUrl>> {
    if text.is_empty() {
        return Ok(None);
    }
    PublicUrl::parse(text).map(Some).ok_or_else(|| Wrong::Expected {
        what: "http:// or https:// with a host and no path, such as https://chat.example.org".to_owned(),
        meant: PublicUrl::parse(&format!("https://{text}")).map(|url| url.origin().to_owned()),
    })
}

/// Who collects traces; empty for nobody.
pub fn otlp_endpoint(text: &str) -> Result<Option<OtlpEndpoint>> {
    if text.is_empty() {
        return Ok(None);
    }
    OtlpEndpoint::parse(text).map(Some).ok_or_else(|| Wrong::Expected {
        what: "http:// with a host, a port and no path, such as http://127.0.0.1:4318".to_owned(),
        meant: OtlpEndpoint::parse(&format!("http://{text}")).map(|endpoint| format!("http://{endpoint}")),
    })
}

/// A part of all, in millionths.
pub fn trace_ratio(text: &str) -> Result<u32> {
    match text.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 0 and a million"
        )]
        Ok(part) if (0.0..=1.0).contains(&part) => Ok((part * 1e6).round() as u32),
        _ => expected("a number from 0 to 1, such as 0.01"),
    }
}

/// Networks, separated by commas.
pub fn networks(text: &str) -> Result<Vec<Network>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            Network::parse(part).map_err(|error| Wrong::Expected {
                what: format!("addresses or networks such as 10.0.0.0/8, and {part:?} is none"),
                meant: match error {
                    InvalidNetwork::HostBits(meant) => Some(meant.to_string()),
                    InvalidNetwork::Syntax => None,
                },
            })
        })
        .collect()
}

/// Who may register.
pub fn registration(text: &str) -> Result<Registration> {
    one_of(
        text,
        &[
            ("open", Registration::Open),
            ("invite", Registration::Invite),
            ("closed", Registration::Closed),
        ],
    )
}

/// A switch.
pub fn switch(text: &str) -> Result<bool> {
    one_of(text, &[("on", true), ("off", false)])
}

/// The server's name in the client.
pub fn title(text: &str) -> Result<String> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > 64 || text.chars().any(char::is_control) {
        return expected("1 to 64 characters, none of them a control character");
    }
    Ok(text.trim().to_owned())
}

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 60 * 60 * SECOND;

/// How long a session lasts.
pub fn session_life(text: &str) -> Result<Duration> {
    duration(text, 60 * SECOND, 400 * DAY, "1m to 400d")
}

/// How long a stop may take.
pub fn shutdown_deadline(text: &str) -> Result<Duration> {
    duration(text, SECOND, 3_600 * SECOND, "1s to 1h")
}

/// How long new connections are still taken at a stop.
pub fn drain_delay(text: &str) -> Result<Duration> {
    duration(text, 0, 300 * SECOND, "0s to 5m")
}

/// Connections closed in a second.
pub fn drain_pace(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(count @ 1..=100_000) => Ok(count),
        _ => expected("a number from 1 to 100000"),
    }
}

/// How long the closing of connections is spread over.
pub fn drain_window(text: &str) -> Result<Duration> {
    duration(text, 0, 600 * SECOND, "0s to 10m")
}

fn duration(text: &str, least: u64, most: u64, range: &str) -> Result<Duration> {
    let wrong = |meant| Wrong::Expected {
        what: format!("a duration with its unit (ms, s, m, h, d) from {range}"),
        meant,
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let count: u64 = digits.parse().map_err(|_| wrong(None))?;
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "d" => DAY,
        "" => return Err(wrong(Some(format!("{count}s")))),
        _ => return Err(wrong(None)),
    };
    count
        .checked_mul(factor)
        .filter(|millis| (least..=most).contains(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| wrong(None))
}

/// Threads of the runtime; `None` leaves it to the number of processors.
pub fn threads(text: &str) -> Result<Option<NonZeroUsize>> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= 256 => Ok(Some(count)),
        _ => Err(Wrong::Expected {
            what: "auto, or a number from 1 to 256".to_owned(),
            meant: nearest(text, ["auto"]).map(str::to_owned),
        }),
    }
}

/// How log lines look.
pub fn log_format(text: &str) -> Result<LogFormat> {
    one_of(
        text,
        &[
            ("auto", LogFormat::Auto),
            ("human", LogFormat::Human),
            ("json", LogFormat::Json),
        ],
    )
}

/// What is logged, checked here and read again when logging starts.
pub fn log_filter(text: &str) -> Result<String> {
    let what = "a level (error, warn, info, debug, trace, off) or directives such as info,natter::store=debug";
    // A lone word is taken for a target by the filter's own reader, so that a mistyped level would mute everything.
    let lone_word = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
    if lone_word {
        let levels = ["error", "warn", "info", "debug", "trace", "off"];
        if !levels.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(Wrong::Expected {
                what: what.to_owned(),
                meant: nearest(text, levels).map(str::to_owned),
            });
        }
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => expected(what),
    }
}
