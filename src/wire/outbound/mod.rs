//! The frames that the server sends, as docs/protocol.md section 4 has them, and their one encoding to JSON.
//!
//! A frame that many sockets get is encoded once and its bytes are shared; nothing here knows sockets.

mod notice;
mod view;

use serde::Serialize;

use crate::model::{ConnectionId, Event, EventId, EventKind, Name, Role, Room, RoomId, RoomKind, Timestamp, UserId};

pub use notice::{InboxView, Notice};
pub use view::{MessageView, PresenceView, late_frame};

/// A room as frames name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRef {
    /// Its id.
    pub id: RoomId,
    /// Its name, or the id of a direct conversation.
    pub label: String,
}

impl From<&Room> for RoomRef {
    fn from(room: &Room) -> Self {
        Self {
            id: room.id,
            label: room.label(),
        }
    }
}

/// A client's `ref`, repeated in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Ref {
    /// An integer.
    Number(i64),
    /// A text of at most 64 characters.
    Text(Box<str>),
}
/// What the server lets clients do.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LimitsView {
    /// Unicode scalar values in one message.
    pub message_chars: usize,
    /// Bytes in one frame.
    pub frame_bytes: usize,
    /// Rooms on one connection.
    pub rooms: usize,
}

impl LimitsView {
    /// The limits in force.
    #[must_use]
    pub const fn current() -> Self {
        Self {
            message_chars: crate::model::message::MESSAGE_CHARS_MAX,
            frame_bytes: crate::limits::FRAME_BYTES_MAX,
            rooms: crate::limits::ROOMS_PER_CONNECTION_MAX,
        }
    }
}

/// Why a connection no longer gets a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeftReason {
    /// The client asked to.
    Unsubscribed,
    /// The membership ended by the user's own will.
    Left,
    /// Thrown out.
    Kicked,
    /// Banned.
    Banned,
    /// The room was deleted.
    Deleted,
}

