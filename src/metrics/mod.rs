//! What operators can count: one struct of metric families, each registered once; its doc comment is its help text.
//!
//! Counting is one atomic addition: labels have fixed values whose counters are looked up without a lock. Nothing here
//! is labelled by user, room or address. The only open label is the HTTP route, and that is the router's own pattern.

mod family;
mod process;

use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};

pub use family::{
    Distribution, Family, Gauge, Histogram, IntCounter, IntGauge, Labelled, LabelledTimes, Named, RequestTimes,
    Requests,
};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The families can't be written as text.
    #[error("the metrics can't be written: {0}")]
    Encode(#[from] prometheus::Error),
}

/// The media type of [`Metrics::text`].
pub const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of buckets for what people wait for, in seconds.
const WAITS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// What the directory remembers.
const CACHES: &[&str] = &[
    "rooms",
    "room_names",
    "users",
    "user_names",
    "standings",
    "markers",
    "other",
];
/// Why what other nodes tell comes into doubt.
const CAUSES: &[&str] = &[
    "silence",
    "gap",
    "hole",
    "first_seen",
    "layer",
    "leases",
    "reply",
    "unsure",
    "other",
];
type Reader = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Brings the counters of a family up to counts that are kept elsewhere; what has no label of its own adds up as `other`.
pub fn raise_each(family: &Labelled, to: impl IntoIterator<Item = (&'static str, u64)>) {
    let mut sums: Vec<(&IntCounter, u64)> = Vec::new();
    for (value, count) in to {
        let counter = family.of(value);
        match sums.iter_mut().find(|(other, _)| std::ptr::eq(*other, counter)) {
            Some((_, sum)) => *sum += count,
            None => sums.push((counter, count)),
        }
    }
    for (counter, sum) in sums {
        raise(counter, sum);
    }
}

/// Brings a counter up to a count that is kept elsewhere; it never goes back.
pub fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

macro_rules! families {
    ($( $(#[doc = $help:literal])+ $field:ident: $kind:ident = $name:literal $(, $shape:expr)? ;)+) => {
        /// Every metric family of the server.
        pub struct Metrics {
            registry: Registry,
            before: Mutex<Vec<Reader>>,
            $( $(#[doc = $help])+ pub $field: $kind, )+
        }

        impl Metrics {
            /// Makes and registers all families.
            ///
            /// # Panics
            /// Never: names are literals, and a test makes all of them.
            #[must_use]
            pub fn new() -> Self {
                let registry = Registry::new();
                $( let $field = <$kind as Family>::make(
                    &registry, $name, concat!($($help),+).trim(), ($($shape)?)
                ); )+
                process::register(&registry);
                Self { registry, before: Mutex::default(), $($field),+ }
            }
        }
    };
}

families! {
    /// WebSocket connections that are open.
    connections: IntGauge = "natter_connections";
    /// WebSocket connections opened since the start.
    connections_opened: IntCounter = "natter_connections_opened_total";
    /// WebSocket connections closed since the start, by reason.
    connections_closed: Labelled = "natter_connections_closed_total", ("reason", &[
        "gone", "normal", "protocol_error", "unsupported", "bad_text", "too_big", "internal", "going_away", "too_slow",
        "no_answer", "overloaded", "sessions_lost", "logged_out", "session_expired", "account_disabled", "kicked",
        "banned", "client_too_old", "password_changed", "room_gone", "left", "other",
    ]);
    /// WebSocket handshakes refused before the upgrade, by HTTP status.
    handshakes_refused: Labelled = "natter_handshakes_refused_total", ("status", &[
        "400", "401", "403", "404", "426", "429", "503", "other",
    ]);
    /// TCP connections accepted since the start.
    sockets_accepted: IntCounter = "natter_sockets_accepted_total";
    /// TCP connections that are open, HTTP and WebSocket together.
    sockets_open: IntGauge = "natter_sockets_open";
    /// Failures to accept a TCP connection, such as too many open files.
    accept_errors: IntCounter = "natter_accept_errors_total";
    /// Rooms that are active on this node.
    rooms_active: IntGauge = "natter_rooms_active";
    /// Messages made durable by sends of this node.
    messages_appended: IntCounter = "natter_messages_appended_total";
    /// Sends that were repeated attempts and gave the first attempt's id back.
    messages_repeated: IntCounter = "natter_messages_repeated_total";
    /// Frames of durable events that were encoded: one for each event, whatever the number of readers.
    encodings: IntCounter = "natter_encodings_total";
    /// Frames handed to connections, one for each member that a frame reached.
    deliveries: IntCounter = "natter_deliveries_total";
    /// Bytes written to WebSocket connections.
    bytes_written: IntCounter = "natter_written_bytes_total";
    /// Events that this node has stored, or told without storing them, by kind.
    events: Labelled = "natter_events_total", ("kind", &[
        "message", "edited", "deleted", "late", "typing", "presence", "read", "inbox", "other",
    ]);
    /// Seconds from reading a send to handing its ack to the connection.
    send_to_ack: Distribution = "natter_send_to_ack_seconds";
    /// Seconds from the moment in an event's id, which its node gave, until it was handed to this node's members.
    send_to_delivery: Distribution = "natter_send_to_delivery_seconds";
    /// Bytes that wait in the outboxes of all connections.
    outbox: IntGauge = "natter_outbox_bytes";
    /// Bytes that wait in the deepest of these outboxes.
    outbox_deepest: IntGauge = "natter_outbox_deepest_bytes";
    /// Requests on sockets answered with an error, by its code.
    refused: Labelled = "natter_refused_total", ("code", &[
        "invalid_json", "invalid_frame", "unknown_type", "invalid_name", "message_empty", "message_too_long",
        "forbidden", "banned", "not_found", "not_joined", "name_taken", "nonce_reused", "archived", "room_limit",
        "rate_limited", "refused", "unknown_outcome", "unavailable", "internal", "other",
    ]);
    /// HTTP requests, by route and status.
    http_requests: Requests = "natter_http_requests_total";
    /// Seconds from an HTTP request's head to its answer's head, by route.
    http_seconds: RequestTimes = "natter_http_request_seconds", WAITS;
    /// Connections that are behind: slow readers whose events are replayed once they drain.
    behind: IntGauge = "natter_connections_behind";
    /// Times that a connection fell behind.
    fell_behind: IntCounter = "natter_fell_behind_total";
    /// Catch-ups of slow or resuming connections, by where the events came from.
    catch_ups: Labelled = "natter_catch_ups_total", ("source", &["ring", "store", "other"]);
    /// Joins of rooms, by how they were answered: the latest page, a resume, or a resume that needed a reset.
    joins: Labelled = "natter_joins_total", ("answer", &["first", "resumed", "reset", "other"]);
    /// Joins whose history had to be read from the store: those that began a read, and those that shared it.
    shared_reads: Labelled = "natter_shared_reads_total", ("outcome", &["led", "shared"]);
    /// Questions about rooms and people, by what was asked for.
    cache_lookups: Labelled = "natter_cache_lookups_total", ("cache", CACHES);
    /// Questions about rooms and people that were answered from memory.
    cache_hits: Labelled = "natter_cache_hits_total", ("cache", CACHES);
    /// Typing and presence events dropped in favour of messages.
    ephemeral_dropped: IntCounter = "natter_ephemeral_dropped_total";
    /// Reads of the store: ranges of messages, which joins cost that the ring can't serve, and others.
    store_reads: Labelled = "natter_store_reads_total", ("kind", &["message_range", "other"]);
    /// Jobs that wrote to the store.
    store_writes: IntCounter = "natter_store_writes_total";
    /// Transactions of the store that were committed and synced.
    store_commits: IntCounter = "natter_store_commits_total";
    /// Transactions of the store that could not be committed.
    store_commits_failed: IntCounter = "natter_store_commits_failed_total";
    /// Times that the store's log was copied back into its file.
    store_checkpoints: IntCounter = "natter_store_checkpoints_total";
    /// Seconds until a statement of ScyllaDB or Cassandra was answered or failed, by kind.
    store_seconds: LabelledTimes = "natter_store_seconds", ("statement", &["range", "read", "write", "lwt"], WAITS);
    /// Statements of ScyllaDB or Cassandra that were run, by name.
    store_statements: Named = "natter_store_statements_total", "statement";
    /// Seconds that statements of ScyllaDB or Cassandra took, by name.
    store_statement_seconds: Named = "natter_store_statement_seconds_total", "statement";
    /// Whether the store answered when it was last asked, once a second.
    store_up: IntGauge = "natter_store_up";
    /// Statements of ScyllaDB or Cassandra that failed.
    store_failures: IntCounter = "natter_store_failures_total";
    /// Lightweight transactions of ScyllaDB or Cassandra: names, invites and edits; never a send.
    store_lwts: IntCounter = "natter_store_lwts_total";
    /// Messages and changes that became durable so late that they are told as late.
    store_late: IntCounter = "natter_store_late_total";
    /// Buckets of messages that this node has begun in ScyllaDB or Cassandra.
    store_buckets: IntCounter = "natter_store_buckets_begun_total";
    /// Buckets of messages in ScyllaDB or Cassandra that reads have looked into.
    store_walked: IntCounter = "natter_store_buckets_walked_total";
    /// Whether the channel layer answered when it was last asked, once a second; one machine alone needs none.
    layer_up: IntGauge = "natter_channel_layer_up";
    /// Events that wait to be handed to the channel layer.
    publish_queue: IntGauge = "natter_publish_queue";
    /// What was handed to the channel layer, by class; durable is one for each event, whatever the number of members.
    published: Labelled = "natter_published_total", ("class", &["durable", "ephemeral", "broadcast"]);
    /// What could not be handed to the channel layer; other nodes read it from the store.
    unpublished: IntCounter = "natter_unpublished_total";
    /// What came from the channel layer.
    received: IntCounter = "natter_received_total";
    /// What the channel layer dropped because this node was slow; it is read from the store.
    layer_dropped: IntCounter = "natter_layer_dropped_total";
    /// Interruptions of a connection to the channel layer.
    layer_interruptions: IntCounter = "natter_layer_interruptions_total";
    /// Rooms and inboxes that this node hears on the channel layer.
    subscriptions: IntGauge = "natter_subscriptions";
    /// Events that other nodes told this one.
    events_arrived: IntCounter = "natter_events_arrived_total";
    /// Payloads of other nodes that this build could not read.
    unreadable: IntCounter = "natter_unreadable_total";
    /// Times that what other nodes tell came into doubt, by cause.
    holes: Labelled = "natter_holes_total", ("cause", CAUSES);
    /// Doubts of rooms that a repair has ended, by what had begun them.
    holes_repaired: Labelled = "natter_holes_repaired_total", ("cause", CAUSES);
    /// Other nodes of which this one is in doubt whether it has heard everything.
    publishers_in_doubt: IntGauge = "natter_publishers_in_doubt";
    /// Rooms that are held back because they could not be read again.
    rooms_held: IntGauge = "natter_rooms_held";
    /// Seconds for which a room was owed a reading until one had read everything.
    repair_seconds: Distribution = "natter_repair_seconds";
    /// Seconds by which this node's clock is before the median of all nodes' clocks; less than 0 is behind it.
    clock_offset: Gauge = "natter_clock_offset_seconds";
    /// Whether sends are refused because this node's clock is off, or was not compared yet.
    clock_refusing: IntGauge = "natter_clock_refusing";
    /// Whether this node may deliver: it knows of all revocations.
    delivering: IntGauge = "natter_delivering";
    /// Seconds since the last reading of the control log began that this node has acted on.
    control_log_lag: Gauge = "natter_control_log_lag_seconds";
    /// Whether Redis answered when it was last asked, once a second; one machine alone needs none.
    redis_up: IntGauge = "natter_redis_up";
    /// Times that a room was read again because something may have been missed.
    repairs: IntCounter = "natter_repairs_total";
    /// Such readings that failed.
    repairs_failed: IntCounter = "natter_repairs_failed_total";
    /// Events that such readings found, and that nobody here had been told.
    repaired: IntCounter = "natter_repaired_events_total";
    /// Spans of traces that the collector has taken.
    traces_exported: IntCounter = "natter_traces_exported_total";
    /// Spans of traces that were dropped because the collector is slow or away.
    traces_dropped: IntCounter = "natter_traces_dropped_total";
    /// Log-ins, by outcome.
    logins: Labelled = "natter_logins_total", ("outcome", &[
        "ok", "bad_credentials", "throttled", "unavailable", "other",
    ]);
    /// Accounts registered.
    registrations: IntCounter = "natter_registrations_total";
    /// Revocations: log-outs, kicks, bans, disabled accounts, changed passwords, expired sessions.
    revocations: IntCounter = "natter_revocations_total";
    /// Seconds until every node had acted on a revocation.
    revocation_seconds: Histogram = "natter_revocation_seconds", WAITS;
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Has `read` called each time before the families are written: for counts that their owners keep as plain atomics.
    /// It must not block.
    pub fn before_each_text(&self, read: impl Fn(&Self) + Send + Sync + 'static) {
        self.before.lock().push(Box::new(read));
    }

    /// All families in the text format of Prometheus.
    ///
    /// # Errors
    /// [`Error::Encode`] if a family can't be written.
    pub fn text(&self) -> Result<String, Error> {
        for read in self.before.lock().iter() {
            read(self);
        }
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_comments_are_help_texts() {
        let metrics = Metrics::new();
        metrics.connections.set(3);
        let text = metrics.text().unwrap();
        assert!(
            text.contains("# HELP natter_connections WebSocket connections that are open.\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE natter_connections gauge\nnatter_connections 3\n"),
            "{text}"
        );
    }

    #[test]
    fn labels_are_fixed_and_the_unknown_counts_as_other() {
        let metrics = Metrics::new();
        metrics.events.of("message").inc_by(2);
        metrics.events.of("message").inc();
        metrics.events.of("invented by a client").inc();
        let text = metrics.text().unwrap();
        assert!(text.contains("natter_events_total{kind=\"message\"} 3\n"), "{text}");
        assert!(text.contains("natter_events_total{kind=\"other\"} 1\n"), "{text}");
        assert!(!text.contains("invented"), "{text}");
        assert_eq!(metrics.events.total(), 4);
    }

    #[test]
    fn counts_that_are_kept_elsewhere_are_read_when_asked() {
        let metrics = Metrics::new();
        metrics.before_each_text(|metrics| {
            raise(&metrics.deliveries, 7);
            metrics.send_to_ack.set(vec![(0.001, 2), (0.01, 3)], 1, 0.25);
        });
        for _ in 0..2 {
            let text = metrics.text().unwrap();
            assert!(text.contains("natter_deliveries_total 7\n"), "{text}");
            for line in [
                "bucket{le=\"0.001\"} 2",
                "bucket{le=\"0.01\"} 5",
                "bucket{le=\"+Inf\"} 6",
                "sum 0.25",
                "count 6",
            ] {
                assert!(
                    text.contains(&format!("natter_send_to_ack_seconds_{line}\n")),
                    "{line}: {text}"
                );
            }
        }
    }

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = Metrics::new();
        metrics.http_requests.count("/api/rooms/{room}", 404);
        metrics.http_seconds.observe("/api/rooms/{room}", 0.003);
        let text = metrics.text().unwrap();
        let line = "natter_http_requests_total{route=\"/api/rooms/{room}\",status=\"404\"} 1\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("le=\"0.005\"} 1\n"), "{text}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_is_measured() {
        let text = Metrics::new().text().unwrap();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_cpu_seconds_total",
        ] {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            let value: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            assert!(value >= 0.0 && (name.contains("cpu") || value > 0.0), "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_document_lists_every_family_as_it_is() {
        let metrics = Metrics::new();
        metrics.http_requests.count("/", 200);
        metrics.http_seconds.observe("/", 0.1);
        metrics.store_statements.raise("one", 1.0);
        metrics.store_statement_seconds.raise("one", 1.0);
        let mut expected = Vec::new();
        for family in metrics.registry.gather() {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            expected.push(format!("| `{}` | {kind} | {} |", family.name(), family.help()));
        }
        let document = include_str!("../../docs/operations.md");
        let is_row = |line: &&str| {
            ["| `natter_", "| `process_"]
                .iter()
                .any(|begin| line.starts_with(begin))
        };
        let table: Vec<&str> = document.lines().filter(is_row).collect();
        assert_eq!(table, expected, "the table should read:\n{}", expected.join("\n"));
    }
}
