//! The channel layer inside one process: a hub that any number of nodes hang on. One node alone publishes to nobody,
//! which is what the embedded server does; tests and simulations put several nodes on one hub.
//!
//! Each node has an inbox of two queues under one bound. Durable payloads are taken first, and when the inbox is full
//! an ephemeral one gives way, so typing and presence never cost a message its place. What is dropped all the same is
//! counted and told before anything else, since the sooner a repair starts the less it has to read. Nothing here waits
//! while it holds a lock, and publishing never waits for a slow node.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::{ChannelLayer, Class, Incoming, Result};
use crate::limits;
use crate::model::RoomId;

/// What the nodes of one process hang on. Cloning it gives another handle to the same hub.
#[derive(Clone)]
pub struct LocalHub {
    shared: Arc<Hub>,
}

impl Default for LocalHub {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalHub {
    /// A hub whose inboxes hold [`limits::LAYER_QUEUE_MAX`] payloads each.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(limits::LAYER_QUEUE_MAX)
    }

    /// A hub whose inboxes hold this many payloads each, for tests that want to see them full.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            shared: Arc::new(Hub {
                capacity,
                next_node: AtomicU64::new(0),
                rooms: RwLock::default(),
            }),
        }
    }

    /// A new node's end. When the last handle to it is dropped, the node is gone from the hub.
    #[must_use]
    pub fn node(&self) -> Arc<dyn ChannelLayer> {
        Arc::new(LocalNode {
            inbox: Arc::new(Inbox {
                node: self.shared.next_node.fetch_add(1, Ordering::Relaxed),
                capacity: self.shared.capacity,
                queues: Mutex::default(),
                arrived: Notify::new(),
            }),
            hub: Arc::clone(&self.shared),
        })
    }
}

struct Hub {
    capacity: usize,
    next_node: AtomicU64,
    rooms: RwLock<HashMap<RoomId, Vec<Arc<Inbox>>>>,
}

/// One node's waiting payloads.
struct Inbox {
    node: u64,
    capacity: usize,
    queues: Mutex<Queues>,
    arrived: Notify,
}

#[derive(Default)]
struct Queues {
    durable: VecDeque<(RoomId, Bytes)>,
    ephemeral: VecDeque<(RoomId, Bytes)>,
    lost: u64,
}

impl Inbox {
    fn put(&self, room: RoomId, class: Class, payload: Bytes) {
        let mut queues = self.queues.lock();
        if queues.durable.len() + queues.ephemeral.len() >= self.capacity && queues.ephemeral.pop_front().is_none() {
            if class == Class::Ephemeral {
                return;
            }
            queues.lost += 1;
        } else {
            match class {
                Class::Durable => queues.durable.push_back((room, payload)),
                Class::Ephemeral => queues.ephemeral.push_back((room, payload)),
            }
        }
        drop(queues);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Incoming> {
        let mut queues = self.queues.lock();
        if queues.lost > 0 {
            let count = std::mem::take(&mut queues.lost);
            return Some(Incoming::Lost { count });
        }
        let (class, (room, payload)) = match queues.durable.pop_front() {
            Some(first) => (Class::Durable, first),
            None => (Class::Ephemeral, queues.ephemeral.pop_front()?),
        };
        Some(Incoming::Payload { room, class, payload })
    }
}

struct LocalNode {
    hub: Arc<Hub>,
    inbox: Arc<Inbox>,
}

#[async_trait]
impl ChannelLayer for LocalNode {
    async fn join(&self, room: RoomId) -> Result<()> {
        let mut rooms = self.hub.rooms.write();
        let inboxes = rooms.entry(room).or_default();
        if !inboxes.iter().any(|inbox| inbox.node == self.inbox.node) {
            inboxes.push(Arc::clone(&self.inbox));
        }
        Ok(())
    }

    async fn leave(&self, room: RoomId) -> Result<()> {
        let mut rooms = self.hub.rooms.write();
        if let Some(inboxes) = rooms.get_mut(&room) {
            inboxes.retain(|inbox| inbox.node != self.inbox.node);
            if inboxes.is_empty() {
                rooms.remove(&room);
            }
        }
        Ok(())
    }

    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> Result<()> {
        let rooms = self.hub.rooms.read();
        for inbox in rooms.get(&room).into_iter().flatten() {
            if inbox.node != self.inbox.node {
                inbox.put(room, class, payload.clone());
            }
        }
        Ok(())
    }

    async fn next(&self) -> Result<Incoming> {
        loop {
            if let Some(incoming) = self.inbox.take() {
                return Ok(incoming);
            }
            // `notify_one` leaves a permit behind when nobody waits, so nothing that came in between is missed.
            self.inbox.arrived.notified().await;
        }
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.hub.rooms.write().retain(|_, inboxes| {
            inboxes.retain(|inbox| inbox.node != self.inbox.node);
            !inboxes.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::conformance::{self, World};
    use super::*;

    struct Local;

    #[async_trait]
    impl World for Local {
        async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
            let hub = LocalHub::with_capacity(self.capacity());
            (0..count).map(|_| hub.node()).collect()
        }

        fn capacity(&self) -> usize {
            16
        }

        fn quiet(&self) -> Duration {
            // What is published is in the inbox when `publish` returns.
            Duration::ZERO
        }
    }

    #[tokio::test]
    async fn the_local_layer_keeps_every_clause() {
        assert_eq!(conformance::failures(&Local).await, []);
    }

    #[tokio::test]
    async fn every_dropped_durable_payload_is_counted() {
        let hub = LocalHub::with_capacity(4);
        let (from, to) = (hub.node(), hub.node());
        let room = RoomId::random();
        to.join(room).await.unwrap();
        for _ in 0..10 {
            from.publish(room, Class::Durable, Bytes::new()).await.unwrap();
        }
        assert_eq!(to.next().await, Ok(Incoming::Lost { count: 6 }));
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let hub = LocalHub::new();
        let (from, to) = (hub.node(), hub.node());
        let room = RoomId::random();
        to.join(room).await.unwrap();
        let reader = tokio::spawn(async move { to.next().await });
        tokio::task::yield_now().await;
        from.publish(room, Class::Durable, Bytes::from_static(b"x"))
            .await
            .unwrap();
        assert!(matches!(reader.await.unwrap(), Ok(Incoming::Payload { .. })));
    }

    #[tokio::test]
    async fn a_dropped_node_leaves_nothing_behind() {
        let hub = LocalHub::new();
        let node = hub.node();
        node.join(RoomId::random()).await.unwrap();
        assert_eq!(hub.shared.rooms.read().len(), 1);
        drop(node);
        assert_eq!(hub.shared.rooms.read().len(), 0);
    }
}
