//! The delivery lease as a state machine without clock and network: until when a node may write to sockets.
//!
//! Why it is safe, for a revocation that node N puts into the log at `p` and answers at `a`, and a node X that has not
//! read the entry. N answers when X has acted, or is not known to it any more, or 5 s after `p` (`wait_reported`).
//!
//! - X relies on a reading: it began before `p`, so it is relied on until 3 s after `p` at most, and `a` is later.
//! - X relies on frames: X has known N within [`limits::LEASE_MEMORY`] before its last reading, so there is a frame of
//!   N's that X relies on, made at `f`, in answer to one that X sent before `f`: X relies on it until 3 s after `f` at
//!   most. It says a position before the entry, so N had not acted on it at `f`. N answers a revocation that X has not
//!   confirmed only 3 s or more after it has acted on it; or X is not known to N, and then N answers no frame of X's.
//! - N is newer than X's last reading, so X may not know it, alone or among others: X relies on its own link too, proven by
//!   a round trip over the channel layer that it began at `l`, until 3 s after `l` at most, and only while the layer has
//!   lost nothing since X's last reading. N answers nothing until its first frame has gone out, a round trip begun after
//!   that has returned, and 4 s have passed ([`Machine::introduced`]). So X has heard N's first frame, and the rule above
//!   holds; or its link was interrupted, and it relies on nothing any more. This stands on the layer being one: a NATS
//!   cluster that is split while the log is out of reach on one side of the split and a node is born on the other is not
//!   noticed (docs/adr, "The link is part of the lease").
//! - What X wrote by then was stored before, and nothing that is stored after `a` is written by X until it has read.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::super::Position;
use crate::limits;
use crate::model::BootId;

/// Time that has passed since some moment before everything else.
pub(super) type Elapsed = Duration;

/// What a status frame says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Who sent it.
    pub boot: BootId,
    /// Its number.
    pub number: u64,
    /// How far the sender has acted on the control log; `None` if it has never read it.
    pub position: Option<Position>,
    /// Whether the sender reaches the control log.
    pub reaches_log: bool,
    /// The sender leaves, and revokes nothing any more.
    pub goodbye: bool,
    /// The number of the last frame of ours that the sender had heard.
    pub echo: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    told: Told,
    heard: Elapsed,
    /// When we sent the frame of ours that the last frame echoes.
    proof: Option<Elapsed>,
}

/// Until when writing is allowed, and what that stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    /// Writing is allowed before this moment.
    pub until: Elapsed,
    /// What arrived up to this moment may be written, also if it was held.
    pub since: Elapsed,
}

impl Term {
    const NONE: Self = Self {
        until: Duration::ZERO,
        since: Duration::ZERO,
    };
}

/// One node's lease.
#[derive(Debug)]
pub(super) struct Machine {
    node: BootId,
    /// When the last good reading began.
    begun: Option<Elapsed>,
    /// How far this node has acted; where entries were missed, what it is about to check up to.
    position: Option<Position>,
    reaches_log: bool,
    /// Entries were missed, and what they may concern has not been checked yet.
    barred: bool,
    /// When the last round trip over the channel layer began that has returned.
    link: Option<Elapsed>,
    /// When the layer last lost something, perhaps the first frame of a new node.
    lost: Option<Elapsed>,
    /// When the first one returned that began after a frame of ours had gone out: whoever has a link has heard of us.
    introduced: Option<Elapsed>,
    /// Our last frames and when we sent them, newest first.
    sent: VecDeque<(u64, Elapsed)>,
    /// The last frame of each node that was heard.
    peers: HashMap<BootId, Peer>,
    /// The other nodes that may revoke something, and when each was last heard or had a lease.
    others: HashMap<BootId, Elapsed>,
    /// There are more nodes than are remembered.
    crowded: bool,
}

impl Machine {
    pub(super) fn new(node: BootId) -> Self {
        Self {
            node,
            begun: None,
            position: None,
            reaches_log: false,
            barred: false,
            link: None,
            lost: None,
            introduced: None,
            sent: VecDeque::new(),
            peers: HashMap::new(),
            others: HashMap::new(),
            crowded: false,
        }
    }

    /// A reading that began at `begun` has returned, and everything in it was acted on.
    pub(super) fn renewed(&mut self, begun: Elapsed, position: Position, holders: &[BootId]) {
        self.reaches_log = true;
        self.barred = false;
        for holder in holders.iter().filter(|holder| **holder != self.node) {
            let known = self.others.entry(*holder).or_default();
            *known = begun.max(*known);
        }
        // A node that was cut off may be back at the log when this one is cut off, so it is remembered for much longer
        // than its lease lasts; counted from the beginning, since this process may have been paused. Who said goodbye
        // before and has no lease is gone.
        let left = |boot: &BootId| {
            self.peers
                .get(boot)
                .is_some_and(|peer| peer.told.goodbye && peer.heard < begun)
        };
        self.others.retain(|boot, known| {
            holders.contains(boot) || !left(boot) && begun.saturating_sub(*known) < limits::LEASE_MEMORY
        });
        self.peers.retain(|boot, _| self.others.contains_key(boot));
        self.crowded = false;
        self.position = Some(position);
        self.begun = Some(begun);
    }

