//! A room among nodes: it joins the channel layer before its first reader, tells the others what it has stored, takes what
//! they tell, and reads the store again where something may be missing. A room of a server that runs alone does none of
//! it.

use std::time::Duration;

use super::repair::{Next, Why};
use super::run::refuse;
use super::store_steps::{Step, message_event};
use super::{Actor, JoinError, Send, Write};
use crate::channel_layer;
use crate::fanout::{Link, Outlet};
use crate::limits;
use crate::model::{Event, EventId, EventKind, RoomId};
use crate::rooms::cluster::{Passing, Post, least};
use crate::rooms::doubt::{ClockCheck, Input, Number};
use crate::rooms::state::{Burst, Committed};
use crate::store::{self, Page};
use crate::wire::frame::text_frame;
use crate::wire::outbound::{Outbound, to_json};

/// Whether the room's events arrive from other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    /// Nobody has read it yet.
    No,
    /// The layer was asked.
    Asked,
    /// They arrive.
    Yes,
}

fn clock_off(by: Duration) -> String {
    let off = by.as_secs_f64();
    format!("this server's clock is off by {off:.1} s, so it has not stored this: send it again, another server will")
}

/// The layer's rooms that a room needs: its own, and the inboxes of the two people of a direct conversation, where it is
/// told whether they are online.
fn joined_for(room: &crate::model::Room) -> Vec<RoomId> {
    let people = room.pair.into_iter().flat_map(|(low, high)| [low, high]);
    std::iter::once(room.id).chain(people.map(RoomId::inbox)).collect()
}

impl Actor {
    /// Whether what other nodes say arrives. If not, asks for it; the joins that wait go on then.
    pub(super) fn attach(&mut self) -> bool {
        let Some((cluster, _)) = &self.cluster else { return true };
        if self.attached == Attached::No {
            self.attached = Attached::Asked;
            let (cluster, rooms) = (cluster.clone(), joined_for(&self.room));
            self.steps.push(Box::pin(async move {
                let mut joined = Vec::new();
                for room in rooms {
                    if let Err(error) = cluster.attendance().join(room).await {
                        for room in joined {
                            cluster.attendance().leave(room).await;
                        }
                        return Step::Attached(Err(error));
                    }
                    joined.push(room);
                }
                Step::Attached(Ok(()))
            }));
        }
        self.attached == Attached::Yes
    }

    /// The second half of `attach`.
    pub(super) fn attached(&mut self, result: channel_layer::Result<()>) {
        let waiting = std::mem::take(&mut self.joins);
        match result {
            Ok(()) => {
                self.attached = Attached::Yes;
                // From here on what is told is counted; what was told before is in the read that comes next.
                self.state.share(self.hub.now());
                self.hub.doubt(Input::Activated(self.room.id));
                for reply in std::mem::take(&mut self.newest_asked) {
                    self.newest(reply);
                }
                for join in waiting {
                    self.join(join);
                }
            }
            Err(error) => {
                self.attached = Attached::No;
                self.newest_asked.clear();
                tracing::warn!(%error, room = %self.room.id, "the room can't be joined on the channel layer");
                for join in waiting {
                    let _ = join.reply.send(Err(JoinError::Layer(error.clone())));
                }
            }
        }
    }

    /// Leaves the channel layer; the machine of doubt was told when the hub let go of the room.
    pub(super) async fn detach(&mut self) {
        if let Some((cluster, _)) = &self.cluster
            && self.attached == Attached::Yes
        {
            for room in joined_for(&self.room) {
                cluster.attendance().leave(room).await;
            }
        }
    }

    /// Those of the sends that may be given an id now; `None`: not yet, or none.
    pub(super) fn in_time(&mut self, sends: Vec<Send>) -> Option<Vec<Send>> {
        match self.clock() {
            ClockCheck::Good => return Some(sends),
            ClockCheck::Unknown => {
                // They wait, and are refused if this takes too long.
                for send in sends.into_iter().rev() {
                    self.writes.push_front(Write::Send(Box::new(send)));
                }
            }
            ClockCheck::Off(by) => {
                for send in &sends {
                    refuse(send, "refused", &clock_off(by), Some(2.0));
                }
            }
        }
        None
    }

    /// Whether the change in front may be given an id now. If the clock is off it is refused.
    pub(super) fn may_change(&mut self) -> bool {
        match self.clock() {
            ClockCheck::Good => true,
            ClockCheck::Unknown => false,
            ClockCheck::Off(by) => {
                if let Some(Write::Change(change)) = self.writes.pop_front() {
                    let _ = change.reply.send(Err(store::Error::Refused(clock_off(by))));
                }
                false
            }
        }
    }

    fn clock(&self) -> ClockCheck {
        let cluster = self.cluster.as_ref();
        cluster.map_or(ClockCheck::Good, |(cluster, _)| cluster.clock())
    }

