//! What a node does not do: deliver without a lease, give ids by a clock that is off.

use std::sync::Arc;
use std::time::Duration;

use natter::control_log::Position;
use natter::model::{Moment, SystemTime, Timestamp, WallClock};

use crate::common::within;
use crate::world::World;

/// Looks until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_nothing_is_delivered_until_a_later_reading() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    a.say("hello").await;
    b.hears("hello").await;
    // The node no longer reads the control log: within seconds it may not write.
    two.stop_reading();
    until("the end of the lease", || !two.lease.may_write()).await;
    let arrived = two.cluster.counts().arrived.get();
    let told = two.hub.counters().deliveries.get();
    a.say("one").await;
    a.say("two").await;
    until("the events' arrival", || {
        two.cluster.counts().arrived.get() == arrived + 2
    })
    .await;
    // A room that is asked who reads it has looked at what had arrived before.
    two.hub.readers().await;
    assert_eq!(
        two.hub.counters().deliveries.get(),
        told,
        "nothing is delivered without a lease"
    );
    let position = Position {
        incarnation: 0,
        offset: 0,
    };
    two.lease.renewed(Moment::now(), position, &[]);
    b.hears("one").await;
    b.hears("two").await;
}

/// A clock that is ahead.
struct Ahead(Duration);

impl WallClock for Ahead {
    fn now(&self) -> Timestamp {
        SystemTime.now().plus(self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_off_stores_nothing_and_says_why() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let off = world.node_by(Arc::new(Ahead(Duration::from_secs(60)))).await;
    let (ann, bob) = (one.user("ann").await, off.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = off.room("lobby", &bob).await;
    until("a clock that is known to be off", || off.cluster.serves().is_err()).await;
    b.send(serde_json::json!({ "message": "from the future" })).await;
    let refused = b.error("refused").await;
    assert!(refused["detail"].as_str().unwrap().contains("clock"), "{refused}");
    // It still hears the others, and they go on.
    a.say("from now").await;
    b.hears("from now").await;
    assert!(one.cluster.serves().is_ok() && two.cluster.serves().is_ok());
}
