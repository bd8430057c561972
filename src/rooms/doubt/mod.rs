//! What this node may have missed, and its repair: one state machine for a node, without clock or I/O.
//!
//! The channel layer loses events. Each durable event carries its publisher's number for the room, and each node tells
//! once a second which numbers it gave ([`StatusFrame`]). From these, the leases and what the layer reports, the
//! machine knows when something may be missing, and has the room read again from the store.
//!
//! What holds, whatever is lost (the tests with faults attack it):
//! - An event is delivered once: its id is in the room's seen ids from then on, wherever it came from.
//! - The events of one publisher in one room are delivered in the order of its numbers: what comes after a hole waits
//!   until the hole is filled or repaired.
//! - A publisher's *mark* is its time up to which everything was heard without a hole. It moves only with a frame that
//!   follows on the ones before it, when every number that this frame told of has arrived or was repaired.
//! - A room's *floor*, while it is owed a repair, is never later than the oldest mark in doubt, nor than the start of
//!   the last repair that succeeded: everything that became durable before it was told. A repair reads from the floor
//!   less the span, since an id may be that much older than the moment at which its event became durable.
//! - A reply waits until what it answers was told: where that has not arrived, the room is repaired first.
//! - A write of our own whose outcome nobody knows takes a number that is never published, so that the others, as this
//!   node does, read the room again.
//! - A doubt ends with one more repair that begins after it has ended. A room that is owed a repair for 10 s is held.
//!
//! Times of other nodes are compared in the cluster's time ([`clocks`]), so a step of our own clock does no harm.
//! The parts: [`hearing`] (frames and events come in), [`judging`] (doubts, repairs, holds), [`publisher`] (numbers,
//! marks), [`room`] (floor, repair), [`seen`], [`own`] (our numbers, our frames).

mod clocks;
mod frame;
mod hearing;
mod judging;
mod own;
mod publisher;
mod room;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::frame::{Heard, InvalidFrame, StatusFrame, Wrote};
pub use self::own::{Condition, Number};

use self::clocks::Clocks;
use self::hearing::note;
use self::own::Own;
use self::publisher::Publisher;
use self::room::Room;
use super::counters::Times;
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
    /// The message that it answers. It is durable, since its own node has found it in the store.
    pub cause: Option<EventId>,
    /// What is to be delivered.
    pub event: E,
}

/// A durable event that has to be read from the store: what can be read of its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
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
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<E> {
    /// A status frame arrived.
    Frame(StatusFrame),
    /// A durable event arrived.
    Event(Arrived<E>),
    /// A durable event arrived of which only this can be read: a newer build published it.
    Numbered(Numbered),
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
        /// What the clock of the log's server showed meanwhile.
        time: Option<Timestamp>,
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
    /// Tell the room's members `degraded`, and refuse sends to it. Nothing but what repairs read is delivered in it from
    /// now on.
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
    /// A reply has come to a message that was not told.
    Reply,
    /// A write of our own may have been stored, or not.
    Unsure,
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
    pub arrivals: bool,
    pub causes: bool,
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
            arrivals: true,
            causes: true,
        }
    }
}

/// A missing number.
#[derive(Debug, Clone, Copy)]
struct Hole {
    since: Duration,
    /// It brought its room into doubt.
    doubted: bool,
}

impl Hole {
    const fn since(now: Now) -> Self {
        Self {
            since: now.elapsed,
            doubted: false,
        }
    }
}

