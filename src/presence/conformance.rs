//! The suite that every presence passes: one check per clause of the contract, each under the clause's name, and
//! broken ones that fail one check each and no other.

use std::sync::Arc;

use anyhow::{Result, ensure};
use async_trait::async_trait;

use super::Presence;
use crate::model::{ConnectionId, Name, RoomId, UserId};

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// So many fresh nodes that share one presence, which is empty.
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn Presence>>;

    /// Ends a node without a farewell; returns once its lease has run out.
    async fn lose(&self, node: Arc<dyn Presence>);
}

/// Runs the whole suite; answers the clauses that failed, with what was seen.
pub async fn failures(world: &dyn World) -> Vec<(&'static str, String)> {
    let results = [
        ("counted", counted(world).await),
        ("first-last", first_last(world).await),
        ("listed", listed(world).await),
        ("lease", lease(world).await),
    ];
    results
        .into_iter()
        .filter_map(|(clause, result)| Some((clause, result.err()?.to_string())))
        .collect()
}

fn name(text: &str) -> Result<Name> {
    Ok(Name::parse(text)?)
}

/// *counted*: somebody with two connections stays until both are gone, on whichever nodes they are.
pub async fn counted(world: &dyn World) -> Result<()> {
    for places in [[0, 0], [0, 1]] {
        let nodes = world.nodes(2).await;
        let (room, ann) = (RoomId::random(), UserId::random());
        let connections = [ConnectionId::random(), ConnectionId::random()];
        for (place, connection) in places.into_iter().zip(connections) {
            nodes[place].connect(ann, connection).await?;
            // Entering twice with one connection counts once.
            nodes[place].enter(room, ann, &name("ann")?, connection).await?;
            nodes[place].enter(room, ann, &name("ann")?, connection).await?;
        }
        for (left, (place, connection)) in places.into_iter().zip(connections).enumerate() {
            nodes[place].disconnect(ann, connection).await?;
            nodes[place].leave(room, ann, connection).await?;
            let stays = usize::from(left == 0);
            for node in &nodes {
                let online = node.online(&[ann]).await?.len();
                let here = node.present_of(room, &[ann]).await?.len();
                let counted = node.present(room, 10).await?.count;
                ensure!(
                    (online, here, counted) == (stays, stays, stays as u64),
                    "{} of 2 connections are gone: online {online}, in the room {here}, counted {counted}",
                    left + 1
                );
            }
        }
    }
    Ok(())
}

/// *first-last*: the first to come and the last to go are told that they are.
pub async fn first_last(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let (room, ann) = (RoomId::random(), UserId::random());
    let connections = [0, 1, 1].map(|place| (place, ConnectionId::random()));
    for (number, (place, connection)) in connections.into_iter().enumerate() {
        let first = nodes[place].connect(ann, connection).await?;
        ensure!(first == (number == 0), "connect {number}: first = {first}");
        let first = nodes[place].enter(room, ann, &name("ann")?, connection).await?;
        ensure!(first == (number == 0), "enter {number}: first = {first}");
    }
    for (number, (place, connection)) in connections.into_iter().enumerate() {
        let last = nodes[place].leave(room, ann, connection).await?;
        ensure!(last == (number == 2), "leave {number}: last = {last}");
        let last = nodes[place].disconnect(ann, connection).await?;
        ensure!(last == (number == 2), "disconnect {number}: last = {last}");
    }
    Ok(())
}

/// *listed*: `present` counts people, not connections, and lists at most what was asked, in the order of names.
pub async fn listed(world: &dyn World) -> Result<()> {
    let nodes = world.nodes(2).await;
    let (room, elsewhere) = (RoomId::random(), RoomId::random());
    let names = ["dora", "Ben", "ann", "Cleo"];
    let mut users = Vec::new();
    for (number, text) in names.into_iter().enumerate() {
        let user = UserId::random();
        users.push(user);
        let node = &nodes[number % 2];
        node.connect(user, ConnectionId::random()).await?;
        for _ in 0..2 {
            node.enter(room, user, &name(text)?, ConnectionId::random()).await?;
        }
    }
    let stranger = UserId::random();
    nodes[0]
        .enter(elsewhere, stranger, &name("aaa")?, ConnectionId::random())
        .await?;
    for node in &nodes {
        for (limit, expected) in [
            (10, &["ann", "Ben", "Cleo", "dora"][..]),
            (2, &["ann", "Ben"]),
            (0, &[]),
        ] {
            let present = node.present(room, limit).await?;
            let got: Vec<_> = present.names.iter().map(Name::as_str).collect();
            ensure!(
                present.count == 4 && got == expected,
                "4 people with 8 connections, {limit} names asked: {} people, {got:?}",
                present.count
            );
        }
        let mut here = node.present_of(room, &[users[3], stranger, users[0]]).await?;
        here.sort_unstable();
        let mut expected = [users[3], users[0]];
        expected.sort_unstable();
        ensure!(here == expected, "of three people two are in the room, got {here:?}");
        let online = node.online(&[users[1], stranger]).await?;
        ensure!(
            online == [users[1]],
            "of two people one has a connection, got {online:?}"
        );
    }
    Ok(())
}

