//! Readers that are behind: those who join, those who resume, and those whose outlet was full.

use bytes::{Bytes, BytesMut};

use super::shared::Shared;
use super::{Progress, RoomState, Slot, span_before};
use crate::fanout::{Outlet, Taken};
use crate::limits;
use crate::model::{ConnectionId, Event, EventId};
use crate::rooms::ring::Ring;
use crate::rooms::seen::Reached;
use crate::wire::frame::text_frame;
use crate::wire::outbound::{self, Outbound, Ref, RoomRef};

/// Where a reader that is behind goes on.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// The next arrival number.
    pub(super) next: u64,
    /// The last id it was told, for the store where the ring has moved on.
    pub(super) after: EventId,
    /// In a cluster ids alone do not say what was told: how it goes on from the store there.
    pub(super) pages: Option<Pages>,
    /// Below this arrival number only messages are told: a first join's page.
    pub(super) messages_until: u64,
    /// And of those only the ones from this id on.
    pub(super) messages_from: Option<EventId>,
    /// Messages up to this id are left out below this arrival number: the client said that it has them.
    pub(super) spared: Option<(EventId, u64)>,
    /// Leave out what this connection sent itself.
    pub(super) skip_own: bool,
    /// Say `live` at the end, with this `ref`.
    pub(super) announce: Option<Option<Ref>>,
    /// The reads of the store that were put into the ring before it fell behind.
    pub(super) merges: u32,
    /// What the store has told of what is in the ring: the events below this arrival number up to this id.
    pub(super) read: Option<(u64, EventId)>,
}

impl Pages {
    /// Of a reader that was told everything up to an id, as far as it is to be told anything.
    pub(super) fn after(told: EventId, begin: EventId) -> Self {
        Self {
            begin: begin.min(told),
            // Ids may have come in another order by so much.
            old: span_before(told),
            round: None,
        }
    }

    /// Of a reader that is to be told everything after an id, most of it from the ring.
    pub(super) fn joined(after: EventId, begin: EventId) -> Self {
        Self {
            begin: begin.min(after),
            old: after,
            round: None,
        }
    }

    /// Of a reader that is to be told everything after an id from the store.
    pub(super) const fn from_store(after: EventId) -> Self {
        Self {
            begin: after,
            old: after,
            round: None,
        }
    }
}

impl CatchUp {
    /// Whether it goes on from the store in rounds, and is within one.
    const fn in_round(&self) -> bool {
        matches!(self.pages, Some(Pages { round: Some(_), .. }))
    }

    /// Whether an event that was read from the store is to be told.
    fn tells(&self, shared: &Shared, id: EventId) -> bool {
        let Some(Pages {
            old,
            round: Some(Round { began, .. }),
            ..
        }) = self.pages
        else {
            return true;
        };
        let reached = Reached {
            next: self.next,
            merges: self.merges,
        };
        // What is news is told to everybody before long.
        let forgotten = || id > old && !shared.seen.is_news(id);
        shared.seen.is_between(id, reached, began).unwrap_or_else(forgotten)
    }

    /// Begins a round, in a cluster, unless one is under way.
    pub(super) fn begin_round(&mut self, next: u64, replay_from: EventId) {
        if let Some(pages) = &mut self.pages
            && pages.round.is_none()
        {
            pages.round = Some(Round {
                began: next,
                again: replay_from,
            });
            self.after = pages.begin;
        }
    }

    /// The store has no more: goes on from the ring, or in another round if the ring has left the place where this one
    /// began.
    fn end_round(&mut self, ring: &Ring) {
        let above = ring.first_above(self.after);
        let Some(pages) = &mut self.pages else {
            self.next = above;
            return;
        };
        if let Some(Round { began, again }) = pages.round.take() {
            // Another round need not tell what this one did.
            (pages.begin, pages.old) = (again, self.after);
            self.read = Some((began, self.after));
            self.next = if began < ring.first_arrival() {
                began
            } else {
                above.min(began)
            };
            self.merges = ring.merges();
        }
    }
}

/// How a reader of a cluster's room goes on from the store: in rounds of pages, each up to the store's end. What arrives
/// while a round is under way may have any id, so the ring takes over at the arrival number that the round began with; if
/// the ring has moved on from there too, there is another round. By the arrival numbers of what the room was told each
/// event is told once: from the store if it arrived between the reader's place and the round's begin, else from the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages {
    /// Nothing that it was not told lies at or below this id.
    pub(super) begin: EventId,
    /// What it was told of events whose arrival was forgotten: those up to this id.
    pub(super) old: EventId,
    /// The round under way.
    pub(super) round: Option<Round>,
}

/// One round of pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// The ring's next arrival number when it began.
    pub(super) began: u64,
    /// Where another round would begin.
    again: EventId,
}

impl<L: Outlet> RoomState<L> {
    /// Brings a reader that is behind as far as its outlet takes it.
    pub fn advance(&mut self, connection: ConnectionId) -> Progress {
        let Some(at) = self.place(connection) else {
            return Progress::Gone;
        };
        let Slot { link, behind } = &mut self.slots[at];
        if !self.mechanisms.arrivals
            && let Some(catch_up) = behind
            && catch_up.announce.is_none()
        {
            catch_up.next = self.ring.first_above(catch_up.after);
        }
        loop {
            let Some(catch_up) = behind else { return Progress::Live };
            if catch_up.next < self.ring.first_arrival() || catch_up.in_round() {
                if let Some(shared) = &self.shared {
                    catch_up.begin_round(self.ring.next_arrival(), shared.replay_from());
                }
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
        let Some(at) = self.place(connection) else {
            return Progress::Gone;
        };
        for event in events {
            let Some(catch_up) = &mut self.slots[at].behind else {
                return Progress::Live;
            };
            if let Some(shared) = &self.shared
                && !catch_up.tells(shared, event.id)
            {
                catch_up.after = event.id;
                continue;
            }
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
        // Where ids alone say what was told, the ring takes over as soon as it can.
        if complete || (self.shared.is_none() && self.ring.covers(catch_up.after)) {
            catch_up.end_round(&self.ring);
        }
        self.advance(connection)
    }
}

/// The next frames for a reader that is behind: bytes, the arrival number after them, and the last id among them.
fn chunk_of<L: Outlet>(ring: &Ring, room: &RoomRef, catch_up: &CatchUp, link: &L) -> (Bytes, u64, EventId) {
    let mut bytes = BytesMut::new();
    let (mut next, mut after) = (catch_up.next, catch_up.after);
    while let Some(entry) = ring.get(next) {
        let spared = |&(since, until): &(EventId, u64)| entry.is_message && entry.id <= since && next < until;
        let in_page = entry.is_message && catch_up.messages_from.is_none_or(|from| entry.message >= from);
        let wanted = (in_page || next >= catch_up.messages_until)
            && !catch_up.spared.as_ref().is_some_and(spared)
            && !catch_up
                .read
                .is_some_and(|(until, up_to)| next < until && entry.id <= up_to)
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
