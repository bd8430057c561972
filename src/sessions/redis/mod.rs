//! Sessions in Redis, so that every node knows who is logged in.
//!
//! A session is one hash under its handle, which is itself a hash of the id: who reads Redis or a dump of it can't log
//! in with what stands there. Whether a session lives is decided by that one key alone, and every change of it is one
//! script that looks first, so nothing that runs at the same time brings an ended session back, in a Cluster either,
//! where a session and its user's index lie on different servers.
//!
//! The index of a user's sessions is a sorted set of handles by expiry. It is written before the session and cleared
//! after it, so it may name too many sessions, never too few; readers look each one up. Both kinds of keys expire by
//! themselves. Nothing is ever scanned.

mod entry;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;
use tokio::sync::Semaphore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{self, SessionStore};

use entry::{Scripts, found, info};

use super::stored::{ID_TRIES, Stored, millis, no_free_id, timestamp};
use super::{Error, NewSession, Result, SessionHandle, SessionInfo, UserSessions};
use crate::limits;
use crate::model::{UserId, WallClock};
use crate::redis_link::{self, RedisLink, Script};

/// Sessions in Redis. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct RedisSessions {
    shared: Arc<Shared>,
}

struct Shared {
    link: RedisLink,
    clock: Arc<dyn WallClock>,
    touches: Arc<Semaphore>,
    scripts: Scripts,
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessions").finish_non_exhaustive()
    }
}

impl From<redis_link::Error> for Error {
    fn from(error: redis_link::Error) -> Self {
        match error {
            redis_link::Error::Unexpected(why) => Self::Damaged(why),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl RedisSessions {
    /// Sessions over this link. Asks nothing yet.
    #[must_use]
    pub fn new(link: RedisLink, clock: Arc<dyn WallClock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                link,
                clock,
                touches: Arc::new(Semaphore::new(limits::SESSION_TOUCHES_AT_ONCE)),
                scripts: Scripts::new(),
            }),
        }
    }

    fn now(&self) -> i64 {
        millis(self.shared.clock.now())
    }

    fn key(&self, handle: &SessionHandle) -> String {
        self.shared.link.key(format_args!("session:{handle}"))
    }

    fn index_key(&self, user: UserId) -> String {
        self.shared.link.key(format_args!("user-sessions:{user}"))
    }

    async fn run<T: redis::FromRedisValue>(&self, script: &Script, key: String, args: &[Vec<u8>]) -> Result<T> {
        Ok(self.shared.link.script(script, &[key], args).await?)
    }

    /// Names the session in its user's index.
    async fn index(&self, user: UserId, handle: &SessionHandle, expires_at: i64, now: i64) -> Result<()> {
        let args = [bytes(handle), bytes(expires_at), bytes(now)];
        self.run::<Value>(&self.shared.scripts.index, self.index_key(user), &args)
            .await
            .map(drop)
    }

    /// Takes the session out of its user's index. What stays there by mistake is looked up in vain until it expires.
    async fn unindex(&self, user: UserId, handle: &SessionHandle) {
        let mut remove = redis::cmd("ZREM");
        remove.arg(self.index_key(user)).arg(handle.to_string());
        if let Err(error) = self.shared.link.repeatable::<Value>(&remove).await {
            tracing::debug!(%error, "could not take an ended session out of its user's index");
        }
    }

    /// Writes a new session; false if its id is taken.
    async fn insert(&self, stored: &Stored) -> Result<bool> {
        let now = self.now();
        if let Some(user) = stored.user {
            self.index(user, &stored.handle, stored.expires_at, now).await?;
        }
        let created: bool = self
            .run(
                &self.shared.scripts.create,
                self.key(&stored.handle),
                &written(stored, now),
            )
            .await?;
        Ok(created)
    }

    /// Ends a session, only if it is this user's where one is named; answers whose it was if it lived.
    async fn remove(&self, handle: &SessionHandle, user: Option<UserId>) -> Result<Option<String>> {
        let kept = bytes(limits::ENDED_SESSION_KEPT.as_millis());
        let args = [bytes(entry::user_text(user)), bytes(self.now()), kept];
        self.run(&self.shared.scripts.end, self.key(handle), &args).await
    }

