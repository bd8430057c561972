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

use super::{ChannelLayer, Class, Error, Incoming};
use crate::model::RoomId;

#[cfg(test)]
mod broken;

/// How often something is tried before it counts as never happening.
const PATIENCE: usize = 300;
/// A wait longer than this is one without end.
const HANGS: Duration = Duration::from_secs(60);

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// So many fresh nodes that can hear each other, and nobody else.
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>>;

    /// Cuts the connection of the nodes made last, until `restore`.
    async fn cut(&self);

    /// Ends what `cut` began. The nodes may need a moment to find each other again.
    async fn restore(&self);

    /// How many payloads may wait for a node before something has to be dropped.
    fn capacity(&self) -> usize {
        16
    }

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
        ("broadcast", broadcast(world).await),
        ("interrupted", interrupted(world).await),
        ("reachable", reachable(world).await),
        ("closed", closed(world).await),
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
        Incoming::Broadcast { .. } | Incoming::Lost { .. } => None,
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
            Incoming::Broadcast { .. } => {}
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

/// *broadcast*: to every other node, whatever it joined, once, and not to the sender.
pub async fn broadcast(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(3).await;
    nodes[1].join(RoomId::random()).await?;
    let sent = Incoming::Broadcast {
        payload: numbered("status", 0),
    };
    nodes[0].broadcast(numbered("status", 0)).await?;
    for (place, node) in nodes.iter().enumerate() {
        let all = drain(world, node).await?;
        let times = all.iter().filter(|incoming| **incoming == sent).count();
        ensure!(
            times == usize::from(place > 0),
            "node {place} of 3 heard the first node's broadcast {times} times"
        );
    }
    Ok(())
}

/// Waits between two tries, for what only time brings.
async fn pause(world: &dyn World) {
    tokio::time::sleep(world.quiet()).await;
    tokio::task::yield_now().await;
}

/// *interrupted*: it is told as a loss, and what was joined arrives again.
pub async fn interrupted(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    nodes[1].join(room).await?;
    world.cut().await;
    world.restore().await;
    let is_loss = |incoming: &Incoming| matches!(incoming, Incoming::Lost { .. });
    let mut told = drain(world, &nodes[1]).await?.iter().any(is_loss);
    for number in 0..PATIENCE {
        // The publisher may not be back yet.
        let published = nodes[0].publish(room, Class::Durable, numbered("again", number)).await;
        let all = drain(world, &nodes[1]).await?;
        told |= all.iter().any(is_loss);
        let arrived = all.into_iter().filter_map(payload_of).next().is_some();
        if arrived || (told && published.is_ok() && number > PATIENCE / 2) {
            ensure!(told, "the interruption was not told");
            ensure!(
                arrived,
                "what was joined before the interruption does not arrive after it"
            );
            return Ok(());
        }
        pause(world).await;
    }
    ensure!(told, "the interruption was not told");
    anyhow::bail!("nothing arrives after the interruption")
}

/// *reachable*: `ping` says whether the layer answers, and nothing waits for one that does not.
pub async fn reachable(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    nodes[0].ping().await?;
    world.cut().await;
    wait_for_ping(world, &nodes[0], false).await?;
    let room = RoomId::random();
    let calls = async {
        // Whether they fail is not for this clause to say, only that they return.
        let _ = nodes[0].publish(room, Class::Durable, numbered("cut", 0)).await;
        let _ = nodes[0].broadcast(numbered("cut", 1)).await;
        let _ = nodes[0].join(room).await;
        let _ = nodes[0].leave(room).await;
    };
    let returned = tokio::time::timeout(HANGS, calls).await.is_ok();
    world.restore().await;
    ensure!(returned, "a call waits for the layer to come back");
    wait_for_ping(world, &nodes[0], true).await
}

async fn wait_for_ping(world: &dyn World, node: &Arc<dyn ChannelLayer>, answered: bool) -> Result<()> {
    for _ in 0..PATIENCE {
        if node.ping().await.is_ok() == answered {
            return Ok(());
        }
        pause(world).await;
    }
    anyhow::bail!("ping never became: answered = {answered}")
}

/// *closed*: what was published still arrives, and every later call says that the layer is closed.
pub async fn closed(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let room = RoomId::random();
    nodes[1].join(room).await?;
    let waiting = Arc::clone(&nodes[0]);
    let waiting = tokio::spawn(async move { waiting.next().await });
    tokio::task::yield_now().await;
    for number in 0..world.capacity() / 2 {
        nodes[0].publish(room, Class::Durable, numbered("last", number)).await?;
    }
    nodes[0].close().await;
    nodes[0].close().await;
    let arrived: HashSet<_> = payloads(world, &nodes[1]).await?.into_iter().collect();
    let arrived = arrived.len();
    let published = world.capacity() / 2;
    ensure!(
        arrived == published,
        "{arrived} of {published} published before closing arrived"
    );
    let answers = [
        ("join", nodes[0].join(room).await),
        ("leave", nodes[0].leave(room).await),
        ("publish", nodes[0].publish(room, Class::Durable, Bytes::new()).await),
        ("broadcast", nodes[0].broadcast(Bytes::new()).await),
        ("ping", nodes[0].ping().await),
    ];
    for (call, answer) in answers {
        ensure!(answer == Err(Error::Closed), "{call} after closing: {answer:?}");
    }
    let answer = tokio::time::timeout(HANGS, waiting).await??;
    ensure!(answer == Err(Error::Closed), "a waiting reader was told {answer:?}");
    let answer = tokio::time::timeout(HANGS, nodes[0].next()).await?;
    ensure!(answer == Err(Error::Closed), "next after closing: {answer:?}");
    Ok(())
}
