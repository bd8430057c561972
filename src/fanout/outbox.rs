//! What a connection's link holds behind its lock: bytes that wait, and how the connection stands.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::RoomId;
use crate::wire::close::CloseCode;

/// What waits. Made when something has to wait and dropped when nothing does, so an idle connection has none.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) queue: VecDeque<Bytes>,
    pub(super) bytes: usize,
    pub(super) behind: Vec<(RoomId, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) waiting: Option<Box<Waiting>>,
    /// Why it ends, once that is decided; the first reason stays.
    pub(super) ended: Option<CloseCode>,
    pub(super) dead: bool,
    /// Nothing is written any more but last words.
    pub(super) silent: bool,
    /// Answers are complete and the socket is to be closed once they are written.
    pub(super) closing: bool,
    /// An inbox notice did not fit: the client is told to look again when there is room.
    pub(super) notices_lost: bool,
}

impl Outbox {
    /// Whether nothing is taken any more.
    pub(super) const fn refuses(&self) -> bool {
        self.dead || self.closing || self.silent
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether nothing waits to be written.
    pub(super) fn is_written(&self) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.queue.is_empty())
    }

    /// Whether the connection waits for some room to go on with it.
    pub(super) fn is_behind(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.behind.is_empty())
    }

    /// Has bytes wait behind those that do.
    pub(super) fn queue(&mut self, bytes: Bytes) {
        let waiting = self.waiting.get_or_insert_default();
        waiting.bytes += bytes.len();
        waiting.queue.push_back(bytes);
    }

    /// Takes the rooms that are to go on with this connection.
    pub(super) fn take_behind(&mut self) -> Vec<(RoomId, u64)> {
        let behind = self.waiting.as_mut().map(|waiting| std::mem::take(&mut waiting.behind));
        if self.is_written() {
            self.waiting = None;
        }
        behind.unwrap_or_default()
    }
}
