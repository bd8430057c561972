//! Who is in a room and as what: invite, change a role, kick, ban, leave.
//!
//! Each of these may be repeated: what is already so is announced again, because an earlier attempt may have been
//! stored and then not have reached the control log.

use std::sync::Arc;

use super::{Directory, Error, Result, author_of};
use crate::control_log::{Entry, StandingCut};
use crate::model::permission::outranks;
use crate::model::{Action, Role, Room, RoomId, Standing, User, UserId};
use crate::store::{self, Ban};
use crate::throttle::Kind;
use crate::wire::outbound::Notice;

impl Directory {
    async fn cut(&self, room: RoomId, user: UserId, why: StandingCut) -> Result<()> {
        self.revoke(Entry::Standing { room, user, why }).await
    }

    /// Makes somebody a member (a member unless `role` says otherwise), or changes their role. Giving `owner` hands
    /// the room over: the one who gives it becomes a moderator.
    ///
    /// # Errors
    /// By the matrix: inviting, or for a role [`Action::ChangeRole`]; [`Error::Forbidden`] for somebody banned;
    /// [`Error::RateLimited`] for too many changes of roles.
    pub async fn put_member(&self, actor: &User, room: &Room, target: &User, role: Option<Role>) -> Result<Role> {
        let standing = self.authorise(Action::See, room, actor.id).await?;
        match self.standing(room.id, target.id).await? {
            Standing::Banned => {
                self.authorise(Action::Invite, room, actor.id).await?;
                Err(Error::Forbidden("they are banned from this room: lift the ban first"))
            }
            Standing::Outsider => self.invite(actor, room, target, role).await,
            Standing::Member(now) if role.is_none_or(|role| role == now) => {
                self.authorise(Action::Invite, room, actor.id).await?;
                if role.is_some() && self.authorise(Action::ChangeRole, room, actor.id).await.is_ok() {
                    self.may_revoke(actor.id).await?;
                    self.cut(room.id, target.id, StandingCut::Role).await?;
                }
                Ok(now)
            }
            Standing::Member(_) => {
                self.authorise(Action::ChangeRole, room, actor.id).await?;
                self.may_revoke(actor.id).await?;
                let role = role.unwrap_or(Role::Member);
                self.change_role(actor, standing, room, target, role).await?;
                Ok(role)
            }
        }
    }

    async fn invite(&self, actor: &User, room: &Room, target: &User, role: Option<Role>) -> Result<Role> {
        self.authorise(Action::Invite, room, actor.id).await?;
        let role = role.unwrap_or(Role::Member);
        if role != Role::Member {
            self.authorise(Action::ChangeRole, room, actor.id).await?;
            self.may_revoke(actor.id).await?;
        }
        self.count(Kind::Membership, "new memberships", &actor.id).await?;
        let first = if role == Role::Owner { Role::Member } else { role };
        let newest = self.seams.live.newest_message(&Arc::new(room.clone())).await?;
        let store = &self.seams.store;
        store.put_member(room.id, target.id, first, self.now(), newest).await?;
        self.announce(Entry::Standing {
            room: room.id,
            user: target.id,
            why: StandingCut::Admitted,
        })
        .await?;
        if role == Role::Owner {
            self.hand_over(actor, room, target).await?;
        }
        let notice = Notice::Invited {
            room: room.into(),
            role,
            by: author_of(actor),
        };
        self.seams.live.inbox(target.id, &notice);
        Ok(role)
    }

    async fn change_role(&self, actor: &User, own: Standing, room: &Room, target: &User, role: Role) -> Result<()> {
        if actor.id == target.id {
            return Err(Error::Forbidden(
                "an owner stays the owner until the room is handed over: make somebody else the owner",
            ));
        }
        outrank(own, self.standing(room.id, target.id).await?)?;
        if role == Role::Owner {
            self.hand_over(actor, room, target).await?;
        } else {
            // Not `put_member`: who is thrown out at this moment must not come back by it.
            match self.seams.store.set_role(room.id, target.id, role).await {
                Err(store::Error::NotFound) => return Err(Error::NotFound("member")),
                outcome => outcome?,
            }
            self.cut(room.id, target.id, StandingCut::Role).await?;
        }
        self.tell_role(room, target.id, role);
        Ok(())
    }

