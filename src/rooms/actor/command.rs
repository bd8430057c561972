//! What others ask of a room's task.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::fanout::Link;
use crate::model::{Author, Change, ConnectionId, Event, EventId, NewMessage, Room, UserId};
use crate::rooms::directory::{Joined, Watch};
use crate::store;
use crate::telemetry::traces::Span;
use crate::wire::inbound::JoinFrom;
use crate::wire::outbound::{LeftReason, Ref};

/// Why a room could not be joined although the rules allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The store could not be read.
    #[error("the room's history can't be read now: {0}")]
    Store(#[from] store::Error),
    /// The other nodes are out of reach: what they say would be missed.
    #[error("{0}")]
    Layer(#[from] crate::channel_layer::Error),
    /// What the user is to the room may have changed meanwhile: look again.
    #[error("the standing has to be looked at again")]
    Stale,
    /// What it needs was not there in time.
    #[error("the room can't be entered now")]
    Overdue,
    /// The connection ended meanwhile.
    #[error("the connection has ended")]
    Gone,
}

/// A connection wants to read the room.
#[derive(Debug)]
pub struct Join {
    /// Its writing end.
    pub link: Arc<Link>,
    /// What the rules said.
    pub opened: Joined,
    /// From where.
    pub from: JoinFrom,
    /// The request's `ref`.
    pub reference: Option<Ref>,
    /// The standing that the rules saw; a revocation that comes before the join reaches the room ends it.
    pub watch: Watch,
    /// When it was asked for.
    pub at: Instant,
    /// Presence was told of it.
    pub counted: bool,
    /// How often its history was read already.
    pub reads: u32,
    /// Answered once `joined` is written.
    pub reply: oneshot::Sender<Result<(), JoinError>>,
}

/// A message to be stored and delivered.
#[derive(Debug)]
pub struct Send {
    /// Who sends it; gets the answer.
    pub link: Arc<Link>,
    /// The message.
    pub message: NewMessage,
    /// The request's `ref`.
    pub reference: Option<Ref>,
    /// When it was read from the socket.
    pub at: Instant,
    /// Its trace, if it is one of those that are recorded.
    pub trace: Option<Box<Span>>,
}

/// A request to a room's task.
#[derive(Debug)]
pub enum Command {
    /// Read the room.
    Join(Box<Join>),
    /// Read it no longer; `frame` is told to the link.
    Leave {
        /// Who.
        connection: ConnectionId,
        /// Whom to tell, the request's `ref`, and why.
        answer: Option<(Arc<Link>, Option<Ref>, LeftReason)>,
    },
    /// A reader that was behind has drained.
    Drained(ConnectionId),
    /// Store and deliver.
    Send(Box<Send>),
    /// Store and deliver an edit or deletion.
    Change {
        /// What.
        change: Change,
        /// The event.
        reply: oneshot::Sender<store::Result<Event>>,
    },
    /// Somebody types.
    Typing {
        /// Who.
        author: Author,
        /// On which connection.
        connection: ConnectionId,
    },
    /// Take a user's connections out, at once. Answered when nothing more is written to them.
    Cut {
        /// Whose.
        user: UserId,
        /// Why.
        reason: LeftReason,
        /// Done.
        done: oneshot::Sender<()>,
    },
    /// Which message is the newest; dropped without an answer where that can't be found out here.
    Newest(oneshot::Sender<store::Result<Option<EventId>>>),
    /// Who reads the room, each once.
    Readers(oneshot::Sender<Vec<UserId>>),
    /// The room changed; if it was deleted, everybody is taken out.
    Changed {
        /// Its present state.
        room: Arc<Room>,
        /// Done.
        done: oneshot::Sender<()>,
    },
    /// The other person of this direct conversation came online or went offline.
    Person {
        /// Who.
        author: Author,
        /// Which of both.
        online: bool,
        /// When they last had a connection.
        last_seen: Option<crate::model::Timestamp>,
    },
    /// A second has passed.
    Tick,
}
