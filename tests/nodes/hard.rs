//! What lasts long, or happens in the worst moment. At which moments and to which nodes follows from the seed.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::time::Duration;

use http::Method;
use natter::client::Target;
use rand::RngExt as _;
use serde_json::json;

use crate::common::within;
use crate::crowd::Crowd;
use crate::fault::{Fault, Kind};
use crate::faults::{PEOPLE, a_while, random, seconds, seed, survived, survived_by};
use crate::judge::Rules;
use crate::servers::{Environment, Own, faketime};
use crate::world::{Cluster, Special};

/// Lets one thing last for so long, from a random moment on, and says how much the node and the others did meanwhile.
async fn lasting(cluster: &mut Cluster, crowd: &Crowd, fault: Fault, time: Duration) -> (usize, usize) {
    println!("{fault:?} for {time:?}");
    let since = crowd.entries();
    fault.begin(cluster, crowd).await;
    tokio::time::sleep(time).await;
    let others = (0..cluster.nodes.len()).filter(|node| *node != fault.node);
    let done = (
        crowd.acknowledged(fault.node, since),
        others.map(|node| crowd.acknowledged(node, since)).sum(),
    );
    fault.end(cluster, crowd);
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_paused_for_half_a_minute() {
    survived("pause", async |cluster, crowd| {
        let mut random = random();
        a_while(&mut random, 0, 2_000).await;
        let node = random.random_range(0..3);
        let fault = Fault {
            kind: Kind::Paused,
            node,
        };
        let (_, others) = lasting(cluster, crowd, fault, Duration::from_secs(30)).await;
        assert!(others > 50, "the others went on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_nats_for_a_minute_while_both_sides_write() {
    survived("nats-minute", async |cluster, crowd| {
        let mut random = random();
        a_while(&mut random, 0, 2_000).await;
        let node = random.random_range(0..3);
        let fault = Fault {
            kind: Kind::NatsSilent,
            node,
        };
        let (own, others) = lasting(cluster, crowd, fault, Duration::from_secs(60)).await;
        assert!(own > 50 && others > 50, "both sides wrote: {own}, {others}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_killed_between_writing_and_publishing() {
    survived("unpublished", async |cluster, crowd| {
        let mut random = random();
        for kind in [Kind::KilledUnpublished, Kind::KilledUnknowing, Kind::KilledUnpublished] {
            let node = crowd.busiest().await;
            let repaired = repaired(cluster, Some(node)).await;
            let fault = Fault { kind, node };
            fault.begin(cluster, crowd).await;
            if kind == Kind::KilledUnpublished {
                within("the repair of what was not published", async {
                    while self::repaired(cluster, Some(node)).await <= repaired {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                })
                .await;
            }
            a_while(&mut random, 500, 4_000).await;
            fault.end(cluster, crowd);
            a_while(&mut random, 1_000, 3_000).await;
        }
    })
    .await;
}

/// The events that were found by reading the store again, on all nodes but one.
async fn repaired(cluster: &Cluster, but: Option<usize>) -> f64 {
    let mut sum = 0.0;
    for (n, node) in cluster.nodes.iter().enumerate() {
        if Some(n) != but {
            sum += node.server.metric("natter_repaired_events_total").await;
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_takes_too_slowly_loses_events_and_reads_them_again() {
    let special = Special {
        flags: vec![("--nats-queue", "16".to_owned())],
        ..Special::default()
    };
    let Some(cluster) = Cluster::start_with(3, special).await else {
        return;
    };
    survived_by(cluster, "slow-consumer", async |cluster, _| {
        let mut random = random();
        let dropped = async |cluster: &Cluster| {
            let mut sum = 0.0;
            for node in &cluster.nodes {
                sum += node.server.metric("natter_layer_dropped_total").await;
            }
            sum
        };
        // What is held back arrives at once, far more than sixteen.
        for _ in 0..4 {
            let link = &cluster.nodes[random.random_range(0..3)].nats;
            link.flow(crate::proxy::Flow::Pass, crate::proxy::Flow::Hold);
            a_while(&mut random, 1_500, 2_500).await;
            link.heal();
            a_while(&mut random, 500, 2_000).await;
        }
        let dropped = dropped(cluster).await;
        println!(
            "{dropped} events were dropped, {} repaired",
            repaired(cluster, None).await
        );
        assert!(dropped > 0.0 && repaired(cluster, None).await > 0.0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_fails_over_to_a_replica_that_lacks_the_last_revocations() {
    let Some(environment) = Environment::get() else {
        return;
    };
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    // Before anybody comes: a primary whose first replica comes later begins a new history, and all is checked again.
    let behind = crate::proxy::Proxy::before(cluster.redis.address()).await;
    let primary = behind.address();
    let replica = tokio::task::block_in_place(|| Own::redis_behind(&environment, primary));
    survived_by(cluster, "redis-failover", async |cluster, crowd| {
        let mut random = random();
        a_while(&mut random, 0, 1_000).await;
        // A log-out that the replica lacks is one that never happened: that is not promised. A kick is in the store.
        crowd.no_log_outs().await;
        seconds(1).await;
        behind.hold();
        // One node hears nothing of what follows, and the kick of somebody there is acknowledged all the same.
        let node = crowd.busiest().await;
        let since = crowd.entries();
        cluster.nodes[node].redis.hold();
        cluster.nodes[node].nats.hold();
        crowd.ground.urge(Some(node));
        within("a kick of somebody who is cut off", async {
            while crowd.silenced(node, since) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        crowd.ground.urge(None);
        a_while(&mut random, 0, 1_000).await;
        cluster.redis.kill();
        assert_eq!(replica.told("REPLICAOF NO ONE"), "+OK\r\n");
        for node in &cluster.nodes {
            node.redis.lead_to(replica.address());
        }
        drop(std::mem::replace(&mut cluster.redis, replica));
        a_while(&mut random, 0, 2_000).await;
        cluster.nodes[node].redis.heal();
        cluster.nodes[node].nats.heal();
        seconds(3).await;
        crowd.ground.allow_log_outs(true);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_a_second_off_is_not_even_noticed() {
    let Some(library) = faketime() else { return };
    let special = Special {
        clocks: Some(library),
        ..Special::default()
    };
    let Some(cluster) = Cluster::start_with(3, special).await else {
        return;
    };
    let crowd = Crowd::talk(&cluster, "clock-1", PEOPLE, seed(1)).await;
    let mut random = random();
    seconds(2).await;
    // No fault is written down: no request may fail.
    for off in [1, 0, -1, 0] {
        let node = random.random_range(0..3);
        cluster.nodes[node].clock_off(off);
        a_while(&mut random, 2_000, 4_000).await;
        cluster.nodes[node].clock_off(0);
    }
    crowd.judged(&cluster, &Rules::default()).await;
}

/// Sets the clocks of so many of these nodes a minute off, ahead and then behind: those take no sends and say why, the
/// others go on.
async fn a_minute_off(size: usize, wrong: usize, name: &'static str) {
    let Some(library) = faketime() else { return };
    let special = Special {
        clocks: Some(library),
        ..Special::default()
    };
    let Some(cluster) = Cluster::start_with(size, special).await else {
        return;
    };
    survived_by(cluster, name, async |cluster, crowd| {
        let mut random = random();
        for off in [60, -60] {
            a_while(&mut random, 0, 1_000).await;
            let first = random.random_range(0..size);
            let off_now: Vec<usize> = (0..wrong).map(|nth| (first + nth) % size).collect();
            println!("nodes {off_now:?} are {off} s off");
            for node in &off_now {
                cluster.nodes[*node].clock_off(off);
            }
            for node in &off_now {
                let server = cluster.server(*node);
                within("an unready node", async {
                    while server.ready().await {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                })
                .await;
            }
            let since = crowd.entries();
            says_why(cluster, crowd, off_now[0], off_now[0] + wrong, off).await;
            a_while(&mut random, 3_000, 6_000).await;
            let mut others = 0;
            for node in 0..size {
                let acknowledged = crowd.acknowledged(node, since);
                if off_now.contains(&node) {
                    assert_eq!(acknowledged, 0, "node {node} takes no sends");
                } else {
                    others += acknowledged;
                    assert!(cluster.server(node).ready().await, "node {node} goes on");
                }
            }
            assert!(others > 0, "the others go on");
            for node in &off_now {
                cluster.nodes[*node].clock_off(0);
            }
            cluster.all_ready().await;
        }
    })
    .await;
}

/// What a node whose clock is off answers to those who ask how it is, and to those who send.
async fn says_why(cluster: &Cluster, crowd: &Crowd, node: usize, right: usize, off: i32) {
    let server = cluster.server(node);
    let failing = Target::at(server.admin())
        .request(Method::GET, "/readyz", None, None)
        .await;
    let failing = failing.expect("an answer").body;
    assert!(failing.contains("clock"), "{failing}");
    let somebody = cluster.user(right % cluster.nodes.len(), "somebody").await;
    let mut socket = server.room(&crowd.ground.room, &somebody).await;
    socket
        .send(json!({ "type": "send", "message": "when?", "nonce": format!("off{off}") }))
        .await;
    let refused = socket.until("error").await;
    assert_eq!(refused["code"], "refused", "{refused}");
    assert!(refused["detail"].as_str().expect("text").contains("clock"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_a_minute_off_takes_no_sends_says_so_and_loses_nothing() {
    a_minute_off(3, 1, "clock-60").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clocks_a_minute_apart_the_one_that_redis_confirms_goes_on() {
    a_minute_off(2, 1, "clock-of-2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_clocks_the_two_that_redis_confirms_go_on() {
    a_minute_off(4, 2, "clocks-of-4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_can_not_be_repaired_is_held_on_its_node_alone_and_goes_on() {
    survived("held", async |cluster, crowd| {
        let mut random = random();
        let node = random.random_range(0..3);
        let somebody = cluster.user((node + 1) % 3, "somebody").await;
        let mut reader = cluster.server(node).room(&crowd.ground.room, &somebody).await;
        // It hears nobody, and can't read what was said.
        cluster.nodes[node].nats.hold();
        cluster.nodes[node].cql.hold();
        let held = async |node: usize| cluster.server(node).metric("natter_rooms_held").await;
        reader.until("degraded").await;
        assert!(held(node).await > 0.0, "it says so");
        drop(reader);
        let since = crowd.entries();
        a_while(&mut random, 1_000, 4_000).await;
        for other in (0..3).filter(|other| *other != node) {
            assert!(held(other).await < 1.0, "node {other} holds nothing");
        }
        let others: usize = (0..3).map(|other| crowd.acknowledged(other, since)).sum();
        assert!(others > 5, "the others go on");
        cluster.nodes[node].nats.heal();
        cluster.nodes[node].cql.heal();
        within("a room that is held no longer", async {
            while held(node).await > 0.0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    })
    .await;
}
