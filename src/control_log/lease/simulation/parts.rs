//! What the simulated world consists of.

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
}

pub(super) struct Frame {
    pub(super) at: Elapsed,
    pub(super) to: usize,
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
    pub(super) reaches: bool,
    pub(super) paused_until: Elapsed,
    pub(super) acted: Position,
    /// Revocations it has acted on, by number.
    pub(super) done: Vec<(u64, Elapsed)>,
    pub(super) reading: Option<(Elapsed, Elapsed, Answer)>,
    /// When a check of everything that began then will be over, and where the log goes on.
    pub(super) checking: Option<(Elapsed, Elapsed, Position)>,
    pub(super) next_frame: Elapsed,
    pub(super) frames: u64,
    pub(super) heard: Vec<u64>,
}

pub(super) struct Revocation {
    pub(super) number: u64,
    pub(super) by: usize,
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
    pub(super) leases: Vec<Option<(Elapsed, Position)>>,
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
