//! One connection of a load: a task that reads, and a way to write to it from the pacing thread.
//!
//! Written to be cheap: thousands of these share the machine with the server that they measure. A read goes into a
//! buffer of the thread, frames are looked at where they lie, and the clock is read once per read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::client::{FrameReader, Opcode, Upgraded, mask_frame};

use super::histogram::Histogram;
use super::plan::{Marks, Plan};
use super::tally::{Tally, Verdict};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads in a row before other connections get their turn.
const READS_IN_A_ROW: usize = 4;
/// Bytes that wait for a server that takes nothing; what does not fit is counted as not sent.
const PENDING_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What all connections of a load share.
#[derive(Debug)]
pub struct Load {
    /// The pattern.
    pub plan: Plan,
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
    /// Acks so far.
    pub acked: AtomicU64,
    /// Deliveries that the acks so far promise.
    pub due: AtomicU64,
    /// Errors so far.
    pub errors: AtomicU64,
    /// From the intended send to the delivery.
    pub latency: Histogram,
    /// From the intended send to the ack.
    pub acks: Histogram,
    /// From the intended to the real send: what the generator itself adds to the others.
    pub lag: Histogram,
}

impl Load {
    /// A load that has not begun.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            marks: Marks::of(&plan),
            plan,
            start: Mutex::new(None),
            live: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            due: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: Histogram::default(),
            acks: Histogram::default(),
            lag: Histogram::default(),
        }
    }

    /// How long after its intended time a message is at `now`; `None` during the warm-up.
    fn since_intended(&self, start: Option<Instant>, sender: usize, seq: u64, now: Instant) -> Option<Duration> {
        let intended = self.plan.intended(sender, seq);
        if intended < self.plan.warmup {
            return None;
        }
        Some(now.saturating_duration_since(start? + intended))
    }
}

/// The writing side of a connection. The pacing thread and the reading task write in turns.
#[derive(Debug)]
pub struct Outgoing {
    stream: TcpStream,
    pending: Mutex<Vec<u8>>,
}

impl Outgoing {
    /// Sends a frame now, or as soon as the server takes it; false if too much waits already.
    pub fn send(self: &Arc<Self>, opcode: Opcode, payload: &[u8], runtime: &Handle) -> bool {
        let frame = mask_frame(opcode, payload, rand::random());
        let mut pending = self.pending.lock();
        if !pending.is_empty() {
            let fits = pending.len() + frame.len() <= PENDING_BYTES_MAX;
            if fits {
                pending.extend_from_slice(&frame);
            }
            return fits;
        }
        // A broken connection is found out and counted by its reader.
        let taken = self.stream.try_write(&frame).unwrap_or(0);
        if taken < frame.len() {
            pending.extend_from_slice(&frame[taken..]);
            let outgoing = Arc::clone(self);
            runtime.spawn(async move { outgoing.flush().await });
        }
        true
    }

    async fn flush(&self) {
        loop {
            if self.stream.writable().await.is_err() {
                return;
            }
            let mut pending = self.pending.lock();
            match self.stream.try_write(&pending) {
                Ok(taken) => {
                    pending.drain(..taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if pending.is_empty() {
                return;
            }
        }
    }
}

/// A connection of the load.
#[derive(Debug)]
pub struct Connection {
    /// Its writing side.
    pub outgoing: Arc<Outgoing>,
    /// Its counts.
    pub tally: Arc<Mutex<Tally>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Takes over an open socket and reads it until it closes. Call it on the runtime that is to read.
    #[must_use]
    pub fn start(load: Arc<Load>, number: usize, upgraded: Upgraded) -> Self {
        let tally = Arc::new(Mutex::new(Tally::new(&load.plan, number)));
        let outgoing = Arc::new(Outgoing {
            stream: upgraded.stream,
            pending: Mutex::new(Vec::new()),
        });
        let reading = Reading {
            load,
            number,
            reader: FrameReader::default(),
            outgoing: Arc::clone(&outgoing),
            tally: Arc::clone(&tally),
            runtime: Handle::current(),
        };
        Self {
            outgoing,
            tally,
            task: tokio::spawn(reading.run(upgraded.rest)),
        }
    }
}

struct Reading {
    load: Arc<Load>,
    number: usize,
    reader: FrameReader,
    outgoing: Arc<Outgoing>,
    tally: Arc<Mutex<Tally>>,
    runtime: Handle,
}

/// Frames other than deliveries, as far as a load looks at them.
#[derive(Deserialize)]
struct Control<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(rename = "ref")]
    reference: Option<u64>,
    #[serde(borrow)]
    code: Option<std::borrow::Cow<'a, str>>,
}

impl Reading {
    async fn run(mut self, rest: Vec<u8>) {
        let mut closed = self.take(&rest);
        while closed.is_none() {
            if poll_fn(|context| self.outgoing.stream.poll_read_ready(context))
                .await
                .is_err()
            {
                closed = Some(1006);
                break;
            }
            closed = self.read();
            tokio::task::yield_now().await;
        }
        self.tally.lock().closed = closed;
    }

