//! Who is in a room, who may not be, and how far each has read. A row that holds such a state is changed and never
//! deleted, with a write timestamp above the one that was just read: so the later of two changes wins, whatever the
//! clocks of the nodes say.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::ScyllaStore;
use super::listing::LOOKUPS_AT_ONCE;
use super::rows::{
    MemberColumns, MemberRow, cql, event_id, limit, member, members, name, room_id, time, timestamp, user_id,
};
use super::session::after_a_write;
use super::stamp;
use crate::limits;
use crate::model::{EventId, Member, Name, Role, Room, RoomId, Standing, Timestamp, UserId};
use crate::store::{Ban, Error, Membership, NewRoom, Result, RoomChange, RoomStore};

/// How often an heir is looked for again because the one that was chosen went too.
const HEIRS_MAX: usize = 3;

impl ScyllaStore {
    async fn member_row(&self, room: RoomId, user: UserId) -> Result<Option<MemberRow>> {
        let values = (cql(room.as_bytes()), cql(user.as_bytes()));
        let found: Option<MemberColumns> = self.cql.first(&self.cql.statements.member_one, values).await?;
        found.map(member).transpose()
    }

    /// Whether somebody is banned, and the stamp of that row.
    async fn ban_row(&self, room: RoomId, user: UserId) -> Result<(bool, Option<i64>)> {
        let values = (cql(room.as_bytes()), cql(user.as_bytes()));
        let found: Option<(Option<bool>, Option<i64>)> = self.cql.first(&self.cql.statements.ban_one, values).await?;
        Ok(found.map_or((false, None), |(banned, stamp)| (banned.unwrap_or_default(), stamp)))
    }

    async fn write_role(&self, room: RoomId, row: &MemberRow, role: Role) -> Result<()> {
        let stamp = stamp::above(row.role_stamp, self.clock.now());
        let values = (stamp, role.as_str(), cql(room.as_bytes()), cql(row.user.as_bytes()));
        self.cql.write(&self.cql.statements.member_set_role, values).await
    }

    async fn write_end(&self, room: RoomId, row: &MemberRow) -> Result<()> {
        let stamp = stamp::above(row.ended_stamp, self.clock.now());
        let values = (stamp, cql(room.as_bytes()), cql(row.user.as_bytes()));
        self.cql.write(&self.cql.statements.member_end, values).await
    }

    /// Writes a new member: the lists first, then the row that counts.
    pub(super) async fn enrol(
        &self,
        room: RoomId,
        (user, name): (UserId, &Name),
        role: Role,
        at: Timestamp,
        before: Option<i64>,
    ) -> Result<()> {
        let (room_key, user_key) = (cql(room.as_bytes()), cql(user.as_bytes()));
        let listed = (room_key, name.key(), user_key, name.as_str());
        tokio::try_join!(
            self.cql.write(&self.cql.statements.member_name_add, listed),
            self.cql.write(&self.cql.statements.user_room_add, (user_key, room_key)),
        )?;
        let stamp = stamp::above(before, self.clock.now());
        let values = (room_key, user_key, role.as_str(), time(at), stamp);
        self.cql.write(&self.cql.statements.member_put, values).await
    }

    pub(super) async fn put_marker(&self, room: RoomId, user: UserId, id: EventId) -> Result<()> {
        let values = (
            cql(user.as_bytes()),
            cql(room.as_bytes()),
            cql(id.as_bytes()),
            stamp::of_event(id),
        );
        self.cql.write(&self.cql.statements.marker_put, values).await
    }

    /// Gives a room that lost its owner the next one.
    async fn succeed(&self, room: RoomId, leaver: UserId) -> Result<Option<UserId>> {
        for _ in 0..HEIRS_MAX {
            let rows = self
                .cql
                .rows(&self.cql.statements.members_all, (cql(room.as_bytes()),))
                .await?;
            let rows = members(rows)?;
            let heir = rows
                .iter()
                .filter(|row| row.role.is_some() && row.user != leaver)
                .min_by_key(|row| (row.role < Some(Role::Moderator), row.joined_at, row.user));
            let Some(heir) = heir else { return Ok(None) };
            self.write_role(room, heir, Role::Owner).await?;
            // They may have gone at the same moment on another node.
            let now = self.member_row(room, heir.user).await.map_err(after_a_write)?;
            if now.is_some_and(|now| now.role == Some(Role::Owner)) {
                return Ok(Some(heir.user));
            }
        }
        Err(Error::UnknownOutcome(
            "the room's members change too fast to name an owner".into(),
        ))
    }

