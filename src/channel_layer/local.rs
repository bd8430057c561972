//! The channel layer inside one process: a hub that any number of nodes hang on. One node alone publishes to nobody,
//! which is what the embedded server does; tests and simulations put several nodes on one hub, and may cut it.
//!
//! Nothing here waits while it holds a lock, and publishing never waits for a slow node.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;

use super::arrivals::Arrivals;
use super::{ChannelLayer, Class, Error, Incoming, Result};
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
    /// A hub that keeps [`limits::LAYER_QUEUE_MAX`] payloads for each node.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(limits::LAYER_QUEUE_MAX)
    }

    /// A hub that keeps this many payloads for each node, for tests that want to see it full.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            shared: Arc::new(Hub {
                capacity,
                state: RwLock::default(),
            }),
        }
    }

    /// A new node's end. When the last handle to it is dropped, the node is gone from the hub.
    #[must_use]
    pub fn node(&self) -> Arc<dyn ChannelLayer> {
        let arrivals = Arc::new(Arrivals::new(self.shared.capacity));
        self.shared.state.write().nodes.push(Arc::clone(&arrivals));
        Arc::new(LocalNode {
            arrivals,
            hub: Arc::clone(&self.shared),
        })
    }

    /// Cuts the connection between all nodes until [`restore`](Self::restore), for tests and simulations.
    pub fn cut(&self) {
        self.shared.interrupt(true);
    }

    /// Ends what [`cut`](Self::cut) began.
    pub fn restore(&self) {
        self.shared.interrupt(false);
    }
}

struct Hub {
    capacity: usize,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    nodes: Vec<Arc<Arrivals>>,
    rooms: HashMap<RoomId, Vec<Arc<Arrivals>>>,
    is_cut: bool,
}

impl Hub {
    fn interrupt(&self, is_cut: bool) {
        let mut state = self.state.write();
        state.is_cut = is_cut;
        for node in &state.nodes {
            node.interrupted();
        }
    }
}

struct LocalNode {
    hub: Arc<Hub>,
    arrivals: Arc<Arrivals>,
}

impl LocalNode {
    fn is_self(&self, other: &Arc<Arrivals>) -> bool {
        Arc::ptr_eq(other, &self.arrivals)
    }

    /// Fails where nothing can be carried now.
    fn check(&self, state: &State) -> Result<()> {
        if self.arrivals.is_closed() {
            return Err(Error::Closed);
        }
        if state.is_cut {
            return Err(Error::Unavailable("the in-process layer was cut by a test".into()));
        }
        Ok(())
    }

    fn forget(&self) {
        let mut state = self.hub.state.write();
        state.nodes.retain(|node| !self.is_self(node));
        state.rooms.retain(|_, joined| {
            joined.retain(|node| !self.is_self(node));
            !joined.is_empty()
        });
    }
}

#[async_trait]
impl ChannelLayer for LocalNode {
    async fn join(&self, room: RoomId) -> Result<()> {
        let mut state = self.hub.state.write();
        self.check(&state)?;
        let joined = state.rooms.entry(room).or_default();
        if !joined.iter().any(|node| self.is_self(node)) {
            joined.push(Arc::clone(&self.arrivals));
        }
        Ok(())
    }

    async fn leave(&self, room: RoomId) -> Result<()> {
        if self.arrivals.is_closed() {
            return Err(Error::Closed);
        }
        let mut state = self.hub.state.write();
        if let Some(joined) = state.rooms.get_mut(&room) {
            joined.retain(|node| !self.is_self(node));
            if joined.is_empty() {
                state.rooms.remove(&room);
            }
        }
        Ok(())
    }

    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> Result<()> {
        let state = self.hub.state.read();
        self.check(&state)?;
        let joined = state.rooms.get(&room).into_iter().flatten();
        for node in joined.filter(|node| !self.is_self(node)) {
            let payload = payload.clone();
            node.put(Incoming::Payload { room, class, payload });
        }
        Ok(())
    }

    async fn broadcast(&self, payload: Bytes) -> Result<()> {
        let state = self.hub.state.read();
        self.check(&state)?;
        for node in state.nodes.iter().filter(|node| !self.is_self(node)) {
            let payload = payload.clone();
            node.put(Incoming::Broadcast { payload });
        }
        Ok(())
    }

    async fn next(&self) -> Result<Incoming> {
        self.arrivals.next().await
    }

    async fn ping(&self) -> Result<()> {
        self.check(&self.hub.state.read())
    }

    async fn close(&self) {
        self.forget();
        self.arrivals.close();
    }
}

impl Drop for LocalNode {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::super::conformance::{self, World};
    use super::*;

    #[derive(Default)]
    struct Local(Mutex<LocalHub>);

    #[async_trait]
    impl World for Local {
        async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
            let hub = LocalHub::with_capacity(self.capacity());
            *self.0.lock() = hub.clone();
            (0..count).map(|_| hub.node()).collect()
        }

        async fn cut(&self) {
            self.0.lock().cut();
        }

        async fn restore(&self) {
            self.0.lock().restore();
        }

        fn quiet(&self) -> Duration {
            // What is published waits for the other nodes when `publish` returns.
            Duration::ZERO
        }
    }

    #[tokio::test]
    async fn the_local_layer_keeps_every_clause() {
        assert_eq!(conformance::failures(&Local::default()).await, []);
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
        assert_eq!(hub.shared.state.read().rooms.len(), 1);
        drop(node);
        assert_eq!(hub.shared.state.read().rooms.len(), 0);
        assert_eq!(hub.shared.state.read().nodes.len(), 0);
    }
}
