//! What this node may have missed, and its repair: one state machine for a node, without clock or I/O.
//!
//! The channel layer loses events. Each durable event carries its publisher's number for the room, and each node tells
//! once a second which numbers it gave ([`StatusFrame`]). From these, the leases and what the layer reports, the
//! machine knows when something may be missing, and has the room read again from the store.
//!
//! What holds, whatever is lost (the simulation attacks it):
//! - An event is delivered once: its id is in the room's seen ids from then on, wherever it came from.
//! - The events of one publisher in one room are delivered in the order of its numbers: what comes after a hole waits
//!   until the hole is filled or repaired.
//! - A publisher's *mark* is its time up to which everything was heard without a hole. It moves only with a frame that
//!   follows on the ones before it, when every number that this frame told of has arrived or was repaired.
//! - A room's *floor*, while it is owed a repair, is never later than the oldest mark in doubt, nor than the start of
//!   the last repair that succeeded: everything that became durable before it was told. A repair reads from the floor
//!   less the span, since an id may be that much older than the moment at which its event became durable.
//! - A doubt ends with one more repair that begins after it has ended. A room that is owed a repair for 10 s is held.
//!
//! Times of other nodes are compared in the cluster's time ([`clocks`]), so a step of our own clock does no harm.
//! The parts: [`publisher`] (numbers, marks), [`room`] (floor, repair), [`seen`], [`own`] (our numbers, our frames).

mod clocks;
mod frame;
mod own;
mod publisher;
mod room;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub use self::frame::{Heard, InvalidFrame, StatusFrame, Wrote};
pub use self::own::{Condition, Number};

use self::clocks::Clocks;
use self::own::Own;
use self::publisher::{LastFrame, Line, Publisher};
use self::room::Room;
use crate::limits;
use crate::model::{BootId, EventId, RoomId, Timestamp};

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time passed since any fixed moment, pauses of the process and of the machine included (boot time).
    pub elapsed: Duration,
    /// The wall clock.
    pub wall: Timestamp,
}

/// A durable event that came over the channel layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived<E> {
    /// Its room.
    pub room: RoomId,
    /// Who published it.
    pub boot: BootId,
    /// Its number.
    pub number: u64,
    /// When the number before it was given; 0 where there was none.
    pub previous: Timestamp,
    /// Its position.
    pub id: EventId,
    /// Of a late event: the message that it carries. Who was told that message is not told the event.
    pub late: Option<EventId>,
    /// What is to be delivered.
    pub event: E,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<E> {
    /// A status frame arrived.
    Frame(StatusFrame),
    /// A durable event arrived.
    Event(Arrived<E>),
    /// A room has its first local member. Events for it arrive from before this on (`join` of the layer has returned),
    /// and whatever is told of its history is read after this.
    Activated(RoomId),
    /// A room has no local members any more.
    Deactivated(RoomId),
    /// The channel layer dropped events, or its connection was interrupted or is back.
    Lost,
    /// A reading of the control log has returned: who holds a lease.
    Leases {
        /// When the reading began.
        began: Duration,
        /// The processes with a lease, this one included.
        holders: Vec<BootId>,
    },
    /// A repair has returned; what it read and [`Doubt::fresh`] did not know was delivered already.
    Repaired {
        /// The room.
        room: RoomId,
        /// Everything that was asked for was read.
        done: bool,
    },
    /// Time has passed. To be given every [`limits::DOUBT_TICK`].
    Tick,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<E> {
    /// Deliver this to the room's members on this node.
    Deliver {
        /// The room.
        room: RoomId,
        /// As it was given.
        event: E,
    },
    /// Read all messages and events after this id from the store, ascending; deliver what [`Doubt::fresh`] does not
    /// know; then say [`Input::Repaired`]. Repairs come in the order in which they are to be begun.
    Repair {
        /// The room.
        room: RoomId,
        /// Exclusive.
        after: EventId,
    },
    /// Tell the room's members `degraded`. Nothing but what repairs read is delivered in it from now on.
    Hold {
        /// The room.
        room: RoomId,
    },
    /// It is whole again.
    Release {
        /// The room.
        room: RoomId,
    },
}

/// Why something is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A publisher's frames are silent, or it was never heard.
    Silence,
    /// A publisher's frames do not follow on those before, or its first one does not begin at its beginning.
    Gap,
    /// A number is missing.
    Hole,
    /// The first number seen of a publisher in a room may not have been its first since the room became active.
    FirstSeen,
    /// The channel layer reported a loss or an interruption.
    Layer,
    /// The leases could not be read for so long that a publisher may have come and gone.
    Leases,
}

