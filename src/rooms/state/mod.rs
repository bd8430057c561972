//! One room's live state: its ring and its readers. Pure: no clock, no I/O but writing to outlets.
//!
//! A reader is *live* (it gets every burst as it comes) or *behind* (it is brought up from its own arrival number
//! whenever its outlet has drained, then is live again). A join, a resume and a slow reader are the same thing here:
//! a reader that is behind, with a position to start from. Since the room's task alone owns this state, "the end of
//! the ring was reached" and "the reader is live" are one step, and nothing falls between them.
//!
//! Alone, a node's ids become visible in their own order, so an id says what has been told. In a cluster a lower id may
//! arrive after a higher one; such a room is [`shared`](RoomState::shared): it knows what it has seen, replays the whole
//! span before a cursor, and lets readers that the ring has left behind go on by arrival numbers.

use std::sync::Arc;

use bytes::Bytes;

mod burst;
mod catch_up;
mod index;
mod shared;

pub use burst::{Burst, Committed};
pub use shared::Told;

use self::catch_up::{CatchUp, Pages};
use self::index::Index;
use self::shared::Shared;
use super::doubt::Mechanisms;
use super::ring::{Entry, Ring};
use crate::dense::grow;
use crate::fanout::{Outlet, Taken};
use crate::limits;
use crate::model::{ConnectionId, Event, EventId, EventKind, Message, Timestamp, UserId};
use crate::wire::frame::text_frame;
use crate::wire::inbound::JoinFrom;
use crate::wire::outbound::{self, LeftReason, MessageView, Outbound, Ref, RoomRef};

#[derive(Debug)]
struct Slot<L> {
    link: Arc<L>,
    behind: Option<Box<CatchUp>>,
}

/// What the room's task has to do for a reader that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is live.
    Live,
    /// It will ask again once its outlet has drained.
    Waiting,
    /// The ring has moved on: read the store's events after this id and call `resume_from_store`.
    NeedsStore {
        /// The last id it was told.
        after: EventId,
    },
    /// It is not here any more.
    Gone,
}

/// What has to be read before a join can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Replay from this arrival number; `page`: only messages up to now, preceded by `reset` if so.
    From {
        /// The first arrival number.
        arrival: u64,
        /// A page of the newest messages.
        page: bool,
        /// The replay has a gap.
        reset: bool,
        /// Messages up to the cursor are left out: the client has all of them.
        spare: bool,
        /// The page's messages begin at this id; those below it that arrived later are no part of it.
        begin: Option<EventId>,
    },
    /// The ring can't hold the span before the cursor: replay from the store, from this id on.
    FromStore {
        /// The beginning of the span before the cursor.
        after: EventId,
    },
    /// The newest messages have to be read from the store.
    NeedsLatest,
    /// The events after this id have to be read from the store.
    NeedsEvents {
        /// The beginning of the span before the cursor.
        after: EventId,
    },
}

/// Where a replay from a cursor begins if no digest spares the overlap.
#[must_use]
pub fn span_before(cursor: EventId) -> EventId {
    EventId::floor_of(cursor.timestamp().minus(limits::CATCH_UP_SPAN))
}

/// One room's live state.
#[derive(Debug)]
pub struct RoomState<L> {
    room: RoomRef,
    ring: Ring,
    slots: Vec<Slot<L>>,
    index: Index,
    encodings: u64,
    /// Bursts carry what other nodes are to be told.
    publishes: bool,
    /// What may be switched off of it by tests.
    mechanisms: Mechanisms,
    /// What a room of a cluster knows besides.
    shared: Option<Box<Shared>>,
}

impl<L: Outlet> RoomState<L> {
    /// A room that nobody reads.
    #[must_use]
    pub fn new(room: RoomRef) -> Self {
        Self {
            room,
            ring: Ring::new(),
            slots: Vec::new(),
            index: Index::default(),
            encodings: 0,
            publishes: false,
            mechanisms: Mechanisms::default(),
            shared: None,
        }
    }

    /// Has bursts carry what other nodes are to be told.
    #[must_use]
    pub fn publishing(mut self) -> Self {
        self.publishes = true;
        self
    }

    #[doc(hidden)]
    pub const fn switch(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
    }

    /// The room's names.
    #[must_use]
    pub const fn room(&self) -> &RoomRef {
        &self.room
    }

    /// The tail of its events.
    #[must_use]
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// How many connections read it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nobody reads it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many frames of durable events were encoded so far: one per event, whatever the number of readers.
    #[must_use]
    pub const fn encodings(&self) -> u64 {
        self.encodings
    }

