//! Brings what the hot paths count by themselves into the metrics, whenever somebody asks for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::channel_layer::nats::{Counters, NatsLayer};
use crate::fanout::Registry;
use crate::http::Gauges;
use crate::metrics::{Metrics, raise, raise_each};
use crate::rooms::cluster::Cluster;
use crate::rooms::counters::ACK_BUCKETS_MS;
use crate::rooms::doubt::Cause;
use crate::rooms::hub::Hub;

use super::OpenStore;

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

/// Lets the metrics read what others count.
pub fn feed(metrics: &Arc<Metrics>, hub: &Arc<Hub>, store: &OpenStore, layer: Option<&Arc<NatsLayer>>) {
    store.time(metrics);
    let (hub, store) = (Arc::clone(hub), store.clone());
    let layer = layer.map(|layer| layer.counters());
    metrics.before_each_text(move |metrics| {
        connections(metrics, &hub);
        rooms(metrics, &hub);
        store.feed(metrics);
        if let Some(counters) = &layer {
            channel_layer(metrics, counters);
        }
        if let Some(cluster) = hub.cluster() {
            among_nodes(metrics, cluster);
        }
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
    raise_each(
        &m.holes,
        figures
            .causes
            .into_iter()
            .map(|(cause, count)| (cause_name(cause), count)),
    );
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
    let buckets: Vec<(f64, u64)> = ACK_BUCKETS_MS
        .iter()
        .zip(&counters.ack_buckets)
        .map(|(&bound, count)| (Duration::from_millis(bound).as_secs_f64(), count.get()))
        .collect();
    let beyond = counters.ack_buckets[ACK_BUCKETS_MS.len()].get();
    let sum = Duration::from_micros(counters.ack_micros.get()).as_secs_f64();
    m.send_to_ack.set(buckets, beyond, sum);
}

const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Silence => "silence",
        Cause::Gap => "gap",
        Cause::Hole => "hole",
        Cause::FirstSeen => "first_seen",
        Cause::Layer => "layer",
        Cause::Leases => "leases",
    }
}
