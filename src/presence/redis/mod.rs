//! Presence over all nodes, in Redis.
//!
//! Each node keeps a book of its own connections and enters into Redis only what others need: that somebody is here at
//! all. So a person's second connection costs nothing, and the answers *first* and *last* come from one script that
//! sees all nodes. What a node entered stands under the node's name, which holds a lease of
//! [`limits::PRESENCE_LEASE`], renewed every [`limits::PRESENCE_BEAT`]. When it runs out the other nodes take those
//! entries out. A node that finds its lease gone, because it was paused or Redis came back empty, takes a new name and
//! enters everything in its book again; so whoever clears away the old name can't hit the new entries.
//!
//! Rooms wait for these answers, so a Redis that is down must not be felt: a call has [`limits::PRESENCE_PATIENCE`],
//! and after one that failed everything is answered `Unavailable` at once, until the next beat has gone through and
//! what was missed meanwhile has been entered from the book.

mod beat;
mod book;
mod scripts;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::FromRedisValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use book::{Book, Key};
use scripts::{Keys, Scripts};

use super::{Error, Presence, Present, Result};
use crate::limits;
use crate::model::{BootId, ConnectionId, Name, RoomId, UserId};
use crate::redis_link::{self, RedisLink};

/// Changes of the same person or room follow one another; this many go on at once.
const TURNS: usize = 64;

/// How often the lease is renewed, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The time between two renewals.
    pub beat: Duration,
    /// The time until an entry of a node that does not renew is gone.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            beat: limits::PRESENCE_BEAT,
            lease: limits::PRESENCE_LEASE,
        }
    }
}

/// Who went because the node at which they were is gone. Told by the node that noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// Somebody has no connection anywhere any more.
    Offline(UserId),
    /// These people are in a room no more.
    Left(RoomId, Vec<UserId>),
}

/// One node's end of presence. Dropping it ends the lease's renewal; [`Self::close`] takes its entries out at once.
pub struct RedisPresence {
    inner: Arc<Inner>,
    beat: JoinHandle<()>,
}

struct Inner {
    link: RedisLink,
    boot: BootId,
    timing: Timing,
    scripts: Scripts,
    book: Mutex<Book>,
    state: Mutex<State>,
    turns: [tokio::sync::Mutex<()>; TURNS],
    hasher: RandomState,
    clearing: tokio::sync::Semaphore,
    gone: Option<mpsc::Sender<Gone>>,
}

#[derive(Default)]
struct State {
    /// Whether what stands in Redis is what stands in the book, as far as is known.
    up: bool,
    /// Counts the names that this node has had.
    generation: u64,
    /// Whether the present name has a lease, as far as is known.
    registered: bool,
    /// A former name under which something may still have arrived.
    former: Option<u64>,
    /// Where Redis may differ from the book.
    doubtful: HashSet<Key>,
}

