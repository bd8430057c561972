//! The channel layer on core NATS: at most once, nothing stored, every loss that can be known is reported.
//!
//! Each room belongs to one of 256 shards and each shard to one of the node's client connections. The room's one
//! subscription and all publishing to it use that connection, so that the server, asked not to echo, never sends a node
//! its own payloads. One small task per room moves what arrives out of the client's buffers into the node's own queue,
//! where durable payloads come before ephemeral ones; payloads are copied there, since each would otherwise keep a
//! whole read buffer alive.
//!
//! `join` returns when the server that the node is connected to has the subscription. Where NATS is a cluster, its other
//! servers learn of it a moment later, as fast as they are connected; what is published there in that moment is not
//! heard, and the one who joins finds it in the store or notices that a number is missing.
//!
//! Why one subscription per room and not one per shard: docs/adr/0008-nats-subscriptions.md.

mod counters;
mod link;
mod options;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Subscriber;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

pub use self::counters::Counters;
use self::link::{Ends, Link, Signals};
pub use self::options::{ClientCertificate, Login, NatsError, NatsOptions};
use self::subject::Subjects;
pub use self::subject::shard;
use super::arrivals::Arrivals;
use super::{ChannelLayer, Class, Error, Incoming, Result};
use crate::limits;
use crate::model::RoomId;

/// Makes `ring` the process's TLS provider, unless there is one. The libraries below bring more than one, and without a
/// choice the first TLS connection would panic; so the program calls this first of all.
pub fn install_tls_provider() {
    // It fails only where one is installed, and then there is nothing to do.
    let _ = async_nats::rustls::crypto::ring::default_provider().install_default();
}

/// A task that ends with its handle.
struct Task(JoinHandle<()>);

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Ends it and returns when it is over.
    async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The rooms of one shard that are joined. Locked across the round trip of a join, so that a join and a leave of one
/// room can't overtake each other.
type Shard = tokio::sync::Mutex<HashMap<RoomId, Task>>;

/// One node's end of the layer on NATS.
pub struct NatsLayer {
    subjects: Arc<Subjects>,
    links: Vec<Arc<Link>>,
    shards: Vec<Shard>,
    arrivals: Arc<Arrivals>,
    counters: Arc<Counters>,
    /// The links' watches and the ear for broadcasts.
    background: Mutex<Vec<Task>>,
    closed: AtomicBool,
}

