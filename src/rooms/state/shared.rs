//! What a room knows in a cluster, where several nodes tell its events and none of them in order.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::burst::{Burst, deleted_message};
use super::{Plan, RoomState, span_before};
use crate::fanout::Outlet;
use crate::limits;
use crate::model::{Event, EventId, EventKind, Timestamp};
use crate::rooms::envelope::{Content, Durable};
use crate::rooms::ring::Entry;
use crate::rooms::seen::Seen;
use crate::wire::inbound::JoinFrom;
use crate::wire::outbound::late_frame;

/// What a room of a cluster knows besides its ring and its readers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) seen: Seen,
    /// The time up to which this node has seen all of the room.
    floor: Timestamp,
    /// Messages that were changed before they arrived: the event, and the message's state after it; no state if it was
    /// deleted.
    ahead: BTreeMap<EventId, (EventId, Option<Bytes>)>,
}

/// An event of the room, framed, that this node did not store itself.
#[derive(Debug)]
pub struct Told {
    entry: Entry,
    /// The message in its new state, for those who join later.
    plain: Option<Bytes>,
}

impl Shared {
    /// Above this lies everything that the room may yet be told.
    pub(super) fn replay_from(&self) -> EventId {
        EventId::floor_of(self.floor.minus(limits::CATCH_UP_SPAN))
    }

    /// Notes what was read from the store: all events above `after`. What of it the ring does not hold lies before
    /// everything that it does.
    pub(super) fn history(&mut self, events: &[Event], after: EventId, merges: u32) {
        self.seen.complete_from(after);
        for event in events {
            let is_message = matches!(event.kind, EventKind::Message(_));
            self.seen.insert_old(event.id, is_message, merges);
            if let EventKind::Late(message) = &event.kind {
                self.seen.insert_old(message.id, true, merges);
            }
        }
    }

    /// Keeps a change of a message that has not arrived: nodes are heard one faster than the other.
    fn keep_ahead(&mut self, message: EventId, event: EventId, plain: Option<Bytes>) {
        let kept = self.ahead.entry(message).or_insert_with(|| (event, plain.clone()));
        if kept.1.is_some() && (plain.is_none() || event > kept.0) {
            *kept = (event, plain);
        }
        while self.ahead.len() > limits::CHANGES_AHEAD_MAX {
            self.ahead.pop_first();
        }
    }
}

impl<L: Outlet> RoomState<L> {
    /// From now on other nodes write to this room too. What it held before is forgotten: nobody reads it yet, and it may
    /// lack what others said.
    pub fn share(&mut self, now: Timestamp) {
        self.ring.restart();
        self.shared = Some(Box::new(Shared {
            seen: Seen::default(),
            floor: now,
            ahead: BTreeMap::new(),
        }));
    }

    /// Whether other nodes write to this room too.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Says up to which time this node has seen all of the room. What lies far enough below is forgotten.
    pub fn set_floor(&mut self, floor: Timestamp) {
        if let Some(shared) = &mut self.shared {
            shared.floor = floor;
            let keep = shared.floor.minus(limits::CATCH_UP_SPAN * 2);
            shared.seen.forget_up_to(EventId::floor_of(keep));
        }
    }

