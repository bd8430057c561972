//! What there is to do for a connection, in one byte that links and the kernel's readiness set without a lock.

/// What there is to do for a connection, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals(pub(super) u8);

impl Signals {
    /// The socket takes bytes again, or there is something new to look at before it is closed.
    pub(super) const WRITE: u8 = 1;
    pub(super) const BEHIND: u8 = 2;
    pub(super) const PERMIT: u8 = 4;
    pub(super) const DEAD: u8 = 8;
    /// The socket has something to read. Stays until somebody reads.
    pub(super) const READ: u8 = 16;
    /// The peer sends nothing any more, or the socket is broken: what is read ends soon.
    pub(super) const ENDED: u8 = 32;
    /// What stays set until it is acted upon.
    pub(super) const LASTING: u8 = Self::DEAD | Self::READ | Self::ENDED;

    /// The connection is dead: end its task.
    #[must_use]
    pub const fn dead(self) -> bool {
        self.0 & Self::DEAD != 0
    }

    /// There is something to read.
    #[must_use]
    pub const fn readable(self) -> bool {
        self.0 & Self::READ != 0
    }

    /// Something was put off, or another send may be read.
    pub(super) const fn changed(self) -> bool {
        self.0 & (Self::BEHIND | Self::PERMIT) != 0
    }

    pub(super) const fn writable(self) -> bool {
        self.0 & Self::WRITE != 0
    }
}
