//! What all connections of a load share: the pattern, the counts, and the times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::dialect::Dialect;
use super::histogram::Histogram;
use super::plan::{Marks, Plan};

/// Times of sends that are remembered where answers set the pace, of all senders together; a power of two.
const TIMES_KEPT: usize = 1 << 20;
/// The same, of one sender at least.
const TIMES_KEPT_EACH: usize = 1 << 10;

/// What all connections of a load share.
#[derive(Debug)]
pub struct Load {
    /// The pattern.
    pub plan: Plan,
    /// The server's protocol.
    pub dialect: Dialect,
    /// Begins the rooms' names.
    pub room_prefix: String,
    /// How deliveries are recognised.
    pub marks: Marks,
    /// When the first send is meant to go out, once that is known.
    pub start: Mutex<Option<Instant>>,
    /// Connections whose room is live.
    pub live: AtomicU64,
    /// First deliveries so far, of any time.
    pub delivered: AtomicU64,
    /// First deliveries of messages meant to be sent after the warm-up.
    pub measured: AtomicU64,
    /// Messages handed to connections so far.
    pub sent: AtomicU64,
    /// Messages that no connection took.
    pub unsent: AtomicU64,
    /// Acks so far.
    pub acked: AtomicU64,
    /// Deliveries that the acks so far promise.
    pub due: AtomicU64,
    /// Errors so far.
    pub errors: AtomicU64,
    /// Frames of presence so far.
    pub presence_frames: AtomicU64,
    /// Bytes of those.
    pub presence_bytes: AtomicU64,
    /// From the intended send to the delivery.
    pub latency: Histogram,
    /// From the intended send to the ack.
    pub acks: Histogram,
    /// From the intended to the real send: what the generator itself adds to the others.
    pub lag: Histogram,
    /// Where answers set the pace: when each sender's last messages were sent, in nanoseconds from the start.
    times: Vec<Box<[AtomicU64]>>,
}

impl Load {
    /// A load that has not begun.
    #[must_use]
    pub fn new(plan: Plan, dialect: Dialect, room_prefix: &str) -> Self {
        let kept = (TIMES_KEPT / plan.senders.max(1).next_power_of_two()).max(TIMES_KEPT_EACH);
        let paced_by_answers = if plan.window > 0 { plan.senders } else { 0 };
        Self {
            times: (0..paced_by_answers)
                .map(|_| (0..kept).map(|_| AtomicU64::new(0)).collect())
                .collect(),
            marks: Marks::of(&plan),
            plan,
            dialect,
            room_prefix: room_prefix.to_owned(),
            start: Mutex::new(None),
            live: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            due: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            presence_frames: AtomicU64::new(0),
            presence_bytes: AtomicU64::new(0),
            latency: Histogram::default(),
            acks: Histogram::default(),
            lag: Histogram::default(),
        }
    }

    /// A room's name.
    #[must_use]
    pub fn room_name(&self, room: usize) -> String {
        format!("{}{room}", self.room_prefix)
    }

    /// The frame that sends a message.
    #[must_use]
    pub fn frame(&self, sender: usize, seq: u64, nonces: bool) -> String {
        let nonce = nonces.then(|| format!("{:08x}-{sender}-{seq}", self.plan.run));
        let room = self.room_name(self.plan.room(sender));
        let text = self.plan.text(sender, seq);
        self.dialect.send(&room, seq, nonce.as_deref(), &text)
    }

    /// Notes when a message goes out, where answers set the pace.
    pub fn note_time(&self, sender: usize, seq: u64, from_start: Duration) {
        if let Some(place) = self.time_of(sender, seq) {
            place.store(
                u64::try_from(from_start.as_nanos()).unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
        }
    }

    fn time_of(&self, sender: usize, seq: u64) -> Option<&AtomicU64> {
        let times = self.times.get(sender)?;
        times.get(usize::try_from(seq).unwrap_or(0) & (times.len() - 1))
    }

    /// How long after its time a message is at `now`; `None` during the warm-up. Its time is the intended one, so that
    /// a stall is not hidden; where answers set the pace, the real one.
    #[must_use]
    pub fn since_intended(&self, start: Option<Instant>, sender: usize, seq: u64, now: Instant) -> Option<Duration> {
        let intended = self.time_of(sender, seq).map_or_else(
            || self.plan.intended(sender, seq),
            |place| Duration::from_nanos(place.load(Ordering::Relaxed)),
        );
        if intended < self.plan.warmup {
            return None;
        }
        Some(now.saturating_duration_since(start? + intended))
    }
}