    /// Whether an event with this id would be news to the room. Alone, everything is.
    #[must_use]
    pub fn is_news(&self, id: EventId) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.seen.is_news(id))
    }

    /// Notes an event that is about to be told; false if it was told already.
    pub(super) fn note(&mut self, entry: &Entry) -> bool {
        let (seen, arrival) = (self.mechanisms.seen, self.ring.next_arrival());
        self.shared.as_mut().is_none_or(|shared| {
            let fresh = shared.seen.insert(entry.id, entry.id == entry.message, arrival);
            if entry.late {
                shared.seen.insert(entry.message, true, arrival);
            }
            fresh || !seen
        })
    }

    /// Notes what the ring holds, at the places where it holds it: what was read counts as told like what arrived.
    pub(super) fn note_ring(&mut self) {
        let Some(shared) = &mut self.shared else { return };
        for (id, is_message, arrival) in self.ring.arrivals() {
            shared.seen.place(id, is_message, arrival, self.ring.merges());
        }
    }

    /// Has the readers that the ring has left behind go on from the store: what is put in front of the ring may get the
    /// arrival numbers at which they would go on.
    pub(super) fn store_rounds(&mut self) {
        let Some(shared) = &self.shared else { return };
        let behind = self.slots.iter_mut().filter_map(|slot| slot.behind.as_mut());
        for catch_up in behind.filter(|catch_up| catch_up.next < self.ring.first_arrival()) {
            catch_up.begin_round(self.ring.next_arrival(), shared.replay_from());
        }
    }

    /// Those of the events that a read brought which nobody here was told. At the first read nothing is news.
    pub fn news_among(&mut self, events: &[Event]) -> Vec<Told> {
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.seen.from().is_some()) else {
            return Vec::new();
        };
        let fresh: Vec<&Event> = events.iter().filter(|event| shared.seen.is_news(event.id)).collect();
        fresh.into_iter().map(|event| self.told_of(event)).collect()
    }

    /// Leaves only what the room was told already of what a read brought. At the first read that is everything.
    pub fn keep_known(&self, events: &mut Vec<Event>) {
        if let Some(shared) = self.shared.as_ref().filter(|shared| shared.seen.from().is_some()) {
            events.retain(|event| !shared.seen.is_news(event.id));
        }
    }

    /// The read that a room of a cluster needs before its first reader: everything recent, so that what it sees later is
    /// known from what it has seen.
    pub(super) fn unread(&self, since: Option<EventId>, now: Timestamp) -> Option<EventId> {
        let shared = self.shared.as_ref()?;
        let recent = EventId::floor_of(now.minus(limits::CATCH_UP_SPAN * 2));
        let oldest = now.minus(std::time::Duration::from_secs(limits::EVENT_DAYS_MAX * 24 * 60 * 60));
        let since = since.filter(|since| since.timestamp() >= oldest);
        let begin = since.map_or(recent, |since| span_before(since).min(recent));
        shared.seen.from().is_none().then_some(begin)
    }

    /// What a resume needs: the span before its cursor, unless the client has all of it.
    pub(super) fn plan_shared(&self, shared: &Shared, from: JoinFrom, since: EventId, hopeless: bool) -> Plan {
        let lower = self.span_before(since);
        // Edits below the cursor are no part of the digest: they are told again.
        let spare = from.have.is_some_and(|digest| shared.seen.agrees(digest, lower, since))
            && self.ring.covers(since)
            && !self
                .ring
                .floor()
                .is_some_and(|floor| shared.seen.changes_between(lower, floor));
        if spare || self.ring.covers(lower) {
            return Plan::From {
                arrival: self.ring.first_above(lower),
                page: false,
                reset: false,
                spare,
                begin: None,
            };
        }
        if hopeless {
            Plan::FromStore { after: lower }
        } else {
            Plan::NeedsEvents { after: lower }
        }
    }

    /// Frames what was read of the history. What it says was done to messages that arrived before is done to them here:
    /// it counts as told, and will not be taken when it arrives.
    pub(super) fn framed_shared(&mut self, events: &[Event]) -> Vec<Entry> {
        let told: Vec<Told> = events.iter().map(|event| self.told_of(event)).collect();
        let framed = told.into_iter().map(|Told { entry, plain }| {
            let known = self
                .shared
                .as_ref()
                .is_some_and(|shared| shared.seen.contains(entry.id));
            if !known && !entry.is_message && !entry.late {
                self.change(&entry, plain);
            }
            entry
        });
        framed.collect()
    }

    /// Takes events of other nodes, as they arrived, and makes the burst for the live readers. What the room was told
    /// already is left out.
    pub fn receive(&mut self, told: Vec<Told>) -> Burst {
        let first = self.ring.next_arrival();
        let before = self.ring.newest().unwrap_or(EventId::new(0, 0, 0));
        let mut frames = Vec::with_capacity(told.len());
        for Told { mut entry, plain } in told {
            if !self.note(&entry) {
                continue;
            }
            if entry.is_message || entry.late {
                if let Some(frame) = self.overtaken(&entry) {
                    entry.frame = if entry.late {
                        late_frame(&frame, entry.id)
                    } else {
                        frame
                    };
                }
                self.ring.bring_up_to_date(&mut entry);
            } else if !self.change(&entry, plain) {
                continue;
            }
            frames.push(entry.frame.clone());
            self.ring.push(entry);
        }
        Burst {
            events: frames.len(),
            chunks: self.chunks(frames.into_iter(), first, before),
            own: Vec::new(),
            first,
            before,
            outgoing: Vec::new(),
        }
    }

    /// The state of a message that was changed before it arrived.
    fn overtaken(&mut self, entry: &Entry) -> Option<Bytes> {
        let (event, plain) = self.shared.as_mut()?.ahead.remove(&entry.message)?;
        plain.or_else(|| Some(deleted_message(&self.room, entry.message, entry.author.clone()?, event)))
    }

    /// Has the ring tell a changed message in its new state; false if a later change was told already.
    pub(super) fn change(&mut self, entry: &Entry, plain: Option<Bytes>) -> bool {
        if self.is_shared() && plain.is_some() && self.ring.supersedes(entry.message, entry.id) {
            return false;
        }
        if let Some(frame) = plain.clone().or_else(|| self.deleted_plain(entry)) {
            self.ring.replace(entry.message, &frame);
        }
        if let Some(shared) = &mut self.shared
            && !shared.seen.contains(entry.message)
        {
            shared.keep_ahead(entry.message, entry.id, plain);
        }
        true
    }

    fn deleted_plain(&self, entry: &Entry) -> Option<Bytes> {
        let author = self.ring.author_of(entry.message).cloned()?;
        Some(deleted_message(&self.room, entry.message, author, entry.id))
    }

    /// An event of the store as the room tells it: what a repair found, or a read for those who join.
    #[must_use]
    pub fn told_of(&mut self, event: &Event) -> Told {
        let entry = self.entry_of_event(event);
        let plain = match &event.kind {
            EventKind::Edited(message) => Some(self.plain_of(message)),
            EventKind::Message(_) | EventKind::Late(_) | EventKind::Deleted { .. } => None,
        };
        Told { entry, plain }
    }
}

