//! One room's live state: its ring and its readers. Pure: no clock, no I/O but writing to outlets.
//!
//! A reader is *live* (it gets every burst as it comes) or *behind* (it is brought up from its own arrival number
//! whenever its outlet has drained, then is live again). A join, a resume and a slow reader are the same thing here:
//! a reader that is behind, with a position to start from. Since the room's task alone owns this state, "the end of
//! the ring was reached" and "the reader is live" are one step, and nothing falls between them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::ring::{Entry, Ring};
use crate::fanout::{Outlet, Taken};
use crate::limits;
use crate::model::{Author, ConnectionId, Event, EventId, EventKind, Message, Timestamp, UserId};
use crate::wire::frame::text_frame;
use crate::wire::inbound::JoinFrom;
use crate::wire::outbound::{self, LeftReason, MessageView, Outbound, Ref, RoomRef};

/// A send that the store has answered for.
#[derive(Debug)]
pub struct Committed<L> {
    /// Who sent it.
    pub link: Arc<L>,
    /// The message.
    pub message: Message,
    /// The request's `ref`.
    pub reference: Option<Ref>,
    /// The request's nonce.
    pub nonce: Option<Box<str>>,
    /// False: an earlier attempt was stored and delivered.
    pub fresh: bool,
    /// It was answered already (`unknown_outcome`): it is delivered, but not acknowledged.
    pub answered: bool,
}

/// Frames to be delivered to every live reader. Made once, delivered in slices so that other tasks get their turn.
#[derive(Debug)]
pub struct Burst {
    /// How many events it carries.
    pub events: usize,
    chunks: Vec<Chunk>,
    senders: HashMap<ConnectionId, Bytes>,
    acks: HashMap<ConnectionId, Bytes>,
    first: u64,
    before: EventId,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    first: u64,
    before: EventId,
}

/// Where a reader that is behind goes on.
#[derive(Debug)]
struct CatchUp {
    /// The next arrival number.
    next: u64,
    /// The last id it was told, for the store where the ring has moved on.
    after: EventId,
    /// Below this arrival number only messages are told: a first join's page.
    messages_until: u64,
    /// Leave out what this connection sent itself.
    skip_own: bool,
    /// Say `live` at the end, with this `ref`.
    announce: Option<Option<Ref>>,
}

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
    },
    /// The newest messages have to be read from the store.
    NeedsLatest,
    /// The events after this id have to be read from the store.
    NeedsEvents {
        /// The cursor.
        after: EventId,
    },
}

/// One room's live state.
#[derive(Debug)]
pub struct RoomState<L> {
    room: RoomRef,
    ring: Ring,
    slots: Vec<Slot<L>>,
    index: HashMap<ConnectionId, usize>,
    encodings: u64,
}

impl<L: Outlet> RoomState<L> {
    /// A room that nobody reads.
    #[must_use]
    pub fn new(room: RoomRef) -> Self {
        Self {
            room,
            ring: Ring::new(),
            slots: Vec::new(),
            index: HashMap::new(),
            encodings: 0,
        }
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

    /// Whether this connection reads the room.
    #[must_use]
    pub fn has(&self, connection: ConnectionId) -> bool {
        self.index.contains_key(&connection)
    }

    /// The links of a user here.
    pub fn links_of(&self, user: UserId) -> impl Iterator<Item = &Arc<L>> {
        self.slots
            .iter()
            .map(|slot| &slot.link)
            .filter(move |link| link.author().id == user)
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
            author: Some(message.author.clone()),
            from,
            frame,
        }
    }

    fn entry_of_event(&mut self, event: &Event) -> Entry {
        self.encodings += 1;
        let frame = text_frame(&outbound::event_json(&self.room.label, self.room.id, event));
        let (message, author) = match &event.kind {
            EventKind::Message(message) => (message.id, Some(message.author.clone())),
            EventKind::Late(message) | EventKind::Edited(message) => (message.id, None),
            EventKind::Deleted { message } => (*message, None),
        };
        Entry {
            id: event.id,
            message,
            is_message: author.is_some(),
            author,
            from: None,
            frame,
        }
    }

    /// Takes the newest messages from the store. `newest` is the greatest position in the store when they were read.
    pub fn prime(&mut self, messages: &[Message], whole: bool, newest: Option<EventId>) {
        let entries = messages.iter().map(|message| self.entry_of(message, None)).collect();
        self.ring.prime(entries, whole, newest);
    }