    /// Numbers what this node has stored, and marks what is not to be told here: what was told already, or a repair will.
    pub(super) fn number(&self, batch: &mut [Committed<Link>]) -> Vec<Option<Number>> {
        let Some((cluster, _)) = &self.cluster else {
            return Vec::new();
        };
        let now = self.hub.now();
        let number = |item: &mut Committed<Link>| {
            let id = item.late.unwrap_or(item.message.id);
            // An earlier attempt that old was told long ago, or is told as late.
            if !item.fresh && item.late.is_none() && now.since(item.message.at()) >= limits::CATCH_UP_SPAN {
                return None;
            }
            let (number, tell) = cluster.number(self.room.id, id, item.late.map(|_| item.message.id));
            item.fresh = tell;
            item.published = true;
            Some(number)
        };
        batch.iter_mut().map(number).collect()
    }

    /// Hands over to the other nodes what this one has stored.
    pub(super) fn publish(&self, burst: &mut Burst, numbers: Vec<Option<Number>>) {
        let Some((cluster, _)) = &self.cluster else { return };
        let outgoing = std::mem::take(&mut burst.outgoing);
        for ((id, content), number) in outgoing.into_iter().zip(numbers.into_iter().flatten()) {
            #[cfg(feature = "next-version")]
            let is_message = matches!(content, crate::rooms::envelope::Content::Message { .. });
            cluster.publish(self.room.id, number, id, content);
            #[cfg(feature = "next-version")]
            if is_message && crate::next_version::is_on() {
                let id = crate::next_version::event_beside(id);
                let unknown = crate::rooms::envelope::Content::Unknown(crate::next_version::KIND);
                let (number, _) = cluster.number(self.room.id, id, None);
                cluster.publish(self.room.id, number, id, unknown);
            }
        }
    }

    /// Tells an edit or a deletion that this node has stored.
    pub(super) async fn tell_change(&mut self, event: &Event) {
        let (numbers, tell) = match &self.cluster {
            Some((cluster, _)) => {
                let (number, tell) = cluster.number(self.room.id, event.id, None);
                (vec![Some(number)], tell)
            }
            None => (Vec::new(), true),
        };
        let counters = self.hub.counters();
        match &event.kind {
            EventKind::Deleted { .. } => counters.deleted.add(1),
            _ => counters.edited.add(1),
        }
        if let Some(mut burst) = self.state.changed(event, tell) {
            self.publish(&mut burst, numbers);
            self.deliver(&burst).await;
        }
    }

    /// Takes what other nodes had for the room.
    pub(super) async fn take_post(&mut self, post: Post) {
        let Post {
            told,
            passing,
            repair,
            held,
            overflowed,
            oldest,
        } = post;
        if held == Some(true) {
            self.tell_held(true);
        }
        if !told.is_empty() {
            self.tell(told).await;
        }
        if held == Some(false) {
            self.tell_held(false);
        }
        for passing in passing {
            match passing {
                Passing::Typing(frame) => self.state.ephemeral(&frame, None),
                Passing::Presence(frame) => self.comings.heard(&frame),
                Passing::Mention { user, frame } => self.mentioned_elsewhere(user, frame),
                Passing::Person {
                    author,
                    online,
                    last_seen,
                } => self.person(&author, online, last_seen),
            }
        }
        if let Some(after) = repair {
            self.repairs.want(Why::Asked, after);
        }
        if let Some(oldest) = oldest.filter(|_| overflowed) {
            let before = oldest.timestamp().minus(Duration::from_millis(1));
            self.repairs.want(Why::Dropped, EventId::floor_of(before));
        }
        self.begin_repair();
    }

    pub(super) fn tell_held(&mut self, held: bool) {
        if self.held == held {
            return;
        }
        self.held = held;
        let room = self.state.room();
        let frame = text_frame(&to_json(&Outbound::Degraded {
            room: &room.label,
            room_id: room.id,
            degraded: held,
        }));
        for link in self.state.links() {
            let _ = link.answer(frame.clone());
        }
    }

    /// Begins to read the room again, if that is owed.
    pub(super) fn begin_repair(&mut self) {
        let Some(after) = self.repairs.begin() else { return };
        self.read_repair(after);
    }

    fn read_repair(&mut self, after: EventId) {
        if let Some((cluster, _)) = &self.cluster {
            cluster.counts().repairs.add(1);
            self.read_repair_page(after);
        }
    }

    fn read_repair_page(&mut self, after: EventId) {
        let Some((cluster, _)) = &self.cluster else { return };
        let (cluster, store, room) = (cluster.clone(), self.hub.store(), self.room.id);
        self.steps.push(Box::pin(async move {
            let _permit = cluster.repairs().acquire().await;
            Step::Repaired {
                after,
                events: store.events(room, after, limits::REPAIR_PAGE).await,
            }
        }));
    }