    async fn all_bans(&self, room: RoomId) -> Result<Vec<Ban>> {
        type Row = (Uuid, Option<bool>, Option<Uuid>, Option<CqlTimestamp>);
        let rows: Vec<Row> = self
            .cql
            .rows(&self.cql.statements.bans_all, (cql(room.as_bytes()),))
            .await?;
        let bans: Vec<Option<Ban>> = stream::iter(rows.into_iter().filter(|row| row.1 == Some(true)))
            .map(|(user, _, by, at)| async move {
                let found = self.find_user(user_id(user)).await?;
                Ok::<_, Error>(found.zip(by).zip(at).map(|((user, by), at)| Ban {
                    user: user.id,
                    name: user.name,
                    by: user_id(by),
                    at: timestamp(at),
                }))
            })
            .buffered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        let mut bans: Vec<_> = bans.into_iter().flatten().collect();
        bans.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(bans)
    }

    async fn list_members(
        &self,
        room: RoomId,
        prefix: &str,
        after: Option<&Name>,
        wanted: usize,
    ) -> Result<Vec<Member>> {
        let prefix = prefix.to_ascii_lowercase();
        let mut from = after
            .map_or_else(String::new, |after| format!("{}\0", after.key()))
            .max(prefix.clone());
        let to = format!("{prefix}\u{10ffff}");
        let mut found: Vec<Member> = Vec::new();
        // Names of former members stay in the list, so a small bite might bring none that is wanted.
        let bite = wanted.max(limits::MEMBERS_BITE_MIN);
        while found.len() < wanted {
            let values = (cql(room.as_bytes()), from.as_str(), to.as_str(), limit(bite));
            let listed: Vec<(String, Option<Uuid>, Option<String>)> =
                self.cql.rows(&self.cql.statements.member_name_list, values).await?;
            let ids: Vec<Uuid> = listed.iter().filter_map(|(_, user, _)| *user).collect();
            if ids.is_empty() {
                break;
            }
            let rows = self
                .cql
                .rows(&self.cql.statements.members_in, (cql(room.as_bytes()), ids))
                .await?;
            let rows: HashMap<UserId, MemberRow> = members(rows)?.into_iter().map(|row| (row.user, row)).collect();
            for (_, user, text) in &listed {
                let row = user.and_then(|user| rows.get(&user_id(user)));
                if let (Some(row), Some(text)) = (row, text)
                    && let Some(role) = row.role
                {
                    found.push(Member {
                        user: row.user,
                        name: name(text)?,
                        role,
                        joined_at: row.joined_at,
                    });
                }
            }
            match listed.last() {
                Some((last, ..)) if listed.len() == bite => from = format!("{last}\0"),
                _ => break,
            }
        }
        found.truncate(wanted);
        Ok(found)
    }

    /// The rooms that a user was ever in.
    async fn rooms_ever_of(&self, user: UserId) -> Result<Vec<RoomId>> {
        let found: Vec<(Uuid,)> = self
            .cql
            .rows(&self.cql.statements.user_rooms, (cql(user.as_bytes()),))
            .await?;
        Ok(found.into_iter().map(|(room,)| room_id(room)).collect())
    }