    /// The handles in a user's index that have not expired, those that end last first; as many as one list has.
    async fn handles(&self, user: UserId) -> Result<Vec<SessionHandle>> {
        let mut range = redis::cmd("ZREVRANGEBYSCORE");
        range
            .arg(self.index_key(user))
            .arg("+inf")
            .arg(format!("({}", self.now()))
            .arg("LIMIT")
            .arg(0)
            .arg(limits::SESSIONS_LISTED_MAX);
        let handles: Vec<String> = self.shared.link.repeatable(&range).await?;
        Ok(handles
            .iter()
            .filter_map(|handle| SessionHandle::parse(handle))
            .collect())
    }

    /// A part of a user's index, and where the next one begins; 0 after the last. Whatever is in the index from the
    /// first part to the last is in one of them, whoever else takes something out meanwhile.
    async fn part(&self, user: UserId, cursor: u64) -> Result<(u64, Vec<SessionHandle>)> {
        let mut scan = redis::cmd("ZSCAN");
        scan.arg(self.index_key(user))
            .arg(cursor)
            .arg("COUNT")
            .arg(limits::REDIS_AT_ONCE);
        let (cursor, pairs): (u64, Vec<(String, f64)>) = self.shared.link.repeatable(&scan).await?;
        let handles = pairs
            .iter()
            .filter_map(|(handle, _)| SessionHandle::parse(handle))
            .collect();
        Ok((cursor, handles))
    }

    /// Notes beside the request that the session was seen. If too many notes are under way this one is left out; the
    /// session's next request tries again.
    fn touch(&self, handle: SessionHandle, now: i64) {
        let Ok(permit) = Arc::clone(&self.shared.touches).try_acquire_owned() else {
            return;
        };
        let sessions = self.clone();
        tokio::spawn(async move {
            let (script, args) = (&sessions.shared.scripts.touch, [bytes(now)]);
            if let Err(error) = sessions.run::<Value>(script, sessions.key(&handle), &args).await {
                tracing::debug!(%error, "could not note when a session was seen");
            }
            drop(permit);
        });
    }
}

fn bytes(what: impl fmt::Display) -> Vec<u8> {
    what.to_string().into_bytes()
}