impl From<redis_link::Error> for Error {
    fn from(error: redis_link::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Drop for RedisPresence {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

impl RedisPresence {
    /// Takes a lease and keeps it. A Redis that is down now is tried again at each beat. Who went with another node
    /// is told to `gone` as long as it has room.
    pub async fn start(link: RedisLink, boot: BootId, timing: Timing, gone: Option<mpsc::Sender<Gone>>) -> Self {
        let inner = Arc::new(Inner {
            link,
            boot,
            timing,
            scripts: Scripts::new(),
            book: Mutex::default(),
            state: Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            hasher: RandomState::new(),
            clearing: tokio::sync::Semaphore::new(1),
            gone,
        });
        inner.beat().await;
        let beat = tokio::spawn(beat::keep(Arc::clone(&inner)));
        Self { inner, beat }
    }

    /// Takes everything of this node out at once, as far as Redis answers; later calls are `Unavailable`.
    pub async fn close(&self) {
        self.beat.abort();
        let generation = {
            let mut state = self.inner.state.lock();
            state.up = false;
            state.generation
        };
        if let Err(error) = self.inner.clear(&self.inner.name(generation)).await {
            tracing::debug!(%error, "presence entries are left to run out");
        }
    }
}

impl Inner {
    /// Under which name this node's entries stand.
    fn name(&self, generation: u64) -> String {
        format!("{}.{generation}", self.boot)
    }

    const fn keys(&self) -> Keys<'_> {
        Keys(&self.link)
    }

    fn turn(&self, key: Key) -> &tokio::sync::Mutex<()> {
        let hash = match key {
            Key::Online(user) => self.hasher.hash_one(user),
            Key::Here(room, _) => self.hasher.hash_one(room),
        };
        &self.turns[usize::try_from(hash % TURNS as u64).unwrap_or_default()]
    }

    /// Notes a change in the book, and if others must know it, tells Redis; answers what the script said.
    async fn change(&self, key: Key, note: impl FnOnce(&mut Book) -> bool) -> Result<bool> {
        let _turn = self.turn(key).lock().await;
        if !note(&mut self.book.lock()) {
            return Ok(false);
        }
        let generation = {
            let mut state = self.state.lock();
            if !state.up {
                state.doubtful.insert(key);
                return Err(down());
            }
            state.generation
        };
        let result = patiently(self.apply(key, generation)).await;
        if result.is_err() {
            self.doubt(Some(key));
        }
        result
    }

    /// Makes one entry in Redis what the book says.
    async fn apply(&self, key: Key, generation: u64) -> Result<bool> {
        let node = self.name(generation);
        match key {
            Key::Online(user) => {
                let entry = format!("user {user}");
                if self.book.lock().is_online(user) {
                    self.index("SADD", &node, &entry).await?;
                    return self
                        .run(&self.scripts.connect, &[self.keys().online(user)], &[node])
                        .await;
                }
                self.take_out(key, &node).await
            }
            Key::Here(room, user) => {
                let (name, crowd) = {
                    let book = self.book.lock();
                    (book.name(room, user), book.crowd(room))
                };
                let Some(name) = name else {
                    return self.take_out(key, &node).await;
                };
                // With others of this node in the room it is there already, unless one of them is in doubt too.
                if crowd == 1 || !self.state.lock().up {
                    self.index("SADD", &node, &format!("room {room}")).await?;
                }
                let args = [user.to_string(), scripts::who(&name, user)];
                self.run(&self.scripts.enter, &self.keys().room(room, &node), &args)
                    .await
            }
        }
    }

    /// Takes one entry of a name out.
    async fn take_out(&self, key: Key, node: &str) -> Result<bool> {
        let (last, entry) = match key {
            Key::Online(user) => {
                let args = [node.to_owned()];
                let last = self
                    .run(&self.scripts.disconnect, &[self.keys().online(user)], &args)
                    .await?;
                (last, Some(format!("user {user}")))
            }
            Key::Here(room, user) => {
                let keys = self.keys().room(room, node);
                let last = self.run(&self.scripts.leave, &keys, &[user.to_string()]).await?;
                let empty = self.book.lock().crowd(room) == 0;
                (last, empty.then(|| format!("room {room}")))
            }
        };
        if let Some(entry) = entry {
            self.index("SREM", node, &entry).await?;
        }
        Ok(last)
    }

    async fn index(&self, command: &str, node: &str, entry: &str) -> Result<()> {
        let mut change = redis::cmd(command);
        change.arg(self.keys().index(node)).arg(entry);
        let _: i64 = self.link.repeatable(&change).await?;
        Ok(())
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &redis_link::Script,
        keys: &[String],
        args: &[impl AsRef<[u8]>],
    ) -> Result<T> {
        let args: Vec<_> = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
        Ok(self.link.script(script, keys, &args).await?)
    }

    /// Answers nothing from Redis until a beat has gone through.
    fn doubt(&self, key: Option<Key>) {
        let mut state = self.state.lock();
        state.doubtful.extend(key);
        if std::mem::take(&mut state.up) {
            tracing::warn!("presence is out of reach; nobody is shown as present until Redis answers");
        }
    }

    /// Asks only while Redis is known to answer.
    async fn asked<T>(&self, question: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.state.lock().up {
            return Err(down());
        }
        let result = patiently(question).await;
        if result.is_err() {
            self.doubt(None);
        }
        result
    }
}

fn down() -> Error {
    Error::Unavailable("Redis did not answer a moment ago".into())
}

async fn patiently<T>(question: impl Future<Output = Result<T>>) -> Result<T> {
    let answer = tokio::time::timeout(limits::PRESENCE_PATIENCE, question).await;
    answer.unwrap_or_else(|_| Err(Error::Unavailable("Redis does not answer in time".into())))
}

#[async_trait]
impl Presence for RedisPresence {
    async fn connect(&self, user: UserId, connection: ConnectionId) -> Result<bool> {
        let note = |book: &mut Book| book.connect(user, connection);
        self.inner.change(Key::Online(user), note).await
    }

    async fn disconnect(&self, user: UserId, connection: ConnectionId) -> Result<bool> {
        let note = |book: &mut Book| book.disconnect(user, connection);
        self.inner.change(Key::Online(user), note).await
    }

    async fn online(&self, users: &[UserId]) -> Result<Vec<UserId>> {
        let inner = &self.inner;
        let mut online = Vec::new();
        for users in users.chunks(limits::REDIS_AT_ONCE) {
            let exists = |user: &UserId| {
                let mut exists = redis::cmd("EXISTS");
                exists.arg(inner.keys().online(*user));
                exists
            };
            let commands: Vec<_> = users.iter().map(exists).collect();
            let values = inner.asked(async { Ok(inner.link.all(&commands).await?) }).await?;
            let found = users
                .iter()
                .zip(values)
                .filter(|(_, value)| *value == redis::Value::Int(1));
            online.extend(found.map(|(user, _)| *user));
        }
        Ok(online)
    }

    async fn enter(&self, room: RoomId, user: UserId, name: &Name, connection: ConnectionId) -> Result<bool> {
        let note = |book: &mut Book| book.enter(room, user, name, connection);
        self.inner.change(Key::Here(room, user), note).await
    }

    async fn leave(&self, room: RoomId, user: UserId, connection: ConnectionId) -> Result<bool> {
        let note = |book: &mut Book| book.leave(room, user, connection);
        self.inner.change(Key::Here(room, user), note).await
    }

    async fn present(&self, room: RoomId, limit: usize) -> Result<Present> {
        let inner = &self.inner;
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("HLEN").arg(inner.keys().counts(room));
        // A range that ends before it begins is empty.
        let (first, last) = limit.checked_sub(1).map_or((1, 0), |last| (0, last));
        both.cmd("ZRANGE").arg(inner.keys().names(room)).arg(first).arg(last);
        let both = async { Ok(inner.link.pipeline::<(u64, Vec<String>)>(&both).await?) };
        let (count, names) = inner.asked(both).await?;
        Ok(Present {
            count,
            names: names.iter().filter_map(|who| scripts::name_of(who)).collect(),
        })
    }

    async fn present_of(&self, room: RoomId, users: &[UserId]) -> Result<Vec<UserId>> {
        let inner = &self.inner;
        let mut here = Vec::new();
        for users in users.chunks(limits::REDIS_AT_ONCE) {
            let mut read = redis::cmd("HMGET");
            read.arg(inner.keys().counts(room));
            for user in users {
                read.arg(user.to_string());
            }
            let counts: Vec<Option<i64>> = inner.asked(async { Ok(inner.link.repeatable(&read).await?) }).await?;
            here.extend(
                users
                    .iter()
                    .zip(counts)
                    .filter(|(_, count)| count.is_some())
                    .map(|(user, _)| *user),
            );
        }
        Ok(here)
    }
}

#[cfg(test)]
mod tests;
