//! The channel layer between nodes: packets that take their time, overtake each other, vanish, or come twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use natter::channel_layer::{ChannelLayer, Class, Error, Incoming, Result};
use natter::model::RoomId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ground::{Ground, pass};

/// How long a packet takes at most while nothing is wrong.
const DELAY: u64 = 15;
/// How long a node may take for what has arrived before the answer to its ping overtakes that.
const TAKEN_WITHIN: u64 = 10_000;

#[derive(Default)]
struct Inbox {
    waiting: Mutex<VecDeque<Incoming>>,
    arrived: Notify,
}

impl Inbox {
    fn put(&self, incoming: Incoming) {
        self.waiting.lock().push_back(incoming);
        self.arrived.notify_one();
    }
}

struct End {
    inbox: Arc<Inbox>,
    joined: BTreeSet<RoomId>,
}

/// What is under way.
#[derive(Default)]
pub struct Net {
    packets: BTreeMap<(u64, u64), (Arc<Inbox>, usize, Incoming)>,
    sent: u64,
    ends: BTreeMap<usize, End>,
}

impl Net {
    /// A node that is gone gets nothing more; what it has sent arrives.
    pub fn forget(&mut self, node: usize) {
        self.ends.remove(&node);
    }

    /// Tells a node that it may have lost something.
    pub fn tell_lost(&self, node: usize) {
        if let Some(end) = self.ends.get(&node) {
            end.inbox.put(Incoming::Lost { count: 0 });
        }
    }

    /// Hands over what has arrived by now.
    pub fn deliver(&mut self, now: u64) {
        while let Some(first) = self.packets.first_entry()
            && first.key().0 <= now
        {
            let (inbox, _, incoming) = first.remove();
            inbox.put(incoming);
        }
    }

    fn send(&mut self, at: u64, to: usize, incoming: Incoming) {
        if let Some(end) = self.ends.get(&to) {
            self.sent += 1;
            let packet = (Arc::clone(&end.inbox), to, incoming);
            self.packets.insert((at, self.sent), packet);
        }
    }
}

/// One node's end.
pub struct SimLayer {
    ground: Arc<Ground>,
    node: usize,
    inbox: Arc<Inbox>,
    closed: AtomicBool,
}

impl SimLayer {
    /// A new node's.
    pub fn new(ground: Arc<Ground>, node: usize) -> Self {
        let inbox = Arc::<Inbox>::default();
        let end = End {
            inbox: Arc::clone(&inbox),
            joined: BTreeSet::new(),
        };
        ground.net.lock().ends.insert(node, end);
        Self {
            ground,
            node,
            inbox,
            closed: AtomicBool::new(false),
        }
    }

    fn check(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        if self.ground.weather.lock().cut.contains(&self.node) {
            return Err(Error::Unavailable("cut off".into()));
        }
        Ok(())
    }

    fn carry(&self, room: Option<RoomId>, incoming: &Incoming) -> Result<()> {
        self.check()?;
        let ground = &*self.ground;
        let weather = ground.weather.lock();
        let mut net = ground.net.lock();
        let wants = |end: &End| room.is_none_or(|room| end.joined.contains(&room));
        let others: Vec<usize> = net
            .ends
            .iter()
            .filter(|(node, end)| **node != self.node && wants(end))
            .map(|(node, _)| *node)
            .collect();
        for other in others {
            if weather.cut.contains(&other) || weather.one_way.contains(&(self.node, other)) {
                continue;
            }
            if ground.chance(weather.loss) {
                if weather.reported {
                    let at = ground.now() + ground.dice(1..=DELAY);
                    net.send(at, other, Incoming::Lost { count: 1 });
                }
                continue;
            }
            let times = if ground.chance(weather.twice) { 2 } else { 1 };
            for _ in 0..times {
                let at = ground.now() + ground.dice(1..=weather.delay.max(DELAY));
                net.send(at, other, incoming.clone());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ChannelLayer for SimLayer {
    async fn join(&self, room: RoomId) -> Result<()> {
        pass(self.ground.dice(1..=5)).await;
        self.check()?;
        if let Some(end) = self.ground.net.lock().ends.get_mut(&self.node) {
            end.joined.insert(room);
        }
        Ok(())
    }

    async fn leave(&self, room: RoomId) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        if let Some(end) = self.ground.net.lock().ends.get_mut(&self.node) {
            end.joined.remove(&room);
        }
        Ok(())
    }

    async fn publish(&self, room: RoomId, class: Class, payload: Bytes) -> Result<()> {
        self.carry(Some(room), &Incoming::Payload { room, class, payload })
    }

    async fn broadcast(&self, payload: Bytes) -> Result<()> {
        self.carry(None, &Incoming::Broadcast { payload })
    }

    async fn next(&self) -> Result<Incoming> {
        loop {
            if let Some(incoming) = self.inbox.waiting.lock().pop_front() {
                return Ok(incoming);
            }
            if self.closed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            self.inbox.arrived.notified().await;
        }
    }

    /// What is under way to this node arrives before the answer does.
    async fn ping(&self) -> Result<()> {
        self.check()?;
        let last = {
            let net = self.ground.net.lock();
            let own = net.packets.iter().filter(|(_, (_, to, _))| *to == self.node);
            own.map(|((at, _), _)| *at).max()
        };
        let begun = self.ground.now();
        loop {
            pass(self.ground.dice(1..=5)).await;
            self.check()?;
            let now = self.ground.now();
            // What has arrived is taken before, unless nobody takes it.
            let taken = self.inbox.waiting.lock().is_empty() || now > begun + TAKEN_WITHIN;
            if last.is_none_or(|last| last < now) && taken {
                return Ok(());
            }
        }
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.ground.net.lock().forget(self.node);
        self.inbox.arrived.notify_one();
    }
}
