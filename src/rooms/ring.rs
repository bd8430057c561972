//! The in-memory tail of a room's events, already framed.
//!
//! Joins, resumes and slow readers are served from here without a store read. A message's frame is replaced when the
//! message is edited or deleted, so that nothing that was taken back is told again. Every entry has an arrival number:
//! readers that fell behind continue by it, because ids alone do not say what has arrived.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;

use crate::limits;
use crate::model::{Author, ConnectionId, EventId};
use crate::wire::inbound::Digest;
use crate::wire::outbound::late_frame;

/// Arrival numbers start here, so that older events can be put in front later.
const ARRIVALS_BELOW: u64 = 1 << 32;

/// One event.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its position.
    pub id: EventId,
    /// The message it is or concerns.
    pub message: EventId,
    /// Whether it is the message itself. In the ring, a late event stands for its message where that is not there.
    pub is_message: bool,
    /// It tells of a message that became durable long after its id was made.
    pub late: bool,
    /// Who wrote the message: what stays of it once it is deleted.
    pub author: Option<Author>,
    /// The connection on this node that sent it.
    pub from: Option<ConnectionId>,
    /// The frame, in the message's present state. Empty: superseded, nothing to send.
    pub frame: Bytes,
}

/// The tail. Entries are in the order of arrival.
#[derive(Debug, Default)]
pub struct Ring {
    entries: VecDeque<Entry>,
    first_arrival: u64,
    bytes: usize,
    by_message: HashMap<EventId, u64>,
    messages: usize,
    /// Every event above this is here; `None`: nothing is known to be, until primed.
    floor: Option<EventId>,
    /// Every message above this is here; may lie below the floor of all events.
    messages_floor: Option<EventId>,
    /// Every message of the room is here.
    whole: bool,
    newest: Option<EventId>,
    /// How many reads of the store were put into it.
    merges: u32,
}

impl Ring {
    /// An empty ring that covers nothing.
    #[must_use]
    pub fn new() -> Self {
        // The room below the first number is for `extend_back`, which may be the first thing that happens: after a
        // restart the first to come is somebody with a cursor.
        Self {
            first_arrival: ARRIVALS_BELOW,
            ..Self::default()
        }
    }

    /// Forgets everything; arrival numbers go on.
    pub fn restart(&mut self) {
        let next = self.next_arrival();
        *self = Self {
            first_arrival: next,
            merges: self.merges,
            ..Self::default()
        };
    }

    /// How many reads of the store were put into it: each may give what it had let go of another arrival number.
    #[must_use]
    pub const fn merges(&self) -> u32 {
        self.merges
    }

    /// Every event above this that has arrived is here; `None` before the first read.
    #[must_use]
    pub const fn floor(&self) -> Option<EventId> {
        self.floor
    }

    /// The greatest id that was ever in it.
    #[must_use]
    pub const fn newest(&self) -> Option<EventId> {
        self.newest
    }

    /// The greatest id of the messages that are here.
    #[must_use]
    pub fn newest_message(&self) -> Option<EventId> {
        let messages = self.entries.iter().filter(|entry| entry.is_message);
        messages.map(|entry| entry.message).max()
    }

    /// The arrival number that the next event will have.
    #[must_use]
    pub fn next_arrival(&self) -> u64 {
        self.first_arrival + self.entries.len() as u64
    }

    /// The arrival number of the oldest event that is still here.
    #[must_use]
    pub const fn first_arrival(&self) -> u64 {
        self.first_arrival
    }

    /// Whether every event above `id` is here.
    #[must_use]
    pub fn covers(&self, id: EventId) -> bool {
        self.floor.is_some_and(|floor| floor <= id)
    }

    /// Whether the `count` newest messages are here, and what the newest event is. Before the first read it is not
    /// known whether the room holds anything, so not even none of them are.
    #[must_use]
    pub const fn has_latest(&self, count: usize) -> bool {
        self.whole || (self.floor.is_some() && self.messages >= count)
    }

    /// Whether an event with this id is here.
    #[must_use]
    pub fn holds(&self, id: EventId) -> bool {
        self.by_message.contains_key(&id) || self.entries.iter().rev().take(64).any(|entry| entry.id == id)
    }

    /// Takes the newest messages as the store has them, ascending. `whole` says that these are all there are; `newest`
    /// is the greatest position in the store when they were read. What arrived since then stays behind them.
    pub fn prime(&mut self, entries: Vec<Entry>, whole: bool, newest: Option<EventId>) {
        let next = self.next_arrival();
        let read_up_to = newest.max(entries.last().map(|entry| entry.id));
        let fresh = Self {
            first_arrival: next,
            ..Self::default()
        };
        let before = std::mem::replace(self, fresh);
        for entry in entries {
            self.insert_back(entry);
        }
        self.whole = whole;
        self.newest = self.newest.max(newest);
        // Edits of older messages are not among these entries, so only what comes from now on is covered.
        self.floor = Some(read_up_to.unwrap_or(EventId::new(0, 0, 0)));
        for entry in before.entries.into_iter().filter(|entry| Some(entry.id) > read_up_to) {
            self.insert_back(entry);
        }
    }

