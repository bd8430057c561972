//! Those who are named in a message: told on connections that do not read the room, unless they were thrown out of it.

use bytes::Bytes;

use super::Actor;
use super::store_steps::Step;
use crate::model::{Message, UserId};
use crate::wire::outbound::{Notice, RoomRef};

impl Actor {
    /// Begins to tell those who are named in a message.
    pub(super) fn mention(&mut self, message: &Message) {
        let named = message.mentions.iter().copied();
        let named: Vec<UserId> = named.filter(|user| *user != message.author.id).collect();
        if named.is_empty() {
            return;
        }
        let notice = Notice::Mention {
            room: RoomRef::from(&*self.room),
            id: message.id,
            author: message.author.clone(),
            message: message.body.clone(),
        };
        let (hub, room) = (self.hub.clone(), self.room.id);
        self.steps.push(Box::pin(async move {
            let mut users = Vec::with_capacity(named.len());
            for user in named {
                if hub.may_read(room, user).await {
                    users.push(user);
                }
            }
            Step::Mentioned { users, notice }
        }));
    }

    /// The second half of `mention`.
    pub(super) fn tell_mentioned(&self, users: &[UserId], notice: &Notice) {
        for &user in users {
            self.hub.notice(user, notice, Some(self.room.id), |connection| {
                !self.state.has(connection)
            });
        }
    }

    /// A mention came from another node.
    pub(super) fn mentioned_elsewhere(&mut self, user: UserId, frame: Bytes) {
        let (hub, room) = (self.hub.clone(), self.room.id);
        self.steps.push(Box::pin(async move {
            let user = hub.may_read(room, user).await.then_some(user);
            Step::MentionHere { user, frame }
        }));
    }

    /// The second half of `mentioned_elsewhere`.
    pub(super) fn tell_mentioned_here(&self, user: Option<UserId>, frame: &Bytes) {
        if let Some(user) = user {
            self.hub
                .notice_here(user, frame, |connection| !self.state.has(connection));
        }
    }
}
