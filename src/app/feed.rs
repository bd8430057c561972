//! Brings what the hot paths count by themselves into the metrics, whenever somebody asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::channel_layer::nats::{Counters, NatsLayer};
use crate::control_log::lease::DeliveryLease;
use crate::fanout::Registry;
use crate::http::Gauges;
use crate::metrics::{Distribution, Metrics, raise, raise_each};
use crate::rooms::cluster::Cluster;
use crate::rooms::directory::Directory;
use crate::rooms::doubt::{Cause, ClockCheck};
use crate::rooms::hub::Hub;

use crate::telemetry::traces;

use super::OpenStore;
use super::reach::Reach;

/// The live figures of the admin area.
pub struct LiveGauges {
    /// The active rooms.
    pub hub: Arc<Hub>,
    /// The connections.
    pub registry: Arc<Registry>,
}

impl Gauges for LiveGauges {
    fn connections(&self) -> u64 {
        self.registry.len() as u64
    }

    fn people(&self) -> u64 {
        self.registry.people() as u64
    }

    fn messages(&self) -> u64 {
        self.hub.counters().messages.get()
    }
}

/// What the metrics read when somebody asks for them.
pub struct Sources {
    /// The active rooms and the connections.
    pub hub: Arc<Hub>,
    /// The rules, with what they remember.
    pub directory: Arc<Directory>,
    /// The store.
    pub store: OpenStore,
    /// NATS, where there is one.
    pub layer: Option<Arc<NatsLayer>>,
    /// Whether this node may deliver.
    pub lease: DeliveryLease,
    /// Which servers answer.
    pub reach: Arc<Reach>,
}

/// Lets the metrics read what others count.
pub fn feed(metrics: &Arc<Metrics>, sources: Sources) {
    sources.store.time(metrics);
    let Sources {
        hub,
        directory,
        store,
        layer,
        lease,
        reach,
    } = sources;
    let layer = layer.map(|layer| layer.counters());
    metrics.before_each_text(move |metrics| {
        connections(metrics, &hub);
        rooms(metrics, &hub);
        self::directory(metrics, &directory);
        store.feed(metrics);
        if let Some(counters) = &layer {
            channel_layer(metrics, counters);
        }
        if let Some(cluster) = hub.cluster() {
            among_nodes(metrics, cluster);
        }
        if let Some(counts) = traces::counts() {
            raise(&metrics.traces_exported, counts.exported.load(Ordering::Relaxed));
            raise(&metrics.traces_dropped, counts.dropped.load(Ordering::Relaxed));
        }
        metrics.delivering.set(i64::from(lease.may_write()));
        metrics.control_log_lag.set(lease.lag().as_secs_f64());
        metrics.store_up.set(i64::from(reach.store()));
        metrics.redis_up.set(i64::from(reach.sessions()));
        metrics.layer_up.set(i64::from(reach.layer()));
    });
}

fn channel_layer(m: &Metrics, counters: &Counters) {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    raise(m.published.of("durable"), get(&counters.published_durable));
    raise(m.published.of("ephemeral"), get(&counters.published_ephemeral));
    raise(m.published.of("broadcast"), get(&counters.published_broadcast));
    raise(&m.unpublished, get(&counters.unpublished));
    raise(&m.received, get(&counters.received));
    raise(&m.layer_dropped, get(&counters.dropped));
    raise(&m.layer_interruptions, get(&counters.interruptions));
    m.subscriptions.set(gauge(get(&counters.subscriptions)));
}

