//! The scripts, and what they answer.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Entry, Error, Position, Reading, Result};
use crate::limits;
use crate::model::{BootId, Timestamp};
use crate::redis_link::{RedisLink, Script};

/// What every script begins with: the time, and which log this is. `KEYS`: the note, the stream, the leases. `ARGV[1]`:
/// the incarnation to begin if this is another log.
macro_rules! script {
    ($rest:literal) => {
        concat!(
            r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '?'
local note = redis.call('HMGET', KEYS[1], 'incarnation', 'server', 'tail', 'since')
if not note[1] or note[2] ~= server then
    note = {ARGV[1], server, '0', string.format('%.0f', now)}
    redis.call('DEL', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[1], 'incarnation', note[1], 'server', server, 'tail', '0', 'since', note[4])
end
local incarnation, tail, age = note[1], tonumber(note[3]), now - tonumber(note[4])
local function lease(node, acted_in, acted, life)
    redis.call('HSET', KEYS[3], node, string.format('%.0f', now + life) .. ' ' .. acted_in .. ' ' .. acted)
end
local function leases()
    local all, held = redis.call('HGETALL', KEYS[3]), {}
    for i = 1, #all, 2 do
        local ends, acted_in, acted = string.match(all[i + 1], '^(%d+) (%x+) (%d+)$')
        if ends and tonumber(ends) > now then
            held[#held + 1] = all[i]
            held[#held + 1] = acted_in
            held[#held + 1] = acted
        else
            redis.call('HDEL', KEYS[3], all[i])
        end
    end
    return held
end
local function number(n) return string.format('%.0f', n) end
",
            $rest
        )
    };
}

const ATTACH: &str = script!(
    r"
lease(ARGV[2], incarnation, number(tail), tonumber(ARGV[3]))
return {incarnation, number(tail)}
"
);

const APPEND: &str = script!(
    r"
tail = redis.call('HINCRBY', KEYS[1], 'tail', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], number(tail) .. '-0', 'e', ARGV[2])
return {incarnation, number(tail)}
"
);

/// Whether anything is missing is told by the numbers; what is there is answered in any case.
const READ: &str = script!(
    r"
lease(ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]))
local found = {}
if ARGV[3] == incarnation then
    local after = number(tonumber(ARGV[4]) + 1) .. '-0'
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], after, '+')) do
        found[#found + 1] = entry[2][2]
    end
end
return {incarnation, number(tail), leases(), found, number(now)}
"
);

const LOOK: &str = script!(
    r"
return {incarnation, number(tail), number(age), leases()}
"
);

/// The nodes that have a lease, and how far each has acted.
pub(super) type Leases = Vec<(BootId, Position)>;

/// What the log is at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The newest position.
    pub end: Position,
    /// How long it has been this log.
    pub age: Duration,
}

impl Look {
    /// Whether a node that has acted on `acted` needs not be waited for.
    pub(super) const fn has_acted(&self, acted: Position, position: Position) -> bool {
        // Who reads another incarnation has checked everything since that began, which was after the entry.
        let checked = acted.incarnation == self.end.incarnation && self.end.incarnation != position.incarnation;
        acted.reaches(position) || checked
    }
}

pub(super) struct Scripts {
    keys: [String; 3],
    attach: Script,
    append: Script,
    read: Script,
    look: Script,
}

impl Scripts {
    pub(super) fn new(link: &RedisLink) -> Self {
        Self {
            keys: ["note", "log", "leases"].map(|key| link.key(format_args!("{{control}}:{key}"))),
            attach: Script::new(ATTACH),
            append: Script::new(APPEND),
            read: Script::new(READ),
            look: Script::new(LOOK),
        }
    }

    #[cfg(test)]
    pub(super) const fn keys(&self) -> &[String; 3] {
        &self.keys
    }

    async fn run<T: redis::FromRedisValue>(&self, link: &RedisLink, script: &Script, more: &[&str]) -> Result<T> {
        // Above 0, so that no log looks like one that was never read.
        let fresh = hex(rand::random_range(1..u64::MAX));
        let mut arguments = vec![fresh.into_bytes()];
        arguments.extend(more.iter().map(|argument| argument.as_bytes().to_vec()));
        Ok(link.script(script, &self.keys, &arguments).await?)
    }

