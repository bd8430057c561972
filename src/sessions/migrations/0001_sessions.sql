-- Sessions. The id, which is the cookie's value, is not here: only a SHA-256 of it, and the handle that names it.
CREATE TABLE sessions (
    id_hash      BLOB    NOT NULL PRIMARY KEY,
    handle       TEXT    NOT NULL UNIQUE,
    -- NULL while nobody is logged in.
    user_id      BLOB,
    -- The session's data as a JSON object.
    data         TEXT    NOT NULL,
    agent        TEXT    NOT NULL,
    address      TEXT    NOT NULL,
    -- Milliseconds since 1970.
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, created_at) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