fn among_nodes(m: &Metrics, cluster: &Cluster) {
    let counts = cluster.counts();
    raise(&m.events_arrived, counts.arrived.get());
    raise(&m.unreadable, counts.unreadable.get());
    raise(&m.repairs, counts.repairs.get());
    raise(&m.repairs_failed, counts.repairs_failed.get());
    raise(&m.repaired, counts.repaired.get());
    let figures = cluster.figures();
    m.publishers_in_doubt.set(gauge(figures.doubting as u64));
    m.rooms_held.set(gauge(figures.held_rooms as u64));
    let by_cause = |counts: Vec<(Cause, u64)>| counts.into_iter().map(|(cause, count)| (cause_name(cause), count));
    raise_each(&m.holes, by_cause(figures.causes));
    raise_each(&m.holes_repaired, by_cause(figures.settled));
    times(&m.repair_seconds, cluster.repair_times());
    m.publish_queue.set(gauge(figures.outgoing as u64));
    #[expect(clippy::cast_precision_loss, reason = "clocks are less than 2^52 ms apart")]
    m.clock_offset.set(figures.clock_offset_ms as f64 / 1_000.0);
    m.clock_refusing.set(i64::from(figures.clock != ClockCheck::Good));
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn connections(m: &Metrics, hub: &Hub) {
    let registry = hub.registry();
    let traffic = registry.traffic();
    m.connections.set(gauge(registry.len() as u64));
    m.behind.set(gauge(traffic.behind()));
    raise(&m.fell_behind, traffic.times_behind());
    raise(&m.bytes_written, traffic.written());
    raise(&m.ephemeral_dropped, traffic.ephemeral_dropped());
    raise_each(&m.connections_closed, traffic.closed());
    raise_each(&m.refused, traffic.refused());
    let (mut sum, mut deepest) = (0, 0);
    for link in registry.all() {
        let waiting = link.waiting();
        sum += waiting;
        deepest = deepest.max(waiting);
    }
    m.outbox.set(gauge(sum as u64));
    m.outbox_deepest.set(gauge(deepest as u64));
}

fn rooms(m: &Metrics, hub: &Hub) {
    let counters = hub.counters();
    m.rooms_active.set(gauge(hub.active_rooms() as u64));
    raise(&m.connections_opened, counters.connections_opened.get());
    raise(&m.messages_appended, counters.messages.get());
    raise(&m.messages_repeated, counters.repeated.get());
    raise(&m.encodings, counters.encodings.get());
    raise(&m.deliveries, counters.deliveries.get());
    raise(m.catch_ups.of("store"), counters.store_catch_ups.get());
    raise(m.catch_ups.of("ring"), counters.ring_catch_ups.get());
    raise(m.joins.of("first"), counters.first_joins.get());
    raise(m.joins.of("resumed"), counters.resumed_joins.get());
    raise(m.joins.of("reset"), counters.reset_joins.get());
    let events = [
        ("message", &counters.messages),
        ("edited", &counters.edited),
        ("deleted", &counters.deleted),
        ("typing", &counters.typing),
        ("presence", &counters.presence),
        ("read", &counters.read),
        ("inbox", &counters.inbox),
    ];
    raise_each(&m.events, events.map(|(kind, counter)| (kind, counter.get())));
    times(&m.send_to_ack, counters.send_to_ack.read());
    times(&m.send_to_delivery, counters.send_to_delivery.read());
    raise(m.shared_reads.of("led"), counters.reads_led.get());
    raise(m.shared_reads.of("shared"), counters.reads_shared.get());
}

fn times(family: &Distribution, (buckets, beyond, sum): (Vec<(Duration, u64)>, u64, Duration)) {
    let buckets = buckets.into_iter().map(|(bound, count)| (bound.as_secs_f64(), count));
    family.set(buckets.collect(), beyond, sum.as_secs_f64());
}

fn directory(m: &Metrics, directory: &Directory) {
    for (cache, (lookups, hits)) in directory.asked() {
        raise(m.cache_lookups.of(cache), lookups);
        raise(m.cache_hits.of(cache), hits);
    }
}

const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Silence => "silence",
        Cause::Gap => "gap",
        Cause::Hole => "hole",
        Cause::FirstSeen => "first_seen",
        Cause::Layer => "layer",
        Cause::Leases => "leases",
        Cause::Reply => "reply",
        Cause::Unsure => "unsure",
    }
}
