//! What concerns one user, wherever they are connected: the `inbox` and `read` frames.

use serde::Serialize;

use super::{Outbound, RoomRef, to_json};
use crate::model::{Author, EventId, Name, Role, RoomId, RoomKind, UserId};

/// The body of an `inbox` frame.
#[derive(Debug, Clone, Serialize)]
pub struct InboxView<'a> {
    what: &'static str,
    room: &'a str,
    room_id: RoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<RoomKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// Something that concerns one user, wherever they are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Somebody opened a conversation with them.
    Direct {
        /// The conversation.
        room: RoomId,
        /// Who.
        with: Author,
    },
    /// They joined a room on another connection.
    Joined {
        /// The room.
        room: RoomRef,
        /// Their role.
        role: Role,
    },
    /// Somebody made them a member.
    Invited {
        /// The room.
        room: RoomRef,
        /// Their role.
        role: Role,
        /// Who did.
        by: Author,
    },
    /// Their role changed.
    Role {
        /// The room.
        room: RoomRef,
        /// The new one.
        role: Role,
    },
    /// They left.
    Left(RoomRef),
    /// They were thrown out.
    Kicked(RoomRef),
    /// They were banned.
    Banned(RoomRef),
    /// A ban was lifted.
    Unbanned(RoomRef),
    /// A room of theirs changed.
    Changed {
        /// The room.
        room: RoomRef,
        /// Its title now.
        title: String,
        /// Its kind now.
        kind: RoomKind,
        /// Read-only now.
        archived: bool,
    },
    /// Somebody named them.
    Mention {
        /// The room.
        room: RoomRef,
        /// The message.
        id: EventId,
        /// Who wrote it.
        author: Author,
        /// The text.
        message: String,
    },
    /// Their read marker moved.
    Read {
        /// The room.
        room: RoomRef,
        /// To where.
        id: EventId,
    },
}

impl Notice {
    /// The frame's JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let direct_label;
        let view = match self {
            Self::Direct { room, with } => {
                direct_label = RoomRef {
                    id: *room,
                    label: room.to_string(),
                };
                InboxView {
                    with: Some(&with.name),
                    with_id: Some(with.id),
                    ..InboxView::blank("direct", &direct_label)
                }
            }
            Self::Joined { room, role } => InboxView {
                role: Some(*role),
                ..InboxView::blank("joined", room)
            },
            Self::Invited { room, role, by } => InboxView {
                role: Some(*role),
                by: Some(&by.name),
                by_id: Some(by.id),
                ..InboxView::blank("invited", room)
            },
            Self::Role { room, role } => InboxView {
                role: Some(*role),
                ..InboxView::blank("role", room)
            },
            Self::Left(room) => InboxView::blank("left", room),
            Self::Kicked(room) => InboxView::blank("kicked", room),
            Self::Banned(room) => InboxView::blank("banned", room),
            Self::Unbanned(room) => InboxView::blank("unbanned", room),
            Self::Changed {
                room,
                title,
                kind,
                archived,
            } => InboxView {
                title: Some(title),
                kind: Some(*kind),
                archived: Some(*archived),
                ..InboxView::blank("changed", room)
            },
            Self::Mention {
                room,
                id,
                author,
                message,
            } => InboxView {
                id: Some(*id),
                author: Some(&author.name),
                author_id: Some(author.id),
                message: Some(message),
                ..InboxView::blank("mention", room)
            },
            Self::Read { room, id } => {
                return to_json(&Outbound::Read {
                    room: &room.label,
                    room_id: room.id,
                    id: *id,
                });
            }
        };
        to_json(&Outbound::Inbox(view))
    }
}

impl<'a> InboxView<'a> {
    fn blank(what: &'static str, room: &'a RoomRef) -> Self {
        Self {
            what,
            room: &room.label,
            room_id: room.id,
            with: None,
            with_id: None,
            role: None,
            by: None,
            by_id: None,
            title: None,
            kind: None,
            archived: None,
            id: None,
            author: None,
            author_id: None,
            message: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_carry_their_word() {
        let room = RoomRef {
            id: RoomId::random(),
            label: "lobby".into(),
        };
        let json: serde_json::Value = serde_json::from_slice(
            &Notice::Role {
                room: room.clone(),
                role: Role::Moderator,
            }
            .to_json(),
        )
        .unwrap();
        assert_eq!(
            json,
            serde_json::json!({"type": "inbox", "what": "role", "room": "lobby",
            "room_id": room.id.to_string(), "role": "moderator"})
        );
        let id = EventId::new(1_795_442_527_007, 0, 5);
        let json: serde_json::Value =
            serde_json::from_slice(&Notice::Read { room: room.clone(), id }.to_json()).unwrap();
        assert_eq!(json["type"], "read");
    }
}
