//! What the node's task has for one active room: a bounded box that the room's task empties in one go, so that whatever
//! arrived since its last wake-up becomes one burst.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits;
use crate::model::{Author, EventId, Timestamp, UserId};
use crate::rooms::state::Told;

/// Something that no store holds.
#[derive(Debug)]
pub enum Passing {
    /// Somebody types on another node.
    Typing(Bytes),
    /// People came and went on another node.
    Presence(Bytes),
    /// A message names somebody.
    Mention {
        /// Whom.
        user: UserId,
        /// The notice.
        frame: Bytes,
    },
    /// The other person of this direct conversation came online or went offline.
    Person {
        /// Who.
        author: Author,
        /// Which of both.
        online: bool,
        /// When they last had a connection.
        last_seen: Option<Timestamp>,
    },
}

/// What a mailbox held.
#[derive(Debug, Default)]
pub struct Post {
    /// Durable events, in the order in which they are to be told.
    pub told: Vec<Told>,
    /// The rest.
    pub passing: Vec<Passing>,
    /// Read the store from here.
    pub repair: Option<EventId>,
    /// Hold the room, or let it go on.
    pub held: Option<bool>,
    /// Events were dropped because the room was slow: it has to read them from the store.
    pub overflowed: bool,
    /// The least of the durable events that were put in, the dropped ones included: while it waits, the room has not
    /// told everything above it.
    pub oldest: Option<EventId>,
}

impl Post {
    /// Adds what came later; beyond `limit` durable events are dropped.
    pub fn append(&mut self, later: Self, limit: usize) {
        let Self {
            mut told,
            passing,
            repair,
            held,
            overflowed,
            oldest,
        } = later;
        let room = limit.saturating_sub(self.told.len());
        self.overflowed |= overflowed || told.len() > room;
        told.truncate(room);
        self.told.append(&mut told);
        self.passing.extend(passing);
        self.repair = least(self.repair, repair);
        self.held = held.or(self.held);
        self.oldest = least(self.oldest, oldest);
    }
}

/// The lesser of two positions that may not be there.
pub fn least(one: Option<EventId>, other: Option<EventId>) -> Option<EventId> {
    one.into_iter().chain(other).min()
}

/// One room's box.
#[derive(Debug, Default)]
pub struct Mailbox {
    post: Mutex<Post>,
    arrived: Notify,
}

impl Mailbox {
    fn put(&self, how: impl FnOnce(&mut Post)) {
        how(&mut self.post.lock());
        self.arrived.notify_one();
    }

    /// Puts in a durable event. Beyond the bound it is dropped, and the room reads it from the store.
    pub fn tell(&self, told: Told) {
        self.put(|post| {
            post.oldest = least(post.oldest, Some(told.id()));
            if post.told.len() < limits::ROOM_ARRIVALS_MAX {
                post.told.push(told);
            } else {
                post.overflowed = true;
            }
        });
    }

    /// Puts in something that may be lost; false if it was.
    pub fn pass(&self, passing: Passing) -> bool {
        let mut kept = true;
        self.put(|post| {
            kept = post.passing.len() < limits::ROOM_PASSING_MAX;
            if kept {
                post.passing.push(passing);
            }
        });
        kept
    }

    /// Asks for a repair. A repair that was not begun yet gives way if it would read less.
    pub fn repair(&self, after: EventId) {
        self.put(|post| post.repair = least(post.repair, Some(after)));
    }

    /// Holds the room, or lets it go on.
    pub fn hold(&self, held: bool) {
        self.put(|post| post.held = Some(held));
    }

    /// The least of the durable events that wait or were dropped.
    #[must_use]
    pub fn oldest(&self) -> Option<EventId> {
        self.post.lock().oldest
    }

    /// Takes everything.
    pub fn take(&self) -> Post {
        std::mem::take(&mut self.post.lock())
    }

    /// Waits until something may have been put in.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