    pub(super) async fn attach(&self, link: &RedisLink, node: BootId) -> Result<Position> {
        let life = limits::LEASE_LIFE.as_millis().to_string();
        let (incarnation, tail) = self.run(link, &self.attach, &[&name(node), &life]).await?;
        position(incarnation, tail)
    }

    pub(super) async fn detach(&self, link: &RedisLink, node: BootId) -> Result<()> {
        let mut command = redis::cmd("HDEL");
        command.arg(&self.keys[2]).arg(name(node));
        link.repeatable::<u64>(&command).await?;
        Ok(())
    }

    pub(super) async fn append(&self, link: &RedisLink, entry: &Entry, capacity: usize) -> Result<Position> {
        let entry = serde_json::to_string(entry).map_err(|error| Error::Unavailable(error.to_string()))?;
        let (incarnation, tail) = self.run(link, &self.append, &[&entry, &capacity.to_string()]).await?;
        position(incarnation, tail)
    }

    pub(super) async fn read(&self, link: &RedisLink, node: BootId, acted: Position) -> Result<Reading> {
        let life = limits::LEASE_LIFE.as_millis().to_string();
        let (acted_in, offset) = (hex(acted.incarnation), acted.offset.to_string());
        let arguments = [&*name(node), &acted_in, &offset, &life];
        let (incarnation, tail, leases, found, time): (String, String, Vec<String>, Vec<String>, String) =
            self.run(link, &self.read, &arguments).await?;
        let position = position(incarnation, tail)?;
        let behind = Err(Error::Behind { resume_at: position });
        if !position.reaches(acted) || found.len() as u64 != position.offset - acted.offset {
            return behind;
        }
        let entries: std::result::Result<Vec<_>, _> = found
            .iter()
            .map(|entry| serde_json::from_str(entry).map(Arc::new))
            .collect();
        match entries {
            Ok(entries) => Ok(Reading {
                entries,
                position,
                holders: held(&leases)?,
                time: time.parse().ok().map(Timestamp::from_millis),
            }),
            // A newer build revokes in a way that this one does not know: it has to look at everything.
            Err(error) => {
                tracing::warn!(%error, "an entry of the control log is not understood");
                behind
            }
        }
    }

    pub(super) async fn look(&self, link: &RedisLink) -> Result<(Look, Leases)> {
        let (incarnation, tail, age, leases): (String, String, String, Vec<String>) =
            self.run(link, &self.look, &[]).await?;
        let end = position(incarnation, tail)?;
        // A clock that went back makes it look young for longer; that only delays an answer.
        let age = Duration::from_millis(age.parse().unwrap_or(0));
        Ok((Look { end, age }, held(&leases)?))
    }

    /// Blocks at the server until there is an entry after the position or the time for a renewal has come.
    pub(super) async fn changed(&self, link: &RedisLink, after: Position) -> Result<()> {
        let block = limits::LEASE_RENEWAL;
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(block.as_millis().to_string());
        command
            .arg("STREAMS")
            .arg(&self.keys[1])
            .arg(format!("{}-0", after.offset));
        link.blocking::<redis::Value>(&command, block).await?;
        Ok(())
    }
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

fn name(node: BootId) -> String {
    node.as_bytes()
        .iter()
        .fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn unexpected(what: &str) -> Error {
    Error::Unavailable(format!("Redis holds a {what} that natter did not write there"))
}

fn position(incarnation: String, offset: String) -> Result<Position> {
    let incarnation = u64::from_str_radix(&incarnation, 16);
    match (incarnation, offset.parse()) {
        (Ok(incarnation), Ok(offset)) => Ok(Position { incarnation, offset }),
        _ => Err(unexpected("position")),
    }
}

fn held(flat: &[String]) -> Result<Leases> {
    let leases = flat.chunks_exact(3).map(|lease| {
        let node = u128::from_str_radix(&lease[0], 16).map_err(|_| unexpected("lease"))?;
        let at = position(lease[1].clone(), lease[2].clone())?;
        Ok((BootId::from_bytes(node.to_be_bytes()), at))
    });
    leases.collect()
}
