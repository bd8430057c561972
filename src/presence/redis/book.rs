//! What this node knows of itself: which of its connections belong to whom, and in which rooms they are.
//!
//! Only the first and the last connection of a person here make a difference to the other nodes; all else stays in
//! this book. It is also what the node enters again when Redis has lost it.

use std::collections::HashMap;

use crate::model::{ConnectionId, Name, RoomId, UserId};

/// One entry that other nodes see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Somebody has a connection.
    Online(UserId),
    /// Somebody is in a room.
    Here(RoomId, UserId),
}

/// Who is here, by connections; most people have one.
#[derive(Debug, Default)]
pub(super) struct Book {
    online: HashMap<UserId, Vec<ConnectionId>>,
    rooms: HashMap<RoomId, HashMap<UserId, (Name, Vec<ConnectionId>)>>,
}

/// Whether somebody's first connection came; the same one twice counts once.
fn add(connections: &mut Vec<ConnectionId>, connection: ConnectionId) -> bool {
    if !connections.contains(&connection) {
        connections.push(connection);
    }
    connections.len() == 1
}

/// Takes a connection away; answers whether it was there, and was the last.
fn take(connections: &mut Vec<ConnectionId>, connection: ConnectionId) -> bool {
    let place = connections.iter().position(|known| *known == connection);
    place.map(|place| connections.swap_remove(place)).is_some() && connections.is_empty()
}

impl Book {
    /// Whether nobody with this user had a connection before.
    pub(super) fn connect(&mut self, user: UserId, connection: ConnectionId) -> bool {
        let known = self.online.contains_key(&user);
        add(self.online.entry(user).or_default(), connection) && !known
    }

    /// Whether this was the user's last connection.
    pub(super) fn disconnect(&mut self, user: UserId, connection: ConnectionId) -> bool {
        let last = self.online.get_mut(&user).is_some_and(|all| take(all, connection));
        if last {
            self.online.remove(&user);
        }
        last
    }

    /// Whether this is the user's first connection in the room.
    pub(super) fn enter(&mut self, room: RoomId, user: UserId, name: &Name, connection: ConnectionId) -> bool {
        let people = self.rooms.entry(room).or_default();
        let known = people.contains_key(&user);
        let (_, connections) = people.entry(user).or_insert_with(|| (name.clone(), Vec::new()));
        add(connections, connection) && !known
    }

    /// Whether this was the user's last connection in the room.
    pub(super) fn leave(&mut self, room: RoomId, user: UserId, connection: ConnectionId) -> bool {
        let Some(people) = self.rooms.get_mut(&room) else {
            return false;
        };
        let last = people.get_mut(&user).is_some_and(|(_, all)| take(all, connection));
        if last {
            people.remove(&user);
            if people.is_empty() {
                self.rooms.remove(&room);
            }
        }
        last
    }

    /// How many people of this node are in a room.
    pub(super) fn crowd(&self, room: RoomId) -> usize {
        self.rooms.get(&room).map_or(0, HashMap::len)
    }

    /// Whether somebody has a connection here.
    pub(super) fn is_online(&self, user: UserId) -> bool {
        self.online.contains_key(&user)
    }

    /// The name of somebody who is in a room.
    pub(super) fn name(&self, room: RoomId, user: UserId) -> Option<Name> {
        Some(self.rooms.get(&room)?.get(&user)?.0.clone())
    }

    /// Everything that other nodes should see.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        let here = self.rooms.iter();
        let here = here.flat_map(|(room, people)| people.keys().map(|user| Key::Here(*room, *user)));
        self.online.keys().map(|user| Key::Online(*user)).chain(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_and_the_last_connection_make_a_difference() {
        let mut book = Book::default();
        let (user, room, name) = (UserId::random(), RoomId::random(), Name::parse("ann").unwrap());
        let (one, two) = (ConnectionId::random(), ConnectionId::random());
        assert!(book.connect(user, one) && !book.connect(user, one) && !book.connect(user, two));
        assert!(book.enter(room, user, &name, one) && !book.enter(room, user, &name, one));
        assert!(!book.enter(room, user, &name, two));
        assert_eq!((book.crowd(room), book.keys().count()), (1, 2));
        assert!(!book.leave(room, user, two) && !book.leave(room, user, two) && book.leave(room, user, one));
        assert!(!book.leave(room, user, one) && book.name(room, user).is_none());
        assert!(!book.disconnect(user, one) && !book.disconnect(user, one) && book.disconnect(user, two));
        assert!(!book.is_online(user) && book.keys().next().is_none());
    }
}
