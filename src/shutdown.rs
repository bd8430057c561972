//! Stopping in order: a token that tells everybody how far the stop has come, owners for spawned tasks, and a sequence
//! of steps under one deadline.
//!
//! The order of a stop is data (a list of named steps in `app.rs`), not an accident of which value is dropped first.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};

/// How far a stop has come; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No stop was asked for.
    Running,
    /// Not ready any more, still serving: balancers look elsewhere.
    Draining,
    /// No new connections and requests; those that are open are told goodbye.
    Closing,
    /// Only what is under way is finished and written out.
    Stopping,
}

/// Tells a stop's phase to everybody who holds a clone.
#[derive(Debug, Clone)]
pub struct Token {
    sender: Arc<watch::Sender<Phase>>,
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl Token {
    /// A token in [`Phase::Running`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(Phase::Running)),
        }
    }

    /// How far the stop has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.sender.borrow()
    }

    /// Moves on to a phase; nothing happens if the stop has come further.
    pub fn advance(&self, to: Phase) {
        self.sender.send_if_modified(|phase| {
            let moves = to > *phase;
            if moves {
                *phase = to;
            }
            moves
        });
    }

    /// Waits until the stop has come to a phase or further.
    pub async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.sender.subscribe().wait_for(|now| *now >= phase).await;
    }
}

/// Owns spawned tasks: knows how many still run, and waits for them. Clones own the same tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    inner: Arc<TasksInner>,
}

#[derive(Debug)]
struct TasksInner {
    name: &'static str,
    running: AtomicUsize,
    idle: Notify,
}

struct Running(Arc<TasksInner>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Tasks {
    /// An owner without tasks; the name says whose they are in logs.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            inner: Arc::new(TasksInner {
                name,
                running: AtomicUsize::new(0),
                idle: Notify::new(),
            }),
        }
    }

    /// Spawns a task on the present runtime. A panic in it is logged with the owner's name and ends only this task.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.inner.running.fetch_add(1, Ordering::AcqRel);
        let running = Running(Arc::clone(&self.inner));
        tokio::spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(tasks = running.0.name, "a task ended in a panic");
            }
            drop(running);
        });
    }

    /// How many tasks run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.running.load(Ordering::Acquire)
    }

    /// Waits until no task runs.
    pub async fn idle(&self) {
        loop {
            let notified = self.inner.idle.notified();
            tokio::pin!(notified);
            // Registered before the count is read, so that a task that ends in between is not missed.
            notified.as_mut().enable();
            if self.running() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The step.
    pub step: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Whether it came to its end.
    pub finished: bool,
}

type Step<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The steps of a stop, run one after the other under one deadline.
pub struct Sequence<'a> {
    steps: Vec<(&'static str, Step<'a>)>,
}

/// What a step gets that begins after the deadline: enough for a local commit, too little to hang.
const LAST_CHANCE: Duration = Duration::from_millis(500);

impl<'a> Default for Sequence<'a> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Sequence<'a> {
    /// No steps.
    #[must_use]
    pub const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// Puts a step at the end.
    #[must_use]
    pub fn then(mut self, name: &'static str, step: impl Future<Output = ()> + Send + 'a) -> Self {
        self.steps.push((name, Box::pin(step)));
        self
    }

    /// Runs the steps in order. One that is not done at the deadline is given up and named in the log; those after it
    /// still get a last chance each, since the last one usually closes the store.
    pub async fn run(self, deadline: Duration) -> Vec<Outcome> {
        let begun = Instant::now();
        let mut outcomes = Vec::with_capacity(self.steps.len());
        for (step, work) in self.steps {
            let step_begun = Instant::now();
            let left = deadline.saturating_sub(begun.elapsed()).max(LAST_CHANCE);
            let finished = tokio::time::timeout(left, AssertUnwindSafe(work).catch_unwind()).await;
            let finished = matches!(finished, Ok(Ok(())));
            let took = step_begun.elapsed();
            if finished {
                tracing::info!(step, ?took, "stop: done");
            } else {
                tracing::error!(step, ?took, "stop: given up");
            }
            outcomes.push(Outcome { step, took, finished });
        }
        outcomes
    }
}

/// Waits for the first SIGTERM or SIGINT; answers its name. From then on a second one ends the process at once.
///
/// # Errors
/// If the system refuses to report signals.
pub async fn signal() -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::error!("stop: ended at once by a second signal");
        std::process::exit(1);
    });
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[tokio::test]
    async fn a_token_only_moves_forward() {
        let token = Token::new();
        let waiter = token.clone();
        let waiting = tokio::spawn(async move { waiter.reached(Phase::Draining).await });
        token.advance(Phase::Closing);
        token.advance(Phase::Draining);
        waiting.await.unwrap();
        assert_eq!(token.phase(), Phase::Closing);
        token.reached(Phase::Running).await;
    }

    #[tokio::test]
    async fn an_owner_waits_for_all_its_tasks_and_survives_a_panic() {
        let tasks = Tasks::new("test");
        tasks.idle().await;
        let token = Token::new();
        for _ in 0..3 {
            let token = token.clone();
            tasks.spawn(async move { token.reached(Phase::Stopping).await });
        }
        tasks.spawn(async { panic!("on purpose") });
        assert!(tasks.running() >= 3);
        token.advance(Phase::Stopping);
        tasks.idle().await;
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn steps_run_in_order_and_the_last_runs_even_past_the_deadline() {
        let order = Mutex::new(Vec::new());
        let outcomes = Sequence::new()
            .then("first", async { order.lock().push(1) })
            .then("hangs", std::future::pending())
            .then("panics", async { panic!("on purpose") })
            .then("last", async { order.lock().push(2) })
            .run(Duration::ZERO)
            .await;
        assert_eq!(*order.lock(), [1, 2]);
        let finished: Vec<_> = outcomes
            .iter()
            .map(|outcome| (outcome.step, outcome.finished))
            .collect();
        assert_eq!(
            finished,
            [("first", true), ("hangs", false), ("panics", false), ("last", true)]
        );
    }
}
