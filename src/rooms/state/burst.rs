//! Bursts: what has become durable together, framed once and merged, on its way to every live reader.
//!
//! All readers share one buffer. Only the senders of a batch have their own, because they get acknowledgements in the
//! place of their own messages, in the order of ids.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::shared::content_of;
use super::{CatchUp, Pages, RoomState, Slot};
use crate::fanout::{Outlet, Taken};
use crate::limits;
use crate::model::{Author, ConnectionId, Event, EventId, EventKind, Message};
use crate::rooms::envelope::Content;
use crate::wire::frame::text_frame;
use crate::wire::outbound::{self, MessageView, Outbound, Ref, RoomRef};

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
    /// False: it was delivered before, such as an earlier attempt, or is not to be delivered now.
    pub fresh: bool,
    /// The late event that tells of it, if it became durable long after its id was made.
    pub late: Option<EventId>,
    /// Other nodes are told of it.
    pub published: bool,
    /// It was answered already (`unknown_outcome`): it is delivered, but not acknowledged.
    pub answered: bool,
}

/// Frames to be delivered to every live reader. Made once, delivered in slices so that other tasks get their turn; no
/// reader may come or go between its making and its last slice.
#[derive(Debug)]
pub struct Burst {
    /// How many events it carries.
    pub events: usize,
    pub(super) chunks: Vec<Chunk>,
    /// What the senders get in place of the chunks, in the order of their places among the readers: the walk over the
    /// readers meets them one after the other, so nobody else costs a look into a table.
    pub(super) own: Vec<Own>,
    pub(super) first: u64,
    pub(super) before: EventId,
    /// What other nodes are to be told, in the same order.
    pub outgoing: Vec<(EventId, Content)>,
}

/// What a sender of the batch gets.
#[derive(Debug)]
pub(super) struct Own {
    /// Its place among the readers.
    at: usize,
    /// Its acknowledgements and the others' messages, in the order of ids. `None`: too much for one write, so it goes
    /// through the ring too, and nobody holds more than the outbox.
    all: Option<Bytes>,
    /// Its acknowledgements alone.
    acks: Bytes,
}

#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    first: u64,
    before: EventId,
}

impl<L: Outlet> RoomState<L> {
    /// Takes what the store has made durable, and makes the burst for the live readers. Acknowledgements of readers
    /// that are behind are sent at once.
    pub fn committed(&mut self, batch: Vec<Committed<L>>) -> Burst {
        let first = self.ring.next_arrival();
        let before = self.ring.newest().unwrap_or(EventId::new(0, 0, 0));
        let mut acks: HashMap<ConnectionId, BytesMut> = HashMap::new();
        let mut items: Vec<(ConnectionId, Option<Bytes>, Bytes)> = Vec::with_capacity(batch.len());
        let mut outgoing = Vec::new();
        for Committed {
            link,
            message,
            reference,
            nonce,
            fresh,
            late,
            published,
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
            let told = self.tell_own(&message, fresh, late, connection, published);
            let frame = told.and_then(|(frame, content)| {
                outgoing.extend(content.map(|content| (late.unwrap_or(message.id), content)));
                frame
            });
            items.push((connection, frame, ack));
            if !self.has(connection) {
                // It left the room while its send was under way: it still gets its answer.
                if let Some(ack) = acks.remove(&connection) {
                    let _ = link.answer(ack.freeze());
                }
            }
        }
        let own = self.own_of(acks, &items);
        let frames = items.into_iter().filter_map(|(_, frame, _)| frame);
        Burst {
            events: usize::try_from(self.ring.next_arrival() - first).unwrap_or(usize::MAX),
            chunks: self.chunks(frames, first, before),
            own,
            first,
            before,
            outgoing,
        }
    }

    /// Frames a message that this node has stored, puts it into the ring unless everybody here was told it before, and
    /// says what other nodes are told.
    fn tell_own(
        &mut self,
        message: &Message,
        fresh: bool,
        late: Option<EventId>,
        connection: ConnectionId,
        published: bool,
    ) -> Option<(Option<Bytes>, Option<Content>)> {
        if !fresh && !published {
            return None;
        }
        let mut entry = match late {
            None => self.entry_of(message, Some(connection)),
            Some(id) => self.entry_of_event(&Event {
                id,
                kind: EventKind::Late(message.clone()),
            }),
        };
        entry.from = Some(connection);
        let plain = late.is_some().then(|| self.plain_of(message));
        let content = if published {
            content_of(&entry, message.reply_to, plain)
        } else {
            None
        };
        let frame = (fresh && self.note(&entry)).then(|| {
            self.ring.bring_up_to_date(&mut entry);
            let frame = entry.frame.clone();
            self.ring.push(entry);
            frame
        });
        Some((frame, content))
    }

