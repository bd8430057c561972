//! The buckets of the rooms that this process has to do with: read, kept fresh, and rolled.
//!
//! What was read not long ago is enough to place a message, since a start is written a minute before it comes into
//! force and reads forgive ten minutes. So in a room that is written to, the index is read and the rows are counted
//! beside the sends, never in front of them; only what has not been looked at for minutes is read first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ScyllaStore;
use super::buckets::{Bucket, BucketLimits, LEAD, MISPLACED, Starts};
use super::rows::{cql, start};
use crate::limits;
use crate::model::{EventId, RoomId, Timestamp};
use crate::store::Result;

/// Older than this, what is known is read again beside the sends.
const FRESH: Duration = Duration::from_secs(10);
/// Reads of messages want an index that is no older: every start in force was written before that.
const FOR_READS: Duration = Duration::from_secs(30);
/// So old, a message would be placed where reads no longer look for it.
const FOR_WRITES: Duration = Duration::from_secs(9 * 60);
/// Rows of this process after which the index is looked at whatever its age.
const ROWS_PER_LOOK: u64 = 2_000;

/// What is known of one room's buckets.
pub(super) struct RoomIndex {
    state: Mutex<State>,
    /// One look at a time.
    looking: tokio::sync::Mutex<()>,
    queued: AtomicBool,
}

struct State {
    starts: Starts,
    read: Option<Moment>,
    /// The bucket whose rows are counted.
    counted: Option<Counted>,
    /// Rows written by this process since the last look.
    since_look: u64,
    /// Starts whose writing is not certain, to be taken back.
    withdraw: Vec<u64>,
    /// The hour and bucket for which it was last noted that the room spoke.
    hour: Option<(u64, u64)>,
}

#[derive(Clone, Copy)]
struct Counted {
    bucket: u64,
    rows: u64,
    up_to: EventId,
    at: Moment,
    rate: f64,
}

/// A moment by both clocks: tests drive one, pauses and steps move the other.
#[derive(Clone, Copy)]
struct Moment {
    monotonic: Instant,
    wall: Timestamp,
}

impl Moment {
    fn age(self, wall: Timestamp) -> Duration {
        self.monotonic.elapsed().max(wall.since(self.wall))
    }
}

/// The rooms' indexes, bounded: those beyond the bound are forgotten and read again.
#[derive(Default)]
pub(super) struct Indexes(Mutex<HashMap<RoomId, Arc<RoomIndex>>>);

impl Indexes {
    pub(super) fn of(&self, room: RoomId) -> Arc<RoomIndex> {
        let mut rooms = self.0.lock();
        if let Some(known) = rooms.get(&room) {
            return Arc::clone(known);
        }
        if rooms.len() >= limits::BUCKET_INDEXES_MAX {
            // Any will do: whoever is needed again is read again, and those in use are held by their users.
            let some: Vec<_> = rooms.keys().take(limits::BUCKET_INDEXES_MAX / 16).copied().collect();
            rooms.retain(|room, _| !some.contains(room));
        }
        let index = Arc::new(RoomIndex {
            state: Mutex::new(State {
                starts: Starts::new(Vec::new()),
                read: None,
                counted: None,
                since_look: 0,
                withdraw: Vec::new(),
                hour: None,
            }),
            looking: tokio::sync::Mutex::new(()),
            queued: AtomicBool::new(false),
        });
        rooms.insert(room, Arc::clone(&index));
        index
    }
}

impl RoomIndex {
    /// Whether the look that a first message sets off is over.
    #[cfg(test)]
    pub(super) fn is_looked_at(&self) -> bool {
        self.state.lock().counted.is_some() && self.looking.try_lock().is_ok()
    }

    fn age(&self, now: Timestamp) -> Option<Duration> {
        self.state.lock().read.map(|read| read.age(now))
    }

    /// The bucket that an id belongs to.
    pub(super) fn place(&self, id: EventId) -> u64 {
        self.state.lock().starts.of(id.timestamp().millis())
    }

    /// The buckets that may hold ids between two bounds, oldest first.
    pub(super) fn covering(&self, from: EventId, to: EventId) -> Vec<Bucket> {
        let (from, to) = (from.timestamp().millis(), to.timestamp().millis());
        self.state.lock().starts.covering(from, to)
    }

    /// Notes that a message was written; whether it is time to look at the room's buckets again.
    pub(super) fn wrote(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock();
        state.since_look += 1;
        let old = state.read.is_none_or(|read| read.age(now) > FRESH) || state.counted.is_none();
        (old || state.since_look >= ROWS_PER_LOOK) && !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Whether it has to be noted that the room spoke in this hour.
    pub(super) fn is_news(&self, hour: u64, bucket: u64) -> bool {
        self.state.lock().hour != Some((hour, bucket))
    }

    /// It was noted.
    pub(super) fn noted(&self, hour: u64, bucket: u64) {
        self.state.lock().hour = Some((hour, bucket));
    }
}

impl ScyllaStore {
    /// The room's buckets, fresh enough to place messages by.
    pub(super) async fn index_for_writes(&self, room: RoomId) -> Result<Arc<RoomIndex>> {
        self.index(room, FOR_WRITES).await
    }

    /// The room's buckets, fresh enough to find everything that was written.
    pub(super) async fn index_for_reads(&self, room: RoomId) -> Result<Arc<RoomIndex>> {
        self.index(room, FOR_READS).await
    }

