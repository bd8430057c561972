//! What this node has joined on the channel layer, and how many ask for it: a room that retires and is active again at
//! the same time must not be left in between.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::channel_layer::{ChannelLayer, Result};
use crate::model::RoomId;

/// Locks that joins and leaves spread over: one that waits for the layer delays few others.
const SHARDS: usize = 64;

/// The rooms and inboxes that this node has joined.
pub struct Attendance {
    layer: Arc<dyn ChannelLayer>,
    shards: Vec<Mutex<HashMap<RoomId, usize>>>,
}

impl Attendance {
    /// Nothing joined yet.
    pub fn new(layer: Arc<dyn ChannelLayer>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { layer, shards }
    }

    fn shard(&self, room: RoomId) -> &Mutex<HashMap<RoomId, usize>> {
        &self.shards[usize::from(room.as_bytes()[15]) % SHARDS]
    }

    /// From when this returns, payloads for the room arrive, until as many have left as joined.
    pub async fn join(&self, room: RoomId) -> Result<()> {
        let mut joined = self.shard(room).lock().await;
        if let Some(count) = joined.get_mut(&room) {
            *count += 1;
            return Ok(());
        }
        self.layer.join(room).await?;
        joined.insert(room, 1);
        Ok(())
    }

    /// Takes one `join` back.
    pub async fn leave(&self, room: RoomId) {
        let mut joined = self.shard(room).lock().await;
        let Some(count) = joined.get_mut(&room) else { return };
        *count -= 1;
        if *count == 0 {
            joined.remove(&room);
            if let Err(error) = self.layer.leave(room).await {
                tracing::debug!(%error, %room, "a room was not left on the channel layer");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel_layer::Class;
    use crate::channel_layer::local::LocalHub;

    #[tokio::test]
    async fn a_room_is_left_when_the_last_who_joined_it_leaves() {
        let hub = LocalHub::new();
        let (node, other) = (hub.node(), hub.node());
        let room = RoomId::random();
        let attendance = Attendance::new(Arc::clone(&node));
        attendance.join(room).await.unwrap();
        attendance.join(room).await.unwrap();
        attendance.leave(room).await;
        other
            .publish(room, Class::Durable, bytes::Bytes::from_static(b"x"))
            .await
            .unwrap();
        node.next().await.unwrap();
        attendance.leave(room).await;
        attendance.leave(room).await;
        attendance.join(room).await.unwrap();
        other
            .publish(room, Class::Durable, bytes::Bytes::from_static(b"y"))
            .await
            .unwrap();
        node.next().await.unwrap();
    }
}