    /// Whether the newest message is known here, or that there is none.
    #[must_use]
    pub fn knows_newest(&self) -> bool {
        if self.is_shared() {
            self.ring.latest_page(1, false).is_some()
        } else {
            self.ring.has_latest(1)
        }
    }

    /// The newest message, as far as it is known here.
    #[must_use]
    pub fn newest_message(&self) -> Option<EventId> {
        self.ring.newest_message()
    }

    /// Whether this connection reads the room.
    #[must_use]
    pub fn has(&self, connection: ConnectionId) -> bool {
        self.place(connection).is_some()
    }

    /// Where this connection stands among the slots.
    fn place(&self, connection: ConnectionId) -> Option<usize> {
        self.index.find(&self.slots, connection)
    }

    /// The links of a user here.
    pub fn links_of(&self, user: UserId) -> impl Iterator<Item = &Arc<L>> {
        self.slots
            .iter()
            .map(|slot| &slot.link)
            .filter(move |link| link.author().id == user)
    }

    fn span_before(&self, cursor: EventId) -> EventId {
        if self.mechanisms.span {
            span_before(cursor)
        } else {
            cursor
        }
    }

    fn entry_of(&mut self, message: &Message, from: Option<ConnectionId>) -> Entry {
        self.encodings += 1;
        let frame = text_frame(&outbound::to_json(&Outbound::Message(MessageView::new(
            &self.room.label,
            message,
        ))));
        Entry {
            id: message.id,
            message: message.id,
            is_message: true,
            late: false,
            author: Some(message.author.clone()),
            from,
            frame,
        }
    }

    fn entry_of_event(&mut self, event: &Event) -> Entry {
        self.encodings += 1;
        let frame = text_frame(&outbound::event_json(&self.room.label, self.room.id, event));
        let (message, author) = match &event.kind {
            EventKind::Message(message) | EventKind::Late(message) | EventKind::Edited(message) => {
                (message.id, Some(message.author.clone()))
            }
            EventKind::Deleted { message } => (*message, None),
        };
        Entry {
            id: event.id,
            message,
            is_message: matches!(event.kind, EventKind::Message(_)),
            late: matches!(event.kind, EventKind::Late(_)),
            author,
            from: None,
            frame,
        }
    }

    /// Takes the newest messages from the store. `newest` is the greatest position in the store when they were read.
    pub fn prime(&mut self, messages: &[Message], whole: bool, newest: Option<EventId>) {
        let entries = messages.iter().map(|message| self.entry_of(message, None)).collect();
        if self.shared.is_some() {
            self.store_rounds();
            self.ring.complete(entries, whole, newest, !self.slots.is_empty());
            self.note_ring();
        } else {
            self.ring.prime(entries, whole, newest);
        }
    }

    /// Takes all events after an id from the store.
    pub fn extend_back(&mut self, events: &[Event], after: EventId) {
        let entries = if self.is_shared() {
            self.framed_shared(events)
        } else {
            events.iter().map(|event| self.entry_of_event(event)).collect()
        };
        self.store_rounds();
        let read = self.is_shared() && !self.slots.is_empty();
        self.ring.extend_back(entries, after, read);
        self.note_ring();
        if let Some(shared) = &mut self.shared {
            shared.history(events, after, self.ring.merges());
        }
    }

    /// What a join needs. `now` decides whether a cursor is too old; `hopeless`: the store was read for it already and
    /// the ring could not hold what came.
    #[must_use]
    pub fn plan(&self, from: JoinFrom, now: Timestamp, hopeless: bool) -> Plan {
        let page = |reset| {
            let count = if reset { limits::JOIN_MESSAGES } else { from.latest };
            if self.is_shared() {
                let page = self.ring.latest_page(count, hopeless);
                return page.map_or(Plan::NeedsLatest, |(begin, arrival)| Plan::From {
                    arrival,
                    page: true,
                    reset,
                    spare: false,
                    begin: Some(begin),
                });
            }
            if self.ring.has_latest(count) {
                Plan::From {
                    arrival: self.ring.latest_from(count),
                    page: true,
                    reset,
                    spare: false,
                    begin: None,
                }
            } else {
                Plan::NeedsLatest
            }
        };
        if let Some(after) = self.unread(from.since, now) {
            return Plan::NeedsEvents { after };
        }
        let Some(since) = from.since else { return page(false) };
        let oldest = now.minus(std::time::Duration::from_secs(limits::EVENT_DAYS_MAX * 24 * 60 * 60));
        if since.timestamp() < oldest {
            return page(true);
        }
        if self.ring.count_above(since) > limits::REPLAY_EVENTS_MAX {
            return page(true);
        }
        let lower = self.span_before(since);
        if !self.ring.covers(since) && hopeless {
            return page(true);
        }
        if let Some(shared) = &self.shared {
            return self.plan_shared(shared, from, since, hopeless);
        }
        if !self.ring.covers(since) {
            // The span comes too: an acknowledgement that overtook other messages may have moved the cursor past them.
            return Plan::NeedsEvents { after: lower };
        }
        let start = match from.have {
            Some(digest) if self.ring.agrees(digest, lower, since) => since,
            // One writer gives ids in the order in which they become visible, so where the ring does not reach the
            // whole span, nothing is missed by starting at its first event.
            _ => lower,
        };
        Plan::From {
            arrival: self.ring.first_above(start),
            page: false,
            reset: false,
            spare: false,
            begin: None,
        }
    }