    async fn hand_over(&self, owner: &User, room: &Room, heir: &User) -> Result<()> {
        self.seams.store.hand_over(room.id, owner.id, heir.id).await?;
        let heirs = self.cut(room.id, heir.id, StandingCut::Role).await;
        self.cut(room.id, owner.id, StandingCut::Role).await?;
        heirs?;
        self.tell_role(room, owner.id, Role::Moderator);
        Ok(())
    }

    fn tell_role(&self, room: &Room, user: UserId, role: Role) {
        let room = room.into();
        self.seams.live.inbox(user, &Notice::Role { room, role });
    }

    /// Ends somebody's membership.
    ///
    /// # Errors
    /// By the matrix; [`Error::Forbidden`] for an owner or an equal; [`Error::RateLimited`].
    pub async fn kick(&self, actor: &User, room: &Room, target: &User) -> Result<()> {
        let own = self.authorise(Action::Kick, room, actor.id).await?;
        let standing = self.standing(room.id, target.id).await?;
        outrank(own, standing)?;
        self.may_revoke(actor.id).await?;
        self.end_membership(room, target.id, StandingCut::Kicked).await?;
        if standing.role().is_some() {
            self.seams.live.inbox(target.id, &Notice::Kicked(room.into()));
        }
        Ok(())
    }

    /// Ends one's own membership. When an owner leaves, the longest-standing moderator, else member, becomes owner.
    ///
    /// # Errors
    /// By the matrix: nobody leaves a direct conversation. The caller has asked [`Directory::may_revoke`].
    pub async fn leave(&self, user: UserId, room: &Room) -> Result<()> {
        let allowed = self.authorise(Action::Leave, room, user).await;
        if self.standing(room.id, user).await? == Standing::Outsider {
            // Already so; what they are told is what any outsider is told.
            self.cut(room.id, user, StandingCut::Left).await?;
            return allowed.map(|_| ());
        }
        allowed?;
        self.end_membership(room, user, StandingCut::Left).await?;
        self.seams.live.inbox(user, &Notice::Left(room.into()));
        Ok(())
    }

    async fn end_membership(&self, room: &Room, user: UserId, why: StandingCut) -> Result<()> {
        let heir = self.seams.store.end_member(room.id, user).await?;
        self.cut(room.id, user, why).await?;
        if let Some(heir) = heir {
            self.cut(room.id, heir, StandingCut::Role).await?;
            self.tell_role(room, heir, Role::Owner);
        }
        Ok(())
    }

    /// Bans somebody, member or not.
    ///
    /// # Errors
    /// By the matrix; [`Error::Forbidden`] for an owner or an equal; [`Error::RateLimited`].
    pub async fn ban(&self, actor: &User, room: &Room, target: &User) -> Result<()> {
        let own = self.authorise(Action::Ban, room, actor.id).await?;
        let standing = self.standing(room.id, target.id).await?;
        outrank(own, standing)?;
        self.may_revoke(actor.id).await?;
        let store = &self.seams.store;
        store.ban(room.id, target.id, actor.id, self.now()).await?;
        self.cut(room.id, target.id, StandingCut::Banned).await?;
        // Who was never in a private room learns nothing of it, not even that they are banned.
        if standing.role().is_some() {
            self.seams.live.inbox(target.id, &Notice::Banned(room.into()));
        }
        Ok(())
    }

    /// Lifts a ban; nothing happens if there is none.
    ///
    /// # Errors
    /// By the matrix.
    pub async fn unban(&self, actor: &User, room: &Room, target: &User) -> Result<()> {
        self.authorise(Action::Ban, room, actor.id).await?;
        self.may_revoke(actor.id).await?;
        let banned = self.standing(room.id, target.id).await? == Standing::Banned;
        self.seams.store.unban(room.id, target.id).await?;
        self.announce(Entry::Standing {
            room: room.id,
            user: target.id,
            why: StandingCut::Admitted,
        })
        .await?;
        if banned {
            self.seams.live.inbox(target.id, &Notice::Unbanned(room.into()));
        }
        Ok(())
    }

    /// The bans of a room, by name.
    ///
    /// # Errors
    /// By the matrix.
    pub async fn bans(&self, actor: UserId, room: &Room) -> Result<Vec<Ban>> {
        self.authorise(Action::Ban, room, actor).await?;
        Ok(self.seams.store.bans(room.id).await?)
    }
}

/// Nobody acts on an owner or an equal.
fn outrank(actor: Standing, target: Standing) -> Result<()> {
    match actor.role() {
        Some(role) if outranks(role, target) => Ok(()),
        _ => Err(Error::Forbidden("their role is as high as yours or higher")),
    }
}
