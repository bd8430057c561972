//! Appending messages: the hot path. Prepared inserts, side by side for different authors; no read, no lightweight
//! transaction and no NULL in a room that was written to in the last minutes by somebody who does not retry.
//!
//! What one author says at once is one batch of one partition, or several one after the other: servers apply such a
//! batch in isolation (CQL manual, BATCH), so a read meanwhile, a repair's above all, never finds a message without those
//! that its author sent before it.
//!
//! A retry is the exception: it reads what its nonce was used for and writes that same row again, since the first
//! attempt may never have landed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::join_all;
use scylla::serialize::row::SerializeRow;
use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::ScyllaStore;
use super::index::RoomIndex;
use super::rows::{cql, mentions_blob, start};
use super::session::after_a_write;
use super::stamp;
use crate::limits;
use crate::model::id::attempt_hash;
use crate::model::{EventId, Moment, NewMessage, Nonce, RoomId, Timestamp, UserId};
use crate::store::{Appended, Error, MessageStore as _, Result};

/// How often a late event is tried before the outcome is unknown.
const LATE_TRIES: u32 = 4;

/// When something was given its id, by both clocks: a paused machine shows in the one, a set-back clock in the other.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    moment: Moment,
    wall: Timestamp,
}

/// A message with its id, on its way.
struct Attempt {
    new: NewMessage,
    hash: u64,
    index: Arc<RoomIndex>,
    id: EventId,
    bucket: u64,
    begun: Begun,
}

/// What an earlier attempt left in `sends`.
struct Earlier {
    room: Uuid,
    bucket: i64,
    id: EventId,
}

impl ScyllaStore {
    pub(super) fn begin(&self) -> Begun {
        Begun {
            moment: Moment::now(),
            wall: self.clock.now(),
        }
    }

    /// Whether it has been so long that readers may have looked past this place.
    pub(super) fn is_late(&self, begun: Begun) -> bool {
        begun.moment.elapsed().max(self.clock.now().since(begun.wall)) > self.late_after
    }

