//! Walking a room's buckets in order, from either end, with the rules about seams: a bucket's first minutes may lie in
//! its predecessors, and two rows of one attempt are one message.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::try_join_all;

use super::ScyllaStore;
use super::buckets::Bucket;
use super::rows::{MessageRow, cql, limit, messages, start};
use crate::limits;
use crate::model::{EventId, Message, RoomId, UserId};
use crate::store::Result;

/// From which end a range is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Newest first.
    Down,
    /// Oldest first.
    Up,
}

/// Rows asked for at once at most; more are read in further bites.
const BITE: usize = 1_000;
/// Buckets looked into at once, where those before were empty.
const BUCKETS_AT_ONCE: usize = 8;

/// Of two rows of one attempt only one is shown: the one that was edited last, else the one with the lower id; deleted
/// if either is. The order of the others stays. A nonce that is used again after a day is another attempt.
pub(super) fn hide_repetitions(found: &mut Vec<Message>) {
    let mut shown: HashMap<(UserId, u64), usize> = HashMap::with_capacity(found.len());
    let mut hidden = Vec::new();
    for nth in 0..found.len() {
        let key = (found[nth].author.id, found[nth].id.attempt_hash());
        let Some(held) = shown.insert(key, nth) else { continue };
        let (a, b) = (found[held].id.timestamp(), found[nth].id.timestamp());
        if a.since(b).max(b.since(a)) > limits::NONCE_KEPT {
            continue;
        }
        let kept = one_of(found[held].clone(), found[nth].clone());
        let (keeps, hides) = if kept.id == found[held].id {
            (held, nth)
        } else {
            (nth, held)
        };
        found[keeps] = kept;
        hidden.push(hides);
        shown.insert(key, keeps);
    }
    if !hidden.is_empty() {
        let mut nth = 0;
        found.retain(|_| {
            nth += 1;
            !hidden.contains(&(nth - 1))
        });
    }
}

fn one_of(a: Message, b: Message) -> Message {
    let (low, high) = if a.id <= b.id { (a, b) } else { (b, a) };
    let (mut kept, other) = if high.last_event > low.last_event {
        (high, low)
    } else {
        (low, high)
    };
    if kept.deleted_at.is_none() && other.deleted_at.is_some() {
        kept.body = String::new();
        kept.mentions = Vec::new();
        kept.deleted_at = other.deleted_at;
        kept.last_event = kept.last_event.max(other.last_event);
    }
    kept
}

impl ScyllaStore {
    /// At most `wanted` messages of a room strictly between two ids, from the given end, repetitions hidden.
    pub(super) async fn walk(
        &self,
        room: RoomId,
        (from, to): (EventId, EventId),
        direction: Direction,
        wanted: usize,
    ) -> Result<Vec<Message>> {
        let index = self.index_for_reads(room).await?;
        let mut buckets = index.covering(from, self.no_later_than(to));
        if direction == Direction::Down {
            buckets.reverse();
        }
        let mut found: Vec<Message> = Vec::new();
        let (mut read, mut at_once) = (0, 1);
        while read < buckets.len() {
            let some = &buckets[read..buckets.len().min(read + at_once)];
            let looks = some
                .iter()
                .map(|bucket| self.range(room, bucket.start, (from, to), direction, wanted));
            let rows: Vec<Message> = try_join_all(looks).await?.into_iter().flatten().collect();
            read += some.len();
            self.cql.counters.walked.fetch_add(some.len() as u64, Relaxed);
            // After a burst, several buckets in a row may be empty.
            at_once = if rows.is_empty() {
                (at_once * 2).min(BUCKETS_AT_ONCE)
            } else {
                1
            };
            found.extend(rows);
            match direction {
                Direction::Down => found.sort_unstable_by_key(|message| std::cmp::Reverse(message.id)),
                Direction::Up => found.sort_unstable_by_key(|message| message.id),
            }
            hide_repetitions(&mut found);
            let next = buckets.get(read);
            if found.len() >= wanted && next.is_none_or(|next| is_beyond(&found[wanted - 1], *next, direction)) {
                break;
            }
        }
        found.truncate(wanted);
        if let Some(newest) = found.iter().map(|message| message.id).max() {
            self.clock.observe(newest);
        }
        Ok(found)
    }