/// One frame to a client.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Outbound<'a> {
    /// The first frame.
    Hello {
        /// This connection.
        connection: ConnectionId,
        /// The user's name.
        user: &'a Name,
        /// The user's id.
        user_id: UserId,
        /// May use the admin area.
        superuser: bool,
        /// Product and version.
        server: &'static str,
        /// What the server lets clients do.
        limits: LimitsView,
    },
    /// A request is done.
    Ack {
        /// The request's `ref`.
        #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
        reference: Option<&'a Ref>,
        /// The send's nonce.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a str>,
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// The message.
        id: EventId,
        /// When.
        at: Timestamp,
        /// The event of an edit or deletion.
        #[serde(skip_serializing_if = "Option::is_none")]
        event_id: Option<EventId>,
    },
    /// The answer to `join`.
    Joined {
        /// The request's `ref`.
        #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
        reference: Option<&'a Ref>,
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// What kind it is.
        kind: RoomKind,
        /// Its title.
        title: &'a str,
        /// Read-only.
        archived: bool,
        /// Your role.
        role: Role,
        /// How many people are here.
        present_count: u64,
        /// The first of them.
        present: &'a [Name],
        /// The newest event.
        cursor: Option<EventId>,
        /// Your read marker.
        read: Option<EventId>,
        /// The other person of a direct conversation.
        #[serde(skip_serializing_if = "Option::is_none")]
        with: Option<&'a Name>,
        /// Their id.
        #[serde(skip_serializing_if = "Option::is_none")]
        with_id: Option<UserId>,
        /// This join made the room.
        created: bool,
    },
    /// A message.
    Message(MessageView<'a>),
    /// A message reads differently now.
    Edited {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// The message.
        id: EventId,
        /// The edit.
        event_id: EventId,
        /// The author's name.
        author: &'a str,
        /// The author's id.
        author_id: UserId,
        /// The new text.
        message: &'a str,
        /// When it was changed.
        at: Timestamp,
        /// Members named in it.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        mentions: &'a [UserId],
    },
    /// A message was removed.
    Deleted {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// The message.
        id: EventId,
        /// The deletion.
        event_id: EventId,
        /// When.
        at: Timestamp,
    },
    /// The replay has a gap.
    Reset {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// The cursor it was resumed from.
        from: EventId,
        /// The first message after the gap.
        to: Option<EventId>,
    },
    /// The replay is complete.
    Live {
        /// The request's `ref`.
        #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
        reference: Option<&'a Ref>,
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// The newest event.
        cursor: Option<EventId>,
    },
    /// This connection no longer gets the room.
    Left {
        /// The request's `ref`.
        #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
        reference: Option<&'a Ref>,
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// Why.
        reason: LeftReason,
    },
    /// Somebody types.
    Typing {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// Their name.
        user: &'a Name,
        /// Their id.
        user_id: UserId,
    },
    /// Who came and went, or whether the other person of a direct conversation is online.
    Presence(PresenceView<'a>),
    /// Your read marker moved elsewhere.
    Read {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// The marker.
        id: EventId,
    },
    /// What concerns you in other rooms.
    Inbox(InboxView<'a>),
    /// The room is held back, or goes on.
    Degraded {
        /// The room.
        room: &'a str,
        /// Its id.
        room_id: RoomId,
        /// Which of both.
        degraded: bool,
    },
    /// The socket is about to be closed.
    Bye {
        /// Why, as a stable word.
        reason: &'static str,
        /// Seconds to wait before coming back.
        delay: f64,
        /// Whether to come back by itself.
        resume: bool,
    },
    /// The answer to `ping`.
    Pong {
        /// The request's `ref`.
        #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
        reference: Option<&'a Ref>,
    },
    /// A request was not done.
    Error {
        /// A code of docs/protocol.md section 6.
        code: &'static str,
        /// What is wrong and what to do.
        detail: &'a str,
        /// Seconds to wait before trying again.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<f64>,
        /// The request's `ref`.
        #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
        reference: Option<&'a Ref>,
        /// The send's nonce.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a str>,
        /// The room it was about, as the client named it.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
    },
}
/// A frame's JSON.
#[must_use]
pub fn to_json(frame: &Outbound<'_>) -> Vec<u8> {
    // Serialising these types into memory can't fail: no map has keys that are not strings and nothing does I/O.
    serde_json::to_vec(frame).unwrap_or_default()
}

/// The JSON of a durable event in the room with this label: one encoding, whatever the number of members.
#[must_use]
pub fn event_json(label: &str, room: RoomId, event: &Event) -> Vec<u8> {
    match &event.kind {
        EventKind::Message(message) => to_json(&Outbound::Message(MessageView::new(label, message))),
        EventKind::Late(message) => to_json(&Outbound::Message(MessageView {
            late: true,
            event_id: Some(event.id),
            ..MessageView::new(label, message)
        })),
        EventKind::Edited(message) => to_json(&Outbound::Edited {
            room: label,
            room_id: room,
            id: message.id,
            event_id: event.id,
            author: message.author.name.as_str(),
            author_id: message.author.id,
            message: &message.body,
            at: event.id.timestamp(),
            mentions: &message.mentions,
        }),
        EventKind::Deleted { message } => to_json(&Outbound::Deleted {
            room: label,
            room_id: room,
            id: *message,
            event_id: event.id,
            at: event.id.timestamp(),
        }),
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Author, Message};

    fn message() -> Message {
        Message {
            room: RoomId::random(),
            id: EventId::new(1_795_442_527_007, 0, 5),
            author: Author {
                id: UserId::random(),
                name: Name::parse("ann").unwrap(),
            },
            body: "hi \"there\"".into(),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted_at: None,
            last_event: None,
        }
    }

    #[test]
    fn a_plain_message_has_only_the_plain_fields() {
        let message = message();
        let event = Event {
            id: message.id,
            kind: EventKind::Message(message.clone()),
        };
        let json: serde_json::Value = serde_json::from_slice(&event_json("lobby", message.room, &event)).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            keys,
            ["at", "author", "author_id", "id", "message", "room", "room_id", "type"]
        );
        assert_eq!(json["type"], "message");
        assert_eq!(json["message"], "hi \"there\"");
        assert_eq!(json["at"], "2026-11-23T14:02:07.007Z");
    }

    #[test]
    fn a_late_message_says_so_and_has_its_position() {
        let message = message();
        let id = EventId::new(1_795_442_540_000, 0, 9);
        let event = Event {
            id,
            kind: EventKind::Late(message.clone()),
        };
        let json: serde_json::Value = serde_json::from_slice(&event_json("lobby", message.room, &event)).unwrap();
        assert_eq!(json["late"], true);
        assert_eq!(json["event_id"], id.to_string());
        assert_eq!(json["id"], message.id.to_string());
        let plain = to_json(&Outbound::Message(MessageView::new("lobby", &message)));
        let late = crate::wire::frame::text_frame(&event_json("lobby", message.room, &event));
        assert_eq!(late_frame(&crate::wire::frame::text_frame(&plain), id), late);
        let other = EventId::new(1_795_442_550_000, 3, 9);
        assert_eq!(late_frame(&late_frame(&late, other), id), late);
    }
}