    /// A reading has failed.
    pub(super) const fn failed(&mut self) {
        self.reaches_log = false;
    }

    /// Entries before this position were missed: nothing is written until a reading after everything was checked has
    /// returned. Others learn of the position now, before anything counts as acted on: they may have missed the same.
    pub(super) const fn bar(&mut self, position: Position) {
        self.position = Some(position);
        self.reaches_log = true;
        self.barred = true;
    }

    /// We are about to send this frame.
    pub(super) fn frame_sent(&mut self, number: u64, now: Elapsed) {
        self.sent.push_front((number, now));
        self.sent.truncate(limits::LEASE_FRAMES_MAX);
    }

    /// A round trip over the channel layer that began at `begun` has returned.
    pub(super) fn linked(&mut self, begun: Elapsed, now: Elapsed) {
        self.link = self.link.max(Some(begun));
        if self.sent.iter().any(|(_, at)| *at <= begun) {
            self.introduced.get_or_insert(now);
        }
    }

    /// The channel layer has lost something, or was interrupted.
    pub(super) const fn lost(&mut self, now: Elapsed) {
        self.lost = Some(now);
    }

    /// Whether every node that has a link, and may rely on it, has heard of this one by now.
    pub(super) fn introduced(&self, now: Elapsed) -> bool {
        let patience = limits::DELIVERY_LEASE + limits::INTRODUCTION;
        self.introduced.is_some_and(|at| now.saturating_sub(at) >= patience)
    }

    /// A peer's frame arrived.
    pub(super) fn frame_heard(&mut self, told: Told, now: Elapsed) {
        if told.boot == self.node {
            return;
        }
        if self
            .peers
            .get(&told.boot)
            .is_some_and(|peer| peer.told.number >= told.number)
        {
            return;
        }
        let sent = told
            .echo
            .and_then(|echo| self.sent.iter().find(|(number, _)| *number == echo));
        let proof = sent.map(|(_, at)| *at);
        if self.peers.len() >= limits::LEASE_PEERS_MAX && !self.peers.contains_key(&told.boot) {
            self.crowded = true;
            return;
        }
        self.others.insert(told.boot, now);
        self.peers.insert(
            told.boot,
            Peer {
                told,
                heard: now,
                proof,
            },
        );
    }

    /// How far this node has acted, and whether it reaches the log: for its own frames.
    pub(super) fn condition(&self) -> (Option<Position>, bool) {
        (self.position, self.reaches_log)
    }

    /// Who was heard lately and did not say goodbye, and how far they have acted: a revocation waits for them too.
    pub(super) fn heard(&self, now: Elapsed) -> Vec<(BootId, Option<Position>)> {
        let lately = |peer: &&Peer| !peer.told.goodbye && now.saturating_sub(peer.heard) < limits::LEASE_LIFE;
        let lately = self.peers.values().filter(lately);
        lately.map(|peer| (peer.told.boot, peer.told.position)).collect()
    }

    /// Until when this node may write, as far as is known now.
    pub(super) fn term(&self) -> Term {
        let Some(begun) = self.begun.filter(|_| !self.barred) else {
            return Term::NONE;
        };
        let by_reading = Term {
            until: begun.saturating_add(limits::DELIVERY_LEASE),
            since: begun,
        };
        match self.by_frames() {
            Some(by_frames) if !self.reaches_log && !self.crowded && by_frames.until > by_reading.until => by_frames,
            _ => by_reading,
        }
    }

    /// What our link and the others' frames allow: each says that it is without the log too, and no further than we are.
    /// Where there are no others, the link alone says that none has come.
    fn by_frames(&self) -> Option<Term> {
        let own = self.position?;
        // What was lost before the last reading began can be none of a node that is not among its holders.
        if self.lost >= self.begun && self.lost.is_some() {
            return None;
        }
        let mut since = self.link?;
        for boot in self.others.keys() {
            let peer = self.peers.get(boot)?;
            let proof = peer.proof?;
            if !peer.told.position.is_none_or(|position| own.reaches(position)) {
                return None;
            }
            // Who has left can't put anything into the log any more, whatever else it could reach.
            if peer.told.goodbye {
                continue;
            }
            // The position alone would do, by the argument above; where a node reaches the log, this one need not guess.
            if peer.told.reaches_log {
                return None;
            }
            since = since.min(proof);
        }
        Some(Term {
            until: since.saturating_add(limits::DELIVERY_LEASE),
            since,
        })
    }
}
