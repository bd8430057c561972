//! The ids that an active room has been told, back to a point below which nothing new is expected, and when each came.
//!
//! What several nodes publish arrives in any order, and what a repair reads from the store has mostly arrived already:
//! these ids, without bodies, are what tells the new from the known. They also answer a client's digest where the ring
//! does not reach back far enough.

use std::collections::BTreeMap;

use crate::limits;
use crate::model::EventId;
use crate::wire::inbound::Digest;

/// One id that was told. What the ring had let go of and was put in front of it again has another arrival number there
/// than it had at first.
#[derive(Debug, Clone, Copy)]
struct Known {
    is_message: bool,
    /// How often it came into the ring.
    times: u8,
    /// When the last time was: after so many reads of the store had been put into the ring.
    merge: u32,
    /// Its first arrival number; `None`: it is known from the store alone, or its first number was forgotten.
    first: Option<u64>,
    /// Its last one.
    last: u64,
}

/// What a reader that is behind knows of the ring.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// All below this arrival number it was told.
    pub next: u64,
    /// By the numbers that held after so many reads of the store had been put into the ring.
    pub merges: u32,
}

/// What one active room has been told.
#[derive(Debug, Default)]
pub struct Seen {
    /// Ids of messages and of other events.
    ids: BTreeMap<EventId, Known>,
    /// Every id above this that the room was told is here; `None`: nothing was read yet.
    from: Option<EventId>,
}

impl Seen {
    /// From where on it is complete; `None` before the first read.
    #[must_use]
    pub const fn from(&self) -> Option<EventId> {
        self.from
    }

