//! The store as an archive, and back: `natter export` and `natter import`, also from and to the embedded store.
//!
//! An export reads room by room and is no snapshot: what is said meanwhile may be in it or not, so a move stops the
//! nodes first. An import can't be undone as a whole either: one that fails leaves a keyspace to be dropped.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};
use scylla::value::MaybeUnset;
use uuid::Uuid;

use super::ScyllaStore;
use super::fill::{Filling, WRITES_AT_ONCE};
use super::rows::{
    BEGINNING, END, MemberColumns, cql, event_id, limit, members, mentions, mentions_blob, room_id, start, time,
    user_id,
};
use super::stamp;
use super::walk::Direction;
use crate::limits;
use crate::model::{Author, EventId, Message, Name, Nonce, Room, RoomId, Timestamp, User, UserId};
use crate::store::archive::{Error, Reader, Record, Writer};
use crate::store::{AccountStore as _, AuditEntry, AuditStore as _, Invite};

/// Rows that one read of the export holds.
const PAGE: usize = 1_000;

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Store(error.to_string())
    }
}

type Scan<T> = Result<T, Error>;
type NonceRow = (Uuid, Option<String>);
type EventColumns = (
    Uuid,
    Option<String>,
    Option<Uuid>,
    Option<Uuid>,
    Option<Vec<u8>>,
    Option<String>,
);

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
                for (id, kind, message, by, named, body) in rows {
                    after = event_id(id);
                    let (Some(kind), Some(message)) = (kind, message) else {
                        continue;
                    };
                    writer.put(&Record::Event {
                        room,
                        id: after,
                        kind,
                        message: event_id(message),
                        by: by.map(user_id),
                        mentions: mentions(named.as_deref())?,
                        body,
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

    /// Reads an archive into the keyspace, which has to be empty. What was stored before an error stays: drop the
    /// keyspace, then begin again.
    ///
    /// # Errors
    /// [`Error`] if the archive is not whole, the keyspace is not empty, or the store fails.
    pub async fn import<R: BufRead + Send>(&self, from: R) -> Result<u64, Error> {
        let mut reader = Reader::begin(from)?;
        let held: Vec<(Uuid,)> = self.cql.rows(&self.cql.statements.any_user, ()).await?;
        if !held.is_empty() {
            let why = "the keyspace already holds users; an archive is read into an empty store only";
            return Err(Error::Store(why.into()));
        }
        let mut importing = Importing {
            store: self,
            names: HashMap::new(),
            filling: Filling::default(),
            under_way: FuturesUnordered::new(),
        };
        let mut records = 0;
        while let Some(record) = reader.read()? {
            let line = reader.line();
            importing.take(record).await.map_err(|error| Error::Line {
                line,
                why: error.to_string(),
            })?;
            records += 1;
        }
        importing.under_way.try_collect::<()>().await?;
        self.note_totals().await?;
        Ok(records)
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

/// An import on its way: records are written side by side.
struct Importing<'a> {
    store: &'a ScyllaStore,
    names: HashMap<UserId, Name>,
    filling: Filling,
    under_way: FuturesUnordered<BoxFuture<'a, crate::store::Result<()>>>,
}

impl<'a> Importing<'a> {
    async fn take(&mut self, record: Record) -> Result<(), Error> {
        let store = self.store;
        let write: BoxFuture<'a, crate::store::Result<()>> = match record {
            Record::Member {
                room,
                user,
                role,
                joined_at,
            } => {
                let name = self.names.get(&user).cloned();
                let name = name.ok_or_else(|| Error::Store(format!("the member {user} is no user")))?;
                Box::pin(async move { store.enrol(room, (user, &name), role, joined_at, None).await })
            }
            Record::Message { .. } => {
                let Some((message, nonce)) = message_of(record) else {
                    return Ok(());
                };
                let place = store.place(&mut self.filling, message.room, message.id).await?;
                Box::pin(async move { store.restore(&message, nonce.as_ref(), &place).await })
            }
            record => {
                if let Record::User { id, name, .. } = &record {
                    self.names.insert(*id, name.clone());
                }
                Box::pin(async move { store.put_record(record).await })
            }
        };
        self.under_way.push(write);
        while self.under_way.len() >= WRITES_AT_ONCE {
            self.under_way.next().await.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

fn message_of(record: Record) -> Option<(Message, Option<Nonce>)> {
    let Record::Message {
        room,
        id,
        author,
        author_name,
        body,
        reply_to,
        nonce,
        mentions,
        edited_at,
        deleted_at,
        last_event,
    } = record
    else {
        return None;
    };
    let message = Message {
        room,
        id,
        author: Author {
            id: author,
            name: author_name,
        },
        body,
        reply_to,
        mentions,
        edited_at,
        deleted_at,
        last_event,
    };
    Some((message, nonce.as_deref().and_then(Nonce::parse)))
}

impl ScyllaStore {
    /// Writes a record that stands by itself.
    async fn put_record(&self, record: Record) -> crate::store::Result<()> {
        match record {
            Record::User {
                id,
                name,
                password_hash,
                superuser,
                disabled,
                created_at,
                last_seen,
            } => {
                let user = User {
                    id,
                    name,
                    superuser,
                    disabled,
                    created_at,
                    last_seen,
                };
                self.insert_user(&user, &password_hash).await
            }
            Record::Invite {
                code,
                by,
                uses_left,
                expires_at,
            } => {
                self.create_invite(Invite {
                    code,
                    by,
                    uses_left,
                    expires_at,
                })
                .await
            }
            Record::Room {
                id,
                name,
                title,
                kind,
                pair,
                created_at,
                archived,
                deleted,
            } => {
                let room = Room {
                    id,
                    name,
                    title,
                    kind,
                    pair,
                    created_at,
                    archived,
                    deleted,
                };
                self.insert_room(&room, stamp::above(None, self.clock.now())).await?;
                if !deleted {
                    self.totals.room(1);
                    self.claim_imported(&room).await?;
                }
                Ok(())
            }
            Record::Ban { room, user, by, at } => {
                let now = stamp::above(None, self.clock.now());
                let values = (
                    cql(room.as_bytes()),
                    cql(user.as_bytes()),
                    true,
                    cql(by.as_bytes()),
                    time(at),
                    now,
                );
                self.cql.write(&self.cql.statements.ban_put, values).await
            }
            Record::Marker { room, user, id } => self.put_marker(room, user, id).await,
            Record::Event {
                room,
                id,
                kind,
                message,
                by,
                mentions,
                body,
            } => {
                let named = (!mentions.is_empty()).then(|| mentions_blob(&mentions));
                self.put_event(room, id, &kind, message, by, (named, body)).await
            }
            Record::Audit {
                id,
                actor,
                actor_name,
                action,
                target,
                detail,
            } => {
                self.clock.observe(id);
                let entry = AuditEntry {
                    id,
                    actor,
                    actor_name,
                    action,
                    target,
                    detail,
                };
                self.insert_audit(&entry).await
            }
            Record::Archive { .. } | Record::End { .. } | Record::Member { .. } | Record::Message { .. } => Ok(()),
        }
    }

    async fn put_event(
        &self,
        room: RoomId,
        id: EventId,
        kind: &str,
        message: EventId,
        by: Option<UserId>,
        (mentions, body): (Option<Vec<u8>>, Option<String>),
    ) -> crate::store::Result<()> {
        self.clock.observe(id);
        let kept = std::time::Duration::from_secs(limits::EVENT_DAYS_MAX * 24 * 60 * 60);
        if self.clock.now().since(id.timestamp()) >= kept {
            return Ok(());
        }
        // Its bucket is the one of its time among those that the room's messages have begun by now, or the one before.
        let bucket = self.index_for_writes(room).await?.place(id);
        let values = (
            cql(room.as_bytes()),
            start(bucket),
            cql(id.as_bytes()),
            kind,
            cql(message.as_bytes()),
            MaybeUnset::from_option(by.map(|by| cql(by.as_bytes()))),
            MaybeUnset::from_option(mentions),
            MaybeUnset::from_option(body),
            stamp::micros(id),
        );
        self.cql.write(&self.cql.statements.event_insert, values).await
    }
}
