//! Tests of the local throttles that are not in the contract: the bound, and a naive model.

use proptest::prelude::*;

use super::super::conformance::{self, World};
use super::*;

/// A clock that moves when it is told to.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<Mutex<Duration>>);

impl TestClock {
    pub(crate) fn advance(&self, span: Duration) {
        *self.0.lock() += span;
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || *now.lock())
    }
}

#[derive(Default)]
struct Local(TestClock);

#[async_trait]
impl World for Local {
    async fn throttle(&self) -> Arc<dyn Throttle> {
        Arc::new(LocalThrottles::with(100, self.0.clock()))
    }

    async fn pass(&self, span: Duration) {
        self.0.advance(span);
    }
}

#[tokio::test]
async fn local_throttles_keep_every_clause() {
    assert_eq!(conformance::failures(&Local::default()).await, []);
}

#[tokio::test]
async fn the_map_is_bounded_and_keeps_who_has_longest_to_wait() {
    let time = TestClock::default();
    let throttles = LocalThrottles::with(10, time.clock());
    for _ in 0..7 {
        throttles.check(Kind::LoginAccount, "guessed").await.unwrap();
    }
    for number in 0..1_000 {
        throttles.check(Kind::HandshakeUser, &number.to_string()).await.unwrap();
        let counts = throttles.counts.lock();
        assert!(counts.states.len() <= 10);
        assert_eq!(counts.states.len(), counts.recovery.len());
    }
    let verdict = throttles.check(Kind::LoginAccount, "guessed").await.unwrap();
    assert!(matches!(verdict, Verdict::RetryAfter(_)));
}

#[tokio::test]
async fn long_keys_are_told_apart_but_not_kept() {
    let throttles = LocalThrottles::with(10, TestClock::default().clock());
    let long = "x".repeat(64 * 1024);
    for _ in 0..5 {
        assert_eq!(throttles.check(Kind::LoginAccount, &long).await, Ok(Verdict::Allowed));
    }
    let refused = throttles.check(Kind::LoginAccount, &long).await.unwrap();
    assert!(matches!(refused, Verdict::RetryAfter(_)));
    let other = format!("{long}y");
    assert_eq!(throttles.check(Kind::LoginAccount, &other).await, Ok(Verdict::Allowed));
    let kept: Vec<usize> = throttles
        .counts
        .lock()
        .states
        .keys()
        .map(|(_, key)| key.len())
        .collect();
    assert_eq!(kept, [64, 64]);
    throttles.reset(Kind::LoginAccount, &long).await.unwrap();
    assert_eq!(throttles.check(Kind::LoginAccount, &long).await, Ok(Verdict::Allowed));
}

#[tokio::test]
async fn what_has_recovered_is_dropped() {
    let time = TestClock::default();
    let throttles = LocalThrottles::with(100, time.clock());
    for number in 0..50 {
        throttles.check(Kind::Registration, &number.to_string()).await.unwrap();
    }
    time.advance(limits::REGISTRATION.every);
    for _ in 0..50 {
        throttles.check(Kind::Registration, "another").await.unwrap();
    }
    assert_eq!(throttles.counts.lock().states.len(), 1);
}

/// What happened to one key, replayed from the beginning whenever it is asked.
#[derive(Default, Clone)]
struct Naive(Vec<Step>);

#[derive(Debug, Clone, Copy)]
enum Step {
    Taken(Duration),
    Returned(Duration),
}

impl Naive {
    fn allows(&self, policy: Policy, now: Duration) -> bool {
        match policy {
            Policy::Rate(rate) => {
                let (mut level, mut last) = (Duration::ZERO, Duration::ZERO);
                for step in self.0.iter().copied().chain([Step::Taken(now)]) {
                    let (Step::Taken(at) | Step::Returned(at)) = step;
                    level = level.saturating_sub(at - last);
                    last = at;
                    level = match step {
                        Step::Taken(_) => level + rate.every,
                        Step::Returned(_) => level.saturating_sub(rate.every),
                    };
                }
                level <= rate.every * rate.burst
            }
            Policy::Growing(growing) => {
                let (mut count, mut open_at, mut forget_at) = (0, Duration::ZERO, Duration::ZERO);
                let mut last = Duration::ZERO;
                for step in self.0.iter().copied().chain([Step::Taken(now)]) {
                    let (Step::Taken(at) | Step::Returned(at)) = step;
                    if at >= forget_at {
                        (count, open_at) = (0u32, Duration::ZERO);
                    }
                    match step {
                        Step::Taken(at) if at < open_at => return false,
                        Step::Taken(at) => (count, last) = (count + 1, at),
                        Step::Returned(_) => count = count.saturating_sub(1),
                    }
                    let mut wait = Duration::ZERO;
                    for nth in growing.free..=count {
                        wait = if nth == growing.free { growing.first } else { wait * 2 };
                        wait = wait.min(growing.longest);
                    }
                    open_at = last + wait;
                    forget_at = if count == 0 { at } else { open_at + growing.kept };
                }
                true
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Move {
    pause: Duration,
    kind: Kind,
    key: u8,
    what: u8,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    // Few keys and short pauses, so that buckets fill up and waits grow.
    let pause = prop_oneof![8 => Just(0), 2 => 0..20_000u64, 1 => 0..200_000u64, 1 => 0..2_000_000u64];
    let kind = prop_oneof![Just(Kind::LoginAccount), Just(Kind::Registration)];
    let one = (pause, kind, 0..2u8, 0..40u8).prop_map(|(pause, kind, key, what)| Move {
        pause: Duration::from_millis(pause),
        kind,
        key,
        what,
    });
    proptest::collection::vec(one, 1..400)
}

proptest! {
    #[test]
    fn the_map_answers_as_a_naive_model_does(moves in moves()) {
        let time = TestClock::default();
        let throttles = LocalThrottles::with(1_000, time.clock());
        let mut model: HashMap<(Kind, u8), Naive> = HashMap::new();
        for Move { pause, kind, key, what } in moves {
            time.advance(pause);
            let now = (time.clock())();
            let history = model.entry((kind, key)).or_default();
            match what {
                0 => {
                    throttles.counts.lock().forget(&(kind, Arc::from(key.to_string())));
                    history.0.clear();
                }
                1 if matches!(history.0.last(), Some(Step::Taken(_))) => {
                    throttles.change(kind, &key.to_string(), State::take_back);
                    history.0.push(Step::Returned(now));
                }
                _ => {
                    let verdict = throttles.change(kind, &key.to_string(), |state| state.take(now));
                    let allowed = history.allows(kind.policy(), now);
                    prop_assert_eq!(verdict == Verdict::Allowed, allowed, "{:?} at {:?}: {:?}", kind, now, history.0);
                    if allowed {
                        history.0.push(Step::Taken(now));
                    }
                }
            }
        }
    }
}
