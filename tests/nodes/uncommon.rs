//! Alerts whose causes take more than a link that is cut: a disk that is full, clocks that differ, a store that has what
//! it did not confirm, a queue that overflows, readers that take nothing for a minute.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::common::{Open, PATIENCE, Server, Sock, User};
use crate::metrics::until;
use crate::proxy::Flow;
use crate::samples::Samples;
use crate::servers::{faketime, skip};
use crate::world::{Cluster, Special};

/// Megabytes of the disk that fills up: several times what an empty server takes.
const DISK: u32 = 24;
/// Readers of each group that take nothing.
const DEAF: usize = 6;
/// Messages that arrive at once at a node whose queues hold sixteen.
const FLOOD: usize = 400;

/// Fills the disk that a server alone sees; the file is what has to go for there to be room again.
fn fill(server: &Server) -> std::path::PathBuf {
    let path = server.folder().strip_prefix("/").expect("an absolute path");
    let filler = std::path::Path::new("/proc")
        .join(server.id().to_string())
        .join("root")
        .join(path)
        .join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file on the small disk");
    let mut written = 0;
    for block in [vec![0_u8; 64 * 1024], vec![0; 512]] {
        while let Ok(count) = file.write(&block)
            && count > 0
        {
            written += count;
            assert!(written <= DISK as usize * 1024 * 1024, "this is not the small disk");
        }
    }
    filler
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full() {
    let Some(server) = Server::on_small_disk(DISK) else {
        return skip("unshare can't give a process a disk of its own here");
    };
    let ann = server.user("ann").await;
    let mut socket = server.room("hall", &ann).await;
    let long = "x".repeat(3_500);
    let mut stored = BTreeSet::new();
    let first = socket.ask(json!({ "type": "send", "message": long })).await;
    stored.insert(first["id"].to_string());

    let mut fails = Samples::before(&server, &["NatterStoreFails"]).await;
    let filler = fill(&server);
    for _ in 0..2 {
        let failed = server.metric("natter_store_commits_failed_total").await;
        while server.metric("natter_store_commits_failed_total").await <= failed {
            let answer = socket.ask(json!({ "type": "send", "message": long })).await;
            if answer["type"] == "ack" {
                stored.insert(answer["id"].to_string());
            } else {
                assert_eq!(answer["code"], "refused", "{answer}");
            }
        }
        fails.take(&server).await;
    }
    std::fs::remove_file(filler).expect("room again");
    let again = socket.ask(json!({ "type": "send", "message": "there is room" })).await;
    assert_eq!(again["type"], "ack", "it goes on by itself: {again}");
    stored.insert(again["id"].to_string());
    fails.resolved(&server).await;
    let kept = server.history(&ann, "hall").await;
    let kept: BTreeSet<String> = kept.iter().map(|message| message["id"].to_string()).collect();
    assert_eq!(kept, stored, "what was acknowledged, and nothing that was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_has_what_it_did_not_confirm() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let (room, node) = (cluster.name("hall"), &cluster.nodes[1]);
    let server = &node.server;
    let ann = cluster.user(1, "ann").await;
    let mut socket = server.room(&room, &ann).await;
    socket.say("hello").await;

    let mut late = Samples::before(server, &["NatterLateWrites"]).await;
    let mut ids = BTreeSet::new();
    for nonce in ["n-1", "n-2"] {
        let mut frame = json!({ "type": "send", "message": nonce, "nonce": nonce });
        let mut answer = json!({});
        while answer["code"] != "unknown_outcome" {
            node.cql.flow(Flow::Pass, Flow::Hold);
            answer = socket.ask(frame.clone()).await;
            node.cql.heal();
            until(server, "natter_store_up", |value| value > 0.5).await;
            // Refused is what needed a reading before it could be written.
            assert!(
                answer["code"] == "unknown_outcome" || answer["code"] == "refused",
                "{answer}"
            );
        }
        // As a client does: again, until it is known. Once the first attempt is old, it is told as late.
        frame["retry"] = json!(true);
        let before = server.metric("natter_store_late_total").await;
        let told = async {
            while server.metric("natter_store_late_total").await <= before {
                let answer = socket.ask(frame.clone()).await;
                if answer["type"] == "ack" {
                    ids.insert((nonce, answer["id"].to_string()));
                }
            }
        };
        crate::common::within("a message that is told as late", told).await;
        late.take(server).await;
    }
    assert_eq!(
        ids.len(),
        2,
        "each send has one id, however often it was repeated: {ids:?}"
    );
    let kept = server.history(&ann, &room).await;
    assert_eq!(kept.len(), 3, "each is there once: {kept:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_overflows() {
    let special = Special {
        flags: vec![("--nats-queue", "16".to_owned())],
        ..Special::default()
    };
    let Some(cluster) = Cluster::start_with(2, special).await else {
        return;
    };
    let room = cluster.name("hall");
    let (ann, bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let mut one = cluster.server(0).room(&room, &ann).await;
    let mut two = cluster.server(1).room(&room, &bob).await;
    let node = &cluster.nodes[1];
    let mut drops = Samples::before(&node.server, &["NatterLayerDrops"]).await;
    for _ in 0..2 {
        let before = node.server.metric("natter_layer_dropped_total").await;
        while node.server.metric("natter_layer_dropped_total").await <= before {
            // What is held back arrives at once, far more than sixteen.
            node.nats.flow(Flow::Pass, Flow::Hold);
            for n in 0..FLOOD {
                one.send(json!({ "message": n.to_string() })).await;
            }
            for _ in 0..FLOOD {
                one.until("ack").await;
            }
            node.nats.heal();
            let mut missing: BTreeSet<String> = (0..FLOOD).map(|n| n.to_string()).collect();
            while !missing.is_empty() {
                let heard = two.until("message").await;
                missing.remove(heard["message"].as_str().expect("text"));
            }
        }
        drops.take(&node.server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_differ() {
    let Some(library) = faketime() else { return };
    let special = Special {
        clocks: Some(library),
        ..Special::default()
    };
    let Some(cluster) = Cluster::start_with(3, special).await else {
        return;
    };
    let node = &cluster.nodes[1];
    let mut off = Samples::before(&node.server, &["NatterClockOff"]).await;
    node.clock_off(1.5);
    until(&node.server, "natter_clock_offset_seconds", |by| by.abs() > 1.1).await;
    assert!(node.server.ready().await, "it still serves");
    off.take(&node.server).await;
    node.clock_off(0);
    until(&node.server, "natter_clock_offset_seconds", |by| by.abs() < 0.5).await;
    off.resolved(&node.server).await;

    let mut refuses = Samples::before(&node.server, &["NatterClockRefuses"]).await;
    node.clock_off(60);
    until(&node.server, "natter_clock_refusing", |value| value > 0.5).await;
    refuses.take(&node.server).await;
    node.clock_off(0);
    until(&node.server, "natter_clock_refusing", |value| value < 0.5).await;
    cluster.all_ready().await;
    refuses.resolved(&node.server).await;
}

/// Readers with small kernel buffers, live in the room; nobody reads them from then on.
async fn deaf(server: &Server, users: &[User]) -> Vec<Sock> {
    let mut sockets = Vec::new();
    for user in users {
        let open = Open::new(server.address(), "/ws/chat/hall/").cookie(&user.cookie);
        let mut socket = open.receive_buffer(4_096).open().await.expect("an upgrade");
        socket.until("live").await;
        sockets.push(socket);
    }
    sockets
}

/// Talks until so many connections are behind.
async fn talk_until_behind(server: &Server, socket: &mut Sock, count: usize) {
    let long = "x".repeat(3_500);
    while server.metric("natter_connections_behind").await < count as f64 - 0.5 {
        for _ in 0..20 {
            socket.say(&long).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_take_nothing_for_a_minute() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut users = Vec::new();
    for n in 0..2 * DEAF {
        users.push(server.user(&format!("deaf{n}-")).await);
    }
    let mut socket = server.room("hall", &ann).await;
    let mut full = Samples::before(&server, &["NatterOutboxesFull"]).await;
    let first = deaf(&server, &users[..DEAF]).await;
    talk_until_behind(&server, &mut socket, DEAF).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let second = deaf(&server, &users[DEAF..]).await;
    talk_until_behind(&server, &mut socket, 2 * DEAF).await;
    for closed in [DEAF, 2 * DEAF] {
        let slow = "natter_connections_closed_total{reason=\"too_slow\"}";
        let all = async {
            while server.metric(slow).await < closed as f64 - 0.5 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // They are given a minute before they are closed.
        tokio::time::timeout(PATIENCE * 5, all).await.expect("they are closed");
        full.take(&server).await;
    }
    // Nobody has read the first one for as long, so it did not answer the server's pings.
    let mut again = server.room("hall", &ann).await;
    assert_eq!(again.say("all is well").await["type"], "ack");
    drop((first, second));
}