    /// Whether this id was told.
    #[must_use]
    pub fn contains(&self, id: EventId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Whether an event with this id would be news: it was not told, and lies where that means something.
    #[must_use]
    pub fn is_news(&self, id: EventId) -> bool {
        self.from.is_none_or(|from| id > from) && !self.contains(id)
    }

    /// Whether a reader was not told this id yet, but would be told it below the arrival number `until`. `None`: the
    /// room was not told it, or nobody knows any more when.
    #[must_use]
    pub fn is_between(&self, id: EventId, reached: Reached, until: u64) -> Option<bool> {
        let known = self.ids.get(&id)?;
        let arrival = match known {
            known if known.merge <= reached.merges => known.last,
            // Which number held for this reader is not known any more: better twice than never.
            known if known.times > 2 => return Some(true),
            known => known.first?,
        };
        Some(reached.next <= arrival && arrival < until)
    }

    /// Notes at which arrival number the ring holds an id, after so many reads of the store were put into it.
    pub fn place(&mut self, id: EventId, is_message: bool, arrival: u64, merge: u32) {
        let known = Known {
            is_message,
            times: 1,
            merge,
            first: None,
            last: arrival,
        };
        if self.add(id, known) {
            return;
        }
        if let Some(known) = self.ids.get_mut(&id).filter(|known| known.last != arrival) {
            (known.last, known.merge) = (arrival, merge);
            known.times = known.times.saturating_add(1);
        }
    }

    /// Notes an id; false if it was known, which then stays as it was.
    pub fn insert(&mut self, id: EventId, is_message: bool, arrival: u64) -> bool {
        let known = Known {
            is_message,
            times: 1,
            merge: 0,
            first: Some(arrival),
            last: arrival,
        };
        self.add(id, known)
    }

    /// Notes an id that was read from the store, before the given number of reads was put into the ring, and is not in
    /// the ring: it lies before everything there.
    pub fn insert_old(&mut self, id: EventId, is_message: bool, merge: u32) {
        let known = Known {
            is_message,
            times: 1,
            merge,
            first: None,
            last: 0,
        };
        self.add(id, known);
    }

    fn add(&mut self, id: EventId, known: Known) -> bool {
        let std::collections::btree_map::Entry::Vacant(vacant) = self.ids.entry(id) else {
            return false;
        };
        vacant.insert(known);
        while self.ids.len() > limits::SEEN_IDS_MAX {
            if let Some((lowest, _)) = self.ids.pop_first() {
                self.from = self.from.max(Some(lowest));
            }
        }
        true
    }

    /// Says that from here on it is complete.
    pub fn complete_from(&mut self, from: EventId) {
        self.from = Some(self.from.map_or(from, |now| now.min(from)));
    }

    /// Lets go of everything up to an id.
    pub fn forget_up_to(&mut self, id: EventId) {
        if self.from.is_some_and(|from| from < id) {
            self.ids = self.ids.split_off(&id);
            self.from = Some(id);
        }
    }

    /// How many ids it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether an event that is no message lies above the first and at or below the second id.
    #[must_use]
    pub fn changes_between(&self, above: EventId, up_to: EventId) -> bool {
        above < up_to
            && self
                .ids
                .range((std::ops::Bound::Excluded(above), std::ops::Bound::Included(up_to)))
                .any(|(_, known)| !known.is_message)
    }

    /// Whether the client's digest equals that of the messages here with `lower <= id <= cursor`. Where this does not
    /// reach back so far, it says no.
    #[must_use]
    pub fn agrees(&self, digest: Digest, lower: EventId, cursor: EventId) -> bool {
        let begin = digest.from.map_or(lower, |from| from.max(lower));
        if begin > cursor || self.from.is_none_or(|from| from >= begin) {
            return false;
        }
        let held = self.ids.range(begin..=cursor).filter(|(_, known)| known.is_message);
        let (count, xor) = held.fold((0, 0), |(count, xor), (id, _)| (count + 1, xor ^ id.as_u128()));
        (count, xor) == (digest.count, digest.xor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EventId {
        EventId::new(n, 0, n)
    }

    #[test]
    fn only_what_was_not_told_and_lies_above_its_begin_is_news() {
        let mut seen = Seen::default();
        assert!(seen.is_news(id(5)));
        assert!(seen.insert(id(5), true, 7));
        assert!(!seen.insert(id(5), true, 8));
        seen.complete_from(id(3));
        assert!(!seen.is_news(id(5)));
        assert!(!seen.is_news(id(3)));
        assert!(seen.is_news(id(4)));
        seen.forget_up_to(id(6));
        assert!(seen.is_empty());
        assert!(!seen.is_news(id(5)));
    }

    #[test]
    fn a_reader_is_told_what_arrived_after_its_place_by_the_numbers_it_knows() {
        let mut seen = Seen::default();
        let between = |seen: &Seen, next, merges| seen.is_between(id(5), Reached { next, merges }, 20);
        assert_eq!(between(&seen, 0, 0), None);
        seen.insert(id(5), true, 10);
        assert_eq!(between(&seen, 10, 0), Some(true));
        assert_eq!(between(&seen, 11, 0), Some(false));
        assert_eq!(seen.is_between(id(5), Reached { next: 0, merges: 0 }, 10), Some(false));
        // It went and came back at another number: who was told it before that goes on knowing so.
        seen.place(id(5), true, 15, 1);
        assert_eq!(between(&seen, 11, 0), Some(false));
        assert_eq!(between(&seen, 11, 1), Some(true));
        assert_eq!(between(&seen, 16, 1), Some(false));
        // One that was forgotten and read again had some other number when this reader fell behind.
        let back = |seen: &Seen, merges| seen.is_between(id(6), Reached { next: 11, merges }, 20);
        seen.place(id(6), true, 15, 1);
        assert_eq!((back(&seen, 0), back(&seen, 1)), (None, Some(true)));
        seen.insert_old(id(7), true, 1);
        let old = |next, merges| seen.is_between(id(7), Reached { next, merges }, 20);
        assert_eq!((old(11, 0), old(11, 1), old(0, 1)), (None, Some(false), Some(true)));
        // And again: the number between is forgotten.
        seen.place(id(5), true, 12, 2);
        assert_eq!(between(&seen, 16, 1), Some(true));
        assert_eq!(between(&seen, 13, 2), Some(false));
    }

    #[test]
    fn it_stays_within_its_bound_and_knows_from_where_on_it_is_complete() {
        let mut seen = Seen::default();
        seen.complete_from(id(0));
        for n in 1..=limits::SEEN_IDS_MAX as u64 + 10 {
            seen.insert(id(n), true, n);
        }
        assert_eq!(seen.len(), limits::SEEN_IDS_MAX);
        assert_eq!(seen.from(), Some(id(10)));
    }

    #[test]
    fn a_digest_counts_messages_and_needs_the_whole_range() {
        let mut seen = Seen::default();
        seen.complete_from(id(2));
        for n in 3..=10 {
            seen.insert(id(n), n != 7, n);
        }
        let digest = |from: u64, to: u64| Digest {
            count: (from..=to).filter(|n| *n != 7).count().try_into().unwrap(),
            xor: (from..=to).filter(|n| *n != 7).fold(0, |xor, n| xor ^ id(n).as_u128()),
            from: Some(id(from)),
        };
        assert!(seen.agrees(digest(3, 9), id(1), id(9)));
        assert!(!seen.agrees(digest(4, 9), id(1), id(10)));
        assert!(!seen.agrees(digest(2, 9), id(1), id(9)));
        assert!(seen.changes_between(id(5), id(7)));
        assert!(!seen.changes_between(id(7), id(9)));
    }
}