/// What this node knows of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockCheck {
    /// Not enough was heard to compare it: send nothing yet.
    Unknown,
    /// Near enough to the cluster's time.
    Good,
    /// Off by this much: refuse sends, turn unready.
    Off(Duration),
}

/// The parts of the machine, for the tests that show what each is for: all are on, and nothing but a test can switch
/// them off.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Mechanisms {
    pub numbers: bool,
    pub frames: bool,
    pub reconnect: bool,
    pub silence: bool,
    pub floors: bool,
    pub hold: bool,
    pub span: bool,
    pub seen: bool,
}

impl Default for Mechanisms {
    fn default() -> Self {
        Self {
            numbers: true,
            frames: true,
            reconnect: true,
            silence: true,
            floors: true,
            hold: true,
            span: true,
            seen: true,
        }
    }
}

/// The machine of one node. `E` is what is to be delivered.
#[derive(Debug)]
pub struct Doubt<E> {
    own: Own,
    clocks: Clocks,
    began: Duration,
    publishers: HashMap<BootId, Publisher<E>>,
    rooms: HashMap<RoomId, Room>,
    /// Lines with a hole, and since when.
    holes: BTreeMap<(BootId, RoomId), Duration>,
    /// When the last reading of the leases began, and the same in the cluster's time.
    reading: Option<(Duration, Timestamp)>,
    /// Publishers in doubt.
    doubting: usize,
    /// A repair may be due.
    pump: bool,
    causes: BTreeMap<Cause, u64>,
    mechanisms: Mechanisms,
}

impl<E> Doubt<E> {
    /// A node that begins now.
    #[must_use]
    pub fn new(own: BootId, now: Now) -> Self {
        Self {
            own: Own::new(own, now.wall),
            clocks: Clocks::new(now),
            began: now.elapsed,
            publishers: HashMap::new(),
            rooms: HashMap::new(),
            holes: BTreeMap::new(),
            reading: None,
            doubting: 0,
            pump: false,
            causes: BTreeMap::new(),
            mechanisms: Mechanisms::default(),
        }
    }

    #[doc(hidden)]
    pub const fn switch(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
    }

    /// Takes what happened; puts what is to be done at the end of `actions`.
    pub fn handle(&mut self, input: Input<E>, now: Now, actions: &mut Vec<Action<E>>) {
        match input {
            Input::Frame(frame) => self.frame_arrived(&frame, now),
            Input::Event(arrived) => self.event_arrived(arrived, now, actions),
            Input::Activated(room) => self.activated(room, now),
            Input::Deactivated(room) => self.deactivated(room),
            Input::Lost => self.lost(now),
            Input::Leases { began, holders } => self.leases(began, &holders, now),
            Input::Repaired { room, done } => self.repaired(room, done, now, actions),
            Input::Tick => self.tick(now, actions),
        }
        if std::mem::take(&mut self.pump) {
            self.begin_repairs(now, actions);
        }
    }

    /// An event of our own became durable: numbers it, and notes it as told. The second answer says whether to deliver
    /// it on this node: not while the room is held, since a repair will.
    pub fn publish(&mut self, room: RoomId, id: EventId, late: Option<EventId>, now: Now) -> (Number, bool) {
        let number = self.own.number(room, now.wall);
        let deliver = match self.rooms.get_mut(&room) {
            Some(active) => {
                active.active = now.elapsed;
                if active.held() {
                    active.request(now);
                    false
                } else {
                    note(active, id, late, self.mechanisms)
                }
            }
            None => true,
        };
        (number, deliver)
    }

