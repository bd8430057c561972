//! Messages, and the durable events of a room.

use super::id::{EventId, RoomId, UserId};
use super::name::{Name, is_name_byte};
use super::timestamp::Timestamp;

/// The most Unicode scalar values in one message.
pub const MESSAGE_CHARS_MAX: usize = 4_000;
/// The longest nonce, in bytes.
pub const NONCE_BYTES_MAX: usize = 64;

/// Who wrote something: the id that counts and the name to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The user's id.
    pub id: UserId,
    /// The user's name.
    pub name: Name,
}

/// A client's key for one send: a retry with the same nonce is the same message. 1 to 64 of ASCII letters, digits, `_`
/// and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Nonce(Box<str>);

impl Nonce {
    /// Checks a text against the rule for nonces; `None` if it breaks it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=NONCE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name_byte);
        fits.then(|| Self(text.into()))
    }

    /// The nonce as the client gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text can't be sent as a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBody {
    /// Nothing, or nothing but white space.
    #[error("the message is empty")]
    Empty,
    /// More than [`MESSAGE_CHARS_MAX`] scalar values.
    #[error("the message holds more than 4,000 characters")]
    TooLong,
}

/// Checks a message's text.
///
/// # Errors
/// [`InvalidBody`] says what is wrong.
pub fn check_body(body: &str) -> Result<(), InvalidBody> {
    // Every scalar takes at least one byte, so most bodies are settled without counting.
    if body.len() > MESSAGE_CHARS_MAX && body.chars().nth(MESSAGE_CHARS_MAX).is_some() {
        return Err(InvalidBody::TooLong);
    }
    if body.chars().all(char::is_whitespace) {
        return Err(InvalidBody::Empty);
    }
    Ok(())
}

/// A message to be stored. The store gives it its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// The room it goes to.
    pub room: RoomId,
    /// Who sends it.
    pub author: Author,
    /// The text, already checked by [`check_body`].
    pub body: String,
    /// The client's nonce, if it gave one.
    pub nonce: Option<Nonce>,
    /// The client says that it has sent this nonce before: only then a store has to look for an earlier attempt.
    pub retry: bool,
    /// The message it answers: the new id will be greater.
    pub reply_to: Option<EventId>,
    /// Members named in it.
    pub mentions: Vec<UserId>,
}

impl NewMessage {
    /// The message as it is stored under this id.
    #[must_use]
    pub fn stored_as(self, id: EventId) -> Message {
        Message {
            room: self.room,
            id,
            author: self.author,
            body: self.body,
            reply_to: self.reply_to,
            mentions: self.mentions,
            edited_at: None,
            deleted_at: None,
            last_event: None,
        }
    }
}

/// A stored message in its present state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The room it is in.
    pub room: RoomId,
    /// Its id: its place in the room's order, and when it was made.
    pub id: EventId,
    /// Who wrote it.
    pub author: Author,
    /// The text; empty once it was deleted.
    pub body: String,
    /// The message it answers.
    pub reply_to: Option<EventId>,
    /// Members named in it.
    pub mentions: Vec<UserId>,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted; sticky.
    pub deleted_at: Option<Timestamp>,
    /// The event that last changed it.
    pub last_event: Option<EventId>,
}

impl Message {
    /// When the message was made.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.id.timestamp()
    }
}

/// An edit or a deletion to be stored. The store gives it its event id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The message's room.
    pub room: RoomId,
    /// The message.
    pub message: EventId,
    /// Who does it; the caller has checked that they may.
    pub by: UserId,
    /// What is done.
    pub kind: ChangeKind,
}

/// What a [`Change`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A new text, already checked, and who it names.
    Edit {
        /// The new text.
        body: String,
        /// Members named in it.
        mentions: Vec<UserId>,
    },
    /// The text is removed; the row stays.
    Delete,
}

/// A durable event of a room, at its position in the room's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position: the message's own id, or that of the edit, deletion or late event.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
}

/// What an [`Event`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// A message was sent. When read from the store it is in its present state, later edits included.
    Message(Message),
    /// A message that became durable long after its id was made; it belongs at the place of its own id.
    Late(Message),
    /// A message was edited; it is given in the state after this edit.
    Edited(Message),
    /// A message was deleted.
    Deleted {
        /// The message.
        message: EventId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_counted_in_scalar_values() {
        assert_eq!(check_body("hi"), Ok(()));
        assert_eq!(check_body(&"é".repeat(4_000)), Ok(()));
        assert_eq!(check_body(&"é".repeat(4_001)), Err(InvalidBody::TooLong));
        assert_eq!(check_body(" \n\t\u{2003}"), Err(InvalidBody::Empty));
        assert_eq!(check_body(""), Err(InvalidBody::Empty));
    }

    #[test]
    fn a_nonce_keeps_to_its_alphabet() {
        assert!(Nonce::parse("a-Z_9").is_some());
        assert!(Nonce::parse("").is_none());
        assert!(Nonce::parse(&"a".repeat(65)).is_none());
        assert!(Nonce::parse("a b").is_none());
    }
}