    /// The room and the user's role in it; none if it is deleted or they are not in it.
    async fn membership(&self, room: RoomId, user: UserId) -> Result<Option<(Room, Role)>> {
        let (row, room) = tokio::try_join!(self.member_row(room, user), self.find_room(room))?;
        let room = room.filter(|room| !room.deleted);
        Ok(room.zip(row.and_then(|row| row.role)))
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Membership>> {
        let (rooms, markers) = tokio::try_join!(
            self.rooms_ever_of(user),
            self.cql
                .rows::<(Uuid, Uuid)>(&self.cql.statements.markers_of, (cql(user.as_bytes()),))
        )?;
        let markers: HashMap<RoomId, EventId> = markers
            .into_iter()
            .map(|(room, id)| (room_id(room), event_id(id)))
            .collect();
        let found: Vec<Option<(Room, Role)>> = stream::iter(rooms)
            .map(|room| self.membership(room, user))
            .buffer_unordered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        let mut memberships: Vec<Membership> = found
            .into_iter()
            .flatten()
            .map(|(room, role)| Membership {
                read: markers.get(&room.id).copied(),
                room,
                role,
            })
            .collect();
        let key = |room: &Room| (room.name.as_ref().map(Name::key).unwrap_or_default(), room.id);
        memberships.sort_by_key(|membership| key(&membership.room));
        Ok(memberships)
    }
}

#[async_trait]
impl RoomStore for ScyllaStore {
    async fn create_room(&self, room: NewRoom) -> Result<Room> {
        self.make_room(room).await
    }

    async fn open_direct(&self, a: UserId, b: UserId, at: Timestamp) -> Result<(Room, bool)> {
        self.open_direct_room(a, b, at).await
    }

    async fn room(&self, id: RoomId) -> Result<Option<Room>> {
        self.find_room(id).await
    }

    async fn room_by_name(&self, name: &Name) -> Result<Option<Room>> {
        self.find_room_by_name(name).await
    }

    async fn change_room(&self, id: RoomId, change: RoomChange) -> Result<Room> {
        self.alter_room(id, change).await
    }

    async fn public_rooms(&self, query: &str, limit: usize) -> Result<Vec<Room>> {
        self.search_public(query, limit).await
    }

    async fn all_rooms(&self, query: &str, after: Option<RoomId>, limit: usize) -> Result<Vec<Room>> {
        self.search_rooms(query, after, limit).await
    }

    async fn standing(&self, room: RoomId, user: UserId) -> Result<Standing> {
        let ((banned, _), row) = tokio::try_join!(self.ban_row(room, user), self.member_row(room, user))?;
        if banned {
            return Ok(Standing::Banned);
        }
        Ok(row
            .and_then(|row| row.role)
            .map_or(Standing::Outsider, Standing::Member))
    }

    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        at: Timestamp,
        read: Option<EventId>,
    ) -> Result<()> {
        let ((banned, _), row) = tokio::try_join!(self.ban_row(room, user), self.member_row(room, user))?;
        if banned {
            return Ok(());
        }
        if let Some(row) = row.filter(|row| row.role.is_some()) {
            return self.write_role(room, &row, role).await;
        }
        let person = self.find_user(user).await?.ok_or(Error::NotFound)?;
        if let Some(id) = read {
            self.put_marker(room, user, id).await?;
        }
        let before = row.and_then(|row| row.role_stamp.max(row.ended_stamp));
        self.enrol(room, (user, &person.name), role, at, before)
            .await
            .map_err(after_a_write)?;
        // A ban that landed meanwhile has ended nothing, since there was nothing to end.
        if self.ban_row(room, user).await.map_err(after_a_write)?.0
            && let Some(row) = self.member_row(room, user).await.map_err(after_a_write)?
        {
            self.write_end(room, &row).await.map_err(after_a_write)?;
        }
        Ok(())
    }

    async fn set_role(&self, room: RoomId, user: UserId, role: Role) -> Result<()> {
        let row = self.member_row(room, user).await?.filter(|row| row.role.is_some());
        self.write_role(room, &row.ok_or(Error::NotFound)?, role).await
    }

    async fn end_member(&self, room: RoomId, user: UserId) -> Result<Option<UserId>> {
        let Some(row) = self.member_row(room, user).await?.filter(|row| row.role.is_some()) else {
            return Ok(None);
        };
        // The heir first: a room with two owners for a moment is better than one with none for ever.
        let heir = if row.role == Some(Role::Owner) {
            self.succeed(room, user).await?
        } else {
            None
        };
        let ended = self.write_end(room, &row).await;
        ended.map_err(|error| if heir.is_some() { after_a_write(error) } else { error })?;
        Ok(heir)
    }