    /// Something was read from the store: whether it is to be delivered to the room's members. It counts as told from
    /// now on. In a room that is not active there is nobody to tell.
    pub fn fresh(&mut self, room: RoomId, id: EventId, late: Option<EventId>) -> bool {
        let mechanisms = self.mechanisms;
        self.rooms
            .get_mut(&room)
            .is_some_and(|room| note(room, id, late, mechanisms))
    }

    /// This node's next frame: to be broadcast every [`limits::STATUS_INTERVAL`], and as a goodbye at the end.
    pub fn next_frame(&mut self, condition: Condition, now: Now) -> StatusFrame {
        let counted = || self.publishers.values().filter(|publisher| publisher.gone.is_none());
        let heard_by_all = counted().map(|publisher| publisher.echo).min();
        let lately = self.publishers.iter().filter_map(|(boot, publisher)| {
            let last = publisher.last.filter(|_| !publisher.is_silent(now.elapsed))?;
            Some(Heard {
                boot: *boot,
                frame: last.number,
            })
        });
        let peers = lately.take(limits::STATUS_PEERS_MAX).collect();
        self.own.frame(now.wall, heard_by_all, peers, condition)
    }

    /// Whether this node's clock may give ids now.
    #[must_use]
    pub fn clock(&self, now: Now) -> ClockCheck {
        if let Some(off) = self.clocks.off(now) {
            return ClockCheck::Off(off);
        }
        let all_heard = self.reading.is_some() && self.publishers.values().all(|publisher| publisher.last.is_some());
        if all_heard || now.elapsed.saturating_sub(self.began) > limits::STATUS_SILENCE {
            ClockCheck::Good
        } else {
            ClockCheck::Unknown
        }
    }

    /// How often something came into doubt, by cause.
    #[must_use]
    pub const fn causes(&self) -> &BTreeMap<Cause, u64> {
        &self.causes
    }

    /// Publishers that are in doubt now.
    #[must_use]
    pub const fn doubting(&self) -> usize {
        self.doubting
    }

    /// Rooms that are held now.
    #[must_use]
    pub fn held_rooms(&self) -> usize {
        self.rooms.values().filter(|room| room.held()).count()
    }

    fn frame_arrived(&mut self, frame: &StatusFrame, now: Now) {
        if frame.boot == self.own.boot() || !self.mechanisms.frames {
            return;
        }
        self.clocks.heard(frame.boot, frame.clock, now);
        let mark = self.last_reading();
        self.name_peers(frame, mark, now);
        let publisher = self
            .publishers
            .entry(frame.boot)
            .or_insert_with(|| Publisher::new(now.elapsed, mark.max(frame.started)));
        let heard_up_to = publisher.last.map_or(0, |last| last.number);
        if frame.number <= heard_up_to {
            return;
        }
        let follows = heard_up_to >= frame.since;
        publisher.last = Some(LastFrame {
            number: frame.number,
            clock: frame.clock,
            at: now.elapsed,
        });
        (publisher.gone, publisher.absent, publisher.suspect) = (None, false, false);
        if let Some(echo) = frame.peers.iter().find(|peer| peer.boot == self.own.boot()) {
            publisher.echo = publisher.echo.max(echo.frame);
        }
        if !follows {
            self.gap(frame.boot, now);
        }
        if self.mechanisms.numbers {
            self.numbers_told(frame, now);
        }
        if let Some(publisher) = self.publishers.get_mut(&frame.boot) {
            publisher.settle();
            if frame.goodbye {
                publisher.gone = Some(now.elapsed);
            }
        }
        self.judge(frame.boot, now);
    }

    /// Whom a peer hears, this node should hear too.
    fn name_peers(&mut self, frame: &StatusFrame, mark: Timestamp, now: Now) {
        for peer in frame.peers.iter().filter(|peer| peer.boot != self.own.boot()) {
            if self.publishers.len() >= limits::PUBLISHERS_MAX && !self.publishers.contains_key(&peer.boot) {
                continue;
            }
            let publisher = self
                .publishers
                .entry(peer.boot)
                .or_insert_with(|| Publisher::new(now.elapsed, mark));
            publisher.named = Some(now.elapsed);
        }
    }

