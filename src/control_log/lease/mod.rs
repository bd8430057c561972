//! The delivery lease: whether this node may write to sockets and accept sends right now (G6).
//!
//! A node that can't learn of revocations must not deliver. So it delivers only while a reading of the control log that
//! began less than [`limits::DELIVERY_LEASE`] ago has returned and was acted on; or, where nobody reaches the log, while
//! every other node says so in its status frames, in answer to frames that this node sent less than that ago, and the
//! channel layer is proven to be in reach by a round trip begun less than that ago and has lost nothing since the last
//! reading: a node that could not hear of others must not take silence for their absence. A reading counts from its beginning and a frame from the one that it answers,
//! so what lay in a buffer while the process was paused proves nothing.
//!
//! It is compared where something is about to be written, after it was read or received, and not by a timer. What may
//! not be written is held until proof came that is newer than its arrival ([`DeliveryLease::released`]).
//!
//! The rules are a pure machine beside this file; here are its clock, its lock, and the one number that the hot path
//! looks at.

mod machine;
#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Position;
use crate::model::{BootId, Moment};
pub use machine::Told;
use machine::{Elapsed, Machine, Term};

/// A node's lease. Cloning it gives another handle to the same one.
#[derive(Debug, Clone)]
pub struct DeliveryLease {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Moments are nanoseconds since then.
    base: Moment,
    /// Writing is allowed before this moment; the greatest number is for ever.
    until: AtomicU64,
    /// What arrived up to this moment and was held may be written.
    since: AtomicU64,
    /// When the last reading that was acted on began.
    read: AtomicU64,
    /// None where the lease is always held.
    machine: Option<Mutex<Machine>>,
    /// There is a channel layer, over which other nodes may live without the log.
    among_others: bool,
    changed: Notify,
}

fn nanos(elapsed: Elapsed) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

