//! Where each reader stands among a room's slots. A table of places only: the connection itself is asked of the slot, so
//! that a reader costs a few bytes here, and the slots stay an array without gaps that a fan-out walks.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::Slot;
use crate::fanout::Outlet;
use crate::model::ConnectionId;

#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// Where a reader stands.
    pub(super) fn find<L: Outlet>(&self, slots: &[Slot<L>], connection: ConnectionId) -> Option<usize> {
        let same = |place: &u32| slots[*place as usize].link.connection() == connection;
        let place = self.places.find(self.hasher.hash_one(connection), same)?;
        Some(*place as usize)
    }

    /// Notes that a reader stands in the last slot.
    pub(super) fn add_last<L: Outlet>(&mut self, slots: &[Slot<L>]) {
        let hash_of = |slot: &Slot<L>| self.hasher.hash_one(slot.link.connection());
        if let Some((place, last)) = slots.iter().enumerate().next_back()
            && let Ok(place) = u32::try_from(place)
        {
            let hash = |other: &u32| hash_of(&slots[*other as usize]);
            self.places.insert_unique(hash_of(last), place, hash);
        }
    }

    /// Takes a reader out, which still stands in its slot; the last slot's reader is to take that slot.
    pub(super) fn remove<L: Outlet>(&mut self, slots: &[Slot<L>], connection: ConnectionId) -> Option<usize> {
        let same = |place: &u32| slots[*place as usize].link.connection() == connection;
        let found = self.places.find_entry(self.hasher.hash_one(connection), same).ok()?;
        let place = found.remove().0;
        let last = slots.len() - 1;
        if place as usize != last {
            let hash = self.hasher.hash_one(slots[last].link.connection());
            if let Some(moved) = self.places.find_mut(hash, |other| *other as usize == last) {
                *moved = place;
            }
        }
        Some(place as usize)
    }
}