    /// Adds a reader, tells it `joined`, and starts its replay. The plan must be a `From` or a `FromStore`, made in the
    /// same step.
    pub fn join(
        &mut self,
        link: Arc<L>,
        joined: Bytes,
        plan: Plan,
        since: Option<EventId>,
        reference: Option<Ref>,
    ) -> Progress {
        let (arrival, page, reset, spare, begin) = match plan {
            Plan::From {
                arrival,
                page,
                reset,
                spare,
                begin,
            } => (arrival, page, reset, spare, begin),
            // No arrival number is so low, so the store comes first.
            Plan::FromStore { .. } => (0, false, false, false, None),
            Plan::NeedsLatest | Plan::NeedsEvents { .. } => return Progress::Gone,
        };
        let connection = link.connection();
        if link.answer(joined) == Taken::Gone {
            return Progress::Gone;
        }
        if let (true, Some(from)) = (reset, since) {
            let to = self.ring.message_from(arrival);
            let frame = Outbound::Reset {
                room: &self.room.label,
                room_id: self.room.id,
                from,
                to: begin.or(to),
            };
            let _ = link.answer(text_frame(&outbound::to_json(&frame)));
        }
        // Should the ring move on before the replay has begun, the store takes over from just before its first event.
        let first = self
            .ring
            .get(arrival)
            .map(|entry| EventId::new(entry.id.timestamp().millis(), entry.id.counter(), 0));
        let after = if page { first } else { since }
            .or(self.ring.newest())
            .unwrap_or(EventId::new(0, 0, 0));
        let pages = self.shared.as_ref().map(|shared| match plan {
            Plan::FromStore { after } => Pages::from_store(after),
            _ => {
                let begin = since.map_or(after, |since| self.span_before(since)).min(after);
                Pages::joined(begin, shared.replay_from())
            }
        });
        let catch_up = CatchUp {
            next: arrival,
            after,
            pages,
            messages_until: if page { self.ring.next_arrival() } else { 0 },
            messages_from: begin,
            spared: since.filter(|_| spare).map(|since| (since, self.ring.next_arrival())),
            skip_own: false,
            announce: Some(reference),
            merges: self.ring.merges(),
            read: None,
        };
        let slot = Slot {
            link,
            behind: Some(Box::new(catch_up)),
        };
        if let Some(at) = self.place(connection) {
            self.slots[at] = slot;
        } else {
            grow(&mut self.slots);
            self.slots.push(slot);
            self.index.add_last(&self.slots);
        }
        self.advance(connection)
    }

    /// Removes a reader; answers its link if it was here.
    pub fn leave(&mut self, connection: ConnectionId) -> Option<Arc<L>> {
        let at = self.index.remove(&self.slots, connection)?;
        Some(self.slots.swap_remove(at).link)
    }

    /// Hands ephemeral frames to every live reader that has nothing else to take.
    pub fn ephemeral(&self, frames: &Bytes, except: Option<ConnectionId>) {
        for slot in &self.slots {
            if slot.behind.is_none() && Some(slot.link.connection()) != except {
                slot.link.ephemeral(frames);
            }
        }
    }

    /// The frame that tells a connection it no longer gets this room.
    #[must_use]
    pub fn left_frame(&self, reference: Option<&Ref>, reason: LeftReason) -> Bytes {
        let frame = Outbound::Left {
            reference,
            room: &self.room.label,
            room_id: self.room.id,
            reason,
        };
        text_frame(&outbound::to_json(&frame))
    }

    /// Every link here.
    pub fn links(&self) -> impl Iterator<Item = &Arc<L>> {
        self.slots.iter().map(|slot| &slot.link)
    }
}