    async fn hand_over(&self, room: RoomId, from: UserId, to: UserId) -> Result<()> {
        let (giver, taker) = tokio::try_join!(self.member_row(room, from), self.member_row(room, to))?;
        let is_in = |row: &MemberRow| row.role.is_some();
        let (giver, taker) = (giver.filter(is_in), taker.filter(is_in));
        let (giver, taker) = (giver.ok_or(Error::NotFound)?, taker.ok_or(Error::NotFound)?);
        self.write_role(room, &taker, Role::Owner).await?;
        self.write_role(room, &giver, Role::Moderator)
            .await
            .map_err(after_a_write)
    }

    async fn ban(&self, room: RoomId, user: UserId, by: UserId, at: Timestamp) -> Result<()> {
        let (banned, before) = self.ban_row(room, user).await?;
        if !banned {
            let stamp = stamp::above(before, self.clock.now());
            let values = (
                cql(room.as_bytes()),
                cql(user.as_bytes()),
                true,
                cql(by.as_bytes()),
                time(at),
                stamp,
            );
            self.cql.write(&self.cql.statements.ban_put, values).await?;
        }
        self.end_member(room, user).await.map(drop).map_err(after_a_write)
    }

    async fn unban(&self, room: RoomId, user: UserId) -> Result<()> {
        let (banned, before) = self.ban_row(room, user).await?;
        if !banned {
            return Ok(());
        }
        let values = (
            stamp::above(before, self.clock.now()),
            cql(room.as_bytes()),
            cql(user.as_bytes()),
        );
        self.cql.write(&self.cql.statements.ban_lift, values).await
    }

    async fn bans(&self, room: RoomId) -> Result<Vec<Ban>> {
        self.all_bans(room).await
    }

    async fn members(&self, room: RoomId, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Member>> {
        self.list_members(room, prefix, after, limit).await
    }

    async fn member_count(&self, room: RoomId) -> Result<u64> {
        let values = (cql(room.as_bytes()),);
        let ends: Vec<(Option<bool>,)> = self.cql.rows(&self.cql.statements.member_ends, values).await?;
        Ok(ends.iter().filter(|(ended,)| *ended == Some(false)).count() as u64)
    }

    async fn rooms_of(&self, user: UserId) -> Result<Vec<Membership>> {
        self.memberships(user).await
    }

    async fn rooms_entered(&self, user: UserId) -> Result<u64> {
        Ok(self.rooms_ever_of(user).await?.len() as u64)
    }

    async fn share_a_room(&self, a: UserId, b: UserId) -> Result<bool> {
        let (of_a, of_b) = tokio::try_join!(self.rooms_ever_of(a), self.rooms_ever_of(b))?;
        let of_b: HashSet<RoomId> = of_b.into_iter().collect();
        let both = of_a.into_iter().filter(|room| of_b.contains(room));
        let mut shared = stream::iter(both)
            .map(|room| async move { tokio::try_join!(self.membership(room, a), self.member_row(room, b)) })
            .buffer_unordered(LOOKUPS_AT_ONCE);
        while let Some((one, other)) = shared.try_next().await? {
            if one.is_some() && other.is_some_and(|row| row.role.is_some()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn read_marker(&self, room: RoomId, user: UserId) -> Result<Option<EventId>> {
        let values = (cql(user.as_bytes()), cql(room.as_bytes()));
        let found: Option<(Uuid,)> = self.cql.first(&self.cql.statements.marker_one, values).await?;
        Ok(found.map(|(id,)| event_id(id)))
    }

    async fn set_read_marker(&self, room: RoomId, user: UserId, id: EventId) -> Result<EventId> {
        self.put_marker(room, user, id).await?;
        let stands = self.read_marker(room, user).await.map_err(after_a_write)?;
        Ok(stands.unwrap_or(id))
    }
}