/// What the scripts take that write a session.
fn written(stored: &Stored, now: i64) -> [Vec<u8>; 7] {
    [
        bytes(entry::user_text(stored.user)),
        bytes(&stored.data),
        bytes(&stored.agent),
        bytes(&stored.address),
        bytes(now),
        bytes(stored.expires_at),
        bytes(limits::SESSION_TOUCH_INTERVAL.as_millis()),
    ]
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        for _ in 0..ID_TRIES {
            if self.insert(&Stored::of(record)?).await? {
                return Ok(());
            }
            record.id = Id::default();
        }
        Err(no_free_id())
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        let (stored, now) = (Stored::of(record)?, self.now());
        if let Some(user) = stored.user {
            self.index(user, &stored.handle, stored.expires_at, now).await?;
        }
        let before: Option<String> = self
            .run(
                &self.shared.scripts.save,
                self.key(&stored.handle),
                &written(&stored, now),
            )
            .await?;
        match (before, stored.user) {
            // It ended meanwhile; a request that still held it must not bring it back.
            (None, Some(user)) => self.unindex(user, &stored.handle).await,
            (Some(before), user) if before != entry::user_text(user) => {
                if let Ok(before) = UserId::parse(&before) {
                    self.unindex(before, &stored.handle).await;
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        let (handle, now) = (SessionHandle::of(*id), self.now());
        let mut read = redis::cmd("HMGET");
        read.arg(self.key(&handle)).arg(&["data", "expires", "seen"]);
        let read: (Option<String>, Option<i64>, Option<i64>) =
            self.shared.link.repeatable(&read).await.map_err(Error::from)?;
        let (Some(data), Some(expires_at), Some(seen_at)) = read else {
            return Ok(None);
        };
        if expires_at <= now {
            return Ok(None);
        }
        if now > seen_at && u128::from(now.abs_diff(seen_at)) >= limits::SESSION_TOUCH_INTERVAL.as_millis() {
            self.touch(handle, now);
        }
        Ok(Some(Record {
            id: *id,
            data: serde_json::from_str(&data).map_err(|error| session_store::Error::Decode(error.to_string()))?,
            expiry_date: timestamp(expires_at).to_offset(),
        }))
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        let handle = SessionHandle::of(*id);
        if let Some(Ok(user)) = self.remove(&handle, None).await?.map(|user| UserId::parse(&user)) {
            self.unindex(user, &handle).await;
        }
        Ok(())
    }
}

#[async_trait]
impl UserSessions for RedisSessions {
    async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>> {
        let (handles, now) = (self.handles(user).await?, self.now());
        let mut list = Vec::with_capacity(handles.len());
        for handles in handles.chunks(limits::REDIS_AT_ONCE) {
            let reads: Vec<_> = handles.iter().map(|handle| found(&self.key(handle))).collect();
            let values = self.shared.link.all(&reads).await?;
            for (handle, value) in handles.iter().zip(values) {
                let of_user = info(handle, value, now)?.filter(|info| info.user == user);
                list.extend(of_user);
            }
        }
        list.sort_by(|a, b| (b.created_at, &a.handle).cmp(&(a.created_at, &b.handle)));
        Ok(list)
    }

    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>> {
        let value = self.shared.link.repeatable(&found(&self.key(handle))).await?;
        info(handle, value, self.now())
    }

    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool> {
        let ended = self.remove(handle, Some(user)).await?.is_some();
        if ended {
            self.unindex(user, handle).await;
        }
        Ok(ended)
    }

    async fn ended(&self, handle: &SessionHandle) -> Result<Option<UserId>> {
        let mut read = redis::cmd("HGET");
        read.arg(self.key(handle)).arg("ended");
        let user: Option<String> = self.shared.link.repeatable(&read).await?;
        user.map(|user| UserId::parse(&user).map_err(|error| Error::Damaged(format!("session {handle}: {error}"))))
            .transpose()
    }

    async fn settled(&self, user: UserId, handle: &SessionHandle) -> Result<()> {
        let script = &self.shared.scripts.settle;
        self.run::<Value>(script, self.key(handle), &[bytes(user)])
            .await
            .map(drop)
    }

    async fn end_all(&self, user: UserId, except: Option<&SessionHandle>) -> Result<u64> {
        let (mut cursor, mut count) = (0, 0);
        loop {
            let (next, mut handles) = self.part(user, cursor).await?;
            handles.retain(|handle| Some(handle) != except);
            for handles in handles.chunks(limits::REDIS_AT_ONCE) {
                let ends = handles.iter().map(|handle| self.end(user, handle));
                // Every one is tried before an error is told, so that as many as possible have ended.
                for ended in futures_util::future::join_all(ends).await {
                    count += u64::from(ended?);
                }
            }
            if next == 0 {
                return Ok(count);
            }
            cursor = next;
        }
    }

    async fn create_many(&self, sessions: Vec<NewSession>) -> Result<()> {
        for batch in sessions.chunks(limits::REDIS_AT_ONCE) {
            let inserts = batch.iter().map(async |session| {
                let stored = Stored::bare(session);
                match self.insert(&stored).await? {
                    true => Ok(()),
                    false => Err(Error::Unavailable(format!(
                        "the id of session {} is taken",
                        stored.handle
                    ))),
                }
            });
            futures_util::future::try_join_all(inserts).await?;
        }
        Ok(())
    }

    /// Redis itself removes what has expired, and each write to an index drops what expired in it.
    async fn sweep(&self) -> Result<u64> {
        self.ping().await.map(|()| 0)
    }

    async fn ping(&self) -> Result<()> {
        Ok(self.shared.link.ping().await?)
    }
}

#[cfg(test)]
mod tests;
