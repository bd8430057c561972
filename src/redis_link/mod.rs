//! The connection to Redis that sessions, control log, presence and throttles share.
//!
//! It owns how Redis is found (one server, Sentinel, Cluster), how long anything may take, when a connection is given
//! up, and what keys begin with. It knows nothing of what is kept there.
//!
//! Each link has one connection, over which many commands are under way at once. It is made when first needed and
//! again after it broke, was silent, or told that its server is no longer the master; Sentinels are asked anew each
//! time. While Redis is down nobody queues: those who wait for one attempt share its outcome, and for a moment after
//! a failed attempt everybody is answered at once. A command that blocks (`XREAD BLOCK`) holds up everything behind
//! it, so it needs a link of its own: [`RedisLink::dedicated`].
//!
//! A command that was answered [`Error::Unavailable`] may have been carried out, or still be when a paused server
//! goes on. Only what may happen twice is asked twice.

mod line;
mod options;
#[cfg(test)]
pub mod testing;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value};

use crate::limits;
use line::Line;
pub use options::{DEFAULT_PREFIX, Host, RedisOptions, Topology};

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address can't be read.
    #[error("the address of Redis is wrong: {0}")]
    Options(String),
    /// Redis is out of reach, did not answer in time, or has no master right now: try again later.
    #[error("Redis can't be reached: {0}")]
    Unavailable(String),
    /// Redis answered, and refused: a wrong password, a missing permission, a full memory, a faulty command.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// Redis answered with something that was not expected.
    #[error("Redis answered with something unexpected: {0}")]
    Unexpected(String),
}

/// A result of Redis.
pub type Result<T> = std::result::Result<T, Error>;

/// A script that runs atomically on the server. In a Cluster all its keys must share one hash tag.
#[derive(Debug, Clone)]
pub struct Script {
    text: &'static str,
    hash: Arc<str>,
}

impl Script {
    /// A script with this text.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self {
            text,
            hash: redis::Script::new(text).get_hash().into(),
        }
    }
}

/// A connection to Redis. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct RedisLink {
    line: Arc<Line>,
}

impl std::fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLink").field("options", self.options()).finish()
    }
}

impl RedisLink {
    /// A link that connects when it is first used.
    #[must_use]
    pub fn new(options: RedisOptions) -> Self {
        Self {
            line: Arc::new(Line::new(Arc::new(options), limits::REDIS_ANSWER)),
        }
    }

    /// A link that has connected and been answered.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if nothing answers in time, [`Error::Refused`] if the password is wrong.
    pub async fn connect(options: RedisOptions) -> Result<Self> {
        let link = Self::new(options);
        link.ping().await?;
        Ok(link)
    }

    /// Another connection to the same Redis, for commands that block for at most [`limits::REDIS_BLOCK_MAX`].
    #[must_use]
    pub fn dedicated(&self) -> Self {
        let answer = limits::REDIS_BLOCK_MAX + limits::REDIS_ANSWER;
        Self {
            line: Arc::new(Line::new(Arc::clone(self.line.options()), answer)),
        }
    }

    /// How it was configured.
    #[must_use]
    pub fn options(&self) -> &RedisOptions {
        self.line.options()
    }

    /// A key with the configured prefix. Keys that one script or transaction uses share a `{tag}`.
    #[must_use]
    pub fn key(&self, rest: impl std::fmt::Display) -> String {
        format!("{}{rest}", self.options().prefix())
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<()> {
        let _: Value = self.repeatable(&redis::cmd("PING")).await?;
        Ok(())
    }

    /// Asks once, and waits at most [`limits::REDIS_CONNECT`] and [`limits::REDIS_ANSWER`].
    ///
    /// # Errors
    /// [`Error::Unavailable`]: it may have been carried out. [`Error::Refused`]: it was not.
    /// [`Error::Unexpected`]: the answer is not of this type.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        typed(self.line.one(command).await?)
    }

    /// As [`Self::query`], and once more over a new connection if the old one turned out to be gone: for commands
    /// that may happen twice.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn repeatable<T: FromRedisValue>(&self, command: &Cmd) -> Result<T> {
        let value = match self.line.one(command).await {
            Err(Error::Unavailable(_)) if !self.line.down() => self.line.one(command).await?,
            result => result?,
        };
        typed(value)
    }

    /// Several commands at once, without any order among them; one that failed does not keep the others back. Their
    /// keys may lie anywhere.
    ///
    /// # Errors
    /// The first error; others may have been carried out.
    pub async fn all(&self, commands: &[Cmd]) -> Result<Vec<Value>> {
        futures_util::future::try_join_all(commands.iter().map(|command| self.line.one(command))).await
    }

    /// A pipeline or transaction (`Pipeline::atomic`), asked once. In a Cluster all its keys must share one hash tag.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn pipeline<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T> {
        self.line.pipeline(pipeline).await
    }

    /// Runs a script, asked once. All keys stand in `keys`.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn script<T: FromRedisValue>(&self, script: &Script, keys: &[String], args: &[Vec<u8>]) -> Result<T> {
        let command = |name: &str, body: &str| {
            let mut command = redis::cmd(name);
            command.arg(body).arg(keys.len()).arg(keys).arg(args);
            command
        };
        match self.line.one(&command("EVALSHA", &script.hash)).await {
            // The server has not seen it yet, or was started anew.
            Err(Error::Refused(why)) if why.contains(line::NO_SCRIPT) => {
                typed(self.line.one(&command("EVAL", script.text)).await?)
            }
            result => typed(result?),
        }
    }

    /// A command that blocks at the server for at most `block`; only on a [`Self::dedicated`] link. `block` also
    /// stands in the command.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn blocking<T: FromRedisValue>(&self, command: &Cmd, block: Duration) -> Result<T> {
        let block = block.min(limits::REDIS_BLOCK_MAX);
        typed(self.line.within(command, block + limits::REDIS_ANSWER).await?)
    }
}

fn typed<T: FromRedisValue>(value: Value) -> Result<T> {
    let value = value.extract_error().map_err(|error| line::classed(&error))?;
    T::from_redis_value(value).map_err(|error| Error::Unexpected(error.to_string()))
}

#[cfg(test)]
mod tests;
