//! Every fault by several seeds, and two faults at once: for long runs. What happens follows from the seed.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::crowd::Crowd;
use crate::fault::{Fault, Kind};
use crate::faults::{PEOPLE, seconds, seed};
use crate::judge::Rules;
use crate::servers::faketime;
use crate::world::{Cluster, Special};

/// Seeds that each fault is run with.
const SEEDS: u64 = 3;
/// Pairs of faults that are drawn.
const PAIRS: usize = 24;

/// Lets these faults overlap on nodes of their own, for random times, in a cluster of their own.
async fn overlapping(kinds: &[Kind], seed: u64, library: &str) {
    let special = Special {
        clocks: Some(library.to_owned()),
        ..Special::default()
    };
    let mut cluster = Cluster::start_with(3, special).await.expect("servers");
    let name = kinds
        .iter()
        .map(|kind| format!("{kind:?}"))
        .collect::<Vec<_>>()
        .join("-");
    println!("{name} by seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let crowd = Crowd::talk(&cluster, "matrix", PEOPLE, seed).await;
    let mut nodes = [0, 1, 2];
    nodes.shuffle(&mut random);
    let faults = kinds.iter().zip(nodes).map(|(&kind, node)| Fault { kind, node });
    let mut faults: Vec<Fault> = faults.collect();
    seconds(2).await;
    crowd.fault(&name, true);
    for fault in &faults {
        fault.begin(&mut cluster, &crowd).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(500..8_000))).await;
    }
    // A node can't start while a server is away.
    faults.sort_by_key(|fault| fault.kind.kills_the_node());
    for fault in &faults {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..8_000))).await;
        fault.end(&mut cluster, &crowd);
    }
    crowd.fault(&name, false);
    seconds(3).await;
    crowd.judged(&cluster, &Rules::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "every fault by several seeds takes many minutes"]
async fn every_fault_by_several_seeds() {
    let Some(library) = faketime() else { return };
    for kind in Kind::ALL {
        for n in 0..SEEDS {
            overlapping(&[kind], seed(1) + n, &library).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "pairs of faults take many minutes"]
async fn two_faults_at_once() {
    let Some(library) = faketime() else { return };
    let mut random = StdRng::seed_from_u64(seed(1));
    let mut drawn = 0;
    while drawn < PAIRS {
        let pair = [(); 2].map(|()| Kind::ALL[random.random_range(0..Kind::ALL.len())]);
        if !pair[0].excludes(pair[1]) {
            overlapping(&pair, random.random_range(0..10_000), &library).await;
            drawn += 1;
        }
    }
}