    /// A page of a repair has come.
    pub(super) async fn repaired(&mut self, after: EventId, events: store::Result<Vec<Event>>) {
        let Some((cluster, _)) = self.cluster.clone() else {
            return;
        };
        let Next { ended, read } = match events {
            Ok(events) => {
                self.tell_repaired(&events).await;
                let whole = events.len() < limits::REPAIR_PAGE;
                let last = events.last().map_or(after, |event| event.id);
                if !whole {
                    return self.read_repair_page(last);
                }
                self.repairs.whole()
            }
            Err(error) => {
                cluster.counts().repairs_failed.add(1);
                self.untold.unreadable();
                tracing::warn!(%error, room = %self.room.id, "what may be missing in a room can't be read");
                self.repairs.failed()
            }
        };
        if read.is_none() {
            self.untold.looked();
        }
        if let Some(done) = ended {
            let room = self.room.id;
            self.hub.doubt(Input::Repaired { room, done });
        }
        if let Some(after) = read {
            self.read_repair(after);
        }
    }

    /// Tells what a repair read and nobody here was told.
    async fn tell_repaired(&mut self, events: &[Event]) {
        let Some((cluster, _)) = self.cluster.clone() else {
            return;
        };
        let fresh: Vec<&Event> = {
            let mut doubt = cluster.doubt();
            let room = self.room.id;
            let is_fresh = |event: &&Event| {
                let late = match &event.kind {
                    EventKind::Late(message) => Some(message.id),
                    _ => None,
                };
                doubt.fresh(room, event.id, late) || self.state.is_news(event.id)
            };
            events.iter().filter(is_fresh).collect()
        };
        let told: Vec<_> = fresh.into_iter().map(|event| self.state.told_of(event)).collect();
        let events = self.tell(told).await;
        cluster.counts().repaired.add(events as u64);
    }

    /// Whatever is read for those who join or are behind may hold what nobody here was told yet.
    pub(super) async fn tell_news(&mut self, events: &[Event]) {
        let Some((cluster, _)) = self.cluster.clone() else {
            return;
        };
        let told = self.state.news_among(events);
        if told.is_empty() || self.held {
            return;
        }
        {
            let mut doubt = cluster.doubt();
            for event in &told {
                let _ = doubt.fresh(self.room.id, event.id(), event.late());
            }
        }
        self.tell(told).await;
    }

    /// What was read of the room's history, for those who join. In a room that is held no news is told, and so it may
    /// not pass for told either: the repair that ends the hold has to find it fresh.
    pub(super) async fn take_history(&mut self, mut events: Vec<Event>, after: EventId) {
        if self.held {
            self.state.keep_known(&mut events);
        }
        self.tell_news(&events).await;
        self.note_read(&events);
        self.state.extend_back(&events, after);
    }

    /// The same for the newest messages.
    pub(super) async fn take_page(&mut self, page: Page, newest: Option<EventId>) {
        let count = page.messages.len();
        let mut events: Vec<Event> = page.messages.into_iter().map(message_event).collect();
        if self.held {
            self.state.keep_known(&mut events);
        }
        self.tell_news(&events).await;
        let whole = !page.has_more && events.len() == count;
        let messages = events.into_iter().filter_map(|event| match event.kind {
            EventKind::Message(message) => Some(message),
            EventKind::Late(_) | EventKind::Edited(_) | EventKind::Deleted { .. } => None,
        });
        self.state.prime(&messages.collect::<Vec<_>>(), whole, newest);
    }

    /// Notes what was read of the room's history as told: a repair need not tell it.
    fn note_read(&self, events: &[Event]) {
        let Some((cluster, _)) = &self.cluster else { return };
        let mut doubt = cluster.doubt();
        for event in events {
            let late = match &event.kind {
                EventKind::Late(message) => Some(message.id),
                _ => None,
            };
            let _ = doubt.fresh(self.room.id, event.id, late);
        }
    }

    /// Brings the room's floor up to date: how far back a reader that falls behind from now on has to read.
    pub(super) fn look_at_floor(&mut self) {
        if let Some((cluster, mailbox)) = &self.cluster
            && self.attached == Attached::Yes
        {
            // What waits, or was dropped and is not read yet, was not told: the floor stays below it.
            let waiting = least(mailbox.oldest(), self.gated.oldest());
            let untold = least(waiting, self.repairs.dropped());
            let floor = cluster.floor(self.room.id);
            self.state
                .set_floor(untold.map_or(floor, |oldest| floor.min(oldest.timestamp())));
        }
    }
}

/// How many of the sweep's seconds lie between two looks at who is here.
pub(super) const ROSTER_TICKS: u64 = Duration::as_secs(&limits::ROSTER_INTERVAL);