    /// A message's frame for those who join later.
    pub(super) fn plain_of(&self, message: &Message) -> Bytes {
        text_frame(&outbound::to_json(&Outbound::Message(MessageView::new(
            &self.room.label,
            message,
        ))))
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

    /// What each sender of a batch that reads the room gets.
    fn own_of(
        &self,
        acks: HashMap<ConnectionId, BytesMut>,
        items: &[(ConnectionId, Option<Bytes>, Bytes)],
    ) -> Vec<Own> {
        let mut own: Vec<Own> = acks
            .into_iter()
            .filter_map(|(sender, acks)| {
                let at = self.place(sender)?;
                let echo = self.slots[at].link.echo();
                let parts = items.iter().flat_map(|(from, frame, ack)| {
                    let frame = frame.as_ref().filter(|_| *from != sender || echo);
                    [Some(ack).filter(|_| *from == sender), frame]
                });
                let parts = parts.flatten();
                let length = parts.clone().map(Bytes::len).sum();
                let all = (length <= limits::BURST_BYTES_MAX).then(|| {
                    let mut all = BytesMut::with_capacity(length);
                    parts.for_each(|part| all.extend_from_slice(part));
                    all.freeze()
                });
                let acks = acks.freeze();
                Some(Own { at, all, acks })
            })
            .collect();
        own.sort_unstable_by_key(|own| own.at);
        own
    }

    pub(super) fn chunks(&self, frames: impl Iterator<Item = Bytes>, first: u64, before: EventId) -> Vec<Chunk> {
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

    /// Takes an edit or a deletion that this node has stored, and makes the burst; with `tell` off only what other nodes
    /// are told. `None`: nothing is to be told.
    pub fn changed(&mut self, event: &Event, tell: bool) -> Option<Burst> {
        let tell = tell && !self.ring.holds(event.id);
        if !tell && !self.publishes {
            return None;
        }
        let first = self.ring.next_arrival();
        let before = self.ring.newest().unwrap_or(EventId::new(0, 0, 0));
        let entry = self.entry_of_event(event);
        let plain = match &event.kind {
            EventKind::Edited(message) => Some(self.plain_of(message)),
            EventKind::Deleted { .. } => None,
            EventKind::Message(_) | EventKind::Late(_) => None,
        };
        let mut outgoing = Vec::new();
        if self.publishes {
            outgoing.extend(content_of(&entry, None, plain.clone()).map(|content| (entry.id, content)));
        }
        let mut frames = None;
        if tell && self.note(&entry) && self.change(&entry, plain) {
            frames = Some(entry.frame.clone());
            self.ring.push(entry);
        }
        Some(Burst {
            events: usize::from(frames.is_some()),
            chunks: self.chunks(frames.into_iter(), first, before),
            own: Vec::new(),
            first,
            before,
            outgoing,
        })
    }

    /// Delivers a burst to the readers from `start` on, at most `count` of them; answers where to go on, or `None`.
    pub fn deliver(&mut self, burst: &Burst, start: usize, count: usize) -> Option<usize> {
        let end = (start + count).min(self.slots.len());
        let begin = self.shared.as_ref().map(|shared| shared.replay_from());
        let mut own = burst.own.iter().skip_while(|own| own.at < start).peekable();
        for (at, slot) in self.slots.iter_mut().enumerate().take(end).skip(start) {
            let own = own.next_if(|own| own.at == at);
            deliver_to(
                &self.room,
                slot,
                burst,
                own,
                begin.map(|begin| (begin, self.ring.merges())),
            );
        }
        (end < self.slots.len()).then_some(end)
    }
}

/// What later readers are told in place of a deleted message.
pub(super) fn deleted_message(room: &RoomRef, id: EventId, author: Author, event: EventId) -> Bytes {
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

fn deliver_to<L: Outlet>(
    room: &RoomRef,
    slot: &mut Slot<L>,
    burst: &Burst,
    own: Option<&Own>,
    begin: Option<(EventId, u32)>,
) {
    let link = &slot.link;
    let fall_behind = |next, after| {
        link.behind(room.id, next);
        Some(Box::new(CatchUp {
            next,
            after,
            pages: begin.map(|(begin, _)| Pages::after(after, begin)),
            messages_until: 0,
            messages_from: None,
            spared: None,
            skip_own: true,
            announce: None,
            merges: begin.map_or(0, |(_, merges)| merges),
            read: None,
        }))
    };
    if slot.behind.is_some() {
        if let Some(own) = own {
            let _ = link.answer(own.acks.clone());
        }
        return;
    }
    if let Some(own) = own {
        if own.all.as_ref().is_none_or(|all| link.events(all) == Taken::Full) {
            slot.behind = fall_behind(burst.first, burst.before);
            let _ = link.answer(own.acks.clone());
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
