//! One active room: its floor, its repairs, and what it has told.

use std::time::Duration;

use super::clocks::Clocks;
use super::seen::Seen;
use super::{Cause, Mechanisms, Now};
use crate::limits;
use crate::model::{EventId, Timestamp};

/// A repair that is under way.
#[derive(Debug, Clone, Copy)]
struct Running {
    began: Duration,
    /// It was asked for again meanwhile.
    again: bool,
}

/// One active room.
#[derive(Debug)]
pub(super) struct Room {
    /// Everything that the store held at this moment was told: when the room became active, or when the last repair that
    /// succeeded began. It is told in the cluster's time where it is used, since what is known of that may be mended.
    covered: Duration,
    /// When it became active.
    activated: Duration,
    /// Up to when everything was told, while it is owed a repair; else that moves with time.
    floor: Option<Timestamp>,
    /// Since when it is owed without a repair that began later having succeeded.
    owed_since: Duration,
    /// What began the doubt.
    cause: Option<Cause>,
    due: Option<Duration>,
    running: Option<Running>,
    held: bool,
    /// When something last happened in it.
    pub(super) active: Duration,
    pub(super) seen: Seen,
}

impl Room {
    pub(super) fn new(now: Now) -> Self {
        Self {
            covered: now.elapsed,
            activated: now.elapsed,
            floor: None,
            owed_since: now.elapsed,
            cause: None,
            due: None,
            running: None,
            held: false,
            active: now.elapsed,
            seen: Seen::default(),
        }
    }

    /// Everything that the store held at this moment was told.
    pub(super) const fn covered(&self) -> Duration {
        self.covered
    }

    pub(super) const fn floor(&self) -> Option<Timestamp> {
        self.floor
    }

    pub(super) const fn held(&self) -> bool {
        self.held
    }

    /// Whether a message was not told here that should have been. What lies further back than the first read of its
    /// history does nobody remembers.
    pub(super) fn lacks(&self, message: EventId, clocks: &Clocks) -> bool {
        let known = clocks.cluster(self.activated).minus(limits::CATCH_UP_SPAN);
        message.timestamp() >= known && self.seen.lacks(message)
    }

    /// Something after `mark` may be missing: a repair is owed, at once.
    pub(super) fn doubt(&mut self, mark: Timestamp, clocks: &Clocks, cause: Cause, now: Now) {
        let floor = mark.max(clocks.cluster(self.covered));
        if self.floor.is_none() {
            self.owed_since = now.elapsed;
        }
        self.cause.get_or_insert(cause);
        self.floor = Some(self.floor.map_or(floor, |before| before.min(floor)));
        self.request(now);
    }

    /// Repair now; if a repair is under way, once more after it.
    pub(super) fn request(&mut self, now: Now) {
        match &mut self.running {
            Some(running) => running.again = true,
            None => self.due = Some(now.elapsed),
        }
    }

    /// It became active while something is in doubt: what comes from now on is.
    pub(super) fn enter_doubt(&mut self, clocks: &Clocks, now: Now) {
        self.floor = Some(clocks.cluster(self.covered));
        self.due = Some(now.elapsed + limits::REPAIR_INTERVAL);
    }

    /// Begins a repair if one is due. Answers after which id the store is to be read.
    pub(super) fn begin(&mut self, now: Now, clocks: &Clocks, mechanisms: Mechanisms) -> Option<EventId> {
        self.due.filter(|due| *due <= now.elapsed)?;
        if self.running.is_some() {
            return None;
        }
        self.due = None;
        self.running = Some(Running {
            began: now.elapsed,
            again: false,
        });
        let covered = clocks.cluster(self.covered);
        let floor = self
            .floor
            .map_or(covered, |floor| floor.min(clocks.cluster(now.elapsed)));
        let floor = if mechanisms.floors {
            floor
        } else {
            clocks.cluster(now.elapsed)
        };
        let span = if mechanisms.span {
            limits::CATCH_UP_SPAN
        } else {
            Duration::ZERO
        };
        Some(EventId::floor_of(floor.minus(span)))
    }

    /// For how long it has lacked a repair, while one that it is owed is under way.
    pub(super) fn lacking(&self, now: Now) -> Option<Duration> {
        let owed = self.floor.is_some() && self.running.is_some();
        owed.then(|| now.elapsed.saturating_sub(self.owed_since))
    }

    /// What had begun the doubt, once it is over.
    pub(super) fn settled(&mut self) -> Option<Cause> {
        self.cause.take_if(|_| self.floor.is_none())
    }

    /// A repair has returned. `lasting`: something is still in doubt. Answers whether the room is held no longer.
    pub(super) fn finish(&mut self, done: bool, lasting: bool, clocks: &Clocks, now: Now) -> bool {
        let Some(Running { began, again }) = self.running.take() else {
            return false;
        };
        let next = began + limits::REPAIR_INTERVAL;
        if !done {
            self.due = Some(next.max(now.elapsed));
            return false;
        }
        self.covered = self.covered.max(began);
        let covered = clocks.cluster(self.covered);
        (self.floor, self.due) = match (again, lasting) {
            (true, _) => (Some(covered), Some(now.elapsed)),
            (false, true) => (Some(covered), Some(next)),
            (false, false) => (None, None),
        };
        self.owed_since = began;
        // Something of our own may have become durable after the repair had read: it comes before what is live again.
        let release = self.held && !again;
        self.held &= !release;
        release
    }

    /// Whether the room is to be held from now on, since it could not be repaired for too long.
    pub(super) fn check_held(&mut self, now: Now) -> bool {
        let overdue = self.floor.is_some() && now.elapsed.saturating_sub(self.owed_since) > limits::HOLD_AFTER;
        let hold = overdue && !self.held;
        self.held |= hold;
        hold
    }
}
