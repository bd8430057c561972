//! The hybrid logical clock: wall time where it moves forward, a counter where it does not.
//!
//! A new id is greater than every id that this clock has issued or observed, so a reply sorts after its cause although
//! the clocks of nodes differ, and a clock that is set back never makes history run backwards.

use std::sync::Arc;
use std::time::Duration;

use super::id::EventId;
use super::moment::Moment;
use super::timestamp::Timestamp;
use parking_lot::Mutex;

/// How far a wall clock may move against the time that passes before it counts as set.
const STEP_MAX: Duration = Duration::from_secs(1);

/// A source of wall-clock time. Injected, so that tests and the simulation own time.
pub trait WallClock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemTime;

impl WallClock for SystemTime {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Issues event ids that only grow. Owned by one thread; [`SharedClock`] is for several.
#[derive(Debug, Clone, Default)]
pub struct HybridClock {
    millis: u64,
    counter: u16,
}

impl HybridClock {
    /// A clock that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds in an id that was received or read: later ids will be greater. Feed it only ids that are known to exist,
    /// since an invented one from the far future would drag the clock there.
    pub fn observe(&mut self, id: EventId) {
        let seen = (id.timestamp().millis(), id.counter());
        if seen > (self.millis, self.counter) {
            (self.millis, self.counter) = seen;
        }
    }

    /// Whether everything this clock issues from now on is greater than `id` anyway.
    #[must_use]
    pub fn is_past(&self, id: EventId) -> bool {
        (self.millis, self.counter) >= (id.timestamp().millis(), id.counter())
    }

    /// The next id: at wall time if that is ahead of everything seen, else just after it.
    pub fn next(&mut self, wall: Timestamp, attempt_hash: u64) -> EventId {
        if wall.millis() > self.millis {
            (self.millis, self.counter) = (wall.millis(), 0);
        } else if self.counter < EventId::COUNTER_MAX {
            self.counter += 1;
        } else {
            (self.millis, self.counter) = (self.millis + 1, 0);
        }
        EventId::new(self.millis, self.counter, attempt_hash)
    }
}

/// The one hybrid clock of a node, shared by all that issue or meet ids: the store, which names what it writes, and the
/// rooms, which hear the ids of other nodes. The lock is held for a few instructions.
///
/// Among nodes a wall clock is compared with the others' before a write begins. It may be set while the write is under
/// way; the ids of that write then go on from what was compared, by the time that has passed since.
pub struct SharedClock {
    clock: Mutex<HybridClock>,
    wall: Arc<dyn WallClock>,
    /// What the wall clock said when it was last found right, and when that was.
    believed: Mutex<Option<(Timestamp, Moment)>>,
}

impl SharedClock {
    /// A clock that has seen nothing yet, over the node's wall clock.
    #[must_use]
    pub fn new(wall: Arc<dyn WallClock>) -> Self {
        Self {
            clock: Mutex::new(HybridClock::new()),
            wall,
            believed: Mutex::new(None),
        }
    }

    /// What the wall clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.wall.now()
    }

    /// The wall clock was compared with other nodes' when it said this, and is right.
    pub fn believe(&self, wall: Timestamp) {
        *self.believed.lock() = Some((wall, Moment::now()));
    }

    /// The wall clock, or, where it was set by more than a second since it was last found right, the
    /// time that it would show without that. A node that compares its clock with nobody's follows it.
    fn right(&self) -> Timestamp {
        let wall = self.wall.now();
        let Some((at, since)) = *self.believed.lock() else {
            return wall;
        };
        let expected = at.plus(since.elapsed());
        let moved = wall.since(expected).max(expected.since(wall));
        if moved > STEP_MAX { expected } else { wall }
    }

    /// The next id; greater than all that were issued or observed.
    #[must_use]
    pub fn next(&self, attempt_hash: u64) -> EventId {
        let wall = self.right();
        self.clock.lock().next(wall, attempt_hash)
    }

