//! What waits while this node may not write to sockets: without a fresh reading of the control log it can't know who was
//! silenced meanwhile (G6). Each goes on once a reading that began after it came has returned.
//!
//! It stays small however long that takes. What other nodes said is kept as one letter that may go first and one that all
//! the rest is added to, so that each reading lets something go; of their events as many are kept as of a mailbox, and
//! what no store holds is dropped at once.

use std::collections::VecDeque;

use super::store_steps::Step;
use super::{Actor, Command, Join};
use crate::fanout::Outlet;
use crate::limits;
use crate::model::{ConnectionId, EventId, Moment};
use crate::rooms::cluster::{Passing, Post};

/// Something that makes the room write to sockets.
pub(super) enum Incoming {
    Step(Step),
    Post(Post),
    Command(Command),
}

/// What waits, each with the moment after which a reading must have begun that lets it go.
#[derive(Default)]
pub(super) struct Gated {
    /// What other nodes said: two at most.
    posts: VecDeque<(Moment, Post)>,
    /// The rest, which is bounded by what was under way and by the connections of the room.
    rest: VecDeque<(Moment, Incoming)>,
}

impl Gated {
    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty() && self.rest.is_empty()
    }

    /// Since when the first has waited.
    pub(super) fn since(&self) -> Option<Moment> {
        let fronts = self.posts.front().map(|(since, _)| *since);
        fronts
            .into_iter()
            .chain(self.rest.front().map(|(since, _)| *since))
            .min()
    }

    /// The least event that waits or was dropped.
    pub(super) fn oldest(&self) -> Option<EventId> {
        self.posts.iter().filter_map(|(_, post)| post.oldest).min()
    }

    fn push(&mut self, open: bool, now: Moment, incoming: Incoming) {
        // What came while the node might write only waits for its turn.
        let since = self.since().filter(|_| open).unwrap_or(now);
        match incoming {
            Incoming::Post(post) => self.push_post(since, post),
            incoming => self.rest.push_back((since, incoming)),
        }
    }

    fn push_post(&mut self, since: Moment, mut post: Post) {
        // The first stays as it is: if it grew with a later `since`, it might never go.
        let kept = self.posts.front().map_or(0, |(_, first)| first.told.len());
        if self.posts.len() < 2 {
            let mut bounded = Post::default();
            bounded.append(
                std::mem::take(&mut post),
                limits::ROOM_ARRIVALS_MAX.saturating_sub(kept),
            );
            self.posts.push_back((since, bounded));
        } else if let Some((last, all)) = self.posts.back_mut() {
            *last = since.max(*last);
            all.append(post, limits::ROOM_ARRIVALS_MAX.saturating_sub(kept));
        }
    }

    fn pop(&mut self) -> Option<Incoming> {
        let since = self.since();
        if self.posts.front().is_some_and(|(first, _)| Some(*first) == since) {
            return self.posts.pop_front().map(|(_, post)| Incoming::Post(post));
        }
        self.rest.pop_front().map(|(_, incoming)| incoming)
    }

    /// Takes back the joins of a connection that leaves.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        drop(self.take_joins(|join| join.link.connection() == connection));
    }

    /// Takes out the joins of which this is true.
    pub(super) fn take_joins(&mut self, wanted: impl Fn(&Join) -> bool) -> Vec<Join> {
        let mut taken = Vec::new();
        let is_wanted =
            |incoming: &Incoming| matches!(incoming, Incoming::Command(Command::Join(join)) if wanted(join));
        if !self.rest.iter().any(|(_, incoming)| is_wanted(incoming)) {
            return taken;
        }
        for (since, incoming) in std::mem::take(&mut self.rest) {
            match incoming {
                Incoming::Command(Command::Join(join)) if wanted(&join) => taken.push(*join),
                incoming => self.rest.push_back((since, incoming)),
            }
        }
        taken
    }
}

impl Actor {
    /// Whether this node may write to sockets now.
    pub(super) fn is_open(&self) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_none_or(|(cluster, _)| cluster.lease().may_write())
    }

    /// Does what came, or keeps it until it may be done.
    pub(super) async fn take_in(&mut self, mut incoming: Incoming) {
        let open = self.is_open();
        if open && self.gated.is_empty() {
            return self.go_on(incoming).await;
        }
        if let Incoming::Post(post) = &mut incoming {
            let passing = std::mem::take(&mut post.passing);
            if passing.iter().any(|passing| matches!(passing, Passing::Mention { .. })) {
                self.hub.notices_dropped();
            }
        }
        self.gated.push(open, Moment::now(), incoming);
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
            Incoming::Command(command) => self.command(command),
        }
    }
}
