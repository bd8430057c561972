//! An upgrade at noon: three nodes are replaced one after the other while two hundred connections talk. Everybody comes
//! back by themselves, nothing is lost, nothing is told twice, and nobody is run over by those who return.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::time::{Duration, Instant};

use crate::common::within;
use crate::crowd::Crowd;
use crate::judge::Rules;
use crate::world::{Cluster, Special};

/// Connections in all.
const CONNECTIONS: usize = 200;
/// Accounts that they share: each costs a password's hash.
const ACCOUNTS: usize = 20;
/// Parts of the time in which the people of one node return.
const SLICES: usize = 4;
/// How many connections a node lets go of in a second; the same as below.
const PACE: f64 = 20.0;
/// A node of a third of the people takes more than three seconds to let go of them.
const FLAGS: [(&str, &str); 3] = [
    ("--drain-delay", "1s"),
    ("--drain-window", "10s"),
    ("--drain-pace", "20"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_are_replaced_under_load_and_nobody_misses_anything() {
    let special = Special {
        flags: FLAGS.map(|(flag, value)| (flag, value.to_owned())).to_vec(),
        ..Special::default()
    };
    let Some(mut cluster) = Cluster::start_with(3, special).await else {
        return;
    };
    let crowd = Crowd::of(&cluster, "rolling", (CONNECTIONS, ACCOUNTS), 4_000..12_000, 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    crowd.fault("rolling", true);
    for node in 0..3 {
        replace(&mut cluster, &crowd, node).await;
    }
    crowd.fault("rolling", false);
    crowd.judged(&cluster, &Rules::default()).await;
}

/// Ends a node in order, as a rollout does, and starts another in its place.
async fn replace(cluster: &mut Cluster, crowd: &Crowd, node: usize) {
    crowd.ground.returns.lock().clear();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let had = cluster.server(node).metric("natter_connections").await as usize;
    assert!(had > CONNECTIONS / 10, "{had} connections on node {node}");
    cluster.server(node).terminate();
    within("the end of readiness", async {
        while cluster.server(node).ready().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    crowd.avoid(cluster, node);
    assert_eq!(cluster.nodes[node].server.ended().await.code(), Some(0));
    within("everybody's return", async {
        while !crowd.is_here() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    spread(&crowd.ground.returns.lock(), had, node);
    tokio::task::block_in_place(|| cluster.nodes[node].server.start_again());
    cluster.all_ready().await;
    crowd.moved(cluster);
}

/// They came back evenly: each part of the time brought its share.
fn spread(returns: &[Instant], had: usize, node: usize) {
    assert!(
        returns.len() * 10 >= had * 8,
        "{} of {had} were asked to come back",
        returns.len()
    );
    let (Some(first), Some(last)) = (returns.iter().min(), returns.iter().max()) else {
        panic!("nobody was asked to come back");
    };
    let whole = last.duration_since(*first).as_secs_f64();
    let mut slices = [0; SLICES];
    for at in returns {
        let part = at.duration_since(*first).as_secs_f64() / whole;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of a few slices"
        )]
        let slice = ((part * SLICES as f64) as usize).min(SLICES - 1);
        slices[slice] += 1;
    }
    // A machine that is busy makes it longer, and nothing makes it shorter: the pace is a bound.
    let count = f64::from(u32::try_from(returns.len()).expect("a few hundred"));
    assert!(whole * PACE > count / 2.0, "{count} returns in {whole} s");
    println!("node {node}: {had} connections, returns by quarter {slices:?}");
    let even = returns.len() / SLICES;
    for count in slices {
        assert!(
            (even / 6..=even * 3).contains(&count),
            "{slices:?} of {}",
            returns.len()
        );
    }
}
