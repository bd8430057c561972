//! The scripts of the throttles. Each takes the time in microseconds, or -1 for Redis' own, then the policy.

use crate::redis_link::Script;

/// The time, and how a number is written in full.
macro_rules! now {
    () => {
        "local now = tonumber(ARGV[1])
         if now < 0 then
             local time = redis.call('TIME')
             now = time[1] * 1000000 + time[2]
         end
         local function full(number) return string.format('%.0f', number) end
        "
    };
}

/// A leaky bucket: when it will be empty. Takes the time for one try and how many pass at once.
macro_rules! bucket {
    () => {
        "local every, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
         local empty = tonumber(redis.call('GET', KEYS[1]) or now)
         local level = math.max(0, math.min(empty - now, every * burst))
         local function keep(level)
             if level <= 0 then
                 redis.call('UNLINK', KEYS[1])
             else
                 redis.call('SET', KEYS[1], full(now + level), 'PX', full(math.ceil(level / 1000)))
             end
         end
        "
    };
}

/// A growing wait: the tries and the last one. Takes the free tries, the first and the longest wait, and how long
/// after a wait the key is kept.
macro_rules! tries {
    () => {
        "local free, first, longest, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
         local function wait(count)
             if count < free then return 0 end
             return math.min(first * 2 ^ math.min(count - free, 62), longest)
         end
         local state = redis.call('HMGET', KEYS[1], 'count', 'last')
         local count = tonumber(state[1] or 0)
         local last = math.min(tonumber(state[2] or now), now)
         if last + wait(count) + kept <= now then count = 0 end
         local function keep(count, last)
             if count <= 0 then
                 redis.call('UNLINK', KEYS[1])
             else
                 redis.call('HSET', KEYS[1], 'count', count, 'last', full(last))
                 redis.call('PEXPIRE', KEYS[1], full(math.ceil((last + wait(count) + kept - now) / 1000)))
             end
         end
        "
    };
}

/// What is run on the server. A try is answered with the microseconds to wait, 0 if it was taken.
pub(super) struct Scripts {
    pub(super) rate: Script,
    pub(super) rate_back: Script,
    pub(super) growing: Script,
    pub(super) growing_back: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            rate: Script::new(concat!(
                now!(),
                bucket!(),
                "local over = level + every - every * burst
                 if over > 0 then return math.ceil(over) end
                 keep(level + every)
                 return 0"
            )),
            rate_back: Script::new(concat!(now!(), bucket!(), "keep(level - every) return 0")),
            growing: Script::new(concat!(
                now!(),
                tries!(),
                "local over = count == 0 and 0 or last + wait(count) - now
                 if over > 0 then return math.ceil(over) end
                 keep(count + 1, now)
                 return 0"
            )),
            growing_back: Script::new(concat!(now!(), tries!(), "keep(count - 1, last) return 0")),
        }
    }
}
