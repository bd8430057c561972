//! The writing end of one connection.
//!
//! Rooms and the control log write from their own tasks: straight to the socket while nothing waits, else into a bounded
//! queue that the connection's task drains. The lock is held for one system call at most. A link holds at most
//! `limits::OUTBOX_BYTES_MAX` bytes beyond the kernel's buffer (G5); bytes in the queue are shared slices of what every
//! other slow member holds too.
//!
//! What the socket is ready for, the kernel tells once each time that it begins ([`super::Readiness`]); the link keeps it
//! until it has been acted upon. Whatever sets a signal wakes the connection.

mod hand_over;
mod ready;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::identity::Identity;
use super::outbox::Outbox;
use super::outlet::{Outlet, Taken};
use super::signals::Signals;
use super::socket::Socket;
use super::traffic::Traffic;
use crate::limits;
use crate::model::{RoomId, Timestamp};
use crate::wire::close::CloseCode;
use crate::wire::farewell::LastWords;

/// Part of the outbox that room events may fill; the rest is for answers.
const EVENT_BYTES_MAX: usize = limits::OUTBOX_BYTES_MAX - limits::ANSWER_BYTES_RESERVED;

/// The writing end of one connection.
#[derive(Debug)]
pub struct Link {
    identity: Identity,
    stream: Socket,
    traffic: Arc<Traffic>,
    outbox: Mutex<Outbox>,
    waker: AtomicWaker,
    signals: AtomicU8,
    sends_under_way: AtomicU16,
    /// Its place in the registry.
    place: AtomicU32,
    heard_at: AtomicU32,
    pinged_at: AtomicU32,
    progress_at: AtomicU32,
    waiting_since: AtomicU32,
    /// Milliseconds since 1970 at which the session ends by itself.
    expires_at: AtomicU64,
}

