//! The control log inside one process: the newest entries in memory, and the position that each node has reported.
//!
//! It starts empty with the process, as the connections that it concerns do. Waiting is done outside the lock; every
//! append, report and departure wakes all who wait, which is cheap because revocations are rare.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{ControlLog, Entry, Error, Position, Reading, Result};
use crate::limits;
use crate::model::BootId;

/// The log of one process. Cloning it gives another handle to the same log.
#[derive(Clone)]
pub struct LocalControlLog {
    shared: Arc<Shared>,
}

struct Shared {
    capacity: usize,
    log: Mutex<Log>,
    changed: Notify,
}

struct Log {
    incarnation: u64,
    /// The newest entries; the last one stands at `tail`.
    entries: VecDeque<Arc<Entry>>,
    tail: u64,
    reported: HashMap<BootId, Position>,
}

impl Log {
    fn empty() -> Self {
        Self {
            incarnation: rand::random(),
            entries: VecDeque::new(),
            tail: 0,
            reported: HashMap::new(),
        }
    }

    const fn tail(&self) -> Position {
        Position {
            incarnation: self.incarnation,
            offset: self.tail,
        }
    }

    fn after(&self, position: Position) -> Result<Vec<Arc<Entry>>> {
        let tail = self.tail();
        let oldest = self.tail - self.entries.len() as u64;
        // A position from the future belongs to another log: what it means here is unknown.
        if position.offset < oldest || !tail.reaches(position) {
            return Err(Error::Behind { resume_at: tail });
        }
        let skip = usize::try_from(position.offset - oldest).unwrap_or(usize::MAX);
        Ok(self.entries.iter().skip(skip).cloned().collect())
    }

    /// Whether a node that has acted on `acted` needs not be waited for.
    const fn has_acted(&self, acted: Position, position: Position) -> bool {
        // Who reads another incarnation has checked everything since that began, which was after the entry.
        let checked = acted.incarnation == self.incarnation && self.incarnation != position.incarnation;
        acted.reaches(position) || checked
    }
}

impl Default for LocalControlLog {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalControlLog {
    /// A log that keeps [`limits::CONTROL_LOG_MAX`] entries.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(limits::CONTROL_LOG_MAX)
    }

