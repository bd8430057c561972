//! What a connection's link holds behind its lock: bytes that wait, and how the connection stands.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::RoomId;
use crate::wire::close::CloseCode;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) queue: VecDeque<Bytes>,
    pub(super) bytes: usize,
    pub(super) behind: Vec<(RoomId, u64)>,
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
}
