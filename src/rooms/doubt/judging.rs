//! What follows from what was heard, and from what was not: who is in doubt, which rooms are repaired, which are held.

use std::time::Duration;

use super::hearing::deliver;
use super::publisher::Publisher;
use super::room::Room;
use super::{Action, Cause, Doubt, Hole, Now};
use crate::limits;
use crate::model::{BootId, RoomId, Timestamp};

impl<E> Doubt<E> {
    pub(super) fn activated(&mut self, room: RoomId, now: Now) {
        let mut active = Room::new(now);
        if self.doubting > 0 {
            active.enter_doubt(&self.clocks, now);
        }
        self.deactivated(room);
        self.rooms.insert(room, active);
    }

    pub(super) fn deactivated(&mut self, room: RoomId) {
        self.rooms.remove(&room);
        for (boot, publisher) in &mut self.publishers {
            publisher.lines.remove(&room);
            if self.holes.remove(&(*boot, room)).is_some() {
                publisher.open = publisher.open.saturating_sub(1);
            }
        }
    }

    pub(super) fn lost(&mut self, now: Now) {
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

    pub(super) fn leases(&mut self, began: Duration, holders: &[BootId], now: Now) {
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
            // It was away and is back. The lease of one that said goodbye only has not run out yet.
            if leased && !publisher.left && publisher.last.is_none_or(|last| last.at < began) {
                publisher.gone = None;
            }
        }
        if before.is_some_and(|(at, _)| began.saturating_sub(at) > limits::LEASE_LIFE) {
            self.doubt_all(mark, Cause::Leases, now);
        }
    }

    pub(super) fn repaired(&mut self, room_id: RoomId, done: bool, now: Now, actions: &mut Vec<Action<E>>) {
        let mechanisms = self.mechanisms;
        let lasting = self.doubting > 0;
        let Some(room) = self.rooms.get_mut(&room_id) else {
            return;
        };
        if let Some(lacked) = room.lacking(now).filter(|_| done) {
            self.repair_times.note(lacked);
        }
        if room.finish(done, lasting, &self.clocks, now) {
            actions.push(Action::Release { room: room_id });
        }
        if let Some(cause) = room.settled() {
            *self.settled.entry(cause).or_default() += 1;
        }
        let mut lines = Vec::new();
        for (boot, publisher) in &mut self.publishers {
            if let Some(line) = publisher.lines.get_mut(&room_id) {
                let held = room.held();
                line.end_repair(done, held, |ready| deliver(room, ready, mechanisms, actions));
                lines.push((*boot, line.has_hole()));
            }
        }
        for (boot, open) in lines {
            // A hole that opened after the repair had begun gets its own time to be filled.
            if open && done && self.holes.contains_key(&(boot, room_id)) {
                self.holes.insert((boot, room_id), Hole::since(now));
            }
            self.note_hole(boot, room_id, open, now);
        }
        self.pump = true;
    }

    pub(super) fn tick(&mut self, now: Now, actions: &mut Vec<Action<E>>) {
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
    pub(super) fn horizon(&self, now: Now) -> Timestamp {
        let counted = self.publishers.values().filter(|publisher| publisher.gone.is_none());
        let marks = counted.map(|publisher| publisher.mark);
        marks
            .chain(std::iter::once(self.last_reading()))
            .fold(self.clocks.cluster(now.elapsed), Ord::min)
    }

    pub(super) fn overdue_holes(&mut self, now: Now) {
        for ((boot, room), hole) in &mut self.holes {
            if hole.doubted || now.elapsed.saturating_sub(hole.since) <= limits::HOLE_PATIENCE {
                continue;
            }
            let (Some(publisher), Some(active)) = (self.publishers.get(boot), self.rooms.get_mut(room)) else {
                continue;
            };
            // Once for each hole: a room that is owed a repair gets it again by itself.
            hole.doubted = true;
            *self.causes.entry(Cause::Hole).or_default() += 1;
            active.doubt(publisher.mark, &self.clocks, Cause::Hole, now);
        }
    }

    /// Looks whether a publisher is in doubt or gone, and acts on a change.
    pub(super) fn judge(&mut self, boot: BootId, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&boot) else {
            return;
        };
        let silent = publisher.is_silent(now.elapsed) && self.mechanisms.silence && self.mechanisms.frames;
        let ended = silent && publisher.absent && !publisher.is_named(now.elapsed) && publisher.gone.is_none();
        if ended {
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
            // Its goodbye was lost, or its lease was gone before its silence was noticed: what it said last may be too.
            (None, None) if ended => self.doubt_all(mark, Cause::Silence, now),
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

    pub(super) fn doubt_all(&mut self, mark: Timestamp, cause: Cause, now: Now) {
        if !self.rooms.is_empty() {
            *self.causes.entry(cause).or_default() += 1;
        }
        for room in self.rooms.values_mut() {
            room.doubt(mark, &self.clocks, cause, now);
        }
        self.pump = true;
    }

    /// Every room that is owed a repair gets one that begins after now.
    pub(super) fn request_all(&mut self, now: Now) {
        for room in self.rooms.values_mut().filter(|room| room.floor().is_some()) {
            room.request(now);
        }
        self.pump = true;
    }

    pub(super) fn begin_repairs(&mut self, now: Now, actions: &mut Vec<Action<E>>) {
        let mut begun = Vec::new();
        for (id, room) in &mut self.rooms {
            if let Some(after) = room.begin(now, &self.clocks, self.mechanisms) {
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
    pub(super) fn last_reading(&self) -> Timestamp {
        self.reading.map_or(Timestamp::default(), |(_, at)| at)
    }
}