    /// Takes everything above `after` as the store has it, ascending.
    ///
    /// What is here already keeps its place and its arrival number if somebody reads the room (`read`): readers that are
    /// behind go on by it. Else all are put in the order of their ids.
    pub fn extend_back(&mut self, entries: Vec<Entry>, after: EventId, read: bool) {
        self.merge(entries, read);
        // What was covered may have had something under way that the store has told of now.
        self.floor = Some(self.floor.map_or(after, |floor| floor.min(after)));
        self.messages_floor = Some(self.messages_floor.map_or(after, |floor| floor.min(after)));
        self.trim(limits::RING_EXTENDED_EVENTS_MAX, limits::RING_EXTENDED_BYTES_MAX);
    }

    /// Puts the newest messages, as the store has them, in front of what is here, and leaves what is covered as it is:
    /// for a room whose events are told by several nodes, where what arrived meanwhile may lie between them.
    pub fn complete(&mut self, entries: Vec<Entry>, whole: bool, newest: Option<EventId>, read: bool) {
        let read_up_to = newest.max(entries.last().map(|entry| entry.id));
        let nothing = EventId::new(0, 0, 0);
        let first = entries.first().filter(|_| !whole);
        let below = first.map_or(nothing, |first| {
            EventId::new(first.id.timestamp().millis(), first.id.counter(), 0)
        });
        self.merge(entries, read);
        self.messages_floor = Some(self.messages_floor.map_or(below, |floor| floor.min(below)));
        self.whole = whole;
        self.newest = self.newest.max(newest);
        self.floor.get_or_insert(read_up_to.unwrap_or(EventId::new(0, 0, 0)));
    }

    fn merge(&mut self, entries: Vec<Entry>, read: bool) {
        self.merges += 1;
        let next = self.next_arrival();
        let held: HashSet<EventId> = self.entries.iter().map(|entry| entry.id).collect();
        let oldest = self.entries.iter().map(|entry| entry.id).min();
        let fresh: Vec<Entry> = entries.into_iter().filter(|entry| !held.contains(&entry.id)).collect();
        let mixed = !read && oldest.is_some_and(|oldest| fresh.last().is_some_and(|entry| entry.id > oldest));
        self.first_arrival = match self.first_arrival.checked_sub(fresh.len() as u64) {
            Some(first) if !mixed => first,
            _ => next,
        };
        for entry in fresh.into_iter().rev() {
            self.bytes += entry.frame.len();
            self.newest = self.newest.max(Some(entry.id));
            self.entries.push_front(entry);
        }
        if mixed {
            self.entries.make_contiguous().sort_by_key(|entry| entry.id);
        }
        self.reindex();
    }

    /// The ids of what is here, whether each is the message itself, and the arrival numbers.
    pub fn arrivals(&self) -> impl Iterator<Item = (EventId, bool, u64)> {
        (self.first_arrival..)
            .zip(&self.entries)
            .map(|(arrival, entry)| (entry.id, entry.id == entry.message, arrival))
    }

    fn reindex(&mut self) {
        self.by_message.clear();
        for (offset, entry) in self.entries.iter_mut().enumerate() {
            if entry.late {
                entry.is_message = !self.by_message.contains_key(&entry.message);
            }
            if entry.is_message {
                self.by_message
                    .insert(entry.message, self.first_arrival + offset as u64);
            }
        }
        self.messages = self.entries.iter().filter(|entry| entry.is_message).count();
    }

    fn insert_back(&mut self, mut entry: Entry) {
        if entry.late {
            entry.is_message = !self.by_message.contains_key(&entry.message);
        }
        if entry.is_message {
            self.by_message.insert(entry.message, self.next_arrival());
            self.messages += 1;
        }
        self.bytes += entry.frame.len();
        self.newest = self.newest.max(Some(entry.id));
        self.entries.push_back(entry);
    }

    /// Adds an event that arrived now, and lets the oldest go where the ring is full.
    pub fn push(&mut self, entry: Entry) {
        if self.floor.is_none() {
            self.floor = Some(entry.id);
        }
        self.insert_back(entry);
        self.trim(limits::RING_EVENTS_MAX, limits::RING_BYTES_MAX);
    }

    /// Lets the oldest go where the ring is full, but keeps a first join's page whatever its size.
    fn trim(&mut self, events_max: usize, bytes_max: usize) {
        while self.entries.len() > events_max || (self.bytes > bytes_max && self.messages > limits::JOIN_MESSAGES) {
            if !self.evict() {
                break;
            }
        }
    }

    fn evict(&mut self) -> bool {
        let Some(entry) = self.entries.pop_front() else {
            return false;
        };
        self.first_arrival += 1;
        self.bytes -= entry.frame.len();
        self.floor = self.floor.max(Some(entry.id));
        if entry.is_message {
            self.by_message.remove(&entry.message);
            self.messages -= 1;
            self.messages_floor = self.messages_floor.max(Some(entry.message));
            self.whole = false;
        }
        true
    }

