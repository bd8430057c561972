//! Out of a keyspace: room by room, in the archive's order.

use std::collections::HashSet;
use std::io::Write;

use uuid::Uuid;

use crate::limits;
use crate::model::{Message, Room, RoomId, Timestamp, UserId};
use crate::store::archive::{Error, Record, Writer};
use crate::store::scylla::ScyllaStore;
use crate::store::scylla::rows::{
    BEGINNING, END, EventColumns, MemberColumns, cql, event_id, limit, members, mentions, room_id, start, user_id,
};
use crate::store::scylla::walk::Direction;
use crate::store::{AccountStore as _, AuditEntry, AuditStore as _, Invite};

/// Rows that one read of the export holds.
const PAGE: usize = 1_000;

type Scan<T> = Result<T, Error>;
type NonceRow = (Uuid, Option<String>);

/// What the records that come later may name.
#[derive(Default)]
struct Known {
    users: HashSet<UserId>,
    rooms: Vec<RoomId>,
}

impl ScyllaStore {
    /// Writes everything in the keyspace; answers how many records that is, and what they were written to.
    ///
    /// # Errors
    /// [`Error`] if the store can't be read or the archive can't be written.
    pub async fn export<W: Write + Send>(&self, to: W, now: Timestamp) -> Result<(u64, W), Error> {
        let mut writer = Writer::begin(to, now)?;
        let known = self.export_heads(&mut writer).await?;
        for &room in &known.rooms {
            let rows: Vec<MemberColumns> = self
                .cql
                .rows(&self.cql.statements.members_all, (cql(room.as_bytes()),))
                .await?;
            for row in members(rows)? {
                if let Some(role) = row.role.filter(|_| known.users.contains(&row.user)) {
                    let (user, joined_at) = (row.user, row.joined_at);
                    writer.put(&Record::Member {
                        room,
                        user,
                        role,
                        joined_at,
                    })?;
                }
            }
        }
        for &room in &known.rooms {
            for ban in crate::store::RoomStore::bans(self, room).await? {
                let (user, by, at) = (ban.user, ban.by, ban.at);
                writer.put(&Record::Ban { room, user, by, at })?;
            }
        }
        for &user in &known.users {
            let markers: Vec<(Uuid, Uuid)> = self
                .cql
                .rows(&self.cql.statements.markers_of, (cql(user.as_bytes()),))
                .await?;
            for (room, id) in markers {
                let (room, id) = (room_id(room), event_id(id));
                writer.put(&Record::Marker { room, user, id })?;
            }
        }
        for &room in &known.rooms {
            self.export_messages(&mut writer, room, now).await?;
        }
        for &room in &known.rooms {
            self.export_events(&mut writer, room).await?;
        }
        self.export_audit(&mut writer).await?;
        writer.finish()
    }

    /// Users, invites and rooms: those that hold their names.
    async fn export_heads<W: Write + Send>(&self, writer: &mut Writer<W>) -> Scan<Known> {
        let mut known = Known::default();
        let ids: Vec<(Uuid,)> = self.cql.rows(&self.cql.statements.all_users, ()).await?;
        for (id,) in ids {
            let Some(user) = self.find_user(user_id(id)).await? else {
                continue;
            };
            if self
                .user_of_key(&user.name.key())
                .await?
                .is_none_or(|holder| holder.id != user.id)
            {
                continue;
            }
            let password_hash = self.password_hash(user.id).await?.unwrap_or_else(|| "!".into());
            known.users.insert(user.id);
            writer.put(&Record::User {
                id: user.id,
                name: user.name,
                password_hash,
                superuser: user.superuser,
                disabled: user.disabled,
                created_at: user.created_at,
                last_seen: user.last_seen,
            })?;
        }
        for invite in self.invites(Timestamp::from_millis(0)).await? {
            let Invite {
                code,
                by,
                uses_left,
                expires_at,
            } = invite;
            writer.put(&Record::Invite {
                code,
                by,
                uses_left,
                expires_at,
            })?;
        }
        let ids: Vec<(Uuid,)> = self.cql.rows(&self.cql.statements.all_rooms, ()).await?;
        for (id,) in ids {
            let Some(room) = self.find_room(room_id(id)).await? else {
                continue;
            };
            // A room that lost the race for its name is nobody's.
            if let Some(name) = room.name.as_ref().filter(|_| !room.deleted)
                && self
                    .find_room_by_name(name)
                    .await?
                    .is_none_or(|holder| holder.id != room.id)
            {
                continue;
            }
            known.rooms.push(room.id);
            writer.put(&record_of(room))?;
        }
        Ok(known)
    }