    /// Of one bucket: at most `wanted` messages, repetitions hidden.
    async fn range(
        &self,
        room: RoomId,
        bucket: u64,
        (mut from, mut to): (EventId, EventId),
        direction: Direction,
        wanted: usize,
    ) -> Result<Vec<Message>> {
        let mut found = Vec::new();
        loop {
            let bite = (wanted - found.len()).min(BITE);
            let key = (cql(room.as_bytes()), start(bucket));
            let values = (key.0, key.1, cql(from.as_bytes()), cql(to.as_bytes()), limit(bite));
            let statement = match direction {
                Direction::Down => &self.cql.statements.messages_down,
                Direction::Up => &self.cql.statements.messages_up,
            };
            let rows: Vec<MessageRow> = self.cql.rows(statement, values).await?;
            let last = rows.last().map(|row| super::rows::event_id(row.id));
            let complete = rows.len() < bite;
            found.extend(messages(rows, room)?);
            hide_repetitions(&mut found);
            let Some(last) = last.filter(|_| !complete && found.len() < wanted) else {
                return Ok(found);
            };
            match direction {
                Direction::Down => to = last,
                Direction::Up => from = last,
            }
        }
    }

    /// A bound that leaves out buckets which are not in force yet: nobody's clock is so far ahead.
    pub(super) fn no_later_than(&self, to: EventId) -> EventId {
        const AHEAD: std::time::Duration = std::time::Duration::from_secs(15);
        to.min(EventId::ceil_of(self.clock.latest().plus(AHEAD)))
    }
}

/// Whether a bucket that was not read yet can hold nothing on this side of a message.
fn is_beyond(message: &Message, next: Bucket, direction: Direction) -> bool {
    let at = message.id.timestamp().millis();
    match direction {
        Direction::Down => at >= next.end,
        Direction::Up => at < next.start,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Author, Name, Timestamp};

    fn message(id: EventId, author: UserId, body: &str) -> Message {
        Message {
            room: RoomId::from_bytes([7; 16]),
            id,
            author: Author {
                id: author,
                name: Name::parse("ann").unwrap(),
            },
            body: body.into(),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted_at: None,
            last_event: None,
        }
    }

    #[test]
    fn of_two_rows_of_one_attempt_the_lower_is_shown_the_edited_one_before_it_and_a_deletion_wins() {
        let ann = UserId::from_bytes([1; 16]);
        let (low, high) = (EventId::new(1, 0, 9), EventId::new(2, 0, 9));
        let other = message(EventId::new(3, 0, 8), ann, "other");
        let both = [message(low, ann, "one"), message(high, ann, "one"), other.clone()];
        let shown = |mut rows: Vec<Message>| {
            hide_repetitions(&mut rows);
            rows
        };
        assert_eq!(shown(both.to_vec()), [both[0].clone(), other.clone()]);

        let mut edited = both.clone();
        edited[1].body = "two".into();
        edited[1].last_event = Some(EventId::new(5, 0, 0));
        assert_eq!(shown(edited.to_vec()), [edited[1].clone(), other.clone()]);

        let mut deleted = edited.clone();
        deleted[0].deleted_at = Some(Timestamp::from_millis(4));
        deleted[0].last_event = Some(EventId::new(4, 0, 0));
        let left = shown(deleted.to_vec());
        assert_eq!(left.len(), 2);
        assert!(left[0].id == high && left[0].body.is_empty() && left[0].deleted_at.is_some());

        // Another author's hash is another attempt.
        let foreign = [
            message(low, ann, "one"),
            message(high, UserId::from_bytes([2; 16]), "one"),
        ];
        assert_eq!(shown(foreign.to_vec()), foreign);
    }
}
