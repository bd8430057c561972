//! What all connections of this node have taken, dropped and ended with: plain atomics, added to beside system calls
//! that cost a hundred times as much.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::wire::close::CloseCode;

/// The node's counts over all connections since its start.
#[derive(Debug, Default)]
pub struct Traffic {
    written: AtomicU64,
    ephemeral_dropped: AtomicU64,
    behind: AtomicU64,
    caught_up: AtomicU64,
    gone: AtomicU64,
    closed: [AtomicU64; CloseCode::ALL.len()],
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Traffic {
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn dropped_ephemeral(&self) {
        self.ephemeral_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fell_behind(&self) {
        self.behind.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drained(&self) {
        self.caught_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, code: Option<CloseCode>) {
        let place = code.and_then(|code| CloseCode::ALL.iter().position(|other| *other == code));
        let count = place.map_or(&self.gone, |place| &self.closed[place]);
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused_request(&self, code: &'static str) {
        *self.refused.lock().entry(code).or_default() += 1;
    }

    /// Requests that were answered with an error, by its code.
    #[must_use]
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.refused
            .lock()
            .iter()
            .map(|(code, count)| (*code, *count))
            .collect()
    }

    /// Bytes that kernels took.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Frames of typing and presence that were dropped because something else waited.
    #[must_use]
    pub fn ephemeral_dropped(&self) -> u64 {
        self.ephemeral_dropped.load(Ordering::Relaxed)
    }

    /// Connections that wait for their socket to drain before rooms go on with them.
    #[must_use]
    pub fn behind(&self) -> u64 {
        // Read in this order, so that one who falls behind in between is not counted as caught up alone.
        let caught_up = self.caught_up.load(Ordering::Relaxed);
        self.behind.load(Ordering::Relaxed).saturating_sub(caught_up)
    }

    /// Times that a connection fell behind.
    #[must_use]
    pub fn times_behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// Connections that ended, by the reason's name; `gone` are those whose peer vanished without a close.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let gone = ("gone", self.gone.load(Ordering::Relaxed));
        let named = CloseCode::ALL.iter().zip(&self.closed);
        named
            .map(|(code, count)| (code.name(), count.load(Ordering::Relaxed)))
            .chain([gone])
    }
}
