//! The subjects that everything travels under, and the 256 shards that rooms fall into.
//!
//! A room has two subjects, one per class, so that servers and operators can tell them apart; one subscription with a
//! wildcard in the class's place hears both. Nothing that a person chose is ever part of a subject: a name could hold a
//! wildcard or a dot. The prefix is checked before it gets here.

use super::super::Class;
use crate::limits;
use crate::model::RoomId;

/// Which of the [`limits::LAYER_SHARDS`] shards a room belongs to; the same on every node and in every version, since
/// it is part of the room's subject.
#[must_use]
pub fn shard(room: RoomId) -> usize {
    // FNV-1a, then folded: room ids are not random in every byte (version and variant are fixed).
    let hash = room.as_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let folded = hash ^ (hash >> 8) ^ (hash >> 16) ^ (hash >> 24);
    folded as usize % limits::LAYER_SHARDS
}

#[derive(Debug)]
pub(super) struct Subjects {
    prefix: String,
}

impl Subjects {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    fn of(&self, class: &str, room: RoomId) -> String {
        format!("{}.{class}.{:02x}.{:032x}", self.prefix, shard(room), room.as_u128())
    }

    /// Where payloads of this class for the room are published.
    pub(super) fn room(&self, class: Class, room: RoomId) -> String {
        match class {
            Class::Durable => self.of("room", room),
            Class::Ephemeral => self.of("eph", room),
        }
    }

    /// What hears both classes of the room.
    pub(super) fn whole_room(&self, room: RoomId) -> String {
        self.of("*", room)
    }

    /// The class in a room's subject; `None` for a subject that is none.
    pub(super) fn class(&self, subject: &str) -> Option<Class> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        match rest.split('.').next()? {
            "room" => Some(Class::Durable),
            "eph" => Some(Class::Ephemeral),
            _ => None,
        }
    }

    /// What every node hears.
    pub(super) fn broadcast(&self) -> String {
        format!("{}.all", self.prefix)
    }

    /// Where one of a node's links answers the others.
    pub(super) fn echo(&self, node: u64, link: usize) -> String {
        format!("{}.echo.{node:016x}.{link}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_hex_and_told_apart() {
        let subjects = Subjects::new("natter".into());
        let room = RoomId::from_bytes([0xab; 16]);
        let durable = subjects.room(Class::Durable, room);
        // A change of the hash would cut nodes of two versions off from each other.
        assert_eq!(durable, "natter.room.1e.abababababababababababababababab");
        let ephemeral = subjects.room(Class::Ephemeral, room);
        assert_eq!(subjects.class(&durable), Some(Class::Durable));
        assert_eq!(subjects.class(&ephemeral), Some(Class::Ephemeral));
        assert_eq!(subjects.class(&subjects.broadcast()), None);
        assert_eq!(subjects.class("natter2.room.1e.ab"), None);
        assert_eq!(subjects.whole_room(room).replace('*', "eph"), ephemeral);
    }

    #[test]
    fn rooms_spread_over_all_shards() {
        let mut rooms = vec![0_u32; limits::LAYER_SHARDS];
        for _ in 0..64 * limits::LAYER_SHARDS {
            rooms[shard(RoomId::random())] += 1;
        }
        let (least, most) = (rooms.iter().min().unwrap(), rooms.iter().max().unwrap());
        assert!(*least > 16 && *most < 160, "of 64 expected: {least} to {most}");
    }
}