    async fn index(&self, room: RoomId, oldest: Duration) -> Result<Arc<RoomIndex>> {
        let index = self.indexes.of(room);
        let stale = |age: Option<Duration>| age.is_none_or(|age| age > oldest);
        if stale(index.age(self.clock.now())) {
            let _one = index.looking.lock().await;
            if stale(index.age(self.clock.now())) {
                self.read_starts(room, &index).await?;
            }
        }
        Ok(index)
    }

    async fn read_starts(&self, room: RoomId, index: &RoomIndex) -> Result<()> {
        // Taken before the read: what is written after this moment comes into force a minute after it.
        let read = Moment {
            monotonic: Instant::now(),
            wall: self.clock.now(),
        };
        let found: Vec<(i64,)> = self
            .cql
            .rows(&self.cql.statements.starts, (cql(room.as_bytes()),))
            .await?;
        let mut starts = Starts::new(
            found
                .into_iter()
                .filter_map(|(start,)| u64::try_from(start).ok())
                .collect(),
        );
        let mut state = index.state.lock();
        for start in &state.withdraw {
            starts.remove(*start);
        }
        state.starts = starts;
        state.read = Some(read);
        Ok(())
    }

    /// Reads the starts, counts the rows of the present bucket and begins the next one where that is due. Runs beside
    /// the sends; what fails is tried again at the next look.
    pub(super) async fn look_at_buckets(&self, room: RoomId, index: &RoomIndex) {
        let _one = index.looking.lock().await;
        index.queued.store(false, Ordering::Release);
        if let Err(error) = self.look(room, index).await {
            tracing::debug!(%room, %error, "the room's buckets can't be looked at now");
        }
    }

    async fn look(&self, room: RoomId, index: &RoomIndex) -> Result<()> {
        self.withdraw(room, index).await?;
        self.read_starts(room, index).await?;
        let now = self.clock.now();
        let counted = self.count(room, index, now).await?;
        let next = {
            let mut state = index.state.lock();
            state.counted = Some(counted);
            state.since_look = 0;
            state
                .starts
                .next(now.millis(), counted.rows, counted.rate, &self.bucket_limits)
        };
        for start in next {
            self.begin_bucket(room, index, start).await?;
        }
        Ok(())
    }

    /// Counts what was added since the last look, by whatever node.
    async fn count(&self, room: RoomId, index: &RoomIndex, now: Timestamp) -> Result<Counted> {
        let (bucket, before) = {
            let state = index.state.lock();
            (state.starts.of(now.millis()), state.counted)
        };
        let before = before.filter(|before| before.bucket == bucket);
        let up_to = EventId::floor_of(now);
        let from = before.map_or(super::rows::BEGINNING, |before| before.up_to);
        let key = (cql(room.as_bytes()), start(bucket));
        let values = (key.0, key.1, cql(from.as_bytes()), cql(up_to.as_bytes()));
        let found: Option<(i64,)> = self.cql.first(&self.cql.statements.message_count, values).await?;
        let added = found.map_or(0, |(count,)| u64::try_from(count).unwrap_or_default());
        let at = Moment {
            monotonic: Instant::now(),
            wall: now,
        };
        let Some(before) = before else {
            // How fast the room is shows only at the next look, unless the bucket has just begun.
            let age = now.millis().saturating_sub(bucket).max(1_000);
            return Ok(Counted {
                bucket,
                rows: added,
                up_to,
                at,
                rate: if bucket == 0 {
                    0.0
                } else {
                    per_second(added, Duration::from_millis(age))
                },
            });
        };
        // By whichever clock more time has passed; the rate of a busy room falls slowly and rises at once.
        let rate = per_second(added, before.at.age(now).max(Duration::from_millis(100)));
        Ok(Counted {
            bucket,
            rows: before.rows + added,
            up_to,
            at,
            rate: rate.max(before.rate / 2.0),
        })
    }

    async fn begin_bucket(&self, room: RoomId, index: &RoomIndex, at: u64) -> Result<()> {
        let values = (cql(room.as_bytes()), start(at), cql(self.boot.as_bytes()));
        let since = Instant::now();
        let wall = self.clock.now();
        let result = self.cql.write(&self.cql.statements.start_insert, values).await;
        // Only what is certain well before it comes into force may stand: a start that turned up after messages of
        // its time were placed elsewhere would hide them.
        let in_time = since.elapsed().max(self.clock.now().since(wall)) < LEAD / 2;
        let mut state = index.state.lock();
        if result.is_ok() && in_time {
            state.starts.extend(&[at]);
            self.cql.counters.rolls.fetch_add(1, Ordering::Relaxed);
        } else {
            state.withdraw.push(at);
        }
        result
    }

    /// Takes back starts that were not written for certain.
    async fn withdraw(&self, room: RoomId, index: &RoomIndex) -> Result<()> {
        loop {
            let Some(at) = index.state.lock().withdraw.last().copied() else {
                return Ok(());
            };
            let values = (cql(room.as_bytes()), start(at));
            self.cql.write(&self.cql.statements.start_withdraw, values).await?;
            index.state.lock().withdraw.retain(|start| *start != at);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
fn per_second(rows: u64, span: Duration) -> f64 {
    rows as f64 / span.as_secs_f64()
}

/// Bounds that hold whatever a test scales.
const _: () = assert!(FOR_WRITES.as_secs() + LEAD.as_secs() <= MISPLACED.as_secs());
const _: () = assert!(FRESH.as_secs() < FOR_READS.as_secs() && FOR_READS.as_secs() < LEAD.as_secs());
const _: () = assert!(BucketLimits::REAL.rows > 0);
