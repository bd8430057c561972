//! Every statement of the store, prepared once. All keys of partitions are bind markers, so that the driver knows which
//! node has the row. Statements name their columns, so a later schema with further columns changes nothing here.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::statement::Statement;

use super::session::{Prepared, StatementKind};
use crate::limits;
use crate::store::{Error, Result};

macro_rules! statements {
    ($($name:ident: $kind:ident = $cql:expr;)*) => {
        /// The statements, prepared.
        pub(super) struct Statements {
            $(pub(super) $name: Prepared,)*
        }

        impl Statements {
            /// Prepares all of them on a session that uses the keyspace.
            pub(super) async fn prepare(session: &Session) -> Result<Self> {
                Ok(Self {
                    $($name: prepare(session, stringify!($name), StatementKind::$kind, $cql).await?,)*
                })
            }

            /// Each statement's name, how often it was run, and how long that took in all.
            pub(super) fn ran(&self) -> Vec<(&'static str, u64, Duration)> {
                [$(&self.$name),*].into_iter().map(Prepared::ran).collect()
            }
        }
    };
}

async fn prepare(session: &Session, name: &'static str, kind: StatementKind, cql: &str) -> Result<Prepared> {
    #[cfg(feature = "next-version")]
    let cql = &*crate::next_version::statement(name, cql);
    let mut statement = Statement::new(cql);
    // A write with an explicit timestamp can be applied twice; a lightweight transaction can't.
    statement.set_is_idempotent(kind != StatementKind::Lwt);
    statement.set_page_size(limits::CQL_PAGE_ROWS);
    let statement = session.prepare(statement).await.map_err(|error| {
        Error::Refused(format!(
            "the CQL server does not take a statement of this version ({error}): {cql}"
        ))
    })?;
    Ok(Prepared::new(statement, name, kind))
}

macro_rules! message {
    ($rest:literal) => {
        concat!(
            "SELECT id, author_id, author_name, body, reply_to, mentions, edited_at, deleted_at, last_event ",
            "FROM messages WHERE room_id = ? AND bucket = ? AND ",
            $rest
        )
    };
}

macro_rules! room {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, title, kind, pair_low, pair_high, created_at, archived, deleted, ",
            "WRITETIME(title) AS title_stamp, WRITETIME(kind) AS kind_stamp, WRITETIME(archived) AS archived_stamp, ",
            "WRITETIME(deleted) AS deleted_stamp FROM rooms ",
            $rest
        )
    };
}

macro_rules! member {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, role, joined_at, ended, WRITETIME(role), WRITETIME(ended) FROM members ",
            $rest
        )
    };
}

macro_rules! user {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, superuser, disabled, created_at, last_seen FROM users ",
            $rest
        )
    };
}