    /// A publisher wrote to rooms that it did not tell of: nothing is known of its numbers any more.
    fn gap(&mut self, boot: BootId, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&boot) else {
            return;
        };
        publisher.lines.clear();
        publisher.open = 0;
        self.holes.retain(|(of, _), _| *of != boot);
        let mark = publisher.mark;
        self.doubt_all(mark, Cause::Gap, now);
    }

    fn numbers_told(&mut self, frame: &StatusFrame, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&frame.boot) else {
            return;
        };
        for wrote in &frame.rooms {
            let Some(room) = self.rooms.get(&wrote.room) else {
                continue;
            };
            let given = frame.clock.minus(Duration::from_millis(wrote.age_ms.into()));
            let covered = given.plus(limits::CLOCK_DIFFERENCE_MAX) < room.covered();
            let line = publisher.lines.entry(wrote.room).or_insert_with(|| {
                // The number itself is covered then, so the next one follows.
                let first = if covered { wrote.number + 1 } else { wrote.number };
                Line::new(first, covered)
            });
            line.told(wrote.number);
            if line.has_hole() && !self.holes.contains_key(&(frame.boot, wrote.room)) {
                self.holes.insert((frame.boot, wrote.room), now.elapsed);
                publisher.open += 1;
            }
        }
    }

    fn event_arrived(&mut self, arrived: Arrived<E>, now: Now, actions: &mut Vec<Action<E>>) {
        let (boot, room_id) = (arrived.boot, arrived.room);
        let mechanisms = self.mechanisms;
        let mark = self.last_reading();
        let Some(room) = self.rooms.get_mut(&room_id).filter(|_| boot != self.own.boot()) else {
            return;
        };
        room.active = now.elapsed;
        if !mechanisms.numbers {
            deliver(room, arrived, mechanisms, now, actions);
            return;
        }
        if self.publishers.len() >= limits::PUBLISHERS_MAX && !self.publishers.contains_key(&boot) {
            room.doubt(mark, now);
            self.pump = true;
            return;
        }
        let publisher = self
            .publishers
            .entry(boot)
            .or_insert_with(|| Publisher::new(now.elapsed, mark));
        let line = publisher.lines.entry(room_id).or_insert_with(|| {
            let covered = arrived.previous.plus(limits::CLOCK_DIFFERENCE_MAX) < room.covered();
            Line::new(arrived.number, covered)
        });
        let kept = line.arrive(arrived, |ready| deliver(room, ready, mechanisms, now, actions));
        let (unknown, hole) = (line.is_unknown(), line.has_hole());
        let before = self.holes.contains_key(&(boot, room_id));
        if unknown && !before {
            *self.causes.entry(Cause::FirstSeen).or_default() += 1;
        }
        if !kept || (unknown && !before) {
            room.doubt(publisher.mark, now);
            self.pump = true;
        }
        self.note_hole(boot, room_id, hole, now);
    }

    /// Keeps the list of holes and the publisher's mark in step with a line.
    fn note_hole(&mut self, boot: BootId, room: RoomId, hole: bool, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&boot) else {
            return;
        };
        match (hole, self.holes.contains_key(&(boot, room))) {
            (true, false) => {
                self.holes.insert((boot, room), now.elapsed);
                publisher.open += 1;
            }
            (false, true) => {
                self.holes.remove(&(boot, room));
                publisher.open = publisher.open.saturating_sub(1);
                publisher.settle();
            }
            _ => {}
        }
    }

    fn activated(&mut self, room: RoomId, now: Now) {
        let mut active = Room::new(now, self.clocks.cluster(now.elapsed));
        if self.doubting > 0 {
            active.enter_doubt(now);
        }
        self.deactivated(room);
        self.rooms.insert(room, active);
    }

    fn deactivated(&mut self, room: RoomId) {
        self.rooms.remove(&room);
        for (boot, publisher) in &mut self.publishers {
            publisher.lines.remove(&room);
            if self.holes.remove(&(*boot, room)).is_some() {
                publisher.open = publisher.open.saturating_sub(1);
            }
        }
    }

    fn lost(&mut self, now: Now) {
        if !self.mechanisms.reconnect {
            return;
        }
        let boots: Vec<BootId> = self.publishers.keys().copied().collect();
        for boot in boots {
            if let Some(publisher) = self.publishers.get_mut(&boot).filter(|p| p.gone.is_none()) {
                publisher.suspect = true;
                self.judge(boot, now);
            }
        }
        // Those in doubt already give no new reason, but what was lost just now has to be read too.
        self.request_all(now);
    }

    fn leases(&mut self, began: Duration, holders: &[BootId], now: Now) {
        let before = self.reading;
        let began_at = self.clocks.cluster(began);
        self.reading = Some((began, began_at));
        let mark = before.map_or(Timestamp::default(), |(_, at)| at);
        for boot in holders.iter().filter(|boot| **boot != self.own.boot()) {
            if self.publishers.len() < limits::PUBLISHERS_MAX {
                self.publishers
                    .entry(*boot)
                    .or_insert_with(|| Publisher::new(now.elapsed, mark));
            }
        }
        for (boot, publisher) in &mut self.publishers {
            let leased = holders.contains(boot);
            publisher.absent = !leased && (publisher.absent || began > publisher.heard());
            if leased && publisher.gone.is_some() && publisher.last.is_none_or(|last| last.at < began) {
                // It was away and has come back, or its goodbye did not end it.
                (publisher.gone, publisher.counted) = (None, now.elapsed);
            }
        }
        if before.is_some_and(|(at, _)| began.saturating_sub(at) > limits::LEASE_LIFE) {
            self.doubt_all(mark, Cause::Leases, now);
        }
    }

    fn repaired(&mut self, room_id: RoomId, done: bool, now: Now, actions: &mut Vec<Action<E>>) {
        let mechanisms = self.mechanisms;
        let lasting = self.doubting > 0;
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        if room.finish(done, lasting, now) {
            actions.push(Action::Release { room: room_id });
        }
        let mut holes = Vec::new();
        for (boot, publisher) in &mut self.publishers {
            if let Some(line) = publisher.lines.get_mut(&room_id) {
                line.end_repair(done, |ready| deliver(room, ready, mechanisms, now, actions));
                holes.push((*boot, line.has_hole()));
            }
        }
        for (boot, hole) in holes {
            // A hole that opened after the repair had begun gets its own time to be filled.
            if hole && done {
                self.holes.insert((boot, room_id), now.elapsed);
            }
            self.note_hole(boot, room_id, hole, now);
        }
        self.pump = true;
    }

    fn tick(&mut self, now: Now, actions: &mut Vec<Action<E>>) {
        self.clocks.compare(now);
        let boots: Vec<BootId> = self.publishers.keys().copied().collect();
        for boot in boots {
            self.judge(boot, now);
        }
        self.publishers.retain(|_, publisher| {
            publisher
                .gone
                .is_none_or(|at| now.elapsed.saturating_sub(at) <= limits::MARK_KEPT)
        });
        self.overdue_holes(now);
        let horizon = self.horizon(now);
        for (id, room) in &mut self.rooms {
            if self.mechanisms.hold && room.check_held(now) {
                actions.push(Action::Hold { room: *id });
            }
            let horizon = room.floor().map_or(horizon, |floor| horizon.min(floor));
            room.seen.forget_before(horizon.minus(limits::CATCH_UP_SPAN));
        }
        self.pump = true;
    }

    /// No room's floor will ever be earlier than this, or than it is now.
    fn horizon(&self, now: Now) -> Timestamp {
        let counted = self.publishers.values().filter(|publisher| publisher.gone.is_none());
        let marks = counted.map(|publisher| publisher.mark);
        marks
            .chain(std::iter::once(self.last_reading()))
            .fold(self.clocks.cluster(now.elapsed), Ord::min)
    }

    fn overdue_holes(&mut self, now: Now) {
        for ((boot, room), since) in &mut self.holes {
            if now.elapsed.saturating_sub(*since) <= limits::HOLE_PATIENCE {
                continue;
            }
            let (Some(publisher), Some(active)) = (self.publishers.get(boot), self.rooms.get_mut(room)) else {
                continue;
            };
            if active.floor().is_none() {
                *self.causes.entry(Cause::Hole).or_default() += 1;
                active.doubt(publisher.mark, now);
            }
        }
    }

    /// Looks whether a publisher is in doubt or gone, and acts on a change.
    fn judge(&mut self, boot: BootId, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&boot) else {
            return;
        };
        let silent = publisher.is_silent(now.elapsed) && self.mechanisms.silence && self.mechanisms.frames;
        if silent && publisher.absent && !publisher.is_named(now.elapsed) && publisher.gone.is_none() {
            publisher.gone = Some(now.elapsed);
        }
        let cause = match publisher.gone {
            Some(_) => None,
            None if publisher.suspect => Some(Cause::Layer),
            None if silent => Some(Cause::Silence),
            None => None,
        };
        let before = std::mem::replace(&mut publisher.doubt, cause);
        let mark = publisher.mark;
        match (before, cause) {
            (None, Some(cause)) => {
                self.doubting += 1;
                self.doubt_all(mark, cause, now);
            }
            (Some(_), None) => {
                self.doubting -= 1;
                if publisher.gone.is_some()
                    && let Some((_, at)) = self.reading
                {
                    // Whatever it still published is owed to every room already; later marks begin here.
                    publisher.mark = mark.max(at);
                }
                self.request_all(now);
            }
            _ => {}
        }
    }

    fn doubt_all(&mut self, mark: Timestamp, cause: Cause, now: Now) {
        if !self.rooms.is_empty() {
            *self.causes.entry(cause).or_default() += 1;
        }
        for room in self.rooms.values_mut() {
            room.doubt(mark, now);
        }
        self.pump = true;
    }

    /// Every room that is owed a repair gets one that begins after now.
    fn request_all(&mut self, now: Now) {
        for room in self.rooms.values_mut().filter(|room| room.floor().is_some()) {
            room.request(now);
        }
        self.pump = true;
    }

    fn begin_repairs(&mut self, now: Now, actions: &mut Vec<Action<E>>) {
        let at = self.clocks.cluster(now.elapsed);
        let mut begun = Vec::new();
        for (id, room) in &mut self.rooms {
            if let Some(after) = room.begin(now, at, self.mechanisms) {
                begun.push((room.active, *id, after));
            }
        }
        begun.sort_unstable_by(|a, b| b.cmp(a));
        for (_, room, after) in begun {
            for publisher in self.publishers.values_mut() {
                if let Some(line) = publisher.lines.get_mut(&room) {
                    line.begin_repair();
                }
            }
            actions.push(Action::Repair { room, after });
        }
    }

    /// When the last reading of the leases began: who was not in it published nothing before.
    fn last_reading(&self) -> Timestamp {
        self.reading.map_or(Timestamp::default(), |(_, at)| at)
    }
}

/// Notes what is about to be told; answers whether it is new.
fn note(room: &mut Room, id: EventId, late: Option<EventId>, mechanisms: Mechanisms) -> bool {
    let told = late.is_some_and(|message| !room.seen.insert(message));
    let new = room.seen.insert(id) && !told;
    new || !mechanisms.seen
}

fn deliver<E>(room: &mut Room, arrived: Arrived<E>, mechanisms: Mechanisms, now: Now, actions: &mut Vec<Action<E>>) {
    if room.held() {
        // A repair that begins after this reads it from the store.
        room.request(now);
    } else if note(room, arrived.id, arrived.late, mechanisms) {
        let Arrived { room, event, .. } = arrived;
        actions.push(Action::Deliver { room, event });
    }
}
