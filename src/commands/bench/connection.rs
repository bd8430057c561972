//! One connection of a load: a task that reads, and a way to write to it from the pacing thread.
//!
//! Written to be cheap: thousands of these share the machine with the server that they measure. A read goes into a
//! buffer of the thread, frames are looked at where they lie, and the clock is read once per read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::client::{FrameReader, Opcode, Upgraded, mask_frame};

use super::dialect::Told;
use super::load::Load;
use super::pace;
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

/// The writing side of a connection. The pacing thread and the reading task write in turns.
#[derive(Debug)]
pub struct Outgoing {
    stream: TcpStream,
    pending: Mutex<Vec<u8>>,
}

impl Outgoing {
    /// Sends a frame now, or as soon as the server takes it; false if too much waits already.
    pub fn send(self: &Arc<Self>, opcode: Opcode, payload: &[u8], runtime: &Handle) -> bool {
        self.put(&mask_frame(opcode, payload, rand::random()), runtime)
    }

    /// The same for finished frames, all or none of them.
    pub fn put(self: &Arc<Self>, frame: &[u8], runtime: &Handle) -> bool {
        let mut pending = self.pending.lock();
        if !pending.is_empty() {
            let fits = pending.len() + frame.len() <= PENDING_BYTES_MAX;
            if fits {
                pending.extend_from_slice(frame);
            }
            return fits;
        }
        // A broken connection is found out and counted by its reader.
        let taken = self.stream.try_write(frame).unwrap_or(0);
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
        Self::go_on(load, number, upgraded, tally)
    }

    /// The same for one that was here before, with what it has counted.
    #[must_use]
    pub fn go_on(load: Arc<Load>, number: usize, upgraded: Upgraded, tally: Arc<Mutex<Tally>>) -> Self {
        let outgoing = Arc::new(Outgoing {
            stream: upgraded.stream,
            pending: Mutex::new(Vec::new()),
        });
        if let Some(greeting) = load.dialect.greeting() {
            outgoing.send(Opcode::Text, greeting.as_bytes(), &Handle::current());
        }
        let reading = Reading {
            next: load.plan.window as u64,
            load,
            number,
            reader: FrameReader::default(),
            outgoing: Arc::clone(&outgoing),
            tally: Arc::clone(&tally),
            runtime: Handle::current(),
            is_live: false,
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
    is_live: bool,
    /// Where answers set the pace: the number of the next send.
    next: u64,
}

impl Reading {
    async fn run(mut self, rest: Vec<u8>) {
        let mut closed = self.take(&rest);
        while closed.is_none() {
            if self.is_live && !self.load.plan.reads(self.number) {
                return std::future::pending().await;
            }
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
        let tally = &mut *self.tally.lock();
        let (delivered_before, mut measured, mut acks) = (tally.delivered, 0, 0);
        let is_live = &mut self.is_live;
        let fed = self.reader.feed(bytes, |opcode, payload| match opcode {
            Opcode::Text => load.dialect.read(&load.marks, number, payload, |told| match told {
                Told::Delivery(message) => {
                    let verdict = tally.deliver(&load.plan, &message);
                    if matches!(verdict, Verdict::Fine | Verdict::WrongOrder | Verdict::Late)
                        && let Some(latency) = load.since_intended(start, message.sender, message.seq, now)
                    {
                        load.latency.record(latency);
                        measured += 1;
                    }
                }
                Told::Ack(seq) => {
                    acks += 1;
                    ack(load, tally, number, seq, start, now);
                }
                Told::Asked(answer) => {
                    outgoing.send(Opcode::Text, answer.as_bytes(), runtime);
                }
                told => *is_live |= note(load, tally, &told),
            }),
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
        if acks > 0 && load.plan.window > 0 {
            pace::send_next(load, number, &mut self.next, acks, outgoing, runtime);
        }
        closed
    }
}

/// Counts what is neither a delivery nor an ack; answers whether the room is live from here on.
fn note(load: &Load, tally: &mut Tally, told: &Told<'_>) -> bool {
    match told {
        Told::Live => {
            load.live.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        Told::Error(code) => {
            tally.error(code);
            load.errors.fetch_add(1, Ordering::Relaxed);
        }
        Told::Presence(bytes) => {
            load.presence_frames.fetch_add(1, Ordering::Relaxed);
            load.presence_bytes.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        Told::Broken => tally.broken += 1,
        Told::Delivery(_) | Told::Own | Told::Ack(_) | Told::Asked(_) | Told::Other => {}
    }
    false
}

fn ack(load: &Load, tally: &mut Tally, number: usize, seq: u64, start: Option<Instant>, now: Instant) {
    if !tally.ack(seq) {
        return;
    }
    load.acked.fetch_add(1, Ordering::Relaxed);
    let others = load.plan.readers(load.plan.room(number)) as u64 - 1;
    load.due.fetch_add(others, Ordering::Relaxed);
    if let Some(latency) = load.since_intended(start, number, seq, now) {
        load.acks.record(latency);
    }
}
