//! The faults that can be had at any moment, each with a beginning and an end, so that two can overlap.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::time::Duration;

use crate::common::within;
use crate::crowd::Crowd;
use crate::proxy::{Flow, Proxy};
use crate::world::Cluster;

/// What can happen to a node or to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The node is killed, and started again in the end.
    Killed,
    /// It is killed while what it has stored is not published.
    KilledUnpublished,
    /// It is killed while the store has its writes and it does not know.
    KilledUnknowing,
    /// It is stopped, and goes on in the end.
    Paused,
    /// Between it and NATS nothing passes.
    NatsSilent,
    /// What NATS sends does not reach it.
    NatsDeaf,
    /// What it sends does not reach NATS.
    NatsMute,
    /// Its connections to NATS are reset.
    NatsReset,
    /// The NATS server is killed, and started again in the end.
    NatsKilled,
    /// Between it and Redis nothing passes.
    RedisSilent,
    /// The Redis server is stopped, and goes on in the end.
    RedisPaused,
    /// The Redis server is killed, and started again empty in the end.
    RedisEmptied,
    /// Between it and the store nothing passes.
    StoreSilent,
    /// What the store answers does not reach it.
    StoreDeaf,
    /// Its links are slow.
    Slow,
    /// Its clock is a second off.
    ClockNear,
    /// Its clock is a minute off.
    ClockFar,
}

/// A kind of fault, and the node that it happens to, where it happens to one.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// To which.
    pub node: usize,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Killed,
        Self::KilledUnpublished,
        Self::KilledUnknowing,
        Self::Paused,
        Self::NatsSilent,
        Self::NatsDeaf,
        Self::NatsMute,
        Self::NatsReset,
        Self::NatsKilled,
        Self::RedisSilent,
        Self::RedisPaused,
        Self::RedisEmptied,
        Self::StoreSilent,
        Self::StoreDeaf,
        Self::Slow,
        Self::ClockNear,
        Self::ClockFar,
    ];

    /// Whether the node starts again in the end.
    pub const fn kills_the_node(self) -> bool {
        matches!(self, Self::Killed | Self::KilledUnpublished | Self::KilledUnknowing)
    }

    /// Whether both can't happen at once.
    pub fn excludes(self, other: Self) -> bool {
        let redis = [Self::RedisPaused, Self::RedisEmptied];
        self == other || (redis.contains(&self) && redis.contains(&other))
    }
}

impl Fault {
    /// Lets it begin.
    pub async fn begin(self, cluster: &mut Cluster, crowd: &Crowd) {
        let node = &mut cluster.nodes[self.node];
        let slow = Flow::Delay(Duration::from_millis(250));
        match self.kind {
            Kind::Killed => node.server.kill(),
            Kind::KilledUnpublished => {
                within("something stored that is not published", async {
                    while !self.stores_without_publishing(&node.nats, crowd).await {
                        // Nobody who was there wrote anything, and nobody can join where NATS is not heard.
                        node.nats.heal();
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                })
                .await;
                node.server.kill();
                // What was held is lost with it.
                node.nats.cut();
            }
            Kind::KilledUnknowing => {
                node.cql.flow(Flow::Pass, Flow::Hold);
                tokio::time::sleep(Duration::from_millis(400)).await;
                node.server.kill();
                node.cql.cut();
            }
            Kind::Paused => node.server.signal("STOP"),
            Kind::NatsSilent => node.nats.hold(),
            Kind::NatsDeaf => node.nats.flow(Flow::Pass, Flow::Hold),
            Kind::NatsMute => node.nats.flow(Flow::Hold, Flow::Pass),
            Kind::NatsReset => node.nats.cut(),
            Kind::NatsKilled => cluster.nats[0].kill(),
            Kind::RedisSilent => node.redis.hold(),
            Kind::RedisPaused => cluster.redis.signal("STOP"),
            Kind::RedisEmptied => cluster.redis.kill(),
            Kind::StoreSilent => node.cql.hold(),
            Kind::StoreDeaf => node.cql.flow(Flow::Pass, Flow::Hold),
            Kind::Slow => [&node.cql, &node.nats, &node.redis]
                .map(|link| link.flow(slow, slow))
                .into_iter()
                .collect(),
            Kind::ClockNear => node.clock_off(1),
            Kind::ClockFar => node.clock_off(-60),
        }
    }

    /// Holds back what the node publishes until it has acknowledged something; false if it does not.
    async fn stores_without_publishing(self, link: &Proxy, crowd: &Crowd) -> bool {
        let since = crowd.entries();
        link.flow(Flow::Hold, Flow::Pass);
        for _ in 0..80 {
            if crowd.acknowledged(self.node, since) > 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }

    /// Ends it.
    pub fn end(self, cluster: &mut Cluster, crowd: &Crowd) {
        let node = &mut cluster.nodes[self.node];
        match self.kind {
            Kind::Killed | Kind::KilledUnpublished | Kind::KilledUnknowing => {
                node.nats.heal();
                node.cql.heal();
                tokio::task::block_in_place(|| node.server.start_again());
                crowd.moved(cluster);
            }
            Kind::Paused => node.server.signal("CONT"),
            Kind::NatsSilent | Kind::NatsDeaf | Kind::NatsMute | Kind::NatsReset => node.nats.heal(),
            Kind::NatsKilled => tokio::task::block_in_place(|| cluster.nats[0].start_again()),
            Kind::RedisSilent => node.redis.heal(),
            Kind::RedisPaused => cluster.redis.signal("CONT"),
            Kind::RedisEmptied => tokio::task::block_in_place(|| cluster.redis.start_again()),
            Kind::StoreSilent | Kind::StoreDeaf => node.cql.heal(),
            Kind::Slow => [&node.cql, &node.nats, &node.redis].into_iter().for_each(Proxy::heal),
            Kind::ClockNear | Kind::ClockFar => node.clock_off(0),
        }
    }
}
