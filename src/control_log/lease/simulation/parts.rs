//! What the simulated world consists of.

use std::collections::BTreeMap;

use crate::control_log::Position;
use crate::control_log::lease::machine::{Elapsed, Machine, Told};
use crate::model::BootId;

/// A rule that is switched off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Without {
    Nothing,
    /// A reading counts from its return.
    Beginnings,
    /// A frame counts from its arrival.
    Echoes,
    /// Frames of nodes that are further count.
    Positions,
    /// Nobody else is known.
    Holders,
    /// A log that lost entries goes on as if it had not.
    Incarnations,
    /// A revocation that is not confirmed is answered whether or not its own node has acted on it.
    OwnAct,
    /// A log that has just lost its leases counts as having had none.
    Age,
    /// Who hears of no others has none, whether or not it could hear of them.
    Link,
    /// Who was cut off from the layer for a while goes on as if it had heard everything.
    Losses,
    /// A new node answers revocations before others can have heard of it.
    Introduction,
}

pub(super) struct Frame {
    pub(super) at: Elapsed,
    pub(super) to: BootId,
    pub(super) told: Told,
}

pub(super) enum Answer {
    Read {
        entries: Vec<u64>,
        position: Position,
        holders: Vec<BootId>,
    },
    Behind(Position),
    Failed,
}

pub(super) struct Node {
    pub(super) boot: BootId,
    pub(super) machine: Machine,
    /// It runs; who has said goodbye or died doesn't.
    pub(super) lives: bool,
    pub(super) reaches: bool,
    /// It reaches the channel layer.
    pub(super) linked: bool,
    /// When its round trip over the layer began and will return.
    pub(super) trip: Option<(Elapsed, Elapsed)>,
    pub(super) next_trip: Elapsed,
    pub(super) paused_until: Elapsed,
    pub(super) acted: Position,
    /// Revocations it has acted on, by number.
    pub(super) done: Vec<(u64, Elapsed)>,
    pub(super) reading: Option<(Elapsed, Elapsed, Answer)>,
    /// When a check of everything that began then will be over, and where the log goes on.
    pub(super) checking: Option<(Elapsed, Elapsed, Position)>,
    pub(super) next_frame: Elapsed,
    pub(super) frames: u64,
    /// The last frame heard of each other process.
    pub(super) heard: BTreeMap<[u8; 16], u64>,
}

impl Node {
    /// A process that begins now, having read the log up to `acted`.
    pub(super) fn born(boot: BootId, now: Elapsed, acted: Position) -> Self {
        Self {
            boot,
            machine: Machine::new(boot),
            lives: true,
            reaches: true,
            linked: true,
            trip: None,
            next_trip: now,
            paused_until: now,
            acted,
            done: Vec::new(),
            reading: None,
            checking: None,
            next_frame: now,
            frames: 0,
            heard: BTreeMap::new(),
        }
    }

    pub(super) fn runs(&self, now: Elapsed) -> bool {
        self.lives && self.paused_until <= now
    }

    pub(super) fn last_heard(&self, of: BootId) -> Option<u64> {
        self.heard.get(of.as_bytes()).copied()
    }
}

pub(super) struct Revocation {
    pub(super) number: u64,
    pub(super) by: BootId,
    pub(super) at: Elapsed,
    pub(super) position: Position,
    /// When it was answered; or given up.
    pub(super) answered: Option<Elapsed>,
    pub(super) failed: bool,
}

pub(super) struct Log {
    pub(super) incarnation: u64,
    pub(super) since: Elapsed,
    /// Numbers of revocations.
    pub(super) entries: Vec<u64>,
    pub(super) leases: BTreeMap<[u8; 16], (Elapsed, Position)>,
}

impl Log {
    pub(super) fn tail(&self) -> Position {
        let offset = self.entries.len() as u64;
        Position {
            incarnation: self.incarnation,
            offset,
        }
    }
}