    /// Takes all events after an id from the store.
    pub fn extend_back(&mut self, events: &[Event], after: EventId) {
        let entries = events.iter().map(|event| self.entry_of_event(event)).collect();
        self.ring.extend_back(entries, after);
    }

    /// What a join needs. `now` decides whether a cursor is too old.
    #[must_use]
    pub fn plan(&self, from: JoinFrom, now: Timestamp) -> Plan {
        let page = |reset| {
            let count = if reset { limits::JOIN_MESSAGES } else { from.latest };
            if self.ring.has_latest(count) {
                Plan::From {
                    arrival: self.ring.latest_from(count),
                    page: true,
                    reset,
                }
            } else {
                Plan::NeedsLatest
            }
        };
        let Some(since) = from.since else { return page(false) };
        let oldest = now.minus(std::time::Duration::from_secs(limits::EVENT_DAYS_MAX * 24 * 60 * 60));
        if since.timestamp() < oldest {
            return page(true);
        }
        if self.ring.count_above(since) > limits::REPLAY_EVENTS_MAX {
            return page(true);
        }
        if !self.ring.covers(since) {
            return Plan::NeedsEvents { after: since };
        }
        let lower = EventId::floor_of(since.timestamp().minus(limits::CATCH_UP_SPAN));
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
        }
    }

    /// Adds a reader, tells it `joined`, and starts its replay. The plan must be a `From` made in the same step.
    pub fn join(
        &mut self,
        link: Arc<L>,
        joined: Bytes,
        plan: Plan,
        since: Option<EventId>,
        reference: Option<Ref>,
    ) -> Progress {
        let Plan::From { arrival, page, reset } = plan else {
            return Progress::Gone;
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
                to,
            };
            let _ = link.answer(text_frame(&outbound::to_json(&frame)));
        }
        let catch_up = CatchUp {
            next: arrival,
            after: since.unwrap_or(EventId::new(0, 0, 0)),
            messages_until: if page { self.ring.next_arrival() } else { 0 },
            skip_own: false,
            announce: Some(reference),
        };
        let slot = Slot {
            link,
            behind: Some(Box::new(catch_up)),
        };
        if let Some(&at) = self.index.get(&connection) {
            self.slots[at] = slot;
        } else {
            self.index.insert(connection, self.slots.len());
            self.slots.push(slot);
        }
        self.advance(connection)
    }

    /// Removes a reader; answers its link if it was here.
    pub fn leave(&mut self, connection: ConnectionId) -> Option<Arc<L>> {
        let at = self.index.remove(&connection)?;
        let slot = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.link.connection(), at);
        }
        Some(slot.link)
    }

    /// Brings a reader that is behind as far as its outlet takes it.
    pub fn advance(&mut self, connection: ConnectionId) -> Progress {
        let Some(&at) = self.index.get(&connection) else {
            return Progress::Gone;
        };
        let Slot { link, behind } = &mut self.slots[at];
        loop {
            let Some(catch_up) = behind else { return Progress::Live };
            if catch_up.next < self.ring.first_arrival() {
                return Progress::NeedsStore { after: catch_up.after };
            }
            let (chunk, next, after) = chunk_of(&self.ring, &self.room, catch_up, &**link);
            let complete = next == self.ring.next_arrival();
            let taken = if chunk.is_empty() {
                Taken::Yes
            } else {
                link.events(&chunk)
            };
            match taken {
                Taken::Gone => return Progress::Gone,
                Taken::Full => {
                    link.behind(self.room.id, catch_up.next);
                    return Progress::Waiting;
                }
                Taken::Yes if complete => {
                    *behind = None;
                    return Progress::Live;
                }
                Taken::Yes => (catch_up.next, catch_up.after) = (next, after),
            }
        }
    }

    /// Goes on with events that were read from the store after the id that `NeedsStore` named. `complete`: the store
    /// has no more, so the ring takes over.
    pub fn resume_from_store(&mut self, connection: ConnectionId, events: &[Event], complete: bool) -> Progress {
        let Some(&at) = self.index.get(&connection) else {
            return Progress::Gone;
        };
        for event in events {
            let entry = self.entry_of_event(event);
            let Slot { link, behind } = &mut self.slots[at];
            let Some(catch_up) = behind else { return Progress::Live };
            match link.events(&entry.frame) {
                Taken::Gone => return Progress::Gone,
                Taken::Full => {
                    link.behind(self.room.id, catch_up.next);
                    return Progress::Waiting;
                }
                Taken::Yes => catch_up.after = event.id,
            }
        }
        let Some(catch_up) = &mut self.slots[at].behind else {
            return Progress::Live;
        };
        if complete || self.ring.covers(catch_up.after) {
            catch_up.next = self.ring.first_above(catch_up.after);
        }
        self.advance(connection)
    }

    /// Takes what the store has made durable, and makes the burst for the live readers. Acknowledgements of readers
    /// that are behind are sent at once.
    pub fn committed(&mut self, batch: Vec<Committed<L>>) -> Burst {
        let first = self.ring.next_arrival();
        let before = self.ring.newest().unwrap_or(EventId::new(0, 0, 0));
        let mut acks: HashMap<ConnectionId, BytesMut> = HashMap::new();
        let mut items: Vec<(ConnectionId, Option<Bytes>, Bytes)> = Vec::with_capacity(batch.len());
        for Committed {
            link,
            message,
            reference,
            nonce,
            fresh,
            answered,
        } in batch
        {
            let connection = link.connection();
            let ack = if answered {
                Bytes::new()
            } else {
                self.ack_frame(&message, reference.as_ref(), nonce.as_deref())
            };
            acks.entry(connection).or_default().extend_from_slice(&ack);
            let frame = fresh.then(|| {
                let entry = self.entry_of(&message, Some(connection));
                let frame = entry.frame.clone();
                self.ring.push(entry);
                frame
            });
            items.push((connection, frame, ack));
            if !self.index.contains_key(&connection) {
                // It left the room while its send was under way: it still gets its answer.
                if let Some(ack) = acks.remove(&connection) {
                    let _ = link.answer(ack.freeze());
                }
            }
        }
        let senders = self.sender_buffers(&items);
        let frames = items.into_iter().filter_map(|(_, frame, _)| frame);
        let acks = acks
            .into_iter()
            .map(|(connection, ack)| (connection, ack.freeze()))
            .collect();
        Burst {
            events: usize::try_from(self.ring.next_arrival() - first).unwrap_or(usize::MAX),
            chunks: self.chunks(frames, first, before),
            senders,
            acks,
            first,
            before,
        }
    }

    fn ack_frame(&self, message: &Message, reference: Option<&Ref>, nonce: Option<&str>) -> Bytes {
        text_frame(&outbound::to_json(&Outbound::Ack {
            reference,
            nonce,
            room: &self.room.label,
            room_id: self.room.id,
            id: message.id,
            at: message.at(),
            event_id: None,
        }))
    }

    /// What each sender of a batch gets: its acknowledgements and the others' messages, in the order of ids.
    fn sender_buffers(&self, items: &[(ConnectionId, Option<Bytes>, Bytes)]) -> HashMap<ConnectionId, Bytes> {
        let mut buffers = HashMap::new();
        for &(sender, ..) in items {
            let Some(&at) = self.index.get(&sender) else { continue };
            if buffers.contains_key(&sender) {
                continue;
            }
            let echo = self.slots[at].link.echo();
            let mut buffer = BytesMut::new();
            for (from, frame, ack) in items {
                if *from == sender {
                    buffer.extend_from_slice(ack);
                }
                if let Some(frame) = frame
                    && (*from != sender || echo)
                {
                    buffer.extend_from_slice(frame);
                }
            }
            buffers.insert(sender, buffer.freeze());
        }
        buffers
    }

    fn chunks(&self, frames: impl Iterator<Item = Bytes>, first: u64, before: EventId) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut merged = BytesMut::new();
        let (mut chunk_first, mut chunk_before) = (first, before);
        for (arrival, frame) in (first..).zip(frames) {
            if !merged.is_empty() && merged.len() + frame.len() > limits::BURST_BYTES_MAX {
                chunks.push(Chunk {
                    bytes: merged.split().freeze(),
                    first: chunk_first,
                    before: chunk_before,
                });
                chunk_first = arrival;
                chunk_before = self.ring.get(arrival - 1).map_or(before, |entry| entry.id);
            }
            merged.extend_from_slice(&frame);
        }
        if !merged.is_empty() {
            chunks.push(Chunk {
                bytes: merged.freeze(),
                first: chunk_first,
                before: chunk_before,
            });
        }
        chunks
    }

    /// Takes an edit, a deletion, or an event of another node, and makes the burst. `None` if it is known already.
    pub fn changed(&mut self, event: &Event) -> Option<Burst> {
        if self.ring.holds(event.id) {
            return None;
        }
        let first = self.ring.next_arrival();
        let before = self.ring.newest().unwrap_or(EventId::new(0, 0, 0));
        let entry = self.entry_of_event(event);
        match &event.kind {
            EventKind::Edited(message) => {
                let json = outbound::to_json(&Outbound::Message(MessageView::new(&self.room.label, message)));
                self.ring.replace(message.id, &text_frame(&json));
            }
            EventKind::Deleted { message } => {
                if let Some(author) = self.ring.author_of(*message).cloned() {
                    let frame = deleted_message(&self.room, *message, author, event.id);
                    self.ring.replace(*message, &frame);
                }
            }
            EventKind::Message(_) | EventKind::Late(_) => {}
        }
        let frame = entry.frame.clone();
        self.ring.push(entry);
        let chunks = self.chunks(std::iter::once(frame), first, before);
        Some(Burst {
            events: 1,
            chunks,
            senders: HashMap::new(),
            acks: HashMap::new(),
            first,
            before,
        })
    }

    /// Delivers a burst to the readers from `start` on, at most `count` of them; answers where to go on, or `None`.
    pub fn deliver(&mut self, burst: &Burst, start: usize, count: usize) -> Option<usize> {
        let end = (start + count).min(self.slots.len());
        for slot in &mut self.slots[start..end] {
            deliver_to(&self.room, slot, burst);
        }
        (end < self.slots.len()).then_some(end)
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

/// What later readers are told in place of a deleted message.
fn deleted_message(room: &RoomRef, id: EventId, author: Author, event: EventId) -> Bytes {
    let message = Message {
        room: room.id,
        id,
        author,
        body: String::new(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted_at: Some(event.timestamp()),
        last_event: Some(event),
    };
    text_frame(&outbound::to_json(&Outbound::Message(MessageView::new(
        &room.label,
        &message,
    ))))
}

/// The next frames for a reader that is behind: bytes, the arrival number after them, and the last id among them.
fn chunk_of<L: Outlet>(ring: &Ring, room: &RoomRef, catch_up: &CatchUp, link: &L) -> (Bytes, u64, EventId) {
    let mut bytes = BytesMut::new();
    let (mut next, mut after) = (catch_up.next, catch_up.after);
    while let Some(entry) = ring.get(next) {
        let wanted = (entry.is_message || next >= catch_up.messages_until)
            && !(catch_up.skip_own && !link.echo() && entry.from == Some(link.connection()));
        if wanted {
            if !bytes.is_empty() && bytes.len() + entry.frame.len() > limits::BURST_BYTES_MAX {
                return (bytes.freeze(), next, after);
            }
            bytes.extend_from_slice(&entry.frame);
        }
        after = after.max(entry.id);
        next += 1;
    }
    if let Some(reference) = &catch_up.announce {
        let live = Outbound::Live {
            reference: reference.as_ref(),
            room: &room.label,
            room_id: room.id,
            cursor: ring.newest(),
        };
        bytes.extend_from_slice(&text_frame(&outbound::to_json(&live)));
    }
    (bytes.freeze(), next, after)
}

fn deliver_to<L: Outlet>(room: &RoomRef, slot: &mut Slot<L>, burst: &Burst) {
    let link = &slot.link;
    let connection = link.connection();
    let fall_behind = |next, after| {
        link.behind(room.id, next);
        Some(Box::new(CatchUp {
            next,
            after,
            messages_until: 0,
            skip_own: true,
            announce: None,
        }))
    };
    if slot.behind.is_some() {
        if let Some(acks) = burst.acks.get(&connection) {
            let _ = link.answer(acks.clone());
        }
        return;
    }
    if let Some(buffer) = burst.senders.get(&connection) {
        // A very large batch goes to its senders through the ring too, so that nobody holds more than the outbox.
        if buffer.len() > limits::BURST_BYTES_MAX || link.events(buffer) == Taken::Full {
            slot.behind = fall_behind(burst.first, burst.before);
            if let Some(acks) = burst.acks.get(&connection) {
                let _ = link.answer(acks.clone());
            }
        }
        return;
    }
    for chunk in &burst.chunks {
        match link.events(&chunk.bytes) {
            Taken::Yes => {}
            Taken::Gone => return,
            Taken::Full => {
                slot.behind = fall_behind(chunk.first, chunk.before);
                return;
            }
        }
    }
}
