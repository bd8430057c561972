//! Presence inside one process.
//!
//! Two tables, each behind one lock that is never held across a wait: who has connections, and who is in which room.
//! A room keeps its people in a dense array and, beside that, their places in it in the order of names. So listing the
//! first hundred costs a hundred steps; entering moves four bytes for each name that comes after, which for a crowd of
//! a hundred thousand is less than the join around it. Most people have one connection, which is kept without a set of
//! its own. The dropped end of a node takes everything with it that the node had entered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Presence, Present, Result};
use crate::dense::{DenseMap, grow};
use crate::model::{ConnectionId, Name, RoomId, UserId};

/// What the nodes of one process enter people into. Cloning it gives another handle to the same tables.
#[derive(Clone, Default)]
pub struct LocalPresence {
    shared: Arc<Shared>,
}

impl LocalPresence {
    /// Nobody is here yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new node's end. When the last handle to it is dropped, what it entered is gone.
    #[must_use]
    pub fn node(&self) -> Arc<dyn Presence> {
        Arc::new(LocalNode {
            node: self.shared.next_node.fetch_add(1, Ordering::Relaxed),
            shared: Arc::clone(&self.shared),
        })
    }
}

#[derive(Default)]
struct Shared {
    next_node: AtomicU32,
    users: Mutex<DenseMap<UserId, Connections>>,
    rooms: Mutex<HashMap<RoomId, People>>,
}

/// A connection and the node that entered it.
type Holder = (u32, ConnectionId);

/// Somebody's connections; never empty.
enum Connections {
    One(Holder),
    #[expect(
        clippy::box_collection,
        reason = "everybody's place in the tables is as large as the largest, and most have one connection"
    )]
    Several(Box<HashSet<Holder>>),
}

impl Connections {
    fn add(&mut self, holder: Holder) {
        match self {
            Self::One(first) if *first == holder => {}
            Self::One(first) => *self = Self::Several(Box::new(HashSet::from([*first, holder]))),
            Self::Several(all) => drop(all.insert(holder)),
        }
    }

    /// Keeps what passes; false if nothing does, and then it must be removed.
    fn retain(&mut self, keep: impl Fn(&Holder) -> bool) -> bool {
        match self {
            Self::One(only) => keep(only),
            Self::Several(all) => {
                all.retain(|holder| keep(holder));
                !all.is_empty()
            }
        }
    }

    /// Takes one away; false if none is left, and then it must be removed.
    fn remove(&mut self, holder: Holder) -> bool {
        match self {
            Self::One(only) => *only != holder,
            Self::Several(all) => {
                all.remove(&holder);
                !all.is_empty()
            }
        }
    }
}

/// The people of one room.
#[derive(Default)]
struct People {
    members: DenseMap<UserId, (Name, Connections)>,
    /// Their places, in the order of names.
    by_name: Vec<u32>,
}

impl People {
    /// Where somebody stands in the order of names, or would stand.
    fn rank(&self, user: UserId, name: &Name) -> std::result::Result<usize, usize> {
        self.by_name.binary_search_by(|place| {
            let at = self.members.at(*place).map(|(user, (name, _))| (name, user));
            at.cmp(&Some((name, &user)))
        })
    }

    fn enter(&mut self, user: UserId, name: &Name, holder: Holder) -> bool {
        if let Some((_, connections)) = self.members.get_mut(&user) {
            connections.add(holder);
            return false;
        }
        let rank = self.rank(user, name).unwrap_or_else(|rank| rank);
        self.members.insert(user, (name.clone(), Connections::One(holder)));
        if let Some(place) = self.members.place(&user) {
            grow(&mut self.by_name);
            self.by_name.insert(rank, place);
        }
        true
    }

    fn leave(&mut self, user: UserId, holder: Holder) -> bool {
        let last = self
            .members
            .get_mut(&user)
            .is_some_and(|(_, connections)| !connections.remove(holder));
        if last {
            self.forget(user);
        }
        last
    }

    fn forget(&mut self, user: UserId) {
        let rank_of = |user: UserId| {
            let (name, _) = self.members.get(&user)?;
            self.rank(user, name).ok()
        };
        let last = u32::try_from(self.members.len())
            .ok()
            .and_then(|len| self.members.at(len - 1));
        let (Some(place), Some(rank), Some(moves)) = (
            self.members.place(&user),
            rank_of(user),
            last.and_then(|(last, _)| rank_of(*last)),
        ) else {
            return;
        };
        self.members.remove(&user);
        // The last one takes the place that is free now.
        self.by_name[moves] = place;
        self.by_name.remove(rank);
    }

    fn forget_node(&mut self, node: u32) {
        self.members
            .retain(|_, (_, connections)| connections.retain(|(of, _)| *of != node));
        let Self { members, by_name } = self;
        by_name.clear();
        by_name.extend((0..).take(members.len()));
        by_name.sort_unstable_by(|a, b| {
            let key = |place: &u32| members.at(*place).map(|(user, (name, _))| (name, user));
            key(a).cmp(&key(b))
        });
    }
}

struct LocalNode {
    node: u32,
    shared: Arc<Shared>,
}

#[async_trait]
impl Presence for LocalNode {
    async fn connect(&self, user: UserId, connection: ConnectionId) -> Result<bool> {
        let holder = (self.node, connection);
        let mut users = self.shared.users.lock();
        if let Some(connections) = users.get_mut(&user) {
            connections.add(holder);
            return Ok(false);
        }
        users.insert(user, Connections::One(holder));
        Ok(true)
    }

