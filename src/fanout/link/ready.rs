//! What a link's socket is ready for, and what else there is to do for the connection.

use std::io;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::Link;
use crate::fanout::signals::Signals;

impl Link {
    /// What there is to do, if anything: the socket can be read (if `reading`), something that waits can be written, or a
    /// signal came.
    #[must_use]
    pub fn look(&self, reading: bool) -> Option<Signals> {
        let signals = self.signals.fetch_and(Signals::LASTING, Ordering::AcqRel);
        self.wants(Signals(signals), reading).then_some(Signals(signals))
    }

    /// Waits until there is something to do.
    pub fn poll(&self, cx: &mut Context<'_>, reading: bool) -> Poll<Signals> {
        self.waker.register(cx.waker());
        self.look(reading).map_or(Poll::Pending, Poll::Ready)
    }

    /// Leaves word whom to wake; false if there is something to do already.
    #[must_use]
    pub fn rest(&self, waker: &Waker, reading: bool) -> bool {
        self.waker.register(waker);
        // Looked at and left: whoever is woken meanwhile needs it.
        !self.wants(Signals(self.signals.load(Ordering::Acquire)), reading)
    }

    fn wants(&self, signals: Signals, reading: bool) -> bool {
        if signals.dead() || signals.changed() || (reading && signals.readable()) {
            return true;
        }
        // Looked at only after the signals were taken: bytes that are queued later are told of later.
        signals.writable() && {
            let outbox = self.outbox.lock();
            outbox.closing || !outbox.is_written()
        }
    }

    /// Waits until there is something to read, also after the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if Signals(self.signals.load(Ordering::Acquire)).readable() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Reads what is there. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// As the socket has it; `WouldBlock` if nothing is there.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        const BOTH: u8 = Signals::READ | Signals::ENDED;
        // Cleared before the read: what comes after it sets them anew.
        let ended = self.signals.fetch_and(!BOTH, Ordering::AcqRel) & Signals::ENDED;
        let read = self.stream.read(buffer);
        // The kernel tells of what begins. So where there may be more, nothing new would be told: a full buffer, or a
        // peer that has ended, of which was told already.
        if let Ok(count) = read
            && (count == buffer.len() || ended != 0)
        {
            self.signals.fetch_or(Signals::READ | ended, Ordering::AcqRel);
        }
        read
    }
}