statements! {
    ping: Read = "SELECT version FROM schema_versions WHERE part = ? LIMIT 1";

    message_insert: Write = "INSERT INTO messages
        (room_id, bucket, id, author_id, author_name, body, reply_to, mentions, nonce)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    message_restore: Write = "INSERT INTO messages
        (room_id, bucket, id, author_id, author_name, body, reply_to, mentions, nonce, edited_at, deleted_at, last_event)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    message_nonce: Read = "SELECT author_id, nonce FROM messages WHERE room_id = ? AND bucket = ? AND id = ?";
    message_edit: Write = "UPDATE messages USING TIMESTAMP ? SET body = ?, mentions = ?, edited_at = ?, last_event = ?
        WHERE room_id = ? AND bucket = ? AND id = ?";
    message_delete: Write = "UPDATE messages USING TIMESTAMP ? SET body = ?, mentions = ?, deleted_at = ?, last_event = ?
        WHERE room_id = ? AND bucket = ? AND id = ?";
    message_one: Read = message!("id = ?");
    messages_in: Read = message!("id IN ?");
    messages_down: Range = message!("id > ? AND id < ? ORDER BY id DESC LIMIT ?");
    messages_up: Range = message!("id > ? AND id < ? ORDER BY id ASC LIMIT ?");
    message_newest: Read = "SELECT id FROM messages WHERE room_id = ? AND bucket = ? ORDER BY id DESC LIMIT 1";
    message_count: Read = "SELECT count(*) FROM messages WHERE room_id = ? AND bucket = ? AND id > ? AND id < ?";
    unread_down: Range = "SELECT id, author_id, deleted_at, mentions FROM messages
        WHERE room_id = ? AND bucket = ? AND id > ? AND id < ? ORDER BY id DESC LIMIT ?";

    event_insert: Write = "INSERT INTO room_events (room_id, bucket, id, kind, message_id, by_id, mentions, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    event_empty: Write = "DELETE body, mentions FROM room_events USING TIMESTAMP ?
        WHERE room_id = ? AND bucket = ? AND id = ?";
    events_up: Read = "SELECT id, kind, message_id, mentions, body FROM room_events
        WHERE room_id = ? AND bucket = ? AND id > ? ORDER BY id ASC LIMIT ?";
    events_whole: Read = "SELECT id, kind, message_id, by_id, mentions, body FROM room_events
        WHERE room_id = ? AND bucket = ? AND id > ? ORDER BY id ASC LIMIT ?";
    event_newest: Read = "SELECT id FROM room_events WHERE room_id = ? AND bucket = ? AND id > ?
        ORDER BY id DESC LIMIT 1";
    edit_insert: Write = "INSERT INTO message_edits (room_id, message_id, id, bucket) VALUES (?, ?, ?, ?)
        USING TIMESTAMP ?";
    edits_between: Read = "SELECT id FROM message_edits WHERE room_id = ? AND message_id = ? AND id >= ? AND id <= ?";
    edits_of: Read = "SELECT id, bucket FROM message_edits WHERE room_id = ? AND message_id = ?";

    send_insert: Write = "INSERT INTO sends (author_id, nonce, room_id, bucket, id) VALUES (?, ?, ?, ?, ?)
        USING TIMESTAMP ?";
    send_one: Read = "SELECT room_id, bucket, id FROM sends WHERE author_id = ? AND nonce = ?";

    hour_insert: Write = "INSERT INTO room_hours (hour, shard, room_id, bucket) VALUES (?, ?, ?, ?) USING TIMESTAMP 1";
    hour_rooms: Read = "SELECT room_id, bucket FROM room_hours WHERE hour = ? AND shard = ? LIMIT ?";

    starts: Read = "SELECT start FROM room_buckets WHERE room_id = ?";
    start_insert: Write = "INSERT INTO room_buckets (room_id, start, made_by) VALUES (?, ?, ?) USING TIMESTAMP 1";
    start_withdraw: Write = "DELETE FROM room_buckets USING TIMESTAMP 2 WHERE room_id = ? AND start = ?";

    user_insert: Write = "INSERT INTO users (id, name, password_hash, superuser, disabled, created_at)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    user_one: Read = user!("WHERE id = ?");
    all_users: Read = "SELECT id FROM users";
    any_user: Read = "SELECT id FROM users LIMIT 1";
    user_hash: Read = "SELECT name, password_hash, WRITETIME(password_hash) FROM users WHERE id = ?";
    user_flags: Read = "SELECT name, WRITETIME(superuser), WRITETIME(disabled) FROM users WHERE id = ?";
    user_set_hash: Write = "UPDATE users USING TIMESTAMP ? SET password_hash = ? WHERE id = ?";
    user_set_disabled: Write = "UPDATE users USING TIMESTAMP ? SET disabled = ? WHERE id = ?";
    user_set_superuser: Write = "UPDATE users USING TIMESTAMP ? SET superuser = ? WHERE id = ?";
    user_seen: Write = "UPDATE users USING TIMESTAMP ? SET last_seen = ? WHERE id = ?";
    user_name_claim: Lwt = "INSERT INTO users_by_name (name_key, id) VALUES (?, ?) IF NOT EXISTS";
    user_by_name: Read = "SELECT id FROM users_by_name WHERE name_key = ?";
    user_list_add: Write = "INSERT INTO user_directory (part, name_key) VALUES (?, ?) USING TIMESTAMP 1";
    user_list: Read = "SELECT name_key FROM user_directory
        WHERE part = ? AND name_key >= ? AND name_key < ? ORDER BY name_key ASC LIMIT ?";

    room_insert: Write = "INSERT INTO rooms
        (id, name, title, kind, pair_low, pair_high, created_at, archived, deleted)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    room_one: Read = room!("WHERE id = ?");
    all_rooms: Read = "SELECT id FROM rooms";
    room_set_title: Write = "UPDATE rooms USING TIMESTAMP ? SET title = ? WHERE id = ?";
    room_set_kind: Write = "UPDATE rooms USING TIMESTAMP ? SET kind = ? WHERE id = ?";
    room_set_archived: Write = "UPDATE rooms USING TIMESTAMP ? SET archived = ? WHERE id = ?";
    room_set_deleted: Write = "UPDATE rooms USING TIMESTAMP ? SET deleted = true WHERE id = ?";
    room_name_claim: Lwt = "INSERT INTO rooms_by_name (name_key, id) VALUES (?, ?) IF NOT EXISTS";
    room_name_take: Lwt = "UPDATE rooms_by_name SET id = ? WHERE name_key = ? IF id = ?";
    room_by_name: Read = "SELECT id FROM rooms_by_name WHERE name_key = ?";
    room_list_add: Write = "INSERT INTO room_directory (part, name_key, id, title) VALUES (?, ?, ?, ?)
        USING TIMESTAMP ?";
    room_list: Read = "SELECT name_key, id, title FROM room_directory
        WHERE part = ? AND (name_key, id) > (?, ?) LIMIT ?";
    public_put: Write = "INSERT INTO public_rooms (part, name_key, id, title, listed) VALUES (?, ?, ?, ?, ?)
        USING TIMESTAMP ?";
    public_list: Read = "SELECT name_key, id, title, listed FROM public_rooms
        WHERE part = ? AND (name_key, id) > (?, ?) LIMIT ?";

    member_put: Write = "INSERT INTO members (room_id, user_id, role, joined_at, ended)
        VALUES (?, ?, ?, ?, false) USING TIMESTAMP ?";
    member_set_role: Write = "UPDATE members USING TIMESTAMP ? SET role = ? WHERE room_id = ? AND user_id = ?";
    member_end: Write = "UPDATE members USING TIMESTAMP ? SET ended = true WHERE room_id = ? AND user_id = ?";
    member_one: Read = member!("WHERE room_id = ? AND user_id = ?");
    members_in: Read = member!("WHERE room_id = ? AND user_id IN ?");
    members_all: Read = member!("WHERE room_id = ?");
    member_ends: Read = "SELECT ended FROM members WHERE room_id = ?";
    member_name_add: Write = "INSERT INTO member_names (room_id, name_key, user_id, name) VALUES (?, ?, ?, ?)
        USING TIMESTAMP 1";
    member_name_list: Read = "SELECT name_key, user_id, name FROM member_names
        WHERE room_id = ? AND name_key >= ? AND name_key < ? ORDER BY name_key ASC LIMIT ?";
    user_room_add: Write = "INSERT INTO rooms_by_user (user_id, room_id) VALUES (?, ?) USING TIMESTAMP 1";
    user_rooms: Read = "SELECT room_id FROM rooms_by_user WHERE user_id = ?";
    ban_put: Write = "INSERT INTO bans (room_id, user_id, banned, by_id, at) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    ban_lift: Write = "UPDATE bans USING TIMESTAMP ? SET banned = false WHERE room_id = ? AND user_id = ?";
    ban_one: Read = "SELECT banned, WRITETIME(banned) FROM bans WHERE room_id = ? AND user_id = ?";
    bans_all: Read = "SELECT user_id, banned, by_id, at FROM bans WHERE room_id = ?";
    marker_put: Write = "INSERT INTO read_markers (user_id, room_id, id) VALUES (?, ?, ?) USING TIMESTAMP ?";
    marker_one: Read = "SELECT id FROM read_markers WHERE user_id = ? AND room_id = ?";
    markers_of: Read = "SELECT room_id, id FROM read_markers WHERE user_id = ?";

    invite_add: Lwt = "INSERT INTO invites (part, code, by_id, uses_left, expires_at) VALUES (?, ?, ?, ?, ?)
        IF NOT EXISTS";
    invite_set_uses: Lwt = "UPDATE invites SET uses_left = ? WHERE part = ? AND code = ? IF uses_left = ?";
    invite_delete: Lwt = "DELETE FROM invites WHERE part = ? AND code = ? IF EXISTS";
    invite_one: Read = "SELECT code, by_id, uses_left, expires_at FROM invites WHERE part = ? AND code = ?";
    invites_all: Read = "SELECT code, by_id, uses_left, expires_at FROM invites WHERE part = ?";

    audit_insert: Write = "INSERT INTO audit (day, id, actor_id, actor_name, action, target, detail)
        VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP 1";
    audit_day: Read = "SELECT id, actor_id, actor_name, action, target, detail FROM audit
        WHERE day = ? AND id < ? ORDER BY id DESC LIMIT ?";
    audit_day_add: Write = "INSERT INTO audit_days (part, day) VALUES (?, ?) USING TIMESTAMP 1";
    audit_days: Read = "SELECT day FROM audit_days WHERE part = ? AND day <= ? ORDER BY day DESC";

    totals_put: Write = "INSERT INTO totals (part, boot, users, rooms, messages) VALUES (?, ?, ?, ?, ?)";
    totals_all: Read = "SELECT boot, users, rooms, messages FROM totals WHERE part = ?";
}