    /// Reads what is there; answers the close code once the connection is at its end.
    fn read(&mut self) -> Option<u16> {
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..READS_IN_A_ROW {
                match self.outgoing.stream.try_read(buffer) {
                    Ok(0) => return Some(1006),
                    Ok(length) => {
                        let closed = self.take(&buffer[..length]);
                        if closed.is_some() || length < buffer.len() {
                            return closed;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    Err(_) => return Some(1006),
                }
            }
            None
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Option<u16> {
        let now = Instant::now();
        let start = *self.load.start.lock();
        let mut closed = None;
        let (load, outgoing, runtime, number) = (&*self.load, &self.outgoing, &self.runtime, self.number);
        let mut tally = self.tally.lock();
        let (delivered_before, mut measured) = (tally.delivered, 0);
        let fed = self.reader.feed(bytes, |opcode, payload| match opcode {
            Opcode::Text => match load.marks.read(payload) {
                Some(message) => {
                    let verdict = tally.deliver(&load.plan, &message);
                    if matches!(verdict, Verdict::Fine | Verdict::WrongOrder | Verdict::Late)
                        && let Some(latency) = load.since_intended(start, message.sender, message.seq, now)
                    {
                        load.latency.record(latency);
                        measured += 1;
                    }
                }
                None => control(load, &mut tally, number, payload, start, now),
            },
            Opcode::Ping => {
                outgoing.send(Opcode::Pong, payload, runtime);
            }
            Opcode::Close => {
                let code = payload
                    .get(..2)
                    .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                closed = Some(code);
            }
            Opcode::Pong => {}
        });
        load.delivered
            .fetch_add(tally.delivered - delivered_before, Ordering::Relaxed);
        load.measured.fetch_add(measured, Ordering::Relaxed);
        if fed.is_err() {
            tally.broken += 1;
            return Some(1002);
        }
        closed
    }
}

fn control(load: &Load, tally: &mut Tally, number: usize, payload: &[u8], start: Option<Instant>, now: Instant) {
    let Ok(frame) = serde_json::from_slice::<Control<'_>>(payload) else {
        tally.broken += 1;
        return;
    };
    match (&*frame.kind, frame.reference) {
        ("ack", Some(seq)) => ack(load, tally, number, seq, start, now),
        ("live", _) => {
            load.live.fetch_add(1, Ordering::Relaxed);
        }
        ("error", _) => {
            tally.error(frame.code.as_deref().unwrap_or("(none)"));
            load.errors.fetch_add(1, Ordering::Relaxed);
        }
        _ => {}
    }
}

fn ack(load: &Load, tally: &mut Tally, number: usize, seq: u64, start: Option<Instant>, now: Instant) {
    if !tally.ack(seq) {
        return;
    }
    load.acked.fetch_add(1, Ordering::Relaxed);
    let others = load.plan.members(load.plan.room(number)) as u64 - 1;
    load.due.fetch_add(others, Ordering::Relaxed);
    if let Some(latency) = load.since_intended(start, number, seq, now) {
        load.acks.record(latency);
    }
}
