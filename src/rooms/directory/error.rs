//! Why something can't be done, in the words of docs/protocol.md section 6. HTTP makes a status of it in one place,
//! sockets an `error` frame in another.

use crate::model::message::InvalidBody;
use crate::model::name::InvalidName;
use crate::{control_log, presence, sessions, store, throttle};

/// Why the directory refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a name by the rules.
    #[error("{0}")]
    InvalidName(#[from] InvalidName),
    /// A field is missing, of the wrong kind or out of bounds.
    #[error("{field}: {detail}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with it and what to do.
        detail: String,
    },
    /// The text can't be a message.
    #[error("{0}")]
    Body(#[from] InvalidBody),
    /// It does not exist, or not for this user.
    #[error("there is no such {0}, or it is not for you")]
    NotFound(&'static str),
    /// The role does not allow it; the text says what would.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Banned from the room.
    #[error("you are banned from this room")]
    Banned,
    /// The room is read-only.
    #[error("the room is archived: it can be read, but nothing can be written or changed in it")]
    Archived,
    /// Another user or room has the name.
    #[error("the name is taken: choose another")]
    NameTaken,
    /// The nonce was used for another room or message.
    #[error("this nonce was used for another room or message: use a fresh one")]
    NonceReused,
    /// In so many rooms already.
    #[error("you are in {} rooms: leave some first", crate::limits::ROOMS_PER_USER_MAX)]
    RoomLimit,
    /// Too many of them; not before this much time has passed.
    #[error("too many {what}: wait, then try again")]
    RateLimited {
        /// What there were too many of.
        what: &'static str,
        /// How long to wait.
        wait: std::time::Duration,
    },
    /// The store can't do it now; nothing was stored.
    #[error("the server can't store now and has not stored this: try again")]
    Refused(String),
    /// It may or may not have been stored.
    #[error("the server does not know whether this was stored: try again with the same nonce")]
    UnknownOutcome(String),
    /// Something that the server depends on is out of reach.
    #[error("something the server depends on is out of reach: try again")]
    Unavailable(String),
    /// A defect.
    #[error("the server has a defect and could not do this")]
    Internal(String),
}

impl Error {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidName(_) => "invalid_name",
            Self::Invalid { .. } => "invalid_request",
            Self::Body(InvalidBody::Empty) => "message_empty",
            Self::Body(InvalidBody::TooLong) => "message_too_long",
            Self::NotFound(_) => "not_found",
            Self::Forbidden(_) => "forbidden",
            Self::Banned => "banned",
            Self::Archived => "archived",
            Self::NameTaken => "name_taken",
            Self::NonceReused => "nonce_reused",
            Self::RoomLimit => "room_limit",
            Self::RateLimited { .. } => "rate_limited",
            Self::Refused(_) => "refused",
            Self::UnknownOutcome(_) => "unknown_outcome",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// Seconds to wait before the same request has a chance, where waiting helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<f64> {
        match self {
            // What is told is never nothing: a client that asks at once would be refused again.
            Self::RateLimited { wait, .. } => Some(wait.as_secs_f64().max(0.1)),
            Self::Refused(_) | Self::UnknownOutcome(_) | Self::Unavailable(_) => Some(2.0),
            _ => None,
        }
    }

    /// What an operator has to know and a client must not.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Refused(cause) | Self::UnknownOutcome(cause) | Self::Unavailable(cause) | Self::Internal(cause) => {
                Some(cause)
            }
            _ => None,
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Refused(cause) => Self::Refused(cause),
            store::Error::UnknownOutcome(cause) => Self::UnknownOutcome(cause),
            store::Error::NameTaken => Self::NameTaken,
            store::Error::NotFound => Self::NotFound("thing"),
            store::Error::NonceReused => Self::NonceReused,
            store::Error::Damaged(cause) => Self::Internal(cause),
        }
    }
}

impl From<control_log::Error> for Error {
    fn from(error: control_log::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sessions::Error> for Error {
    fn from(error: sessions::Error) -> Self {
        match error {
            sessions::Error::Unavailable(_) => Self::Unavailable(error.to_string()),
            sessions::Error::Damaged(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<throttle::Error> for Error {
    fn from(error: throttle::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<presence::Error> for Error {
    fn from(error: presence::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}
