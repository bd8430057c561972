//! A change of versions under load: the schema first, then node by node, with both versions side by side for longer than
//! a fault's consequences may last. The later version writes what a later version may: fields and another layout of
//! envelopes, kinds of events that nobody knows, on the channel layer and in the store, and a column.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use tokio::task::block_in_place;

use crate::common::within;
use crate::crowd::Crowd;
use crate::faults::{PEOPLE, seconds, seed};
use crate::judge::Rules;
use crate::servers::Environment;
use crate::world::{Cluster, Special, migrate};

/// The flag that only this test's build has.
const NEXT: &str = "--next-version";

/// Ends a node in order and starts another in its place; what is short of a request's answer is no fault of the change.
async fn replace(cluster: &mut Cluster, crowd: &Crowd, node: usize, with: &[&str]) {
    println!("node {node} becomes {with:?}");
    crowd.fault("replacing", true);
    cluster.server(node).terminate();
    crowd.avoid(cluster, node);
    assert_eq!(cluster.nodes[node].server.ended().await.code(), Some(0));
    block_in_place(|| cluster.nodes[node].server.start_again_as(with));
    cluster.all_ready().await;
    crowd.moved(cluster);
    crowd.fault("replacing", false);
    within("everybody's return", async {
        while !crowd.is_here() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_run_side_by_side_and_nobody_notices() {
    let Some(environment) = Environment::get() else {
        return;
    };
    let special = Special {
        cql: vec![environment.cql],
        ..Special::default()
    };
    let Some(mut cluster) = Cluster::start_with(3, special).await else {
        return;
    };
    let crowd = Crowd::talk(&cluster, "rolling-change", PEOPLE, seed(1)).await;
    seconds(2).await;
    // The new schema under nodes that do not know it.
    migrate(&[("--store", cluster.store.clone()), (NEXT, "appended".to_owned())]).await;
    seconds(2).await;
    replace(&mut cluster, &crowd, 0, &[NEXT, "layout"]).await;
    replace(&mut cluster, &crowd, 1, &[NEXT, "appended"]).await;
    // Far beyond the grace after the last replacement: here every rule holds as if nothing were going on.
    let quiet = std::time::Duration::from_millis(Rules::default().grace) + std::time::Duration::from_secs(15);
    tokio::time::sleep(quiet).await;
    let old = cluster.server(2);
    let unreadable = old.metric("natter_unreadable_total").await;
    println!("{unreadable} events could not be read by the present version");
    assert!(unreadable > 20.0, "the layouts differ");
    assert!(
        old.metric("natter_repaired_events_total").await > 20.0,
        "they were read from the store"
    );
    // Back again, as an operator may: what the later version wrote stays readable.
    replace(&mut cluster, &crowd, 1, &[]).await;
    replace(&mut cluster, &crowd, 2, &[NEXT, "layout"]).await;
    seconds(2).await;
    crowd.judged(&cluster, &Rules::default()).await;
}
