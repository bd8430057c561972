//! One other process that publishes: what was heard of it, and of each active room the numbers.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::{Arrived, Cause};
use crate::limits;
use crate::model::{RoomId, Timestamp};

/// The last frame that arrived of a publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastFrame {
    pub(super) number: u64,
    pub(super) clock: Timestamp,
    pub(super) at: Duration,
}

/// One other process.
#[derive(Debug)]
pub(super) struct Publisher<E> {
    pub(super) last: Option<LastFrame>,
    /// Since when this node counts on it.
    pub(super) counted: Duration,
    /// Its time up to which everything was heard without a hole.
    pub(super) mark: Timestamp,
    pub(super) lines: HashMap<RoomId, Line<E>>,
    /// Lines with a hole.
    pub(super) open: usize,
    /// Our connection was interrupted since its last frame.
    pub(super) suspect: bool,
    /// Why it is in doubt.
    pub(super) doubt: Option<Cause>,
    /// It holds no lease by a reading that began after it was last heard.
    pub(super) absent: bool,
    /// When a peer last named it.
    pub(super) named: Option<Duration>,
    /// Since when it is known to publish nothing any more.
    pub(super) gone: Option<Duration>,
    /// It said goodbye.
    pub(super) left: bool,
    /// The last of our frames that it heard.
    pub(super) echo: u64,
}

impl<E> Publisher<E> {
    pub(super) fn new(counted: Duration, mark: Timestamp) -> Self {
        Self {
            last: None,
            counted,
            mark,
            lines: HashMap::new(),
            open: 0,
            suspect: false,
            doubt: None,
            absent: false,
            named: None,
            gone: None,
            left: false,
            echo: 0,
        }
    }

    /// When it was last heard, or since when it should have been.
    pub(super) fn heard(&self) -> Duration {
        self.last.map_or(self.counted, |last| last.at)
    }

    pub(super) fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard()) > limits::STATUS_SILENCE
    }

    /// Whether a peer says that it hears it.
    pub(super) fn is_named(&self, now: Duration) -> bool {
        self.named
            .is_some_and(|at| now.saturating_sub(at) <= limits::STATUS_SILENCE)
    }

    /// Everything that its last frame told of has been heard: so has everything before it.
    pub(super) fn settle(&mut self) {
        if self.open == 0
            && let Some(last) = self.last
        {
            self.mark = self.mark.max(last.clock);
        }
    }
}

/// What can't be delivered yet.
#[derive(Debug)]
struct Parked<E> {
    arrived: Arrived<E>,
    /// It answers a message that a repair has to find first.
    waits: bool,
}

/// A publisher's numbers in one active room.
#[derive(Debug)]
pub(super) struct Line<E> {
    /// The number that comes next; `None`: what came before the first one seen is not known.
    next: Option<u64>,
    /// The greatest number known of.
    told: u64,
    /// What came after a hole, or waits for what it answers.
    parked: BTreeMap<u64, Parked<E>>,
    /// What was known of when the repair under way began.
    repairing: Option<u64>,
}

impl<E> Line<E> {
    /// A line that begins with a number. `covered`: everything before it was told.
    pub(super) fn new(number: u64, covered: bool) -> Self {
        Self {
            next: (covered || number == 1).then_some(number),
            told: number.saturating_sub(1),
            parked: BTreeMap::new(),
            repairing: None,
        }
    }

    /// Whether what came before the first number seen is not known.
    pub(super) const fn is_unknown(&self) -> bool {
        self.next.is_none()
    }

    pub(super) fn has_hole(&self) -> bool {
        self.next.is_none_or(|next| next <= self.told)
    }

    /// A frame told of a number.
    pub(super) fn told(&mut self, number: u64) {
        self.told = self.told.max(number);
    }

    /// An event has arrived; `ready` gets what can be delivered, in a room that is not held. What `waits` does so, and
    /// with it what follows, until a repair has begun after it and returned. Answers false if it could not be kept.
    pub(super) fn arrive(
        &mut self,
        arrived: Arrived<E>,
        held: bool,
        waits: bool,
        mut ready: impl FnMut(Arrived<E>),
    ) -> bool {
        self.told = self.told.max(arrived.number);
        match self.next {
            // A repair has read it, and what it answers.
            Some(next) if arrived.number < next && !held => ready(arrived),
            Some(next) if arrived.number == next && !held && !waits => {
                self.next = Some(next.saturating_add(1));
                ready(arrived);
                self.unpark(ready);
            }
            // A repair that begins later reads it from the store.
            _ if self.parked.len() >= limits::PARKED_EVENTS_MAX => return false,
            _ => {
                self.parked.insert(arrived.number, Parked { arrived, waits });
            }
        }
        true
    }

    /// An event that can't be read has this number. It leaves a hole, unless it is `known` and comes next; `ready` gets
    /// what waited for it.
    pub(super) fn pass(&mut self, number: u64, known: bool, ready: impl FnMut(Arrived<E>)) {
        self.told = self.told.max(number);
        if known && self.next == Some(number) {
            self.next = Some(number.saturating_add(1));
            self.unpark(ready);
        }
    }

    /// A repair of the room begins: what is known of now, it will read.
    pub(super) const fn begin_repair(&mut self) {
        self.repairing = Some(self.told);
    }

    /// The repair has returned; `ready` gets what can be delivered after it, in a room that is not held.
    pub(super) fn end_repair(&mut self, done: bool, held: bool, ready: impl FnMut(Arrived<E>)) {
        if let (Some(told), true) = (self.repairing.take(), done) {
            self.next = Some(self.next.unwrap_or(0).max(told.saturating_add(1)));
            self.parked
                .range_mut(..=told)
                .for_each(|(_, parked)| parked.waits = false);
        }
        if !held {
            self.unpark(ready);
        }
    }

    fn unpark(&mut self, mut ready: impl FnMut(Arrived<E>)) {
        while let Some(entry) = self.parked.first_entry()
            && self.next.is_some_and(|next| *entry.key() <= next)
            && !entry.get().waits
        {
            self.next = self.next.map(|next| next.max(entry.key().saturating_add(1)));
            ready(entry.remove().arrived);
        }
    }
}