    /// Folds in an id that was received or read; see [`HybridClock::observe`].
    pub fn observe(&self, id: EventId) {
        self.clock.lock().observe(id);
    }

    /// The later of the wall clock and the greatest id seen.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        let wall = self.wall.now();
        wall.max(Timestamp::from_millis(self.clock.lock().millis))
    }

    /// Whether the next id would be greater than this one without its being observed first.
    #[must_use]
    pub fn is_past(&self, id: EventId) -> bool {
        self.clock.lock().is_past(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Hands(Mutex<u64>);

    impl WallClock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(*self.0.lock())
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Issue(u32, u64),
        Observe(u32, u16, u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..50u32, any::<u64>()).prop_map(|(at, hash)| Step::Issue(at, hash)),
            (0..50u32, 0..=0xfffu16, any::<u64>()).prop_map(|(at, c, h)| Step::Observe(at, c, h)),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn every_id_is_greater_than_all_issued_and_observed(steps in steps()) {
            let mut clock = HybridClock::new();
            let mut greatest = EventId::new(0, 0, 0);
            for step in steps {
                match step {
                    Step::Issue(at, hash) => {
                        let id = clock.next(Timestamp::from_millis(at.into()), hash);
                        prop_assert!(id > greatest);
                        greatest = id;
                    }
                    Step::Observe(at, counter, hash) => {
                        let id = EventId::new(at.into(), counter, hash);
                        clock.observe(id);
                        greatest = greatest.max(id);
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_slept_gives_ids_of_the_present() {
        let hands = Arc::new(Hands(Mutex::new(50_000)));
        let clock = SharedClock::new(Arc::clone(&hands) as Arc<dyn WallClock>);
        clock.believe(clock.now());
        super::super::moment::testing::suspend(Duration::from_secs(600));
        *hands.0.lock() += 600_000;
        assert_eq!(clock.next(0).timestamp().millis(), 650_000);
    }

    #[tokio::test(start_paused = true)]
    async fn ids_go_on_from_what_was_compared_when_the_wall_clock_is_set_meanwhile() {
        let hands = Arc::new(Hands(Mutex::new(50_000)));
        let shared = SharedClock::new(hands.clone());
        *hands.0.lock() = 100_000;
        assert_eq!(shared.next(0).timestamp().millis(), 100_000, "nobody to compare with");
        shared.believe(shared.now());
        tokio::time::advance(Duration::from_secs(3)).await;
        *hands.0.lock() = 163_000;
        assert_eq!(
            shared.next(0).timestamp().millis(),
            103_000,
            "it was set a minute ahead"
        );
        *hands.0.lock() = 103_900;
        assert_eq!(shared.next(0).timestamp().millis(), 103_900, "it runs a little fast");
        *hands.0.lock() = 40_000;
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(shared.next(0).timestamp().millis(), 105_000, "it was set back");
        *hands.0.lock() = 165_000;
        shared.believe(shared.now());
        assert_eq!(shared.next(0).timestamp().millis(), 165_000, "the others say so too");
    }

    #[test]
    fn a_shared_clock_issues_each_id_once_whoever_asks() {
        struct Still;
        impl WallClock for Still {
            fn now(&self) -> Timestamp {
                Timestamp::from_millis(7)
            }
        }
        let shared = Arc::new(SharedClock::new(Arc::new(Still)));
        let foreign = EventId::new(9, 3, 5);
        shared.observe(foreign);
        assert!(shared.is_past(foreign));
        assert!(!shared.is_past(EventId::new(9, 4, 0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || (0..1_000).map(|_| shared.next(1)).collect::<Vec<_>>())
            })
            .collect();
        let mut ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id > foreign));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4_000);
    }

    #[test]
    fn a_full_counter_borrows_the_next_millisecond() {
        let mut clock = HybridClock::new();
        let wall = Timestamp::from_millis(7);
        let ids: Vec<_> = (0..5000).map(|_| clock.next(wall, 0)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(ids.last().unwrap().timestamp().millis(), 8);
    }
}
