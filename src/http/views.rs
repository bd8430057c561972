//! What answers look like: the JSON of docs/protocol.md section 8, and its schemas.

use serde::Serialize;
use utoipa::ToSchema;

use super::Http;
use super::gate::LoggedIn;
use super::problem::Result;
use crate::limits;
use crate::model::{EventId, Message, Name, Role, Room, RoomId, RoomKind, Timestamp, User, UserId};
use crate::rooms::directory::Whereabouts;
use crate::store::Range;
use crate::wire::outbound::MessageView;

/// The user who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
    /// May use the admin area.
    superuser: bool,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    session: MySession,
}

/// The session of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct MySession {
    handle: String,
    #[schema(value_type = String, format = "date-time")]
    expires_at: Timestamp,
}

impl Me {
    /// The answer for somebody who is logged in.
    #[must_use]
    pub fn of(me: &LoggedIn) -> Self {
        Self {
            id: me.user.id,
            username: me.user.name.clone(),
            superuser: me.user.superuser,
            created_at: me.user.created_at,
            session: MySession {
                handle: me.handle.to_string(),
                expires_at: me.expires_at,
            },
        }
    }
}

/// A user, by id and name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UserRef {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
}

impl From<&User> for UserRef {
    fn from(user: &User) -> Self {
        Self {
            id: user.id,
            username: user.name.clone(),
        }
    }
}

/// The other person of a direct conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct With {
    #[schema(value_type = String, format = "uuid")]
    id: UserId,
    #[schema(value_type = String)]
    username: Name,
    /// Whether they have a connection now.
    online: bool,
    /// When they last had one; null if never.
    #[schema(value_type = Option<String>, format = "date-time", required)]
    last_seen: Option<Timestamp>,
}

impl With {
    fn new(user: &User, whereabouts: Whereabouts) -> Self {
        Self {
            id: user.id,
            username: user.name.clone(),
            online: whereabouts.online,
            last_seen: whereabouts.last_seen,
        }
    }
}

/// A room as the asker has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Room)]
pub struct RoomView {
    #[schema(value_type = String, format = "uuid")]
    id: RoomId,
    /// Null for a direct conversation.
    #[schema(value_type = Option<String>, required)]
    name: Option<Name>,
    title: String,
    #[schema(value_type = Kind)]
    kind: RoomKind,
    /// Null if you are not in it.
    #[schema(value_type = Option<RoleName>, required)]
    role: Option<Role>,
    members: u64,
    /// Others' messages after your read marker; 100 means 100 or more.
    unread: u32,
    /// Those of them that name you.
    mentions: u32,
    /// Your read marker.
    #[schema(value_type = Option<String>, format = "uuid", required)]
    read: Option<EventId>,
    /// The newest message.
    #[schema(value_type = Option<String>, format = "uuid", required)]
    last: Option<EventId>,
    #[schema(value_type = String, format = "date-time")]
    created_at: Timestamp,
    /// Read-only.
    archived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<With>,
}

/// What kind of conversation a room is.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "a schema: the model's own type is what is written")]
pub enum Kind {
    /// Anybody may find and join it.
    Public,
    /// Only members know of it.
    Private,
    /// Two people.
    Direct,
}

/// A member's role.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(as = Role, rename_all = "lowercase")]
#[expect(dead_code, reason = "a schema: the model's own type is what is written")]
pub enum RoleName {
    /// Reads and writes.
    Member,
    /// Also invites, kicks, bans and deletes others' messages.
    Moderator,
    /// Also changes the room and its roles.
    Owner,
}

impl RoomView {
    /// Looks up what the answer needs. `role` and `read` are the asker's; who is not in it has neither.
    ///
    /// # Errors
    /// What store and presence say.
    pub async fn of(
        http: &Http,
        asker: UserId,
        room: &Room,
        role: Option<Role>,
        read: Option<EventId>,
    ) -> Result<Self> {
        let unread = match role {
            Some(_) => http.store.unread(room.id, asker, read).await?,
            None => crate::store::Unread::default(),
        };
        let newest = http.store.page(room.id, Range::Latest, 1).await?;
        let with = match room.other(asker) {
            Some(other) => {
                let user = http.directory.user_by_id(other).await?;
                Some(With::new(&user, http.directory.look_up(other).await?))
            }
            None => None,
        };
        let most = u32::try_from(limits::UNREAD_MAX).unwrap_or(u32::MAX);
        Ok(Self {
            id: room.id,
            name: room.name.clone(),
            title: room.title.clone(),
            kind: room.kind,
            role,
            members: http.directory.member_count(room.id).await?,
            unread: unread.messages.min(most),
            mentions: unread.mentions.min(most),
            read,
            last: newest.messages.last().map(|message| message.id),
            created_at: room.created_at,
            archived: room.archived,
            with,
        })
    }

    /// The same for a room whose marker has to be read first.
    ///
    /// # Errors
    /// What store and presence say.
    pub async fn fresh(http: &Http, asker: UserId, room: &Room, role: Option<Role>) -> Result<Self> {
        let read = match role {
            Some(_) => http.store.read_marker(room.id, asker).await?,
            None => None,
        };
        Self::of(http, asker, room, role, read).await
    }
}

/// A message: the schema of the view that frames and answers share.
#[derive(Debug, ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "a schema: the view that frames share is what is written")]
pub struct MessageSchema {
    /// The room's name, or the id of a direct conversation.
    pub room: String,
    /// The room's id.
    #[schema(format = "uuid")]
    pub room_id: String,
    /// The message's id: its place in the room's order.
    #[schema(format = "uuid")]
    pub id: String,
    /// The author's name.
    pub author: String,
    /// The author's id.
    #[schema(format = "uuid")]
    pub author_id: String,
    /// The text; empty if it was deleted.
    pub message: String,
    /// When it was sent.
    #[schema(format = "date-time")]
    pub at: String,
    /// The message it answers.
    #[schema(format = "uuid", nullable = false)]
    pub reply_to: Option<String>,
    /// Ids of the members named in it.
    #[schema(nullable = false)]
    pub mentions: Option<Vec<String>>,
    /// When it was last edited.
    #[schema(format = "date-time", nullable = false)]
    pub edited_at: Option<String>,
    /// True if it was removed.
    #[schema(nullable = false)]
    pub deleted: Option<bool>,
}

/// A page of messages, ascending.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a schema: the view that frames share is what is written")]
pub struct MessagePage {
    /// Oldest first.
    pub messages: Vec<MessageSchema>,
    /// Whether the range holds more.
    pub has_more: bool,
}

/// The answer behind [`MessagePage`].
#[derive(Debug, Serialize)]
pub struct MessagePageView<'a> {
    messages: Vec<MessageView<'a>>,
    has_more: bool,
}

impl<'a> MessagePageView<'a> {
    /// The page of a room with this label.
    #[must_use]
    pub fn new(label: &'a str, messages: &'a [Message], has_more: bool) -> Self {
        Self {
            messages: messages
                .iter()
                .map(|message| MessageView::new(label, message))
                .collect(),
            has_more,
        }
    }
}
