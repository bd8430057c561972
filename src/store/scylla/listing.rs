//! Lists in the order of names, for people who look for rooms and for the admin area. They are kept in tables of their
//! own, split by first letters, so that no list scans a table and no partition holds everybody. A list says where to
//! look; the rooms' and users' own rows say what is true, and are asked about everything that is answered.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use uuid::Uuid;

use super::ScyllaStore;
use super::rows::{cql, limit, room_id, user_id};
use crate::limits;
use crate::model::{Name, Room, RoomId, RoomKind, User};
use crate::store::{Error, Result, UserFilter};

/// What a name can begin with, in order.
const LETTERS: &str = "-0123456789_abcdefghijklmnopqrstuvwxyz";
/// What the id of a direct conversation can begin with, in order.
const DIGITS: &str = "0123456789abcdef";
/// The partition of all public rooms.
const PUBLIC: &str = "public";
/// Partitions that are read ahead.
const PARTS_AT_ONCE: usize = 8;
/// Rows of other tables that are looked up side by side.
pub(super) const LOOKUPS_AT_ONCE: usize = 16;
/// Rows of a directory in one bite.
const BITE: usize = 500;

type RoomEntry = (String, Uuid, Option<String>);

fn list_of(filter: UserFilter) -> &'static str {
    match filter {
        UserFilter::All => "all",
        UserFilter::Superusers => "superusers",
        UserFilter::Disabled => "disabled",
    }
}

/// The least text above all that begin with `prefix`, as far as names go.
fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

fn first_letter(key: &str) -> &str {
    key.get(..1).unwrap_or_default()
}

/// The partition of a room in the directory of all.
fn part_of(room: &Room) -> String {
    match &room.name {
        Some(name) => first_letter(&name.key()).to_owned(),
        None => format!("direct.{}", first_letter(&room.id.to_string())),
    }
}

fn matches(query: &str, key: &str, title: &str) -> bool {
    query.is_empty() || key.contains(query) || title.to_lowercase().contains(query)
}

impl ScyllaStore {
    /// Puts a user where a filter finds them. Rows stay: the user's own says whether the flag still holds.
    pub(super) async fn list_user(&self, key: &str, filter: UserFilter) -> Result<()> {
        let part = format!("{}.{}", list_of(filter), first_letter(key));
        self.cql.write(&self.cql.statements.user_list_add, (part, key)).await
    }

    pub(super) async fn search_users(
        &self,
        prefix: &str,
        filter: UserFilter,
        after: Option<&Name>,
        wanted: usize,
    ) -> Result<Vec<User>> {
        let prefix = prefix.to_ascii_lowercase();
        // The least key above `after` is `after` with one more character, the least there is.
        let from = after
            .map_or_else(String::new, |after| format!("{}\0", after.key()))
            .max(prefix.clone());
        let to = end_of(&prefix);
        let first = first_letter(&prefix);
        let parts: Vec<String> = LETTERS
            .chars()
            .map(String::from)
            .filter(|letter| first.is_empty() || letter == first)
            .filter(|letter| letter.as_str() >= first_letter(&from))
            .map(|letter| format!("{}.{letter}", list_of(filter)))
            .collect();
        let mut parts = stream::iter(parts)
            .map(|part| {
                let (from, to) = (from.clone(), to.clone());
                async move {
                    let keys = self.user_keys(&part, &from, &to, wanted).await?;
                    Ok::<_, Error>((part, keys))
                }
            })
            .buffered(PARTS_AT_ONCE);
        let mut found = Vec::new();
        while let Some((part, mut keys)) = parts.try_next().await? {
            loop {
                let next = keys
                    .last()
                    .filter(|_| keys.len() == wanted)
                    .map(|last| format!("{last}\0"));
                let users: Vec<Option<User>> = stream::iter(keys)
                    .map(|key| async move { self.user_of_key(&key).await })
                    .buffered(LOOKUPS_AT_ONCE)
                    .try_collect()
                    .await?;
                found.extend(users.into_iter().flatten().filter(|user| match filter {
                    UserFilter::All => true,
                    UserFilter::Superusers => user.superuser,
                    UserFilter::Disabled => user.disabled,
                }));
                if found.len() >= wanted {
                    found.truncate(wanted);
                    return Ok(found);
                }
                let Some(next) = next else { break };
                keys = self.user_keys(&part, &next, &to, wanted).await?;
            }
        }
        Ok(found)
    }

    async fn user_keys(&self, part: &str, from: &str, to: &str, wanted: usize) -> Result<Vec<String>> {
        let values = (part, from, to, limit(wanted));
        let found: Vec<(String,)> = self.cql.rows(&self.cql.statements.user_list, values).await?;
        Ok(found.into_iter().map(|(key,)| key).collect())
    }

    /// Whoever has a name.
    pub(super) async fn user_of_key(&self, key: &str) -> Result<Option<User>> {
        let found: Option<(Uuid,)> = self.cql.first(&self.cql.statements.user_by_name, (key,)).await?;
        match found {
            Some((id,)) => self.find_user(user_id(id)).await,
            None => Ok(None),
        }
    }