    /// A log that keeps this many entries, for tests that want to see it full.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                capacity,
                log: Mutex::new(Log::empty()),
                changed: Notify::new(),
            }),
        }
    }

    /// Loses everything, as a server that was restarted without its data does.
    #[cfg(test)]
    pub fn lose_everything(&self) {
        let mut log = self.shared.log.lock();
        log.incarnation = log.incarnation.wrapping_add(1);
        log.entries.clear();
        log.tail = 0;
    }

    /// Waits until `look` finds something. `look` must not wait.
    async fn until<T: Send>(&self, look: impl Fn(&Log) -> Option<T> + Send + Sync) -> T {
        loop {
            // Made before looking: a change after the look then still wakes it.
            let changed = self.shared.changed.notified();
            if let Some(found) = look(&self.shared.log.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

#[async_trait]
impl ControlLog for LocalControlLog {
    async fn attach(&self, node: BootId) -> Result<Position> {
        let mut log = self.shared.log.lock();
        let tail = log.tail();
        log.reported.insert(node, tail);
        Ok(tail)
    }

    async fn detach(&self, node: BootId) {
        self.shared.log.lock().reported.remove(&node);
        self.shared.changed.notify_waiters();
    }

    async fn append(&self, entry: Entry) -> Result<Position> {
        let position = {
            let mut log = self.shared.log.lock();
            if log.entries.len() == self.shared.capacity {
                log.entries.pop_front();
            }
            log.entries.push_back(Arc::new(entry));
            log.tail += 1;
            log.tail()
        };
        self.shared.changed.notify_waiters();
        Ok(position)
    }

    async fn end(&self) -> Result<Position> {
        Ok(self.shared.log.lock().tail())
    }

    async fn read(&self, node: BootId, acted: Position) -> Result<Reading> {
        let reading = {
            let mut log = self.shared.log.lock();
            // A reading that comes after the node has gone must not count it in again.
            if let Some(reported) = log.reported.get_mut(&node)
                && !reported.reaches(acted)
            {
                *reported = acted;
            }
            log.after(acted).map(|entries| Reading {
                entries,
                position: log.tail(),
                holders: log.reported.iter().map(|(node, at)| (*node, *at)).collect(),
                time: None,
            })
        };
        self.shared.changed.notify_waiters();
        reading
    }

    async fn changed(&self, after: Position) {
        let changed = self.until(|log| (log.tail() != after).then_some(()));
        let _ = tokio::time::timeout(limits::LEASE_RENEWAL, changed).await;
    }

    async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()> {
        let confirmed = self.until(|log| {
            log.reported
                .values()
                .all(|at| log.has_acted(*at, position))
                .then_some(())
        });
        tokio::time::timeout(patience, confirmed)
            .await
            .map_err(|_| Error::Unconfirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, World, some_entry};
    use super::super::revoke;
    use super::*;

    struct Local;

    #[async_trait]
    impl World for Local {
        async fn ends(&self, count: usize) -> conformance::Ends {
            let log = LocalControlLog::with_capacity(self.capacity());
            conformance::Ends {
                nodes: (0..count).map(|_| Arc::new(log.clone()) as _).collect(),
                lose: Box::new(move || {
                    let log = log.clone();
                    Box::pin(async move { log.lose_everything() })
                }),
            }
        }

        fn quiet(&self) -> Duration {
            // What was appended or reported is seen at once.
            Duration::ZERO
        }

        fn patience(&self) -> Duration {
            Duration::from_secs(60)
        }
    }

    #[tokio::test]
    async fn the_local_log_keeps_every_clause() {
        assert_eq!(conformance::failures(&Local).await, []);
    }

    /// The next entries, waited for.
    async fn next(log: &LocalControlLog, node: BootId, acted: Position) -> Result<(Vec<Arc<Entry>>, Position)> {
        loop {
            let reading = log.read(node, acted).await?;
            if !reading.entries.is_empty() {
                return Ok((reading.entries, reading.position));
            }
            log.changed(acted).await;
        }
    }

    #[tokio::test]
    async fn a_revocation_is_answered_once_every_node_has_reported() {
        let log = LocalControlLog::new();
        let node = BootId::random();
        let start = log.attach(node).await.unwrap();
        let reader = {
            let log = log.clone();
            tokio::spawn(async move {
                let (entries, position) = next(&log, node, start).await?;
                log.read(node, position).await?;
                Ok::<_, Error>(entries)
            })
        };
        let entry = some_entry(1);
        let answer = revoke(&log, entry.clone()).await.unwrap();
        assert_eq!(answer.offset, 1);
        assert_eq!(reader.await.unwrap(), Ok(vec![Arc::new(entry)]));
    }

    #[tokio::test]
    async fn nobody_is_waited_for_where_nobody_is() {
        assert!(revoke(&LocalControlLog::new(), some_entry(1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_late_reading_does_not_count_a_departed_node_in() {
        let log = LocalControlLog::new();
        let node = BootId::random();
        let start = log.attach(node).await.unwrap();
        log.detach(node).await;
        log.read(node, start).await.unwrap();
        let position = log.append(some_entry(1)).await.unwrap();
        assert_eq!(log.wait_reported(position, Duration::ZERO).await, Ok(()));
    }

    /// Many revocations at once on several threads: none hangs, and every reader has read all of them in one order.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn revocations_at_once_are_all_read_in_one_order_and_none_is_left_waiting() {
        const REVOCATIONS: u64 = 200;
        let log = LocalControlLog::new();
        let read = |log: LocalControlLog| async move {
            let node = BootId::random();
            let (mut at, mut all) = (log.attach(node).await?, Vec::new());
            while at.offset < REVOCATIONS {
                let (entries, position) = next(&log, node, at).await?;
                all.extend(entries);
                at = position;
            }
            log.read(node, at).await?;
            Ok::<_, Error>(all)
        };
        let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read(log.clone()))).collect();
        while log.shared.log.lock().reported.len() < readers.len() {
            tokio::task::yield_now().await;
        }
        let revocations: Vec<_> = (0..REVOCATIONS)
            .map(|number| {
                let log = log.clone();
                tokio::spawn(async move {
                    let position = log.append(some_entry(u8::try_from(number % 256).unwrap_or(0))).await?;
                    log.wait_reported(position, Duration::from_secs(60)).await
                })
            })
            .collect();
        for revocation in revocations {
            assert_eq!(revocation.await.unwrap(), Ok(()));
        }
        let mut orders = Vec::new();
        for reader in readers {
            orders.push(reader.await.unwrap().unwrap());
        }
        assert_eq!(orders[0].len(), 200);
        assert!(orders.iter().all(|order| *order == orders[0]));
    }
}
