//! What fails, while a crowd talks. The judge decides afterwards; each test prints its seed.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::crowd::Crowd;
use crate::judge::Rules;
use crate::proxy::{Flow, Proxy};
use crate::world::Cluster;

/// People of a crowd: some on each node.
pub const PEOPLE: usize = 6;

/// The seed of a run: fixed, unless the environment names another.
pub fn seed(default: u64) -> u64 {
    std::env::var("NATTER_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What follows from the seed of this run.
pub fn random() -> StdRng {
    StdRng::seed_from_u64(seed(1))
}

/// Waits for a time between two, in milliseconds.
pub async fn a_while(random: &mut StdRng, least: u64, most: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(least..most))).await;
}

pub async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

/// Starts three nodes and a crowd, lets something fail, and judges.
pub async fn survived(name: &'static str, fail: impl AsyncFnOnce(&mut Cluster, &Crowd)) {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    survived_by(cluster, name, fail).await;
}

pub async fn survived_by(mut cluster: Cluster, name: &'static str, fail: impl AsyncFnOnce(&mut Cluster, &Crowd)) {
    let crowd = Crowd::talk(&cluster, name, PEOPLE, seed(1)).await;
    seconds(2).await;
    crowd.fault(name, true);
    fail(&mut cluster, &crowd).await;
    crowd.fault(name, false);
    seconds(3).await;
    crowd.judged(&cluster, &Rules::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_failing_is_judged_good() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let crowd = Crowd::talk(&cluster, "nothing", PEOPLE, seed(1)).await;
    seconds(6).await;
    crowd.judged(&cluster, &Rules::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_killed_and_come_back() {
    survived("kill", async |cluster, crowd| {
        for node in [1, 2] {
            cluster.nodes[node].server.kill();
            seconds(3).await;
            tokio::task::block_in_place(|| cluster.nodes[node].server.start_again());
            crowd.moved(cluster);
            seconds(2).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_cut_off_from_nats_silently_one_way_and_hard() {
    survived("nats-cut", async |cluster, _| {
        let link = &cluster.nodes[1].nats;
        for (up, down) in [
            (Flow::Hold, Flow::Hold),
            (Flow::Pass, Flow::Hold),
            (Flow::Hold, Flow::Pass),
        ] {
            link.flow(up, down);
            seconds(5).await;
            link.heal();
            seconds(2).await;
        }
        link.cut();
        seconds(4).await;
        link.heal();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nats_server_is_killed_and_comes_back() {
    survived("nats-kill", async |cluster, _| {
        cluster.nats[0].kill();
        seconds(5).await;
        tokio::task::block_in_place(|| cluster.nats[0].start_again());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routes_between_nats_servers_are_split() {
    let Some(cluster) = Cluster::on_three_nats().await else {
        return;
    };
    survived_by(cluster, "nats-routes", async |cluster, _| {
        // The first server is alone: silently, then by resets. Its node hears nobody, and nobody hears that.
        let alone = &cluster.routes[..2];
        alone.iter().for_each(Proxy::hold);
        seconds(8).await;
        alone.iter().for_each(Proxy::heal);
        seconds(3).await;
        alone.iter().for_each(Proxy::cut);
        seconds(5).await;
        alone.iter().for_each(Proxy::heal);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused_and_restarted_empty() {
    survived("redis", async |cluster, _| {
        cluster.nodes[1].redis.hold();
        seconds(5).await;
        cluster.nodes[1].redis.heal();
        seconds(2).await;
        cluster.redis.signal("STOP");
        seconds(5).await;
        cluster.redis.signal("CONT");
        seconds(2).await;
        cluster.redis.kill();
        seconds(2).await;
        tokio::task::block_in_place(|| cluster.redis.start_again());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_out_of_reach_for_a_node_and_answers_late() {
    survived("store", async |cluster, _| {
        for (up, down) in [(Flow::Hold, Flow::Hold), (Flow::Pass, Flow::Hold)] {
            cluster.nodes[1].cql.flow(up, down);
            seconds(7).await;
            cluster.nodes[1].cql.heal();
            seconds(2).await;
        }
        cluster.nodes[2].cql.flap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_slow() {
    survived("slow-links", async |cluster, _| {
        let slow = Flow::Delay(Duration::from_millis(250));
        cluster.nodes[0].cql.flow(slow, slow);
        cluster.nodes[1].nats.flow(slow, slow);
        cluster.nodes[2].redis.flow(slow, slow);
        seconds(8).await;
        cluster.nodes.iter().for_each(|node| {
            [&node.cql, &node.nats, &node.redis].into_iter().for_each(Proxy::heal);
        });
    })
    .await;
}