impl NatsLayer {
    /// Connects all links, and returns once messages have been seen to flow between them.
    ///
    /// # Errors
    /// [`NatsError`]: an option that can't be used, a log-in that was refused, servers that can't be reached within
    /// `connect_wait`, or a user that lacks the permissions.
    pub async fn connect(options: NatsOptions) -> std::result::Result<Arc<Self>, NatsError> {
        install_tls_provider();
        options.check()?;
        let subjects = Arc::new(Subjects::new(options.prefix.clone()));
        let arrivals = Arc::new(Arrivals::new(options.capacity));
        let counters = Arc::new(Counters::default());
        let node = rand::rng().random();
        let open = |place| {
            let ends = Ends {
                answers_at: subjects.echo(node, place),
                asks_at: subjects.echo(node, (place + 1) % options.connections),
            };
            let signals = Signals::new(Arc::clone(&arrivals), Arc::clone(&counters));
            Link::open(&options, ends, signals)
        };
        let links = try_join_all((0..options.connections).map(open)).await?;
        let layer = Self {
            subjects,
            links: links.into_iter().map(Arc::new).collect(),
            shards: (0..limits::LAYER_SHARDS).map(|_| Shard::default()).collect(),
            arrivals,
            counters,
            background: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        layer.prove().await.map_err(|reason| NatsError::Mute {
            servers: options.place(),
            prefix: options.prefix.clone(),
            reason,
        })?;
        Ok(Arc::new(layer))
    }

    /// Whether the layer carries payloads of this size.
    ///
    /// # Errors
    /// [`Error::TooLong`] if the server it is connected to takes less.
    pub fn carries(&self, bytes: usize) -> Result<()> {
        match self.links.iter().map(|link| link.max_payload()).min() {
            Some(most) if most < bytes => Err(Error::TooLong { bytes, most }),
            _ => Ok(()),
        }
    }

    /// The version that the server says it has.
    #[must_use]
    pub fn server_version(&self) -> Option<String> {
        self.links.first().and_then(|link| link.server_version())
    }

    /// The layer's counters, for the metrics.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Begins to hear broadcasts, and shows that what one link publishes to a room reaches another. A user without
    /// the permissions would otherwise be noticed by nobody: the server tells it, but carries on.
    async fn prove(&self) -> std::result::Result<(), String> {
        let (first, second) = (&self.links[0], &self.links[1]);
        let told = |error: Error| format!(": {error}{}{}", first.refused(), second.refused());
        let ear = first.subscribe(self.subjects.broadcast()).await.map_err(told)?;
        let room = RoomId::random();
        for link in &self.links {
            let answering = Arc::clone(link).answer().await.map_err(told)?;
            self.background.lock().push(Task::spawn(answering));
        }
        let mut probe = first.subscribe(self.subjects.whole_room(room)).await.map_err(told)?;
        first.round_trip().await.map_err(told)?;
        let begun = Instant::now();
        loop {
            // Links may hang on different servers, which tell each other of subscriptions in their own time.
            let subject = self.subjects.room(Class::Durable, room);
            second.publish(subject, Bytes::new(), true).await.map_err(told)?;
            if let Ok(Some(_)) = timeout(Duration::from_millis(100), probe.next()).await {
                break;
            }
            if begun.elapsed() > limits::LAYER_ANSWER_WAIT {
                return Err(told(Error::Unavailable(
                    "a message of its own did not come back".into(),
                )));
            }
        }
        let mut background = self.background.lock();
        background.push(Task::spawn(hear_broadcasts(
            ear,
            Arc::clone(&self.arrivals),
            Arc::clone(&self.counters),
        )));
        background.extend(self.links.iter().map(|link| Task::spawn(Arc::clone(link).watch())));
        Ok(())
    }

    fn link(&self, room: RoomId) -> &Link {
        &self.links[subject::shard(room) % self.links.len()]
    }

    fn shard(&self, room: RoomId) -> &Shard {
        &self.shards[subject::shard(room)]
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    fn count(&self, published: &AtomicU64, result: &Result<()>) {
        let counter = match result {
            Ok(()) => published,
            Err(_) => &self.counters.unpublished,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl ChannelLayer for NatsLayer {
    async fn join(&self, room: RoomId) -> Result<()> {
        let mut rooms = self.shard(room).lock().await;
        self.check_open()?;
        if rooms.contains_key(&room) {
            return Ok(());
        }
        let link = self.link(room);
        link.answers()?;
        let subscriber = link.subscribe(self.subjects.whole_room(room)).await?;
        let task = Task::spawn(hear_room(
            subscriber,
            room,
            Arc::clone(&self.subjects),
            Arc::clone(&self.arrivals),
            Arc::clone(&self.counters),
        ));
        if let Err(error) = link.round_trip().await {
            task.end().await;
            return Err(error);
        }
        self.check_open()?;
        rooms.insert(room, task);
        self.counters.subscriptions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn leave(&self, room: RoomId) -> Result<()> {
        self.check_open()?;
        if let Some(task) = self.shard(room).lock().await.remove(&room) {
            task.end().await;
            self.counters.subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> Result<()> {
        self.check_open()?;
        let durable = class == Class::Durable;
        let subject = self.subjects.room(class, room);
        let result = self.link(room).publish(subject, payload, durable).await;
        let published = if durable {
            &self.counters.published_durable
        } else {
            &self.counters.published_ephemeral
        };
        self.count(published, &result);
        result
    }

    async fn broadcast(&self, payload: Bytes) -> Result<()> {
        self.check_open()?;
        let result = self.links[0].publish(self.subjects.broadcast(), payload, true).await;
        self.count(&self.counters.published_broadcast, &result);
        result
    }

    async fn next(&self) -> Result<Incoming> {
        self.arrivals.next().await
    }

    async fn ping(&self) -> Result<()> {
        self.check_open()?;
        try_join_all(self.links.iter().map(|link| link.round_trip())).await?;
        Ok(())
    }

    async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        join_all(self.links.iter().map(|link| link.finish())).await;
        self.background.lock().clear();
        for shard in &self.shards {
            shard.lock().await.clear();
        }
        self.counters.subscriptions.store(0, Ordering::Relaxed);
        self.arrivals.close();
        join_all(self.links.iter().map(|link| link.disconnect())).await;
    }
}

async fn hear_room(
    mut subscriber: Subscriber,
    room: RoomId,
    subjects: Arc<Subjects>,
    arrivals: Arc<Arrivals>,
    counters: Arc<Counters>,
) {
    while let Some(message) = subscriber.next().await {
        let Some(class) = subjects.class(&message.subject) else {
            continue;
        };
        let payload = Bytes::copy_from_slice(&message.payload);
        let dropped = arrivals.put(Incoming::Payload { room, class, payload });
        counters.received.fetch_add(1, Ordering::Relaxed);
        counters.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}

async fn hear_broadcasts(mut ear: Subscriber, arrivals: Arc<Arrivals>, counters: Arc<Counters>) {
    while let Some(message) = ear.next().await {
        let payload = Bytes::copy_from_slice(&message.payload);
        let dropped = arrivals.put(Incoming::Broadcast { payload });
        counters.received.fetch_add(1, Ordering::Relaxed);
        counters.dropped.fetch_add(dropped, Ordering::Relaxed);
    }
}