    /// Puts a room, in its present state, where lists find it.
    pub(super) async fn list_room(&self, room: &Room, stamp: i64) -> Result<()> {
        let key = room.name.as_ref().map(Name::key).unwrap_or_default();
        let id = cql(room.id.as_bytes());
        let values = (part_of(room), key.as_str(), id, room.title.as_str(), stamp);
        self.cql.write(&self.cql.statements.room_list_add, values).await?;
        if room.kind == RoomKind::Direct {
            return Ok(());
        }
        let listed = room.kind == RoomKind::Public && !room.archived && !room.deleted;
        let values = (PUBLIC, key.as_str(), id, room.title.as_str(), listed, stamp);
        self.cql.write(&self.cql.statements.public_put, values).await
    }

    /// The rooms of some entries that are what lists may show: not deleted, and holders of their names.
    async fn true_rooms(&self, entries: Vec<(String, Uuid)>) -> Result<Vec<Room>> {
        let rooms: Vec<Option<Room>> = stream::iter(entries)
            .map(|(key, id)| async move {
                let named = async {
                    let found: Option<(Uuid,)> = if key.is_empty() {
                        Some((id,))
                    } else {
                        self.cql
                            .first(&self.cql.statements.room_by_name, (key.as_str(),))
                            .await?
                    };
                    Ok::<_, Error>(found.is_some_and(|(holder,)| holder == id))
                };
                let (named, room) = tokio::try_join!(named, self.find_room(room_id(id)))?;
                Ok::<_, Error>(room.filter(|room| named && !room.deleted))
            })
            .buffered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(rooms.into_iter().flatten().collect())
    }

    pub(super) async fn search_public(&self, query: &str, wanted: usize) -> Result<Vec<Room>> {
        let query = query.to_lowercase();
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut after = (String::new(), Uuid::nil());
        while found.len() < wanted && seen < limits::DIRECTORY_SCAN_MAX {
            let values = (PUBLIC, after.0.as_str(), after.1, limit(BITE));
            let entries: Vec<(String, Uuid, Option<String>, Option<bool>)> =
                self.cql.rows(&self.cql.statements.public_list, values).await?;
            seen += entries.len();
            let complete = entries.len() < BITE;
            if let Some(last) = entries.last() {
                after = (last.0.clone(), last.1);
            }
            let mut likely = entries
                .into_iter()
                .filter(|(key, _, title, listed)| {
                    listed.unwrap_or_default() && matches(&query, key, title.as_deref().unwrap_or_default())
                })
                .map(|(key, id, ..)| (key, id));
            // No more is looked up than can be shown.
            loop {
                let some: Vec<_> = likely.by_ref().take(wanted - found.len()).collect();
                if some.is_empty() {
                    break;
                }
                let rooms = self.true_rooms(some).await?;
                found.extend(
                    rooms
                        .into_iter()
                        .filter(|room| room.kind == RoomKind::Public && !room.archived),
                );
            }
            if complete {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn search_rooms(&self, query: &str, after: Option<RoomId>, wanted: usize) -> Result<Vec<Room>> {
        let query = query.to_lowercase();
        let mut from = (String::new(), Uuid::nil());
        let mut first_part = None;
        if let Some(id) = after {
            let room = self.find_room(id).await?.ok_or(Error::NotFound)?;
            from = (
                room.name.as_ref().map(Name::key).unwrap_or_default(),
                cql(id.as_bytes()),
            );
            first_part = Some(part_of(&room));
        }
        // A direct conversation has neither a name nor a title, so only who asks for everything gets them.
        let direct = DIGITS
            .chars()
            .filter(|_| query.is_empty())
            .map(|digit| format!("direct.{digit}"));
        let parts: Vec<String> = direct.chain(LETTERS.chars().map(String::from)).collect();
        let skipped = first_part
            .and_then(|first| parts.iter().position(|part| *part == first))
            .unwrap_or(0);
        let mut pages = stream::iter(parts.into_iter().skip(skipped))
            .map(|part| {
                let from = from.clone();
                async move {
                    let entries = self.room_entries(&part, &from).await?;
                    Ok::<_, Error>((part, entries))
                }
            })
            .buffered(PARTS_AT_ONCE);
        let (mut found, mut seen) = (Vec::new(), 0);
        while let Some((part, mut entries)) = pages.try_next().await? {
            loop {
                seen += entries.len();
                let next = entries
                    .last()
                    .filter(|_| entries.len() == BITE)
                    .map(|last| (last.0.clone(), last.1));
                let mut likely = entries
                    .into_iter()
                    .filter(|(key, _, title)| matches(&query, key, title.as_deref().unwrap_or_default()))
                    .map(|(key, id, _)| (key, id));
                loop {
                    let some: Vec<_> = likely.by_ref().take(wanted - found.len()).collect();
                    if some.is_empty() {
                        break;
                    }
                    let rooms = self.true_rooms(some).await?;
                    found.extend(rooms.into_iter().filter(|room| {
                        let key = room.name.as_ref().map(Name::key).unwrap_or_default();
                        matches(&query, &key, &room.title)
                    }));
                }
                if found.len() >= wanted || seen >= limits::DIRECTORY_SCAN_MAX {
                    return Ok(found);
                }
                let Some(next) = next else { break };
                entries = self.room_entries(&part, &next).await?;
            }
        }
        Ok(found)
    }

    async fn room_entries(&self, part: &str, (key, id): &(String, Uuid)) -> Result<Vec<RoomEntry>> {
        let values = (part, key.as_str(), *id, limit(BITE));
        self.cql.rows(&self.cql.statements.room_list, values).await
    }
}
