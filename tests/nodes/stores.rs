//! The CQL servers fail themselves, while a crowd talks: the only one is stopped, so that writes have no outcome and are
//! tried again while the first attempt is under way, and is killed; of three that hold each row on each, one is killed
//! and one is stopped.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::time::Duration;

use rand::RngExt as _;
use tokio::task::block_in_place;

use crate::cassandra::Cassandra;
use crate::common::within;
use crate::crowd::Crowd;
use crate::faults::{a_while, random, seconds, survived_by};
use crate::judge::history::Event;
use crate::world::{Cluster, Special};

/// Three nodes over CQL servers of their own.
async fn on_cassandra(set: &str) -> Option<(Cassandra, Cluster)> {
    let cassandra = Cassandra::start(set, None).await?;
    let special = Special {
        cql: cassandra.addresses.clone(),
        ..Special::default()
    };
    let cluster = Cluster::start_with(3, special).await?;
    Some((cassandra, cluster))
}

/// How many answers said that the outcome is not known, and how many sends found what an earlier attempt had stored.
async fn doubts(cluster: &Cluster, crowd: &Crowd) -> (usize, f64) {
    let unknown = crowd.ground.recorder.look(|history| {
        let events = history.events();
        events
            .filter(|(_, event)| matches!(event, Event::Unknown { .. }))
            .count()
    });
    let mut repeated = 0.0;
    for node in &cluster.nodes {
        repeated += node.server.metric("natter_messages_repeated_total").await;
    }
    (unknown, repeated)
}

/// How many requests all nodes have acknowledged since so many entries were written down.
fn acknowledged(crowd: &Crowd, since: usize) -> usize {
    (0..3).map(|node| crowd.acknowledged(node, since)).sum()
}

/// Waits until people have had enough done since so many entries were written down.
async fn go_on(crowd: &Crowd, since: usize, fault: &str) {
    within(&format!("fifty requests while {fault}"), async {
        while acknowledged(crowd, since) <= 50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    println!("{} requests acknowledged while {fault}", acknowledged(crowd, since));
}

/// These tests start four CQL servers between them: one after the other, or they have little of the machine each.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_cql_server_is_stopped_and_goes_on_and_is_killed_and_comes_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some((mut cassandra, cluster)) = on_cassandra("cassandra").await else {
        return;
    };
    survived_by(cluster, "cql-server", async |cluster, crowd| {
        let mut random = random();
        // Shorter than a statement may take, longer than that, and so long that rooms are held.
        for (least, most) in [(1_000, 2_000), (4_000, 7_000), (12_000, 15_000)] {
            cassandra.signal(0, "STOP");
            a_while(&mut random, least, most).await;
            cassandra.signal(0, "CONT");
            a_while(&mut random, 1_000, 3_000).await;
        }
        let (unknown, repeated) = doubts(cluster, crowd).await;
        println!("{unknown} answers without an outcome, {repeated} sends found stored");
        assert!(unknown > 0 && repeated > 0.0, "no attempt was left under way");
        cassandra.signal(0, "KILL");
        a_while(&mut random, 500, 3_000).await;
        block_in_place(|| cassandra.start_again(0));
        cluster.all_ready().await;
        let since = crowd.entries();
        seconds(3).await;
        assert!(acknowledged(crowd, since) > 0, "it goes on");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_cql_servers_one_is_killed_and_one_is_stopped() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some((mut cassandra, cluster)) = on_cassandra("cassandra3").await else {
        return;
    };
    survived_by(cluster, "cql-servers", async |_, crowd| {
        let mut random = random();
        let (dead, stopped) = (random.random_range(0..3), random.random_range(0..3));
        println!("server {dead} is killed, server {stopped} is stopped");
        // Two of three are a quorum, so people go on, as fast as the machine lets two servers go.
        let since = crowd.entries();
        cassandra.signal(dead, "KILL");
        a_while(&mut random, 5_000, 8_000).await;
        go_on(crowd, since, "one is dead").await;
        block_in_place(|| cassandra.start_again(dead));
        a_while(&mut random, 1_000, 3_000).await;
        let since = crowd.entries();
        cassandra.signal(stopped, "STOP");
        a_while(&mut random, 8_000, 12_000).await;
        go_on(crowd, since, "one is stopped").await;
        cassandra.signal(stopped, "CONT");
    })
    .await;
}