    async fn disconnect(&self, user: UserId, connection: ConnectionId) -> Result<bool> {
        let mut users = self.shared.users.lock();
        let last = users
            .get_mut(&user)
            .is_some_and(|connections| !connections.remove((self.node, connection)));
        if last {
            users.remove(&user);
        }
        Ok(last)
    }

    async fn online(&self, users: &[UserId]) -> Result<Vec<UserId>> {
        let online = self.shared.users.lock();
        Ok(users.iter().copied().filter(|user| online.contains_key(user)).collect())
    }

    async fn enter(&self, room: RoomId, user: UserId, name: &Name, connection: ConnectionId) -> Result<bool> {
        let mut rooms = self.shared.rooms.lock();
        Ok(rooms
            .entry(room)
            .or_default()
            .enter(user, name, (self.node, connection)))
    }

    async fn leave(&self, room: RoomId, user: UserId, connection: ConnectionId) -> Result<bool> {
        let mut rooms = self.shared.rooms.lock();
        let Some(people) = rooms.get_mut(&room) else {
            return Ok(false);
        };
        let last = people.leave(user, (self.node, connection));
        if people.members.is_empty() {
            rooms.remove(&room);
        }
        Ok(last)
    }

    async fn present(&self, room: RoomId, limit: usize) -> Result<Present> {
        let rooms = self.shared.rooms.lock();
        let Some(people) = rooms.get(&room) else {
            return Ok(Present::default());
        };
        Ok(Present {
            count: people.members.len() as u64,
            names: people
                .by_name
                .iter()
                .take(limit)
                .filter_map(|place| people.members.at(*place))
                .map(|(_, (name, _))| name.clone())
                .collect(),
        })
    }

    async fn present_of(&self, room: RoomId, users: &[UserId]) -> Result<Vec<UserId>> {
        let rooms = self.shared.rooms.lock();
        let Some(people) = rooms.get(&room) else {
            return Ok(Vec::new());
        };
        let here = |user: &UserId| people.members.contains_key(user);
        Ok(users.iter().copied().filter(here).collect())
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        let mine = |holder: &Holder| holder.0 == self.node;
        self.shared
            .users
            .lock()
            .retain(|_, connections| connections.retain(|holder| !mine(holder)));
        self.shared.rooms.lock().retain(|_, people| {
            people.forget_node(self.node);
            !people.members.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, World};
    use super::*;

    struct Local;

    #[async_trait]
    impl World for Local {
        async fn nodes(&self, count: usize) -> Vec<Arc<dyn Presence>> {
            let presence = LocalPresence::new();
            (0..count).map(|_| presence.node()).collect()
        }

        async fn lose(&self, node: Arc<dyn Presence>) {
            drop(node);
        }
    }

    #[tokio::test]
    async fn local_presence_keeps_every_clause() {
        assert_eq!(conformance::failures(&Local).await, []);
    }

    #[tokio::test]
    async fn a_crowd_comes_and_goes_without_a_trace() {
        let presence = LocalPresence::new();
        let node = presence.node();
        let room = RoomId::random();
        let crowd: Vec<_> = (0..15_000)
            .map(|number| {
                let name = Name::parse(&format!("u{number:05}")).unwrap();
                (UserId::random(), name, ConnectionId::random())
            })
            .collect();
        for (user, name, connection) in crowd.iter().rev() {
            assert!(node.connect(*user, *connection).await.unwrap());
            assert!(node.enter(room, *user, name, *connection).await.unwrap());
        }
        let present = node.present(room, 3).await.unwrap();
        assert_eq!(present.count, 15_000);
        assert!(
            present
                .names
                .iter()
                .map(Name::as_str)
                .eq(["u00000", "u00001", "u00002"])
        );
        for (user, _, connection) in &crowd {
            assert!(node.leave(room, *user, *connection).await.unwrap());
            assert!(node.disconnect(*user, *connection).await.unwrap());
        }
        assert!(presence.shared.rooms.lock().is_empty());
        assert!(presence.shared.users.lock().is_empty());
    }

    #[test]
    fn names_stay_in_order_whoever_comes_and_goes() {
        let mut people = People::default();
        let mut model = std::collections::BTreeSet::new();
        let crowd: Vec<_> = (0..60)
            .map(|number| {
                (
                    UserId::random(),
                    Name::parse(&format!("u{}", number * 37 % 60)).unwrap(),
                )
            })
            .collect();
        for step in 0..1_000_usize {
            let (user, name) = &crowd[step * 7_919 % 60];
            let holder = (0, ConnectionId::from_bytes([1; 16]));
            if step * 31 % 5 < 2 {
                people.leave(*user, holder);
                model.remove(&(name.clone(), *user));
            } else {
                people.enter(*user, name, holder);
                model.insert((name.clone(), *user));
            }
            let listed = people.by_name.iter().map(|place| people.members.at(*place).unwrap());
            assert!(
                listed
                    .map(|(user, (name, _))| (name, user))
                    .eq(model.iter().map(|(name, user)| (name, user)))
            );
        }
    }

    #[tokio::test]
    async fn leaving_without_having_entered_changes_nothing() {
        let node = LocalPresence::new().node();
        let (room, user) = (RoomId::random(), UserId::random());
        let name = Name::parse("ann").unwrap();
        assert!(!node.leave(room, user, ConnectionId::random()).await.unwrap());
        node.enter(room, user, &name, ConnectionId::random()).await.unwrap();
        assert!(!node.leave(room, user, ConnectionId::random()).await.unwrap());
        assert!(!node.disconnect(user, ConnectionId::random()).await.unwrap());
        assert_eq!(node.present(room, 9).await.unwrap().count, 1);
    }
}
