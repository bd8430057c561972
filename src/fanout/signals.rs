//! Why a connection's task was woken, in one byte that links set without a lock.

/// Why a connection's task was woken, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals(pub(super) u8);

impl Signals {
    pub(super) const WRITE: u8 = 1;
    pub(super) const BEHIND: u8 = 2;
    pub(super) const PERMIT: u8 = 4;
    pub(super) const DEAD: u8 = 8;

    /// A room has marked the connection behind.
    #[must_use]
    pub const fn behind(self) -> bool {
        self.0 & Self::BEHIND != 0
    }

    /// The connection is dead: end its task.
    #[must_use]
    pub const fn dead(self) -> bool {
        self.0 & Self::DEAD != 0
    }
}
