//! The suite that every channel layer passes: one check per clause of the contract, each under the clause's name, and
//! one broken layer per clause that fails that check and no other.
//!
//! A check asks only for its own clause. Where a payload that does not arrive at all would be another clause's fault,
//! it passes; so a failure names what is broken.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;

use super::{ChannelLayer, Class, Incoming};
use crate::model::RoomId;

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// So many fresh nodes that can hear each other, and nobody else.
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>>;

    /// How many payloads may wait for a node before something has to be dropped.
    fn capacity(&self) -> usize;

    /// After this long without an arrival, nothing that was published is still under way.
    fn quiet(&self) -> Duration;
}

/// Runs the whole suite; answers the clauses that failed, with what was seen.
pub async fn failures(world: &dyn World) -> Vec<(&'static str, String)> {
    let results = [
        ("others", others(world).await),
        ("not-self", not_self(world).await),
        ("at-most-once", at_most_once(world).await),
        ("left", left(world).await),
        ("intact", intact(world).await),
        ("loss-reported", loss_reported(world).await),
        ("ephemeral-first", ephemeral_first(world).await),
    ];
    results
        .into_iter()
        .filter_map(|(clause, result)| Some((clause, result.err()?.to_string())))
        .collect()
}

/// Everything that arrives until it is quiet.
async fn drain(world: &dyn World, node: &Arc<dyn ChannelLayer>) -> Result<Vec<Incoming>> {
    let mut all = Vec::new();
    while let Ok(incoming) = tokio::time::timeout(world.quiet(), node.next()).await {
        all.push(incoming?);
        // A layer that repeats itself without end must not hang the suite.
        ensure!(all.len() <= 100 * world.capacity(), "it never falls silent");
        // A timeout of zero would find the task's budget used up and stop early.
        tokio::task::yield_now().await;
    }
    Ok(all)
}

async fn payloads(world: &dyn World, node: &Arc<dyn ChannelLayer>) -> Result<Vec<Bytes>> {
    let all = drain(world, node).await?;
    Ok(all.into_iter().filter_map(payload_of).collect())
}

fn payload_of(incoming: Incoming) -> Option<Bytes> {
    match incoming {
        Incoming::Payload { payload, .. } => Some(payload),
        Incoming::Lost { .. } => None,
    }
}

fn numbered(what: &str, number: usize) -> Bytes {
    Bytes::from(format!("{what} {number}"))
}

/// *others*: a payload reaches every other node that had joined the room.
pub async fn others(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(4).await;
    let (room, elsewhere) = (RoomId::random(), RoomId::random());
    for node in &nodes[..3] {
        node.join(room).await?;
    }
    nodes[3].join(elsewhere).await?;
    let sent = numbered("others", 0);
    nodes[0].publish(room, Class::Durable, sent.clone()).await?;
    for (place, node) in nodes.iter().enumerate().skip(1) {
        let arrived = payloads(world, node).await?.contains(&sent);
        ensure!(
            arrived == (place < 3),
            "node {place} of 4: arrived = {arrived}, though only the first three had joined"
        );
    }
    Ok(())
}

/// *not-self*: never the publisher itself.
pub async fn not_self(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    for node in &nodes {
        node.join(room).await?;
    }
    nodes[0].publish(room, Class::Durable, numbered("self", 0)).await?;
    let heard = payloads(world, &nodes[0]).await?;
    ensure!(heard.is_empty(), "the publisher heard itself: {heard:?}");
    Ok(())
}

/// *at-most-once*: no payload arrives twice, also not when the room was joined twice.
pub async fn at_most_once(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    nodes[1].join(room).await?;
    nodes[1].join(room).await?;
    for number in 0..world.capacity() / 2 {
        nodes[0].publish(room, Class::Durable, numbered("once", number)).await?;
    }
    let arrived = payloads(world, &nodes[1]).await?;
    let distinct: HashSet<_> = arrived.iter().collect();
    ensure!(
        distinct.len() == arrived.len(),
        "{} payloads arrived, only {} of them different",
        arrived.len(),
        distinct.len()
    );
    Ok(())
}

/// *left*: nothing published after `leave` returned arrives.
pub async fn left(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    nodes[1].join(room).await?;
    nodes[1].leave(room).await?;
    nodes[0].publish(room, Class::Durable, numbered("left", 0)).await?;
    let arrived = payloads(world, &nodes[1]).await?;
    ensure!(arrived.is_empty(), "arrived after leaving: {arrived:?}");
    Ok(())
}

/// *intact*: a payload arrives with exactly its bytes, room and class.
pub async fn intact(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let rooms = [RoomId::random(), RoomId::random()];
    let bodies = [
        Bytes::new(),
        Bytes::from_iter(0..=255u8),
        Bytes::from("\u{1f600}\r\n\0".repeat(10_000)),
    ];
    for room in rooms {
        nodes[1].join(room).await?;
        for class in [Class::Durable, Class::Ephemeral] {
            for body in &bodies {
                nodes[0].publish(room, class, body.clone()).await?;
                for incoming in drain(world, &nodes[1]).await? {
                    let sent = Incoming::Payload {
                        room,
                        class,
                        payload: body.clone(),
                    };
                    ensure!(
                        incoming == sent,
                        "{} bytes to {room} as {class:?} arrived changed",
                        body.len()
                    );
                }
            }
        }
    }
    Ok(())
}

