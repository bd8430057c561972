-- Ids are 16-byte blobs, which sort as the ids do. Times are milliseconds since 1970.

CREATE TABLE users (
    id            BLOB NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    superuser     INTEGER NOT NULL DEFAULT 0,
    disabled      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    last_seen     INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX users_super ON users (name_key) WHERE superuser = 1;
CREATE INDEX users_disabled ON users (name_key) WHERE disabled = 1;

CREATE TABLE invites (
    code       TEXT NOT NULL PRIMARY KEY,
    by_id      BLOB NOT NULL REFERENCES users (id),
    uses_left  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A direct conversation has no name (name_key is empty) and has its two people in pair_low and pair_high. Rows stay
-- when a room is deleted.
CREATE TABLE rooms (
    id         BLOB NOT NULL PRIMARY KEY,
    name       TEXT,
    name_key   TEXT NOT NULL,
    title      TEXT NOT NULL,
    title_key  TEXT NOT NULL,
    kind       TEXT NOT NULL,
    pair_low   BLOB REFERENCES users (id),
    pair_high  BLOB REFERENCES users (id),
    created_at INTEGER NOT NULL,
    archived   INTEGER NOT NULL DEFAULT 0,
    deleted    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX rooms_names ON rooms (name_key) WHERE deleted = 0 AND name_key <> '';
CREATE INDEX rooms_in_order ON rooms (name_key, id) WHERE deleted = 0;
CREATE INDEX rooms_public ON rooms (name_key) WHERE kind = 'public' AND archived = 0 AND deleted = 0;

-- The name's key stands here too (names never change), so that a page of members needs no sorting.
CREATE TABLE members (
    room_id   BLOB NOT NULL REFERENCES rooms (id),
    user_id   BLOB NOT NULL REFERENCES users (id),
    name_key  TEXT NOT NULL,
    role      TEXT NOT NULL,
    joined_at INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_in_order ON members (room_id, name_key);
CREATE INDEX members_by_user ON members (user_id, room_id);

CREATE TABLE bans (
    room_id BLOB NOT NULL REFERENCES rooms (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    by_id   BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE read_markers (
    user_id BLOB NOT NULL,
    room_id BLOB NOT NULL,
    id      BLOB NOT NULL,
    PRIMARY KEY (user_id, room_id)
) STRICT, WITHOUT ROWID;

-- Clustered by room and id, so that a page of history is one piece of the file. The long column comes last, so that
-- counting never reads it. No foreign keys: the writer's callers have looked the room and the author up.
CREATE TABLE messages (
    room_id     BLOB NOT NULL,
    id          BLOB NOT NULL,
    author_id   BLOB NOT NULL,
    author_name TEXT NOT NULL,
    deleted_at  INTEGER,
    edited_at   INTEGER,
    last_event  BLOB,
    reply_to    BLOB,
    nonce       TEXT,
    mentions    BLOB,
    body        TEXT NOT NULL,
    PRIMARY KEY (room_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_by_nonce ON messages (author_id, nonce) WHERE nonce IS NOT NULL;
-- Ids ascend over all rooms, so this index only grows at its right edge.
CREATE INDEX messages_by_id ON messages (id);

-- Edits, deletions and late messages, at their own positions in the room's order.
CREATE TABLE room_events (
    room_id    BLOB NOT NULL,
    id         BLOB NOT NULL,
    kind       TEXT NOT NULL,
    message_id BLOB NOT NULL,
    by_id      BLOB,
    mentions   BLOB,
    body       TEXT,
    PRIMARY KEY (room_id, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_events_by_id ON room_events (id);
CREATE INDEX room_events_by_message ON room_events (room_id, message_id);

CREATE TABLE audit (
    id         BLOB NOT NULL PRIMARY KEY,
    actor_id   BLOB,
    actor_name TEXT NOT NULL,
    action     TEXT NOT NULL,
    target     TEXT NOT NULL,
    detail     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How many messages have an id up to `mark`; those above it are counted when asked.
CREATE TABLE message_count (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    mark  BLOB NOT NULL,
    count INTEGER NOT NULL
) STRICT;
INSERT INTO message_count (one, mark, count) VALUES (1, x'00000000000000000000000000000000', 0);
