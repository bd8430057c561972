//! Records as rows.

use rusqlite::{Connection, params};

use crate::model::{EventId, Name, UserId};
use crate::store::archive::Record;
use crate::store::sqlite::rows::{mentions_blob, millis};

/// Inserts a record where it belongs; header and end belong nowhere.
pub(super) fn record(db: &Connection, record: &Record) -> rusqlite::Result<usize> {
    match record {
        Record::User { .. } | Record::Invite { .. } | Record::Audit { .. } => insert_of_people(db, record),
        Record::Message { .. } | Record::Event { .. } => insert_of_talk(db, record),
        _ => insert_of_rooms(db, record),
    }
}

fn insert_of_people(db: &Connection, record: &Record) -> rusqlite::Result<usize> {
    match record {
        Record::User {
            id,
            name,
            password_hash,
            superuser,
            disabled,
            created_at,
            last_seen,
        } => db
            .prepare_cached(
                "INSERT INTO users (id, name, name_key, password_hash, superuser, disabled, created_at, last_seen)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                id.as_bytes(),
                name.as_str(),
                name.key(),
                password_hash,
                superuser,
                disabled,
                millis(*created_at),
                last_seen.map(millis)
            ]),
        Record::Invite {
            code,
            by,
            uses_left,
            expires_at,
        } => db
            .prepare_cached("INSERT INTO invites (code, by_id, uses_left, expires_at) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![code, by.as_bytes(), uses_left, millis(*expires_at)]),
        Record::Audit {
            id,
            actor,
            actor_name,
            action,
            target,
            detail,
        } => db
            .prepare_cached(
                "INSERT INTO audit (id, actor_id, actor_name, action, target, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                id.as_bytes(),
                actor.as_ref().map(UserId::as_bytes),
                actor_name,
                action,
                target,
                detail
            ]),
        _ => Ok(0),
    }
}

fn insert_of_rooms(db: &Connection, record: &Record) -> rusqlite::Result<usize> {
    match record {
        Record::Room {
            id,
            name,
            title,
            kind,
            pair,
            created_at,
            archived,
            deleted,
        } => db
            .prepare_cached(
                "INSERT INTO rooms (id, name, name_key, title, title_key, kind, pair_low, pair_high, created_at,
                     archived, deleted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                id.as_bytes(),
                name.as_ref().map(Name::as_str),
                name.as_ref().map(Name::key).unwrap_or_default(),
                title,
                title.to_lowercase(),
                kind.as_str(),
                pair.as_ref().map(|pair| pair.0.as_bytes()),
                pair.as_ref().map(|pair| pair.1.as_bytes()),
                millis(*created_at),
                archived,
                deleted
            ]),
        Record::Member {
            room,
            user,
            role,
            joined_at,
        } => db
            .prepare_cached(
                "INSERT INTO members (room_id, user_id, name_key, role, joined_at)
                 VALUES (?1, ?2, (SELECT name_key FROM users WHERE id = ?2), ?3, ?4)",
            )?
            .execute(params![
                room.as_bytes(),
                user.as_bytes(),
                role.as_str(),
                millis(*joined_at)
            ]),
        Record::Ban { room, user, by, at } => db
            .prepare_cached("INSERT INTO bans (room_id, user_id, by_id, at) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![room.as_bytes(), user.as_bytes(), by.as_bytes(), millis(*at)]),
        Record::Marker { room, user, id } => db
            .prepare_cached("INSERT INTO read_markers (user_id, room_id, id) VALUES (?1, ?2, ?3)")?
            .execute(params![user.as_bytes(), room.as_bytes(), id.as_bytes()]),
        _ => Ok(0),
    }
}

fn insert_of_talk(db: &Connection, record: &Record) -> rusqlite::Result<usize> {
    match record {
        Record::Message {
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
        } => db
            .prepare_cached(
                "INSERT INTO messages (room_id, id, author_id, author_name, body, reply_to, nonce, mentions, edited_at,
                     deleted_at, last_event)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                room.as_bytes(),
                id.as_bytes(),
                author.as_bytes(),
                author_name.as_str(),
                body,
                reply_to.as_ref().map(EventId::as_bytes),
                nonce,
                mentions_blob(mentions),
                edited_at.map(millis),
                deleted_at.map(millis),
                last_event.as_ref().map(EventId::as_bytes)
            ]),
        Record::Event {
            room,
            id,
            kind,
            message,
            by,
            mentions,
            body,
        } => db
            .prepare_cached(
                "INSERT INTO room_events (room_id, id, kind, message_id, by_id, mentions, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                room.as_bytes(),
                id.as_bytes(),
                kind,
                message.as_bytes(),
                by.as_ref().map(UserId::as_bytes),
                mentions_blob(mentions),
                body
            ]),
        _ => Ok(0),
    }
}