/// *loss-reported*: durable payloads that are dropped because a node is slow are reported to it.
pub async fn loss_reported(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    nodes[1].join(room).await?;
    let sent = 3 * world.capacity();
    for number in 0..sent {
        nodes[0].publish(room, Class::Durable, numbered("loss", number)).await?;
    }
    let (mut arrived, mut reports, mut told) = (HashSet::new(), 0, 0);
    for incoming in drain(world, &nodes[1]).await? {
        match incoming {
            Incoming::Payload { payload, .. } => drop(arrived.insert(payload)),
            Incoming::Lost { count } => (reports, told) = (reports + 1, told + count),
        }
    }
    let missing = sent - arrived.len();
    ensure!(
        missing == 0 || reports > 0,
        "{missing} of {sent} are missing, unreported"
    );
    ensure!(told <= missing as u64, "{told} reported as lost, {missing} are");
    Ok(())
}

/// *ephemeral-first*: durable payloads are never dropped while ephemeral ones wait.
pub async fn ephemeral_first(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    nodes[1].join(room).await?;
    for number in 0..world.capacity() {
        nodes[0]
            .publish(room, Class::Ephemeral, numbered("typing", number))
            .await?;
    }
    for number in 0..world.capacity() {
        nodes[0]
            .publish(room, Class::Durable, numbered("durable", number))
            .await?;
    }
    let arrived: HashSet<_> = payloads(world, &nodes[1]).await?.into_iter().collect();
    let missing = (0..world.capacity()).filter(|number| !arrived.contains(&numbered("durable", *number)));
    let missing = missing.count();
    ensure!(missing == 0, "{missing} durable ones gave way to ephemeral ones");
    Ok(())
}

mod broken {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicBool, Ordering};

    use parking_lot::Mutex;

    use super::super::local::LocalHub;
    use super::*;

    /// What a broken layer does wrong.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
        /// The third node to join is not served.
        ForgetsAThirdNode,
        /// The publisher hears itself.
        Echoes,
        /// Each payload arrives twice.
        Repeats,
        /// `leave` has no effect.
        Stays,
        /// Long payloads are cut.
        Cuts,
        /// Everything arrives as durable.
        MixesClasses,
        /// Losses are kept quiet.
        HushesLosses,
        /// Ephemeral payloads take room like durable ones.
        TreatsAllAlike,
    }

    struct BrokenWorld(Fault);

    struct Broken {
        fault: Fault,
        inner: Arc<dyn ChannelLayer>,
        deaf: bool,
        joined: AtomicBool,
        extra: Mutex<VecDeque<Incoming>>,
    }

    #[async_trait]
    impl World for BrokenWorld {
        async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
            let hub = LocalHub::with_capacity(self.capacity());
            let node = |place| {
                Arc::new(Broken {
                    fault: self.0,
                    inner: hub.node(),
                    deaf: self.0 == Fault::ForgetsAThirdNode && place == 2,
                    joined: AtomicBool::new(false),
                    extra: Mutex::default(),
                }) as Arc<dyn ChannelLayer>
            };
            (0..count).map(node).collect()
        }

        fn capacity(&self) -> usize {
            16
        }

        fn quiet(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[async_trait]
    impl ChannelLayer for Broken {
        async fn join(&self, room: RoomId) -> super::super::Result<()> {
            self.joined.store(true, Ordering::Relaxed);
            if self.deaf {
                return Ok(());
            }
            self.inner.join(room).await
        }

        async fn leave(&self, room: RoomId) -> super::super::Result<()> {
            if self.fault == Fault::Stays {
                return Ok(());
            }
            self.inner.leave(room).await
        }

        async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> super::super::Result<()> {
            if self.fault == Fault::Echoes && self.joined.load(Ordering::Relaxed) {
                let payload = payload.clone();
                self.extra.lock().push_back(Incoming::Payload { room, class, payload });
            }
            if self.fault == Fault::TreatsAllAlike {
                // The real class travels in the last byte, where the layer below does not see it.
                let mut marked = payload.to_vec();
                marked.push(u8::from(class == Class::Durable));
                return self.inner.publish(room, Class::Durable, marked.into()).await;
            }
            self.inner.publish(room, class, payload).await
        }

        async fn next(&self) -> super::super::Result<Incoming> {
            if let Some(extra) = self.extra.lock().pop_front() {
                return Ok(extra);
            }
            loop {
                match (self.fault, self.inner.next().await?) {
                    (Fault::HushesLosses, Incoming::Lost { .. }) => {}
                    (fault, Incoming::Payload { room, class, payload }) => {
                        return Ok(self.distort(fault, room, class, payload));
                    }
                    (_, lost) => return Ok(lost),
                }
            }
        }
    }

    impl Broken {
        fn distort(&self, fault: Fault, room: RoomId, mut class: Class, mut payload: Bytes) -> Incoming {
            match fault {
                Fault::Repeats => {
                    let payload = payload.clone();
                    self.extra.lock().push_back(Incoming::Payload { room, class, payload });
                }
                Fault::Cuts => payload.truncate(4_096),
                Fault::MixesClasses => class = Class::Durable,
                Fault::TreatsAllAlike => {
                    let mark = payload.split_off(payload.len() - 1);
                    class = if mark[0] == 1 { Class::Durable } else { Class::Ephemeral };
                }
                _ => {}
            }
            Incoming::Payload { room, class, payload }
        }
    }

    #[tokio::test]
    async fn each_broken_layer_fails_its_own_clause_and_no_other() {
        for (fault, clause) in [
            (Fault::ForgetsAThirdNode, "others"),
            (Fault::Echoes, "not-self"),
            (Fault::Repeats, "at-most-once"),
            (Fault::Stays, "left"),
            (Fault::Cuts, "intact"),
            (Fault::MixesClasses, "intact"),
            (Fault::HushesLosses, "loss-reported"),
            (Fault::TreatsAllAlike, "ephemeral-first"),
        ] {
            let failed = failures(&BrokenWorld(fault)).await;
            let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
            assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
        }
    }
}
