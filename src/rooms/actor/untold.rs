//! What the room's task can't know from what it was told: whether a write without an answer was stored, and what a send
//! answers that nobody here was told of. Both are found by reading the store again.

use std::time::Duration;

use tokio::time::Instant;

use super::Actor;
use super::repair::Why;
use crate::limits;
use crate::model::EventId;
use crate::store;

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// The message that a send waits for, and whether a read has ended since it was asked for.
    cause: Option<(EventId, bool)>,
    /// When to read once more because of a write without an outcome.
    again: Option<Instant>,
}

impl Untold {
    /// The store could not be read. A write without an outcome may be done once it is back, and no sooner, so the second
    /// look counts from then.
    pub(super) fn unreadable(&mut self) {
        if let Some(again) = &mut self.again {
            *again = Instant::now() + limits::UNSURE_AGAIN;
        }
    }

    /// No read is under way any more.
    pub(super) fn looked(&mut self) {
        if let Some((_, ended)) = &mut self.cause {
            *ended = true;
        }
    }
}

impl Actor {
    /// A write has failed. Where it may be stored all the same, somebody can find it and speak of it, so every node reads
    /// the room again: as soon as it can, and once more when a server that was away may have come to it.
    pub(super) fn write_failed(&mut self, error: &store::Error) {
        if let (store::Error::UnknownOutcome(_), Some((cluster, _))) = (error, &self.cluster) {
            cluster.unsure(self.room.id);
            self.untold.again = Some(Instant::now() + limits::UNSURE_AGAIN);
        }
    }

    /// Reads once more what a write without an outcome may have left.
    pub(super) fn look_again(&mut self) {
        if let Some((cluster, _)) = &self.cluster
            && self.untold.again.take_if(|at| *at <= Instant::now()).is_some()
        {
            cluster.unsure(self.room.id);
        }
    }

    /// Whether a send has to wait until the message that it answers was told here: its author may have seen that one on
    /// another node, and nobody is to see the answer first. The store has it, so one read finds it.
    pub(super) fn waits_for(&mut self, cause: Option<EventId>) -> bool {
        let Some(cause) = cause.filter(|cause| self.state.is_shared() && self.state.is_news(*cause)) else {
            return false;
        };
        match self.untold.cause {
            Some((looked_for, ended)) if looked_for == cause => !ended,
            Some((_, false)) => true,
            Some((_, true)) | None => {
                self.untold.cause = Some((cause, false));
                let before = cause.timestamp().minus(Duration::from_millis(1));
                self.repairs.want(Why::Dropped, EventId::floor_of(before));
                self.begin_repair();
                true
            }
        }
    }
}
