//! What is heard of other nodes: their frames and their events.

use std::time::Duration;

use super::publisher::{LastFrame, Line, Publisher};
use super::room::Room;
use super::{Action, Arrived, Cause, Doubt, Hole, Mechanisms, Now, Numbered, StatusFrame};
use crate::limits;
use crate::model::{BootId, EventId, RoomId, Timestamp};

impl<E> Doubt<E> {
    pub(super) fn frame_arrived(&mut self, frame: &StatusFrame, now: Now) {
        if frame.boot == self.own.boot() {
            return;
        }
        if self.publishers.len() >= limits::PUBLISHERS_MAX && !self.publishers.contains_key(&frame.boot) {
            return self.unknown_told(frame, now);
        }
        let own = self.own.boot();
        let echo = frame.peers.iter().find(|peer| peer.boot == own).map(|peer| peer.frame);
        self.clocks.heard(frame.boot, frame.clock, echo, now);
        let mark = self.last_reading();
        // A clock that is ahead must not make a mark that lies in the future.
        let heard_at = self.clocks.cluster(now.elapsed);
        self.name_peers(frame, mark, now);
        let publisher = self
            .publishers
            .entry(frame.boot)
            .or_insert_with(|| Publisher::new(now.elapsed, mark.max(frame.started.min(heard_at))));
        let heard_up_to = publisher.last.map_or(0, |last| last.number);
        if frame.number <= heard_up_to {
            return;
        }
        let follows = heard_up_to >= frame.since;
        publisher.last = Some(LastFrame {
            number: frame.number,
            clock: frame.clock.min(heard_at),
            at: now.elapsed,
        });
        (publisher.gone, publisher.left) = (None, frame.goodbye);
        (publisher.absent, publisher.suspect) = (false, false);
        if let Some(echo) = echo {
            publisher.echo = publisher.echo.max(echo);
        }
        if !follows && self.mechanisms.frames {
            self.gap(frame.boot, now);
        }
        if self.mechanisms.numbers && self.mechanisms.frames {
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

    /// A frame of one too many to keep account of: what it wrote to is read again, as it is for each event of it.
    fn unknown_told(&mut self, frame: &StatusFrame, now: Now) {
        let mark = self.last_reading();
        for wrote in &frame.rooms {
            if let Some(room) = self.rooms.get_mut(&wrote.room) {
                room.doubt(mark, &self.clocks, Cause::FirstSeen, now);
                self.pump = true;
            }
        }
    }

    /// Whom a peer hears, this node should hear too.
    pub(super) fn name_peers(&mut self, frame: &StatusFrame, mark: Timestamp, now: Now) {
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
    pub(super) fn gap(&mut self, boot: BootId, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&boot) else {
            return;
        };
        publisher.lines.clear();
        publisher.open = 0;
        self.holes.retain(|(of, _), _| *of != boot);
        let mark = publisher.mark;
        self.doubt_all(mark, Cause::Gap, now);
    }

    pub(super) fn numbers_told(&mut self, frame: &StatusFrame, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&frame.boot) else {
            return;
        };
        for wrote in &frame.rooms {
            let Some(room) = self.rooms.get(&wrote.room) else {
                continue;
            };
            let given = frame.clock.minus(Duration::from_millis(wrote.age_ms.into()));
            // A clock that was set back says nothing of how long ago that was.
            let told = frame.clock.plus(limits::CLOCK_DIFFERENCE_MAX) >= self.clocks.cluster(now.elapsed);
            let covered = told && given.plus(limits::CLOCK_DIFFERENCE_MAX) < self.clocks.cluster(room.covered());
            let line = publisher.lines.entry(wrote.room).or_insert_with(|| {
                // The number itself is covered then, so the next one follows.
                let first = if covered { wrote.number + 1 } else { wrote.number };
                Line::new(first, covered)
            });
            line.told(wrote.number);
            if line.has_hole() && !self.holes.contains_key(&(frame.boot, wrote.room)) {
                self.holes.insert((frame.boot, wrote.room), Hole::since(now));
                publisher.open += 1;
            }
        }
    }

    /// An event can't be read: unless it was told already, it is a hole from now on, so that the store is read for it. A
    /// hole has a little patience, so what many such events lack is read together.
    pub(super) fn number_arrived(&mut self, numbered: Numbered, now: Now, actions: &mut Vec<Action<E>>) {
        let Numbered {
            room: room_id,
            boot,
            number,
            previous,
            id,
        } = numbered;
        let mechanisms = self.mechanisms;
        let many = self.publishers.len() >= limits::PUBLISHERS_MAX && !self.publishers.contains_key(&boot);
        let mark = self.last_reading();
        let Some(active) = self.rooms.get_mut(&room_id).filter(|_| boot != self.own.boot()) else {
            return;
        };
        active.active = now.elapsed;
        if many {
            active.doubt(mark, &self.clocks, Cause::FirstSeen, now);
            self.pump = true;
            return;
        }
        let publisher = self
            .publishers
            .entry(boot)
            .or_insert_with(|| Publisher::new(now.elapsed, mark));
        let clocks = &self.clocks;
        let covered = || previous.plus(limits::CLOCK_DIFFERENCE_MAX) < clocks.cluster(active.covered());
        let line = publisher
            .lines
            .entry(room_id)
            .or_insert_with(|| Line::new(number, covered()));
        let known = active.seen.contains(id);
        let held = active.held();
        line.pass(number, known && !held, |ready| {
            deliver(active, ready, mechanisms, actions);
        });
        let hole = line.has_hole();
        self.note_hole(boot, room_id, hole, now);
    }

    pub(super) fn event_arrived(&mut self, arrived: Arrived<E>, now: Now, actions: &mut Vec<Action<E>>) {
        let (boot, room_id) = (arrived.boot, arrived.room);
        let mechanisms = self.mechanisms;
        let clocks = &self.clocks;
        let mark = self.last_reading();
        let Some(room) = self.rooms.get_mut(&room_id).filter(|_| boot != self.own.boot()) else {
            return;
        };
        room.active = now.elapsed;
        if !mechanisms.numbers {
            deliver(room, arrived, mechanisms, actions);
            return;
        }
        if self.publishers.len() >= limits::PUBLISHERS_MAX && !self.publishers.contains_key(&boot) {
            room.doubt(mark, &self.clocks, Cause::FirstSeen, now);
            self.pump = true;
            return;
        }
        let publisher = self
            .publishers
            .entry(boot)
            .or_insert_with(|| Publisher::new(now.elapsed, mark));
        let line = publisher.lines.entry(room_id).or_insert_with(|| {
            let covered = arrived.previous.plus(limits::CLOCK_DIFFERENCE_MAX) < clocks.cluster(room.covered());
            Line::new(arrived.number, covered)
        });
        let held = room.held();
        let cause = arrived
            .cause
            .filter(|cause| mechanisms.causes && room.lacks(*cause, &self.clocks));
        let kept = line.arrive(arrived, held, cause.is_some(), |ready| {
            deliver(room, ready, mechanisms, actions);
        });
        let (unknown, hole) = (line.is_unknown(), line.has_hole());
        let before = self.holes.contains_key(&(boot, room_id));
        if unknown && !before {
            *self.causes.entry(Cause::FirstSeen).or_default() += 1;
        }
        if !kept || (unknown && !before) {
            // Where nothing more of a line is kept, a hole came before it.
            let cause = if kept { Cause::FirstSeen } else { Cause::Hole };
            room.doubt(publisher.mark, &self.clocks, cause, now);
            self.pump = true;
        }
        if let Some(cause) = cause.filter(|_| hole) {
            *self.causes.entry(Cause::Reply).or_default() += 1;
            room.doubt(publisher.mark.min(cause.timestamp()), &self.clocks, Cause::Reply, now);
            self.pump = true;
        }
        self.note_hole(boot, room_id, hole, now);
        if cause.is_some()
            && let Some(hole) = self.holes.get_mut(&(boot, room_id))
        {
            // The room is in doubt already.
            hole.doubted = true;
        }
    }

    /// Keeps the list of holes and the publisher's mark in step with a line.
    pub(super) fn note_hole(&mut self, boot: BootId, room: RoomId, hole: bool, now: Now) {
        let Some(publisher) = self.publishers.get_mut(&boot) else {
            return;
        };
        match (hole, self.holes.contains_key(&(boot, room))) {
            (true, false) => {
                self.holes.insert((boot, room), Hole::since(now));
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
}

/// Notes what is about to be told; answers whether it is new.
pub(super) fn note(room: &mut Room, id: EventId, late: Option<EventId>, mechanisms: Mechanisms) -> bool {
    // A late event may carry a message so old that it is forgotten whether it was told: then it is told again.
    let told = late.is_some_and(|message| room.seen.contains(message));
    if let Some(message) = late {
        room.seen.insert(message);
    }
    let new = room.seen.insert(id) && !told;
    new || !mechanisms.seen
}

pub(super) fn deliver<E>(room: &mut Room, arrived: Arrived<E>, mechanisms: Mechanisms, actions: &mut Vec<Action<E>>) {
    if note(room, arrived.id, arrived.late, mechanisms) {
        let Arrived { room, event, .. } = arrived;
        actions.push(Action::Deliver { room, event });
    }
}
