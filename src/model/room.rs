//! Rooms, and what a user is in one.

use serde::{Deserialize, Serialize};

use super::id::{RoomId, UserId};
use super::name::Name;
use super::timestamp::Timestamp;

/// The longest room title, in characters.
pub const TITLE_CHARS_MAX: usize = 100;

/// What kind of conversation a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoomKind {
    /// Anybody may find and join it.
    Public,
    /// Only members know of it; they are invited.
    Private,
    /// A conversation of two people.
    Direct,
}

impl RoomKind {
    /// The word used in JSON and in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Direct => "direct",
        }
    }

    /// The kind that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Public, Self::Private, Self::Direct]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// A member's role, from the least to the most powerful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes.
    Member,
    /// Also invites, kicks, bans and deletes others' messages.
    Moderator,
    /// Also changes the room and its roles.
    Owner,
}

impl Role {
    /// The word used in JSON and in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Owner => "owner",
        }
    }

    /// The role that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Member, Self::Moderator, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Its name; a direct conversation has none.
    pub name: Option<Name>,
    /// What is shown above it; empty if nobody set one.
    pub title: String,
    /// What kind it is.
    pub kind: RoomKind,
    /// The two people of a direct conversation, lower id first.
    pub pair: Option<(UserId, UserId)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Read-only if set.
    pub archived: bool,
    /// Gone for everybody if set; the row stays.
    pub deleted: bool,
}

impl Room {
    /// What frames call the room: its name, or the id of a direct conversation.
    #[must_use]
    pub fn label(&self) -> String {
        self.name
            .as_ref()
            .map_or_else(|| self.id.to_string(), |name| name.as_str().to_owned())
    }

    /// The other person of a direct conversation; oneself is never the other.
    #[must_use]
    pub fn other(&self, user: UserId) -> Option<UserId> {
        let (low, high) = self.pair?;
        if user == low { Some(high) } else { Some(low) }
    }
}

/// What one user is to one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Neither in it nor banned.
    Outsider,
    /// Banned: may not come back until it is lifted.
    Banned,
    /// In it, with this role.
    Member(Role),
}

impl Standing {
    /// The role, if the user is a member.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Member(role) => Some(role),
            Self::Outsider | Self::Banned => None,
        }
    }
}

/// A member of a room, as lists show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// Their name.
    pub name: Name,
    /// Their role.
    pub role: Role,
    /// When they became a member.
    pub joined_at: Timestamp,
}
