//! Opening a room, or joining it: what `join` on a socket and the one-room addresses do.

use std::sync::Arc;

use super::{Directory, Error, Result, RoomKey, UserKey, author_of};
use crate::control_log::{Entry, StandingCut};
use crate::limits;
use crate::model::{Action, EventId, Name, Role, Room, RoomId, RoomKind, Standing, User, UserId};
use crate::store::NewRoom;
use crate::throttle::Kind;
use crate::wire::outbound::Notice;

/// How often a join is tried again when the room was made or deleted under it.
const ATTEMPTS: usize = 3;

/// A room that one is in now.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The room.
    pub room: Arc<Room>,
    /// One's role.
    pub role: Role,
    /// This join made the room.
    pub created: bool,
    /// One's read marker.
    pub read: Option<EventId>,
    /// The other person of a direct conversation.
    pub with: Option<Arc<User>>,
}

impl Directory {
    /// Joins a room; makes a public one if the name is free. Who is a member already gets their role back.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::NotFound`] for an unknown id and for a private room of others;
    /// [`Error::Banned`]; what the store says.
    pub async fn open_or_join(&self, user: UserId, room: &str) -> Result<Joined> {
        let key = RoomKey::parse(room)?;
        for _ in 0..ATTEMPTS {
            let name = match self.room(&key).await {
                Ok(room) => match self.join(user, room).await {
                    // Deleted between the look and the join: the name may be free now.
                    Err(Error::NotFound(_)) if matches!(key, RoomKey::Name(_)) => match self.room(&key).await {
                        Err(Error::NotFound(_)) => continue,
                        _ => return Err(Error::NotFound("room")),
                    },
                    joined => return joined,
                },
                Err(Error::NotFound(what)) => match &key {
                    RoomKey::Name(name) => name,
                    RoomKey::Id(_) => return Err(Error::NotFound(what)),
                },
                Err(error) => return Err(error),
            };
            match self.create(user, name.clone(), String::new(), RoomKind::Public).await {
                // Two asked at once: the loser joins what the winner made.
                Err(Error::NameTaken) => {}
                created => {
                    return created.map(|room| Joined {
                        room,
                        role: Role::Owner,
                        created: true,
                        read: None,
                        with: None,
                    });
                }
            }
        }
        Err(Error::Refused(
            "the room was made and deleted while it was joined".into(),
        ))
    }

    /// Makes a room that the user owns.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::RoomLimit`], [`Error::RateLimited`], or what the store says.
    pub async fn create(&self, user: UserId, name: Name, title: String, kind: RoomKind) -> Result<Arc<Room>> {
        self.may_make_room(user).await?;
        let new = NewRoom {
            name,
            title,
            kind,
            owner: user,
            at: self.now(),
        };
        let room = Arc::new(self.seams.store.create_room(new).await?);
        self.admitted(&room, user, Role::Owner).await;
        Ok(room)
    }

    async fn may_make_room(&self, user: UserId) -> Result<()> {
        self.count_if_possible(Kind::RoomCreation, "new rooms", user).await?;
        self.has_room_for_more(user).await
    }

    /// Refuses somebody who is in [`limits::ROOMS_PER_USER_MAX`] rooms.
    async fn has_room_for_more(&self, user: UserId) -> Result<()> {
        let most = limits::ROOMS_PER_USER_MAX;
        // Only for those who were ever in so many it is worth counting those that they are in now.
        if self.seams.store.rooms_entered(user).await? >= most as u64
            && self.seams.store.rooms_of(user).await?.len() >= most
        {
            return Err(Error::RoomLimit);
        }
        Ok(())
    }

    async fn join(&self, user: UserId, room: Arc<Room>) -> Result<Joined> {
        let standing = self.authorise(Action::Join, &room, user).await?;
        let (role, read) = match standing {
            Standing::Member(role) => (role, self.marker(room.id, user).await?),
            _ => self.admit(&room, user).await?,
        };
        let with = match room.other(user) {
            Some(other) => Some(self.user_by_id(other).await?),
            None => None,
        };
        Ok(Joined {
            room,
            role,
            created: false,
            read,
            with,
        })
    }

    /// Writes a membership whose unread messages begin now.
    async fn admit(&self, room: &Arc<Room>, user: UserId) -> Result<(Role, Option<EventId>)> {
        self.count_if_possible(Kind::Membership, "new memberships", user)
            .await?;
        self.has_room_for_more(user).await?;
        let newest = self.seams.live.newest_message(room).await?;
        let store = &self.seams.store;
        store
            .put_member(room.id, user, Role::Member, self.now(), newest)
            .await?;
        self.admitted(room, user, Role::Member).await;
        // A ban or a deletion may have come between the look and the write: what holds is what is stored now.
        match self.standing(room.id, user).await? {
            // Another node may have let them in long ago without this one having heard of it: then their marker stands.
            Standing::Member(role) if !self.seams.live.is_alone() => Ok((role, self.marker(room.id, user).await?)),
            Standing::Member(role) => Ok((role, newest)),
            Standing::Banned => Err(Error::Banned),
            Standing::Outsider => Err(Error::NotFound("room")),
        }
    }

    async fn admitted(&self, room: &Room, user: UserId, role: Role) {
        self.tell_admitted(room.id, user).await;
        let room = room.into();
        self.seams.live.inbox(user, &Notice::Joined { room, role });
    }

    /// Tells the other nodes of a membership that is stored, or later if the control log is out of reach: that keeps
    /// nobody out of a room. Until then a node that knew the user as an outsider may take them for one.
    async fn tell_admitted(&self, room: RoomId, user: UserId) {
        let why = StandingCut::Admitted;
        if let Err(error) = self.announce(Entry::Standing { room, user, why }).await {
            tracing::warn!(cause = error.cause(), %room, "a new membership is announced later");
        }
    }

    /// Opens the direct conversation with somebody.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::NotFound`] if there is no such user; [`Error::Invalid`] for oneself; what the
    /// store says.
    pub async fn open_direct(&self, user: &User, other: &str) -> Result<Joined> {
        let other = self.user(&UserKey::parse(other)?).await?;
        if other.id == user.id {
            return Err(Error::Invalid {
                field: "user",
                detail: "a direct conversation needs somebody else: name another user".into(),
            });
        }
        if matches!(
            self.room_by_id(RoomId::direct(user.id, other.id)).await,
            Err(Error::NotFound(_))
        ) {
            self.may_make_room(user.id).await?;
        }
        let (room, created) = self.seams.store.open_direct(user.id, other.id, self.now()).await?;
        if created {
            for (who, with) in [(user.id, &*other), (other.id, user)] {
                self.tell_admitted(room.id, who).await;
                let notice = Notice::Direct {
                    room: room.id,
                    with: author_of(with),
                };
                self.seams.live.inbox(who, &notice);
            }
        }
        let mut joined = self.join(user.id, Arc::new(room)).await?;
        joined.created = created;
        Ok(joined)
    }
}
