//! What waits while this node may not write to sockets: without a fresh reading of the control log it can't know who was
//! silenced meanwhile (G6). It goes on in the order in which it came, once a reading that began after it has returned.

use std::collections::VecDeque;
use std::time::Instant;

use super::store_steps::Step;
use super::{Actor, Command};
use crate::fanout::Outlet;
use crate::limits;
use crate::model::ConnectionId;
use crate::rooms::cluster::Post;

/// Something that makes the room write to sockets.
pub(super) enum Incoming {
    Step(Step),
    Post(Post),
    Command(Command),
}

/// What waits, and since when; `None`: it came while the node might write, but behind others.
#[derive(Default)]
pub(super) struct Gated {
    waiting: VecDeque<(Option<Instant>, Incoming)>,
    events: usize,
}

impl Gated {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, since: Option<Instant>, mut incoming: Incoming) {
        if let Incoming::Post(post) = &mut incoming {
            self.events += post.told.len();
            if self.events > limits::ROOM_ARRIVALS_MAX {
                self.events -= post.told.len();
                // The store has them.
                post.told.clear();
                post.overflowed = true;
            }
        }
        self.waiting.push_back((since, incoming));
    }

    fn pop(&mut self) -> Option<Incoming> {
        let (_, incoming) = self.waiting.pop_front()?;
        if let Incoming::Post(post) = &incoming {
            self.events -= post.told.len();
        }
        Some(incoming)
    }

    /// Since when the first has waited.
    pub(super) fn since(&self) -> Option<Instant> {
        self.waiting.front().and_then(|(since, _)| *since)
    }

    /// Takes back the joins of a connection that leaves.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.waiting.retain(|(_, incoming)| {
            !matches!(incoming, Incoming::Command(Command::Join(join)) if join.link.connection() == connection)
        });
    }
}

impl Actor {
    /// Whether this node may write to sockets now.
    pub(super) fn is_open(&self) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_none_or(|(cluster, _)| cluster.lease().may_write())
    }

    /// Does what came, or keeps it until it may be done.
    pub(super) async fn take_in(&mut self, incoming: Incoming) {
        let open = self.is_open();
        if open && self.gated.is_empty() {
            return self.go_on(incoming).await;
        }
        self.gated.push((!open).then(Instant::now), incoming);
    }

    /// Does the first of what waited.
    pub(super) async fn release(&mut self) {
        if self.is_open()
            && let Some(incoming) = self.gated.pop()
        {
            self.go_on(incoming).await;
        }
    }

    async fn go_on(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Step(step) => self.step(step).await,
            Incoming::Post(post) => self.take_post(post).await,
            Incoming::Command(command) => self.command(command).await,
        }
    }
}
