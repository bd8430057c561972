//! What the rules of rooms need from the live side, so that they can be tested without sockets.

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Change, Event, EventId, Room, UserId};
use crate::store;
use crate::wire::outbound::Notice;

/// The live side of rooms.
#[async_trait]
pub trait Live: Send + Sync {
    /// Stores an edit or a deletion, then delivers it to everybody in the room. The caller has checked that `by` may.
    async fn change(&self, room: &Room, change: Change) -> store::Result<Event>;

    /// The newest message of a room; `None` if there is none. All who ask at once cost at most one read of the store.
    async fn newest_message(&self, room: &Arc<Room>) -> store::Result<Option<EventId>>;

    /// Tells a user something on each of their `/ws` connections. Nothing is kept for those who have none.
    fn inbox(&self, user: UserId, notice: &Notice);

    /// Whether no other node changes what this one stores.
    fn is_alone(&self) -> bool {
        true
    }
}