/// The machine of one node. `E` is what is to be delivered.
#[derive(Debug)]
pub struct Doubt<E> {
    own: Own,
    clocks: Clocks,
    began: Duration,
    publishers: BTreeMap<BootId, Publisher<E>>,
    rooms: BTreeMap<RoomId, Room>,
    /// Lines with a hole.
    holes: BTreeMap<(BootId, RoomId), Hole>,
    /// When the last reading of the leases began, and the same in the cluster's time.
    reading: Option<(Duration, Timestamp)>,
    /// Publishers in doubt.
    doubting: usize,
    /// A repair may be due.
    pump: bool,
    causes: BTreeMap<Cause, u64>,
    /// Rooms' doubts that repairs have ended, by what began them.
    settled: BTreeMap<Cause, u64>,
    repair_times: Times,
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
            publishers: BTreeMap::new(),
            rooms: BTreeMap::new(),
            holes: BTreeMap::new(),
            reading: None,
            doubting: 0,
            pump: false,
            causes: BTreeMap::new(),
            settled: BTreeMap::new(),
            repair_times: Times::default(),
            mechanisms: Mechanisms::default(),
        }
    }

    #[doc(hidden)]
    pub const fn switch(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
    }

    pub(super) const fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// Takes what happened; puts what is to be done at the end of `actions`.
    pub fn handle(&mut self, input: Input<E>, now: Now, actions: &mut Vec<Action<E>>) {
        match input {
            Input::Frame(frame) => self.frame_arrived(&frame, now),
            Input::Event(arrived) => self.event_arrived(arrived, now, actions),
            Input::Numbered(numbered) => self.number_arrived(numbered, now, actions),
            Input::Activated(room) => self.activated(room, now),
            Input::Deactivated(room) => self.deactivated(room),
            Input::Lost => self.lost(now),
            Input::Leases { began, holders, time } => {
                if let Some(time) = time {
                    self.clocks.asked(began, time, now);
                }
                self.leases(began, &holders, now);
            }
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
        // Not before its id was made: our clock may have been set back since.
        let number = self.own.number(room, now.wall.max(id.timestamp()));
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

    /// A write of our own failed without telling whether it is stored: this node reads the room again, and a number that
    /// nobody publishes has the others do so too.
    pub fn unsure(&mut self, room: RoomId, now: Now) {
        let _ = self.own.number(room, now.wall);
        let mark = self.clocks.cluster(now.elapsed);
        if let Some(active) = self.rooms.get_mut(&room) {
            *self.causes.entry(Cause::Unsure).or_default() += 1;
            active.doubt(mark, &self.clocks, Cause::Unsure, now);
        }
    }

    /// Something was read from the store: whether it is to be delivered to the room's members. It counts as told from
    /// now on. In a room that is not active there is nobody to tell.
    pub fn fresh(&mut self, room: RoomId, id: EventId, late: Option<EventId>) -> bool {
        let mechanisms = self.mechanisms;
        self.rooms
            .get_mut(&room)
            .is_some_and(|room| note(room, id, late, mechanisms))
    }

    /// Up to which time this node has seen all of a room, in the cluster's time.
    #[must_use]
    pub fn floor(&self, room: RoomId, now: Now) -> Timestamp {
        let at = self.clocks.cluster(now.elapsed);
        let floor = self.rooms.get(&room).and_then(Room::floor);
        floor.map_or(at, |floor| floor.min(at))
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
        let frame = self.own.frame(now.wall, heard_by_all, peers, condition);
        self.clocks.told(frame.number, now);
        frame
    }

    /// Whether this node's clock may give ids now.
    #[must_use]
    pub fn clock(&self, now: Now) -> ClockCheck {
        if let Some(off) = self.clocks.off(now) {
            return ClockCheck::Off(off);
        }
        // Others are there, and none was ever heard: this node is cut off, and its clock may be anything.
        let others = self.publishers.values().any(|publisher| publisher.gone.is_none());
        let heard = self.publishers.values().any(|publisher| publisher.last.is_some());
        if others && !heard {
            return ClockCheck::Unknown;
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

    /// How many doubts of rooms were ended by repairs, by what had begun them.
    #[must_use]
    pub const fn settled(&self) -> &BTreeMap<Cause, u64> {
        &self.settled
    }

    /// For how long rooms lacked a repair until one had read everything.
    #[must_use]
    pub const fn repair_times(&self) -> &Times {
        &self.repair_times
    }

    /// How far our wall clock is before the cluster's time, in milliseconds; less than 0 is behind it.
    #[must_use]
    pub fn clock_offset(&self, now: Now) -> i64 {
        self.clocks.offset(now)
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
}