impl Link {
    /// A link over a socket whose upgrade is complete and which does not block. `now` is in seconds of the node's coarse
    /// clock.
    #[must_use]
    pub fn new(
        identity: Identity,
        stream: impl Into<Socket>,
        traffic: Arc<Traffic>,
        now: u32,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            identity,
            stream: stream.into(),
            traffic,
            outbox: Mutex::default(),
            waker: AtomicWaker::new(),
            signals: AtomicU8::new(0),
            sends_under_way: AtomicU16::new(0),
            place: AtomicU32::new(u32::MAX),
            heard_at: AtomicU32::new(now),
            pinged_at: AtomicU32::new(now),
            progress_at: AtomicU32::new(now),
            waiting_since: AtomicU32::new(now),
            expires_at: AtomicU64::new(expires_at.millis()),
        }
    }

    /// What the connection is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) const fn stream(&self) -> &Socket {
        &self.stream
    }

    /// Its place in the registry; beyond all places before it has one.
    pub(super) fn place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    pub(super) fn set_place(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    pub(super) fn signal(&self, bits: u8) {
        let before = self.signals.fetch_or(bits, Ordering::AcqRel);
        // What lasts has woken the connection when it was set first.
        if bits & !(before & Signals::LASTING) != 0 {
            self.waker.wake();
        }
    }

    /// Forgets whom to wake.
    pub(super) fn forget_waker(&self) {
        drop(self.waker.take());
    }

    fn kill(&self, outbox: &mut Outbox) {
        outbox.dead = true;
        self.forget_behind(outbox);
        outbox.waiting = None;
        self.signal(Signals::DEAD);
    }

    fn forget_behind(&self, outbox: &mut Outbox) -> Vec<(RoomId, u64)> {
        if outbox.is_behind() {
            self.traffic.drained();
        }
        outbox.take_behind()
    }

    /// Writes what the kernel takes now and queues the rest. Only called while nothing waits, or when `frames` fits.
    fn put(&self, outbox: &mut Outbox, frames: &Bytes) -> Taken {
        if frames.is_empty() {
            return Taken::Yes;
        }
        let mut written = 0;
        if outbox.is_written() {
            match self.stream.write(frames) {
                Ok(count) => {
                    self.traffic.wrote(count);
                    if count == frames.len() {
                        return Taken::Yes;
                    }
                    written = count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.kill(outbox);
                    return Taken::Gone;
                }
            }
        }
        // The kernel has no room now, so it will tell when it has, and the task goes on with this.
        outbox.queue(frames.slice(written..));
        Taken::Yes
    }

    /// Writes from the queue until the kernel takes no more. Returns whether everything is written.
    pub fn drain(&self, now: u32) -> bool {
        let outbox = &mut *self.outbox.lock();
        while let Some(waiting) = &mut outbox.waiting
            && let Some(front) = waiting.queue.front_mut()
        {
            match self.stream.write(front) {
                Ok(0) => {
                    self.kill(outbox);
                    return true;
                }
                Ok(count) => {
                    self.traffic.wrote(count);
                    self.progress_at.store(now, Ordering::Relaxed);
                    waiting.bytes -= count;
                    if count == front.len() {
                        waiting.queue.pop_front();
                    } else {
                        let rest = front.slice(count..);
                        *front = rest;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => {
                    self.kill(outbox);
                    return true;
                }
            }
        }
        // An idle connection holds nothing: the queue's own memory goes too.
        if !outbox.is_behind() {
            outbox.waiting = None;
        }
        if outbox.closing {
            self.kill(outbox);
            self.stream.shutdown(Shutdown::Write);
        }
        true
    }

    /// Bytes that wait here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.outbox.lock().bytes()
    }

    /// Whether something was put off until the socket has drained.
    #[must_use]
    pub fn has_put_off(&self) -> bool {
        let outbox = self.outbox.lock();
        outbox.notices_lost || outbox.is_behind()
    }

    /// Takes the rooms in which this connection has fallen behind, with the arrival number to go on from.
    #[must_use]
    pub fn take_behind(&self) -> Vec<(RoomId, u64)> {
        self.forget_behind(&mut self.outbox.lock())
    }

    /// Takes the note that an inbox notice was dropped.
    #[must_use]
    pub fn take_notices_lost(&self) -> bool {
        std::mem::take(&mut self.outbox.lock().notices_lost)
    }

    /// Hands over an inbox notice. One that does not fit is dropped, and the client is told so later.
    pub fn notice(&self, frame: &Bytes) {
        let outbox = &mut *self.outbox.lock();
        if outbox.refuses() {
            return;
        }
        let waiting = outbox.bytes();
        if waiting > 0 && waiting + frame.len() > EVENT_BYTES_MAX {
            outbox.notices_lost = true;
            return;
        }
        let _ = self.put(outbox, frame);
    }

    /// Ends the connection at once: `last_words` are written if nothing waits and the kernel takes them, and nothing
    /// after them ever is (G6).
    pub fn abort(&self, last_words: &impl LastWords) {
        let outbox = &mut *self.outbox.lock();
        if outbox.dead {
            return;
        }
        outbox.ended = outbox.ended.or(last_words.code());
        if outbox.is_written() {
            // The outcome does not matter: the socket is closed either way.
            let _ = self.stream.write(&last_words.bytes());
        }
        self.kill(outbox);
        self.stream.shutdown(Shutdown::Both);
    }

    /// Writes and reads nothing any more; only [`Link::abort`] and its last words follow, at a time of the caller's.
    /// Where something waits there can be no last words, so that connection ends at once.
    pub fn silence(&self) {
        let waits = {
            let outbox = &mut *self.outbox.lock();
            outbox.silent = true;
            !outbox.is_written()
        };
        if waits {
            self.abort(&Bytes::new());
        }
    }

    /// Whether nothing is taken from this connection any more.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.outbox.lock().silent
    }

    /// Ends the connection in order: what waits and the last words are written first.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "last words are said once; whoever says them has no more use for them"
    )]
    pub fn close(&self, last_words: impl LastWords) {
        let outbox = &mut *self.outbox.lock();
        if outbox.dead || outbox.closing {
            return;
        }
        outbox.closing = true;
        // Without a reason of the server's it is the answer to a close of the client's.
        outbox.ended = outbox.ended.or(last_words.code()).or(Some(CloseCode::Normal));
        if self.put(outbox, &last_words.bytes()) == Taken::Yes {
            // The task drains, sees that it is closing, and ends.
            self.signal(Signals::WRITE);
        }
    }

    /// Why it ended; `None` if the peer vanished.
    #[must_use]
    pub fn ended_with(&self) -> Option<CloseCode> {
        self.outbox.lock().ended
    }

    /// Whether nothing is written any more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.outbox.lock().dead
    }

    /// Notes that the peer was heard.
    pub fn heard(&self, now: u32) {
        self.heard_at.store(now, Ordering::Relaxed);
    }

    /// Seconds of the coarse clock at which the peer was last heard.
    #[must_use]
    pub fn heard_at(&self) -> u32 {
        self.heard_at.load(Ordering::Relaxed)
    }

    /// Seconds at which the kernel last took something that had waited.
    #[must_use]
    pub fn progress_at(&self) -> u32 {
        self.progress_at.load(Ordering::Relaxed)
    }

    /// Notes that nothing waits now; the sweep calls this.
    pub fn set_waiting_since(&self, now: u32) {
        self.waiting_since.store(now, Ordering::Relaxed);
    }

    /// Seconds at which the sweep last saw nothing wait.
    #[must_use]
    pub fn waiting_since(&self) -> u32 {
        self.waiting_since.load(Ordering::Relaxed)
    }

    /// When the session ends by itself.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires_at.load(Ordering::Relaxed))
    }

    /// Notes that the session lives longer, or less long.
    pub fn set_expires_at(&self, at: Timestamp) {
        self.expires_at.store(at.millis(), Ordering::Relaxed);
    }

    /// Sends a ping unless something waits (then the socket says enough by taking it).
    pub fn ping(&self, frame: &Bytes, now: u32) {
        self.pinged_at.store(now, Ordering::Relaxed);
        self.ephemeral(frame);
    }

    /// Seconds at which the last ping was due.
    #[must_use]
    pub fn pinged_at(&self) -> u32 {
        self.pinged_at.load(Ordering::Relaxed)
    }

    /// Counts a request that is answered with an error, by its code.
    pub fn refused(&self, code: &'static str) {
        self.traffic.refused_request(code);
    }

    /// Counts a send that is under way.
    pub fn send_begun(&self) {
        self.sends_under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether another send may be read.
    #[must_use]
    pub fn may_send(&self) -> bool {
        !self.is_silent()
            && usize::from(self.sends_under_way.load(Ordering::Acquire)) < limits::SENDS_IN_FLIGHT_PER_CONNECTION
    }

    /// Whether the connection was closed with last words that were all written.
    #[must_use]
    pub fn ended_in_order(&self) -> bool {
        let outbox = self.outbox.lock();
        outbox.closing && outbox.dead
    }
}