impl Told {
    /// What another node published; `None` for a kind that this build does not know.
    #[must_use]
    pub fn from_layer(durable: Durable) -> Option<Self> {
        let id = durable.id;
        let (message, author, frame, plain, late) = match durable.content {
            Content::Message { author, frame, .. } => (id, Some(author), frame, None, false),
            Content::Late {
                message,
                author,
                frame,
                plain,
                ..
            } => (message, Some(author), frame, Some(plain), true),
            Content::Edited {
                message,
                author,
                frame,
                plain,
            } => (message, Some(author), frame, Some(plain), false),
            Content::Deleted { message, frame } => (message, None, frame, None, false),
            Content::Unknown(_) => return None,
        };
        let entry = Entry {
            id,
            message,
            is_message: id == message,
            late,
            author,
            from: None,
            frame,
        };
        Some(Self { entry, plain })
    }

    /// The event's id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.entry.id
    }

    /// Of a late event: the message that it tells of.
    #[must_use]
    pub fn late(&self) -> Option<EventId> {
        self.entry.late.then_some(self.entry.message)
    }
}

/// What an event of this node's ring is on the channel layer; `cause` is what a message answers.
#[must_use]
pub(super) fn content_of(entry: &Entry, cause: Option<EventId>, plain: Option<Bytes>) -> Option<Content> {
    let frame = entry.frame.clone();
    let author = entry.author.clone();
    let message = entry.message;
    Some(match (entry.id == message, entry.late, plain) {
        (true, ..) => Content::Message {
            author: author?,
            cause,
            frame,
        },
        (false, true, plain) => Content::Late {
            message,
            author: author?,
            cause,
            plain: plain.unwrap_or_else(|| frame.clone()),
            frame,
        },
        (false, false, Some(plain)) => Content::Edited {
            message,
            author: author?,
            frame,
            plain,
        },
        (false, false, None) => Content::Deleted { message, frame },
    })
}
