//! What a room is: title, visibility, archived, deleted.

use std::sync::Arc;

use super::{Directory, Error, Result};
use crate::control_log::{Entry, RoomCut};
use crate::limits;
use crate::model::room::TITLE_CHARS_MAX;
use crate::model::{Action, Room, RoomKind, UserId};
use crate::store::RoomChange;
use crate::wire::outbound::Notice;

/// Checks a room's title: at most [`TITLE_CHARS_MAX`] characters on one line. White space round it is dropped.
///
/// # Errors
/// [`Error::Invalid`] says what is wrong.
pub fn check_title(title: &str) -> Result<String> {
    let title = title.trim();
    if title.chars().nth(TITLE_CHARS_MAX).is_some() {
        return Err(Error::Invalid {
            field: "title",
            detail: format!("a title holds at most {TITLE_CHARS_MAX} characters"),
        });
    }
    if title.chars().any(char::is_control) {
        return Err(Error::Invalid {
            field: "title",
            detail: "a title is one line without control characters".into(),
        });
    }
    Ok(title.to_owned())
}

impl Directory {
    /// Changes title or visibility, as the owner.
    ///
    /// # Errors
    /// By the matrix; [`Error::Invalid`] for a title that is too long, and for making a room direct.
    pub async fn configure(
        &self,
        actor: UserId,
        room: &Room,
        title: Option<&str>,
        kind: Option<RoomKind>,
    ) -> Result<Arc<Room>> {
        self.authorise(Action::Configure, room, actor).await?;
        self.may_revoke(actor).await?;
        if kind == Some(RoomKind::Direct) {
            return Err(Error::Invalid {
                field: "visibility",
                detail: "expected \"public\" or \"private\"".into(),
            });
        }
        let change = RoomChange {
            title: title.map(check_title).transpose()?,
            kind,
            ..RoomChange::default()
        };
        self.change_room(room, change).await
    }

    /// Changes title or archive state, for superusers: no role is asked.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a title that is too long; [`Error::NotFound`] if the room is gone.
    pub async fn configure_as_superuser(
        &self,
        room: &Room,
        title: Option<&str>,
        archived: Option<bool>,
    ) -> Result<Arc<Room>> {
        let change = RoomChange {
            title: title.map(check_title).transpose()?,
            archived,
            ..RoomChange::default()
        };
        self.change_room(room, change).await
    }

    async fn change_room(&self, room: &Room, change: RoomChange) -> Result<Arc<Room>> {
        let changed = match self.seams.store.change_room(room.id, change).await {
            Err(crate::store::Error::NotFound) => return Err(Error::NotFound("room")),
            changed => Arc::new(changed?),
        };
        let why = RoomCut::Changed;
        self.revoke(Entry::Room { room: room.id, why }).await?;
        self.tell_members(&changed).await?;
        Ok(changed)
    }

    /// Tells the members, as far as [`limits::CHANGE_NOTICES_MAX`] goes: the others see it when they next look.
    async fn tell_members(&self, room: &Room) -> Result<()> {
        let notice = Notice::Changed {
            room: room.into(),
            title: room.title.clone(),
            kind: room.kind,
            archived: room.archived,
        };
        let (mut told, mut after) = (0, None);
        while told < limits::CHANGE_NOTICES_MAX {
            let store = &self.seams.store;
            let page = store.members(room.id, "", after.as_ref(), limits::PAGE_MAX).await?;
            for member in &page {
                self.seams.live.inbox(member.user, &notice);
            }
            told += page.len();
            match page.last() {
                Some(last) if page.len() == limits::PAGE_MAX => after = Some(last.name.clone()),
                _ => break,
            }
        }
        Ok(())
    }

    /// Deletes a room for everybody and for good, for superusers.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone already; what the store says.
    pub async fn delete_room(&self, room: &Room) -> Result<()> {
        let change = RoomChange {
            deleted: true,
            ..RoomChange::default()
        };
        let done = self.seams.store.change_room(room.id, change).await;
        // Announced also when it was gone: an earlier attempt may have stored it and not got further.
        if !matches!(done, Ok(_) | Err(crate::store::Error::NotFound)) {
            done?;
        }
        let why = RoomCut::Deleted;
        self.revoke(Entry::Room { room: room.id, why }).await
    }
}
