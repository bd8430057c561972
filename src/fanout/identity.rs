//! What one connection is: decided at its handshake, and the same to its end.

use crate::model::{Author, ConnectionId};
use crate::sessions::SessionHandle;

/// What one connection is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The connection.
    pub connection: ConnectionId,
    /// Whose it is.
    pub author: Author,
    /// By which session.
    pub session: SessionHandle,
    /// It serves one room only (`/ws/chat/...`): then no inbox, and an end of membership ends it.
    pub one_room: bool,
    /// It gets its own messages as well.
    pub echo: bool,
}
