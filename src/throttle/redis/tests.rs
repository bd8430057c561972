//! Redis throttles beside the contract: Redis' own time, several nodes at once, what is left behind, and Redis down.

use std::sync::Arc;

use super::super::conformance::{self, World};
use super::super::local::tests::TestClock;
use super::*;
use crate::limits;
use crate::redis_link::testing::{Cluster, Server, answering, apart, shared};

struct RedisWorld {
    link: RedisLink,
    time: TestClock,
}

#[async_trait]
impl World for RedisWorld {
    async fn throttle(&self) -> Arc<dyn Throttle> {
        Arc::new(RedisThrottles::with_clock(apart(&self.link), self.time.clock()))
    }

    async fn pass(&self, span: Duration) {
        self.time.advance(span);
    }
}

#[tokio::test]
async fn redis_throttles_keep_every_clause() {
    let Some((link, _server)) = shared().await else { return };
    let time = TestClock::default();
    assert_eq!(conformance::failures(&RedisWorld { link, time }).await, []);
}

#[tokio::test]
async fn by_redis_own_time_a_burst_passes_over_all_nodes_and_then_more_after_the_wait() {
    let Some((link, _server)) = shared().await else { return };
    let nodes = [(); 4].map(|()| Arc::new(RedisThrottles::new(link.clone())));
    let burst = limits::REGISTRATION.burst;
    let mut tries = Vec::new();
    for number in 0..2 * burst {
        let node = Arc::clone(&nodes[number as usize % nodes.len()]);
        tries.push(tokio::spawn(async move {
            node.check(Kind::Registration, "192.0.2.1").await
        }));
    }
    let mut allowed = 0;
    for outcome in tries {
        allowed += u32::from(outcome.await.unwrap().unwrap() == Verdict::Allowed);
    }
    assert_eq!(allowed, burst, "so many pass at once over all nodes");
    let mut refused = None;
    while refused.is_none() {
        refused = match nodes[0].check(Kind::HandshakeAddress, "192.0.2.1").await.unwrap() {
            Verdict::Allowed => None,
            Verdict::RetryAfter(wait) => Some(wait),
        };
    }
    let wait = refused.unwrap();
    assert!(wait <= limits::HANDSHAKE_ADDRESS.every, "{wait:?}");
    tokio::time::sleep(wait).await;
    let verdict = nodes[1].check(Kind::HandshakeAddress, "192.0.2.1").await.unwrap();
    assert_eq!(verdict, Verdict::Allowed);
}

#[tokio::test]
async fn every_key_ends_by_itself_and_long_ones_are_kept_short() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let throttles = RedisThrottles::new(link.clone());
    let long = "x".repeat(100_000);
    for kind in Kind::ALL {
        throttles.check(kind, &long).await.unwrap();
    }
    let keys: Vec<String> = link.query(redis::cmd("KEYS").arg("*")).await.unwrap();
    assert_eq!(keys.len(), Kind::ALL.len());
    for key in keys {
        assert!(key.len() < 128, "{key}");
        let left: i64 = link.query(redis::cmd("PTTL").arg(&key)).await.unwrap();
        assert!(left > 0, "{key} stays for ever");
    }
}

#[tokio::test]
async fn a_redis_that_is_down_is_said() {
    let Some(mut server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    server.kill();
    let throttles = RedisThrottles::new(link);
    for kind in Kind::ALL {
        assert!(matches!(throttles.check(kind, "ann").await, Err(Error::Unavailable(_))));
        assert!(matches!(throttles.reset(kind, "ann").await, Err(Error::Unavailable(_))));
        assert!(matches!(
            throttles.take_back(kind, "ann").await,
            Err(Error::Unavailable(_))
        ));
    }
}

#[tokio::test]
async fn a_cluster_keeps_every_clause() {
    let Some(cluster) = Cluster::start().await else { return };
    let link = cluster.link();
    answering(&link).await;
    let time = TestClock::default();
    assert_eq!(conformance::failures(&RedisWorld { link, time }).await, []);
}