    /// Stores messages; results in the order given.
    pub(super) async fn append_all(self: &Arc<Self>, batch: Vec<NewMessage>) -> Vec<Result<Appended>> {
        // What has to be known before ids are drawn, so that the order of ids is the order given.
        let mut indexes: HashMap<RoomId, Result<Arc<RoomIndex>>> = HashMap::new();
        for new in &batch {
            if let Entry::Vacant(first) = indexes.entry(new.room) {
                first.insert(self.index_for_writes(new.room).await);
            }
            if let Some(cause) = new.reply_to.filter(|cause| !self.clock.is_past(*cause)) {
                // Reading it moves the clock past it, if it exists.
                let _ = self.message(new.room, cause).await;
            }
        }
        let attempts = batch.into_iter().map(|new| {
            let index = indexes.get(&new.room).cloned().unwrap_or(Err(Error::NotFound))?;
            let hash = match &new.nonce {
                Some(nonce) => attempt_hash(new.author.id, new.room, nonce.as_str().as_bytes(), &new.body),
                None => rand::random(),
            };
            let begun = self.begin();
            let id = self.clock.next(hash);
            Ok(Attempt {
                id,
                bucket: index.place(id),
                new,
                hash,
                index,
                begun,
            })
        });
        let attempts: Vec<Result<Attempt>> = attempts.collect();
        let mut results = Vec::with_capacity(attempts.len());
        let mut lines: HashMap<(RoomId, UserId), Vec<(usize, Attempt)>> = HashMap::new();
        for (at, attempt) in attempts.into_iter().enumerate() {
            match attempt {
                Ok(attempt) => {
                    let line = (attempt.new.room, attempt.new.author.id);
                    lines.entry(line).or_default().push((at, attempt));
                }
                Err(error) => results.push((at, Err(error))),
            }
        }
        let stored = join_all(lines.into_values().map(|line| self.append_line(line))).await;
        results.extend(stored.into_iter().flatten());
        results.sort_unstable_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Stores what one author says in one room, in the order given: whoever reads the room meanwhile finds none of it
    /// without what comes before. Those that go together are one write; what follows on one that failed is not begun.
    async fn append_line(self: &Arc<Self>, line: Vec<(usize, Attempt)>) -> Vec<(usize, Result<Appended>)> {
        let mut results = Vec::with_capacity(line.len());
        let mut failed = false;
        let begun = Instant::now();
        let mut line = line.into_iter().peekable();
        while let Some((at, first)) = line.next() {
            failed |= begun.elapsed() > limits::APPEND_LINE;
            if failed {
                let detail = "the messages before it took too long or could not be stored, so this was not tried";
                results.push((at, Err(Error::Refused(detail.into()))));
                continue;
            }
            let (room, index) = (first.new.room, Arc::clone(&first.index));
            let mut places = vec![at];
            let mut together = vec![first];
            let mut bytes = weight(&together[0]);
            while let Some((at, next)) = line.next_if(|(_, next)| {
                bytes += weight(next);
                goes_with(&together[0], next) && bytes <= limits::CQL_BATCH_BYTES
            }) {
                places.push(at);
                together.push(next);
            }
            let stored = if together.len() == 1 {
                let one = together.swap_remove(0);
                vec![self.append_one(one).await]
            } else {
                self.append_together(together).await
            };
            failed |= stored
                .iter()
                .any(|one| matches!(one, Err(Error::Refused(_) | Error::UnknownOutcome(_))));
            let look = places
                .iter()
                .fold(false, |look, _| index.wrote(self.clock.now()) || look);
            results.extend(places.into_iter().zip(stored));
            if look {
                let store = Arc::clone(self);
                tokio::spawn(async move { store.look_at_buckets(room, &index).await });
            }
        }
        results
    }

    async fn append_one(&self, attempt: Attempt) -> Result<Appended> {
        if attempt.new.retry
            && let Some(nonce) = &attempt.new.nonce
            && let Some(earlier) = self.earlier(&attempt.new, nonce).await?
        {
            return self.repeat(attempt, earlier).await;
        }
        self.insert(std::slice::from_ref(&attempt)).await?;
        self.appended(attempt).await
    }

    /// Stores attempts of one author for one bucket of a room with one write.
    async fn append_together(&self, attempts: Vec<Attempt>) -> Vec<Result<Appended>> {
        if let Err(error) = self.insert(&attempts).await {
            return attempts.iter().map(|_| Err(error.clone())).collect();
        }
        let mut results = Vec::with_capacity(attempts.len());
        // One after the other, since late events have an order too.
        for attempt in attempts {
            results.push(self.appended(attempt).await);
        }
        results
    }

    /// What is still to be done for a message that is stored.
    async fn appended(&self, attempt: Attempt) -> Result<Appended> {
        let Attempt {
            new, index, id, begun, ..
        } = attempt;
        self.totals.message();
        let late = if self.is_late(begun) {
            Some(self.announce_late(new.room, id, &index).await?)
        } else {
            None
        };
        let message = new.stored_as(id);
        Ok(Appended {
            message,
            fresh: true,
            late,
        })
    }

    /// Writes the messages, what their nonces were used for, and, once an hour, that the room spoke.
    async fn insert(&self, attempts: &[Attempt]) -> Result<()> {
        let notes = join_all(attempts.iter().map(|attempt| {
            let bucket = start(attempt.bucket);
            self.note_send(&attempt.new, attempt.id, bucket)
        }));
        let hours = join_all(attempts.iter().map(|attempt| async {
            let Attempt { new, id, index, .. } = attempt;
            if let Err(error) = self.note_hour(new.room, *id, attempt.bucket, index).await {
                // Only the search by id alone depends on it.
                tracing::debug!(%error, room = %new.room, "the room's hour can't be noted");
            }
        }));
        let (stored, noted, _) = tokio::join!(self.insert_messages(attempts), notes, hours);
        #[cfg(feature = "next-version")]
        if crate::next_version::is_on() && stored.is_ok() {
            for Attempt { new, id, bucket, .. } in attempts {
                let unknown = self.insert_unknown(new, *id, *bucket).await;
                unknown.map_err(after_a_write)?;
            }
        }
        stored?;
        // They are stored, but a retry would not find them: nobody may call them refused.
        let noted: Result<()> = noted.into_iter().collect();
        noted.map_err(after_a_write)
    }

    async fn insert_messages(&self, attempts: &[Attempt]) -> Result<()> {
        if let [one] = attempts {
            return self.insert_message(&one.new, one.id, start(one.bucket)).await;
        }
        let rows = attempts.iter().map(|one| row(&one.new, one.id, start(one.bucket)));
        let statement = &self.cql.statements.message_insert;
        self.cql.write_together(statement, rows.collect()).await
    }

    async fn insert_message(&self, new: &NewMessage, id: EventId, bucket: i64) -> Result<()> {
        let statement = &self.cql.statements.message_insert;
        self.cql.write(statement, row(new, id, bucket)).await
    }

    /// An event of a kind that no version knows.
    #[cfg(feature = "next-version")]
    async fn insert_unknown(&self, new: &NewMessage, id: EventId, bucket: u64) -> Result<()> {
        let values = (
            cql(new.room.as_bytes()),
            start(bucket),
            cql(crate::next_version::event_beside(id).as_bytes()),
            crate::next_version::KIND_NAME,
            cql(id.as_bytes()),
            MaybeUnset::<Uuid>::Unset,
            MaybeUnset::<Vec<u8>>::Unset,
            MaybeUnset::<String>::Unset,
            stamp::micros(id),
        );
        self.cql.write(&self.cql.statements.event_insert, values).await
    }

    async fn note_send(&self, new: &NewMessage, id: EventId, bucket: i64) -> Result<()> {
        let Some(nonce) = &new.nonce else { return Ok(()) };
        let values = (
            cql(new.author.id.as_bytes()),
            nonce.as_str(),
            cql(new.room.as_bytes()),
            bucket,
            cql(id.as_bytes()),
            stamp::micros(id),
        );
        self.cql.write(&self.cql.statements.send_insert, values).await
    }

    async fn note_hour(&self, room: RoomId, id: EventId, bucket: u64, index: &RoomIndex) -> Result<()> {
        let hour = hour_of(id);
        if index.is_news(hour, bucket) {
            let values = (start(hour), shard_of(room), cql(room.as_bytes()), start(bucket));
            self.cql.write(&self.cql.statements.hour_insert, values).await?;
            index.noted(hour, bucket);
        }
        Ok(())
    }

    /// What the author used the nonce for within a day.
    async fn earlier(&self, new: &NewMessage, nonce: &Nonce) -> Result<Option<Earlier>> {
        let values = (cql(new.author.id.as_bytes()), nonce.as_str());
        let found: Option<(Uuid, i64, Uuid)> = self.cql.first(&self.cql.statements.send_one, values).await?;
        let earlier = found.map(|(room, bucket, id)| Earlier {
            room,
            bucket,
            id: super::rows::event_id(id),
        });
        // The row may outlive its day a little, as the servers' clocks have it.
        Ok(earlier.filter(|earlier| self.clock.now().since(earlier.id.timestamp()) < limits::NONCE_KEPT))
    }

    /// Gives an earlier attempt its message, whether it had landed or not.
    async fn repeat(&self, attempt: Attempt, earlier: Earlier) -> Result<Appended> {
        let Attempt { new, hash, index, .. } = attempt;
        // The body may have been edited since, so it is the hash in the id that tells what the first attempt said.
        if earlier.room != cql(new.room.as_bytes()) || earlier.id.attempt_hash() != hash & HASH {
            return Err(Error::NonceReused);
        }
        self.clock.observe(earlier.id);
        let room = new.room;
        let bucket = u64::try_from(earlier.bucket).unwrap_or_default();
        self.insert_message(&new, earlier.id, earlier.bucket).await?;
        // It may have been edited or deleted since it landed for the first time.
        let stored = self.message_in(room, bucket, earlier.id).await.map_err(after_a_write)?;
        let message = stored.unwrap_or_else(|| new.stored_as(earlier.id));
        let late = if self.clock.now().since(earlier.id.timestamp()) > self.late_after {
            Some(self.announce_late(room, earlier.id, &index).await?)
        } else {
            None
        };
        Ok(Appended {
            message,
            fresh: false,
            late,
        })
    }

    /// Writes a late event for a message, until one is on time.
    async fn announce_late(&self, room: RoomId, message: EventId, index: &RoomIndex) -> Result<EventId> {
        self.cql.counters.late.fetch_add(1, Ordering::Relaxed);
        for _ in 0..LATE_TRIES {
            let begun = self.begin();
            let id = self.clock.next(rand::random());
            let values = (
                cql(room.as_bytes()),
                start(index.place(id)),
                cql(id.as_bytes()),
                "late",
                cql(message.as_bytes()),
                MaybeUnset::<Uuid>::Unset,
                MaybeUnset::<Vec<u8>>::Unset,
                MaybeUnset::<String>::Unset,
                stamp::micros(id),
            );
            let written = self.cql.write(&self.cql.statements.event_insert, values).await;
            written.map_err(after_a_write)?;
            if begun.moment.elapsed().max(self.clock.now().since(begun.wall)) <= limits::LATE_AFTER {
                return Ok(id);
            }
        }
        Err(Error::UnknownOutcome(
            "the store is so slow that the message was stored without being announced".into(),
        ))
    }
}

/// A message's row, as `message_insert` takes it.
fn row(new: &NewMessage, id: EventId, bucket: i64) -> impl SerializeRow {
    let mentions = (!new.mentions.is_empty()).then(|| mentions_blob(&new.mentions));
    (
        cql(new.room.as_bytes()),
        bucket,
        cql(id.as_bytes()),
        cql(new.author.id.as_bytes()),
        new.author.name.as_str(),
        new.body.as_str(),
        MaybeUnset::from_option(new.reply_to.map(|id| cql(id.as_bytes()))),
        MaybeUnset::from_option(mentions),
        MaybeUnset::from_option(new.nonce.as_ref().map(Nonce::as_str)),
        stamp::bound(stamp::FIRST),
    )
}

/// Bytes that a message counts for in a batch.
const fn weight(attempt: &Attempt) -> usize {
    attempt.new.body.len() + 128
}

/// Whether two attempts of one author may be one write: in one partition, and neither looks for an earlier attempt.
fn goes_with(first: &Attempt, next: &Attempt) -> bool {
    let looks = |attempt: &Attempt| attempt.new.retry && attempt.new.nonce.is_some();
    !looks(first) && !looks(next) && first.bucket == next.bucket
}

/// The bits of a hash that an id keeps.
const HASH: u64 = (1 << 62) - 1;
/// Partitions over which the rooms of one hour are spread.
pub(super) const HOUR_SHARDS: i32 = 8;

/// The hour of an id, counted from 1970.
pub(super) const fn hour_of(id: EventId) -> u64 {
    id.timestamp().millis() / 3_600_000
}

/// The partition of a room within an hour.
pub(super) fn shard_of(room: RoomId) -> i32 {
    i32::from(room.as_bytes()[15]) % HOUR_SHARDS
}
