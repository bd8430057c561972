//! Who is here, who came and went, who types: told at most once a second, and dropped first.

use std::sync::Arc;
use std::time::Instant;

use super::Actor;
use crate::fanout::{Link, Outlet};
use crate::limits;
use crate::model::{Author, ConnectionId, Name, Timestamp};
use crate::presence::{self, Present};
use crate::wire::frame::text_frame;
use crate::wire::outbound::{Outbound, PresenceView, to_json};

impl Actor {
    /// Counts a connection in.
    pub(super) async fn enter(&mut self, link: &Arc<Link>) -> presence::Result<()> {
        let author = link.author();
        let presence = self.hub.presence();
        if presence
            .enter(self.room.id, author.id, &author.name, link.connection())
            .await?
        {
            self.departed.remove(&author.name);
            self.arrived.insert(author.name.clone());
            self.present = self
                .present
                .take()
                .filter(|present| present.count > limits::PRESENT_NAMES_MAX as u64);
        }
        Ok(())
    }

    /// Counts a connection out.
    pub(super) async fn departure(&mut self, link: &Arc<Link>) {
        let author = link.author();
        match self
            .hub
            .presence()
            .leave(self.room.id, author.id, link.connection())
            .await
        {
            Ok(true) => {
                if !self.arrived.remove(&author.name) {
                    self.departed.insert(author.name.clone());
                }
                self.present = self
                    .present
                    .take()
                    .filter(|present| present.count > limits::PRESENT_NAMES_MAX as u64);
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "presence was not told of a departure"),
        }
    }

    /// Who is here. In a crowd the answer may be a second old, so that many joins cost one listing.
    pub(super) async fn present(&mut self) -> presence::Result<Present> {
        if let Some(present) = &self.present {
            return Ok(present.clone());
        }
        let present = self
            .hub
            .presence()
            .present(self.room.id, limits::PRESENT_NAMES_MAX)
            .await?;
        Ok(self.present.insert(present).clone())
    }

    /// Tells everybody who came and went since the last time.
    pub(super) fn tell_presence(&mut self) {
        if self.arrived.is_empty() && self.departed.is_empty() {
            return;
        }
        // Presence may be out of reach for a while, and the room must not wait for it.
        let joined: Vec<Name> = std::mem::take(&mut self.arrived).into_iter().collect();
        let left: Vec<Name> = std::mem::take(&mut self.departed).into_iter().collect();
        self.present = None;
        let presence = self.hub.presence();
        let room = self.room.id;
        self.steps.push(Box::pin(async move {
            let present = presence.present(room, 0).await;
            super::store_steps::Step::Presence {
                count: present.map(|present| present.count),
                joined,
                left,
            }
        }));
    }

    /// The second half of `tell_presence`, once the count is known.
    pub(super) fn presence_counted(&mut self, count: u64, joined: &[Name], left: &[Name]) {
        let names = count <= limits::PRESENT_NAMES_MAX as u64;
        let room = self.state.room();
        let frame = text_frame(&to_json(&Outbound::Presence(PresenceView::Room {
            room: &room.label,
            room_id: room.id,
            count,
            joined: names.then_some(joined),
            left: names.then_some(left),
        })));
        self.state.ephemeral(&frame, None);
    }

    /// Tells the others that somebody types, at most once in a while.
    pub(super) fn typing(&mut self, author: &Author, connection: ConnectionId) {
        if !self.state.has(connection) || self.typed.contains_key(&author.id) {
            return;
        }
        self.typed.insert(author.id, Instant::now());
        let room = self.state.room();
        let frame = text_frame(&to_json(&Outbound::Typing {
            room: &room.label,
            room_id: room.id,
            user: &author.name,
            user_id: author.id,
        }));
        self.state.ephemeral(&frame, Some(connection));
    }

    /// Tells that the other person of a direct conversation came online or went offline.
    pub(super) fn person(&mut self, author: &Author, online: bool, last_seen: Option<Timestamp>) {
        let room = self.state.room();
        let frame = text_frame(&to_json(&Outbound::Presence(PresenceView::Person {
            room: &room.label,
            room_id: room.id,
            user: &author.name,
            user_id: author.id,
            online,
            last_seen,
        })));
        for link in self.state.links().filter(|link| link.author().id != author.id) {
            link.ephemeral(&frame);
        }
    }
}
