//! One broken layer per clause, made of the in-process one: each fails the check of its clause and no other, which shows
//! that the check looks at what it says.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::super::local::LocalHub;
use super::*;

/// What a broken layer does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The third node to join is not served.
    ForgetsAThirdNode,
    /// The publisher hears itself.
    Echoes,
    /// Each payload arrives twice.
    Repeats,
    /// `leave` has no effect.
    Stays,
    /// Long payloads are cut.
    Cuts,
    /// Everything arrives as durable.
    MixesClasses,
    /// Losses are kept quiet.
    HushesLosses,
    /// Interruptions are kept quiet.
    HushesInterruptions,
    /// What was joined is forgotten when the connection is interrupted.
    ForgetsWhatItJoined,
    /// Broadcasts reach only those who joined something.
    BroadcastsToMembers,
    /// `ping` succeeds whatever happens.
    PingsBlindly,
    /// `close` has no effect.
    StaysOpen,
    /// Ephemeral payloads take room like durable ones.
    TreatsAllAlike,
}

struct BrokenWorld(Fault, Mutex<LocalHub>);

struct Broken {
    fault: Fault,
    inner: Arc<dyn ChannelLayer>,
    deaf: bool,
    joined: Mutex<Vec<RoomId>>,
    extra: Mutex<VecDeque<Incoming>>,
}

#[async_trait]
impl World for BrokenWorld {
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
        let hub = LocalHub::with_capacity(self.capacity());
        *self.1.lock() = hub.clone();
        let node = |place| {
            Arc::new(Broken {
                fault: self.0,
                inner: hub.node(),
                deaf: self.0 == Fault::ForgetsAThirdNode && place == 2,
                joined: Mutex::default(),
                extra: Mutex::default(),
            }) as Arc<dyn ChannelLayer>
        };
        (0..count).map(node).collect()
    }

    async fn cut(&self) {
        self.1.lock().cut();
    }

    async fn restore(&self) {
        self.1.lock().restore();
    }

    fn quiet(&self) -> Duration {
        Duration::ZERO
    }
}

#[async_trait]
impl ChannelLayer for Broken {
    async fn join(&self, room: RoomId) -> super::super::Result<()> {
        self.joined.lock().push(room);
        if self.deaf {
            return Ok(());
        }
        self.inner.join(room).await
    }

    async fn leave(&self, room: RoomId) -> super::super::Result<()> {
        if self.fault == Fault::Stays {
            let closed = self.inner.ping().await == Err(Error::Closed);
            return if closed { Err(Error::Closed) } else { Ok(()) };
        }
        self.inner.leave(room).await
    }

    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> super::super::Result<()> {
        if self.fault == Fault::TreatsAllAlike {
            // The real class travels in the last byte, where the layer below does not see it.
            let mut marked = payload.to_vec();
            marked.push(u8::from(class == Class::Durable));
            return self.inner.publish(room, Class::Durable, marked.into()).await;
        }
        self.inner.publish(room, class, payload.clone()).await?;
        if self.fault == Fault::Echoes && !self.joined.lock().is_empty() {
            self.extra.lock().push_back(Incoming::Payload { room, class, payload });
        }
        Ok(())
    }

    async fn next(&self) -> super::super::Result<Incoming> {
        if let Some(extra) = self.extra.lock().pop_front() {
            return Ok(extra);
        }
        loop {
            match (self.fault, self.inner.next().await?) {
                (Fault::HushesLosses, Incoming::Lost { count: 1.. }) => {}
                (Fault::HushesInterruptions, Incoming::Lost { count: 0 }) => {}
                (Fault::BroadcastsToMembers, Incoming::Broadcast { .. }) if self.joined.lock().is_empty() => {}
                (Fault::ForgetsWhatItJoined, Incoming::Lost { count: 0 }) => {
                    let joined = std::mem::take(&mut *self.joined.lock());
                    for room in joined {
                        self.inner.leave(room).await?;
                    }
                    return Ok(Incoming::Lost { count: 0 });
                }
                (fault, Incoming::Payload { room, class, payload }) => {
                    return Ok(self.distort(fault, room, class, payload));
                }
                (_, other) => return Ok(other),
            }
        }
    }

    async fn broadcast(&self, payload: Bytes) -> super::super::Result<()> {
        self.inner.broadcast(payload).await
    }

    async fn ping(&self) -> super::super::Result<()> {
        match self.inner.ping().await {
            Err(Error::Unavailable(_)) if self.fault == Fault::PingsBlindly => Ok(()),
            answer => answer,
        }
    }

    async fn close(&self) {
        if self.fault != Fault::StaysOpen {
            self.inner.close().await;
        }
    }
}

impl Broken {
    fn distort(&self, fault: Fault, room: RoomId, mut class: Class, mut payload: Bytes) -> Incoming {
        match fault {
            Fault::Repeats => {
                let payload = payload.clone();
                self.extra.lock().push_back(Incoming::Payload { room, class, payload });
            }
            Fault::Cuts => payload.truncate(4_096),
            Fault::MixesClasses => class = Class::Durable,
            Fault::TreatsAllAlike => {
                let mark = payload.split_off(payload.len() - 1);
                class = if mark[0] == 1 { Class::Durable } else { Class::Ephemeral };
            }
            _ => {}
        }
        Incoming::Payload { room, class, payload }
    }
}

#[tokio::test]
async fn each_broken_layer_fails_its_own_clause_and_no_other() {
    for (fault, clause) in [
        (Fault::ForgetsAThirdNode, "others"),
        (Fault::Echoes, "not-self"),
        (Fault::Repeats, "at-most-once"),
        (Fault::Stays, "left"),
        (Fault::Cuts, "intact"),
        (Fault::MixesClasses, "intact"),
        (Fault::HushesLosses, "loss-reported"),
        (Fault::TreatsAllAlike, "ephemeral-first"),
        (Fault::HushesInterruptions, "interrupted"),
        (Fault::ForgetsWhatItJoined, "interrupted"),
        (Fault::BroadcastsToMembers, "broadcast"),
        (Fault::PingsBlindly, "reachable"),
        (Fault::StaysOpen, "closed"),
    ] {
        let failed = failures(&BrokenWorld(fault, Mutex::default())).await;
        let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
        assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
    }
}
