//! Write timestamps. In CQL the cell with the greater timestamp wins, whoever wrote last by the wall clock. So no
//! timestamp is left to a clock: it follows from an event's id, or from the timestamp that was just read.
//!
//! ScyllaDB refuses timestamps that lie more than three days ahead of its clock, counted in microseconds since 1970,
//! so a stamp must stay below that although it has to hold 12 bits of counter besides the milliseconds. Therefore the
//! milliseconds of [`of_event`] are counted from [`EPOCH`]; the stamps reach the wall clock's microseconds in 2042.

use scylla::value::MaybeUnset;

use crate::model::{EventId, Timestamp};

/// The timestamp of everything that any later change must win over: the inserts of messages.
pub(super) const FIRST: i64 = 1;
/// 2025-01-01T00:00:00Z, before which no message was ever changed.
const EPOCH: u64 = 1_735_689_600_000;

#[cfg(test)]
tokio::task_local! {
    /// Writes of whoever has set this carry no timestamps of ours, so that a test can show what they are for.
    pub(super) static SWITCHED_OFF: ();
}

/// A timestamp as a statement takes it. Unset, the server would take the moment of the request.
pub(super) fn bound(stamp: i64) -> MaybeUnset<i64> {
    #[cfg(test)]
    if SWITCHED_OFF.try_with(|()| ()).is_ok() {
        return MaybeUnset::Unset;
    }
    MaybeUnset::Set(stamp)
}

/// The timestamp of what an event changes: grows with the event's id, as far as milliseconds and counter go. No two
/// changes of a message have the same (`changes`). All older than the epoch share one.
pub(super) fn of_event(id: EventId) -> i64 {
    let since = id.timestamp().millis().saturating_sub(EPOCH);
    i64::try_from((since << 12) | u64::from(id.counter()))
        .unwrap_or(i64::MAX)
        .max(FIRST + 1)
}

/// The least and the greatest id whose [`of_event`] is that of this one. Older than the epoch there are no changes.
pub(super) fn sharing(id: EventId) -> (EventId, EventId) {
    let of = |hash| EventId::new(id.timestamp().millis(), id.counter(), hash);
    (of(0), of(u64::MAX))
}

/// An id's time in microseconds, for rows that expire: time-window compaction sorts them by their timestamps.
pub(super) fn micros(id: EventId) -> i64 {
    let within = u64::from(id.counter()).min(998);
    i64::try_from(id.timestamp().millis() * 1_000 + within).unwrap_or(i64::MAX)
}

/// A timestamp above one that was just read; `None` was read where there was no row.
pub(super) fn above(read: Option<i64>, now: Timestamp) -> i64 {
    let now = i64::try_from(now.millis().saturating_mul(1_000)).unwrap_or(i64::MAX);
    read.map_or(now, |read| now.max(read.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_event_has_a_greater_stamp_than_an_insert_and_than_earlier_events() {
        let at = |millis, counter| of_event(EventId::new(millis, counter, 7));
        assert!(at(0, 0) > FIRST);
        let day = 1_795_442_527_007;
        assert!(at(day, 1) > at(day, 0) && at(day + 1, 0) > at(day, 0xfff));
        assert!(at(day, 0xfff) > at(EPOCH, 0));
    }

    #[test]
    fn what_shares_a_stamp_lies_between_its_bounds() {
        let id = EventId::new(1_795_442_527_007, 5, 77);
        let (least, greatest) = sharing(id);
        assert!(least <= id && id <= greatest);
        assert_eq!([of_event(least), of_event(greatest)], [of_event(id); 2]);
        let next = EventId::new(1_795_442_527_007, 6, 0);
        assert!(greatest < next && of_event(next) > of_event(id));
    }

    #[test]
    fn no_stamp_lies_ahead_of_the_clock_in_microseconds_before_2042() {
        let end = 2_272_000_000_000;
        assert!(of_event(EventId::new(end, 0xfff, 0)) < i64::try_from(end * 1_000).unwrap());
    }

    #[test]
    fn a_stamp_is_above_what_was_read_although_the_clock_is_behind() {
        let now = Timestamp::from_millis(5);
        assert_eq!(above(None, now), 5_000);
        assert_eq!(above(Some(4_000), now), 5_000);
        assert_eq!(above(Some(9_000), now), 9_001);
    }
}
