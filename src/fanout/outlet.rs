//! What a room needs of a connection. The rooms' logic is written against this, so that tests drive it with outlets
//! that are full, slow or gone whenever the test says so.

use bytes::Bytes;

use crate::model::{Author, ConnectionId, RoomId};

/// What became of bytes handed to an outlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// They will be written, or the connection ends.
    Yes,
    /// None of them: the connection holds as much as it may. The room marks it behind.
    Full,
    /// The connection is dead.
    Gone,
}

/// One connection's writing end.
pub trait Outlet: Send + Sync + 'static {
    /// Which connection it is.
    fn connection(&self) -> ConnectionId;

    /// Whose connection it is.
    fn author(&self) -> &Author;

    /// Whether it gets its own messages as well.
    fn echo(&self) -> bool;

    /// Takes frames of durable events, all or nothing.
    fn events(&self, frames: &Bytes) -> Taken;

    /// Takes an answer to a request. Never `Full`: a connection is not read while its answers wait.
    fn answer(&self, frames: Bytes) -> Taken;

    /// Takes frames of ephemeral events if nothing else waits, else drops them (G9).
    fn ephemeral(&self, frames: &Bytes);

    /// The room has marked it behind: it asks the room to go on from this arrival number once it has drained.
    fn behind(&self, room: RoomId, arrival: u64);

    /// One of its sends was answered: another may be read.
    fn send_answered(&self);
}