    async fn export_messages<W: Write + Send>(&self, writer: &mut Writer<W>, room: RoomId, now: Timestamp) -> Scan<()> {
        let mut after = BEGINNING;
        loop {
            let page = self.walk(room, (after, END), Direction::Up, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            for message in page {
                let nonce = if now.since(message.at()) < limits::NONCE_KEPT {
                    self.nonce_of(&message).await?
                } else {
                    None
                };
                writer.put(&Record::Message {
                    room,
                    id: message.id,
                    author: message.author.id,
                    author_name: message.author.name,
                    body: message.body,
                    reply_to: message.reply_to,
                    nonce,
                    mentions: message.mentions,
                    edited_at: message.edited_at,
                    deleted_at: message.deleted_at,
                    last_event: message.last_event,
                })?;
            }
        }
    }

    /// The nonce under which a retry would find this very message.
    async fn nonce_of(&self, message: &Message) -> Scan<Option<String>> {
        let index = self.index_for_reads(message.room).await?;
        for bucket in index.covering(message.id, message.id) {
            let key = (
                cql(message.room.as_bytes()),
                start(bucket.start),
                cql(message.id.as_bytes()),
            );
            let found: Option<NonceRow> = self.cql.first(&self.cql.statements.message_nonce, key).await?;
            let Some((author, Some(nonce))) = found else { continue };
            let held: Option<(Uuid, i64, Uuid)> = self
                .cql
                .first(&self.cql.statements.send_one, (author, nonce.as_str()))
                .await?;
            return Ok(held.filter(|(_, _, id)| event_id(*id) == message.id).map(|_| nonce));
        }
        Ok(None)
    }

    async fn export_events<W: Write + Send>(&self, writer: &mut Writer<W>, room: RoomId) -> Scan<()> {
        let index = self.index_for_reads(room).await?;
        for bucket in index.covering(BEGINNING, END) {
            let mut after = BEGINNING;
            loop {
                let values = (
                    cql(room.as_bytes()),
                    start(bucket.start),
                    cql(after.as_bytes()),
                    limit(PAGE),
                );
                let rows: Vec<EventColumns> = self.cql.rows(&self.cql.statements.events_whole, values).await?;
                let complete = rows.len() < PAGE;
                // A text that was deleted goes nowhere, even if a disk still has it.
                let edited = rows.iter().filter(|row| row.1.as_deref() == Some("edited"));
                let edited = edited.filter_map(|row| row.2.map(event_id)).collect();
                let present = self.messages_by_id(room, edited).await?;
                for (id, kind, message, by, named, body) in rows {
                    after = event_id(id);
                    let (Some(kind), Some(message)) = (kind, message.map(event_id)) else {
                        continue;
                    };
                    let stands = present
                        .get(&message)
                        .is_some_and(|message| message.deleted_at.is_none());
                    let text = (kind == "edited").then(|| body.filter(|_| stands).unwrap_or_default());
                    let named = mentions(named.as_deref())?;
                    writer.put(&Record::Event {
                        room,
                        id: after,
                        kind,
                        message,
                        by: by.map(user_id),
                        mentions: if stands { named } else { Vec::new() },
                        body: text,
                    })?;
                }
                if complete {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn export_audit<W: Write + Send>(&self, writer: &mut Writer<W>) -> Scan<()> {
        let mut before = None;
        loop {
            let lines = self.audit(before, PAGE).await?;
            let Some(last) = lines.last() else { return Ok(()) };
            before = Some(last.id);
            for AuditEntry {
                id,
                actor,
                actor_name,
                action,
                target,
                detail,
            } in lines
            {
                writer.put(&Record::Audit {
                    id,
                    actor,
                    actor_name,
                    action,
                    target,
                    detail,
                })?;
            }
        }
    }
}

fn record_of(room: Room) -> Record {
    Record::Room {
        id: room.id,
        name: room.name,
        title: room.title,
        kind: room.kind,
        pair: room.pair,
        created_at: room.created_at,
        archived: room.archived,
        deleted: room.deleted,
    }
}