    /// Gives a message its new frame, also where a late event tells of it, and drops the frames of earlier edits of it.
    /// Call it before the change itself is pushed.
    pub fn replace(&mut self, message: EventId, frame: &Bytes) {
        if let Some(arrival) = self.by_message.get(&message)
            && let Some(entry) = self
                .entries
                .get_mut(usize::try_from(arrival - self.first_arrival).unwrap_or(usize::MAX))
        {
            let now = if entry.late {
                late_frame(frame, entry.id)
            } else {
                frame.clone()
            };
            self.bytes = self.bytes + now.len() - entry.frame.len();
            entry.frame = now;
        }
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| !entry.is_message && entry.message == message)
        {
            // It goes on saying that it is late: who has the message is not told it as another one.
            let now = if entry.late {
                late_frame(frame, entry.id)
            } else {
                Bytes::new()
            };
            self.bytes = self.bytes + now.len() - entry.frame.len();
            entry.frame = now;
        }
    }

    /// Has a late event tell its message as it is here: it may have been read before a change that was told already.
    pub fn bring_up_to_date(&self, late: &mut Entry) {
        let here = self
            .by_message
            .get(&late.message)
            .and_then(|arrival| self.get(*arrival));
        if let Some(here) = here.filter(|_| late.late) {
            late.frame = late_frame(&here.frame, late.id);
        }
    }

    /// Whether an edit comes too late: the message was deleted, or edited by a higher event, as far as is known here.
    #[must_use]
    pub fn supersedes(&self, message: EventId, edit: EventId) -> bool {
        let mut changes = self.entries.iter().filter(|entry| entry.message == message);
        changes.any(|entry| entry.id != message && !entry.late && (entry.id > edit || entry.author.is_none()))
    }

    /// The entry with this arrival number.
    #[must_use]
    pub fn get(&self, arrival: u64) -> Option<&Entry> {
        self.entries
            .get(usize::try_from(arrival.checked_sub(self.first_arrival)?).ok()?)
    }

    /// The arrival number at which the `count` newest messages begin.
    #[must_use]
    pub fn latest_from(&self, count: usize) -> u64 {
        let mut left = count;
        for (offset, entry) in self.entries.iter().enumerate().rev() {
            if left == 0 {
                return self.first_arrival + offset as u64 + 1;
            }
            left -= usize::from(entry.is_message);
        }
        if count > 0 {
            self.first_arrival
        } else {
            self.next_arrival()
        }
    }

    /// Where events arrive in any order: the id at which the `count` newest messages begin, and the arrival number of the
    /// first of them. `None` if not all of them are here, unless `fewer` will
    /// do: a held room leaves out what it has not told, so that no read brings more.
    #[must_use]
    pub fn latest_page(&self, count: usize, fewer: bool) -> Option<(EventId, u64)> {
        let floor = self.messages_floor?;
        let in_place = |entry: &&Entry| entry.is_message && (self.whole || entry.message > floor);
        let mut ids: Vec<EventId> = self
            .entries
            .iter()
            .filter(in_place)
            .map(|entry| entry.message)
            .collect();
        if ids.len() < count && !self.whole && !fewer {
            return None;
        }
        if count == 0 || ids.is_empty() {
            return Some((EventId::new(0, 0, 0), self.next_arrival()));
        }
        let at = ids.len().saturating_sub(count);
        let (_, &mut begin, _) = ids.select_nth_unstable(at);
        let first = self
            .entries
            .iter()
            .position(|entry| entry.is_message && entry.message >= begin)?;
        Some((begin, self.first_arrival + first as u64))
    }

    /// The arrival number of the first event above `id`.
    #[must_use]
    pub fn first_above(&self, id: EventId) -> u64 {
        let offset = self
            .entries
            .iter()
            .position(|entry| entry.id > id)
            .unwrap_or(self.entries.len());
        self.first_arrival + offset as u64
    }

    /// How many events lie above `id`.
    #[must_use]
    pub fn count_above(&self, id: EventId) -> usize {
        self.entries.iter().filter(|entry| entry.id > id).count()
    }

    /// Whether the client's digest equals that of the messages here with `lower <= id <= cursor`.
    #[must_use]
    pub fn agrees(&self, digest: Digest, lower: EventId, cursor: EventId) -> bool {
        let from = digest.from.map_or(lower, |from| from.max(lower));
        let held = self
            .entries
            .iter()
            .filter(|entry| entry.is_message && entry.message >= from && entry.message <= cursor);
        let (count, xor) = held.fold((0, 0), |(count, xor), entry| (count + 1, xor ^ entry.message.as_u128()));
        (count, xor) == (digest.count, digest.xor)
    }

    /// The id of the first message at or after an arrival number.
    #[must_use]
    pub fn message_from(&self, arrival: u64) -> Option<EventId> {
        (arrival..self.next_arrival())
            .filter_map(|arrival| self.get(arrival))
            .find(|entry| entry.is_message)
            .map(|e| e.id)
    }

    /// Who wrote a message that is here.
    #[must_use]
    pub fn author_of(&self, message: EventId) -> Option<&Author> {
        self.get(*self.by_message.get(&message)?)?.author.as_ref()
    }

    /// Bytes of frames.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
