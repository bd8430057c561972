//! The ids that a room has told already, back to where a repair may read again. Ids, not bodies.

use std::collections::BTreeSet;

use crate::limits;
use crate::model::{EventId, Timestamp};

/// What a room has told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: BTreeSet<EventId>,
    /// Everything below this was told, or is not to be told live.
    horizon: Option<EventId>,
    /// Of what lies up to here some was forgotten because there were too many.
    forgotten: Option<EventId>,
}

impl Seen {
    /// Notes an id; answers whether it is new. What lies before the horizon is not.
    pub(super) fn insert(&mut self, id: EventId) -> bool {
        if self.horizon.is_some_and(|horizon| id < horizon) {
            return false;
        }
        let new = self.ids.insert(id);
        // Beyond the bound the oldest is forgotten: a repair may tell it again, and clients drop ids that they have.
        if self.ids.len() > limits::SEEN_IDS_MAX {
            self.forgotten = self.forgotten.max(self.ids.pop_first());
        }
        new
    }

    /// Whether this id is known not to have been told.
    pub(super) fn lacks(&self, id: EventId) -> bool {
        let known = self.horizon.is_none_or(|horizon| id >= horizon) && self.forgotten.is_none_or(|last| id > last);
        known && !self.ids.contains(&id)
    }

    /// Whether this id is known to have been told. What lies before the horizon is forgotten, so of that nobody knows.
    pub(super) fn contains(&self, id: EventId) -> bool {
        self.ids.contains(&id)
    }

    /// Nothing before this time is read again.
    pub(super) fn forget_before(&mut self, at: Timestamp) {
        let horizon = EventId::floor_of(at);
        if self.horizon.is_none_or(|before| before < horizon) {
            self.horizon = Some(horizon);
            self.ids = self.ids.split_off(&horizon);
        }
    }
}
