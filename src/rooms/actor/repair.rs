//! Which reads of the store a room still owes, so that nothing that was dropped or doubted stays untold: pure, the room's
//! task does the reading.
//!
//! A read proves nothing of what became durable after it had begun. So what is asked while one is under way is not
//! answered by it: another one follows, which begins later.

use crate::model::EventId;
use crate::rooms::cluster::least;

/// Why a read is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The machine of doubt asked, and is told of the end.
    Asked,
    /// The room itself dropped events: it reads until it has succeeded.
    Dropped,
}

/// From where on to read, for either reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Owed {
    asked: Option<EventId>,
    dropped: Option<EventId>,
}

impl Owed {
    fn after(self) -> Option<EventId> {
        least(self.asked, self.dropped)
    }
}

/// What follows on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// Tell the machine that its repair has ended, and whether everything was read.
    pub(super) ended: Option<bool>,
    /// Read from here on.
    pub(super) read: Option<EventId>,
}

/// The reads of one room.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// What the read under way is for.
    running: Option<Owed>,
    /// What was asked since it began.
    again: Owed,
}

impl Repairs {
    /// A read from here on is owed.
    pub(super) fn want(&mut self, why: Why, after: EventId) {
        let owed = match why {
            Why::Asked => &mut self.again.asked,
            Why::Dropped => &mut self.again.dropped,
        };
        *owed = least(*owed, Some(after));
    }

    /// Begins the read that is owed, unless one is under way: from where on.
    pub(super) fn begin(&mut self) -> Option<EventId> {
        if self.running.is_some() {
            return None;
        }
        let after = self.again.after()?;
        self.running = Some(std::mem::take(&mut self.again));
        Some(after)
    }

    /// The last page of the read under way has come.
    pub(super) fn whole(&mut self) -> Next {
        let ended = self.running.take().and_then(|ran| ran.asked).map(|_| true);
        Next {
            ended,
            read: self.begin(),
        }
    }

    /// A page could not be read. What was asked is asked again by the machine; the rest stays owed until the next
    /// [`Repairs::begin`].
    pub(super) fn failed(&mut self) -> Next {
        let ran = self.running.take().unwrap_or_default();
        self.again.dropped = least(self.again.dropped, ran.dropped);
        Next {
            ended: ran.asked.map(|_| false),
            read: None,
        }
    }

    /// Events above this were dropped here and are not read yet.
    pub(super) fn dropped(&self) -> Option<EventId> {
        least(self.running.and_then(|running| running.dropped), self.again.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> EventId {
        EventId::new(n, 0, 0)
    }

    fn next(ended: Option<bool>, read: Option<u64>) -> Next {
        Next {
            ended,
            read: read.map(id),
        }
    }

    #[test]
    fn what_is_asked_during_a_read_is_answered_by_one_that_begins_later() {
        let mut repairs = Repairs::default();
        repairs.want(Why::Dropped, id(5));
        assert_eq!(repairs.begin(), Some(id(5)));
        // From the same place, or further on: this read may have begun before what is to be found was stored.
        repairs.want(Why::Asked, id(7));
        assert_eq!(repairs.begin(), None);
        assert_eq!(repairs.whole(), next(None, Some(7)));
        assert_eq!(repairs.whole(), next(Some(true), None));
        assert_eq!(repairs.begin(), None);
    }

    #[test]
    fn what_is_dropped_during_a_read_is_read_after_it() {
        let mut repairs = Repairs::default();
        repairs.want(Why::Asked, id(5));
        assert_eq!(repairs.begin(), Some(id(5)));
        repairs.want(Why::Dropped, id(8));
        repairs.want(Why::Dropped, id(6));
        assert_eq!(repairs.dropped(), Some(id(6)));
        assert_eq!(repairs.whole(), next(Some(true), Some(6)));
        assert_eq!(repairs.whole(), next(None, None));
        assert_eq!(repairs.dropped(), None);
    }

    #[test]
    fn both_reasons_at_once_are_one_read() {
        let mut repairs = Repairs::default();
        repairs.want(Why::Asked, id(6));
        repairs.want(Why::Dropped, id(5));
        assert_eq!(repairs.begin(), Some(id(5)));
        assert_eq!(repairs.whole(), next(Some(true), None));
    }

    #[test]
    fn what_was_dropped_stays_owed_until_a_read_succeeds() {
        let mut repairs = Repairs::default();
        repairs.want(Why::Asked, id(6));
        repairs.want(Why::Dropped, id(5));
        assert_eq!(repairs.begin(), Some(id(5)));
        assert_eq!(repairs.failed(), next(Some(false), None));
        assert_eq!(repairs.dropped(), Some(id(5)));
        assert_eq!(repairs.begin(), Some(id(5)));
        assert_eq!(repairs.whole(), next(None, None));
    }
}
