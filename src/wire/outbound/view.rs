//! A message and presence as clients see them.

use bytes::Bytes;
use serde::Serialize;

use crate::model::{EventId, Message, Name, RoomId, Timestamp, UserId};
use crate::wire::frame::{text_frame, text_of};

/// A message as frames and HTTP answers show it.
#[derive(Debug, Clone, Serialize)]
pub struct MessageView<'a> {
    /// The room's name, or the id of a direct conversation.
    pub room: &'a str,
    /// The room's id.
    pub room_id: RoomId,
    /// The message's id.
    pub id: EventId,
    /// The author's name.
    pub author: &'a str,
    /// The author's id.
    pub author_id: UserId,
    /// The text; empty if it was deleted.
    pub message: &'a str,
    /// When it was sent.
    pub at: Timestamp,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<EventId>,
    /// Members named in it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub mentions: &'a [UserId],
    /// When it was last edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// It was removed.
    #[serde(skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// It belongs earlier than where it arrives.
    #[serde(skip_serializing_if = "is_false")]
    pub late: bool,
    /// The position for the cursor, if it is not the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl<'a> MessageView<'a> {
    /// The view of a message of the room with this label.
    #[must_use]
    pub fn new(label: &'a str, message: &'a Message) -> Self {
        Self {
            room: label,
            room_id: message.room,
            id: message.id,
            author: message.author.name.as_str(),
            author_id: message.author.id,
            message: &message.body,
            at: message.at(),
            reply_to: message.reply_to,
            mentions: &message.mentions,
            edited_at: message.edited_at,
            deleted: message.deleted_at.is_some(),
            late: false,
            event_id: None,
        }
    }
}

/// What begins the end of a late message's JSON: its last two fields, in the order of the view.
const LATE: &[u8] = br#","late":true,"event_id":""#;
/// An id as JSON has it, and what follows on it there.
const ID_AND_END: usize = 36 + 2;

/// A message's frame, as the late event with this id tells the message; also that of another late event of it.
#[must_use]
pub fn late_frame(message: &Bytes, event: EventId) -> Bytes {
    let Some(object) = text_of(message).and_then(|json| json.strip_suffix(b"}")) else {
        return message.clone();
    };
    // A text can't hold these bytes: a quotation mark in it is escaped.
    let end = (object.len() + 1).saturating_sub(LATE.len() + ID_AND_END);
    let was_late = object[end..].starts_with(LATE);
    let mut json = object[..if was_late { end } else { object.len() }].to_vec();
    json.extend_from_slice(LATE);
    json.extend_from_slice(event.to_string().as_bytes());
    json.extend_from_slice(br#""}"#);
    text_frame(&json)
}

/// The two shapes of `presence`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum PresenceView<'a> {
    /// In a room.
    Room {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// How many people are here now.
        count: u64,
        /// Who came; absent in a crowd.
        #[serde(skip_serializing_if = "Option::is_none")]
        joined: Option<&'a [Name]>,
        /// Who went; absent in a crowd.
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<&'a [Name]>,
    },
    /// Of the other person of a direct conversation.
    Person {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// Their name.
        user: &'a Name,
        /// Their id.
        user_id: UserId,
        /// Whether they have a connection.
        online: bool,
        /// When they last had one; null if never.
        last_seen: Option<Timestamp>,
    },
}