impl DeliveryLease {
    /// The lease of a server that runs alone: always held.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::with(None, u64::MAX, false)
    }

    /// The lease of a node whose revocations are in a log outside: not held until a reading has returned.
    #[must_use]
    pub fn of(node: BootId) -> Self {
        Self::with(Some(Mutex::new(Machine::new(node))), 0, false)
    }

    /// The lease of a node that tells others of itself over a channel layer: it is waited for, and waits itself, until
    /// they must have heard.
    #[must_use]
    pub fn among_others(node: BootId) -> Self {
        Self::with(Some(Mutex::new(Machine::new(node))), 0, true)
    }

    fn with(machine: Option<Mutex<Machine>>, at: u64, among_others: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                base: Moment::now(),
                until: AtomicU64::new(at),
                since: AtomicU64::new(at),
                read: AtomicU64::new(0),
                machine,
                among_others,
                changed: Notify::new(),
            }),
        }
    }

    fn elapsed(&self, at: Moment) -> Elapsed {
        at.since(self.shared.base)
    }

    /// Whether something that is in hand now may be written to sockets, or a send that came in may be stored.
    #[must_use]
    pub fn may_write(&self) -> bool {
        let until = self.shared.until.load(Ordering::Acquire);
        until == u64::MAX || nanos(self.shared.base.elapsed()) < until
    }

    /// How old this node's knowledge of the control log is: since the last reading that was acted on began, or since the
    /// start if there was none.
    #[must_use]
    pub fn lag(&self) -> Elapsed {
        let read = Elapsed::from_nanos(self.shared.read.load(Ordering::Relaxed));
        self.shared.base.elapsed().saturating_sub(read)
    }

    /// Waits until what arrived at `arrived` and could not be written then may be.
    pub async fn released(&self, arrived: Moment) {
        let arrived = nanos(self.elapsed(arrived));
        loop {
            // Made before looking: a change after the look then still wakes it.
            let changed = self.shared.changed.notified();
            if self.may_write() && self.shared.since.load(Ordering::Acquire) >= arrived {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, how: impl FnOnce(&mut Machine, Elapsed)) {
        let Some(machine) = &self.shared.machine else { return };
        {
            let mut machine = machine.lock();
            how(&mut machine, self.elapsed(Moment::now()));
            let Term { until, since } = machine.term();
            // Who sees the new end sees the new beginning too.
            self.shared.since.store(nanos(since), Ordering::Release);
            self.shared.until.store(nanos(until), Ordering::Release);
        }
        self.shared.changed.notify_waiters();
    }

    /// A reading that began then has returned, and everything in it was acted on.
    pub fn renewed(&self, begun: Moment, position: Position, holders: &[(BootId, Position)]) {
        let holders: Vec<BootId> = holders.iter().map(|(node, _)| *node).collect();
        let begun = self.elapsed(begun);
        self.shared.read.fetch_max(nanos(begun), Ordering::Relaxed);
        self.change(|machine, _| machine.renewed(begun, position, &holders));
    }

    /// A reading has failed: this node does not reach the log.
    pub fn failed(&self) {
        self.change(|machine, _| machine.failed());
    }

    /// Entries before this position were missed: nothing is written until the next reading has returned, which must be
    /// begun after all sessions and memberships were checked.
    pub fn bar(&self, position: Position) {
        self.change(|machine, _| machine.bar(position));
    }

    /// To be called right before a status frame of this node is sent.
    pub fn frame_sent(&self, number: u64) {
        self.change(|machine, now| machine.frame_sent(number, now));
    }

    /// A round trip over the channel layer that began then has returned: what others told before it is here, and what
    /// this node told before it is with them.
    pub fn linked(&self, begun: Moment) {
        let begun = self.elapsed(begun);
        self.change(|machine, now| machine.linked(begun, now));
    }

    /// The channel layer has lost something, or was interrupted: a node that began meanwhile may not have been heard.
    pub fn lost(&self) {
        self.change(|machine, now| machine.lost(now));
    }

    /// Whether a revocation may be answered by this node: whoever may live without the log has heard of it.
    #[must_use]
    pub fn introduced(&self) -> bool {
        let Some(machine) = &self.shared.machine else {
            return true;
        };
        !self.shared.among_others || machine.lock().introduced(self.elapsed(Moment::now()))
    }

    /// To be called for each status frame that arrives.
    pub fn frame_heard(&self, told: Told) {
        self.change(|machine, now| machine.frame_heard(told, now));
    }

    /// What this node says in its status frames: how far it has acted, and whether it reaches the log.
    #[must_use]
    pub fn condition(&self) -> (Option<Position>, bool) {
        match &self.shared.machine {
            Some(machine) => machine.lock().condition(),
            None => (None, true),
        }
    }

    /// The other nodes heard within [`crate::limits::LEASE_LIFE`] and how far they have acted.
    #[must_use]
    pub fn heard(&self) -> Vec<(BootId, Option<Position>)> {
        let Some(machine) = &self.shared.machine else {
            return Vec::new();
        };
        machine.lock().heard(self.elapsed(Moment::now()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits;
    use crate::model::moment::testing::suspend;

    fn at(offset: u64) -> Position {
        Position { incarnation: 1, offset }
    }

    #[tokio::test]
    async fn a_server_alone_may_always_write() {
        let lease = DeliveryLease::unlimited();
        lease.failed();
        lease.bar(at(1));
        assert!(lease.may_write());
        lease.released(Moment::now()).await;
    }

    #[tokio::test]
    async fn what_was_held_goes_out_after_a_reading_that_began_later() {
        let lease = DeliveryLease::of(BootId::random());
        assert!(!lease.may_write());
        let before = Moment::now();
        let arrived = before.plus(Duration::from_nanos(1));
        lease.renewed(before, at(1), &[]);
        assert!(lease.may_write());
        let released = {
            let lease = lease.clone();
            tokio::spawn(async move { lease.released(arrived).await })
        };
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!released.is_finished(), "the reading began before it arrived");
        lease.renewed(arrived, at(1), &[]);
        released.await.unwrap();
        lease.bar(at(1));
        assert!(!lease.may_write());
        lease.renewed(Moment::now(), at(1), &[]);
        assert!(lease.may_write());
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_knows_that_its_reading_is_old() {
        let lease = DeliveryLease::of(BootId::random());
        let begun = Moment::now();
        lease.renewed(begun, at(1), &[]);
        suspend(limits::DELIVERY_LEASE - Duration::from_millis(1));
        assert!(lease.may_write());
        suspend(Duration::from_millis(1));
        assert!(!lease.may_write() && lease.lag() == limits::DELIVERY_LEASE);
        // What is held now needs a reading that began after the sleep.
        let arrived = Moment::now();
        lease.renewed(begun.plus(Duration::from_millis(1)), at(1), &[]);
        let early = tokio::time::timeout(Duration::from_secs(60), lease.released(arrived)).await;
        assert!(early.is_err());
        lease.renewed(Moment::now(), at(1), &[]);
        assert!(lease.may_write());
        lease.released(arrived).await;
    }
}
