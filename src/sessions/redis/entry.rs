//! A session's hash in Redis: the scripts that change it, and how it is read.

use redis::{Cmd, FromRedisValue, Value};

use super::super::stored::timestamp;
use super::super::{Error, Result, SessionHandle, SessionInfo};
use crate::model::UserId;
use crate::redis_link::Script;

/// The fields that [`info`] reads.
pub(super) const INFO_FIELDS: [&str; 6] = ["user", "created", "seen", "expires", "agent", "address"];

/// The text that stands for a user, empty for nobody.
pub(super) fn user_text(user: Option<UserId>) -> String {
    user.map(|user| user.to_string()).unwrap_or_default()
}

/// What is run on the server. Those that write a session take user, data, agent, address, now, expiry and the time
/// within which nothing is written for an expiry that moved; all times are in milliseconds since 1970.
pub(super) struct Scripts {
    /// Writes a session unless there is one; answers whether it did.
    pub(super) create: Script,
    /// Writes over a session that lives; answers whose it was, nothing if there is none.
    pub(super) save: Script,
    /// Notes when a session was seen, if it is there.
    pub(super) touch: Script,
    /// Removes a session if it is the user's who is named, or anybody's if nobody is; answers whose it was if it lived, and
    /// leaves a note of that for a while, which no other script takes for a session.
    pub(super) end: Script,
    /// Forgets whose session has ended, if it was this user's.
    pub(super) settle: Script,
    /// Names a session in an index, with its expiry.
    pub(super) index: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(
                "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
                 redis.call('HSET', KEYS[1], 'user', ARGV[1], 'data', ARGV[2], 'agent', ARGV[3], 'address', ARGV[4],
                     'created', ARGV[5], 'seen', ARGV[5], 'expires', ARGV[6])
                 redis.call('PEXPIREAT', KEYS[1], ARGV[6])
                 return 1",
            ),
            save: Script::new(
                "local old = redis.call('HMGET', KEYS[1], 'user', 'data', 'expires')
                 if not old[3] or tonumber(old[3]) <= tonumber(ARGV[5]) then return false end
                 if old[2] ~= ARGV[2] or math.abs(old[3] - ARGV[6]) >= tonumber(ARGV[7]) then
                     redis.call('HSET', KEYS[1], 'user', ARGV[1], 'data', ARGV[2], 'agent', ARGV[3],
                         'address', ARGV[4], 'seen', ARGV[5], 'expires', ARGV[6])
                     redis.call('PEXPIREAT', KEYS[1], ARGV[6])
                 end
                 return old[1]",
            ),
            touch: Script::new(
                "local seen = redis.call('HGET', KEYS[1], 'seen')
                 if seen and tonumber(seen) < tonumber(ARGV[1]) then
                     redis.call('HSET', KEYS[1], 'seen', ARGV[1])
                 end
                 return 1",
            ),
            end: Script::new(
                "local old = redis.call('HMGET', KEYS[1], 'user', 'expires')
                 if not old[2] or (ARGV[1] ~= '' and old[1] ~= ARGV[1]) then return false end
                 redis.call('UNLINK', KEYS[1])
                 if tonumber(old[2]) <= tonumber(ARGV[2]) then return false end
                 if old[1] ~= '' then
                     redis.call('HSET', KEYS[1], 'ended', old[1])
                     redis.call('PEXPIRE', KEYS[1], ARGV[3])
                 end
                 return old[1]",
            ),
            settle: Script::new(
                "if redis.call('HGET', KEYS[1], 'ended') == ARGV[1] then redis.call('HDEL', KEYS[1], 'ended') end
                 return 1",
            ),
            // What expired an hour ago has expired by every clock.
            index: Script::new(
                "redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
                 redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', ARGV[3] - 3600000))
                 local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
                 if last[2] then
                     redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last[2] + 3600000))
                 end
                 return 1",
            ),
        }
    }
}

/// Asks for what [`info`] reads.
pub(super) fn found(key: &str) -> Cmd {
    let mut read = redis::cmd("HMGET");
    read.arg(key).arg(&INFO_FIELDS);
    read
}

/// A session as its owner sees it; `None` if it is not there, has expired, or is nobody's.
pub(super) fn info(handle: &SessionHandle, value: Value, now: i64) -> Result<Option<SessionInfo>> {
    type Fields = (
        Option<String>,
        Option<i64>,
        Option<i64>,
        Option<i64>,
        Option<String>,
        Option<String>,
    );
    let damaged = |why: String| Error::Damaged(format!("session {handle}: {why}"));
    let fields = Fields::from_redis_value(value).map_err(|error| damaged(error.to_string()))?;
    let (Some(user), Some(created), Some(seen), Some(expires), agent, address) = fields else {
        return Ok(None);
    };
    if user.is_empty() || expires <= now {
        return Ok(None);
    }
    Ok(Some(SessionInfo {
        handle: handle.clone(),
        user: UserId::parse(&user).map_err(|error| damaged(error.to_string()))?,
        created_at: timestamp(created),
        last_seen_at: timestamp(seen),
        expires_at: timestamp(expires),
        agent: agent.unwrap_or_default(),
        address: address.unwrap_or_default(),
    }))
}
