//! Where presence stands in Redis, and the scripts that change it. Each is idempotent: it may run twice.
//!
//! - `presence:nodes`: a sorted set of nodes by the end of their lease, in milliseconds of Redis' own time.
//! - `presence:of:NODE`: a set of what the node has entries in: `room ID` and `user ID`. It may name too much.
//! - `presence:online:USER`: a set of the nodes at which somebody has connections.
//! - `presence:{ROOM}:of:NODE`: a set of the users who are in a room at one node; `presence:{ROOM}:nodes`: a hash that
//!   counts the nodes of each of them; `presence:{ROOM}:names`: a sorted set of them in the order of names;
//!   `presence:{ROOM}:who`: a hash of the text under which each stands there.

use std::fmt::Display;

use crate::model::{Name, RoomId, UserId};
use crate::redis_link::{RedisLink, Script};

/// The scripts of presence.
pub(super) struct Scripts {
    /// Renews a node's lease, or, told so, begins one; answers whether it held one, and the nodes whose lease ran out.
    pub(super) beat: Script,
    /// Enters somebody into a room at a node; answers whether they are the first.
    pub(super) enter: Script,
    /// Takes somebody out of a room at a node; answers whether they were the last.
    pub(super) leave: Script,
    /// Takes a number of people of one node out of a room; answers how many, then who of them has left entirely.
    pub(super) clear: Script,
    /// Enters a node for somebody who has a connection there; answers whether it is the first.
    pub(super) connect: Script,
    /// Takes it out; answers whether it was the last.
    pub(super) disconnect: Script,
}

/// Takes one user out of a room at a node whose entry is already removed.
macro_rules! with_forget {
    ($script:literal) => {
        concat!(
            "local function forget(user)
                 if redis.call('HINCRBY', KEYS[2], user, -1) > 0 then return 0 end
                 redis.call('HDEL', KEYS[2], user)
                 local who = redis.call('HGET', KEYS[4], user)
                 if who then redis.call('ZREM', KEYS[3], who) end
                 redis.call('HDEL', KEYS[4], user)
                 return 1
             end
             ",
            $script
        )
    };
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            beat: Script::new(
                "local time = redis.call('TIME')
                 local now = time[1] * 1000 + math.floor(time[2] / 1000)
                 local till = redis.call('ZSCORE', KEYS[1], ARGV[1])
                 local held = (till and tonumber(till) > now) and 1 or 0
                 if held == 1 or ARGV[3] == '1' then
                     redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
                 end
                 return {held, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))}",
            ),
            enter: Script::new(
                "if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
                 if redis.call('HINCRBY', KEYS[2], ARGV[1], 1) > 1 then return 0 end
                 redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
                 redis.call('ZADD', KEYS[3], 0, ARGV[2])
                 return 1",
            ),
            leave: Script::new(with_forget!(
                "if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
                 return forget(ARGV[1])"
            )),
            clear: Script::new(with_forget!(
                "local users = redis.call('SPOP', KEYS[1], ARGV[1])
                 local gone = {tostring(#users)}
                 for _, user in ipairs(users) do
                     if forget(user) == 1 then gone[#gone + 1] = user end
                 end
                 return gone"
            )),
            connect: Script::new(
                "if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
                 return redis.call('SCARD', KEYS[1]) == 1 and 1 or 0",
            ),
            disconnect: Script::new(
                "if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
                 return redis.call('EXISTS', KEYS[1]) == 0 and 1 or 0",
            ),
        }
    }
}

/// The keys of one installation.
pub(super) struct Keys<'a>(pub(super) &'a RedisLink);

impl Keys<'_> {
    pub(super) fn nodes(&self) -> String {
        self.0.key("presence:nodes")
    }

    pub(super) fn index(&self, node: impl Display) -> String {
        self.0.key(format_args!("presence:of:{node}"))
    }

    pub(super) fn online(&self, user: UserId) -> String {
        self.0.key(format_args!("presence:online:{user}"))
    }

    /// What the scripts of a room take.
    pub(super) fn room(&self, room: RoomId, node: impl Display) -> [String; 4] {
        [
            self.0.key(format_args!("presence:{{{room}}}:of:{node}")),
            self.counts(room),
            self.names(room),
            self.0.key(format_args!("presence:{{{room}}}:who")),
        ]
    }

    pub(super) fn counts(&self, room: RoomId) -> String {
        self.0.key(format_args!("presence:{{{room}}}:nodes"))
    }

    pub(super) fn names(&self, room: RoomId) -> String {
        self.0.key(format_args!("presence:{{{room}}}:names"))
    }
}

/// The text under which somebody stands among the names. A space comes before all that a name may hold, so that texts
/// sort as names do.
pub(super) fn who(name: &Name, user: UserId) -> String {
    format!("{} {name} {user}", name.as_str().to_ascii_lowercase())
}

/// The name in such a text.
pub(super) fn name_of(who: &str) -> Option<Name> {
    Name::parse(who.split(' ').nth(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_they_do_elsewhere_and_are_read_back() {
        let user = UserId::random();
        let names = ["ann", "Ann-2", "ANN_", "ann0", "Ben", "a"].map(|name| Name::parse(name).unwrap());
        let mut by_name = names.to_vec();
        by_name.sort();
        let mut texts: Vec<_> = names.iter().map(|name| who(name, user)).collect();
        texts.sort();
        let read: Vec<_> = texts.iter().filter_map(|text| name_of(text)).collect();
        assert_eq!(read, by_name);
    }
}
