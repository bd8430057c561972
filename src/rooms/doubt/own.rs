//! What this node tells: its publish numbers, and its status frames.

use std::collections::{HashMap, VecDeque};

use super::frame::{Heard, StatusFrame, Wrote};
use crate::limits;
use crate::model::{BootId, RoomId, Timestamp};

/// The number of a publish, for the envelope's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The number.
    pub number: u64,
    /// When the number before it in this room was given; 0 where there was none.
    pub previous: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    number: u64,
    at: Timestamp,
    /// The last frame made before it.
    frame: u64,
}

/// What this node knows of itself for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// How far it has acted on the control log, as `Position::to_bytes` writes it.
    pub position: [u8; 16],
    /// It reaches the control log.
    pub reaches_log: bool,
    /// It reaches the store.
    pub reaches_store: bool,
    /// It leaves in order, and publishes nothing any more.
    pub goodbye: bool,
}

/// The numbers given, and the frames made.
#[derive(Debug)]
pub(super) struct Own {
    boot: BootId,
    started: Timestamp,
    /// The number of the last frame made.
    frames: u64,
    written: HashMap<RoomId, Written>,
    /// The rooms first written to after each of the last frames; the newest frame first.
    lately: VecDeque<Vec<RoomId>>,
    /// Above every number whose room was forgotten, and when the last of them was given.
    forgotten: (u64, Timestamp),
}

impl Own {
    pub(super) fn new(boot: BootId, started: Timestamp) -> Self {
        Self {
            boot,
            started,
            frames: 0,
            written: HashMap::new(),
            lately: VecDeque::from([Vec::new()]),
            forgotten: (0, Timestamp::from_millis(0)),
        }
    }

    pub(super) const fn boot(&self) -> BootId {
        self.boot
    }

    /// The next number in a room.
    pub(super) fn number(&mut self, room: RoomId, at: Timestamp) -> Number {
        if self.written.len() >= limits::PUBLISHED_ROOMS_MAX && !self.written.contains_key(&room) {
            self.forget();
        }
        let (last, previous) = match self.written.get(&room) {
            Some(written) => (written.number, written.at),
            None => self.forgotten,
        };
        let frame = self.frames;
        if self.written.get(&room).is_none_or(|written| written.frame != frame)
            && let Some(newest) = self.lately.front_mut()
        {
            newest.push(room);
        }
        let number = last + 1;
        self.written.insert(room, Written { number, at, frame });
        Number { number, previous }
    }

    /// Forgets the half of the rooms that was not written to for longest. Numbers there go on above all that were
    /// forgotten, so that none is given twice; who had heard the old ones sees a hole and repairs one room for nothing.
    fn forget(&mut self) {
        let mut times: Vec<Timestamp> = self.written.values().map(|written| written.at).collect();
        let middle = times.len() / 2;
        let (_, &mut limit, _) = times.select_nth_unstable(middle);
        let (mut number, mut at) = self.forgotten;
        self.written.retain(|_, written| {
            if written.at > limit {
                return true;
            }
            number = number.max(written.number);
            at = at.max(written.at);
            false
        });
        self.forgotten = (number, at);
        for rooms in &mut self.lately {
            rooms.retain(|room| self.written.contains_key(room));
        }
    }

    /// The next frame. `heard_by_all`: every peer that counts has heard our frames up to this one.
    pub(super) fn frame(
        &mut self,
        clock: Timestamp,
        heard_by_all: Option<u64>,
        peers: Vec<Heard>,
        condition: Condition,
    ) -> StatusFrame {
        // The rooms since the last three frames, or since what somebody has missed.
        let wanted = heard_by_all.unwrap_or(self.frames).min(self.frames.saturating_sub(2));
        let mut rooms = Vec::new();
        let mut since = self.frames + 1;
        for (back, written_after) in (0_u64..).zip(&self.lately) {
            let frame = self.frames.saturating_sub(back);
            if since <= wanted || rooms.len() + written_after.len() > limits::STATUS_ROOMS_MAX {
                break;
            }
            let newest = written_after.iter().filter_map(|room| {
                let written = self.written.get(room).filter(|written| written.frame == frame)?;
                Some(Wrote {
                    room: *room,
                    number: written.number,
                    age_ms: u32::try_from(clock.since(written.at).as_millis()).unwrap_or(u32::MAX),
                })
            });
            rooms.extend(newest);
            since = frame;
        }
        self.frames += 1;
        self.lately.push_front(Vec::new());
        self.lately.truncate(limits::STATUS_FRAMES_BACK);
        StatusFrame {
            boot: self.boot,
            number: self.frames,
            started: self.started,
            clock,
            position: condition.position,
            reaches_log: condition.reaches_log,
            reaches_store: condition.reaches_store,
            goodbye: condition.goodbye,
            since,
            peers,
            rooms,
        }
    }
}
