//! Every metric that the chart's alerts and dashboards name is served, and a node among others feeds its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::common::{Server, within};
use crate::world::Cluster;

/// Names that begin like ours, in a text.
fn names(text: &str, found: &mut BTreeSet<String>) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    for word in text.split(|c| !is_part(c)) {
        let ours = word.starts_with("natter_") || word.starts_with("process_");
        // What has a colon is a rule's own, and what ends so stands for all that begin so.
        if ours && !word.contains(':') && !word.ends_with('_') {
            found.insert(word.to_owned());
        }
    }
}

fn named_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            named_below(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "yaml" || kind == "json") {
            names(&std::fs::read_to_string(&path).expect("text"), found);
        }
    }
}

/// Waits until a node's figure is as it should be.
pub async fn until(server: &Server, name: &str, holds: impl Fn(f64) -> bool) {
    within(name, async {
        while !holds(server.metric(name).await) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_alerts_and_dashboards_name_is_served_by_a_node() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let room = cluster.name("hall");
    let (ann, bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let mut one = cluster.server(0).room(&room, &ann).await;
    let mut two = cluster.server(1).room(&room, &bob).await;
    one.say("one").await;
    two.hears("one").await;
    let served = cluster.server(1).series().await;
    let served: BTreeSet<&str> = served
        .keys()
        .map(|series| series.split('{').next().unwrap_or_default())
        .collect();
    let mut wanted = BTreeSet::new();
    for folder in ["helm", "k8s"] {
        named_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut wanted);
    }
    assert!(wanted.len() > 8, "{wanted:?}");
    let missing: Vec<_> = wanted.iter().filter(|name| !served.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "named and not served: {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_counts_what_it_lacks_and_what_it_mends() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let room = cluster.name("hall");
    let (ann, bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let mut one = cluster.server(0).room(&room, &ann).await;
    let mut two = cluster.server(1).room(&room, &bob).await;
    one.say("one").await;
    two.hears("one").await;
    let node = &cluster.nodes[1];
    // What was asked before is known.
    drop(node.server.room(&room, &bob).await);
    for name in [
        "natter_store_up",
        "natter_redis_up",
        "natter_channel_layer_up",
        "natter_delivering",
    ] {
        until(&node.server, name, |value| value > 0.5).await;
    }
    until(&node.server, "natter_clock_offset_seconds", |value| value.abs() < 1.0).await;
    for name in [
        "natter_send_to_delivery_seconds_count",
        "natter_store_statements_total{statement=\"room_one\"}",
        "natter_store_statement_seconds_total{statement=\"room_one\"}",
        "natter_store_buckets_walked_total",
        "natter_cache_hits_total",
    ] {
        until(&node.server, name, |value| value > 0.0).await;
    }

    // What is said while the node does not hear it is found in the store, and counted by what gave it away.
    node.nats.hold();
    one.say("two").await;
    two.hears("two").await;
    until(&node.server, "natter_channel_layer_up", |value| value < 0.5).await;
    until(&node.server, "natter_publishers_in_doubt", |value| value > 0.5).await;
    until(&node.server, "natter_repair_seconds_count", |value| value > 0.0).await;
    node.nats.heal();
    until(&node.server, "natter_channel_layer_up", |value| value > 0.5).await;
    until(&node.server, "natter_publishers_in_doubt", |value| value < 0.5).await;
    until(&node.server, "natter_holes_repaired_total", |value| value > 0.0).await;
    let series = node.server.series().await;
    for (name, repaired) in &series {
        if let Some(cause) = name.strip_prefix("natter_holes_repaired_total") {
            let found = series[&format!("natter_holes_total{cause}")];
            assert!(*repaired == 0.0 || found > 0.0, "{cause} was repaired and never found");
        }
    }

    node.redis.hold();
    until(&node.server, "natter_redis_up", |value| value < 0.5).await;
    until(&node.server, "natter_control_log_lag_seconds", |value| value > 2.0).await;
    node.redis.heal();
    until(&node.server, "natter_redis_up", |value| value > 0.5).await;
    until(&node.server, "natter_control_log_lag_seconds", |value| value < 2.0).await;

    node.cql.hold();
    until(&node.server, "natter_store_up", |value| value < 0.5).await;
    node.cql.heal();
    until(&node.server, "natter_store_up", |value| value > 0.5).await;
}