/// *lease*: what a node entered vanishes when the node goes, and nothing else does.
pub async fn lease(world: &dyn World) -> Result<()> {
    let mut nodes = world.nodes(2).await;
    let room = RoomId::random();
    let (ann, ben) = (UserId::random(), UserId::random());
    for (place, user, text) in [(0, ann, "ann"), (1, ann, "ann"), (1, ben, "ben")] {
        let connection = ConnectionId::random();
        nodes[place].connect(user, connection).await?;
        nodes[place].enter(room, user, &name(text)?, connection).await?;
    }
    if let Some(lost) = nodes.pop() {
        world.lose(lost).await;
    }
    let online = nodes[0].online(&[ann, ben]).await?;
    ensure!(online == [ann], "only {ann} is still connected, online are {online:?}");
    let present = nodes[0].present(room, 10).await?;
    ensure!(
        present.count == 1 && present.names == [name("ann")?],
        "only ann is still in the room, present are {present:?}"
    );
    Ok(())
}

mod broken {
    use std::collections::HashSet;

    use parking_lot::Mutex;

    use super::super::local::LocalPresence;
    use super::super::{Present, Result};
    use super::*;

    /// What a broken presence does wrong.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fault {
        /// Somebody is shown as gone when the first connection goes.
        GoesTooSoon,
        /// Each entering counts, also a second one with the same connection.
        CountsEntering,
        /// Everybody who comes is told to be the first.
        AlwaysFirst,
        /// Nobody who goes is told to be the last.
        NeverLast,
        /// Counts connections instead of people.
        CountsConnections,
        /// Lists in no order.
        ListsBackwards,
        /// Lists one more than was asked.
        ListsTooMany,
        /// A lost node's people stay.
        KeepsTheDead,
    }

    struct BrokenWorld(Fault);

    /// Answers come from `told`, lists from `shown`; only the faulty call differs between the two.
    struct Broken {
        fault: Fault,
        told: Arc<dyn Presence>,
        shown: Arc<dyn Presence>,
        entered: Mutex<HashSet<(RoomId, ConnectionId)>>,
    }

    #[async_trait]
    impl World for BrokenWorld {
        async fn nodes(&self, count: usize) -> Vec<Arc<dyn Presence>> {
            let (told, shown) = (LocalPresence::new(), LocalPresence::new());
            let node = |_| {
                Arc::new(Broken {
                    fault: self.0,
                    told: told.node(),
                    shown: shown.node(),
                    entered: Mutex::default(),
                }) as _
            };
            (0..count).map(node).collect()
        }

        async fn lose(&self, node: Arc<dyn Presence>) {
            if self.0 == Fault::KeepsTheDead {
                std::mem::forget(node);
            }
        }
    }

    /// Under this fault everybody is kept under one connection.
    fn key(fault: Fault, user: UserId, connection: ConnectionId) -> ConnectionId {
        match fault {
            Fault::GoesTooSoon => ConnectionId::from_bytes(*user.as_bytes()),
            _ => connection,
        }
    }

    #[async_trait]
    impl Presence for Broken {
        async fn connect(&self, user: UserId, connection: ConnectionId) -> Result<bool> {
            self.shown.connect(user, key(self.fault, user, connection)).await?;
            let first = self.told.connect(user, connection).await?;
            Ok(first || self.fault == Fault::AlwaysFirst)
        }

        async fn disconnect(&self, user: UserId, connection: ConnectionId) -> Result<bool> {
            self.shown.disconnect(user, key(self.fault, user, connection)).await?;
            let last = self.told.disconnect(user, connection).await?;
            Ok(last && self.fault != Fault::NeverLast)
        }

        async fn online(&self, users: &[UserId]) -> Result<Vec<UserId>> {
            self.shown.online(users).await
        }

        async fn enter(&self, room: RoomId, user: UserId, name: &Name, connection: ConnectionId) -> Result<bool> {
            let first = self.told.enter(room, user, name, connection).await?;
            let again = !self.entered.lock().insert((room, connection));
            let shown_as = match self.fault {
                Fault::CountsEntering if again => ConnectionId::random(),
                fault => key(fault, user, connection),
            };
            self.shown.enter(room, user, name, shown_as).await?;
            Ok(first || self.fault == Fault::AlwaysFirst)
        }

        async fn leave(&self, room: RoomId, user: UserId, connection: ConnectionId) -> Result<bool> {
            let last = self.told.leave(room, user, connection).await?;
            self.shown.leave(room, user, key(self.fault, user, connection)).await?;
            Ok(last && self.fault != Fault::NeverLast)
        }

        async fn present(&self, room: RoomId, limit: usize) -> Result<Present> {
            let more = usize::from(self.fault == Fault::ListsTooMany);
            let mut present = self.shown.present(room, limit + more).await?;
            match self.fault {
                Fault::ListsBackwards => present.names.reverse(),
                // Only the `listed` check has more than two people, so that one person alone is counted right.
                Fault::CountsConnections if present.count > 2 => present.count *= 2,
                _ => {}
            }
            Ok(present)
        }

        async fn present_of(&self, room: RoomId, users: &[UserId]) -> Result<Vec<UserId>> {
            self.shown.present_of(room, users).await
        }
    }

    #[tokio::test]
    async fn each_broken_presence_fails_its_own_clause_and_no_other() {
        for (fault, clause) in [
            (Fault::GoesTooSoon, "counted"),
            (Fault::CountsEntering, "counted"),
            (Fault::AlwaysFirst, "first-last"),
            (Fault::NeverLast, "first-last"),
            (Fault::CountsConnections, "listed"),
            (Fault::ListsBackwards, "listed"),
            (Fault::ListsTooMany, "listed"),
            (Fault::KeepsTheDead, "lease"),
        ] {
            let failed = failures(&BrokenWorld(fault)).await;
            let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
            assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
        }
    }
}
